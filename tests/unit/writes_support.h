/* Shared by the tests of cluster/writes: a replicated pool whose log is the fake engine. The tests
 * play the engine and the reader. */
#ifndef STAYD_TESTS_WRITES_SUPPORT_H
#define STAYD_TESTS_WRITES_SUPPORT_H

#include "cluster_support.h"

#include "cluster/writes.h"

#define KEY bytes_from_string("k")

extern struct store store;
extern struct fake_engine fake;
extern struct writes *writes;
extern _Atomic uint64_t flushes[1];
extern _Atomic unsigned woken;

int writes_setup(void **state);
int writes_setup_patient(void **state); /* no answer is late */
int writes_teardown(void **state);

void note_wake(void *context);
struct proposal *create_proposal(void *context, void (*wake)(void *), void *wake_context);
void settle_down(const struct proposal *proposal);

enum status set_value(const char *value);

/* The request runs until it has a reply. */
enum status finish_set(const char *value);

/* The reader writes a record of another host, and has passed it; NULL: a tombstone. */
void read_record(const char *value, uint64_t sequence);

void answer_write(const struct fake_request *request, enum engine_outcome outcome,
                  uint64_t sequence);

/* `stored`: the write whose record is found there; NULL: there is none. */
void answer_find(const struct fake_request *asked, const struct fake_request *stored,
                 uint64_t sequence);

struct fake_request expect_write(unsigned number, uint64_t expected);
struct fake_request expect_confirmation(unsigned number);
struct fake_request expect_find(unsigned number);

#endif
