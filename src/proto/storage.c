#include "proto/storage.h"

#include "proto/reply.h"
#include "proto/value.h"

/* The words of a storage line. */
struct storage_line {
    struct bytes key;
    uint32_t length; /* or VALUE_LENGTH_UNKNOWN */
    struct pool_store store;
};

/* Reads the words. Returns NULL, or the reply that says what is wrong. The order of the checks is
 * memcached's: first the number of words, then each word.
 *
 * If there is a word too few or too many, the word in the length's place may be another number: in
 * "set a b 0 300 5" the key was meant to be "a b", and 300 is not a length. */
static const char *storage_read_line(struct request *request, unsigned variant,
                                     struct storage_line *parsed) {
    struct line *line = &request->line;
    struct bytes flags;
    struct bytes expiry;
    struct bytes length;
    struct bytes cas = {0};
    enum line_key kind = line_next_key(line, &parsed->key);
    parsed->length = VALUE_LENGTH_UNKNOWN;
    if (!line_next(line, &flags) || !line_next(line, &expiry) || !line_next(line, &length) ||
        (variant == STORAGE_CAS && !line_next(line, &cas))) {
        return REPLY_BAD_LINE;
    }
    struct line rest = *line;
    struct bytes word;
    bool more = line_next(&rest, &word);
    if (!request_read_rest(request, variant == STORAGE_CAS ? cas : length)) {
        return REPLY_ERROR;
    }
    struct pool_store *store = &parsed->store;
    store->compare_cas = variant == STORAGE_CAS;
    bool has_length = word_length(length, &parsed->length);
    if (has_length && kind == LINE_KEY_GOOD && word_flags(flags, &store->client_flags) &&
        word_expiry(expiry, request->thread->now_s, &store->expiry_s) &&
        (!store->compare_cas || word_u64(cas, &store->cas))) {
        return NULL;
    }
    if (more && !request->noreply) {
        parsed->length = VALUE_LENGTH_UNKNOWN;
    }
    return REPLY_BAD_LINE;
}

static const char *storage_reply_of(enum status status, unsigned variant) {
    switch (status) {
    case STATUS_OK:
        return "STORED\r\n";
    case STATUS_NOT_STORED:
        return "NOT_STORED\r\n";
    case STATUS_EXISTS:
        return "EXISTS\r\n";
    case STATUS_NOT_FOUND:
        return REPLY_NOT_FOUND;
    case STATUS_TOO_LARGE: /* an append or prepend that makes the value too large: NOT_STORED, as in
                              memcached */
        if (variant == STORAGE_APPEND || variant == STORAGE_PREPEND) {
            return "NOT_STORED\r\n";
        }
        return REPLY_TOO_LARGE;
    default:
        return reply_of_failure(status);
    }
}

enum request_end storage_run(struct request *request, unsigned variant) {
    static const enum pool_store_mode modes[] = {
        [STORAGE_SET] = POOL_SET,         [STORAGE_ADD] = POOL_ADD,
        [STORAGE_REPLACE] = POOL_REPLACE, [STORAGE_APPEND] = POOL_APPEND,
        [STORAGE_PREPEND] = POOL_PREPEND, [STORAGE_CAS] = POOL_SET,
    };
    static const enum event_command commands[] = {
        [STORAGE_SET] = EVENT_SET,         [STORAGE_ADD] = EVENT_ADD,
        [STORAGE_REPLACE] = EVENT_REPLACE, [STORAGE_APPEND] = EVENT_APPEND,
        [STORAGE_PREPEND] = EVENT_PREPEND, [STORAGE_CAS] = EVENT_CAS,
    };
    struct storage_line parsed = {.store.mode = modes[variant]};
    const char *fault = storage_read_line(request, variant, &parsed);
    if (fault != NULL) {
        return value_refuse(request, fault, parsed.length);
    }
    if (!value_fits(request, parsed.key, parsed.length)) {
        if (variant == STORAGE_SET && value_drop_old(request, parsed.key) == STATUS_NEEDS_ROOM) {
            return REQUEST_NEEDS_ROOM;
        }
        value_note_too_large(request, parsed.key, parsed.length, commands[variant]);
        return value_refuse_behind(request, parsed.length);
    }
    switch (value_take(request, parsed.length, &parsed.store.value)) {
    case VALUE_WAITS:
        return REQUEST_WAITS;
    case VALUE_BAD:
        reply_text(request, REPLY_BAD_CHUNK);
        return REQUEST_DONE;
    case VALUE_WHOLE:
        break;
    }
    struct item item = {0};
    struct item *stored = event_wants_stores(request->connection) ? &item : NULL;
    enum status status =
        pool_store(request->pool, request->thread, parsed.key, &parsed.store, stored);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_store(request->connection, request->thread, parsed.key, &parsed.store, commands[variant],
                status, stored);
    if (variant == STORAGE_SET && (status == STATUS_TOO_LARGE || status == STATUS_NO_MEMORY)) {
        value_drop_old(request, parsed.key);
    }
    reply_text(request, storage_reply_of(status, variant));
    return REQUEST_DONE;
}

enum request_end storage_run_unadmitted(struct request *request, unsigned variant) {
    struct storage_line parsed = {0};
    storage_read_line(request, variant, &parsed);
    request->noreply = false; /* as in memcached, noreply has no effect before a login */
    return value_refuse(request, REPLY_UNAUTHENTICATED, parsed.length);
}
