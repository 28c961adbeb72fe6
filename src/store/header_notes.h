/* What a running pool notes in the header of its data file for the next start: that it is in use,
 * about how many items there are, the clock, and that it was stopped. */
#ifndef STAYD_STORE_HEADER_NOTES_H
#define STAYD_STORE_HEADER_NOTES_H

#include "store/pool_private.h"

/* Notes what must be on the disk before the first request. */
void header_notes_begin(struct pool *pool, bool attached, bool created);

/* Notes what the next start wants to know. Where nothing has changed, nothing is written. Does
 * nothing in a volatile pool. The janitor's. */
void header_notes_update(struct pool *pool);

/* Leaves data and index so that the next start can take both as they are. */
void header_notes_stop(struct pool *pool);

#endif
