#include "reader_support.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void *map_read_only(int file, size_t *size) {
    struct stat status;
    EXPECT(fstat(file, &status) == 0);
    *size = (size_t)status.st_size;
    void *base = mmap(NULL, *size, PROT_READ, MAP_SHARED, file, 0);
    EXPECT(base != MAP_FAILED);
    return base;
}

void reading_begin_on(struct reading *reading, struct pool *pool) {
    reading->data_file = mapping_open_read_only(&pool->data_mapping);
    reading->index_file = mapping_open_read_only(&pool->index_mapping);
    EXPECT(reading->data_file >= 0 && reading->index_file >= 0);
    reading->data = map_read_only(reading->data_file, &reading->data_bytes);
    reading->index = map_read_only(reading->index_file, &reading->index_bytes);
    EXPECT(lookup_open(&reading->view, reading->data, reading->data_bytes, reading->index,
                       reading->index_bytes));
}

void reading_begin(struct reading *reading, struct store *store) {
    reading_begin_on(reading, store->pool);
    EXPECT(reader_is_current(&reading->view) && reader_is_kept(&reading->view));
}

void reading_end(struct reading *reading) {
    munmap(reading->data, reading->data_bytes);
    munmap(reading->index, reading->index_bytes);
    close(reading->data_file);
    close(reading->index_file);
}

enum reader_outcome read_key(struct reading *reading, const char *key) {
    return reader_get(&reading->view, bytes_from_string(key), reading->value, sizeof reading->value,
                      &reading->item);
}

void expect_read(struct reading *reading, const char *key, const char *value) {
    assert_int_equal(read_key(reading, key), READER_HIT);
    assert_int_equal(reading->item.value_size, strlen(value));
    assert_memory_equal(reading->value, value, strlen(value));
}
