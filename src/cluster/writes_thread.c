#include "cluster/writes_private.h"

#include "base/clock.h"

#include <stdlib.h>

/* Sends one request. Under the lock, which is released meanwhile. */
static void writes_send(struct writes *writes, struct write *write, struct buffer *payload) {
    char subject[ENGINE_SUBJECT_MAX];
    struct engine *engine = writes->options.engine;
    bool finds = write->phase == WRITE_FIND;
    uint64_t number = write->number;
    uint32_t partition = write->partition;
    struct engine_write request = {
        .token = number,
        .subject = subject,
        .is_conditional = true,
        .expected = write->proposal.expected,
        .ttl_s = message_life_s(&write->proposal.change, write->proposal.expected,
                                &writes->options.life, clock_unix_s()),
    };
    subjects_write_key(writes->options.subjects, write_key(write), subject);
    if (!finds && !message_write(payload, &write->proposal.change,
                                 (struct message_id){writes->options.host, number})) {
        writes_set_time(write, WRITE_PAUSED, WRITES_ABSENT_MS);
        return;
    }
    request.payload = bytes_from(payload->data, payload->size);
    writes_set_time(write, finds ? WRITE_LOOKING : WRITE_SENT, writes->options.attempt_ms);
    pthread_mutex_unlock(&writes->lock);
    bool sent = finds ? engine->find(engine->self, number, partition, subject)
                      : engine->write(engine->self, &request);
    pthread_mutex_lock(&writes->lock);
    if (!sent) {
        struct write *now = *writes_find_number(writes, number);
        if (now != NULL && now->phase == WRITE_SENT) {
            writes_set_time(now, WRITE_PAUSED, WRITES_ABSENT_MS);
        } else if (now != NULL && now->phase == WRITE_LOOKING) {
            writes_set_time(now, WRITE_LOOKING, WRITES_ABSENT_MS);
        }
    }
}

/* Its time is over. */
static void writes_check_time(struct writes *writes, struct write *write, uint64_t now_ms) {
    if (now_ms >= write->deadline_ms) {
        writes_fail(writes, write, STATUS_UNAVAILABLE);
        return;
    }
    if (write->phase == WRITE_AWAITING || write->phase == WRITE_STORED ||
        write->phase == WRITE_SEND || write->phase == WRITE_FIND ||
        write->phase == WRITE_CONFIRMING || now_ms < write->until_ms) {
        return;
    }
    switch (write->phase) {
    case WRITE_SENT:
        writes->stats.lost_answers++;
        write->unclear = true;
        writes_enqueue(writes, write, WRITE_FIND);
        break;
    case WRITE_LOOKING:
        writes_enqueue(writes, write, WRITE_FIND);
        break;
    case WRITE_PAUSED:
        writes_enqueue(writes, write, WRITE_SEND);
        break;
    case WRITE_RESTING:
        writes_plan_again(writes, write);
        break;
    default:
        break;
    }
}

static void writes_check_times(struct writes *writes) {
    uint64_t now_ms = clock_exact_ms();
    for (unsigned i = 0; i < WRITES_CHAINS; i++) {
        struct write *next;
        for (struct write *write = writes->numbered[i]; write != NULL; write = next) {
            next = write->next_of_number;
            writes_check_time(writes, write, now_ms);
        }
    }
}

/* Sends one write that is due. Under the lock, which is released meanwhile. False: none is. */
static bool writes_send_next(struct writes *writes, struct buffer *payload) {
    struct write *write = writes_dequeue(writes);
    if (write == NULL) {
        return false;
    }
    if (write->phase == WRITE_SEND || write->phase == WRITE_FIND) {
        writes_send(writes, write, payload);
    } /* else: an answer has come meanwhile */
    return true;
}

void writes_send_due(struct writes *writes) {
    pthread_mutex_lock(&writes->lock);
    while (!writes->stopping && writes_send_next(writes, &writes->engine_payload)) {
    }
    pthread_mutex_unlock(&writes->lock);
}

/* Waits until there is something to do; under the lock. */
static void writes_rest(struct writes *writes, uint64_t *busy_ms) {
    uint64_t now_ms = clock_exact_ms();
    if (writes->on_the_way > 0) {
        *busy_ms = now_ms;
    }
    if (now_ms >= *busy_ms + WRITES_AWAKE_MS) {
        writes->sleeps = true;
        pthread_cond_wait(&writes->wake, &writes->lock);
        writes->sleeps = false;
    } else {
        struct timespec until = clock_deadline(WRITES_TICK_MS * UINT64_C(1000000));
        pthread_cond_timedwait(&writes->wake, &writes->lock, &until);
    }
}

static void *writes_main(void *argument) {
    struct writes *writes = argument;
    struct buffer payload = {0};
    uint64_t checked_ms = 0;
    uint64_t busy_ms = 0;
    pthread_mutex_lock(&writes->lock);
    while (!writes->stopping) {
        if (writes->confirmations_due > 0) {
            writes_send_confirmation(writes);
        } else if (!writes_send_next(writes, &payload)) {
            writes_rest(writes, &busy_ms);
        }
        uint64_t now_ms = clock_exact_ms();
        if (now_ms >= checked_ms + WRITES_TICK_MS) {
            checked_ms = now_ms;
            writes_check_times(writes);
            writes_check_confirmations(writes, now_ms);
        }
    }
    pthread_mutex_unlock(&writes->lock);
    buffer_finish(&payload);
    return NULL;
}

struct writes *writes_create(const struct writes_options *options) {
    struct writes *writes = calloc(1, sizeof *writes);
    if (writes == NULL) {
        return NULL;
    }
    writes->options = *options;
    writes->options.attempt_ms = options->attempt_ms != 0 ? options->attempt_ms : WRITES_ATTEMPT_MS;
    writes->options.deadline_ms =
        options->deadline_ms != 0 ? options->deadline_ms : WRITES_DEADLINE_MS;
    writes->noise = options->host;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&writes->lock, NULL);
    pthread_cond_init(&writes->wake, &monotonic);
    pthread_cond_init(&writes->flush_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&writes->thread, NULL, writes_main, writes) != 0) {
        pthread_cond_destroy(&writes->wake);
        pthread_cond_destroy(&writes->flush_wake);
        pthread_mutex_destroy(&writes->lock);
        free(writes);
        return NULL;
    }
    return writes;
}

void writes_stop(struct writes *writes) {
    pthread_mutex_lock(&writes->lock);
    writes->stopping = true;
    pthread_cond_signal(&writes->wake);
    pthread_cond_signal(&writes->flush_wake);
    pthread_mutex_unlock(&writes->lock);
    pthread_join(writes->thread, NULL);
}

void writes_destroy(struct writes *writes) {
    if (writes == NULL) {
        return;
    }
    for (unsigned i = 0; i < WRITES_CHAINS; i++) {
        while (writes->numbered[i] != NULL) { /* of connections that have ended */
            writes_fail(writes, writes->numbered[i], STATUS_UNAVAILABLE);
        }
    }
    pthread_cond_destroy(&writes->wake);
    pthread_cond_destroy(&writes->flush_wake);
    pthread_mutex_destroy(&writes->lock);
    buffer_finish(&writes->engine_payload);
    free(writes);
}

void writes_get_stats(struct writes *writes, struct writes_stats *stats) {
    pthread_mutex_lock(&writes->lock);
    *stats = writes->stats;
    stats->in_flight = writes->on_the_way;
    pthread_mutex_unlock(&writes->lock);
}

void writes_get_partition(struct writes *writes, uint32_t partition,
                          struct writes_partition_stats *stats) {
    pthread_mutex_lock(&writes->lock);
    *stats = writes->partitions[partition];
    pthread_mutex_unlock(&writes->lock);
}
