#include "cluster/flusher.h"

#include "base/clock.h"
#include "store/replication.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    FLUSHER_TICK_MS = 5,
    FLUSHER_ATTEMPT_MS = 2000,
    FLUSHER_AGAIN_MS = 100,
};

static const char flusher_record[] = "stayd flush 1";

enum flush_step { FLUSH_WRITE, FLUSH_PURGE, FLUSH_APPLIED, FLUSH_DONE };

struct flush_part {
    enum flush_step step;
    uint64_t last;     /* sequence of the last flush record, as far as is known */
    uint64_t token;    /* of the request whose answer is awaited; 0: none is */
    uint64_t until_ms; /* when it is sent again */
    bool answered;
    enum engine_outcome outcome;
    uint64_t sequence;
};

struct flusher {
    struct flusher_options options;
    pthread_t thread;
    _Atomic bool stopping;
    pthread_mutex_t lock; /* of `parts` and `tokens` */
    pthread_cond_t answer;
    uint64_t tokens;
    struct flush_part parts[POOL_PARTITIONS_MAX];
};

bool flusher_is_record(struct bytes payload) {
    return bytes_equal(payload, bytes_from_string(flusher_record));
}

void flusher_take_outcome(struct flusher *flusher, uint64_t token, enum engine_outcome outcome,
                          uint64_t sequence) {
    pthread_mutex_lock(&flusher->lock);
    struct flush_part *part = &flusher->parts[token % POOL_PARTITIONS_MAX];
    if (part->token == token) {
        part->answered = true;
        part->outcome = outcome;
        part->sequence = sequence;
        pthread_cond_signal(&flusher->answer);
    }
    pthread_mutex_unlock(&flusher->lock);
}

/* Sends the request of the part's step. Under the lock, which is released meanwhile. */
static void flusher_send(struct flusher *flusher, uint32_t partition, uint64_t now_ms) {
    struct flush_part *part = &flusher->parts[partition];
    struct engine *engine = flusher->options.engine;
    char subject[ENGINE_SUBJECT_MAX];
    uint64_t token = FLUSHER_TOKEN | ++flusher->tokens * POOL_PARTITIONS_MAX | partition;
    uint64_t last = part->last;
    bool purges = part->step == FLUSH_PURGE;
    part->token = token;
    part->answered = false;
    part->until_ms = now_ms + FLUSHER_ATTEMPT_MS;
    subjects_write_flush(flusher->options.subjects, partition, subject);
    const struct engine_write write = {
        .token = token,
        .subject = subject,
        .payload = bytes_from_string(flusher_record),
        .is_conditional = true,
        .expected = last,
    };
    pthread_mutex_unlock(&flusher->lock);
    bool sent = purges ? engine->purge(engine->self, token, partition, last)
                       : engine->write(engine->self, &write);
    pthread_mutex_lock(&flusher->lock);
    if (!sent) {
        part->until_ms = now_ms + FLUSHER_AGAIN_MS;
    }
}

static void flusher_take_answer(struct flush_part *part, uint64_t now_ms) {
    part->answered = false;
    part->token = 0;
    part->until_ms = now_ms;
    switch (part->outcome) {
    case ENGINE_STORED:
        part->last = part->step == FLUSH_PURGE ? part->last : part->sequence;
        part->step++;
        break;
    case ENGINE_CONFLICT: /* another flush, or an earlier attempt of this one */
        part->last = part->sequence;
        break;
    default:
        part->until_ms = now_ms + FLUSHER_AGAIN_MS;
        break;
    }
}

/* One look at a part. Under the lock. Returns whether it is done. */
static bool flusher_advance(struct flusher *flusher, uint32_t partition) {
    struct flush_part *part = &flusher->parts[partition];
    uint64_t now_ms = clock_exact_ms();
    if (part->answered) {
        flusher_take_answer(part, now_ms);
    }
    if (part->step == FLUSH_APPLIED &&
        pool_get_position(flusher->options.pool, partition) >= part->last) {
        part->step = FLUSH_DONE;
    }
    if (part->step < FLUSH_APPLIED && now_ms >= part->until_ms) {
        flusher_send(flusher, partition, now_ms);
    }
    return part->step == FLUSH_DONE;
}

static enum status flusher_run(struct flusher *flusher) {
    uint32_t count = flusher->options.subjects->partitions;
    uint64_t deadline_ms = clock_exact_ms() + WRITES_DEADLINE_MS;
    uint32_t done = 0;
    pthread_mutex_lock(&flusher->lock);
    for (uint32_t i = 0; i < count; i++) {
        flusher->parts[i] = (struct flush_part){.last = flusher->parts[i].last};
    }
    while (done < count && clock_exact_ms() < deadline_ms && !atomic_load(&flusher->stopping)) {
        done = 0;
        for (uint32_t i = 0; i < count; i++) {
            done += flusher_advance(flusher, i);
        }
        if (done < count) {
            struct timespec until = clock_deadline(FLUSHER_TICK_MS * UINT64_C(1000000));
            pthread_cond_timedwait(&flusher->answer, &flusher->lock, &until);
        }
    }
    pthread_mutex_unlock(&flusher->lock);
    return done == count ? STATUS_OK : STATUS_UNAVAILABLE;
}

static void *flusher_main(void *argument) {
    struct flusher *flusher = argument;
    while (writes_wait_flush(flusher->options.writes)) {
        writes_end_flush(flusher->options.writes, flusher_run(flusher));
    }
    writes_end_flush(flusher->options.writes, STATUS_UNAVAILABLE);
    return NULL;
}

struct flusher *flusher_start(const struct flusher_options *options) {
    struct flusher *flusher = calloc(1, sizeof *flusher);
    if (flusher == NULL) {
        return NULL;
    }
    pthread_condattr_t monotonic;
    flusher->options = *options;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&flusher->lock, NULL);
    pthread_cond_init(&flusher->answer, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&flusher->thread, NULL, flusher_main, flusher) != 0) {
        flusher_destroy(flusher);
        return NULL;
    }
    return flusher;
}

void flusher_join(struct flusher *flusher) {
    if (flusher != NULL) {
        atomic_store(&flusher->stopping, true);
        pthread_join(flusher->thread, NULL);
    }
}

void flusher_destroy(struct flusher *flusher) {
    if (flusher == NULL) {
        return;
    }
    pthread_cond_destroy(&flusher->answer);
    pthread_mutex_destroy(&flusher->lock);
    free(flusher);
}
