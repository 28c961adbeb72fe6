#include "proto/server.h"

#include "base/clock.h"
#include "proto/event.h"
#include "proto/prefixes.h"
#include "proto/watch.h"

enum {
    SERVICE_CRAWLER_SLEEP_US = 100, /* memcached's default */
    SERVICE_TURNED_AWAY_MS = 60000
};

bool proto_service_init(struct proto_service *service, struct pool *pool,
                        struct proto_server *server) {
    char delimiter = server->prefix_delimiter != 0 ? server->prefix_delimiter : PREFIX_DELIMITER;
    *service = (struct proto_service){
        .pool = pool,
        .server = server,
        .prefixes = prefixes_create(delimiter),
        .watch = watch_create(),
    };
    atomic_init(&service->crawler_sleep_us, SERVICE_CRAWLER_SLEEP_US);
    if (service->prefixes == NULL || service->watch == NULL) {
        proto_service_finish(service);
        return false;
    }
    event_want(service, EVENT_PREFIXES, server->detail_enabled);
    pool_set_eviction_notify(pool, event_eviction, service);
    return true;
}

bool proto_service_turns_away(const struct proto_service *service) {
    uint64_t rejected_ms = atomic_load(&service->rejected_ms);
    return rejected_ms != 0 && clock_monotonic_ms() - rejected_ms < SERVICE_TURNED_AWAY_MS;
}

void proto_service_finish(struct proto_service *service) {
    prefixes_destroy(service->prefixes);
    watch_destroy(service->watch);
    service->prefixes = NULL;
    service->watch = NULL;
}
