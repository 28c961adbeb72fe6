/* Clustered pools in /metrics and in /api/v1/stats. */
#include "admin/json.h"
#include "admin/page.h"

#include <inttypes.h>

struct cluster_metric {
    const char *name;
    const char *type;
    const char *help;
    double (*get)(const struct replication_state *state);
};

static double cluster_get_serves(const struct replication_state *state) {
    return state->serves;
}

static double cluster_get_connected(const struct replication_state *state) {
    return state->connected;
}

static double cluster_get_follows(const struct replication_state *state) {
    return state->stage == REPLICATION_FOLLOWS;
}

static double cluster_get_partitions(const struct replication_state *state) {
    return state->partitions;
}

static double cluster_get_caught_up(const struct replication_state *state) {
    return state->caught_up;
}

static double cluster_get_leaderless(const struct replication_state *state) {
    return state->leaderless;
}

static double cluster_get_lost_logs(const struct replication_state *state) {
    return state->lost_logs;
}

static double cluster_get_away(const struct replication_state *state) {
    return (double)state->away_ms / 1000;
}

static double cluster_get_lag(const struct replication_state *state) {
    return (double)state->lag_ms / 1000;
}

static double cluster_get_silent(const struct replication_state *state) {
    return (double)state->silent_ms / 1000;
}

static double cluster_get_to_read(const struct replication_state *state) {
    return (double)state->to_read;
}

static double cluster_get_in_flight(const struct replication_state *state) {
    return (double)state->in_flight;
}

static double cluster_get_longest(const struct replication_state *state) {
    return (double)state->longest_write_ms / 1000;
}

static double cluster_get_unsynced(const struct replication_state *state) {
    return state->unsynced[0] != '\0';
}

static double cluster_get_applied(const struct replication_state *state) {
    return (double)state->applied;
}

static double cluster_get_left_out(const struct replication_state *state) {
    return (double)state->left_out;
}

static double cluster_get_no_room(const struct replication_state *state) {
    return (double)state->no_room;
}

static double cluster_get_acknowledged(const struct replication_state *state) {
    return (double)state->acknowledged;
}

static double cluster_get_conflicts(const struct replication_state *state) {
    return (double)state->conflicts;
}

static double cluster_get_lost_answers(const struct replication_state *state) {
    return (double)state->lost_answers;
}

static double cluster_get_failed(const struct replication_state *state) {
    return (double)state->failed;
}

/* Per pool, not per partition: a cluster of many hosts has many partitions on each. */
static const struct cluster_metric cluster_metrics[] = {
    {"serves", "gauge", "1 if clients are served.", cluster_get_serves},
    {"connected", "gauge", "1 if there is a connection to a node.", cluster_get_connected},
    {"follows", "gauge", "1 if the pool has caught up since the start.", cluster_get_follows},
    {"partitions", "gauge", "Partitions.", cluster_get_partitions},
    {"partitions_caught_up", "gauge", "Partitions that have caught up since the start.",
     cluster_get_caught_up},
    {"partitions_leaderless", "gauge", "Partitions without a leader for some seconds.",
     cluster_get_leaderless},
    {"partitions_lost", "gauge",
     "Partitions that take no writes, because their log was made anew or has lost records.",
     cluster_get_lost_logs},
    {"away_seconds", "gauge", "Seconds since the connection ended; 0: it has not.",
     cluster_get_away},
    {"lag_seconds", "gauge", "Time from a write to its arrival here, of the slowest partition.",
     cluster_get_lag},
    {"silent_seconds", "gauge", "Seconds since when such a write is missing; 0: none is.",
     cluster_get_silent},
    {"records_to_read", "gauge", "Records that are still to be read to catch up.",
     cluster_get_to_read},
    {"writes_in_flight", "gauge", "Writes that have no outcome yet.", cluster_get_in_flight},
    {"longest_write_seconds", "gauge", "Time of the longest acknowledged write since the start.",
     cluster_get_longest},
    {"unsynced", "gauge", "1 if a node acknowledges before it writes to the disk.",
     cluster_get_unsynced},
    {"records_applied_total", "counter", "Records of the log that were applied.",
     cluster_get_applied},
    {"records_left_out_total", "counter", "Records that were damaged, or written by others.",
     cluster_get_left_out},
    {"no_room_total", "counter", "How often a record found no room in the pool.",
     cluster_get_no_room},
    {"writes_acknowledged_total", "counter", "Writes that the log has taken.",
     cluster_get_acknowledged},
    {"conflicts_total", "counter", "Writes that were planned again: another host was first.",
     cluster_get_conflicts},
    {"lost_answers_total", "counter", "Writes whose answer did not come in time.",
     cluster_get_lost_answers},
    {"writes_failed_total", "counter", "Writes that clients were told may have failed.",
     cluster_get_failed},
};

void metrics_write_clusters(const struct admin_options *options, FILE *stream) {
    for (size_t i = 0; i < sizeof cluster_metrics / sizeof cluster_metrics[0]; i++) {
        const struct cluster_metric *metric = &cluster_metrics[i];
        bool has_head = false;
        for (unsigned pool = 0; pool < options->pool_count; pool++) {
            const struct pool_replication *replication = pool_get_replication(options->pools[pool]);
            struct replication_state state;
            if (replication == NULL || replication->get_state == NULL) {
                continue;
            }
            replication->get_state(replication->context, &state);
            if (!has_head) {
                fprintf(stream, "# HELP stayd_cluster_%s %s\n# TYPE stayd_cluster_%s %s\n",
                        metric->name, metric->help, metric->name, metric->type);
                has_head = true;
            }
            fprintf(stream, "stayd_cluster_%s{pool=\"%s\"} %.15g\n", metric->name,
                    pool_get_options(options->pools[pool])->name, metric->get(&state));
        }
    }
}

static void api_write_partition(const struct replication_partition *state, uint32_t number,
                                FILE *stream) {
    fprintf(stream, "%s{\"partition\":%" PRIu32 ",\"leader\":", number > 0 ? "," : "", number);
    json_write_string(stream, state->leader);
    putc(',', stream);
    json_write_bool(stream, "caught_up", state->caught_up);
    json_write_bool(stream, "leaderless", state->is_leaderless);
    json_write_bool(stream, "lost", state->is_lost);
    json_write_number(stream, "position", state->position);
    json_write_number(stream, "last", state->last);
    json_write_number(stream, "records", state->records);
    json_write_number(stream, "bytes", state->bytes);
    json_write_number(stream, "replicas", state->replicas);
    json_write_number(stream, "replicas_current", state->replicas_current);
    json_write_number(stream, "lag_ms", state->lag_ms);
    json_write_number(stream, "silent_ms", state->silent_ms);
    json_write_number(stream, "to_read", state->to_read);
    json_write_number(stream, "in_flight", state->in_flight);
    fprintf(stream, "\"conflicts\":%" PRIu64 "}", state->conflicts);
}

void api_write_cluster(const struct pool *pool, FILE *stream) {
    const struct pool_replication *replication = pool_get_replication(pool);
    struct replication_state state;
    if (replication == NULL || replication->get_state == NULL) {
        fputs("null,", stream);
        return;
    }
    replication->get_state(replication->context, &state);
    fprintf(stream, "{\"stage\":\"%s\",\"wrong\":", replication_stage_name(state.stage));
    json_write_string(stream, state.wrong);
    fputs(",\"syncs\":", stream);
    fputs(!state.sync_is_known ? "null," : state.unsynced[0] != '\0' ? "false," : "true,", stream);
    json_write_bool(stream, "serves", state.serves);
    json_write_bool(stream, "connected", state.connected);
    json_write_number(stream, "partitions_caught_up", state.caught_up);
    json_write_number(stream, "partitions_leaderless", state.leaderless);
    json_write_number(stream, "partitions_lost", state.lost_logs);
    json_write_number(stream, "away_ms", state.away_ms);
    json_write_number(stream, "lag_ms", state.lag_ms);
    json_write_number(stream, "silent_ms", state.silent_ms);
    json_write_number(stream, "applied", state.applied);
    json_write_number(stream, "to_read", state.to_read);
    json_write_number(stream, "left_out", state.left_out);
    json_write_number(stream, "no_room", state.no_room);
    json_write_number(stream, "in_flight", state.in_flight);
    json_write_number(stream, "acknowledged", state.acknowledged);
    json_write_number(stream, "conflicts", state.conflicts);
    json_write_number(stream, "lost_answers", state.lost_answers);
    json_write_number(stream, "failed", state.failed);
    json_write_number(stream, "longest_write_ms", state.longest_write_ms);
    fputs("\"partitions\":[", stream);
    for (uint32_t i = 0; i < state.partitions; i++) {
        struct replication_partition partition;
        replication->get_partition(replication->context, i, &partition);
        api_write_partition(&partition, i, stream);
    }
    fputs("]},", stream);
}
