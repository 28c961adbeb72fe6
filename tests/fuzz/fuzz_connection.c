/* The state machine of a connection: bytes that arrive in any pieces; a client that reads its
 * replies slowly, shuts its side, or vanishes; and a disk that is slow or fails.
 *
 * Events are delivered as by epoll with EPOLLET: once, when something changes. So if the connection
 * misses an event, the event is lost and a check fails. In the end the client reads everything and
 * closes; then the replies must be those of a second connection that received the same bytes. */
#include "check.h"
#include "net/budget.h"
#include "net/connection.h"
#include "net/listener.h"
#include "replies.h"
#include "script.h"
#include "twin.h"
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>

enum {
    LOAN_BYTES = 1024, /* small, so that many requests are larger */
    /* the bytes of one turn, and one more batch that began before the turn was over */
    TURN_BYTES_MAX = (1 << 20) + PROTO_REPLY_BATCH + TWIN_ITEM_MAX + (64 << 10),
    OUTPUT_MAX = PROTO_REPLY_BATCH + TWIN_ITEM_MAX + (64 << 10),
    INPUT_MAX = TWIN_ITEM_MAX + 4096,
    SERVES_MAX = 100000, /* for one event: far more than any input needs */
};

struct stage {
    struct twins *twins;
    struct listener listener;      /* the connection's descriptor; not a socket */
    struct connection *connection; /* NULL: it has ended */
    struct connection_loan loan;
    enum connection_next next;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stage_begin(struct stage *stage, struct twins *twins) {
    stage->twins = twins;
    stage->loan = (struct connection_loan){
        .store = &twins->thread, .input = malloc(LOAN_BYTES), .input_bytes = LOAN_BYTES};
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    stage->listener.service = &twins->one.service;
    stage->connection = connection_create(fd, &stage->listener, NULL);
    check(stage->loan.input != NULL && stage->connection != NULL, "memory for a connection");
    stage->next = CONNECTION_IDLE;
}

static void stage_finish(struct stage *stage) {
    connection_destroy(stage->connection);
    free(stage->loan.input);
    buffer_finish(&stage->loan.replies);
}

static void stage_check_memory(const struct stage *stage) {
    const struct connection *connection = stage->connection;
    check(stage->loan.replies.size == 0, "what is lent is given back empty");
    check(connection->input.size <= INPUT_MAX, "half a request is bounded");
    check(connection->output.size <= OUTPUT_MAX, "unsent replies are bounded");
    if (stage->next == CONNECTION_IDLE || stage->next == CONNECTION_PARTIAL) {
        check(connection->output.capacity == 0, "an idle connection owns no output");
        check(connection->input.size > 0 || connection->input.capacity == 0,
              "an idle connection owns no input, but half a request");
        check((connection->input.capacity > BUDGET_SMALL_BYTES) ==
                  (stage->next == CONNECTION_PARTIAL),
              "half a large request is not waited for for ever");
    }
}

/* Serves the connection as a worker does, until it has nothing to do before another event. */
static void stage_settle(struct stage *stage) {
    bool more = true;
    for (unsigned serves = 0; stage->connection != NULL && more; serves++) {
        struct connection *connection = stage->connection;
        check(serves < SERVES_MAX, "a connection comes to rest");
        size_t heard = wire.heard.size;
        uint64_t received = stage->loan.bytes_read;
        bool progress;
        twins_go_online(stage->twins, &stage->twins->one);
        stage->next = connection_serve(connection, &stage->loan, &progress);
        twins_go_offline(stage->twins);
        check(wire.heard.size - heard <= TURN_BYTES_MAX, "a turn is bounded");
        bool moved = wire.heard.size > heard || stage->loan.bytes_read > received;
        check(progress ? moved : wire.heard.size == heard, "progress is what was sent or received");
        if (stage->next == CONNECTION_END) {
            connection_destroy(connection);
            stage->connection = NULL;
            return;
        }
        stage_check_memory(stage);
        switch (stage->next) {
        case CONNECTION_READY:
            break;
        case CONNECTION_STALLED: /* here epoll reports whether the socket is writable */
            connection->writable = connection->writable || wire_is_writable();
            more = connection->writable;
            break;
        case CONNECTION_LINGER:
            more = connection->readable;
            break;
        case CONNECTION_HELD:
            check(wire.done < wire.tickets && !wire.sync_failed, "only the disk holds replies");
            more = false;
            break;
        default:
            check(wire.unread.size == 0 && !wire.shut && !wire.reset,
                  "an idle connection has seen all that came");
            more = false;
            break;
        }
    }
}

/* Delivers an event to the connection. The connection does not wait for events while it waits for
 * the disk. */
static void stage_wake(struct stage *stage) {
    if (stage->connection != NULL && stage->next != CONNECTION_HELD) {
        stage_settle(stage);
    }
}

static void stage_sync(struct stage *stage, bool failed) {
    wire.sync_failed = wire.sync_failed || failed;
    wire.done = wire.sync_failed ? wire.done : wire.tickets;
    if (stage->connection != NULL && stage->next == CONNECTION_HELD) {
        stage_settle(stage);
    }
}

static void stage_arrive(struct stage *stage, const struct script_step *step) {
    if (wire.shut || wire.reset) {
        return;
    }
    bool joins = wire.unread.size > 0; /* consecutive pieces are adjacent in the script */
    wire.unread = joins ? bytes_from(wire.unread.data, wire.unread.size + step->size)
                        : bytes_from(step->data, step->size);
    twin_send(stage->twins, &stage->twins->other, bytes_from(step->data, step->size));
    if (stage->connection != NULL) {
        stage->connection->readable = true;
    }
    stage_wake(stage);
}

static void stage_leave(struct stage *stage, bool reset) {
    wire.shut = true;
    wire.reset = wire.reset || reset;
    if (stage->connection != NULL) {
        stage->connection->readable = true;
        stage->connection->input_ending = true;
        stage->connection->writable = stage->connection->writable || reset;
    }
    stage_wake(stage);
}

static void stage_take(struct stage *stage, bool all, size_t bytes) {
    wire.takes_all = all;
    wire.takes = bytes;
    if (stage->connection != NULL && stage->next == CONNECTION_STALLED && wire_is_writable()) {
        stage->connection->writable = true;
        stage_settle(stage);
    }
}

static void stage_play(struct stage *stage, const struct script_step *step) {
    switch (step->kind) {
    case SCRIPT_PIECE:
        stage_arrive(stage, step);
        break;
    case SCRIPT_TAKE:
        stage_take(stage, false, (size_t)step->argument * 16);
        break;
    case SCRIPT_TAKE_ALL:
        stage_take(stage, true, 0);
        break;
    case SCRIPT_SHUT:
        stage_leave(stage, false);
        break;
    case SCRIPT_RESET:
        stage_leave(stage, true);
        break;
    case SCRIPT_HOLD:
        wire.holding = true;
        break;
    case SCRIPT_SYNCED:
        stage_sync(stage, false);
        break;
    case SCRIPT_SYNC_FAILED:
        stage_sync(stage, true);
        break;
    case SCRIPT_CLOCK:
    case SCRIPT_NO_EVICT:
        break;
    }
}

/* From here on nothing fails, so the connection must come to its end. */
static void stage_end(struct stage *stage) {
    stage_take(stage, true, 0);
    wire.holding = false;
    stage_sync(stage, false);
    stage_leave(stage, false);
    check(stage->connection == NULL, "a connection ends once its client has");
}

/* The replies that a broken connection sent are the beginning of all replies. Statistics differ
 * each time, so they are not compared. */
static void compare_beginning(struct bytes heard, struct bytes all) {
    if (!replies_tell_statistics(all)) {
        check(heard.size <= all.size, "no more is said than was asked for");
        check_equal(heard, bytes_from(all.data, heard.size), "it is the beginning of all");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct twins evicting;
    static struct twins keeping;
    static struct script script;
    if (evicting.grace == NULL) {
        twins_begin(&evicting, true);
        twins_begin(&keeping, false);
    }
    script_init(&script, data, size);
    struct twins *twins = script.no_evict ? &keeping : &evicting;
    twins_restart(twins);
    wire_restart();

    struct stage stage = {0};
    stage_begin(&stage, twins);
    for (size_t i = 0; i < script.step_count; i++) {
        stage_play(&stage, &script.steps[i]);
    }
    stage_end(&stage);
    stage_finish(&stage);
    struct buffer *said = &twins->one.replies;
    said->size = 0;
    if (wire.heard.size > 0) {
        check(buffer_append(said, wire.heard.data, wire.heard.size), "memory");
    }
    if (!wire.reset && !wire.sync_failed) {
        twins_compare(twins);
    } else if (said->size > 0) {
        compare_beginning(bytes_from(said->data, said->size),
                          bytes_from(twins->other.replies.data, twins->other.replies.size));
    }
    script_finish(&script);
    return 0;
}
