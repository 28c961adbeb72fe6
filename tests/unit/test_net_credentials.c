/* Auth files, good and bad, and passwords, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/credentials.h"

#include "brief.h"

#include <crypt.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/stayd-credentials-XXXXXX";
static char path[64];

/* The report on the last file. */
static struct report {
    unsigned faults;
    unsigned warnings;
    unsigned first_line; /* of the first fault */
    char first[600];
    char warning[600];
} report;

static void take_report(void *context, unsigned line, bool is_warning, const char *text) {
    assert_ptr_equal(context, &report);
    assert_true(strlen(text) < sizeof report.first);
    if (is_warning) {
        report.warnings++;
        strcpy(report.warning, text);
    } else if (report.faults++ == 0) {
        report.first_line = line;
        strcpy(report.first, text);
    }
}

static struct credentials *read_bytes_as(const void *text, size_t size, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), (ssize_t)size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    memset(&report, 0, sizeof report);
    struct credentials *credentials =
        credentials_read(path, CREDENTIALS_STRICT, take_report, &report);
    assert_true((credentials == NULL) == (report.faults > 0));
    return credentials;
}

static struct credentials *read_text(const char *text) {
    return read_bytes_as(text, strlen(text), 0600);
}

static enum credentials_answer judge(struct credentials *credentials, const char *user,
                                     const char *password) {
    return credentials_judge(credentials, bytes_from_string(user), bytes_from_string(password));
}

static bool verify(struct credentials *credentials, const char *user, const char *password) {
    return credentials_verify(credentials, bytes_from_string(user), bytes_from_string(password));
}

static void hash(const char *prefix, unsigned long cost, const char *password, char *out) {
    static struct crypt_data data;
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    assert_non_null(crypt_gensalt_rn(prefix, cost, NULL, 0, setting, sizeof setting));
    const char *made = crypt_r(password, setting, &data);
    assert_non_null(made);
    assert_int_not_equal(made[0], '*');
    strcpy(out, made);
}

static void plain_passwords_are_known_at_once_and_warned_about(void **state) {
    (void)state;
    struct credentials *credentials = read_text("# who\n\n  # may\nbob:secret\r\nann:a b: c \nz:#");
    assert_non_null(credentials);
    assert_int_equal(report.warnings, 1);
    assert_non_null(strstr(report.warning, "3 of 3"));
    assert_int_equal(judge(credentials, "bob", "secret"), CREDENTIALS_RIGHT);
    assert_int_equal(judge(credentials, "ann", "a b: c "), CREDENTIALS_RIGHT);
    assert_int_equal(judge(credentials, "z", "#"), CREDENTIALS_RIGHT);
    static const char *const wrong[][2] = {
        {"bob", "secre"},  {"bob", "secret "}, {"bob", ""},         {"bob", "a b: c "},
        {"ann", "secret"}, {"Bob", "secret"},  {"bo", "b:secret"},  {"", "secret"},
        {"", ""},          {"nobody", "x"},    {"bob:secret", "x"}, {"# who", ""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(judge(credentials, wrong[i][0], wrong[i][1]), CREDENTIALS_WRONG);
        assert_false(verify(credentials, wrong[i][0], wrong[i][1]));
    }
    credentials_release(credentials);
}

static void hashes_of_every_kind_are_verified_and_then_known(void **state) {
    (void)state;
    static const struct {
        const char *prefix;
        unsigned long cost;
    } kinds[] = {{"$y$", 1},    {"$gy$", 1}, {"$7$", 6}, {"$6$", 1000},
                 {"$5$", 1000}, {"$2b$", 4}, {"$1$", 0}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char line[300] = "bob:";
        hash(kinds[i].prefix, kinds[i].cost, "secret", line + 4);
        struct credentials *credentials = read_text(line);
        assert_non_null(credentials);
        assert_int_equal(report.warnings, 0);
        assert_int_equal(judge(credentials, "bob", "secret"), CREDENTIALS_UNSURE);
        assert_false(verify(credentials, "bob", "Secret"));
        assert_false(verify(credentials, "bob", ""));
        assert_false(verify(credentials, "ann", "secret"));
        assert_false(
            credentials_verify(credentials, bytes_from_string("bob"), bytes_from("secret\0x", 8)));
        assert_int_equal(judge(credentials, "bob", "secret"), CREDENTIALS_UNSURE);
        assert_true(verify(credentials, "bob", "secret"));
        assert_int_equal(judge(credentials, "bob", "secret"), CREDENTIALS_RIGHT);
        assert_int_equal(judge(credentials, "bob", "Secret"), CREDENTIALS_UNSURE);
        assert_int_equal(judge(credentials, "ann", "secret"), CREDENTIALS_UNSURE);
        assert_true(verify(credentials, "bob", "secret"));
        /* a hash is not a password */
        assert_false(verify(credentials, "bob", line + 4));
        credentials_release(credentials);
    }
}

static void users_of_both_kinds_stand_in_one_file(void **state) {
    (void)state;
    char text[4000] = "";
    size_t used = 0;
    for (unsigned i = 0; i < 20; i++) {
        char password[16];
        char hashed[200];
        snprintf(password, sizeof password, "p%u", i);
        hash("$5$", 1000, password, hashed);
        used += (size_t)snprintf(text + used, sizeof text - used, "u%u:%s\n", i,
                                 i % 2 == 0 ? password : hashed);
    }
    struct credentials *credentials = read_text(text);
    assert_non_null(credentials);
    assert_non_null(strstr(report.warning, "10 of 20"));
    for (unsigned i = 0; i < 20; i++) {
        char user[16];
        char password[16];
        char other[16];
        snprintf(user, sizeof user, "u%u", i);
        snprintf(password, sizeof password, "p%u", i);
        snprintf(other, sizeof other, "p%u", (i + 1) % 20);
        assert_int_equal(judge(credentials, user, password),
                         i % 2 == 0 ? CREDENTIALS_RIGHT : CREDENTIALS_UNSURE);
        assert_true(verify(credentials, user, password));
        assert_false(verify(credentials, user, other));
    }
    credentials_release(credentials);
}

static uint64_t thread_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* The CPU time of a wrong login as this user: the shortest of several tries. */
static uint64_t cost_ns(struct credentials *credentials, const char *user) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        uint64_t begun = thread_ns();
        assert_false(verify(credentials, user, "wrong"));
        uint64_t took = thread_ns() - begun;
        least = took < least ? took : least;
    }
    return least;
}

static void an_unknown_user_costs_the_same_as_a_known_one(void **state) {
    (void)state;
    char text[300] = "plain:x\nbob:";
    hash("$6$", 20000, "secret", text + strlen(text));
    struct credentials *credentials = read_text(text);
    uint64_t known = cost_ns(credentials, "bob");
    assert_in_range(cost_ns(credentials, "nobody"), known / 2, known * 2);
    assert_in_range(cost_ns(credentials, "plain"), known / 2, known * 2);
    credentials_release(credentials);
}

/* Each text has one fault, on this line, with this message. */
static void what_is_wrong_is_named_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        const char *said;
    } faults[] = {
        {"", 0, "no user"},
        {"\n\n# bob:x\n", 0, "no user"},
        {"bob:x\nann\n", 2, "no colon"},
        {":x\n", 1, "1 to 128 bytes"},
        {"a:b\nbob:\n", 2, "1 to 511 bytes"},
        {"a:b\nbob:\r\n", 2, "1 to 511 bytes"},
        {"a:b\n\nbo b:x\n", 3, "must not contain spaces"},
        {" bob:x\n", 1, "must not contain spaces"},
        {"b\tob:x\n", 1, "must not contain spaces"},
        {"b\x7fob:x\n", 1, "must not contain spaces"},
        {"\xEF\xBB\xBF:x\nbob\n", 2, "no colon"},
        {"bob:x\nann:y\nbob:z\n", 3, "on line 1"},
        {"bob:$\n", 1, "whole hash"},
        {"bob:$ecret\n", 1, "whole hash"},
        {"bob:$9$abc$def\n", 1, "whole hash"},
        {"bob:$6$salt$tooshort\n", 1, "whole hash"},
        {"bob:$y$j9T$salt$\n", 1, "whole hash"},
        {"bob:$2b$10$short\n", 1, "whole hash"},
        {"bob:$6$\n", 1, "whole hash"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        assert_null(read_text(faults[i].text));
        assert_int_equal(report.faults, 1);
        assert_int_equal(report.first_line, faults[i].line);
        if (strstr(report.first, faults[i].said) == NULL) {
            fail_msg("%s: not about %s", report.first, faults[i].said);
        }
        assert_null(strstr(report.first, "$ecret")); /* passwords must not be logged */
    }
    assert_null(read_bytes_as("bob:x\0y\n", 8, 0600));
    assert_non_null(strstr(report.first, "zero byte"));
}

static void every_fault_is_named_not_only_the_first(void **state) {
    (void)state;
    assert_null(read_text("a\nb:x\nb:y\n:\nc:z\n$\n"));
    assert_int_equal(report.faults, 4);
    assert_int_equal(report.first_line, 1);
}

static void names_and_passwords_may_be_so_long_and_no_longer(void **state) {
    (void)state;
    for (int more = 0; more < 2; more++) {
        char text[1000];
        char user[200];
        char password[600];
        snprintf(user, sizeof user, "%0*d", CREDENTIALS_USER_MAX + more, 7);
        snprintf(password, sizeof password, "%0*d", CREDENTIALS_PASSWORD_MAX, 8);
        snprintf(text, sizeof text, "%s:%s\n", user, password);
        struct credentials *credentials = read_text(text);
        assert_int_equal(credentials == NULL, more);
        if (credentials != NULL) {
            assert_int_equal(judge(credentials, user, password), CREDENTIALS_RIGHT);
        }
        credentials_release(credentials);
        snprintf(password, sizeof password, "%0*d", CREDENTIALS_PASSWORD_MAX + more, 8);
        snprintf(text, sizeof text, "u:%s\n", password);
        credentials = read_text(text);
        assert_int_equal(credentials == NULL, more);
        credentials_release(credentials);
    }
}

static void a_file_holds_so_many_users_and_so_many_bytes(void **state) {
    (void)state;
    static char text[CREDENTIALS_FILE_MAX + 1];
    size_t used = 0;
    for (unsigned i = 0; i < CREDENTIALS_USERS_MAX; i++) {
        used += (size_t)sprintf(text + used, "u%u:x\n", i);
    }
    struct credentials *credentials = read_text(text);
    assert_non_null(credentials);
    assert_int_equal(judge(credentials, "u1023", "x"), CREDENTIALS_RIGHT);
    credentials_release(credentials);
    strcpy(text + used, "more:x\n");
    assert_null(read_text(text));
    assert_non_null(strstr(report.first, "more than 1024"));

    memset(text, '#', sizeof text);
    memcpy(text, "bob:x\n", 6);
    assert_null(read_bytes_as(text, sizeof text, 0600));
    assert_non_null(strstr(report.first, "larger"));
    credentials = read_bytes_as(text, sizeof text - 1, 0600);
    assert_non_null(credentials);
    credentials_release(credentials);
}

static void a_file_that_others_may_read_is_refused(void **state) {
    (void)state;
    static const struct {
        mode_t mode;
        bool taken;
    } modes[] = {{0600, true},  {0400, true},  {0640, false}, {0604, false}, {0620, false},
                 {0602, false}, {0700, false}, {0444, false}, {0644, false}, {04600, false}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct credentials *credentials = read_bytes_as("bob:x\n", 6, modes[i].mode);
        assert_int_equal(credentials != NULL, modes[i].taken);
        assert_true(modes[i].taken || strstr(report.first, "chmod 600") != NULL);
        credentials_release(credentials);
    }
}

static void a_file_of_a_stranger_is_refused(void **state) {
    (void)state;
    if (geteuid() != 0) {
        skip(); /* only root can give a file away */
    }
    credentials_release(read_text("bob:x\n"));
    assert_int_equal(chown(path, 4242, 4242), 0);
    memset(&report, 0, sizeof report);
    assert_null(credentials_read(path, CREDENTIALS_STRICT, take_report, &report));
    assert_non_null(strstr(report.first, "belongs to user 4242"));
    struct credentials *credentials =
        credentials_read(path, CREDENTIALS_ANYBODYS, take_report, &report);
    assert_non_null(credentials);
    credentials_release(credentials);
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    unlink(path);
    memset(&report, 0, sizeof report);
    assert_null(credentials_read(path, CREDENTIALS_STRICT, take_report, &report));
    assert_non_null(strstr(report.first, "No such file"));
    assert_null(credentials_read(folder, CREDENTIALS_STRICT, take_report, &report));
    assert_int_equal(mkfifo(path, 0600), 0);
    memset(&report, 0, sizeof report);
    assert_null(credentials_read(path, CREDENTIALS_STRICT, take_report, &report));
    assert_non_null(strstr(report.first, "not a regular file"));
}

static uint64_t random_number;

static unsigned random_below(unsigned limit) {
    random_number = random_number * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(random_number >> 33) % limit;
}

/* Files of random pieces that have a meaning, and of random bytes. */
static void garbage_of_every_kind_is_read_or_refused(void **state) {
    (void)state;
    static const char *const pieces[] = {
        ":",       "\n", "\r\n", "\r",           "#",      "$",        "$6$", "$y$j9T$",
        "$2b$04$", " ",  "\t",   "bob",          "a:b\n",  "\x80\xff", "::",  "$$$$",
        "*",       "!",  "x",    "$5$rounds=9$", "\n\n\n", "\x7f",     "u:p",
    };
    unsigned taken = 0;
    random_number = 1;
    for (unsigned round = 0; round < 4000; round += BRIEF_STEP) {
        char text[512];
        size_t used = 0;
        for (unsigned i = random_below(24); i > 0; i--) {
            if (random_below(12) == 0) {
                text[used++] = (char)random_below(256);
                continue;
            }
            const char *piece = pieces[random_below(sizeof pieces / sizeof pieces[0])];
            memcpy(text + used, piece, strlen(piece));
            used += strlen(piece);
        }
        struct credentials *credentials = read_bytes_as(text, used, 0600);
        taken += credentials != NULL;
        if (credentials != NULL) {
            judge(credentials, "bob", "x");
        }
        credentials_release(credentials);
    }
    assert_in_range(taken, 10, 3900 / BRIEF_STEP); /* the pieces make valid and invalid files */
}

static int begin(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/users", folder);
    return 0;
}

static int end(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_passwords_are_known_at_once_and_warned_about),
        cmocka_unit_test(hashes_of_every_kind_are_verified_and_then_known),
        cmocka_unit_test(users_of_both_kinds_stand_in_one_file),
        cmocka_unit_test(an_unknown_user_costs_the_same_as_a_known_one),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(every_fault_is_named_not_only_the_first),
        cmocka_unit_test(names_and_passwords_may_be_so_long_and_no_longer),
        cmocka_unit_test(a_file_holds_so_many_users_and_so_many_bytes),
        cmocka_unit_test(a_file_that_others_may_read_is_refused),
        cmocka_unit_test(a_file_of_a_stranger_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(garbage_of_every_kind_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
