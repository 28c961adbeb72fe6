/* Logins: which of them are right, decided without holding anybody up.
 *
 *     worker: auth_begin --known password, or too many wrong ones--> verdict at once
 *                |
 *                +--> queue --> the auth thread computes a hash --> worker's mailbox: verdict
 *
 * One thread a daemon computes the hashes, at a lower priority than the workers, so a flood of
 * logins costs other clients nothing but a share of one core. Who logs in from a trusted address
 * (login_limit.h) goes first. Logins with the same words from the same address, at the same time,
 * are one guess: the first is the leader, and the others, its followers, wait for its verdict. They
 * take no place in the queue, which is for hashes.
 *
 * A login under way is a `struct auth_check`. It is made by auth_begin, and comes back through
 * the mailbox, however long its connection has been gone: only then is it freed. A follower whose
 * connection goes is freed at once.
 *
 * Order: auth_create, auth_add_pool for each pool, auth_start; the workers; auth_stop, then the
 * workers end, then auth_destroy. These are the main thread's, and auth_reload is; auth_begin is
 * for the workers. */
#ifndef STAYD_NET_AUTH_H
#define STAYD_NET_AUTH_H

#include "base/bytes.h"
#include "net/list.h"

#include <pthread.h>
#include <stdbool.h>

struct auth;
struct auth_pool; /* the users of one pool */
struct auth_check;

enum auth_verdict {
    AUTH_NONE, /* none is there yet */
    AUTH_ADMITTED,
    AUTH_REFUSED,
    AUTH_UNHEARD /* refused without a look: the connection is to end */
};

/* Where verdicts come back to a worker. The worker initialises it, and takes `lock` to empty
 * `checks`; `wake_fd` is an eventfd that is written when something is put there. */
struct auth_mailbox {
    pthread_mutex_t lock;
    struct list checks; /* under lock */
    int wake_fd;
};

void auth_mailbox_init(struct auth_mailbox *mailbox, int wake_fd);
void auth_mailbox_finish(struct auth_mailbox *mailbox);

/* NULL if memory is short. */
struct auth *auth_create(void);

/* Reads the file, and logs what is wrong with it: then NULL. `name` is the pool's; both texts live
 * longer than this. */
struct auth_pool *auth_add_pool(struct auth *auth, const char *name, const char *path);

/* False, with errno, if there is no thread to be had. */
bool auth_start(struct auth *auth);

/* Reads the files again. A file with a fault changes nothing, and is logged. Who is logged in stays
 * so. */
void auth_reload(struct auth *auth);

/* Ends the thread; what is queued, and what still comes, is refused. Accepts NULL. */
void auth_stop(struct auth *auth);

/* Accepts NULL. */
void auth_destroy(struct auth *auth);

/* Judges a login that came over the socket. AUTH_NONE: it will be known later, and `*check` stands
 * for it; `owner` is told with the verdict. Copies what it keeps. */
enum auth_verdict auth_begin(struct auth_pool *pool, int fd, struct bytes user,
                             struct bytes password, struct auth_mailbox *mailbox, void *owner,
                             struct auth_check **check);

/* The owner has gone: nobody wants the verdict. For the worker whose mailbox it is. */
void auth_abandon(struct auth_check *check);

/* Takes the next verdict out of the mailbox. False if there is none. `*owner` is NULL if it has
 * gone; the check is freed. */
bool auth_mailbox_take(struct auth_mailbox *mailbox, void **owner, enum auth_verdict *verdict);

#endif
