/* Replies in both protocols: libstayd accepts valid replies, and refuses a reply to another
 * command. Given a valid reply with random changes, it reads nothing outside the reply (the
 * sanitizers check that), ends, and reports a result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "binary.h"
#include "channel.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 5000, REPLY_MAX = 512, ITEMS = 3, DEADLINE_MS = 60000 };

static uint64_t seed = 88172645463325252U;

static unsigned random_below(unsigned limit) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 32) % limit;
}

struct sample {
    enum verb verb;
    const char *reply;
    size_t size;
};

#define SAMPLE(verb, text)                                                                         \
    { verb, text, sizeof(text) - 1 }

static const struct sample text_samples[] = {
    SAMPLE(VERB_GET, "VALUE a 7 3\r\nabc\r\nEND\r\n"),
    SAMPLE(VERB_GETS, "VALUE a 7 3 99\r\nabc\r\nEND\r\n"),
    SAMPLE(VERB_GET, "END\r\n"),
    SAMPLE(VERB_GET_MANY, "VALUE a 0 1 1\r\nA\r\nVALUE c 0 2 2\r\nCC\r\nEND\r\n"),
    SAMPLE(VERB_SET, "STORED\r\n"),
    SAMPLE(VERB_CAS, "EXISTS\r\n"),
    SAMPLE(VERB_SET_MANY, "STORED\r\nSERVER_ERROR out of memory storing object\r\nSTORED\r\n"),
    SAMPLE(VERB_DELETE_MANY, "DELETED\r\nNOT_FOUND\r\nDELETED\r\n"),
    SAMPLE(VERB_INCR, "18446744073709551615\r\n"),
    SAMPLE(VERB_TOUCH, "TOUCHED\r\n"),
    SAMPLE(VERB_VERSION, "VERSION 1.6.18\r\n"),
    SAMPLE(VERB_STATS, "STAT a 1\r\nSTAT b\r\nSTAT c x y\r\nEND\r\n"),
    SAMPLE(VERB_HOLD, "HOLD 12\r\n"),
    SAMPLE(VERB_META_GET, "VA 3 t-1 kabc Oxyz\r\nabc\r\n"),
    SAMPLE(VERB_META_SET, "HD c5\r\n"),
    SAMPLE(VERB_META_ARITHMETIC, "NF\r\n"),
};

#define HEAD(opcode, key, extras, status, body)                                                    \
    "\x81" opcode "\0" key extras "\0\0" status "\0\0\0" body "\0\0\0\0\0\0\0\0\0\0\0\x09"

static const struct sample binary_samples[] = {
    SAMPLE(VERB_GET, HEAD("\x00", "\0", "\x04", "\0", "\x07") "\0\0\0\7abc"),
    SAMPLE(VERB_GET, HEAD("\x00", "\0", "\0", "\1", "\x09") "Not found"),
    SAMPLE(VERB_GET_MANY, HEAD("\x0d", "\1", "\x04", "\0",
                               "\x06") "\0\0\0\7aX" HEAD("\x0a", "\0", "\0", "\0", "\0")),
    SAMPLE(VERB_SET_MANY,
           HEAD("\x01", "\0", "\0", "\0", "\0")
               HEAD("\x01", "\0", "\0", "\3", "\x03") "Too" HEAD("\x01", "\0", "\0", "\0", "\0")),
    SAMPLE(VERB_INCR, HEAD("\x05", "\0", "\0", "\0", "\x08") "\0\0\0\0\0\0\0\5"),
    SAMPLE(VERB_VERSION, HEAD("\x0b", "\0", "\0", "\0", "\x06") "1.6.18"),
    SAMPLE(VERB_STATS,
           HEAD("\x10", "\3", "\0", "\0", "\x05") "pid12" HEAD("\x10", "\0", "\0", "\0", "\0")),
    SAMPLE(VERB_DELETE, HEAD("\x04", "\0", "\0", "\0", "\0")),
};

enum {
    TEXT_SAMPLES = sizeof text_samples / sizeof text_samples[0],
    BINARY_SAMPLES = sizeof binary_samples / sizeof binary_samples[0]
};

static size_t change(const struct sample *sample, char reply[REPLY_MAX]) {
    static const char *const words[] = {"VALUE ", "END\r\n", "\r\n", "999999999999",
                                        "-1",     " ",       "0"};
    size_t size = sample->size;
    memcpy(reply, sample->reply, size);
    for (unsigned changes = random_below(4); changes > 0; changes--) {
        size_t at = random_below((unsigned)size + 1);
        const char *word = words[random_below(sizeof words / sizeof words[0])];
        size_t length = strlen(word);
        switch (random_below(4)) {
        case 0:
            if (at < size) {
                reply[at] = (char)random_below(256);
            }
            break;
        case 1:
            size = at > 0 ? at : size;
            break;
        case 2:
            if (size + length < REPLY_MAX) {
                memmove(reply + at + length, reply + at, size - at);
                memcpy(reply + at, word, length);
                size += length;
            }
            break;
        default:
            if (at < size) {
                reply[at] ^= (char)(1 << random_below(8));
            }
            break;
        }
    }
    return size;
}

static void note_stat(void *user, const char *name, const char *value) {
    *(size_t *)user += strlen(name) + strlen(value);
}

/* Reads the reply as the reply to a command of this verb; returns the fault. */
static enum channel_fault read_reply(enum verb verb, const char *reply, size_t size,
                                     bool is_binary) {
    char version[8];
    size_t stats = 0;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(send(ends[1], reply, size, 0), size);
    close(ends[1]);

    struct stayd_value value = {0};
    struct stayd_meta meta = {.code = ""};
    struct stayd_item items[ITEMS] = {
        {.key = "a", .key_size = 1}, {.key = "b", .key_size = 1}, {.key = "c", .key_size = 1}};
    const size_t places[ITEMS] = {0, 1, 2};
    bool is_many = verb >= VERB_GET_MANY;
    struct request request = {.verb = verb,
                              .key = bytes_from("a", 1),
                              .items = items,
                              .places = places,
                              .count = is_many ? ITEMS : 0,
                              .value = &value,
                              .meta = &meta,
                              .text = version,
                              .text_size = sizeof version,
                              .each = note_stat,
                              .user = &stats};
    struct channel channel;
    channel_init(&channel, NULL, NULL);
    channel.fd = ends[0];
    channel_begin(&channel, UINT64_MAX);
    enum stayd_status status =
        is_binary ? binary_read(&request, &channel) : text_read(&request, &channel);
    if (channel.fault == CHANNEL_WELL) {
        assert_in_range(status, STAYD_OK, STAYD_UNSUPPORTED);
        assert_true(request.answered <= ITEMS || !is_many);
    }
    assert_true(value.size <= value.capacity && meta.value.size <= meta.value.capacity);
    enum channel_fault fault = channel.fault;
    channel_close(&channel);
    channel_finish(&channel);
    stayd_value_free(&value);
    stayd_value_free(&meta.value);
    stayd_items_free(items, ITEMS);
    return fault;
}

static void valid_replies_are_taken(void **state) {
    (void)state;
    for (size_t i = 0; i < TEXT_SAMPLES; i++) {
        const struct sample *each = &text_samples[i];
        assert_int_equal(read_reply(each->verb, each->reply, each->size, false), CHANNEL_WELL);
    }
    for (size_t i = 0; i < BINARY_SAMPLES; i++) {
        const struct sample *each = &binary_samples[i];
        assert_int_equal(read_reply(each->verb, each->reply, each->size, true), CHANNEL_WELL);
    }
}

static void a_binary_reply_to_another_command_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < BINARY_SAMPLES; i++) {
        const struct sample *each = &binary_samples[i];
        char reply[REPLY_MAX];
        memcpy(reply, each->reply, each->size);
        reply[1] ^= 0x40; /* the opcode */
        assert_int_equal(read_reply(each->verb, reply, each->size, true), CHANNEL_GARBAGE);
    }
}

static void read_changed_replies(const struct sample *samples, size_t count, bool is_binary) {
    char reply[REPLY_MAX];
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct sample *each = &samples[i % count];
        size_t size = change(each, reply);
        read_reply(each->verb, reply, size, is_binary);
    }
}

static void text_replies_of_any_bytes_do_no_harm(void **state) {
    (void)state;
    read_changed_replies(text_samples, TEXT_SAMPLES, false);
}

static void binary_replies_of_any_bytes_do_no_harm(void **state) {
    (void)state;
    read_changed_replies(binary_samples, BINARY_SAMPLES, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_replies_are_taken),
        cmocka_unit_test(a_binary_reply_to_another_command_is_refused),
        cmocka_unit_test(text_replies_of_any_bytes_do_no_harm),
        cmocka_unit_test(binary_replies_of_any_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
