/* What a table of options is made of, and what those that take a value share. Inside the command
 * line's own files only. */
#ifndef STAYD_STAYD_OPTION_TABLE_H
#define STAYD_STAYD_OPTION_TABLE_H

#include "stayd/options.h"

/* `spelled` is the option as the user wrote it: -p or --port. False: what is wrong was printed. */
typedef bool option_taker(struct options *options, const char *spelled, char *value);

enum { OPTION_NO_LETTER = 256 /* from here on: options that have only a long name */ };

struct option_row {
    int letter;
    const char *name;     /* the long one, without --; NULL: none */
    const char *argument; /* as the help shows it; NULL: takes none */
    option_taker *take;   /* NULL: accepted, and `help` says why it changes nothing */
    const char *help;     /* lines after the first are indented */
};

/* memcached's, those of the process left out; ends with a letter of 0. */
extern const struct option_row memcached_option_rows[];

void memcached_options_init(struct memcached_options *options);

/* What is wrong with them together; false: it was printed. */
bool memcached_options_check(struct options *options);

void memcached_options_configure(const struct options *options, struct config *config,
                                 struct faults *faults);

/* -o: settings with commas between, of which each must be known. */
option_taker extended_options_take;

/* Prints what is wrong with an option and its value (NULL: with the option); always false. */
__attribute__((format(printf, 3, 4))) bool option_fail(const char *spelled, const char *value,
                                                       const char *format, ...);

/* Something for the log about an option that changes nothing. */
__attribute__((format(printf, 2, 3))) void option_notice(struct options *options,
                                                         const char *format, ...);

/* A whole number within bounds. */
bool option_number(const char *spelled, const char *value, unsigned least, unsigned most,
                   unsigned *number);

/* A path, made absolute: the daemon changes its folder. */
bool option_path(const char *spelled, const char *value, char path[PATH_MAX]);

#endif
