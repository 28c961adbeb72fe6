/* Random operations against a model: what the pool says after each must be what the model says.
 *
 * Each thread has keys of its own, so that the model is exact; the pool is small, so that the
 * janitor moves, evicts and frees all the time. The pool lives in a child process, the model in
 * memory that parent and child share: the child is killed at a random moment, or stops, and another
 * goes on with the same model. An operation that the crash interrupted may have happened or not;
 * all others must have.
 *
 *     STAYD_MODEL_SECONDS   how long all of it may take, about (3)
 *     STAYD_MODEL_SEED      as printed by a run that failed */
#include "store_support.h"

#include "base/clock.h"
#include "base/number.h"
#include "store/pool_private.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 4,
    KEYS = 1000, /* of all threads together */
    VALUE_MAX = 3000,
    PHASE_OPERATIONS = 300, /* of a thread, between two of the main thread's */
};

/* What a key is to be. Two of each, so that a crash never tears the only one. */
struct state {
    bool present;
    bool stale;
    bool token_sent;
    uint32_t client_flags;
    uint32_t expiry_s;
    uint32_t size;
    uint64_t cas; /* 0: not known */
    char value[VALUE_MAX];
};

struct model_key {
    struct state states[2];
    _Atomic unsigned current; /* which of them holds */
};

struct model {
    struct model_key keys[KEYS];
    _Atomic int under_way[THREADS_MAX]; /* the key that a thread is changing; -1: none */
    _Atomic bool flush_under_way;
    _Atomic uint32_t flush_due_s; /* 0: none */
    _Atomic bool flush_due_sure;
    _Atomic uint64_t cas_max; /* the highest that was seen */
    _Atomic uint64_t operations;
    _Atomic uint64_t refused;
};

struct setup {
    const char *name;
    unsigned threads;
    unsigned segments;
    bool persist;
    bool evict;
    bool crash; /* the child is killed; else it stops */
};

static struct model *model;
static struct store store;
static struct setup setup;
static uint64_t seed;

struct actor {
    struct store_thread thread;
    unsigned index;
    uint64_t random;
    char value[2 * VALUE_MAX];
};

static const char *operation_names[] = {
    "get",   "set",   "add",    "replace",       "append",     "prepend", "set if cas",
    "touch", "count", "delete", "delete if cas", "invalidate", "fetch",   "read another's"};
enum operation {
    OPERATION_GET,
    OPERATION_SET,
    OPERATION_ADD,
    OPERATION_REPLACE,
    OPERATION_APPEND,
    OPERATION_PREPEND,
    OPERATION_CAS,
    OPERATION_TOUCH,
    OPERATION_COUNT,
    OPERATION_DELETE,
    OPERATION_DELETE_CAS,
    OPERATION_INVALIDATE,
    OPERATION_FETCH,
    OPERATION_READ_OTHER,
    OPERATIONS
};

#define AGREE(condition, key, what) agree((condition), #condition, key, what, __LINE__)
static void agree(bool holds, const char *condition, unsigned key, const char *what, int line) {
    if (!holds) {
        fprintf(stderr, "%s, seed %llu: key %u, %s: does not hold: ", setup.name,
                (unsigned long long)seed, key, what);
        expect(false, condition, __FILE__, line);
    }
}

static struct bytes key_text(char text[POOL_KEY_MAX], unsigned key) {
    /* Of different lengths, up to the longest. */
    size_t size = (size_t)snprintf(text, POOL_KEY_MAX, "key-%u-", key);
    size_t length = key % 7 == 0 ? 60 + key * 13 % 190 : size;
    while (size < length) {
        text[size++] = 'x';
    }
    return bytes_from(text, size);
}

static struct state *now_state(unsigned key) {
    return &model->keys[key].states[atomic_load(&model->keys[key].current)];
}

static struct state *next_state(unsigned key) {
    return &model->keys[key].states[!atomic_load(&model->keys[key].current)];
}

static bool is_visible(const struct state *state, uint32_t now_s) {
    return state->present && (state->expiry_s == 0 || state->expiry_s > now_s);
}

static bool item_is(const struct item *item, const struct state *state) {
    return bytes_equal(item->value, bytes_from(state->value, state->size)) &&
           item->client_flags == state->client_flags && item->expiry_s == state->expiry_s &&
           item->stale == state->stale && item->token_sent == state->token_sent &&
           (state->cas == 0 || item->cas == state->cas);
}

static uint32_t any_expiry(struct actor *actor) {
    uint32_t now_s = actor->thread.now_s;
    switch (random_below(&actor->random, 8)) {
    case 0:
    case 1:
        return 0;
    case 2:
        return now_s + 1 + random_below(&actor->random, 6);
    case 3:
        return now_s + random_below(&actor->random, 400);
    case 4:
        return now_s + 1000 + random_below(&actor->random, 80000);
    case 5:
        return random_below(&actor->random, 5) == 0 ? 1 : now_s + 2;
    default:
        return now_s + 100000 + random_below(&actor->random, 3000000);
    }
}

static uint32_t any_size(struct actor *actor) {
    return random_below(&actor->random, 6) == 0 ? random_below(&actor->random, VALUE_MAX - 20)
                                                : random_below(&actor->random, 900);
}

static void fill_value(struct actor *actor, struct state *state) {
    state->size = any_size(actor);
    if (random_below(&actor->random, 5) == 0) {
        state->size = (uint32_t)number_format_u64(random_next(&actor->random) >> 40, state->value);
    } else {
        number_value(state->value, state->size, (unsigned)random_next(&actor->random), 0);
    }
}

/* Begins a change from the state as it is: fills in what it is to be. */
static struct state *begin(struct actor *actor, unsigned key) {
    struct state *next = next_state(key);
    *next = *now_state(key);
    next->cas = 0;
    (void)actor;
    return next;
}

static void note_cas(unsigned key, const char *what, const struct item *item, struct state *next) {
    uint64_t seen = atomic_load(&model->cas_max);
    AGREE(item->cas != 0, key, what);
    next->cas = item->cas;
    while (seen < item->cas && !atomic_compare_exchange_weak(&model->cas_max, &seen, item->cas)) {
    }
}

/* From here to `end`, either state may be what a crash leaves. */
static void announce(struct actor *actor, unsigned key) {
    atomic_store(&model->under_way[actor->index], (int)key);
}

static void end(struct actor *actor, unsigned key, bool changed) {
    if (changed) {
        atomic_fetch_xor(&model->keys[key].current, 1);
    }
    atomic_store(&model->under_way[actor->index], -1);
}

/* In a pool that evicts, an item may have gone at any time. */
static void forget(struct actor *actor, unsigned key) {
    struct state *next = begin(actor, key);
    next->present = false;
    end(actor, key, true);
}

static bool is_there(struct actor *actor, unsigned key) {
    return is_visible(now_state(key), actor->thread.now_s);
}

/* What is refused for want of room changes nothing, and may be refused only where that is allowed.
 */
static bool was_refused(enum status status, bool there, unsigned key, const char *what) {
    if (status != STATUS_NO_MEMORY) {
        return false;
    }
    AGREE(!setup.evict, key, what);
    AGREE(!there, key, what); /* updates go on */
    atomic_fetch_add(&model->refused, 1);
    return true;
}

static void do_get(struct actor *actor, unsigned key, const char *what) {
    char text[POOL_KEY_MAX];
    struct item item;
    enum status status = pool_get(store.pool, &actor->thread, key_text(text, key), &item);
    bool there = is_there(actor, key);
    if (status == STATUS_OK) {
        AGREE(there, key, what);
        AGREE(item_is(&item, now_state(key)), key, what);
    } else if (there) {
        AGREE(setup.evict, key, what);
        forget(actor, key);
    }
}

static void do_store(struct actor *actor, unsigned key, enum operation operation,
                     const char *what) {
    static const enum pool_store_mode modes[] = {
        [OPERATION_SET] = POOL_SET,       [OPERATION_CAS] = POOL_SET,
        [OPERATION_ADD] = POOL_ADD,       [OPERATION_REPLACE] = POOL_REPLACE,
        [OPERATION_APPEND] = POOL_APPEND, [OPERATION_PREPEND] = POOL_PREPEND};
    char text[POOL_KEY_MAX];
    bool there = is_there(actor, key);
    const struct state *old = now_state(key);
    struct state *next = begin(actor, key);
    struct pool_store request = {.mode = modes[operation], .expiry_s = any_expiry(actor)};
    bool joins = operation == OPERATION_APPEND || operation == OPERATION_PREPEND;
    if (joins) {
        uint32_t size = random_below(&actor->random, 200);
        if (old->size + size > VALUE_MAX) {
            return;
        }
        number_value(actor->value, size, (unsigned)random_next(&actor->random), 1);
        request.value = bytes_from(actor->value, size);
        if (operation == OPERATION_APPEND) {
            memcpy(next->value + old->size, actor->value, size);
        } else {
            memcpy(next->value, actor->value, size);
            memcpy(next->value + size, old->value, old->size);
        }
        next->size = old->size + size;
    } else {
        fill_value(actor, next);
        request.value = bytes_from(next->value, next->size);
        request.client_flags =
            random_below(&actor->random, 2) ? (uint32_t)random_next(&actor->random) : 0;
        next->client_flags = request.client_flags;
        next->expiry_s = request.expiry_s;
    }
    next->stale = false;
    next->token_sent = false;
    next->present = true;
    bool right_cas = old->cas != 0 && random_below(&actor->random, 4) != 0;
    if (operation == OPERATION_CAS) {
        request.compare_cas = true;
        request.cas = right_cas ? old->cas : random_next(&actor->random);
    }
    announce(actor, key);
    struct item item;
    enum status status =
        pool_store(store.pool, &actor->thread, key_text(text, key), &request, &item);
    if (setup.evict && there &&
        (status == STATUS_NOT_FOUND ||
         (status == STATUS_NOT_STORED && operation != OPERATION_ADD) ||
         (status == STATUS_OK && operation == OPERATION_ADD))) {
        there = false;
    }
    bool stored = false;
    switch (operation) {
    case OPERATION_ADD:
        stored = !there;
        break;
    case OPERATION_SET:
        stored = true;
        break;
    case OPERATION_CAS:
        stored = there && right_cas;
        break;
    default:
        stored = there;
        break;
    }
    if (stored && was_refused(status, there, key, what)) {
        end(actor, key, false);
        return;
    }
    enum status expected = stored                                ? STATUS_OK
                           : operation == OPERATION_CAS && there ? STATUS_EXISTS
                           : operation == OPERATION_CAS          ? STATUS_NOT_FOUND
                                                                 : STATUS_NOT_STORED;
    AGREE(status == expected, key, what);
    if (status == STATUS_OK) {
        note_cas(key, what, &item, next);
    }
    next->present = stored || there;
    if (!stored) {
        if (!there && old->present) {
            next->present = false;
            end(actor, key, true);
            return;
        }
        end(actor, key, false);
        return;
    }
    end(actor, key, true);
}

static void do_touch(struct actor *actor, unsigned key, bool fetch, const char *what) {
    char text[POOL_KEY_MAX];
    bool there = is_there(actor, key);
    struct state *next = begin(actor, key);
    next->cas = now_state(key)->cas;
    struct pool_fetch request = {
        .touch = !fetch || random_below(&actor->random, 2),
        .touch_expiry_s = any_expiry(actor),
        .recache = fetch && random_below(&actor->random, 2),
        .recache_s = random_below(&actor->random, 1000),
        .create = fetch && random_below(&actor->random, 2),
        .create_expiry_s = any_expiry(actor),
        .win_stale = fetch,
    };
    if (request.touch) {
        next->expiry_s = request.touch_expiry_s;
    }
    uint32_t now_s = actor->thread.now_s;
    bool soon = request.recache && next->expiry_s != 0 &&
                next->expiry_s < (uint64_t)now_s + request.recache_s;
    bool won = !next->token_sent && ((request.win_stale && next->stale) || soon);
    next->token_sent = next->token_sent || won;
    struct state created = {.present = true, .expiry_s = request.create_expiry_s};
    created.token_sent = true;
    if (!there) {
        *next = request.create ? created : *next;
    }
    announce(actor, key);
    struct pool_fetched fetched;
    enum status status =
        pool_fetch(store.pool, &actor->thread, key_text(text, key), &request, &fetched);
    if (setup.evict && there && (status == STATUS_NOT_FOUND || fetched.created)) {
        there = false;
        *next = request.create ? created : *next;
    }
    if (was_refused(status, there, key, what)) {
        end(actor, key, false);
        return;
    }
    AGREE(status == (there || request.create ? STATUS_OK : STATUS_NOT_FOUND), key, what);
    if (status != STATUS_OK) {
        next->present = false;
        end(actor, key, true);
        return;
    }
    AGREE(fetched.created == !there, key, what);
    AGREE(fetched.won == (won || !there), key, what);
    AGREE(item_is(&fetched.item, next) || !is_visible(next, now_s), key, what);
    if (!there) {
        note_cas(key, what, &fetched.item, next);
    }
    end(actor, key, true);
}

static void do_count(struct actor *actor, unsigned key, const char *what) {
    char text[POOL_KEY_MAX];
    bool there = is_there(actor, key);
    struct state *next = begin(actor, key);
    uint64_t before;
    bool numeric = number_parse_u64(bytes_from(next->value, next->size), &before);
    if (there && !numeric) {
        return; /* what counts as a number is for the tests of operations */
    }
    struct pool_arithmetic request = {
        .delta = random_next(&actor->random) >> 34,
        .decrement = random_below(&actor->random, 2),
    };
    uint64_t after = !request.decrement       ? before + request.delta
                     : before > request.delta ? before - request.delta
                                              : 0;
    uint32_t old_size = next->size;
    next->size = (uint32_t)number_format_u64(after, next->value);
    while (next->size < old_size) {
        next->value[next->size++] = ' ';
    }
    announce(actor, key);
    uint64_t number;
    struct pool_fetched fetched;
    enum status status = pool_arithmetic(store.pool, &actor->thread, key_text(text, key), &request,
                                         &number, &fetched);
    if (status == STATUS_NOT_FOUND && (!there || setup.evict)) {
        next->present = false;
        end(actor, key, true);
        return;
    }
    AGREE(status == STATUS_OK && there, key, what);
    AGREE(number == after, key, what);
    AGREE(item_is(&fetched.item, next), key, what);
    note_cas(key, what, &fetched.item, next);
    end(actor, key, true);
}

static void do_delete(struct actor *actor, unsigned key, enum operation operation,
                      const char *what) {
    char text[POOL_KEY_MAX];
    bool there = is_there(actor, key);
    const struct state *old = now_state(key);
    struct state *next = begin(actor, key);
    bool right_cas = old->cas != 0 && random_below(&actor->random, 4) != 0;
    struct pool_delete request = {0};
    if (operation == OPERATION_DELETE_CAS) {
        request.compare_cas = true;
        request.cas = right_cas ? old->cas : random_next(&actor->random);
    }
    if (operation == OPERATION_INVALIDATE) {
        request.invalidate = true;
        request.touch = random_below(&actor->random, 2);
        request.touch_expiry_s = any_expiry(actor);
        next->stale = true;
        next->token_sent = false;
        next->expiry_s = request.touch ? request.touch_expiry_s : next->expiry_s;
    } else {
        next->present = false;
    }
    announce(actor, key);
    enum status status = pool_delete(store.pool, &actor->thread, key_text(text, key), &request);
    if (status == STATUS_NOT_FOUND) {
        AGREE(!there || setup.evict, key, what);
        next->present = false;
        end(actor, key, true);
        return;
    }
    AGREE(there, key, what);
    bool wrong = operation == OPERATION_DELETE_CAS && !right_cas;
    AGREE(status == (wrong ? STATUS_EXISTS : STATUS_OK), key, what);
    end(actor, key, !wrong);
}

/* Whatever it is, it is whole: that memory can be read is all that can be said here. */
static void do_read_other(struct actor *actor) {
    char text[POOL_KEY_MAX];
    struct item item;
    unsigned key = random_below(&actor->random, KEYS);
    if (pool_get(store.pool, &actor->thread, key_text(text, key), &item) == STATUS_OK) {
        volatile unsigned sum = 0;
        for (size_t i = 0; i < item.value.size; i++) {
            sum += (unsigned char)item.value.data[i];
        }
        (void)sum;
    }
}

static void operate(struct actor *actor) {
    unsigned per_thread = KEYS / setup.threads;
    unsigned key = actor->index * per_thread + random_below(&actor->random, per_thread);
    enum operation operation = (enum operation)random_below(&actor->random, OPERATIONS);
    const char *what = operation_names[operation];
    if (random_below(&actor->random, 4) == 0) {
        store_thread_refresh(&actor->thread); /* a batch of some operations */
    }
    switch (operation) {
    case OPERATION_GET:
        do_get(actor, key, what);
        break;
    case OPERATION_SET:
    case OPERATION_ADD:
    case OPERATION_REPLACE:
    case OPERATION_APPEND:
    case OPERATION_PREPEND:
    case OPERATION_CAS:
        do_store(actor, key, operation, what);
        break;
    case OPERATION_TOUCH:
    case OPERATION_FETCH:
        do_touch(actor, key, operation == OPERATION_FETCH, what);
        break;
    case OPERATION_COUNT:
        do_count(actor, key, what);
        break;
    case OPERATION_DELETE:
    case OPERATION_DELETE_CAS:
    case OPERATION_INVALIDATE:
        do_delete(actor, key, operation, what);
        break;
    default:
        do_read_other(actor);
        break;
    }
}

/* ---- phases: all threads work; then one of them alone does what concerns all keys ---- */

static void forget_all(void) {
    for (unsigned key = 0; key < KEYS; key++) {
        now_state(key)->present = false;
    }
}

static void verify_all(struct actor *actor, const char *what) {
    for (unsigned key = 0; key < KEYS; key++) {
        store_thread_refresh(&actor->thread);
        do_get(actor, key, what);
    }
}

static void flush_due(struct actor *actor) {
    uint32_t due_s = atomic_load(&model->flush_due_s);
    if (due_s != 0 && due_s <= clock_now_s()) {
        store_thread_refresh(&actor->thread);
        pool_tick(store.pool, &actor->thread);
        forget_all();
        atomic_store(&model->flush_due_s, 0);
        verify_all(actor, "after the flush that was due");
    }
}

static void flush_at_once(struct actor *actor) {
    atomic_store(&model->flush_under_way, true);
    enum status status = pool_flush(store.pool, &actor->thread, 0);
    AGREE(status == STATUS_OK, 0, "flush");
    forget_all();
    atomic_store(&model->flush_due_s, 0);
    atomic_store(&model->flush_due_sure, true);
    atomic_store(&model->flush_under_way, false);
}

static void between_phases(struct actor *actor) {
    uint32_t choice = random_below(&actor->random, 100);
    store_thread_refresh(&actor->thread);
    if (choice < 30) {
        clock_advance_s(1 + random_below(&actor->random, 5));
    } else if (choice < 33) {
        clock_advance_s(random_below(&actor->random, 100000));
    } else if (choice < 34) {
        flush_at_once(actor);
    } else if (choice < 35 && atomic_load(&model->flush_due_s) == 0) {
        uint32_t due_s = clock_now_s() + 1 + random_below(&actor->random, 30);
        atomic_store(&model->flush_due_sure, false);
        AGREE(pool_flush(store.pool, &actor->thread, due_s) == STATUS_OK, 0, "flush later");
        atomic_store(&model->flush_due_s, due_s);
        atomic_store(&model->flush_due_sure, true);
    } else if (choice < 40) {
        verify_all(actor, "between");
    }
    flush_due(actor);
}

struct team {
    pthread_barrier_t barrier;
    struct actor *actors;
    uint64_t phases; /* 0: until killed */
};

struct member {
    struct team *team;
    unsigned index;
};

static void *work(void *argument) {
    struct member *member = argument;
    struct team *team = member->team;
    struct actor *actor = &team->actors[member->index];
    for (uint64_t phase = 0; team->phases == 0 || phase < team->phases; phase++) {
        store_thread_refresh(&actor->thread);
        for (int i = 0; i < PHASE_OPERATIONS; i++) {
            operate(actor);
        }
        atomic_fetch_add(&model->operations, PHASE_OPERATIONS);
        store_thread_leave(&actor->thread);
        pthread_barrier_wait(&team->barrier);
        if (actor->index == 0) {
            between_phases(actor);
            store_thread_leave(&actor->thread);
        }
        pthread_barrier_wait(&team->barrier);
    }
    return NULL;
}

/* What a crash interrupted has happened or not: finds out which, and holds to it. */
static void settle_key(struct actor *actor, unsigned key) {
    char text[POOL_KEY_MAX];
    struct item item;
    store_thread_refresh(&actor->thread);
    bool found = pool_get(store.pool, &actor->thread, key_text(text, key), &item) == STATUS_OK;
    uint32_t now_s = actor->thread.now_s;
    const struct state *next = next_state(key);
    const struct state *now = now_state(key);
    bool is_now = found ? is_visible(now, now_s) && item_is(&item, now)
                        : !is_visible(now, now_s) || setup.evict;
    bool is_next = found ? is_visible(next, now_s) && item_is(&item, next)
                         : !is_visible(next, now_s) || setup.evict;
    AGREE(is_now || is_next, key, "interrupted by a crash");
    if (!is_now) {
        atomic_fetch_xor(&model->keys[key].current, 1);
    }
    if (!found) {
        now_state(key)->present = false;
    } else {
        now_state(key)->cas = item.cas;
    }
}

static void settle_flush(struct actor *actor) {
    if (!atomic_load(&model->flush_under_way)) {
        return;
    }
    /* All of it is gone, or nothing. */
    char text[POOL_KEY_MAX];
    unsigned found = 0;
    unsigned there = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        struct item item;
        store_thread_refresh(&actor->thread);
        if (pool_get(store.pool, &actor->thread, key_text(text, key), &item) == STATUS_OK) {
            found++;
        }
        there += is_there(actor, key);
    }
    AGREE(found == 0 || found >= there || setup.evict, 0, "a flush interrupted by a crash");
    if (found == 0) {
        forget_all();
    }
    atomic_store(&model->flush_under_way, false);
}

static void settle(struct actor *actor) {
    flush_due(actor);
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        int key = atomic_load(&model->under_way[i]);
        if (key >= 0) {
            settle_key(actor, (unsigned)key);
            atomic_store(&model->under_way[i], -1);
        }
    }
    settle_flush(actor);
    if (!atomic_load(&model->flush_due_sure)) {
        flush_at_once(actor); /* a flush for later that a crash interrupted */
    }
    verify_all(actor, "after the start");
    struct item item = {0};
    struct pool_store request = {.value = bytes_from_string("v")};
    enum status status =
        pool_store(store.pool, &actor->thread, bytes_from_string("cas-probe"), &request, &item);
    if (status == STATUS_OK) {
        AGREE(item.cas > atomic_load(&model->cas_max), 0, "a CAS was given out again");
    }
}

/* The life of one child process. */
static void live(uint64_t phases, uint64_t life) {
    struct actor *actors = calloc(setup.threads, sizeof *actors);
    struct member members[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    struct team team = {.actors = actors, .phases = phases};
    for (unsigned i = 0; i < setup.threads; i++) {
        store_thread_init(&actors[i].thread, store.grace, i + 1);
        actors[i].index = i;
        actors[i].random = seed + life * 1000 + i;
    }
    store_thread_leave(&store.thread);
    settle(&actors[0]);
    store_thread_leave(&actors[0].thread);
    pthread_barrier_init(&team.barrier, NULL, setup.threads);
    for (unsigned i = 0; i < setup.threads; i++) {
        members[i] = (struct member){.team = &team, .index = i};
        EXPECT(pthread_create(&threads[i], NULL, work, &members[i]) == 0);
    }
    for (unsigned i = 0; i < setup.threads; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&team.barrier);
    free(actors);
}

static void run_child(uint64_t life, uint32_t life_ms) {
    fflush(NULL);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        store_open(&store);
        live(setup.crash ? 0 : scaled(life_ms) / 4 + 1, life);
        store_close(&store);
        fflush(NULL);
        _exit(0);
    }
    if (setup.crash) {
        life_ms = life_ms * 1000 / scaled(1000);
        struct timespec until_killed = {.tv_sec = life_ms / 1000,
                                        .tv_nsec = life_ms % 1000 * 1000000L};
        nanosleep(&until_killed, NULL);
        kill(child, SIGKILL);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child);
    if (setup.crash) {
        EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    } else {
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static uint64_t environment_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    uint64_t number;
    return text != NULL && number_parse_u64(bytes_from_string(text), &number) ? number : otherwise;
}

enum { SETUPS = 7 };

static void run_setup(void **state) {
    setup = *(struct setup *)*state;
    uint64_t seconds = environment_number("STAYD_MODEL_SECONDS", 3);
    uint64_t until_ms = clock_monotonic_ms() + seconds * 1000 / SETUPS;
    struct pool_options options = store_options(setup.segments);
    options.item_max_bytes = 4096;
    options.persist = setup.persist;
    options.evict = setup.evict;
    seed = environment_number("STAYD_MODEL_SEED", clock_monotonic_ns());
    memset(model, 0, sizeof *model);
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        atomic_store(&model->under_way[i], -1);
    }
    atomic_store(&model->flush_due_sure, true);
    store_begin_threads(&store, options, THREADS_MAX + 1);
    store_close(&store);
    uint64_t random = seed;
    uint64_t life = 0;
    do {
        run_child(life++, 10 + random_below(&random, 90));
        if (!setup.persist) { /* nothing survives the process */
            forget_all();
            atomic_store(&model->flush_due_s, 0);
            atomic_store(&model->cas_max, 0);
        }
    } while (clock_monotonic_ms() < until_ms);
    fprintf(stderr, "%s: %llu operations in %llu lives, %llu refused; seed %llu\n", setup.name,
            (unsigned long long)atomic_load(&model->operations), (unsigned long long)life,
            (unsigned long long)atomic_load(&model->refused), (unsigned long long)seed);
    store_end(&store);
}

int main(void) {
    static struct setup setups[SETUPS] = {
        {"volatile, 1 thread", 1, 12, false, false, false},
        {"volatile, 4 threads", 4, 12, false, false, false},
        {"cache, 4 threads", 4, 8, false, true, false},
        {"persistent, 1 thread, stops", 1, 12, true, false, false},
        {"persistent, 4 threads, stops", 4, 12, true, false, false},
        {"persistent, 1 thread, crashes", 1, 12, true, false, true},
        {"persistent, 4 threads, crashes", 4, 12, true, false, true},
    };
    struct CMUnitTest tests[SETUPS];
    for (int i = 0; i < SETUPS; i++) {
        tests[i] = (struct CMUnitTest){
            .name = setups[i].name, .test_func = run_setup, .initial_state = &setups[i]};
    }
    model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(model != MAP_FAILED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
