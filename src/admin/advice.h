/* Sentences about a pool: what is wrong or soon will be, and what to do about it. The dashboard,
 * /healthz, /api/v1/stats and `stayctl status` all show these sentences; docs/operations.md
 * explains each remedy.
 *
 * Pure functions: any thread may call. */
#ifndef STAYD_ADMIN_ADVICE_H
#define STAYD_ADMIN_ADVICE_H

#include <stdbool.h>
#include <stdint.h>

enum { ADVICE_MAX = 16 /* for one pool */ };

enum advice_level {
    ADVICE_WARNING, /* all requests are served; something will go wrong soon */
    ADVICE_FAULT    /* some requests are refused: /healthz and `stayctl status` fail */
};

/* The facts about a clustered pool; all zero for another one. The names are those of `struct
 * replication_state`. */
struct advice_cluster {
    const char *stage; /* replication_stage_name; NULL: the pool is not clustered */
    const char *wrong; /* valid as long as the facts are used; may be NULL */
    bool serves;
    bool unsynced; /* a node does not sync before it acknowledges */
    uint64_t partitions;
    uint64_t leaderless;
    uint64_t lost_logs;
    uint64_t away_ms;
    uint64_t lag_ms;
    uint64_t silent_ms;
    uint64_t applied;
    uint64_t to_read;
};

/* The facts about a pool. An unknown fact is 0 or false (full_in_s: UINT64_MAX). */
struct advice_facts {
    bool evicts;
    bool persists;
    bool read_only;
    bool full;
    bool index_full;
    bool turns_away;       /* clients were refused in the last minute */
    uint64_t needed_bytes; /* bytes that the pool must keep, and their limit */
    uint64_t needed_limit_bytes;
    uint64_t full_in_s; /* UINT64_MAX: unknown */
    uint64_t sync_lag_ms;
    uint32_t backup_age_s; /* since the last backup, or the start */
    uint64_t pool_connections;
    uint64_t connections; /* connections of all pools, and their limit */
    uint64_t connections_max;
    uint64_t evictions; /* in the last hour, or since the start */
    uint64_t evicted_unfetched;
    struct advice_cluster cluster;
};

struct advice {
    const char *name; /* in JSON and in Prometheus's alerts: "full", "sync_lag" ... */
    enum advice_level level;
    char what[320];     /* follows the pool's name: "is full: new keys are refused" */
    const char *remedy; /* one or two sentences */
};

/* How close a pool is to refusing new keys, or to evicting items: 0 to 1. */
double advice_pressure(const struct advice_facts *facts);

/* The state that a fault of a clustered pool means, in one word: "WAITS": no client is served,
 * "NO-WRITES": some writes fail. NULL: it is another fault. */
const char *advice_cluster_word(const struct advice *advice);

/* Fills in `list`, faults first. Returns the number of entries. */
unsigned advice_find(const struct advice_facts *facts, struct advice list[ADVICE_MAX]);

#endif
