/* One change of one key: look up, decide, write, publish, under the lock of the key's bucket.
 *
 * What distinguishes set from touch from delete is a *planner*: a function that is shown the item
 * as it is and says what is to become of it. It may be asked more than once, because room for
 * the record is found without holding the lock; so it changes nothing but its answer.
 *
 *     lock -> find -> plan -> room? --no--> unlock, ask for room (room.h), again
 *                              |yes
 *                              +-> write record, take sequence, publish slot, count old dead ->
 * unlock
 */
#ifndef STAYD_STORE_CHANGE_H
#define STAYD_STORE_CHANGE_H

#include "store/pool_private.h"

enum change_action { CHANGE_NOTHING, CHANGE_WRITE, CHANGE_REMOVE };

struct change {
    enum change_action action;
    bool keep_reads;      /* the item stays the same one: how often it was read counts on */
    bool reads;           /* the change is itself a read of the item */
    struct record record; /* CHANGE_WRITE: key, sequence, kind and accessed_s are filled in */
};

/* `old`: the item that a client can see, or NULL. A status other than OK ends the change, and
 * nothing is done; but with NOT_FOUND and CHANGE_REMOVE, a version that is hidden by a clock that
 * may yet be put right (expiry_clock.h) is removed. */
typedef enum status (*change_planner)(void *request, const struct record *old, uint32_t now_s,
                                      struct change *change);

/* Runs it. `result`, if not NULL, is filled in after OK: the item as it is now, or as it would be
 * if it had not expired at once, but for its reads: of an item that stays the same one, those
 * before the change. Untouched when there is none. */
enum status change_run(struct pool *pool, struct store_thread *thread, struct bytes key,
                       change_planner planner, void *request, struct item *result);

enum {
    CHANGE_READS_SURE = 8,  /* reads that are all counted */
    CHANGE_READS_STEP = 16, /* of the others, one in so many */
};

/* How often an item has been read after another read: what eviction goes by. A pool that evicts
 * nothing only tells whether it was. `salt`: differs from item to item. */
static inline unsigned change_count_read(const struct pool *pool, struct store_thread *thread,
                                         unsigned frequency, uint32_t salt) {
    bool counts = frequency == 0;
    if (pool->options.evict && !counts && frequency < LAYOUT_FREQUENCY_MAX) {
        counts = frequency < CHANGE_READS_SURE || (salt + thread->reads++) % CHANGE_READS_STEP == 0;
    }
    return frequency + counts;
}

#endif
