/* What other threads leave for one that waits in epoll: a list, and an eventfd that wakes it.
 *
 *     any thread --inbox_put--> items, wake_fd --epoll--> its thread: inbox_take
 *
 * Its thread watches wake_fd for input. What is in the list is the owner's to free. */
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

/* False if there is no file descriptor; inbox_finish may be called all the same. */
bool inbox_init(struct inbox *inbox);

void inbox_finish(struct inbox *inbox);

/* Puts the link in and wakes the thread. Any thread. */
void inbox_put(struct inbox *inbox, struct list *link);

/* Wakes the thread for another reason. Any thread. */
void inbox_wake(struct inbox *inbox);

/* Moves all that is there to `taken`, which is initialised here, in the order in which it came. The
 * wake-ups so far are done with. */
void inbox_take(struct inbox *inbox, struct list *taken);

#endif
