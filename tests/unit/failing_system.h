/* System calls on the simulated disk (disk.h), one of which fails: the store's n-th sync,
 * allocation, write, truncation or mapping from now on. */
#ifndef STAYD_TESTS_FAILING_SYSTEM_H
#define STAYD_TESTS_FAILING_SYSTEM_H

#include "simulation.h"

#include <stdatomic.h>
#include <stdbool.h>

enum call { CALL_SYNC, CALL_ALLOCATE, CALL_WRITE, CALL_PUNCH, CALL_MAP, CALLS };

extern const char *const call_names[CALLS];

/* Which call fails, and how. */
struct fault {
    enum call call;
    unsigned number; /* from 1 on; 0: none */
    int error;       /* 0: the call does a part of its work (write) */
};

struct failing_system {
    struct simulation *simulation;
    struct fault planned;
    _Atomic unsigned made[CALLS];
    _Atomic bool happened;
    _Atomic unsigned syncs_since; /* calls since the failure */
};

extern struct failing_system system_state;

void plan_fault(struct simulation *simulation, struct fault fault);
void mend_system(void);
bool fault_happened(void);

#endif
