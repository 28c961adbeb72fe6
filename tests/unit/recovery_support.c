#include "recovery_support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void do_nothing(struct store *child, void *argument) {
    (void)child, (void)argument;
}

void store_many(struct store *child, void *argument) {
    const unsigned *count = argument;
    for (unsigned number = 0; number < *count; number++) {
        uint32_t expiry_s = number % 3 ? CLOCK_START_S + 100 + number * 50 : 0;
        EXPECT(store_set_number(child, number, number % 7, number % 900, expiry_s) == STATUS_OK);
    }
}

void delete_one_in_three(struct store *child, void *argument) {
    store_many(child, argument);
    for (unsigned number = 0; number < *(unsigned *)argument; number += 3) {
        EXPECT(store_delete_number(child, number) == STATUS_OK);
    }
}

void store_three(struct store *child, void *argument) {
    (void)argument;
    EXPECT(store_set(child, "a", "first-value", 0) == STATUS_OK);
    EXPECT(store_set(child, "b", "second-value", 0) == STATUS_OK);
    EXPECT(store_set(child, "c", "third-value", 0) == STATUS_OK);
}

static void churn(struct store *child, unsigned rounds) {
    enum { FIRST = 1000000, ITEMS = 200, SIZE = 1000 };
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned number = FIRST; number < FIRST + ITEMS; number++) {
            EXPECT(store_set_number(child, number, round, SIZE, 0) == STATUS_OK);
        }
    }
    for (unsigned number = FIRST; number < FIRST + ITEMS; number++) {
        EXPECT(store_delete_number(child, number) == STATUS_OK);
    }
    store_run_janitor(child, 3);
}

void run_churn(struct store *child, void *argument) {
    churn(child, *(unsigned *)argument);
}

void flush(struct store *store, uint32_t when_s) {
    store_thread_refresh(&store->thread);
    EXPECT(pool_flush(store->pool, &store->thread, when_s) == STATUS_OK);
}

struct image read_image(const char *path) {
    struct image image;
    struct stat status;
    int file = open(path, O_RDONLY);
    EXPECT(file >= 0 && fstat(file, &status) == 0);
    image.size = (size_t)status.st_size;
    image.bytes = malloc(image.size + 1);
    EXPECT(image.bytes != NULL);
    EXPECT(read(file, image.bytes, image.size) == status.st_size);
    close(file);
    return image;
}

void write_bytes(const char *path, const void *bytes, size_t size, size_t offset) {
    int file = open(path, O_WRONLY);
    EXPECT(file >= 0);
    EXPECT(pwrite(file, bytes, size, (off_t)offset) == (ssize_t)size);
    close(file);
}

/* The first place of `text` in the file. */
static size_t find_in_file(const char *path, const char *text) {
    struct image image = read_image(path);
    const char *at = memmem(image.bytes, image.size, text, strlen(text));
    EXPECT(at != NULL);
    size_t offset = (size_t)(at - image.bytes);
    free(image.bytes);
    return offset;
}

void tear(const struct store *store, const char *value) {
    write_bytes(store->data_path, "\xff", 1, find_in_file(store->data_path, value));
}
