/* stayd-load: a load generator for memcached and Redis servers. N connections on one thread and one
 * epoll; each sends a batch of requests in one write, waits for all of its replies, checks every
 * byte of them, and sends the next: a closed loop. With a rate, batches fall due at even distances,
 * even if earlier batches have no reply yet. A batch that finds no free connection waits, and the
 * wait is part of its latency. There are up to three phases: preload (every key is set once),
 * warm-up, and the measured phase; the last phase that ran is reported. Between phases no
 * connection is busy. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"
#include "latency.h"
#include "options.h"
#include "workload.h"

enum {
    EVENTS_MAX = 256,
    READ_AHEAD_BYTES = 64 * 1024,
    SILENCE_MAX_MS = 10000, /* a server that sends nothing for this time has failed */
};

struct connection {
    int socket;
    bool waits_to_send;
    struct exchange exchange;
    size_t requests_sent;
    char *replies;
    size_t replies_length, replies_max;
    uint64_t batch_began_ns;
};

/* What a phase sends, and when it ends. */
struct phase {
    bool preload;
    uint64_t preload_next;    /* the next key to set */
    uint64_t operations_left; /* UINT64_MAX: no limit */
    uint64_t deadline_ns;     /* UINT64_MAX: none */
    double interval_ns;       /* between two batches; 0: each follows the connection's last */
    uint64_t next_due_ns;     /* with an interval: when the next batch is to begin */
    uint64_t began_ns, batches;
};

struct load {
    struct options options;
    struct workload workload;
    struct tally tally;
    struct latency latency;
    struct phase phase;
    struct connection *connections;
    struct connection **idle; /* connections without a running batch: a ring, */
    unsigned idle_first;      /* which begins here */
    unsigned idle_count;      /* and has this many */
    uint64_t heard_ns;        /* when the server last sent something, or had nothing to answer */
    int epoll;
    double elapsed_s, cpu_s; /* of the last phase; cpu_s is this process's own */
};

static _Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("stayd-load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static uint64_t clock_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static int connect_unix(const char *server, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        fail("%s: the path is longer than a socket's may be", server);
    }
    strcpy(address.sun_path, path);
    int connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connected < 0 || connect(connected, (struct sockaddr *)&address, sizeof(address)) != 0) {
        fail("cannot connect to %s: %s", server, strerror(errno));
    }
    return connected;
}

static int connect_tcp(const char *server) {
    char host[256];
    const char *colon = strrchr(server, ':');
    if (colon == NULL || (size_t)(colon - server) >= sizeof(host)) {
        fail("%s: a server is HOST:PORT or unix:PATH", server);
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - server), server);

    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int failure = getaddrinfo(host, colon + 1, &wanted, &found);
    if (failure != 0) {
        fail("cannot find %s: %s", server, gai_strerror(failure));
    }
    int connected = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, 0);
    if (connected < 0 || connect(connected, found->ai_addr, found->ai_addrlen) != 0) {
        fail("cannot connect to %s: %s", server, strerror(errno));
    }
    freeaddrinfo(found);
    int on = 1;
    setsockopt(connected, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return connected;
}

static void connection_open(struct load *load, struct connection *connection) {
    const char *server = load->options.server;
    connection->socket =
        strncmp(server, "unix:", 5) == 0 ? connect_unix(server, server + 5) : connect_tcp(server);
    if (fcntl(connection->socket, F_SETFL, O_NONBLOCK) != 0) {
        fail("cannot set up a connection: %s", strerror(errno));
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->socket, &event) != 0) {
        fail("cannot wait for a connection: %s", strerror(errno));
    }
    bool whole = exchange_init(&connection->exchange, &load->options.exchange, &load->workload,
                               &load->tally);
    connection->replies_max = READ_AHEAD_BYTES + exchange_reply_max(&connection->exchange);
    connection->replies = malloc(connection->replies_max);
    if (!whole || connection->replies == NULL) {
        fail("out of memory");
    }
}

static void connection_close(struct connection *connection) {
    close(connection->socket);
    exchange_finish(&connection->exchange);
    free(connection->replies);
}

static void wait_to_send(struct load *load, struct connection *connection, bool wait) {
    if (connection->waits_to_send != wait) {
        connection->waits_to_send = wait;
        struct epoll_event event = {.events = wait ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                    .data.ptr = connection};
        epoll_ctl(load->epoll, EPOLL_CTL_MOD, connection->socket, &event);
    }
}

static void connection_send(struct load *load, struct connection *connection) {
    const struct exchange *exchange = &connection->exchange;
    while (connection->requests_sent < exchange->requests_length) {
        ssize_t sent = send(connection->socket, exchange->requests + connection->requests_sent,
                            exchange->requests_length - connection->requests_sent, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            wait_to_send(load, connection, true);
            return;
        }
        if (sent < 0 && errno != EINTR) {
            fail("cannot send to %s: %s", load->options.server, strerror(errno));
        }
        connection->requests_sent += sent > 0 ? (size_t)sent : 0;
    }
    wait_to_send(load, connection, false);
}

/* The next operation of the phase; false when the phase has no more. */
static bool phase_next(struct load *load, struct operation *operation) {
    struct phase *phase = &load->phase;
    if (phase->operations_left == 0) {
        return false;
    }
    if (phase->operations_left != UINT64_MAX) {
        phase->operations_left--;
    }
    if (phase->preload) {
        *operation = (struct operation){.key = phase->preload_next++};
    } else {
        *operation = workload_next(&load->workload);
    }
    return true;
}

static bool phase_is_over(const struct phase *phase, uint64_t now_ns) {
    return now_ns >= phase->deadline_ns || phase->operations_left == 0;
}

/* Sends the connection's next batch; false when none is due, or the phase is over. */
static bool connection_begin_batch(struct load *load, struct connection *connection) {
    struct phase *phase = &load->phase;
    uint64_t now_ns = clock_now_ns();
    bool paced = phase->interval_ns > 0;
    if (phase_is_over(phase, now_ns) || (paced && now_ns < phase->next_due_ns)) {
        return false;
    }
    exchange_begin(&connection->exchange);
    struct operation operation;
    for (unsigned i = 0; i < load->options.exchange.batch_max; i++) {
        if (!phase_next(load, &operation)) {
            break;
        }
        exchange_add(&connection->exchange, operation);
    }
    connection->requests_sent = 0;
    connection->batch_began_ns = paced ? phase->next_due_ns : now_ns;
    phase->batches++;
    phase->next_due_ns = phase->began_ns + (uint64_t)((double)phase->batches * phase->interval_ns);
    connection_send(load, connection);
    return true;
}

static void connection_rest(struct load *load, struct connection *connection) {
    load->idle[(load->idle_first + load->idle_count++) % load->options.connections] = connection;
}

/* Gives the due batches to idle connections; the connection that was idle longest comes first. */
static void begin_batches(struct load *load) {
    while (load->idle_count > 0 && connection_begin_batch(load, load->idle[load->idle_first])) {
        load->idle_first = (load->idle_first + 1) % load->options.connections;
        load->idle_count--;
    }
}

static void connection_end_batch(struct load *load, struct connection *connection) {
    if (connection->replies_length > 0) {
        fail("%s sent %zu bytes more than the replies: %.*s", load->options.server,
             connection->replies_length,
             (int)(connection->replies_length < 200 ? connection->replies_length : 200),
             connection->replies);
    }
    latency_record(&load->latency, clock_now_ns() - connection->batch_began_ns);
    if (!connection_begin_batch(load, connection)) {
        connection_rest(load, connection);
    }
}

static void connection_receive(struct load *load, struct connection *connection) {
    size_t space = connection->replies_max - connection->replies_length;
    if (space == 0) {
        fail("%s sent a line that is longer than any reply: %.200s", load->options.server,
             connection->replies);
    }
    ssize_t received =
        recv(connection->socket, connection->replies + connection->replies_length, space, 0);
    if (received == 0) {
        fail("%s closed a connection", load->options.server);
    }
    if (received < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            return;
        }
        fail("cannot receive from %s: %s", load->options.server, strerror(errno));
    }

    connection->replies_length += (size_t)received;
    size_t checked =
        exchange_check(&connection->exchange, connection->replies, connection->replies_length);
    connection->replies_length -= checked;
    memmove(connection->replies, connection->replies + checked, connection->replies_length);
    if (exchange_is_answered(&connection->exchange)) {
        connection_end_batch(load, connection);
    }
}

/* For how long there is nothing to do unless the server sends something. */
static struct timespec next_wait(const struct load *load, uint64_t now_ns) {
    uint64_t until_ns = load->heard_ns + SILENCE_MAX_MS * UINT64_C(1000000);
    const struct phase *phase = &load->phase;
    if (load->idle_count > 0 && !phase_is_over(phase, now_ns)) {
        uint64_t due_ns =
            phase->next_due_ns < phase->deadline_ns ? phase->next_due_ns : phase->deadline_ns;
        until_ns = due_ns < until_ns ? due_ns : until_ns;
    }
    uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    return (struct timespec){.tv_sec = (time_t)(wait_ns / 1000000000),
                             .tv_nsec = (long)(wait_ns % 1000000000)};
}

static void serve_events(struct load *load) {
    struct epoll_event events[EVENTS_MAX];
    uint64_t now_ns = clock_now_ns();
    struct timespec wait = next_wait(load, now_ns);
    int count = epoll_pwait2(load->epoll, events, EVENTS_MAX, &wait, NULL);
    if (count < 0 && errno != EINTR) {
        fail("cannot wait for %s: %s", load->options.server, strerror(errno));
    }
    if (count > 0 || load->idle_count == load->options.connections) {
        load->heard_ns = clock_now_ns();
    } else if (clock_now_ns() - load->heard_ns >= SILENCE_MAX_MS * UINT64_C(1000000)) {
        fail("%s gave no reply for %d s", load->options.server, SILENCE_MAX_MS / 1000);
    }
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->waits_to_send) {
            connection_send(load, connection);
        }
        connection_receive(load, connection);
    }
}

static double own_cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Runs a phase to its end, and leaves its counts and times in `load`. Faults of all phases count: a
 * fault in the preload fails the run as well. */
static void run_phase(struct load *load, struct phase phase) {
    load->phase = phase;
    load->tally = (struct tally){.wrong = load->tally.wrong, .errors = load->tally.errors};
    memset(&load->latency, 0, sizeof(load->latency));
    double cpu_before_s = own_cpu_s();
    uint64_t began_ns = clock_now_ns();
    load->phase.began_ns = began_ns;
    load->phase.next_due_ns = began_ns;
    load->heard_ns = began_ns;

    begin_batches(load);
    while (load->idle_count < load->options.connections ||
           !phase_is_over(&load->phase, clock_now_ns())) {
        serve_events(load);
        begin_batches(load);
    }
    load->elapsed_s = (double)(clock_now_ns() - began_ns) / 1e9;
    load->cpu_s = own_cpu_s() - cpu_before_s;
}

static void run(struct load *load) {
    const struct options *options = &load->options;
    if (options->preload) {
        run_phase(load, (struct phase){.preload = true,
                                       .preload_next = 1,
                                       .operations_left = options->workload.keys,
                                       .deadline_ns = UINT64_MAX});
    }
    if (options->warmup_operations > 0) {
        run_phase(load, (struct phase){.operations_left = options->warmup_operations,
                                       .deadline_ns = UINT64_MAX});
    }
    if (options->operations > 0 || options->seconds > 0) {
        struct phase phase = {.operations_left = UINT64_MAX, .deadline_ns = UINT64_MAX};
        if (options->operations > 0) {
            phase.operations_left = options->operations;
        }
        if (options->seconds > 0) {
            phase.deadline_ns = clock_now_ns() + (uint64_t)(options->seconds * 1e9);
        }
        if (options->rate > 0) {
            phase.interval_ns = options->exchange.batch_max * 1e9 / options->rate;
        }
        run_phase(load, phase);
    }
}

static void print_count(const char *name, uint64_t count) {
    printf("\"%s\": %llu, ", name, (unsigned long long)count);
}

static void print_percentile(const struct load *load, const char *name, double share) {
    printf("\"%s\": %.1f, ", name, (double)latency_percentile(&load->latency, share) / 1e3);
}

static void print_result(const struct load *load) {
    const struct tally *tally = &load->tally;
    uint64_t operations = tally->gets + tally->sets;
    printf("{");
    print_count("operations", operations);
    print_count("gets", tally->gets);
    print_count("hits", tally->hits);
    print_count("misses", tally->gets - tally->hits);
    print_count("scan_gets", tally->scan_gets);
    print_count("scan_hits", tally->scan_hits);
    print_count("sets", tally->sets);
    print_count("refills", tally->refills);
    print_count("refused", tally->refused);
    print_count("wrong", tally->wrong);
    print_count("errors", tally->errors);
    print_percentile(load, "p50_us", 0.5);
    print_percentile(load, "p99_us", 0.99);
    print_percentile(load, "p99.9_us", 0.999);
    print_percentile(load, "max_us", 1);
    double per_second = load->elapsed_s > 0 ? (double)operations / load->elapsed_s : 0.0;
    printf("\"operations_per_second\": %.0f, \"seconds\": %.6f, \"load_cpu_seconds\": %.3f}\n",
           per_second, load->elapsed_s, load->cpu_s);
}

int main(int argument_count, char **arguments) {
    struct load load = {0};
    options_parse(&load.options, argument_count, arguments);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL); /* a rate is kept by short waits */

    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = calloc(load.options.connections, sizeof(*load.connections));
    load.idle = calloc(load.options.connections, sizeof(struct connection *));
    if (load.epoll < 0 || load.connections == NULL || load.idle == NULL ||
        !workload_init(&load.workload, &load.options.workload)) {
        fail("out of memory or descriptors");
    }
    for (unsigned i = 0; i < load.options.connections; i++) {
        connection_open(&load, &load.connections[i]);
        connection_rest(&load, &load.connections[i]);
    }

    run(&load);
    print_result(&load);

    for (unsigned i = 0; i < load.options.connections; i++) {
        connection_close(&load.connections[i]);
    }
    free(load.connections);
    free(load.idle);
    workload_finish(&load.workload);
    close(load.epoll);
    return load.tally.wrong + load.tally.errors > 0 ? 1 : 0;
}
