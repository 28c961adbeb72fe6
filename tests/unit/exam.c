#include "exam.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/log.h"
#include "store/compaction.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXAM_IMAGE_BYTES = 4 << 20 };

void exam_fail(struct exam *exam, const char *wrong) {
    char message[CLIENT_MESSAGE_MAX + 128];
    snprintf(message, sizeof message, "STAYD_SEED=%llu, after %llu states and %llu power cuts: %s",
             (unsigned long long)exam->seed, (unsigned long long)exam->states,
             (unsigned long long)exam->cuts, wrong);
    fail_msg("%s", message);
    abort(); /* fail_msg does not return */
}

void exam_moment(struct exam *exam, unsigned percent) {
    pthread_mutex_lock(&exam->lock);
    if (exam->image_count < EXAM_IMAGES_MAX && disk_size(exam->disk) > 0 &&
        random_chance(&exam->moment_random, percent)) {
        struct exam_image *image = &exam->images[exam->image_count++];
        disk_cut(exam->disk, &exam->moment_random, image->bytes);
        image->size = disk_size(exam->disk);
        for (unsigned i = 0; i < exam->client_count; i++) {
            image->views[i] = exam->clients[i].view;
        }
    }
    pthread_mutex_unlock(&exam->lock);
}

static void exam_sync_begins(void *context, struct disk_note *note) {
    struct exam *exam = context;
    if (exam->restarting) {
        return;
    }
    disk_record(exam->disk);
    exam_moment(exam, exam->sync_percent);
    for (unsigned i = 0; i < exam->client_count; i++) {
        client_sync_begins(&exam->clients[i], note->numbers + (size_t)i * CLIENT_KEYS_MAX);
    }
}

static void exam_sync_ended(void *context, const struct disk_note *note) {
    struct exam *exam = context;
    if (exam->restarting) {
        return;
    }
    for (unsigned i = 0; i < exam->client_count; i++) {
        client_sync_ended(&exam->clients[i], note->numbers + (size_t)i * CLIENT_KEYS_MAX);
    }
    exam_moment(exam, exam->sync_percent);
}

static void exam_notify(void *context) {
    struct exam *exam = context;
    pthread_mutex_lock(&exam->notify_lock);
    pthread_cond_broadcast(&exam->notified);
    pthread_mutex_unlock(&exam->notify_lock);
}

struct pool_options exam_options(enum pool_fsync fsync, unsigned segments) {
    return (struct pool_options){
        .name = "exam",
        .memory_bytes = (uint64_t)segments << 16,
        .item_max_bytes = 2 << 10,
        .persist = true,
        .fsync = fsync,
    };
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void exam_add_clients(struct exam *exam, const struct client_habits *habits,
                             unsigned clients) {
    exam->client_count = clients;
    exam->clients = allocate(clients, sizeof *exam->clients);
    exam->grace = grace_create(clients);
    for (unsigned i = 0; i < clients; i++) {
        client_init(&exam->clients[i], (char)('a' + i), habits, exam->seed + i, &exam->lock);
        exam->clients[i].view.may_miss = exam->options.evict;
        store_thread_init(&exam->threads[i], exam->grace, i);
    }
}

struct exam *exam_create(uint64_t seed, const struct pool_options *options,
                         const struct client_habits *habits, unsigned clients) {
    struct exam *exam = allocate(1, sizeof *exam);
    machine_begin(seed);
    log_init(LOG_LEVEL_ERROR);
    exam->seed = exam->random = exam->moment_random = seed;
    exam->sync_percent = 40;
    exam->later_percent = 30;
    pthread_mutex_init(&exam->lock, NULL);
    pthread_mutex_init(&exam->notify_lock, NULL);
    pthread_cond_init(&exam->notified, NULL);
    machine_make_folder(exam->folder);
    machine_make_folder(exam->spare_folder);
    exam->options = *options;
    exam->options.data_dir = exam->options.run_dir = exam->folder;
    exam->spare = exam->options;
    exam->spare.data_dir = exam->spare.run_dir = exam->spare_folder;
    exam->spare.fsync = POOL_FSYNC_NO;
    snprintf(exam->index_path, sizeof exam->index_path, "%s/exam.index", exam->folder);
    snprintf(exam->data_path, sizeof exam->data_path, "%s/exam.pool", exam->folder);
    exam->images = allocate(EXAM_IMAGES_MAX, sizeof *exam->images);
    for (unsigned i = 0; i < EXAM_IMAGES_MAX; i++) {
        exam->images[i].bytes = allocate(1, EXAM_IMAGE_BYTES);
    }
    exam->looked_at.bytes = allocate(1, EXAM_IMAGE_BYTES);
    exam_add_clients(exam, habits, clients);
    exam->disk =
        disk_create(exam->data_path, &(struct disk_watcher){.sync_begins = exam_sync_begins,
                                                            .sync_ended = exam_sync_ended,
                                                            .context = exam});
    return exam;
}

void exam_destroy(struct exam *exam) {
    if (exam->pool != NULL) {
        exam_close(exam);
    }
    disk_destroy(exam->disk);
    grace_destroy(exam->grace);
    for (unsigned i = 0; i < EXAM_IMAGES_MAX; i++) {
        free(exam->images[i].bytes);
    }
    free(exam->images);
    free(exam->looked_at.bytes);
    free(exam->clients);
    machine_remove_folder(exam->folder);
    machine_remove_folder(exam->spare_folder);
    pthread_cond_destroy(&exam->notified);
    pthread_mutex_destroy(&exam->notify_lock);
    pthread_mutex_destroy(&exam->lock);
    free(exam);
}

bool exam_open(struct exam *exam, char error[POOL_ERROR_MAX]) {
    error[0] = '\0';
    exam->pool = pool_open(&exam->options, exam->grace, error);
    if (exam->pool != NULL) {
        exam->pool->sync.unasked = UINT_MAX; /* what waits for a while would wait for ever */
        pool_set_sync_notify(exam->pool, exam_notify, exam);
    }
    return exam->pool != NULL;
}

void exam_begin(struct exam *exam) {
    char error[POOL_ERROR_MAX];
    if (!exam_open(exam, error)) {
        exam_fail(exam, error);
    }
}

void exam_close(struct exam *exam) {
    struct pool_stats stats;
    pool_get_stats(exam->pool, &stats);
    exam->compacted += stats.counters[POOL_SEGMENTS_COMPACTED];
    pool_close(exam->pool);
    exam->pool = NULL;
    disk_unmap(exam->disk);
}

void exam_wait_for_janitor(struct exam *exam) {
    struct room *room = &exam->pool->room;
    pthread_mutex_lock(&room->lock);
    while (atomic_load(&room->wanted) || room->begun != room->ended) {
        pthread_cond_wait(&room->done, &room->lock);
    }
    pthread_mutex_unlock(&room->lock);
}

void exam_run_janitor(struct exam *exam) {
    room_wake(&exam->pool->room);
    exam_wait_for_janitor(exam);
}

/* The janitor has nothing to do meanwhile, so this thread may act in its place. */
bool exam_move_all(struct exam *exam) {
    struct pool *pool = exam->pool;
    exam_wait_for_janitor(exam);
    unsigned used = 0;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        segments_seal(&pool->segments, segment);
        used += atomic_load(&pool->view.segments[segment].state) != LAYOUT_SEGMENT_FREE;
    }
    while (used > 0 && compaction_run_oldest(pool, machine_now_s()) == 1) {
        used--;
    }
    return used == 0;
}

bool exam_move_segment(struct exam *exam, uint32_t segment) {
    exam_wait_for_janitor(exam);
    segments_seal(&exam->pool->segments, segment);
    compaction_begin(exam->pool);
    return compaction_empty(exam->pool, segment, 0, machine_now_s()) &&
           compaction_free(exam->pool, &segment, 1);
}

/* Takes one image out of those that are kept. */
static bool exam_take_image(struct exam *exam) {
    pthread_mutex_lock(&exam->lock);
    bool taken = exam->image_count > 0;
    if (taken) {
        struct exam_image *last = &exam->images[--exam->image_count];
        struct exam_image empty = exam->looked_at;
        exam->looked_at = *last;
        last->bytes = empty.bytes;
    }
    pthread_mutex_unlock(&exam->lock);
    return taken;
}

bool exam_look_quietly(struct exam *exam) {
    while (exam_take_image(exam)) {
        const struct exam_image *image = &exam->looked_at;
        bool later = random_chance(&exam->random, exam->later_percent);
        exam->states++;
        if (!client_examine(image->views, exam->client_count, &exam->spare, image->bytes,
                            image->size, later ? random_below(&exam->random, 500) : 0,
                            exam->wrong)) {
            return false;
        }
    }
    return true;
}

void exam_look(struct exam *exam) {
    if (!exam_look_quietly(exam)) {
        exam_fail(exam, exam->wrong);
    }
    for (unsigned i = 0; i < exam->client_count; i++) {
        if (exam->clients[i].wrong[0] != '\0') {
            exam_fail(exam, exam->clients[i].wrong);
        }
    }
}

enum status exam_await_ticket(struct exam *exam, unsigned client) {
    uint64_t ticket = pool_take_ticket(exam->pool, &exam->threads[client]);
    enum status status = STATUS_OK;
    pthread_mutex_lock(&exam->notify_lock);
    while (ticket != 0 && (status = pool_check_ticket(exam->pool, ticket)) == STATUS_PENDING) {
        pthread_cond_wait(&exam->notified, &exam->notify_lock);
    }
    pthread_mutex_unlock(&exam->notify_lock);
    return status;
}

void exam_await_interval(struct exam *exam) {
    pthread_mutex_lock(&exam->notify_lock);
    uint64_t awaited = atomic_load(&exam->pool->sync.begun) + 1;
    while (atomic_load(&exam->pool->sync.ended) < awaited) {
        pthread_cond_wait(&exam->notified, &exam->notify_lock);
    }
    pthread_mutex_unlock(&exam->notify_lock);
}

bool exam_sync(struct exam *exam) {
    bool synced = exam->options.fsync == POOL_FSYNC_ALWAYS ? exam_await_ticket(exam, 0) == STATUS_OK
                                                           : pool_sync(exam->pool);
    if (synced) {
        client_acknowledge(&exam->clients[0]);
    }
    return synced;
}

void exam_cut_to(struct exam *exam, const unsigned char *image) {
    disk_power_off(exam->disk);
    exam_close(exam);
    unlink(exam->index_path);
    disk_power_on(exam->disk, image);
    exam->cuts++;
    exam->restarting = true;
    exam_begin(exam);
    exam_resume(exam);
    exam->restarting = false;
}

void exam_cut(struct exam *exam) {
    disk_record(exam->disk);
    disk_cut(exam->disk, &exam->random, exam->looked_at.bytes);
    machine_set_s(machine_now_s() + random_below(&exam->random, 4));
    exam_cut_to(exam, exam->looked_at.bytes);
}

void exam_resume(struct exam *exam) {
    for (unsigned i = 0; i < exam->client_count; i++) {
        if (!client_resume(&exam->clients[i], exam->pool, &exam->threads[i], exam->wrong)) {
            exam_fail(exam, exam->wrong);
        }
    }
}
