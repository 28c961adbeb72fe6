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

static void engine_close(void *self) {
    struct nats_engine *engine = self;
    for (uint32_t i = 0; i < engine->partitions; i++) {
        follow_end(&engine->follows[i]);
    }
    connection_stop(engine);
    /* libnats's threads call back for a moment longer, and have ended then. */
    while (atomic_load(&engine->connections) > 0 || atomic_load(&engine->subscriptions) > 0) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    engine_free_ended(&engine->ended, UINT64_MAX);
    engine_free_ended(&engine->ended_connections, UINT64_MAX);
    natsInbox_Destroy(engine->inbox);
    natsMsg_Destroy(engine->current);
    engine_free_messages(engine);
    struct delivery *delivery;
    while ((delivery = engine_next_delivery(engine)) != NULL) {
        free(delivery);
    }
    pthread_cond_destroy(&engine->arrived);
    pthread_mutex_destroy(&engine->lock);
    pthread_mutex_destroy(&engine->dead_lock);
    free(engine->urls);
    free(engine->credentials);
    free(engine->tls_ca);
    free(engine->tls_cert);
    free(engine->tls_key);
    free(engine);
}

/* A copy; true also for NULL, which stays NULL. */
static bool engine_copy(char **to, const char *from) {
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool engine_begin(struct nats_engine *engine, const struct engine_options *options,
                         char error[ENGINE_ERROR_MAX]) {
    char reason[ENGINE_REASON_MAX];
    if (!engine_copy(&engine->urls, options->urls) ||
        !engine_copy(&engine->credentials, options->credentials) ||
        !engine_copy(&engine->tls_ca, options->tls_ca) ||
        !engine_copy(&engine->tls_cert, options->tls_cert) ||
        !engine_copy(&engine->tls_key, options->tls_key) ||
        natsInbox_Create(&engine->inbox) != NATS_OK) {
        snprintf(error, ENGINE_ERROR_MAX, "no memory");
        return false;
    }
    if (!connection_check_options(engine, reason)) {
        snprintf(error, ENGINE_ERROR_MAX, "%s", reason);
        return false;
    }
    if (!connection_start(engine)) {
        snprintf(error, ENGINE_ERROR_MAX, "no memory or no threads");
        return false;
    }
    return true;
}

__attribute__((visibility("default"))) engine_open stayd_engine_open;

bool stayd_engine_open(const struct engine_options *options,
                       const struct engine_callbacks *callbacks, struct engine *engine,
                       char error[ENGINE_ERROR_MAX]) {
    nats_Open(0); /* its locks do not spin */
    struct nats_engine *self = calloc(1, sizeof *self);
    if (self == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "no memory");
        return false;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->dead_lock, NULL);
    pthread_cond_init(&self->arrived, &monotonic);
    pthread_condattr_destroy(&monotonic);
    self->callbacks = *callbacks;
    self->partitions = options->partitions;
    self->replicas = options->replicas;
    self->payload_max_bytes = options->payload_max_bytes;
    snprintf(self->prefix, sizeof self->prefix, "%s", options->prefix);
    snprintf(self->pool, sizeof self->pool, "%s", options->pool);
    self->wake = -1;
    if (!engine_begin(self, options, error)) {
        engine_close(self);
        return false;
    }
    *engine = (struct engine){
        .self = self,
        .check = engine_check,
        .create = engine_create,
        .ask_nodes = engine_ask_nodes,
        .get_nodes = engine_get_nodes,
        .drop = engine_drop,
        .find_now = engine_find_now,
        .write = engine_write,
        .find = engine_find,
        .poke = engine_poke,
        .purge = engine_purge,
        .follow = engine_follow,
        .receive = engine_receive,
        .is_connected = engine_is_connected,
        .leave = engine_leave,
        .is_refused = engine_is_refused,
        .close = engine_close,
    };
    return true;
}
