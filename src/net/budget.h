/* Limits the memory that all connections together own: requests that have not arrived completely,
 * and replies that clients have not read. Every byte of a connection's own buffers is taken and
 * given back here, so the figures in `stats` are exact.
 *
 * A part of the limit is reserved for each pool (net/share.h). Beyond the limit only large buffers
 * are refused: a connection always gets up to BUDGET_SMALL_BYTES, if the system has the memory. So
 * ordinary requests go on while a few clients fill the budget with large ones.
 *
 * Any thread may call, for its own buffers. */
#ifndef STAYD_NET_BUDGET_H
#define STAYD_NET_BUDGET_H

#include "base/buffer.h"
#include "proto/server.h"

enum { BUDGET_SMALL_BYTES = 16 << 10 };

/* Counts a connection that is closed because it got no more memory. */
void budget_count_refused(struct proto_memory *memory, unsigned kind);

/* Makes room for `more` bytes in the buffer. False if the budget or the system has no memory.
 * `kind` is PROTO_MEMORY_INPUT or PROTO_MEMORY_OUTPUT, always the same for one buffer. */
bool budget_reserve(struct proto_service *service, unsigned kind, struct buffer *buffer,
                    size_t more);

/* Makes room, and appends a copy of the data. */
bool budget_append(struct proto_service *service, unsigned kind, struct buffer *buffer,
                   const void *data, size_t size);

/* Whether a refusal may be logged now: at most one in ten seconds, however many there are. */
bool budget_may_warn(struct proto_memory *memory);

/* Frees the buffer. Accepts an empty one. */
void budget_release(struct proto_service *service, unsigned kind, struct buffer *buffer);

#endif
