/* A server that follows a script, for the tests of libstayd. It answers the first request of the
 * n-th connection with the n-th script, or with the last script, in pieces of any size. This file
 * also has the client of a test, which does not wait for a restart. */
#ifndef STAYD_TESTS_SCRIPTED_SERVER_H
#define STAYD_TESTS_SCRIPTED_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stayd.h"

#include <pthread.h>
#include <stdbool.h>

enum { REQUEST_MAX = 4096, SCRIPTS_MAX = 4 };

struct script {
    const char *reply; /* NULL: sends nothing until the client leaves */
    size_t reply_size;
    size_t step;     /* bytes in each write; 0: all */
    size_t expected; /* how many bytes of a request to read before the reply */
};

struct scripted_server {
    char folder[32];
    char url[80];
    int listening;
    pthread_t thread;
    bool is_running;
    struct script scripts[SCRIPTS_MAX];
    unsigned script_count;
    unsigned connections;      /* taken so far */
    char request[REQUEST_MAX]; /* of all connections */
    size_t request_size;
};

extern struct scripted_server server;
extern struct stayd *client;
extern struct stayd_error error;
extern bool asks_for_mappings; /* the next client that is opened does */

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start_listening, stop_listening)

int start_listening(void **state);
int stop_listening(void **state);

/* Waits until the thread has ended. */
void stop_serving(void);

/* Over the socket of `server`; `given` may be NULL. */
void open_client(const struct stayd_options *given);

/* Appends a script: waits for as many bytes as `request` has, then replies. */
void add_script(const char *request, const char *reply, size_t size, size_t step);

/* Appends the last script, starts the server, and opens the client. */
void answer_bytes(const char *request, const char *reply, size_t size, size_t step);
void answer(const char *request, const char *reply);

/* Stops the server. All bytes that it has received must be these. */
void expect_request(const char *request);

/* The error of the client's last failure. */
void expect_failure(enum stayd_status expected, const char *part);

/* Gets the item k, and sets it. */
enum stayd_status get(void);
enum stayd_status set(void);

#endif
