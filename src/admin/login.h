/* Logins of the admin server's clients: HTTP's Basic, with the users of admin_auth_file. The
 * password comes with every request, so one that has been right before is known without a hash.
 *
 *     request --login_check--> admitted, missing, refused or limited, at once
 *                |
 *                +--> waits: libmicrohttpd leaves the request alone, until auth's thread has the
 *                     verdict; then login_check is called again
 *
 * At most LOGINS_WAITING_MAX requests wait at a time, so that health checks find a free connection
 * while somebody guesses. Wrong passwords are limited together with those of the pools
 * (net/login_limit.h). libmicrohttpd's thread checks; the main thread begins and finishes. */
#ifndef STAYD_ADMIN_LOGIN_H
#define STAYD_ADMIN_LOGIN_H

#include "net/auth.h"

#include <microhttpd.h>

#include <pthread.h>
#include <stdbool.h>

enum { LOGINS_WAITING_MAX = 12 };

struct logins {
    struct auth_pool *users; /* NULL: nobody needs to log in */

    /* private */
    struct auth_mailbox mailbox;
    pthread_mutex_t lock; /* no verdict is delivered before its request has been suspended */
    unsigned waiting;     /* under the lock */
};

/* Of a request. Zeroed when the request begins. */
struct login {
    struct MHD_Connection *connection;
    enum auth_verdict verdict; /* under the lock of its logins while the request waits */
    bool waited;
};

enum login_state {
    LOGIN_ADMITTED,
    LOGIN_MISSING, /* the request has no user and password */
    LOGIN_REFUSED,
    LOGIN_LIMITED, /* not checked, after too many wrong passwords */
    LOGIN_BUSY,    /* not checked, because too many others are being checked */
    LOGIN_WAITS    /* no response yet; the request is handled again later */
};

void logins_begin(struct logins *logins, struct auth_pool *users);

/* auth_stop has been called, and libmicrohttpd has stopped. */
void logins_finish(struct logins *logins);

/* Whether the client must log in and the request has no login of the scheme Basic. */
bool login_is_missing(const struct logins *logins, struct MHD_Connection *connection);

enum login_state login_check(struct logins *logins, struct login *login,
                             struct MHD_Connection *connection);

#endif
