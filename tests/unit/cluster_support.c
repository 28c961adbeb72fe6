#include "cluster_support.h"

#include <time.h>

static bool fake_add(struct fake_engine *fake, const struct fake_request *request) {
    pthread_mutex_lock(&fake->lock);
    bool sent = !fake->refuses;
    if (sent) {
        EXPECT(fake->count < FAKE_REQUESTS);
        fake->requests[fake->count++] = *request;
    }
    pthread_mutex_unlock(&fake->lock);
    return sent;
}

static bool fake_write(void *self, const struct engine_write *write) {
    struct fake_request request = {
        .token = write->token,
        .expected = write->expected,
        .ttl_s = write->ttl_s,
        .payload_size = write->payload.size,
    };
    EXPECT(write->payload.size <= sizeof request.payload);
    memcpy(request.payload, write->payload.data, write->payload.size);
    snprintf(request.subject, sizeof request.subject, "%s", write->subject);
    return fake_add(self, &request);
}

static bool fake_find(void *self, uint64_t token, uint32_t partition, const char *subject) {
    (void)partition;
    struct fake_request request = {.finds = true, .token = token};
    snprintf(request.subject, sizeof request.subject, "%s", subject);
    return fake_add(self, &request);
}

void fake_engine_begin(struct fake_engine *fake, struct engine *engine) {
    *fake = (struct fake_engine){0};
    pthread_mutex_init(&fake->lock, NULL);
    *engine = (struct engine){.self = fake, .write = fake_write, .find = fake_find};
}

void fake_engine_end(struct fake_engine *fake) {
    pthread_mutex_destroy(&fake->lock);
}

unsigned fake_engine_count(struct fake_engine *fake) {
    pthread_mutex_lock(&fake->lock);
    unsigned count = fake->count;
    pthread_mutex_unlock(&fake->lock);
    return count;
}

struct fake_request fake_engine_wait(struct fake_engine *fake, unsigned number) {
    while (fake_engine_count(fake) <= number) {
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    pthread_mutex_lock(&fake->lock);
    struct fake_request request = fake->requests[number];
    pthread_mutex_unlock(&fake->lock);
    return request;
}
