#include "simulation.h"

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

enum { SIMULATION_IMAGE_BYTES = 4 << 20 };

void simulation_fail(struct simulation *simulation, const char *wrong) {
    char message[CLIENT_MESSAGE_MAX + 128];
    snprintf(message, sizeof message, "STAYD_SEED=%llu, after %llu states and %llu power cuts: %s",
             (unsigned long long)simulation->seed, (unsigned long long)simulation->states,
             (unsigned long long)simulation->cuts, wrong);
    fail_msg("%s", message);
    abort(); /* for the compiler: fail_msg does not return */
}

void simulation_keep_image(struct simulation *simulation, unsigned percent) {
    pthread_mutex_lock(&simulation->lock);
    if (simulation->image_count < SIMULATION_IMAGES_MAX && disk_size(simulation->disk) > 0 &&
        random_chance(&simulation->moment_random, percent)) {
        struct simulation_image *image = &simulation->images[simulation->image_count++];
        disk_cut(simulation->disk, &simulation->moment_random, image->bytes);
        image->size = disk_size(simulation->disk);
        for (unsigned i = 0; i < simulation->client_count; i++) {
            image->views[i] = simulation->clients[i].view;
        }
    }
    pthread_mutex_unlock(&simulation->lock);
}

static void simulation_sync_begins(void *context, struct disk_note *note) {
    struct simulation *simulation = context;
    if (simulation->restarting) {
        return;
    }
    disk_record(simulation->disk);
    simulation_keep_image(simulation, simulation->sync_percent);
    for (unsigned i = 0; i < simulation->client_count; i++) {
        client_sync_begins(&simulation->clients[i], note->numbers + (size_t)i * CLIENT_KEYS_MAX);
    }
}

static void simulation_sync_ended(void *context, const struct disk_note *note) {
    struct simulation *simulation = context;
    if (simulation->restarting) {
        return;
    }
    for (unsigned i = 0; i < simulation->client_count; i++) {
        client_sync_ended(&simulation->clients[i], note->numbers + (size_t)i * CLIENT_KEYS_MAX);
    }
    simulation_keep_image(simulation, simulation->sync_percent);
}

static void simulation_notify(void *context) {
    struct simulation *simulation = context;
    pthread_mutex_lock(&simulation->notify_lock);
    pthread_cond_broadcast(&simulation->notified);
    pthread_mutex_unlock(&simulation->notify_lock);
}

struct pool_options simulation_options(enum pool_fsync fsync, unsigned segments) {
    return (struct pool_options){
        .name = "simulation",
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

static void simulation_add_clients(struct simulation *simulation,
                                   const struct client_habits *habits, unsigned clients) {
    simulation->client_count = clients;
    simulation->clients = allocate(clients, sizeof *simulation->clients);
    simulation->grace = grace_create(clients);
    for (unsigned i = 0; i < clients; i++) {
        client_init(&simulation->clients[i], (char)('a' + i), habits, simulation->seed + i,
                    &simulation->lock);
        simulation->clients[i].view.may_miss = simulation->options.evict;
        store_thread_init(&simulation->threads[i], simulation->grace, i);
    }
}

struct simulation *simulation_create(uint64_t seed, const struct pool_options *options,
                                     const struct client_habits *habits, unsigned clients) {
    struct simulation *simulation = allocate(1, sizeof *simulation);
    environment_begin(seed);
    log_init(LOG_LEVEL_ERROR);
    simulation->seed = simulation->random = simulation->moment_random = seed;
    simulation->sync_percent = 40;
    simulation->later_percent = 30;
    pthread_mutex_init(&simulation->lock, NULL);
    pthread_mutex_init(&simulation->notify_lock, NULL);
    pthread_cond_init(&simulation->notified, NULL);
    environment_make_folder(simulation->folder);
    environment_make_folder(simulation->spare_folder);
    simulation->options = *options;
    simulation->options.data_dir = simulation->options.run_dir = simulation->folder;
    simulation->spare = simulation->options;
    simulation->spare.data_dir = simulation->spare.run_dir = simulation->spare_folder;
    simulation->spare.fsync = POOL_FSYNC_NO;
    snprintf(simulation->index_path, sizeof simulation->index_path, "%s/simulation.index",
             simulation->folder);
    snprintf(simulation->data_path, sizeof simulation->data_path, "%s/simulation.pool",
             simulation->folder);
    simulation->images = allocate(SIMULATION_IMAGES_MAX, sizeof *simulation->images);
    for (unsigned i = 0; i < SIMULATION_IMAGES_MAX; i++) {
        simulation->images[i].bytes = allocate(1, SIMULATION_IMAGE_BYTES);
    }
    simulation->looked_at.bytes = allocate(1, SIMULATION_IMAGE_BYTES);
    simulation_add_clients(simulation, habits, clients);
    simulation->disk = disk_create(simulation->data_path,
                                   &(struct disk_watcher){.sync_begins = simulation_sync_begins,
                                                          .sync_ended = simulation_sync_ended,
                                                          .context = simulation});
    return simulation;
}

void simulation_destroy(struct simulation *simulation) {
    if (simulation->pool != NULL) {
        simulation_close(simulation);
    }
    disk_destroy(simulation->disk);
    grace_destroy(simulation->grace);
    for (unsigned i = 0; i < SIMULATION_IMAGES_MAX; i++) {
        free(simulation->images[i].bytes);
    }
    free(simulation->images);
    free(simulation->looked_at.bytes);
    free(simulation->clients);
    environment_remove_folder(simulation->folder);
    environment_remove_folder(simulation->spare_folder);
    pthread_cond_destroy(&simulation->notified);
    pthread_mutex_destroy(&simulation->notify_lock);
    pthread_mutex_destroy(&simulation->lock);
    free(simulation);
}

bool simulation_open(struct simulation *simulation, char error[POOL_ERROR_MAX]) {
    error[0] = '\0';
    simulation->pool = pool_open(&simulation->options, simulation->grace, error);
    if (simulation->pool != NULL) {
        simulation->pool->sync.unasked = UINT_MAX; /* a wait with a timeout would never end */
        pool_set_sync_notify(simulation->pool, simulation_notify, simulation);
    }
    return simulation->pool != NULL;
}

void simulation_begin(struct simulation *simulation) {
    char error[POOL_ERROR_MAX];
    if (!simulation_open(simulation, error)) {
        simulation_fail(simulation, error);
    }
}

void simulation_close(struct simulation *simulation) {
    struct pool_stats stats;
    pool_get_stats(simulation->pool, &stats);
    simulation->compacted += stats.counters[POOL_SEGMENTS_COMPACTED];
    pool_close(simulation->pool);
    simulation->pool = NULL;
    disk_unmap(simulation->disk);
}

void simulation_wait_for_janitor(struct simulation *simulation) {
    struct room *room = &simulation->pool->room;
    pthread_mutex_lock(&room->lock);
    while (atomic_load(&room->wanted) || room->begun != room->ended) {
        pthread_cond_wait(&room->done, &room->lock);
    }
    pthread_mutex_unlock(&room->lock);
}

void simulation_run_janitor(struct simulation *simulation) {
    room_wake(&simulation->pool->room);
    simulation_wait_for_janitor(simulation);
}

/* The janitor has nothing to do meanwhile, so this thread may do the janitor's work. */
bool simulation_move_all(struct simulation *simulation) {
    struct pool *pool = simulation->pool;
    simulation_wait_for_janitor(simulation);
    unsigned used = 0;
    for (uint32_t segment = 0; segment < pool->view.segment_count; segment++) {
        segments_seal(&pool->segments, segment);
        used += atomic_load(&pool->view.segments[segment].state) != LAYOUT_SEGMENT_FREE;
    }
    while (used > 0 && compaction_run_oldest(pool, environment_now_s()) == 1) {
        used--;
    }
    return used == 0;
}

bool simulation_move_segment(struct simulation *simulation, uint32_t segment) {
    simulation_wait_for_janitor(simulation);
    segments_seal(&simulation->pool->segments, segment);
    compaction_begin(simulation->pool);
    return compaction_empty(simulation->pool, segment, 0, environment_now_s()) &&
           compaction_free(simulation->pool, &segment, 1);
}

/* Removes one of the kept images, and returns it. */
static bool simulation_take_image(struct simulation *simulation) {
    pthread_mutex_lock(&simulation->lock);
    bool taken = simulation->image_count > 0;
    if (taken) {
        struct simulation_image *last = &simulation->images[--simulation->image_count];
        struct simulation_image empty = simulation->looked_at;
        simulation->looked_at = *last;
        last->bytes = empty.bytes;
    }
    pthread_mutex_unlock(&simulation->lock);
    return taken;
}

bool simulation_check_images_quietly(struct simulation *simulation) {
    while (simulation_take_image(simulation)) {
        const struct simulation_image *image = &simulation->looked_at;
        bool later = random_chance(&simulation->random, simulation->later_percent);
        simulation->states++;
        if (!client_examine(image->views, simulation->client_count, &simulation->spare,
                            image->bytes, image->size,
                            later ? random_below(&simulation->random, 500) : 0,
                            simulation->wrong)) {
            return false;
        }
    }
    return true;
}

void simulation_check_images(struct simulation *simulation) {
    if (!simulation_check_images_quietly(simulation)) {
        simulation_fail(simulation, simulation->wrong);
    }
    for (unsigned i = 0; i < simulation->client_count; i++) {
        if (simulation->clients[i].wrong[0] != '\0') {
            simulation_fail(simulation, simulation->clients[i].wrong);
        }
    }
}

enum status simulation_await_ticket(struct simulation *simulation, unsigned client) {
    uint64_t ticket = pool_take_ticket(simulation->pool, &simulation->threads[client]);
    enum status status = STATUS_OK;
    pthread_mutex_lock(&simulation->notify_lock);
    while (ticket != 0 &&
           (status = pool_check_ticket(simulation->pool, ticket)) == STATUS_PENDING) {
        pthread_cond_wait(&simulation->notified, &simulation->notify_lock);
    }
    pthread_mutex_unlock(&simulation->notify_lock);
    return status;
}

void simulation_await_interval(struct simulation *simulation) {
    pthread_mutex_lock(&simulation->notify_lock);
    uint64_t awaited = atomic_load(&simulation->pool->sync.begun) + 1;
    while (atomic_load(&simulation->pool->sync.ended) < awaited) {
        pthread_cond_wait(&simulation->notified, &simulation->notify_lock);
    }
    pthread_mutex_unlock(&simulation->notify_lock);
}

bool simulation_sync(struct simulation *simulation) {
    bool synced = simulation->options.fsync == POOL_FSYNC_ALWAYS
                      ? simulation_await_ticket(simulation, 0) == STATUS_OK
                      : sync_now(&simulation->pool->sync);
    if (synced) {
        client_acknowledge(&simulation->clients[0]);
    }
    return synced;
}

void simulation_restart_from(struct simulation *simulation, const unsigned char *image) {
    disk_power_off(simulation->disk);
    simulation_close(simulation);
    unlink(simulation->index_path);
    disk_power_on(simulation->disk, image);
    simulation->cuts++;
    simulation->restarting = true;
    simulation_begin(simulation);
    simulation_resume(simulation);
    simulation->restarting = false;
}

void simulation_cut_power(struct simulation *simulation) {
    disk_record(simulation->disk);
    disk_cut(simulation->disk, &simulation->random, simulation->looked_at.bytes);
    environment_set_s(environment_now_s() + random_below(&simulation->random, 4));
    simulation_restart_from(simulation, simulation->looked_at.bytes);
}

void simulation_resume(struct simulation *simulation) {
    for (unsigned i = 0; i < simulation->client_count; i++) {
        if (!client_resume(&simulation->clients[i], simulation->pool, &simulation->threads[i],
                           simulation->wrong)) {
            simulation_fail(simulation, simulation->wrong);
        }
    }
}
