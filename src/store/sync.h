/* Bringing a persistent pool's data to the disk. With `fsync = everysec` a thread of its own does
 * it once a second, so that neither requests nor the janitor wait for the disk. */
#ifndef STAYD_STORE_SYNC_H
#define STAYD_STORE_SYNC_H

#include <pthread.h>
#include <stdbool.h>

struct pool;

struct sync {
    /* private */
    pthread_t thread;
    bool running;
    bool stop; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* stop has changed */
};

/* Starts the thread, if the pool's options ask for one. False if the system refuses. */
bool sync_start(struct pool *pool);

/* Accepts one that never started. */
void sync_stop(struct pool *pool);

#endif
