#include "admin/advice.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    ADVICE_FULL_IN_S = 24 * 3600, /* a pool that will be full within a day */
    ADVICE_PRESSURE_PERCENT = 90,
    ADVICE_SYNC_LAG_MS = 2000,
    ADVICE_SYNC_STALLED_MS = 30000,
    ADVICE_CONNECTIONS_PERCENT = 90,
    ADVICE_EVICTIONS = 1000, /* fewer evictions are no reason for a warning */
    ADVICE_UNFETCHED_PERCENT = 50,
    ADVICE_CLUSTER_AWAY_MS = 2000,  /* a new connection takes less */
    ADVICE_CLUSTER_FAIL_MS = 10000, /* writes fail after this time; an election takes less */
    ADVICE_CLUSTER_LAG_MS = 2000
};

#define ADVICE_MORE_MEMORY                                                                         \
    "Raise its memory, or shorten how long items live (idle_timeout, Django's "                    \
    "SESSION_COOKIE_AGE)."

struct advice_list {
    struct advice *items;
    unsigned count;
};

__attribute__((format(printf, 5, 6))) static void
advice_add(struct advice_list *list, const char *name, enum advice_level level, const char *remedy,
           const char *format, ...) {
    struct advice *advice = &list->items[list->count++];
    va_list arguments;
    *advice = (struct advice){.name = name, .level = level, .remedy = remedy};
    va_start(arguments, format);
    vsnprintf(advice->what, sizeof advice->what, format, arguments);
    va_end(arguments);
}

double advice_pressure(const struct advice_facts *facts) {
    if (facts->needed_limit_bytes == 0) {
        return 0;
    }
    double pressure = (double)facts->needed_bytes / (double)facts->needed_limit_bytes;
    return pressure < 1 ? pressure : 1;
}

static void advice_find_faults(const struct advice_facts *facts, struct advice_list *list) {
    if (facts->read_only) {
        advice_add(
            list, "read_only", ADVICE_FAULT,
            "Take a backup now: reads still work. Look at dmesg, repair or replace the disk or "
            "its file system, then restart stayd.",
            "is read-only: its file could not be written");
    }
    if (facts->index_full) {
        advice_add(list, "index_full", ADVICE_FAULT,
                   "Free space in run_dir's file system, or make it larger.",
                   "refuses new keys: run_dir has no room for its index");
    } else if (facts->full) {
        advice_add(list, "full", ADVICE_FAULT, ADVICE_MORE_MEMORY,
                   "is full: new keys are refused; updates of items that are there go on");
    }
    if (facts->sync_lag_ms > ADVICE_SYNC_STALLED_MS) {
        advice_add(
            list, "sync_stalled", ADVICE_FAULT,
            "Look at dmesg and at the disk. Writes wait until the disk answers; kill -9 loses "
            "nothing that the system still has in memory.",
            "does not persist: the disk has not answered for %.0f s",
            (double)facts->sync_lag_ms / 1000);
    }
    if (facts->turns_away) {
        advice_add(
            list, "turned_away", ADVICE_FAULT,
            "Raise max_connections, or find the client that has so many connections (stats conns).",
            "turned clients away in the last minute: too many connections are open");
    }
}

#define ADVICE_CLUSTER_NODES                                                                       \
    "Look at the engine's nodes and at the network between (stayctl cluster status). Reads go on."

#define ADVICE_CATCHES_UP                                                                          \
    "Wait: this ends by itself. The log and cluster_to_read in stats show how it goes."

/* The pool has not caught up yet, or serves no clients. */
static void advice_find_joining(const struct advice_cluster *cluster, struct advice_list *list) {
    const char *wrong = cluster->wrong != NULL ? cluster->wrong : "";
    if (strcmp(cluster->stage, "refused") == 0) {
        advice_add(list, cluster->serves ? "cluster_unjoined" : "cluster_refused", ADVICE_FAULT,
                   "Mend what is named; stayd tries again every 5 s. Until then clients use "
                   "other hosts.",
                   "cannot join its cluster: %.250s", wrong);
    } else if (strcmp(cluster->stage, "waiting") == 0) {
        advice_add(list, cluster->serves ? "cluster_unreached" : "cluster_waits", ADVICE_FAULT,
                   "Look at the engine's nodes and at the network between (stayctl cluster "
                   "status); stayd tries again by itself.",
                   "waits for its cluster: %.250s", wrong);
    } else if (strcmp(cluster->stage, "catching_up") == 0 && !cluster->serves) {
        advice_add(list, "cluster_catches_up", ADVICE_FAULT, ADVICE_CATCHES_UP,
                   "serves no clients yet: it catches up with its cluster; %" PRIu64 " of %" PRIu64
                   " records are read",
                   cluster->applied, cluster->applied + cluster->to_read);
    } else if (!cluster->serves) {
        advice_add(list, "cluster_cut_off", ADVICE_FAULT, ADVICE_CLUSTER_NODES,
                   "serves no clients: it is further behind its cluster than cluster_max_lag");
    }
}

static void advice_find_cluster_faults(const struct advice_cluster *cluster,
                                       struct advice_list *list) {
    if (cluster->stage == NULL) {
        return;
    }
    advice_find_joining(cluster, list);
    if (cluster->lost_logs > 0) {
        advice_add(
            list, "cluster_lost_log", ADVICE_FAULT,
            "Do not restart stayd. Run stayctl reseed with the best copy of all hosts, perhaps "
            "this one's (docs/scaling.md).",
            "refuses writes of %" PRIu64 " of %" PRIu64
            " partitions: their log was made anew or has lost records",
            cluster->lost_logs, cluster->partitions);
    }
    if (strcmp(cluster->stage, "caught_up") != 0) {
        return;
    }
    if (cluster->away_ms > ADVICE_CLUSTER_FAIL_MS) {
        advice_add(list, "cluster_away", ADVICE_FAULT, ADVICE_CLUSTER_NODES,
                   "has had no connection to its cluster for %" PRIu64 " s: writes fail",
                   cluster->away_ms / 1000);
    } else if (cluster->leaderless > 0) {
        advice_add(list, "cluster_leaderless", ADVICE_FAULT, ADVICE_CLUSTER_NODES,
                   "has %" PRIu64 " of %" PRIu64 " partitions without a leader: their writes fail",
                   cluster->leaderless, cluster->partitions);
    } else if (cluster->silent_ms > ADVICE_CLUSTER_FAIL_MS) {
        advice_add(list, "cluster_silent", ADVICE_FAULT, ADVICE_CLUSTER_NODES,
                   "has heard nothing of a partition of its cluster for %" PRIu64
                   " s: writes may fail, and reads are as old",
                   cluster->silent_ms / 1000);
    }
}

static void advice_find_cluster_warnings(const struct advice_cluster *cluster,
                                         struct advice_list *list) {
    if (cluster->stage == NULL) {
        return;
    }
    if (strcmp(cluster->stage, "catching_up") == 0 && cluster->serves) {
        advice_add(list, "cluster_catches_up", ADVICE_WARNING, ADVICE_CATCHES_UP,
                   "catches up with its cluster and serves what it has: %" PRIu64 " of %" PRIu64
                   " records are read",
                   cluster->applied, cluster->applied + cluster->to_read);
    }
    if (strcmp(cluster->stage, "caught_up") != 0) {
        return;
    }
    uint64_t lag_ms = cluster->lag_ms > cluster->silent_ms ? cluster->lag_ms : cluster->silent_ms;
    if (cluster->away_ms > ADVICE_CLUSTER_AWAY_MS && cluster->away_ms <= ADVICE_CLUSTER_FAIL_MS) {
        advice_add(list, "cluster_lag", ADVICE_WARNING, ADVICE_CLUSTER_NODES,
                   "has had no connection to its cluster for %" PRIu64 " s",
                   cluster->away_ms / 1000);
    } else if (lag_ms > ADVICE_CLUSTER_LAG_MS && cluster->silent_ms <= ADVICE_CLUSTER_FAIL_MS) {
        advice_add(list, "cluster_lag", ADVICE_WARNING,
                   "After the death of a node this is so for some seconds. Else look at the nodes' "
                   "disks and at the network.",
                   "is %.1f s behind its cluster", (double)lag_ms / 1000);
    }
    if (cluster->unsynced) {
        advice_add(list, "cluster_unsynced", ADVICE_WARNING,
                   "Set sync_interval: \"always\", with the quotes, on each node, and restart the "
                   "nodes one after the other.",
                   "may lose acknowledged writes: a node does not write to the disk before it "
                   "acknowledges");
    }
    if (cluster->wrong != NULL && cluster->wrong[0] != '\0') {
        advice_add(list, "cluster_wrong", ADVICE_WARNING, "Mend what is named.",
                   "finds its cluster changed: %.250s", cluster->wrong);
    }
}

const char *advice_cluster_word(const struct advice *advice) {
    static const char *const waits[] = {"cluster_refused", "cluster_waits", "cluster_catches_up",
                                        "cluster_cut_off"};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        if (strcmp(advice->name, waits[i]) == 0) {
            return "WAITS";
        }
    }
    return strncmp(advice->name, "cluster_", 8) == 0 ? "NO-WRITES" : NULL;
}

static void advice_find_shortage(const struct advice_facts *facts, struct advice_list *list) {
    if (facts->full || facts->evicts) {
        return;
    }
    if (facts->full_in_s < ADVICE_FULL_IN_S) {
        advice_add(list, "full_soon", ADVICE_WARNING, ADVICE_MORE_MEMORY,
                   "will be full in %" PRIu64 " h %" PRIu64 " min, at the rate of the last minute",
                   facts->full_in_s / 3600, facts->full_in_s / 60 % 60);
    } else if (advice_pressure(facts) * 100 >= (double)ADVICE_PRESSURE_PERCENT) {
        advice_add(list, "pressure", ADVICE_WARNING, ADVICE_MORE_MEMORY,
                   "is nearly full: %.0f %% of what it can hold is in use",
                   100 * advice_pressure(facts));
    }
}

static void advice_find_evictions(const struct advice_facts *facts, struct advice_list *list) {
    if (facts->evictions < ADVICE_EVICTIONS ||
        facts->evicted_unfetched < facts->evictions / 100 * ADVICE_UNFETCHED_PERCENT) {
        return;
    }
    advice_add(list, "evicted_unread", ADVICE_WARNING,
               "Raise its memory, or store less: many items are evicted before their first read.",
               "evicts items that nobody has read: %" PRIu64 " of %" PRIu64 " evictions",
               facts->evicted_unfetched, facts->evictions);
}

unsigned advice_find(const struct advice_facts *facts, struct advice list[ADVICE_MAX]) {
    struct advice_list found = {.items = list};
    advice_find_faults(facts, &found);
    advice_find_cluster_faults(&facts->cluster, &found);
    advice_find_shortage(facts, &found);
    if (facts->sync_lag_ms > ADVICE_SYNC_LAG_MS && facts->sync_lag_ms <= ADVICE_SYNC_STALLED_MS &&
        !facts->read_only) {
        advice_add(
            &found, "sync_lag", ADVICE_WARNING,
            "Find out what else uses the disk (iostat -x), or use a faster disk. A power cut now "
            "would lose these writes.",
            "waits for the disk, which is %.1f s behind", (double)facts->sync_lag_ms / 1000);
    }
    if (facts->connections * 100 > facts->connections_max * ADVICE_CONNECTIONS_PERCENT &&
        !facts->turns_away) {
        advice_add(
            &found, "connections", ADVICE_WARNING,
            "Raise max_connections, or find the client that has so many connections (stats conns).",
            "soon turns clients away: %" PRIu64 " of %" PRIu64 " connections are open",
            facts->connections, facts->connections_max);
    }
    advice_find_evictions(facts, &found);
    advice_find_cluster_warnings(&facts->cluster, &found);
    return found.count;
}
