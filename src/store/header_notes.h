/* What a running pool writes into the header of its data file for the next start: that the file is
 * in use, the approximate number of items, the clock, and the clean stop. */
#ifndef STAYD_STORE_HEADER_NOTES_H
#define STAYD_STORE_HEADER_NOTES_H

#include "store/pool_private.h"

/* Marks the file as in use, and raises its sequence so that no sequence is given out twice. The
 * caller syncs the header before the first request. `attached`: the index of the last clean stop is
 * in use. `created`: the file is new. */
void header_notes_begin(struct pool *pool, bool attached, bool created);

/* Writes the number of items and the clock, if they have changed enough. Does nothing in a volatile
 * pool. Called by the janitor's thread only. */
void header_notes_update(struct pool *pool);

/* Syncs the data and writes the same stop_id into data and index, so that the next start can use
 * the index as it is. */
void header_notes_stop(struct pool *pool);

#endif
