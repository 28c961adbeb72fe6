/* The time up to which the memory of expired items may be freed.
 *
 * Clients see an item by the wall clock alone. If the wall clock is wrong and is corrected, every
 * item that the wrong time hid must be visible again. An item whose memory was freed cannot come
 * back. So the memory of expired items is freed only while the wall clock agrees with
 * CLOCK_BOOTTIME, which cannot be set and continues while the system is suspended:
 *
 *     offset = wall clock - CLOCK_BOOTTIME
 *
 *     wall clock   ____________/~~~~~~~~~~~~~~~~~~~~~~     steps ahead
 *     trusted      _________________________/~~~~~~~~~     follows after EXPIRY_CLOCK_TRUST_S
 *
 * After a step the trusted offset stays what it was until the new offset has lasted for
 * EXPIRY_CLOCK_TRUST_S. A clock that steps back to the trusted offset is trusted at once. The
 * trusted offset follows small changes, as NTP makes them. An item that clients can see is never
 * freed.
 *
 * A persistent pool notes the last trusted time in its file's header (layout.h). A start in the
 * same boot continues from that note. A start after a reboot trusts the noted time and nothing
 * later, until the clock has lasted for EXPIRY_CLOCK_TRUST_S.
 *
 * expiry_clock_init, _observe and _note: one thread at a time, which is the janitor's while the
 * pool is open. Any thread may call the other functions; they see a step at once, observed or not.
 */
#ifndef STAYD_STORE_EXPIRY_CLOCK_H
#define STAYD_STORE_EXPIRY_CLOCK_H

#include "store/layout.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    EXPIRY_CLOCK_TRUST_S = 600, /* a new offset is trusted when it has lasted for this long */
    EXPIRY_CLOCK_STEP_S = 5,    /* a larger change of the offset is a step */
    EXPIRY_CLOCK_GAP_S = 60,    /* after a longer gap between observations, the time of a new
                                 * offset starts again */
};

struct expiry_clock {
    /* private */
    const char *name; /* the pool's, for the log */
    uint64_t boot_id; /* of this boot of the system */
    _Atomic int64_t trusted_offset_s;
    int64_t offset_s;      /* when last observed */
    uint64_t seen_boot_s;  /* CLOCK_BOOTTIME when last observed */
    uint64_t since_boot_s; /* CLOCK_BOOTTIME since when the offset has lasted */
    bool trusted;          /* the observed offset is the trusted one */
};

/* `note`: the header of a persistent pool whose file existed before. NULL: the pool is new and has
 * no item that a wrong clock could remove. `boot_id`: see index_file_boot_id. */
void expiry_clock_init(struct expiry_clock *clock, const char *name, uint64_t boot_id,
                       const struct layout_data_header *note);

/* Checks whether the clock has stepped, and whether a new offset has lasted for long enough. Called
 * at least every EXPIRY_CLOCK_GAP_S. */
void expiry_clock_observe(struct expiry_clock *clock);

/* Items that have expired by this second may be freed. Items that expire later may not, even if
 * clients do not see them any more. Never later than the wall clock; equal to the wall clock while
 * that is trusted. */
uint32_t expiry_clock_free_s(const struct expiry_clock *clock);

/* Whether the wall clock is trusted at this moment. */
bool expiry_clock_is_trusted(const struct expiry_clock *clock);

/* Notes the time in the header, if the clock is trusted. Keeps an earlier note that is right and
 * younger than `least_age_s`. True: the note was written. */
bool expiry_clock_note(const struct expiry_clock *clock, struct layout_data_header *header,
                       uint32_t least_age_s);

#endif
