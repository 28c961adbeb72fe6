/* A model of a pool, and random operations whose results must agree with the model.
 *
 * Each thread has keys of its own, so that the model is exact. The model is in memory that a test
 * shares with the child process that has the pool, so the model is still there when the child is
 * killed. */
#ifndef STAYD_TESTS_MODEL_H
#define STAYD_TESTS_MODEL_H

#include "store_support.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    MODEL_THREADS_MAX = 4,
    MODEL_KEYS = 1000, /* of all threads together */
    MODEL_VALUE_MAX = 6000,
    MODEL_LARGE = 50, /* one key in so many has a value of more than a page and is often touched */
};

/* The expected state of a key. Each key has two of these, so that a crash never tears the only
 * one. */
struct model_state {
    bool present;
    bool stale;
    bool token_sent;
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t size;
    uint64_t cas; /* 0: not known */
    char value[MODEL_VALUE_MAX];
};

struct model_key {
    struct model_state states[2];
    _Atomic unsigned current; /* which of the two states is valid */
};

struct model {
    struct model_key keys[MODEL_KEYS];
    _Atomic int under_way[MODEL_THREADS_MAX]; /* the key that a thread is changing; -1: none */
    _Atomic bool flush_under_way;
    _Atomic uint32_t flush_due_s; /* 0: none */
    _Atomic bool flush_due_sure;
    _Atomic uint64_t cas_max; /* the highest CAS number that was seen */
    _Atomic uint64_t operations;
    _Atomic uint64_t refused;
};

struct model_setup {
    const char *name;
    unsigned threads;
    unsigned segments;
    bool persist;
    bool evict;
    bool crash; /* true: the child is killed; false: it stops */
};

struct actor {
    struct store_thread thread;
    unsigned index;
    uint64_t random;
    char value[2 * MODEL_VALUE_MAX];
};

extern struct model *model;
extern struct store store;
extern struct model_setup model_setup;
extern uint64_t model_seed;

/* Ends the test if an operation (`what`) on this key did not do what the model says. */
#define AGREE(condition, key, what)                                                                \
    model_agree((condition), #condition, key, what, __FILE__, __LINE__)
void model_agree(bool holds, const char *condition, unsigned key, const char *what,
                 const char *file, int line);

/* The text of a key. The keys have different lengths, up to the longest. */
struct bytes model_key_text(char text[POOL_KEY_MAX], unsigned key);

/* The current state of a key, and the state that a change will give to it. */
struct model_state *model_now(unsigned key);
struct model_state *model_next(unsigned key);

bool model_is_visible(const struct model_state *state, uint32_t now_s);
bool model_is_there(struct actor *actor, unsigned key);
bool model_item_is(const struct item *item, const struct model_state *state);

/* Begins a change: returns the key's next state, which is at first a copy of its current state. A
 * crash between model_announce and model_end may leave either state. */
struct model_state *model_begin(struct actor *actor, unsigned key);
void model_announce(struct actor *actor, unsigned key);
void model_end(struct actor *actor, unsigned key, bool changed);

/* In a pool that evicts, an item may be evicted at any time. */
void model_forget(struct actor *actor, unsigned key);

void model_note_cas(unsigned key, const char *what, const struct item *item,
                    struct model_state *next);

/* Reads a key and compares it with the model. */
void model_get(struct actor *actor, unsigned key, const char *what);

/* An operation of any kind, on any of the actor's keys. */
void model_operate(struct actor *actor);

#endif
