/* One change of one key: look up, decide, write, publish, under the lock of the key's bucket.
 *
 * What distinguishes set from touch from delete is a *planner*: a function that is shown the item
 * as it is and says what is to become of it. It may be asked more than once, because room for
 * the record is found without holding the lock; so it changes nothing but its answer.
 *
 *     lock -> find -> plan -> room? --no--> unlock, wait for room, again
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
    struct record record; /* CHANGE_WRITE: key, sequence, kind and accessed_s are filled in */
};

/* `old`: the item that a client can see, or NULL. A status other than OK ends the change, and
 * nothing is done. */
typedef enum status (*change_planner)(void *request, const struct record *old, uint32_t now_s,
                                      struct change *change);

/* Runs it. `result`, if not NULL, is filled in after OK: the item as it is now, or as it would be
 * if it had not expired at once; untouched when there is none. */
enum status change_run(struct pool *pool, struct store_thread *thread, struct bytes key,
                       change_planner planner, void *request, struct item *result);

/* What a client sees of a record. */
void change_describe(const struct record *record, unsigned frequency, struct item *item);

#endif
