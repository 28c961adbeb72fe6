#include "cluster/writes_private.h"

#include "base/clock.h"

/* Under the lock: another one is sent as soon as the thread comes to it. */
static void writes_demand_confirmation(struct writes *writes, uint32_t partition) {
    struct confirmation *confirmation = &writes->confirmations[partition];
    if (!confirmation->due) {
        confirmation->due = true;
        writes->confirmations_due++;
        pthread_cond_signal(&writes->wake);
    }
}

void writes_confirm(struct proposal *proposal, struct bytes key) {
    struct write *write = write_of(proposal);
    struct writes *writes = write->writes;
    pthread_mutex_lock(&writes->lock);
    if (!write->has_key) {
        writes_begin(writes, write, key);
    }
    writes_give_number(writes, write);
    if (writes->log_is_lost[write->partition]) {
        writes_fail(writes, write, STATUS_UNAVAILABLE);
        pthread_mutex_unlock(&writes->lock);
        return;
    }
    struct confirmation *confirmation = &writes->confirmations[write->partition];
    write->phase = WRITE_CONFIRMING;
    /* One that is on its way may have been stored before this request began. */
    write->confirmation = confirmation->sent + 1;
    write->confirms_before = NULL;
    write->confirms_next = confirmation->first;
    if (confirmation->first != NULL) {
        confirmation->first->confirms_before = write;
    }
    confirmation->first = write;
    if (confirmation->until_ms == 0) {
        writes_demand_confirmation(writes, write->partition);
    }
    pthread_mutex_unlock(&writes->lock);
}

void writes_send_confirmation(struct writes *writes) {
    char subject[ENGINE_SUBJECT_MAX];
    struct engine *engine = writes->options.engine;
    uint32_t partition = 0;
    while (!writes->confirmations[partition].due) {
        partition++;
    }
    struct confirmation *confirmation = &writes->confirmations[partition];
    confirmation->due = false;
    writes->confirmations_due--;
    if (confirmation->first == NULL) {
        confirmation->until_ms = 0;
        return;
    }
    uint64_t number = ++confirmation->sent;
    confirmation->floor = pool_get_position(writes->options.pool, partition);
    confirmation->until_ms = clock_exact_ms() + writes->options.attempt_ms;
    writes->stats.confirmations++;
    subjects_write_confirmation(writes->options.subjects, partition, writes->options.host, subject);
    const struct engine_write write = {
        .token = WRITES_CONFIRMATION_TOKEN | number * POOL_PARTITIONS_MAX | partition,
        .subject = subject,
        .payload = bytes_from((const char *)&number, sizeof number),
        .ttl_s = WRITES_CONFIRMATION_S,
    };
    pthread_mutex_unlock(&writes->lock);
    bool sent = engine->write(engine->self, &write);
    pthread_mutex_lock(&writes->lock);
    if (!sent && confirmation->sent == number && confirmation->until_ms != 0) {
        confirmation->until_ms = clock_exact_ms() + WRITES_ABSENT_MS;
    }
}

void writes_check_confirmations(struct writes *writes, uint64_t now_ms) {
    for (uint32_t i = 0; i < writes->options.subjects->partitions; i++) {
        const struct confirmation *confirmation = &writes->confirmations[i];
        if (confirmation->until_ms != 0 && now_ms >= confirmation->until_ms) {
            writes_demand_confirmation(writes, i);
        }
    }
}

/* Whether a confirmation is stored does not matter, its arrival does. */
void writes_take_confirmation_outcome(struct writes *writes, uint64_t token,
                                      enum engine_outcome outcome, uint64_t sequence) {
    uint32_t partition = token % POOL_PARTITIONS_MAX;
    uint64_t number = (token & ~WRITES_CONFIRMATION_TOKEN) / POOL_PARTITIONS_MAX;
    struct confirmation *confirmation = &writes->confirmations[partition];
    pthread_mutex_lock(&writes->lock);
    if (outcome == ENGINE_STORED && number == confirmation->sent &&
        sequence <= confirmation->floor) {
        writes_note_lost_log(writes, partition, sequence);
        while (confirmation->first != NULL) {
            writes_fail(writes, confirmation->first, STATUS_UNAVAILABLE);
        }
    } else if (outcome != ENGINE_STORED && number == confirmation->sent &&
               confirmation->until_ms != 0) {
        confirmation->until_ms = clock_exact_ms() + WRITES_ABSENT_MS;
    }
    pthread_mutex_unlock(&writes->lock);
}

void writes_note_confirmation(struct writes *writes, uint32_t partition, uint64_t number) {
    struct confirmation *confirmation = &writes->confirmations[partition];
    pthread_mutex_lock(&writes->lock);
    struct write *next;
    for (struct write *write = confirmation->first; write != NULL; write = next) {
        next = write->confirms_next;
        if (write->confirmation <= number) {
            writes->stats.confirmed++;
            write->proposal.confirmed = true;
            writes_finish(writes, write, PROPOSAL_AGAIN);
        }
    }
    if (number == confirmation->sent) {
        confirmation->until_ms = 0;
        if (confirmation->first != NULL) {
            writes_demand_confirmation(writes, partition);
        }
    }
    pthread_mutex_unlock(&writes->lock);
}
