/* libstayd: a client of stayd, and of any memcached, for C programs on Linux.
 *
 *     struct stayd_error error;
 *     struct stayd *client = stayd_open("unix:///run/stayd/sessions.sock", NULL, &error);
 *     if (client == NULL ||
 *         stayd_failed(stayd_set(client, "k", 1, "hello", 5, 0, 3600, &error))) {
 *         fprintf(stderr, "%s\n", error.message);
 *     }
 *     stayd_close(client);
 *
 * Threads: any number of threads may use one client at the same time; each request under way has a
 * connection of its own. Only stayd_close needs the client for itself.
 *
 * Forks: a client may be used on both sides of any fork, also of a fork that the C library does not
 * see. The child opens its own connections, and writes nothing to the parent's connections or TLS
 * sessions. If a callback forks during a request, the request goes on in the parent, and ends in
 * the child.
 *
 * Signals: the library raises no signal (no SIGPIPE) and handles none. A signal does not make a
 * wait longer, and does not make a request fail. The library has no global state.
 *
 * Repetition: a request whose connection breaks is sent again if it only reads, or if it was
 * certainly not carried out. Any other request may have been carried out: its status is
 * STAYD_OUTCOME_UNKNOWN, and the caller decides.
 *
 * An outage: while a server refuses connections, requests wait up to `restart_wait_ms` for it to
 * come back. After that they fail at once, without a try, for a time that doubles with each failed
 * try. At the end of that time, one request tries to reach the server.
 *
 * A key must be 1 to 250 bytes without spaces and control characters; otherwise the status is
 * STAYD_INVALID. Keys need no terminating zero. */
#ifndef STAYD_H
#define STAYD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* --- statuses and errors --- */

enum { STAYD_ERROR_MAX = 512 /* bytes of a message, with its zero */ };

/* The numbers never change; later versions may add some. */
enum stayd_status {
    /* Outcomes: what the server says of the item. They write nothing to the stayd_error. */
    STAYD_OK = 0,
    STAYD_NOT_FOUND = 1,  /* no live item under this key */
    STAYD_NOT_STORED = 2, /* add: there is an item; replace, append, prepend: there is none */
    STAYD_EXISTS = 3,     /* cas: the item has changed since its number was read */
    STAYD_NOT_MAPPED = 4, /* stayd_get_mapped only: ask the server */

    /* Failures: each fills in the stayd_error. */
    STAYD_INVALID = 16,         /* an argument cannot be sent, or a URL or option cannot be used */
    STAYD_DISCONNECTED = 17,    /* no connection, or no answer; nothing was changed */
    STAYD_OUTCOME_UNKNOWN = 18, /* no answer to a change that may have been carried out; or the
                                   cluster of the pool has not confirmed it */
    STAYD_BUSY = 19, /* too many connections or open files, or a pool that cannot begin a hold now:
                        try again */
    STAYD_LOGIN_REFUSED = 20, /* the server requires a login, or refuses this login */
    STAYD_REFUSED = 21,       /* the server reports the request as wrong or unknown */
    STAYD_FULL = 22,          /* the pool is full, and evicts no live item for a new one */
    STAYD_TOO_LARGE = 23,     /* the value is larger than the server accepts */
    STAYD_SERVER_ERROR = 24,  /* any other failure of the server */
    STAYD_PROTOCOL = 25,      /* the answer is not a valid reply of the protocol */
    STAYD_NO_MEMORY = 26,     /* this process has no memory */
    STAYD_INTERRUPTED =
        27, /* stayd_options.interrupted returned true; a change may have been carried out */
    STAYD_UNSUPPORTED = 28 /* not in this protocol: meta commands after a SASL login */
};

static inline int stayd_failed(enum stayd_status status) {
    return status >= STAYD_INVALID;
}

/* The reason of a failure. The caller owns the struct; every `error` parameter may be NULL. */
struct stayd_error {
    enum stayd_status status;
    int timed_out;                 /* 1: no answer came in time */
    int system_error;              /* errno of the system call that failed; 0: none */
    int server;                    /* the server's number, from 0; -1: no server in particular */
    char message[STAYD_ERROR_MAX]; /* a sentence: what failed, on what, why, what to do */
};

/* --- opening and closing --- */

struct stayd;

/* How keys are distributed over servers. With one server the distribution does not matter. */
enum stayd_distribution {
    STAYD_KETAMA = 0,          /* libmemcached's MEMCACHED_BEHAVIOR_KETAMA (pylibmc: "ketama") */
    STAYD_KETAMA_WEIGHTED = 1, /* its MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED (pylibmc:
                                  "ketama_weighted"; PHP: OPT_LIBKETAMA_COMPATIBLE) */
    STAYD_RENDEZVOUS = 2,      /* pymemcache's HashClient, and Django's PyMemcacheCache */
    STAYD_MODULA = 3,          /* libmemcached's and pylibmc's default */
    STAYD_KETAMA_MD5 = 4       /* STAYD_KETAMA with MEMCACHED_BEHAVIOR_HASH as MD5 */
};

enum stayd_login {
    STAYD_LOGIN_TEXT = 0, /* as for stayd's auth_file and memcached -Y */
    STAYD_LOGIN_SASL = 1  /* SASL PLAIN, as for memcached -S: binary protocol, no meta commands */
};

/* In each field 0 (or NULL) means the URL's value, or else the default. Times are milliseconds. */
struct stayd_options {
    size_t size; /* sizeof(struct stayd_options): see stayd_options_init */

    int connect_timeout_ms; /* 2000: to connect, shake hands in TLS and log in. Looking up a host
                               name takes as long as the system's resolver does */
    int timeout_ms;         /* 5000: from a request's first byte to its reply's last, for one try */
    int total_timeout_ms;   /* no limit: for a call as a whole, with all its tries, connects and
                               waits, on all servers together */
    int restart_wait_ms;    /* 1000: how long a refused connect is tried again; below 0: it is not
                               tried again */
    int idle_timeout_ms;    /* 60000: a connection that was not used for so long is closed */
    unsigned max_connections; /* no limit: open connections to one server, in use and idle. A
                                 request that needs one more fails with STAYD_BUSY */

    enum stayd_distribution distribution;
    int failover; /* 1: while a server is down, the next server in the distribution has its keys;
                     items stored there are not moved back. 0: requests for its keys fail */
    int sockets_only; /* 1: never read from a server's memory */

    enum stayd_login login;
    const char *user; /* with `password`: for all servers, in place of the logins in the URLs */
    const char *password;

    /* Paths of PEM files, for all servers that are memcacheds://. */
    const char *tls_ca;   /* the CA that must have signed the server's certificate; NULL: the CAs
                             that the system trusts */
    const char *tls_cert; /* this client's certificate; NULL: none */
    const char *tls_key;  /* the key of tls_cert; NULL: it is in the same file */

    /* Called when a signal has interrupted a wait. If it returns a number other than 0, the call
     * ends with STAYD_INTERRUPTED. The function may use the client. */
    int (*interrupted)(void *user);
    void *interrupted_user;
};

static inline void stayd_options_init(struct stayd_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
}

/* Creates a client of one server or several. `servers` is one URL or more, with commas, semicolons
 * or spaces between them:
 *
 *     memcached://HOST:PORT/              TCP; without a port: 11211
 *     memcacheds://HOST:PORT/             TLS; the certificate must be for HOST
 *     unix:///PATH                        a Unix socket
 *     memcached://USER:PASSWORD@HOST/     with a login, percent-encoded; also memcacheds and unix
 *     HOST:PORT, HOST, unix:PATH, /PATH   the same, shorter
 *
 * A query sets one server's options: `?timeout=0.5&weight=2`. Times are seconds: timeout,
 * connect_timeout, total_timeout, restart_wait, idle_timeout. With memcacheds: ca, cert, key,
 * absolute paths of PEM files. Also: `login=sasl`, and `weight`, which STAYD_KETAMA_WEIGHTED uses.
 *
 * `options` may be NULL, and is not used after the call. Connects to nothing yet. NULL with the
 * reason in `error`. */
struct stayd *stayd_open(const char *servers, const struct stayd_options *options,
                         struct stayd_error *error);

/* Closes all connections and frees the client. Accepts NULL. No other thread may be using it. */
void stayd_close(struct stayd *client);

/* Closes the connections that are not in use. The next request opens a connection again. */
void stayd_disconnect(struct stayd *client);

/* Opens a connection to the server and logs in, unless there is such a connection already. */
enum stayd_status stayd_connect(struct stayd *client, unsigned server, struct stayd_error *error);

/* Servers are counted from 0, in the order in which stayd_open was given them. */
unsigned stayd_server_count(const struct stayd *client);

/* The server's URL without user, password and query; valid until stayd_close. NULL if there is no
 * such server. */
const char *stayd_server_url(const struct stayd *client, unsigned server);

/* The server that has this key while all servers are up. */
unsigned stayd_server_of(const struct stayd *client, const char *key, size_t key_size);

/* This library's version, such as "0.1.0". */
const char *stayd_library_version(void);

/* --- values --- */

/* The result of a read. Must be zeroed before the first read. Each read may grow `data` with
 * realloc, so a value that is used again and again soon needs no more allocations. Freed with
 * stayd_value_free. */
struct stayd_value {
    char *data;      /* with a zero behind the value */
    size_t size;     /* bytes of the value */
    size_t capacity; /* bytes allocated at `data` */
    uint64_t cas;    /* the item's number for stayd_cas; 0: not requested */
    uint32_t flags;  /* the number that was stored beside the value */
};

/* Frees `data` and zeroes the rest. */
void stayd_value_free(struct stayd_value *value);

/* One of many keys: see stayd_get_many. */
struct stayd_item {
    const char *key;
    size_t key_size;
    struct stayd_value value;
    enum stayd_status status; /* a result */
};

/* Frees the values of `count` items. */
void stayd_items_free(struct stayd_item *items, size_t count);

/* --- reading --- */

/* STAYD_OK and the value, or STAYD_NOT_FOUND; value->size is 0 unless STAYD_OK. */
enum stayd_status stayd_get(struct stayd *client, const char *key, size_t key_size,
                            struct stayd_value *value, struct stayd_error *error);

/* The same, with the item's number in value->cas. */
enum stayd_status stayd_gets(struct stayd *client, const char *key, size_t key_size,
                             struct stayd_value *value, struct stayd_error *error);

/* As stayd_get, but only from mapped memory of the server, without a system call: STAYD_OK, or
 * STAYD_NOT_MAPPED if only the server can answer. Never waits. */
enum stayd_status stayd_get_mapped(struct stayd *client, const char *key, size_t key_size,
                                   struct stayd_value *value);

/* stayd_gets that also gives the item a new time to live. */
enum stayd_status stayd_gat(struct stayd *client, const char *key, size_t key_size, int64_t ttl_s,
                            struct stayd_value *value, struct stayd_error *error);

/* Reads all items' keys, in one round trip: to several servers at the same time. Each item's status
 * is that of a stayd_gets. Returns STAYD_OK if every server has answered, otherwise a failed item's
 * status, with its reason in `error`; the other items' results stand. Items may begin with
 * `value` zeroed or from an earlier call. */
enum stayd_status stayd_get_many(struct stayd *client, struct stayd_item *items, size_t count,
                                 struct stayd_error *error);

/* --- writing --- */

/* `ttl_s` is the time to live in seconds; 0: the item does not expire; below 0: the item expires at
 * once. An item that would expire after 19 January 2038 expires on that day, because some servers
 * accept no later date. `flags` is any number, kept with the value. A value of more than 1 GiB is
 * not sent: STAYD_TOO_LARGE. */

enum stayd_status stayd_set(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                            struct stayd_error *error);

/* STAYD_NOT_STORED if there is an item under this key. */
enum stayd_status stayd_add(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                            struct stayd_error *error);

/* STAYD_NOT_STORED if there is no item under this key. */
enum stayd_status stayd_replace(struct stayd *client, const char *key, size_t key_size,
                                const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                                struct stayd_error *error);

/* Stores the value if the item still has the number `cas`, from an earlier read. STAYD_EXISTS if it
 * has another number; STAYD_NOT_FOUND if there is no item. */
enum stayd_status stayd_cas(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                            uint64_t cas, struct stayd_error *error);

/* Adds the data behind, or before, the item's value; flags and time to live stay. STAYD_NOT_STORED
 * if there is no item. */
enum stayd_status stayd_append(struct stayd *client, const char *key, size_t key_size,
                               const void *data, size_t size, struct stayd_error *error);
enum stayd_status stayd_prepend(struct stayd *client, const char *key, size_t key_size,
                                const void *data, size_t size, struct stayd_error *error);

/* Adds to, or subtracts from, a value that is a decimal number; STAYD_REFUSED if the value is not a
 * number. A sum wraps at 2^64; a difference stops at 0. `*result` is the new number; may be
 * NULL. */
enum stayd_status stayd_incr(struct stayd *client, const char *key, size_t key_size, uint64_t delta,
                             uint64_t *result, struct stayd_error *error);
enum stayd_status stayd_decr(struct stayd *client, const char *key, size_t key_size, uint64_t delta,
                             uint64_t *result, struct stayd_error *error);

/* Gives the item a new time to live, from now. */
enum stayd_status stayd_touch(struct stayd *client, const char *key, size_t key_size, int64_t ttl_s,
                              struct stayd_error *error);

enum stayd_status stayd_delete(struct stayd *client, const char *key, size_t key_size,
                               struct stayd_error *error);

/* Stores all items' values with their flags, in one round trip; returns as stayd_get_many does. An
 * item that was answered keeps its own status, even if the connection broke afterwards. After an
 * item that is STAYD_REFUSED, the later items of the same server are STAYD_OUTCOME_UNKNOWN (except
 * after a SASL login). */
enum stayd_status stayd_set_many(struct stayd *client, struct stayd_item *items, size_t count,
                                 int64_t ttl_s, struct stayd_error *error);

/* Deletes all items' keys, in one round trip; returns as stayd_get_many does. */
enum stayd_status stayd_delete_many(struct stayd *client, struct stayd_item *items, size_t count,
                                    struct stayd_error *error);

/* Deletes all items of every server's pool, `delay_s` seconds from now. */
enum stayd_status stayd_flush_all(struct stayd *client, uint32_t delay_s,
                                  struct stayd_error *error);

/* --- meta commands --- */

enum { STAYD_META_FLAGS_MAX = 512 };

/* The reply to a meta command. `value` is used as in stayd_get; only the reply VA sets it. */
struct stayd_meta {
    char code[4];                     /* "HD", "VA", "EN", "NF", "NS", "EX" */
    char flags[STAYD_META_FLAGS_MAX]; /* as the server sent them, without the space before the first
                                         flag */
    struct stayd_value value;
};

/* mg, ms, md and ma. `flags` are sent as they are, such as "t v c Oopaque"; NULL: none. The flag q
 * is not allowed, because a reply could be missing; S of ms is not allowed, because the call sends
 * the size. With the flag b the key is in base64. The status: STAYD_OK for HD and VA,
 * STAYD_NOT_FOUND for EN and NF, STAYD_NOT_STORED for NS, STAYD_EXISTS for EX. `reply` may be NULL,
 * except in stayd_meta_get. ms, md, ma, and mg with N, R or T count as changes (see Repetition
 * above). */
enum stayd_status stayd_meta_get(struct stayd *client, const char *key, size_t key_size,
                                 const char *flags, struct stayd_meta *reply,
                                 struct stayd_error *error);
enum stayd_status stayd_meta_set(struct stayd *client, const char *key, size_t key_size,
                                 const void *data, size_t size, const char *flags,
                                 struct stayd_meta *reply, struct stayd_error *error);
enum stayd_status stayd_meta_delete(struct stayd *client, const char *key, size_t key_size,
                                    const char *flags, struct stayd_meta *reply,
                                    struct stayd_error *error);
enum stayd_status stayd_meta_arithmetic(struct stayd *client, const char *key, size_t key_size,
                                        const char *flags, struct stayd_meta *reply,
                                        struct stayd_error *error);

/* --- of one server --- */

/* Copies the server's version, truncated to `size` bytes including the zero. */
enum stayd_status stayd_version(struct stayd *client, unsigned server, char *version, size_t size,
                                struct stayd_error *error);

/* A function that is called for each line of the statistics. The texts are valid during the call.
 * The function may use the client. */
typedef void stayd_stat(void *user, const char *name, const char *value);

/* `group` is a group of statistics, such as "settings"; NULL: the general statistics. */
enum stayd_status stayd_stats(struct stayd *client, unsigned server, const char *group,
                              stayd_stat *each, void *user, struct stayd_error *error);

/* A hold, for copying a persistent pool's file; only stayd has this command (docs/protocol.md,
 * `hold`). During a hold, nothing in the file is freed or moved. If `*number` is 0, begins a hold
 * and sets its number; STAYD_BUSY: the hold cannot begin now. Otherwise extends the hold with this
 * number by `lease_s` seconds (0: ends it); STAYD_NOT_FOUND: that hold has ended already. */
enum stayd_status stayd_hold(struct stayd *client, unsigned server, unsigned lease_s,
                             uint64_t *number, struct stayd_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
