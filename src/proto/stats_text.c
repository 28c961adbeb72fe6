#include "proto/stats_text.h"

#include "proto/dump.h"
#include "proto/event.h"
#include "proto/operator.h"
#include "proto/prefixes.h"
#include "proto/reply.h"
#include "proto/stats.h"
#include "proto/totals.h"

static void stats_write_text(struct stats_sink *sink, struct bytes name, struct bytes value) {
    struct buffer *replies = sink->replies;
    if (!reply_reserve(replies, 5 + name.size + 1 + value.size + 2)) {
        sink->failed = true;
        return;
    }
    reply_bytes(replies, "STAT ", 5);
    reply_bytes(replies, name.data, name.size);
    reply_bytes(replies, " ", 1);
    reply_bytes(replies, value.data, value.size);
    reply_bytes(replies, "\r\n", 2);
}

/* stats detail on|off|dump */
static enum request_end stats_run_detail(struct request *request) {
    struct proto_service *service = request->connection->service;
    struct bytes word;
    line_next(&request->line, &word);
    if (service->server->rights.dump_disabled) { /* prefixes are parts of keys */
        reply_text(request, "CLIENT_ERROR stats detail not allowed\r\n");
    } else if (word_is(word, "on") || word_is(word, "off")) {
        event_want(service, EVENT_PREFIXES, word_is(word, "on"));
        reply_text(request, "OK\r\n");
    } else if (word_is(word, "dump")) {
        if (!prefixes_dump(service->prefixes, request->replies) ||
            !reply_reserve(request->replies, 0)) {
            return REQUEST_CLOSES;
        }
        reply_text(request, "END\r\n");
    } else {
        reply_text(request, "CLIENT_ERROR usage: stats detail on|off|dump\r\n");
    }
    return REQUEST_DONE;
}

/* stats sizes_enable and sizes_disable: the reply is one line without END, as in memcached. */
static enum request_end stats_track_sizes(struct request *request, bool track) {
    atomic_store(&request->connection->service->sizes_tracked, track);
    reply_text(request, track ? "STAT sizes_status enabled\r\n" : "STAT sizes_status disabled\r\n");
    return REQUEST_DONE;
}

static enum request_end stats_reset(struct request *request) {
    totals_reset(request->connection->service);
    reply_text(request, "RESET\r\n");
    return REQUEST_DONE;
}

static enum request_end stats_list_group(struct request *request, struct bytes group) {
    struct stats_sink sink = {.write = stats_write_text, .replies = request->replies};
    struct stats_listing listing = {request->connection, request->thread, &sink};
    if (!stats_list(&listing, group)) {
        reply_text(request, REPLY_ERROR);
        return REQUEST_DONE;
    }
    if (sink.failed) {
        return REQUEST_CLOSES;
    }
    reply_text(request, "END\r\n");
    return REQUEST_DONE;
}

enum request_end stats_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes group;
    store_thread_charge(request->thread, STORE_OVERVIEW_BYTES);
    line_next(&request->line, &group);
    bool walks =
        word_is(group, "cachedump") ||
        (word_is(group, "sizes") && atomic_load(&request->connection->service->sizes_tracked));
    bool is_operators = walks || word_is(group, "detail") || word_is(group, "conns");
    if (is_operators && operator_refuses(request, OPERATOR_POOL)) {
        return REQUEST_DONE;
    }
    if (word_is(group, "reset")) {
        return stats_reset(request);
    }
    if (word_is(group, "detail")) {
        return stats_run_detail(request);
    }
    if (word_is(group, "sizes_enable") || word_is(group, "sizes_disable")) {
        return stats_track_sizes(request, word_is(group, "sizes_enable"));
    }
    if (word_is(group, "sizes") && atomic_load(&request->connection->service->sizes_tracked)) {
        return dump_begin_sizes(request);
    }
    if (word_is(group, "cachedump")) {
        return dump_run_cachedump(request);
    }
    return stats_list_group(request, group);
}
