#include "cluster/nats/engine_private.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void engine_deliver(struct nats_engine *engine, bool created, uint32_t partition,
                    uint32_t generation) {
    struct delivery *delivery = malloc(sizeof *delivery);
    if (delivery == NULL) { /* then the time is over, and another consumer is made */
        return;
    }
    *delivery =
        (struct delivery){.created = created, .partition = partition, .generation = generation};
    pthread_mutex_lock(&engine->lock);
    if (engine->first == NULL) {
        engine->first = delivery;
        pthread_cond_signal(&engine->arrived);
    } else {
        engine->last->next = delivery;
    }
    engine->last = delivery;
    pthread_mutex_unlock(&engine->lock);
}

void engine_note_arrival(struct nats_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    engine->arrivals++;
    bool awaits = engine->awaits;
    pthread_mutex_unlock(&engine->lock);
    if (awaits) {
        pthread_cond_signal(&engine->arrived);
    }
}

void engine_end_subscription(void *closure) {
    struct nats_engine *engine = closure;
    atomic_fetch_sub(&engine->subscriptions, 1);
}

/* libnats 3.4.1 takes a subscription out of its table, and then locks it, without a reference of
 * its own: one that is freed at that moment is used all the same. So it is kept for a while after
 * it has ended. */
void follow_end(struct follow *follow) {
    if (follow->subscription == NULL) {
        return;
    }
    struct nats_engine *engine = follow->engine;
    struct ended *ended = malloc(sizeof *ended);
    natsSubscription_Unsubscribe(follow->subscription);
    if (ended != NULL) { /* else it is never freed */
        *ended = (struct ended){.next = engine->ended,
                                .subscription = follow->subscription,
                                .ended_ms = clock_exact_ms()};
        engine->ended = ended;
    }
    follow->subscription = NULL;
}

void engine_free_ended(struct ended **list, uint64_t before_ms) {
    struct ended **link = list;
    while (*link != NULL) {
        struct ended *ended = *link;
        if (ended->ended_ms >= before_ms) {
            link = &ended->next;
            continue;
        }
        *link = ended->next;
        natsSubscription_Destroy(ended->subscription);
        natsConnection_Destroy(ended->connection);
        free(ended);
    }
}

/* The next try is made soon, not at once: the cause may last. */
static void follow_again(struct follow *follow, uint32_t after_ms) {
    follow_end(follow);
    follow->state = FOLLOW_BEGIN;
    follow->until_ms = clock_exact_ms() + after_ms;
}

static void follow_begin(struct follow *follow) {
    struct nats_engine *engine = follow->engine;
    char subject[256];
    char name[128];
    char api[192];
    char word[64];
    char request[1024];
    follow_end(follow);
    follow->generation++;
    follow->delivered = 0;
    follow->state = FOLLOW_CREATING;
    follow->until_ms = clock_exact_ms() + ENGINE_FOLLOW_MS;
    engine_name_stream(engine, follow->partition, name);
    snprintf(subject, sizeof subject, "%s-%u-%u", (const char *)engine->inbox, follow->partition,
             follow->generation);
    snprintf(word, sizeof word, "c%u-%u", follow->partition, follow->generation);
    snprintf(api, sizeof api, "$JS.API.CONSUMER.CREATE.%s", name);
    snprintf(request, sizeof request,
             "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":\"%s\","
             "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%llu,"
             "\"ack_policy\":\"none\",\"max_deliver\":1,\"replay_policy\":\"instant\","
             "\"flow_control\":true,\"idle_heartbeat\":%d,\"inactive_threshold\":%lld,"
             "\"num_replicas\":1,\"mem_storage\":true}}",
             name, subject, (unsigned long long)follow->next, ENGINE_HEARTBEAT_NS,
             (long long)ENGINE_IDLE_NS);
    natsMsg *message = engine_make_request(engine, api, word, bytes_from_string(request));
    follow->session = atomic_load(&engine->session);
    natsConnection *connection = atomic_load(&engine->connection);
    if (message == NULL || connection == NULL ||
        natsConnection_SubscribeSync(&follow->subscription, connection, subject) != NATS_OK) {
        natsMsg_Destroy(message);
        follow_again(follow, ENGINE_RECONNECT_MS);
        return;
    }
    natsSubscription_SetPendingLimits(follow->subscription, -1, -1);
    engine_request(engine, message);
}

void engine_follow(void *self, uint32_t partition, uint64_t from) {
    struct nats_engine *engine = self;
    struct follow *follow = &engine->follows[partition];
    follow->engine = engine;
    follow->partition = partition;
    follow->next = from;
    follow_begin(follow);
}

/* Begins again what gives no sign of life. */
static void engine_check_follows(struct nats_engine *engine) {
    uint64_t now_ms = clock_exact_ms();
    if (now_ms < engine->checked_ms + 100) {
        return;
    }
    engine->checked_ms = now_ms;
    engine_check_silence(engine); /* its own thread may wait for the rest of a TLS record */
    engine_free_ended(&engine->ended, now_ms > ENGINE_KEEP_MS ? now_ms - ENGINE_KEEP_MS : 0);
    uint64_t session = atomic_load(&engine->session);
    for (uint32_t i = 0; i < engine->partitions; i++) {
        struct follow *follow = &engine->follows[i];
        bool is_of_old = follow->session != session; /* its connection has ended */
        if (follow->state != FOLLOW_NOT && (is_of_old || now_ms >= follow->until_ms)) {
            follow_begin(follow);
        }
    }
}

/* A message of the server itself: a heartbeat, or a question of flow control. */
static void follow_take_status(struct follow *follow, const natsMsg *message) {
    const char *reply = natsMsg_GetReply(message);
    const char *last = NULL;
    const char *stalled = NULL;
    natsMsgHeader_Get((natsMsg *)(uintptr_t)message, "Nats-Last-Consumer", &last);
    natsMsgHeader_Get((natsMsg *)(uintptr_t)message, "Nats-Consumer-Stalled", &stalled);
    const char *asks = reply != NULL && *reply != '\0' ? reply : stalled;
    natsConnection *connection = atomic_load(&follow->engine->connection);
    if (asks != NULL && connection != NULL) {
        natsConnection_Publish(connection, asks, NULL, 0);
    }
    if (last != NULL && strtoull(last, NULL, 10) != follow->delivered) {
        follow_again(follow, 0); /* the last messages are missing */
    }
}

/* Reads the record's sequence, the consumer's own count, and how many are still to come, from
 *
 *     $JS.ACK.                STREAM.CONSUMER.DELIVERIES.SEQUENCE.COUNT.TIME.PENDING
 *     $JS.ACK.DOMAIN.ACCOUNT.STREAM.CONSUMER.DELIVERIES.SEQUENCE.COUNT.TIME.PENDING[...]
 *
 * Servers send the first form, and the second one with the feature flag js_ack_fc_v2. */
static bool follow_read_reply(const char *reply, uint64_t *sequence, uint64_t *count,
                              uint64_t *pending) {
    const char *words[11] = {0};
    unsigned found = 0;
    for (const char *at = reply; at != NULL; found++) {
        if (found < 11) {
            words[found] = at;
        }
        at = strchr(at, '.');
        at = at != NULL ? at + 1 : NULL;
    }
    if (found != 9 && found < 11) {
        return false;
    }
    unsigned first = found == 9 ? 5 : 7;
    *sequence = strtoull(words[first], NULL, 10);
    *count = strtoull(words[first + 1], NULL, 10);
    *pending = strtoull(words[first + 3], NULL, 10);
    return *sequence > 0 && *count > 0;
}

/* Whether the message is the next record; fills it in. */
static bool follow_take(struct follow *follow, natsMsg *message, struct engine_record *record) {
    const char *reply = natsMsg_GetReply(message);
    uint64_t sequence;
    uint64_t count;
    uint64_t pending;
    follow->until_ms = clock_exact_ms() + ENGINE_FOLLOW_MS;
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) {
        follow_take_status(follow, message);
        return false;
    }
    if (!follow_read_reply(reply, &sequence, &count, &pending) || count != follow->delivered + 1) {
        follow_again(follow, 0); /* one is missing */
        return false;
    }
    follow->delivered = count;
    follow->next = sequence + 1;
    *record = (struct engine_record){
        .partition = follow->partition,
        .sequence = sequence,
        .subject = natsMsg_GetSubject(message),
        .payload = bytes_from(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)),
        .pending = pending,
    };
    return true;
}

struct delivery *engine_next_delivery(struct nats_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    struct delivery *delivery = engine->first;
    if (delivery != NULL) {
        engine->first = delivery->next;
    }
    pthread_mutex_unlock(&engine->lock);
    return delivery;
}

static void engine_take_deliveries(struct nats_engine *engine) {
    struct delivery *delivery;
    while ((delivery = engine_next_delivery(engine)) != NULL) {
        struct follow *follow = &engine->follows[delivery->partition];
        if (delivery->generation != follow->generation || follow->state != FOLLOW_CREATING) {
            /* of an earlier consumer, or its records were faster */
        } else if (delivery->created) {
            follow->state = FOLLOW_ACTIVE;
            follow->until_ms = clock_exact_ms() + ENGINE_FOLLOW_MS;
        } else {
            follow_again(follow, ENGINE_RECONNECT_MS);
        }
        free(delivery);
    }
}

/* The partition's next message; NULL: there is none. */
static natsMsg *follow_next(const struct follow *follow) {
    natsMsg *message = NULL;
    uint64_t queued = 0;
    if (follow->subscription == NULL ||
        natsSubscription_QueuedMsgs(follow->subscription, &queued) != NATS_OK || queued == 0 ||
        natsSubscription_NextMsg(&message, follow->subscription, 0) != NATS_OK) {
        return NULL;
    }
    return message;
}

/* Takes the next record of any partition. Several of one partition come in a row, because a look at
 * all partitions for each record would cost more than the record. */
static bool engine_take_record(struct nats_engine *engine, struct engine_record *record) {
    for (uint32_t empty = 0; empty < engine->partitions;) {
        struct follow *follow = &engine->follows[engine->turn];
        natsMsg *message = follow_next(follow);
        if (message == NULL) {
            engine->turn = (engine->turn + 1) % engine->partitions;
            empty++;
        } else if (follow_take(follow, message, record)) {
            engine->current = message;
            if (++engine->taken % ENGINE_IN_A_ROW == 0) {
                engine->turn = (engine->turn + 1) % engine->partitions;
            }
            return true;
        } else {
            engine_free_message(engine, message);
        }
    }
    return false;
}

bool engine_receive(void *self, uint32_t timeout_ms, struct engine_record *record) {
    struct nats_engine *engine = self;
    struct timespec until = clock_deadline(timeout_ms * UINT64_C(1000000));
    engine_free_message(engine, engine->current);
    engine->current = NULL;
    for (bool waited = timeout_ms == 0;; waited = true) {
        pthread_mutex_lock(&engine->lock);
        uint64_t seen = engine->arrivals;
        pthread_mutex_unlock(&engine->lock);
        engine_check_follows(engine);
        engine_take_deliveries(engine);
        if (engine_take_record(engine, record)) {
            return true;
        }
        if (waited) {
            return false;
        }
        pthread_mutex_lock(&engine->lock);
        engine->awaits = true;
        while (engine->first == NULL && engine->arrivals == seen &&
               pthread_cond_timedwait(&engine->arrived, &engine->lock, &until) == 0) {
        }
        engine->awaits = false;
        pthread_mutex_unlock(&engine->lock);
    }
}
