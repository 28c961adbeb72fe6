#include "proto/stats.h"

#include "proto/stats_groups.h"

bool stats_list(struct stats_listing *listing, struct bytes group) {
    static const struct {
        const char *name;
        void (*put)(struct stats_listing *listing);
    } groups[] = {
        {"", stats_put_general},          {"settings", stats_put_settings},
        {"items", stats_put_items},       {"slabs", stats_put_slabs},
        {"sizes", stats_put_sizes},       {"conns", stats_put_conns},
        {"expiry", stats_put_expiry},     {"latency", stats_put_latency},
        {"extstore", stats_put_extstore}, {"cluster", stats_put_cluster},
    };
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (bytes_equal(group, bytes_from_string(groups[i].name))) {
            groups[i].put(listing);
            return true;
        }
    }
    return false;
}
