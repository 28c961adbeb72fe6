#include "exchange.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 512 }; /* a key and the few words and numbers around it */

/* The beginnings of replies, and the bytes behind a value. */
static const struct reply_words {
    const char *value, *value_end, *missing, *stored;
} reply_words[] = {
    [EXCHANGE_TEXT] = {"VALUE ", "\r\nEND\r\n", "END\r\n", "STORED\r\n"},
    [EXCHANGE_META] = {"VA ", "\r\n", "EN\r\n", "HD\r\n"},
    [EXCHANGE_RESP] = {"$", "\r\n", "$-1\r\n", "+OK\r\n"},
};

/* memcached sends this reply when its thread that frees memory is too slow. */
static const char refused[] = "SERVER_ERROR out of memory storing object\r\n";

bool exchange_init(struct exchange *exchange, const struct exchange_options *options,
                   const struct workload *workload, struct tally *tally) {
    *exchange = (struct exchange){.options = *options, .workload = workload, .tally = tally};
    size_t requests_max = 2 * (size_t)options->batch_max; /* as many refills as reads */
    size_t request_size_bytes = LINE_MAX_BYTES + workload->options.value_max_bytes;
    exchange->requests = malloc(requests_max * request_size_bytes);
    exchange->expected = malloc(requests_max * sizeof(*exchange->expected));
    exchange->missed = malloc(options->batch_max * sizeof(*exchange->missed));
    return exchange->requests != NULL && exchange->expected != NULL && exchange->missed != NULL;
}

void exchange_finish(struct exchange *exchange) {
    free(exchange->requests);
    free(exchange->expected);
    free(exchange->missed);
    *exchange = (struct exchange){0};
}

static void append(struct exchange *exchange, const char *bytes, size_t length) {
    memcpy(exchange->requests + exchange->requests_length, bytes, length);
    exchange->requests_length += length;
}

static void append_text(struct exchange *exchange, const char *text) {
    append(exchange, text, strlen(text));
}

static void append_number(struct exchange *exchange, uint64_t number) {
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    append(exchange, digits + first, sizeof(digits) - first);
}

static void append_key(struct exchange *exchange, uint64_t key) {
    workload_write_key(exchange->workload, key, exchange->requests + exchange->requests_length);
    exchange->requests_length += exchange->workload->options.key_size_bytes;
}

/* The head of a RESP string: "$LENGTH" and the line's end. */
static void append_resp_length(struct exchange *exchange, size_t length) {
    append_text(exchange, "$");
    append_number(exchange, length);
    append_text(exchange, "\r\n");
}

/* The bytes before the key. */
static void append_command(struct exchange *exchange, bool get) {
    switch (exchange->options.protocol) {
    case EXCHANGE_TEXT:
        append_text(exchange, get ? "get " : "set ");
        break;
    case EXCHANGE_META:
        append_text(exchange, get ? "mg " : "ms ");
        break;
    case EXCHANGE_RESP:
        append_text(exchange, get                           ? "*2\r\n$3\r\nGET\r\n"
                              : exchange->options.ttl_s > 0 ? "*5\r\n$3\r\nSET\r\n"
                                                            : "*3\r\n$3\r\nSET\r\n");
        append_resp_length(exchange, exchange->workload->options.key_size_bytes);
        break;
    }
}

/* The bytes between the key and the value of a write. */
static void append_value_head(struct exchange *exchange, size_t size_bytes) {
    switch (exchange->options.protocol) {
    case EXCHANGE_TEXT:
        append_text(exchange, " 0 ");
        append_number(exchange, exchange->options.ttl_s);
        append_text(exchange, " ");
        append_number(exchange, size_bytes);
        append_text(exchange, "\r\n");
        break;
    case EXCHANGE_META:
        append_text(exchange, " ");
        append_number(exchange, size_bytes);
        append_text(exchange, " T");
        append_number(exchange, exchange->options.ttl_s);
        append_text(exchange, "\r\n");
        break;
    case EXCHANGE_RESP:
        append_text(exchange, "\r\n");
        append_resp_length(exchange, size_bytes);
        break;
    }
}

/* The bytes behind the value. */
static void append_value_end(struct exchange *exchange) {
    append_text(exchange, "\r\n");
    if (exchange->options.protocol == EXCHANGE_RESP && exchange->options.ttl_s > 0) {
        char ttl[16];
        snprintf(ttl, sizeof(ttl), "%u", exchange->options.ttl_s);
        append_text(exchange, "$2\r\nEX\r\n");
        append_resp_length(exchange, strlen(ttl));
        append_text(exchange, ttl);
        append_text(exchange, "\r\n");
    }
}

static void append_request(struct exchange *exchange, struct operation operation, bool refill) {
    struct expected_reply *expected = &exchange->expected[exchange->expected_count++];
    *expected = (struct expected_reply){
        .key = operation.key,
        .get = operation.get,
        .scan = operation.scan,
        .refill = refill,
    };
    append_command(exchange, operation.get);
    expected->key_offset = exchange->requests_length;
    append_key(exchange, operation.key);
    if (operation.get) {
        append_text(exchange, exchange->options.protocol == EXCHANGE_META ? " v\r\n" : "\r\n");
        return;
    }
    size_t size_bytes;
    const char *value = workload_value(exchange->workload, operation.key, &size_bytes);
    append_value_head(exchange, size_bytes);
    append(exchange, value, size_bytes);
    append_value_end(exchange);
}

void exchange_begin(struct exchange *exchange) {
    exchange->requests_length = 0;
    exchange->expected_count = 0;
    exchange->answered_count = 0;
    for (unsigned i = 0; i < exchange->missed_count; i++) {
        append_request(exchange, (struct operation){.key = exchange->missed[i]}, true);
    }
    exchange->missed_count = 0;
}

void exchange_add(struct exchange *exchange, struct operation operation) {
    assert(exchange->expected_count < 2 * exchange->options.batch_max);
    append_request(exchange, operation, false);
}

static bool starts_with(const char *bytes, size_t length, const char *word) {
    size_t word_length = strlen(word);
    return length >= word_length && memcmp(bytes, word, word_length) == 0;
}

/* Reads a decimal number at *at, before `end`; false if there is none. */
static bool read_number(const char **at, const char *end, size_t *number) {
    const char *first = *at;
    *number = 0;
    while (*at < end && **at >= '0' && **at <= '9' && *at - first < 10) {
        *number = *number * 10 + (size_t)(**at - '0');
        (*at)++;
    }
    return *at > first;
}

static void report_fault(const struct exchange *exchange, const struct expected_reply *expected,
                         const char *line, size_t length) {
    static bool reported;
    if (!reported) {
        reported = true;
        fprintf(stderr, "stayd-load: %s of %.*s: unexpected reply: %.*s\n",
                expected->get ? "read" : "write", (int)exchange->workload->options.key_size_bytes,
                exchange->requests + expected->key_offset, (int)(length < 200 ? length : 200),
                line);
    }
}

/* True if the words before a value's size are the right ones; *at is then behind them. */
static bool check_value_head(const struct exchange *exchange, const struct expected_reply *expected,
                             const char **at, const char *end) {
    enum exchange_protocol protocol = exchange->options.protocol;
    *at += strlen(reply_words[protocol].value);
    if (protocol != EXCHANGE_TEXT) {
        return true;
    }
    size_t key_size = exchange->workload->options.key_size_bytes;
    if ((size_t)(end - *at) < key_size + 3 ||
        memcmp(*at, exchange->requests + expected->key_offset, key_size) != 0 ||
        memcmp(*at + key_size, " 0 ", 3) != 0) {
        return false;
    }
    *at += key_size + 3;
    return true;
}

/* Checks a reply that carries a value; `line_length` includes the line's end. Returns the reply's
 * length, 0 while it is not whole. If the line cannot be read, only the line is skipped. The rest
 * of the reply may then be taken for the replies to the next requests: those faults count too. */
static size_t check_value(struct exchange *exchange, const struct expected_reply *expected,
                          const char *line, size_t line_length, size_t length) {
    const char *at = line;
    const char *line_end = line + line_length;
    size_t announced_bytes;
    if (!check_value_head(exchange, expected, &at, line_end) ||
        !read_number(&at, line_end, &announced_bytes) ||
        !starts_with(at, (size_t)(line_end - at), "\r\n") ||
        announced_bytes > exchange->workload->options.value_max_bytes) {
        exchange->tally->wrong++;
        report_fault(exchange, expected, line, line_length);
        return line_length;
    }

    const char *tail = reply_words[exchange->options.protocol].value_end;
    size_t reply_length = line_length + announced_bytes + strlen(tail);
    if (length < reply_length) {
        return 0;
    }
    size_t size_bytes;
    const char *value = workload_value(exchange->workload, expected->key, &size_bytes);
    if (announced_bytes == size_bytes && memcmp(line_end, value, size_bytes) == 0 &&
        memcmp(line_end + size_bytes, tail, strlen(tail)) == 0) {
        exchange->tally->hits++;
        exchange->tally->scan_hits += expected->scan;
    } else {
        exchange->tally->wrong++;
        report_fault(exchange, expected, line, reply_length);
    }
    return reply_length;
}

/* Checks the reply at the head of `bytes`; returns its length, 0 while it is not whole. */
static size_t check_reply(struct exchange *exchange, const struct expected_reply *expected,
                          const char *bytes, size_t length) {
    const char *newline = memchr(bytes, '\n', length);
    if (newline == NULL) {
        return 0;
    }
    size_t line_length = (size_t)(newline - bytes) + 1;
    const struct reply_words *words = &reply_words[exchange->options.protocol];
    if (expected->get && starts_with(bytes, line_length, words->missing)) {
        if (exchange->options.refill) {
            exchange->missed[exchange->missed_count++] = expected->key;
        }
        return line_length;
    }
    if (expected->get && starts_with(bytes, line_length, words->value)) {
        return check_value(exchange, expected, bytes, line_length, length);
    }
    if (expected->refill && starts_with(bytes, line_length, refused)) {
        exchange->tally->refused++;
        return line_length;
    }
    if (expected->get || !starts_with(bytes, line_length, words->stored)) {
        exchange->tally->errors++;
        report_fault(exchange, expected, bytes, line_length);
    }
    return line_length;
}

size_t exchange_check(struct exchange *exchange, const char *bytes, size_t length) {
    size_t checked = 0;
    while (exchange->answered_count < exchange->expected_count) {
        const struct expected_reply *expected = &exchange->expected[exchange->answered_count];
        size_t reply_length = check_reply(exchange, expected, bytes + checked, length - checked);
        if (reply_length == 0) {
            break;
        }
        checked += reply_length;
        exchange->answered_count++;
        exchange->tally->gets += expected->get;
        exchange->tally->scan_gets += expected->scan;
        exchange->tally->sets += !expected->get && !expected->refill;
        exchange->tally->refills += expected->refill;
    }
    return checked;
}

bool exchange_is_answered(const struct exchange *exchange) {
    return exchange->answered_count == exchange->expected_count;
}

size_t exchange_reply_max(const struct exchange *exchange) {
    return LINE_MAX_BYTES + exchange->workload->options.value_max_bytes +
           strlen(reply_words[exchange->options.protocol].value_end);
}
