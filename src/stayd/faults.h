/* The list of all errors in a configuration, each with its line. Main thread only. */
#ifndef STAYD_STAYD_FAULTS_H
#define STAYD_STAYD_FAULTS_H

#include <stdio.h>

struct fault {
    unsigned line; /* 0: the fault belongs to no single line */
    char *text;
};

struct faults {
    const char *source; /* the file's name as it was given, or "command line" */
    struct fault *items;
    size_t count;
    size_t capacity;
};

/* `source` lives as long as the list. */
void faults_init(struct faults *faults, const char *source);

/* Accepts a zeroed list. */
void faults_finish(struct faults *faults);

/* Ends the process if memory is short, also when the daemon reads its configuration again
 * (SIGHUP). */
__attribute__((format(printf, 3, 4))) void faults_add(struct faults *faults, unsigned line,
                                                      const char *format, ...);

/* One line each, `source:line: text`, in the order of lines. */
void faults_print(struct faults *faults, FILE *stream);

/* The same, as errors in the log. */
void faults_log(const struct faults *faults);

#endif
