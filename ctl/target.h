/* The pools that stayctl works on: all pools of the daemon's configuration, or the pool at a
 * URL. */
#ifndef STAYD_CTL_TARGET_H
#define STAYD_CTL_TARGET_H

#include "stayd.h"
#include "stayd/config.h"

enum { TARGET_TIMEOUT_MS = 3000 };

struct target {
    const char *name; /* the pool's name, or the URL */
    const char *urls[CONFIG_LISTENS_MAX];
    unsigned url_count;
    bool clustered;   /* it refuses connections until it has caught up with its cluster */
    const char *user; /* to log in as; NULL: no login */
    const char *password;
};

struct target_list {
    struct config *config; /* the names point into it; NULL with a URL */
    struct target items[CONFIG_POOLS_MAX];
    unsigned count;
};

/* Makes the list from the file, from the built-in configuration (`config_path` NULL), or from
 * `url`. False if the configuration is invalid: its faults have been printed. */
bool target_list_init(struct target_list *list, const char *config_path, const char *url);

/* Sets the login of the pools with an auth_file, or of the pool at the URL. */
void target_list_log_in(struct target_list *list, const char *user, const char *password);

/* Accepts a zeroed list. */
void target_list_finish(struct target_list *list);

/* NULL if there is no such pool. With a URL, returns its pool for any name. */
const struct target *target_find(const struct target_list *list, const char *name);

/* Connects to the first of the target's addresses that answers, and logs in. Unix sockets are tried
 * first: they do not depend on the network. `*url` is the address. NULL with the reason in `error`:
 * if `*url` is NULL, no address answers; otherwise the login failed. */
struct stayd *target_open(const struct target *target, const char **url, struct stayd_error *error);

#endif
