#include "admin/login.h"

#include "net/credentials.h"
#include "net/list.h"
#include "net/login_limit.h"
#include "proto/base64.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum {
    LOGIN_TEXT_MAX = CREDENTIALS_USER_MAX + 1 + CREDENTIALS_PASSWORD_MAX,
    LOGIN_BASE64_MAX = (LOGIN_TEXT_MAX + 2) / 3 * 4
};

/* Called by auth's thread. */
static void logins_deliver(struct auth_mailbox *mailbox) {
    struct logins *logins = list_entry(mailbox, struct logins, mailbox);
    void *owner;
    enum auth_verdict verdict;
    while (auth_mailbox_take(mailbox, &owner, &verdict)) {
        struct login *login = owner;
        pthread_mutex_lock(&logins->lock);
        login->verdict = verdict;
        logins->waiting--;
        MHD_resume_connection(login->connection);
        pthread_mutex_unlock(&logins->lock);
    }
}

void logins_begin(struct logins *logins, struct auth_pool *users) {
    logins->users = users;
    logins->waiting = 0;
    pthread_mutex_init(&logins->lock, NULL);
    auth_mailbox_init_calling(&logins->mailbox, logins_deliver);
}

void logins_finish(struct logins *logins) {
    auth_mailbox_finish(&logins->mailbox);
    pthread_mutex_destroy(&logins->lock);
}

/* The part of the request's Authorization behind "Basic". NULL: there is none. */
static const char *login_find(struct MHD_Connection *connection) {
    static const char scheme[] = "Basic ";
    const char *value =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (value == NULL || strncasecmp(value, scheme, sizeof scheme - 1) != 0) {
        return NULL;
    }
    value += sizeof scheme - 1;
    return value + strspn(value, " ");
}

static bool login_read_source(struct MHD_Connection *connection, struct login_source *source) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    /* Of a connection with TLS, the socket leads to the relay and not to the client. */
    if (info != NULL && info->client_addr != NULL &&
        login_source_of_peer((const union peer *)(const void *)info->client_addr, source)) {
        return true;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL && login_source_read(info->connect_fd, source);
}

static enum login_state login_state_of(enum auth_verdict verdict) {
    switch (verdict) {
    case AUTH_NONE:
        break;
    case AUTH_ADMITTED:
        return LOGIN_ADMITTED;
    case AUTH_REFUSED:
        return LOGIN_REFUSED;
    case AUTH_NOT_CHECKED:
        return LOGIN_LIMITED;
    }
    return LOGIN_WAITS;
}

/* LOGIN_WAITS: the request is left alone until there is a verdict. */
static enum login_state login_begin(struct logins *logins, struct login *login,
                                    const struct login_source *source, struct bytes user,
                                    struct bytes password) {
    struct auth_check *check;
    pthread_mutex_lock(&logins->lock);
    bool may_wait = logins->waiting < LOGINS_WAITING_MAX;
    enum login_state state = login_state_of(auth_begin_from(
        logins->users, source, user, password, may_wait ? &logins->mailbox : NULL, login, &check));
    if (state == LOGIN_WAITS && may_wait) {
        login->waited = true;
        logins->waiting++;
        MHD_suspend_connection(login->connection);
    } else if (state == LOGIN_WAITS) {
        state = LOGIN_BUSY;
    }
    pthread_mutex_unlock(&logins->lock);
    return state;
}

bool login_is_missing(const struct logins *logins, struct MHD_Connection *connection) {
    return logins->users != NULL && login_find(connection) == NULL;
}

enum login_state login_check(struct logins *logins, struct login *login,
                             struct MHD_Connection *connection) {
    if (logins->users == NULL) {
        return LOGIN_ADMITTED;
    }
    if (login->waited) {
        pthread_mutex_lock(&logins->lock);
        enum auth_verdict verdict = login->verdict;
        pthread_mutex_unlock(&logins->lock);
        return login_state_of(verdict);
    }
    const char *given = login_find(connection);
    if (given == NULL) {
        return LOGIN_MISSING;
    }
    char text[LOGIN_TEXT_MAX + 3];
    struct login_source source;
    size_t length = strlen(given);
    size_t size = length <= LOGIN_BASE64_MAX ? base64_decode(bytes_from(given, length), text) : 0;
    const char *colon = memchr(text, ':', size);
    enum login_state state = LOGIN_REFUSED;
    if (colon == NULL) { /* not what Basic takes, so it cannot be a guess */
        state = LOGIN_REFUSED;
    } else if (!login_read_source(connection, &source)) {
        state = LOGIN_LIMITED;
    } else {
        size_t user_size = (size_t)(colon - text);
        login->connection = connection;
        state = login_begin(logins, login, &source, bytes_from(text, user_size),
                            bytes_from(colon + 1, size - user_size - 1));
    }
    explicit_bzero(text, sizeof text);
    return state;
}
