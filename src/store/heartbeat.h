/* How a process that maps a pool learns that the daemon that keeps the pool has ended. The process
 * keeps both mappings, and they look as before.
 *
 *     clean stop     the daemon sets the index's state
 *     SIGKILL        the kernel marks `keeper` in the index while the thread ends: before it closes
 *                    the daemon's sockets, so before another daemon can accept a write
 *     anything else  heartbeat_ms grows old: the daemon is stopped or hangs, or the kernel ran out
 * of memory and took the daemon's memory before it could mark `keeper`
 *
 * The mark is that of a robust futex, set_robust_list(2). The thread is the janitor's, which has no
 * other use for its list of robust futexes.
 *
 * The data of a volatile pool ends with the daemon. The data of a persistent pool does not: its
 * readers go on, but look now and then whether another daemon serves other data by now. The mark
 * and the heartbeat are in the index, which is in memory, so an idle pool writes nothing to its
 * file.
 */
#ifndef STAYD_STORE_HEARTBEAT_H
#define STAYD_STORE_HEARTBEAT_H

#include "store/layout.h"

#include <linux/futex.h>
#include <stdbool.h>

struct heartbeat {
    /* private */
    struct layout_index_header *index;
    _Atomic bool has_begun;
    /* the kernel walks these when the thread ends */
    struct robust_list_head list;
    struct robust_list entry;
};

/* The calling thread keeps this pool from now on, until it ends. `heartbeat` stays where it is
 * until then. */
void heartbeat_begin(struct heartbeat *heartbeat, struct layout_index_header *index);

/* Whether heartbeat_begin has been called, and is done. Any thread. */
bool heartbeat_has_begun(const struct heartbeat *heartbeat);

/* Notes that the daemon is alive. By the thread that has called heartbeat_begin. */
void heartbeat_beat(struct heartbeat *heartbeat);

/* Whether the daemon that keeps this index is alive, as far as the index tells. Any process. */
bool heartbeat_is_alive(const struct layout_index_header *index);

#endif
