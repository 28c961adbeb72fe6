/* Both implementations of transfers, over socket pairs: a group receives and sends as much as each
 * socket allows at once, and never waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/transfers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = TRANSFERS_GROUP_MAX, PIECE = 100, FLOOD = 4 << 20 };

static struct transfers *transfers;
static int ours[PAIRS];
static int theirs[PAIRS];
static char pieces[PAIRS][PIECE];
static struct transfer group[PAIRS];

static int open_with(void **state, enum transfers_kind kind) {
    (void)state;
    transfers = transfers_create(kind);
    assert_non_null(transfers);
    transfers_begin(transfers);
    for (unsigned i = 0; i < PAIRS; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        ours[i] = fds[0];
        theirs[i] = fds[1];
        group[i] = (struct transfer){.fd = ours[i], .data = pieces[i], .size = PIECE};
    }
    return 0;
}

static int open_epoll(void **state) {
    return open_with(state, TRANSFERS_EPOLL);
}

/* Where the build or the system lacks io_uring, the tests run twice without it. */
static int open_uring(void **state) {
    return open_with(state, transfers_choose(TRANSFERS_URING));
}

static int close_all(void **state) {
    (void)state;
    for (unsigned i = 0; i < PAIRS; i++) {
        close(ours[i]);
        close(theirs[i]);
    }
    transfers_destroy(transfers);
    return 0;
}

static void each_socket_of_a_group_receives_its_own_bytes(void **state) {
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < PAIRS; i++) {
            char text[PIECE] = {(char)('A' + i), (char)('0' + round)};
            assert_int_equal(send(theirs[i], text, 2 + i, 0), 2 + i);
        }
        transfers_run(transfers, group, PAIRS);
        for (unsigned i = 0; i < PAIRS; i++) {
            assert_int_equal(group[i].result, 2 + i);
            assert_int_equal(pieces[i][0], 'A' + i);
            assert_int_equal(pieces[i][1], '0' + round);
        }
    }
}

static void a_group_may_receive_and_send(void **state) {
    (void)state;
    for (unsigned i = 0; i < PAIRS; i += 2) {
        memset(pieces[i], 'a' + (int)i, PIECE);
        group[i].sends = true;
        assert_int_equal(send(theirs[i + 1], "x", 1, 0), 1);
    }
    transfers_run(transfers, group, PAIRS);
    for (unsigned i = 0; i < PAIRS; i += 2) {
        char piece[PIECE + 1];
        assert_int_equal(group[i].result, PIECE);
        assert_int_equal(recv(theirs[i], piece, sizeof piece, 0), PIECE);
        assert_memory_equal(piece, pieces[i], PIECE);
        assert_int_equal(group[i + 1].result, 1);
    }
}

static void a_socket_without_bytes_says_so_at_once_and_others_go_on(void **state) {
    (void)state;
    for (unsigned i = 1; i < PAIRS; i += 2) {
        assert_int_equal(send(theirs[i], "ab", 2, 0), 2);
    }
    transfers_run(transfers, group, PAIRS);
    for (unsigned i = 0; i < PAIRS; i++) {
        assert_int_equal(group[i].result, i % 2 == 0 ? -EAGAIN : 2);
    }
    /* A transfer that has ended takes no bytes that come later. */
    assert_int_equal(send(theirs[0], "late", 4, 0), 4);
    char late[8];
    assert_int_equal(recv(ours[0], late, sizeof late, 0), 4);
}

static void a_socket_that_takes_a_part_takes_a_part(void **state) {
    (void)state;
    static char flood[FLOOD];
    for (unsigned i = 0; i < PAIRS; i++) {
        group[i].sends = true;
    }
    group[3].data = flood;
    group[3].size = FLOOD;
    transfers_run(transfers, group, PAIRS);
    assert_in_range(group[3].result, 1, FLOOD - 1);
    assert_int_equal(group[2].result, PIECE);
    assert_int_equal(group[4].result, PIECE);
    transfers_run(transfers, group + 3, 2); /* after that, nothing more comes */
    assert_int_equal(group[3].result, -EAGAIN);
    assert_int_equal(group[4].result, PIECE);
}

static void the_end_of_a_stream_and_a_broken_socket_are_told_apart(void **state) {
    (void)state;
    close(theirs[0]);
    close(theirs[1]);
    group[1].sends = true; /* no SIGPIPE may end the process */
    assert_int_equal(send(theirs[2], "a", 1, 0), 1);
    transfers_run(transfers, group, PAIRS);
    assert_int_equal(group[0].result, 0);
    assert_int_equal(group[1].result, -EPIPE);
    assert_int_equal(group[2].result, 1);
    theirs[0] = dup(theirs[2]);
    theirs[1] = dup(theirs[2]);
}

static void one_transfer_alone_is_made(void **state) {
    (void)state;
    assert_int_equal(send(theirs[0], "abc", 3, 0), 3);
    transfers_run(transfers, group, 1);
    assert_int_equal(group[0].result, 3);
    transfers_run(transfers, group, 1);
    assert_int_equal(group[0].result, -EAGAIN);
}

/* Descriptors that are not sockets simulate a system that refuses single transfers. */
static void a_transfer_that_the_system_refuses_fails_alone(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    group[1].fd = fds[0];
    assert_int_equal(send(theirs[2], "a", 1, 0), 1);
    transfers_run(transfers, group, PAIRS);
    assert_int_equal(group[1].result, -ENOTSOCK);
    assert_int_equal(group[2].result, 1);
    close(fds[0]);
    close(fds[1]);
}

/* The descriptor of the only ring in this process; -1: there is none. */
static int find_ring(void) {
    int found = -1;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char target[32] = "";
        if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) > 0 &&
            strcmp(target, "anon_inode:[io_uring]") == 0) {
            found = atoi(entry->d_name);
        }
    }
    closedir(folder);
    return found;
}

/* The ring's descriptor is replaced, so the kernel refuses each call. The test leaves out
 * transfers_begin, because after it the ring no longer uses its descriptor. */
static void a_ring_that_fails_is_given_up_and_no_transfer_is_lost(void **state) {
    (void)state;
    transfers_destroy(transfers);
    transfers = transfers_create(transfers_choose(TRANSFERS_URING));
    assert_non_null(transfers);
    int ring = find_ring();
    assert_int_equal(ring >= 0, transfers_get_group_max(transfers) > 1);
    if (ring < 0) {
        skip();
    }
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup3(other, ring, O_CLOEXEC), ring);
    close(other);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < PAIRS; i++) {
            assert_int_equal(send(theirs[i], "ab", 1 + i % 2, 0), 1 + i % 2);
        }
        transfers_run(transfers, group, PAIRS);
        for (unsigned i = 0; i < PAIRS; i++) {
            assert_int_equal(group[i].result, 1 + i % 2);
        }
        assert_int_equal(transfers_get_group_max(transfers), 1);
        assert_int_equal(find_ring(), -1);
    }
}

static void the_setting_decides(void **state) {
    (void)state;
    assert_int_equal(transfers_choose(TRANSFERS_EPOLL), TRANSFERS_EPOLL);
    assert_int_not_equal(transfers_choose(TRANSFERS_AUTO), TRANSFERS_AUTO);
    enum transfers_kind kind = transfers_choose(TRANSFERS_URING);
    assert_true(kind == TRANSFERS_URING || kind == TRANSFERS_EPOLL);
    assert_true(kind == TRANSFERS_EPOLL || transfers_liburing() != NULL);
}

#define WITH_BOTH(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, open_epoll, close_all),                                  \
        cmocka_unit_test_setup_teardown(test, open_uring, close_all)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_BOTH(each_socket_of_a_group_receives_its_own_bytes),
        WITH_BOTH(a_group_may_receive_and_send),
        WITH_BOTH(a_socket_without_bytes_says_so_at_once_and_others_go_on),
        WITH_BOTH(a_socket_that_takes_a_part_takes_a_part),
        WITH_BOTH(the_end_of_a_stream_and_a_broken_socket_are_told_apart),
        WITH_BOTH(one_transfer_alone_is_made),
        WITH_BOTH(a_transfer_that_the_system_refuses_fails_alone),
        cmocka_unit_test_setup_teardown(a_ring_that_fails_is_given_up_and_no_transfer_is_lost,
                                        open_epoll, close_all),
        cmocka_unit_test(the_setting_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
