/* md: deletes an item, or its value only, or marks it stale. */
#include "proto/lifetime.h"
#include "proto/meta.h"
#include "proto/reply.h"

enum { META_DELETE_FLAGS_LIMIT = 17 };

static const char *meta_delete_read(struct request *request, struct meta *meta) {
    const char *fault = meta_read_key(request, meta);
    if (fault != NULL) {
        return fault;
    }
    if (meta_has_too_many(request, META_DELETE_FLAGS_LIMIT)) {
        return "CLIENT_ERROR options flags too long\r\n";
    }
    fault = meta_read_flags(request, meta);
    if (fault != NULL) {
        return fault;
    }
    return meta->opaque_too_long ? META_OPAQUE_TOO_LONG : NULL;
}

static enum request_end meta_delete_answer(struct request *request) {
    struct meta meta;
    const char *fault = meta_delete_read(request, &meta);
    if (fault != NULL) {
        reply_text(request, fault);
        return REQUEST_DONE;
    }
    bool invalidate = meta_has(&meta, 'I');
    bool drop_value = meta_has(&meta, 'x');
    struct pool_delete delete = {
        .compare_cas = meta_has(&meta, 'C'),
        .cas = meta.cas,
        .invalidate = invalidate,
        .drop_value = drop_value,
        .client_flags = meta.client_flags,
        .touch = invalidate && meta_has(&meta, 'T'),
        .touch_expiry_s = meta.touch_expiry_s,
        .set_cas = (invalidate || drop_value) && meta_has(&meta, 'E'),
        .new_cas = meta.new_cas,
    };
    enum status status = lifetime_delete(request, meta.key, &delete, true);
    switch (status) {
    case STATUS_NEEDS_ROOM:
        return REQUEST_NEEDS_ROOM;
    case STATUS_OK:
        if (!meta_has(&meta, 'q')) {
            meta_reply_code(request, &meta, "HD");
        }
        break;
    case STATUS_NOT_FOUND:
        meta_reply_code(request, &meta, "NF");
        break;
    case STATUS_EXISTS:
        meta_reply_code(request, &meta, "EX");
        break;
    default:
        reply_text(request, reply_of_failure(status));
        break;
    }
    return REQUEST_DONE;
}

enum request_end meta_delete_run(struct request *request, unsigned variant) {
    (void)variant;
    return meta_count(request, meta_delete_answer(request));
}
