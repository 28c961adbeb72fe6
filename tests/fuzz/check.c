#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_that(bool holds, const char *condition, const char *what, const char *file, int line) {
    if (!holds) {
        fprintf(stderr, "%s:%d: does not hold: %s (%s)\n", file, line, condition, what);
        abort();
    }
}

void show_bytes(const char *what, struct bytes text) {
    fprintf(stderr, "%s (%zu bytes): ", what, text.size);
    for (size_t i = 0; i < text.size && i < 2000; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= ' ' && byte < 127) {
            fputc(byte, stderr);
        } else {
            fprintf(stderr, "\\x%02x", byte);
        }
    }
    fputc('\n', stderr);
}

void check_equal(struct bytes one, struct bytes other, const char *what) {
    if (one.size != other.size || (one.size > 0 && memcmp(one.data, other.data, one.size) != 0)) {
        show_bytes("one  ", one);
        show_bytes("other", other);
        check(false, what);
    }
}
