#include "proto/general.h"

#include "base/log.h"
#include "proto/reply.h"

enum request_end version_run(struct request *request, unsigned variant) {
    (void)variant;
    reply_text(request, "VERSION " PROTO_VERSION "\r\n");
    return REQUEST_DONE;
}

void verbosity_set(struct proto_server *server, uint32_t level) {
    atomic_store(&server->verbosity, level);
    log_set_level(level == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
}

enum request_end verbosity_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes word;
    uint32_t level;
    bool has_level = line_next(&request->line, &word);
    if (has_level) {
        request_read_noreply(request, word);
    }
    if (!has_level || !word_flags(word, &level)) {
        reply_text(request, REPLY_BAD_LINE);
    } else {
        verbosity_set(request->connection->service->server, level);
        reply_text(request, "OK\r\n");
    }
    return REQUEST_DONE;
}

/* If a reload fails, the reply is SERVER_ERROR and the reason. memcached replies with the reason
 * alone, which clients do not recognise as an error. */
bool refresh_certs_resume(struct request *request) {
    const struct proto_reload *reload = &request->connection->service->server->reload;
    char reason[512];
    bool well;
    if (!reload->has_ended(reload->keeper, request->connection->reload, &well, reason,
                           sizeof reason)) {
        return false;
    }
    request->connection->reload = 0;
    if (well) {
        reply_text(request, "OK\r\n");
    } else {
        reply_text(request, "SERVER_ERROR ");
        reply_text(request, reason);
        reply_text(request, "\r\n");
    }
    return true;
}

enum request_end refresh_certs_run(struct request *request, unsigned variant) {
    (void)variant;
    struct proto_server *server = request->connection->service->server;
    request_read_noreply(request, (struct bytes){0});
    if (server->reload.begin == NULL) {
        reply_text(request, "SERVER_ERROR no pool has TLS\r\n");
        return REQUEST_DONE;
    }
    uint64_t number = server->reload.begin(server->reload.keeper);
    if (request->noreply) {
        return REQUEST_DONE;
    }
    request->connection->reload = number;
    return refresh_certs_resume(request) ? REQUEST_DONE : REQUEST_RELOADS;
}

enum request_end quit_run(struct request *request, unsigned variant) {
    (void)request;
    (void)variant;
    return REQUEST_QUITS;
}

/* As in memcached, an allowed shutdown has no reply: the connection closes. */
enum request_end shutdown_run(struct request *request, unsigned variant) {
    (void)variant;
    struct proto_server *server = request->connection->service->server;
    struct bytes mode;
    struct bytes more;
    bool has_mode = line_next(&request->line, &mode);
    bool graceful = has_mode && word_is(mode, "graceful");
    bool has_more = line_next(&request->line, &more);
    request_read_noreply(request, has_more ? more : has_mode ? mode : (struct bytes){0});
    if (!server->rights.shutdown_enabled || server->shut_down == NULL) {
        reply_text(request, "SERVER_ERROR: shutdown not enabled\r\n");
        return REQUEST_DONE;
    }
    if ((has_mode && !graceful) || has_more) {
        reply_text(request, "CLIENT_ERROR invalid shutdown mode\r\n");
        return REQUEST_DONE;
    }
    log_info("a client has sent shutdown%s: the daemon stops", graceful ? " graceful" : "");
    server->shut_down(server->shut_down_context, graceful);
    return REQUEST_CLOSES;
}

/* cache_memlimit <megabytes> */
enum request_end memory_limit_run(struct request *request, unsigned variant) {
    (void)variant;
    enum { LEAST_MB = 8, MOST_MB = 1000000000 }; /* memcached's */
    struct bytes word;
    uint64_t megabytes;
    bool has_size = line_next(&request->line, &word);
    if (has_size) {
        request_read_noreply(request, word);
    }
    if (!has_size || !word_u64(word, &megabytes)) {
        reply_text(request, REPLY_ERROR);
    } else if (megabytes < LEAST_MB) {
        reply_text(request, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n");
    } else if (megabytes > MOST_MB) {
        reply_text(request, "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n");
    } else if (pool_set_memory_limit(request->pool, megabytes << 20) != STATUS_OK) {
        reply_text(request, "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n");
    } else {
        reply_text(request, "OK\r\n");
    }
    return REQUEST_DONE;
}
