#include "proto/stats_sink.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { STATS_VALUE_MAX = 255 };

void stats_put_bytes(struct stats_sink *sink, struct bytes name, struct bytes value) {
    if (!sink->failed) {
        sink->write(sink, name, value);
    }
}

void stats_put(struct stats_sink *sink, const char *name, const char *format, ...) {
    char value[STATS_VALUE_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(value, sizeof(value), format, arguments);
    va_end(arguments);
    assert(size >= 0 && (size_t)size < sizeof(value));
    stats_put_bytes(sink, bytes_from_string(name), bytes_from(value, (size_t)size));
}

void stats_put_u64(struct stats_sink *sink, const char *name, uint64_t number) {
    stats_put(sink, name, "%" PRIu64, number);
}

void stats_put_bool(struct stats_sink *sink, const char *name, bool yes) {
    stats_put(sink, name, "%s", yes ? "yes" : "no");
}
