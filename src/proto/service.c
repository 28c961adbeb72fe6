#include "proto/server.h"

#include "proto/prefixes.h"

enum { SERVICE_CRAWLER_SLEEP_US = 100 /* memcached's default */ };

bool proto_service_init(struct proto_service *service, struct pool *pool,
                        struct proto_server *server) {
    *service = (struct proto_service){
        .pool = pool,
        .server = server,
        .prefixes = prefixes_create(),
    };
    atomic_init(&service->crawler_sleep_us, SERVICE_CRAWLER_SLEEP_US);
    return service->prefixes != NULL;
}

void proto_service_finish(struct proto_service *service) {
    prefixes_destroy(service->prefixes);
    service->prefixes = NULL;
}
