/* A table of command-line options, and the functions that the options' takers share: parsing of
 * values, error messages, notices. Only the files of the command line include this header. Main
 * thread only. */
#ifndef STAYD_STAYD_OPTION_TABLE_H
#define STAYD_STAYD_OPTION_TABLE_H

#include <limits.h>
#include <stdbool.h>

struct options;

/* `spelled` is the option as the user wrote it: -p or --port. False: an error has been printed. */
typedef bool option_taker(struct options *options, const char *spelled, char *value);

enum { OPTION_NO_LETTER = 256 /* the smallest `letter` of an option that has only a long name */ };

struct option_row {
    int letter;
    const char *name;     /* the long name, without --; NULL: none */
    const char *argument; /* the argument's name in the help; NULL: the option takes none */
    option_taker *take;   /* NULL: the option has no effect, and `help` gives the reason */
    const char *help;     /* lines after the first are indented */
};

/* Prints an error about an option and its value (NULL: about the option alone). Returns false. */
__attribute__((format(printf, 3, 4))) bool option_fail(const char *spelled, const char *value,
                                                       const char *format, ...);

/* Adds a line for the log about an option that has no effect. */
__attribute__((format(printf, 2, 3))) void option_notice(struct options *options,
                                                         const char *format, ...);

/* Parses a whole number from `least` to `most`. */
bool option_number(const char *spelled, const char *value, unsigned least, unsigned most,
                   unsigned *number);

/* Makes a path absolute, because the daemon changes its working folder. */
bool option_path(const char *spelled, const char *value, char path[PATH_MAX]);

#endif
