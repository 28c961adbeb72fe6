/* Shared by the tests of cluster/: an engine that does nothing but remember what it was asked, so
 * that a test gives each answer, late or never. */
#ifndef STAYD_TESTS_CLUSTER_SUPPORT_H
#define STAYD_TESTS_CLUSTER_SUPPORT_H

#include "store_support.h"

#include "cluster/engine.h"
#include "cluster/message.h"

#include <pthread.h>

enum { FAKE_REQUESTS = 64, FAKE_VALUE_MAX = 256 };

struct fake_request {
    bool finds;
    uint64_t token;
    uint64_t expected;
    uint32_t ttl_s;
    char subject[ENGINE_SUBJECT_MAX];
    char payload[MESSAGE_HEAD_BYTES + FAKE_VALUE_MAX];
    size_t payload_size;
};

struct fake_engine {
    pthread_mutex_t lock;
    struct fake_request requests[FAKE_REQUESTS]; /* under lock */
    unsigned count;                              /* under lock */
    bool refuses;                                /* nothing can be sent; under lock */
};

void fake_engine_begin(struct fake_engine *fake, struct engine *engine);
void fake_engine_end(struct fake_engine *fake);

/* Waits for the request with this number, from 0 on, and copies it. */
struct fake_request fake_engine_wait(struct fake_engine *fake, unsigned number);
unsigned fake_engine_count(struct fake_engine *fake);

#endif
