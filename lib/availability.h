/* Whether a server can be reached, as one process has found out: an outage costs the patience of
 * one request, or of two where the server is silent, and not that of every request. (Those that are
 * under way at the same time know nothing of each other, and each pays.) python/stayd has the same.
 *
 *     up --- refused ---> waiting for a restart --- restart_wait_ms over ---> down
 *     up --- no connection, or twice no answer ---> down
 *     down --- the pause is over ---> one request tries (a probe) --- it fails ---> down, for
 * longer any state --- any answer ---> up
 *
 * While a restart is waited for, every request waits and tries again: a restart is a pause. While
 * the server is down, requests fail without a try. The first pause is as long as the failed try
 * was, so that a machine that does not answer at all is left alone for longer than a port that
 * refuses.
 *
 * Any thread may call; nobody waits under the lock. Times are of clock_monotonic_ns, in ms. */
#ifndef STAYD_LIB_AVAILABILITY_H
#define STAYD_LIB_AVAILABILITY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { AVAILABILITY_REASON_MAX = 160 };

struct availability {
    /* private */
    _Atomic bool has_outage; /* false: nothing else has to be looked at */
    pthread_mutex_t lock;    /* of all below */
    int restart_wait_ms;
    int probe_limit_ms;        /* a probe that has not ended after so long is given up */
    uint64_t restart_began_ms; /* 0: no restart is waited for */
    uint64_t restart_by_ms;
    unsigned failures; /* in this outage */
    unsigned silences;
    uint64_t counted_ms; /* when the latest of these was counted */
    uint64_t until_ms;   /* the end of the pause */
    char reason[AVAILABILITY_REASON_MAX];
};

uint64_t availability_now_ms(void);

/* Also in a child of a fork, over what was its parent's. */
void availability_init(struct availability *availability, int restart_wait_ms, int probe_limit_ms);

/* False if a request must fail without a try, for the reason that is copied. In an outage, true
 * makes the request the probe: it has to report to one of those below. */
bool availability_may_try(struct availability *availability, char reason[AVAILABILITY_REASON_MAX]);

/* Whether requests fail without a try. Makes nobody a probe. */
bool availability_is_down(struct availability *availability);

/* The server has answered, be it with an error. */
void availability_answered(struct availability *availability);

/* A request ended without a finding: the next one may try. */
void availability_release_probe(struct availability *availability);

/* After a refused connect: milliseconds until the next try, or below 0 if it is time to give up. */
int availability_find_retry_pause(struct availability *availability, uint64_t request_began_ms);

/* A try that began then has ended without a connection. */
void availability_failed(struct availability *availability, uint64_t try_began_ms,
                         const char *reason, bool refused);

/* A request that began then had no answer in its time; the latest answer to any came at
 * `answered_ms`. */
void availability_note_silence(struct availability *availability, uint64_t try_began_ms,
                               uint64_t answered_ms, const char *reason);

#endif
