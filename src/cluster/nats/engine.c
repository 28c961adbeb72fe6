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
#include "cluster/engine.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "store/pool.h"

#include <jansson.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ENGINE_SERVERS_MAX = 32,
    ENGINE_CHECK_MS = 2000,  /* for one answer of `check` */
    ENGINE_FOLLOW_MS = 3000, /* for the answer to a new consumer; and for its next sign of life */
    ENGINE_HEARTBEAT_NS = 1000000000,
    ENGINE_IDLE_NS = 2000000000, /* a consumer whose subscription is gone ends after this time */
    ENGINE_RECONNECT_MS = 250,
    ENGINE_LOG_MS = 10000,
};

/* Error codes of JetStream. */
enum {
    CODE_WRONG_LAST_SEQUENCE = 10071,
    CODE_IN_FLIGHT = 10164, /* another write of the subject has not been decided */
    CODE_NO_MESSAGE = 10037,
    CODE_NO_STREAM = 10059,
    CODE_MESSAGES_EXCEEDED = 10077,
    CODE_TOO_LARGE = 10054,
    CODE_NO_RESOURCES = 10023,
    CODE_NAME_IN_USE = 10058, /* by a stream with other settings */
    CODE_CLUSTER_AWAY = 10008,
    CODE_NO_PEERS = 10005,
};

enum delivery_kind { DELIVERY_MESSAGE, DELIVERY_CREATED, DELIVERY_FAILED };

struct delivery {
    struct delivery *next;
    enum delivery_kind kind;
    uint32_t partition;
    uint32_t generation;
    natsMsg *message; /* owned */
};

enum follow_state { FOLLOW_NOT, FOLLOW_BEGIN, FOLLOW_CREATING, FOLLOW_ACTIVE };

/* The consumer of a partition; used by the thread that receives. */
struct follow {
    struct nats_engine *engine;
    enum follow_state state;
    uint32_t partition;
    uint32_t generation; /* of the consumer: what an earlier one delivers is dropped */
    uint64_t next;       /* the sequence to begin with */
    uint64_t delivered;  /* the consumer's own count of its messages */
    uint64_t until_ms;   /* when to begin again */
    natsSubscription *subscription;
};

/* A subscription's argument; freed when the subscription is complete. */
struct target {
    struct nats_engine *engine;
    uint32_t partition;
    uint32_t generation;
};

struct nats_engine {
    struct engine_callbacks callbacks;
    uint32_t partitions;
    uint32_t replicas;
    char prefix[64];
    char pool[POOL_NAME_MAX + 1];
    natsConnection *connection;
    natsSubscription *answers;
    natsInbox *inbox;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct delivery *first; /* this and `last`: under the lock */
    struct delivery *last;
    natsMsg *current; /* what `receive` has returned last */
    uint64_t checked_ms;
    _Atomic uint64_t logged_ms;
    _Atomic unsigned subscriptions; /* whose callbacks may run */
    struct follow follows[POOL_PARTITIONS_MAX];
};

static void engine_name_stream(const struct nats_engine *engine, uint32_t partition,
                               char name[128]) {
    snprintf(name, 128, "%s_%s_%u", engine->prefix, engine->pool, partition);
}

/* At intervals, because it may happen for each write. */
static void engine_log(struct nats_engine *engine, const char *what, const char *why) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t before = atomic_load(&engine->logged_ms);
    if (now_ms >= before + ENGINE_LOG_MS &&
        atomic_compare_exchange_strong(&engine->logged_ms, &before, now_ms)) {
        engine->callbacks.log(LOG_LEVEL_WARNING, "pool %s: the cluster's log %s: %s", engine->pool,
                              what, why);
    }
}

static bool engine_is_connected(void *self) {
    const struct nats_engine *engine = self;
    return natsConnection_Status(engine->connection) == NATS_CONN_STATUS_CONNECTED;
}

/* Publishes a request whose answer comes to the inbox, under this word. */
static bool engine_request(struct nats_engine *engine, natsMsg *message) {
    natsStatus status = natsConnection_PublishMsg(engine->connection, message);
    natsMsg_Destroy(message);
    if (status != NATS_OK) {
        engine_log(engine, "cannot be reached", natsStatus_GetText(status));
    }
    return true; /* a part of it may be on its way: only its answer decides */
}

static natsMsg *engine_make_request(struct nats_engine *engine, const char *subject,
                                    const char *word, struct bytes payload) {
    char reply[256];
    natsMsg *message = NULL;
    snprintf(reply, sizeof reply, "%s.%s", (const char *)engine->inbox, word);
    natsMsg_Create(&message, subject, reply, payload.data, (int)payload.size);
    return message;
}

static bool engine_set_number(natsMsg *message, const char *header, uint64_t number,
                              const char *unit) {
    char text[32];
    snprintf(text, sizeof text, "%llu%s", (unsigned long long)number, unit);
    return natsMsgHeader_Set(message, header, text) == NATS_OK;
}

static bool engine_write(void *self, const struct engine_write *write) {
    struct nats_engine *engine = self;
    char word[32];
    snprintf(word, sizeof word, "w%llx", (unsigned long long)write->token);
    natsMsg *message = NULL;
    if (!engine_is_connected(engine) ||
        (message = engine_make_request(engine, write->subject, word, write->payload)) == NULL) {
        return false;
    }
    if ((write->is_conditional &&
         !engine_set_number(message, "Nats-Expected-Last-Subject-Sequence", write->expected, "")) ||
        (write->ttl_s > 0 && !engine_set_number(message, "Nats-TTL", write->ttl_s, "s"))) {
        natsMsg_Destroy(message);
        return false;
    }
    return engine_request(engine, message);
}

static bool engine_find(void *self, uint64_t token, uint32_t partition, const char *subject) {
    struct nats_engine *engine = self;
    char word[32];
    char name[128];
    char api[192];
    char request[ENGINE_SUBJECT_MAX + 64];
    engine_name_stream(engine, partition, name);
    snprintf(word, sizeof word, "f%llx", (unsigned long long)token);
    snprintf(api, sizeof api, "$JS.API.STREAM.MSG.GET.%s", name);
    snprintf(request, sizeof request, "{\"last_by_subj\":\"%s\"}", subject);
    natsMsg *message = engine_is_connected(engine)
                           ? engine_make_request(engine, api, word, bytes_from_string(request))
                           : NULL;
    return message != NULL && engine_request(engine, message);
}

static bool engine_purge(void *self, uint64_t token, uint32_t partition, uint64_t below) {
    struct nats_engine *engine = self;
    char word[32];
    char name[128];
    char api[192];
    char request[64];
    engine_name_stream(engine, partition, name);
    snprintf(word, sizeof word, "p%llx", (unsigned long long)token);
    snprintf(api, sizeof api, "$JS.API.STREAM.PURGE.%s", name);
    snprintf(request, sizeof request, "{\"seq\":%llu}", (unsigned long long)below);
    natsMsg *message = engine_is_connected(engine)
                           ? engine_make_request(engine, api, word, bytes_from_string(request))
                           : NULL;
    return message != NULL && engine_request(engine, message);
}

/* ---- answers ---- */

static json_t *engine_parse(const natsMsg *message) {
    return json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
}

/* The code of an answer's error; 0: it is none. */
static int engine_error_of(const json_t *answer, const char **description) {
    const json_t *error = json_object_get(answer, "error");
    const char *text = json_string_value(json_object_get(error, "description"));
    *description = text != NULL ? text : "an error without a description";
    return error == NULL ? 0 : (int)json_integer_value(json_object_get(error, "err_code"));
}

static uint64_t engine_number_of(const json_t *object, const char *name) {
    json_int_t number = json_integer_value(json_object_get(object, name));
    return number > 0 ? (uint64_t)number : 0;
}

static void engine_take_outcome(struct nats_engine *engine, uint64_t token, natsMsg *message) {
    enum engine_outcome outcome = ENGINE_UNCLEAR;
    uint64_t sequence = 0;
    if (natsMsg_IsNoResponders(message)) {
        outcome = ENGINE_ABSENT;
    } else {
        const char *description;
        json_t *answer = engine_parse(message);
        bool has_error = json_object_get(answer, "error") != NULL;
        int code = engine_error_of(answer, &description);
        sequence = engine_number_of(answer, "seq");
        if (answer != NULL && !has_error && sequence > 0) {
            outcome = ENGINE_STORED;
        } else if (code == CODE_WRONG_LAST_SEQUENCE) {
            static const char before[] = "wrong last sequence: ";
            char *end = NULL;
            const char *digits = description + sizeof before - 1;
            bool is_known = strncmp(description, before, sizeof before - 1) == 0;
            sequence = is_known ? strtoull(digits, &end, 10) : 0;
            outcome = is_known && end != digits && *end == '\0' ? ENGINE_CONFLICT : ENGINE_BUSY;
        } else if (code == CODE_IN_FLIGHT) {
            outcome = ENGINE_BUSY;
        } else if (code == CODE_MESSAGES_EXCEEDED || code == CODE_TOO_LARGE ||
                   code == CODE_NO_RESOURCES) {
            outcome = ENGINE_REFUSED;
        }
        if (has_error && outcome != ENGINE_CONFLICT && outcome != ENGINE_BUSY) {
            engine_log(engine, "refuses a write", description);
        }
        json_decref(answer);
    }
    engine->callbacks.written(engine->callbacks.context, token, outcome, sequence);
}

/* Decodes base64 in place; returns the size. */
static size_t engine_decode(char *text) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned count = 0;
    size_t size = 0;
    for (const char *at = text; *at != '\0' && *at != '='; at++) {
        const char *letter = memchr(alphabet, *at, 64);
        if (letter == NULL) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)(letter - alphabet);
        count += 6;
        if (count >= 8) {
            count -= 8;
            text[size++] = (char)(bits >> count);
        }
    }
    return size;
}

static void engine_take_found(struct nats_engine *engine, uint64_t token, natsMsg *message) {
    struct engine_found found = {0};
    const char *description;
    json_t *answer = engine_parse(message);
    const json_t *stored = json_object_get(answer, "message");
    int code = engine_error_of(answer, &description);
    char *data = NULL;
    if (code == CODE_NO_MESSAGE) {
        found.is_answered = true;
    } else if (stored != NULL) {
        const char *text = json_string_value(json_object_get(stored, "data"));
        data = strdup(text != NULL ? text : "");
        found.sequence = engine_number_of(stored, "seq");
        if (data != NULL && found.sequence > 0) {
            found.payload = bytes_from(data, engine_decode(data));
            found.is_answered = true;
            found.is_there = true;
        }
    }
    engine->callbacks.found(engine->callbacks.context, token, &found);
    free(data);
    json_decref(answer);
}

static void engine_take_purged(struct nats_engine *engine, uint64_t token, natsMsg *message) {
    const char *description;
    json_t *answer = engine_parse(message);
    bool purged = json_is_true(json_object_get(answer, "success"));
    if (!purged && answer != NULL) {
        engine_error_of(answer, &description);
        engine_log(engine, "refuses a purge", description);
    }
    json_decref(answer);
    engine->callbacks.written(engine->callbacks.context, token,
                              purged ? ENGINE_STORED : ENGINE_UNCLEAR, 0);
}

static void engine_deliver(struct nats_engine *engine, enum delivery_kind kind, uint32_t partition,
                           uint32_t generation, natsMsg *message) {
    struct delivery *delivery = malloc(sizeof *delivery);
    if (delivery == NULL) { /* the consumer's count tells that it is missing */
        natsMsg_Destroy(message);
        return;
    }
    *delivery = (struct delivery){
        .kind = kind, .partition = partition, .generation = generation, .message = message};
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

/* The answer to a new consumer: c<partition>-<generation>. */
static void engine_take_created(struct nats_engine *engine, const char *word, natsMsg *message) {
    unsigned partition;
    unsigned generation;
    const char *description;
    if (sscanf(word, "c%u-%u", &partition, &generation) != 2 || partition >= engine->partitions) {
        return;
    }
    json_t *answer = engine_parse(message);
    bool created = answer != NULL && json_object_get(answer, "name") != NULL &&
                   json_object_get(answer, "error") == NULL;
    if (!created && answer != NULL) {
        engine_error_of(answer, &description);
        engine_log(engine, "cannot be followed", description);
    }
    json_decref(answer);
    engine_deliver(engine, created ? DELIVERY_CREATED : DELIVERY_FAILED, partition, generation,
                   NULL);
}

static void engine_take_answer(natsConnection *connection, natsSubscription *subscription,
                               natsMsg *message, void *closure) {
    (void)connection;
    (void)subscription;
    struct nats_engine *engine = closure;
    const char *word = strrchr(natsMsg_GetSubject(message), '.');
    uint64_t token = word != NULL ? strtoull(word + 2, NULL, 16) : 0;
    switch (word != NULL ? word[1] : 0) {
    case 'w':
        engine_take_outcome(engine, token, message);
        break;
    case 'f':
        engine_take_found(engine, token, message);
        break;
    case 'p':
        engine_take_purged(engine, token, message);
        break;
    case 'c':
        engine_take_created(engine, word + 1, message);
        break;
    default:
        break;
    }
    natsMsg_Destroy(message);
}

/* ---- following ---- */

static void engine_take_delivery(natsConnection *connection, natsSubscription *subscription,
                                 natsMsg *message, void *closure) {
    (void)connection;
    (void)subscription;
    const struct target *target = closure;
    engine_deliver(target->engine, DELIVERY_MESSAGE, target->partition, target->generation,
                   message);
}

static void engine_end_subscription(void *closure) {
    struct nats_engine *engine = closure;
    atomic_fetch_sub(&engine->subscriptions, 1);
}

static void engine_free_target(void *closure) {
    struct target *target = closure;
    engine_end_subscription(target->engine);
    free(target);
}

static void follow_end(struct follow *follow) {
    if (follow->subscription != NULL) {
        natsSubscription_Unsubscribe(follow->subscription);
        natsSubscription_Destroy(follow->subscription);
        follow->subscription = NULL;
    }
}

/* The next try is made soon, not at once: the cause may last. */
static void follow_again(struct follow *follow, uint32_t after_ms) {
    follow_end(follow);
    follow->state = FOLLOW_BEGIN;
    follow->until_ms = clock_exact_ms() + after_ms;
}

static bool follow_subscribe(struct follow *follow, const char *subject) {
    struct target *target = malloc(sizeof *target);
    if (target == NULL) {
        return false;
    }
    *target = (struct target){follow->engine, follow->partition, follow->generation};
    if (natsConnection_Subscribe(&follow->subscription, follow->engine->connection, subject,
                                 engine_take_delivery, target) != NATS_OK) {
        free(target);
        return false;
    }
    natsSubscription_SetPendingLimits(follow->subscription, -1, -1);
    atomic_fetch_add(&follow->engine->subscriptions, 1);
    natsSubscription_SetOnCompleteCB(follow->subscription, engine_free_target, target);
    return true;
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
    if (!engine_is_connected(engine) || message == NULL || !follow_subscribe(follow, subject)) {
        natsMsg_Destroy(message);
        follow_again(follow, ENGINE_RECONNECT_MS);
        return;
    }
    engine_request(engine, message);
}

static void engine_follow(void *self, uint32_t partition, uint64_t from) {
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
    for (uint32_t i = 0; i < engine->partitions; i++) {
        struct follow *follow = &engine->follows[i];
        if (follow->state != FOLLOW_NOT && now_ms >= follow->until_ms) {
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
    if (reply != NULL && *reply != '\0') {
        natsConnection_Publish(follow->engine->connection, reply, NULL, 0);
    } else if (stalled != NULL) {
        natsConnection_Publish(follow->engine->connection, stalled, NULL, 0);
    }
    if (last != NULL && strtoull(last, NULL, 10) != follow->delivered) {
        follow_again(follow, 0); /* the last messages are missing */
    }
}

/* Whether the message is the next record; fills it in. */
static bool follow_take(struct follow *follow, natsMsg *message, struct engine_record *record) {
    const char *reply = natsMsg_GetReply(message);
    unsigned long long sequence;
    unsigned long long count;
    follow->until_ms = clock_exact_ms() + ENGINE_FOLLOW_MS;
    /* $JS.ACK.STREAM.CONSUMER.DELIVERIES.SEQUENCE.COUNT.TIME.PENDING */
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) {
        follow_take_status(follow, message);
        return false;
    }
    if (sscanf(reply, "$JS.ACK.%*[^.].%*[^.].%*u.%llu.%llu.", &sequence, &count) != 2 ||
        count != follow->delivered + 1) {
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
    };
    return true;
}

static struct delivery *engine_next_delivery(struct nats_engine *engine, uint32_t timeout_ms) {
    struct timespec until = clock_deadline(timeout_ms * UINT64_C(1000000));
    pthread_mutex_lock(&engine->lock);
    while (engine->first == NULL && timeout_ms > 0 &&
           pthread_cond_timedwait(&engine->arrived, &engine->lock, &until) == 0) {
    }
    struct delivery *delivery = engine->first;
    if (delivery != NULL) {
        engine->first = delivery->next;
    }
    pthread_mutex_unlock(&engine->lock);
    return delivery;
}

static bool engine_receive(void *self, uint32_t timeout_ms, struct engine_record *record) {
    struct nats_engine *engine = self;
    struct delivery *delivery;
    natsMsg_Destroy(engine->current);
    engine->current = NULL;
    engine_check_follows(engine);
    while ((delivery = engine_next_delivery(engine, timeout_ms)) != NULL) {
        struct follow *follow = &engine->follows[delivery->partition];
        natsMsg *message = delivery->message;
        bool is_current = delivery->generation == follow->generation &&
                          (follow->state == FOLLOW_CREATING || follow->state == FOLLOW_ACTIVE);
        enum delivery_kind kind = delivery->kind;
        free(delivery);
        if (!is_current) {
            natsMsg_Destroy(message);
        } else if (kind == DELIVERY_FAILED) {
            follow_again(follow, ENGINE_RECONNECT_MS);
        } else if (kind == DELIVERY_CREATED) {
            follow->state = FOLLOW_ACTIVE;
            follow->until_ms = clock_exact_ms() + ENGINE_FOLLOW_MS;
        } else if (follow_take(follow, message, record)) {
            engine->current = message;
            return true;
        } else {
            natsMsg_Destroy(message);
        }
        engine_check_follows(engine);
    }
    return false;
}

/* ---- the check of a stream ---- */

/* NULL, or what is wrong with its settings. */
static const char *engine_find_fault(const struct nats_engine *engine, const json_t *config) {
    if (json_integer_value(json_object_get(config, "max_msgs_per_subject")) != 1) {
        return "max_msgs_per_subject must be 1";
    }
    if (!json_is_true(json_object_get(config, "allow_msg_ttl"))) {
        return "allow_msg_ttl must be true";
    }
    if (json_integer_value(json_object_get(config, "num_replicas")) <
        (json_int_t)engine->replicas) {
        return "it has fewer replicas than `cluster_replicas`";
    }
    const char *storage = json_string_value(json_object_get(config, "storage"));
    if (storage == NULL || strcmp(storage, "file") != 0) {
        return "its storage must be file";
    }
    if (json_integer_value(json_object_get(config, "max_msgs")) > 0 ||
        json_integer_value(json_object_get(config, "max_bytes")) > 0 ||
        json_integer_value(json_object_get(config, "max_age")) > 0) {
        return "max_msgs, max_bytes and max_age must not be set: a stream at such a limit refuses "
               "updates and deletes of what it has, or drops it";
    }
    const char *discard = json_string_value(json_object_get(config, "discard"));
    if (discard == NULL || strcmp(discard, "new") != 0) {
        return "discard must be new";
    }
    return NULL;
}

/* Asks the API and waits for the answer; NULL with the reason in `error`. */
static json_t *engine_ask(struct nats_engine *engine, const char *api, const char *request,
                          char error[ENGINE_ERROR_MAX]) {
    natsMsg *message = NULL;
    natsStatus status = engine_is_connected(engine)
                            ? natsConnection_RequestString(&message, engine->connection, api,
                                                           request, ENGINE_CHECK_MS)
                            : NATS_CONNECTION_DISCONNECTED;
    json_t *answer = status == NATS_OK ? engine_parse(message) : NULL;
    if (answer == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "no node answers %s (%s)", api,
                 natsStatus_GetText(status));
    }
    natsMsg_Destroy(message);
    return answer;
}

static void engine_describe(const json_t *answer, struct engine_log *log) {
    const json_t *state = json_object_get(answer, "state");
    const json_t *cluster = json_object_get(answer, "cluster");
    const char *leader = json_string_value(json_object_get(cluster, "leader"));
    const json_t *replicas = json_object_get(cluster, "replicas");
    snprintf(log->leader, sizeof log->leader, "%s", leader != NULL ? leader : "");
    log->records = engine_number_of(state, "messages");
    log->bytes = engine_number_of(state, "bytes");
    log->replicas = 1 + (uint32_t)json_array_size(replicas);
    log->replicas_current = leader != NULL;
    for (size_t i = 0; i < json_array_size(replicas); i++) {
        const json_t *replica = json_array_get(replicas, i);
        log->replicas_current += json_is_true(json_object_get(replica, "current"));
    }
}

static enum engine_check engine_check(void *self, uint32_t partition, struct engine_log *log,
                                      char error[ENGINE_ERROR_MAX]) {
    struct nats_engine *engine = self;
    char name[128];
    char api[192];
    const char *description;
    enum engine_check check = ENGINE_AWAY;
    engine_name_stream(engine, partition, name);
    snprintf(api, sizeof api, "$JS.API.STREAM.INFO.%s", name);
    json_t *answer = engine_ask(engine, api, "", error);
    if (answer == NULL) {
        return ENGINE_AWAY;
    }
    const json_t *config = json_object_get(answer, "config");
    const json_t *state = json_object_get(answer, "state");
    const char *created = json_string_value(json_object_get(answer, "created"));
    int code = engine_error_of(answer, &description);
    if (code == CODE_NO_STREAM) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "stream %s is missing; `stayctl cluster create` makes the streams", name);
        check = ENGINE_WRONG;
    } else if (config == NULL || state == NULL || created == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s: %s", name, description);
    } else if (engine_find_fault(engine, config) != NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s has wrong settings: %s", name,
                 engine_find_fault(engine, config));
        check = ENGINE_WRONG;
    } else {
        *log = (struct engine_log){
            .log_id = hash_key(0, bytes_from_string(created)) | 1,
            .first = engine_number_of(state, "first_seq"),
            .last = engine_number_of(state, "last_seq"),
        };
        engine_describe(answer, log);
        check = ENGINE_RIGHT;
    }
    json_decref(answer);
    return check;
}

static enum engine_check engine_find_now(void *self, uint32_t partition, const char *subject,
                                         uint64_t *sequence, char error[ENGINE_ERROR_MAX]) {
    struct nats_engine *engine = self;
    char name[128];
    char api[192];
    char request[ENGINE_SUBJECT_MAX + 64];
    const char *description;
    engine_name_stream(engine, partition, name);
    snprintf(api, sizeof api, "$JS.API.STREAM.MSG.GET.%s", name);
    snprintf(request, sizeof request, "{\"last_by_subj\":\"%s\"}", subject);
    json_t *answer = engine_ask(engine, api, request, error);
    if (answer == NULL) {
        return ENGINE_AWAY;
    }
    int code = engine_error_of(answer, &description);
    *sequence = engine_number_of(json_object_get(answer, "message"), "seq");
    bool is_answer = code == CODE_NO_MESSAGE || *sequence > 0;
    if (!is_answer) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s: %s", name, description);
    }
    json_decref(answer);
    return is_answer ? ENGINE_RIGHT : ENGINE_AWAY;
}

static enum engine_check engine_create(void *self, uint32_t partition,
                                       char error[ENGINE_ERROR_MAX]) {
    struct nats_engine *engine = self;
    char name[128];
    char api[192];
    char request[1024];
    const char *description;
    engine_name_stream(engine, partition, name);
    snprintf(api, sizeof api, "$JS.API.STREAM.CREATE.%s", name);
    snprintf(request, sizeof request,
             "{\"name\":\"%s\",\"subjects\":[\"%s.%s.%u.>\"],\"storage\":\"file\","
             "\"num_replicas\":%u,\"retention\":\"limits\",\"discard\":\"new\","
             "\"max_msgs_per_subject\":1,\"max_msgs\":-1,\"max_bytes\":-1,"
             "\"allow_msg_ttl\":true,\"allow_direct\":false,\"duplicate_window\":%d}",
             name, engine->prefix, engine->pool, partition, engine->replicas, ENGINE_HEARTBEAT_NS);
    json_t *answer = engine_ask(engine, api, request, error);
    if (answer == NULL) {
        return ENGINE_AWAY;
    }
    int code = engine_error_of(answer, &description);
    bool is_away = code == CODE_CLUSTER_AWAY || code == CODE_NO_PEERS;
    bool is_there = code == 0 || code == CODE_NAME_IN_USE;
    if (!is_there) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s cannot be made: %s", name, description);
    }
    json_decref(answer);
    return is_there ? ENGINE_RIGHT : is_away ? ENGINE_AWAY : ENGINE_WRONG;
}

/* ---- begin and end ---- */

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
        natsConnection_Destroy(engine->connection);
    }
    natsSubscription_Destroy(engine->answers);
    natsInbox_Destroy(engine->inbox);
    natsMsg_Destroy(engine->current);
    while (atomic_load(&engine->subscriptions) > 0) { /* their threads end soon */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
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
