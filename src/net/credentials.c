#include "net/credentials.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST_BYTES = 32, TEXT_MAX = 512 };

struct digest {
    unsigned char bytes[DIGEST_BYTES];
};

struct credential {
    struct digest user;
    char *hash;             /* NULL: the password was plain */
    struct digest password; /* under the set's lock, if there is a hash */
    bool password_is_known; /* the same */
    unsigned line;
};

struct credentials {
    _Atomic unsigned holders;
    struct digest key;
    pthread_mutex_t lock;
    struct credential *users;
    size_t count;
    size_t hashed_count; /* users with a hash; they come first in `users` */
};

/* A file that is being read. */
struct reader {
    struct credentials *credentials;
    credentials_report *report;
    void *context;
    bool failed;
};

__attribute__((format(printf, 3, 4))) static void reader_fault(struct reader *reader, unsigned line,
                                                               const char *format, ...) {
    char text[TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reader->failed = true;
    reader->report(reader->context, line, false, text);
}

static void reader_no_memory(struct reader *reader) {
    reader_fault(reader, 0, "no memory to read it");
}

/* False if memory is short. */
static bool credentials_digest(const struct credentials *credentials, struct bytes bytes,
                               struct digest *digest) {
    unsigned size = DIGEST_BYTES;
    return HMAC(EVP_sha256(), credentials->key.bytes, DIGEST_BYTES,
                (const unsigned char *)bytes.data, bytes.size, digest->bytes, &size) != NULL;
}

static bool digest_equal(const struct digest *a, const struct digest *b) {
    return CRYPTO_memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

/* NULL if there is no such user. Compares with every user, so the time does not depend on the user.
 */
static struct credential *credentials_find(const struct credentials *credentials,
                                           const struct digest *user) {
    struct credential *found = NULL;
    for (size_t i = 0; i < credentials->count; i++) {
        if (digest_equal(&credentials->users[i].user, user)) {
            found = &credentials->users[i];
        }
    }
    return found;
}

/* A hash that is too short was cut off, and no password can match it. */
static bool hash_is_whole(const char *hash) {
    static const struct {
        const char *prefix;
        size_t digest; /* characters behind the last '$' */
    } methods[] = {
        {"$y$", 43}, {"$gy$", 43}, {"$7$", 43},  {"$6$", 86},  {"$5$", 43},
        {"$1$", 22}, {"$2a$", 53}, {"$2b$", 53}, {"$2x$", 53}, {"$2y$", 53},
    };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strncmp(hash, methods[i].prefix, strlen(methods[i].prefix)) == 0) {
            return strlen(strrchr(hash, '$') + 1) == methods[i].digest;
        }
    }
    return true;
}

/* A password that begins with '$' must be a valid hash. If it is not, the line is a mistake. */
static bool reader_check_hash(struct reader *reader, unsigned line, const char *hash) {
    int kind = crypt_checksalt(hash);
    if ((kind != CRYPT_SALT_OK && kind != CRYPT_SALT_METHOD_LEGACY) || !hash_is_whole(hash)) {
        reader_fault(reader, line,
                     "a password that begins with $ must be a whole hash of crypt(5), as mkpasswd "
                     "prints it; this is not such a hash");
        return false;
    }
    return true;
}

static void reader_add(struct reader *reader, unsigned line, struct bytes user, char *password) {
    struct credentials *credentials = reader->credentials;
    struct credential credential = {.line = line};
    if (!credentials_digest(credentials, user, &credential.user) ||
        !credentials_digest(credentials, bytes_from_string(password), &credential.password)) {
        reader_no_memory(reader);
        return;
    }
    const struct credential *twin = credentials_find(credentials, &credential.user);
    if (twin != NULL) {
        reader_fault(reader, line, "user %.*s is already on line %u; keep one of the two lines",
                     (int)user.size, user.data, twin->line);
        return;
    }
    if (credentials->count == CREDENTIALS_USERS_MAX) {
        reader_fault(reader, line, "there are more than %d users", CREDENTIALS_USERS_MAX);
        return;
    }
    if (password[0] == '$') {
        if (!reader_check_hash(reader, line, password)) {
            return;
        }
        credential.hash = strdup(password);
        if (credential.hash == NULL) {
            reader_no_memory(reader);
            return;
        }
        credentials->users[credentials->count++] = credentials->users[credentials->hashed_count];
        credentials->users[credentials->hashed_count++] = credential;
        return;
    }
    credential.password_is_known = true;
    credentials->users[credentials->count++] = credential;
}

/* `text` is terminated by a zero byte. A further zero byte in it is a fault. */
static void reader_take_line(struct reader *reader, unsigned line, char *text, size_t size) {
    if (memchr(text, '\0', size) != NULL) {
        reader_fault(reader, line, "the line has a zero byte; this is not a text file");
        return;
    }
    if (size > 0 && text[size - 1] == '\r') {
        text[--size] = '\0';
    }
    const char *first = text + strspn(text, " \t");
    if (*first == '\0' || *first == '#') {
        return;
    }
    char *colon = strchr(text, ':');
    if (colon == NULL) {
        reader_fault(reader, line, "no colon; write user:password");
        return;
    }
    size_t user_size = (size_t)(colon - text);
    size_t password_size = size - user_size - 1;
    for (size_t i = 0; i < user_size; i++) {
        if ((unsigned char)text[i] <= ' ' || text[i] == 127) {
            reader_fault(reader, line,
                         "a user's name must not contain spaces or control characters");
            return;
        }
    }
    if (user_size < 1 || user_size > CREDENTIALS_USER_MAX) {
        reader_fault(reader, line, "a user's name is 1 to %d bytes", CREDENTIALS_USER_MAX);
    } else if (password_size < 1 || password_size > CREDENTIALS_PASSWORD_MAX) {
        reader_fault(reader, line, "a password is 1 to %d bytes", CREDENTIALS_PASSWORD_MAX);
    } else {
        reader_add(reader, line, bytes_from(text, user_size), colon + 1);
    }
}

static void reader_take_lines(struct reader *reader, char *text, size_t size) {
    unsigned line = 0;
    char *end = text + size;
    while (text < end && !(reader->failed && line >= 4 * CREDENTIALS_USERS_MAX)) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        char *stop = newline != NULL ? newline : end;
        *stop = '\0'; /* behind the file's last byte, the buffer has room for this one */
        reader_take_line(reader, ++line, text, (size_t)(stop - text));
        text = stop + 1;
    }
    size_t plain = reader->credentials->count - reader->credentials->hashed_count;
    if (reader->failed) {
        return;
    }
    if (reader->credentials->count == 0) {
        reader_fault(reader, 0, "there is no user in it, so nobody could log in");
    } else if (plain > 0) {
        char warning[TEXT_MAX];
        snprintf(warning, sizeof warning,
                 "%zu of %zu passwords are plain text; write hashes instead, as mkpasswd prints "
                 "them",
                 plain, reader->credentials->count);
        reader->report(reader->context, 0, true, warning);
    }
}

/* Whether the file's type, access rights, owner and size are as required. */
static bool reader_check_file(struct reader *reader, const struct stat *file, unsigned exceptions) {
    const mode_t readable = S_IRGRP | S_IROTH;
    const mode_t forbidden =
        07177 & ~((exceptions & CREDENTIALS_READABLE) != 0 ? readable : (mode_t)0);
    if (!S_ISREG(file->st_mode)) {
        reader_fault(reader, 0, "it is not a regular file");
    } else if ((file->st_mode & forbidden) != 0) {
        reader_fault(reader, 0, "its mode is %04o, but only its owner may have access; chmod 600",
                     file->st_mode & 07777);
    } else if ((exceptions & CREDENTIALS_ANYBODYS) == 0 && file->st_uid != 0 &&
               file->st_uid != geteuid()) {
        reader_fault(reader, 0,
                     "it belongs to user %u, but must belong to root or to user %u (chown)",
                     file->st_uid, geteuid());
    } else if (file->st_size > CREDENTIALS_FILE_MAX) {
        reader_fault(reader, 0, "it is larger than %d bytes", CREDENTIALS_FILE_MAX);
    } else {
        if ((file->st_mode & readable) != 0) {
            reader->report(reader->context, 0, true,
                           "users of this machine other than its owner can read it; chmod 600");
        }
        return true;
    }
    return false;
}

/* Reads until the end of the file, or until `room` bytes. */
static size_t reader_fill(struct reader *reader, int fd, char *text, size_t room) {
    size_t used = 0;
    while (used < room) {
        ssize_t size = read(fd, text + used, room - used);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            reader_fault(reader, 0, "cannot read it: %s", strerror(errno));
        }
        if (size <= 0) {
            break;
        }
        used += (size_t)size;
    }
    return used;
}

/* What to do about a file that cannot be opened. */
static const char *reader_advice(int error_number) {
    switch (error_number) {
    case EACCES:
    case EPERM:
        return "; the user that the daemon runs as (-u, or User= in the systemd unit) must own it";
    case ENOENT:
        return "; make it, with lines user:password, and chmod 600";
    default:
        return "";
    }
}

static void reader_run(struct reader *reader, const char *path, unsigned exceptions) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
                            O_NOCTTY); /* O_NONBLOCK: a FIFO would block */
    if (fd < 0) {
        reader_fault(reader, 0, "cannot read it: %s%s", strerror(errno), reader_advice(errno));
        return;
    }
    struct stat file;
    char *text = NULL;
    if (fstat(fd, &file) != 0) {
        reader_fault(reader, 0, "cannot read it: %s", strerror(errno));
    } else if (reader_check_file(reader, &file, exceptions)) {
        text = malloc(CREDENTIALS_FILE_MAX + 2);
        if (text == NULL) {
            reader_no_memory(reader);
        }
    }
    if (text != NULL) {
        size_t size = reader_fill(reader, fd, text, CREDENTIALS_FILE_MAX + 1);
        if (size > CREDENTIALS_FILE_MAX) {
            reader_fault(reader, 0, "it is larger than %d bytes", CREDENTIALS_FILE_MAX);
        } else if (!reader->failed) {
            reader_take_lines(reader, text, size);
        }
        explicit_bzero(text, CREDENTIALS_FILE_MAX + 2);
        free(text);
    }
    close(fd);
}

struct credentials *credentials_read(const char *path, unsigned exceptions,
                                     credentials_report *report, void *context) {
    struct reader reader = {.report = report, .context = context};
    struct credentials *credentials = calloc(1, sizeof *credentials);
    if (credentials == NULL) {
        reader_no_memory(&reader);
        return NULL;
    }
    atomic_init(&credentials->holders, 1);
    pthread_mutex_init(&credentials->lock, NULL);
    reader.credentials = credentials;
    credentials->users = calloc(CREDENTIALS_USERS_MAX, sizeof credentials->users[0]);
    if (credentials->users == NULL) {
        reader_no_memory(&reader);
    } else if (getrandom(credentials->key.bytes, DIGEST_BYTES, 0) != DIGEST_BYTES) {
        reader_fault(&reader, 0, "the system gives no random numbers: %s", strerror(errno));
    } else {
        reader_run(&reader, path, exceptions);
    }
    if (reader.failed) {
        credentials_release(credentials);
        return NULL;
    }
    return credentials;
}

struct credentials *credentials_hold(struct credentials *credentials) {
    atomic_fetch_add(&credentials->holders, 1);
    return credentials;
}

void credentials_release(struct credentials *credentials) {
    if (credentials == NULL || atomic_fetch_sub(&credentials->holders, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < credentials->count; i++) {
        char *hash = credentials->users[i].hash;
        if (hash != NULL) {
            explicit_bzero(hash, strlen(hash));
            free(hash);
        }
    }
    if (credentials->users != NULL) {
        explicit_bzero(credentials->users, CREDENTIALS_USERS_MAX * sizeof credentials->users[0]);
        free(credentials->users);
    }
    pthread_mutex_destroy(&credentials->lock);
    explicit_bzero(credentials, sizeof *credentials);
    free(credentials);
}

/* Whether the user's password is known and equals this one. If `credential` is NULL, the comparison
 * takes the same time. */
static bool credentials_compare(struct credentials *credentials,
                                const struct credential *credential,
                                const struct digest *password) {
    static const struct credential nobody;
    if (credential == NULL) {
        credential = &nobody;
    }
    pthread_mutex_lock(&credentials->lock);
    bool equal = digest_equal(&credential->password, password) & credential->password_is_known;
    pthread_mutex_unlock(&credentials->lock);
    return equal;
}

enum credentials_answer credentials_judge(struct credentials *credentials, struct bytes user,
                                          struct bytes password) {
    struct digest user_digest;
    struct digest password_digest;
    if (!credentials_digest(credentials, user, &user_digest) ||
        !credentials_digest(credentials, password, &password_digest)) {
        return CREDENTIALS_WRONG;
    }
    const struct credential *credential = credentials_find(credentials, &user_digest);
    if (credentials_compare(credentials, credential, &password_digest)) {
        return CREDENTIALS_RIGHT;
    }
    return credentials->hashed_count > 0 ? CREDENTIALS_UNSURE : CREDENTIALS_WRONG;
}

bool credentials_know(struct credentials *credentials, struct bytes user) {
    struct digest digest;
    return credentials_digest(credentials, user, &digest) &&
           credentials_find(credentials, &digest) != NULL;
}

/* Whether `hash` is the hash of the password. crypt(3) accepts neither zero bytes nor longer
 * passwords. */
static bool hash_matches(const char *hash, struct bytes password) {
    if (password.size > CREDENTIALS_PASSWORD_MAX ||
        memchr(password.data, '\0', password.size) != NULL) {
        return false;
    }
    struct work {
        struct crypt_data crypt;
        char password[CREDENTIALS_PASSWORD_MAX + 1];
    } *work = calloc(1, sizeof *work);
    if (work == NULL) {
        return false;
    }
    memcpy(work->password, password.data, password.size);
    const char *made = crypt_r(work->password, hash, &work->crypt);
    bool equal = made != NULL && made[0] != '*' && strlen(made) == strlen(hash) &&
                 CRYPTO_memcmp(made, hash, strlen(hash)) == 0;
    explicit_bzero(work, sizeof *work);
    free(work);
    return equal;
}

bool credentials_verify(struct credentials *credentials, struct bytes user, struct bytes password) {
    struct digest user_digest;
    struct digest password_digest;
    if (!credentials_digest(credentials, user, &user_digest) ||
        !credentials_digest(credentials, password, &password_digest)) {
        return false;
    }
    struct credential *credential = credentials_find(credentials, &user_digest);
    if (credentials_compare(credentials, credential, &password_digest)) {
        return true; /* another check has learnt it meanwhile */
    }
    if (credentials->hashed_count == 0) {
        return false;
    }
    /* For a user without a hash, the hash of another user is computed, so that the time does not
     * tell whether the user exists. It is always the same other user. */
    uint64_t number;
    memcpy(&number, user_digest.bytes, sizeof number);
    const struct credential *other = &credentials->users[number % credentials->hashed_count];
    bool is_hashed = credential != NULL && credential->hash != NULL;
    bool equal = hash_matches(is_hashed ? credential->hash : other->hash, password);
    if (!equal || !is_hashed) {
        return false;
    }
    pthread_mutex_lock(&credentials->lock);
    credential->password = password_digest;
    credential->password_is_known = true;
    pthread_mutex_unlock(&credentials->lock);
    return true;
}
