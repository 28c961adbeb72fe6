/* Remembers whether this process can reach a server. In an outage, only the first request waits for
 * its timeout, or the first two if the server does not answer; later requests fail at once.
 * (Requests that run at the same time do not know of each other, so each of them waits.)
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
    int probe_limit_ms;        /* after this time another request may be the probe */
    uint64_t restart_began_ms; /* 0: no request waits for a restart */
    uint64_t restart_by_ms;
    unsigned failures; /* in this outage */
    unsigned silences;
    uint64_t counted_ms; /* when the latest of these failures was counted */
    uint64_t until_ms;   /* the end of the pause, or of the probe's time */
    char reason[AVAILABILITY_REASON_MAX];
};

/* Also called in a child of a fork, on the struct that the parent had initialised. */
void availability_init(struct availability *availability, int restart_wait_ms, int probe_limit_ms);

/* Whether a request may try to reach the server. If not, `reason` gets the reason. If `*probe` is
 * not 0, the request is the probe, and must report its end with availability_answered, _failed,
 * _note_silence or _release_probe. */
bool availability_may_try(struct availability *availability, uint64_t *probe,
                          char reason[AVAILABILITY_REASON_MAX]);

/* Whether requests fail without a try now. Does not make the caller a probe. */
bool availability_is_down(struct availability *availability);

/* Reports that the server has answered; an error is an answer, too. */
void availability_answered(struct availability *availability);

/* Reports that the request ended and showed nothing about the server. If the request was the probe,
 * the next request may try. Sets `*probe` to 0. */
void availability_release_probe(struct availability *availability, uint64_t *probe);

/* After a refused connect: milliseconds until the next try, or below 0 if it is time to give up. */
int availability_find_retry_pause(struct availability *availability, uint64_t request_began_ms);

/* Reports that a try, which began at this time, ended without a connection. */
void availability_failed(struct availability *availability, uint64_t try_began_ms,
                         const char *reason, bool refused);

/* Reports that a request, which began at this time, has timed out. `answered_ms` is the time of the
 * latest answer to any request. */
void availability_note_silence(struct availability *availability, uint64_t try_began_ms,
                               uint64_t answered_ms, const char *reason);

#endif
