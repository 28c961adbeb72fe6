#include "unpack.h"
#include "sessions_1.h"

#include <stdlib.h>
#include <zstd.h>

enum { SESSIONS_1 = 1, MAGIC_SIZE = 4 };

/* Never freed: both are used until the process ends. */
static ZSTD_DCtx *context;
static ZSTD_DDict *dictionary;

static bool is_ready(void) {
    if (dictionary == NULL) {
        dictionary = ZSTD_createDDict(sessions_1, sizeof sessions_1);
        context = ZSTD_createDCtx();
    }
    return dictionary != NULL && context != NULL;
}

bool unpack_session(struct bytes value, struct bytes *unpacked) {
    static const char magic[MAGIC_SIZE] = "\x28\xb5\x2f\xfd";
    static char *frame;
    static char *content;
    if (value.size < 2 || value.size > UNPACK_MAX || value.data[0] != SESSIONS_1 || !is_ready()) {
        return false;
    }
    if (frame == NULL) {
        frame = malloc(UNPACK_MAX + MAGIC_SIZE);
        content = malloc(UNPACK_MAX);
    }
    if (frame == NULL || content == NULL) {
        return false;
    }
    size_t frame_size = value.size - 1 + MAGIC_SIZE;
    memcpy(frame, magic, MAGIC_SIZE);
    memcpy(frame + MAGIC_SIZE, value.data + 1, value.size - 1);
    size_t size =
        ZSTD_decompress_usingDDict(context, content, UNPACK_MAX, frame, frame_size, dictionary);
    if (ZSTD_isError(size)) {
        return false;
    }
    *unpacked = bytes_from(content, size);
    return true;
}
