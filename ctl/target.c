#include "target.h"

#include "stayd/config_file.h"

#include <stdio.h>
#include <string.h>

/* Adds the pool's Unix sockets, or its TCP addresses. Leaves out the TCP addresses of a pool with
 * TLS, because the configuration does not contain the certificate's host name. The address 0.0.0.0
 * needs no conversion: Linux connects to loopback. */
static void target_add_urls(struct target *target, const struct config_pool *pool, bool sockets) {
    for (unsigned i = 0; i < pool->listen_count; i++) {
        const struct address *address = &pool->listens[i].address;
        if (address_is_unix(address) == sockets && (sockets || !config_pool_has_tls(pool))) {
            target->urls[target->url_count++] = address->text;
        }
    }
}

bool target_list_init(struct target_list *list, const char *config_path, const char *url) {
    *list = (struct target_list){0};
    if (url != NULL) {
        list->items[0] = (struct target){.name = url, .urls = {url}, .url_count = 1};
        list->count = 1;
        return true;
    }
    list->config = config_create();
    if (list->config == NULL) {
        fputs("stayctl: no memory\n", stderr);
        return false;
    }
    struct faults faults;
    faults_init(&faults, config_path != NULL ? config_path : "built-in configuration");
    if (config_path != NULL) {
        config_file_read(config_path, list->config, &faults);
    } else {
        config_add_builtin_pools(list->config);
    }
    faults_print(&faults, stderr);
    bool valid = faults.count == 0;
    for (unsigned i = 0; i < list->config->pool_count && valid; i++) {
        const struct config_pool *pool = &list->config->pools[i];
        struct target *target = &list->items[list->count++];
        target->name = pool->options.name;
        target->clustered = pool->cluster[0] != '\0';
        target_add_urls(target, pool, true);
        target_add_urls(target, pool, false);
    }
    return valid;
}

void target_list_log_in(struct target_list *list, const char *user, const char *password) {
    for (unsigned i = 0; i < list->count; i++) {
        if (list->config == NULL || list->config->pools[i].auth_file[0] != '\0') {
            list->items[i].user = user;
            list->items[i].password = password;
        }
    }
}

void target_list_finish(struct target_list *list) {
    config_destroy(list->config);
    *list = (struct target_list){0};
}

const struct target *target_find(const struct target_list *list, const char *name) {
    if (list->config == NULL) {
        return &list->items[0];
    }
    for (unsigned i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

struct stayd *target_open(const struct target *target, const char **url,
                          struct stayd_error *error) {
    struct stayd_options options;
    stayd_options_init(&options);
    options.connect_timeout_ms = TARGET_TIMEOUT_MS;
    options.timeout_ms = TARGET_TIMEOUT_MS;
    options.restart_wait_ms = -1;
    options.user = target->user;
    options.password = target->password;
    *url = NULL;
    if (target->url_count == 0) {
        snprintf(error->message, sizeof error->message,
                 "it is reachable only with TLS; add a Unix socket such as unix:%s.sock to its "
                 "listen, or name its address with -s memcacheds://HOST:PORT/",
                 target->name);
    }
    for (unsigned i = 0; i < target->url_count; i++) {
        struct stayd *client = stayd_open(target->urls[i], &options, error);
        enum stayd_status status = client != NULL ? stayd_connect(client, 0, error) : STAYD_INVALID;
        if (status == STAYD_OK || status == STAYD_LOGIN_REFUSED) {
            *url = target->urls[i];
        }
        if (status == STAYD_OK) {
            return client;
        }
        stayd_close(client);
        if (status == STAYD_LOGIN_REFUSED) {
            break;
        }
    }
    return NULL;
}
