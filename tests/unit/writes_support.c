#include "writes_support.h"

#include <sched.h>

enum { ATTEMPT_MS = 60, DEADLINE_MS = 3000, HOST = 77 };

struct store store;
struct fake_engine fake;
static struct engine engine;
static struct own_writes own;
struct writes *writes;
static const struct subjects subjects = {"p", "test", 1};

/* ---- the pool's side ---- */

static bool admits_own(void *context, struct bytes key, uint64_t sequence) {
    (void)context;
    return own_writes_admit_writer(&own, key, sequence);
}

static bool admits_read(void *context, struct bytes key, uint64_t sequence) {
    (void)context;
    return own_writes_admit_reader(&own, key, sequence);
}

_Atomic uint64_t flushes[1];

static uint64_t get_flush(void *context, struct bytes key) {
    (void)context;
    (void)key;
    return atomic_load(&flushes[0]);
}

struct proposal *create_proposal(void *context, void (*wake)(void *), void *wake_context) {
    (void)context;
    return writes_create_proposal(writes, wake, wake_context);
}

void note_wake(void *context) {
    _Atomic unsigned *count = context;
    atomic_fetch_add(count, 1);
}

_Atomic unsigned woken;

static void begin(uint32_t attempt_ms, uint32_t deadline_ms) {
    struct pool_options options = store_options(16);
    options.persist = true;
    options.partitions = 1;
    store_begin(&store, options);
    fake_engine_begin(&fake, &engine);
    atomic_store(&flushes[0], 0);
    own_writes_init(&own);
    writes = writes_create(&(struct writes_options){
        .subjects = &subjects,
        .engine = &engine,
        .pool = store.pool,
        .own = &own,
        .flushes = flushes,
        .host = HOST,
        .life = {.keep_s = 1000},
        .attempt_ms = attempt_ms,
        .deadline_ms = deadline_ms,
    });
    const struct pool_replication replication = {
        .create = create_proposal,
        .release = writes_release_proposal,
        .get_flush = get_flush,
        .submit = writes_submit,
        .confirm = writes_confirm,
        .settle = writes_settle,
        .admits_own = admits_own,
        .admits_read = admits_read,
    };
    pool_set_replication(store.pool, &replication);
    store.thread.proposal = create_proposal(NULL, note_wake, &woken);
}

int writes_setup(void **state) {
    (void)state;
    begin(ATTEMPT_MS, DEADLINE_MS);
    return 0;
}

int writes_setup_patient(void **state) {
    (void)state;
    begin(60000, 60000);
    return 0;
}

int writes_teardown(void **state) {
    (void)state;
    writes_release_proposal(store.thread.proposal);
    store.thread.proposal = NULL;
    writes_stop(writes);
    writes_destroy(writes);
    assert_int_equal(atomic_load(&own.count), 0);
    own_writes_finish(&own);
    fake_engine_end(&fake);
    store_end(&store);
    return 0;
}

void settle_down(const struct proposal *proposal) {
    while (proposal_is_in_flight(proposal)) {
        sched_yield();
    }
}

enum status set_value(const char *value) {
    store_thread_refresh(&store.thread);
    return pool_store(store.pool, &store.thread, KEY,
                      &(struct pool_store){.value = bytes_from_string(value)}, NULL);
}

/* The request runs until it has a reply. */
enum status finish_set(const char *value) {
    enum status status;
    do {
        settle_down(store.thread.proposal);
        status = set_value(value);
    } while (status == STATUS_NEEDS_ROOM);
    return status;
}

/* The reader writes a record of another host, and has passed it. */
void read_record(const char *value, uint64_t sequence) {
    const struct replica replica = {.key = KEY,
                                    .value = bytes_from_string(value != NULL ? value : ""),
                                    .removed = value == NULL,
                                    .sequence = sequence};
    struct store_thread *thread = &store.thread;
    store_thread_refresh(thread);
    assert_int_equal(pool_apply(store.pool, thread, &replica, false), STATUS_OK);
    pool_note_position(store.pool, 0, sequence);
    writes_note_position(writes, 0);
}

void answer_write(const struct fake_request *request, enum engine_outcome outcome,
                  uint64_t sequence) {
    writes_take_outcome(writes, request->token, outcome, sequence);
}

void answer_find(const struct fake_request *asked, const struct fake_request *stored,
                 uint64_t sequence) {
    const struct engine_found found = {
        .is_answered = true,
        .is_there = stored != NULL,
        .sequence = sequence,
        .payload = stored != NULL ? bytes_from(stored->payload, stored->payload_size)
                                  : bytes_from(NULL, 0),
    };
    writes_take_found(writes, asked->token, &found);
}

struct fake_request expect_write(unsigned number, uint64_t expected) {
    struct fake_request request = fake_engine_wait(&fake, number);
    assert_false(request.finds);
    assert_int_equal(request.expected, expected);
    return request;
}

struct fake_request expect_confirmation(unsigned number) {
    struct fake_request request = fake_engine_wait(&fake, number);
    assert_false(request.finds);
    assert_string_equal(request.subject, "p.test.0.c.000000000000004d");
    return request;
}

struct fake_request expect_find(unsigned number) {
    struct fake_request request = fake_engine_wait(&fake, number);
    assert_true(request.finds);
    return request;
}
