/* Checks logins without blocking the workers.
 *
 *     worker: auth_begin --known password, or too many wrong ones--> verdict at once
 *                |
 *                +--> queue --> the auth thread computes a hash --> worker's mailbox: verdict
 *
 * One thread per daemon computes the password hashes. It has a lower priority than the workers, so
 * a flood of logins costs other clients only a share of one core. Logins from trusted addresses
 * (login_limit.h) are checked first. Logins with the same user and password from the same address
 * at the same time count as one guess: the first is the leader, and the others, its followers, wait
 * for its verdict. Followers take no place in the queue, because they need no hash.
 *
 * A `struct auth_check` is a login whose verdict is pending. auth_begin creates it. It returns
 * through the mailbox, which frees it, even if its connection has been closed. A follower whose
 * connection is closed is freed at once.
 *
 * Call order: auth_create, auth_add_pool for each pool, auth_start; start the workers; auth_stop;
 * stop the workers; auth_destroy. The main thread calls these and auth_reload. The workers call
 * auth_begin. */
#ifndef STAYD_NET_AUTH_H
#define STAYD_NET_AUTH_H

#include "base/bytes.h"
#include "net/list.h"

#include <pthread.h>
#include <stdbool.h>

struct auth;
struct auth_pool; /* the users of one pool, or of the admin server */
struct auth_check;

enum auth_verdict {
    AUTH_NONE, /* no verdict yet */
    AUTH_ADMITTED,
    AUTH_REFUSED,
    AUTH_NOT_CHECKED /* refused without a check of the password: close the connection */
};

struct login_source;
struct auth_mailbox;

typedef void auth_wake(struct auth_mailbox *mailbox);

/* The queue through which verdicts return to a worker. The worker initialises it, and takes `lock`
 * to empty `checks`. `wake_fd` is an eventfd; auth writes to it after it has added a check. If
 * `wake` is set, auth's thread calls that function instead, and holds no lock. */
struct auth_mailbox {
    pthread_mutex_t lock;
    struct list checks; /* under lock */
    int wake_fd;
    auth_wake *wake;
};

void auth_mailbox_init(struct auth_mailbox *mailbox, int wake_fd);
void auth_mailbox_init_calling(struct auth_mailbox *mailbox, auth_wake *wake);
void auth_mailbox_finish(struct auth_mailbox *mailbox);

/* NULL if memory is short. */
struct auth *auth_create(void);

/* Reads the file. NULL if the file has faults, which are logged. `exceptions`: of the rules for the
 * file (credentials.h). `name` is the pool's name; NULL:
 * they are the users of the admin server. Both texts must stay valid until auth_destroy. */
struct auth_pool *auth_add_pool(struct auth *auth, const char *name, const char *path,
                                unsigned exceptions);

/* False with errno if the thread cannot be created. */
bool auth_start(struct auth *auth);

/* Reads the files again. If a file has a fault, the fault is logged and the users read before stay
 * valid. Clients that are logged in stay logged in. */
void auth_reload(struct auth *auth);

/* Ends the thread. Queued and later logins are refused. Accepts NULL. */
void auth_stop(struct auth *auth);

/* Accepts NULL. */
void auth_destroy(struct auth *auth);

/* Checks a login that arrived on the socket `fd`. AUTH_NONE: the verdict comes later. Then `*check`
 * identifies the login, and auth_mailbox_take returns `owner` with the verdict. Copies user and
 * password. */
enum auth_verdict auth_begin(struct auth_pool *pool, int fd, struct bytes user,
                             struct bytes password, struct auth_mailbox *mailbox, void *owner,
                             struct auth_check **check);

/* The same, for a login from `source`. Without a mailbox (NULL), no check is created, and AUTH_NONE
 * means that a hash is needed. */
enum auth_verdict auth_begin_from(struct auth_pool *pool, const struct login_source *source,
                                  struct bytes user, struct bytes password,
                                  struct auth_mailbox *mailbox, void *owner,
                                  struct auth_check **check);

/* The owner no longer exists; the verdict is dropped. Only the worker that owns the mailbox may
 * call. */
void auth_abandon(struct auth_check *check);

/* Takes the next verdict from the mailbox and frees its check. False if there is none. `*owner` is
 * NULL if the check was abandoned. */
bool auth_mailbox_take(struct auth_mailbox *mailbox, void **owner, enum auth_verdict *verdict);

#endif
