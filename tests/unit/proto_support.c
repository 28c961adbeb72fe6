#include "proto_support.h"

#include <stdio.h>

static void talk_open(struct talk *talk, bool evict) {
    struct pool_options options = {
        .name = "test",
        .memory_bytes = 16 << 20,
        .item_max_bytes = TALK_ITEM_MAX,
        .evict = evict,
    };
    char error[POOL_ERROR_MAX];
    talk->pool = pool_open(&options, talk->grace, error);
    if (talk->pool == NULL) {
        fail_msg("%s", error);
    }
}

void talk_begin(struct talk *talk, bool evict) {
    *talk = (struct talk){.server = {.started_s = TALK_NOW_S - 5, .threads = 3}};
    talk->grace = grace_create(1);
    assert_non_null(talk->grace);
    store_thread_init(&talk->thread, talk->grace, 0);
    talk_open(talk, evict);
    assert_true(proto_service_init(&talk->service, talk->pool, &talk->server));
    proto_connection_init(&talk->connection, &talk->service);
}

void talk_end(struct talk *talk) {
    buffer_finish(&talk->input);
    buffer_finish(&talk->replies);
    proto_connection_finish(&talk->connection);
    pool_close(talk->pool);
    proto_service_finish(&talk->service);
    grace_destroy(talk->grace);
}

void talk_restart(struct talk *talk) {
    talk->thread.now_s = TALK_NOW_S;
    assert_int_equal(pool_flush(talk->pool, &talk->thread, TALK_NOW_S), STATUS_OK);
    proto_connection_finish(&talk->connection);
    proto_service_finish(&talk->service);
    assert_true(proto_service_init(&talk->service, talk->pool, &talk->server));
    proto_connection_init(&talk->connection, &talk->service);
    talk->input.size = 0;
    talk->wanted = 0;
    talk->replies.size = 0;
    talk->replies_peak = 0;
    talk->flushes = 0;
    talk->closed = false;
    talk->later_s = 0;
    talk->logins = 0;
}

static void talk_judge_login(struct talk *talk, struct buffer *replies) {
    const struct proto_login *login = &talk->connection.login;
    assert_in_range(login->user.size, 1, PROTO_LOGIN_USER_MAX);
    assert_in_range(login->password.size, 1, PROTO_LOGIN_PASSWORD_MAX);
    snprintf(talk->login, sizeof talk->login, "%.*s:%.*s", (int)login->user.size, login->user.data,
             (int)login->password.size, login->password.data);
    talk->logins++;
    bool admitted = strcmp(talk->login, "bob:secret word") == 0;
    assert_true(proto_finish_login(&talk->connection, &talk->thread, admitted, replies));
}

/* One call of proto_process with an empty buffer for replies, as net/ calls it after a flush. */
static enum proto_next talk_process(struct talk *talk) {
    struct buffer said = {0};
    size_t consumed = SIZE_MAX;
    size_t wanted = SIZE_MAX;
    enum proto_next next =
        proto_process(&talk->connection, &talk->thread,
                      bytes_from(talk->input.data, talk->input.size), &consumed, &wanted, &said);
    assert_true(consumed <= talk->input.size);
    if (next == PROTO_LOGIN) {
        talk_judge_login(talk, &said);
        next = PROTO_FLUSH;
    }
    buffer_consume(&talk->input, consumed);
    if (next == PROTO_READ) {
        assert_true(wanted > talk->input.size);
        assert_true(wanted <= TALK_ITEM_MAX + 4096);
        talk->wanted = wanted;
    }
    if (said.size > talk->replies_peak) {
        talk->replies_peak = said.size;
    }
    assert_true(buffer_append(&talk->replies, said.data, said.size));
    buffer_finish(&said);
    return next;
}

void talk_send(struct talk *talk, struct bytes request) {
    if (talk->closed) {
        return;
    }
    assert_true(buffer_append(&talk->input, request.data, request.size));
    if (talk->input.size < talk->wanted) {
        return; /* the last call asked for more input than this */
    }
    store_thread_refresh(&talk->thread);
    talk->thread.now_s = TALK_NOW_S + talk->later_s;
    pool_tick(talk->pool, &talk->thread);
    enum proto_next next;
    while ((next = talk_process(talk)) == PROTO_FLUSH) {
        talk->flushes++;
        talk->connection.turn_left = UINT32_MAX;
    }
    talk->closed = next == PROTO_CLOSE || next == PROTO_QUIT || next == PROTO_ABORT;
    store_thread_leave(&talk->thread);
}

static void print_bytes(const char *what, struct bytes text) {
    fprintf(stderr, "%s (%zu bytes): ", what, text.size);
    for (size_t i = 0; i < text.size && i < 600; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= ' ' && byte < 127) {
            fputc(byte, stderr);
        } else {
            fprintf(stderr, "\\x%02x", byte);
        }
    }
    fputc('\n', stderr);
}

void talk_expect(struct talk *talk, struct bytes expected) {
    struct bytes said = bytes_from(talk->replies.data, talk->replies.size);
    bool equal = said.size == expected.size &&
                 (said.size == 0 || memcmp(said.data, expected.data, said.size) == 0);
    if (!equal) {
        print_bytes("expected", expected);
        print_bytes("said    ", said);
        fail_msg("not the expected reply");
    }
    talk->replies.size = 0;
}

void talk_ask(struct talk *talk, const char *request, const char *expected) {
    talk_send(talk, bytes_from_string(request));
    talk_expect(talk, bytes_from_string(expected));
    assert_int_equal(talk->input.size, 0);
}

void talk_ask_all(struct talk *talk, const struct talk_exchange *exchanges, size_t count) {
    for (size_t i = 0; i < count; i++) {
        talk_ask(talk, exchanges[i].request, exchanges[i].reply);
    }
}

struct bytes talk_text(const char *head, char byte, size_t count, const char *tail) {
    size_t head_size = strlen(head);
    size_t tail_size = strlen(tail);
    char *text = malloc(head_size + count + tail_size + 1);
    assert_non_null(text);
    memcpy(text, head, head_size);
    memset(text + head_size, byte, count);
    memcpy(text + head_size + count, tail, tail_size + 1);
    return bytes_from(text, head_size + count + tail_size);
}

static int talk_make(void **state, bool evict) {
    struct talk *talk = malloc(sizeof *talk);
    if (talk == NULL) {
        return -1;
    }
    talk_begin(talk, evict);
    *state = talk;
    return 0;
}

int talk_setup(void **state) {
    return talk_make(state, true);
}

int talk_setup_no_evict(void **state) {
    return talk_make(state, false);
}

int talk_teardown(void **state) {
    talk_end(*state);
    free(*state);
    return 0;
}
