#include "server.h"

#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const struct url_times server_defaults = {
    .connect_timeout_ms = 2000,
    .timeout_ms = 5000,      /* long enough for a slow disk under `fsync = always` */
    .restart_wait_ms = 1000, /* longer than a restart of the daemon takes */
    .idle_timeout_ms = 60000,
};

/* Returns the option, or else the URL's time, or else the default. */
static int server_choose(int option_ms, int url_ms, int default_ms) {
    return option_ms != 0 ? option_ms : url_ms != 0 ? url_ms : default_ms;
}

static void server_choose_times(struct server *server, const struct stayd_options *options) {
    const struct url_times *url = &server->url.times;
    struct url_times *times = &server->times;
    times->connect_timeout_ms = server_choose(options->connect_timeout_ms, url->connect_timeout_ms,
                                              server_defaults.connect_timeout_ms);
    times->timeout_ms =
        server_choose(options->timeout_ms, url->timeout_ms, server_defaults.timeout_ms);
    times->total_timeout_ms = server_choose(options->total_timeout_ms, url->total_timeout_ms, 0);
    times->restart_wait_ms = server_choose(options->restart_wait_ms, url->restart_wait_ms,
                                           server_defaults.restart_wait_ms);
    times->idle_timeout_ms = server_choose(options->idle_timeout_ms, url->idle_timeout_ms,
                                           server_defaults.idle_timeout_ms);
    times->restart_wait_ms = times->restart_wait_ms < 0 ? 0 : times->restart_wait_ms;
}

static void server_init_availability(struct server *server) {
    int64_t probe_ms = (int64_t)server->times.connect_timeout_ms + server->times.timeout_ms;
    availability_init(&server->availability, server->times.restart_wait_ms,
                      probe_ms < INT_MAX ? (int)probe_ms : INT_MAX);
}

/* The files in the options are for all servers with TLS. Where the options name no file, the URL's
 * file is used. */
static bool server_init_tls(struct server *server, const struct stayd_options *options,
                            char error[STAYD_ERROR_MAX]) {
    const struct url *url = &server->url;
    const char *ca = options->tls_ca != NULL ? options->tls_ca : url->ca;
    bool own = options->tls_cert != NULL;
    if (options->tls_key != NULL && !own) {
        snprintf(error, STAYD_ERROR_MAX, "tls_key is given without tls_cert");
        return false;
    }
    server->tls = tls_create(ca, own ? options->tls_cert : url->cert,
                             own ? options->tls_key : url->key, error);
    return server->tls != NULL;
}

bool server_init(struct server *server, struct url *url, const struct stayd_options *options,
                 char error[STAYD_ERROR_MAX]) {
    *server = (struct server){.url = *url,
                              .interrupted = options->interrupted,
                              .interrupted_user = options->interrupted_user,
                              .max_connections = options->max_connections};
    *url = (struct url){0};
    pthread_mutex_init(&server->lock, NULL);
    server_choose_times(server, options);
    server_init_availability(server);
    if (options->login == STAYD_LOGIN_SASL) {
        server->url.login = STAYD_LOGIN_SASL;
    }
    bool valid = options->user == NULL && options->password == NULL;
    if (!valid) {
        valid = url_set_login(&server->url, options->user != NULL ? options->user : "",
                              options->password != NULL ? options->password : "", error);
    }
    mapping_init(&server->mapping, options->sockets_only == 0 && url_may_map(&server->url));
    if (!valid || (server->url.tls && !server_init_tls(server, options, error))) {
        server_finish(server);
        return false;
    }
    return true;
}

void server_finish(struct server *server) {
    struct connection *next = server->all;
    while (next != NULL) {
        struct connection *connection = next;
        next = connection->next;
        channel_close(&connection->channel);
        channel_finish(&connection->channel);
        free(connection);
    }
    server->all = NULL;
    mapping_finish(&server->mapping);
    tls_destroy(server->tls);
    server->tls = NULL;
    url_finish(&server->url);
}

void server_renew(struct server *server) {
    struct connection *next = server->all;
    while (next != NULL) {
        struct connection *connection = next;
        next = connection->next;
        if (connection->state != CONNECTION_TAKEN) {
            channel_abandon(&connection->channel);
            channel_finish(&connection->channel);
            free(connection);
        } else {
            /* A thread of the parent was using the connection, so the state of its memory is
             * unknown. The memory is left as it is; only the socket's number is always valid. */
            connection->channel.tls = NULL;
            channel_abandon(&connection->channel);
            connection->state = CONNECTION_LOST;
        }
    }
    server->all = NULL;
    server->newest = server->oldest = server->spare = NULL;
    server->open_count = 0;
    pthread_mutex_init(&server->lock, NULL);
    tls_renew(server->tls);
    mapping_renew(&server->mapping);
    server_init_availability(server);
}

static void server_push_idle(struct server *server, struct connection *connection) {
    connection->older = server->newest;
    connection->newer = NULL;
    if (server->newest != NULL) {
        server->newest->newer = connection;
    } else {
        server->oldest = connection;
    }
    server->newest = connection;
}

static void server_remove_idle(struct server *server, struct connection *connection) {
    if (connection->newer != NULL) {
        connection->newer->older = connection->older;
    } else {
        server->newest = connection->older;
    }
    if (connection->older != NULL) {
        connection->older->newer = connection->newer;
    } else {
        server->oldest = connection->newer;
    }
}

/* Closes a connection that is not in the list of idle connections. */
static void server_close(struct server *server, struct connection *connection) {
    connection->state = CONNECTION_TAKEN; /* so that a child that is forked now leaves the memory
                                             alone (server_renew) */
    channel_close(&connection->channel);
    channel_trim(&connection->channel);
    connection->state = CONNECTION_SPARE;
    connection->older = server->spare;
    server->spare = connection;
    server->open_count--;
}

static void server_close_oldest(struct server *server) {
    struct connection *connection = server->oldest;
    server_remove_idle(server, connection);
    server_close(server, connection);
}

static bool server_is_stale(const struct server *server, const struct connection *connection,
                            uint64_t now_ms) {
    return now_ms - connection->idle_since_ms > (uint64_t)server->times.idle_timeout_ms;
}

/* Returns a closed connection: a spare or a new connection. */
static struct connection *server_add(struct server *server) {
    struct connection *connection = server->spare;
    if (connection != NULL) {
        server->spare = connection->older;
    } else {
        connection = calloc(1, sizeof *connection);
        if (connection == NULL) {
            return NULL;
        }
        channel_init(&connection->channel, server->interrupted, server->interrupted_user);
        connection->next = server->all;
        /* set before the connection is in the list, because a fork may happen at any time */
        connection->state = CONNECTION_TAKEN;
        server->all = connection;
    }
    server->open_count++;
    return connection;
}

struct connection *server_take(struct server *server, bool fresh, bool *no_memory) {
    uint64_t now_ms = clock_exact_ms();
    struct connection *connection = NULL;
    *no_memory = false;
    pthread_mutex_lock(&server->lock);
    if (!fresh && server->newest != NULL && !server_is_stale(server, server->newest, now_ms)) {
        connection = server->newest;
        server_remove_idle(server, connection);
    } else {
        /* If the newest connection is too old, all are: a firewall may have dropped them. */
        while (server->oldest != NULL && server_is_stale(server, server->oldest, now_ms)) {
            server_close_oldest(server);
        }
        bool is_full = server->max_connections > 0 && server->open_count >= server->max_connections;
        if (is_full && server->oldest != NULL) {
            server_close_oldest(server);
            is_full = false;
        }
        connection = is_full ? NULL : server_add(server);
        *no_memory = !is_full && connection == NULL;
    }
    if (connection != NULL) {
        connection->state = CONNECTION_TAKEN;
        connection->taken_ms = now_ms;
    }
    pthread_mutex_unlock(&server->lock);
    return connection;
}

void server_give_back(struct server *server, struct connection *connection) {
    uint64_t now_ms = clock_exact_ms();
    if (connection->state == CONNECTION_LOST) {
        return;
    }
    server->answered_ms = now_ms;
    connection->idle_since_ms = now_ms;
    channel_trim(&connection->channel);
    pthread_mutex_lock(&server->lock);
    connection->state = CONNECTION_IDLE;
    server_push_idle(server, connection);
    while (server_is_stale(server, server->oldest, now_ms)) {
        server_close_oldest(server);
    }
    pthread_mutex_unlock(&server->lock);
}

void server_drop(struct server *server, struct connection *connection) {
    if (connection->state == CONNECTION_LOST) {
        return;
    }
    pthread_mutex_lock(&server->lock);
    server_close(server, connection);
    pthread_mutex_unlock(&server->lock);
}

void server_disconnect(struct server *server) {
    pthread_mutex_lock(&server->lock);
    while (server->oldest != NULL) {
        server_close_oldest(server);
    }
    pthread_mutex_unlock(&server->lock);
}
