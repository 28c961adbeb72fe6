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
 * After STAYD_DISCONNECTED the client is of no more use: close it and open another. */
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
    STAYD_REFUSED,      /* the server says why it does not: see stayd_error */
    STAYD_DISCONNECTED, /* no connection, no reply in time, or one that makes no sense */
    STAYD_BUSY          /* not now: ask again */
};

struct stayd;

/* Connects to `memcached://HOST:PORT/`, `unix:///PATH`, and, as in stayd's configuration,
 * `HOST:PORT` or `unix:PATH`. `timeout_ms` bounds each wait (to connect, for room to send,
 * for bytes to come), however many signals interrupt it.
 * NULL with a sentence in `error`. */
struct stayd *stayd_open(const char *url, unsigned timeout_ms, char error[STAYD_ERROR_MAX]);

/* Accepts NULL. */
void stayd_close(struct stayd *client);

/* Logs in to a pool that asks for it (`auth_file`): before anything else. `user` has no spaces. Not
 * for a pool that does not ask: to that one it is an item, if one that has expired.
 * STAYD_REFUSED: they are not right. */
enum stayd_status stayd_login(struct stayd *client, const char *user, const char *password);

/* What the last call that did not return STAYD_OK has to say, as a sentence. */
const char *stayd_error(const struct stayd *client);

/* A value as it was stored. `data` is the client's and valid until its next call. */
struct stayd_value {
    const char *data;
    size_t size;
    uint32_t flags;
};

enum stayd_status stayd_get(struct stayd *client, const char *key, size_t key_size,
                            struct stayd_value *value);

/* `ttl_s`: seconds from now, however many; 0: for ever. */
enum stayd_status stayd_set(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, uint32_t ttl_s);

/* Gives the item a new time to live. */
enum stayd_status stayd_touch(struct stayd *client, const char *key, size_t key_size,
                              uint32_t ttl_s);

enum stayd_status stayd_delete(struct stayd *client, const char *key, size_t key_size);

/* Forgets every item of the pool that this address belongs to. */
enum stayd_status stayd_flush(struct stayd *client);

/* Copies what the server calls its version, cut off to `size` bytes with a zero. */
enum stayd_status stayd_version(struct stayd *client, char *version, size_t size);

/* For a copy of a persistent pool's file (docs/protocol.md, `hold`): as long as the lease lasts
 * nothing in it is freed or moved. `*number` 0: begins a hold and sets its number, or STAYD_BUSY.
 * Else: that hold goes on for `lease_s` (0: it ends), or STAYD_NOT_FOUND, because it has ended. */
enum stayd_status stayd_hold(struct stayd *client, unsigned lease_s, uint64_t *number);

/* Called for each line of the statistics; the texts are valid during the call. */
typedef void stayd_stat(void *user, const char *name, const char *value);

/* `group` is such as "settings"; NULL for the general ones. */
enum stayd_status stayd_stats(struct stayd *client, const char *group, stayd_stat *each,
                              void *user);

#ifdef __cplusplus
}
#endif

#endif
