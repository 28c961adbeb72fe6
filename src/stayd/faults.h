/* The list of the errors in a configuration, each with its line. Main thread only.
 *
 * The list allocates nothing: a reload (SIGHUP) must not end the daemon because memory is short. */
#ifndef STAYD_STAYD_FAULTS_H
#define STAYD_STAYD_FAULTS_H

#include <stdio.h>

enum { FAULTS_MAX = 64, FAULT_TEXT_BYTES = 512 };

struct fault {
    unsigned line; /* 0: the fault belongs to no single line */
    char text[FAULT_TEXT_BYTES];
};

struct faults {
    const char *source; /* the file's name as it was given, or "command line" */
    size_t count;
    size_t left_out; /* faults beyond FAULTS_MAX, which are only counted */
    struct fault items[FAULTS_MAX];
};

/* `source` lives as long as the list. */
void faults_init(struct faults *faults, const char *source);

/* A text of FAULT_TEXT_BYTES or more is cut off. */
__attribute__((format(printf, 3, 4))) void faults_add(struct faults *faults, unsigned line,
                                                      const char *format, ...);

/* One line each, `source:line: text`, in the order of lines. */
void faults_print(struct faults *faults, FILE *stream);

/* The same, as errors in the log. */
void faults_log(const struct faults *faults);

#endif
