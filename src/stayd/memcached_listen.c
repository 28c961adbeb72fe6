#include "stayd/memcached_listen.h"

#include "base/number.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the parts of memcached's -l are collected:
 *
 *     [notls:|btls:|mtls:][proto[NAME]:][tag[NAME]:|tag_NAME_:]ADDRESS[:PORT],... */
struct listen_parser {
    struct options *options;
    struct config_pool *pool;
    struct faults *faults;
    const char *text; /* the whole element, for messages */
    char host[NI_MAXHOST];
    unsigned port;
    bool plain;
    enum proto_allowed protocols;
};

enum { LISTEN_TAG_MAX = 8 /* bytes, as in memcached */ };

static bool listen_fault(struct listen_parser *parser, const char *reason) {
    faults_add(parser->faults, 0, "-l %s: %s", parser->text, reason);
    return false;
}

static struct config_listen *listen_add(struct listen_parser *parser) {
    struct config_pool *pool = parser->pool;
    if (pool->listen_count == CONFIG_LISTENS_MAX) {
        faults_add(parser->faults, 0, "-l: at most %d addresses", CONFIG_LISTENS_MAX);
        return NULL;
    }
    struct config_listen *listen = &pool->listens[pool->listen_count++];
    listen->plain = parser->plain;
    listen->protocols = parser->protocols;
    return listen;
}

/* Whether the text begins with `word`; moves `*text` behind it. */
static bool listen_skip(const char **text, const char *word) {
    size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0) {
        return false;
    }
    *text += length;
    return true;
}

static bool listen_take_tls(struct listen_parser *parser, const char **text) {
    const struct memcached_options *memcached = &parser->options->memcached;
    bool requires_certificates = memcached->tls_verify >= 2;
    parser->plain = listen_skip(text, "notls:");
    if (parser->plain) {
        return true;
    }
    bool basic = listen_skip(text, "btls:");
    if (!basic && !listen_skip(text, "mtls:")) {
        return true;
    }
    if (!memcached->tls) {
        return listen_fault(parser, "needs -Z");
    }
    if (basic == requires_certificates) {
        return listen_fault(parser, basic ? "ssl_verify_mode=2 requires client certificates on all "
                                            "addresses; remove it, or btls"
                                          : "needs -o ssl_verify_mode=2,ssl_ca_cert=FILE");
    }
    return true;
}

/* Takes "[NAME]:", which stands behind proto and tag; also "_NAME_:" behind tag. */
static bool listen_take_name(const char **text, char *name, size_t size, bool underscores) {
    char end = **text == '[' ? ']' : underscores && **text == '_' ? '_' : '\0';
    const char *close = end != '\0' ? strchr(*text + 1, end) : NULL;
    if (close == NULL || close[1] != ':' || (size_t)(close - *text) > size) {
        return false;
    }
    snprintf(name, size, "%.*s", (int)(close - *text - 1), *text + 1);
    *text = close + 2;
    return true;
}

static bool listen_take_protocol(struct listen_parser *parser, const char **text) {
    static const struct {
        const char *name;
        enum proto_allowed protocols;
    } rows[] = {
        {"ascii", PROTO_ALLOWED_TEXT},
        {"binary", PROTO_ALLOWED_BINARY},
        {"negotiating", PROTO_ALLOWED_ALL},
    };
    if (!listen_skip(text, "proto")) {
        return true;
    }
    char name[16];
    if (listen_take_name(text, name, sizeof name, false)) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            if (strcmp(name, rows[i].name) == 0) {
                parser->protocols = rows[i].protocols;
                return true;
            }
        }
    }
    return listen_fault(parser, "write proto[ascii]:, proto[binary]: or proto[negotiating]:");
}

/* In memcached only the proxy reads the tag of a connection's address. */
static bool listen_take_tag(struct listen_parser *parser, const char **text) {
    if (!listen_skip(text, "tag")) {
        return true;
    }
    char name[LISTEN_TAG_MAX + 1];
    if (!listen_take_name(text, name, sizeof name, true) || name[0] == '\0') {
        return listen_fault(parser, "write tag[NAME]: or tag_NAME_:, with 1 to 8 characters");
    }
    option_notice(parser->options,
                  "the tag of -l %s changes nothing: it is for memcached's proxy, which stayd does "
                  "not have",
                  parser->text);
    return true;
}

/* Parses ADDRESS or ADDRESS:PORT. An IPv6 address without a port may stand without brackets. */
static bool listen_take_host(struct listen_parser *parser, const char *text) {
    const char *end = NULL; /* of the host */
    if (*text == '[') {
        text++;
        end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return listen_fault(parser, "an IPv6 address must be in brackets, such as [::1]:11211");
        }
    } else if (strchr(text, ':') == strrchr(text, ':')) {
        end = strchr(text, ':');
    }
    const char *port = end == NULL ? NULL : strchr(end, ':');
    size_t length = end == NULL ? strlen(text) : (size_t)(end - text);
    if (length == 0 || length >= sizeof parser->host) {
        return listen_fault(parser, "there is no address, or a too long one");
    }
    memcpy(parser->host, text, length);
    parser->host[length] = '\0';
    uint64_t number = parser->port;
    if (port != NULL &&
        (!number_parse_u64(bytes_from_string(port + 1), &number) || number - 1 >= UINT16_MAX)) {
        return listen_fault(parser, "the port must be a number from 1 to 65535");
    }
    if (number == 0 && !parser->options->memcached.any_port) {
        return listen_fault(parser, "needs a port, since -p 0 gives none");
    }
    parser->port = (unsigned)number;
    return true;
}

/* Whether this machine has the address, and its kind of addresses at all. */
static bool listen_is_usable(const struct addrinfo *found) {
    struct sockaddr_storage any_port;
    memcpy(&any_port, found->ai_addr, found->ai_addrlen);
    if (found->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)&any_port)->sin6_port = 0;
    } else {
        ((struct sockaddr_in *)&any_port)->sin_port = 0;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool usable = bind(fd, (const struct sockaddr *)&any_port, found->ai_addrlen) == 0;
    close(fd);
    return usable;
}

/* Adds all addresses of the host that this machine has. A single address is added in any case: if
 * it cannot be used, the daemon says why when it binds it. */
static void listen_add_host(struct listen_parser *parser) {
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                   .ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM};
    bool every = strcmp(parser->host, "*") == 0;
    char port[16];
    snprintf(port, sizeof port, "%u", parser->port);
    struct addrinfo *all = NULL;
    int error = getaddrinfo(every ? NULL : parser->host, port, &hints, &all);
    if (error != 0) {
        faults_add(parser->faults, 0, "-l %s: cannot resolve %s: %s", parser->text, parser->host,
                   gai_strerror(error));
        return;
    }
    unsigned added = 0;
    bool single = all->ai_next == NULL;
    for (const struct addrinfo *found = all; found != NULL; found = found->ai_next) {
        struct address address;
        if (!address_from_socket(found->ai_addr, found->ai_addrlen, &address)) {
            continue;
        }
        if (!single && !listen_is_usable(found)) {
            option_notice(parser->options, "-l %s: this machine has no address %s", parser->text,
                          address.text);
            continue;
        }
        struct config_listen *listen = listen_add(parser);
        if (listen == NULL) {
            break;
        }
        listen->address = address;
        added++;
    }
    freeaddrinfo(all);
    if (added == 0 && parser->pool->listen_count < CONFIG_LISTENS_MAX) {
        listen_fault(parser, "this machine has none of its addresses");
    }
}

/* Adds the addresses of one -l: a list, separated by commas. */
static void listen_add_list(struct listen_parser *parser, const char *texts) {
    const struct memcached_options *memcached = &parser->options->memcached;
    char *list = strdup(texts);
    char *rest = NULL;
    for (char *text = list != NULL ? strtok_r(list, ",; ", &rest) : NULL; text != NULL;
         text = strtok_r(NULL, ",; ", &rest)) {
        const char *address = text;
        parser->text = text;
        parser->port = memcached->port;
        parser->protocols = parser->pool->protocols;
        if (listen_take_tls(parser, &address) && listen_take_protocol(parser, &address) &&
            listen_take_tag(parser, &address) && listen_take_host(parser, address)) {
            listen_add_host(parser);
        }
    }
    free(list);
}

static void listen_add_socket(struct listen_parser *parser) {
    const struct memcached_options *memcached = &parser->options->memcached;
    char text[PATH_MAX + 8];
    char error[ADDRESS_ERROR_MAX];
    snprintf(text, sizeof text, "unix:%s", memcached->socket_path);
    parser->pool->socket_mode = memcached->socket_mode;
    struct config_listen *listen = listen_add(parser);
    if (listen != NULL && !address_parse(text, "", &listen->address, error)) {
        faults_add(parser->faults, 0, "-s %s: %s", memcached->socket_path, error);
    }
}

void memcached_listen_configure(struct options *options, struct config_pool *pool,
                                struct faults *faults) {
    const struct memcached_options *memcached = &options->memcached;
    struct listen_parser parser = {
        .options = options, .pool = pool, .faults = faults, .protocols = pool->protocols};
    if (memcached->socket_path[0] != '\0') {
        listen_add_socket(&parser);
        return;
    }
    if (memcached->listen_count == 0) {
        listen_add_list(&parser, "127.0.0.1");
    }
    for (unsigned i = 0; i < memcached->listen_count; i++) {
        listen_add_list(&parser, memcached->listens[i]);
    }
}
