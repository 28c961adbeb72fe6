/* stayd-reads: how long a program waits for values from a memcached or a stayd through a client
 * library, in nanoseconds, and how many of its reads miss. One client, one thread; every value is
 * compared with the expected value of its key (workload.h). It stores all keys first. */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "latency.h"
#include "library.h"
#include "workload.h"

static const char usage[] =
    "Usage: stayd-reads --library=NAME --server=URL [OPTION]...\n"
    "Times reads through a client library, checks every value and prints one line of JSON.\n"
    "\n"
    "  --library=NAME    libstayd, libstayd-sockets (it never maps the pool), libmemcached\n"
    "  --server=URL      memcached://HOST:PORT/ or unix:///PATH\n"
    "  --keys=N          different keys (default 10000)\n"
    "  --key-size=BYTES  13 to 250 (default 33)\n"
    "  --value=BYTES     of each value (default 300)\n"
    "  --at-once=N       keys in a read, at most 100 (default 1)\n"
    "  --zipf=EXPONENT   how skewed their popularity is (default 0: all alike)\n"
    "  --refill          set what a read missed; without it a miss is an error\n"
    "  --rate=N          reads a second (default 0: as fast as they go)\n"
    "  --warmup=SECONDS  before what is reported (default 0.1)\n"
    "  --seconds=N       how long to measure (default 1)\n";

struct options {
    const struct library *library;
    const char *server;
    unsigned at_once;
    bool refill;
    double rate, warmup_s, seconds;
    struct workload_options workload;
};

/* The counts of a phase. */
struct outcome {
    struct latency latency;
    uint64_t reads, misses;
    double elapsed_s;
};

static uint64_t clock_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static double parse(const char *name, double least, double most) {
    char *end;
    double number = strtod(optarg, &end);
    if (end == optarg || *end != '\0' || !(number >= least && number <= most)) {
        library_fail("--%s=%s: must be a number from %g to %g", name, optarg, least, most);
    }
    return number;
}

static struct options parse_options(int argument_count, char **arguments) {
    static const struct option names[] = {
        {"library", required_argument, NULL, 'l'},
        {"server", required_argument, NULL, 's'},
        {"keys", required_argument, NULL, 'k'},
        {"key-size", required_argument, NULL, 'z'},
        {"value", required_argument, NULL, 'v'},
        {"at-once", required_argument, NULL, 'a'},
        {"zipf", required_argument, NULL, 'p'},
        {"refill", no_argument, NULL, 'r'},
        {"rate", required_argument, NULL, 'q'},
        {"warmup", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {
        .at_once = 1,
        .warmup_s = 0.1,
        .seconds = 1,
        .workload = {.keys = 10000, .get_percent = 100, .key_size_bytes = 33, .seed = 1},
    };
    size_t value_bytes = 300;
    int letter;
    int index = 0;
    while ((letter = getopt_long(argument_count, arguments, "", names, &index)) != -1) {
        const char *name = names[index].name;
        switch (letter) {
        case 'l':
            options.library = library_find(optarg);
            if (options.library == NULL) {
                library_fail("--library=%s: there is no such library", optarg);
            }
            break;
        case 's':
            options.server = optarg;
            break;
        case 'k':
            options.workload.keys = (uint64_t)parse(name, 1, 1e9);
            break;
        case 'z':
            options.workload.key_size_bytes =
                (size_t)parse(name, WORKLOAD_KEY_MIN, WORKLOAD_KEY_MAX);
            break;
        case 'v':
            value_bytes = (size_t)parse(name, 0, WORKLOAD_VALUE_MAX);
            break;
        case 'a':
            options.at_once = (unsigned)parse(name, 1, LIBRARY_KEYS_MAX);
            break;
        case 'p':
            options.workload.zipf_exponent = parse(name, 0, 10);
            break;
        case 'r':
            options.refill = true;
            break;
        case 'q':
            options.rate = parse(name, 0, 1e9);
            break;
        case 'w':
            options.warmup_s = parse(name, 0, 1e6);
            break;
        case 'd':
            options.seconds = parse(name, 0, 1e6);
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs("Try 'stayd-reads --help'.\n", stderr);
            exit(2);
        }
    }
    if (options.library == NULL || options.server == NULL || optind < argument_count) {
        library_fail("--library and --server are needed, and no arguments; see --help");
    }
    options.workload.value_min_bytes = value_bytes;
    options.workload.value_max_bytes = value_bytes;
    return options;
}

static void store(const struct options *options, const struct workload *workload, uint64_t key) {
    char text[WORKLOAD_KEY_MAX];
    size_t size_bytes;
    const char *value = workload_value(workload, key, &size_bytes);
    workload_write_key(workload, key, text);
    options->library->set(text, workload->options.key_size_bytes, value, size_bytes);
}

static void check(const struct options *options, const struct workload *workload, uint64_t key,
                  const struct library_item *item) {
    size_t size_bytes;
    const char *value = workload_value(workload, key, &size_bytes);
    if (item->value == NULL && !options->refill) {
        library_fail("%s lost a key of a set that fits", options->server);
    }
    if (item->value != NULL &&
        (item->value_size != size_bytes || memcmp(item->value, value, size_bytes) != 0)) {
        library_fail("%s: a wrong value of %zu bytes", options->server, item->value_size);
    }
}

/* Times, checks and counts one read, and stores the values that it missed. */
static void read_once(const struct options *options, struct workload *workload,
                      struct outcome *outcome) {
    static char keys[LIBRARY_KEYS_MAX][WORKLOAD_KEY_MAX];
    struct library_item items[LIBRARY_KEYS_MAX];
    uint64_t numbers[LIBRARY_KEYS_MAX];
    for (unsigned i = 0; i < options->at_once; i++) {
        numbers[i] = workload_next(workload).key;
        workload_write_key(workload, numbers[i], keys[i]);
        items[i] =
            (struct library_item){.key = keys[i], .key_size = workload->options.key_size_bytes};
    }

    uint64_t began_ns = clock_now_ns();
    if (options->at_once == 1) {
        options->library->get(&items[0]);
    } else {
        options->library->get_many(items, options->at_once);
    }
    latency_record(&outcome->latency, clock_now_ns() - began_ns);

    for (unsigned i = 0; i < options->at_once; i++) {
        check(options, workload, numbers[i], &items[i]);
        outcome->misses += items[i].value == NULL;
    }
    outcome->reads += options->at_once;
    for (unsigned i = 0; i < options->at_once; i++) {
        if (items[i].value == NULL) {
            store(options, workload, numbers[i]);
        }
    }
}

/* With a rate, makes all reads that are due by now. */
static void wait_until_due(const struct options *options, uint64_t began_ns, uint64_t reads) {
    if (options->rate <= 0) {
        return;
    }
    uint64_t due_ns = began_ns + (uint64_t)((double)reads / options->rate * 1e9);
    struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000),
                           .tv_nsec = (long)(due_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void run_phase(const struct options *options, struct workload *workload, double seconds,
                      struct outcome *outcome) {
    memset(outcome, 0, sizeof *outcome);
    uint64_t began_ns = clock_now_ns();
    while (clock_now_ns() - began_ns < (uint64_t)(seconds * 1e9)) {
        wait_until_due(options, began_ns, outcome->reads);
        read_once(options, workload, outcome);
    }
    outcome->elapsed_s = (double)(clock_now_ns() - began_ns) / 1e9;
}

/* The median of the time that reading the clock adds. */
static uint64_t clock_cost_ns(void) {
    static struct latency latency;
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t began_ns = clock_now_ns();
        latency_record(&latency, clock_now_ns() - began_ns);
    }
    return latency_percentile(&latency, 0.5);
}

int main(int argument_count, char **arguments) {
    static struct outcome outcome;
    struct options options = parse_options(argument_count, arguments);
    struct workload workload;
    if (!workload_init(&workload, &options.workload)) {
        library_fail("out of memory");
    }
    options.library->open(options.server);
    for (uint64_t key = 1; key <= options.workload.keys; key++) {
        store(&options, &workload, key);
    }
    run_phase(&options, &workload, options.warmup_s, &outcome);
    run_phase(&options, &workload, options.seconds, &outcome);
    printf("{\"reads\": %llu, \"misses\": %llu, ", (unsigned long long)outcome.reads,
           (unsigned long long)outcome.misses);
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50_ns", 0.5}, {"p99_ns", 0.99}, {"p99.9_ns", 0.999}, {"max_ns", 1}};
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++) {
        printf("\"%s\": %llu, ", percentiles[i].name,
               (unsigned long long)latency_percentile(&outcome.latency, percentiles[i].share));
    }
    printf("\"clock_ns\": %llu, \"seconds\": %.6f}\n", (unsigned long long)clock_cost_ns(),
           outcome.elapsed_s);
    options.library->close();
    workload_finish(&workload);
    return 0;
}
