#include "image.h"

#include "base/hash.h"
#include "check.h"
#include "store/geometry.h"
#include "store/record.h"
#include "store/segment.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { IMAGE_SEGMENTS = 8, IMAGE_SEGMENT = 64 << 10, IMAGE_PLACES_MAX = 4096, IMAGE_UP_S = 1000 };

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags);

/* The store's clock of seconds does not move; the fuzzer's own clocks do. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock == CLOCK_REALTIME_COARSE) {
        *now = (struct timespec){.tv_sec = IMAGE_NOW_S};
        return 0;
    }
    if (clock == CLOCK_BOOTTIME) {
        *now = (struct timespec){.tv_sec = IMAGE_UP_S};
        return 0;
    }
    return __real_clock_gettime(clock, now);
}

/* Returns the same bytes each time, so that an input has the same effect on every image. */
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags) {
    (void)flags;
    memset(buffer, 0x5a, size);
    return (ssize_t)size;
}

static char folder_to_remove[64];

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void remove_folder(void) {
    nftw(folder_to_remove, remove_entry, 4, FTW_DEPTH | FTW_PHYS);
}

static void image_make_folder(struct image *image) {
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(image->folder, sizeof image->folder, "%s/stayd-fuzz-XXXXXX", root);
    check(mkdtemp(image->folder) != NULL, "a folder for the pool");
    memcpy(folder_to_remove, image->folder, sizeof folder_to_remove);
    atexit(remove_folder);
    snprintf(image->data_path, sizeof image->data_path, "%s/fuzz.pool", image->folder);
    snprintf(image->index_path, sizeof image->index_path, "%s/fuzz.index", image->folder);
    image->options = (struct pool_options){
        .name = "fuzz",
        .memory_bytes = (uint64_t)IMAGE_SEGMENTS * IMAGE_SEGMENT,
        .item_max_bytes = 4 << 10,
        .persist = true,
        .fsync = POOL_FSYNC_NO,
        .data_dir = image->folder,
        .run_dir = image->folder,
    };
}

static void store(struct image *image, struct pool *pool, unsigned number,
                  const struct pool_store *request) {
    char key[32];
    size_t size = (size_t)snprintf(key, sizeof key, "key-%u", number);
    store_thread_refresh(&image->thread);
    check(pool_store(pool, &image->thread, bytes_from(key, size), request, NULL) == STATUS_OK,
          "the base of the image fits");
}

/* Stores ten kinds of items, in three generations with a flush between them. */
static void image_fill(struct image *image, struct pool *pool) {
    static const uint32_t expiries_s[] = {0, IMAGE_NOW_S + 100, IMAGE_NOW_S + 3000,
                                          IMAGE_NOW_S + 90000};
    char value[200];
    memset(value, 'v', sizeof value);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned number = 0; number < 40; number++) {
            value[0] = (char)('a' + round);
            store(image, pool, number,
                  &(struct pool_store){
                      .value = bytes_from(value, 1 + number * 5 % sizeof value),
                      .client_flags = number % 3 == 0 ? number : 0,
                      .expiry_s = expiries_s[(number + round) % 4],
                      .set_cas = number % 5 == 0,
                      .new_cas = number,
                  });
        }
        for (unsigned number = 0; number < 40; number += 7) {
            char key[32];
            size_t size = (size_t)snprintf(key, sizeof key, "key-%u", number);
            store_thread_refresh(&image->thread);
            pool_delete(pool, &image->thread, bytes_from(key, size),
                        &(struct pool_delete){.invalidate = number % 2 == 1});
        }
        if (round < 2) {
            store_thread_refresh(&image->thread);
            check(pool_flush(pool, &image->thread, IMAGE_NOW_S + round * 50) == STATUS_OK, "flush");
        }
    }
    store_thread_leave(&image->thread);
}

static void image_read(struct image *image) {
    image->size = LAYOUT_PAGE + (size_t)IMAGE_SEGMENTS * IMAGE_SEGMENT;
    image->bytes = malloc(image->size);
    image->changed = malloc(image->size);
    image->places = malloc(IMAGE_PLACES_MAX * sizeof *image->places);
    check(image->bytes != NULL && image->changed != NULL && image->places != NULL, "memory");
    int file = open(image->data_path, O_RDONLY | O_CLOEXEC);
    check(file >= 0 && pread(file, image->bytes, image->size, 0) == (ssize_t)image->size,
          "the file of the pool");
    close(file);
}

/* Calls the function for each record that can be read, in the segments that have a header. */
static void image_walk(struct image *image, char *bytes,
                       void (*visit)(struct image *image, char *bytes,
                                     const struct layout_segment_header *header, size_t offset)) {
    for (size_t segment = LAYOUT_PAGE; segment + IMAGE_SEGMENT <= image->size;
         segment += IMAGE_SEGMENT) {
        const struct layout_segment_header *header = (const void *)(bytes + segment);
        size_t offset = sizeof *header;
        struct record record;
        while (header->magic == LAYOUT_SEGMENT_MAGIC && offset < IMAGE_SEGMENT &&
               record_read((const void *)(bytes + segment + offset), IMAGE_SEGMENT - offset,
                           &record)) {
            visit(image, bytes, header, segment + offset);
            offset += record_stored_size((const void *)(bytes + segment + offset));
        }
    }
}

static void note_place(struct image *image, char *bytes, const struct layout_segment_header *header,
                       size_t offset) {
    (void)bytes, (void)header;
    check(image->place_count < IMAGE_PLACES_MAX, "room for the places");
    image->places[image->place_count++] = (uint32_t)offset;
}

void image_begin(struct image *image) {
    char error[POOL_ERROR_MAX];
    image_make_folder(image);
    image->grace = grace_create(1);
    check(image->grace != NULL, "memory");
    store_thread_init(&image->thread, image->grace, 0);
    struct pool *pool = pool_open(&image->options, image->grace, error);
    check(pool != NULL, "the image can be made");
    image_fill(image, pool);
    pool_close(pool);
    image_read(image);
    image->places[image->place_count++] = 0;
    for (unsigned segment = 0; segment < IMAGE_SEGMENTS; segment++) {
        image->places[image->place_count++] = LAYOUT_PAGE + segment * IMAGE_SEGMENT;
    }
    image_walk(image, image->bytes, note_place);
}

/* The unread rest of an input. */
struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static unsigned input_byte(struct input *input) {
    return input->at < input->end ? *input->at++ : 0;
}

/* Reads a place and an offset. The result is within the file. */
static size_t input_position(struct input *input, const struct image *image) {
    unsigned place = input_byte(input);
    place |= input_byte(input) << 8;
    unsigned offset = input_byte(input);
    return (image->places[place % image->place_count] + offset) % image->size;
}

static void image_operate(struct image *image, struct input *input) {
    size_t at = input_position(input, image);
    unsigned operation = input_byte(input);
    size_t count = operation & 0x3f;
    size_t room = image->size - at;
    switch (operation >> 6) {
    case IMAGE_WRITE:
        for (size_t i = 0; i < count && i < room && input->at < input->end; i++) {
            image->changed[at + i] = (char)input_byte(input);
        }
        break;
    case IMAGE_ERASE:
        memset(image->changed + at, 0, count * 8 < room ? count * 8 : room);
        break;
    case IMAGE_COPY: {
        size_t from = input_position(input, image);
        room = image->size - from < room ? image->size - from : room;
        memmove(image->changed + at, image->changed + from, count * 8 < room ? count * 8 : room);
        break;
    }
    case IMAGE_CUT:
        image->changed_size = at < image->changed_size && count == 0 ? at : image->changed_size;
        break;
    default:
        break;
    }
}

static void fix_record(struct image *image, char *bytes, const struct layout_segment_header *header,
                       size_t offset) {
    (void)image;
    const struct layout_data_header *data = (const void *)bytes;
    struct layout_record *at = (void *)(bytes + offset);
    record_shorten(at, at->expiry_s, record_crc_seed(data->crc_seed, header));
}

static void image_fix(struct image *image, unsigned fixes) {
    struct layout_data_header *data = (void *)image->changed;
    if ((fixes & IMAGE_FIX_HEADER) != 0) {
        data->magic = LAYOUT_DATA_MAGIC;
        data->version = LAYOUT_VERSION;
        data->header_crc = geometry_header_crc(data);
    }
    for (size_t at = LAYOUT_PAGE; (fixes & IMAGE_FIX_SEGMENTS) != 0 && at < image->size;
         at += IMAGE_SEGMENT) {
        struct layout_segment_header *header = (void *)(image->changed + at);
        header->header_crc = 0;
        header->header_crc = hash_crc32c(0, header, sizeof *header);
    }
    if ((fixes & IMAGE_FIX_RECORDS) != 0) {
        image_walk(image, image->changed, fix_record);
    }
}

unsigned image_change(struct image *image, const uint8_t *data, size_t size) {
    struct input input = {data, data + size};
    memcpy(image->changed, image->bytes, image->size);
    image->changed_size = image->size;
    unsigned fixes = input_byte(&input);
    while (input.at < input.end) {
        image_operate(image, &input);
    }
    image_fix(image, fixes);
    unlink(image->index_path);
    unlink(image->data_path);
    int file = open(image->data_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(file >= 0 &&
              pwrite(file, image->changed, image->changed_size, 0) == (ssize_t)image->changed_size,
          "the changed file");
    close(file);
    return fixes;
}
