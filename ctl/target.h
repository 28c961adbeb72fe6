/* The pools that stayctl is about: those of the daemon's configuration, or the one behind a URL. */
#ifndef STAYD_CTL_TARGET_H
#define STAYD_CTL_TARGET_H

#include "stayd.h"
#include "stayd/config.h"

enum { TARGET_TIMEOUT_MS = 3000 };

/* What to do about a pool that cannot be connected to. */
#define TARGET_ADVICE                                                                              \
    "stayctl: is stayd running? If it listens elsewhere, say where with -c FILE or -s URL.\n"

struct target {
    const char *name; /* the pool's, or the URL */
    const char *urls[CONFIG_LISTENS_MAX];
    unsigned url_count;
    const char *user; /* to log in as; NULL: nobody */
    const char *password;
};

struct target_list {
    struct config *config; /* what the names point into; NULL with a URL */
    struct target items[CONFIG_POOLS_MAX];
    unsigned count;
};

/* From the file, the built-in configuration (`config_path` NULL), or `url`. False if the
 * configuration is wrong: its faults have been printed. */
bool target_list_init(struct target_list *list, const char *config_path, const char *url);

/* Log in to what asks for it: the pools with an auth_file, or the one behind the URL. */
void target_list_log_in(struct target_list *list, const char *user, const char *password);

/* Accepts a zeroed list. */
void target_list_finish(struct target_list *list);

/* NULL if there is no such pool; a URL is its only pool, whatever the name. */
const struct target *target_find(const struct target_list *list, const char *name);

/* Connects to the first of the target's addresses that answers, sockets first: they do not depend
 * on the network; and logs in. `*url` is the address. NULL with the reason in `error`; then `*url`
 * is NULL if none of them answers, and else the login is wrong. */
struct stayd *target_open(const struct target *target, const char **url,
                          char error[STAYD_ERROR_MAX]);

#endif
