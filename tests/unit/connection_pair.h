/* One connection over a socket pair, with a very simple protocol:
 *
 *     e<n>\n            answers with n bytes
 *     v<n>\n<n bytes>   answers "v" when all bytes are there
 *     w<n>\n            does n bytes of work, and answers nothing
 *     q\n               ends the connection
 *     l\n               logs in; the test decides when the verdict comes
 *
 * and a pool whose writes are durable when the test makes them durable. While disk.asked_for is
 * set, each batch counts as one write. */
#ifndef STAYD_TESTS_CONNECTION_PAIR_H
#define STAYD_TESTS_CONNECTION_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/connection.h"
#include "net/share.h"

#include <stdbool.h>

enum { LOAN_BYTES = 64 << 10, LARGE = 1 << 20 };

extern unsigned process_calls; /* of the protocol, since open_pair */

/* The pool: `p` asks it for room. */
struct pool_room {
    bool there;
    uint64_t turn;
};

extern struct pool_room room;

struct pool_disk {
    bool asked_for;     /* batches write, and need a ticket */
    uint64_t tickets;   /* given out */
    enum status status; /* of all of them */
};

extern struct pool_disk disk;

struct pair {
    struct connection *connection;
    struct connection_loan loan;
    char input[LOAN_BYTES];
    int client;
    bool progress;
};

extern struct pair pair;
extern struct store_thread store_thread;
extern struct proto_server server;
extern struct proto_service service;

/* Sets the limit of the memory of all connections together. There is one pool. */
void limit_memory(uint64_t bytes);

void open_pair_of(int type); /* SOCK_STREAM, SOCK_SEQPACKET */
int open_pair(void **state);
int close_pair(void **state);

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

/* Checks the socket as epoll would, and serves the connection once. */
enum connection_next serve(void);

/* Delivers one edge-triggered event, and serves every turn that follows from it. */
enum connection_next serve_all(void);

void client_send(const char *data, size_t size);
void client_send_string(const char *text);
void client_close(void);

/* Reads everything that has arrived; returns how many bytes. */
size_t client_take(void);
bool client_sees_end(void);

#endif
