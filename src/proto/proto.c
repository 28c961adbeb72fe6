#include "proto/proto.h"

#include "base/log.h"
#include "proto/binary.h"
#include "proto/binary_sasl.h"
#include "proto/dump.h"
#include "proto/general.h"
#include "proto/hold.h"
#include "proto/login.h"
#include "proto/lookahead.h"
#include "proto/reply.h"
#include "proto/text.h"
#include "proto/value.h"
#include "proto/watch.h"

enum {
    TLS_HANDSHAKE_BYTE = 0x16, /* the first byte that a TLS client sends */
    PROTO_LOG_S = 10           /* the minimum interval of log lines about TLS clients */
};

void proto_connection_init(struct proto_connection *connection, struct proto_service *service) {
    const struct pool_options *options = pool_get_options(service->pool);
    *connection = (struct proto_connection){
        .service = service,
        .pool = service->pool,
        .protocols = (uint8_t)service->protocols,
        .turn_left = UINT32_MAX,
        .turn_work = UINT64_MAX,
        .item_max_bytes = options->item_max_bytes,
        .evict = options->evict,
        .admitted = !service->login_required,
    };
}

void proto_connection_finish(struct proto_connection *connection) {
    dump_abandon(connection);
    hold_abandon(connection);
    proto_drop_handed(connection);
    watch_leave(connection->watcher);
    connection->watcher = NULL;
    if (connection->proposal != NULL) {
        pool_get_replication(connection->pool)->release(connection->proposal);
        connection->proposal = NULL;
    }
}

static enum request_end proto_step(struct request *request) {
    request->start = request->next;
    request->noreply = false;
    if (request->progress->skip_bytes > 0) {
        return value_skip(request);
    }
    return request->progress->protocol == PROTO_BINARY ? binary_run(request) : text_run(request);
}

/* Logs, at intervals, that a client tries TLS on an address without TLS: most clients do not show
 * their users this reason. */
static void proto_log_tls(const struct request *request) {
    static _Atomic uint32_t logged_s;
    uint32_t now_s = request->thread->now_s;
    uint32_t last_s = atomic_load(&logged_s);
    if (now_s - last_s >= PROTO_LOG_S &&
        atomic_compare_exchange_strong(&logged_s, &last_s, now_s)) {
        log_warning("closing a connection to pool %s: the client speaks TLS, and this address does "
                    "not; set tls_cert and tls_key for the pool, or turn TLS off in the client",
                    pool_get_options(request->pool)->name);
    }
}

/* Chooses the protocol by the first byte. False: the protocol is not allowed here, or is TLS. */
static bool proto_decide(struct request *request) {
    if (request->progress->protocol != PROTO_UNDECIDED || request->next == request->end) {
        return true;
    }
    unsigned char first = (unsigned char)*request->next;
    if (first == TLS_HANDSHAKE_BYTE) {
        proto_log_tls(request);
        return false;
    }
    bool binary = first == BINARY_REQUEST_MAGIC;
    request->progress->protocol = binary ? PROTO_BINARY : PROTO_TEXT;
    return request->connection->protocols != (binary ? PROTO_ALLOWED_TEXT : PROTO_ALLOWED_BINARY);
}

/* Returns how many requests may run before this function must be called again; 0: the turn is
 * over. */
static unsigned proto_begin_requests(const struct request *request) {
    uint32_t *turn_left = &request->connection->turn_left;
    if (*turn_left == 0) {
        return 0;
    }
    bool dumps = request->progress->phase == PROTO_PHASE_DUMP;
    unsigned requests = dumps ? 1 : lookahead(request);
    requests = requests < *turn_left ? requests : *turn_left;
    *turn_left -= requests;
    return requests;
}

/* The request that waited for room has ended. The requests behind it may wait, so the thread's
 * room_policy is set back. */
static void proto_end_wait(struct request *request) {
    request->connection->needs_room = false;
    request->connection->refuses_room = false;
    if (request->thread->room_policy != STORE_WAITS) {
        request->thread->room_policy = STORE_PARKS;
    }
}

/* One request. In a replicated pool, a request whose change the log has runs at the time of its
 * first run, so that it reads the same from its line. */
static enum request_end proto_step_replicated(struct request *request) {
    struct store_thread *thread = request->thread;
    uint32_t now_s = thread->now_s;
    if (proposal_is_acknowledged(thread->proposal)) {
        thread->now_s = thread->proposal->now_s;
    }
    enum request_end end = proto_step(request);
    thread->now_s = now_s;
    if (end != REQUEST_NEEDS_ROOM) {
        proposal_end(request->pool, thread->proposal);
    }
    return end;
}

/* Gives the connection a proposal when its pool is replicated, and the thread the connection's. */
static void proto_lend_proposal(struct proto_connection *connection, struct store_thread *thread) {
    const struct pool_replication *replication = pool_get_replication(connection->pool);
    if (replication != NULL && connection->proposal == NULL && connection->wake != NULL) {
        connection->proposal =
            replication->create(replication->context, connection->wake, connection->wake_context);
    }
    thread->proposal = connection->proposal;
}

/* Runs the requests. Afterwards the input is consumed up to request->next. */
static enum proto_next proto_run(struct request *request) {
    unsigned requests_ahead = 0;
    if (request->connection->watcher != NULL) {
        return watch_resume(request);
    }
    if (request->connection->reload != 0) {
        if (!reply_reserve(request->replies, 0)) {
            return PROTO_CLOSE;
        }
        if (!refresh_certs_resume(request)) {
            return PROTO_WAITS;
        }
    }
    if (request->connection->replicates) {
        if (proposal_is_in_flight(request->connection->proposal)) {
            return PROTO_WAITS;
        }
        request->connection->replicates = false;
    }
    if (!proto_decide(request)) {
        return PROTO_CLOSE;
    }
    while (request->next < request->end || request->progress->phase == PROTO_PHASE_DUMP) {
        if (request_should_pause(request)) {
            return PROTO_FLUSH;
        }
        if (requests_ahead == 0) {
            requests_ahead = proto_begin_requests(request);
            if (requests_ahead == 0) {
                return PROTO_FLUSH;
            }
        }
        requests_ahead--;
        if (!reply_reserve(request->replies, 0)) {
            return PROTO_CLOSE;
        }
        enum request_end end = request->thread->proposal != NULL ? proto_step_replicated(request)
                                                                 : proto_step(request);
        if (request->connection->needs_room && end != REQUEST_NEEDS_ROOM) {
            proto_end_wait(request);
        }
        switch (end) {
        case REQUEST_DONE:
            break;
        case REQUEST_NEEDS_ROOM:
            request->next = request->start;
            if (proposal_take_submitted(request->thread->proposal)) {
                request->connection->replicates = true;
                return PROTO_WAITS;
            }
            request->connection->needs_room = true;
            return PROTO_NEEDS_ROOM;
        case REQUEST_WAITS:
            request->next = request->start;
            return PROTO_READ;
        case REQUEST_PAUSED:
            return PROTO_FLUSH;
        case REQUEST_LOGIN:
            request->connection->login_is_out = true;
            return PROTO_LOGIN;
        case REQUEST_RELOADS:
            return PROTO_WAITS;
        case REQUEST_WATCHES:
            return watch_resume(request);
        case REQUEST_CLOSES:
            return PROTO_CLOSE;
        case REQUEST_QUITS:
            return PROTO_QUIT;
        case REQUEST_ABORTS:
            return PROTO_ABORT;
        }
    }
    request->wanted = 1;
    return PROTO_READ;
}

enum proto_next proto_process(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes input, size_t *consumed, size_t *wanted,
                              struct buffer *replies) {
    assert(!connection->login_is_out);
    struct request request = {
        .connection = connection,
        .progress = &connection->progress,
        .pool = connection->pool,
        .thread = thread,
        .replies = replies,
        .next = input.data,
        /* An empty input may be a null pointer. In C, adding even 0 to a null pointer is
         * undefined. */
        .end = input.size > 0 ? input.data + input.size : input.data,
    };
    if (connection->needs_room) {
        thread->room_policy = connection->refuses_room ? STORE_REFUSES : STORE_PARKS_AGAIN;
    }
    proto_lend_proposal(connection, thread);
    enum proto_next next = proto_run(&request);
    thread->proposal = NULL;
    if (thread->room_policy != STORE_WAITS) {
        thread->room_policy = STORE_PARKS;
    }
    *consumed = (size_t)(request.next - input.data);
    *wanted = request.wanted;
    return next;
}

bool proto_finish_login(struct proto_connection *connection, struct store_thread *thread,
                        bool admitted, struct buffer *replies) {
    assert(connection->login_is_out);
    if (!reply_reserve(replies, 0)) {
        return false;
    }
    connection->login_is_out = false;
    connection->login = (struct proto_login){0};
    connection->admitted = admitted;
    pool_count(connection->pool, thread, POOL_AUTH_CMDS);
    if (!admitted) {
        pool_count(connection->pool, thread, POOL_AUTH_ERRORS);
    }
    if (connection->progress.protocol == PROTO_BINARY) {
        binary_sasl_reply(connection, replies, admitted);
    } else {
        login_reply(replies, admitted);
    }
    return true;
}

bool proto_needs_room(const struct proto_connection *connection) {
    return connection->needs_room;
}

bool proto_waits(const struct proto_connection *connection) {
    return connection->reload != 0 || connection->replicates;
}

bool proto_is_replicating(const struct proto_connection *connection) {
    return connection->replicates && proposal_is_in_flight(connection->proposal);
}

enum proto_incoming proto_get_incoming(const struct proto_connection *connection,
                                       struct bytes input) {
    const struct proto_progress *progress = &connection->progress;
    if (connection->watcher != NULL) {
        return PROTO_INCOMING_IGNORED;
    }
    if (progress->skip_bytes > 0) {
        return PROTO_INCOMING_REFUSED;
    }
    if (input.size == 0) {
        return PROTO_INCOMING_LINE;
    }
    bool is_value =
        progress->protocol == PROTO_BINARY
            ? input.size >= BINARY_HEADER_BYTES
            : progress->phase == PROTO_PHASE_LINE && memchr(input.data, '\n', input.size) != NULL;
    return is_value ? PROTO_INCOMING_VALUE : PROTO_INCOMING_LINE;
}

bool proto_is_admitted(const struct proto_connection *connection) {
    return connection->admitted;
}

bool proto_refuse_input(const struct proto_connection *connection, struct buffer *replies) {
    return connection->progress.protocol == PROTO_BINARY ||
           buffer_append_string(replies, REPLY_NO_MEMORY_READING);
}
