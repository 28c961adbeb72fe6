#include "store/expiry_clock.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

/* A larger change of the offset is a step. While NTP corrects a clock, the clock may run a twelfth
 * faster. */
static int64_t expiry_clock_slack_s(uint64_t elapsed_s) {
    uint64_t drift_s = elapsed_s / 10;
    return EXPIRY_CLOCK_STEP_S +
           (int64_t)(drift_s < EXPIRY_CLOCK_GAP_S ? drift_s : EXPIRY_CLOCK_GAP_S);
}

static void expiry_clock_trust(struct expiry_clock *clock) {
    if (!clock->trusted) {
        log_info("pool %s: the system's clock is trusted again: the memory of expired items is "
                 "freed",
                 clock->name);
    }
    clock->trusted = true;
    atomic_store(&clock->trusted_offset_s, clock->offset_s);
}

static bool expiry_clock_is_near(int64_t offset_s, int64_t other_s) {
    return llabs(offset_s - other_s) <= EXPIRY_CLOCK_STEP_S;
}

void expiry_clock_init(struct expiry_clock *clock, const char *name, uint64_t boot_id,
                       const struct layout_data_header *note) {
    uint32_t unix_s = clock_unix_s();
    uint64_t boot_s = clock_boot_s();
    *clock = (struct expiry_clock){
        .name = name,
        .boot_id = boot_id,
        .offset_s = (int64_t)unix_s - (int64_t)boot_s,
        .seen_boot_s = boot_s,
        .since_boot_s = boot_s,
    };
    int64_t trusted_s = clock->offset_s;
    clock->trusted = true;
    if (note != NULL) {
        bool same_run = note->clock_boot_id != 0 && note->clock_boot_id == boot_id;
        trusted_s = (int64_t)note->clock_s - (int64_t)(same_run ? note->clock_boot_s : boot_s);
        clock->trusted = same_run && expiry_clock_is_near(clock->offset_s, trusted_s);
    }
    atomic_store(&clock->trusted_offset_s, trusted_s);
    if (note != NULL && unix_s + EXPIRY_CLOCK_STEP_S < note->clock_s) {
        log_warning("pool %s: the system's clock is %lu s behind the last time that was noted: "
                    "items live longer until the clock is corrected",
                    name, (unsigned long)(note->clock_s - unix_s));
    } else if (!clock->trusted) {
        log_info("pool %s: the memory of expired items is not freed until the system's clock has "
                 "run for %d s without a step",
                 name, EXPIRY_CLOCK_TRUST_S);
    }
}

static void expiry_clock_take_step(struct expiry_clock *clock, int64_t step_s) {
    log_warning("pool %s: the system's clock has stepped by %lld s: items that have expired by "
                "the new time are hidden, but their memory is not freed until the clock has run "
                "for %d s without a step",
                clock->name, (long long)step_s, EXPIRY_CLOCK_TRUST_S);
    clock->trusted = false;
    clock->since_boot_s = clock->seen_boot_s;
}

void expiry_clock_observe(struct expiry_clock *clock) {
    uint32_t unix_s = clock_unix_s();
    uint64_t boot_s = clock_boot_s();
    uint64_t elapsed_s = boot_s > clock->seen_boot_s ? boot_s - clock->seen_boot_s : 0;
    int64_t offset_s = (int64_t)unix_s - (int64_t)boot_s;
    int64_t step_s = offset_s - clock->offset_s;
    clock->offset_s = offset_s;
    clock->seen_boot_s = boot_s;
    bool near = expiry_clock_is_near(offset_s, atomic_load(&clock->trusted_offset_s));
    if (llabs(step_s) > expiry_clock_slack_s(elapsed_s)) {
        if (!near) {
            expiry_clock_take_step(clock, step_s);
        }
    } else if (!clock->trusted && elapsed_s > EXPIRY_CLOCK_GAP_S) {
        clock->since_boot_s = boot_s; /* the system was suspended: nothing corrected the clock */
    }
    if (clock->trusted || near || boot_s >= clock->since_boot_s + EXPIRY_CLOCK_TRUST_S) {
        expiry_clock_trust(clock);
    }
}

/* The current time by the trusted offset; may be before 1970. */
static int64_t expiry_clock_trusted_s(const struct expiry_clock *clock) {
    return (int64_t)clock_boot_s() + atomic_load(&clock->trusted_offset_s);
}

uint32_t expiry_clock_free_s(const struct expiry_clock *clock) {
    int64_t unix_s = clock_unix_s();
    int64_t trusted_s = expiry_clock_trusted_s(clock);
    if (expiry_clock_is_near(unix_s, trusted_s) || unix_s < trusted_s) {
        return (uint32_t)unix_s;
    }
    return trusted_s > 0 ? (uint32_t)trusted_s : 0;
}

bool expiry_clock_is_trusted(const struct expiry_clock *clock) {
    return expiry_clock_is_near(clock_unix_s(), expiry_clock_trusted_s(clock));
}

bool expiry_clock_note(const struct expiry_clock *clock, struct layout_data_header *header,
                       uint32_t least_age_s) {
    if (!clock->trusted) {
        return false;
    }
    uint32_t trusted_s = (uint32_t)((int64_t)clock->seen_boot_s + clock->offset_s);
    uint64_t boot_id = atomic_load(&header->clock_boot_id);
    int64_t noted_offset_s = (int64_t)header->clock_s - (int64_t)header->clock_boot_s;
    bool same = boot_id == clock->boot_id && expiry_clock_is_near(noted_offset_s, clock->offset_s);
    uint32_t age_s = trusted_s > header->clock_s ? trusted_s - header->clock_s : 0;
    if (same && age_s < least_age_s) {
        return false;
    }
    /* The kernel may write the page to the disk between two stores. A note without a boot_id is
     * only trusted as after a reboot, so it is safe. */
    atomic_store(&header->clock_boot_id, 0);
    header->clock_boot_s = (uint32_t)clock->seen_boot_s;
    header->clock_s = trusted_s;
    atomic_store(&header->clock_boot_id, clock->boot_id);
    return true;
}
