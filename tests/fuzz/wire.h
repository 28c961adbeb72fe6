/* The simulated socket and disk of one connection: the calls of recv, send and shutdown in the code
 * under test come here (the linker's --wrap), and so do the pool's tickets.
 *
 *     client --arrive--> unread --recv--> connection --send--> heard, as far as the client takes it
 *
 * Checks that nothing is sent while a ticket is not done, because that would acknowledge a write
 * that is not on the disk. */
#ifndef STAYD_TESTS_FUZZ_WIRE_H
#define STAYD_TESTS_FUZZ_WIRE_H

#include "base/buffer.h"

#include <stdint.h>

struct wire {
    struct bytes unread; /* has arrived */
    bool shut;           /* the client has shut its sending side */
    bool reset;          /* the client is gone */
    struct buffer heard;
    bool takes_all;
    size_t takes; /* how many bytes the client takes, if not all */
    bool ended;   /* the daemon has shut its side down */

    bool holding;     /* each batch of requests counts as a write that waits for the disk */
    uint64_t tickets; /* given out */
    uint64_t done;
    bool sync_failed;
};

/* The only instance. */
extern struct wire wire;

void wire_restart(void);

/* Whether a send would accept a byte. */
bool wire_is_writable(void);

#endif
