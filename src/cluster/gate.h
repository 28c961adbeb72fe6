/* An engine that can be used before there is one. The pool's writes, its reader and its flusher
 * have the gate's engine from the start; nothing passes while the gate is shut, as if no node could
 * be reached.
 *
 *     shut      nothing passes
 *     opened    the real engine is there: its logs can be checked
 *     joined    the logs are the right ones: writes pass, too
 *
 * One thread opens and joins; any thread uses the engine. */
#ifndef STAYD_CLUSTER_GATE_H
#define STAYD_CLUSTER_GATE_H

#include "cluster/engine.h"

#include <stdatomic.h>

struct gate {
    struct engine inner; /* valid when `opened` is set */
    _Atomic bool opened;
    _Atomic bool joined;
};

/* Sets `engine`, which uses the gate from now on. Its `close` closes the real engine, if there is
 * one. */
void gate_init(struct gate *gate, struct engine *engine);

/* `gate->inner` has been set. */
void gate_open(struct gate *gate);

void gate_join(struct gate *gate);

#endif
