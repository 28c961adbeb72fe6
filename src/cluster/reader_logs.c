/* What a reader does before its thread starts: checks that the logs are those that the pool has
 * read, and decides where each is read from. */
#include "cluster/reader.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/origin.h"

#include <stdio.h>

/* The last flush: if the pool has applied it, the reader does not come to it again. */
static enum engine_check reader_find_flush(const struct reader_options *options, uint32_t partition,
                                           char error[ENGINE_ERROR_MAX]) {
    struct engine *engine = options->engine;
    char subject[ENGINE_SUBJECT_MAX];
    uint64_t sequence;
    subjects_write_flush(options->subjects, partition, subject);
    enum engine_check check =
        engine->find_now(engine->self, partition, subject, &sequence, NULL, error);
    if (check == ENGINE_RIGHT) {
        bool applied = sequence <= pool_get_position(options->pool, partition);
        atomic_store(&options->flushes[partition], applied ? sequence : 0);
    }
    return check;
}

/* What was found out about a partition's log. */
struct reader_found {
    struct engine_log log;
    bool is_new; /* not the pool's own, and rightly so */
};

/* Checks one log, and changes nothing. */
static enum engine_check reader_check_log(const struct reader_options *options, uint32_t partition,
                                          struct reader_found *found,
                                          char error[ENGINE_ERROR_MAX]) {
    struct engine *engine = options->engine;
    struct origin origin;
    uint64_t noted = pool_get_log_id(options->pool, partition);
    uint64_t position = pool_get_position(options->pool, partition);
    enum engine_check check = engine->check(engine->self, partition, &found->log, error);
    if (check == ENGINE_RIGHT) {
        check = origin_find(engine, options->subjects, partition, &origin, error);
    }
    if (check != ENGINE_RIGHT) {
        return check;
    }
    if (origin.state == ORIGIN_BEGUN) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the log of partition %u is being filled by `stayctl cluster adopt` or `stayctl "
                 "reseed`; if that was interrupted, run it again",
                 partition);
        return ENGINE_AWAY;
    }
    found->is_new = noted != 0 && noted != found->log.log_id;
    if (found->is_new && origin.state != ORIGIN_DONE) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the log of partition %u was made anew since this pool has read it; its records "
                 "are not the pool's any more. `stayctl reseed` fills the logs from the best pool; "
                 "to read this log and lose what it does not have, move the pool's file away",
                 partition);
        return ENGINE_WRONG;
    }
    if (!found->is_new && position > found->log.last) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the log of partition %u ends at %llu, and this pool has read it to %llu: it has "
                 "lost records. `stayctl reseed` fills the logs from the best pool",
                 partition, (unsigned long long)found->log.last, (unsigned long long)position);
        return ENGINE_WRONG;
    }
    return ENGINE_RIGHT;
}

/* The items are of a log that is no more, and the new one has what of them is to stay. */
static bool reader_drop_items(const struct reader_options *options) {
    struct store_thread thread;
    options->before_drop(options->drop_context);
    store_thread_init(&thread, options->grace, options->thread_index);
    store_thread_refresh(&thread);
    enum status status = pool_drop_items(options->pool, &thread);
    store_thread_leave(&thread);
    if (status == STATUS_OK) {
        log_warning("pool %s: its cluster's log was filled anew by stayctl; what this host has of "
                    "the earlier log is dropped, and all is read from the new one",
                    options->subjects->pool);
    }
    return status == STATUS_OK;
}

enum engine_check reader_check_logs(const struct reader_options *options,
                                    char error[ENGINE_ERROR_MAX]) {
    struct reader_found found[POOL_PARTITIONS_MAX];
    /* Of what was deleted or has expired, the log keeps a record for keep_s. A host that was away
     * for longer may have items whose end it would never hear of. Half of it, because clocks
     * differ. */
    uint32_t now_s = clock_unix_s();
    uint64_t heard_s = pool_get_heard_s(options->pool);
    bool was_away = heard_s + options->keep_s / 2 < now_s;
    bool is_new = false;
    for (uint32_t i = 0; i < options->subjects->partitions; i++) {
        enum engine_check check = reader_check_log(options, i, &found[i], error);
        if (check == ENGINE_RIGHT) {
            check = reader_find_flush(options, i, error);
        }
        if (check != ENGINE_RIGHT) {
            return check;
        }
        options->logs[i] = found[i].log;
        is_new = is_new || found[i].is_new;
    }
    bool well = !is_new || reader_drop_items(options);
    for (uint32_t i = 0; well && i < options->subjects->partitions; i++) {
        bool begins_anew = is_new || pool_get_log_id(options->pool, i) == 0 ||
                           (pool_get_position(options->pool, i) > 0 && was_away);
        if (begins_anew) {
            well = pool_set_log_id(options->pool, i, found[i].log.log_id);
            atomic_store(&options->flushes[i], 0);
        }
    }
    if (!well) {
        snprintf(error, ENGINE_ERROR_MAX, "the pool's file cannot be written to the disk");
        return ENGINE_WRONG;
    }
    if (was_away || is_new) {
        pool_begin_hearing(options->pool, now_s);
    }
    return ENGINE_RIGHT;
}
