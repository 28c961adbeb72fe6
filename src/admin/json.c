#include "admin/json.h"

#include <inttypes.h>

void json_write_string(FILE *stream, const char *text) {
    putc('"', stream);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putc('\\', stream);
        }
        putc((unsigned char)*text < ' ' ? ' ' : *text, stream);
    }
    putc('"', stream);
}

void json_write_number(FILE *stream, const char *name, uint64_t number) {
    fprintf(stream, "\"%s\":%" PRIu64 ",", name, number);
}

void json_write_bool(FILE *stream, const char *name, bool yes) {
    fprintf(stream, "\"%s\":%s,", name, yes ? "true" : "false");
}
