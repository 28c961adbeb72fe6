#include "proto/general.h"

#include "base/log.h"
#include "proto/reply.h"

enum request_end version_run(struct request *request, unsigned variant) {
    (void)variant;
    reply_text(request, "VERSION " PROTO_VERSION "\r\n");
    return REQUEST_DONE;
}

/* Any level above 0 makes the log more talkative: there is one such level here. */
enum request_end verbosity_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes word;
    uint32_t level;
    if (!line_next(&request->line, &word) || !request_read_rest(request, word)) {
        reply_text(request, REPLY_ERROR);
    } else if (!word_flags(word, &level)) {
        reply_text(request, REPLY_BAD_LINE);
    } else {
        log_set_level(level == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
        reply_text(request, "OK\r\n");
    }
    return REQUEST_DONE;
}

/* memcached replies with the reason alone if it fails; clients would not know that for an error. */
enum request_end refresh_certs_run(struct request *request, unsigned variant) {
    (void)variant;
    struct proto_server *server = request->connection->service->server;
    char reason[512];
    if (!request_read_rest(request, (struct bytes){0})) {
        reply_text(request, REPLY_ERROR);
        return REQUEST_DONE;
    }
    if (!server->tls.is_enabled) {
        reply_text(request, "SERVER_ERROR no pool has TLS\r\n");
    } else if (server->refresh_certs(server->keeper, reason, sizeof reason)) {
        reply_text(request, "OK\r\n");
    } else {
        reply_text(request, "SERVER_ERROR ");
        reply_text(request, reason);
        reply_text(request, "\r\n");
    }
    return REQUEST_DONE;
}

enum request_end quit_run(struct request *request, unsigned variant) {
    (void)request;
    (void)variant;
    return REQUEST_CLOSES;
}

enum request_end refuse_run(struct request *request, unsigned variant) {
    static const char *const replies[] = {
        [REFUSE_SHUTDOWN] = "ERROR: shutdown not enabled\r\n",
        [REFUSE_MEMORY_LIMIT] = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n",
        [REFUSE_WATCH] = "CLIENT_ERROR watch commands not allowed\r\n",
    };
    reply_text(request, replies[variant]);
    return REQUEST_DONE;
}
