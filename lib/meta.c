/* stayd.h's meta commands. */
#include "call.h"

/* Refuses flags that could end the line or suppress the reply. */
static enum stayd_status meta_check_flags(const char *flags, bool stores,
                                          struct stayd_error *error) {
    bool begins = true;
    for (const char *each = flags; each != NULL && *each != '\0'; each++) {
        unsigned char byte = (unsigned char)*each;
        if (byte < ' ' || byte == 0x7f) {
            return client_refuse(error, STAYD_INVALID,
                                 "the flags of a meta command hold a control character");
        }
        if (begins && (byte == 'q' || (stores && byte == 'S'))) {
            return client_refuse(error, STAYD_INVALID,
                                 "the flag %c of a meta command cannot be used with this library",
                                 byte);
        }
        begins = byte == ' ';
    }
    return STAYD_OK;
}

static bool meta_has_flag(const char *flags, const char *wanted) {
    bool begins = true;
    for (const char *each = flags; each != NULL && *each != '\0'; each++) {
        if (begins && strchr(wanted, *each) != NULL) {
            return true;
        }
        begins = *each == ' ';
    }
    return false;
}

static enum stayd_status meta_run(struct stayd *client, struct request *request,
                                  struct stayd_error *error) {
    client_enter(client);
    if (request->meta != NULL) {
        request->meta->code[0] = '\0';
        request->meta->flags[0] = '\0';
        request->meta->value.size = 0;
    }
    enum stayd_status status = client_check_key(request->key.data, request->key.size, error);
    if (status == STAYD_OK) {
        status = meta_check_flags(request->meta_flags, request->verb == VERB_META_SET, error);
    }
    if (status == STAYD_OK) {
        status = client_check_value(request->data.size, error);
    }
    return status == STAYD_OK ? call_run(client, request, error) : status;
}

enum stayd_status stayd_meta_get(struct stayd *client, const char *key, size_t key_size,
                                 const char *flags, struct stayd_meta *reply,
                                 struct stayd_error *error) {
    struct request request = {.verb = VERB_META_GET,
                              .kind = meta_has_flag(flags, "NRT") ? REQUEST_ONCE : REQUEST_HARMLESS,
                              .key = bytes_from(key, key_size),
                              .meta_flags = flags,
                              .meta = reply};
    return meta_run(client, &request, error);
}

enum stayd_status stayd_meta_set(struct stayd *client, const char *key, size_t key_size,
                                 const void *data, size_t size, const char *flags,
                                 struct stayd_meta *reply, struct stayd_error *error) {
    struct request request = {.verb = VERB_META_SET,
                              .kind = REQUEST_ONCE,
                              .key = bytes_from(key, key_size),
                              .data = bytes_from(data, size),
                              .meta_flags = flags,
                              .meta = reply};
    return meta_run(client, &request, error);
}

enum stayd_status stayd_meta_delete(struct stayd *client, const char *key, size_t key_size,
                                    const char *flags, struct stayd_meta *reply,
                                    struct stayd_error *error) {
    struct request request = {.verb = VERB_META_DELETE,
                              .kind = REQUEST_ONCE,
                              .key = bytes_from(key, key_size),
                              .meta_flags = flags,
                              .meta = reply};
    return meta_run(client, &request, error);
}

enum stayd_status stayd_meta_arithmetic(struct stayd *client, const char *key, size_t key_size,
                                        const char *flags, struct stayd_meta *reply,
                                        struct stayd_error *error) {
    struct request request = {.verb = VERB_META_ARITHMETIC,
                              .kind = REQUEST_ONCE,
                              .key = bytes_from(key, key_size),
                              .meta_flags = flags,
                              .meta = reply};
    return meta_run(client, &request, error);
}
