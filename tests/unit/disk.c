#include "disk.h"

#include "environment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_MAX = 4, DISK_WORDS = DISK_PAGE / sizeof(uint64_t) };

struct disk_version {
    struct disk_version *newer;
    uint64_t serial; /* the same for versions that were recorded together */
    uint64_t words[DISK_WORDS];
};

struct disk_page {
    struct disk_version *oldest; /* NULL: the page is as on the disk */
    struct disk_version *newest;
    uint64_t forgotten; /* no sync writes versions up to this serial */
};

struct disk {
    char path[PATH_MAX];
    struct disk_watcher watcher;
    pthread_mutex_t lock; /* all that follows */
    bool off;
    bool unsynced_file; /* bytes that were written before the file was mapped */
    size_t size;
    uint64_t *mapped;  /* the pool's mapping; NULL: none */
    uint64_t *durable; /* of the same size */
    struct disk_page *pages;
    struct disk_version *unused;
    uint64_t serial;
};

static struct disk *disks[DISK_MAX];
static pthread_mutex_t disks_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- pages ---- */

/* Copies a page while the pool's threads may write to it. A torn copy is also possible on a
 * disk. */
__attribute__((no_sanitize("thread"), no_sanitize("address"))) static bool
page_differs(const uint64_t *page, const uint64_t *known) {
    const volatile uint64_t *words = page;
    for (size_t i = 0; i < DISK_WORDS; i++) {
        if (words[i] != known[i]) {
            return true;
        }
    }
    return false;
}

__attribute__((no_sanitize("thread"), no_sanitize("address"))) static void
page_copy(uint64_t *to, const uint64_t *page) {
    const volatile uint64_t *words = page;
    for (size_t i = 0; i < DISK_WORDS; i++) {
        to[i] = words[i];
    }
}

static size_t disk_pages(const struct disk *disk) {
    return disk->size / DISK_PAGE;
}

static const uint64_t *disk_latest(const struct disk *disk, size_t page) {
    const struct disk_version *newest = disk->pages[page].newest;
    return newest != NULL ? newest->words : disk->durable + page * DISK_WORDS;
}

static struct disk_version *disk_take_version(struct disk *disk) {
    struct disk_version *version = disk->unused;
    if (version != NULL) {
        disk->unused = version->newer;
        return version;
    }
    version = malloc(sizeof *version);
    if (version == NULL) {
        abort();
    }
    return version;
}

static void disk_record_page(struct disk *disk, size_t page) {
    const uint64_t *mapped = disk->mapped + page * DISK_WORDS;
    if (!page_differs(mapped, disk_latest(disk, page))) {
        return;
    }
    struct disk_version *version = disk_take_version(disk);
    version->newer = NULL;
    version->serial = disk->serial;
    page_copy(version->words, mapped);
    if (disk->pages[page].newest == NULL) {
        disk->pages[page].oldest = version;
    } else {
        disk->pages[page].newest->newer = version;
    }
    disk->pages[page].newest = version;
}

/* Drops the oldest version of a page. */
static void disk_drop_version(struct disk *disk, size_t page) {
    struct disk_page *versions = &disk->pages[page];
    struct disk_version *version = versions->oldest;
    versions->oldest = version->newer;
    if (versions->oldest == NULL) {
        versions->newest = NULL;
    }
    version->newer = disk->unused;
    disk->unused = version;
}

static void disk_drop_all(struct disk *disk) {
    for (size_t page = 0; page < disk_pages(disk); page++) {
        while (disk->pages[page].oldest != NULL) {
            disk_drop_version(disk, page);
        }
        disk->pages[page].forgotten = 0;
    }
}

static uint64_t disk_record_locked(struct disk *disk) {
    disk->serial++;
    for (size_t page = 0; disk->mapped != NULL && page < disk_pages(disk); page++) {
        disk_record_page(disk, page);
    }
    return disk->serial;
}

void disk_record(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    disk_record_locked(disk);
    pthread_mutex_unlock(&disk->lock);
}

void disk_record_some(struct disk *disk, uint64_t *random, uint32_t one_in) {
    pthread_mutex_lock(&disk->lock);
    disk->serial++;
    for (size_t page = 0; disk->mapped != NULL && page < disk_pages(disk); page++) {
        if (random_below(random, one_in) == 0) {
            disk_record_page(disk, page);
        }
    }
    pthread_mutex_unlock(&disk->lock);
}

/* Whether a sync that began at `serial` writes this page. It does only if the page has changed
 * since a sync failed. */
static bool disk_is_to_write(const struct disk_page *versions, uint64_t serial) {
    for (const struct disk_version *version = versions->oldest; version != NULL;
         version = version->newer) {
        if (version->serial > versions->forgotten && version->serial <= serial) {
            return true;
        }
    }
    return false;
}

/* Makes everything that was recorded up to `serial` durable. */
static void disk_make_durable(struct disk *disk, uint64_t serial) {
    for (size_t page = 0; page < disk_pages(disk); page++) {
        struct disk_page *versions = &disk->pages[page];
        if (!disk_is_to_write(versions, serial)) {
            continue;
        }
        while (versions->oldest != NULL && versions->oldest->serial <= serial) {
            memcpy(disk->durable + page * DISK_WORDS, versions->oldest->words, DISK_PAGE);
            disk_drop_version(disk, page);
        }
    }
}

/* ---- the store's requests ---- */

/* A descriptor is identified by the name that its file has, or had while the file was being
 * made. */
static struct disk *disk_of(int file) {
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    struct disk *found = NULL;
    pthread_mutex_lock(&disks_lock);
    for (int i = 0; i < DISK_MAX; i++) {
        if (disks[i] != NULL && strncmp(path, disks[i]->path, strlen(disks[i]->path)) == 0) {
            found = disks[i];
        }
    }
    pthread_mutex_unlock(&disks_lock);
    return found;
}

static bool disk_is_off(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    bool off = disk->off;
    pthread_mutex_unlock(&disk->lock);
    return off;
}

static int disk_sync(int file) {
    struct disk *disk = disk_of(file);
    if (disk == NULL || disk_is_off(disk)) {
        return 0;
    }
    struct disk_note note;
    if (disk->watcher.sync_begins != NULL) {
        disk->watcher.sync_begins(disk->watcher.context, &note);
    }
    pthread_mutex_lock(&disk->lock);
    uint64_t serial = disk_record_locked(disk);
    pthread_mutex_unlock(&disk->lock);
    sched_yield(); /* what other threads write meanwhile may or may not reach the disk */
    pthread_mutex_lock(&disk->lock);
    bool off = disk->off;
    if (!off) {
        disk->unsynced_file = false;
        disk_make_durable(disk, serial);
    }
    pthread_mutex_unlock(&disk->lock);
    if (!off && disk->watcher.sync_ended != NULL) {
        disk->watcher.sync_ended(disk->watcher.context, &note);
    }
    return 0;
}

static ssize_t disk_write(int file, const void *data, size_t size, off_t offset) {
    struct disk *disk = disk_of(file);
    if (disk != NULL) {
        pthread_mutex_lock(&disk->lock);
        disk->unsynced_file = true;
        for (size_t at = (size_t)offset; at < (size_t)offset + size; at += DISK_PAGE) {
            if (at < disk->size) {
                disk->pages[at / DISK_PAGE].forgotten = 0;
            }
        }
        pthread_mutex_unlock(&disk->lock);
    }
    return pwrite(file, data, size, offset);
}

void disk_fail_sync(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    uint64_t serial = disk_record_locked(disk);
    for (size_t page = 0; page < disk_pages(disk); page++) {
        disk->pages[page].forgotten = serial;
    }
    pthread_mutex_unlock(&disk->lock);
}

/* Prepares the pages of a file of this size. What was not synced before is not on the disk. */
static void disk_attach(struct disk *disk, size_t size, void *mapped) {
    pthread_mutex_lock(&disk->lock);
    if (disk->size != size) {
        disk_drop_all(disk);
        free(disk->durable);
        free(disk->pages);
        disk->size = size;
        disk->durable = calloc(1, size);
        disk->pages = calloc(size / DISK_PAGE, sizeof *disk->pages);
        if (disk->durable == NULL || disk->pages == NULL) {
            abort();
        }
        if (!disk->unsynced_file) {
            memcpy(disk->durable, mapped, size);
        }
    }
    disk->mapped = mapped;
    pthread_mutex_unlock(&disk->lock);
}

static void *disk_map(size_t size, int file) {
    struct disk *disk = disk_of(file);
    void *mapped = store_io_system.map(size, file);
    if (disk != NULL && mapped != MAP_FAILED) {
        disk_attach(disk, size, mapped);
    }
    return mapped;
}

static int disk_allocate(int file, off_t offset, off_t bytes) {
    return posix_fallocate(file, offset, bytes);
}

static int disk_punch(int file, off_t offset, off_t bytes) {
    return store_io_system.punch(file, offset, bytes);
}

const struct store_io disk_io = {
    .sync = disk_sync,
    .allocate = disk_allocate,
    .write = disk_write,
    .punch = disk_punch,
    .map = disk_map,
};

/* ---- power ---- */

struct disk *disk_create(const char *path, const struct disk_watcher *watcher) {
    struct disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        abort();
    }
    snprintf(disk->path, sizeof disk->path, "%s", path);
    disk->watcher = *watcher;
    pthread_mutex_init(&disk->lock, NULL);
    pthread_mutex_lock(&disks_lock);
    int free_place = 0;
    while (disks[free_place] != NULL) {
        free_place++;
    }
    disks[free_place] = disk;
    pthread_mutex_unlock(&disks_lock);
    store_io = &disk_io;
    return disk;
}

void disk_destroy(struct disk *disk) {
    bool last = true;
    pthread_mutex_lock(&disks_lock);
    for (int i = 0; i < DISK_MAX; i++) {
        disks[i] = disks[i] == disk ? NULL : disks[i];
        last = last && disks[i] == NULL;
    }
    pthread_mutex_unlock(&disks_lock);
    if (last) {
        store_io = &store_io_system;
    }
    disk_drop_all(disk);
    while (disk->unused != NULL) {
        struct disk_version *version = disk->unused;
        disk->unused = version->newer;
        free(version);
    }
    pthread_mutex_destroy(&disk->lock);
    free(disk->pages);
    free(disk->durable);
    free(disk);
}

size_t disk_size(const struct disk *disk) {
    return disk->size;
}

/* The newest version that is not newer than `serial`. */
static const uint64_t *disk_version_at(const struct disk *disk, size_t page, uint64_t serial) {
    const uint64_t *words = disk->durable + page * DISK_WORDS;
    for (const struct disk_version *version = disk->pages[page].oldest;
         version != NULL && version->serial <= serial; version = version->newer) {
        words = version->words;
    }
    return words;
}

static const uint64_t *disk_any_version(const struct disk *disk, size_t page, uint64_t *random) {
    unsigned count = 0;
    for (const struct disk_version *version = disk->pages[page].oldest; version != NULL;
         version = version->newer) {
        count++;
    }
    const uint64_t *words = disk->durable + page * DISK_WORDS;
    const struct disk_version *version = disk->pages[page].oldest;
    for (uint32_t chosen = random_below(random, count + 1); chosen > 0; chosen--) {
        words = version->words;
        version = version->newer;
    }
    return words;
}

/* What a power cut does to the pages. */
struct disk_mood {
    unsigned written; /* the percentage of pages that are as at the last moment */
    unsigned lost;    /* of the others, the percentage that is as at the last sync */
    unsigned torn;    /* the percentage of pages that are torn, sector by sector */
    bool in_order;    /* all pages are as they were at one moment */
};

static struct disk_mood disk_choose_mood(uint64_t *random) {
    static const struct disk_mood moods[] = {
        {.written = 100},
        {.lost = 100},
        {.in_order = true},
        {.written = 50, .lost = 100},
        {.written = 90, .lost = 100},
        {.written = 10, .lost = 100},
        {.written = 30, .lost = 40, .torn = 10},
        {.written = 0, .lost = 0, .torn = 5},
        {.written = 80, .lost = 50, .torn = 50},
        {.written = 97, .lost = 100, .torn = 3},
    };
    return moods[random_below(random, sizeof moods / sizeof *moods)];
}

static const uint64_t *disk_choose(const struct disk *disk, size_t page,
                                   const struct disk_mood *mood, uint64_t moment,
                                   uint64_t *random) {
    if (mood->in_order) {
        return disk_version_at(disk, page, moment);
    }
    if (random_chance(random, mood->written)) {
        return disk_latest(disk, page);
    }
    if (random_chance(random, mood->lost)) {
        return disk->durable + page * DISK_WORDS;
    }
    return disk_any_version(disk, page, random);
}

void disk_cut(struct disk *disk, uint64_t *random, unsigned char *image) {
    pthread_mutex_lock(&disk->lock);
    struct disk_mood mood = disk_choose_mood(random);
    uint64_t moment = disk->serial > 64 ? disk->serial - random_below(random, 64) : disk->serial;
    memcpy(image, disk->durable, disk->size);
    for (size_t page = 0; page < disk_pages(disk); page++) {
        if (disk->pages[page].oldest == NULL) {
            continue;
        }
        unsigned char *to = image + page * DISK_PAGE;
        memcpy(to, disk_choose(disk, page, &mood, moment, random), DISK_PAGE);
        if (!random_chance(random, mood.torn)) {
            continue;
        }
        const unsigned char *other = (const void *)disk_any_version(disk, page, random);
        for (size_t sector = 0; sector < DISK_PAGE; sector += DISK_SECTOR) {
            if (random_chance(random, 50)) {
                memcpy(to + sector, other + sector, DISK_SECTOR);
            }
        }
    }
    pthread_mutex_unlock(&disk->lock);
}

void disk_cut_pages(struct disk *disk, bool (*lost)(void *context, size_t page), void *context,
                    unsigned char *image) {
    pthread_mutex_lock(&disk->lock);
    disk_record_locked(disk);
    for (size_t page = 0; page < disk_pages(disk); page++) {
        const uint64_t *words =
            lost(context, page) ? disk->durable + page * DISK_WORDS : disk_latest(disk, page);
        memcpy(image + page * DISK_PAGE, words, DISK_PAGE);
    }
    pthread_mutex_unlock(&disk->lock);
}

void disk_unmap(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    disk->mapped = NULL;
    pthread_mutex_unlock(&disk->lock);
}

void disk_power_off(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    disk->off = true;
    pthread_mutex_unlock(&disk->lock);
}

void disk_power_on(struct disk *disk, const unsigned char *image) {
    pthread_mutex_lock(&disk->lock);
    disk_drop_all(disk);
    memcpy(disk->durable, image, disk->size);
    disk->unsynced_file = false;
    disk->off = false;
    pthread_mutex_unlock(&disk->lock);
    disk_write_file(disk->path, image, disk->size);
}

void disk_write_file(const char *path, const unsigned char *image, size_t size) {
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || pwrite(file, image, size, 0) != (ssize_t)size ||
        ftruncate(file, (off_t)size) != 0) {
        perror(path);
        abort();
    }
    close(file);
}
