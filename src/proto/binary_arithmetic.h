/* increment and decrement of the binary protocol.
 *
 *     extras: | delta (8) | initial (8) | expiry (4) |     a key that is not there gets the initial
 *                                                          number, unless the expiry is all ones
 */
#ifndef STAYD_PROTO_BINARY_ARITHMETIC_H
#define STAYD_PROTO_BINARY_ARITHMETIC_H

#include "proto/binary.h"

enum binary_arithmetic_variant { BINARY_ARITHMETIC_INCREMENT, BINARY_ARITHMETIC_DECREMENT };

binary_handler binary_arithmetic_run;

#endif
