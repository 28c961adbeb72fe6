/* A damaged pool file: the daemon and the tools either refuse the file with a reason, or use its
 * whole records and serve them. A second recovery of the same file finds the same items: no item
 * comes back and none is lost. */
#include "base/log.h"
#include "check.h"
#include "image.h"
#include "store/inspect.h"

#include <stdlib.h>
#include <unistd.h>

enum { ITEMS_MAX = 256 };

struct items {
    size_t count;
    struct {
        char key[POOL_KEY_MAX];
        uint8_t key_size;
        uint32_t client_flags;
        uint32_t expiry_s;
        uint64_t cas;
        size_t value_size;
        uint32_t value_sum;
    } items[ITEMS_MAX];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t sum(struct bytes value) {
    uint32_t result = 0;
    for (size_t i = 0; i < value.size; i++) {
        result = result * 31 + (unsigned char)value.data[i];
    }
    return result;
}

static void ignore_report(void *context, uint32_t segment, uint64_t offset, const char *what) {
    (void)context, (void)segment, (void)offset;
    check(what != NULL && what[0] != '\0', "a fault is told in words");
}

/* Does what stayctl check and stayctl dump do. False: the file is refused. */
static bool read_items(struct image *image, struct items *items) {
    char error[POOL_ERROR_MAX] = "";
    items->count = 0;
    struct inspect *inspect = inspect_open(image->data_path, INSPECT_UNUSED, error);
    if (inspect == NULL) {
        check(error[0] != '\0', "a refusal has a reason");
        return false;
    }
    struct inspect_counts counts = {0};
    uint32_t segments = inspect_about(inspect)->segment_count;
    for (uint32_t segment = 0; segment < segments; segment++) {
        inspect_verify(inspect, segment, &counts, ignore_report, NULL);
    }
    bool indexed = inspect_index(inspect, error);
    check(indexed || error[0] != '\0', "a refusal has a reason");
    struct inspect_item item;
    while (indexed && inspect_next(inspect, IMAGE_NOW_S, &item)) {
        check(items->count < ITEMS_MAX, "there are no more items than were stored");
        size_t i = items->count++;
        memcpy(items->items[i].key, item.key.data, item.key.size);
        items->items[i].key_size = (uint8_t)item.key.size;
        items->items[i].client_flags = item.client_flags;
        items->items[i].expiry_s = item.expiry_s;
        items->items[i].cas = item.cas;
        items->items[i].value_size = item.value.size;
        items->items[i].value_sum = sum(item.value);
    }
    inspect_close(inspect);
    return indexed;
}

/* The pool has each of these items unchanged, and no others. */
static void check_items(struct image *image, struct pool *pool, const struct items *items) {
    store_thread_refresh(&image->thread);
    for (size_t i = 0; i < items->count; i++) {
        struct item item;
        struct bytes key = bytes_from(items->items[i].key, items->items[i].key_size);
        enum status status = pool_get(pool, &image->thread, key, &item);
        if (status != STATUS_OK) {
            show_bytes("key", key);
        }
        check(status == STATUS_OK, "an item that was found once is found again");
        check(item.value.size == items->items[i].value_size &&
                  sum(item.value) == items->items[i].value_sum &&
                  item.client_flags == items->items[i].client_flags &&
                  item.expiry_s == items->items[i].expiry_s && item.cas == items->items[i].cas,
              "with everything that it had");
    }
    store_thread_leave(&image->thread);
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    check(stats.items == items->count, "and no other is there");
}

/* The pool can be read and written, whatever the file contains. */
static void use(struct image *image, struct pool *pool) {
    char key[32] = "key-00";
    for (unsigned number = 0; number < 40; number++) {
        struct item item;
        struct pool_fetched fetched;
        key[4] = (char)('0' + number / 10);
        key[5] = (char)('0' + number % 10);
        struct bytes name = number < 10 ? bytes_from_string("key-5") : bytes_from(key, 6);
        store_thread_refresh(&image->thread);
        pool_get(pool, &image->thread, name, &item);
        pool_fetch(pool, &image->thread, name,
                   &(struct pool_fetch){.touch = true, .touch_expiry_s = IMAGE_NOW_S + number},
                   &fetched);
        pool_store(pool, &image->thread, name, &(struct pool_store){.value = name}, NULL);
        if (number % 2 == 0) {
            pool_delete(pool, &image->thread, name, NULL);
        }
    }
    store_thread_leave(&image->thread);
}

static struct pool *open_pool(struct image *image) {
    char error[POOL_ERROR_MAX] = "";
    struct pool *pool = pool_open(&image->options, image->grace, error);
    check(pool != NULL || error[0] != '\0', "a refusal has a reason");
    return pool;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct image image;
    static struct items before;
    static struct items after;
    if (image.bytes == NULL) {
        log_set_level(LOG_LEVEL_ERROR);
        image_begin(&image);
    }
    unsigned fixes = image_change(&image, data, size);
    /* Two forged records may have the same key and number: then either may win. */
    bool genuine = (fixes & (IMAGE_FIX_RECORDS | IMAGE_FIX_SEGMENTS)) == 0;
    bool readable = read_items(&image, &before);
    struct pool *pool = open_pool(&image);
    if (pool == NULL) {
        return 0;
    }
    if (genuine && readable) {
        check_items(&image, pool, &before);
    }
    pool_close(pool);

    /* again, as if the first daemon had been killed */
    unlink(image.index_path);
    if (genuine && readable) {
        check(read_items(&image, &after), "a file that was recovered can be read");
        check(after.count == before.count, "by the tools too");
    }
    pool = open_pool(&image);
    check(pool != NULL, "a file that was recovered once is recovered again");
    if (genuine && readable) {
        check_items(&image, pool, &before);
    }
    use(&image, pool);
    pool_close(pool);
    pool = open_pool(&image); /* after a clean stop */
    check(pool != NULL, "a file that was used is opened again");
    pool_close(pool);
    return 0;
}
