#include "store/inspect.h"

#include "base/number.h"
#include "store/geometry.h"
#include "store/index_file.h"
#include "store/inspect_private.h"
#include "store/paths.h"
#include "store/positions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Writes a message, cut off if it is too long. Returns false. */
__attribute__((format(printf, 2, 3))) static bool inspect_explain(char *error, const char *format,
                                                                  ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, POOL_ERROR_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* Reads `size` bytes. False with errno; with errno 0: the file is shorter. */
static bool inspect_read_at(int file, void *data, size_t size, uint64_t offset) {
    char *to = data;
    while (size > 0) {
        ssize_t length = pread(file, to, size, (off_t)offset);
        if (length < 0 && errno == EINTR) {
            continue;
        }
        if (length <= 0) {
            errno = length == 0 ? 0 : errno;
            return false;
        }
        to += length;
        offset += (uint64_t)length;
        size -= (size_t)length;
    }
    return true;
}

static uint64_t inspect_file_bytes(const struct layout_data_header *header) {
    return LAYOUT_PAGE + (uint64_t)header->segment_count * header->segment_bytes;
}

static bool inspect_open_file(struct inspect *inspect, const char *path, char *error) {
    /* Non-blocking, because open(2) of a pipe without a writer would wait for ever. */
    inspect->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (inspect->file < 0 || fstat(inspect->file, &status) != 0) {
        return inspect_explain(error, "cannot open %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return inspect_explain(error, "%s is not a regular file", path);
    }
    struct layout_data_header *header = &inspect->header;
    if (!inspect_read_at(inspect->file, header, sizeof *header, 0) && errno != 0) {
        return inspect_explain(error, "cannot read %s: %s", path, strerror(errno));
    }
    if (status.st_size < LAYOUT_PAGE || header->magic != LAYOUT_DATA_MAGIC) {
        return inspect_explain(error, "%s is not a stayd pool file", path);
    }
    if (header->version < LAYOUT_VERSION_FIRST || header->version > LAYOUT_VERSION) {
        return inspect_explain(error,
                               "%s has format version %u, this stayctl reads versions %d to %d",
                               path, header->version, LAYOUT_VERSION_FIRST, LAYOUT_VERSION);
    }
    if (header->header_crc != geometry_header_crc(header) || !geometry_is_valid(header)) {
        return inspect_explain(
            error, "%s is damaged: its header does not match its checksum, and stayd refuses it",
            path);
    }
    uint64_t wanted_bytes = inspect_file_bytes(header);
    if ((uint64_t)status.st_size < wanted_bytes) {
        return inspect_explain(
            error, "%s is cut off: it is %llu bytes long, its header says %llu; stayd refuses it",
            path, (unsigned long long)status.st_size, (unsigned long long)wanted_bytes);
    }
    return true;
}

static bool inspect_check_use(struct inspect *inspect, const char *path, enum inspect_use use,
                              char *error) {
    bool locked = flock(inspect->file, LOCK_SH | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) {
        return inspect_explain(error, "cannot lock %s: %s", path, strerror(errno));
    }
    if (!locked && use == INSPECT_UNUSED) {
        return inspect_explain(error,
                               "%s is in use by a running stayd. Make a copy with 'stayctl backup' "
                               "and look at that, or stop stayd first",
                               path);
    }
    if (locked && use == INSPECT_IN_USE) {
        return inspect_explain(error,
                               "%s is not the file of the running stayd, which has another "
                               "configuration. Name that configuration with -c",
                               path);
    }
    return true;
}

/* The name is printed, so it must not contain control characters or anything else that is not
 * allowed in a pool's name. */
static void inspect_describe(struct inspect *inspect) {
    const struct layout_data_header *header = &inspect->header;
    inspect->about = (struct inspect_about){
        .file_bytes = inspect_file_bytes(header),
        .segment_count = header->segment_count,
        .segment_bytes = header->segment_bytes,
        .item_max_bytes = header->item_max_bytes,
        .pool_id = header->pool_id,
        .partition_count = header->partition_count,
        .heard_s = header->partitions_noted_s,
    };
    for (uint32_t i = 0; i < header->partition_count && i < LAYOUT_PARTITIONS_MAX; i++) {
        inspect->about.positions += positions_read(header, i);
    }
    for (size_t i = 0; i < POOL_NAME_MAX && header->name[i] != '\0'; i++) {
        char letter = header->name[i];
        bool plain = letter > ' ' && letter < 0x7f;
        inspect->about.name[i] = letter;
        if (!plain) {
            inspect->about.name[i] = '?';
        }
    }
}

struct inspect *inspect_open(const char *path, enum inspect_use use, char error[POOL_ERROR_MAX]) {
    struct inspect *inspect = calloc(1, sizeof *inspect);
    if (inspect == NULL) {
        inspect_explain(error, "cannot look at %s: out of memory", path);
        return NULL;
    }
    inspect->file = -1;
    inspect->data_mapping = MAPPING_NONE;
    inspect->index_mapping = MAPPING_NONE;
    if (!inspect_open_file(inspect, path, error) || !inspect_check_use(inspect, path, use, error)) {
        inspect_close(inspect);
        return NULL;
    }
    inspect_describe(inspect);
    inspect->buffer =
        aligned_alloc(LAYOUT_PAGE, LAYOUT_PAGE + (size_t)inspect->header.segment_bytes);
    if (inspect->buffer == NULL) {
        inspect_explain(error, "cannot look at %s: out of memory", path);
        inspect_close(inspect);
        return NULL;
    }
    inspect->buffer_view = (struct lookup_view){
        .data = inspect->buffer,
        .segment_bytes = inspect->header.segment_bytes,
        .segment_count = 1,
        .offset_bits = inspect->header.offset_bits,
    };
    inspect->buffer_data = (struct segment_data){&inspect->buffer_view, &inspect->header};
    return inspect;
}

void inspect_close(struct inspect *inspect) {
    if (inspect == NULL) {
        return;
    }
    inspect_items_finish(inspect);
    if (inspect->file >= 0) {
        close(inspect->file);
    }
    free(inspect->buffer);
    free(inspect);
}

const struct inspect_about *inspect_about(const struct inspect *inspect) {
    return &inspect->about;
}

static uint64_t inspect_segment_offset(const struct inspect *inspect, uint32_t segment) {
    return LAYOUT_PAGE + (uint64_t)segment * inspect->header.segment_bytes;
}

static struct layout_segment_header *inspect_loaded(const struct inspect *inspect) {
    return (struct layout_segment_header *)(void *)(inspect->buffer + LAYOUT_PAGE);
}

/* Reads the first `size` bytes of a segment into the buffer. The file is not mapped, because a
 * failing disk would then end the process with SIGBUS. */
static bool inspect_load(struct inspect *inspect, uint32_t segment, size_t size, char *error) {
    if (inspect_read_at(inspect->file, inspect_loaded(inspect), size,
                        inspect_segment_offset(inspect, segment))) {
        return true;
    }
    return inspect_explain(error, "cannot read it: %s",
                           errno == 0 ? "the file is too short" : strerror(errno));
}

/* The number of bytes up to the last one that is not zero. */
static uint32_t inspect_filled(const char *bytes, uint32_t size) {
    while (size > 0 && bytes[size - 1] == 0) {
        size--;
    }
    return size;
}

/* One segment's verification. */
struct inspect_walk {
    struct inspect *inspect;
    uint32_t segment;
    struct inspect_counts *counts;
    inspect_report *report;
    void *context;
};

static void inspect_fault(const struct inspect_walk *walk, uint32_t offset, const char *what) {
    walk->counts->faults++;
    walk->report(walk->context, walk->segment,
                 inspect_segment_offset(walk->inspect, walk->segment) + offset, what);
}

/* Reports the bytes between two whole records, or before the first. */
static void inspect_judge_gap(const struct inspect_walk *walk, uint32_t offset, uint32_t size) {
    const char *bytes = (const char *)inspect_loaded(walk->inspect) + offset;
    const struct layout_record *at = (const void *)bytes;
    struct record record;
    char what[POOL_ERROR_MAX];
    if (inspect_filled(bytes, size) == 0) {
        inspect_explain(what, "%u bytes are zero where records should be", size);
    } else if (record_read(at, size, &record) && record_stored_size(at) == size) {
        inspect_explain(what, "the record number %llu, of %u bytes, does not match its checksum",
                        (unsigned long long)record.sequence, size);
    } else {
        inspect_explain(what, "%u bytes hold no whole record", size);
    }
    walk->counts->torn_bytes += size;
    inspect_fault(walk, offset, what);
}

/* Reports a record whose touch does not match its check. */
static void inspect_judge_touch(const struct inspect_walk *walk, uint32_t offset,
                                const struct record *record) {
    char what[POOL_ERROR_MAX];
    inspect_explain(what,
                    "the record number %llu is whole, but its last touch does not match its check; "
                    "the expiry that it was stored with is used",
                    (unsigned long long)record->sequence);
    inspect_fault(walk, offset + (uint32_t)sizeof(struct layout_record), what);
}

/* Reports the bytes behind the last whole record. */
static void inspect_judge_end(const struct inspect_walk *walk, uint32_t offset) {
    const struct layout_record *at =
        (const void *)((const char *)inspect_loaded(walk->inspect) + offset);
    uint32_t size = walk->inspect->header.segment_bytes - offset;
    if (segment_is_end_at(&walk->inspect->buffer_data, 0, offset)) {
        walk->counts->stale_bytes +=
            inspect_filled((const char *)(at + 1), size - (uint32_t)sizeof *at);
    } else if (segment_is_torn_at(&walk->inspect->buffer_data, 0, offset)) {
        struct record record;
        size_t torn_bytes = sizeof *at;
        if (record_read(at, size, &record)) {
            torn_bytes = record_stored_size(at);
        }
        walk->counts->torn_bytes += torn_bytes;
        inspect_fault(walk, offset, "the last record is not whole");
    } else {
        walk->counts->stale_bytes += inspect_filled((const char *)at, size);
    }
}

static void inspect_count_record(struct inspect_counts *counts, enum layout_kind kind) {
    switch (kind) {
    case LAYOUT_VALUE:
        counts->values++;
        break;
    case LAYOUT_TOMBSTONE:
        counts->tombstones++;
        break;
    case LAYOUT_FLUSH:
        counts->flushes++;
        break;
    case LAYOUT_NONE:
        break;
    }
}

bool inspect_verify(struct inspect *inspect, uint32_t segment, struct inspect_counts *counts,
                    inspect_report *report, void *context) {
    struct inspect_walk walk = {inspect, segment, counts, report, context};
    char error[POOL_ERROR_MAX];
    if (!inspect_load(inspect, segment, inspect->header.segment_bytes, error)) {
        inspect_fault(&walk, 0, error);
        return false;
    }
    const struct layout_segment_header *header = inspect_loaded(inspect);
    if (!segment_header_valid(header)) {
        counts->segments_free++;
        if (inspect_filled((const char *)header, sizeof *header) > 0) {
            inspect_fault(&walk, 0, "the segment's header is damaged; what it held is lost");
        }
        return true;
    }
    counts->segments_used++;
    uint32_t end = sizeof *header; /* of the last whole record */
    struct segment_cursor cursor;
    segment_walk(&cursor, &inspect->buffer_data, 0, inspect->header.segment_bytes);
    while (segment_next(&cursor)) {
        uint32_t begin = cursor.offset - (uint32_t)cursor.size;
        if (begin > end) {
            inspect_judge_gap(&walk, end, begin - end);
        }
        if (cursor.record.touch_damaged) {
            inspect_judge_touch(&walk, begin, &cursor.record);
        }
        inspect_count_record(counts, cursor.record.kind);
        end = cursor.offset;
    }
    inspect_judge_end(&walk, end);
    return true;
}

/* Moves the records that belong to the copy to the front of the buffer; returns where they end. A
 * record may be moved, because its checksum does not cover its place. A tombstone and its new
 * version stay together, because their sequences are consecutive. */
static uint32_t inspect_gather(struct inspect *inspect, uint64_t sequence) {
    char *base = (char *)inspect_loaded(inspect);
    uint32_t end = sizeof(struct layout_segment_header);
    struct segment_cursor cursor;
    segment_walk(&cursor, &inspect->buffer_data, 0, inspect->header.segment_bytes);
    while (segment_next(&cursor)) {
        if (cursor.record.sequence <= sequence) {
            memmove(base + end, cursor.at, cursor.size);
            end += (uint32_t)cursor.size;
        }
    }
    return end;
}

/* The header of the copy: as after a crash, because the copy has no index. */
static bool inspect_read_header(struct inspect *inspect, struct inspect_piece *result,
                                char *error) {
    struct layout_data_header now;
    if (!inspect_read_at(inspect->file, &now, sizeof now, 0)) {
        return inspect_explain(error, "cannot read the header: %s", strerror(errno));
    }
    memset(inspect->buffer, 0, LAYOUT_PAGE);
    struct layout_data_header *copy = (void *)inspect->buffer;
    memcpy(copy, &inspect->header, sizeof *copy);
    atomic_store(&copy->stop_id, 0);
    atomic_store(&copy->index_id, 0);
    atomic_store(&copy->opened_sequence, atomic_load(&now.opened_sequence));
    atomic_store(&copy->items, atomic_load(&now.items));
    *result = (struct inspect_piece){.offset = 0, .data = inspect->buffer, .size = LAYOUT_PAGE};
    return true;
}

bool inspect_read(struct inspect *inspect, uint64_t piece, uint64_t sequence,
                  struct inspect_piece *result, char error[POOL_ERROR_MAX]) {
    if (piece == 0) {
        return inspect_read_header(inspect, result, error);
    }
    uint32_t segment = (uint32_t)(piece - 1);
    *result = (struct inspect_piece){
        .offset = inspect_segment_offset(inspect, segment),
        .data = (const char *)inspect_loaded(inspect),
    };
    char why[POOL_ERROR_MAX - 32];
    const struct layout_segment_header *header = inspect_loaded(inspect);
    if (!inspect_load(inspect, segment, sizeof *header, why)) {
        return inspect_explain(error, "segment %u: %s", segment, why);
    }
    if (!segment_header_valid(header)) {
        return true; /* the segment is free */
    }
    if (!inspect_load(inspect, segment, inspect->header.segment_bytes, why)) {
        return inspect_explain(error, "segment %u: %s", segment, why);
    }
    uint32_t end = inspect_gather(inspect, sequence);
    result->size = end > sizeof *header ? end : 0;
    return true;
}

bool inspect_fits(const struct inspect *inspect, const struct pool_options *options,
                  uint32_t *segment_count, char error[POOL_ERROR_MAX]) {
    return geometry_segment_count(&inspect->header, options, segment_count, error);
}

void inspect_end_readers(int file) {
    struct layout_data_header found;
    const uint64_t none = 0;
    if (inspect_read_at(file, &found, sizeof found, 0) && found.magic == LAYOUT_DATA_MAGIC &&
        found.version >= LAYOUT_VERSION_INDEX_ID) {
        ssize_t ignored =
            pwrite(file, &none, sizeof none, offsetof(struct layout_data_header, index_id));
        (void)ignored; /* ignore a failure: if the index is in run_dir, inspect_discard_index marks
                          it */
    }
}

bool inspect_discard_index(const struct pool_options *options, char error[POOL_ERROR_MAX]) {
    char path[PATH_MAX];
    if (!paths_index(options, path)) {
        return inspect_explain(error, "run_dir is too long a path");
    }
    int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 && errno == ENOENT) {
        return true;
    }
    if (file >= 0) {
        index_file_supersede(file);
        close(file);
    }
    return unlink(path) == 0 || errno == ENOENT ||
           inspect_explain(error, "cannot remove %s: %s", path, strerror(errno));
}
