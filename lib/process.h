/* Detects forks. A child must not use its parent's connections, and a system call for each request
 * would cost too much. So a word in a page shows a fork: the kernel zeroes this page in every
 * child, even if the child was forked without the C library (MADV_WIPEONFORK, Linux 4.14). If the
 * kernel cannot do that, the page holds the process id, and each request compares this id with its
 * own. */
#ifndef STAYD_LIB_PROCESS_H
#define STAYD_LIB_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>

struct process {
    _Atomic int *word; /* the page */
    bool is_wiped;     /* the kernel zeroes the page on a fork */
};

enum { PROCESS_READY = 1, PROCESS_RENEWING = 2 }; /* 0: zeroed by a fork */

/* False if memory is short. */
bool process_init(struct process *process);

/* Accepts a zeroed struct. */
void process_finish(struct process *process);

/* Like process_is_same, for a kernel that does not zero the page on a fork. */
bool process_has_same_id(const struct process *process);

/* True if this is the process that called process_init, or, in a child, process_end_renewal. */
static inline bool process_is_same(const struct process *process) {
    /* acquire: pairs with the release in process_end_renewal */
    return process->is_wiped
               ? atomic_load_explicit(process->word, memory_order_acquire) == PROCESS_READY
               : process_has_same_id(process);
}

/* Called by threads of a child. One of them gets true: it must renew the parent's state and call
 * process_end_renewal. The others wait for that and get false. */
bool process_begin_renewal(const struct process *process);

void process_end_renewal(const struct process *process);

#endif
