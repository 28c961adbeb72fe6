/* What `stayctl status` and `stayctl top` show of a pool. */
#ifndef STAYD_CTL_LOOK_H
#define STAYD_CTL_LOOK_H

#include "state.h"
#include "target.h"

enum look_level { LOOK_WELL = 1, LOOK_WARNING, LOOK_FAULT }; /* also curses' colour pairs in top */

struct look {
    const struct target *target;
    const char *url; /* the address of the connection; NULL: no address answers */
    bool answered;
    bool waits; /* it does not answer, but the daemon runs: it waits for its cluster */
    struct stayd_error error; /* the reason if there is no answer */
    struct state state;
    struct advice advice[ADVICE_MAX];
    unsigned advice_count;
};

/* Asks the pool for its state. `client` is from target_open; NULL: the pool does not answer. */
void look_at(struct look *look, struct stayd *client);

/* The pool's name, or its URL if the server reports no name. */
const char *look_name(const struct look *look);

/* "DOWN" or "WAITS" if there is no answer, else state_word. */
const char *look_word(const struct look *look);

enum look_level look_level(const struct look *look);

#endif
