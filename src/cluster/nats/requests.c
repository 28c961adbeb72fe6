#include "cluster/nats/engine_private.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void engine_name_stream(const struct nats_engine *engine, uint32_t partition, char name[128]) {
    snprintf(name, 128, "%s_%s_%u", engine->prefix, engine->pool, partition);
}

/* At intervals, because it may happen for each write. */
void engine_log(struct nats_engine *engine, const char *what, const char *why) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t before = atomic_load(&engine->logged_ms);
    if (now_ms >= before + ENGINE_LOG_MS &&
        atomic_compare_exchange_strong(&engine->logged_ms, &before, now_ms)) {
        engine->callbacks.log(LOG_LEVEL_WARNING, "pool %s: the cluster's log %s: %s", engine->pool,
                              what, why);
    }
}

bool engine_is_connected(void *self) {
    const struct nats_engine *engine = self;
    return atomic_load(&engine->connection) != NULL;
}

void engine_free_messages(struct nats_engine *engine) {
    natsMsg *dead[ENGINE_DEAD_MESSAGES];
    pthread_mutex_lock(&engine->dead_lock);
    unsigned count = engine->dead_count;
    memcpy(dead, engine->dead, count * sizeof dead[0]);
    engine->dead_count = 0;
    engine->dead_bytes = 0;
    pthread_mutex_unlock(&engine->dead_lock);
    for (unsigned i = 0; i < count; i++) {
        natsMsg_Destroy(dead[i]);
    }
}

void engine_free_message(struct nats_engine *engine, natsMsg *message) {
    if (message == NULL) {
        return;
    }
    pthread_mutex_lock(&engine->dead_lock);
    bool has_room = engine->dead_count < ENGINE_DEAD_MESSAGES;
    if (has_room) {
        engine->dead[engine->dead_count++] = message;
        engine->dead_bytes += (uint64_t)natsMsg_GetDataLength(message);
    }
    bool is_full =
        engine->dead_count == ENGINE_DEAD_MESSAGES || engine->dead_bytes >= ENGINE_DEAD_BYTES;
    pthread_mutex_unlock(&engine->dead_lock);
    if (is_full) {
        engine_free_messages(engine);
    }
    if (!has_room) {
        natsMsg_Destroy(message);
    }
}

/* Publishes a request whose answer comes to the inbox, under this word. */
bool engine_request(struct nats_engine *engine, natsMsg *message) {
    natsConnection *connection = atomic_load(&engine->connection);
    natsStatus status = connection != NULL ? natsConnection_PublishMsg(connection, message)
                                           : NATS_CONNECTION_CLOSED;
    engine_free_message(engine, message);
    if (status != NATS_OK) {
        engine_log(engine, "cannot be reached", natsStatus_GetText(status));
    }
    return true; /* a part of it may be on its way: only its answer decides */
}

natsMsg *engine_make_request(struct nats_engine *engine, const char *subject, const char *word,
                             struct bytes payload) {
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

bool engine_write(void *self, const struct engine_write *write) {
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

bool engine_find(void *self, uint64_t token, uint32_t partition, const char *subject) {
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

bool engine_purge(void *self, uint64_t token, uint32_t partition, uint64_t below) {
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

size_t engine_decode(char *text) {
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

json_t *engine_parse(const natsMsg *message) {
    return json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
}

/* The code of an answer's error; 0: it is none. */
int engine_error_of(const json_t *answer, const char **description) {
    const json_t *error = json_object_get(answer, "error");
    const char *text = json_string_value(json_object_get(error, "description"));
    *description = text != NULL ? text : "an error without a description";
    return error == NULL ? 0 : (int)json_integer_value(json_object_get(error, "err_code"));
}

uint64_t engine_number_of(const json_t *object, const char *name) {
    json_int_t number = json_integer_value(json_object_get(object, name));
    return number > 0 ? (uint64_t)number : 0;
}

/* The connection; waits for it if there is none, and longer if none was tried yet. NULL: there is
 * still none. */
static natsConnection *engine_await_connection(const struct nats_engine *engine) {
    uint64_t began_ms = clock_exact_ms();
    natsConnection *connection;
    while ((connection = atomic_load(&engine->connection)) == NULL &&
           atomic_load(&engine->refusals) == 0 &&
           clock_exact_ms() <
               began_ms + (atomic_load(&engine->has_tried) ? ENGINE_CHECK_MS : ENGINE_FIRST_MS)) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return connection;
}

/* Asks the API and waits for the answer; NULL with the reason in `error`. */
json_t *engine_ask(struct nats_engine *engine, const char *api, const char *request,
                   char error[ENGINE_ERROR_MAX]) {
    natsMsg *message = NULL;
    natsConnection *connection = engine_await_connection(engine);
    natsStatus status = connection != NULL ? natsConnection_RequestString(&message, connection, api,
                                                                          request, ENGINE_CHECK_MS)
                                           : NATS_CONNECTION_DISCONNECTED;
    json_t *answer = status == NATS_OK ? engine_parse(message) : NULL;
    if (answer == NULL && !engine_is_refused(engine, error)) {
        char reason[ENGINE_REASON_MAX];
        engine_get_reason(engine, reason);
        snprintf(error, ENGINE_ERROR_MAX, "no node answers %s (%s)", api,
                 connection == NULL             ? reason
                 : status == NATS_NO_RESPONDERS ? "JetStream is not enabled, or has no leader"
                                                : natsStatus_GetText(status));
    }
    natsMsg_Destroy(message);
    return answer;
}

/* Why there was no answer. */
enum engine_check engine_no_answer(struct nats_engine *engine) {
    char error[ENGINE_ERROR_MAX];
    return engine_is_refused(engine, error) ? ENGINE_WRONG : ENGINE_AWAY;
}
