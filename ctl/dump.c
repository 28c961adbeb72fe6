#include "base/clock.h"
#include "base/log.h"
#include "offline.h"
#include "progress.h"
#include "store/inspect.h"
#include "unpack.h"
#include "words.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Prints `"NAME":"TEXT"`, or `"NAME_base64":...` if the bytes are not valid UTF-8. False if memory
 * is short. */
static bool dump_bytes(const char *name, struct bytes bytes) {
    json_t *object = json_object();
    bool printed = object != NULL && words_set_bytes(object, name, bytes.data, bytes.size) &&
                   json_dumpf(object, stdout, JSON_EMBED | JSON_COMPACT) == 0;
    json_decref(object);
    return printed;
}

/* Prints an item. The numbers are printed without jansson, which cannot represent a CAS of 64
 * bits. */
static bool dump_item(const struct inspect_item *item) {
    struct bytes value = item->value;
    bool packed = unpack_session(item->value, &value);
    putchar('{');
    bool printed = dump_bytes("key", item->key);
    putchar(',');
    printed = dump_bytes("value", value) && printed;
    if (packed) {
        printf(",\"packed_bytes\":%zu", item->value.size);
    }
    printf(",\"flags\":%" PRIu32 ",\"expiry\":%" PRIu32 ",\"cas\":%" PRIu64 ",\"accessed\":%" PRIu32
           ",\"created\":%" PRIu32 "}\n",
           item->client_flags, item->expiry_s, item->cas, item->accessed_s, item->created_s);
    return printed && !ferror(stdout);
}

static bool dump_items(struct inspect *inspect) {
    const struct inspect_about *about = inspect_about(inspect);
    struct progress progress;
    struct inspect_item item;
    uint32_t now_s = clock_unix_s();
    bool printed = true;
    progress_begin(&progress, "dump", about->file_bytes);
    progress.terminal = progress.terminal && isatty(STDOUT_FILENO) == 0;
    while (printed && inspect_next(inspect, now_s, &item)) {
        printed = dump_item(&item);
        progress_show(&progress, (uint64_t)inspect_position(inspect) * about->segment_bytes);
    }
    progress_clear(&progress);
    return fflush(stdout) == 0 && printed;
}

int dump_run(const char *path, const struct invocation *invocation) {
    (void)invocation;
    char error[POOL_ERROR_MAX];
    struct inspect *inspect = inspect_open(path, INSPECT_UNUSED, error);
    int result = EXIT_WRONG;
    log_set_level(LOG_LEVEL_WARNING);
    if (inspect == NULL || !inspect_index(inspect, error)) {
        fprintf(stderr, "stayctl: %s\n", error);
    } else if (!dump_items(inspect)) {
        fprintf(stderr, "stayctl: cannot print all items: %s\n", strerror(errno));
    } else {
        uint64_t torn_bytes = inspect_torn_bytes(inspect);
        if (torn_bytes > 0) {
            fprintf(stderr,
                    "stayctl: %s: %llu bytes between records are damaged or were cut off; "
                    "see 'stayctl check'\n",
                    path, (unsigned long long)torn_bytes);
        }
        result = 0;
    }
    inspect_close(inspect);
    return result;
}
