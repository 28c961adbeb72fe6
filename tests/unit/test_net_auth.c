/* The queue of logins whose passwords must be hashed: which logins get a place in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/auth.h"
#include "net/credentials.h"
#include "net/login_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MANY = 5000 /* more than the queue has places for hashes */ };

/* A hash of "right" that is computed quickly, because all queued logins are computed when the test
 * ends. */
static const char users[] = "web:$5$salt$wSwSJ2jcGgOJrhtXC83JdW1ItuVorMIRfiqtimk07R6\n";

static struct auth *auth;
static struct auth_pool *pool;
static struct auth_mailbox mailbox;
static char path[] = "/tmp/stayd-auth-XXXXXX";
static int listening;
static int owner; /* stands for a connection */

static int begin(void **state) {
    (void)state;
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, users, strlen(users)) < 0) {
        return -1;
    }
    close(fd);
    auth = auth_create();
    pool = auth_add_pool(auth, "sessions", path, CREDENTIALS_STRICT);
    auth_mailbox_init(&mailbox, eventfd(0, EFD_NONBLOCK));
    listening = socket(AF_INET, SOCK_STREAM, 0);
    const struct sockaddr_in any = {.sin_family = AF_INET};
    return pool == NULL || bind(listening, (const struct sockaddr *)&any, sizeof any) != 0 ||
           listen(listening, 4) != 0;
}

static int end(void **state) {
    (void)state;
    auth_destroy(auth);
    close(mailbox.wake_fd);
    auth_mailbox_finish(&mailbox);
    close(listening);
    return unlink(path);
}

/* The daemon's end of a connection that comes from this address of the loopback network. */
static int connect_from(const char *address) {
    struct sockaddr_in to;
    socklen_t size = sizeof to;
    struct sockaddr_in from = {.sin_family = AF_INET};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, address, &from.sin_addr);
    assert_int_equal(bind(client, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&to, &size), 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    int served = accept(listening, NULL, NULL);
    assert_true(served >= 0);
    close(client); /* only its address matters */
    return served;
}

static enum auth_verdict log_in(int fd, const char *password, struct auth_check **check) {
    return auth_begin(pool, fd, bytes_from_string("web"), bytes_from_string(password), &mailbox,
                      &owner, check);
}

/* Starts the thread, and counts the verdicts for each owner. */
static unsigned take_verdicts(enum auth_verdict expected) {
    assert_true(auth_start(auth));
    auth_stop(auth); /* returns when the queue is empty */
    unsigned count = 0;
    void *told;
    enum auth_verdict verdict;
    while (auth_mailbox_take(&mailbox, &told, &verdict)) {
        if (told != NULL) {
            assert_ptr_equal(told, &owner);
            assert_true(verdict == expected || verdict == AUTH_NOT_CHECKED); /* it was stopped */
            count++;
        }
    }
    return count;
}

static void many_who_repeat_one_wrong_login_leave_the_queue_to_others(void **state) {
    (void)state;
    struct auth_check *check;
    int flood = connect_from("127.0.0.2");
    int other = connect_from("127.0.0.3");
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(log_in(flood, "wrong", &check), AUTH_NONE);
    }
    assert_int_equal(log_in(other, "also wrong", &check), AUTH_NONE);
    assert_int_equal(take_verdicts(AUTH_REFUSED), MANY + 1);
    close(flood);
    close(other);
}

static void who_leaves_while_others_wait_for_the_same_verdict_is_not_told(void **state) {
    (void)state;
    struct auth_check *checks[4];
    int fd = connect_from("127.0.0.2");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(log_in(fd, "wrong", &checks[i]), AUTH_NONE);
    }
    auth_abandon(checks[0]); /* the leader, for which the hash is computed */
    auth_abandon(checks[2]);
    assert_int_equal(take_verdicts(AUTH_REFUSED), 2);
    close(fd);
}

static unsigned called;

static void count_call(struct auth_mailbox *called_mailbox) {
    void *told;
    enum auth_verdict verdict;
    while (auth_mailbox_take(called_mailbox, &told, &verdict)) {
        assert_ptr_equal(told, &owner);
        called++;
    }
}

static void a_mailbox_with_a_function_is_emptied_by_it(void **state) {
    (void)state;
    struct auth_mailbox calling;
    struct auth_check *check;
    union peer peer = {.ipv4 = {.sin_family = AF_INET}};
    struct login_source source;
    assert_true(login_source_of_peer(&peer, &source));
    auth_mailbox_init_calling(&calling, count_call);
    called = 0;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(auth_begin_from(pool, &source, bytes_from_string("web"),
                                         bytes_from_string("wrong"), &calling, &owner, &check),
                         AUTH_NONE);
    }
    assert_int_equal(take_verdicts(AUTH_REFUSED), 0);
    assert_int_equal(called, 3);
    auth_mailbox_finish(&calling);
}

static void without_a_mailbox_no_hash_is_computed_and_no_try_is_spent(void **state) {
    (void)state;
    struct auth_check *check;
    union peer peer = {.ipv4 = {.sin_family = AF_INET}};
    struct login_source source;
    assert_true(login_source_of_peer(&peer, &source));
    for (unsigned i = 0; i < 2 * LOGIN_LIMIT_BURST; i++) {
        assert_int_equal(auth_begin_from(pool, &source, bytes_from_string("web"),
                                         bytes_from_string("wrong"), NULL, NULL, &check),
                         AUTH_NONE);
    }
    assert_int_equal(auth_begin_from(pool, &source, bytes_from_string("web"),
                                     bytes_from_string("right"), &mailbox, &owner, &check),
                     AUTH_NONE);
    assert_int_equal(take_verdicts(AUTH_ADMITTED), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_who_repeat_one_wrong_login_leave_the_queue_to_others,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            who_leaves_while_others_wait_for_the_same_verdict_is_not_told, begin, end),
        cmocka_unit_test_setup_teardown(a_mailbox_with_a_function_is_emptied_by_it, begin, end),
        cmocka_unit_test_setup_teardown(without_a_mailbox_no_hash_is_computed_and_no_try_is_spent,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
