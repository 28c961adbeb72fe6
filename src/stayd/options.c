#include "stayd/options.h"

#include "base/number.h"
#include "proto/proto.h"
#include "stayd/config_file.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MEMCACHED_PORT = 11211,
    MEMCACHED_MEMORY_MAX_M = 1 << 20,
    MEMCACHED_CONNECTIONS = 1024,
    MEMCACHED_MEMORY_BYTES = 64 << 20,
    MEMCACHED_ITEM_MAX_BYTES = 1 << 20,
    OPTION_CHECK = 256, /* those without a letter */
    OPTION_CONFIG,
    OPTION_CONN_LIMIT,
    OPTION_INSECURE
};

static const char usage[] =
    "Usage: stayd [-c FILE]            run; without FILE: the built-in pools below\n"
    "       stayd --check [-c FILE]    say whether the configuration is valid, and why not\n"
    "       stayd -p 11211 -m 64 ...   memcached's options: one volatile pool, \"cache\"\n"
    "Keeps a web site's users logged in: pools of items over the memcached protocol.\n"
    "\n"
    "  -c, --config=FILE          read the configuration from FILE\n"
    "      --check                check the configuration and exit: 0 if it is valid, else 2\n"
    "  -v, --verbose              log more (-vv: the same)\n"
    "  -h, --help                 show this help\n"
    "  -V, --version              show the version\n"
    "\n"
    "Instead of a configuration, memcached's own options:\n"
    "  -p, --port=NUMBER          TCP port (default 11211; 0: none)\n"
    "  -l, --listen=ADDRESS,...   addresses, each with :PORT if another (default 127.0.0.1)\n"
    "  -s, --unix-socket=PATH     listen on a Unix socket, and not on TCP\n"
    "  -m, --memory-limit=NUMBER  memory for items, in megabytes (default 64)\n"
    "  -I, --max-item-size=SIZE   the largest item: bytes, or with k or m (default 1m)\n"
    "  -c, --conn-limit=NUMBER    connections at a time (default 1024)\n"
    "  -t, --threads=NUMBER       worker threads (default: one a core, at most 8)\n"
    "  -u, --user=NAME            become this user (only when started as root)\n"
    "  -U, --udp-port=0           taken for memcached's sake: there is no UDP\n"
    "      --insecure             allow -l with an address that other machines can reach\n"
    "\n"
    "Without any: pool \"cache\" (64M, forgets what is read least) on 127.0.0.1:11211 and\n"
    "unix:cache.sock, pool \"sessions\" (64M, on disk, forgets nobody) on 127.0.0.1:11200 and\n"
    "unix:sessions.sock, and http://127.0.0.1:11280/ for the dashboard, /metrics and /healthz.\n"
    "\n"
    "Exit status: 0 after SIGTERM or SIGINT; 1 when it cannot run; 2 when the options or the\n"
    "configuration are wrong.\n";

static const struct option names[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"port", required_argument, NULL, 'p'},
    {"listen", required_argument, NULL, 'l'},
    {"unix-socket", required_argument, NULL, 's'},
    {"memory-limit", required_argument, NULL, 'm'},
    {"max-item-size", required_argument, NULL, 'I'},
    {"conn-limit", required_argument, NULL, OPTION_CONN_LIMIT},
    {"threads", required_argument, NULL, 't'},
    {"user", required_argument, NULL, 'u'},
    {"udp-port", required_argument, NULL, 'U'},
    {"insecure", no_argument, NULL, OPTION_INSECURE},
    {NULL, 0, NULL, 0},
};

static const char letters[] = ":c:vhVp:l:s:m:I:t:u:U:";

/* Of memcached 1.6, and not here. */
static const char memcached_letters[] = "aAdDrMkPfnLRCbBSFXWYeZoiN";

static enum options_result options_fail(const char *what, const char *why) {
    fprintf(stderr, "stayd: %s: %s\nTry 'stayd --help'.\n", what, why);
    return OPTIONS_WRONG;
}

static bool options_is_number(const char *text) {
    uint64_t number;
    return number_parse_u64(bytes_from_string(text), &number);
}

static bool options_number(const char *what, const char *text, unsigned least, unsigned most,
                           unsigned *number) {
    uint64_t wide;
    if (!number_parse_u64(bytes_from_string(text), &wide) || wide < least || wide > most) {
        fprintf(stderr, "stayd: %s %s: must be a whole number from %u to %u\nTry 'stayd --help'.\n",
                what, text, least, most);
        return false;
    }
    *number = (unsigned)wide;
    return true;
}

/* An option that getopt does not know, or that lacks its value. */
static enum options_result options_refuse(int result, char **arguments) {
    char what[3] = {'-', (char)optopt, '\0'};
    if (result == ':') {
        const char *given = arguments[optind - 1];
        return options_fail(optopt < OPTION_CHECK && given[1] != '-' ? what : given,
                            "needs a value");
    }
    if (optopt == 0 || optopt >= OPTION_CHECK || arguments[optind - 1][1] == '-') {
        return options_fail(arguments[optind - 1], "there is no such option, or it takes no value");
    }
    if (strchr(memcached_letters, optopt) != NULL) {
        return options_fail(what, "memcached has this option, but this version of stayd has not");
    }
    return options_fail(what, "there is no such option");
}

static bool options_parse_sizes(struct options *options, int letter, const char *text) {
    unsigned megabytes;
    uint64_t size_bytes;
    if (letter == 'm') {
        if (!options_number("-m", text, 1, MEMCACHED_MEMORY_MAX_M, &megabytes)) {
            return false;
        }
        options->memory_bytes = (uint64_t)megabytes << 20;
        return true;
    }
    if (!number_parse_size(bytes_from_string(text), &size_bytes) || size_bytes == 0 ||
        size_bytes > POOL_ITEM_MAX_LIMIT) {
        options_fail("-I", "must be a size from 1k to 128m");
        return false;
    }
    options->item_max_bytes = (uint32_t)size_bytes;
    return true;
}

/* One of memcached's. */
static enum options_result options_take_memcached(struct options *options, int letter, char *text) {
    static char spelled[] = "-?";
    bool valid = true;
    switch (letter) {
    case 'p':
        valid = options_number("-p", text, 0, UINT16_MAX, &options->port);
        break;
    case 'l':
        options->listen = text;
        break;
    case 's':
        options->socket_path = text;
        break;
    case 'm':
    case 'I':
        valid = options_parse_sizes(options, letter, text);
        break;
    case 'c':
    case OPTION_CONN_LIMIT:
        valid = options_number("-c", text, 1, CONFIG_CONNECTIONS_MAX, &options->max_connections);
        break;
    case 't':
        valid = options_number("-t", text, 1, CONFIG_THREADS_MAX, &options->threads);
        break;
    case 'u':
        options->user = text;
        break;
    case 'U':
        valid = strcmp(text, "0") == 0;
        if (!valid) {
            options_fail("-U", "stayd has no UDP: leave it out, or write 0");
        }
        break;
    case OPTION_INSECURE:
        options->insecure = true;
        break;
    }
    if (!options->memcached) {
        spelled[1] = letter == OPTION_CONN_LIMIT ? 'c' : (char)letter;
        options->memcached_option = letter == OPTION_INSECURE ? "--insecure" : spelled;
    }
    options->memcached = true;
    return valid ? OPTIONS_RUN : OPTIONS_WRONG;
}

static enum options_result options_take(struct options *options, int letter, char **arguments) {
    switch (letter) {
    case 'c':
        if (options_is_number(optarg)) {
            return options_take_memcached(options, letter, optarg);
        }
        options->config_path = optarg;
        return OPTIONS_RUN;
    case OPTION_CONFIG:
        options->config_path = optarg;
        return OPTIONS_RUN;
    case OPTION_CHECK:
        options->check = true;
        return OPTIONS_RUN;
    case 'v':
        options->verbose = true;
        return OPTIONS_RUN;
    case 'h':
        fputs(usage, stdout);
        return OPTIONS_DONE;
    case 'V':
        puts("stayd " STAYD_VERSION " (to clients: " PROTO_VERSION ")");
        return OPTIONS_DONE;
    case '?':
    case ':':
        return options_refuse(letter, arguments);
    default:
        return options_take_memcached(options, letter, optarg);
    }
}

enum options_result options_parse(struct options *options, int argument_count, char **arguments) {
    *options = (struct options){
        .port = MEMCACHED_PORT,
        .memory_bytes = MEMCACHED_MEMORY_BYTES,
        .item_max_bytes = MEMCACHED_ITEM_MAX_BYTES,
        .max_connections = MEMCACHED_CONNECTIONS,
    };
    optind = 0; /* so that it may be called again */
    opterr = 0;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, letters, names, NULL)) != -1) {
        enum options_result result = options_take(options, letter, arguments);
        if (result != OPTIONS_RUN) {
            return result;
        }
    }
    if (optind < argument_count) {
        return options_fail(arguments[optind], "there is nothing but options");
    }
    if (options->memcached && options->config_path != NULL) {
        return options_fail(options->memcached_option,
                            "is memcached's way to configure, and does not go with -c FILE: set it "
                            "in the file");
    }
    return OPTIONS_RUN;
}

/* Memcached takes an address with and without port, and IPv6 without brackets. */
static bool options_parse_address(const struct options *options, const char *text,
                                  struct address *address, char error[ADDRESS_ERROR_MAX]) {
    const char *colon = strchr(text, ':');
    bool has_port = text[0] == '[' ? strstr(text, "]:") != NULL
                                   : colon != NULL && strchr(colon + 1, ':') == NULL;
    if (has_port) {
        return address_parse(text, "", address, error);
    }
    char host[ADDRESS_TEXT_MAX];
    bool bracketed = text[0] == '[' && text[strlen(text) - 1] == ']';
    snprintf(host, sizeof host, "%s", text + bracketed);
    if (bracketed && strlen(host) > 0) {
        host[strlen(host) - 1] = '\0';
    }
    return address_parse_host(host, options->port, address, error);
}

static struct address *options_add_listen(struct config_pool *pool, struct faults *faults) {
    if (pool->listen_count == CONFIG_LISTENS_MAX) {
        faults_add(faults, 0, "-l: at most %d addresses", CONFIG_LISTENS_MAX);
        return NULL;
    }
    return &pool->listens[pool->listen_count++].address;
}

static void options_configure_tcp(const struct options *options, struct config_pool *pool,
                                  struct faults *faults) {
    char error[ADDRESS_ERROR_MAX];
    char *list = strdup(options->listen != NULL ? options->listen : "127.0.0.1");
    char *rest = NULL;
    for (char *text = list != NULL ? strtok_r(list, ", ", &rest) : NULL; text != NULL;
         text = strtok_r(NULL, ", ", &rest)) {
        struct address *address = options_add_listen(pool, faults);
        if (address == NULL) {
            break;
        }
        if (!options_parse_address(options, text, address, error)) {
            faults_add(faults, 0, "-l %s: %s", text, error);
        }
    }
    free(list);
}

static void options_configure_memcached(const struct options *options, struct config *config,
                                        struct faults *faults) {
    config->has_admin = false;
    config->max_connections = options->max_connections;
    config->threads = options->threads > 0 ? options->threads : config->threads;
    struct config_pool *pool = config_add_pool(config, "cache");
    pool->insecure = options->insecure;
    pool->options.memory_bytes = options->memory_bytes;
    pool->options.item_max_bytes = options->item_max_bytes;
    if (options->socket_path != NULL) {
        char text[PATH_MAX + 8];
        char folder[PATH_MAX];
        char error[ADDRESS_ERROR_MAX];
        if (getcwd(folder, sizeof folder) == NULL) {
            folder[0] = '\0';
        }
        snprintf(text, sizeof text, "unix:%s", options->socket_path);
        if (!address_parse(text, folder, options_add_listen(pool, faults), error)) {
            faults_add(faults, 0, "-s %s: %s", options->socket_path, error);
        }
    } else if (options->port == 0) {
        faults_add(faults, 0, "-p 0 leaves nowhere to listen; add -s PATH");
    } else {
        options_configure_tcp(options, pool, faults);
    }
    config_check(config, faults);
}

void options_configure(const struct options *options, struct config *config,
                       struct faults *faults) {
    if (options->memcached) {
        options_configure_memcached(options, config, faults);
    } else if (options->config_path != NULL) {
        config_file_read(options->config_path, config, faults);
    } else {
        config_add_builtin_pools(config);
        config_check(config, faults);
    }
}
