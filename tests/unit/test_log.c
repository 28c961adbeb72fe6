/* The log: its output on stderr, read through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

enum { CAPTURE_BYTES = 1 << 20, THREADS = 4, LINES = 200 };

static struct {
    int stderr_kept;
    int file;
    char text[CAPTURE_BYTES];
} capture;

static void capture_begin(void) {
    char path[] = "/tmp/stayd-log-XXXXXX";
    fflush(stderr);
    capture.stderr_kept = dup(STDERR_FILENO);
    capture.file = mkstemp(path);
    assert_true(capture.stderr_kept >= 0 && capture.file >= 0);
    unlink(path);
    fcntl(capture.file, F_SETFL, O_APPEND);
    dup2(capture.file, STDERR_FILENO);
}

/* What was logged since capture_begin. */
static const char *capture_end(void) {
    dup2(capture.stderr_kept, STDERR_FILENO);
    close(capture.stderr_kept);
    ssize_t length = pread(capture.file, capture.text, sizeof capture.text - 1, 0);
    close(capture.file);
    assert_true(length >= 0);
    capture.text[length] = '\0';
    return capture.text;
}

/* Replaces the C library's function, and keeps what the log sends to syslog. */
static struct {
    int priority;
    char text[256];
    unsigned lines;
} logged;

static void take_syslog(int priority, const char *format, va_list arguments) {
    vsnprintf(logged.text, sizeof logged.text, format, arguments);
    logged.priority = priority;
    logged.lines++;
}

#undef syslog /* which clang's checked C library makes a macro */
void syslog(int priority, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    take_syslog(priority, format, arguments);
    va_end(arguments);
}

/* The form that the call above has with _FORTIFY_SOURCE. */
void __syslog_chk(int priority, int flag, const char *format, ...);
void __syslog_chk(int priority, int flag, const char *format, ...) {
    (void)flag;
    va_list arguments;
    va_start(arguments, format);
    take_syslog(priority, format, arguments);
    va_end(arguments);
}

static void a_line_starts_with_time_and_level(void **state) {
    (void)state;
    unsetenv("JOURNAL_STREAM");
    log_init(LOG_LEVEL_INFO);
    capture_begin();
    log_error("cannot open %s: %d", "x", 7);
    log_warning("low");
    log_info("ready");
    const char *text = capture_end();
    int hour, minute, second, millisecond, length = 0;
    assert_int_equal(sscanf(text, "%2d:%2d:%2d.%3d error: cannot open x: 7%n", &hour, &minute,
                            &second, &millisecond, &length),
                     4);
    assert_int_equal(length, (int)strlen("00:00:00.000 error: cannot open x: 7"));
    assert_int_equal(text[length], '\n');
    assert_non_null(strstr(text, " warning: low\n"));
    assert_non_null(strstr(text, " info: ready\n"));
}

static void under_the_journal_it_starts_with_the_priority(void **state) {
    (void)state;
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_init(LOG_LEVEL_DEBUG);
    capture_begin();
    log_error("a");
    log_warning("b");
    log_info("c");
    log_debug("d");
    assert_string_equal(capture_end(), "<3>a\n<4>b\n<6>c\n<7>d\n");
    unsetenv("JOURNAL_STREAM");
}

static void messages_above_the_level_are_dropped(void **state) {
    (void)state;
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_init(LOG_LEVEL_WARNING);
    capture_begin();
    log_info("not seen");
    log_debug("not seen");
    log_warning("seen");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("seen now");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("not seen");
    assert_string_equal(capture_end(), "<4>seen\n<7>seen now\n");
    unsetenv("JOURNAL_STREAM");
}

static void a_message_that_is_too_long_is_cut_and_still_one_line(void **state) {
    (void)state;
    log_init(LOG_LEVEL_INFO);
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    capture_begin();
    log_info("%s", longest);
    log_info("next");
    const char *text = capture_end();
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text >= 900 && end - text < (int)sizeof longest);
    assert_non_null(strstr(end, " info: next\n"));
}

static void logging_keeps_errno(void **state) {
    (void)state;
    log_init(LOG_LEVEL_INFO);
    capture_begin();
    close(STDERR_FILENO); /* so that the write itself fails */
    errno = ENOSPC;
    log_info("lost");
    int kept = errno;
    capture_end();
    assert_int_equal(kept, ENOSPC);
}

static void *log_lines(void *letter) {
    char line[101];
    memset(line, *(const char *)letter, 100);
    line[100] = '\0';
    for (int i = 0; i < LINES; i++) {
        log_info("%s", line);
    }
    return NULL;
}

static void lines_of_several_threads_never_mix(void **state) {
    (void)state;
    static char letters[THREADS] = {'a', 'b', 'c', 'd'};
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_init(LOG_LEVEL_INFO);
    capture_begin();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, &letters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const char *text = capture_end();
    int lines = 0;
    for (const char *line = text; *line != '\0'; lines++) {
        assert_memory_equal(line, "<6>", 3);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(line[3 + i], line[3]);
        }
        assert_int_equal(line[103], '\n');
        line += 104;
    }
    assert_int_equal(lines, THREADS * LINES);
    unsetenv("JOURNAL_STREAM");
}

/* The last test, because log_to_syslog cannot be undone. */
static void a_daemon_logs_to_syslog_and_at_its_start_errors_to_stderr_too(void **state) {
    (void)state;
    log_init(LOG_LEVEL_INFO);
    log_to_syslog("stayd");
    capture_begin();
    log_info("ready in %d", 7);
    assert_int_equal(logged.priority, LOG_INFO);
    assert_string_equal(logged.text, "ready in 7");
    log_debug("dropped");
    assert_int_equal(logged.lines, 1);
    log_error("no %s", "port");
    assert_int_equal(logged.priority, LOG_ERR);
    log_leave_stderr();
    log_warning("low");
    assert_int_equal(logged.priority, LOG_WARNING);
    assert_string_equal(logged.text, "low");
    const char *text = capture_end();
    assert_null(strstr(text, "ready"));
    assert_non_null(strstr(text, "error: no port\n"));
    assert_null(strstr(text, "low"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_starts_with_time_and_level),
        cmocka_unit_test(under_the_journal_it_starts_with_the_priority),
        cmocka_unit_test(messages_above_the_level_are_dropped),
        cmocka_unit_test(a_message_that_is_too_long_is_cut_and_still_one_line),
        cmocka_unit_test(logging_keeps_errno),
        cmocka_unit_test(lines_of_several_threads_never_mix),
        cmocka_unit_test(a_daemon_logs_to_syslog_and_at_its_start_errors_to_stderr_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
