#include "stayd/faults.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdlib.h>

void faults_init(struct faults *faults, const char *source) {
    *faults = (struct faults){.source = source};
}

void faults_finish(struct faults *faults) {
    for (size_t i = 0; i < faults->count; i++) {
        free(faults->items[i].text);
    }
    free(faults->items);
    *faults = (struct faults){0};
}

static _Noreturn void faults_fail(void) {
    fputs("stayd: no memory to read the configuration\n", stderr);
    exit(1);
}

void faults_add(struct faults *faults, unsigned line, const char *format, ...) {
    if (faults->count == faults->capacity) {
        faults->capacity = faults->capacity * 2 + 8;
        faults->items = reallocarray(faults->items, faults->capacity, sizeof *faults->items);
        if (faults->items == NULL) {
            faults_fail();
        }
    }
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        faults_fail();
    }
    /* The list is sorted by line; faults of the same line stay in the order in which they were
     * added. */
    size_t place = faults->count++;
    while (place > 0 && faults->items[place - 1].line > line) {
        faults->items[place] = faults->items[place - 1];
        place--;
    }
    faults->items[place] = (struct fault){line, text};
}

void faults_print(struct faults *faults, FILE *stream) {
    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->items[i];
        if (fault->line > 0) {
            fprintf(stream, "%s:%u: %s\n", faults->source, fault->line, fault->text);
        } else {
            fprintf(stream, "%s: %s\n", faults->source, fault->text);
        }
    }
}

void faults_log(const struct faults *faults) {
    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->items[i];
        if (fault->line > 0) {
            log_error("%s:%u: %s", faults->source, fault->line, fault->text);
        } else {
            log_error("%s: %s", faults->source, fault->text);
        }
    }
}
