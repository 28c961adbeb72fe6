/* A queue from any threads to one thread that waits in epoll: a list, and an eventfd that wakes
 * that thread.
 *
 *     any thread --inbox_put--> items, wake_fd --epoll--> its thread: inbox_take
 *
 * The receiving thread adds wake_fd to its epoll set. The owner frees the entries that are still in
 * the list. */
#ifndef STAYD_NET_INBOX_H
#define STAYD_NET_INBOX_H

#include "net/list.h"

#include <pthread.h>
#include <stdbool.h>

struct inbox {
    int wake_fd; /* eventfd; -1: there is none */

    /* private */
    pthread_mutex_t lock;
    struct list items; /* under the lock */
};

/* False if no file descriptor is left; inbox_finish may be called even then. */
bool inbox_init(struct inbox *inbox);

void inbox_finish(struct inbox *inbox);

/* Appends the link and wakes the thread. Any thread may call. */
void inbox_put(struct inbox *inbox, struct list *link);

/* Wakes the thread for another reason. Any thread may call. */
void inbox_wake(struct inbox *inbox);

/* Moves all entries, oldest first, to `taken`, which is initialised here. Resets the wake-ups so
 * far. */
void inbox_take(struct inbox *inbox, struct list *taken);

#endif
