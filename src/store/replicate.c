#include "store/replicate.h"

#include "store/pool_counters.h"

#include <assert.h>

enum { REPLICATE_KEPT_BYTES = 16 << 10 /* a larger buffer is freed when its request has ended */ };

static void replicate_set_state(struct proposal *proposal, enum proposal_state state) {
    /* release: pairs with proposal_is_in_flight */
    atomic_store_explicit(&proposal->state, state, memory_order_release);
}

static enum proposal_state replicate_get_state(const struct proposal *proposal) {
    /* acquire: as proposal_is_in_flight */
    return atomic_load_explicit(&proposal->state, memory_order_acquire);
}

void proposal_end(struct pool *pool, struct proposal *proposal) {
    if (proposal == NULL) {
        return;
    }
    enum proposal_state state = replicate_get_state(proposal);
    assert(state != PROPOSAL_IN_FLIGHT);
    if (state == PROPOSAL_ACKNOWLEDGED || state == PROPOSAL_AGAIN) {
        pool->replication.settle(proposal);
    }
    proposal->has_named = false;
    proposal->confirmed = false;
    if (proposal->data.capacity > REPLICATE_KEPT_BYTES) {
        buffer_finish(&proposal->data);
    }
    replicate_set_state(proposal, PROPOSAL_IDLE);
}

static void replicate_copy(struct replica *replica, const struct record *record) {
    replica->stale = record->stale;
    replica->token_sent = record->token_sent;
    replica->client_flags = record->client_flags;
    replica->expiry_s = record->expiry_s;
    replica->created_s = record->created_s;
    replica->accessed_s = record->accessed_s;
    replica->sequence = record->cas;
}

/* What the pool has of a key, or NULL. An item from before a flush of this pool alone
 * (pool_drop_items) is of another log. */
static const struct record *replicate_known(const struct pool *pool, const struct record *present) {
    return present != NULL && present->sequence > item_flush_sequence(&pool->view) ? present : NULL;
}

static struct bytes replicate_append(struct buffer *data, struct bytes bytes) {
    struct bytes copy = bytes_from(data->data + data->size, bytes.size);
    if (bytes.size > 0 && bytes.data == NULL) { /* record.h: spaces */
        memset(data->data + data->size, ' ', bytes.size);
        data->size += bytes.size;
    } else {
        buffer_append(data, bytes.data, bytes.size);
    }
    return copy;
}

/* What change_evaluate's taker needs. */
struct replicate_plan {
    const struct pool *pool;
    struct proposal *proposal;
    struct bytes key;
    uint32_t now_s;
    uint64_t flush; /* the last that was applied before the plan */
    bool sets_cas;  /* the plan has a CAS of the client's choice */
};

/* Copies the plan into the proposal. */
static bool replicate_take(void *context, const struct change_evaluation *evaluation) {
    struct replicate_plan *plan = context;
    struct proposal *proposal = plan->proposal;
    const struct record *record = evaluation->record;
    const struct record *old = evaluation->old;
    struct buffer *data = &proposal->data;
    if (record != NULL && record->cas != 0 && (old == NULL || record->cas != old->cas)) {
        plan->sets_cas = true;
        return false;
    }
    size_t size = plan->key.size + (old != NULL ? old->value.size : 0) +
                  (record != NULL ? record->value.size + record->value_tail.size : 0);
    data->size = 0;
    if (!buffer_reserve(data, size)) {
        return false;
    }
    proposal->change = (struct replica){.key = replicate_append(data, plan->key), .removed = true};
    proposal->old = (struct replica){.key = proposal->change.key};
    proposal->has_old = old != NULL;
    if (old != NULL) {
        replicate_copy(&proposal->old, old);
        proposal->old.value = replicate_append(data, old->value);
    }
    if (record != NULL) {
        replicate_copy(&proposal->change, record);
        proposal->change.removed = false;
        proposal->change.keeps_reads = evaluation->keep_reads && old != NULL;
        proposal->change.derived = old != NULL && !evaluation->independent;
        proposal->change.value = replicate_append(data, record->value);
        replicate_append(data, record->value_tail); /* directly behind it */
        proposal->change.value.size += record->value_tail.size;
    }
    proposal->change.sequence = 0;
    proposal->change.flush = plan->flush;
    proposal->frequency = evaluation->frequency;
    proposal->now_s = plan->now_s;
    /* A key without an item that a client sees: what the log has named, if it has; the pool had
     * applied all up to there when this plan was made. */
    const struct record *known = replicate_known(plan->pool, evaluation->present);
    bool invisible = old == NULL;
    proposal->expected = invisible && proposal->has_named ? proposal->named
                         : known != NULL                  ? known->cas
                                                          : 0;
    return true;
}

static struct record replicate_record(const struct replica *replica) {
    return (struct record){
        .kind = LAYOUT_VALUE,
        .stale = replica->stale,
        .token_sent = replica->token_sent,
        .client_flags = replica->client_flags,
        .expiry_s = replica->expiry_s,
        .created_s = replica->created_s,
        .accessed_s = replica->accessed_s,
        .cas = replica->sequence,
        .key = replica->key,
        .value = replica->value,
    };
}

/* Whether the reply says something about the item that another host may have changed. */
static bool replicate_is_condition(enum status status) {
    return status == STATUS_NOT_FOUND || status == STATUS_NOT_STORED || status == STATUS_EXISTS ||
           status == STATUS_NON_NUMERIC;
}

static enum status replicate_confirm(struct pool *pool, struct proposal *proposal,
                                     struct bytes key) {
    proposal->submitted = true;
    replicate_set_state(proposal, PROPOSAL_IN_FLIGHT);
    pool->replication.confirm(proposal, key);
    return STATUS_NEEDS_ROOM;
}

/* Plans on the item as it is, and submits the plan. */
static enum status replicate_propose(struct pool *pool, struct store_thread *thread,
                                     struct bytes key, change_planner planner, void *request,
                                     struct item *result) {
    struct proposal *proposal = thread->proposal;
    const struct pool_replication *replication = &pool->replication;
    struct replicate_plan plan = {.pool = pool,
                                  .proposal = proposal,
                                  .key = key,
                                  .now_s = thread->now_s,
                                  .flush = replication->get_flush(replication->context, key)};
    proposal->change.key = (struct bytes){0};
    enum status status =
        change_evaluate(pool, thread, key, planner, request, replicate_take, &plan, result);
    if (plan.sets_cas) {
        return STATUS_UNSUPPORTED;
    }
    if (proposal->change.key.data == NULL) {
        bool must_confirm = !proposal->confirmed && replicate_is_condition(status);
        return must_confirm ? replicate_confirm(pool, proposal, key) : status;
    }
    proposal->status = status;
    proposal->submitted = true;
    replicate_set_state(proposal, PROPOSAL_IN_FLIGHT);
    pool->replication.submit(proposal);
    return STATUS_NEEDS_ROOM;
}

/* Writes the acknowledged proposal and answers its request. */
static enum status replicate_finish(struct pool *pool, struct store_thread *thread,
                                    change_planner planner, void *request, struct item *result) {
    struct proposal *proposal = thread->proposal;
    enum status status = pool_apply(pool, thread, &proposal->change, true);
    if (status == STATUS_NEEDS_ROOM) {
        return status;
    }
    if (status != STATUS_OK) {
        /* The log has it, and the reader writes it when there is room. */
        proposal_end(pool, proposal);
        return STATUS_UNAVAILABLE;
    }
    struct change again = {.action = CHANGE_NOTHING};
    struct record old = replicate_record(&proposal->old);
    planner(request, proposal->has_old ? &old : NULL, proposal->now_s, &again);
    if (result != NULL && !proposal->change.removed) {
        struct record record = replicate_record(&proposal->change);
        bool keeps = proposal->change.keeps_reads;
        item_describe(&record, keeps ? proposal->frequency : 0, result);
        result->accessed_s = keeps ? proposal->old.accessed_s : result->accessed_s;
    }
    status = proposal->status;
    pool->replication.settle(proposal);
    proposal->has_named = false;
    /* The result points into the buffer, which stays until the connection's next proposal. */
    replicate_set_state(proposal, PROPOSAL_IDLE);
    return status;
}

enum status replicate_change(struct pool *pool, struct store_thread *thread, struct bytes key,
                             change_planner planner, void *request, struct item *result) {
    if (pool->replication.submit == NULL) {
        return change_run(pool, thread, key, planner, request, result);
    }
    struct proposal *proposal = thread->proposal;
    if (proposal == NULL) {
        return STATUS_NO_MEMORY;
    }
    switch (replicate_get_state(proposal)) {
    case PROPOSAL_IN_FLIGHT:
        return STATUS_NEEDS_ROOM;
    case PROPOSAL_ACKNOWLEDGED:
        assert(bytes_equal(proposal->change.key, key));
        return replicate_finish(pool, thread, planner, request, result);
    case PROPOSAL_FAILED:
        replicate_set_state(proposal, PROPOSAL_IDLE);
        return proposal->failure;
    case PROPOSAL_AGAIN: {
        enum status status = replicate_propose(pool, thread, key, planner, request, result);
        if (status != STATUS_NEEDS_ROOM) {
            pool->replication.settle(proposal);
            proposal->has_named = false;
            replicate_set_state(proposal, PROPOSAL_IDLE);
        }
        return status;
    }
    case PROPOSAL_IDLE:
        break;
    }
    proposal->has_named = false;
    proposal->confirmed = false;
    return replicate_propose(pool, thread, key, planner, request, result);
}

enum status replicate_refresh(struct pool *pool, struct store_thread *thread, struct bytes key) {
    struct proposal *proposal = thread->proposal;
    if (pool->replication.submit == NULL) {
        return STATUS_OK;
    }
    if (proposal == NULL) {
        return STATUS_NO_MEMORY;
    }
    switch (replicate_get_state(proposal)) {
    case PROPOSAL_IN_FLIGHT:
        return STATUS_NEEDS_ROOM;
    case PROPOSAL_ACKNOWLEDGED:
    case PROPOSAL_AGAIN:
        return STATUS_OK;
    case PROPOSAL_FAILED:
        replicate_set_state(proposal, PROPOSAL_IDLE);
        return proposal->failure;
    case PROPOSAL_IDLE:
        break;
    }
    return replicate_confirm(pool, proposal, key);
}

enum status replicate_flush(struct pool *pool, struct store_thread *thread, uint32_t due_s) {
    struct proposal *proposal = thread->proposal;
    if (proposal == NULL) {
        return STATUS_NO_MEMORY;
    }
    switch (replicate_get_state(proposal)) {
    case PROPOSAL_IN_FLIGHT:
        return STATUS_NEEDS_ROOM;
    case PROPOSAL_ACKNOWLEDGED:
        pool_add(pool, thread->index, POOL_CMD_FLUSH, 1);
        replicate_set_state(proposal, PROPOSAL_IDLE);
        return STATUS_OK;
    case PROPOSAL_FAILED:
        replicate_set_state(proposal, PROPOSAL_IDLE);
        return proposal->failure;
    case PROPOSAL_AGAIN:
    case PROPOSAL_IDLE:
        break;
    }
    if (due_s != 0) {
        return STATUS_UNSUPPORTED;
    }
    proposal->submitted = true;
    replicate_set_state(proposal, PROPOSAL_IN_FLIGHT);
    pool->replication.submit_flush(proposal);
    return STATUS_NEEDS_ROOM;
}

void replicate_access(struct pool *pool, struct bytes key) {
    const struct pool_replication *replication = &pool->replication;
    if (replication->note_access != NULL) {
        replication->note_access(replication->context, key);
    }
}

struct replicate_apply {
    struct pool *pool;
    const struct replica *replica;
    bool own;
};

/* The planner of a record of the log. */
static enum status plan_apply(void *plan, const struct record *old, uint32_t now_s,
                              struct change *change) {
    (void)now_s;
    const struct replicate_apply *apply = plan;
    const struct replica *replica = apply->replica;
    const struct pool_replication *replication = &apply->pool->replication;
    bool (*admits)(void *, struct bytes, uint64_t) =
        apply->own ? replication->admits_own : replication->admits_read;
    if (!admits(replication->context, replica->key, replica->sequence)) {
        return STATUS_OK;
    }
    const struct record *known = replicate_known(apply->pool, change->present);
    if (known != NULL && known->cas >= replica->sequence) {
        return STATUS_OK;
    }
    change->verbatim = true;
    if (replica->removed) {
        change->action = CHANGE_REMOVE;
        return old == NULL ? STATUS_NOT_FOUND : STATUS_OK;
    }
    change->action = CHANGE_WRITE;
    change->keep_reads = replica->keeps_reads;
    change->record = replicate_record(replica);
    if (replica->keeps_reads && old != NULL && old->accessed_s > change->record.accessed_s) {
        change->record.accessed_s = old->accessed_s; /* this host has seen a later access */
    }
    return STATUS_OK;
}

enum status pool_apply(struct pool *pool, struct store_thread *thread,
                       const struct replica *replica, bool own) {
    struct replicate_apply apply = {.pool = pool, .replica = replica, .own = own};
    enum status status = change_run(pool, thread, replica->key, plan_apply, &apply, NULL);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
