/* The users of a pool, read from its auth_file:
 *
 *     # a comment
 *     web:$y$j9T$...      a user, and a password hashed by crypt(5), as mkpasswd(1) prints it
 *     cron:s3cret         a user, and the password itself: accepted, with a warning
 *
 * Only the file's owner may have access to the file, and the owner must be the daemon's user or
 * root. The file of memcached's -Y may be readable by others, as in memcached.
 *
 * There are two ways to check a password. credentials_judge takes microseconds: it knows each plain
 * password, and each password that has been right since the file was read, as an HMAC under a
 * random key of this set. credentials_verify computes the hash, which by design takes from
 * milliseconds to a second. For an unknown user it computes the hash of another user, which takes
 * as long. So the time that a check takes tells neither which users exist, nor how much of a
 * password is right.
 *
 * A set does not change, except for the passwords that credentials_verify learns, under a lock. Any
 * thread may call. Memory is wiped before it is freed. */
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

/* Receives a fault of a file. `line` is 0 if the fault concerns the whole file. A warning is not a
 * fault. `text` is valid during the call only. */
typedef void credentials_report(void *context, unsigned line, bool is_warning, const char *text);

/* Exceptions from the rules for the file, combined with |. */
enum {
    CREDENTIALS_STRICT = 0,
    CREDENTIALS_ANYBODYS = 1, /* the owner is not checked: the daemon will run as another user */
    CREDENTIALS_READABLE = 2  /* others may read the file, which is a warning, but not write it */
};

/* NULL if the file has faults, all of which have been reported. The caller is the first holder. */
struct credentials *credentials_read(const char *path, unsigned exceptions,
                                     credentials_report *report, void *context);

/* Adds a holder. Returns the set. */
struct credentials *credentials_hold(struct credentials *credentials);

/* Removes a holder; the last one frees the set. Accepts NULL. */
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

/* Computes the hash, which may take a second: never call it on a worker. */
bool credentials_verify(struct credentials *credentials, struct bytes user, struct bytes password);

#endif
