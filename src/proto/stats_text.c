#include "proto/stats_text.h"

#include "proto/reply.h"
#include "proto/stats.h"

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

enum request_end stats_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes group;
    line_next(&request->line, &group);
    if (word_is(group, "reset")) {
        pool_reset_counters(request->pool);
        reply_text(request, "RESET\r\n");
        return REQUEST_DONE;
    }
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
