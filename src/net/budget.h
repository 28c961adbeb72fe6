/* What all connections together may own of memory: the requests that have not wholly arrived, and
 * the replies that their clients have not taken. Every byte of a connection's own buffers is taken
 * from here and given back here, so the figures in `stats` are exact.
 *
 * Beyond the limit, of which a part is kept for each pool (net/share.h), whoever asks for a large
 * piece is refused, and no one else is harmed: up to
 * BUDGET_SMALL_BYTES a connection always gets (if the system has it), so ordinary requests go on
 * while a few clients fill the budget with large ones.
 *
 * Any thread may call, each for buffers of its own. */
#ifndef STAYD_NET_BUDGET_H
#define STAYD_NET_BUDGET_H

#include "base/buffer.h"
#include "proto/server.h"

enum { BUDGET_SMALL_BYTES = 16 << 10 };

/* Counts a connection that is closed because there was no more. */
void budget_count_refused(struct proto_memory *memory, unsigned kind);

/* Makes room for `more` bytes in the buffer; false if there is none. The
 * kind is PROTO_MEMORY_INPUT or PROTO_MEMORY_OUTPUT, and always the same for one buffer. */
bool budget_reserve(struct proto_service *service, unsigned kind, struct buffer *buffer,
                    size_t more);

/* Reserves and copies to the end. */
bool budget_append(struct proto_service *service, unsigned kind, struct buffer *buffer,
                   const void *data, size_t size);

/* Whether a line in the log may tell of a refusal now: one does in ten seconds, however many there
 * are. */
bool budget_may_warn(struct proto_memory *memory);

/* Frees the buffer. Accepts an empty one. */
void budget_release(struct proto_service *service, unsigned kind, struct buffer *buffer);

#endif
