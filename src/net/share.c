#include "net/share.h"

/* All relaxed: counters do not order other memory. The limits hold all the same, because a thread
 * adds its amount before it compares the sum with the limit. */
static uint64_t share_add(_Atomic uint64_t *counter, uint64_t amount) {
    return atomic_fetch_add_explicit(counter, amount, memory_order_relaxed) + amount;
}

static uint64_t share_subtract(_Atomic uint64_t *counter, uint64_t amount) {
    return atomic_fetch_sub_explicit(counter, amount, memory_order_relaxed) - amount;
}

/* How much of `used` is beyond the part of a pool. */
static uint64_t share_beyond(const struct proto_whole *whole, uint64_t used) {
    return used > whole->part ? used - whole->part : 0;
}

void share_divide(struct proto_whole *whole, uint64_t limit, unsigned pools) {
    whole->limit = limit;
    whole->part = limit / 2 / pools;
    whole->common = limit - whole->part * pools;
}

bool share_take(struct proto_whole *whole, struct proto_share *share, uint64_t amount,
                bool forced) {
    share_add(&whole->used, amount);
    uint64_t used = share_add(&share->used, amount);
    uint64_t beyond = share_beyond(whole, used) - share_beyond(whole, used - amount);
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
    share_subtract(&whole->beyond, share_beyond(whole, used + amount) - share_beyond(whole, used));
    share_subtract(&whole->used, amount);
}

uint64_t share_get_reach(const struct proto_whole *whole, const struct proto_share *share) {
    uint64_t own = share_beyond(whole, atomic_load_explicit(&share->used, memory_order_relaxed));
    uint64_t all = atomic_load_explicit(&whole->beyond, memory_order_relaxed);
    uint64_t others = all > own ? all - own : 0; /* the two are not read at the same moment */
    uint64_t reach = whole->part + (whole->common > others ? whole->common - others : 0);
    return share->most != 0 && share->most < reach ? share->most : reach;
}
