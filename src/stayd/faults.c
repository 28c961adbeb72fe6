#include "stayd/faults.h"

#include "base/log.h"

#include <stdarg.h>

void faults_init(struct faults *faults, const char *source) {
    faults->source = source;
    faults->count = 0;
    faults->left_out = 0;
}

void faults_add(struct faults *faults, unsigned line, const char *format, ...) {
    if (faults->count == FAULTS_MAX) {
        faults->left_out++;
        return;
    }
    struct fault fault = {.line = line};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault.text, sizeof fault.text, format, arguments);
    va_end(arguments);
    /* The list is sorted by line; faults of the same line stay in the order in which they were
     * added. */
    size_t place = faults->count++;
    while (place > 0 && faults->items[place - 1].line > line) {
        faults->items[place] = faults->items[place - 1];
        place--;
    }
    faults->items[place] = fault;
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
    if (faults->left_out > 0) {
        fprintf(stream, "%s: further errors: %zu\n", faults->source, faults->left_out);
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
    if (faults->left_out > 0) {
        log_error("%s: further errors: %zu", faults->source, faults->left_out);
    }
}
