/* Listening sockets: which existing socket files they replace, and what they leave behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/stayd-listener-XXXXXX";
static struct address address;

static int make_folder(void **state) {
    (void)state;
    char error[ADDRESS_ERROR_MAX];
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) != NULL && address_parse("unix:x.sock", folder, &address, error) ? 0
                                                                                            : -1;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(address_path(&address));
    return rmdir(folder);
}

static const struct listener_options plain = {.backlog = 16, .socket_mode = 0660};

static bool file_exists(void) {
    struct stat file;
    return lstat(address_path(&address), &file) == 0;
}

static void a_socket_file_has_the_rights_asked_for_and_goes_with_the_listener(void **state) {
    (void)state;
    struct listener listener;
    struct stat file;
    char error[LISTENER_ERROR_MAX];
    static const struct listener_options open_to_all = {.backlog = 16, .socket_mode = 0777};
    assert_true(listener_open(&listener, &address, &plain, error));
    assert_int_equal(stat(address_path(&address), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0660);
    listener_close(&listener);
    assert_true(listener_open(&listener, &address, &open_to_all, error));
    assert_int_equal(stat(address_path(&address), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0777);
    listener_close(&listener);
    assert_false(file_exists());
    listener_close(&listener);
}

/* The state after a daemon was killed: the socket file exists, and no process listens. */
static void leave_stale_file(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address.socket, address.size), 0);
    close(fd);
}

static void a_stale_socket_file_is_replaced(void **state) {
    (void)state;
    struct listener listener;
    char error[LISTENER_ERROR_MAX];
    leave_stale_file();
    assert_true(listener_open(&listener, &address, &plain, error));
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (const struct sockaddr *)&address.socket, address.size), 0);
    close(client);
    listener_close(&listener);
}

static void a_socket_that_is_answered_is_an_error_and_goes_on_working(void **state) {
    (void)state;
    struct listener first;
    struct listener second;
    char error[LISTENER_ERROR_MAX] = "";
    assert_true(listener_open(&first, &address, &plain, error));
    assert_false(listener_open(&second, &address, &plain, error));
    assert_non_null(strstr(error, address.text));
    assert_non_null(strstr(error, strerror(EADDRINUSE)));
    assert_true(file_exists());
    listener_close(&second);
    assert_true(file_exists());
    listener_close(&first);
}

static void a_file_that_is_no_socket_is_an_error_and_stays(void **state) {
    (void)state;
    struct listener listener;
    char error[LISTENER_ERROR_MAX] = "";
    int fd = open(address_path(&address), O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_false(listener_open(&listener, &address, &plain, error));
    assert_non_null(strstr(error, "not a socket"));
    struct stat file;
    assert_int_equal(stat(address_path(&address), &file), 0);
    assert_int_equal(file.st_size, 8);
}

static void a_listener_removes_no_file_of_another(void **state) {
    (void)state;
    struct listener listener;
    char error[LISTENER_ERROR_MAX];
    assert_true(listener_open(&listener, &address, &plain, error));
    unlink(address_path(&address));
    leave_stale_file();
    listener_close(&listener);
    assert_true(file_exists());
}

static void a_port_in_use_is_an_error_that_says_which(void **state) {
    (void)state;
    struct listener first;
    struct listener second;
    char error[LISTENER_ERROR_MAX] = "";
    struct address tcp;
    unsigned port = 20000;
    do { /* a port that is free now */
        assert_true(address_parse_host("127.0.0.1", port++, &tcp, error));
    } while (!listener_open(&first, &tcp, &plain, error));
    assert_false(listener_open(&second, &tcp, &plain, error));
    assert_non_null(strstr(error, tcp.text));
    assert_non_null(strstr(error, "another server"));
    listener_close(&first);
    assert_true(listener_open(&second, &tcp, &plain, error));
    listener_close(&second);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_socket_file_has_the_rights_asked_for_and_goes_with_the_listener),
        IN_FOLDER(a_stale_socket_file_is_replaced),
        IN_FOLDER(a_socket_that_is_answered_is_an_error_and_goes_on_working),
        IN_FOLDER(a_file_that_is_no_socket_is_an_error_and_stays),
        IN_FOLDER(a_listener_removes_no_file_of_another),
        cmocka_unit_test(a_port_in_use_is_an_error_that_says_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
