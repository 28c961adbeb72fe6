#include "cluster/fill_private.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum {
    FILL_ATTEMPT_MS = 3000,
    FILL_AGAIN_MS = 50,
    FILL_TICK_MS = 100,
    FILL_PATIENCE_MS = 60000, /* without any answer that helps */
};

static void fill_note_written(void *context, uint64_t token, enum engine_outcome outcome,
                              uint64_t sequence) {
    struct fill *fill = context;
    pthread_mutex_lock(&fill->lock);
    struct fill_request *request = &fill->requests[token % FILL_WINDOW];
    if (token != 0 && request->token == token) {
        request->answered = true;
        request->outcome = outcome;
        request->sequence = sequence;
        pthread_cond_signal(&fill->answer);
    }
    pthread_mutex_unlock(&fill->lock);
}

static void fill_note_found(void *context, uint64_t token, const struct engine_found *found) {
    struct fill *fill = context;
    pthread_mutex_lock(&fill->lock);
    struct fill_request *request = &fill->requests[token % FILL_WINDOW];
    if (token != 0 && request->token == token && found->is_answered) {
        request->found.size = 0;
        request->is_there = found->is_there;
        request->sequence = found->is_there ? found->sequence : 0;
        request->answered =
            buffer_append(&request->found, found->payload.data, found->payload.size);
        pthread_cond_signal(&fill->answer);
    }
    pthread_mutex_unlock(&fill->lock);
}

struct engine_callbacks fill_callbacks(struct fill *fill) {
    return (struct engine_callbacks){
        .context = fill, .written = fill_note_written, .found = fill_note_found, .log = log_write};
}

bool fill_same(const struct replica *a, const struct replica *b) {
    return a->removed == b->removed && a->stale == b->stale && a->token_sent == b->token_sent &&
           a->client_flags == b->client_flags && a->expiry_s == b->expiry_s &&
           bytes_equal(a->value, b->value);
}

static void fill_set_phase(struct fill_request *request, enum fill_phase phase, uint32_t after_ms) {
    request->phase = phase;
    request->until_ms = clock_exact_ms() + after_ms;
    request->answered = false;
    request->token = 0;
}

static void fill_end_request(struct fill *fill, struct fill_request *request, uint64_t *counter) {
    request->phase = FILL_FREE;
    request->token = 0;
    request->answered = false;
    fill->under_way--;
    fill->progress_ms = clock_exact_ms();
    if (counter != NULL && !request->is_note) {
        ++*counter;
    }
}

/* Another record stands where this one is to be. Whose? */
static bool fill_judge(struct fill *fill, struct fill_request *request, char *error) {
    struct bytes found = bytes_from(request->found.data, request->found.size);
    struct bytes wanted = bytes_from(request->payload.data, request->payload.size);
    struct bytes key = bytes_from(request->key, request->key_size);
    struct replica there = {.key = key};
    struct replica mine = {.key = key};
    struct message_id id = {0};
    struct message_id own;
    struct origin origin = {0};
    bool is_own = !request->is_there;
    bool is_same = request->is_there && bytes_equal(found, wanted);
    if (request->is_there && request->is_note) {
        is_own = origin_read(found, &origin) && origin.source == fill->options.source;
    } else if (request->is_there && message_read(found, &there, &id) == MESSAGE_GOOD &&
               message_read(wanted, &mine, &own) == MESSAGE_GOOD) {
        is_own = id.host == fill->options.source;
        is_same = is_same || (!is_own && fill_same(&there, &mine));
    }
    if (is_same) {
        fill_end_request(fill, request, &fill->stats.present);
    } else if (is_own) {
        request->expected = request->sequence;
        fill_set_phase(request, FILL_WRITE, 0);
    } else if (fill->options.keeps_foreign && !request->is_note) {
        fill_end_request(fill, request, &fill->stats.foreign);
    } else {
        snprintf(error, ENGINE_ERROR_MAX,
                 "somebody else writes to the log of partition %u (record %llu) meanwhile",
                 request->partition, (unsigned long long)request->sequence);
        return false;
    }
    return true;
}

static bool fill_take_answer(struct fill *fill, struct fill_request *request, char *error) {
    if (request->phase == FILL_FINDING) {
        return fill_judge(fill, request, error);
    }
    switch (request->outcome) {
    case ENGINE_STORED:
        fill_end_request(fill, request,
                         request->is_removal ? &fill->stats.removed : &fill->stats.stored);
        return true;
    case ENGINE_CONFLICT:
        fill_set_phase(request, FILL_FIND, 0);
        return true;
    case ENGINE_REFUSED:
        snprintf(error, ENGINE_ERROR_MAX,
                 "the engine refuses a record of partition %u: its disk or one of its limits is "
                 "reached (see the servers' logs)",
                 request->partition);
        return false;
    case ENGINE_BUSY:
    case ENGINE_ABSENT:
    case ENGINE_UNCLEAR:
        break;
    }
    fill_set_phase(request, FILL_WRITE, FILL_AGAIN_MS); /* the same, under the same condition */
    return true;
}

/* Sends what is to be sent. Under the lock, which is released meanwhile. */
static void fill_transmit(struct fill *fill, struct fill_request *request) {
    const struct engine *engine = fill->options.engine;
    unsigned number = (unsigned)(request - fill->requests);
    uint64_t token = ++fill->tokens * FILL_WINDOW + number;
    bool finds = request->phase == FILL_FIND;
    fill_set_phase(request, finds ? FILL_FINDING : FILL_WRITTEN, FILL_ATTEMPT_MS);
    request->token = token;
    const struct engine_write write = {
        .token = token,
        .subject = request->subject,
        .payload = bytes_from(request->payload.data, request->payload.size),
        .is_conditional = true,
        .expected = request->expected,
        .ttl_s = request->ttl_s,
    };
    pthread_mutex_unlock(&fill->lock);
    bool sent = finds ? engine->find(engine->self, token, request->partition, request->subject)
                      : engine->write(engine->self, &write);
    pthread_mutex_lock(&fill->lock);
    if (!sent) {
        fill_set_phase(request, finds ? FILL_FIND : FILL_WRITE, FILL_AGAIN_MS);
    }
}

/* One look at all requests; waits a moment if none goes on. */
static bool fill_advance(struct fill *fill, char *error) {
    bool well = true;
    unsigned before = fill->under_way;
    uint64_t now_ms = clock_exact_ms();
    pthread_mutex_lock(&fill->lock);
    for (unsigned i = 0; i < FILL_WINDOW && well; i++) {
        struct fill_request *request = &fill->requests[i];
        if (request->answered) {
            well = fill_take_answer(fill, request, error);
        }
        if (request->phase == FILL_FREE || now_ms < request->until_ms) {
            continue;
        }
        if (request->phase == FILL_WRITTEN || request->phase == FILL_FINDING) { /* no answer */
            fill_set_phase(request, request->phase == FILL_WRITTEN ? FILL_WRITE : FILL_FIND, 0);
        }
        fill_transmit(fill, request);
    }
    if (well && fill->under_way == before) {
        struct timespec until = clock_deadline(FILL_TICK_MS * UINT64_C(1000000));
        pthread_cond_timedwait(&fill->answer, &fill->lock, &until);
    }
    pthread_mutex_unlock(&fill->lock);
    if (well && now_ms > fill->progress_ms + FILL_PATIENCE_MS) {
        snprintf(error, ENGINE_ERROR_MAX, "the engine has stored nothing for %d seconds",
                 FILL_PATIENCE_MS / 1000);
        return false;
    }
    /* What was followed in fill_compare goes on to be delivered. */
    struct engine_record record;
    while (fill->options.engine->receive(fill->options.engine->self, 0, &record)) {
    }
    if (fill->options.progress != NULL) {
        fill->options.progress(fill->options.context);
    }
    return well;
}

struct fill_request *fill_take(struct fill *fill, char error[ENGINE_ERROR_MAX]) {
    if (fill->under_way == 0) {
        fill->progress_ms = clock_exact_ms();
    }
    while (fill->under_way == FILL_WINDOW) {
        if (!fill_advance(fill, error)) {
            return NULL;
        }
    }
    unsigned i = 0;
    while (fill->requests[i].phase != FILL_FREE) {
        i++;
    }
    struct fill_request *request = &fill->requests[i];
    request->is_note = false;
    request->is_removal = false;
    request->expected = 0;
    request->ttl_s = 0;
    request->key_size = 0;
    request->payload.size = 0;
    return request;
}

void fill_send(struct fill *fill, struct fill_request *request) {
    pthread_mutex_lock(&fill->lock);
    fill->under_way++;
    request->phase = FILL_WRITE;
    fill_transmit(fill, request);
    pthread_mutex_unlock(&fill->lock);
}

bool fill_settle(struct fill *fill, char error[ENGINE_ERROR_MAX]) {
    while (fill->under_way > 0) {
        if (!fill_advance(fill, error)) {
            return false;
        }
    }
    return true;
}
