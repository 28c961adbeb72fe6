#include "net/share.h"

/* All relaxed: numbers that order nothing. They are exact all the same, because a thread counts
 * what it wants before it looks whether that was too much. */
static uint64_t share_add(_Atomic uint64_t *counter, uint64_t amount) {
    return atomic_fetch_add_explicit(counter, amount, memory_order_relaxed) + amount;
}

static uint64_t share_subtract(_Atomic uint64_t *counter, uint64_t amount) {
    return atomic_fetch_sub_explicit(counter, amount, memory_order_relaxed) - amount;
}

/* How much of `used` is not of the share's own part. */
static uint64_t share_beyond(const struct proto_share *share, uint64_t used) {
    return used > share->kept ? used - share->kept : 0;
}

void share_divide(struct proto_whole *whole, uint64_t limit, unsigned shares) {
    whole->limit = limit;
    whole->part = limit / 2 / shares;
    whole->common = limit - whole->part * shares;
}

void share_keep(const struct proto_whole *whole, struct proto_share *share, uint64_t most) {
    share->kept = whole->part;
    share->most = most;
}

bool share_take(struct proto_whole *whole, struct proto_share *share, uint64_t amount,
                bool forced) {
    share_add(&whole->used, amount);
    uint64_t used = share_add(&share->used, amount);
    uint64_t beyond = share_beyond(share, used) - share_beyond(share, used - amount);
    uint64_t all_beyond = share_add(&whole->beyond, beyond);
    bool allowed = share->most == 0 || used <= share->most;
    if (forced || (allowed && (beyond == 0 || all_beyond <= whole->common))) {
        return true;
    }
    share_give(whole, share, amount);
    return false;
}

void share_give(struct proto_whole *whole, struct proto_share *share, uint64_t amount) {
    uint64_t used = share_subtract(&share->used, amount);
    share_subtract(&whole->beyond, share_beyond(share, used + amount) - share_beyond(share, used));
    share_subtract(&whole->used, amount);
}

uint64_t share_get_reach(const struct proto_whole *whole, const struct proto_share *share) {
    uint64_t own = share_beyond(share, atomic_load_explicit(&share->used, memory_order_relaxed));
    uint64_t all = atomic_load_explicit(&whole->beyond, memory_order_relaxed);
    uint64_t others = all > own ? all - own : 0; /* the two are not of the same moment */
    uint64_t reach = share->kept + (whole->common > others ? whole->common - others : 0);
    return share->most != 0 && share->most < reach ? share->most : reach;
}
