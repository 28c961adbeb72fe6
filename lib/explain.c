#include "explain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define NOT_SENT_AGAIN                                                                             \
    ", so it is not known whether it was carried out; it was not sent again, because that could "  \
    "undo later changes by others. Look at the server's log"

static enum stayd_status explain_status(const struct explain *explain) {
    static const enum stayd_status statuses[] = {
        [EXPLAIN_UNREACHABLE] = STAYD_DISCONNECTED,
        [EXPLAIN_TURNED_AWAY] = STAYD_BUSY,
        [EXPLAIN_ALL_TAKEN] = STAYD_BUSY,
        [EXPLAIN_LOGIN] = STAYD_LOGIN_REFUSED,
        [EXPLAIN_BROKEN] = STAYD_DISCONNECTED,
        [EXPLAIN_BROKEN_UNKNOWN] = STAYD_OUTCOME_UNKNOWN,
        [EXPLAIN_SILENT] = STAYD_DISCONNECTED,
        [EXPLAIN_SILENT_UNKNOWN] = STAYD_OUTCOME_UNKNOWN,
        [EXPLAIN_INTERRUPTED] = STAYD_INTERRUPTED,
        [EXPLAIN_NO_MEMORY] = STAYD_NO_MEMORY,
        [EXPLAIN_NO_DESCRIPTOR] = STAYD_BUSY,
        [EXPLAIN_GARBAGE] = STAYD_PROTOCOL,
        [EXPLAIN_UNSUPPORTED] = STAYD_UNSUPPORTED,
    };
    return explain->what == EXPLAIN_STATUS ? explain->status : statuses[explain->what];
}

static enum explain_what explain_what(const struct explain *explain) {
    if (explain->what == EXPLAIN_STATUS && explain->status == STAYD_LOGIN_REFUSED) {
        return EXPLAIN_LOGIN;
    }
    if (explain->what == EXPLAIN_STATUS && explain->status == STAYD_BUSY &&
        explain->request->verb != VERB_HOLD) {
        return EXPLAIN_TURNED_AWAY;
    }
    return explain->what;
}

/* Writes into a message; a text that does not fit is truncated. */
__attribute__((format(printf, 3, 4))) static void explain_put(char *text, size_t size,
                                                              const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, size, format, arguments);
    va_end(arguments);
}

/* The server has refused the request. */
static void explain_refusal(const struct explain *explain, char *text, size_t size) {
    const char *url = explain->server->url.shown;
    const char *word = request_word(explain->request);
    switch (explain->status) {
    case STAYD_FULL:
        explain_put(
            text, size,
            "the pool at %s is full and evicts no live item for a new one (%.120s). Raise its "
            "memory in the server's configuration",
            url, explain->reason);
        break;
    case STAYD_TOO_LARGE:
        explain_put(
            text, size,
            "the value is too large for the pool at %s (%.120s). Store less under one key, or "
            "raise item_max in the server's configuration",
            url, explain->reason);
        break;
    case STAYD_BUSY:
        explain_put(text, size, "the pool at %s is busy; try again", url);
        break;
    case STAYD_OUTCOME_UNKNOWN:
        explain_put(
            text, size,
            "the cluster of the pool at %s did not confirm '%s', so whether that was carried out "
            "is not known. Look at the server's log, and at `stayctl cluster status`",
            url, word);
        break;
    case STAYD_DISCONNECTED:
        explain_put(text, size,
                    "%s has not caught up with its cluster yet: ask another host, or try again "
                    "later",
                    url);
        break;
    case STAYD_SERVER_ERROR:
        explain_put(text, size, "%s could not carry out '%s': %s", url, word, explain->reason);
        break;
    default:
        explain_put(text, size, "%s refused '%s': %s", url, word, explain->reason);
        break;
    }
}

static void explain_login(const struct explain *explain, char *text, size_t size) {
    const char *url = explain->server->url.shown;
    if (explain->server->url.user[0] == '\0') {
        explain_put(
            text, size,
            "%s requires a user and a password: give them in the URL (//USER:PASSWORD@...) or "
            "in the options",
            url);
    } else {
        explain_put(
            text, size,
            "%s refuses this user and password (%.120s). Compare them with the server's list; "
            "after many failed logins from an address stayd checks one login every 3 s",
            url, explain->reason);
    }
}

static void explain_text(const struct explain *explain, char *text, size_t size) {
    const char *url = explain->server->url.shown;
    const char *word = request_word(explain->request);
    const char *reason = explain->reason != NULL ? explain->reason : "";
    double timeout_s = explain->server->times.timeout_ms / 1e3;
    switch (explain_what(explain)) {
    case EXPLAIN_STATUS:
        explain_refusal(explain, text, size);
        break;
    case EXPLAIN_UNREACHABLE:
        explain_put(text, size,
                    "cannot connect to %s: %s. Start the server, or correct the address", url,
                    reason);
        break;
    case EXPLAIN_TURNED_AWAY:
        explain_put(text, size,
                    "%s has as many connections as it may have. Raise its max_connections, or use "
                    "fewer connections",
                    url);
        break;
    case EXPLAIN_ALL_TAKEN:
        explain_put(
            text, size,
            "all %u connections to %s are in use. Raise max_connections of the client, or use "
            "fewer threads",
            explain->server->max_connections, url);
        break;
    case EXPLAIN_LOGIN:
        explain_login(explain, text, size);
        break;
    case EXPLAIN_BROKEN:
        explain_put(text, size, "%s closed the connection before it answered '%s' (%.120s)", url,
                    word, reason);
        break;
    case EXPLAIN_BROKEN_UNKNOWN:
        explain_put(text, size, "%s closed the connection before it answered '%s'" NOT_SENT_AGAIN,
                    url, word);
        break;
    case EXPLAIN_SILENT:
        explain_put(text, size, "%s timed out: it did not answer '%s' within %g s", url, word,
                    timeout_s);
        break;
    case EXPLAIN_SILENT_UNKNOWN:
        explain_put(text, size, "%s timed out: it did not answer '%s' within %g s" NOT_SENT_AGAIN,
                    url, word, timeout_s);
        break;
    case EXPLAIN_INTERRUPTED:
        explain_put(text, size, "'%s' to %s was interrupted; a change may have been carried out",
                    word, url);
        break;
    case EXPLAIN_NO_MEMORY:
        explain_put(text, size, "this process has no memory for '%s' to %s", word, url);
        break;
    case EXPLAIN_NO_DESCRIPTOR:
        explain_put(text, size,
                    "this process cannot open a connection to %s: %.120s. Raise its limit of open "
                    "files (ulimit -n), or close some",
                    url, reason);
        break;
    case EXPLAIN_GARBAGE:
        explain_put(text, size,
                    "the answer of %s to '%s' is not one of the memcached protocol (%.120s). Is it "
                    "another kind of server?",
                    url, word, reason);
        break;
    case EXPLAIN_UNSUPPORTED:
        explain_put(text, size,
                    "%s is asked in the binary protocol (login=sasl), which has no '%s'", url,
                    word);
        break;
    }
}

enum stayd_status explain_write(const struct explain *explain, struct stayd_error *error) {
    enum stayd_status status = explain_status(explain);
    if (error != NULL) {
        error->status = status;
        error->timed_out =
            explain->what == EXPLAIN_SILENT || explain->what == EXPLAIN_SILENT_UNKNOWN ||
            (explain->what == EXPLAIN_STATUS && status == STAYD_OUTCOME_UNKNOWN) ||
            (explain->what == EXPLAIN_UNREACHABLE && explain->system_error == ETIMEDOUT);
        error->system_error = explain->system_error;
        error->server = (int)explain->number;
        explain_text(explain, error->message, sizeof error->message);
    }
    return status;
}
