/* The commands of the binary protocol. The expected replies are those of memcached 1.6.18;
 * tests/protocol compares them again. */
#include "binary_talk.h"

static void retrievals_answer_a_hit_with_flags_and_a_miss_in_their_own_way(void **state) {
    static const struct exchange exchanges[] = {
        {{GET, KEY}, {NOT_FOUND}, false},
        {{GETK, KEY}, {.status = 1, KEY}, false},
        {{GAT, KEY, SOON}, {NOT_FOUND}, false},
        {{GATK, KEY, SOON}, {.status = 1, KEY}, false},
        {{TOUCH, KEY, SOON}, {NOT_FOUND}, false},
        {{SET, KEY, STORED, VALUE("hello")}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GETK, KEY}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
        {{GAT, KEY, SOON}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GATK, KEY, SOON}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
        {{TOUCH, KEY, SOON}, {ANY_CAS, FLAGS}, false},
        {{SET, KEY, STORED}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, FLAGS}, false},
    };
    CONVERSE(state, exchanges);
}

static void quiet_retrievals_say_a_hit_and_nothing_of_a_miss(void **state) {
    static const struct exchange exchanges[] = {
        {{GETQ, KEY}, {0}, true},
        {{GETKQ, KEY}, {0}, true},
        {{GATQ, KEY, SOON}, {0}, true},
        {{GATKQ, KEY, SOON}, {0}, true},
        {{SETQ, KEY, STORED, VALUE("hello")}, {0}, true},
        {{GETQ, KEY}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GETKQ, KEY}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
        {{GATQ, KEY, SOON}, {ANY_CAS, FLAGS, VALUE("hello")}, false},
        {{GATKQ, KEY, SOON}, {ANY_CAS, FLAGS, KEY, VALUE("hello")}, false},
    };
    CONVERSE(state, exchanges);
}

static void storage_opcodes_store_under_their_condition_and_say_which_failed(void **state) {
    static const struct exchange exchanges[] = {
        {{REPLACE, KEY, STORED, VALUE("a")}, {NOT_FOUND}, false},
        {{APPEND, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{PREPEND, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{ADD, KEY, STORED, VALUE("a")}, {ANY_CAS}, false},
        {{ADD, KEY, STORED, VALUE("b")}, {EXISTS}, false},
        {{APPEND, KEY, VALUE("yz")}, {ANY_CAS}, false},
        {{PREPEND, KEY, VALUE("wx")}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, FLAGS, VALUE("wxayz")}, false},
        {{REPLACE, KEY, EXTRAS("\xff\xff\xff\xff\0\0\0\0"), VALUE("r\r\n")}, {ANY_CAS}, false},
        {{GET, KEY}, {ANY_CAS, EXTRAS("\xff\xff\xff\xff"), VALUE("r\r\n")}, false},
    };
    CONVERSE(state, exchanges);
}

static void quiet_storage_says_errors_alone(void **state) {
    static const struct exchange exchanges[] = {
        {{REPLACEQ, KEY, STORED, VALUE("a")}, {NOT_FOUND}, false},
        {{APPENDQ, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{PREPENDQ, KEY, VALUE("a")}, {NOT_STORED}, false},
        {{ADDQ, KEY, STORED, VALUE("a")}, {0}, true},
        {{ADDQ, KEY, STORED, VALUE("b")}, {EXISTS}, false},
        {{APPENDQ, KEY, VALUE("yz")}, {0}, true},
        {{PREPENDQ, KEY, VALUE("wx")}, {0}, true},
        {{GET, KEY}, {ANY_CAS, FLAGS, VALUE("wxayz")}, false},
        {{REPLACEQ, KEY, STORED, VALUE("r")}, {0}, true},
        {{SETQ, KEY, STORED, VALUE("s"), .cas = 5}, {EXISTS}, false},
        {{SETQ, NONE, STORED, VALUE("s"), .cas = 5}, {NOT_FOUND}, false},
        {{DELETEQ, KEY, .cas = 5}, {EXISTS}, false},
        {{DELETEQ, KEY}, {0}, true},
        {{DELETEQ, KEY}, {NOT_FOUND}, false},
    };
    CONVERSE(state, exchanges);
}

static void a_cas_in_the_header_must_be_the_items(void **state) {
    struct talk *talk = *state;
    static const struct packet set = {SET, KEY, STORED, VALUE("a")};
    static const struct packet stored = {SET, ANY_CAS};
    static const uint8_t opcodes[] = {SET, ADD, REPLACE, APPEND, PREPEND, INCREMENT, DELETE};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        uint8_t opcode = opcodes[i];
        bool stores = opcode == SET || opcode == ADD || opcode == REPLACE;
        bool counts = opcode == INCREMENT;
        uint64_t cas = packet_ask(talk, &set, &stored);
        struct packet request = {.opcode = opcode, KEY, .cas = cas + 1};
        if (opcode != DELETE && !counts) {
            request.value = bytes_from("5", 1);
        }
        request.extras = stores   ? set.extras
                         : counts ? bytes_from(ONE FIVE NEVER, 20)
                                  : bytes_from(NULL, 0);
        packet_ask(talk, &request, &(struct packet){opcode, EXISTS});
        packet_ask(talk, &(struct packet){GET, KEY},
                   &(struct packet){GET, .cas = cas, FLAGS, VALUE("a")});
        if (counts) { /* "a" is no number */
            packet_ask(talk, &(struct packet){SET, KEY, STORED, VALUE("5"), .cas = cas}, &stored);
            continue;
        }
        request.cas = cas;
        uint64_t later = packet_ask(
            talk, &request, &(struct packet){opcode, .cas = opcode == DELETE ? 0 : PACKET_ANY_CAS});
        assert_int_not_equal(later, cas);
    }
    static const struct exchange missing[] = {
        {{SET, NONE, STORED, VALUE("a"), .cas = 5}, {NOT_FOUND}, false},
        {{ADD, NONE, STORED, VALUE("a"), .cas = 5}, {NOT_FOUND}, false},
        {{REPLACE, NONE, STORED, VALUE("a"), .cas = 5}, {NOT_FOUND}, false},
        {{APPEND, NONE, VALUE("a"), .cas = 5}, {NOT_STORED}, false},
        {{DELETE, NONE, .cas = 5}, {NOT_FOUND}, false},
        {{INCREMENT, NONE, EXTRAS(ONE FIVE NEVER), .cas = 5}, {ANY_CAS, VALUE(FIVE)}, false},
    };
    CONVERSE(state, missing);
}

static void arithmetic_counts_and_creates_unless_the_expiry_is_all_ones(void **state) {
    static const struct exchange exchanges[] = {
        {{INCREMENT, KEY, EXTRAS(ONE FIVE NOT_CREATING)}, {NOT_FOUND}, false},
        {{INCREMENTQ, KEY, EXTRAS(ONE FIVE NOT_CREATING)}, {NOT_FOUND}, false},
        {{DECREMENT, KEY, EXTRAS(ONE FIVE NEVER)}, {ANY_CAS, VALUE(FIVE)}, false},
        {{INCREMENT, KEY, EXTRAS("\0\0\1\0\0\0\0\0" FIVE NOT_CREATING)},
         {ANY_CAS, VALUE("\0\0\1\0\0\0\0\5")},
         false},
        {{GET, KEY}, {ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("1099511627781")}, false},
        {{DECREMENT, KEY, EXTRAS("\xff\0\0\0\0\0\0\0" FIVE NEVER)},
         {ANY_CAS, VALUE("\0\0\0\0\0\0\0\0")},
         false},
        {{INCREMENTQ, KEY, EXTRAS(FIVE FIVE NEVER)}, {0}, true},
        {{DECREMENTQ, KEY, EXTRAS(ONE FIVE NEVER)}, {0}, true},
        {{GET, KEY}, {ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("4            ")}, false},
        {{INCREMENT, KEY, EXTRAS("\xff\xff\xff\xff\xff\xff\xff\xff" FIVE NEVER)},
         {ANY_CAS, VALUE("\0\0\0\0\0\0\0\3")},
         false},
        {{SET, KEY, STORED, VALUE("x")}, {ANY_CAS}, false},
        {{INCREMENT, KEY, EXTRAS(ONE FIVE NEVER)}, {NON_NUMERIC}, false},
        {{DECREMENTQ, KEY, EXTRAS(ONE FIVE NEVER)}, {NON_NUMERIC}, false},
    };
    CONVERSE(state, exchanges);
}

static void expiry_counts_from_now_up_to_thirty_days_and_is_a_date_beyond(void **state) {
    struct talk *talk = *state;
    static const struct packet stored = {SET, ANY_CAS};
    static const struct packet missing = {GET, NOT_FOUND};
    static const struct packet get = {GET, KEY};
    static const struct packet hit = {GET, ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("v")};
    static const struct {
        const char *extras;
        uint32_t until_s; /* seconds from now; 0: never */
    } expiries[] = {
        {"\0\0\0\0\0\0\0\0", 0},
        {"\0\0\0\0\0\0\0\x64", 100},
        {"\0\0\0\0\0\x27\x8d\0", 30 * 86400},
        {"\0\0\0\0\xee\x6b\x28\x01", 1}, /* TALK_NOW_S + 1 */
        {"\0\0\0\0\xff\xff\xff\xff", 0}, /* 2106 */
    };
    for (size_t i = 0; i < sizeof expiries / sizeof expiries[0]; i++) {
        talk_restart(talk);
        struct packet set = {SET, KEY, VALUE("v")};
        set.extras = bytes_from(expiries[i].extras, 8);
        packet_ask(talk, &set, &stored);
        uint32_t until_s = expiries[i].until_s;
        talk->later_s = until_s == 0 ? 200000000 : until_s - 1;
        packet_ask(talk, &get, &hit);
        if (until_s != 0) {
            talk->later_s = until_s;
            packet_ask(talk, &get, &missing);
        }
    }
    talk_restart(talk);
    packet_ask(talk, &(struct packet){SET, KEY, EXTRAS("\0\0\0\0\0\x27\x8d\1"), VALUE("v")},
               &stored); /* 1970 */
    packet_ask(talk, &get, &missing);
}

static void touch_and_gat_give_another_expiry_and_keep_the_cas(void **state) {
    struct talk *talk = *state;
    static const uint8_t opcodes[] = {TOUCH, GAT, GATQ, GATK, GATKQ};
    static const struct packet get = {GET, KEY};
    for (size_t i = 0; i < sizeof opcodes; i++) {
        talk_restart(talk);
        uint64_t cas = packet_ask(talk, &(struct packet){SET, KEY, STORED, VALUE("v")},
                                  &(struct packet){SET, ANY_CAS});
        uint8_t opcode = opcodes[i];
        struct packet reply = {opcode, .cas = cas, FLAGS};
        if (opcode == GATK || opcode == GATKQ) {
            reply.key = bytes_from("k", 1);
        }
        if (opcode != TOUCH) {
            reply.value = bytes_from("v", 1);
        }
        packet_ask(talk, &(struct packet){opcode, KEY, SOON}, &reply);
        talk->later_s = 99;
        packet_ask(talk, &get, &(struct packet){GET, .cas = cas, FLAGS, VALUE("v")});
        talk->later_s = 100;
        packet_ask(talk, &get, &(struct packet){GET, NOT_FOUND});
    }
}

static void incr_gives_what_it_creates_its_expiry(void **state) {
    struct talk *talk = *state;
    packet_ask(talk, &(struct packet){INCREMENT, KEY, EXTRAS(ONE FIVE "\0\0\0\x64")},
               &(struct packet){INCREMENT, ANY_CAS, VALUE(FIVE)});
    talk->later_s = 99;
    packet_ask(talk, &(struct packet){GET, KEY},
               &(struct packet){GET, ANY_CAS, EXTRAS("\0\0\0\0"), VALUE("5")});
    talk->later_s = 100;
    packet_ask(talk, &(struct packet){GET, KEY}, &(struct packet){GET, NOT_FOUND});
}

static void flush_forgets_at_once_or_when_it_says(void **state) {
    struct talk *talk = *state;
    static const struct packet set = {SET, KEY, STORED, VALUE("v")};
    static const struct packet stored = {SET, ANY_CAS};
    static const struct packet missing = {GET, NOT_FOUND};
    static const struct packet get = {GET, KEY};
    static const struct packet flushes[] = {
        {.opcode = FLUSH}, {FLUSH, EXTRAS("\0\0\0\0")}, {.opcode = FLUSHQ}};
    for (size_t i = 0; i < sizeof flushes / sizeof flushes[0]; i++) {
        packet_ask(talk, &set, &stored);
        packet_ask(talk, &flushes[i],
                   flushes[i].opcode == FLUSHQ ? NULL : &(struct packet){.opcode = FLUSH});
        packet_ask(talk, &get, &missing);
    }
    packet_ask(talk, &set, &stored);
    packet_ask(talk, &(struct packet){FLUSH, SOON}, &(struct packet){.opcode = FLUSH});
    talk->later_s = 99;
    packet_ask(talk, &get, &(struct packet){GET, ANY_CAS, FLAGS, VALUE("v")});
    talk->later_s = 100;
    packet_ask(talk, &get, &missing);
}

static void the_small_opcodes_answer(void **state) {
    struct talk *talk = *state;
    static const struct exchange exchanges[] = {
        {{.opcode = NOOP}, {0}, false},
        {{.opcode = VERSION}, {VALUE("1.6.45")}, false},
        {{VERBOSITY, EXTRAS("\0\0\0\2")}, {0}, false},
    };
    CONVERSE(state, exchanges);
    assert_int_equal(atomic_load(&talk->server.verbosity), 2);
    packet_ask(talk, &(struct packet){VERBOSITY, EXTRAS("\0\0\0\0")},
               &(struct packet){.opcode = VERBOSITY});
    assert_int_equal(atomic_load(&talk->server.verbosity), 0);
    packet_ask(talk, &(struct packet){.opcode = QUIT}, &(struct packet){.opcode = QUIT});
    assert_true(talk->closed);
    talk_restart(talk);
    packet_ask(talk, &(struct packet){.opcode = QUITQ}, NULL);
    assert_true(talk->closed);
}

static void opaque_comes_back_and_datatype_and_vbucket_are_not_looked_at(void **state) {
    struct talk *talk = *state;
    for (uint32_t opaque = 1; opaque != 0; opaque <<= 1) {
        packet_ask(talk,
                   &(struct packet){SET, KEY, STORED, .opaque = opaque, .datatype = 9, .status = 8},
                   &(struct packet){SET, ANY_CAS, .opaque = opaque});
        packet_ask(talk, &(struct packet){GET, NONE, .opaque = opaque, .datatype = 255},
                   &(struct packet){GET, NOT_FOUND, .opaque = opaque});
    }
}

static void a_key_may_be_any_bytes(void **state) {
    struct talk *talk = *state;
    char all[POOL_KEY_MAX];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (char)i;
    }
    struct packet set = {SET, STORED, VALUE("v")};
    set.key = bytes_from(all, sizeof all);
    packet_ask(talk, &set, &(struct packet){SET, ANY_CAS});
    struct packet hit = {GETK, ANY_CAS, FLAGS, VALUE("v")};
    hit.key = set.key;
    packet_ask(talk, &(struct packet){GETK, .key = set.key}, &hit);
}

static void an_unknown_opcode_is_refused_and_its_body_thrown_away(void **state) {
    struct talk *talk = *state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        bool known = opcode <= GATQ || (opcode >= SASL_LIST && opcode <= GATKQ);
        if (known) {
            continue;
        }
        /* The body has the form of a request, which must not be answered. */
        struct packet request = {(uint8_t)opcode, .extras = BYTES("\x80\x0a\0\0\0\0\0\0\0\0\0\0"),
                                 .key = BYTES("\0\0\0\0\0\0"), VALUE("\0\0\0\0\0\0")};
        packet_ask(talk, &request, &(struct packet){(uint8_t)opcode, UNKNOWN_COMMAND});
        packet_expect_in_step(talk);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TALK(retrievals_answer_a_hit_with_flags_and_a_miss_in_their_own_way),
        TALK(quiet_retrievals_say_a_hit_and_nothing_of_a_miss),
        TALK(storage_opcodes_store_under_their_condition_and_say_which_failed),
        TALK(quiet_storage_says_errors_alone),
        TALK(a_cas_in_the_header_must_be_the_items),
        TALK(arithmetic_counts_and_creates_unless_the_expiry_is_all_ones),
        TALK(expiry_counts_from_now_up_to_thirty_days_and_is_a_date_beyond),
        TALK(touch_and_gat_give_another_expiry_and_keep_the_cas),
        TALK(incr_gives_what_it_creates_its_expiry),
        TALK(flush_forgets_at_once_or_when_it_says),
        TALK(the_small_opcodes_answer),
        TALK(opaque_comes_back_and_datatype_and_vbucket_are_not_looked_at),
        TALK(a_key_may_be_any_bytes),
        TALK(an_unknown_opcode_is_refused_and_its_body_thrown_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
