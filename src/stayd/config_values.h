/* Formats a configuration as text, key by key, for the log. Equal values have equal text, even if
 * the file spells them differently (65536K becomes 64M). Main thread only. */
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

/* The values of all keys of [server], and of one pool, in a fixed order. */
void config_values_of_server(const struct config *config, struct config_values *values);
void config_values_of_pool(const struct config_pool *pool, struct config_values *values);

#endif
