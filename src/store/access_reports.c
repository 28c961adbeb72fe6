#include "store/access_reports.h"

enum {
    REPORTS_IDLE_SHARE = 8,
    REPORTS_WINDOW_SHARE = 16,
    REPORTS_WINDOW_S = 160 /* until the first eviction shows the real time */
};

static uint32_t reports_share(uint32_t time_s, uint32_t share) {
    return time_s / share + (time_s % share != 0);
}

static void reports_set(struct pool *pool, uint32_t window_s) {
    uint32_t idle_s = reports_share(pool->options.idle_timeout_s, REPORTS_IDLE_SHARE);
    uint32_t after_s = idle_s;
    if (pool->options.evict) {
        after_s = reports_share(window_s > 0 ? window_s : 1, REPORTS_WINDOW_SHARE);
        after_s = idle_s != 0 && idle_s < after_s ? idle_s : after_s;
    }
    atomic_store(&pool->view.index->report_after_s, after_s);
}

void access_reports_init(struct pool *pool) {
    reports_set(pool, REPORTS_WINDOW_S);
}

void access_reports_note_window(struct pool *pool, uint32_t window_s) {
    reports_set(pool, window_s);
}
