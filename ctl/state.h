/* The state of a pool, from the statistics that its server reports. */
#ifndef STAYD_CTL_STATE_H
#define STAYD_CTL_STATE_H

#include "admin/advice.h"
#include "stayd.h"

/* A text is "", and a number 0, if the server does not report it. A memcached reports few of
 * them. */
struct state {
    char pool[64];          /* its name */
    char stayd_version[64]; /* stayd's version; `version` is a memcached version */
    char evict[8];          /* "yes" or "no" */
    char persist[8];
    char full[8];
    char index_full[8];
    char read_only[8];
    char turns_clients_away[8];
    uint64_t pid;
    uint64_t uptime_s;
    uint64_t threads;
    uint64_t connections; /* of all pools */
    uint64_t connections_max;
    uint64_t pool_connections;
    uint64_t items;
    uint64_t live_bytes;
    uint64_t dead_bytes;
    uint64_t free_bytes;
    uint64_t capacity_bytes;
    uint64_t needed_bytes;
    uint64_t needed_limit_bytes;
    uint64_t full_in_s; /* UINT64_MAX: unknown */
    uint64_t sync_lag_ms;
    uint64_t lookups;
    uint64_t hits;
    uint64_t stores;
    uint64_t evictions;
    uint64_t evicted_unfetched;
    uint64_t expirations;
    uint64_t refused_full;
    uint64_t conflicts;     /* compare-and-swaps that found another CAS */
    char cluster_state[16]; /* this and those below: of a clustered pool only */
    char cluster_serves[8];
    char cluster_syncs[8];
    char cluster_wrong[256];
    struct advice_cluster cluster; /* its numbers */
};

enum stayd_status state_read(struct stayd *client, struct state *state, struct stayd_error *error);

bool state_is(const char *yes_or_no);

/* Fills in `list` with what is wrong with the pool, faults first. Returns the number of entries. */
unsigned state_advise(const struct state *state, struct advice list[ADVICE_MAX]);

/* 0 to 1: see advice_pressure. */
double state_pressure(const struct state *state);

/* The word for the first entry of `list`, the worst: "warning", "FULL", "READ-ONLY", "STALLED",
 * "REFUSES", "WAITS" or "NO-WRITES"; "ok" if there is none. */
const char *state_word(const struct advice *list, unsigned count);

#endif
