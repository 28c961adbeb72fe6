/* The meta commands. The expected replies are those of memcached 1.6.18; tests/protocol compares
 * them again. */
#include "proto_support.h"

#include <stdio.h>

#define BAD_LINE "CLIENT_ERROR bad command line format\r\n"
#define BAD_TOKEN "CLIENT_ERROR bad token in command line format\r\n"
#define BAD_FLAG "CLIENT_ERROR invalid or duplicate flag\r\n"

static void mg_answers_each_flag_in_the_order_asked(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"mg\r\n", BAD_LINE},
        {"mg k\r\n", "EN\r\n"},
        {"mg k v q\r\n", ""},
        {"mg k k Oab q\r\n", ""},
        {"mg k Oab k\r\n", "EN Oab kk\r\n"},
        {"ms k 2 F7 E5\r\nvw\r\n", "HD\r\n"},
        {"mg k\r\n", "HD\r\n"},
        {"mg k q\r\n", "HD\r\n"},
        {"mg k t f s k c Ox v\r\n", "VA 2 t-1 f7 s2 kk c5 Ox\r\nvw\r\n"},
        {"mg k v c k s f t\r\n", "VA 2 c5 kk s2 f7 t-1\r\nvw\r\n"},
        {"mg  k  v  \r\n", "VA 2\r\nvw\r\n"},
        {"mg k O v\r\n", "VA 2 O\r\nvw\r\n"},
        {"mg k Psome Lpath/ v\r\n", "VA 2\r\nvw\r\n"},
        {"mg k s5 kx\r\n", "HD s2 kk\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void mg_touches_and_t_tells_the_time_as_of_its_place(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"mg k T30 t\r\n", "EN\r\n"},     {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"mg k T30 t\r\n", "HD t30\r\n"}, {"mg k t T60\r\n", "HD t30\r\n"},
        {"mg k t\r\n", "HD t60\r\n"},     {"mg k t T0 v\r\n", "VA 1 t60\r\nv\r\n"},
        {"mg k t\r\n", "HD t-1\r\n"},     {"mg k T-1 t\r\n", "HD t0\r\n"},
        {"mg k\r\n", "EN\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void mg_makes_an_item_once_and_only_its_maker_wins(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"mg k N30 t v k\r\n", "VA 0 t30 kk W\r\n\r\n"},
        {"mg k N30 t\r\n", "HD t30 Z\r\n"},
        {"mg k v\r\n", "VA 0 Z\r\n\r\n"},
        {"get k\r\n", "VALUE k 0 0\r\n\r\nEND\r\n"},
        {"set k 0 0 1\r\nv\r\nmg k N30 v\r\n", "STORED\r\nVA 1\r\nv\r\n"},
        {"mg l t N30\r\n", "HD t-1 W\r\n"},
        {"mg l t\r\n", "HD t30 Z\r\n"},
        {"mg m T50 N30\r\nmg m t\r\n", "HD W\r\nHD t30 Z\r\n"},
        {"mg n N30 T50\r\nmg n t\r\n", "HD W\r\nHD t50 Z\r\n"},
        {"mg o N30 E77 c\r\nmg o E78 c\r\n", "HD c77 W\r\nHD c77 Z\r\n"},
        {"mg p N30 q\r\n", "HD W\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void mg_lets_one_win_an_item_that_expires_soon(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 0 100 1\r\nv\r\n", "STORED\r\n"},
        {"mg k R100\r\n", "HD\r\n"},
        {"mg k R0\r\n", "HD\r\n"},
        {"mg k R-1\r\n", "HD\r\n"},
        {"mg k R101\r\n", "HD W\r\n"},
        {"mg k R101\r\n", "HD Z\r\n"},
        {"mg k\r\n", "HD Z\r\n"},
        {"set k 0 0 1\r\nv\r\nmg k R1000000\r\n", "STORED\r\nHD\r\n"},
        {"set k 0 100 1\r\nv\r\nmg k R101 T500\r\n", "STORED\r\nHD W\r\n"},
        {"set k 0 100 1\r\nv\r\nmg k T500 R101\r\n", "STORED\r\nHD\r\n"},
        {"set k 0 500 1\r\nv\r\nmg k R101 T100\r\n", "STORED\r\nHD\r\n"},
        {"set k 0 500 1\r\nv\r\nmg k T100 R101\r\n", "STORED\r\nHD W\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void a_stale_item_is_won_by_meta_get_alone(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 3 0 1\r\n1\r\n", "STORED\r\n"},
        {"md k I\r\n", "HD\r\n"},
        {"get k\r\n", "VALUE k 3 1\r\n1\r\nEND\r\n"},
        {"touch k 0\r\n", "TOUCHED\r\n"},
        {"gat 0 k\r\n", "VALUE k 3 1\r\n1\r\nEND\r\n"},
        {"mg k v\r\n", "VA 1 X W\r\n1\r\n"},
        {"mg k v\r\n", "VA 1 Z X\r\n1\r\n"},
        {"md k I T30\r\n", "HD\r\n"},
        {"mg k t\r\n", "HD t30 X W\r\n"},
        {"set k 0 0 1\r\nv\r\nmg k\r\n", "STORED\r\nHD\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void h_and_u_tell_and_hide_reads(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 0 0 1\r\nv\r\n", "STORED\r\n"},
        {"mg k u v\r\n", "VA 1\r\nv\r\n"},
        {"mg k h\r\n", "HD h0\r\n"},
        {"mg k h u\r\n", "HD h1\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void h_tells_of_reads_before_this_one_whatever_the_command_changes(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"set k 0 100 1\r\n1\r\nmg k h T50\r\nmg k h\r\n", "STORED\r\nHD h0\r\nHD h1\r\n"},
        {"set k 0 100 1\r\n1\r\nmg k h T50 u\r\nmg k h\r\n", "STORED\r\nHD h0\r\nHD h0\r\n"},
        {"set k 0 100 1\r\n1\r\nmg k h T-1\r\n", "STORED\r\nHD h0\r\n"},
        {"set k 0 100 1\r\n1\r\nmg k h R30\r\nmg k h\r\n", "STORED\r\nHD h0\r\nHD h1\r\n"},
        {"set k 0 100 1\r\n1\r\nmg k h R200\r\nmg k h\r\n", "STORED\r\nHD h0 W\r\nHD h1 Z\r\n"},
        {"set k 0 100 1\r\n1\r\nmg k h R200 u\r\nmg k h\r\n", "STORED\r\nHD h0 W\r\nHD h0 Z\r\n"},
        {"set k 0 100 1\r\n1\r\nmg k h N30\r\nmg k h\r\n", "STORED\r\nHD h0\r\nHD h1\r\n"},
        {"set k 0 100 1\r\n1\r\ntouch k 50\r\nmg k h\r\n", "STORED\r\nTOUCHED\r\nHD h1\r\n"},
        {"set k 0 100 1\r\n1\r\nmd k I\r\nmg k h\r\nmg k h\r\n",
         "STORED\r\nHD\r\nHD h0 X W\r\nHD h1 Z X\r\n"},
        {"set k 0 100 1\r\n1\r\nincr k 100\r\nmg k h\r\n", "STORED\r\n101\r\nHD h0\r\n"},
        {"incr k 100\r\nmg k h\r\n", "201\r\nHD h1\r\n"},
        {"mg l N30 h\r\nmg l h\r\n", "HD h0 W\r\nHD h1 Z\r\n"},
        {"mg m N30 h u\r\nmg m h\r\n", "HD h0 W\r\nHD h0 Z\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void l_tells_when_the_item_was_last_read_before_this_one(void **state) {
    static const char *const flags[] = {"", " T100", " N30", " R200", " R50"};
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        char request[64];
        talk_ask(talk, "set k 0 150 1\r\nv\r\n", "STORED\r\n");
        snprintf(request, sizeof request, "mg k l%s\r\n", flags[i]);
        talk->later_s = 7;
        bool wins = strcmp(flags[i], " R200") == 0;
        talk_ask(talk, request, wins ? "HD l7 W\r\n" : "HD l7\r\n");
        talk->later_s = 10;
        talk_ask(talk, "mg k l\r\n", wins ? "HD l3 Z\r\n" : "HD l3\r\n");
        talk->later_s = 0;
        talk_ask(talk, "delete k\r\n", "DELETED\r\n");
    }
}

/* An item that any command reads is kept. Items that no client reads are evicted. */
static void reads_by_any_command_keep_an_item_from_eviction(void **state) {
    static const char *const reads[] = {"get %s\r\n",    "gat 0 %s\r\n", "touch %s 0\r\n",
                                        "mg %s T0\r\n",  "mg %s N0\r\n", "mg %s R30\r\n",
                                        "mg %s N9 v\r\n"};
    enum { READS = sizeof reads / sizeof reads[0], UNREAD = 100, FILL = 30000 };
    struct talk *talk = *state;
    char request[1200];
    for (int i = 0; i < UNREAD + READS; i++) {
        snprintf(request, sizeof request, "set key%d 0 0 1000 noreply\r\n%01000d\r\n", i, 0);
        talk_ask(talk, request, "");
    }
    for (int i = 0; i < READS * 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", UNREAD + i % READS);
        snprintf(request, sizeof request, reads[i % READS], key);
        talk_send(talk, bytes_from_string(request));
        talk->replies.size = 0;
    }
    for (int i = 0; i < FILL; i++) {
        snprintf(request, sizeof request, "set fill%d 0 0 1000 noreply\r\n%01000d\r\n", i, 0);
        talk_ask(talk, request, "");
    }
    int left = 0;
    for (int i = 0; i < UNREAD + READS; i++) {
        snprintf(request, sizeof request, "mg key%d\r\n", i);
        talk_send(talk, bytes_from_string(request));
        bool there = talk->replies.data[0] == 'H';
        talk->replies.size = 0;
        left += i < UNREAD && there;
        if (i >= UNREAD && !there) {
            fail_msg("evicted although it was read with %s", reads[i - UNREAD]);
        }
    }
    assert_true(left < UNREAD / 2);
}

static void every_fault_in_the_flags_has_its_reply(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"mg k v v\r\n", "CLIENT_ERROR duplicate flag\r\n"},
        {"mg k O1 O2\r\n", "CLIENT_ERROR duplicate flag\r\n"},
        {"mg k \377\r\n", "CLIENT_ERROR duplicate flag\r\n"},
        {"mg k z\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"mg k 1\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"mg k _ q\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"mg k T\r\n", BAD_TOKEN},
        {"mg k Tx v\r\n", BAD_TOKEN},
        {"mg k T1x\r\n", BAD_TOKEN},
        {"mg k Nx\r\n", BAD_TOKEN},
        {"mg k Rx\r\n", BAD_TOKEN},
        {"mg k Cx\r\n", BAD_TOKEN},
        {"mg k Ex\r\n", BAD_TOKEN},
        {"mg k Tx z\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"mg k Tx M\r\n", BAD_TOKEN},
        {"mg k Tx Fx\r\n", BAD_TOKEN},
        {"mg k Fx\r\n", BAD_LINE},
        {"mg k Dx\r\n", "CLIENT_ERROR invalid numeric delta value\r\n"},
        {"mg k Jx\r\n", "CLIENT_ERROR invalid numeric initial value\r\n"},
        {"mg k b\r\n", "CLIENT_ERROR error decoding key\r\n"},
        {"mg k O1234567890123456789012345678901 k\r\n",
         "EN O1234567890123456789012345678901 kk\r\n"},
        {"mg k O12345678901234567890123456789012\r\n", "CLIENT_ERROR opaque token too long\r\n"},
        {"mg k b c f h k l q s t u v I O P L T0\r\n", "CLIENT_ERROR error decoding key\r\n"},
        {"mg k z z z z z z z z z z z z z z z z z\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"mg k z z z z z z z z z z z z z z z z z z\r\n",
         "CLIENT_ERROR options flags are too long\r\n"},
        {"ms k 1 z z z z z z z z z z z z z z z z z\r\nv\r\n",
         "CLIENT_ERROR options flags too long\r\n"},
        {"md k z z z z z z z z z z z z z z z z z z\r\n", "CLIENT_ERROR options flags too long\r\n"},
        {"ma k z z z z z z z z z z z z z z z z z z\r\n", "CLIENT_ERROR options flags too long\r\n"},
        {"mg a\001b\r\n", BAD_LINE},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void ms_stores_in_five_modes(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"ms k 1 MR\r\na\r\n", "NS\r\n"},
        {"ms k 1 MA\r\na\r\n", "NS\r\n"},
        {"ms k 1 ME k O9\r\na\r\n", "HD kk O9\r\n"},
        {"ms k 1 ME k O9 q\r\nb\r\n", "NS kk O9\r\n"},
        {"ms k 1 MA F3\r\nc\r\n", "HD\r\n"},
        {"ms k 1 MP q\r\n0\r\n", ""},
        {"mg k v f\r\n", "VA 3 f0\r\n0ac\r\n"},
        {"ms k 1 MR F3 T30\r\nr\r\nmg k v f t\r\n", "HD\r\nVA 1 f3 t30\r\nr\r\n"},
        {"ms k 0 MS\r\n\r\nmg k v f t\r\n", "HD\r\nVA 0 f0 t-1\r\n\r\n"},
        {"ms k 1 T-1\r\nv\r\nmg k\r\n", "HD\r\nEN\r\n"},
        {"ms j 1 MA N30\r\nv\r\nmg j v t\r\n", "HD\r\nVA 1 t30\r\nv\r\n"},
        {"ms k 1 E5 c\r\nv\r\nmg k c\r\n", "HD c5\r\nHD c5\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void ms_compares_cas_numbers(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"ms k 1 C5 c\r\na\r\n", "NF c0\r\n"},
        {"ms k 1 C5 MR\r\na\r\n", "NF\r\n"},
        {"ms k 1 C5 MA\r\na\r\n", "NS\r\n"},
        {"ms k 1 C5 ME E50\r\na\r\n", "HD\r\n"},
        {"ms k 1 C5 ME\r\na\r\n", "NS\r\n"},
        {"ms k 1 C51 c k\r\nb\r\n", "EX c0 kk\r\n"},
        {"ms k 1 C51 MA q\r\nb\r\n", "EX\r\n"},
        {"ms k 1 C0\r\nb\r\n", "EX\r\n"},
        {"ms k 1 C0 MA E50\r\nb\r\n", "HD\r\n"},
        {"ms k 1 C50 MP E60\r\n0\r\n", "HD\r\n"},
        {"mg k v\r\n", "VA 3\r\n0ab\r\n"},
        {"ms k 1 C61 I\r\nx\r\n", "EX\r\n"},
        {"ms k 1 C0 I\r\nx\r\n", "EX\r\n"},
        {"ms k 1 C59 I E70\r\nx\r\n", "HD\r\n"},
        {"mg k v c\r\n", "VA 1 c70 X W\r\nx\r\n"},
        {"ms k 1 C70 I\r\ny\r\nmg k v\r\n", "HD\r\nVA 1\r\ny\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void the_value_behind_a_faulty_ms_is_thrown_away_if_its_length_is_known(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"ms a\001b 4\r\nmn\r\n\r\n", BAD_LINE},
        {"ms k 4 z\r\nmn\r\n\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"ms k 4 q k k\r\nmn\r\n\r\n", "CLIENT_ERROR duplicate flag\r\n"},
        {"ms k 4 S1\r\nmn\r\n\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"ms k 4 Tx\r\nmn\r\n\r\n", BAD_TOKEN},
        {"ms k 4 Fx\r\nmn\r\n\r\n", BAD_LINE},
        {"ms k 4 F-1\r\nmn\r\n\r\n", BAD_LINE},
        {"ms k 4 Me\r\nmn\r\n\r\n", "CLIENT_ERROR invalid mode for ms M token\r\n"},
        {"ms k 4 MI\r\nmn\r\n\r\n", "CLIENT_ERROR invalid mode for ms M token\r\n"},
        {"ms k 4 O12345678901234567890123456789012\r\nmn\r\n\r\n",
         "CLIENT_ERROR opaque token too long\r\n"},
        {"ms k 4 MX O12345678901234567890123456789012\r\nmn\r\n\r\n",
         "CLIENT_ERROR invalid mode for ms M token\r\n"},
        {"ms k 4 b\r\nmn\r\n\r\n", "CLIENT_ERROR error decoding key\r\n"},
        {"ms k 1 q\r\nxyzab\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n"},
        {"mg k\r\n", "EN\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void a_faulty_ms_that_does_not_tell_the_length_of_its_value_closes(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"ms\r\n", BAD_LINE},
        {"ms k\r\n", BAD_LINE},
        {"ms k x\r\n", BAD_LINE},
        {"ms k S1\r\n", BAD_LINE},
        {"ms k -1\r\n", BAD_LINE},
        {"ms k 2147483646\r\n", BAD_LINE},
        {"ms k 2147483648\r\n", BAD_LINE},
        {"ms k x z z z z z z z z z z z z z z z z z\r\n", "CLIENT_ERROR options flags too long\r\n"},
        /* Keys with spaces: the word in the length's place is not the length. */
        {"ms k key 4\r\n", BAD_LINE},
        {"ms k 2 4\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"ms k 2 k k 4 T0\r\n", "CLIENT_ERROR duplicate flag\r\n"},
        {"ms k 2 Tx 4\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"ms k 2 4 z z z z z z z z z z z z z z z z z\r\n",
         "CLIENT_ERROR options flags too long\r\n"},
    };
    struct talk *talk = *state;
    for (size_t i = 0; i < sizeof exchanges / sizeof exchanges[0]; i++) {
        talk_restart(talk);
        talk_send(talk, bytes_from_string(exchanges[i].request));
        assert_true(talk->closed);
        talk_send(talk, bytes_from_string("mn\r\n\r\nmn\r\n"));
        talk_expect(talk, bytes_from_string(exchanges[i].reply));
    }
}

static void md_deletes_or_marks_stale(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"md\r\n", BAD_LINE},
        {"md k k O1 q\r\n", "NF kk O1\r\n"},
        {"ms k 1 E5\r\nv\r\n", "HD\r\n"},
        {"md k C6 q O1\r\n", "EX O1\r\n"},
        {"md k C0\r\n", "EX\r\n"},
        {"md k Cx\r\n", BAD_TOKEN},
        {"md k z\r\n", "CLIENT_ERROR invalid flag\r\n"},
        {"md k k k\r\n", "CLIENT_ERROR duplicate flag\r\n"},
        {"md k O12345678901234567890123456789012\r\n", "CLIENT_ERROR opaque token too long\r\n"},
        {"md k I E9\r\nmg k c\r\n", "HD\r\nHD c9 X W\r\n"},
        {"md k C9 T30 k\r\n", "HD kk\r\n"},
        {"mg k\r\n", "EN\r\n"},
        {"set k 0 0 1\r\nv\r\nmd k q\r\nmd k\r\n", "STORED\r\nNF\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void ma_counts(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"ma\r\n", BAD_LINE},
        {"ma n\r\n", "NF\r\n"},
        {"ma n v k O1 q\r\n", "NF kn O1\r\n"},
        {"ma n N0 J13 v t\r\n", "VA 2 t-1\r\n13\r\n"},
        {"ma n v t k O1\r\n", "VA 2 t-1 kn O1\r\n14\r\n"},
        {"ma n D10 q v\r\n", ""},
        {"ma n MD D25 v\r\n", "VA 1\r\n0\r\n"},
        {"get n\r\n", "VALUE n 0 2\r\n0 \r\nEND\r\n"},
        {"ma n M+ D18446744073709551615 v\r\n", "VA 20\r\n18446744073709551615\r\n"},
        {"ma n MI v\r\n", "VA 1\r\n0\r\n"},
        {"ma n T30 t\r\nma n t T60\r\nma n t\r\n", "HD t30\r\nHD t30\r\nHD t60\r\n"},
        {"ma n E5 c\r\n", "HD c5\r\n"},
        {"ma n C6 k q\r\n", "EX kn\r\n"},
        {"ma n C0 v\r\n", "VA 1\r\n5\r\n"},
        {"ma m q\r\nma m N30 q t\r\nma m q\r\n", "NF\r\n"},
        {"ma l t N30 E8 c\r\n", "HD t-1 c8\r\n"},
        {"ma n Mx\r\n", "CLIENT_ERROR invalid mode for ma M token\r\n"},
        {"ma n Mi\r\n", "CLIENT_ERROR invalid mode for ma M token\r\n"},
        {"ma n Mincr\r\n", "CLIENT_ERROR invalid mode for ma M token\r\n"},
        {"ma n M\r\n", "CLIENT_ERROR invalid mode for ma M token\r\n"},
        {"ma n D-1\r\n", BAD_FLAG},
        {"ma n Jx\r\n", BAD_FLAG},
        {"ma n z\r\n", BAD_FLAG},
        {"set n 0 0 1\r\nx\r\nma n q\r\n",
         "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void b_reaches_keys_of_any_bytes_and_k_returns_them_as_they_were_sent(void **state) {
    static const struct talk_exchange exchanges[] = {
        {"ms AAECIA== 1 b k\r\nv\r\n", "HD kAAECIA== b\r\n"},
        {"mg AAECIA== k v b\r\n", "VA 1 kAAECIA== b\r\nv\r\n"},
        {"md AAECIA== b\r\n", "HD\r\n"},
        {"mg AAECIA== b k\r\n", "EN kAAECIA== b\r\n"},
        {"set abc 0 0 1\r\n1\r\n", "STORED\r\n"},
        {"mg YWJj b k\r\n", "HD kYWJj b\r\n"},
        {"ma YWJj b v\r\n", "VA 1\r\n2\r\n"},
        {"mg abc k\r\n", "HD kabc\r\n"},
        {"mg ==== b\r\n", "CLIENT_ERROR error decoding key\r\n"},
    };
    TALK_ASK_ALL(*state, exchanges);
}

static void the_longest_reply_fits(void **state) {
    struct talk *talk = *state;
    struct bytes request =
        talk_text("ms ", 'A', 248, " 1 b F4294967295 T4294967294 E18446744073709551615\r\nv\r\n");
    talk_ask(talk, request.data, "HD\r\n");
    free((char *)request.data);
    request = talk_text("mg ", 'A', 248, " b k c f h l s t O1234567890123456789012345678901 v\r\n");
    struct bytes expected = talk_text("VA 1 k", 'A', 248,
                                      " b c18446744073709551615 f4294967295 h0 l0 s1 t294967294 "
                                      "O1234567890123456789012345678901\r\nv\r\n");
    talk_ask(talk, request.data, expected.data);
    free((char *)request.data);
    free((char *)expected.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TALK(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
        TALK(mg_answers_each_flag_in_the_order_asked),
        TALK(mg_touches_and_t_tells_the_time_as_of_its_place),
        TALK(mg_makes_an_item_once_and_only_its_maker_wins),
        TALK(mg_lets_one_win_an_item_that_expires_soon),
        TALK(a_stale_item_is_won_by_meta_get_alone),
        TALK(h_and_u_tell_and_hide_reads),
        TALK(h_tells_of_reads_before_this_one_whatever_the_command_changes),
        TALK(l_tells_when_the_item_was_last_read_before_this_one),
        TALK(reads_by_any_command_keep_an_item_from_eviction),
        TALK(every_fault_in_the_flags_has_its_reply),
        TALK(ms_stores_in_five_modes),
        TALK(ms_compares_cas_numbers),
        TALK(the_value_behind_a_faulty_ms_is_thrown_away_if_its_length_is_known),
        TALK(a_faulty_ms_that_does_not_tell_the_length_of_its_value_closes),
        TALK(md_deletes_or_marks_stale),
        TALK(ma_counts),
        TALK(b_reaches_keys_of_any_bytes_and_k_returns_them_as_they_were_sent),
        TALK(the_longest_reply_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
