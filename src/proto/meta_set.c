/* ms: stores a value, in one of five modes. */
#include "proto/meta.h"
#include "proto/reply.h"
#include "proto/value.h"

enum { META_SET_FLAGS_LIMIT = 16 }; /* memcached accepts 20 words, one of which is the end */

/* Reads the words before the flags. `*length` may be known even if there is a fault. */
static const char *meta_set_read_length(struct request *request, struct meta *meta,
                                        uint32_t *length) {
    *length = VALUE_LENGTH_UNKNOWN;
    struct bytes word;
    const char *fault = meta_read_key(request, meta);
    bool has_length = line_next(&request->line, &word) && word_length(word, length);
    meta->flags = request->line;
    if (fault != NULL) {
        return fault;
    }
    if (meta_has_too_many(request, META_SET_FLAGS_LIMIT)) {
        return "CLIENT_ERROR options flags too long\r\n";
    }
    return has_length ? NULL : REPLY_BAD_LINE;
}

/* Whether a number stands among the flags. No flag begins with a digit, so the number may be the
 * length, and the word that was read as the length may be a part of the key: in "ms a 1 5" the key
 * was meant to be "a 1". */
static bool meta_set_has_number(struct line flags) {
    struct bytes word;
    while (line_next(&flags, &word)) {
        if (word.data[0] >= '0' && word.data[0] <= '9') {
            return true;
        }
    }
    return false;
}

/* Sets the mode by flag M, and the fields for C and I, whose meaning depends on the mode. False:
 * the mode is unknown. */
static bool meta_set_choose_mode(const struct meta *meta, struct pool_store *store) {
    switch (meta->mode) {
    case 0:
    case 'S':
        store->mode = POOL_SET;
        break;
    case 'E':
        store->mode = POOL_ADD;
        return true; /* add ignores C */
    case 'A':
        store->mode = POOL_APPEND;
        store->compare_cas = meta->cas != 0; /* as in memcached, append takes 0 as no CAS */
        return true;
    case 'P':
        store->mode = POOL_PREPEND;
        store->compare_cas = meta->cas != 0;
        return true;
    case 'R':
        store->mode =
            meta_has(meta, 'C') ? POOL_SET : POOL_REPLACE; /* with C, replace is cas too */
        break;
    default:
        return false;
    }
    store->compare_cas = meta_has(meta, 'C');
    store->invalidate = store->compare_cas && meta->cas != 0 && meta_has(meta, 'I');
    return true;
}

static const char *meta_set_read(struct request *request, struct meta *meta,
                                 struct pool_store *store) {
    const char *fault = meta_read_flags(request, meta);
    if (fault != NULL) {
        return fault;
    }
    if (!meta_set_choose_mode(meta, store)) {
        return "CLIENT_ERROR invalid mode for ms M token\r\n";
    }
    if (meta->opaque_too_long) {
        return META_OPAQUE_TOO_LONG;
    }
    store->client_flags = meta->client_flags;
    store->expiry_s = meta->touch_expiry_s;
    store->cas = meta->cas;
    store->create = meta_has(meta, 'N');
    store->create_expiry_s = meta->create_expiry_s;
    store->set_cas = meta_has(meta, 'E');
    store->new_cas = meta->new_cas;
    return NULL;
}

static bool meta_set_appends(const struct pool_store *store) {
    return store->mode == POOL_APPEND || store->mode == POOL_PREPEND;
}

/* The code of the reply; NULL if the reply is an error. */
static const char *meta_set_code(enum status status, const struct pool_store *store) {
    switch (status) {
    case STATUS_OK:
        return "HD";
    case STATUS_NOT_STORED:
        return "NS";
    case STATUS_EXISTS:
        return "EX";
    case STATUS_NOT_FOUND:
        return meta_set_appends(store) ? "NS" : "NF";
    case STATUS_TOO_LARGE:
        return meta_set_appends(store) ? "NS" : NULL;
    default:
        return NULL;
    }
}

/* `cas` is 0 if nothing was stored; `size` is the size of the stored value, or of the request's
 * value if nothing was stored. */
static void meta_set_reply(struct request *request, const struct meta *meta, const char *code,
                           uint64_t cas, size_t size) {
    struct buffer *replies = request->replies;
    char *at = reply_put_text(replies->data + replies->size, code);
    at = meta_put_flags(at, meta, META_FLAG('O') | META_FLAG('k') | META_FLAG('c') | META_FLAG('s'),
                        &(struct meta_shown){.cas = cas, .value = bytes_from(NULL, size)});
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
}

/* The command's name for watchers. */
static enum event_command meta_set_command(const struct meta *meta,
                                           const struct pool_store *store) {
    static const enum event_command commands[] = {
        [POOL_SET] = EVENT_SET,         [POOL_ADD] = EVENT_ADD,
        [POOL_REPLACE] = EVENT_REPLACE, [POOL_APPEND] = EVENT_APPEND,
        [POOL_PREPEND] = EVENT_PREPEND,
    };
    return meta_has(meta, 'C') && store->mode == POOL_SET ? EVENT_CAS : commands[store->mode];
}

static enum request_end meta_set_store(struct request *request, const struct meta *meta,
                                       const struct pool_store *store) {
    struct item item = {0};
    enum status status = pool_store(request->pool, request->thread, meta->key, store, &item);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_store(request->connection, request->thread, meta->key, store,
                meta_set_command(meta, store), status, &item);
    const char *code = meta_set_code(status, store);
    if (code == NULL) {
        reply_text(request, reply_of_failure(status));
        if (status == STATUS_TOO_LARGE || status == STATUS_NO_MEMORY) {
            value_drop_old(request, meta->key);
        }
    } else if (status != STATUS_OK) {
        meta_set_reply(request, meta, code, 0, store->value.size);
    } else if (!meta_has(meta, 'q')) {
        meta_set_reply(request, meta, code, item.cas, item.value.size);
    }
    return REQUEST_DONE;
}

enum request_end meta_set_run(struct request *request, unsigned variant) {
    (void)variant;
    struct meta meta;
    struct pool_store store = {0};
    uint32_t length;
    const char *fault = meta_set_read_length(request, &meta, &length);
    if (fault == NULL) {
        fault = meta_set_read(request, &meta, &store);
    }
    if (fault != NULL) {
        bool doubtful = meta_set_has_number(meta.flags);
        return value_refuse(request, fault, doubtful ? VALUE_LENGTH_UNKNOWN : length);
    }
    if (!value_fits(request, meta.key, length)) {
        if (value_drop_old(request, meta.key) == STATUS_NEEDS_ROOM) {
            return REQUEST_NEEDS_ROOM;
        }
        value_note_too_large(request, meta.key, length, meta_set_command(&meta, &store));
        return value_refuse_behind(request, length);
    }
    switch (value_take(request, length, &store.value)) {
    case VALUE_WAITS:
        return REQUEST_WAITS;
    case VALUE_BAD:
        reply_text(request, REPLY_BAD_CHUNK);
        break;
    case VALUE_WHOLE:
        if (meta_set_store(request, &meta, &store) == REQUEST_NEEDS_ROOM) {
            return REQUEST_NEEDS_ROOM;
        }
        break;
    }
    pool_count(request->pool, request->thread, POOL_CMD_META);
    return REQUEST_DONE;
}

enum request_end meta_set_run_unadmitted(struct request *request, unsigned variant) {
    (void)variant;
    struct meta meta;
    uint32_t length;
    meta_set_read_length(request, &meta, &length);
    bool doubtful = meta_set_has_number(meta.flags);
    return value_refuse(request, REPLY_UNAUTHENTICATED, doubtful ? VALUE_LENGTH_UNKNOWN : length);
}
