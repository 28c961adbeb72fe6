#include "state.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state_field {
    const char *name; /* in the statistics */
    size_t offset;    /* in struct state */
    size_t size;      /* size of a text; 0: the field is a number */
};

#define TEXT(name)                                                                                 \
    { #name, offsetof(struct state, name), sizeof(((struct state *)0)->name) }
#define NUMBER(name, member)                                                                       \
    { name, offsetof(struct state, member), 0 }

/* capacity_bytes has two names: memcached reports only limit_maxbytes; stayd reports capacity_bytes
 * after it, which then replaces it. */
static const struct state_field fields[] = {
    TEXT(pool),
    TEXT(stayd_version),
    TEXT(evict),
    TEXT(persist),
    TEXT(full),
    TEXT(index_full),
    TEXT(read_only),
    TEXT(turns_clients_away),
    NUMBER("pid", pid),
    NUMBER("uptime", uptime_s),
    NUMBER("threads", threads),
    NUMBER("curr_connections", connections),
    NUMBER("max_connections", connections_max),
    NUMBER("pool_connections", pool_connections),
    NUMBER("curr_items", items),
    NUMBER("bytes", live_bytes),
    NUMBER("dead_bytes", dead_bytes),
    NUMBER("free_bytes", free_bytes),
    NUMBER("limit_maxbytes", capacity_bytes),
    NUMBER("capacity_bytes", capacity_bytes),
    NUMBER("needed_bytes", needed_bytes),
    NUMBER("needed_limit_bytes", needed_limit_bytes),
    NUMBER("full_in_seconds", full_in_s),
    NUMBER("sync_lag_ms", sync_lag_ms),
    NUMBER("cmd_get", lookups),
    NUMBER("get_hits", hits),
    NUMBER("total_items", stores),
    NUMBER("evictions", evictions),
    NUMBER("evicted_unfetched", evicted_unfetched),
    NUMBER("reclaimed", expirations),
    NUMBER("store_no_memory", refused_full),
    NUMBER("cas_badval", conflicts),
    TEXT(cluster_state),
    TEXT(cluster_serves),
    TEXT(cluster_syncs),
    TEXT(cluster_wrong),
    NUMBER("cluster_partitions", cluster.partitions),
    NUMBER("cluster_leaderless", cluster.leaderless),
    NUMBER("cluster_lost_logs", cluster.lost_logs),
    NUMBER("cluster_away_ms", cluster.away_ms),
    NUMBER("cluster_lag_ms", cluster.lag_ms),
    NUMBER("cluster_silent_ms", cluster.silent_ms),
    NUMBER("cluster_applied", cluster.applied),
    NUMBER("cluster_to_read", cluster.to_read),
};

static void state_take(void *user, const char *name, const char *value) {
    struct state *state = user;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct state_field *field = &fields[i];
        if (strcmp(field->name, name) != 0) {
            continue;
        }
        char *place = (char *)state + field->offset;
        if (field->size > 0) {
            snprintf(place, field->size, "%s", value);
        } else {
            *(uint64_t *)(void *)place = strtoull(value, NULL, 10);
        }
    }
}

enum stayd_status state_read(struct stayd *client, struct state *state, struct stayd_error *error) {
    *state = (struct state){.full_in_s = UINT64_MAX};
    return stayd_stats(client, 0, NULL, state_take, state, error);
}

bool state_is(const char *yes_or_no) {
    return strcmp(yes_or_no, "yes") == 0;
}

static struct advice_cluster state_cluster(const struct state *state) {
    struct advice_cluster cluster = state->cluster;
    if (state->cluster_state[0] != '\0') {
        cluster.stage = state->cluster_state;
        cluster.wrong = state->cluster_wrong;
        cluster.serves = state_is(state->cluster_serves);
        cluster.unsynced = strcmp(state->cluster_syncs, "no") == 0;
    }
    return cluster;
}

static struct advice_facts state_facts(const struct state *state) {
    return (struct advice_facts){
        .evicts =
            strcmp(state->evict, "no") != 0, /* a memcached evicts, and does not report this */
        .read_only = state_is(state->read_only),
        .full = state_is(state->full),
        .index_full = state_is(state->index_full),
        .turns_away = state_is(state->turns_clients_away),
        .needed_bytes = state->needed_bytes,
        .needed_limit_bytes = state->needed_limit_bytes,
        .full_in_s = state->full_in_s,
        .sync_lag_ms = state->sync_lag_ms,
        .pool_connections = state->pool_connections,
        .connections = state->connections,
        .connections_max = state->connections_max,
        .evictions = state->evictions,
        .evicted_unfetched = state->evicted_unfetched,
        .cluster = state_cluster(state),
    };
}

unsigned state_advise(const struct state *state, struct advice list[ADVICE_MAX]) {
    const struct advice_facts facts = state_facts(state);
    return advice_find(&facts, list);
}

double state_pressure(const struct state *state) {
    const struct advice_facts facts = state_facts(state);
    return advice_pressure(&facts);
}

const char *state_word(const struct advice *list, unsigned count) {
    if (count == 0) {
        return "ok";
    }
    if (list[0].level == ADVICE_WARNING) {
        return "warning";
    }
    if (strcmp(list[0].name, "read_only") == 0) {
        return "READ-ONLY";
    }
    if (advice_cluster_word(&list[0]) != NULL) {
        return advice_cluster_word(&list[0]);
    }
    if (strcmp(list[0].name, "turned_away") == 0) {
        return "REFUSES";
    }
    return strcmp(list[0].name, "sync_stalled") == 0 ? "STALLED" : "FULL";
}
