#include "cluster/accesses.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct accesses_key {
    uint8_t size;
    char key[POOL_KEY_MAX];
};

struct accesses {
    struct accesses_options options;
    struct buffer payload; /* of the thread that writes */
    _Atomic uint32_t count;
    pthread_mutex_t lock; /* of the rest */
    uint32_t first;
    struct accesses_key keys[ACCESSES_QUEUE];
};

struct accesses *accesses_create(const struct accesses_options *options) {
    struct accesses *accesses = calloc(1, sizeof *accesses);
    if (accesses != NULL) {
        accesses->options = *options;
        pthread_mutex_init(&accesses->lock, NULL);
    }
    return accesses;
}

void accesses_destroy(struct accesses *accesses) {
    if (accesses == NULL) {
        return;
    }
    buffer_finish(&accesses->payload);
    pthread_mutex_destroy(&accesses->lock);
    free(accesses);
}

void accesses_note(struct accesses *accesses, struct bytes key) {
    pthread_mutex_lock(&accesses->lock);
    uint32_t count = atomic_load(&accesses->count);
    if (count < ACCESSES_QUEUE) {
        struct accesses_key *at = &accesses->keys[(accesses->first + count) % ACCESSES_QUEUE];
        at->size = (uint8_t)key.size;
        memcpy(at->key, key.data, key.size);
        atomic_store(&accesses->count, count + 1);
    }
    pthread_mutex_unlock(&accesses->lock);
}

static bool accesses_take(struct accesses *accesses, struct accesses_key *key) {
    if (atomic_load(&accesses->count) == 0) {
        return false;
    }
    pthread_mutex_lock(&accesses->lock);
    *key = accesses->keys[accesses->first];
    accesses->first = (accesses->first + 1) % ACCESSES_QUEUE;
    atomic_fetch_sub(&accesses->count, 1);
    pthread_mutex_unlock(&accesses->lock);
    return true;
}

static void accesses_write(struct accesses *accesses, struct store_thread *thread,
                           const struct accesses_key *key, uint64_t token) {
    const struct accesses_options *options = &accesses->options;
    struct replica replica;
    char subject[ENGINE_SUBJECT_MAX];
    struct bytes name = bytes_from(key->key, key->size);
    /* The flush before the item: an item from before a flush that comes in between is void. */
    uint64_t flush =
        atomic_load(&options->flushes[subjects_get_partition(options->subjects, name)]);
    /* Writes of this host are numbered from 1 on; 0: nobody waits for this one. */
    const struct message_id id = {.host = options->host, .number = 0};
    if (!pool_describe_access(options->pool, thread, name, &replica)) {
        return;
    }
    replica.flush = flush;
    if (!message_write(&accesses->payload, &replica, id)) {
        return;
    }
    subjects_write_key(options->subjects, name, subject);
    const struct engine_write write = {
        .token = token,
        .subject = subject,
        .payload = bytes_from(accesses->payload.data, accesses->payload.size),
        .is_conditional = true,
        .expected = replica.sequence,
        .ttl_s = message_life_s(&replica, replica.sequence, &options->life, clock_unix_s()),
    };
    options->engine->write(options->engine->self, &write);
}

void accesses_run(struct accesses *accesses, struct store_thread *thread, uint64_t token) {
    struct accesses_key key;
    for (unsigned count = 0; count < ACCESSES_TURN && accesses_take(accesses, &key); count++) {
        store_thread_refresh(thread);
        accesses_write(accesses, thread, &key, token);
    }
}
