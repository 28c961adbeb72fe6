#include "process.h"

#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROCESS_PAGE = 4096 };

bool process_init(struct process *process) {
    void *page =
        mmap(NULL, PROCESS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return false;
    }
    process->word = page;
    process->is_wiped = madvise(page, PROCESS_PAGE, MADV_WIPEONFORK) == 0;
    process_end_renewal(process);
    return true;
}

void process_finish(struct process *process) {
    if (process->word != NULL) {
        munmap((void *)process->word, PROCESS_PAGE);
    }
    *process = (struct process){0};
}

/* The two values of the page's word: for a process that is ready, and (process_renewing) while a
 * thread renews the parent's state after a fork. */
static int process_ready(const struct process *process) {
    return process->is_wiped ? PROCESS_READY : (int)getpid();
}

static int process_renewing(const struct process *process) {
    return process->is_wiped ? PROCESS_RENEWING : -(int)getpid();
}

bool process_has_same_id(const struct process *process) {
    return atomic_load_explicit(process->word, memory_order_acquire) == (int)getpid();
}

bool process_begin_renewal(const struct process *process) {
    int ready = process_ready(process);
    int renewing = process_renewing(process);
    for (;;) {
        int word = atomic_load(process->word);
        if (word == ready) {
            return false;
        }
        if (word != renewing) {
            if (atomic_compare_exchange_strong(process->word, &word, renewing)) {
                return true;
            }
        } else {
            sched_yield();
        }
    }
}

void process_end_renewal(const struct process *process) {
    atomic_store_explicit(process->word, process_ready(process), memory_order_release);
}
