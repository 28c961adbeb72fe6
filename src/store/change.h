/* One change of one key: look up, decide, write, publish, under the lock of the key's bucket.
 *
 * Set, touch and delete differ in their *planner*: a function that receives the current item and
 * decides the change. The planner may be called more than once, because the lock is released while
 * the change waits for room; so a planner changes nothing but its `change` argument and its own
 * request.
 *
 *     lock -> find -> plan -> room? --no--> unlock, ask for room (room.h), again
 *                              |yes
 *                              +-> take sequence, write record, note it for the next sync,
 *                                  publish slot, count old dead, unlock
 */
#ifndef STAYD_STORE_CHANGE_H
#define STAYD_STORE_CHANGE_H

#include "store/pool_private.h"

enum change_action { CHANGE_NOTHING, CHANGE_WRITE, CHANGE_REMOVE };

struct change {
    const struct record
        *present; /* for the planner: the item, also if no client can see it; NULL */
    enum change_action action;
    bool keep_reads;      /* keep the old item's read count, as a touch does */
    bool independent;     /* the same is written whether or not there is an item: a plain set */
    bool reads;           /* the change is also a read of the item */
    bool verbatim;        /* the record comes from the log: keep its times, and let it take the room
                           * that is kept for updates */
    struct record record; /* CHANGE_WRITE; change_run fills in key, sequence, kind, accessed_s */
};

/* `old`: the item that a client can see, or NULL. A status other than OK ends the change, and
 * nothing is written. One exception: with NOT_FOUND and CHANGE_REMOVE, change_run removes a version
 * that is hidden only by a clock that is not trusted (expiry_clock.h). */
typedef enum status (*change_planner)(void *request, const struct record *old, uint32_t now_s,
                                      struct change *change);

/* Runs a change. After OK, `result` (may be NULL) is the item after the change, even if the item
 * expires at once. With keep_reads, its read count and access time are those from before the
 * change. If there is no item, `result` is not written. */
enum status change_run(struct pool *pool, struct store_thread *thread, struct bytes key,
                       change_planner planner, void *request, struct item *result);

/* What change_evaluate found and planned. Points into the pool: valid during the call. */
struct change_evaluation {
    const struct record *old;     /* what a client can see, or NULL */
    const struct record *present; /* the same, or what no client can see any more; or NULL */
    const struct record *record;  /* the new item; NULL: there is none afterwards */
    unsigned frequency;           /* reads of the old item */
    bool keep_reads;
    bool independent; /* the new item does not depend on the old one */
};

/* Plans a change and does not make it: passes it to `take`, under the lock of the key's bucket. The
 * status is the planner's; `take` is called after OK, if there is something to change, and after
 * NOT_FOUND with CHANGE_REMOVE. `result`: as change_run fills it in if nothing is to be changed.
 * NO_MEMORY: the pool refuses new keys, or `take` returns false. */
typedef bool change_taker(void *context, const struct change_evaluation *evaluation);
enum status change_evaluate(struct pool *pool, struct store_thread *thread, struct bytes key,
                            change_planner planner, void *request, change_taker *take,
                            void *context, struct item *result);

enum {
    CHANGE_READS_SURE = 8,  /* up to this count, every read is counted */
    CHANGE_READS_STEP = 16, /* above that count, one read in 16 is counted */
};

/* The read count after one more read; eviction keeps the items with high counts. A pool with evict
 * = no only notes whether an item was ever read. `salt`: differs from item to item. */
static inline unsigned change_count_read(const struct pool *pool, struct store_thread *thread,
                                         unsigned frequency, uint32_t salt) {
    bool counts = frequency == 0;
    if (pool->options.evict && !counts && frequency < LAYOUT_FREQUENCY_MAX) {
        counts = frequency < CHANGE_READS_SURE || (salt + thread->reads++) % CHANGE_READS_STEP == 0;
    }
    return frequency + counts;
}

/* Counts a read in the slot, unless the slot has changed since the look-up. */
static inline void change_note_read(const struct pool *pool, struct store_thread *thread,
                                    const struct lookup_hit *hit) {
    unsigned frequency = layout_slot_frequency(hit->slot_value);
    unsigned counted = change_count_read(pool, thread, frequency, hit->at->sequence_low);
    if (counted != frequency) {
        uint64_t slot = hit->slot_value;
        uint64_t more = layout_slot_with_frequency(slot, counted);
        /* relaxed: it publishes nothing; the location stays as it was */
        atomic_compare_exchange_strong_explicit(hit->slot, &slot, more, memory_order_relaxed,
                                                memory_order_relaxed);
    }
}

#endif
