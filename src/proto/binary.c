#include "proto/binary.h"

#include "proto/binary_arithmetic.h"
#include "proto/binary_general.h"
#include "proto/binary_reply.h"
#include "proto/binary_retrieval.h"
#include "proto/binary_sasl.h"
#include "proto/binary_stats.h"
#include "proto/binary_storage.h"

/* What the body of a request must contain beside the extras. */
enum binary_shape {
    BINARY_KEY = 1,
    BINARY_KEY_OPTIONAL = 2,
    BINARY_VALUE = 4,
    BINARY_VALUE_DROPPED = 8, /* memcached does not expect a value here; it is discarded */
    BINARY_EXTRAS_OPTIONAL = 16,

    /* Not about the body: */
    BINARY_QUIET = 32,        /* the opcode is a quiet one */
    BINARY_BEFORE_LOGIN = 64, /* the opcode may run before a login; all others are refused then */
};

struct binary_command {
    binary_handler *run;
    uint8_t extras_size;
    uint8_t shape;
    uint8_t variant;
};

enum {
    STORE_EXTRAS = 8, /* flags, expiry */
    COUNT_EXTRAS = 20,
    EXPIRY_EXTRAS = 4,
    LEVEL_EXTRAS = 4,

    RETRIEVE = BINARY_KEY,
    TOUCH = BINARY_KEY | BINARY_VALUE_DROPPED,
    STORE = BINARY_KEY | BINARY_VALUE,
    COUNT = BINARY_KEY,
    FLUSH = BINARY_EXTRAS_OPTIONAL,
    STAT = BINARY_KEY_OPTIONAL | BINARY_VALUE_DROPPED,
    QUIET = BINARY_QUIET,
    BEFORE_LOGIN = BINARY_BEFORE_LOGIN,
    LOGIN = BINARY_KEY | BINARY_VALUE | BINARY_BEFORE_LOGIN,

    WITH_KEY = BINARY_RETRIEVAL_KEY,
    GAT = BINARY_RETRIEVAL_TOUCH,
    NO_VALUE = BINARY_RETRIEVAL_TOUCH | BINARY_RETRIEVAL_NO_VALUE,
    INCREMENT = BINARY_ARITHMETIC_INCREMENT,
    DECREMENT = BINARY_ARITHMETIC_DECREMENT,
};

static const struct binary_command binary_commands[] = {
    [BINARY_GET] = {binary_retrieval_run, 0, RETRIEVE, 0},
    [BINARY_GETQ] = {binary_retrieval_run, 0, RETRIEVE | QUIET, 0},
    [BINARY_GETK] = {binary_retrieval_run, 0, RETRIEVE, WITH_KEY},
    [BINARY_GETKQ] = {binary_retrieval_run, 0, RETRIEVE | QUIET, WITH_KEY},
    [BINARY_TOUCH] = {binary_retrieval_run, EXPIRY_EXTRAS, TOUCH, NO_VALUE},
    [BINARY_GAT] = {binary_retrieval_run, EXPIRY_EXTRAS, TOUCH, GAT},
    [BINARY_GATQ] = {binary_retrieval_run, EXPIRY_EXTRAS, TOUCH | QUIET, GAT},
    [BINARY_GATK] = {binary_retrieval_run, EXPIRY_EXTRAS, TOUCH, GAT | WITH_KEY},
    [BINARY_GATKQ] = {binary_retrieval_run, EXPIRY_EXTRAS, TOUCH | QUIET, GAT | WITH_KEY},

    [BINARY_SET] = {binary_storage_run, STORE_EXTRAS, STORE, POOL_SET},
    [BINARY_SETQ] = {binary_storage_run, STORE_EXTRAS, STORE | QUIET, POOL_SET},
    [BINARY_ADD] = {binary_storage_run, STORE_EXTRAS, STORE, POOL_ADD},
    [BINARY_ADDQ] = {binary_storage_run, STORE_EXTRAS, STORE | QUIET, POOL_ADD},
    [BINARY_REPLACE] = {binary_storage_run, STORE_EXTRAS, STORE, POOL_REPLACE},
    [BINARY_REPLACEQ] = {binary_storage_run, STORE_EXTRAS, STORE | QUIET, POOL_REPLACE},
    [BINARY_APPEND] = {binary_storage_run, 0, STORE, POOL_APPEND},
    [BINARY_APPENDQ] = {binary_storage_run, 0, STORE | QUIET, POOL_APPEND},
    [BINARY_PREPEND] = {binary_storage_run, 0, STORE, POOL_PREPEND},
    [BINARY_PREPENDQ] = {binary_storage_run, 0, STORE | QUIET, POOL_PREPEND},

    [BINARY_INCREMENT] = {binary_arithmetic_run, COUNT_EXTRAS, COUNT, INCREMENT},
    [BINARY_INCREMENTQ] = {binary_arithmetic_run, COUNT_EXTRAS, COUNT | QUIET, INCREMENT},
    [BINARY_DECREMENT] = {binary_arithmetic_run, COUNT_EXTRAS, COUNT, DECREMENT},
    [BINARY_DECREMENTQ] = {binary_arithmetic_run, COUNT_EXTRAS, COUNT | QUIET, DECREMENT},

    [BINARY_DELETE] = {binary_delete_run, 0, BINARY_KEY, 0},
    [BINARY_DELETEQ] = {binary_delete_run, 0, BINARY_KEY | QUIET, 0},
    [BINARY_FLUSH] = {binary_flush_run, EXPIRY_EXTRAS, FLUSH, 0},
    [BINARY_FLUSHQ] = {binary_flush_run, EXPIRY_EXTRAS, FLUSH | QUIET, 0},

    [BINARY_NOOP] = {binary_noop_run, 0, 0, 0},
    [BINARY_VERSION] = {binary_version_run, 0, BEFORE_LOGIN, 0},
    [BINARY_VERBOSITY] = {binary_verbosity_run, LEVEL_EXTRAS, 0, 0},
    [BINARY_STAT] = {binary_stats_run, 0, STAT, 0},
    [BINARY_QUIT] = {binary_quit_run, 0, 0, 0},
    [BINARY_QUITQ] = {binary_quit_run, 0, QUIET, 0},

    [BINARY_SASL_LIST] = {binary_sasl_list_run, 0, BEFORE_LOGIN, 0},
    [BINARY_SASL_AUTH] = {binary_sasl_auth_run, 0, LOGIN, 0},
    [BINARY_SASL_STEP] = {binary_sasl_auth_run, 0, LOGIN, 0},
};

static const struct binary_command *binary_find(uint8_t opcode) {
    static const size_t count = sizeof(binary_commands) / sizeof(binary_commands[0]);
    bool known = opcode < count && binary_commands[opcode].run != NULL;
    return known ? &binary_commands[opcode] : NULL;
}

/* Unknown opcodes (NULL) need a login too. */
static bool binary_needs_login(const struct binary_command *command) {
    return command == NULL || (command->shape & BINARY_BEFORE_LOGIN) == 0;
}

/* Whether the header has the sizes that the opcode needs. */
static bool binary_fits(const struct binary_command *command, const struct binary_header *header,
                        uint32_t value_size) {
    bool extras_left_out = header->extras_size == 0 && (command->shape & BINARY_EXTRAS_OPTIONAL);
    if (header->extras_size != command->extras_size && !extras_left_out) {
        return false;
    }
    if ((command->shape & BINARY_KEY_OPTIONAL) == 0 &&
        (header->key_size > 0) != ((command->shape & BINARY_KEY) != 0)) {
        return false;
    }
    return value_size == 0 || (command->shape & (BINARY_VALUE | BINARY_VALUE_DROPPED)) != 0;
}

static enum request_end binary_close(struct binary_request *binary, enum binary_status status) {
    binary_reply_error(binary, status);
    return REQUEST_CLOSES;
}

static enum latency_command binary_get_latency(const struct binary_command *command) {
    if (command->run == binary_retrieval_run) {
        return (command->variant & BINARY_RETRIEVAL_TOUCH) != 0 ? LATENCY_TOUCH : LATENCY_GET;
    }
    if (command->run == binary_storage_run) {
        return LATENCY_SET;
    }
    if (command->run == binary_arithmetic_run) {
        return LATENCY_ARITHMETIC;
    }
    return command->run == binary_delete_run ? LATENCY_DELETE : LATENCY_OTHER;
}

static enum request_end binary_run_measured(struct binary_request *binary,
                                            const struct binary_command *command) {
    uint64_t began_ns = clock_monotonic_ns();
    enum request_end end = command->run(binary);
    request_note_latency(binary->request, binary_get_latency(command), began_ns, end);
    return end;
}

enum request_end binary_run(struct request *request) {
    const char *start = request->start;
    size_t available = (size_t)(request->end - start);
    if ((unsigned char)*start != BINARY_REQUEST_MAGIC) {
        return REQUEST_CLOSES; /* not the start of a request: the client could not assign a reply */
    }
    if (available < BINARY_HEADER_BYTES) {
        request->wanted = BINARY_HEADER_BYTES;
        return REQUEST_WAITS;
    }
    request->next = start + BINARY_HEADER_BYTES;
    struct binary_request binary = {.request = request, .header = binary_read_header(start)};
    const struct binary_header *header = &binary.header;
    if (!binary_header_adds_up(header)) {
        return binary_close(&binary, BINARY_UNKNOWN_COMMAND);
    }
    const struct binary_command *command = binary_find(header->opcode);
    if (!request->connection->admitted && binary_needs_login(command)) {
        return binary_close(&binary, BINARY_AUTH_ERROR);
    }
    if (header->key_size > POOL_KEY_MAX) {
        return binary_close(&binary, BINARY_INVALID);
    }
    if (command == NULL) {
        binary_reply_error(&binary, BINARY_UNKNOWN_COMMAND);
        request->progress->skip_bytes = header->body_size;
        return REQUEST_DONE;
    }
    binary.value_size = header->body_size - header->key_size - header->extras_size;
    if (!binary_fits(command, header, binary.value_size)) {
        return binary_close(&binary, BINARY_INVALID);
    }
    size_t head = BINARY_HEADER_BYTES + (size_t)header->extras_size + header->key_size;
    if (available < head) {
        request->wanted = head;
        return REQUEST_WAITS;
    }
    request->next = start + head;
    binary.extras = start + BINARY_HEADER_BYTES;
    binary.key = bytes_from(binary.extras + header->extras_size, header->key_size);
    binary.variant = command->variant;
    binary.quiet = (command->shape & BINARY_QUIET) != 0;
    if ((command->shape & BINARY_VALUE_DROPPED) != 0) {
        request->progress->skip_bytes = binary.value_size;
    }
    enum request_end end = request_is_measured(request) ? binary_run_measured(&binary, command)
                                                        : command->run(&binary);
    if (end == REQUEST_NEEDS_ROOM) {
        request->progress->skip_bytes = 0; /* the request runs again from its header */
    }
    return end;
}
