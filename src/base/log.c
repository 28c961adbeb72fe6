#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_BYTES = 1024 };

static _Atomic int log_level = LOG_LEVEL_INFO;
static bool log_to_journal;
static _Atomic int log_destination;

enum log_destination { LOG_TO_STDERR, LOG_TO_SYSLOG_AND_STDERR, LOG_TO_SYSLOG };

static const int log_priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

void log_init(enum log_level level) {
    log_set_level(level);
    log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_to_syslog(const char *name) {
    openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    atomic_store_explicit(&log_destination, LOG_TO_SYSLOG_AND_STDERR, memory_order_relaxed);
}

void log_leave_stderr(void) {
    atomic_store_explicit(&log_destination, LOG_TO_SYSLOG, memory_order_relaxed);
}

void log_set_level(enum log_level level) {
    /* relaxed: orders no other memory */
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

/* Writes the prefix of a line; returns its length. */
static int log_format_prefix(enum log_level level, char *line, size_t size) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (log_to_journal) {
        return snprintf(line, size, "<%d>", log_priorities[level]);
    }
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    return snprintf(line, size, "%02d:%02d:%02d.%03ld %s: ", local.tm_hour, local.tm_min,
                    local.tm_sec, now.tv_nsec / 1000000, names[level]);
}

void log_write(enum log_level level, const char *format, ...) {
    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed)) {
        return; /* relaxed: a thread may use the previous level for a moment */
    }
    int saved_errno = errno;
    char line[LOG_LINE_BYTES];
    size_t prefix = (size_t)log_format_prefix(level, line, sizeof line);
    size_t used = prefix;

    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line + used, sizeof line - used, format, arguments);
    va_end(arguments);
    if (length > 0) {
        used += (size_t)length;
        if (used > sizeof line - 1) {
            used = sizeof line - 1;
        }
    }
    /* Relaxed: if a new destination is seen late, a line goes to the previous one. */
    int destination = atomic_load_explicit(&log_destination, memory_order_relaxed);
    if (destination != LOG_TO_STDERR) {
        line[used] = '\0';
        syslog(log_priorities[level], "%s", line + prefix);
    }
    line[used++] = '\n';
    if (destination == LOG_TO_SYSLOG ||
        (destination == LOG_TO_SYSLOG_AND_STDERR && level > LOG_LEVEL_WARNING)) {
        errno = saved_errno;
        return;
    }
    /* If the log itself cannot be written, the error cannot be reported anywhere. */
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
    errno = saved_errno;
}
