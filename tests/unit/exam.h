/* A pool on a disk that may lose its power, clients that use it, and examiners who look at what a
 * power cut would have left.
 *
 * At every moment that matters - after an operation, before and after a sync - an image of the disk
 * is kept together with what the clients know at that moment (exam_moment). Later it is opened as a
 * pool of its own and compared (exam_look). exam_cut cuts the power for good: the pool goes on with
 * what is left.
 *
 * The first client's operations come from the thread that runs the test. While timers are stopped
 * (machine.h) a test that waits for the janitor after each of them goes the same way each time. */
#ifndef STAYD_TESTS_EXAM_H
#define STAYD_TESTS_EXAM_H

#include "client.h"
#include "disk.h"
#include "machine.h"
#include "store/pool_private.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { EXAM_CLIENTS_MAX = 3, EXAM_IMAGES_MAX = 16 };

struct exam_image {
    unsigned char *bytes;
    size_t size;
    struct client_view views[EXAM_CLIENTS_MAX];
};

struct exam {
    uint64_t seed;
    uint64_t random; /* of the thread that runs the test */
    struct pool_options options;
    struct pool_options spare; /* of the pools that images are opened with */
    char folder[MACHINE_FOLDER_MAX];
    char spare_folder[MACHINE_FOLDER_MAX];
    char data_path[MACHINE_FOLDER_MAX + POOL_NAME_MAX + 16];
    char index_path[MACHINE_FOLDER_MAX + POOL_NAME_MAX + 16];
    struct disk *disk;
    struct grace *grace;
    struct pool *pool; /* NULL: closed */
    struct store_thread threads[EXAM_CLIENTS_MAX];
    struct client *clients;
    unsigned client_count;
    pthread_mutex_t lock; /* of what the clients know, and of the next three */
    uint64_t moment_random;
    struct exam_image *images;
    unsigned image_count;
    struct exam_image looked_at;
    unsigned later_percent;         /* of the images: looked at when some time has passed */
    char wrong[CLIENT_MESSAGE_MAX]; /* what was found */
    _Atomic bool restarting;        /* what the disk has is not what the clients did last */
    _Atomic unsigned sync_percent;  /* how often the moment of a sync is looked at */
    pthread_mutex_t notify_lock;
    pthread_cond_t notified; /* the pool has synced */
    /* what was seen */
    uint64_t states;
    uint64_t cuts;
    uint64_t compacted;
};

/* A small pool, in which segments are soon used again. */
struct pool_options exam_options(enum pool_fsync fsync, unsigned segments);

/* Makes everything but the pool; begins a new machine. Allocates, aborts where it cannot. */
struct exam *exam_create(uint64_t seed, const struct pool_options *options,
                         const struct client_habits *habits, unsigned clients);
void exam_destroy(struct exam *exam);

/* Opens the pool; false with the reason. */
bool exam_open(struct exam *exam, char error[POOL_ERROR_MAX]);

/* As exam_open, which must not fail. */
void exam_begin(struct exam *exam);
void exam_close(struct exam *exam);

/* Ends the test: a promise was broken. Prints the seed. By the thread that runs the test. */
__attribute__((noreturn)) void exam_fail(struct exam *exam, const char *wrong);

/* Keeps, so many times of a hundred, what a power cut might leave at this moment. Any thread. */
void exam_moment(struct exam *exam, unsigned percent);

/* Looks at all that was kept, and at what the clients have met with, who do nothing meanwhile.
 * A broken promise ends the test. */
void exam_look(struct exam *exam);

/* Looks at all that was kept, while clients go on; false: `wrong` says what was broken. */
bool exam_look_quietly(struct exam *exam);

/* Waits until the pool's janitor has nothing to do. No client's thread is online. */
void exam_wait_for_janitor(struct exam *exam);

/* Lets the janitor make a pass. */
void exam_run_janitor(struct exam *exam);

/* Moves everything: each segment that is in use now is freed, the oldest first. False: a sync
 * failed, or there was no room. */
bool exam_move_all(struct exam *exam);

/* Moves what lives in one segment, and frees it. */
bool exam_move_segment(struct exam *exam, uint32_t segment);

/* Waits, as a server does, until this client's writes may be acknowledged (OK), or never will be
 * (IO). */
enum status exam_await_ticket(struct exam *exam, unsigned client);

/* Waits until the pool has made one more sync of its own accord (fsync = everysec). */
void exam_await_interval(struct exam *exam);

/* Makes what the first client did durable, as the pool's policy has it; false: it can not. */
bool exam_sync(struct exam *exam);

/* The power goes. */
void exam_cut(struct exam *exam);

/* The power goes and leaves this. */
void exam_cut_to(struct exam *exam, const unsigned char *image);

/* Takes what the pool has now for what there is, if the clients know nothing against it. */
void exam_resume(struct exam *exam);

#endif
