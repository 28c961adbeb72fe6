/* A pool on a simulated disk that can lose its power, clients that use the pool, and checks of what
 * a power cut would leave.
 *
 * After an operation, and before and after a sync, simulation_keep_image keeps an image of the disk
 * together with what the clients know at that moment. Later, simulation_check_images opens the
 * image as a pool of its own and compares it with the clients' knowledge. simulation_cut_power cuts
 * the power of the disk itself: the pool is opened again with the data that is left.
 *
 * The first client's operations come from the thread that runs the test. While timers are stopped
 * (environment.h), a test that waits for the janitor after each operation takes the same course in
 * each run. */
#ifndef STAYD_TESTS_SIMULATION_H
#define STAYD_TESTS_SIMULATION_H

#include "client.h"
#include "disk.h"
#include "environment.h"
#include "store/pool_private.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { SIMULATION_CLIENTS_MAX = 3, SIMULATION_IMAGES_MAX = 16 };

struct simulation_image {
    unsigned char *bytes;
    size_t size;
    struct client_view views[SIMULATION_CLIENTS_MAX];
};

struct simulation {
    uint64_t seed;
    uint64_t random; /* random numbers of the thread that runs the test */
    struct pool_options options;
    struct pool_options spare; /* the options of the pools that are opened on images */
    char folder[ENVIRONMENT_FOLDER_MAX];
    char spare_folder[ENVIRONMENT_FOLDER_MAX];
    char data_path[ENVIRONMENT_FOLDER_MAX + POOL_NAME_MAX + 16];
    char index_path[ENVIRONMENT_FOLDER_MAX + POOL_NAME_MAX + 16];
    struct disk *disk;
    struct grace *grace;
    struct pool *pool; /* NULL: closed */
    struct store_thread threads[SIMULATION_CLIENTS_MAX];
    struct client *clients;
    unsigned client_count;
    pthread_mutex_t lock; /* protects the clients' knowledge, and the next three fields */
    uint64_t moment_random;
    struct simulation_image *images;
    unsigned image_count;
    struct simulation_image looked_at;
    unsigned later_percent;         /* the share of images that are opened at a later time */
    char wrong[CLIENT_MESSAGE_MAX]; /* the broken promise that was found */
    _Atomic bool restarting;        /* the disk lacks the clients' latest writes */
    _Atomic unsigned sync_percent;  /* at how many percent of the syncs an image is kept */
    pthread_mutex_t notify_lock;
    pthread_cond_t notified; /* the pool has synced */
    /* counters */
    uint64_t states;
    uint64_t cuts;
    uint64_t compacted;
};

/* The options of a small pool, in which segments are soon used again. */
struct pool_options simulation_options(enum pool_fsync fsync, unsigned segments);

/* Creates everything except the pool; begins a new environment. Aborts if memory is short. */
struct simulation *simulation_create(uint64_t seed, const struct pool_options *options,
                                     const struct client_habits *habits, unsigned clients);
void simulation_destroy(struct simulation *simulation);

/* Opens the pool; false with the reason. */
bool simulation_open(struct simulation *simulation, char error[POOL_ERROR_MAX]);

/* Like simulation_open, which must succeed. */
void simulation_begin(struct simulation *simulation);
void simulation_close(struct simulation *simulation);

/* Ends the test, because a promise was broken. Prints the seed. Called by the thread that runs the
 * test. */
__attribute__((noreturn)) void simulation_fail(struct simulation *simulation, const char *wrong);

/* With a probability of `percent`, keeps an image that a power cut might leave at this moment. Any
 * thread may call. */
void simulation_keep_image(struct simulation *simulation, unsigned percent);

/* Checks all kept images, and the results that the clients have seen. The clients must not run
 * meanwhile. A broken promise ends the test. */
void simulation_check_images(struct simulation *simulation);

/* Checks all kept images while clients run. False: `wrong` says which promise was broken. */
bool simulation_check_images_quietly(struct simulation *simulation);

/* Waits until the pool's janitor has nothing to do. No client's thread is online. */
void simulation_wait_for_janitor(struct simulation *simulation);

/* Lets the janitor make a pass. */
void simulation_run_janitor(struct simulation *simulation);

/* Moves all records: each segment that is in use now is freed, the oldest first. False: a sync
 * failed, or there was no room. */
bool simulation_move_all(struct simulation *simulation);

/* Moves the live records of one segment, and frees it. */
bool simulation_move_segment(struct simulation *simulation, uint32_t segment);

/* Waits, as a server does, until this client's writes may be acknowledged (OK) or have failed (IO).
 */
enum status simulation_await_ticket(struct simulation *simulation, unsigned client);

/* Waits for the next sync that the pool makes by itself (fsync = everysec). */
void simulation_await_interval(struct simulation *simulation);

/* Makes the first client's writes durable, as the pool's policy does it. False: that failed. */
bool simulation_sync(struct simulation *simulation);

/* Cuts the power. */
void simulation_cut_power(struct simulation *simulation);

/* Cuts the power, and leaves this image on the disk. */
void simulation_restart_from(struct simulation *simulation, const unsigned char *image);

/* Makes the state that the pool has the state that the clients expect, if that breaks no
 * promise. */
void simulation_resume(struct simulation *simulation);

#endif
