/* The statistics by the binary protocol. The expected replies are those of memcached 1.6.18;
 * tests/protocol compares them again. */
#include "binary_talk.h"

/* All pairs of a group as text says them. */
static void text_of_stats(struct buffer *text, struct bytes responses) {
    size_t at = 0;
    bool ended = false;
    while (at < responses.size) {
        assert_false(ended);
        const unsigned char *header = (const unsigned char *)responses.data + at;
        assert_int_equal(header[1], STAT);
        size_t key = (size_t)header[2] << 8 | header[3];
        size_t body = (size_t)header[8] << 24 | (size_t)header[9] << 16 | (size_t)header[10] << 8 |
                      header[11];
        const char *data = responses.data + at + PACKET_HEADER;
        ended = body == 0;
        if (!ended) {
            assert_true(buffer_append_string(text, "STAT ") && buffer_append(text, data, key) &&
                        buffer_append_string(text, " ") &&
                        buffer_append(text, data + key, body - key) &&
                        buffer_append_string(text, "\r\n"));
        }
        at += PACKET_HEADER + body;
    }
    assert_true(ended);
    assert_true(buffer_append_string(text, "END\r\n"));
}

static void stat_lists_what_the_text_protocol_lists(void **state) {
    static const char *const groups[] = {"settings", "slabs", "items", "sizes"};
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        talk_restart(talk);
        char line[64];
        snprintf(line, sizeof line, "stats %s\r\n", groups[i]);
        talk_send(talk, bytes_from_string(line));
        struct buffer said = talk->replies;
        talk->replies = (struct buffer){0};
        talk_restart(talk);
        packet_send(talk, &(struct packet){STAT, .key = bytes_from_string(groups[i])});
        struct buffer text = {0};
        text_of_stats(&text, bytes_from(talk->replies.data, talk->replies.size));
        assert_true(
            bytes_equal(bytes_from(text.data, text.size), bytes_from(said.data, said.size)));
        buffer_finish(&text);
        buffer_finish(&said);
        talk->replies.size = 0;
        packet_expect_in_step(talk);
    }
}

static void stat_without_a_key_is_general_and_reset_resets(void **state) {
    struct talk *talk = *state;
    packet_ask(talk, &(struct packet){GET, KEY}, &(struct packet){GET, NOT_FOUND});
    for (int round = 0; round < 2; round++) {
        packet_send(talk, &(struct packet){.opcode = STAT});
        struct buffer text = {0};
        text_of_stats(&text, bytes_from(talk->replies.data, talk->replies.size));
        assert_true(buffer_append(&text, "", 1));
        assert_non_null(strstr(text.data, "STAT version " PROTO_VERSION "\r\n"));
        assert_non_null(
            strstr(text.data, round == 0 ? "STAT get_misses 1\r\n" : "STAT get_misses 0\r\n"));
        buffer_finish(&text);
        talk->replies.size = 0;
        packet_ask(talk, &(struct packet){STAT, .key = BYTES("reset")},
                   &(struct packet){.opcode = STAT});
    }
}

static void stat_detail_counts_by_prefix_what_binary_requests_do(void **state) {
    struct talk *talk = *state;
    static const struct packet detail_on = {STAT, .key = BYTES("detail on")};
    static const struct packet dump = {STAT, .key = BYTES("detail dump")};
    static const struct packet end = {.opcode = STAT};
    packet_ask(talk, &(struct packet){SETQ, .key = BYTES("p:a"), STORED}, NULL);
    packet_ask(talk, &detail_on, &end);
    packet_ask(talk, &(struct packet){SETQ, .key = BYTES("p:a"), STORED}, NULL);
    packet_ask(talk, &(struct packet){APPENDQ, .key = BYTES("p:a")}, NULL);
    packet_ask(talk, &(struct packet){GETQ, .key = BYTES("p:b")}, NULL);
    packet_ask(talk, &(struct packet){GAT, SOON, .key = BYTES("p:a")},
               &(struct packet){GAT, ANY_CAS, FLAGS});
    packet_ask(talk, &(struct packet){DELETEQ, .key = BYTES("p:a")}, NULL);
    packet_ask(talk, &(struct packet){STAT, .key = BYTES("detail off")}, &end);
    packet_ask(talk, &(struct packet){GETQ, .key = BYTES("p:b")}, NULL);
    packet_send(talk, &dump);
    const struct packet counted[] = {
        {STAT, .key = BYTES("detailed"), VALUE("PREFIX p get 2 hit 1 set 2 del 1\r\nEND\r\n")},
        end,
    };
    packet_expect(talk, counted, 2);
    packet_ask(talk, &(struct packet){STAT, .key = BYTES("reset")}, &end);
    packet_send(talk, &dump);
    const struct packet none[] = {{STAT, .key = BYTES("detailed"), VALUE("END\r\n")}, end};
    packet_expect(talk, none, 2);
    packet_ask(talk, &(struct packet){STAT, .key = BYTES("detail")},
               &(struct packet){STAT, NOT_FOUND});
}

static void stat_sizes_enable_and_disable_say_what_is_so_now(void **state) {
    struct talk *talk = *state;
    static const struct packet enable = {STAT, .key = BYTES("sizes_enable")};
    static const struct packet disable = {STAT, .key = BYTES("sizes_disable")};
    static const struct packet enabled[] = {
        {STAT, .key = BYTES("sizes_status"), VALUE("enabled")},
        {.opcode = STAT},
    };
    static const struct packet disabled[] = {
        {STAT, .key = BYTES("sizes_status"), VALUE("disabled")},
        {.opcode = STAT},
    };
    packet_send(talk, &enable);
    packet_expect(talk, enabled, 2);
    assert_true(atomic_load(&talk->service.sizes_tracked));
    packet_send(talk, &disable);
    packet_expect(talk, disabled, 2);
    assert_false(atomic_load(&talk->service.sizes_tracked));
}

static void flush_may_be_forbidden(void **state) {
    struct talk *talk = *state;
    packet_ask(talk, &(struct packet){SETQ, KEY, STORED, VALUE("v")}, NULL);
    talk->server.rights.flush_disabled = true;
    static const uint8_t opcodes[] = {FLUSH, FLUSHQ};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        packet_ask(talk, &(struct packet){.opcode = opcodes[i]},
                   &(struct packet){opcodes[i], .status = 0x20, VALUE("Auth failure.")});
    }
    packet_ask(talk, &(struct packet){GET, KEY}, &(struct packet){GET, ANY_CAS, FLAGS, VALUE("v")});
}

static void an_unknown_group_is_not_found(void **state) {
    static const struct exchange exchanges[] = {
        {{STAT, .key = BYTES("foo")}, {NOT_FOUND}, false},
        {{STAT, .key = BYTES("rese")}, {NOT_FOUND}, false},
        {{STAT, .key = BYTES("itemsx")}, {NOT_FOUND}, false},
        {{STAT, .key = BYTES("resetting")}, {0}, false}, /* memcached compares only the beginning */
    };
    CONVERSE(state, exchanges);
    expect_refused_and_closed(*state, &(struct packet){STAT, EXTRAS("x")});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TALK(stat_lists_what_the_text_protocol_lists),
        TALK(stat_without_a_key_is_general_and_reset_resets),
        TALK(stat_detail_counts_by_prefix_what_binary_requests_do),
        TALK(stat_sizes_enable_and_disable_say_what_is_so_now),
        TALK(flush_may_be_forbidden),
        TALK(an_unknown_group_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
