/* How a process that maps a pool learns that the daemon of this pool has ended. The mappings of the
 * process stay valid and look unchanged, so they do not show the end by themselves.
 *
 *     clean stop     the daemon sets the index's state
 *     SIGKILL        the kernel marks `keeper` in the index while the thread ends: before it closes
 *                    the daemon's sockets, so before another daemon can accept a write
 *     anything else  heartbeat_ms grows old: the daemon is stopped or hangs, or the kernel ran out
 *                    of memory and took the daemon's memory before it could mark `keeper`
 *
 * The mark is that of a robust futex, set_robust_list(2). The thread is the janitor's, which has no
 * other use for its list of robust futexes.
 *
 * The data of a volatile pool ends with the daemon, and a replicated pool falls behind without it:
 * their readers then ask over the socket. The data of another persistent pool stays as it is: its
 * readers continue, but check from time to time whether another daemon now serves other data. The
 * mark and the heartbeat are in the index, which is in memory, so an idle pool writes nothing to
 * its file. */
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

/* The calling thread becomes the keeper of this pool until the thread ends. `heartbeat` must stay
 * at the same address until then. */
void heartbeat_begin(struct heartbeat *heartbeat, struct layout_index_header *index);

/* Whether heartbeat_begin has returned. Any thread may call. */
bool heartbeat_has_begun(const struct heartbeat *heartbeat);

/* Notes that the daemon is alive. Called by the thread that called heartbeat_begin. */
void heartbeat_beat(struct heartbeat *heartbeat);

/* Whether the daemon that keeps this index is alive, as far as the index shows. Any process may
 * call. */
bool heartbeat_is_alive(const struct layout_index_header *index);

#endif
