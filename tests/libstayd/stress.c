/* Threads and forks on one client:
 *
 *     libstayd-stress SERVERS THREADS ROUNDS [fork | syscall | read]
 *
 * Each thread writes and reads keys of its own and one that all share, and checks that each reply
 * belongs to its request. With `fork`, children are forked all the time, which do the same. With
 * `syscall`, they are forked by a system call that the C library does not see (with one thread
 * only). With `read`, the threads read one item that always exists, until the standard input ends;
 * the server may be restarted. Prints nothing and exits with 0 if there was no error. */
#include "stayd.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 8, THREADS_MAX = 64, CHILD_THREADS = 3 };

static struct stayd *client;
static int rounds;

struct worker {
    pthread_t thread;
    int number;
    int process; /* 0: the parent */
    bool failed;
};

static bool complain(const struct worker *worker, const char *what, const char *why) {
    fprintf(stderr, "process %d, thread %d: %s: %s\n", worker->process, worker->number, what, why);
    return false;
}

static bool work_once(const struct worker *worker, int round) {
    struct stayd_error error = {.message = ""};
    struct stayd_value value = {0};
    char key[64];
    char data[64];
    int key_size =
        snprintf(key, sizeof key, "p%d:t%d:k%d", worker->process, worker->number, round % KEYS);
    int size = snprintf(data, sizeof data, "value %d of %s", round, key);
    bool well = true;
    if (stayd_set(client, key, (size_t)key_size, data, (size_t)size, (uint32_t)round, 0, &error) !=
        STAYD_OK) {
        well = complain(worker, "set", error.message);
    }
    if (well && (stayd_get(client, key, (size_t)key_size, &value, &error) != STAYD_OK ||
                 value.size != (size_t)size || memcmp(value.data, data, value.size) != 0 ||
                 value.flags != (uint32_t)round)) {
        well = complain(worker, "get", value.size > 0 ? value.data : error.message);
    }
    struct stayd_item items[KEYS] = {0};
    char keys[KEYS][64];
    for (int i = 0; i < KEYS; i++) {
        int each =
            snprintf(keys[i], sizeof keys[i], "p%d:t%d:k%d", worker->process, worker->number, i);
        items[i] = (struct stayd_item){.key = keys[i], .key_size = (size_t)each};
    }
    if (well && stayd_get_many(client, items, KEYS, &error) != STAYD_OK) {
        well = complain(worker, "get_many", error.message);
    }
    for (int i = 0; i < KEYS && well; i++) {
        if (items[i].status == STAYD_OK && strstr(items[i].value.data, keys[i]) == NULL) {
            well = complain(worker, "get_many", items[i].value.data);
        }
    }
    stayd_items_free(items, KEYS);
    if (well && stayd_incr(client, "shared", 6, 1, NULL, &error) != STAYD_OK) {
        well = complain(worker, "incr", error.message);
    }
    stayd_value_free(&value);
    return well;
}

static void *work(void *argument) {
    struct worker *worker = argument;
    for (int i = 0; i < rounds && !worker->failed; i++) {
        worker->failed = !work_once(worker, i);
    }
    return NULL;
}

/* Returns the number of threads that failed. */
static int work_in_threads(int process, int threads) {
    struct worker workers[THREADS_MAX] = {0};
    int failed = 0;
    for (int i = 0; i < threads; i++) {
        workers[i] = (struct worker){.number = i, .process = process};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            exit(2);
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        failed += workers[i].failed;
    }
    return failed;
}

static int end_child(pid_t child) {
    int status;
    waitpid(child, &status, 0);
    if (status != 0) {
        fprintf(stderr, "a child ended with status %d\n", status);
    }
    return status != 0;
}

/* Children one after the other, while threads of the parent are at work. */
static int work_in_children(int count, bool seen) {
    int failed = 0;
    for (int i = 1; i <= count; i++) {
        pid_t child = seen ? fork() : (pid_t)syscall(SYS_fork);
        if (child == 0) {
            rounds = 5;
            int result = 0;
            if (seen) {
                result = work_in_threads(i, CHILD_THREADS);
            } else {
                struct worker worker = {.process = i};
                work(&worker);
                result = worker.failed;
            }
            stayd_close(client);
            _exit(result != 0);
        }
        failed += end_child(child);
    }
    return failed;
}

static _Atomic bool reading_ends;

static void *read_steadily(void *argument) {
    struct worker *worker = argument;
    struct stayd_error error = {.message = ""};
    struct stayd_value value = {0};
    while (!reading_ends && !worker->failed) {
        enum stayd_status status = stayd_get(client, "steady", 6, &value, &error);
        bool well = status == STAYD_OK ? strcmp(value.data, "as it was") == 0
                                       : status == STAYD_DISCONNECTED;
        if (!well) {
            worker->failed = !complain(worker, "get", status == STAYD_OK ? value.data : "missing");
        }
    }
    stayd_value_free(&value);
    return NULL;
}

static int read_in_threads(int threads) {
    struct worker workers[THREADS_MAX] = {0};
    struct stayd_error error;
    int failed = stayd_set(client, "steady", 6, "as it was", 9, 0, 0, &error) != STAYD_OK;
    for (int i = 0; i < threads; i++) {
        workers[i].number = i;
        if (pthread_create(&workers[i].thread, NULL, read_steadily, &workers[i]) != 0) {
            exit(2);
        }
    }
    while (getchar() != EOF) {
    }
    reading_ends = true;
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        failed += workers[i].failed;
    }
    return failed;
}

static void *work_in_parent(void *argument) {
    int *threads = argument;
    *threads = work_in_threads(0, *threads);
    return NULL;
}

int main(int argument_count, char **arguments) {
    struct stayd_error error;
    if (argument_count < 4) {
        return 2;
    }
    struct stayd_options options;
    stayd_options_init(&options);
    client = stayd_open(arguments[1], &options, &error);
    int threads = atoi(arguments[2]);
    rounds = atoi(arguments[3]);
    const char *how = argument_count > 4 ? arguments[4] : "";
    if (client == NULL || threads > THREADS_MAX ||
        stayd_set(client, "shared", 6, "0", 1, 0, 0, &error) != STAYD_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    int failed = 0;
    if (how[0] == '\0') {
        failed = work_in_threads(0, threads);
    } else if (strcmp(how, "read") == 0) {
        failed = read_in_threads(threads);
    } else if (strcmp(how, "fork") == 0) {
        pthread_t parent;
        pthread_create(&parent, NULL, work_in_parent, &threads);
        failed = work_in_children(10, true);
        pthread_join(parent, NULL);
        failed += threads;
    } else {
        struct worker worker = {0};
        work(&worker);
        failed = work_in_children(10, false);
        work(&worker);
        failed += worker.failed;
    }
    stayd_close(client);
    return failed != 0;
}
