#include "net/inbox.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool inbox_init(struct inbox *inbox) {
    list_init(&inbox->items);
    pthread_mutex_init(&inbox->lock, NULL);
    inbox->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return inbox->wake_fd >= 0;
}

void inbox_finish(struct inbox *inbox) {
    if (inbox->wake_fd >= 0) {
        close(inbox->wake_fd);
    }
    pthread_mutex_destroy(&inbox->lock);
}

void inbox_put(struct inbox *inbox, struct list *link) {
    pthread_mutex_lock(&inbox->lock);
    list_append(&inbox->items, link);
    pthread_mutex_unlock(&inbox->lock);
    inbox_wake(inbox);
}

void inbox_wake(struct inbox *inbox) {
    const uint64_t one = 1;
    ssize_t result = write(inbox->wake_fd, &one, sizeof one);
    (void)result; /* fails only if the counter is full, and then the thread is awake */
}

void inbox_take(struct inbox *inbox, struct list *taken) {
    uint64_t ignored;
    ssize_t result = read(inbox->wake_fd, &ignored, sizeof ignored);
    (void)result; /* fails only if there was no wake-up, and then there is nothing to take */
    list_init(taken);
    pthread_mutex_lock(&inbox->lock);
    list_move_all(taken, &inbox->items);
    pthread_mutex_unlock(&inbox->lock);
}
