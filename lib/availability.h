/* Whether this process can reach a server. In an outage, only the first request waits for its
 * timeout, or the first two if the server does not answer; later requests fail at once. (Requests
 * that run at the same time do not know of each other, so each of them waits.)
 * python/stayd/availability.py works in the same way.
 *
 *     up --- refused ---> waiting for a restart --- restart_wait_ms over ---> down
 *     up --- no connection, or twice no answer ---> down
 *     down --- pause over ---> one request tries (a probe) --- it fails ---> down, for longer
 *     any state --- any answer ---> up
 *
 * During a restart, every request waits and tries again, so a restart is a pause. While the server
 * is down, requests fail without a try. The first pause is as long as the failed try, so that a
 * machine that does not answer at all is tried less often than a port that refuses.
 *
 * Any thread may call; no thread waits while it has the lock. Times are those of clock_exact_ms. */
#ifndef STAYD_LIB_AVAILABILITY_H
#define STAYD_LIB_AVAILABILITY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { AVAILABILITY_REASON_MAX = 160 };

struct availability {
    /* private */
    _Atomic bool has_outage; /* false: the server is up, and the other fields need not be read */
    pthread_mutex_t lock;    /* protects all fields below */
    int restart_wait_ms;
    int probe_limit_ms;        /* a probe that has not ended after so long is given up */
    uint64_t restart_began_ms; /* 0: no request waits for a restart */
    uint64_t restart_by_ms;
    unsigned failures; /* in this outage */
    unsigned silences;
    uint64_t counted_ms; /* when the latest of these failures was counted */
    uint64_t until_ms;   /* the end of the pause, or when the probe is given up */
    char reason[AVAILABILITY_REASON_MAX];
};

/* Also called in a child of a fork, over the struct of the parent. */
void availability_init(struct availability *availability, int restart_wait_ms, int probe_limit_ms);

/* False if a request must fail without a try, for the reason that is copied. True may make the
 * request the probe: `*probe` is then not 0, and the request must call one of the functions below.
 */
bool availability_may_try(struct availability *availability, uint64_t *probe,
                          char reason[AVAILABILITY_REASON_MAX]);

/* Whether requests fail without a try now. Does not make the caller a probe. */
bool availability_is_down(struct availability *availability);

/* The server has answered, even if the answer is an error. */
void availability_answered(struct availability *availability);

/* The request ended without a result. If it was the probe, the next request may try. Sets `*probe`
 * to 0. */
void availability_release_probe(struct availability *availability, uint64_t *probe);

/* After a refused connect: milliseconds until the next try, or below 0 if it is time to give up. */
int availability_find_retry_pause(struct availability *availability, uint64_t request_began_ms);

/* A try that began at this time has ended without a connection. */
void availability_failed(struct availability *availability, uint64_t try_began_ms,
                         const char *reason, bool refused);

/* A request that began at this time has timed out. `answered_ms`: the time of the latest answer to
 * any request. */
void availability_note_silence(struct availability *availability, uint64_t try_began_ms,
                               uint64_t answered_ms, const char *reason);

#endif
