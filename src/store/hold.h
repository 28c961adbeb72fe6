/* Holds a pool for a backup: clients go on to read and write, but no segment is freed and no record
 * is moved, so that the file can be copied segment by segment (inspect.h).
 *
 *     client     hold: not yet ... hold: S --- copy what is numbered up to S --- extend(S, 0)
 *     janitor    --pass--| still ............................................... |--pass--
 *
 * When a client asks while the janitor stands still, the hold takes the next sequence number, S.
 * The client gets S when it asks again after a grace period. Every write that was acknowledged
 * before the client first asked has a number below S and is whole in the file. The copy leaves out
 * records with higher numbers.
 *
 * A hold ends when its client ends it, when its lease is over (so that a client that has vanished
 * blocks nothing for long), or when writes have waited for room for a quarter of a second: writes
 * are more important than a backup. The hold's client then fails to extend the hold, and begins the
 * copy again. */
#ifndef STAYD_STORE_HOLD_H
#define STAYD_STORE_HOLD_H

#include <stdbool.h>
#include <stdint.h>

struct pool;

enum hold_state {
    HOLD_NONE,
    HOLD_ASKED, /* the janitor begins the hold after its next pass */
    HOLD_STILL, /* the janitor is in hold_keep */
};

/* A part of the pool, under its room's lock. */
struct hold {
    enum hold_state state;
    uint64_t asker;    /* the client that the sequence was taken for; 0: none yet */
    uint64_t asked_ms; /* monotonic: when that client asked */
    uint64_t sequence;
    bool writes_ended;             /* all writes with lower numbers are whole */
    bool taken;                    /* the client has the hold */
    uint64_t until_ms;             /* monotonic: when the lease ends */
    uint64_t write_waits_since_ms; /* monotonic; 0: no write waits for room */
};

/* Before a hold: frees segments for the writes during the hold. Called by the janitor's thread
 * only, as a part of its pass. Returns early if the janitor is to stop. */
void hold_prepare(struct pool *pool);

/* Returns when the hold is over; until then the janitor frees and moves nothing. Called by the
 * janitor's thread only, between two passes, with the room's lock held. (A flush that falls due
 * during a hold is performed before the next request, as usual.) */
void hold_keep(struct pool *pool);

#endif
