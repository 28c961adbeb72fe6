#include "cluster/nats/engine_private.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* NULL, or what is wrong with its settings. */
static const char *engine_find_fault(const struct nats_engine *engine, const json_t *config) {
    natsConnection *connection = atomic_load(&engine->connection);
    if (connection != NULL && natsConnection_GetMaxPayload(connection) <
                                  (int64_t)engine->payload_max_bytes + ENGINE_HEADERS_BYTES) {
        return "the server's max_payload is smaller than the pool's item_max and some headers";
    }
    json_int_t max_size = json_integer_value(json_object_get(config, "max_msg_size"));
    if (max_size > 0 && max_size < (json_int_t)engine->payload_max_bytes + ENGINE_HEADERS_BYTES) {
        return "max_msg_size is smaller than the pool's item_max and some headers";
    }
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

enum engine_check engine_check(void *self, uint32_t partition, struct engine_log *log,
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
        return engine_no_answer(engine);
    }
    const json_t *config = json_object_get(answer, "config");
    const json_t *state = json_object_get(answer, "state");
    const char *created = json_string_value(json_object_get(answer, "created"));
    const char *version =
        json_string_value(json_object_get(json_object_get(config, "metadata"), "_nats.ver"));
    int code = engine_error_of(answer, &description);
    if (code == CODE_NO_STREAM) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "stream %s is missing; `stayctl cluster create` makes the streams", name);
        check = ENGINE_WRONG;
    } else if (config == NULL || state == NULL || created == NULL) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s: %s", name, description);
        check = code == CODE_NOT_ENABLED ? ENGINE_WRONG : ENGINE_AWAY;
    } else if (!engine_is_new_enough(version)) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the server that leads stream %s is nats-server %s; stayd needs " ENGINE_OLDEST
                 " or later",
                 name, version != NULL ? version : "2.10 or older");
        check = ENGINE_WRONG;
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

enum engine_check engine_find_now(void *self, uint32_t partition, const char *subject,
                                  uint64_t *sequence, struct buffer *payload,
                                  char error[ENGINE_ERROR_MAX]) {
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
        return engine_no_answer(engine);
    }
    int code = engine_error_of(answer, &description);
    const json_t *message = json_object_get(answer, "message");
    *sequence = engine_number_of(message, "seq");
    bool is_answer = code == CODE_NO_MESSAGE || *sequence > 0;
    if (payload != NULL) {
        const char *text = json_string_value(json_object_get(message, "data"));
        payload->size = 0;
        is_answer = is_answer && (text == NULL || (buffer_append(payload, text, strlen(text) + 1)));
        payload->size = is_answer && text != NULL ? engine_decode(payload->data) : 0;
    }
    if (!is_answer) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s: %s", name, description);
    }
    json_decref(answer);
    return is_answer ? ENGINE_RIGHT : ENGINE_AWAY;
}

enum engine_check engine_create(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]) {
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
        return engine_no_answer(engine);
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

enum engine_check engine_drop(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]) {
    struct nats_engine *engine = self;
    char name[128];
    char api[192];
    const char *description;
    engine_name_stream(engine, partition, name);
    snprintf(api, sizeof api, "$JS.API.STREAM.DELETE.%s", name);
    json_t *answer = engine_ask(engine, api, "", error);
    if (answer == NULL) {
        return ENGINE_AWAY;
    }
    int code = engine_error_of(answer, &description);
    bool is_away = code == CODE_CLUSTER_AWAY || code == CODE_NO_PEERS;
    bool is_gone = code == 0 || code == CODE_NO_STREAM;
    if (!is_gone) {
        snprintf(error, ENGINE_ERROR_MAX, "stream %s cannot be deleted: %s", name, description);
    }
    json_decref(answer);
    return is_gone ? ENGINE_RIGHT : is_away ? ENGINE_AWAY : ENGINE_WRONG;
}
