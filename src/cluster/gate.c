#include "cluster/gate.h"

#include <stdio.h>

static const char gate_is_shut[] = "there is no connection yet";

static enum engine_check gate_check(void *self, uint32_t partition, struct engine_log *log,
                                    char error[ENGINE_ERROR_MAX]) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        return gate->inner.check(gate->inner.self, partition, log, error);
    }
    snprintf(error, ENGINE_ERROR_MAX, "%s", gate_is_shut);
    return ENGINE_AWAY;
}

static void gate_ask_nodes(void *self) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        gate->inner.ask_nodes(gate->inner.self);
    }
}

static void gate_get_nodes(void *self, struct engine_nodes *nodes) {
    struct gate *gate = self;
    *nodes = (struct engine_nodes){0};
    if (atomic_load(&gate->opened)) {
        gate->inner.get_nodes(gate->inner.self, nodes);
    }
}

static enum engine_check gate_find_now(void *self, uint32_t partition, const char *subject,
                                       uint64_t *sequence, struct buffer *payload,
                                       char error[ENGINE_ERROR_MAX]) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        return gate->inner.find_now(gate->inner.self, partition, subject, sequence, payload, error);
    }
    snprintf(error, ENGINE_ERROR_MAX, "%s", gate_is_shut);
    return ENGINE_AWAY;
}

static enum engine_check gate_drop(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        return gate->inner.drop(gate->inner.self, partition, error);
    }
    snprintf(error, ENGINE_ERROR_MAX, "%s", gate_is_shut);
    return ENGINE_AWAY;
}

static enum engine_check gate_create(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        return gate->inner.create(gate->inner.self, partition, error);
    }
    snprintf(error, ENGINE_ERROR_MAX, "%s", gate_is_shut);
    return ENGINE_AWAY;
}

static bool gate_write(void *self, const struct engine_write *write) {
    struct gate *gate = self;
    return atomic_load(&gate->joined) && gate->inner.write(gate->inner.self, write);
}

static bool gate_find(void *self, uint64_t token, uint32_t partition, const char *subject) {
    struct gate *gate = self;
    return atomic_load(&gate->joined) &&
           gate->inner.find(gate->inner.self, token, partition, subject);
}

static bool gate_poke(void *self) {
    struct gate *gate = self;
    return atomic_load(&gate->joined) && gate->inner.poke(gate->inner.self);
}

static bool gate_purge(void *self, uint64_t token, uint32_t partition, uint64_t below) {
    struct gate *gate = self;
    return atomic_load(&gate->joined) &&
           gate->inner.purge(gate->inner.self, token, partition, below);
}

/* The reader's thread is started when the gate is joined. */
static void gate_follow(void *self, uint32_t partition, uint64_t from) {
    struct gate *gate = self;
    gate->inner.follow(gate->inner.self, partition, from);
}

static bool gate_receive(void *self, uint32_t timeout_ms, struct engine_record *record) {
    struct gate *gate = self;
    return gate->inner.receive(gate->inner.self, timeout_ms, record);
}

static bool gate_is_connected(void *self) {
    struct gate *gate = self;
    return atomic_load(&gate->opened) && gate->inner.is_connected(gate->inner.self);
}

static void gate_leave(void *self) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        gate->inner.leave(gate->inner.self);
    }
}

static bool gate_is_refused(void *self, char error[ENGINE_ERROR_MAX]) {
    struct gate *gate = self;
    return atomic_load(&gate->opened) && gate->inner.is_refused(gate->inner.self, error);
}

static void gate_close(void *self) {
    struct gate *gate = self;
    if (atomic_load(&gate->opened)) {
        gate->inner.close(gate->inner.self);
    }
}

_Static_assert(sizeof(struct engine) == 17 * sizeof(void *), "a function has no gate");

void gate_init(struct gate *gate, struct engine *engine) {
    *gate = (struct gate){0};
    *engine = (struct engine){
        .self = gate,
        .check = gate_check,
        .ask_nodes = gate_ask_nodes,
        .get_nodes = gate_get_nodes,
        .find_now = gate_find_now,
        .create = gate_create,
        .drop = gate_drop,
        .write = gate_write,
        .find = gate_find,
        .poke = gate_poke,
        .purge = gate_purge,
        .follow = gate_follow,
        .receive = gate_receive,
        .is_connected = gate_is_connected,
        .leave = gate_leave,
        .is_refused = gate_is_refused,
        .close = gate_close,
    };
}

void gate_open(struct gate *gate) {
    atomic_store(&gate->opened, true);
}

void gate_join(struct gate *gate) {
    atomic_store(&gate->joined, true);
}
