/* `stayctl status`: a table with a line for each pool. */
#ifndef STAYD_CTL_STATUS_H
#define STAYD_CTL_STATUS_H

#include "target.h"

/* Prints the table, and below it why a pool does not answer. False if any does not, refuses new
 * keys or is read-only. */
bool status_print(const struct target_list *list);

/* What the server says of itself, of use beyond the table. "" is "it does not say". */
struct status_pool {
    char pool[64];          /* its name */
    char stayd_version[64]; /* its own; `version` names a memcached */
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

enum stayd_status status_read(struct stayd *client, struct status_pool *status);

#endif
