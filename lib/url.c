#include "url.h"

#include "base/number.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define URL_FORMS "memcached://HOST:PORT/, memcacheds://HOST:PORT/ (TLS) or unix:///PATH/TO/SOCKET"

enum {
    URL_TIME_MAX_S = 1000000,
    URL_WEIGHT_MAX = 1000000,
    URL_QUERY_VALUE_MAX = 4096,
    URL_TEXT_SHOWN_MAX = 200, /* with the scheme, less than STAYD_ERROR_MAX */
    URL_SCHEME_SHOWN_MAX = 16
};

/* The state of parsing one URL. */
struct url_reader {
    struct url *url;
    struct bytes text; /* the whole URL, for messages */
    char *error;
};

__attribute__((format(printf, 2, 3))) static bool url_refuse(const struct url_reader *reader,
                                                             const char *format, ...) {
    /* A user and a password are never shown, whatever the scheme is, and also without a scheme. */
    struct bytes text = reader->text;
    const char *at = text.size > 0 ? memrchr(text.data, '@', text.size) : NULL;
    int before = 0;
    if (at != NULL) {
        const char *colon = memmem(text.data, (size_t)(at - text.data), "://", 3);
        if (colon != NULL && colon - text.data <= URL_SCHEME_SHOWN_MAX) {
            before = (int)(colon - text.data) + 3;
        }
        text = bytes_from(at, (size_t)(text.data + text.size - at));
    }
    int size = text.size < URL_TEXT_SHOWN_MAX ? (int)text.size : URL_TEXT_SHOWN_MAX;
    int used = snprintf(reader->error, STAYD_ERROR_MAX, "'%.*s%s%.*s' ", before,
                        before > 0 ? reader->text.data : "", at != NULL ? "..." : "", size,
                        text.size > 0 ? text.data : "");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->error + used, (size_t)(STAYD_ERROR_MAX - used), format, arguments);
    va_end(arguments);
    return false;
}

static bool url_copy(char *to, size_t room, struct bytes from) {
    if (from.size >= room) {
        return false;
    }
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    to[from.size] = '\0';
    return true;
}

/* Moves the text before the first of `separators` from `rest` to `part`, and drops the separator.
 * False if there is no separator; then nothing changes. */
static bool url_cut(struct bytes *rest, const char *separators, struct bytes *part) {
    for (size_t i = 0; i < rest->size; i++) {
        if (strchr(separators, rest->data[i]) != NULL) {
            *part = bytes_from(rest->data, i);
            *rest = bytes_from(rest->data + i + 1, rest->size - i - 1);
            return true;
        }
    }
    return false;
}

static bool url_take(struct bytes *rest, const char *prefix) {
    size_t size = strlen(prefix);
    if (rest->size < size || strncasecmp(rest->data, prefix, size) != 0) {
        return false;
    }
    *rest = bytes_from(rest->data + size, rest->size - size);
    return true;
}

static int url_hex(char digit) {
    return digit >= '0' && digit <= '9'                     ? digit - '0'
           : (digit | 0x20) >= 'a' && (digit | 0x20) <= 'f' ? (digit | 0x20) - 'a' + 10
                                                            : -1;
}

/* Decodes percent-encoding into a text. A % that begins no valid encoding is kept. False if there
 * is no room, or the text contains a zero. */
static bool url_decode(char *to, size_t room, struct bytes from) {
    size_t size = 0;
    for (size_t i = 0; i < from.size; i++) {
        char byte = from.data[i];
        if (byte == '%' && i + 2 < from.size && url_hex(from.data[i + 1]) >= 0 &&
            url_hex(from.data[i + 2]) >= 0) {
            byte = (char)(url_hex(from.data[i + 1]) << 4 | url_hex(from.data[i + 2]));
            i += 2;
        }
        if (size + 1 >= room) {
            return false;
        }
        to[size++] = byte;
    }
    to[size] = '\0';
    return strlen(to) == size;
}

bool url_set_login(struct url *url, const char *user, const char *password,
                   char error[STAYD_ERROR_MAX]) {
    bool valid = user[0] != '\0' && strlen(user) < sizeof url->user && password[0] != '\0' &&
                 strlen(password) < sizeof url->password;
    for (const char *each = user; *each != '\0'; each++) {
        valid = valid && (unsigned char)*each > ' ' && *each != 0x7f && *each != ':';
    }
    for (const char *each = password; *each != '\0'; each++) {
        valid = valid && (unsigned char)*each >= ' ' && *each != 0x7f;
    }
    if (!valid) {
        snprintf(error, STAYD_ERROR_MAX,
                 "this is no login for %s: a user is 1 to 128 bytes without spaces and colons, a "
                 "password 1 to 511 bytes without control characters",
                 url->shown);
        return false;
    }
    strcpy(url->user, user);
    strcpy(url->password, password);
    return true;
}

/* Parses seconds with decimals. Digits beyond milliseconds are cut off, but a time above 0 is at
 * least 1 ms. Does not use strtod, whose decimal point depends on the process's locale. */
static bool url_parse_time(struct bytes text, int *time_ms) {
    struct bytes whole = text;
    struct bytes fraction = text;
    uint64_t seconds = 0;
    uint64_t rest_ms = 0;
    if (!url_cut(&fraction, ".", &whole)) {
        fraction = bytes_from(NULL, 0);
    }
    if (whole.size + fraction.size == 0 || whole.size > 7 ||
        (whole.size > 0 && !number_parse_u64(whole, &seconds)) || seconds > URL_TIME_MAX_S) {
        return false;
    }
    for (size_t i = 0, unit = 100; i < fraction.size; i++, unit /= 10) {
        if (fraction.data[i] < '0' || fraction.data[i] > '9') {
            return false;
        }
        rest_ms += (uint64_t)(fraction.data[i] - '0') * unit;
        rest_ms += unit == 0 && fraction.data[i] > '0' &&
                   rest_ms == 0; /* a duration above 0 never becomes 0 */
    }
    *time_ms = (int)(seconds * 1000 + rest_ms);
    return true;
}

static bool url_set_file(const struct url_reader *reader, char **file, const char *name,
                         const char *value) {
    if (!reader->url->tls) {
        return url_refuse(reader, "names a file of TLS (%s), and is not memcacheds://", name);
    }
    if (value[0] != '/') {
        return url_refuse(reader, "gives %s as '%.80s': give an absolute path", name, value);
    }
    free(*file);
    *file = strdup(value);
    return *file != NULL || url_refuse(reader, "cannot be kept: no memory");
}

static bool url_set_option(const struct url_reader *reader, struct bytes name, const char *value) {
    struct url *url = reader->url;
    const struct {
        const char *name;
        int *place;
    } times[] = {{"timeout", &url->times.timeout_ms},
                 {"connect_timeout", &url->times.connect_timeout_ms},
                 {"total_timeout", &url->times.total_timeout_ms},
                 {"restart_wait", &url->times.restart_wait_ms},
                 {"idle_timeout", &url->times.idle_timeout_ms}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        if (bytes_equal(name, bytes_from_string(times[i].name))) {
            bool may_be_zero = times[i].place == &url->times.restart_wait_ms;
            if (!url_parse_time(bytes_from_string(value), times[i].place) ||
                (*times[i].place == 0 && !may_be_zero)) {
                return url_refuse(reader, "gives %s as '%.40s': give seconds, like 0.5",
                                  times[i].name, value);
            }
            if (*times[i].place == 0) {
                *times[i].place = -1;
            }
            return true;
        }
    }
    if (bytes_equal(name, bytes_from_string("ca"))) {
        return url_set_file(reader, &url->ca, "ca", value);
    }
    if (bytes_equal(name, bytes_from_string("cert"))) {
        return url_set_file(reader, &url->cert, "cert", value);
    }
    if (bytes_equal(name, bytes_from_string("key"))) {
        return url_set_file(reader, &url->key, "key", value);
    }
    if (bytes_equal(name, bytes_from_string("login"))) {
        url->login = strcmp(value, "sasl") == 0 ? STAYD_LOGIN_SASL : STAYD_LOGIN_TEXT;
        return url->login == STAYD_LOGIN_SASL || strcmp(value, "text") == 0 ||
               url_refuse(reader, "gives login as '%.40s': there are text and sasl", value);
    }
    if (bytes_equal(name, bytes_from_string("weight"))) {
        uint64_t weight = 0;
        if (!number_parse_u64(bytes_from_string(value), &weight) || weight == 0 ||
            weight > URL_WEIGHT_MAX) {
            return url_refuse(reader, "gives weight as '%.40s': give a number from 1", value);
        }
        url->weight = (uint32_t)weight;
        return true;
    }
    return url_refuse(reader,
                      "has an unknown option '%.*s': there are timeout, connect_timeout, "
                      "total_timeout, restart_wait, idle_timeout, login, weight, and with "
                      "memcacheds ca, cert, key",
                      name.size < 40 ? (int)name.size : 40, name.data);
}

static bool url_read_query(const struct url_reader *reader, struct bytes query) {
    while (query.size > 0) {
        struct bytes option = query;
        struct bytes name;
        if (!url_cut(&query, "&", &option)) {
            query = bytes_from(NULL, 0);
        }
        if (option.size == 0) {
            continue;
        }
        if (!url_cut(&option, "=", &name)) {
            name = option;
            option = bytes_from(NULL, 0);
        }
        char value[URL_QUERY_VALUE_MAX];
        if (!url_decode(value, sizeof value, option)) {
            return url_refuse(reader, "has an option that is too long");
        }
        if (!url_set_option(reader, name, value)) {
            return false;
        }
    }
    if (reader->url->key != NULL && reader->url->cert == NULL) {
        return url_refuse(reader, "gives a key without its certificate: add cert=PATH");
    }
    return true;
}

static bool url_read_login(const struct url_reader *reader, struct bytes login) {
    char user[URL_USER_MAX];
    char password[URL_PASSWORD_MAX] = "";
    struct bytes name = login;
    if (!url_cut(&login, ":", &name)) {
        login = bytes_from(NULL, 0);
    }
    char why[STAYD_ERROR_MAX];
    return (url_decode(user, sizeof user, name) && url_decode(password, sizeof password, login) &&
            url_set_login(reader->url, user, password, why)) ||
           url_refuse(reader,
                      "has an invalid login: a user is 1 to 128 bytes without spaces and colons, a "
                      "password 1 to 511 bytes without control characters, both "
                      "percent-encoded");
}

static bool url_read_place(const struct url_reader *reader, struct bytes place) {
    struct url *url = reader->url;
    struct bytes host = place;
    bool bracketed = place.size > 0 && place.data[0] == '[';
    if (bracketed) {
        place = bytes_from(place.data + 1, place.size - 1);
        if (!url_cut(&place, "]", &host)) {
            return url_refuse(reader, "has a [ without a ]: give %s", URL_FORMS);
        }
        if (place.size > 0 && place.data[0] != ':') {
            return url_refuse(reader, "names no port behind its ]: give %s", URL_FORMS);
        }
        if (place.size > 0) {
            place = bytes_from(place.data + 1, place.size - 1);
        } else {
            place = bytes_from_string("11211");
        }
    } else if (!url_cut(&place, ":", &host)) {
        place = bytes_from_string("11211");
    }
    uint64_t port;
    if (host.size == 0 || !url_copy(url->host, sizeof url->host, host)) {
        return url_refuse(reader, "names no host: give %s", URL_FORMS);
    }
    if (place.size > 5 || !number_parse_u64(place, &port) || port == 0 || port > UINT16_MAX) {
        return url_refuse(reader, "names no port from 1 to 65535: give %s", URL_FORMS);
    }
    url->port = (unsigned)port;
    bool colons = strchr(url->host, ':') != NULL;
    snprintf(url->shown, sizeof url->shown, "memcached%s://%s%s%s:%u/", url->tls ? "s" : "",
             colons ? "[" : "", url->host, colons ? "]" : "", url->port);
    return true;
}

static bool url_read_path(const struct url_reader *reader, struct bytes path) {
    struct url *url = reader->url;
    if (path.size < 2 || path.data[0] != '/' || path.data[path.size - 1] == '/') {
        return url_refuse(reader, "has no absolute path of a socket: give unix:///PATH");
    }
    if (!url_copy(url->path, sizeof url->path, path)) {
        return url_refuse(reader,
                          "has a path of more than %d bytes: that is too long for a Unix socket",
                          URL_PATH_MAX - 1);
    }
    snprintf(url->shown, sizeof url->shown, "unix://%s", url->path);
    return true;
}

static bool url_read(const struct url_reader *reader) {
    struct url *url = reader->url;
    struct bytes rest = reader->text;
    struct bytes main;
    struct bytes login = {0};
    for (size_t i = 0; i < rest.size; i++) {
        if ((unsigned char)rest.data[i] <= ' ' || rest.data[i] == 0x7f) {
            return url_refuse(reader, "holds spaces or control characters: give %s", URL_FORMS);
        }
    }
    if (rest.size == 0 || memchr(rest.data, '#', rest.size) != NULL) {
        return url_refuse(reader, "is no address of a server: give %s", URL_FORMS);
    }
    bool is_url = url_take(&rest, "unix://");
    bool is_path = is_url || url_take(&rest, "unix:") || rest.data[0] == '/';
    if (!is_path) {
        url->tls = url_take(&rest, "memcacheds://");
        is_url = url->tls || url_take(&rest, "memcached://");
        if (!is_url && memmem(rest.data, rest.size, "://", 3) != NULL) {
            return url_refuse(reader, "has an unknown scheme: give %s", URL_FORMS);
        }
    }
    if (!url_cut(&rest, "?", &main)) {
        main = rest;
        rest = bytes_from(NULL, 0);
    }
    const char *at = main.size > 0 ? memrchr(main.data, '@', main.size) : NULL;
    if (is_url && at != NULL) {
        login = bytes_from(main.data, (size_t)(at - main.data));
        main = bytes_from(at + 1, main.size - login.size - 1);
    }
    if (!is_path) {
        struct bytes place = main;
        if (url_cut(&main, "/", &place) && main.size > 0) {
            return url_refuse(reader, "has a path: a pool is named by its port alone");
        }
        main = place;
    }
    return (is_path ? url_read_path(reader, main) : url_read_place(reader, main)) &&
           (at == NULL || !is_url || url_read_login(reader, login)) && url_read_query(reader, rest);
}

bool url_parse(struct url *url, struct bytes text, char error[STAYD_ERROR_MAX]) {
    *url = (struct url){.weight = 1};
    const struct url_reader reader = {.url = url, .text = text, .error = error};
    if (!url_read(&reader)) {
        url_finish(url);
        return false;
    }
    return true;
}

bool url_may_map(const struct url *url) {
    bool is_local = url->path[0] != '\0' || strcasecmp(url->host, "localhost") == 0 ||
                    strcmp(url->host, "::1") == 0 || strncmp(url->host, "127.", 4) == 0;
    return is_local && !url->tls && !url_is_binary(url);
}

void url_finish(struct url *url) {
    free(url->ca);
    free(url->cert);
    free(url->key);
    explicit_bzero(url, sizeof *url);
}
