/* Where the first records of a log are from. A log that is new begins empty, and has no origin. One
 * that stayctl fills from a pool's file (fill.h) has a record that says so:
 *
 *     begun   it is being filled: no host may read it yet, it has a part of the sessions only
 *     done    it has all of them. A host whose pool is of an earlier log drops its items and reads
 *             this one
 *
 * Without such a record a log that is not the pool's own is never believed: it may be empty because
 * of a fault, and to read it would log everybody out. */
#ifndef STAYD_CLUSTER_ORIGIN_H
#define STAYD_CLUSTER_ORIGIN_H

#include "cluster/engine.h"
#include "cluster/subjects.h"

enum origin_state { ORIGIN_NONE, ORIGIN_BEGUN, ORIGIN_DONE };

struct origin {
    enum origin_state state;
    uint64_t source;   /* the id of the pool's file that the records are from */
    uint64_t sequence; /* of the record; 0: there is none */
};

/* Asks the partition's log. Waits some seconds at most; not RIGHT: the reason is in `error`. */
enum engine_check origin_find(const struct engine *engine, const struct subjects *subjects,
                              uint32_t partition, struct origin *origin,
                              char error[ENGINE_ERROR_MAX]);

enum { ORIGIN_TEXT_MAX = 64 };

/* The record's payload. */
struct bytes origin_write(const struct origin *origin, char text[ORIGIN_TEXT_MAX]);

/* False: it is no such record. */
bool origin_read(struct bytes payload, struct origin *origin);

#endif
