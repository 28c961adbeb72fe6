#include "store/heartbeat.h"

#include "base/clock.h"

#include <sys/syscall.h>
#include <unistd.h>

void heartbeat_begin(struct heartbeat *heartbeat, struct layout_index_header *index) {
    heartbeat->index = index;
    heartbeat->entry.next = (struct robust_list *)(void *)&heartbeat->list;
    heartbeat->list = (struct robust_list_head){
        .list = {.next = &heartbeat->entry},
        .futex_offset = (char *)&index->keeper - (char *)&heartbeat->entry,
    };
    heartbeat_beat(heartbeat);
    if (syscall(SYS_set_robust_list, &heartbeat->list, sizeof heartbeat->list) == 0) {
        atomic_store(&index->keeper, (uint32_t)syscall(SYS_gettid));
    }
    atomic_store(&heartbeat->has_begun, true);
}

bool heartbeat_has_begun(const struct heartbeat *heartbeat) {
    return atomic_load(&heartbeat->has_begun);
}

void heartbeat_beat(struct heartbeat *heartbeat) {
    atomic_store(&heartbeat->index->heartbeat_ms, clock_monotonic_ms());
}

bool heartbeat_is_alive(const struct layout_index_header *index) {
    uint32_t keeper = atomic_load(&index->keeper);
    uint64_t beat_ms = atomic_load(&index->heartbeat_ms);
    uint64_t now_ms = clock_monotonic_ms();
    /* The coarse clocks of two processors may differ a little. */
    uint64_t age_ms = now_ms > beat_ms ? now_ms - beat_ms : beat_ms - now_ms;
    return (keeper & FUTEX_TID_MASK) != 0 && (keeper & FUTEX_OWNER_DIED) == 0 &&
           age_ms < LAYOUT_HEARTBEAT_MS;
}
