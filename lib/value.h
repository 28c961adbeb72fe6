/* The memory of values. No state of its own. */
#ifndef STAYD_LIB_VALUE_H
#define STAYD_LIB_VALUE_H

#include "channel.h"
#include "stayd.h"

#include <stdbool.h>
#include <stdint.h>

/* Makes room for a value of `size` bytes and a zero, and sets its size. Bytes that the value has
 * already are kept. False if memory is short. */
bool value_reserve(struct stayd_value *value, size_t size);

/* Receives a value of `size` bytes. The memory of a large value is allocated as its bytes arrive,
 * so that a header alone allocates at most 1 MiB. False after a fault of the channel. */
bool value_receive(struct stayd_value *value, struct channel *channel, uint64_t size);

#endif
