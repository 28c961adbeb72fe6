#include "proto/binary_arithmetic.h"

#include "proto/binary_reply.h"
#include "proto/event.h"
#include "proto/expiry.h"

#define BINARY_EXPIRY_CREATES_NOT UINT32_MAX

enum request_end binary_arithmetic_run(struct binary_request *binary) {
    const struct request *request = binary->request;
    uint32_t exptime = binary_read_u32(binary->extras + 16);
    struct pool_arithmetic arithmetic = {
        .decrement = binary->variant == BINARY_ARITHMETIC_DECREMENT,
        .delta = binary_read_u64(binary->extras),
        .initial = binary_read_u64(binary->extras + 8),
        .create = exptime != BINARY_EXPIRY_CREATES_NOT,
        .create_expiry_s = expiry_of_exptime(exptime, request->thread->now_s),
        .compare_cas = binary->header.cas != 0,
        .cas = binary->header.cas,
    };
    uint64_t number;
    struct pool_fetched fetched;
    enum status status = pool_arithmetic(request->pool, request->thread, binary->key, &arithmetic,
                                         &number, &fetched);
    if (status == STATUS_NEEDS_ROOM) {
        return REQUEST_NEEDS_ROOM;
    }
    event_change(request->connection, request->thread, binary->key, status,
                 status == STATUS_OK && fetched.created);
    if (status != STATUS_OK) {
        binary_reply_error(binary, binary_status_of(status));
    } else if (!binary->quiet) {
        uint64_t value = htobe64(number);
        binary_reply(binary, bytes_from((const char *)&value, sizeof value), fetched.item.cas);
    }
    return REQUEST_DONE;
}
