#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS_MAX = 10000,
    SECONDS_MAX = 86400,
    RATE_MAX = 100000000,
    TTL_MAX_S = 30 * 86400, /* the protocol takes larger numbers as dates */
};

static const char usage[] =
    "Usage: stayd-load --server HOST:PORT|unix:PATH [OPTION]...\n"
    "Loads a memcached or Redis server, checks every reply and prints one line of JSON.\n"
    "\n"
    "  --connections=N   connections, all driven by one thread (default 50)\n"
    "  --pipeline=N      requests to a write; the next write follows the last reply (default 1)\n"
    "  --get=PERCENT     share of reads, the rest are writes (default 90)\n"
    "  --keys=N          different keys (default 100000)\n"
    "  --zipf=EXPONENT   how skewed their popularity is (default 0: all alike)\n"
    "  --scan=PERCENT    share of the reads that ask for a key never seen again (default 0)\n"
    "  --key-size=BYTES  13 to 250 (default 33)\n"
    "  --value=BYTES     or MIN-MAX, picked by the key (default 220)\n"
    "  --ttl=SECONDS     time to live of what is set, at most 30 days (default 0: for ever)\n"
    "  --meta            mg and ms instead of get and set\n"
    "  --resp            Redis's protocol, with GET and SET\n"
    "  --refill          set what a read missed; it is no error if the server has no memory for "
    "it\n"
    "  --preload         first set every key once\n"
    "  --warmup=N        operations before those that are reported (default 0)\n"
    "  --operations=N    stop after so many\n"
    "  --seconds=N       stop after so long\n"
    "  --rate=N          operations a second in the last phase (default 0: as fast as they go)\n"
    "  --seed=N          of the random choices (default 1)\n"
    "\n"
    "The result is that of the last phase: preload, warm-up, then the one with --operations or\n"
    "--seconds. Latencies are those of a whole batch: from its write to its last reply; with\n"
    "--rate from when it was due, so the wait of a batch for a free connection counts too.\n"
    "Exit status: 0; 1 when a reply was wrong; 2 when the run could not be made.\n";

static _Noreturn void fail_option(const char *name, const char *text, const char *wanted) {
    fprintf(stderr, "stayd-load: --%s=%s: %s\nTry 'stayd-load --help'.\n", name, text, wanted);
    exit(2);
}

static uint64_t parse_whole(const char *name, const char *text, uint64_t least, uint64_t most) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || number < least ||
        number > most) {
        char wanted[96];
        snprintf(wanted, sizeof(wanted), "must be a whole number from %llu to %llu",
                 (unsigned long long)least, (unsigned long long)most);
        fail_option(name, text, wanted);
    }
    return number;
}

static double parse_decimal(const char *name, const char *text, double most) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= 0 && number <= most)) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "must be a number from 0 to %g", most);
        fail_option(name, text, wanted);
    }
    return number;
}

static void parse_value_size(struct workload_options *workload, const char *name, char *text) {
    char *dash = strchr(text, '-');
    if (dash != NULL) {
        *dash = '\0';
    }
    workload->value_min_bytes = parse_whole(name, text, 0, WORKLOAD_VALUE_MAX);
    workload->value_max_bytes = workload->value_min_bytes;
    if (dash != NULL) {
        workload->value_max_bytes =
            parse_whole(name, dash + 1, workload->value_min_bytes, WORKLOAD_VALUE_MAX);
    }
}

static const struct option names[] = {
    {"server", required_argument, NULL, 's'},
    {"connections", required_argument, NULL, 'c'},
    {"pipeline", required_argument, NULL, 'p'},
    {"get", required_argument, NULL, 'g'},
    {"keys", required_argument, NULL, 'k'},
    {"zipf", required_argument, NULL, 'z'},
    {"scan", required_argument, NULL, 'a'},
    {"key-size", required_argument, NULL, 'l'},
    {"value", required_argument, NULL, 'v'},
    {"ttl", required_argument, NULL, 't'},
    {"meta", no_argument, NULL, 'm'},
    {"resp", no_argument, NULL, 'R'},
    {"refill", no_argument, NULL, 'r'},
    {"preload", no_argument, NULL, 'f'},
    {"warmup", required_argument, NULL, 'w'},
    {"operations", required_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, 'd'},
    {"rate", required_argument, NULL, 'q'},
    {"seed", required_argument, NULL, 'e'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void parse_option(struct options *options, int letter, const char *name, char *text) {
    struct workload_options *workload = &options->workload;
    struct exchange_options *exchange = &options->exchange;
    switch (letter) {
    case 's':
        options->server = text;
        return;
    case 'c':
        options->connections = (unsigned)parse_whole(name, text, 1, CONNECTIONS_MAX);
        return;
    case 'p':
        exchange->batch_max = (unsigned)parse_whole(name, text, 1, EXCHANGE_BATCH_MAX);
        return;
    case 'g':
        workload->get_percent = (unsigned)parse_whole(name, text, 0, 100);
        return;
    case 'k':
        workload->keys = parse_whole(name, text, 1, UINT64_C(1) << 40);
        return;
    case 'z':
        workload->zipf_exponent = parse_decimal(name, text, 10);
        return;
    case 'a':
        workload->scan_percent = (unsigned)parse_whole(name, text, 0, 100);
        return;
    case 'l':
        workload->key_size_bytes = parse_whole(name, text, WORKLOAD_KEY_MIN, WORKLOAD_KEY_MAX);
        return;
    case 'v':
        parse_value_size(workload, name, text);
        return;
    case 't':
        exchange->ttl_s = (unsigned)parse_whole(name, text, 0, TTL_MAX_S);
        return;
    case 'm':
        exchange->protocol = EXCHANGE_META;
        return;
    case 'R':
        exchange->protocol = EXCHANGE_RESP;
        return;
    case 'r':
        exchange->refill = true;
        return;
    case 'f':
        options->preload = true;
        return;
    case 'w':
        options->warmup_operations = parse_whole(name, text, 0, UINT64_MAX);
        return;
    case 'o':
        options->operations = parse_whole(name, text, 1, UINT64_MAX);
        return;
    case 'd':
        options->seconds = parse_decimal(name, text, SECONDS_MAX);
        return;
    case 'q':
        options->rate = parse_decimal(name, text, RATE_MAX);
        return;
    case 'e':
        workload->seed = parse_whole(name, text, 0, UINT64_MAX);
        return;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs("Try 'stayd-load --help'.\n", stderr);
        exit(2);
    }
}

void options_parse(struct options *options, int argument_count, char **arguments) {
    *options = (struct options){
        .connections = 50,
        .workload =
            {
                .keys = 100000,
                .get_percent = 90,
                .key_size_bytes = 33,
                .value_min_bytes = 220,
                .value_max_bytes = 220,
                .seed = 1,
            },
        .exchange = {.batch_max = 1},
    };
    for (;;) {
        int index = 0;
        int letter = getopt_long(argument_count, arguments, "", names, &index);
        if (letter == -1) {
            break;
        }
        parse_option(options, letter, names[index].name, optarg);
    }
    if (options->server == NULL || optind < argument_count) {
        fprintf(stderr, "stayd-load: %s\nTry 'stayd-load --help'.\n",
                options->server == NULL ? "--server is missing" : "options only, no arguments");
        exit(2);
    }
}
