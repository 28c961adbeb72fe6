#include "proto/text.h"

#include "proto/arithmetic.h"
#include "proto/dump.h"
#include "proto/general.h"
#include "proto/hold.h"
#include "proto/lifetime.h"
#include "proto/login.h"
#include "proto/map.h"
#include "proto/meta.h"
#include "proto/operator.h"
#include "proto/reply.h"
#include "proto/retrieval.h"
#include "proto/stats_text.h"
#include "proto/storage.h"
#include "proto/tuning.h"
#include "proto/watch.h"

struct command {
    const char *name;
    size_t size;
    request_handler *run;
    unsigned variant;
    enum operator_scope scope;     /* which clients may use it (operator.h) */
    request_handler *before_login; /* runs instead of `run`; NULL: the command is refused */
};

#define COMMAND(name, run, variant, scope, before_login)                                           \
    { name, sizeof(name) - 1, run, variant, scope, before_login }

/* The busiest commands come first. `stats` checks the scope of its groups itself. Before a login,
 * all commands but the login (`set`) are refused; those with a value after their line discard the
 * value. */
static const struct command commands[] = {
    COMMAND("get", retrieval_run, 0, OPERATOR_NONE, NULL),
    COMMAND("set", storage_run, STORAGE_SET, OPERATOR_NONE, login_run),
    COMMAND("mg", meta_get_run, 0, OPERATOR_NONE, NULL),
    COMMAND("ms", meta_set_run, 0, OPERATOR_NONE, meta_set_run_unadmitted),
    COMMAND("md", meta_delete_run, 0, OPERATOR_NONE, NULL),
    COMMAND("ma", meta_arithmetic_run, 0, OPERATOR_NONE, NULL),
    COMMAND("mn", meta_noop_run, 0, OPERATOR_NONE, NULL),
    COMMAND("gets", retrieval_run, RETRIEVAL_CAS, OPERATOR_NONE, NULL),
    COMMAND("gat", retrieval_run, RETRIEVAL_TOUCH, OPERATOR_NONE, NULL),
    COMMAND("gats", retrieval_run, RETRIEVAL_CAS | RETRIEVAL_TOUCH, OPERATOR_NONE, NULL),
    COMMAND("touch", touch_run, 0, OPERATOR_NONE, NULL),
    COMMAND("delete", delete_run, 0, OPERATOR_NONE, NULL),
    COMMAND("incr", arithmetic_run, ARITHMETIC_INCREMENT, OPERATOR_NONE, NULL),
    COMMAND("decr", arithmetic_run, ARITHMETIC_DECREMENT, OPERATOR_NONE, NULL),
    COMMAND("add", storage_run, STORAGE_ADD, OPERATOR_NONE, storage_run_unadmitted),
    COMMAND("replace", storage_run, STORAGE_REPLACE, OPERATOR_NONE, storage_run_unadmitted),
    COMMAND("cas", storage_run, STORAGE_CAS, OPERATOR_NONE, storage_run_unadmitted),
    COMMAND("append", storage_run, STORAGE_APPEND, OPERATOR_NONE, storage_run_unadmitted),
    COMMAND("prepend", storage_run, STORAGE_PREPEND, OPERATOR_NONE, storage_run_unadmitted),
    COMMAND("flush_all", flush_run, 0, OPERATOR_NONE, NULL),
    COMMAND("stats", stats_run, 0, OPERATOR_NONE, NULL),
    COMMAND("version", version_run, 0, OPERATOR_NONE, NULL),
    COMMAND("verbosity", verbosity_run, 0, OPERATOR_DAEMON, NULL),
    COMMAND("quit", quit_run, 0, OPERATOR_NONE, NULL),
    COMMAND("refresh_certs", refresh_certs_run, 0, OPERATOR_DAEMON, NULL),
    COMMAND("lru_crawler", crawler_run, 0, OPERATOR_POOL, NULL),
    COMMAND("hold", hold_run, 0, OPERATOR_POOL, NULL),
    COMMAND("me", meta_debug_run, 0, OPERATOR_NONE, NULL),
    COMMAND("slabs", slabs_run, 0, OPERATOR_NONE, NULL),
    COMMAND("lru", lru_run, 0, OPERATOR_NONE, NULL),
    COMMAND("extstore", extstore_run, 0, OPERATOR_NONE, NULL),
    COMMAND("shutdown", shutdown_run, 0, OPERATOR_DAEMON, NULL),
    COMMAND("cache_memlimit", memory_limit_run, 0, OPERATOR_POOL, NULL),
    COMMAND("watch", watch_run, 0, OPERATOR_POOL, NULL),
    COMMAND("stayd_map", map_run, 0, OPERATOR_NONE, NULL),
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

/* The command is unknown. As in memcached, an HTTP client is disconnected: a browser can be tricked
 * into posting here, and the body of its request must not be run as commands. */
static enum request_end text_refuse_command(struct request *request, const char *reply) {
    struct bytes last = line_last(&request->line, (struct bytes){0});
    if (last.size >= 5 && memcmp(last.data, "HTTP/", 5) == 0) {
        return REQUEST_ABORTS;
    }
    request->noreply = request->connection->admitted && word_is(last, "noreply");
    reply_text(request, reply);
    return REQUEST_DONE;
}

/* A blank stands before the command's name: the line is refused. memcached then reads a value
 * behind the line as requests; stayd closes the connection. */
static enum request_end text_refuse_blank(struct request *request, const struct command *command) {
    reply_text(request, REPLY_ERROR);
    bool has_value = command->before_login != NULL;
    return has_value ? REQUEST_CLOSES : REQUEST_DONE;
}

static enum request_end text_run_before_login(struct request *request,
                                              const struct command *command) {
    if (command == NULL) {
        return text_refuse_command(request, REPLY_UNAUTHENTICATED);
    }
    if (command->before_login == NULL) {
        reply_text(request, REPLY_UNAUTHENTICATED);
        return REQUEST_DONE;
    }
    return command->before_login(request, command->variant);
}

/* The line has no end within the limit. A retrieval is answered key by key; otherwise the
 * connection closes. */
static enum request_end text_run_long_line(struct request *request) {
    request->line = (struct line){request->start, request->start + REQUEST_LINE_MAX};
    struct bytes name;
    const struct command *command = NULL;
    if (*request->start != ' ' && line_next(&request->line, &name)) {
        command = command_find(name);
    }
    if (command == NULL || command->run != retrieval_run || !request->connection->admitted) {
        reply_text(request, REPLY_LINE_TOO_LONG);
        return REQUEST_CLOSES;
    }
    return retrieval_run_long(request, command->variant);
}

static enum latency_command command_get_latency(const struct command *command) {
    static const struct {
        request_handler *run;
        enum latency_command latency;
    } handlers[] = {
        {meta_get_run, LATENCY_GET},          {storage_run, LATENCY_SET},
        {meta_set_run, LATENCY_SET},          {delete_run, LATENCY_DELETE},
        {meta_delete_run, LATENCY_DELETE},    {touch_run, LATENCY_TOUCH},
        {arithmetic_run, LATENCY_ARITHMETIC}, {meta_arithmetic_run, LATENCY_ARITHMETIC},
    };
    if (command->run == retrieval_run) {
        return (command->variant & RETRIEVAL_TOUCH) != 0 ? LATENCY_TOUCH : LATENCY_GET;
    }
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].run == command->run) {
            return handlers[i].latency;
        }
    }
    return LATENCY_OTHER;
}

static enum request_end text_run_measured(struct request *request, const struct command *command) {
    uint64_t began_ns = clock_monotonic_ns();
    enum request_end end = command->run(request, command->variant);
    request_note_latency(request, command_get_latency(command), began_ns, end);
    return end;
}

static enum request_end text_run_line(struct request *request) {
    size_t available = (size_t)(request->end - request->start);
    bool over_limit = available >= REQUEST_LINE_MAX + 2; /* with the line end */
    const char *newline =
        memchr(request->start, '\n', over_limit ? REQUEST_LINE_MAX + 2 : available);
    if (newline == NULL) {
        request->wanted = available + 1;
        return over_limit ? text_run_long_line(request) : REQUEST_WAITS;
    }
    request->next = newline + 1;
    request->line.at = request->start;
    request->line.end = newline - (newline > request->start && newline[-1] == '\r');

    if (request->line.end - request->line.at < 2) { /* no command is so short */
        reply_text(request, request->connection->admitted ? REPLY_BAD_LINE : REPLY_UNAUTHENTICATED);
        return REQUEST_DONE;
    }
    struct bytes name = {0};
    bool blank_first = *request->line.at == ' ';
    line_next(&request->line, &name);
    const struct command *command = command_find(name);
    if (!request->connection->admitted) {
        return text_run_before_login(request, command);
    }
    if (command == NULL) {
        return text_refuse_command(request, REPLY_ERROR);
    }
    if (blank_first) {
        return text_refuse_blank(request, command);
    }
    if (command->scope != OPERATOR_NONE && operator_refuses(request, command->scope)) {
        return REQUEST_DONE;
    }
    if (request_is_measured(request)) {
        return text_run_measured(request, command);
    }
    return command->run(request, command->variant);
}

static enum request_end text_skip_line(struct request *request) {
    const char *newline = memchr(request->start, '\n', (size_t)(request->end - request->start));
    if (newline == NULL) {
        request->next = request->end;
    } else {
        request->next = newline + 1;
        request->progress->phase = PROTO_PHASE_LINE;
    }
    return REQUEST_DONE;
}

enum request_end text_run(struct request *request) {
    switch (request->progress->phase) {
    case PROTO_PHASE_KEYS:
        return retrieval_resume(request);
    case PROTO_PHASE_SKIP_LINE:
        return text_skip_line(request);
    case PROTO_PHASE_DUMP:
        return dump_resume(request);
    case PROTO_PHASE_LINE:
        break;
    }
    return text_run_line(request);
}
