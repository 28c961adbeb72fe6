/* Shared by the tests of readers: the state of another process that maps a pool. */
#ifndef STAYD_TESTS_READER_SUPPORT_H
#define STAYD_TESTS_READER_SUPPORT_H

#include "store_support.h"

#include "store/pool_private.h"
#include "store/reader.h"

enum { READER_ROOM = 64 << 10 };

/* A reader as in another process: it has descriptors of its own, and mappings that it cannot
 * write. */
struct reading {
    int data_file;
    int index_file;
    void *data;
    void *index;
    size_t data_bytes;
    size_t index_bytes;
    struct lookup_view view;
    char value[READER_ROOM];
    struct reader_item item;
};

/* Maps the pool of `store`, or any other pool; it must be open. */
void reading_begin(struct reading *reading, struct store *store);
void reading_begin_on(struct reading *reading, struct pool *pool);
void reading_end(struct reading *reading);

enum reader_outcome read_key(struct reading *reading, const char *key);
void expect_read(struct reading *reading, const char *key, const char *value);

#define ON_VOLATILE(test) STORE_TEST(test, .segments = 16)
#define ON_PERSISTENT(test) STORE_TEST(test, .segments = 16, .persist = true)
#define ON_BOTH(test) ON_VOLATILE(test), ON_PERSISTENT(test)

#endif
