/* Random operations, compared with a model: the result of each operation must agree with the model.
 *
 * Each thread has keys of its own, so that the model is exact. The pool is small, so that the
 * janitor moves, evicts and frees all the time. The pool is in a child process, the model in memory
 * that parent and child share. The child is killed at a random moment, or stops, and another child
 * continues with the same model. The operation that a crash interrupted may have been carried out
 * or not; all other operations must have been.
 *
 *     STAYD_MODEL_SECONDS   about how long the test takes (3)
 *     STAYD_MODEL_SEED      as printed by a run that failed */
#include "model.h"

#include "base/clock.h"
#include "base/number.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PHASE_OPERATIONS = 300 }; /* of a thread, between two of the main thread */

/* ---- phases: all threads work; then one thread alone runs the operations on all keys ---- */

static void forget_all(void) {
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        model_now(key)->present = false;
    }
}

static void verify_all(struct actor *actor, const char *what) {
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        store_thread_refresh(&actor->thread);
        model_get(actor, key, what);
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
            model_operate(actor);
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

/* Finds out whether the operation that a crash interrupted was carried out, and updates the
 * model. */
static void settle_key(struct actor *actor, unsigned key) {
    char text[POOL_KEY_MAX];
    struct item item;
    store_thread_refresh(&actor->thread);
    bool found =
        pool_get(store.pool, &actor->thread, model_key_text(text, key), &item) == STATUS_OK;
    uint32_t now_s = actor->thread.now_s;
    const struct model_state *next = model_next(key);
    const struct model_state *now = model_now(key);
    bool is_now = found ? model_is_visible(now, now_s) && model_item_is(&item, now)
                        : !model_is_visible(now, now_s) || model_setup.evict;
    bool is_next = found ? model_is_visible(next, now_s) && model_item_is(&item, next)
                         : !model_is_visible(next, now_s) || model_setup.evict;
    AGREE(is_now || is_next, key, "interrupted by a crash");
    if (!is_now) {
        atomic_fetch_xor(&model->keys[key].current, 1);
    }
    if (!found) {
        model_now(key)->present = false;
    } else {
        model_now(key)->cas = item.cas;
    }
}

static void settle_flush(struct actor *actor) {
    if (!atomic_load(&model->flush_under_way)) {
        return;
    }
    /* Either all items are gone, or none. */
    char text[POOL_KEY_MAX];
    unsigned found = 0;
    unsigned there = 0;
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        struct item item;
        store_thread_refresh(&actor->thread);
        if (pool_get(store.pool, &actor->thread, model_key_text(text, key), &item) == STATUS_OK) {
            found++;
        }
        there += model_is_there(actor, key);
    }
    AGREE(found == 0 || found >= there || model_setup.evict, 0, "a flush interrupted by a crash");
    if (found == 0) {
        forget_all();
    }
    atomic_store(&model->flush_under_way, false);
}

static void settle(struct actor *actor) {
    flush_due(actor);
    for (unsigned i = 0; i < MODEL_THREADS_MAX; i++) {
        int key = atomic_load(&model->under_way[i]);
        if (key >= 0) {
            settle_key(actor, (unsigned)key);
            atomic_store(&model->under_way[i], -1);
        }
    }
    settle_flush(actor);
    if (!atomic_load(&model->flush_due_sure)) {
        flush_at_once(actor); /* a delayed flush that a crash interrupted */
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
    struct actor *actors = calloc(model_setup.threads, sizeof *actors);
    struct member members[MODEL_THREADS_MAX];
    pthread_t threads[MODEL_THREADS_MAX];
    struct team team = {.actors = actors, .phases = phases};
    for (unsigned i = 0; i < model_setup.threads; i++) {
        store_thread_init(&actors[i].thread, store.grace, i + 1);
        actors[i].index = i;
        actors[i].random = model_seed + life * 1000 + i;
    }
    store_thread_leave(&store.thread);
    settle(&actors[0]);
    store_thread_leave(&actors[0].thread);
    pthread_barrier_init(&team.barrier, NULL, model_setup.threads);
    for (unsigned i = 0; i < model_setup.threads; i++) {
        members[i] = (struct member){.team = &team, .index = i};
        EXPECT(pthread_create(&threads[i], NULL, work, &members[i]) == 0);
    }
    for (unsigned i = 0; i < model_setup.threads; i++) {
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
        live(model_setup.crash ? 0 : scaled(life_ms) / 4 + 1, life);
        store_close(&store);
        fflush(NULL);
        _exit(0);
    }
    if (model_setup.crash) {
        life_ms = life_ms * 1000 / scaled(1000);
        struct timespec until_killed = {.tv_sec = life_ms / 1000,
                                        .tv_nsec = life_ms % 1000 * 1000000L};
        nanosleep(&until_killed, NULL);
        kill(child, SIGKILL);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child);
    if (model_setup.crash) {
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
    model_setup = *(struct model_setup *)*state;
    uint64_t seconds = environment_number("STAYD_MODEL_SECONDS", 3);
    uint64_t until_ms = clock_monotonic_ms() + seconds * 1000 / SETUPS;
    struct pool_options options = store_options(model_setup.segments);
    options.item_max_bytes = 8192;
    options.persist = model_setup.persist;
    options.evict = model_setup.evict;
    model_seed = environment_number("STAYD_MODEL_SEED", clock_monotonic_ns());
    memset(model, 0, sizeof *model);
    for (unsigned i = 0; i < MODEL_THREADS_MAX; i++) {
        atomic_store(&model->under_way[i], -1);
    }
    atomic_store(&model->flush_due_sure, true);
    store_begin_threads(&store, options, MODEL_THREADS_MAX + 1);
    store_close(&store);
    uint64_t random = model_seed;
    uint64_t life = 0;
    do {
        run_child(life++, 10 + random_below(&random, 90));
        if (!model_setup.persist) { /* nothing survives the process */
            forget_all();
            atomic_store(&model->flush_due_s, 0);
            atomic_store(&model->cas_max, 0);
        }
    } while (clock_monotonic_ms() < until_ms);
    fprintf(stderr, "%s: %llu operations in %llu lives, %llu refused; seed %llu\n",
            model_setup.name, (unsigned long long)atomic_load(&model->operations),
            (unsigned long long)life, (unsigned long long)atomic_load(&model->refused),
            (unsigned long long)model_seed);
    store_end(&store);
}

int main(void) {
    static struct model_setup setups[SETUPS] = {
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
