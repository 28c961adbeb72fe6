/* A client that remembers the replies that it got, and can check whether the contents of any pool
 * agree with them.
 *
 * For each of its keys the client knows the states that may be found: the last one that is
 * certainly on the disk, and all later ones. Earlier states must never be seen again.
 *
 *     key 7    state 12 | state 13 | state 14 | state 15
 *              durable    not yet ................ being written
 *
 * One thread runs the client's operations; any thread may call the other functions. */
#ifndef STAYD_TESTS_CLIENT_H
#define STAYD_TESTS_CLIENT_H

#include "disk.h"
#include "store/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { CLIENT_KEYS_MAX = 128, CLIENT_STATES_MAX = 64, CLIENT_MESSAGE_MAX = 512 };

struct client_state {
    uint32_t version; /* the value's version; 0: there is no such item */
    uint32_t expiry_s;
    uint32_t client_flags;
    uint32_t size_bytes;
};

struct client_key {
    struct client_state states[CLIENT_STATES_MAX];
    uint32_t count; /* from 1 on; includes the state that is being written */
    bool pending;   /* the last state is being written */
    uint64_t first; /* the number of states[0] */
};

/* How often a client does each operation, in percent. */
struct client_habits {
    unsigned keys;
    unsigned value_max_bytes;
    unsigned deletes;
    unsigned touches;
    unsigned adds;
    unsigned expiring; /* of the sets, the share with an expiry */
    unsigned already;  /* of the expiries, the share that has passed */
    unsigned flushes_per_mille;
    unsigned delayed_per_mille; /* flushes that become due later */
};

/* What a client knows at one moment. */
struct client_view {
    char name;
    unsigned keys;
    uint32_t now_s;
    uint32_t flush_due_s; /* 0: none is due */
    bool flush_certain;   /* that flush is on the disk */
    bool may_miss;        /* the pool evicts */
    struct client_key key[CLIENT_KEYS_MAX];
};

struct client {
    pthread_mutex_t *lock; /* of `view`; shared by the clients of one pool */
    struct client_view view;
    struct client_habits habits;
    uint64_t random;
    bool flush_unsettled; /* a flush replaced one that was due and maybe not on the disk */
    uint32_t version;     /* the version of the value that was written last */
    uint64_t highest_cas; /* the highest CAS number that the client was told */
    uint64_t operations;
    uint64_t refused;               /* because the pool was full */
    char wrong[CLIENT_MESSAGE_MAX]; /* the first broken promise; "": none */
};

/* `name` is the prefix of its keys, so that the clients of one pool have different keys. */
void client_init(struct client *client, char name, const struct client_habits *habits,
                 uint64_t seed, pthread_mutex_t *lock);

/* Does one operation. Returns its status after the pool has done it. READ_ONLY and NO_MEMORY:
 * nothing was changed. */
enum status client_step(struct client *client, struct pool *pool, struct store_thread *thread);

/* Sets one key. */
enum status client_set(struct client *client, struct pool *pool, struct store_thread *thread,
                       unsigned key, uint32_t expiry_s, uint32_t size_bytes);
enum status client_delete(struct client *client, struct pool *pool, struct store_thread *thread,
                          unsigned key);
enum status client_touch(struct client *client, struct pool *pool, struct store_thread *thread,
                         unsigned key, uint32_t expiry_s);
enum status client_flush(struct client *client, struct pool *pool, struct store_thread *thread,
                         uint32_t delay_s);

/* Whether a key has so many possible states that a sync is needed. */
bool client_needs_sync(const struct client *client);

/* Whether a sync is needed because only the disk decides which flush is still due. */
bool client_flush_uncertain(const struct client *client);

/* Every change so far has been acknowledged and is on the disk. Called by the client's thread. */
void client_acknowledge(struct client *client);

/* A sync has ended. It covers the changes that were made before it began. */
void client_sync_begins(struct client *client, uint64_t *numbers);
void client_sync_ended(struct client *client, const uint64_t *numbers);

/* Advances the clock; a flush may fall due. Called by the client's thread. */
void client_pass_time(struct client *client, struct pool *pool, struct store_thread *thread,
                      uint32_t by_s);

/* Compares every key with the pool. False: `wrong` says which promise was broken. */
bool client_compare(const struct client_view *view, struct pool *pool, struct store_thread *thread,
                    char wrong[CLIENT_MESSAGE_MAX]);

/* Opens a pool on the data that a power cut has left, `later_s` seconds later, and compares. */
bool client_examine(const struct client_view *views, unsigned count,
                    const struct pool_options *options, const unsigned char *image, size_t size,
                    uint32_t later_s, char wrong[CLIENT_MESSAGE_MAX]);

/* Like client_compare, after a restart. From then on only the states that were found are
 * possible. */
bool client_resume(struct client *client, struct pool *pool, struct store_thread *thread,
                   char wrong[CLIENT_MESSAGE_MAX]);

#endif
