/* The connection to a node. One thread owns it: it connects, reads from the socket and writes to
 * it, and connects again, to any node, when the connection ends. libnats is used with an event
 * loop, which is this thread, because then
 *
 * - what other threads publish is collected while the thread is busy, and leaves in one write;
 * - only one thread uses the TLS connection, as OpenSSL demands; libnats's own threads read and
 *   write it at once;
 * - a publisher never waits for the network, nor for an attempt to connect.
 *
 * libnats does not connect again by itself: it gives up after two refusals, says to nobody why it
 * cannot connect, and has the certificates from the first time. Each attempt here reads the files
 * of certificates and credentials again. */
#include "cluster/nats/engine_private.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- why there is no connection, and what a node has denied ---- */

static void connection_note_reason(struct nats_engine *engine, const char *reason) {
    pthread_mutex_lock(&engine->lock);
    snprintf(engine->reason, sizeof engine->reason, "%s", reason);
    pthread_mutex_unlock(&engine->lock);
}

void engine_get_reason(struct nats_engine *engine, char reason[ENGINE_REASON_MAX]) {
    pthread_mutex_lock(&engine->lock);
    memcpy(reason, engine->reason, ENGINE_REASON_MAX);
    pthread_mutex_unlock(&engine->lock);
}

bool engine_is_refused(void *self, char error[ENGINE_ERROR_MAX]) {
    struct nats_engine *engine = self;
    bool refused = atomic_load(&engine->refusals) > 0;
    pthread_mutex_lock(&engine->lock);
    bool denied = engine->denied_ms != 0 && clock_exact_ms() < engine->denied_ms + ENGINE_DENIED_MS;
    if (refused) {
        snprintf(error, ENGINE_ERROR_MAX, "no node of its cluster lets stayd in: %s",
                 engine->reason);
    } else if (denied) {
        snprintf(error, ENGINE_ERROR_MAX, "the cluster's user has too few rights: %s",
                 engine->denied);
    }
    pthread_mutex_unlock(&engine->lock);
    return refused || denied;
}

/* The error of the calling thread's last call, without the place in libnats's source. */
static void connection_describe(natsStatus status, char text[ENGINE_REASON_MAX]) {
    const char *error = nats_GetLastError(NULL);
    if (error == NULL || *error == '\0') {
        error = natsStatus_GetText(status);
    }
    const char *place = strchr(error, ')');
    if (*error == '(' && place != NULL && strncmp(place, "): ", 3) == 0) {
        error = place + 3;
    }
    snprintf(text, ENGINE_REASON_MAX, "%s", error);
}

/* With TLS 1.3, a host hears that its certificate is refused when it reads next, and libnats then
 * says that it has read nothing. */
static void connection_explain(const struct nats_engine *engine, char text[ENGINE_REASON_MAX]) {
    bool is_secure = engine->tls_ca != NULL || strncmp(engine->urls, "tls://", 6) == 0;
    if (is_secure && strcmp(text, "Expected 'PONG', got ''") == 0) {
        snprintf(text, ENGINE_REASON_MAX,
                 "the node ends the connection after the TLS handshake: it does not accept %s",
                 engine->tls_cert != NULL ? engine->tls_cert : "a host without cluster_tls_cert");
    }
}

/* Whether the nodes have refused this host and no network is to blame: the same will be refused
 * again. With TLS 1.3, the client hears that its certificate is refused when it reads. */
static bool connection_is_refusal(natsStatus status, const char *text) {
    return strstr(text, "does not accept") != NULL || status == NATS_SSL_ERROR ||
           status == NATS_CONNECTION_AUTH_FAILED || status == NATS_NOT_PERMITTED ||
           status == NATS_SECURE_CONNECTION_WANTED || status == NATS_SECURE_CONNECTION_REQUIRED;
}

/* ---- callbacks of libnats ---- */

static void connection_wake(struct nats_engine *engine) {
    uint64_t one = 1;
    ssize_t written = write(engine->wake, &one, sizeof one);
    (void)written; /* it fails only if the thread has been woken already */
}

bool engine_poke(void *self) {
    struct nats_engine *engine = self;
    if (atomic_load(&engine->connection) == NULL) {
        return false;
    }
    if (!atomic_exchange(&engine->poked, true)) {
        connection_wake(engine);
    }
    return true;
}

static natsStatus connection_attach(void **user, void *loop, natsConnection *connection,
                                    natsSock socket) {
    (void)connection;
    struct nats_engine *engine = loop;
    *user = engine;
    atomic_store(&engine->heard_ms, clock_exact_ms());
    pthread_mutex_lock(&engine->lock);
    engine->socket = socket;
    pthread_mutex_unlock(&engine->lock);
    return NATS_OK;
}

/* Without `add`, the socket is closed next. */
static natsStatus connection_set_read(void *user, bool add) {
    struct nats_engine *engine = user;
    if (!add) {
        pthread_mutex_lock(&engine->lock);
        engine->socket = -1;
        pthread_mutex_unlock(&engine->lock);
    }
    return NATS_OK;
}

static natsStatus connection_set_write(void *user, bool add) {
    struct nats_engine *engine = user;
    atomic_store(&engine->wants_write, add);
    if (add && !pthread_equal(pthread_self(), engine->owner)) {
        connection_wake(engine);
    }
    return NATS_OK;
}

static natsStatus connection_detach(void *user) {
    (void)user;
    return NATS_OK;
}

/* The last callback of a connection. */
static void connection_note_closed(natsConnection *connection, void *closure) {
    (void)connection;
    struct nats_engine *engine = closure;
    atomic_fetch_sub(&engine->connections, 1);
}

static void connection_note_error(natsConnection *connection, natsSubscription *subscription,
                                  natsStatus status, void *closure) {
    (void)connection;
    (void)subscription;
    struct nats_engine *engine = closure;
    char text[ENGINE_REASON_MAX];
    connection_describe(status, text);
    if (status == NATS_NOT_PERMITTED && strstr(text, ENGINE_NODES_SUBJECT) != NULL) {
        pthread_mutex_lock(&engine->lock);
        engine->nodes_refused = true;
        pthread_mutex_unlock(&engine->lock);
        return;
    }
    if (status == NATS_NOT_PERMITTED) {
        pthread_mutex_lock(&engine->lock);
        snprintf(engine->denied, sizeof engine->denied, "%s", text);
        engine->denied_ms = clock_exact_ms();
        pthread_mutex_unlock(&engine->lock);
    }
    engine_log(engine, "reports an error", text);
}

/* ---- connecting ---- */

static natsStatus connection_set_servers(const struct nats_engine *engine, natsOptions *set) {
    const char *servers[ENGINE_SERVERS_MAX];
    int count = 0;
    bool is_secure = false;
    char *rest = NULL;
    char *urls = strdup(engine->urls);
    if (urls == NULL) {
        return NATS_NO_MEMORY;
    }
    for (char *url = strtok_r(urls, ", \t", &rest); url != NULL && count < ENGINE_SERVERS_MAX;
         url = strtok_r(NULL, ", \t", &rest)) {
        servers[count++] = url;
        is_secure = is_secure || strncmp(url, "tls://", 6) == 0; /* libnats does not look at it */
    }
    natsStatus status = natsOptions_SetServers(set, servers, count);
    free(urls);
    return status == NATS_OK && is_secure ? natsOptions_SetSecure(set, true) : status;
}

/* Reads the files of certificates and credentials. `what`: what it was about when it failed. */
static natsStatus connection_set_files(const struct nats_engine *engine, natsOptions *set,
                                       const char **what) {
    natsStatus status = NATS_OK;
    if (engine->credentials != NULL) {
        *what = engine->credentials;
        status = access(*what, R_OK) == 0
                     ? natsOptions_SetUserCredentialsFromFiles(set, *what, NULL)
                     : NATS_NOT_FOUND;
    }
    if (status == NATS_OK && (engine->tls_ca != NULL || engine->tls_cert != NULL)) {
        status = natsOptions_SetSecure(set, true);
    }
    if (status == NATS_OK && engine->tls_ca != NULL) {
        *what = engine->tls_ca;
        status = natsOptions_LoadCATrustedCertificates(set, *what);
    }
    if (status == NATS_OK && engine->tls_cert != NULL) {
        *what = engine->tls_cert;
        status = natsOptions_LoadCertificatesChain(set, *what, engine->tls_key);
    }
    return status;
}

static void connection_set_options(struct nats_engine *engine, natsOptions *set) {
    natsOptions_SetName(set, "stayd");
    natsOptions_SetAllowReconnect(set, false);
    natsOptions_SetTimeout(set, ENGINE_CHECK_MS);
    /* The pings make the node say something. Whether it does, the thread sees for itself: libnats
     * would close the socket below the thread. */
    natsOptions_SetPingInterval(set, ENGINE_PING_MS);
    natsOptions_SetMaxPingsOut(set, INT32_MAX);
    natsOptions_SetSendAsap(set, true); /* no thread of its own that writes */
    natsOptions_SetIOBufSize(set, ENGINE_READ_BYTES);
    natsOptions_UseGlobalMessageDelivery(set, true); /* one thread, not one for each consumer */
    natsOptions_SetClosedCB(set, connection_note_closed, engine);
    natsOptions_SetErrorHandler(set, connection_note_error, engine);
    natsOptions_SetEventLoop(set, engine, connection_attach, connection_set_read,
                             connection_set_write, connection_detach);
}

/* Makes the options. False with the reason in `error`. */
static bool connection_make_options(struct nats_engine *engine, natsOptions **set,
                                    char error[ENGINE_REASON_MAX]) {
    const char *what = "the addresses of the nodes";
    natsStatus status = natsOptions_Create(set);
    if (status == NATS_OK) {
        status = connection_set_servers(engine, *set);
    }
    if (status == NATS_OK) {
        status = connection_set_files(engine, *set, &what);
    }
    if (status != NATS_OK) {
        char text[ENGINE_REASON_MAX];
        connection_describe(status, text);
        snprintf(error, ENGINE_REASON_MAX, "cannot use %s: %.100s", what, text);
        natsOptions_Destroy(*set);
        *set = NULL;
        return false;
    }
    connection_set_options(engine, *set);
    return true;
}

bool connection_check_options(struct nats_engine *engine, char error[ENGINE_REASON_MAX]) {
    natsOptions *set;
    bool good = connection_make_options(engine, &set, error);
    natsOptions_Destroy(good ? set : NULL);
    return good;
}

static void connection_subscribe(struct nats_engine *engine, natsConnection *connection) {
    char inbox[256];
    snprintf(inbox, sizeof inbox, "%s.*", (const char *)engine->inbox);
    if (natsConnection_Subscribe(&engine->answers, connection, inbox, engine_take_answer, engine) ==
        NATS_OK) {
        atomic_fetch_add(&engine->subscriptions, 1);
        natsSubscription_SetOnCompleteCB(engine->answers, engine_end_subscription, engine);
        natsSubscription_SetPendingLimits(engine->answers, -1, -1);
    } else { /* no memory: without answers, nothing works */
        shutdown(engine->socket, SHUT_RDWR);
    }
}

/* Tries all nodes once. */
static bool connection_begin(struct nats_engine *engine) {
    char error[ENGINE_REASON_MAX];
    char url[256] = "";
    natsOptions *set;
    natsConnection *connection = NULL;
    if (!connection_make_options(engine, &set, error)) {
        connection_note_reason(engine, error);
        return false;
    }
    natsStatus status = natsConnection_Connect(&connection, set);
    if (status != NATS_OK) {
        connection_describe(status, error);
        connection_explain(engine, error);
        connection_note_reason(engine, error);
        bool is_refusal = connection_is_refusal(status, error);
        if (is_refusal) { /* other faults do not end the count: nodes may be down as well */
            atomic_fetch_add(&engine->refusals, 1);
            engine_log(engine, "does not let stayd in", error);
        }
        natsOptions_Destroy(set);
        return false;
    }
    natsOptions_Destroy(set);
    atomic_fetch_add(&engine->connections, 1);
    atomic_store(&engine->refusals, 0);
    connection_subscribe(engine, connection);
    natsConnection_GetConnectedUrl(connection, url, sizeof url);
    const char *node = strrchr(url, '@'); /* a user and a password stand before it */
    engine->callbacks.log(LOG_LEVEL_INFO, "pool %s: connected to %s of its cluster", engine->pool,
                          node != NULL ? node + 1 : url);
    atomic_fetch_add(&engine->session, 1);
    atomic_store(&engine->connection, connection);
    return true;
}

/* ---- the end of a connection ---- */

/* Other threads may have the connection in hand, so it is freed later. */
static void connection_end(struct nats_engine *engine) {
    natsConnection *connection = atomic_exchange(&engine->connection, NULL);
    struct ended *ended = connection != NULL ? malloc(sizeof *ended) : NULL;
    if (connection == NULL) {
        return;
    }
    natsConnection_Close(connection);
    if (ended != NULL) { /* else it is never freed */
        *ended = (struct ended){.next = engine->ended_connections,
                                .subscription = engine->answers,
                                .connection = connection,
                                .ended_ms = clock_exact_ms()};
        engine->ended_connections = ended;
    }
    engine->answers = NULL;
    if (!atomic_load(&engine->stopping)) {
        connection_note_reason(engine, "the connection has ended");
        engine->callbacks.log(LOG_LEVEL_WARNING,
                              "pool %s: the connection to a node of its cluster has ended",
                              engine->pool);
    }
}

/* Ends the connection, so that the thread makes another one. */
static void connection_shut_down(struct nats_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    if (engine->socket >= 0) { /* under the lock: it is not closed meanwhile */
        shutdown(engine->socket, SHUT_RDWR);
    }
    pthread_mutex_unlock(&engine->lock);
}

void engine_check_silence(struct nats_engine *engine) {
    if (clock_exact_ms() >= atomic_load(&engine->heard_ms) + ENGINE_SILENCE_MS) {
        connection_shut_down(engine);
    }
}

void engine_leave(void *self) {
    struct nats_engine *engine = self;
    if (engine_is_connected(engine)) {
        engine->callbacks.log(LOG_LEVEL_WARNING,
                              "pool %s: what is written through this node of its cluster does not "
                              "come back; another one is tried",
                              engine->pool);
        connection_shut_down(engine);
    }
}

/* ---- the thread ---- */

/* Waits until it is woken, for this time at most. */
static void connection_sleep(const struct nats_engine *engine, int timeout_ms) {
    uint64_t count;
    struct pollfd wake = {.fd = engine->wake, .events = POLLIN};
    if (poll(&wake, 1, timeout_ms) > 0) {
        ssize_t size = read(engine->wake, &count, sizeof count);
        (void)size;
    }
}

/* Reads and writes once, when there is something to read or write. */
static void connection_turn(struct nats_engine *engine, natsConnection *connection) {
    bool wants_write = atomic_load(&engine->wants_write);
    struct pollfd polled[] = {
        {.fd = engine->wake, .events = POLLIN},
        {.fd = engine->socket, .events = (short)(wants_write ? POLLIN | POLLOUT : POLLIN)},
    };
    if (poll(polled, 2, ENGINE_TURN_MS) < 0 && errno != EINTR) {
        return;
    }
    if (polled[0].revents != 0) {
        uint64_t count;
        ssize_t size = read(engine->wake, &count, sizeof count);
        (void)size;
    }
    if ((polled[1].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
        atomic_store(&engine->heard_ms, clock_exact_ms());
        natsConnection_ProcessReadEvent(connection);
        engine_note_arrival(engine);
    }
    if (atomic_exchange(&engine->poked, false)) {
        engine->callbacks.send(engine->callbacks.context);
    }
    if (engine->socket >= 0 && atomic_load(&engine->wants_write)) {
        natsConnection_ProcessWriteEvent(connection);
    }
    engine_check_silence(engine);
}

static void *connection_main(void *argument) {
    struct nats_engine *engine = argument;
    engine->owner = pthread_self();
    unsigned seed = (unsigned)clock_exact_ms();
    while (!atomic_load(&engine->stopping)) {
        natsConnection *connection = atomic_load(&engine->connection);
        if (connection != NULL && engine->socket >= 0) {
            connection_turn(engine, connection);
            continue;
        }
        connection_end(engine);
        uint64_t now_ms = clock_exact_ms();
        engine_free_ended(&engine->ended_connections,
                          now_ms > ENGINE_KEEP_MS ? now_ms - ENGINE_KEEP_MS : 0);
        bool connected = connection_begin(engine);
        atomic_store(&engine->has_tried, true);
        if (!connected) {
            bool refused = atomic_load(&engine->refusals) > 0;
            int pause_ms = refused ? ENGINE_REFUSED_MS : ENGINE_RECONNECT_MS;
            connection_sleep(engine, pause_ms + rand_r(&seed) % ENGINE_RECONNECT_MS);
        }
    }
    connection_end(engine);
    return NULL;
}

bool connection_start(struct nats_engine *engine) {
    engine->socket = -1;
    engine->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(engine->reason, sizeof engine->reason, "it has not been made yet");
    if (engine->wake < 0) {
        return false;
    }
    engine->started = pthread_create(&engine->thread, NULL, connection_main, engine) == 0;
    if (engine->started) {
        pthread_setname_np(engine->thread, "log connection");
    }
    return engine->started;
}

void connection_stop(struct nats_engine *engine) {
    if (engine->started) {
        atomic_store(&engine->stopping, true);
        connection_wake(engine);
        pthread_join(engine->thread, NULL);
    }
    if (engine->wake >= 0) {
        close(engine->wake);
    }
}
