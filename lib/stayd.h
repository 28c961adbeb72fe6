/* libstayd: a client of stayd (and of any memcached) for C programs.
 *
 *     char error[STAYD_ERROR_MAX];
 *     struct stayd *client = stayd_open("unix:///run/stayd/sessions.sock", 1000, error);
 *     if (client == NULL) {
 *         fprintf(stderr, "%s\n", error);
 *     } else if (stayd_set(client, "k", 1, "hello", 5, 0, 3600) != STAYD_OK) {
 *         fprintf(stderr, "%s\n", stayd_error(client));
 *     }
 *     stayd_close(client);
 *
 * One connection, used by one thread at a time. A call sends one request and waits for its reply.
 * After STAYD_DISCONNECTED the client cannot be used again: close it and open another. */
#ifndef STAYD_H
#define STAYD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { STAYD_ERROR_MAX = 512 /* bytes of a message, with its zero */ };

enum stayd_status {
    STAYD_OK,
    STAYD_NOT_FOUND,    /* no live item under this key */
    STAYD_INVALID,      /* the arguments cannot be sent: a key is 1 to 250 bytes without spaces */
    STAYD_REFUSED,      /* the server refused the request; stayd_error has the reason */
    STAYD_DISCONNECTED, /* no connection, no reply in time, or an invalid reply */
    STAYD_BUSY          /* the server is busy: try again */
};

struct stayd;

/* Connects to `memcached://HOST:PORT/`, `unix:///PATH`, and, as in stayd's configuration,
 * `HOST:PORT` or `unix:PATH`. `timeout_ms` limits each wait (to connect, to send, to
 * receive); signals do not extend it. NULL with a sentence in `error`. */
struct stayd *stayd_open(const char *url, unsigned timeout_ms, char error[STAYD_ERROR_MAX]);

/* Accepts NULL. */
void stayd_close(struct stayd *client);

/* Logs in to a pool with an `auth_file`, before any other request. `user` has no spaces. Do not
 * call it for a pool without a login: that pool would take the request as a set of an item, which
 * expires at once. STAYD_REFUSED: wrong user or password. */
enum stayd_status stayd_login(struct stayd *client, const char *user, const char *password);

/* The reason why the last failed call did not return STAYD_OK, as a sentence. */
const char *stayd_error(const struct stayd *client);

/* A value. `data` belongs to the client and is valid until its next call. */
struct stayd_value {
    const char *data;
    size_t size;
    uint32_t flags;
};

enum stayd_status stayd_get(struct stayd *client, const char *key, size_t key_size,
                            struct stayd_value *value);

/* `ttl_s`: the time to live in seconds, without a maximum; 0: the item does not expire. */
enum stayd_status stayd_set(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, uint32_t ttl_s);

/* Sets a new time to live. */
enum stayd_status stayd_touch(struct stayd *client, const char *key, size_t key_size,
                              uint32_t ttl_s);

enum stayd_status stayd_delete(struct stayd *client, const char *key, size_t key_size);

/* Deletes all items of the pool that this address belongs to. */
enum stayd_status stayd_flush(struct stayd *client);

/* Copies the server's version, truncated to `size` bytes including the zero. */
enum stayd_status stayd_version(struct stayd *client, char *version, size_t size);

/* A hold, for copying a persistent pool's file (docs/protocol.md, `hold`): while it lasts, nothing
 * in the file is freed or moved. If `*number` is 0, begins a hold and sets its number; STAYD_BUSY:
 * it cannot begin now. Otherwise extends that hold by `lease_s` seconds (0: ends it);
 * STAYD_NOT_FOUND: it has ended already. */
enum stayd_status stayd_hold(struct stayd *client, unsigned lease_s, uint64_t *number);

/* Called for each line of the statistics; the texts are valid during the call. */
typedef void stayd_stat(void *user, const char *name, const char *value);

/* `group` is a group of statistics, such as "settings"; NULL: the general statistics. */
enum stayd_status stayd_stats(struct stayd *client, const char *group, stayd_stat *each,
                              void *user);

#ifdef __cplusplus
}
#endif

#endif
