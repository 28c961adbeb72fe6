/* One batch of requests and the replies to it, as bytes: it builds the requests, then checks the
 * replies against the workload as they come in. It knows the protocols and no socket: memcached's
 * text (get/set) and meta (mg/ms), and Redis's RESP (GET/SET).
 *
 * A reply is right when it is the one the request asks for: the key that was asked for (text), no
 * client flags, and the exact bytes that belong to the key. All other replies are counted, and the
 * first fault of a process is printed.
 *
 * One thread. The workload and the tally belong to the caller and must stay valid as long as the
 * exchange. */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workload.h"

enum { EXCHANGE_BATCH_MAX = 4096 };

/* What came back, in requests. A read is a hit, a miss, wrong or an error. */
struct tally {
    uint64_t gets, hits; /* of these not in the scan: gets - scan_gets, hits - scan_hits */
    uint64_t scan_gets, scan_hits;
    uint64_t sets;
    uint64_t refills; /* sets after a miss; not counted in `sets` */
    uint64_t refused; /* of these, refused because memory was short: a cache may do that */
    uint64_t wrong;   /* a value, flags or key other than what was asked for */
    uint64_t errors;  /* a reply that the request cannot have */
};

enum exchange_protocol { EXCHANGE_TEXT, EXCHANGE_META, EXCHANGE_RESP };

struct exchange_options {
    enum exchange_protocol protocol;
    bool refill; /* the next batch first sets the keys that were missed */
    unsigned batch_max;
    unsigned ttl_s;
};

struct expected_reply {
    uint64_t key;
    size_t key_offset; /* of the key's bytes in `requests` */
    bool get, scan, refill;
};

struct exchange {
    char *requests; /* what to send: requests_length bytes */
    size_t requests_length;

    /* private */
    struct exchange_options options;
    const struct workload *workload;
    struct tally *tally;
    struct expected_reply *expected;
    unsigned expected_count, answered_count;
    uint64_t *missed;
    unsigned missed_count;
};

/* False when memory is short; exchange_finish cleans up then, too. */
bool exchange_init(struct exchange *exchange, const struct exchange_options *options,
                   const struct workload *workload, struct tally *tally);
void exchange_finish(struct exchange *exchange);

/* Starts a batch, and forgets the last one. With `refill`, sets the keys that the last one missed.
 */
void exchange_begin(struct exchange *exchange);

/* Adds a request; at most batch_max to a batch. */
void exchange_add(struct exchange *exchange, struct operation operation);

/* Checks the replies that are complete in `bytes`; returns how many bytes they have. */
size_t exchange_check(struct exchange *exchange, const char *bytes, size_t length);

bool exchange_is_answered(const struct exchange *exchange);

/* The largest size in bytes of one reply to this workload. */
size_t exchange_reply_max(const struct exchange *exchange);

#endif
