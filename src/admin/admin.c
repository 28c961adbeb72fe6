#include "admin/admin.h"

#include "admin/assets.h"
#include "admin/clients.h"
#include "admin/host.h"
#include "admin/login.h"
#include "admin/page.h"
#include "admin/tls_relay.h"
#include "base/log.h"
#include "base/number.h"

#include <microhttpd.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADMIN_TIMEOUT_S = 10,
    ADMIN_FILES = 2 /* libmicrohttpd's epoll, and the eventfd that wakes its thread */
};

#define ADMIN_JSON "application/json"
#define ADMIN_TEXT "text/plain; charset=utf-8"
#define ADMIN_LOG_IN "Log in with a user and a password of admin_auth_file.\n"
#define ADMIN_REALM "Basic realm=\"stayd\", charset=\"UTF-8\""

/* The page loads nothing from other sites, sends nothing, and cannot be put into a frame. */
#define ADMIN_CONTENT_POLICY                                                                       \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "                    \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct admin {
    struct admin_options options;
    struct MHD_Daemon *http;
    struct history *history;
    struct logins logins;
    struct tls_relay *relay; /* NULL: plain HTTP */
    struct clients clients;  /* used by the HTTP thread only */
};

/* Queues the response, and frees it. `response` NULL: there was no memory for it. */
static enum MHD_Result admin_reply(struct MHD_Connection *connection, unsigned status,
                                   const char *type, struct MHD_Response *response) {
    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Frame-Options", "DENY");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy", ADMIN_CONTENT_POLICY);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    } else if (status == MHD_HTTP_UNAUTHORIZED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, ADMIN_REALM);
    } else if (status == MHD_HTTP_TOO_MANY_REQUESTS) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "10");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result admin_reply_asset(struct MHD_Connection *connection,
                                         const struct asset *asset) {
    /* the cast is safe: libmicrohttpd does not write to persistent memory */
    return admin_reply(connection, MHD_HTTP_OK, asset->type,
                       MHD_create_response_from_buffer(asset->size, (void *)(uintptr_t)asset->data,
                                                       MHD_RESPMEM_PERSISTENT));
}

static const char *admin_argument(struct MHD_Connection *connection, const char *name) {
    const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    return value != NULL ? value : "";
}

static unsigned admin_write_history(const struct admin *admin, struct MHD_Connection *connection,
                                    const char **type, FILE *stream) {
    const char *since = admin_argument(connection, "since");
    const char *span = admin_argument(connection, "span");
    uint64_t since_s = 0;
    bool is_day = strcmp(span, "day") == 0;
    if ((span[0] != '\0' && !is_day && strcmp(span, "hour") != 0) ||
        (since[0] != '\0' && (!number_parse_u64((struct bytes){since, strlen(since)}, &since_s) ||
                              since_s > UINT32_MAX))) {
        fputs("span must be hour or day, and since must be a time in unix seconds.\n", stream);
        return MHD_HTTP_BAD_REQUEST;
    }
    *type = ADMIN_JSON;
    api_write_history(&admin->options, admin->history, is_day ? HISTORY_DAY : HISTORY_HOUR,
                      (uint32_t)since_s, stream);
    return MHD_HTTP_OK;
}

/* `is_known`: the client has logged in, or need not. */
static unsigned admin_write(const struct admin *admin, struct MHD_Connection *connection,
                            const char *url, bool is_known, const char **type, FILE *stream) {
    if (strcmp(url, "/metrics") == 0) {
        *type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(&admin->options, stream);
        return MHD_HTTP_OK;
    }
    if (strcmp(url, "/healthz") == 0) {
        return health_write(&admin->options, is_known, stream) ? MHD_HTTP_OK
                                                               : MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    if (strcmp(url, "/healthz/live") == 0) {
        fputs("ok\n", stream);
        return MHD_HTTP_OK;
    }
    if (strcmp(url, "/api/v1/stats") == 0) {
        *type = ADMIN_JSON;
        api_write_stats(&admin->options, admin->history, stream);
        return MHD_HTTP_OK;
    }
    if (strcmp(url, "/api/v1/history") == 0) {
        return admin_write_history(admin, connection, type, stream);
    }
    fputs("Not found. This server has /, /metrics, /healthz, /healthz/live, /api/v1/stats and "
          "/api/v1/history.\n",
          stream);
    return MHD_HTTP_NOT_FOUND;
}

/* Writes why the request is refused, if it is. Returns the status, or 0: it is not. */
static unsigned admin_refuse(const struct admin *admin, struct MHD_Connection *connection,
                             const char *url, enum login_state login, FILE *stream) {
    const char *host =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    if (!host_is_allowed(host, admin->options.host_names)) {
        fputs("Unknown host name. Use the IP address of this server, or add the name "
              "to admin_hosts in [server].\n",
              stream);
        return MHD_HTTP_MISDIRECTED_REQUEST;
    }
    switch (login) {
    case LOGIN_ADMITTED:
    case LOGIN_WAITS:
        return 0;
    case LOGIN_MISSING:
        if (strcmp(url, "/healthz") == 0 || strcmp(url, "/healthz/live") == 0) {
            return 0;
        }
        fputs(ADMIN_LOG_IN, stream);
        return MHD_HTTP_UNAUTHORIZED;
    case LOGIN_REFUSED:
        fputs("Wrong user or password.\n", stream);
        return MHD_HTTP_UNAUTHORIZED;
    case LOGIN_LIMITED:
        fputs("Not checked, after too many wrong passwords from your address. Wait a minute.\n",
              stream);
        return MHD_HTTP_TOO_MANY_REQUESTS;
    case LOGIN_BUSY:
        break;
    }
    fputs("Not checked: too many other passwords are being checked. Try again.\n", stream);
    return MHD_HTTP_TOO_MANY_REQUESTS;
}

/* Whether a body follows the request's headers. */
static bool admin_has_body(struct MHD_Connection *connection) {
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length != NULL && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                       MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

/* The headers of a request have arrived. A client that sends a body without the login that it needs
 * gets its reply now, and libmicrohttpd closes the connection without reading the body. */
static enum MHD_Result admin_begin(struct admin *admin, struct MHD_Connection *connection,
                                   void **context) {
    *context = calloc(1, sizeof(struct login));
    if (*context == NULL) {
        return MHD_NO;
    }
    if (!admin_has_body(connection) || !login_is_missing(&admin->logins, connection)) {
        return MHD_YES;
    }
    /* the cast is safe: libmicrohttpd does not write to persistent memory */
    return admin_reply(connection, MHD_HTTP_UNAUTHORIZED, ADMIN_TEXT,
                       MHD_create_response_from_buffer(sizeof ADMIN_LOG_IN - 1,
                                                       (void *)(uintptr_t)ADMIN_LOG_IN,
                                                       MHD_RESPMEM_PERSISTENT));
}

/* Ignores a part of a request's body. MHD_NO closes the connection. */
static enum MHD_Result admin_ignore_body(struct admin *admin, struct MHD_Connection *connection,
                                         size_t *size) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL || !clients_take_body(&admin->clients, info->connect_fd, *size)) {
        return MHD_NO;
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result admin_answer(void *user, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *upload,
                                    size_t *upload_size, void **context) {
    (void)version;
    (void)upload;
    struct admin *admin = user;
    struct login *request = *context;
    if (request == NULL) {
        return admin_begin(admin, connection, context);
    }
    if (*upload_size > 0) {
        return admin_ignore_body(admin, connection, upload_size);
    }
    enum login_state login = login_check(&admin->logins, request, connection);
    if (login == LOGIN_WAITS) {
        return MHD_YES;
    }
    const char *type = ADMIN_TEXT;
    unsigned status = MHD_HTTP_METHOD_NOT_ALLOWED;
    const struct asset *asset = NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) {
        return MHD_NO;
    }
    unsigned refused = admin_refuse(admin, connection, url, login, stream);
    if (refused != 0) {
        status = refused;
    } else if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
               strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        asset = asset_find(url);
        status = asset != NULL
                     ? MHD_HTTP_OK
                     : admin_write(admin, connection, url, login == LOGIN_ADMITTED, &type, stream);
    } else {
        fputs("Only GET and HEAD are allowed: this server is read-only.\n", stream);
    }
    if (fclose(stream) != 0) {
        free(text);
        return MHD_NO;
    }
    if (asset != NULL) {
        free(text);
        return admin_reply_asset(connection, asset);
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
    }
    return admin_reply(connection, status, type, response);
}

static void admin_finish_request(void *user, struct MHD_Connection *connection, void **context,
                                 enum MHD_RequestTerminationCode code) {
    (void)user;
    (void)connection;
    (void)code;
    free(*context);
    *context = NULL;
}

static void admin_note_connection(void *user, struct MHD_Connection *connection, void **context,
                                  enum MHD_ConnectionNotificationCode code) {
    (void)context;
    struct admin *admin = user;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL) {
        return;
    }
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        clients_add(&admin->clients, info->connect_fd);
    } else {
        clients_remove(&admin->clients, info->connect_fd);
    }
}

/* Logs libmicrohttpd's messages, for debugging. */
__attribute__((format(printf, 2, 0))) static void admin_log(void *user, const char *format,
                                                            va_list arguments) {
    (void)user;
    char line[256];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("admin: %s", line);
}

/* Starts libmicrohttpd. With TLS the relay takes the connections, and not libmicrohttpd. */
static struct MHD_Daemon *admin_start_http(struct admin *admin, const struct listener *listener) {
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME;
    bool relayed = admin->options.tls != NULL;
    const struct MHD_OptionItem listen[] = {
        {relayed ? MHD_OPTION_END : MHD_OPTION_LISTEN_SOCKET, listener->fd, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(
        flags | (relayed ? MHD_USE_NO_LISTEN_SOCKET : 0), 0, NULL, NULL, admin_answer, admin,
        MHD_OPTION_EXTERNAL_LOGGER, admin_log, NULL, MHD_OPTION_ARRAY, listen,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)ADMIN_TIMEOUT_S, MHD_OPTION_NOTIFY_CONNECTION, admin_note_connection, admin,
        MHD_OPTION_NOTIFY_COMPLETED, admin_finish_request, admin, MHD_OPTION_END);
}

unsigned admin_count_files(bool has_tls) {
    return ADMIN_FILES + CLIENTS_MAX + (has_tls ? TLS_RELAY_FILES : 0);
}

struct admin *admin_start(const struct admin_options *options, struct listener *listener) {
    struct admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL) {
        return NULL;
    }
    admin->options = *options;
    logins_begin(&admin->logins, options->users);
    admin->history = history_start(&admin->options);
    if (admin->history != NULL) {
        admin->http = admin_start_http(admin, listener);
    }
    if (admin->http != NULL && options->tls != NULL) {
        admin->relay = tls_relay_start(options->tls, options->tls_counters, listener, admin->http);
    }
    if (admin->http == NULL || (options->tls != NULL && admin->relay == NULL)) {
        admin_stop(admin);
        return NULL;
    }
    return admin;
}

void admin_stop(struct admin *admin) {
    if (admin == NULL) {
        return;
    }
    tls_relay_stop(admin->relay);
    if (admin->http != NULL) {
        MHD_quiesce_daemon(admin->http); /* keeps the listening socket open: the caller closes it */
        MHD_stop_daemon(admin->http);
    }
    logins_finish(&admin->logins);
    history_stop(admin->history);
    free(admin);
}
