/* The engine on NATS JetStream, through libnats (Debian's libnats3.4). It is a module of its own:
 * nothing else of stayd includes nats.h.
 *
 *     stream    PREFIX_POOL_PARTITION, with the subjects PREFIX.POOL.PARTITION.>
 *     write     a message with Nats-Expected-Last-Subject-Sequence and Nats-TTL; the answer is JSON
 *     find      $JS.API.STREAM.MSG.GET, which the stream's leader answers
 *     follow    an ephemeral push consumer without acknowledgements, with flow control and a
 *               heartbeat each second
 *
 * All of it is plain messages: libnats's own functions for JetStream wait for answers, and its own
 * ordered consumer begins again inside its thread. Answers come to one inbox; the last word of
 * their subject says what they answer. Each consumer delivers to a subject of its own, because a
 * server finds the interest in it only in a subscription to exactly that subject. */
#include "cluster/nats/engine_private.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void engine_note_disconnected(natsConnection *connection, void *closure) {
    (void)connection;
    const struct nats_engine *engine = closure;
    engine->callbacks.log(LOG_LEVEL_WARNING,
                          "pool %s: the connection to a node of its cluster has ended",
                          engine->pool);
}

static void engine_note_reconnected(natsConnection *connection, void *closure) {
    char url[256] = "";
    const struct nats_engine *engine = closure;
    natsConnection_GetConnectedUrl(connection, url, sizeof url);
    engine->callbacks.log(LOG_LEVEL_INFO, "pool %s: connected to %s of its cluster", engine->pool,
                          url);
}

/* The last callback of the connection. */
static void engine_note_closed(natsConnection *connection, void *closure) {
    (void)connection;
    struct nats_engine *engine = closure;
    atomic_store(&engine->closed, true);
}

static void engine_note_error(natsConnection *connection, natsSubscription *subscription,
                              natsStatus status, void *closure) {
    (void)connection;
    (void)subscription;
    engine_log(closure, "reports an error", natsStatus_GetText(status));
}

static void engine_close(void *self) {
    struct nats_engine *engine = self;
    for (uint32_t i = 0; i < engine->partitions; i++) {
        follow_end(&engine->follows[i]);
    }
    if (engine->answers != NULL) {
        natsSubscription_Unsubscribe(engine->answers);
    }
    if (engine->connection != NULL) {
        natsConnection_Close(engine->connection);
        /* Its threads call back for a moment longer, and have ended then. */
        while (!atomic_load(&engine->closed) || atomic_load(&engine->subscriptions) > 0) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        engine_free_ended(engine, UINT64_MAX);
        natsConnection_Destroy(engine->connection);
    }
    natsSubscription_Destroy(engine->answers);
    natsInbox_Destroy(engine->inbox);
    natsMsg_Destroy(engine->current);
    struct delivery *delivery;
    while ((delivery = engine_next_delivery(engine, 0)) != NULL) {
        natsMsg_Destroy(delivery->message);
        free(delivery);
    }
    pthread_cond_destroy(&engine->arrived);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

static natsStatus engine_set_options(const struct engine_options *options,
                                     struct nats_engine *engine, natsOptions *set) {
    const char *servers[ENGINE_SERVERS_MAX];
    int count = 0;
    char *urls = strdup(options->urls);
    char *rest = NULL;
    if (urls == NULL) {
        return NATS_NO_MEMORY;
    }
    for (char *url = strtok_r(urls, ", \t", &rest); url != NULL && count < ENGINE_SERVERS_MAX;
         url = strtok_r(NULL, ", \t", &rest)) {
        servers[count++] = url;
    }
    natsStatus status = natsOptions_SetServers(set, servers, count);
    free(urls);
    if (status == NATS_OK && options->credentials != NULL) {
        status = natsOptions_SetUserCredentialsFromFiles(set, options->credentials, NULL);
    }
    if (status == NATS_OK && options->tls_ca != NULL) {
        status = natsOptions_SetSecure(set, true);
        status = status == NATS_OK ? natsOptions_LoadCATrustedCertificates(set, options->tls_ca)
                                   : status;
    }
    if (status == NATS_OK && options->tls_cert != NULL) {
        status = natsOptions_LoadCertificatesChain(set, options->tls_cert, options->tls_key);
    }
    if (status != NATS_OK) {
        return status;
    }
    natsOptions_SetName(set, "stayd");
    natsOptions_SetMaxReconnect(set, -1);
    natsOptions_SetReconnectWait(set, ENGINE_RECONNECT_MS);
    natsOptions_SetReconnectJitter(set, ENGINE_RECONNECT_MS, ENGINE_RECONNECT_MS);
    natsOptions_SetTimeout(set, ENGINE_CHECK_MS);
    natsOptions_SetPingInterval(set, 2000); /* a node that hangs is left after two of these */
    natsOptions_SetMaxPingsOut(set, 2);
    natsOptions_SetSendAsap(set, true);
    natsOptions_SetRetryOnFailedConnect(set, true, engine_note_reconnected, engine);
    natsOptions_SetReconnectedCB(set, engine_note_reconnected, engine);
    natsOptions_SetDisconnectedCB(set, engine_note_disconnected, engine);
    natsOptions_SetClosedCB(set, engine_note_closed, engine);
    natsOptions_SetErrorHandler(set, engine_note_error, engine);
    return NATS_OK;
}

static natsStatus engine_begin(const struct engine_options *options, struct nats_engine *engine) {
    natsOptions *set = NULL;
    char inbox[256];
    natsStatus status = natsOptions_Create(&set);
    if (status == NATS_OK) {
        status = engine_set_options(options, engine, set);
    }
    if (status == NATS_OK) {
        status = natsConnection_Connect(&engine->connection, set);
        status = status == NATS_NOT_YET_CONNECTED ? NATS_OK : status;
    }
    natsOptions_Destroy(set);
    if (status == NATS_OK) {
        status = natsInbox_Create(&engine->inbox);
    }
    if (status == NATS_OK) {
        snprintf(inbox, sizeof inbox, "%s.*", (const char *)engine->inbox);
        status = natsConnection_Subscribe(&engine->answers, engine->connection, inbox,
                                          engine_take_answer, engine);
    }
    if (status == NATS_OK) {
        atomic_fetch_add(&engine->subscriptions, 1);
        natsSubscription_SetOnCompleteCB(engine->answers, engine_end_subscription, engine);
        status = natsSubscription_SetPendingLimits(engine->answers, -1, -1);
    }
    return status;
}

__attribute__((visibility("default"))) engine_open stayd_engine_open;

bool stayd_engine_open(const struct engine_options *options,
                       const struct engine_callbacks *callbacks, struct engine *engine,
                       char error[ENGINE_ERROR_MAX]) {
    struct nats_engine *self = calloc(1, sizeof *self);
    if (self == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "no memory");
        return false;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->arrived, &monotonic);
    pthread_condattr_destroy(&monotonic);
    self->callbacks = *callbacks;
    self->partitions = options->partitions;
    self->replicas = options->replicas;
    self->payload_max_bytes = options->payload_max_bytes;
    snprintf(self->prefix, sizeof self->prefix, "%s", options->prefix);
    snprintf(self->pool, sizeof self->pool, "%s", options->pool);
    natsStatus status = engine_begin(options, self);
    if (status != NATS_OK) {
        snprintf(error, ENGINE_ERROR_MAX, "cannot use %s: %s", options->urls,
                 natsStatus_GetText(status));
        engine_close(self);
        return false;
    }
    *engine = (struct engine){
        .self = self,
        .check = engine_check,
        .create = engine_create,
        .find_now = engine_find_now,
        .write = engine_write,
        .find = engine_find,
        .purge = engine_purge,
        .follow = engine_follow,
        .receive = engine_receive,
        .is_connected = engine_is_connected,
        .close = engine_close,
    };
    return true;
}
