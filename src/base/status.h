/* What a function that can fail returns. One enumeration for all layers, so that a status can be
 * passed up unchanged; proto/ turns it into the reply that the memcached protocol has for it. */
#ifndef STAYD_BASE_STATUS_H
#define STAYD_BASE_STATUS_H

enum status {
    STATUS_OK,
    STATUS_NOT_FOUND,   /* no live item under this key */
    STATUS_EXISTS,      /* the item's CAS is not the one that was named */
    STATUS_NOT_STORED,  /* the condition of add, replace, append or prepend does not hold */
    STATUS_TOO_LARGE,   /* the item would be larger than the pool's item_max */
    STATUS_NO_MEMORY,   /* the pool is full and may not evict anything */
    STATUS_INDEX_FULL,  /* the pool's index needs room for a new key that run_dir does not have */
    STATUS_NON_NUMERIC, /* arithmetic on a value that is not a decimal number below 2^64 */
    STATUS_READ_ONLY,   /* the pool takes no writes since its file failed */
    STATUS_INVALID,     /* invalid input */
    STATUS_NEEDS_ROOM,  /* nothing is done: the request is to be run again (store/room.h) */
    STATUS_PENDING,     /* not yet: the write is not on the disk so far */
    STATUS_BUSY,        /* nothing is done: another client or thread uses the resource; ask again */
    STATUS_END,         /* the scan or the hold has ended */
    STATUS_IO,          /* the operating system refused; the message says what */
};

#endif
