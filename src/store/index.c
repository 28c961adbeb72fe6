#include "store/index.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/number.h"
#include "store/io.h"

#include <assert.h>
#include <sched.h>
#include <sys/stat.h>

enum {
    INDEX_LOAD = 5, /* slots used per bucket on average, of 7: some 15 bytes an item in all */
    INDEX_BYTES_PER_BUCKET = 160, /* of data: the size of INDEX_LOAD of the smallest records */
    INDEX_CHUNK = 1024,           /* buckets whose memory is allocated together */
    INDEX_SPINS = 200, /* yields after this many tries: the lock's holder may need this processor */
    INDEX_RETRY_MS = 100, /* after memory was refused, the time until the next try */
};

void index_plan(struct layout_index_header *header, uint64_t data_bytes) {
    uint64_t buckets = number_round_up_u64(data_bytes / INDEX_BYTES_PER_BUCKET + 1, INDEX_CHUNK);
    if (buckets > UINT32_MAX / 2) {
        buckets = UINT32_MAX / 2;
    }
    header->bucket_max = (uint32_t)buckets;
    header->overflow_max = (uint32_t)buckets;
    header->segments_offset = LAYOUT_PAGE;
    uint64_t table_bytes = (uint64_t)header->segment_count * sizeof(struct layout_segment);
    header->buckets_offset =
        header->segments_offset + number_round_up_u64(table_bytes, LAYOUT_PAGE);
    header->overflow_offset =
        header->buckets_offset + (uint64_t)header->bucket_max * sizeof(struct layout_bucket);
}

uint64_t index_size(const struct layout_index_header *header) {
    return header->overflow_offset + (uint64_t)header->overflow_max * sizeof(struct layout_bucket);
}

/* Makes sure that `count` buckets of a part have memory, so that touching them can not fail (in a
 * full tmpfs that would be a SIGBUS). Under the lock of `ready`. */
static bool index_allocate(struct index *index, uint64_t part_offset, uint64_t count,
                           uint64_t *ready) {
    if (*ready >= count) {
        return true;
    }
    /* relaxed: a hint, so that only one write in a while asks a full file system */
    uint64_t retry_ms = atomic_load_explicit(&index->retry_ms, memory_order_relaxed);
    if (retry_ms != 0 && clock_monotonic_ms() < retry_ms) {
        return false;
    }
    uint64_t wanted = number_round_up_u64(count, INDEX_CHUNK);
    off_t offset = (off_t)(part_offset + *ready * sizeof(struct layout_bucket));
    off_t bytes = (off_t)((wanted - *ready) * sizeof(struct layout_bucket));
    bool allocated = store_io_allocate(index->file, offset, bytes) == 0;
    atomic_store_explicit(&index->retry_ms, allocated ? 0 : clock_monotonic_ms() + INDEX_RETRY_MS,
                          memory_order_relaxed);
    if (allocated) {
        *ready = wanted;
    }
    return allocated;
}

/* Whether the memory of the index's used parts is allocated. The daemon that stopped had allocated
 * it, but a copy of the file may be sparse. */
static bool index_has_memory(const struct index *index) {
    struct stat status;
    return fstat(index->file, &status) == 0 &&
           (uint64_t)status.st_blocks * 512 >= index_used_bytes(index);
}

/* Allocates the memory of the parts that are in use at the start. */
static bool index_allocate_used(struct index *index, uint64_t count) {
    const struct layout_index_header *header = index->view->index;
    return store_io_allocate(index->file, 0, (off_t)header->buckets_offset) == 0 &&
           index_allocate(index, header->buckets_offset, count, &index->buckets_ready) &&
           index_allocate(index, header->overflow_offset, atomic_load(&header->overflow_used),
                          &index->overflow_ready);
}

bool index_init(struct index *index, struct lookup_view *view, int file, bool fresh,
                uint64_t items) {
    *index = (struct index){.view = view, .file = file};
    pthread_mutex_init(&index->grow_lock, NULL);
    pthread_mutex_init(&index->overflow_lock, NULL);
    struct layout_index_header *header = view->index;
    if (!fresh && index_has_memory(index)) {
        index->buckets_ready = atomic_load(&header->bucket_count);
        index->overflow_ready = atomic_load(&header->overflow_used);
        return true;
    }
    uint64_t count = fresh ? items / INDEX_LOAD : atomic_load(&header->bucket_count);
    if (count < INDEX_CHUNK) {
        count = INDEX_CHUNK;
    }
    if (count > header->bucket_max) {
        count = header->bucket_max;
    }
    if (!index_allocate_used(index, count)) {
        return false;
    }
    if (fresh) {
        atomic_store(&header->bucket_count, count);
    }
    return true;
}

void index_finish(struct index *index) {
    if (index->view != NULL) {
        pthread_mutex_destroy(&index->grow_lock);
        pthread_mutex_destroy(&index->overflow_lock);
        index->view = NULL;
    }
}

static struct layout_bucket *index_bucket(const struct index *index, uint64_t hash) {
    /* acquire: pairs with the release in index_split */
    uint64_t count = atomic_load_explicit(&index->view->index->bucket_count, memory_order_acquire);
    return &index->view->buckets[lookup_bucket_number(hash, count)];
}

void index_prefetch(const struct index *index, uint64_t hash) {
    __builtin_prefetch(index_bucket(index, hash), 1 /* the chain will be written to */);
}

static void index_lock_bucket(struct layout_bucket *bucket) {
    for (int spins = 0;; spins++) {
        uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
        /* seq_cst: an acquire that pairs with the release in index_unlock. The stores that follow
         * can not be seen before the odd version, because each of them is a release. */
        if ((word & 1) == 0 &&
            atomic_compare_exchange_weak_explicit(&bucket->word, &word, word + 1,
                                                  memory_order_seq_cst, memory_order_relaxed)) {
            return;
        }
        if (spins == INDEX_SPINS) {
            sched_yield();
            spins = 0;
        }
    }
}

struct layout_bucket *index_lock(struct index *index, uint64_t hash) {
    for (;;) {
        struct layout_bucket *bucket = index_bucket(index, hash);
        index_lock_bucket(bucket);
        if (bucket == index_bucket(index, hash)) {
            return bucket;
        }
        index_unlock(bucket); /* the bucket was split while this thread waited */
    }
}

void index_unlock(struct layout_bucket *bucket) {
    uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
    assert(word & 1);
    /* The version wraps within its half of the word. */
    uint64_t next = layout_word(layout_word_link(word), layout_word_version(word) + 1);
    atomic_store_explicit(&bucket->word, next, memory_order_release); /* publishes all changes */
}

bool index_find(struct index *index, struct layout_bucket *bucket, uint64_t hash, struct bytes key,
                struct lookup_hit *hit) {
    const struct lookup_view *view = index->view;
    hit->bucket = bucket;
    while (bucket != NULL) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot == 0 || slot >> 48 != hash >> 48) {
                continue; /* relaxed above: the lock orders these loads */
            }
            size_t room;
            hit->at = lookup_record(view, layout_slot_location(slot), &room);
            assert(hit->at != NULL);
            if (record_read(hit->at, room, &hit->record) && bytes_equal(hit->record.key, key)) {
                hit->slot = &bucket->slots[i];
                hit->slot_value = slot;
                return true;
            }
        }
        bucket =
            lookup_next_bucket(view, atomic_load_explicit(&bucket->word, memory_order_relaxed));
    }
    return false;
}

_Atomic uint64_t *index_find_location(struct index *index, struct layout_bucket *bucket,
                                      uint64_t location) {
    while (bucket != NULL) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot != 0 && layout_slot_location(slot) == location) {
                return &bucket->slots[i];
            }
        }
        bucket = lookup_next_bucket(index->view,
                                    atomic_load_explicit(&bucket->word, memory_order_relaxed));
    }
    return NULL;
}

/* Takes an overflow bucket and returns its number, from 1 on; 0 if there is none. */
static uint32_t index_take_overflow(struct index *index) {
    struct layout_index_header *header = index->view->index;
    pthread_mutex_lock(&index->overflow_lock);
    uint32_t number = (uint32_t)atomic_load(&header->overflow_free);
    if (number != 0) {
        struct layout_bucket *bucket = &index->view->overflow[number - 1];
        atomic_store(&header->overflow_free, layout_word_link(atomic_load(&bucket->word)));
        atomic_store(&bucket->word, 0);
    } else {
        uint64_t used = atomic_load(&header->overflow_used);
        if (used < header->overflow_max &&
            index_allocate(index, header->overflow_offset, used + 1, &index->overflow_ready)) {
            atomic_store(&header->overflow_used, used + 1);
            number = (uint32_t)(used + 1);
        }
    }
    pthread_mutex_unlock(&index->overflow_lock);
    return number;
}

static void index_give_overflow(struct index *index, uint32_t number) {
    struct layout_index_header *header = index->view->index;
    pthread_mutex_lock(&index->overflow_lock);
    uint32_t next = (uint32_t)atomic_load(&header->overflow_free);
    atomic_store(&index->view->overflow[number - 1].word, layout_word(next, 0));
    atomic_store(&header->overflow_free, number);
    pthread_mutex_unlock(&index->overflow_lock);
}

static void index_set_link(struct layout_bucket *bucket, uint32_t link) {
    uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
    /* release: a thread that follows the link sees what was written into the next bucket */
    atomic_store_explicit(&bucket->word, layout_word(link, layout_word_version(word)),
                          memory_order_release);
}

_Atomic uint64_t *index_free_slot(struct index *index, struct layout_bucket *bucket) {
    for (;;) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) == 0) {
                return &bucket->slots[i];
            }
        }
        uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
        struct layout_bucket *next = lookup_next_bucket(index->view, word);
        if (next == NULL) {
            uint32_t number = index_take_overflow(index);
            if (number == 0) {
                return NULL;
            }
            next = &index->view->overflow[number - 1];
            index_set_link(bucket, number);
        }
        bucket = next;
    }
}

/* As index_insert, without counting. */
static bool index_place(struct index *index, struct layout_bucket *bucket, uint64_t slot) {
    _Atomic uint64_t *free_slot = index_free_slot(index, bucket);
    if (free_slot != NULL) {
        /* release: publishes the record that the slot points to */
        atomic_store_explicit(free_slot, slot, memory_order_release);
    }
    return free_slot != NULL;
}

void index_fill_slot(struct index *index, _Atomic uint64_t *free_slot, uint64_t slot) {
    atomic_store_explicit(free_slot, slot, memory_order_release); /* as index_place */
    atomic_fetch_add_explicit(&index->view->index->items, 1, memory_order_relaxed); /* a count */
}

bool index_insert(struct index *index, struct layout_bucket *bucket, uint64_t slot) {
    _Atomic uint64_t *free_slot = index_free_slot(index, bucket);
    if (free_slot != NULL) {
        index_fill_slot(index, free_slot, slot);
    }
    return free_slot != NULL;
}

static bool index_bucket_empty(struct layout_bucket *bucket) {
    for (int i = 0; i < LAYOUT_SLOTS; i++) {
        if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) != 0) {
            return false;
        }
    }
    return true;
}

/* Unlinks the empty overflow buckets of a chain. A reader that is still in such a bucket sees that
 * the primary bucket's version has changed, and looks again. */
static void index_trim(struct index *index, struct layout_bucket *bucket) {
    for (;;) {
        uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
        struct layout_bucket *next = lookup_next_bucket(index->view, word);
        if (next == NULL) {
            return;
        }
        if (index_bucket_empty(next)) {
            index_set_link(
                bucket, layout_word_link(atomic_load_explicit(&next->word, memory_order_relaxed)));
            index_give_overflow(index, layout_word_link(word));
        } else {
            bucket = next;
        }
    }
}

void index_remove(struct index *index, struct layout_bucket *bucket, _Atomic uint64_t *slot) {
    /* release: not visible before the odd version */
    atomic_store_explicit(slot, 0, memory_order_release);
    atomic_fetch_sub_explicit(&index->view->index->items, 1, memory_order_relaxed); /* a count */
    uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
    if (layout_word_link(word) != 0) {
        index_trim(index, bucket);
    }
}

static uint64_t index_hash_slot(const struct index *index, uint64_t slot) {
    struct record record;
    size_t room;
    struct layout_record *at = lookup_record(index->view, layout_slot_location(slot), &room);
    bool readable = at != NULL && record_read(at, room, &record);
    assert(readable);
    (void)readable;
    return hash_key(index->view->hash_seed, record.key);
}

/* Moves the slots of `from` that belong to bucket `number` when there are `count` buckets. Both
 * buckets are locked. False if there is no room for more overflow buckets; then some slots have
 * been moved. */
static bool index_move_slots(struct index *index, struct layout_bucket *from, uint64_t number,
                             uint64_t count) {
    struct layout_bucket *to = &index->view->buckets[number];
    for (struct layout_bucket *bucket = from; bucket != NULL;
         bucket = lookup_next_bucket(index->view,
                                     atomic_load_explicit(&bucket->word, memory_order_relaxed))) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot == 0 || lookup_bucket_number(index_hash_slot(index, slot), count) != number) {
                continue;
            }
            if (!index_place(index, to, slot)) {
                return false;
            }
            atomic_store_explicit(&bucket->slots[i], 0, memory_order_release); /* as index_remove */
        }
    }
    return true;
}

/* Undoes a move that found no room: moves the slots back to their old places, which are empty. */
static void index_return_slots(struct index *index, struct layout_bucket *from,
                               struct layout_bucket *to) {
    for (struct layout_bucket *bucket = to; bucket != NULL;
         bucket = lookup_next_bucket(index->view,
                                     atomic_load_explicit(&bucket->word, memory_order_relaxed))) {
        for (int i = 0; i < LAYOUT_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
            if (slot != 0) {
                bool placed = index_place(index, from, slot);
                assert(placed);
                (void)placed;
                atomic_store_explicit(&bucket->slots[i], 0, memory_order_release);
            }
        }
    }
    index_trim(index, to);
}

/* Adds one bucket. Under grow_lock. */
static bool index_split(struct index *index) {
    struct lookup_view *view = index->view;
    uint64_t count = atomic_load_explicit(&view->index->bucket_count, memory_order_relaxed);
    if (count >= view->bucket_max ||
        !index_allocate(index, view->index->buckets_offset, count + 1, &index->buckets_ready)) {
        return false;
    }
    struct layout_bucket *to = &view->buckets[count];
    /* Before the split, the new bucket's keys are in the bucket whose number is the new number
     * without its top bit. */
    struct layout_bucket *from = &view->buckets[lookup_bucket_number(count, count)];
    index_lock_bucket(from);
    index_lock_bucket(to);
    bool moved = index_move_slots(index, from, count, count + 1);
    if (moved) {
        index_trim(index, from);
        /* release: a reader that sees the new count finds the new bucket locked or filled */
        atomic_store_explicit(&view->index->bucket_count, count + 1, memory_order_release);
    } else {
        index_return_slots(index, from, to);
    }
    index_unlock(to);
    index_unlock(from);
    return moved;
}

void index_grow(struct index *index) {
    const struct layout_index_header *header = index->view->index;
    while (atomic_load_explicit(&header->items, memory_order_relaxed) >
           INDEX_LOAD * atomic_load_explicit(&header->bucket_count, memory_order_relaxed)) {
        if (pthread_mutex_trylock(&index->grow_lock) != 0) {
            return; /* another thread is splitting */
        }
        bool grown = index_split(index);
        pthread_mutex_unlock(&index->grow_lock);
        if (!grown) {
            return;
        }
    }
}

void index_note_refused(struct index *index, const struct pool_options *options) {
    if (!index_is_full(index) && !atomic_exchange(&index->full, true)) {
        log_error("pool %s: its index cannot grow beyond %llu bytes: run_dir (%s) has no room; new "
                  "keys are refused (updates of items that are there go on). Give run_dir's file "
                  "system more room",
                  options->name, (unsigned long long)index_used_bytes(index),
                  options->run_dir != NULL ? options->run_dir : "memory");
    }
}

void index_look_for_room(struct index *index, const struct pool_options *options) {
    if (!index_is_full(index)) {
        return;
    }
    const struct layout_index_header *header = index->view->index;
    pthread_mutex_lock(&index->overflow_lock);
    uint64_t used = atomic_load(&header->overflow_used);
    bool room = atomic_load(&header->overflow_free) != 0 ||
                (used < header->overflow_max &&
                 index_allocate(index, header->overflow_offset, used + 1, &index->overflow_ready));
    pthread_mutex_unlock(&index->overflow_lock);
    if (room && atomic_exchange(&index->full, false)) {
        log_info("pool %s: its index has room for new keys again", options->name);
    }
}

uint64_t index_used_bytes(const struct index *index) {
    const struct layout_index_header *header = index->view->index;
    return header->buckets_offset +
           sizeof(struct layout_bucket) *
               (atomic_load(&header->bucket_count) + atomic_load(&header->overflow_used));
}
