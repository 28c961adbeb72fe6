#include "store/segment.h"

#include "base/clock.h"
#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

enum { SEGMENT_NEEDED_PERCENT = 95 }; /* above this, freeing a segment costs too much moving */

enum { SEGMENT_CLIENTS, SEGMENT_JANITOR }; /* the two sets of heads, in this order */

/* The longest that an item of each class lives. */
static const uint32_t segment_class_limits_s[SEGMENT_CLASSES] = {
    5 * 60, 3600, 6 * 3600, 86400, 8 * 86400, 31 * 86400, UINT32_MAX - 1, UINT32_MAX,
};

uint32_t segment_class_limit_s(unsigned class) {
    return segment_class_limits_s[class];
}

unsigned segment_class(uint32_t ttl_s) {
    unsigned class = 0;
    while (ttl_s > segment_class_limits_s[class]) {
        class ++;
    }
    return class;
}

/* The free segments that only compaction may take. At least 1: with one free segment, compaction
 * can empty any other segment, which is then free. */
static uint32_t segments_kept_from_removals(uint32_t count) {
    return count / 64 > 8 ? 8 : count / 64 < 1 ? 1 : count / 64;
}

/* In a persistent pool with evict = no, one more segment is kept for tombstones: when tombstones
 * have filled it, at least as many bytes have become dead elsewhere. */
static uint32_t segments_kept_from_updates(const struct segments *segments, uint32_t count) {
    bool tombstones = !segments->evict && segments->data.header != NULL;
    return segments_kept_from_removals(count) + (tombstones ? 1 : 0);
}

/* With evict = no, one more segment is kept for updates, for the same reason. */
static uint32_t segments_kept_from_new(const struct segments *segments, uint32_t count) {
    return segments_kept_from_updates(segments, count) + (segments->evict ? 0 : 1);
}

static void segments_plan_reserve(struct segments *segments, uint32_t count) {
    atomic_store(&segments->reserve[SEGMENT_FOR_JANITOR], 0);
    atomic_store(&segments->reserve[SEGMENT_FOR_REMOVAL], segments_kept_from_removals(count));
    atomic_store(&segments->reserve[SEGMENT_FOR_UPDATE],
                 segments_kept_from_updates(segments, count));
    atomic_store(&segments->reserve[SEGMENT_FOR_NEW], segments_kept_from_new(segments, count));
}

uint64_t segments_needed_limit(const struct segments *segments, uint32_t count) {
    /* One more than the reserve: when only the reserve is free, the segment that was opened last
     * takes no new keys (segments_refuse).
     */
    uint32_t reserved = segments_kept_from_new(segments, count) + 1;
    uint64_t capacity = segment_capacity(segments->data.view);
    uint64_t by_reserves = count > reserved ? (count - reserved) * capacity : 0;
    uint64_t by_share = count * capacity / 100 * SEGMENT_NEEDED_PERCENT;
    return by_reserves < by_share ? by_reserves : by_share;
}

static void segment_note_sealed(struct segments *segments, uint32_t segment) {
    atomic_store(&segments->sealed_sequence[segment],
                 atomic_load(&segments->data.view->index->sequence));
}

static void segments_release(struct segments *segments) {
    free(segments->free);
    free(segments->spare);
    free(segments->opened_s);
    free(segments->sealed_sequence);
    segments->free = NULL;
    segments->spare = NULL;
    segments->opened_s = NULL;
    segments->sealed_sequence = NULL;
}

/* Seals an open segment. Under the lock of its head. */
static void segment_end(struct segments *segments, uint32_t segment) {
    segment_mark_end(&segments->data, segment);
    segment_note_sealed(segments, segment);
    atomic_store(&segments->data.view->segments[segment].state, LAYOUT_SEGMENT_SEALED);
}

bool segments_init(struct segments *segments, struct lookup_view *view,
                   struct layout_data_header *header, bool evict) {
    *segments = (struct segments){.data = {view, header}, .evict = evict};
    segments->free = malloc(view->segment_count * sizeof *segments->free);
    segments->spare = malloc(view->segment_count * sizeof *segments->spare);
    segments->opened_s = calloc(view->segment_count, sizeof *segments->opened_s);
    segments->sealed_sequence = calloc(view->segment_count, sizeof *segments->sealed_sequence);
    if (segments->free == NULL || segments->spare == NULL || segments->opened_s == NULL ||
        segments->sealed_sequence == NULL) {
        segments_release(segments);
        return false;
    }
    pthread_mutex_init(&segments->free_lock, NULL);
    segments_allow(segments, view->segment_count);
    for (int set = 0; set < 2; set++) {
        for (int class = 0; class < SEGMENT_CLASSES; class ++) {
            pthread_mutex_init(&segments->heads[set][class].lock, NULL);
            segments->heads[set][class].segment = SEGMENT_NONE;
        }
    }
    uint32_t free_count = 0;
    for (uint32_t segment = view->segment_count; segment-- > 0;) {
        struct layout_segment *info = &view->segments[segment];
        uint64_t generation = atomic_load(&info->generation);
        if (generation > segments->generation) {
            segments->generation = generation;
        }
        uint32_t state = atomic_load(&info->state);
        if (state == LAYOUT_SEGMENT_FREE) {
            segments->free[free_count++] = segment; /* the lowest numbers are taken first */
        } else if (state == LAYOUT_SEGMENT_OPEN) {
            struct segment_head *head =
                &segments->heads[SEGMENT_CLIENTS][atomic_load(&info->ttl_class) % SEGMENT_CLASSES];
            if (head->segment == SEGMENT_NONE) {
                head->segment = segment;
                head->crc_seed = segment_crc_seed(&segments->data, segment);
                atomic_store(&segments->sealed_sequence[segment], UINT64_MAX);
            } else {
                segment_end(segments, segment);
            }
        } else {
            segment_note_sealed(segments, segment);
        }
        if (state != LAYOUT_SEGMENT_FREE) {
            const struct layout_segment_header *of_segment =
                (const void *)lookup_segment(view, segment);
            segments->opened_s[segment] = of_segment->opened_s;
        }
    }
    segments->limit = view->segment_count;
    atomic_store(&segments->free_count, free_count);
    return true;
}

void segments_finish(struct segments *segments) {
    if (segments->free == NULL) {
        return;
    }
    for (int set = 0; set < 2; set++) {
        for (int class = 0; class < SEGMENT_CLASSES; class ++) {
            pthread_mutex_destroy(&segments->heads[set][class].lock);
        }
    }
    pthread_mutex_destroy(&segments->free_lock);
    segments_release(segments);
}

bool segments_available(struct segments *segments, enum segment_purpose purpose) {
    return atomic_load_explicit(&segments->free_count, memory_order_relaxed) >
           atomic_load_explicit(&segments->reserve[purpose], memory_order_relaxed);
    /* relaxed: a hint; segments_take_free checks again under the lock */
}

uint32_t segments_low_water(const struct segments *segments) {
    uint32_t count = segments_in_force(segments);
    uint32_t ahead = count / 64 > 1 ? count / 64 : 1;
    if (!segments->evict) { /* begins earlier, because freeing a segment takes longer */
        ahead += count / 20 > 1 ? count / 20 - 1 : 1;
    }
    return atomic_load_explicit(&segments->reserve[SEGMENT_FOR_NEW], memory_order_relaxed) +
           ahead; /* relaxed: a number */
}

bool segments_are_few(const struct segments *segments) {
    return atomic_load_explicit(&segments->free_count, memory_order_relaxed) <=
           segments_low_water(segments); /* relaxed: a hint */
}

uint32_t segments_needed_bytes(const struct segments *segments, uint32_t segment) {
    const struct layout_segment *info = &segments->data.view->segments[segment];
    if (atomic_load_explicit(&segments->sealed_sequence[segment], memory_order_relaxed) <=
        atomic_load_explicit(&segments->data.view->index->flush_sequence, memory_order_relaxed)) {
        return 0;
    }
    return atomic_load_explicit(&info->live_bytes, memory_order_relaxed) +
           atomic_load_explicit(&info->tombstone_bytes, memory_order_relaxed);
}

/* Takes a free segment; SEGMENT_NONE if the purpose may not have one. */
static int64_t segments_take_free(struct segments *segments, enum segment_purpose purpose,
                                  uint64_t *generation) {
    int64_t segment = SEGMENT_NONE;
    pthread_mutex_lock(&segments->free_lock);
    uint32_t count = atomic_load(&segments->free_count);
    if (count > segments->reserve[purpose]) {
        segment = segments->free[count - 1];
        atomic_store(&segments->free_count, count - 1);
        *generation = ++segments->generation;
    }
    pthread_mutex_unlock(&segments->free_lock);
    return segment;
}

void segments_note_sequence(struct segments *segments, uint64_t sequence) {
    struct layout_data_header *header = segments->data.header;
    uint64_t seen = header != NULL ? atomic_load(&header->opened_sequence) : UINT64_MAX;
    while (seen < sequence &&
           !atomic_compare_exchange_weak(&header->opened_sequence, &seen, sequence)) {
    }
}

/* Writes the header and the table's entry of a segment that was free. */
static void segment_begin(struct segments *segments, uint32_t segment, unsigned class,
                          uint64_t generation) {
    struct lookup_view *view = segments->data.view;
    struct layout_segment *info = &view->segments[segment];
    /* Room is reserved before a sequence is taken, so all records that clients write here have
     * higher sequences. */
    uint64_t sequence = atomic_load(&view->index->sequence);
    struct layout_segment_header header = {
        .magic = LAYOUT_SEGMENT_MAGIC,
        .generation = generation,
        .opened_sequence = sequence,
        .opened_s = clock_unix_s(),
        .ttl_class = class,
    };
    /* getrandom(2) neither fails nor returns fewer bytes for so small a size once the system has
     * started. */
    ssize_t length = getrandom(&header.salt, sizeof header.salt, 0);
    assert(length == (ssize_t)sizeof header.salt);
    (void)length;
    header.header_crc = segment_compute_header_crc(&header);
    memcpy(lookup_segment(view, segment), &header, sizeof header);
    atomic_store(&segments->opened_s[segment], header.opened_s);
    atomic_store(&segments->sealed_sequence[segment], UINT64_MAX);
    atomic_store(&info->ttl_class, class);
    atomic_store(&info->fill, (uint32_t)sizeof header);
    atomic_store(&info->live_bytes, 0);
    atomic_store(&info->items, 0);
    atomic_store(&info->tombstone_bytes, 0);
    atomic_store(&info->first_expiry_s, LAYOUT_NEVER);
    atomic_store(&info->last_expiry_s, 0);
    atomic_store(&info->generation, generation);
    atomic_store(&info->opened_sequence, sequence);
    atomic_store(&info->state, LAYOUT_SEGMENT_OPEN);
    segments_note_sequence(segments, sequence);
}

/* Under head->lock. */
static bool segment_head_open(struct segments *segments, struct segment_head *head, unsigned class,
                              enum segment_purpose purpose) {
    uint64_t generation;
    int64_t segment = segments_take_free(segments, purpose, &generation);
    if (segment == SEGMENT_NONE) {
        return false;
    }
    if (head->segment != SEGMENT_NONE) {
        segment_end(segments, (uint32_t)head->segment);
    }
    segment_begin(segments, (uint32_t)segment, class, generation);
    if (purpose == SEGMENT_FOR_JANITOR) {
        atomic_fetch_add(&segments->opened_for_janitor, 1);
    }
    head->segment = segment;
    head->crc_seed = segment_crc_seed(&segments->data, (uint32_t)segment);
    return true;
}

/* Under head->lock: appends to the open segment, if there is room. */
static bool segment_head_append(struct segments *segments, struct segment_head *head,
                                uint32_t expiry_s, size_t bytes, struct segment_place *place) {
    if (head->segment == SEGMENT_NONE) {
        return false;
    }
    uint32_t segment = (uint32_t)head->segment;
    struct layout_segment *info = &segments->data.view->segments[segment];
    uint32_t fill = atomic_load_explicit(&info->fill, memory_order_relaxed);
    if (bytes > segments->data.view->segment_bytes - fill) {
        return false;
    }
    segment_note_expiry(info, expiry_s);
    atomic_store_explicit(&info->fill, fill + (uint32_t)bytes, memory_order_relaxed);
    place->at =
        (struct layout_record *)(void *)(lookup_segment(segments->data.view, segment) + fill);
    place->location = lookup_location(segments->data.view, segment, fill);
    place->crc_seed = head->crc_seed;
    return true;
}

/* Looks for room in the open segments of all classes: it is better to mix expiry times than to find
 * no room. Clients do not use the janitor's segments, or compaction would run out of room. */
static bool segments_append_anywhere(struct segments *segments, uint32_t expiry_s, size_t bytes,
                                     enum segment_purpose purpose, struct segment_place *place) {
    int first = purpose == SEGMENT_FOR_JANITOR ? SEGMENT_JANITOR : SEGMENT_CLIENTS;
    for (int set = first; set >= SEGMENT_CLIENTS; set--) {
        for (int class = 0; class < SEGMENT_CLASSES; class ++) {
            struct segment_head *head = &segments->heads[set][class];
            pthread_mutex_lock(&head->lock);
            bool found = segment_head_append(segments, head, expiry_s, bytes, place);
            pthread_mutex_unlock(&head->lock);
            if (found) {
                return true;
            }
        }
    }
    return false;
}

/* Whether to look for room in the segments of other classes before one is opened. Under the head's
 * lock. */
static bool segments_should_share(struct segments *segments, const struct segment_head *head,
                                  enum segment_purpose purpose) {
    uint32_t free_count = atomic_load(&segments->free_count);
    if (purpose == SEGMENT_FOR_JANITOR && !segments->evict &&
        free_count <= segments->reserve[SEGMENT_FOR_NEW]) {
        return true; /* the janitor fills its open segments first, because clients wait for the free
                        ones */
    }
    /* While free segments are few, a class without an open segment uses one of another class. */
    uint32_t few = segments_in_force(segments) / 4;
    uint32_t least = segments->reserve[SEGMENT_FOR_NEW] + 2;
    return head->segment == SEGMENT_NONE && free_count <= (few > least ? few : least);
}

/* Whether open segments must not take a record of this size for this purpose. */
static bool segments_refuse(struct segments *segments, enum segment_purpose purpose, size_t bytes) {
    return bytes > segment_capacity(segments->data.view) ||
           /* a new key must not fill a segment that was opened for an update */
           (purpose == SEGMENT_FOR_NEW && !segments->evict &&
            !segments_available(segments, SEGMENT_FOR_NEW));
}

static unsigned segments_choose_class(uint32_t now_s, uint32_t expiry_s) {
    return segment_class(expiry_s == 0 ? UINT32_MAX : expiry_s > now_s ? expiry_s - now_s : 0);
}

static struct segment_head *segments_choose_head(struct segments *segments,
                                                 enum segment_purpose purpose, unsigned class) {
    int set = purpose == SEGMENT_FOR_JANITOR ? SEGMENT_JANITOR : SEGMENT_CLIENTS;
    return &segments->heads[set][class];
}

bool segments_append(struct segments *segments, enum segment_purpose purpose, uint32_t now_s,
                     uint32_t expiry_s, size_t bytes, struct segment_place *place) {
    if (segments_refuse(segments, purpose, bytes)) {
        return false;
    }
    struct segment_head *head =
        segments_choose_head(segments, purpose, segments_choose_class(now_s, expiry_s));
    pthread_mutex_lock(&head->lock);
    bool found = segment_head_append(segments, head, expiry_s, bytes, place);
    pthread_mutex_unlock(&head->lock);
    return found || segments_append_anywhere(segments, expiry_s, bytes, purpose, place);
}

bool segments_reserve(struct segments *segments, enum segment_purpose purpose, uint32_t now_s,
                      uint32_t expiry_s, size_t bytes, struct segment_place *place) {
    if (segments_refuse(segments, purpose, bytes)) {
        return false;
    }
    unsigned class = segments_choose_class(now_s, expiry_s);
    struct segment_head *head = segments_choose_head(segments, purpose, class);
    pthread_mutex_lock(&head->lock);
    bool found = segment_head_append(segments, head, expiry_s, bytes, place);
    if (!found) {
        if (!segments_should_share(segments, head, purpose) &&
            segment_head_open(segments, head, class, purpose)) {
            found = segment_head_append(segments, head, expiry_s, bytes, place);
        }
    }
    pthread_mutex_unlock(&head->lock);
    if (found || segments_append_anywhere(segments, expiry_s, bytes, purpose, place)) {
        return true;
    }
    pthread_mutex_lock(&head->lock);
    found = segment_head_append(segments, head, expiry_s, bytes, place) ||
            (segment_head_open(segments, head, class, purpose) &&
             segment_head_append(segments, head, expiry_s, bytes, place));
    pthread_mutex_unlock(&head->lock);
    return found;
}

void segments_seal(struct segments *segments, uint32_t segment) {
    for (int set = 0; set < 2; set++) {
        for (int class = 0; class < SEGMENT_CLASSES; class ++) {
            struct segment_head *head = &segments->heads[set][class];
            pthread_mutex_lock(&head->lock);
            if (head->segment == segment) {
                head->segment = SEGMENT_NONE;
                segment_end(segments, segment);
            }
            pthread_mutex_unlock(&head->lock);
        }
    }
}

void segments_retire(struct segments *segments, uint32_t segment) {
    assert(atomic_load(&segments->data.view->segments[segment].state) == LAYOUT_SEGMENT_SEALED);
    memset(lookup_segment(segments->data.view, segment), 0, sizeof(struct layout_segment_header));
}

/* segments_push and segments_pop: under free_lock. */
static void segments_push(uint32_t *list, _Atomic uint32_t *count, uint32_t segment) {
    list[atomic_load(count)] = segment;
    atomic_fetch_add(count, 1);
}

static uint32_t segments_pop(const uint32_t *list, _Atomic uint32_t *count) {
    return list[atomic_fetch_sub(count, 1) - 1];
}

void segments_free(struct segments *segments, uint32_t segment) {
    struct layout_segment *info = &segments->data.view->segments[segment];
    assert(atomic_load(&info->live_bytes) == 0);
    atomic_store(&info->fill, 0);
    segment_table_set_tombstones(segments->data.view, segment, 0);
    atomic_store(&info->state, LAYOUT_SEGMENT_FREE);
    pthread_mutex_lock(&segments->free_lock);
    /* Every second segment becomes spare, so that clients still get some. None becomes spare while
     * the janitor has too little room for the records that it moves. */
    segments->spare_next =
        !segments->spare_next && segments_in_force(segments) > segments_allowed(segments) &&
        atomic_load(&segments->free_count) >= atomic_load(&segments->reserve[SEGMENT_FOR_REMOVAL]);
    if (segments->spare_next) {
        segments_push(segments->spare, &segments->spare_count, segment);
    } else if (segment < segments->limit) {
        segments_push(segments->free, &segments->free_count, segment);
    }
    pthread_mutex_unlock(&segments->free_lock);
}

void segments_allow(struct segments *segments, uint32_t count) {
    atomic_store(&segments->allowed, count);
    segments_plan_reserve(segments, count);
}

void segments_adjust_spare(struct segments *segments, uint32_t keep) {
    pthread_mutex_lock(&segments->free_lock);
    while (segments_in_force(segments) > segments_allowed(segments) &&
           atomic_load(&segments->free_count) > keep) {
        segments_push(segments->spare, &segments->spare_count,
                      segments_pop(segments->free, &segments->free_count));
    }
    while (segments_in_force(segments) < segments_allowed(segments)) {
        segments_push(segments->free, &segments->free_count,
                      segments_pop(segments->spare, &segments->spare_count));
    }
    pthread_mutex_unlock(&segments->free_lock);
    uint32_t spare_count = atomic_load(&segments->spare_count);
    if (segments->spare_clear > spare_count) {
        segments->spare_clear = spare_count;
    }
}

void segments_begin_spare(struct segments *segments) {
    segments_adjust_spare(segments, 0);
    segments->spare_clear = atomic_load(&segments->spare_count);
}

int64_t segments_next_to_clear(struct segments *segments) {
    return segments->spare_clear < atomic_load(&segments->spare_count)
               ? (int64_t)segments->spare[segments->spare_clear++]
               : SEGMENT_NONE;
}

void segments_limit(struct segments *segments, uint32_t count) {
    pthread_mutex_lock(&segments->free_lock);
    segments->limit = count;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < atomic_load(&segments->free_count); i++) {
        if (segments->free[i] < count) {
            segments->free[kept++] = segments->free[i];
        }
    }
    atomic_store(&segments->free_count, kept);
    pthread_mutex_unlock(&segments->free_lock);
}
