#include "proto/proto.h"

#include "base/log.h"
#include "proto/arithmetic.h"
#include "proto/binary.h"
#include "proto/binary_reply.h"
#include "proto/binary_sasl.h"
#include "proto/dump.h"
#include "proto/general.h"
#include "proto/hold.h"
#include "proto/lifetime.h"
#include "proto/login.h"
#include "proto/lookahead.h"
#include "proto/meta.h"
#include "proto/reply.h"
#include "proto/retrieval.h"
#include "proto/stats_text.h"
#include "proto/storage.h"
#include "proto/tuning.h"
#include "proto/watch.h"

enum {
    TLS_HANDSHAKE_BYTE = 0x16, /* the first that a TLS client sends */
    PROTO_LOG_S = 10           /* between two lines about such clients */
};

void proto_connection_init(struct proto_connection *connection, struct proto_service *service) {
    const struct pool_options *options = pool_get_options(service->pool);
    *connection = (struct proto_connection){
        .service = service,
        .pool = service->pool,
        .turn_left = UINT32_MAX,
        .turn_work = UINT64_MAX,
        .item_max_bytes = options->item_max_bytes,
        .evict = options->evict,
        .admitted = !service->login_required,
    };
}

void proto_connection_finish(struct proto_connection *connection) {
    dump_abandon(connection);
    watch_leave(connection->watcher);
    connection->watcher = NULL;
}

struct command {
    const char *name;
    size_t size;
    request_handler *run;
    unsigned variant;
};

#define COMMAND(name, run, variant)                                                                \
    { name, sizeof(name) - 1, run, variant }

/* The busiest first. */
static const struct command commands[] = {
    COMMAND("get", retrieval_run, 0),
    COMMAND("set", storage_run, STORAGE_SET),
    COMMAND("mg", meta_get_run, 0),
    COMMAND("ms", meta_set_run, 0),
    COMMAND("md", meta_delete_run, 0),
    COMMAND("ma", meta_arithmetic_run, 0),
    COMMAND("mn", meta_noop_run, 0),
    COMMAND("gets", retrieval_run, RETRIEVAL_CAS),
    COMMAND("gat", retrieval_run, RETRIEVAL_TOUCH),
    COMMAND("gats", retrieval_run, RETRIEVAL_CAS | RETRIEVAL_TOUCH),
    COMMAND("touch", touch_run, 0),
    COMMAND("delete", delete_run, 0),
    COMMAND("incr", arithmetic_run, ARITHMETIC_INCREMENT),
    COMMAND("decr", arithmetic_run, ARITHMETIC_DECREMENT),
    COMMAND("add", storage_run, STORAGE_ADD),
    COMMAND("replace", storage_run, STORAGE_REPLACE),
    COMMAND("cas", storage_run, STORAGE_CAS),
    COMMAND("append", storage_run, STORAGE_APPEND),
    COMMAND("prepend", storage_run, STORAGE_PREPEND),
    COMMAND("flush_all", flush_run, 0),
    COMMAND("stats", stats_run, 0),
    COMMAND("version", version_run, 0),
    COMMAND("verbosity", verbosity_run, 0),
    COMMAND("quit", quit_run, 0),
    COMMAND("refresh_certs", refresh_certs_run, 0),
    COMMAND("bget", retrieval_run, 0),
    COMMAND("lru_crawler", crawler_run, 0),
    COMMAND("hold", hold_run, 0),
    COMMAND("me", meta_debug_run, 0),
    COMMAND("slabs", slabs_run, 0),
    COMMAND("lru", lru_run, 0),
    COMMAND("shutdown", shutdown_run, 0),
    COMMAND("cache_memlimit", memory_limit_run, 0),
    COMMAND("watch", watch_run, 0),
};

static const struct command *command_find(struct bytes name) {
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *command = &commands[i];
        if (command->size == name.size && memcmp(command->name, name.data, name.size) == 0) {
            return command;
        }
    }
    return NULL;
}

bool request_read_rest(struct request *request, struct bytes last) {
    struct bytes word;
    if (line_next(&request->line, &word)) {
        last = word;
        if (line_next(&request->line, &word)) {
            return false;
        }
    }
    request->noreply = word_is(last, "noreply");
    return true;
}

/* No command of ours. Something that speaks HTTP is cut off, as memcached does: a browser that was
 * lured into posting here must not have the body of its request taken for commands. */
static enum request_end proto_refuse_command(struct request *request, const char *reply) {
    struct bytes word;
    struct bytes last = {0};
    while (line_next(&request->line, &word)) {
        last = word;
    }
    if (last.size >= 5 && memcmp(last.data, "HTTP/", 5) == 0) {
        return REQUEST_CLOSES;
    }
    reply_text(request, reply);
    return REQUEST_DONE;
}

/* Before the login: nothing else is done, and the values of storage commands are passed over. */
static enum request_end proto_run_unadmitted(struct request *request,
                                             const struct command *command) {
    if (command == NULL) {
        return proto_refuse_command(request, REPLY_UNAUTHENTICATED);
    }
    if (command->run == storage_run) {
        return command->variant == STORAGE_SET ? login_run(request)
                                               : storage_run(request, command->variant);
    }
    if (command->run == meta_set_run) {
        return meta_set_run_unadmitted(request);
    }
    reply_text(request, REPLY_UNAUTHENTICATED);
    return REQUEST_DONE;
}

/* The line has no end within the limit. A retrieval is answered key by key; else the client is
 * lost. */
static enum request_end proto_run_long_line(struct request *request) {
    request->line = (struct line){request->start, request->start + REQUEST_LINE_MAX};
    struct bytes name;
    const struct command *command = NULL;
    if (line_next(&request->line, &name)) {
        command = command_find(name);
    }
    if (command == NULL || command->run != retrieval_run || !request->connection->admitted) {
        reply_text(request, REPLY_LINE_TOO_LONG);
        return REQUEST_CLOSES;
    }
    return retrieval_run_long(request, command->variant);
}

static enum request_end proto_run_line(struct request *request) {
    size_t available = (size_t)(request->end - request->start);
    bool over_limit = available >= REQUEST_LINE_MAX + 2; /* and the line end */
    const char *newline =
        memchr(request->start, '\n', over_limit ? REQUEST_LINE_MAX + 2 : available);
    if (newline == NULL) {
        request->wanted = available + 1;
        return over_limit ? proto_run_long_line(request) : REQUEST_WAITS;
    }
    request->next = newline + 1;
    request->line.at = request->start;
    request->line.end = newline - (newline > request->start && newline[-1] == '\r');

    struct bytes name;
    if (!line_next(&request->line, &name)) {
        reply_text(request, request->connection->admitted ? REPLY_ERROR : REPLY_UNAUTHENTICATED);
        return REQUEST_DONE;
    }
    const struct command *command = command_find(name);
    if (!request->connection->admitted) {
        return proto_run_unadmitted(request, command);
    }
    if (command == NULL) {
        return proto_refuse_command(request, REPLY_ERROR);
    }
    return command->run(request, command->variant);
}

static enum request_end proto_skip_line(struct request *request) {
    const char *newline = memchr(request->start, '\n', (size_t)(request->end - request->start));
    if (newline == NULL) {
        request->next = request->end;
    } else {
        request->next = newline + 1;
        request->progress->phase = PROTO_PHASE_LINE;
    }
    return REQUEST_DONE;
}

static enum request_end proto_skip_value(struct request *request) {
    struct proto_progress *progress = request->progress;
    size_t available = (size_t)(request->end - request->start);
    size_t skipped = available < progress->skip_bytes ? available : (size_t)progress->skip_bytes;
    progress->skip_bytes -= skipped;
    request->next = request->start + skipped;
    if (progress->skip_bytes == 0 && progress->refusal.is_due) {
        progress->refusal.is_due = false;
        if (progress->protocol == PROTO_BINARY) {
            binary_reply_refusal(request);
        } else {
            reply_text(request, REPLY_TOO_LARGE);
        }
    }
    return REQUEST_DONE;
}

static enum request_end proto_step(struct request *request) {
    request->start = request->next;
    request->noreply = false;
    if (request->progress->skip_bytes > 0) {
        return proto_skip_value(request);
    }
    if (request->progress->protocol == PROTO_BINARY) {
        return binary_run(request);
    }
    switch (request->progress->phase) {
    case PROTO_PHASE_KEYS:
        return retrieval_resume(request);
    case PROTO_PHASE_SKIP_LINE:
        return proto_skip_line(request);
    case PROTO_PHASE_DUMP:
        return dump_resume(request);
    case PROTO_PHASE_LINE:
        break;
    }
    return proto_run_line(request);
}

/* Says now and then that a client tries TLS where there is none; such a client itself shows its
 * user no more than that something went wrong. */
static void proto_log_tls(const struct request *request) {
    static _Atomic uint32_t logged_s;
    uint32_t now_s = request->thread->now_s;
    uint32_t last_s = atomic_load(&logged_s);
    if (now_s - last_s >= PROTO_LOG_S &&
        atomic_compare_exchange_strong(&logged_s, &last_s, now_s)) {
        log_warning("closing a connection to pool %s: the client speaks TLS, and this address does "
                    "not; give the pool tls_cert and tls_key, or the client a plain address",
                    pool_get_options(request->pool)->name);
    }
}

/* The first byte that comes says which protocol it is. False: none that there is here. */
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
    return request->connection->service->protocols !=
           (binary ? PROTO_ALLOWED_TEXT : PROTO_ALLOWED_BINARY);
}

/* How many requests to go on with now; 0: the turn is over. */
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

/* The request that was parked is done with; those behind it have not waited. */
static void proto_end_wait(struct request *request) {
    request->connection->needs_room = false;
    request->connection->refuses_room = false;
    if (request->thread->patience != STORE_WAITS) {
        request->thread->patience = STORE_PARKS;
    }
}

/* After PROTO_READ, what is consumed ends at request->next, or at request->start if that waits. */
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
        enum request_end end = proto_step(request);
        if (request->connection->needs_room && end != REQUEST_NEEDS_ROOM) {
            proto_end_wait(request);
        }
        switch (end) {
        case REQUEST_DONE:
            break;
        case REQUEST_NEEDS_ROOM:
            request->next = request->start;
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
        .end = input.data + input.size,
    };
    if (connection->needs_room) {
        thread->patience = connection->refuses_room ? STORE_REFUSES : STORE_PARKS_AGAIN;
    }
    enum proto_next next = proto_run(&request);
    if (thread->patience != STORE_WAITS) {
        thread->patience = STORE_PARKS;
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

bool proto_is_admitted(const struct proto_connection *connection) {
    return connection->admitted;
}

bool proto_refuse_input(const struct proto_connection *connection, struct buffer *replies) {
    return connection->progress.protocol == PROTO_BINARY ||
           buffer_append_string(replies, REPLY_NO_MEMORY_READING);
}
