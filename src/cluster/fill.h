/* Fills the logs of a cluster with the items of a pool's file: for stayctl, which is alone with the
 * logs meanwhile.
 *
 *     fill_compare   reads what the logs have: what an earlier, interrupted run has written
 *     fill_begin     a note in each log that it is being filled (origin.h): hosts wait
 *     fill_put       each live item: a record under the condition that there is none
 *     fill_settle    waits for the answers
 *     fill_end       a note in each log that it is complete: hosts read it
 *
 * Every step may be made again after a crash. A record's write id names the file that it is from;
 * so a later run finds its own records, changes those whose items have changed since, and removes
 * those whose items have ended. */
#ifndef STAYD_CLUSTER_FILL_H
#define STAYD_CLUSTER_FILL_H

#include "cluster/engine.h"
#include "cluster/message.h"
#include "cluster/origin.h"
#include "cluster/subjects.h"
#include "store/replication.h"

#include <stdbool.h>
#include <stdint.h>

struct fill_options {
    const struct subjects *subjects; /* these live longer */
    struct engine *engine;           /* opened with fill_callbacks */
    uint64_t source;                 /* the id of the pool's file */
    struct message_life life;
    bool keeps_foreign; /* what others have written stays, and wins; false: it is an error */
    /* Looks an item of the file up. False: there is none. */
    bool (*find)(void *context, struct bytes key, struct replica *item);
    void *context;
    void (*progress)(void *context); /* called often; may be NULL */
};

struct fill_stats {
    uint64_t stored;
    uint64_t present; /* the log had the item already */
    uint64_t removed; /* of an earlier run: the item has ended since */
    uint64_t foreign; /* what others have written, and stays */
};

struct fill;

/* NULL: no memory. The engine is opened afterwards. Accepts NULL in fill_destroy, after the engine
 * was closed. */
struct fill *fill_create(const struct fill_options *options);
void fill_destroy(struct fill *fill);

/* What the engine is opened with. */
struct engine_callbacks fill_callbacks(struct fill *fill);

/* Each returns false with the reason in `error`: run all again later. */
bool fill_compare(struct fill *fill, char error[ENGINE_ERROR_MAX]);
bool fill_begin(struct fill *fill, char error[ENGINE_ERROR_MAX]);
bool fill_put(struct fill *fill, const struct replica *item, char error[ENGINE_ERROR_MAX]);
bool fill_settle(struct fill *fill, char error[ENGINE_ERROR_MAX]);
bool fill_end(struct fill *fill, char error[ENGINE_ERROR_MAX]);

void fill_get_stats(const struct fill *fill, struct fill_stats *stats);

#endif
