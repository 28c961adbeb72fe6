#include "cluster/reader.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/flusher.h"
#include "cluster/message.h"
#include "store/scan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    READER_POLL_MS = 100,
    READER_BEACON_AGAIN_MS = 2000, /* a beacon that has not arrived is written again */
    READER_LEAVE_MS = 6000, /* then another node is tried; a new leader is there sooner, mostly */
    READER_ROOM_NS = 10000000,
    READER_STALL_MS = 1000,
    READER_LOG_S = 10, /* the interval of log lines about the same */
};

struct reader_partition {
    uint64_t beacon; /* number of the last one; 0: none was written */
    /* When the first one was written that has not arrived; 0: none is missing. This and the next
     * three are written by the reader's thread only. */
    _Atomic uint64_t since_ms;
    _Atomic uint64_t pending; /* records that are still to come, as of the last one */
    _Atomic uint32_t lag_ms;
    _Atomic bool caught_up;
    uint64_t written_ms; /* when the last beacon was written */
    bool is_stalled;     /* the next record could not be written */
    uint64_t stalled_ms; /* the same: when it is tried again; 0: it is being read */
    bool compares;
    uint64_t *seen; /* compares: sequences of the log's records, ascending */
    size_t seen_count;
    size_t seen_capacity;
};

struct reader {
    struct reader_options options;
    pthread_t thread;
    struct store_thread store;
    struct buffer payload;
    uint64_t beacons;
    _Atomic bool stopping;
    _Atomic uint32_t caught_up;
    _Atomic uint64_t applied;
    _Atomic uint64_t foreign;
    _Atomic uint64_t refused;
    _Atomic uint32_t lag_ms;
    _Atomic uint32_t oldest_ms;
    uint64_t lost_answers; /* of the writes, when it has looked last: a reason to write beacons */
    uint64_t left_ms;      /* when the engine has left a node last */
    uint64_t foreign_logged_ms;
    uint64_t refused_logged_ms;
    struct reader_partition partitions[POOL_PARTITIONS_MAX];
};

static const char *reader_pool_name(const struct reader *reader) {
    return reader->options.subjects->pool;
}

/* ---- beacons ---- */

static void reader_write_beacon(struct reader *reader, uint32_t partition, uint64_t now_ms) {
    struct reader_partition *state = &reader->partitions[partition];
    struct engine *engine = reader->options.engine;
    char subject[ENGINE_SUBJECT_MAX];
    subjects_write_host(reader->options.subjects, partition, reader->options.host, subject);
    state->beacon = ++reader->beacons;
    state->written_ms = now_ms;
    state->since_ms = state->since_ms != 0 ? state->since_ms : now_ms;
    const struct engine_write write = {
        .token = READER_TOKEN | state->beacon,
        .subject = subject,
        .payload = bytes_from((const char *)&state->beacon, sizeof state->beacon),
        .ttl_s = reader->options.keep_s,
    };
    engine->write(engine->self, &write); /* if it is lost, another one follows */
}

/* Writes the beacons that are due, and notes how long one is missing. */
static void reader_check_beacons(struct reader *reader) {
    uint64_t now_ms = clock_exact_ms();
    uint32_t oldest_ms = 0;
    uint32_t unheard_ms = 0; /* the same, without the partitions that this host cannot write */
    uint32_t lag_ms = 0;
    struct writes_stats writes;
    writes_get_stats(reader->options.writes, &writes);
    bool answers_are_lost = writes.lost_answers != reader->lost_answers;
    reader->lost_answers = writes.lost_answers;
    for (uint32_t i = 0; i < reader->options.subjects->partitions; i++) {
        const struct reader_partition *state = &reader->partitions[i];
        uint32_t after_ms = state->since_ms != 0 || answers_are_lost ? READER_BEACON_AGAIN_MS
                                                                     : reader->options.beacon_ms;
        if (state->beacon == 0 || now_ms >= state->written_ms + after_ms) {
            reader_write_beacon(reader, i, now_ms);
        }
        uint32_t missing_ms = state->since_ms != 0 ? (uint32_t)(now_ms - state->since_ms) : 0;
        oldest_ms = missing_ms > oldest_ms ? missing_ms : oldest_ms;
        if (!state->is_stalled && missing_ms > unheard_ms) {
            unheard_ms = missing_ms;
        }
        lag_ms = state->lag_ms > lag_ms ? state->lag_ms : lag_ms;
    }
    atomic_store(&reader->oldest_ms, oldest_ms);
    /* The node that this host is connected to may have lost the others, or some of them. */
    if (unheard_ms >= READER_LEAVE_MS && now_ms >= reader->left_ms + READER_LEAVE_MS) {
        reader->left_ms = now_ms;
        reader->options.engine->leave(reader->options.engine->self);
    }
    atomic_store(&reader->lag_ms, lag_ms);
}

/* ---- comparing ---- */

/* Notes a record of the log. False: no memory. */
static bool reader_note_seen(struct reader_partition *state, uint64_t sequence) {
    if (state->seen_count == state->seen_capacity) {
        size_t capacity = state->seen_capacity > 0 ? 2 * state->seen_capacity : 4096;
        uint64_t *seen = realloc(state->seen, capacity * sizeof *seen);
        if (seen == NULL) {
            return false;
        }
        state->seen = seen;
        state->seen_capacity = capacity;
    }
    state->seen[state->seen_count++] = sequence;
    return true;
}

static int reader_compare(const void *a, const void *b) {
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;
    return first < second ? -1 : first > second;
}

/* The items of one bucket that are to be removed. */
struct reader_ended {
    const struct reader *reader;
    const struct reader_partition *kept; /* what the log has stays; NULL: nothing does */
    uint32_t partition;
    uint64_t before; /* items of records from this one on stay */
    struct buffer keys;
};

static void reader_visit(void *context, const struct pool_scanned *scanned) {
    struct reader_ended *ended = context;
    const struct item *item = &scanned->item;
    if (subjects_get_partition(ended->reader->options.subjects, item->key) != ended->partition ||
        item->cas >= ended->before ||
        (ended->kept != NULL && bsearch(&item->cas, ended->kept->seen, ended->kept->seen_count,
                                        sizeof item->cas, reader_compare) != NULL)) {
        return;
    }
    uint8_t size = (uint8_t)item->key.size;
    buffer_append(&ended->keys, &size, 1);
    buffer_append(&ended->keys, item->key.data, size);
}

static bool reader_apply(struct reader *reader, const struct replica *replica);

/* Removes the partition's items of records before this one, but not those that `kept` has. False:
 * the reader stops. */
static bool reader_remove(struct reader *reader, uint32_t partition, uint64_t before,
                          const struct reader_partition *kept, uint64_t *removed) {
    struct reader_ended ended = {
        .reader = reader, .kept = kept, .partition = partition, .before = before};
    uint64_t bucket = 0;
    enum status status = STATUS_OK;
    bool well = true;
    *removed = 0;
    while (well && status != STATUS_END) {
        ended.keys.size = 0;
        store_thread_refresh(&reader->store);
        status = pool_scan(reader->options.pool, &reader->store, &bucket, reader_visit, &ended);
        for (size_t at = 0; well && at < ended.keys.size;) {
            uint8_t size = (uint8_t)ended.keys.data[at];
            const struct replica gone = {.key = bytes_from(ended.keys.data + at + 1, size),
                                         .removed = true,
                                         .sequence = before};
            well = reader_apply(reader, &gone);
            ++*removed;
            at += 1 + (size_t)size;
        }
    }
    buffer_finish(&ended.keys);
    return well;
}

/* Removes the items that the log has not, up to the beacon. */
static bool reader_end_comparing(struct reader *reader, uint32_t partition, uint64_t sequence) {
    struct reader_partition *state = &reader->partitions[partition];
    uint64_t removed;
    if (!reader_remove(reader, partition, sequence, state, &removed)) {
        return false;
    }
    log_info("pool %s: partition %u was compared with its log of %zu records; %llu items that the "
             "log does not have were removed",
             reader_pool_name(reader), partition, state->seen_count, (unsigned long long)removed);
    free(state->seen);
    state->seen = NULL;
    state->seen_count = 0;
    state->compares = false;
    pool_withhold_position(reader->options.pool, partition, false);
    return true;
}

/* ---- records ---- */

static void reader_note_foreign(struct reader *reader, const struct engine_record *record,
                                const char *what) {
    uint64_t now_ms = clock_monotonic_ms();
    atomic_fetch_add(&reader->foreign, 1);
    if (now_ms >= reader->foreign_logged_ms + READER_LOG_S * 1000) {
        reader->foreign_logged_ms = now_ms;
        log_warning("pool %s: record %llu of partition %u is left out: %s",
                    reader_pool_name(reader), (unsigned long long)record->sequence,
                    record->partition, what);
    }
}

/* Writes the record to the pool. Waits while the pool makes room for it. False: the pool cannot
 * take it, or the reader stops: it must not pass the record. */
static bool reader_apply(struct reader *reader, const struct replica *replica) {
    for (;;) {
        store_thread_refresh(&reader->store);
        enum status status = pool_apply(reader->options.pool, &reader->store, replica, false);
        if (status == STATUS_OK) {
            return true;
        }
        store_thread_leave(&reader->store);
        uint64_t now_ms = clock_monotonic_ms();
        atomic_fetch_add(&reader->refused, 1);
        if (now_ms >= reader->refused_logged_ms + READER_LOG_S * 1000 &&
            status != STATUS_NEEDS_ROOM) {
            reader->refused_logged_ms = now_ms;
            log_error("pool %s cannot take a record of its cluster's log (%s), and falls behind; "
                      "give it as much memory and item_max as the other hosts' pools have",
                      reader_pool_name(reader),
                      status == STATUS_READ_ONLY   ? "it is read-only"
                      : status == STATUS_TOO_LARGE ? "the item is larger than item_max"
                                                   : "it is full");
        }
        if (atomic_load(&reader->stopping) || status != STATUS_NEEDS_ROOM) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = READER_ROOM_NS}, NULL);
    }
}

/* The partition's next record could not be written. The partition waits, and the others go on: then
 * the record comes again, or the one that has replaced it. */
static void reader_stall(struct reader *reader, uint32_t partition, uint64_t now_ms) {
    reader->partitions[partition].is_stalled = true;
    reader->partitions[partition].stalled_ms = now_ms + READER_STALL_MS;
}

/* Begins again with the partitions whose time has come. */
static void reader_check_stalled(struct reader *reader, uint64_t now_ms) {
    const struct reader_options *options = &reader->options;
    for (uint32_t i = 0; i < options->subjects->partitions; i++) {
        struct reader_partition *state = &reader->partitions[i];
        if (state->stalled_ms != 0 && now_ms >= state->stalled_ms) {
            state->stalled_ms = 0;
            options->engine->follow(options->engine->self, i,
                                    pool_get_position(options->pool, i) + 1);
        }
    }
}

static bool reader_take_beacon(struct reader *reader, const struct engine_record *record) {
    struct reader_partition *state = &reader->partitions[record->partition];
    uint64_t number;
    if (record->payload.size != sizeof number) {
        return true;
    }
    memcpy(&number, record->payload.data, sizeof number);
    if (number == state->beacon) {
        state->lag_ms = (uint32_t)(clock_exact_ms() - state->written_ms);
    } /* else: an earlier one of this run, which was written again because it took long */
    state->since_ms = 0;
    uint64_t ago_s = (clock_exact_ms() - state->written_ms) / 1000 + 1;
    own_writes_sweep(reader->options.own, record->partition, record->sequence);
    if (!state->compares) {
        pool_note_heard(reader->options.pool, record->partition, clock_unix_s() - (uint32_t)ago_s);
    }
    if (state->caught_up) {
        return true;
    }
    if (state->compares && !reader_end_comparing(reader, record->partition, record->sequence)) {
        return false;
    }
    state->caught_up = true;
    atomic_fetch_add(&reader->caught_up, 1);
    return true;
}

/* Ends all items from before the flush. */
static bool reader_take_flush(struct reader *reader, const struct engine_record *record) {
    uint64_t removed;
    if (!flusher_is_record(record->payload)) {
        reader_note_foreign(reader, record, "it is no flush that this stayd knows");
        return true;
    }
    own_writes_flush(reader->options.own, record->partition, record->sequence);
    if (!reader_remove(reader, record->partition, record->sequence, NULL, &removed)) {
        return false;
    }
    /* Not before: what is planned from now on finds no item of before. */
    atomic_store(&reader->options.flushes[record->partition], record->sequence);
    if (removed > 0) {
        log_info("pool %s: partition %u was flushed: %llu items", reader_pool_name(reader),
                 record->partition, (unsigned long long)removed);
    }
    return true;
}

/* False: the record must not be passed. */
static bool reader_take(struct reader *reader, const struct engine_record *record) {
    char key[POOL_KEY_MAX];
    size_t key_size;
    uint64_t host;
    uint64_t confirmation;
    struct message_id id;
    struct reader_partition *state = &reader->partitions[record->partition];
    switch (subjects_read(reader->options.subjects, record->partition, record->subject, key,
                          &key_size, &host)) {
    case SUBJECT_FOREIGN:
        reader_note_foreign(reader, record, "no stayd of this cluster has written it");
        return true;
    case SUBJECT_HOST:
        return host != reader->options.host || reader_take_beacon(reader, record);
    case SUBJECT_CONFIRMATION:
        if (host == reader->options.host && record->payload.size == sizeof confirmation) {
            memcpy(&confirmation, record->payload.data, sizeof confirmation);
            writes_note_confirmation(reader->options.writes, record->partition, confirmation);
        }
        return true;
    case SUBJECT_FLUSH:
        return reader_take_flush(reader, record);
    case SUBJECT_ORIGIN:
        return true;
    case SUBJECT_KEY:
        break;
    }
    if (state->compares && !reader_note_seen(state, record->sequence)) {
        log_error("pool %s: no memory to compare partition %u with its log",
                  reader_pool_name(reader), record->partition);
        return false;
    }
    struct replica replica = {.key = bytes_from(key, key_size), .sequence = record->sequence};
    switch (message_read(record->payload, &replica, &id)) {
    case MESSAGE_DAMAGED:
        reader_note_foreign(reader, record, "it is damaged");
        return true;
    case MESSAGE_OTHER_VERSION:
        reader_note_foreign(reader, record, "a later version of stayd has written it");
        return true;
    case MESSAGE_GOOD:
        break;
    }
    bool is_void =
        replica.derived && replica.flush < atomic_load(&reader->options.flushes[record->partition]);
    if (is_void) { /* all hosts see the same flush before this record */
        replica =
            (struct replica){.key = replica.key, .removed = true, .sequence = replica.sequence};
    }
    if (!reader_apply(reader, &replica)) {
        return false;
    }
    atomic_fetch_add_explicit(&reader->applied, 1, memory_order_relaxed); /* a number */
    writes_note_record(reader->options.writes, &id, record->sequence, is_void);
    return true;
}

static void *reader_main(void *argument) {
    struct reader *reader = argument;
    const struct reader_options *options = &reader->options;
    struct engine *engine = options->engine;
    uint64_t checked_ms = 0;
    for (uint32_t i = 0; i < options->subjects->partitions; i++) {
        engine->follow(engine->self, i, pool_get_position(options->pool, i) + 1);
    }
    while (!atomic_load(&reader->stopping)) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= checked_ms + READER_POLL_MS) {
            checked_ms = now_ms;
            reader_check_beacons(reader);
            reader_check_stalled(reader, now_ms);
        }
        if (options->accesses != NULL) {
            accesses_run(options->accesses, &reader->store, READER_TOKEN);
        }
        struct engine_record record;
        if (!engine->receive(engine->self, 0, &record)) {
            store_thread_leave(&reader->store); /* before it waits */
            if (!engine->receive(engine->self, READER_POLL_MS, &record)) {
                continue;
            }
        }
        if (record.sequence <= pool_get_position(options->pool, record.partition) ||
            reader->partitions[record.partition].stalled_ms != 0 ||
            writes_has_lost_log(options->writes, record.partition)) {
            continue; /* a node that is behind sends again what the pool has */
        }
        if (!reader_take(reader, &record)) {
            reader_stall(reader, record.partition, now_ms);
            continue;
        }
        reader->partitions[record.partition].is_stalled = false;
        pool_note_position(options->pool, record.partition, record.sequence);
        atomic_store_explicit(&reader->partitions[record.partition].pending, record.pending,
                              memory_order_relaxed); /* a number */
        writes_note_position(options->writes, record.partition);
    }
    store_thread_leave(&reader->store);
    return NULL;
}

struct reader *reader_start(const struct reader_options *options) {
    struct reader *reader = calloc(1, sizeof *reader);
    struct pool_stats stats;
    if (reader == NULL) {
        return NULL;
    }
    reader->options = *options;
    store_thread_init(&reader->store, options->grace, options->thread_index);
    reader->store.room_policy = STORE_PARKS;
    pool_get_stats(options->pool, &stats);
    for (uint32_t i = 0; i < options->subjects->partitions; i++) {
        const struct engine_log *log = &options->logs[i];
        uint64_t position = pool_get_position(options->pool, i);
        uint64_t left = log->last > position ? log->last - position : 0;
        reader->partitions[i].compares = position == 0 && stats.items > 0;
        atomic_init(&reader->partitions[i].pending, left < log->records ? left : log->records);
        /* A start after a kill compares from the log's beginning again. */
        pool_withhold_position(options->pool, i, reader->partitions[i].compares);
    }
    if (pthread_create(&reader->thread, NULL, reader_main, reader) != 0) {
        free(reader);
        return NULL;
    }
    pthread_setname_np(reader->thread, "log reader");
    return reader;
}

void reader_stop(struct reader *reader) {
    if (reader == NULL) {
        return;
    }
    atomic_store(&reader->stopping, true);
    pthread_join(reader->thread, NULL);
    for (uint32_t i = 0; i < POOL_PARTITIONS_MAX; i++) {
        free(reader->partitions[i].seen);
    }
    free(reader);
}

void reader_get_partition(const struct reader *reader, uint32_t partition,
                          struct reader_partition_stats *stats) {
    const struct reader_partition *state = &reader->partitions[partition];
    uint64_t since_ms = atomic_load(&state->since_ms);
    uint64_t now_ms = clock_exact_ms();
    *stats = (struct reader_partition_stats){
        .caught_up = atomic_load(&state->caught_up),
        .pending = atomic_load(&state->pending),
        .lag_ms = atomic_load(&state->lag_ms),
        .silent_ms = since_ms != 0 && now_ms > since_ms ? (uint32_t)(now_ms - since_ms) : 0,
    };
}

void reader_get_stats(const struct reader *reader, struct reader_stats *stats) {
    *stats = (struct reader_stats){
        .caught_up = atomic_load(&reader->caught_up),
        .applied = atomic_load(&reader->applied),
        .foreign = atomic_load(&reader->foreign),
        .refused = atomic_load(&reader->refused),
        .lag_ms = atomic_load(&reader->lag_ms),
        .oldest_ms = atomic_load(&reader->oldest_ms),
    };
}
