/* The memory of values. No state of its own. */
#ifndef STAYD_LIB_VALUE_H
#define STAYD_LIB_VALUE_H

#include "channel.h"
#include "stayd.h"

#include <stdbool.h>
#include <stdint.h>

/* Makes room for a value of `size` bytes and a zero, and gives it that size; what it has stays.
 * False if memory is short. */
bool value_reserve(struct stayd_value *value, size_t size);

/* Receives a value of `size` bytes. Of a large one the memory is taken as the bytes come, so that a
 * header alone costs none. False after a fault of the channel. */
bool value_receive(struct stayd_value *value, struct channel *channel, uint64_t size);

#endif
