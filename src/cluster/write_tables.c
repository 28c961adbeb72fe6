#include "cluster/writes_private.h"

#include "base/hash.h"

#include <assert.h>

struct write **writes_find_holder(struct writes *writes, struct bytes key) {
    struct write **link = &writes->holders[hash_key(2, key) % WRITES_CHAINS];
    while (*link != NULL && !bytes_equal(write_key(*link), key)) {
        link = &(*link)->next_of_key;
    }
    return link;
}

struct write **writes_find_number(struct writes *writes, uint64_t number) {
    struct write **link = &writes->numbered[number % WRITES_CHAINS];
    while (*link != NULL && (*link)->number != number) {
        link = &(*link)->next_of_number;
    }
    return link;
}

void writes_give_number(struct writes *writes, struct write *write) {
    write->number = ++writes->numbers;
    struct write **link = &writes->numbered[write->number % WRITES_CHAINS];
    write->next_of_number = *link;
    *link = write;
    writes->on_the_way++;
    writes->partitions[write->partition].in_flight++;
    if (writes->sleeps) { /* its time is to be watched */
        pthread_cond_signal(&writes->wake);
    }
}

void writes_take_number(struct writes *writes, struct write *write) {
    struct write **link = writes_find_number(writes, write->number);
    assert(*link == write);
    *link = write->next_of_number;
    write->number = 0;
    writes->on_the_way--;
    writes->partitions[write->partition].in_flight--;
}

/* The engine's thread sends soon; or, if it does not, that of the writes. */
static void writes_wake(struct writes *writes) {
    const struct engine *engine = writes->options.engine;
    if (engine->poke == NULL || !engine->poke(engine->self)) {
        pthread_cond_signal(&writes->wake);
    }
}

void writes_enqueue(struct writes *writes, struct write *write, enum write_phase phase) {
    write->phase = phase;
    if (write->in_queue) {
        return;
    }
    write->in_queue = true;
    write->next_queued = NULL;
    if (writes->queue_first == NULL) {
        writes->queue_first = write;
        writes_wake(writes);
    } else {
        writes->queue_last->next_queued = write;
    }
    writes->queue_last = write;
}

struct write *writes_dequeue(struct writes *writes) {
    struct write *write = writes->queue_first;
    if (write != NULL) {
        writes->queue_first = write->next_queued;
        write->in_queue = false;
    }
    return write;
}

void writes_leave_queue(struct writes *writes, struct write *write) {
    struct write *before = NULL;
    if (!write->in_queue) {
        return;
    }
    for (struct write *at = writes->queue_first; at != write; at = at->next_queued) {
        before = at;
    }
    if (before == NULL) {
        writes->queue_first = write->next_queued;
    } else {
        before->next_queued = write->next_queued;
    }
    if (writes->queue_last == write) {
        writes->queue_last = before;
    }
    write->in_queue = false;
}

void writes_leave_confirmation(struct writes *writes, struct write *write) {
    if (write->confirms_before == NULL) {
        writes->confirmations[write->partition].first = write->confirms_next;
    } else {
        write->confirms_before->confirms_next = write->confirms_next;
    }
    if (write->confirms_next != NULL) {
        write->confirms_next->confirms_before = write->confirms_before;
    }
}
