/* Where a server is and how to reach it: a URL, or the shorter forms that stayd.h lists, as a
 * struct. Pure functions. */
#ifndef STAYD_LIB_URL_H
#define STAYD_LIB_URL_H

#include "base/bytes.h"
#include "stayd.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    URL_HOST_MAX = 256,
    URL_PATH_MAX = 108, /* as sockaddr_un has it */
    URL_USER_MAX = 129,
    URL_PASSWORD_MAX = 512,
    URL_SHOWN_MAX = 320,
    URL_PORT_DEFAULT = 11211
};

/* Times are milliseconds; 0: the URL has none. */
struct url_times {
    int connect_timeout_ms;
    int timeout_ms;
    int total_timeout_ms;
    int restart_wait_ms; /* below 0: no wait */
    int idle_timeout_ms;
};

struct url {
    char host[URL_HOST_MAX]; /* empty: a Unix socket; without brackets */
    unsigned port;
    char path[URL_PATH_MAX]; /* of the Unix socket */
    bool tls;
    char *ca; /* NULL: none */
    char *cert;
    char *key;
    char user[URL_USER_MAX]; /* empty: no login */
    char password[URL_PASSWORD_MAX];
    enum stayd_login login;
    uint32_t weight; /* from 1 */
    struct url_times times;
    char shown[URL_SHOWN_MAX]; /* the URL without user, password and query */
};

/* Whether the server is asked in the binary protocol: only this protocol has SASL. */
static inline bool url_is_binary(const struct url *url) {
    return url->login == STAYD_LOGIN_SASL && url->user[0] != '\0';
}

/* False with a sentence in `error`; the url is then finished. */
bool url_parse(struct url *url, struct bytes text, char error[STAYD_ERROR_MAX]);

/* Sets user and password. False with a sentence in `error` if they are not valid. */
bool url_set_login(struct url *url, const char *user, const char *password,
                   char error[STAYD_ERROR_MAX]);

/* Whether its server could send its mappings to this process: the server is on this machine, and
 * the connection uses the text protocol without TLS. */
bool url_may_map(const struct url *url);

/* Accepts a zeroed url. */
void url_finish(struct url *url);

#endif
