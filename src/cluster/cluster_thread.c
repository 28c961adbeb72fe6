#include "cluster/cluster_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CLUSTER_NAP_MS = 20,
    CLUSTER_AGAIN_MS = 500,   /* between two tries to join */
    CLUSTER_WRONG_MS = 5000,  /* the same, when somebody has to mend something first */
    CLUSTER_FIRST_MS = 2000,  /* the first try to join takes so long in all, if the pool is large */
    CLUSTER_TELL_MS = 10000,  /* between two lines about the same */
    CLUSTER_ROUND_MS = 5000,  /* all partitions are checked once in this time */
    CLUSTER_CHECK_MS = 40,    /* but not more often than this */
    CLUSTER_NODES_MS = 10000, /* between two questions to all nodes */
    CLUSTER_NODES_WAIT_MS = 500,
    CLUSTER_SHORT_CHECKS = 3, /* so often a log must end too early: an old leader may answer once */
};

/* What the thread remembers between two rounds. */
struct cluster_rounds {
    uint64_t began_ms;
    uint64_t told_ms;
    uint64_t checked_ms;
    uint64_t asked_ms;
    uint32_t next;      /* the partition to be checked */
    bool told_unsynced; /* is in the log */
    bool told_caught_up;
    char told_wrong[ENGINE_ERROR_MAX];
    uint64_t told_wrong_ms;
};

static const char *cluster_name(const struct cluster *cluster) {
    return cluster->subjects.pool;
}

/* False: the cluster is being closed. */
static bool cluster_nap(const struct cluster *cluster, uint32_t ms) {
    for (uint32_t slept = 0; slept < ms; slept += CLUSTER_NAP_MS) {
        if (atomic_load(&cluster->stopping)) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = (long)CLUSTER_NAP_MS * 1000000}, NULL);
    }
    return !atomic_load(&cluster->stopping);
}

static void cluster_tell_changed(const struct cluster *cluster) {
    if (cluster->options.changed != NULL) {
        cluster->options.changed(cluster->options.changed_context);
    }
}

static void cluster_set_wrong(struct cluster *cluster, enum replication_stage stage,
                              const char *wrong) {
    pthread_mutex_lock(&cluster->lock);
    atomic_store(&cluster->stage, stage);
    snprintf(cluster->wrong, sizeof cluster->wrong, "%s", wrong);
    pthread_mutex_unlock(&cluster->lock);
}

/* ---- joining ---- */

static void cluster_send(void *context) {
    struct cluster *cluster = context;
    writes_send_due(cluster->writes);
}

static void cluster_note_written(void *context, uint64_t token, enum engine_outcome outcome,
                                 uint64_t sequence) {
    struct cluster *cluster = context;
    if ((token & FLUSHER_TOKEN) != 0) {
        flusher_take_outcome(cluster->flusher, token, outcome, sequence);
    } else if ((token & READER_TOKEN) != 0) {
        return; /* a beacon's arrival matters, not its answer */
    } else if ((token & WRITES_CONFIRMATION_TOKEN) != 0) {
        writes_take_confirmation_outcome(cluster->writes, token, outcome, sequence);
    } else {
        writes_take_outcome(cluster->writes, token, outcome, sequence);
    }
}

static void cluster_note_found(void *context, uint64_t token, const struct engine_found *found) {
    struct cluster *cluster = context;
    writes_take_found(cluster->writes, token, found);
}

/* The pool is going to be empty for a while. */
static void cluster_end_serving(void *context) {
    struct cluster *cluster = context;
    cluster->options.serve_while_catching_up = false;
    if (atomic_exchange(&cluster->serves, false)) {
        pool_admit_readers(cluster->pool, false);
        cluster_tell_changed(cluster);
    }
}

static void cluster_fill_reader(struct cluster *cluster, struct engine_log *logs,
                                struct reader_options *options) {
    *options = (struct reader_options){
        .subjects = &cluster->subjects,
        .engine = &cluster->engine,
        .pool = cluster->pool,
        .own = &cluster->own,
        .writes = cluster->writes,
        .flushes = cluster->flushes,
        .logs = logs,
        .before_drop = cluster_end_serving,
        .drop_context = cluster,
        .grace = cluster->options.grace,
        .accesses = cluster->accesses,
        .thread_index = cluster->options.thread_index,
        .host = cluster->host,
        .beacon_ms = CLUSTER_BEACON_MS,
        .keep_s = CLUSTER_KEEP_S,
    };
}

/* Whether all nodes sync before they acknowledge, as far as they say. */
static enum engine_check cluster_check_nodes(struct cluster *cluster, char *error) {
    struct engine *engine = &cluster->engine;
    struct engine_nodes nodes;
    uint64_t until_ms = clock_monotonic_ms() + CLUSTER_NODES_WAIT_MS;
    engine->ask_nodes(engine->self); /* there is a connection: the logs were checked */
    engine->get_nodes(engine->self, &nodes);
    while (!nodes.refused && nodes.answered < cluster->options.engine.replicas &&
           clock_monotonic_ms() < until_ms && cluster_nap(cluster, CLUSTER_NAP_MS)) {
        engine->get_nodes(engine->self, &nodes);
    }
    pthread_mutex_lock(&cluster->lock);
    cluster->nodes = nodes;
    pthread_mutex_unlock(&cluster->lock);
    if (nodes.unsynced[0] == '\0') {
        return ENGINE_RIGHT;
    }
    snprintf(error, ENGINE_ERROR_MAX,
             "node %s acknowledges before it has written to the disk; set sync_interval: "
             "\"always\", with the quotes, in its jetstream block",
             nodes.unsynced);
    return ENGINE_WRONG;
}

static enum engine_check cluster_try(struct cluster *cluster, const struct reader_options *reader,
                                     char error[ENGINE_ERROR_MAX]) {
    const struct engine_callbacks callbacks = {cluster, cluster_send, cluster_note_written,
                                               cluster_note_found, log_write};
    if (!atomic_load(&cluster->gate.opened)) {
        if (!cluster->open_engine(&cluster->options.engine, &callbacks, &cluster->gate.inner,
                                  error)) {
            return ENGINE_WRONG;
        }
        gate_open(&cluster->gate);
    }
    enum engine_check check = reader_check_logs(reader, error);
    return check == ENGINE_RIGHT ? cluster_check_nodes(cluster, error) : check;
}

/* Tries until the logs are right. False: the cluster is being closed. */
static bool cluster_join(struct cluster *cluster, const struct reader_options *reader) {
    char error[ENGINE_ERROR_MAX] = "";
    uint64_t told_ms = 0;
    for (;;) {
        enum engine_check check = cluster_try(cluster, reader, error);
        bool is_first = !atomic_load(&cluster->tried);
        if (check == ENGINE_RIGHT) {
            break;
        }
        bool is_wrong = check == ENGINE_WRONG;
        cluster_set_wrong(cluster, is_wrong ? REPLICATION_REFUSED : REPLICATION_WAITS, error);
        atomic_store(&cluster->tried, true);
        uint64_t now_ms = clock_monotonic_ms();
        if (is_wrong && !is_first && now_ms >= told_ms + CLUSTER_TELL_MS) {
            told_ms = now_ms; /* the first time the daemon does not start, and says why */
            log_error("pool %s cannot join its cluster: %s", cluster_name(cluster), error);
        } else if (!is_wrong && now_ms >= told_ms + CLUSTER_TELL_MS) {
            told_ms = now_ms;
            log_warning("pool %s waits for its cluster: %s", cluster_name(cluster), error);
        }
        if (!cluster_nap(cluster, is_wrong ? CLUSTER_WRONG_MS : CLUSTER_AGAIN_MS)) {
            return false;
        }
    }
    if (cluster->nodes.answered == 0) {
        log_warning("pool %s cannot read whether the nodes of its cluster write to the disk before "
                    "they acknowledge: its user may not ask $SYS.REQ.SERVER.PING.JSZ. Make sure "
                    "that each has sync_interval: \"always\", with the quotes",
                    cluster_name(cluster));
    }
    return true;
}

/* ---- following ---- */

static void cluster_note_log(struct cluster *cluster, uint32_t partition,
                             const struct engine_log *log, bool has_leader) {
    pthread_mutex_lock(&cluster->lock);
    struct cluster_log *noted = &cluster->logs[partition];
    if (log != NULL) {
        noted->log = *log;
    } else {
        noted->log.leader[0] = '\0';
    }
    noted->failed = !has_leader;
    if (has_leader) {
        noted->led_ms = clock_monotonic_ms();
    }
    pthread_mutex_unlock(&cluster->lock);
}

static void cluster_lose_log(struct cluster *cluster, uint32_t partition, const char *what) {
    if (writes_lose_log(cluster->writes, partition)) {
        log_error("pool %s: the log of partition %u %s. Reads go on; writes of this partition are "
                  "refused until stayd is restarted on the right log",
                  cluster_name(cluster), partition, what);
    }
}

/* The log is there: is it the one that the pool has read? */
static void cluster_compare_log(struct cluster *cluster, uint32_t partition, uint64_t position,
                                const struct engine_log *log) {
    unsigned *short_checks = &cluster->logs[partition].short_checks; /* the thread's own */
    if (log->log_id != pool_get_log_id(cluster->pool, partition)) {
        cluster_lose_log(cluster, partition, "was made anew");
        return;
    }
    *short_checks = position > log->last ? *short_checks + 1 : 0;
    if (*short_checks == CLUSTER_SHORT_CHECKS) {
        char what[96];
        snprintf(what, sizeof what, "ends at %llu, and this host has read it to %llu",
                 (unsigned long long)log->last, (unsigned long long)position);
        cluster_lose_log(cluster, partition, what);
    }
}

/* Checks one partition, which may wait for two seconds. */
static void cluster_check_next(struct cluster *cluster, struct cluster_rounds *rounds) {
    struct engine_log log;
    char error[ENGINE_ERROR_MAX];
    uint32_t partition = rounds->next;
    uint64_t position = pool_get_position(cluster->pool, partition);
    enum engine_check check = cluster->engine.check(cluster->engine.self, partition, &log, error);
    rounds->next = (partition + 1) % cluster->subjects.partitions;
    if (check == ENGINE_RIGHT) {
        cluster_note_log(cluster, partition, &log, log.leader[0] != '\0');
        cluster_compare_log(cluster, partition, position, &log);
        if (rounds->next == 0) {
            cluster_set_wrong(cluster, atomic_load(&cluster->stage), "");
            rounds->told_wrong[0] = '\0';
        }
        return;
    }
    cluster_note_log(cluster, partition, NULL, false);
    if (check == ENGINE_WRONG) {
        uint64_t now_ms = clock_monotonic_ms();
        cluster_set_wrong(cluster, atomic_load(&cluster->stage), error);
        if (strcmp(error, rounds->told_wrong) != 0 &&
            now_ms >= rounds->told_wrong_ms + CLUSTER_TELL_MS) {
            rounds->told_wrong_ms = now_ms;
            snprintf(rounds->told_wrong, sizeof rounds->told_wrong, "%s", error);
            log_error("pool %s: its cluster is not right any more: %s", cluster_name(cluster),
                      error);
        }
    }
}

static void cluster_look_at_nodes(struct cluster *cluster, struct cluster_rounds *rounds,
                                  uint64_t now_ms) {
    struct engine *engine = &cluster->engine;
    struct engine_nodes nodes;
    engine->get_nodes(engine->self, &nodes);
    pthread_mutex_lock(&cluster->lock);
    cluster->nodes = nodes;
    pthread_mutex_unlock(&cluster->lock);
    bool is_unsynced = nodes.unsynced[0] != '\0';
    if (is_unsynced && !rounds->told_unsynced) {
        log_error(
            "pool %s: node %s acknowledges before it has written to the disk: a power cut may "
            "lose writes. Set sync_interval: \"always\", with the quotes",
            cluster_name(cluster), nodes.unsynced);
    }
    rounds->told_unsynced = is_unsynced;
    if (nodes.answered > 0 && now_ms >= rounds->asked_ms + CLUSTER_NODES_MS) {
        rounds->asked_ms = now_ms;
        engine->ask_nodes(engine->self); /* not one who may not: each try is a line in its log */
    }
}

static void cluster_check(struct cluster *cluster, struct cluster_rounds *rounds, uint64_t now_ms) {
    uint32_t each_ms = CLUSTER_ROUND_MS / cluster->subjects.partitions;
    each_ms = each_ms > CLUSTER_CHECK_MS ? each_ms : CLUSTER_CHECK_MS;
    bool connected = cluster->engine.is_connected(cluster->engine.self);
    char error[ENGINE_ERROR_MAX];
    uint64_t lost_ms = atomic_load(&cluster->lost_ms);
    if (connected != (lost_ms == 0)) {
        atomic_store(&cluster->lost_ms, connected ? 0 : now_ms);
    }
    if (now_ms < rounds->checked_ms + each_ms) {
        return;
    }
    rounds->checked_ms = now_ms;
    if (cluster->engine.is_refused(cluster->engine.self, error)) {
        cluster_set_wrong(
            cluster, rounds->told_caught_up ? REPLICATION_FOLLOWS : REPLICATION_REFUSED, error);
    } else if (connected) {
        if (atomic_load(&cluster->stage) == REPLICATION_REFUSED) { /* it was, until now */
            cluster_set_wrong(cluster, REPLICATION_READS, "");
        }
        cluster_check_next(cluster, rounds);
        cluster_look_at_nodes(cluster, rounds, now_ms);
    }
}

/* How far the host is behind what others have been acknowledged. */
static uint64_t cluster_get_behind_ms(struct cluster *cluster) {
    struct replication_state state;
    cluster_get_state(cluster, &state);
    uint64_t behind_ms = state.lag_ms > state.silent_ms ? state.lag_ms : state.silent_ms;
    return state.away_ms > behind_ms ? state.away_ms : behind_ms;
}

static void cluster_check_limit(struct cluster *cluster) {
    uint64_t limit_ms = cluster->options.max_lag_ms;
    if (limit_ms == 0) {
        return;
    }
    uint64_t behind_ms = cluster_get_behind_ms(cluster);
    if (!cluster->is_cut_off && behind_ms > limit_ms) {
        cluster->is_cut_off = true;
        log_error("pool %s serves no clients: it is %llu s behind its cluster, and cluster_max_lag "
                  "is %llu s",
                  cluster_name(cluster), (unsigned long long)(behind_ms / 1000),
                  (unsigned long long)(limit_ms / 1000));
    } else if (cluster->is_cut_off && behind_ms < limit_ms / 2) {
        cluster->is_cut_off = false;
        log_info("pool %s serves clients again: it is not behind its cluster any more",
                 cluster_name(cluster));
    }
}

static void cluster_tell_progress(struct cluster *cluster, struct cluster_rounds *rounds,
                                  uint64_t now_ms) {
    struct replication_state state;
    cluster_get_state(cluster, &state);
    if (state.caught_up == state.partitions) {
        rounds->told_caught_up = true;
        atomic_store(&cluster->stage, REPLICATION_FOLLOWS);
        log_info("pool %s has caught up with its cluster: %llu records in %llu ms",
                 cluster_name(cluster), (unsigned long long)state.applied,
                 (unsigned long long)(now_ms - rounds->began_ms));
        cluster_tell_changed(cluster);
    } else if (now_ms >= rounds->told_ms + CLUSTER_TELL_MS) {
        rounds->told_ms = now_ms;
        log_info("pool %s catches up: %llu of %llu records are read, %u of %u partitions are done",
                 cluster_name(cluster), (unsigned long long)state.applied,
                 (unsigned long long)(state.applied + state.to_read), state.caught_up,
                 state.partitions);
        cluster_tell_changed(cluster);
    }
}

/* While it catches up: a right that is missing shows only now. Within the first moment the daemon
 * does not start, and says why. */
static void cluster_check_rights(struct cluster *cluster, struct cluster_rounds *rounds,
                                 uint64_t now_ms) {
    char error[ENGINE_ERROR_MAX];
    if (!cluster->engine.is_refused(cluster->engine.self, error)) {
        return;
    }
    cluster_set_wrong(cluster, REPLICATION_REFUSED, error);
    if (atomic_load(&cluster->tried) && now_ms >= rounds->told_wrong_ms + CLUSTER_TELL_MS) {
        rounds->told_wrong_ms = now_ms;
        log_error("pool %s cannot join its cluster: %s", cluster_name(cluster), error);
    }
}

static void cluster_follow(struct cluster *cluster) {
    uint64_t now_ms = clock_monotonic_ms();
    struct cluster_rounds rounds = {.began_ms = now_ms, .told_ms = now_ms, .asked_ms = now_ms};
    do {
        now_ms = clock_monotonic_ms();
        cluster_check(cluster, &rounds, now_ms);
        if (!rounds.told_caught_up) {
            cluster_check_rights(cluster, &rounds, now_ms);
            cluster_tell_progress(cluster, &rounds, now_ms);
        } else {
            cluster_check_limit(cluster);
        }
        if (rounds.told_caught_up || now_ms >= rounds.began_ms + CLUSTER_FIRST_MS ||
            atomic_load(&cluster->stage) == REPLICATION_REFUSED) {
            atomic_store(&cluster->tried, true);
        }
        bool serves =
            rounds.told_caught_up ? !cluster->is_cut_off : cluster->options.serve_while_catching_up;
        if (atomic_exchange(&cluster->serves, serves) != serves) {
            pool_admit_readers(cluster->pool, serves);
            cluster_tell_changed(cluster);
        }
    } while (cluster_nap(cluster, CLUSTER_NAP_MS));
}

void *cluster_main(void *argument) {
    struct cluster *cluster = argument;
    struct engine_log logs[POOL_PARTITIONS_MAX];
    struct reader_options options;
    cluster_fill_reader(cluster, logs, &options);
    if (!cluster_join(cluster, &options)) {
        return NULL;
    }
    for (uint32_t i = 0; i < cluster->subjects.partitions; i++) {
        cluster_note_log(cluster, i, &logs[i], true);
    }
    gate_join(&cluster->gate);
    struct reader *reader = reader_start(&options);
    if (reader == NULL) {
        cluster_set_wrong(cluster, REPLICATION_REFUSED, "no memory or no threads");
        atomic_store(&cluster->tried, true);
        return NULL;
    }
    atomic_store(&cluster->reader, reader);
    cluster_set_wrong(cluster, REPLICATION_READS, "");
    atomic_store(&cluster->tried, true);
    cluster_follow(cluster);
    return NULL;
}
