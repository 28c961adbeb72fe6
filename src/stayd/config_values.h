/* A configuration as text again, key by key, for people: one spelling for one meaning, whatever it
 * was written as (64M and 65536K are both 64M). Main thread only. */
#ifndef STAYD_STAYD_CONFIG_VALUES_H
#define STAYD_STAYD_CONFIG_VALUES_H

#include "stayd/config.h"

enum { CONFIG_VALUE_BYTES = 1 << 12 /* a path, or CONFIG_LISTENS_MAX addresses */ };

struct config_value {
    const char *key;
    char text[CONFIG_VALUE_BYTES];
};

struct config_values {
    struct config_value items[CONFIG_KEYS_MAX];
    unsigned count;
};

/* The keys of [server], and of one pool: always the same ones in the same order. */
void config_values_of_server(const struct config *config, struct config_values *values);
void config_values_of_pool(const struct config_pool *pool, struct config_values *values);

#endif
