#include "replies.h"

#include "check.h"
#include "proto/binary.h"
#include "proto/line.h"

struct replies {
    const char *at;
    const char *end;
    struct bytes line; /* the first line of the reply, without its end */
    struct line words; /* the unread rest of the line */
    bool comparable;   /* not statistics */
};

static void replies_fail(const struct replies *replies, const char *what) {
    show_bytes("in this reply", replies->line);
    check(false, what);
}

/* Whether the word has digits and nothing else. */
static bool is_number(struct bytes word) {
    for (size_t i = 0; i < word.size; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') {
            return false;
        }
    }
    return word.size >= 1 && word.size <= 20;
}

static uint64_t next_number(struct replies *replies) {
    struct bytes word;
    uint64_t number = 0;
    if (!line_next(&replies->words, &word) || !is_number(word) || !word_u64(word, &number)) {
        replies_fail(replies, "a number stands here");
    }
    return number;
}

static struct bytes next_word(struct replies *replies) {
    struct bytes word;
    if (!line_next(&replies->words, &word)) {
        replies_fail(replies, "one more word stands here");
    }
    return word;
}

static void no_more_words(struct replies *replies) {
    struct bytes word;
    if (line_next(&replies->words, &word)) {
        replies_fail(replies, "no more words stand here");
    }
}

static void take_line(struct replies *replies) {
    size_t left = (size_t)(replies->end - replies->at);
    const char *newline = memchr(replies->at, '\n', left);
    replies->line = bytes_from(replies->at, left);
    bool bare = left > 4 && memcmp(replies->at, "key=", 4) == 0; /* as memcached's metadump */
    if (newline == NULL || newline == replies->at || (!bare && newline[-1] != '\r')) {
        replies_fail(replies, "a line ends in CR LF");
    }
    const char *end = bare ? newline : newline - 1;
    replies->line = bytes_from(replies->at, (size_t)(end - replies->at));
    replies->words = (struct line){replies->at, end};
    replies->at = newline + 1;
}

static void take_value(struct replies *replies, uint64_t size) {
    size_t left = (size_t)(replies->end - replies->at);
    if (left < 2 || size > left - 2 || replies->at[size] != '\r' || replies->at[size + 1] != '\n') {
        replies_fail(replies, "the value is as long as the line says");
    }
    replies->at += size + 2;
}

static void check_value(struct replies *replies) {
    struct bytes word;
    check(next_word(replies).size <= 250, "a key has 250 bytes at most");
    check(next_number(replies) <= UINT32_MAX, "flags have 32 bits");
    uint64_t size = next_number(replies);
    if (line_next(&replies->words, &word)) {
        check(is_number(word), "the CAS is a number");
    }
    no_more_words(replies);
    take_value(replies, size);
}

/* The flags of a meta reply: each has a letter, and some have a number as their token. */
static void check_meta_flags(struct replies *replies) {
    struct bytes word;
    uint64_t seen = 0;
    while (line_next(&replies->words, &word)) {
        struct bytes token = bytes_from(word.data + 1, word.size - 1);
        uint64_t bit =
            word.data[0] >= 'A' && word.data[0] <= 'z' ? UINT64_C(1) << (word.data[0] - 'A') : 0;
        bool sound = false;
        switch (word.data[0]) {
        case 'c':
        case 'f':
        case 'h':
        case 'l':
        case 's':
            sound = is_number(token);
            break;
        case 't':
            sound = is_number(token) || word_is(token, "-1");
            break;
        case 'W':
        case 'X':
        case 'Z':
        case 'b':
            sound = token.size == 0;
            break;
        case 'k':
            sound = token.size <= 336; /* 250 bytes in base64 */
            break;
        case 'O':
            sound = token.size < 32;
            break;
        default:
            break;
        }
        if (!sound || (seen & bit) != 0) {
            replies_fail(replies, "each flag is a known one, with its token, and once");
        }
        seen |= bit;
    }
}

static void check_meta_value(struct replies *replies) {
    uint64_t size = next_number(replies);
    check_meta_flags(replies);
    take_value(replies, size);
}

static void check_stat(struct replies *replies) {
    next_word(replies); /* the value may have any words, or none */
    replies->comparable = false;
}

/* A line of a dump. The order of the lines is not specified. */
static void check_dumped(struct replies *replies) {
    replies->comparable = false;
    next_word(replies);
}

/* ME <key> <name>=<value>*, the key as it came. */
static void check_debug(struct replies *replies) {
    struct bytes word;
    check(next_word(replies).size <= 336, "a key has 250 bytes at most");
    while (line_next(&replies->words, &word)) {
        if (memchr(word.data, '=', word.size) == NULL) {
            replies_fail(replies, "names with values stand here");
        }
    }
}

static void check_prefix(struct replies *replies) {
    static const char *const names[] = {"get", "hit", "set", "del"};
    next_word(replies);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check(word_is(next_word(replies), names[i]), "the counter's name stands here");
        next_number(replies);
    }
    no_more_words(replies);
}

static void check_numbers(struct replies *replies) {
    struct bytes word;
    while (line_next(&replies->words, &word)) {
        if (!is_number(word)) {
            replies_fail(replies, "numbers stand here");
        }
    }
}

static void check_nothing(struct replies *replies) {
    (void)replies;
}

static const struct {
    const char *name;
    void (*read)(struct replies *replies); /* checks the words after the first */
} kinds[] = {
    {"VALUE", check_value},
    {"VA", check_meta_value},
    {"HD", check_meta_flags},
    {"EN", check_meta_flags},
    {"NF", check_meta_flags},
    {"NS", check_meta_flags},
    {"EX", check_meta_flags},
    {"MN", no_more_words},
    {"END", no_more_words},
    {"STORED", no_more_words},
    {"NOT_STORED", no_more_words},
    {"EXISTS", no_more_words},
    {"NOT_FOUND", no_more_words},
    {"DELETED", no_more_words},
    {"TOUCHED", no_more_words},
    {"OK", no_more_words},
    {"RESET", no_more_words},
    {"BUSY", no_more_words},
    {"ERROR", check_nothing},
    {"CLIENT_ERROR", check_nothing},
    {"SERVER_ERROR", check_nothing},
    {"SERVER_ERROR:", check_nothing}, /* the reply to shutdown: memcached has a colon there */
    {"VERSION", check_nothing},
    {"HOLD", check_numbers},
    {"MEMLIMIT_ADJUST_FAILED", check_nothing},
    {"MEMLIMIT_TOO_SMALL", check_nothing},
    {"STAT", check_stat},
    {"ME", check_debug},
    {"PREFIX", check_prefix},
    {"ITEM", check_dumped},
    {"mg", check_dumped},
    {"BADCLASS", check_nothing},
    {"SAME", check_nothing},
    {"NOSPARE", check_nothing},
    {"NOTSTARTED", check_nothing},
    {"WATCHER_TOO_MANY", check_nothing},
};

static void check_reply(struct replies *replies) {
    struct bytes word = {0};
    take_line(replies);
    line_next(&replies->words, &word);
    if (word.size > 4 && memcmp(word.data, "key=", 4) == 0) {
        check_dumped(replies);
        return;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (word_is(word, kinds[i].name)) {
            kinds[i].read(replies);
            return;
        }
    }
    if (!is_number(word)) { /* of incr and decr */
        replies_fail(replies, "it is a reply of the protocol");
    }
    /* a number that has become shorter keeps its length, with spaces */
    no_more_words(replies);
}

static bool is_binary(struct bytes said) {
    return said.size > 0 && (unsigned char)said.data[0] == BINARY_RESPONSE_MAGIC;
}

/* Removes one response of the binary protocol. False: the response is a statistic. */
static bool check_response(struct bytes *said) {
    check(said->size >= BINARY_HEADER_BYTES && is_binary(*said), "a response begins here");
    struct binary_header header = binary_read_header(said->data);
    uint16_t status = binary_read_u16(said->data + 6);
    check(header.body_size <= said->size - BINARY_HEADER_BYTES, "the body is as long as it says");
    check(binary_header_adds_up(&header), "key and extras are in the body");
    check(header.key_size <= 250, "a key has 250 bytes at most");
    check(header.extras_size == 0 || (header.extras_size == 4 && status == 0 && header.cas != 0),
          "the flags are those of an item");
    check(status == 0 || header.cas == 0, "what has failed has no CAS");
    check(said->data[5] == 0, "the datatype is none");
    size_t size = BINARY_HEADER_BYTES + header.body_size;
    *said = bytes_from(said->data + size, said->size - size);
    return header.opcode != BINARY_STAT || status != 0 || header.body_size == 0;
}

static void check_responses(struct bytes said, struct buffer *comparable) {
    while (said.size > 0) {
        struct bytes response = said;
        if (check_response(&said)) {
            response.size -= said.size;
            check(buffer_append(comparable, response.data, response.size), "memory");
        }
    }
}

bool replies_tell_statistics(struct bytes said) {
    if (!is_binary(said)) {
        return memmem(said.data, said.size, "STAT ", 5) != NULL;
    }
    while (said.size > 0) {
        if (!check_response(&said)) {
            return true;
        }
    }
    return false;
}

void replies_check(struct bytes said, struct buffer *comparable) {
    if (said.size == 0) {
        return;
    }
    if (is_binary(said)) {
        check_responses(said, comparable);
        return;
    }
    struct replies replies = {.at = said.data, .end = said.data + said.size};
    while (replies.at < replies.end) {
        const char *start = replies.at;
        replies.comparable = true;
        check_reply(&replies);
        if (replies.comparable) {
            check(buffer_append(comparable, start, (size_t)(replies.at - start)), "memory");
        }
    }
}
