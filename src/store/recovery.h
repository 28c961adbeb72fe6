/* Recovery: rebuilds the index from the data, after a daemon that ended without a clean stop.
 *
 *     1. Every segment is walked, and the CRC of each record is checked (segment_walk.h,
 *        record_verify). Of all values and tombstones of a key, the one with the highest sequence
 *        gets the slot. The latest flush is noted.
 *     2. Only if an old version lasts longer than a later version of its key: every segment is
 *        walked again, and such old versions get the expiry of the latest version.
 *     3. Every slot is visited: tombstones, expired and flushed items lose their slots.
 *
 * Step 2 is for power cuts. A deletion leaves a tombstone that is kept as long as the item would
 * have lived. But a power cut may lose an unsynced tombstone and keep a record that was written
 * after it. The item must not reappear when that later version has expired and its segment is freed
 * (invariant 1).
 *
 * Each step runs on several threads, and does not depend on the order of the records. Called while
 * the pool is being opened, before any other thread sees it.
 */
#ifndef STAYD_STORE_RECOVERY_H
#define STAYD_STORE_RECOVERY_H

#include "store/index.h"
#include "store/segment_walk.h"

#include <stdbool.h>
#include <stdint.h>

/* The data to read and the index to make. */
struct recovery_target {
    const char *name; /* of the pool, for the log */
    struct segment_data data;
    struct index *index;       /* initialised, and empty */
    bool (*is_stopping)(void); /* whether the daemon is to stop; NULL: it never is */
};

/* False if memory is short, or the daemon is to stop: then the data is whole, and the index is not.
 */
bool recovery_run(const struct recovery_target *target, uint32_t now_s);

#endif
