#include "proto/totals.h"

#include "proto/prefixes.h"
#include "proto/watch.h"
#include "store/pool.h"

#include <assert.h>

static uint64_t totals_load(const _Atomic uint64_t *counter) {
    /* relaxed: counters do not order other memory */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Since the start. */
static uint64_t totals_count(const struct proto_service *service, enum proto_total total) {
    const struct proto_server *server = service->server;
    const struct proto_memory *memory = &server->limits.memory;
    switch (total) {
    case PROTO_TOTAL_CONNECTIONS:
        return totals_load(&server->counters.connections_total);
    case PROTO_TOTAL_CONNECTIONS_REJECTED:
        return totals_load(&server->counters.connections_rejected);
    case PROTO_TOTAL_BYTES_READ:
        return totals_load(&server->counters.bytes_read);
    case PROTO_TOTAL_BYTES_WRITTEN:
        return totals_load(&server->counters.bytes_written);
    case PROTO_TOTAL_IDLE_KICKS:
        return totals_load(&server->counters.idle_kicks);
    case PROTO_TOTAL_YIELDS:
        return totals_load(&server->counters.yields);
    case PROTO_TOTAL_INPUTS_REFUSED:
        return totals_load(&memory->kinds[PROTO_MEMORY_INPUT].refused);
    case PROTO_TOTAL_OUTPUTS_REFUSED:
        return totals_load(&memory->kinds[PROTO_MEMORY_OUTPUT].refused);
    case PROTO_TOTAL_HANDSHAKE_ERRORS:
        return totals_load(&server->tls.handshake_errors);
    case PROTO_TOTAL_NEW_SESSIONS:
        return totals_load(&server->tls.new_sessions);
    case PROTO_TOTAL_RESUMED_SESSIONS:
        return totals_load(&server->tls.resumed_sessions);
    case PROTO_TOTAL_CRAWLS:
        return totals_load(&service->crawls);
    case PROTO_TOTAL_LINES_SENT:
        return watch_get_stats(service->watch).sent;
    case PROTO_TOTAL_LINES_SKIPPED:
        return watch_get_stats(service->watch).skipped;
    case PROTO_TOTALS:
        break;
    }
    assert(false);
    return 0;
}

uint64_t totals_get(const struct proto_service *service, enum proto_total total) {
    /* The base first: a counter only grows, so the difference is not negative. */
    uint64_t base = atomic_load(&service->totals_base[total]);
    return totals_count(service, total) - base;
}

void totals_reset(struct proto_service *service) {
    pool_reset_counters(service->pool);
    prefixes_clear(service->prefixes);
    for (unsigned total = 0; total < PROTO_TOTALS; total++) {
        atomic_store(&service->totals_base[total], totals_count(service, (enum proto_total)total));
    }
}
