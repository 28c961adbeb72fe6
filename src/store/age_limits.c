#include "store/age_limits.h"

#include "base/log.h"

/* Whether the new limit is longer (0: there is no limit). Then items that have expired by the old
 * limit would reappear. */
static bool age_limits_are_longer(uint32_t old_s, uint32_t new_s) {
    return old_s != 0 && (new_s == 0 || new_s > old_s);
}

/* The second at which an item expires: by the limits in the header or by its own expiry, whichever
 * comes first. */
static uint32_t age_limits_end_s(const struct layout_data_header *header,
                                 const struct record *record) {
    uint64_t end_s = record->expiry_s == 0 ? LAYOUT_NEVER : record->expiry_s;
    uint64_t idle_s = (uint64_t)record->accessed_s + header->idle_timeout_s;
    uint64_t life_s = (uint64_t)record->created_s + header->max_lifetime_s;
    if (header->idle_timeout_s != 0 && idle_s < end_s) {
        end_s = idle_s;
    }
    if (header->max_lifetime_s != 0 && record->created_s != 0 && life_s < end_s) {
        end_s = life_s;
    }
    return (uint32_t)end_s;
}

/* Gives an expiry in the past to every value of the segment that has expired by the old limits. Old
 * versions are included, because one of them could reappear. Returns the number of values. */
static uint64_t age_limits_end_segment(struct pool *pool, uint32_t segment, bool attached,
                                       uint32_t now_s) {
    uint64_t ended = 0;
    const struct segment_data data = {&pool->view, pool->header};
    struct segment_cursor cursor;
    segment_walk(&cursor, &data, segment, pool->view.segment_bytes);
    while (segment_next(&cursor)) {
        if (cursor.record.kind != LAYOUT_VALUE || record_expired(cursor.record.expiry_s, now_s)) {
            continue;
        }
        uint32_t end_s = age_limits_end_s(pool->header, &cursor.record);
        if (!record_expired(end_s, now_s)) {
            continue;
        }
        record_shorten(cursor.at, end_s, cursor.crc_seed);
        if (attached) {
            segment_table_note_due(&pool->view, cursor.location, end_s);
        }
        ended++;
    }
    return ended;
}

/* Keeps each limit of the header that is shorter than the limit in the options. */
static void age_limits_keep(struct pool *pool) {
    const struct layout_data_header *header = pool->header;
    struct pool_options *options = &pool->options;
    if (age_limits_are_longer(header->idle_timeout_s, options->idle_timeout_s)) {
        options->idle_timeout_s = header->idle_timeout_s;
    }
    if (age_limits_are_longer(header->max_lifetime_s, options->max_lifetime_s)) {
        options->max_lifetime_s = header->max_lifetime_s;
    }
    log_warning("pool %s: its limits on age are longer than before, but the system's clock is in "
                "doubt after a boot or a step: idle_timeout = %lu s and max_lifetime = %lu s stay "
                "in force until stayd is restarted with a clock that is trusted",
                options->name, (unsigned long)options->idle_timeout_s,
                (unsigned long)options->max_lifetime_s);
}

bool age_limits_take(struct pool *pool, bool attached, uint32_t now_s) {
    struct layout_data_header *header = pool->header;
    const struct pool_options *options = &pool->options;
    bool longer = age_limits_are_longer(header->idle_timeout_s, options->idle_timeout_s) ||
                  age_limits_are_longer(header->max_lifetime_s, options->max_lifetime_s);
    if (longer && !expiry_clock_is_trusted(&pool->expiry_clock)) {
        age_limits_keep(pool);
    } else if (longer) {
        uint64_t ended = 0;
        for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
            if (pool_is_stopping(pool)) {
                return false; /* the header still has the earlier limits */
            }
            if (segment_header_valid((const void *)lookup_segment(&pool->view, segment))) {
                ended += age_limits_end_segment(pool, segment, attached, now_s);
            }
        }
        log_info("pool %s: its limits on age are longer than before; %llu records had expired by "
                 "the earlier limits, and stay expired",
                 options->name, (unsigned long long)ended);
        if (!sync_now(&pool->sync)) {
            return false;
        }
    }
    header->idle_timeout_s = options->idle_timeout_s;
    header->max_lifetime_s = options->max_lifetime_s;
    return true;
}
