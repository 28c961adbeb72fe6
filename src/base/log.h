/* The log: one line per event, to stderr, for people. Under systemd (JOURNAL_STREAM is
 * set) a line starts with the journal's priority prefix, otherwise with time and level.
 * A daemon that has left its terminal logs to syslog.
 * Any thread may log; a line is written with one write, so lines never mix. */
#ifndef STAYD_BASE_LOG_H
#define STAYD_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages less severe than `level` are dropped. Called once, before any other thread starts. */
void log_init(enum log_level level);

/* After this call lines go to syslog(3) under this name. Errors and warnings go to stderr too,
 * because the user who starts the daemon still reads it. `name` lives as long as the process. */
void log_to_syslog(const char *name);

/* Called after log_to_syslog: nothing goes to stderr any more. */
void log_leave_stderr(void);

/* Changes the level while threads run (the protocol's `verbosity`). */
void log_set_level(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
