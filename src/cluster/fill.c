#include "cluster/fill_private.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILL_BEACON_AGAIN_MS = 2000,
    FILL_BEACON_LIFE_S = 60,
    FILL_READ_MS = 100,
    FILL_SILENCE_MS = 60000, /* a log that is read gives no sign of life for so long */
};

struct fill *fill_create(const struct fill_options *options) {
    struct fill *fill = calloc(1, sizeof *fill);
    if (fill == NULL) {
        return NULL;
    }
    pthread_condattr_t monotonic;
    fill->options = *options;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&fill->lock, NULL);
    pthread_cond_init(&fill->answer, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return fill;
}

void fill_destroy(struct fill *fill) {
    if (fill == NULL) {
        return;
    }
    for (unsigned i = 0; i < FILL_WINDOW; i++) {
        buffer_finish(&fill->requests[i].payload);
        buffer_finish(&fill->requests[i].found);
    }
    buffer_finish(&fill->ended);
    free(fill->seen);
    pthread_cond_destroy(&fill->answer);
    pthread_mutex_destroy(&fill->lock);
    free(fill);
}

void fill_get_stats(const struct fill *fill, struct fill_stats *stats) {
    *stats = fill->stats;
}

static bool fill_no_memory(char *error) {
    snprintf(error, ENGINE_ERROR_MAX, "no memory");
    return false;
}

/* ---- what the logs have ---- */

static struct fill_seen fill_hash(struct bytes key) {
    return (struct fill_seen){hash_key(11, key), hash_key(12, key)};
}

static int fill_order(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct fill_seen));
}

static bool fill_note_seen(struct fill *fill, struct bytes key) {
    if (fill->seen_count == fill->seen_capacity) {
        size_t capacity = fill->seen_capacity > 0 ? 2 * fill->seen_capacity : 4096;
        struct fill_seen *seen = realloc(fill->seen, capacity * sizeof *seen);
        if (seen == NULL) {
            return false;
        }
        fill->seen = seen;
        fill->seen_capacity = capacity;
    }
    fill->seen[fill->seen_count++] = fill_hash(key);
    return true;
}

/* An earlier run has written it, and the item has ended since. */
static bool fill_note_ended(struct fill *fill, struct bytes key, uint64_t sequence) {
    uint8_t size = (uint8_t)key.size;
    return buffer_append(&fill->ended, &sequence, sizeof sequence) &&
           buffer_append(&fill->ended, &size, 1) && buffer_append(&fill->ended, key.data, key.size);
}

static bool fill_refuse(const struct engine_record *record, char *error) {
    snprintf(error, ENGINE_ERROR_MAX,
             "the log of partition %u has records that are not from this file (the first is %llu): "
             "a cluster has been at work here. Nothing was written",
             record->partition, (unsigned long long)record->sequence);
    return false;
}

static bool fill_take_key(struct fill *fill, const struct engine_record *record, struct bytes key,
                          char *error) {
    struct replica there = {.key = key, .sequence = record->sequence};
    struct replica item = {.key = key};
    struct message_id id = {0};
    bool is_good = message_read(record->payload, &there, &id) == MESSAGE_GOOD;
    bool is_own = is_good && id.host == fill->options.source;
    bool is_live = fill->options.find(fill->options.context, key, &item);
    bool well = true;
    if (is_good && is_live && fill_same(&there, &item)) {
        fill->stats.present++;
        well = fill_note_seen(fill, key);
    } else if (is_own) {
        well = is_live || there.removed || fill_note_ended(fill, key, record->sequence);
    } else if (fill->options.keeps_foreign) {
        fill->stats.foreign++;
        well = fill_note_seen(fill, key);
    } else {
        return fill_refuse(record, error);
    }
    return well || fill_no_memory(error);
}

static bool fill_take_record(struct fill *fill, const struct engine_record *record, char *error) {
    char key[POOL_KEY_MAX];
    size_t key_size;
    uint64_t host;
    uint64_t *beacon = &fill->beacons[record->partition];
    if (*beacon == 0) {
        return true; /* this log was read already */
    }
    switch (subjects_read(fill->options.subjects, record->partition, record->subject, key,
                          &key_size, &host)) {
    case SUBJECT_HOST:
        if (host == fill->options.source && record->payload.size == sizeof *beacon &&
            memcmp(record->payload.data, beacon, sizeof *beacon) == 0) {
            *beacon = 0;
        }
        return true;
    case SUBJECT_FLUSH:
        return fill->options.keeps_foreign || fill_refuse(record, error);
    case SUBJECT_CONFIRMATION:
    case SUBJECT_FOREIGN:
    case SUBJECT_ORIGIN:
        return true;
    case SUBJECT_KEY:
        break;
    }
    return fill_take_key(fill, record, bytes_from(key, key_size), error);
}

/* As the reader's beacons: everything that was stored before it stands before it. */
static void fill_write_beacon(struct fill *fill, uint32_t partition, uint64_t now_ms) {
    const struct engine *engine = fill->options.engine;
    char subject[ENGINE_SUBJECT_MAX];
    subjects_write_host(fill->options.subjects, partition, fill->options.source, subject);
    fill->beacons_sent_ms[partition] = now_ms;
    const struct engine_write write = {
        .subject = subject,
        .payload = bytes_from((const char *)&fill->beacons[partition], sizeof(uint64_t)),
        .ttl_s = FILL_BEACON_LIFE_S,
    };
    engine->write(engine->self, &write);
}

/* Writes the beacons that are due. Returns how many logs are still to be read. */
static uint32_t fill_check_beacons(struct fill *fill) {
    uint64_t now_ms = clock_exact_ms();
    uint32_t count = 0;
    for (uint32_t i = 0; i < fill->options.subjects->partitions; i++) {
        count += fill->beacons[i] != 0;
        if (fill->beacons[i] != 0 && now_ms >= fill->beacons_sent_ms[i] + FILL_BEACON_AGAIN_MS) {
            fill_write_beacon(fill, i, now_ms);
        }
    }
    return count;
}

bool fill_compare(struct fill *fill, char error[ENGINE_ERROR_MAX]) {
    const struct engine *engine = fill->options.engine;
    struct engine_log log;
    struct engine_record record;
    for (uint32_t i = 0; i < fill->options.subjects->partitions; i++) {
        if (engine->check(engine->self, i, &log, error) != ENGINE_RIGHT) {
            return false;
        }
        if (log.last > 0) {
            fill->beacons[i] = clock_monotonic_ns();
            engine->follow(engine->self, i, 1);
        }
    }
    uint64_t heard_ms = clock_exact_ms();
    while (fill_check_beacons(fill) > 0) {
        for (bool more = true; more;) {
            more = engine->receive(engine->self, FILL_READ_MS, &record);
            if (more && !fill_take_record(fill, &record, error)) {
                return false;
            }
            heard_ms = more ? clock_exact_ms() : heard_ms;
        }
        if (clock_exact_ms() > heard_ms + FILL_SILENCE_MS) {
            snprintf(error, ENGINE_ERROR_MAX, "the logs cannot be read: nothing arrives");
            return false;
        }
        if (fill->options.progress != NULL) {
            fill->options.progress(fill->options.context);
        }
    }
    if (fill->seen_count > 0) {
        qsort(fill->seen, fill->seen_count, sizeof *fill->seen, fill_order);
    }
    return true;
}

/* ---- what is written ---- */

static bool fill_write_notes(struct fill *fill, enum origin_state state, char *error) {
    const struct subjects *subjects = fill->options.subjects;
    for (uint32_t i = 0; i < subjects->partitions; i++) {
        struct origin origin;
        char text[ORIGIN_TEXT_MAX];
        if (origin_find(fill->options.engine, subjects, i, &origin, error) != ENGINE_RIGHT) {
            return false;
        }
        if (origin.state != ORIGIN_NONE && origin.source != fill->options.source) {
            snprintf(error, ENGINE_ERROR_MAX,
                     "the log of partition %u was filled from another pool's file", i);
            return false;
        }
        struct fill_request *request = fill_take(fill, error);
        if (request == NULL) {
            return false;
        }
        request->is_note = true;
        request->partition = i;
        request->expected = origin.sequence;
        subjects_write_origin(subjects, i, request->subject);
        origin.state = state;
        origin.source = fill->options.source;
        struct bytes payload = origin_write(&origin, text);
        if (!buffer_append(&request->payload, payload.data, payload.size)) {
            return fill_no_memory(error);
        }
        fill_send(fill, request);
    }
    return fill_settle(fill, error);
}

bool fill_begin(struct fill *fill, char error[ENGINE_ERROR_MAX]) {
    return fill_write_notes(fill, ORIGIN_BEGUN, error);
}

static bool fill_write(struct fill *fill, const struct replica *item, uint64_t expected,
                       char *error) {
    struct fill_request *request = fill_take(fill, error);
    if (request == NULL) {
        return false;
    }
    const struct message_id id = {.host = fill->options.source};
    request->is_removal = item->removed;
    request->expected = expected;
    request->partition = subjects_get_partition(fill->options.subjects, item->key);
    request->ttl_s = message_life_s(item, expected, &fill->options.life, clock_unix_s());
    request->key_size = (uint8_t)item->key.size;
    memcpy(request->key, item->key.data, item->key.size);
    subjects_write_key(fill->options.subjects, item->key, request->subject);
    if (!message_write(&request->payload, item, id)) {
        return fill_no_memory(error);
    }
    fill_send(fill, request);
    return true;
}

bool fill_put(struct fill *fill, const struct replica *item, char error[ENGINE_ERROR_MAX]) {
    const struct fill_seen seen = fill_hash(item->key);
    if (fill->seen_count > 0 &&
        bsearch(&seen, fill->seen, fill->seen_count, sizeof seen, fill_order) != NULL) {
        return true;
    }
    return fill_write(fill, item, 0, error);
}

/* Removes what an earlier run has written, and what is not an item of the file any more. */
static bool fill_remove_ended(struct fill *fill, char *error) {
    const struct buffer *ended = &fill->ended;
    for (size_t at = 0; at < ended->size;) {
        uint64_t sequence;
        memcpy(&sequence, ended->data + at, sizeof sequence);
        uint8_t size = (uint8_t)ended->data[at + sizeof sequence];
        const struct replica gone = {
            .key = bytes_from(ended->data + at + sizeof sequence + 1, size), .removed = true};
        if (!fill_write(fill, &gone, sequence, error)) {
            return false;
        }
        at += sizeof sequence + 1 + size;
    }
    fill->ended.size = 0;
    return true;
}

bool fill_end(struct fill *fill, char error[ENGINE_ERROR_MAX]) {
    return fill_remove_ended(fill, error) && fill_settle(fill, error) &&
           fill_write_notes(fill, ORIGIN_DONE, error);
}
