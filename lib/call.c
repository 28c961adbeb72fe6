#include "call.h"

#include "attach.h"
#include "base/clock.h"
#include "binary.h"
#include "explain.h"
#include "login.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>

/* The maximum number of times that a request is sent. Two connections can break in one restart of a
 * daemon: the old connection, and a new connection that the daemon accepted just before it closed
 * its listener. A request that crashes the daemon must not crash it more often. */
enum { CALL_TRIES = 3 };

void call_begin(struct call *call, struct stayd *client, struct server *server,
                struct request *request, uint64_t began_ms, struct stayd_error *error) {
    *call = (struct call){.client = client,
                          .server = server,
                          .request = request,
                          .error = error,
                          .began_ms = began_ms,
                          .deadline_ms = UINT64_MAX};
    if (server->times.total_timeout_ms > 0) {
        call->deadline_ms = began_ms + (uint64_t)server->times.total_timeout_ms;
    }
}

static uint64_t call_deadline_ms(const struct call *call, int time_ms) {
    uint64_t own_ms = clock_monotonic_ms() + (uint64_t)time_ms;
    return own_ms < call->deadline_ms ? own_ms : call->deadline_ms;
}

static void call_drop(struct call *call) {
    server_drop(call->server, call->connection);
    call->connection = NULL;
}

/* Ends the call, and drops its connection. Returns false. */
static bool call_fail(struct call *call, enum explain_what what, const char *reason) {
    if (call->connection != NULL) {
        call->system_error = call->connection->channel.system_error;
    }
    const struct explain explain = {.what = what,
                                    .server = call->server,
                                    .number = client_server_number(call->client, call->server),
                                    .request = call->request,
                                    .reason = reason,
                                    .system_error = call->system_error};
    call->status = explain_write(&explain, call->error);
    if (call->connection != NULL) {
        call_drop(call);
    }
    return false;
}

void call_interrupt(struct call *call) {
    client_enter(call->client); /* `interrupted` may have forked */
    availability_release_probe(&call->server->availability, &call->probe);
    call_fail(call, EXPLAIN_INTERRUPTED, NULL);
}

/* How long to wait before the next try of a refused connect; below 0: there is no next try. A call
 * waits at most restart_wait_ms in all. The limit of the server's outage is not enough, because the
 * outage begins anew whenever another request is answered over a connection that is still open. */
static int call_find_retry_pause(struct call *call) {
    uint64_t now_ms = clock_exact_ms();
    if (call->refused_ms == 0) {
        call->refused_ms = now_ms;
    }
    return now_ms - call->refused_ms <= (uint64_t)call->server->times.restart_wait_ms
               ? availability_find_retry_pause(&call->server->availability, call->began_ms)
               : -1;
}

/* Waits without a connection, so that other requests can use the connection. False if the program
 * ends the wait. */
static bool call_pause(const struct call *call, unsigned pause_ms) {
    struct channel none;
    channel_init(&none, call->server->interrupted, call->server->interrupted_user);
    none.deadline_ms = call->deadline_ms;
    return channel_pause(&none, pause_ms);
}

/* After a failed connect or login, when nothing was sent: waits until the next try is due. False if
 * the call has ended. */
static bool call_retry_connect(struct call *call, bool refused, const char *reason) {
    struct availability *availability = &call->server->availability;
    uint64_t began_ms = call->connection->taken_ms;
    char kept[CHANNEL_REASON_MAX]; /* a copy, because `reason` may be in the connection */
    snprintf(kept, sizeof kept, "%s", reason);
    call->system_error = call->connection->channel.system_error;
    call_drop(call);
    int pause_ms = refused ? call_find_retry_pause(call) : -1;
    if (pause_ms >= 0) {
        if (!call_pause(call, (unsigned)pause_ms)) {
            call_interrupt(call);
            return false;
        }
        if (clock_monotonic_ms() < call->deadline_ms) {
            return true;
        }
        call->system_error = ETIMEDOUT;
    }
    availability_failed(availability, began_ms, kept, refused);
    return call_fail(call, EXPLAIN_UNREACHABLE, kept);
}

/* If the fault is one of this process, which says nothing about the server: ends the call, so that
 * the next request may try, and returns true. False after any other fault. */
static bool call_ends_by_itself(struct call *call) {
    const struct channel *channel = &call->connection->channel;
    switch (channel->fault) {
    case CHANNEL_INTERRUPTED:
        call_interrupt(call);
        return true;
    case CHANNEL_NO_MEMORY:
    case CHANNEL_NO_DESCRIPTOR:
        availability_release_probe(&call->server->availability, &call->probe);
        call_fail(call,
                  channel->fault == CHANNEL_NO_MEMORY ? EXPLAIN_NO_MEMORY : EXPLAIN_NO_DESCRIPTOR,
                  channel->reason);
        return true;
    default:
        return false;
    }
}

enum call_login { CALL_LOGGED_IN, CALL_TRY_AGAIN, CALL_ENDED };

/* Logs in on a connection that has just been opened. */
static enum call_login call_log_in(struct call *call) {
    struct channel *channel = &call->connection->channel;
    struct availability *availability = &call->server->availability;
    struct request login;
    enum stayd_status status = login_run(&call->server->url, &login, channel);
    if (call_ends_by_itself(call)) {
        return CALL_ENDED;
    }
    switch (channel->fault) {
    case CHANNEL_WELL:
        if (status == STAYD_OK) {
            return CALL_LOGGED_IN;
        }
        availability_answered(availability);
        call_fail(call, status == STAYD_BUSY ? EXPLAIN_TURNED_AWAY : EXPLAIN_LOGIN, login.said);
        return CALL_ENDED;
    case CHANNEL_GARBAGE:
        availability_answered(availability);
        call_fail(call, EXPLAIN_GARBAGE, channel->reason);
        return CALL_ENDED;
    default:
        return call_retry_connect(call, channel->fault == CHANNEL_BROKEN,
                                  "it did not answer the login")
                   ? CALL_TRY_AGAIN
                   : CALL_ENDED;
    }
}

/* Whether to check that the connection is open before the request is sent. Without the check, a
 * connection that the other end has closed could leave the request's outcome unknown: over TCP, the
 * first send succeeds even then; and after a part of a batch was sent, that part may have been
 * carried out. */
static bool call_must_be_alive(const struct call *call) {
    return call->request->kind == REQUEST_BATCH ||
           (call->request->kind == REQUEST_ONCE && call->server->url.path[0] == '\0');
}

/* Whether to ask for mappings before this request: with mappings, reads need no connection. */
static bool call_should_ask(const struct call *call) {
    enum verb verb = call->request->verb;
    return (verb == VERB_GET || verb == VERB_GETS || verb == VERB_GET_MANY) &&
           mapping_should_ask(&call->server->mapping);
}

/* Asks for mappings over the open connection, if the request could use them. */
static enum call_login call_ask(struct call *call, uint64_t deadline_ms) {
    if (!call_should_ask(call) || attach_ask(call->server, call->connection, deadline_ms)) {
        return CALL_LOGGED_IN;
    }
    if (call_ends_by_itself(call)) {
        return CALL_ENDED;
    }
    availability_release_probe(&call->server->availability, &call->probe); /* for the next try */
    return CALL_TRY_AGAIN;
}

/* Whether the connection is open. */
static bool call_is_open(struct call *call) {
    struct channel *channel = &call->connection->channel;
    /* The mappings that came over this connection are no longer valid. A server sends new mappings
     * only over a new connection. */
    bool is_used_up = call_should_ask(call) && call->connection->received_mappings;
    if (channel->fd >= 0 &&
        (is_used_up || (call_must_be_alive(call) && channel_is_readable(channel)))) {
        channel_close(channel);
    }
    return channel->fd >= 0;
}

/* Connects, logs in, and asks for mappings if the request could use them. */
static enum call_login call_connect_once(struct call *call) {
    struct server *server = call->server;
    struct channel *channel = &call->connection->channel;
    uint64_t deadline_ms = call_deadline_ms(call, server->times.connect_timeout_ms);
    call->connection->received_mappings = false;
    if (channel_open(channel, &server->url, server->tls, deadline_ms)) {
        enum call_login end = server->url.user[0] == '\0' ? CALL_LOGGED_IN : call_log_in(call);
        if (end == CALL_LOGGED_IN) {
            channel_expect_timeout(channel, server->times.timeout_ms);
            end = call_ask(call, deadline_ms);
            if (end == CALL_TRY_AGAIN) {
                mapping_refused(&server->mapping); /* the next connection does not ask */
                call_drop(call);
            }
        }
        return end;
    }
    if (call_ends_by_itself(call)) {
        return CALL_ENDED;
    }
    bool again = call_retry_connect(call, channel->fault == CHANNEL_REFUSED, channel->reason);
    return again ? CALL_TRY_AGAIN : CALL_ENDED;
}

/* Takes an open connection, or opens one. False if the call has ended. */
static bool call_open(struct call *call) {
    struct server *server = call->server;
    for (;;) {
        char reason[AVAILABILITY_REASON_MAX];
        bool no_memory;
        if (!availability_may_try(&server->availability, &call->probe, reason)) {
            return call_fail(call, EXPLAIN_UNREACHABLE, reason);
        }
        call->connection = server_take(server, call->tries > 0, &no_memory);
        if (call->connection == NULL) {
            availability_release_probe(&server->availability,
                                       &call->probe); /* this request may be the probe */
            return call_fail(call, no_memory ? EXPLAIN_NO_MEMORY : EXPLAIN_ALL_TAKEN, NULL);
        }
        enum call_login end = CALL_TRY_AGAIN;
        if (call_is_open(call)) {
            end = call_ask(call, call_deadline_ms(call, server->times.connect_timeout_ms));
            if (end == CALL_TRY_AGAIN) {
                channel_close(&call->connection->channel);
            }
        }
        if (end == CALL_TRY_AGAIN) {
            end = call_connect_once(call);
        }
        if (end != CALL_TRY_AGAIN) {
            return end == CALL_LOGGED_IN;
        }
    }
}

bool call_send(struct call *call) {
    if (url_is_binary(&call->server->url) && !binary_has(call->request->verb)) {
        return call_fail(call, EXPLAIN_UNSUPPORTED, NULL);
    }
    if (clock_exact_ms() >= call->deadline_ms) { /* other servers have used it up */
        call->system_error = ETIMEDOUT;
        return call_fail(call, EXPLAIN_UNREACHABLE, "the call has no time left");
    }
    if (!call_open(call)) {
        return false;
    }
    struct channel *channel = &call->connection->channel;
    channel_begin(channel, call_deadline_ms(call, call->server->times.timeout_ms));
    if (url_is_binary(&call->server->url)) {
        binary_put(call->request, channel);
    } else {
        text_put(call->request, channel);
    }
    if (!channel_start(channel)) {
        availability_release_probe(&call->server->availability, &call->probe);
        return call_fail(call, EXPLAIN_NO_MEMORY, NULL);
    }
    return true;
}

/* Whether the request may be sent again after its connection broke. */
static bool call_may_repeat(const struct call *call, enum channel_sent sent) {
    switch (call->request->kind) {
    case REQUEST_HARMLESS:
        return call->request->verb != VERB_STATS || call->request->answered == 0;
    case REQUEST_ONCE:
        return sent != CHANNEL_SENT_ALL;
    default:
        return sent == CHANNEL_SENT_NOTHING;
    }
}

/* Whether a request without an answer may have been carried out. */
static bool call_may_have_changed(const struct call *call, enum channel_sent sent) {
    return call->request->kind != REQUEST_HARMLESS &&
           (call->request->kind == REQUEST_ONCE ? sent == CHANNEL_SENT_ALL
                                                : sent != CHANNEL_SENT_NOTHING);
}

/* After a fault: returns true if the request must be sent again; otherwise ends the call. */
static bool call_goes_again(struct call *call) {
    struct availability *availability = &call->server->availability;
    struct channel *channel = &call->connection->channel;
    enum channel_sent sent = channel_sent(channel);
    bool unknown = call_may_have_changed(call, sent);
    char reason[AVAILABILITY_REASON_MAX];
    switch (channel->fault) {
    case CHANNEL_BROKEN:
        availability_release_probe(availability, &call->probe);
        call->tries++;
        if (call->tries < CALL_TRIES && call_may_repeat(call, sent)) {
            call_drop(call);
            return true;
        }
        return call_fail(call, unknown ? EXPLAIN_BROKEN_UNKNOWN : EXPLAIN_BROKEN, channel->reason);
    case CHANNEL_TIMED_OUT:
        snprintf(reason, sizeof reason, "it did not answer within %g s",
                 call->server->times.timeout_ms / 1e3);
        availability_note_silence(availability, call->connection->taken_ms,
                                  call->server->answered_ms, reason);
        return call_fail(call, unknown ? EXPLAIN_SILENT_UNKNOWN : EXPLAIN_SILENT, NULL);
    case CHANNEL_INTERRUPTED:
        call_interrupt(call);
        return false;
    case CHANNEL_NO_MEMORY:
        availability_answered(availability);
        return call_fail(call, EXPLAIN_NO_MEMORY, NULL);
    default:
        availability_answered(availability);
        return call_fail(call, EXPLAIN_GARBAGE, channel->reason);
    }
}

/* Ends a call that the server has answered. The connection is used again, unless it has more bytes
 * than the answer, or the server closes it. */
static void call_finish(struct call *call, enum stayd_status status) {
    struct channel *channel = &call->connection->channel;
    availability_answered(&call->server->availability);
    call->status = status;
    if (stayd_failed(status)) {
        const struct explain explain = {.what = EXPLAIN_STATUS,
                                        .status = status,
                                        .server = call->server,
                                        .number = client_server_number(call->client, call->server),
                                        .request = call->request,
                                        .reason = call->request->said};
        explain_write(&explain, call->error);
    }
    /* A server identifies the client of a hold by its connection, so the next request must use the
     * same one. A server that refuses a command may run the data behind it as commands, and send
     * their replies later. */
    bool is_ending = status == STAYD_LOGIN_REFUSED ||
                     call->request->failed == STAYD_LOGIN_REFUSED ||
                     (status == STAYD_BUSY && call->request->verb != VERB_HOLD) ||
                     (status == STAYD_REFUSED && request_has_data(call->request));
    if (!channel_is_drained(channel) || is_ending) {
        server_drop(call->server, call->connection);
    } else {
        server_give_back(call->server, call->connection);
    }
    call->connection = NULL;
}

enum stayd_status call_receive(struct call *call) {
    for (;;) {
        struct channel *channel = &call->connection->channel;
        enum stayd_status status = url_is_binary(&call->server->url)
                                       ? binary_read(call->request, channel)
                                       : text_read(call->request, channel);
        if (channel->fault == CHANNEL_WELL) {
            call_finish(call, status);
            return status;
        }
        if (!call_goes_again(call) || !call_send(call)) {
            return call->status;
        }
    }
}

enum stayd_status call_run_on(struct stayd *client, struct server *server, struct request *request,
                              uint64_t began_ms, struct stayd_error *error) {
    struct call call;
    call_begin(&call, client, server, request, began_ms, error);
    return call_send(&call) ? call_receive(&call) : call.status;
}

enum stayd_status call_run(struct stayd *client, struct request *request,
                           struct stayd_error *error) {
    uint64_t began_ms = clock_exact_ms();
    struct server *server = client_find_server(client, request->key);
    enum stayd_status status = call_run_on(client, server, request, began_ms, error);
    for (unsigned i = 1;
         status == STAYD_DISCONNECTED && client->failover && i < client->server_count; i++) {
        struct server *next = client_find_server(client, request->key);
        if (next == server) {
            break; /* the server has answered other requests, so this request caused the failure */
        }
        server = next;
        status = call_run_on(client, server, request, began_ms, error);
    }
    return status;
}

enum stayd_status call_connect(struct stayd *client, struct server *server,
                               struct stayd_error *error) {
    struct request request = {.verb = VERB_VERSION, .kind = REQUEST_HARMLESS};
    struct call call;
    call_begin(&call, client, server, &request, clock_exact_ms(), error);
    if (!call_open(&call)) {
        return call.status;
    }
    server_give_back(server, call.connection);
    return STAYD_OK;
}
