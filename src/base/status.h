/* What a function that can fail returns. One enumeration for all layers, so that a status can be
 * passed up unchanged; proto/ chooses the memcached protocol's reply for each status. */
#ifndef STAYD_BASE_STATUS_H
#define STAYD_BASE_STATUS_H

enum status {
    STATUS_OK,
    STATUS_NOT_FOUND,   /* no live item under this key */
    STATUS_EXISTS,      /* the item's CAS differs from the CAS in the request */
    STATUS_NOT_STORED,  /* the condition of add, replace, append or prepend does not hold */
    STATUS_TOO_LARGE,   /* the item would be larger than the pool's item_max */
    STATUS_NO_MEMORY,   /* the pool is full, or the system has no memory */
    STATUS_INDEX_FULL,  /* the pool's index cannot grow for a new key: run_dir has no room */
    STATUS_NON_NUMERIC, /* arithmetic on a value that is not a decimal number below 2^64 */
    STATUS_READ_ONLY,   /* a sync of its file failed: the pool takes no more writes */
    STATUS_INVALID,     /* invalid input */
    STATUS_NEEDS_ROOM,  /* nothing was done: run the request again later (store/room.h), also when
                         * its change is on the way to the log (store/replication.h) */
    STATUS_UNAVAILABLE, /* the log of a replicated pool did not answer: the outcome is unknown */
    STATUS_UNSUPPORTED, /* a replicated pool cannot do this */
    STATUS_PENDING,     /* the write is not on the disk yet */
    STATUS_BUSY,        /* nothing was done: another client or thread uses the resource */
    STATUS_END,         /* the scan or the hold has ended */
    STATUS_IO,          /* the operating system refused; the message says what */
};

#endif
