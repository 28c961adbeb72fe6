#include "cluster/nats/engine_private.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Whether the answer is {"stream":"NAME","seq":NUMBER}, as nearly all are: it needs no parser. */
static bool engine_is_stored(const natsMsg *message, uint64_t *sequence) {
    static const char begin[] = "{\"stream\":\"";
    static const char middle[] = "\",\"seq\":";
    const char *text = natsMsg_GetData(message); /* a zero follows it */
    if (text == NULL || strncmp(text, begin, sizeof begin - 1) != 0) {
        return false;
    }
    text += sizeof begin - 1;
    text += strcspn(text, "\"\\");
    if (strncmp(text, middle, sizeof middle - 1) != 0) {
        return false;
    }
    char *end = NULL;
    *sequence = strtoull(text + sizeof middle - 1, &end, 10);
    return *sequence > 0 && *end == '}' && end[1] == '\0';
}

static void engine_take_outcome(struct nats_engine *engine, uint64_t token, natsMsg *message) {
    enum engine_outcome outcome = ENGINE_UNCLEAR;
    uint64_t sequence = 0;
    if (natsMsg_IsNoResponders(message)) {
        outcome = ENGINE_ABSENT;
    } else if (engine_is_stored(message, &sequence)) {
        outcome = ENGINE_STORED;
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
    engine_deliver(engine, created, partition, generation);
}

void engine_take_answer(natsConnection *connection, natsSubscription *subscription,
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
    case 'n':
        engine_take_node(engine, message);
        break;
    default:
        break;
    }
    engine_free_message(engine, message);
}
