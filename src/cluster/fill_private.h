/* For the files of fill.h only:
 *
 *     fill.c            the steps, and what the logs have already
 *     fill_requests.c   records on their way: up to FILL_WINDOW at a time
 */
#ifndef STAYD_CLUSTER_FILL_PRIVATE_H
#define STAYD_CLUSTER_FILL_PRIVATE_H

#include "cluster/fill.h"
#include "cluster/message.h"

#include <pthread.h>

enum { FILL_WINDOW = 256 };

enum fill_phase {
    FILL_FREE,
    FILL_WRITE, /* to be sent */
    FILL_WRITTEN,
    FILL_FIND, /* to be looked for in the log */
    FILL_FINDING,
};

/* A record on its way. */
struct fill_request {
    enum fill_phase phase;
    bool is_note;    /* of the log's origin; else of a key */
    bool is_removal; /* of what an earlier run has written */
    uint64_t token;  /* of the last request; 0: none is awaited */
    uint64_t until_ms;
    uint32_t partition;
    uint64_t expected;
    uint32_t ttl_s;
    uint8_t key_size;
    char key[POOL_KEY_MAX];
    char subject[ENGINE_SUBJECT_MAX];
    struct buffer payload;

    bool answered; /* this and the rest: under the lock */
    enum engine_outcome outcome;
    uint64_t sequence;
    bool is_there;
    struct buffer found;
};

/* A key that the log has as the file has it: two hashes. */
struct fill_seen {
    uint64_t first;
    uint64_t second;
};

struct fill {
    struct fill_options options;
    pthread_mutex_t lock; /* of the requests' answers and tokens */
    pthread_cond_t answer;
    struct fill_request requests[FILL_WINDOW];
    unsigned under_way;
    uint64_t tokens;
    uint64_t progress_ms; /* when a request has ended last */
    struct fill_seen *seen;
    size_t seen_count;
    size_t seen_capacity;
    struct buffer ended;                   /* of an earlier run: sequence, key size, key ... */
    uint64_t beacons[POOL_PARTITIONS_MAX]; /* of a log that is read; 0: it is not, or has been */
    uint64_t beacons_sent_ms[POOL_PARTITIONS_MAX];
    struct fill_stats stats;
};

/* fill_requests.c, below */

/* A free request, whose subject, payload and so on are to be set; then fill_send. Waits for one.
 * NULL with the reason in `error`. */
struct fill_request *fill_take(struct fill *fill, char error[ENGINE_ERROR_MAX]);
void fill_send(struct fill *fill, struct fill_request *request);

/* Whether two records say the same of a key. */
bool fill_same(const struct replica *a, const struct replica *b);

#endif
