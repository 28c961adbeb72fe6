#include "net/auth.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "net/credentials.h"
#include "net/login_limit.h"

#include <openssl/crypto.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    AUTH_POOLS_MAX = 64,
    AUTH_QUEUE_MAX = 4096, /* checks that need a hash; each address has at most LOGIN_LIMIT_BURST */
    /* the limit for untrusted addresses; the rest is reserved for trusted ones */
    AUTH_STRANGERS_MAX = 3072,
    AUTH_CHAINS = 256,  /* hash chains of pending leaders, by address */
    AUTH_NICENESS = 5,  /* of the thread */
    AUTH_LOG_MS = 100,  /* the minimum interval of log lines, over all addresses */
    AUTH_SLOW_MS = 1000 /* the CPU time of one hash above which a warning is logged */
};

struct auth_pool {
    struct auth *auth;
    const char *setting; /* the name of the setting that names the file */
    char name[64];       /* for the log: "pool NAME", or "admin" */
    const char *path;
    unsigned exceptions;             /* of the rules for the file (credentials.h) */
    struct credentials *credentials; /* under auth's lock */
};

struct auth_check {
    /* In a queue or in the leader's `followers`, under auth's lock; later in the mailbox, under the
     * mailbox's lock. */
    struct list link;
    struct list under_way; /* of a leader: in a chain, under auth's lock */
    /* of a leader: the checks that wait for its verdict, under auth's lock */
    struct list followers;
    struct auth_check *leader; /* of a follower, until there is a verdict, under auth's lock */
    struct auth_pool *pool;
    struct credentials *credentials; /* held */
    struct login_source source;
    struct auth_mailbox *mailbox;
    void *owner;            /* used by the worker only */
    _Atomic bool abandoned; /* a hint: no connection waits for the verdict */
    enum auth_verdict verdict;
    size_t user_size;
    size_t password_size;
    char user[CREDENTIALS_USER_MAX];
    char password[CREDENTIALS_PASSWORD_MAX];
};

struct auth {
    struct auth_pool pools[AUTH_POOLS_MAX];
    unsigned pool_count;
    bool started;
    pthread_t thread;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;
    bool stopping;
    struct list trusted; /* checks from trusted addresses, served first */
    struct list others;
    struct list under_way[AUTH_CHAINS]; /* leaders whose verdict is pending */
    uint64_t seed;                      /* of the chains' hash */
    /* checks in the two queues; followers are in none, because they need no hash */
    unsigned queued;
    struct login_limit *limit;
    uint64_t logged_ms;
};

void auth_mailbox_init(struct auth_mailbox *mailbox, int wake_fd) {
    pthread_mutex_init(&mailbox->lock, NULL);
    list_init(&mailbox->checks);
    mailbox->wake_fd = wake_fd;
    mailbox->wake = NULL;
}

void auth_mailbox_init_calling(struct auth_mailbox *mailbox, auth_wake *wake) {
    auth_mailbox_init(mailbox, -1);
    mailbox->wake = wake;
}

static void auth_check_destroy(struct auth_check *check) {
    credentials_release(check->credentials);
    explicit_bzero(check, sizeof *check);
    free(check);
}

bool auth_mailbox_take(struct auth_mailbox *mailbox, void **owner, enum auth_verdict *verdict) {
    struct auth_check *check = NULL;
    pthread_mutex_lock(&mailbox->lock);
    if (!list_is_empty(&mailbox->checks)) {
        check = list_entry(mailbox->checks.next, struct auth_check, link);
        list_remove(&check->link);
    }
    pthread_mutex_unlock(&mailbox->lock);
    if (check == NULL) {
        return false;
    }
    *owner = check->owner;
    *verdict = check->verdict;
    auth_check_destroy(check);
    return true;
}

void auth_mailbox_finish(struct auth_mailbox *mailbox) {
    void *owner;
    enum auth_verdict verdict;
    while (auth_mailbox_take(mailbox, &owner, &verdict)) {
    }
    pthread_mutex_destroy(&mailbox->lock);
}

/* A follower is freed at once. So there are never more followers than connections, and no limit is
 * needed against clients that connect, send a wrong password and leave, over and over. */
void auth_abandon(struct auth_check *check) {
    struct auth *auth = check->pool->auth;
    pthread_mutex_lock(&auth->lock);
    bool follows = check->leader != NULL;
    if (follows) {
        list_remove(&check->link);
    } else {
        check->owner = NULL;
        atomic_store_explicit(&check->abandoned, true,
                              memory_order_relaxed); /* relaxed: orders nothing */
    }
    pthread_mutex_unlock(&auth->lock);
    if (follows) {
        auth_check_destroy(check);
    }
}

static void auth_deliver(struct auth_check *check, enum auth_verdict verdict) {
    struct auth_mailbox *mailbox = check->mailbox;
    int wake_fd = mailbox->wake_fd;
    auth_wake *wake = mailbox->wake;
    check->verdict = verdict;
    pthread_mutex_lock(&mailbox->lock);
    list_append(&mailbox->checks, &check->link);
    pthread_mutex_unlock(&mailbox->lock);
    if (wake != NULL) {
        wake(mailbox);
        return;
    }
    const uint64_t one = 1;
    ssize_t ignored = write(wake_fd, &one, sizeof one);
    (void)ignored; /* fails only if the counter is full, and then the worker is awake */
}

/* Counts a refused login, and logs it unless a line has just been logged. Names that are not in the
 * file are not logged: clients sometimes send passwords in place of a name, or values that they
 * meant to store. */
static void auth_note_refusal(struct auth_pool *pool, struct credentials *credentials,
                              const struct login_source *source, struct bytes user,
                              enum auth_verdict verdict) {
    struct auth *auth = pool->auth;
    uint64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&auth->lock);
    bool may_log = now_ms - auth->logged_ms >= AUTH_LOG_MS;
    uint64_t refused = login_limit_count(auth->limit, source, now_ms, may_log);
    if (refused > 0) {
        auth->logged_ms = now_ms;
    }
    pthread_mutex_unlock(&auth->lock);
    if (refused == 0) {
        return;
    }
    char shown[CREDENTIALS_USER_MAX + 16] = "an unknown user";
    char address[LOGIN_SOURCE_TEXT_MAX];
    if (credentials_know(credentials, user)) {
        snprintf(shown, sizeof shown, "user %.*s", (int)user.size, user.data);
    }
    login_source_format(source, address);
    log_warning("%s: login of %s from %s refused%s; %llu refused from there since "
                "the last such line",
                pool->name, shown, address,
                verdict == AUTH_NOT_CHECKED ? ", not checked after too many wrong passwords" : "",
                (unsigned long long)refused);
}

static struct list *auth_chain(struct auth *auth, const struct login_source *source) {
    const struct bytes address = bytes_from((const char *)source->bytes, sizeof source->bytes);
    return &auth->under_way[hash_key(auth->seed, address) % AUTH_CHAINS];
}

/* Finds the pending check of the same login from the same address; NULL: there is none. When a
 * daemon restarts, all workers of a web server log in at once: that is one guess, and one hash. */
static struct auth_check *auth_find_leader(struct auth *auth, const struct auth_check *check) {
    struct list *chain = auth_chain(auth, &check->source);
    for (struct list *link = chain->next; link != chain; link = link->next) {
        struct auth_check *leader = list_entry(link, struct auth_check, under_way);
        if (leader->credentials == check->credentials &&
            login_source_equal(&leader->source, &check->source) &&
            leader->user_size == check->user_size &&
            leader->password_size == check->password_size &&
            memcmp(leader->user, check->user, check->user_size) == 0 &&
            CRYPTO_memcmp(leader->password, check->password, check->password_size) == 0) {
            return leader;
        }
    }
    return NULL;
}

/* The verdict, as far as it is known without a hash; AUTH_NONE if a hash is needed. `has_leader`:
 * another check computes the same hash, so this login takes no place in the queue. */
static enum auth_verdict auth_judge(struct auth *auth, const struct login_source *source,
                                    enum credentials_answer answer, bool has_leader) {
    uint64_t now_ms = clock_monotonic_ms();
    if (answer == CREDENTIALS_RIGHT) {
        if (!login_limit_allows(auth->limit, source, now_ms)) {
            return AUTH_NOT_CHECKED;
        }
        login_limit_trust(auth->limit, source, now_ms, false);
        return AUTH_ADMITTED;
    }
    if (auth->stopping) {
        return AUTH_NOT_CHECKED;
    }
    bool is_trusted = login_limit_trusts(auth->limit, source, now_ms);
    if (!has_leader && (auth->queued >= (is_trusted ? AUTH_QUEUE_MAX : AUTH_STRANGERS_MAX) ||
                        !login_limit_take(auth->limit, source, now_ms))) {
        return AUTH_NOT_CHECKED;
    }
    return answer == CREDENTIALS_WRONG ? AUTH_REFUSED : AUTH_NONE;
}

static struct auth_check *auth_check_create(struct auth_pool *pool, struct credentials *credentials,
                                            const struct login_source *source, struct bytes user,
                                            struct bytes password) {
    if (user.size > CREDENTIALS_USER_MAX || password.size > CREDENTIALS_PASSWORD_MAX) {
        return NULL;
    }
    struct auth_check *check = calloc(1, sizeof *check);
    if (check == NULL) {
        return NULL;
    }
    list_init(&check->link);
    list_init(&check->under_way);
    list_init(&check->followers);
    check->pool = pool;
    check->credentials = credentials_hold(credentials);
    check->source = *source;
    check->user_size = user.size;
    check->password_size = password.size;
    memcpy(check->user, user.data, user.size);
    memcpy(check->password, password.data, password.size);
    return check;
}

/* Adds the check to the followers of its leader, or to a queue. */
static void auth_submit(struct auth *auth, struct auth_check *check, struct auth_check *leader) {
    if (leader != NULL) {
        check->leader = leader;
        list_append(&leader->followers, &check->link);
        return;
    }
    auth->queued++;
    list_append(auth_chain(auth, &check->source), &check->under_way);
    bool trusted = login_limit_trusts(auth->limit, &check->source, clock_monotonic_ms());
    list_append(trusted ? &auth->trusted : &auth->others, &check->link);
    pthread_cond_signal(&auth->work);
}

enum auth_verdict auth_begin_from(struct auth_pool *pool, const struct login_source *source,
                                  struct bytes user, struct bytes password,
                                  struct auth_mailbox *mailbox, void *owner,
                                  struct auth_check **result) {
    struct auth *auth = pool->auth;
    pthread_mutex_lock(&auth->lock);
    struct credentials *credentials = credentials_hold(pool->credentials);
    pthread_mutex_unlock(&auth->lock);

    enum credentials_answer answer = credentials_judge(credentials, user, password);
    struct auth_check *check = NULL;
    if (answer == CREDENTIALS_UNSURE && mailbox == NULL) {
        credentials_release(credentials);
        return AUTH_NONE;
    }
    if (answer == CREDENTIALS_UNSURE) {
        check = auth_check_create(pool, credentials, source, user, password);
    }
    pthread_mutex_lock(&auth->lock);
    struct auth_check *leader = check != NULL ? auth_find_leader(auth, check) : NULL;
    enum auth_verdict verdict = auth_judge(auth, source, answer, leader != NULL);
    if (verdict == AUTH_NONE && check == NULL) {
        verdict = AUTH_REFUSED; /* no memory, or the user or the password is longer than any in the
                                   file */
    }
    if (verdict == AUTH_NONE) {
        check->mailbox = mailbox;
        check->owner = owner;
        auth_submit(auth, check, leader);
        *result = check;
    }
    pthread_mutex_unlock(&auth->lock);
    if (verdict != AUTH_NONE && check != NULL) {
        auth_check_destroy(check);
    }
    if (verdict == AUTH_REFUSED || verdict == AUTH_NOT_CHECKED) {
        auth_note_refusal(pool, credentials, source, user, verdict);
    }
    credentials_release(credentials);
    return verdict;
}

enum auth_verdict auth_begin(struct auth_pool *pool, int fd, struct bytes user,
                             struct bytes password, struct auth_mailbox *mailbox, void *owner,
                             struct auth_check **check) {
    struct login_source source;
    return login_source_read(fd, &source)
               ? auth_begin_from(pool, &source, user, password, mailbox, owner, check)
               : AUTH_NOT_CHECKED;
}

/* The CPU time of this thread. */
static uint64_t auth_spent_ms(void) {
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000U + (uint64_t)spent.tv_nsec / 1000000U;
}

/* Computes the hash for the check. */
static enum auth_verdict auth_compute(struct auth_check *check) {
    struct auth *auth = check->pool->auth;
    struct bytes user = bytes_from(check->user, check->user_size);
    uint64_t begun_ms = auth_spent_ms();
    bool right = credentials_verify(check->credentials, user,
                                    bytes_from(check->password, check->password_size));
    uint64_t spent_ms = auth_spent_ms() - begun_ms;
    if (spent_ms > AUTH_SLOW_MS) {
        log_warning("%s: it took %llu ms to check one password; other logins waited "
                    "meanwhile: write hashes of a lower cost to %s",
                    check->pool->name, (unsigned long long)spent_ms, check->pool->path);
    }
    if (!right) {
        return AUTH_REFUSED;
    }
    pthread_mutex_lock(&auth->lock);
    login_limit_trust(auth->limit, &check->source, clock_monotonic_ms(), true);
    pthread_mutex_unlock(&auth->lock);
    return AUTH_ADMITTED;
}

/* Waits for the next check. NULL once auth is stopping and the queues are empty. `*is_wanted`: a
 * connection waits for the verdict, and the daemon is not stopping. */
static struct auth_check *auth_next(struct auth *auth, bool *is_wanted) {
    struct auth_check *check = NULL;
    pthread_mutex_lock(&auth->lock);
    while (list_is_empty(&auth->trusted) && list_is_empty(&auth->others) && !auth->stopping) {
        pthread_cond_wait(&auth->work, &auth->lock);
    }
    struct list *queue = list_is_empty(&auth->trusted) ? &auth->others : &auth->trusted;
    if (!list_is_empty(queue)) {
        check = list_entry(queue->next, struct auth_check, link);
        list_remove(&check->link);
        bool is_abandoned =
            atomic_load_explicit(&check->abandoned, memory_order_relaxed); /* a hint, no more */
        *is_wanted = !auth->stopping && (!is_abandoned || !list_is_empty(&check->followers));
        if (!*is_wanted) {
            list_remove(&check->under_way); /* no check may become its follower now */
        }
    }
    pthread_mutex_unlock(&auth->lock);
    return check;
}

static void auth_answer(struct auth_check *check, enum auth_verdict verdict) {
    if (verdict == AUTH_REFUSED) {
        auth_note_refusal(check->pool, check->credentials, &check->source,
                          bytes_from(check->user, check->user_size), verdict);
    }
    auth_deliver(check, verdict);
}

/* Delivers the verdict to the check's connection and to its followers'. */
static void auth_finish(struct auth *auth, struct auth_check *check, enum auth_verdict verdict) {
    struct list followers;
    list_init(&followers);
    pthread_mutex_lock(&auth->lock);
    list_remove(&check->under_way);
    list_move_all(&followers, &check->followers);
    for (struct list *link = followers.next; link != &followers; link = link->next) {
        list_entry(link, struct auth_check, link)->leader = NULL;
    }
    auth->queued--;
    pthread_mutex_unlock(&auth->lock);
    auth_answer(check, verdict);
    while (!list_is_empty(&followers)) {
        struct auth_check *follower = list_entry(followers.next, struct auth_check, link);
        list_remove(&follower->link);
        auth_answer(follower, verdict);
    }
}

static void *auth_main(void *argument) {
    struct auth *auth = argument;
    setpriority(PRIO_PROCESS, (id_t)gettid(), AUTH_NICENESS); /* on Linux: of this thread only */
    struct auth_check *check;
    bool is_wanted;
    while ((check = auth_next(auth, &is_wanted)) != NULL) {
        auth_finish(auth, check, is_wanted ? auth_compute(check) : AUTH_NOT_CHECKED);
    }
    return NULL;
}

struct auth *auth_create(void) {
    struct auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL) {
        return NULL;
    }
    auth->limit = login_limit_create();
    if (auth->limit == NULL || getrandom(&auth->seed, sizeof auth->seed, 0) != sizeof auth->seed) {
        login_limit_destroy(auth->limit);
        free(auth);
        return NULL;
    }
    pthread_mutex_init(&auth->lock, NULL);
    pthread_cond_init(&auth->work, NULL);
    list_init(&auth->trusted);
    list_init(&auth->others);
    for (unsigned i = 0; i < AUTH_CHAINS; i++) {
        list_init(&auth->under_way[i]);
    }
    return auth;
}

static void auth_report(void *context, unsigned line, bool is_warning, const char *text) {
    const struct auth_pool *pool = context;
    char place[16] = "";
    if (line > 0) {
        snprintf(place, sizeof place, ":%u", line);
    }
    log_write(is_warning ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "%s: %s %s%s: %s", pool->name,
              pool->setting, pool->path, place, text);
}

struct auth_pool *auth_add_pool(struct auth *auth, const char *name, const char *path,
                                unsigned exceptions) {
    if (auth->pool_count == AUTH_POOLS_MAX) {
        return NULL;
    }
    struct auth_pool *pool = &auth->pools[auth->pool_count];
    *pool = (struct auth_pool){.auth = auth, .path = path, .exceptions = exceptions};
    pool->setting = name != NULL ? "auth_file" : "admin_auth_file";
    snprintf(pool->name, sizeof pool->name, "%s%s", name != NULL ? "pool " : "admin",
             name != NULL ? name : "");
    pool->credentials = credentials_read(path, exceptions, auth_report, pool);
    if (pool->credentials == NULL) {
        return NULL;
    }
    auth->pool_count++;
    return pool;
}

bool auth_start(struct auth *auth) {
    errno = pthread_create(&auth->thread, NULL, auth_main, auth);
    if (errno != 0) {
        return false;
    }
    pthread_setname_np(auth->thread, "auth");
    auth->started = true;
    return true;
}

void auth_reload(struct auth *auth) {
    for (unsigned i = 0; i < auth->pool_count; i++) {
        struct auth_pool *pool = &auth->pools[i];
        struct credentials *fresh =
            credentials_read(pool->path, pool->exceptions, auth_report, pool);
        if (fresh == NULL) {
            log_error("%s: %s %s has errors and is not used; the users read before stay valid",
                      pool->name, pool->setting, pool->path);
            continue;
        }
        pthread_mutex_lock(&auth->lock);
        struct credentials *old = pool->credentials;
        pool->credentials = fresh;
        pthread_mutex_unlock(&auth->lock);
        credentials_release(old);
        log_info("%s: %s %s has been read again", pool->name, pool->setting, pool->path);
    }
}

void auth_stop(struct auth *auth) {
    if (auth == NULL || !auth->started) {
        return;
    }
    pthread_mutex_lock(&auth->lock);
    auth->stopping = true;
    pthread_cond_signal(&auth->work);
    pthread_mutex_unlock(&auth->lock);
    pthread_join(auth->thread, NULL);
    auth->started = false;
}

void auth_destroy(struct auth *auth) {
    if (auth == NULL) {
        return;
    }
    auth_stop(auth);
    for (unsigned i = 0; i < auth->pool_count; i++) {
        credentials_release(auth->pools[i].credentials);
    }
    login_limit_destroy(auth->limit);
    pthread_cond_destroy(&auth->work);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}
