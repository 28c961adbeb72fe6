/* Who may log in to a pool, as an auth_file says:
 *
 *     # a comment
 *     web:$y$j9T$...      a user, and a password hashed by crypt(5), as mkpasswd(1) prints it
 *     cron:s3cret         a user, and the password itself: taken, with a warning
 *
 * The file must be one that nobody but its owner can read, and the owner this user or root.
 *
 * Two ways to judge a password. credentials_judge takes microseconds: it knows each password that
 * was plain, and each that has been right since the file was read, as an HMAC under a random key of
 * this set. credentials_verify computes the hash, which takes from milliseconds to a second, as
 * hashes are meant to; and as long for a user who is not there, with the hash of one who is.
 * Neither tells by its time which users there are, or how much of a password is right.
 *
 * A set does not change but for what credentials_verify learns, under its own lock: any thread may
 * call. What is freed is wiped. */
#ifndef STAYD_NET_CREDENTIALS_H
#define STAYD_NET_CREDENTIALS_H

#include "base/bytes.h"

#include <stdbool.h>

enum {
    CREDENTIALS_FILE_MAX = 1 << 20, /* bytes */
    CREDENTIALS_USERS_MAX = 1024,
    CREDENTIALS_USER_MAX = 128,    /* bytes of a name */
    CREDENTIALS_PASSWORD_MAX = 511 /* bytes of a password; crypt(3)'s limit */
};

struct credentials;

/* Is told what is wrong with a file; `line` is 0 for what is wrong with the whole. A warning is no
 * fault. `text` is gone when this returns. */
typedef void credentials_report(void *context, unsigned line, bool is_warning, const char *text);

enum credentials_owner {
    CREDENTIALS_OWN,     /* the file must belong to this user or to root */
    CREDENTIALS_ANYBODYS /* it may belong to whoever the daemon will run as */
};

/* NULL if there was a fault; all of them have been reported then. Held once. */
struct credentials *credentials_read(const char *path, enum credentials_owner owner,
                                     credentials_report *report, void *context);

/* One holder more; returns it. */
struct credentials *credentials_hold(struct credentials *credentials);

/* One holder less; freed with the last. Accepts NULL. */
void credentials_release(struct credentials *credentials);

/* Whether there is such a user. */
bool credentials_know(struct credentials *credentials, struct bytes user);

enum credentials_answer {
    CREDENTIALS_RIGHT,
    CREDENTIALS_WRONG,
    CREDENTIALS_UNSURE /* only credentials_verify can tell */
};

enum credentials_answer credentials_judge(struct credentials *credentials, struct bytes user,
                                          struct bytes password);

/* Computes the hash: never on a thread that somebody waits for. */
bool credentials_verify(struct credentials *credentials, struct bytes user, struct bytes password);

#endif
