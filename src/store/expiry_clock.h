/* May memory be freed for what has expired? Answers with the latest second for which the clock is
 * believed.
 *
 * Clients see an item by the wall clock alone. A wall clock that is wrong can be put right, and
 * then every item is to be there again; memory that was freed stays freed. So memory is freed for
 * expiry's sake only while the wall clock and CLOCK_BOOTTIME, which nobody sets and which runs on
 * while the system is suspended, agree:
 *
 *     offset = wall clock - CLOCK_BOOTTIME
 *
 *     wall clock   ____________/~~~~~~~~~~~~~~~~~~~~~~     steps ahead
 *     believed     _________________________/~~~~~~~~~     follows after EXPIRY_CLOCK_TRUST_S
 *
 * After a step the believed offset stays what it was until the new one has lasted for
 * EXPIRY_CLOCK_TRUST_S; a clock that steps back to the believed offset is believed at once. Small
 * changes, as NTP makes them, are followed. Nothing is ever freed that the wall clock shows.
 *
 * A persistent pool notes in its file's header what was believed last (layout.h). A start in the
 * same run of the system goes on from there. A start after a reboot believes the time of the note
 * and no more, until the clock has lasted.
 *
 * One thread observes and notes: the janitor's, and the one that opens and closes the pool. Any
 * thread may ask expiry_clock_free_s, which sees a step at once, observed or not.
 */
#ifndef STAYD_STORE_EXPIRY_CLOCK_H
#define STAYD_STORE_EXPIRY_CLOCK_H

#include "store/layout.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    EXPIRY_CLOCK_TRUST_S = 600, /* a new time is believed when it has lasted for so long */
    EXPIRY_CLOCK_STEP_S = 5,    /* a change of the offset by no more than this is no step */
    EXPIRY_CLOCK_GAP_S = 60, /* without a look at the clock for so long, its time has not lasted */
};

struct expiry_clock {
    /* private */
    const char *name; /* the pool's, for the log */
    uint64_t boot_id; /* the number of this run of the system */
    _Atomic int64_t believed_offset_s;
    int64_t offset_s;      /* as seen last, */
    uint64_t seen_boot_s;  /* at this CLOCK_BOOTTIME */
    uint64_t since_boot_s; /* the offset has lasted since then */
    bool believed;         /* the believed offset is the clock's */
};

/* `note`: the header of a persistent pool whose file was there before; NULL: the pool is new, there
 * is nothing yet that a wrong clock could take. `boot_id`: see index_file_boot_id. */
void expiry_clock_init(struct expiry_clock *clock, const char *name, uint64_t boot_id,
                       const struct layout_data_header *note);

/* Looks whether the clock has stepped, or has kept its time for long enough. At least every
 * EXPIRY_CLOCK_GAP_S. */
void expiry_clock_observe(struct expiry_clock *clock);

/* What has expired by this second may be freed; what expires later may not, even if the wall clock
 * hides it. Never later than the wall clock; the wall clock's own second while it is believed. */
uint32_t expiry_clock_free_s(const struct expiry_clock *clock);

/* Whether the wall clock is believed at this moment. */
bool expiry_clock_is_believed(const struct expiry_clock *clock);

/* Notes in the header what is believed, if it is the clock's time. A note that is younger than
 * `least_age_s` is left as it is while it is still right. True: it was written. */
bool expiry_clock_note(const struct expiry_clock *clock, struct layout_data_header *header,
                       uint32_t least_age_s);

#endif
