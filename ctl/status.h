/* `stayctl status`: a table with a line for each pool. */
#ifndef STAYD_CTL_STATUS_H
#define STAYD_CTL_STATUS_H

#include "target.h"

/* Prints the table, and below it an error for each pool that does not answer. False if a pool does
 * not answer, refuses new keys or is read-only. */
bool status_print(const struct target_list *list);

/* Statistics of a server. A text is "" if the server does not report it. */
struct status_pool {
    char pool[64];          /* its name */
    char stayd_version[64]; /* stayd's own; `version` is that of memcached */
    char evict[8];          /* "yes" or "no" */
    char persist[8];
    char full[8];
    char read_only[8];
    uint64_t items;
    uint64_t live_bytes;
    uint64_t capacity_bytes;
    uint64_t lookups;
    uint64_t hits;
    uint64_t evictions;
};

enum stayd_status status_read(struct stayd *client, struct status_pool *status,
                              struct stayd_error *error);

#endif
