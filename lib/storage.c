/* stayd.h's functions for one key. */
#include "call.h"

/* --- reading --- */

static enum stayd_status storage_read(struct stayd *client, enum verb verb, const char *key,
                                      size_t key_size, int64_t ttl_s, struct stayd_value *value,
                                      struct stayd_error *error) {
    client_enter(client);
    value->size = 0;
    enum stayd_status status = client_check_key(key, key_size, error);
    if (status == STAYD_OK) {
        struct request request = {.verb = verb,
                                  .kind = verb == VERB_GAT ? REQUEST_ONCE : REQUEST_HARMLESS,
                                  .key = bytes_from(key, key_size),
                                  .ttl_s = ttl_s,
                                  .value = value};
        struct server *server = client_find_server(client, request.key);
        if (verb != VERB_GAT && mapping_get(&server->mapping, request.key, value) == MAPPING_HIT) {
            return STAYD_OK;
        }
        status = call_run(client, &request, error);
    }
    if (status != STAYD_OK) {
        value->size = 0; /* a value may have arrived in part */
    }
    return status;
}

enum stayd_status stayd_get_mapped(struct stayd *client, const char *key, size_t key_size,
                                   struct stayd_value *value) {
    client_enter(client);
    value->size = 0;
    if (client_check_key(key, key_size, NULL) != STAYD_OK) {
        return STAYD_NOT_MAPPED;
    }
    struct bytes name = bytes_from(key, key_size);
    struct server *server = client_find_server(client, name);
    return mapping_get(&server->mapping, name, value) == MAPPING_HIT ? STAYD_OK : STAYD_NOT_MAPPED;
}

enum stayd_status stayd_get(struct stayd *client, const char *key, size_t key_size,
                            struct stayd_value *value, struct stayd_error *error) {
    return storage_read(client, VERB_GET, key, key_size, 0, value, error);
}

enum stayd_status stayd_gets(struct stayd *client, const char *key, size_t key_size,
                             struct stayd_value *value, struct stayd_error *error) {
    return storage_read(client, VERB_GETS, key, key_size, 0, value, error);
}

enum stayd_status stayd_gat(struct stayd *client, const char *key, size_t key_size, int64_t ttl_s,
                            struct stayd_value *value, struct stayd_error *error) {
    return storage_read(client, VERB_GAT, key, key_size, ttl_s, value, error);
}

/* --- writing --- */

/* Runs one command that changes the item of `request->key`. */
static enum stayd_status storage_change(struct stayd *client, struct request *request,
                                        struct stayd_error *error) {
    client_enter(client);
    request->kind = REQUEST_ONCE;
    enum stayd_status status = client_check_key(request->key.data, request->key.size, error);
    if (status == STAYD_OK) {
        status = client_check_value(request->data.size, error);
    }
    return status == STAYD_OK ? call_run(client, request, error) : status;
}

static enum stayd_status storage_store(struct stayd *client, enum verb verb, struct bytes key,
                                       struct bytes data, uint32_t flags, int64_t ttl_s,
                                       struct stayd_error *error) {
    struct request request = {
        .verb = verb, .key = key, .data = data, .flags = flags, .ttl_s = ttl_s};
    return storage_change(client, &request, error);
}

enum stayd_status stayd_set(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                            struct stayd_error *error) {
    return storage_store(client, VERB_SET, bytes_from(key, key_size), bytes_from(data, size), flags,
                         ttl_s, error);
}

enum stayd_status stayd_add(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                            struct stayd_error *error) {
    return storage_store(client, VERB_ADD, bytes_from(key, key_size), bytes_from(data, size), flags,
                         ttl_s, error);
}

enum stayd_status stayd_replace(struct stayd *client, const char *key, size_t key_size,
                                const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                                struct stayd_error *error) {
    return storage_store(client, VERB_REPLACE, bytes_from(key, key_size), bytes_from(data, size),
                         flags, ttl_s, error);
}

enum stayd_status stayd_append(struct stayd *client, const char *key, size_t key_size,
                               const void *data, size_t size, struct stayd_error *error) {
    return storage_store(client, VERB_APPEND, bytes_from(key, key_size), bytes_from(data, size), 0,
                         0, error);
}

enum stayd_status stayd_prepend(struct stayd *client, const char *key, size_t key_size,
                                const void *data, size_t size, struct stayd_error *error) {
    return storage_store(client, VERB_PREPEND, bytes_from(key, key_size), bytes_from(data, size), 0,
                         0, error);
}

enum stayd_status stayd_cas(struct stayd *client, const char *key, size_t key_size,
                            const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                            uint64_t cas, struct stayd_error *error) {
    struct request request = {.verb = VERB_CAS,
                              .key = bytes_from(key, key_size),
                              .data = bytes_from(data, size),
                              .flags = flags,
                              .ttl_s = ttl_s,
                              .number = cas};
    if (cas == 0) { /* the binary protocol would take it for a set */
        return client_refuse(error, STAYD_INVALID,
                             "0 is no item's number: take value.cas of a "
                             "stayd_gets");
    }
    return storage_change(client, &request, error);
}

static enum stayd_status storage_count(struct stayd *client, enum verb verb, struct bytes key,
                                       uint64_t delta, uint64_t *result,
                                       struct stayd_error *error) {
    struct request request = {.verb = verb, .key = key, .number = delta};
    enum stayd_status status = storage_change(client, &request, error);
    if (status == STAYD_OK && result != NULL) {
        *result = request.result;
    }
    return status;
}

enum stayd_status stayd_incr(struct stayd *client, const char *key, size_t key_size, uint64_t delta,
                             uint64_t *result, struct stayd_error *error) {
    return storage_count(client, VERB_INCR, bytes_from(key, key_size), delta, result, error);
}

enum stayd_status stayd_decr(struct stayd *client, const char *key, size_t key_size, uint64_t delta,
                             uint64_t *result, struct stayd_error *error) {
    return storage_count(client, VERB_DECR, bytes_from(key, key_size), delta, result, error);
}

enum stayd_status stayd_touch(struct stayd *client, const char *key, size_t key_size, int64_t ttl_s,
                              struct stayd_error *error) {
    struct request request = {.verb = VERB_TOUCH, .key = bytes_from(key, key_size), .ttl_s = ttl_s};
    return storage_change(client, &request, error);
}

enum stayd_status stayd_delete(struct stayd *client, const char *key, size_t key_size,
                               struct stayd_error *error) {
    struct request request = {.verb = VERB_DELETE, .key = bytes_from(key, key_size)};
    return storage_change(client, &request, error);
}
