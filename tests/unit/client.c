#include "client.h"

#include "environment.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENT_VALUE_MAX = 16 << 10, CLIENT_KEY_TEXT = 32 };

void client_init(struct client *client, char name, const struct client_habits *habits,
                 uint64_t seed, pthread_mutex_t *lock) {
    *client = (struct client){.lock = lock, .habits = *habits, .random = seed};
    client->view.name = name;
    client->view.keys = habits->keys;
    for (unsigned key = 0; key < habits->keys; key++) {
        client->view.key[key].count = 1; /* absent */
    }
}

static struct bytes key_text(char text[CLIENT_KEY_TEXT], char name, unsigned key) {
    int length = snprintf(text, CLIENT_KEY_TEXT, "%c:session:%u", name, key);
    return bytes_from(text, (size_t)length);
}

/* The value is computed from key and version, so that every byte can be checked. */
static void fill_value(char *value, char name, unsigned key, const struct client_state *state) {
    uint64_t random = ((uint64_t)(unsigned char)name << 56) | (uint64_t)key << 32 | state->version;
    for (uint32_t at = 0; at < state->size_bytes; at += (uint32_t)sizeof(uint64_t)) {
        uint64_t word = random_next(&random);
        size_t left = state->size_bytes - at;
        memcpy(value + at, &word, left < sizeof word ? left : sizeof word);
    }
}

__attribute__((format(printf, 2, 3))) static void say(char wrong[CLIENT_MESSAGE_MAX],
                                                      const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wrong, CLIENT_MESSAGE_MAX, format, arguments);
    va_end(arguments);
}

/* ---- states ---- */

static bool state_visible(const struct client_state *state, uint32_t now_s) {
    return state->version != 0 && (state->expiry_s == 0 || state->expiry_s > now_s);
}

static struct client_state *key_last(struct client_key *key) {
    return &key->states[key->count - 1];
}

/* Drops the states before this number. */
static void key_raise(struct client_key *key, uint64_t number) {
    if (number <= key->first) {
        return;
    }
    uint32_t dropped = (uint32_t)(number - key->first);
    key->count -= dropped;
    key->first = number;
    memmove(key->states, key->states + dropped, key->count * sizeof *key->states);
}

/* The number of the last state that was written. */
static uint64_t key_written(const struct client_key *key) {
    return key->first + key->count - (key->pending ? 2 : 1);
}

static void key_begin(struct client_key *key, const struct client_state *state) {
    if (key->count == CLIENT_STATES_MAX) {
        abort(); /* the caller has not asked client_needs_sync */
    }
    key->states[key->count++] = *state;
    key->pending = true;
}

static void key_end(struct client_key *key, bool done) {
    key->count -= done ? 0 : 1;
    key->pending = false;
}

static void client_begin(struct client *client, unsigned key, const struct client_state *state) {
    pthread_mutex_lock(client->lock);
    key_begin(&client->view.key[key], state);
    pthread_mutex_unlock(client->lock);
}

static void client_end(struct client *client, unsigned key, bool done) {
    pthread_mutex_lock(client->lock);
    key_end(&client->view.key[key], done);
    pthread_mutex_unlock(client->lock);
}

static void client_note_cas(struct client *client, uint64_t cas) {
    if (cas <= client->highest_cas && client->wrong[0] == '\0') {
        say(client->wrong, "CAS %llu was given out again, or one above it: %llu",
            (unsigned long long)cas, (unsigned long long)client->highest_cas);
    }
    client->highest_cas = cas > client->highest_cas ? cas : client->highest_cas;
}

/* Compares the pool's answer with the expected answer. */
static void client_expect(struct client *client, const char *what, unsigned key, enum status status,
                          bool visible) {
    bool refused = status == STATUS_NO_MEMORY || status == STATUS_READ_ONLY;
    client->refused += status == STATUS_NO_MEMORY;
    bool right = status == (visible ? STATUS_OK : STATUS_NOT_FOUND) ||
                 (client->view.may_miss && status == STATUS_NOT_FOUND);
    if (!refused && !right && client->wrong[0] == '\0') {
        say(client->wrong, "%s of key %c:%u answered %d although it is %s", what, client->view.name,
            key, (int)status, visible ? "there" : "gone");
    }
}

/* ---- operations ---- */

static enum status client_store(struct client *client, struct pool *pool,
                                struct store_thread *thread, unsigned key,
                                const struct client_state *state, enum pool_store_mode mode) {
    static _Thread_local char value[CLIENT_VALUE_MAX];
    char text[CLIENT_KEY_TEXT];
    struct bytes name = key_text(text, client->view.name, key);
    struct item item = {0};
    fill_value(value, client->view.name, key, state);
    client_begin(client, key, state);
    store_thread_refresh(thread);
    pool_tick(pool, thread);
    enum status status = pool_store(pool, thread, name,
                                    &(struct pool_store){
                                        .mode = mode,
                                        .value = bytes_from(value, state->size_bytes),
                                        .client_flags = state->client_flags,
                                        .expiry_s = state->expiry_s,
                                    },
                                    &item);
    uint64_t cas = item.cas;
    store_thread_leave(thread);
    if (status == STATUS_OK && state_visible(state, environment_now_s())) {
        client_note_cas(client, cas);
    }
    client_end(client, key, status == STATUS_OK);
    return status;
}

static struct client_state client_new_state(struct client *client, uint32_t expiry_s,
                                            uint32_t size_bytes) {
    return (struct client_state){
        .version = ++client->version,
        .expiry_s = expiry_s,
        .client_flags = client->version % 3 == 0 ? client->version : 0,
        .size_bytes = size_bytes,
    };
}

enum status client_set(struct client *client, struct pool *pool, struct store_thread *thread,
                       unsigned key, uint32_t expiry_s, uint32_t size_bytes) {
    struct client_state state = client_new_state(client, expiry_s, size_bytes);
    enum status status = client_store(client, pool, thread, key, &state, POOL_SET);
    client_expect(client, "set", key, status, true);
    return status;
}

static enum status client_add(struct client *client, struct pool *pool, struct store_thread *thread,
                              unsigned key, uint32_t expiry_s, uint32_t size_bytes) {
    struct client_state state = client_new_state(client, expiry_s, size_bytes);
    bool visible = state_visible(key_last(&client->view.key[key]), environment_now_s());
    enum status status = client_store(client, pool, thread, key, &state, POOL_ADD);
    bool missed = visible && status == STATUS_OK && client->view.may_miss;
    client_expect(client, "add", key, status == STATUS_NOT_STORED ? STATUS_NOT_FOUND : status,
                  !visible || missed);
    return status;
}

enum status client_delete(struct client *client, struct pool *pool, struct store_thread *thread,
                          unsigned key) {
    char text[CLIENT_KEY_TEXT];
    struct client_state absent = {0};
    bool visible = state_visible(key_last(&client->view.key[key]), environment_now_s());
    client_begin(client, key, &absent);
    store_thread_refresh(thread);
    pool_tick(pool, thread);
    enum status status = pool_delete(pool, thread, key_text(text, client->view.name, key), NULL);
    store_thread_leave(thread);
    client_end(client, key, status == STATUS_OK);
    client_expect(client, "delete", key, status, visible);
    return status;
}

enum status client_touch(struct client *client, struct pool *pool, struct store_thread *thread,
                         unsigned key, uint32_t expiry_s) {
    char text[CLIENT_KEY_TEXT];
    struct client_state state = *key_last(&client->view.key[key]);
    bool visible = state_visible(&state, environment_now_s());
    state.expiry_s = expiry_s;
    client_begin(client, key, &state);
    struct pool_fetched fetched;
    store_thread_refresh(thread);
    pool_tick(pool, thread);
    enum status status =
        pool_fetch(pool, thread, key_text(text, client->view.name, key),
                   &(struct pool_fetch){.touch = true, .touch_expiry_s = expiry_s}, &fetched);
    store_thread_leave(thread);
    client_end(client, key, status == STATUS_OK);
    client_expect(client, "touch", key, status, visible);
    return status;
}

/* Begins a change of every key to "no item". It takes effect if the flush is done. */
static void client_begin_flush(struct client *client) {
    struct client_state absent = {0};
    pthread_mutex_lock(client->lock);
    for (unsigned key = 0; key < client->view.keys; key++) {
        key_begin(&client->view.key[key], &absent);
    }
    pthread_mutex_unlock(client->lock);
}

static void client_end_flush(struct client *client, bool done) {
    pthread_mutex_lock(client->lock);
    for (unsigned key = 0; key < client->view.keys; key++) {
        key_end(&client->view.key[key], done);
    }
    if (done) {
        client->view.flush_due_s = 0;
    }
    pthread_mutex_unlock(client->lock);
}

enum status client_flush(struct client *client, struct pool *pool, struct store_thread *thread,
                         uint32_t delay_s) {
    client->flush_unsettled = client->view.flush_due_s != 0;
    if (delay_s == 0) {
        client_begin_flush(client);
    } else {
        pthread_mutex_lock(client->lock);
        client->view.flush_due_s = environment_now_s() + delay_s;
        client->view.flush_certain = false;
        pthread_mutex_unlock(client->lock);
    }
    store_thread_refresh(thread);
    pool_tick(pool, thread);
    enum status status = pool_flush(pool, thread, environment_now_s() + delay_s);
    store_thread_leave(thread);
    if (delay_s == 0) {
        client_end_flush(client, status == STATUS_OK);
    } else if (status != STATUS_OK) {
        pthread_mutex_lock(client->lock);
        client->view.flush_due_s = 0;
        pthread_mutex_unlock(client->lock);
    }
    return status;
}

static uint32_t client_choose_expiry(struct client *client) {
    static const uint32_t spans_s[] = {10, 20, 400, 4000, 90000};
    uint64_t *random = &client->random;
    uint32_t now_s = environment_now_s();
    if (!random_chance(random, client->habits.expiring)) {
        return 0;
    }
    if (random_chance(random, client->habits.already)) {
        return now_s - random_below(random, 5);
    }
    uint32_t span_s = spans_s[random_below(random, sizeof spans_s / sizeof *spans_s)];
    return now_s + 1 + random_below(random, span_s);
}

enum status client_step(struct client *client, struct pool *pool, struct store_thread *thread) {
    const struct client_habits *habits = &client->habits;
    uint64_t *random = &client->random;
    client->operations++;
    unsigned key = random_below(random, habits->keys);
    uint32_t per_mille = random_below(random, 1000);
    if (per_mille < habits->flushes_per_mille + habits->delayed_per_mille) {
        /* Only one delayed flush may wait at a time. After a power cut it would be unknown which of
         * two flushes is due. */
        bool delayed = per_mille >= habits->flushes_per_mille && client->view.flush_due_s == 0;
        return client_flush(client, pool, thread, delayed ? 1 + random_below(random, 8) : 0);
    }
    uint32_t chosen = random_below(random, 100);
    if (chosen < habits->deletes) {
        return client_delete(client, pool, thread, key);
    }
    chosen -= habits->deletes;
    if (chosen < habits->touches) {
        return client_touch(client, pool, thread, key, client_choose_expiry(client));
    }
    chosen -= habits->touches;
    uint32_t size_bytes = random_below(random, habits->value_max_bytes + 1);
    uint32_t expiry_s = client_choose_expiry(client);
    if (chosen < habits->adds) {
        return client_add(client, pool, thread, key, expiry_s, size_bytes);
    }
    return client_set(client, pool, thread, key, expiry_s, size_bytes);
}

bool client_needs_sync(const struct client *client) {
    bool needs = false;
    pthread_mutex_lock(client->lock);
    for (unsigned key = 0; key < client->view.keys; key++) {
        needs = needs || client->view.key[key].count > CLIENT_STATES_MAX - 8;
    }
    pthread_mutex_unlock(client->lock);
    return needs;
}

bool client_flush_uncertain(const struct client *client) {
    pthread_mutex_lock(client->lock);
    bool uncertain =
        client->flush_unsettled || (client->view.flush_due_s != 0 && !client->view.flush_certain);
    pthread_mutex_unlock(client->lock);
    return uncertain;
}

/* ---- what is on the disk ---- */

void client_sync_begins(struct client *client, uint64_t *numbers) {
    pthread_mutex_lock(client->lock);
    for (unsigned key = 0; key < client->view.keys; key++) {
        numbers[key] = key_written(&client->view.key[key]);
    }
    pthread_mutex_unlock(client->lock);
}

void client_sync_ended(struct client *client, const uint64_t *numbers) {
    pthread_mutex_lock(client->lock);
    for (unsigned key = 0; key < client->view.keys; key++) {
        key_raise(&client->view.key[key], numbers[key]);
    }
    pthread_mutex_unlock(client->lock);
}

void client_acknowledge(struct client *client) {
    pthread_mutex_lock(client->lock);
    for (unsigned key = 0; key < client->view.keys; key++) {
        key_raise(&client->view.key[key], key_written(&client->view.key[key]));
    }
    client->view.flush_certain = true;
    client->flush_unsettled = false;
    pthread_mutex_unlock(client->lock);
}

void client_pass_time(struct client *client, struct pool *pool, struct store_thread *thread,
                      uint32_t by_s) {
    uint32_t now_s = environment_now_s() + by_s;
    uint32_t due_s = client->view.flush_due_s;
    bool falls_due = due_s != 0 && due_s <= now_s;
    if (falls_due) {
        client_begin_flush(client);
    }
    environment_set_s(now_s);
    store_thread_refresh(thread);
    pool_tick(pool, thread);
    store_thread_leave(thread);
    if (falls_due) {
        client_end_flush(client, true);
    }
    if (falls_due && client->view.flush_certain) {
        client_acknowledge(client); /* because the record of the delayed flush is on the disk */
    }
}

/* ---- comparing ---- */

static bool state_matches(const struct client_view *view, unsigned key,
                          const struct client_state *state, const struct item *item) {
    static _Thread_local char value[CLIENT_VALUE_MAX];
    if (item->expiry_s != state->expiry_s || item->client_flags != state->client_flags ||
        item->value.size != state->size_bytes) {
        return false;
    }
    fill_value(value, view->name, key, state);
    return bytes_equal(item->value, bytes_from(value, state->size_bytes));
}

static void describe(const struct client_view *view, unsigned key, const struct item *item,
                     uint32_t now_s, char wrong[CLIENT_MESSAGE_MAX]) {
    const struct client_key *known = &view->key[key];
    char text[CLIENT_MESSAGE_MAX];
    size_t at = 0;
    for (uint32_t i = 0; i < known->count && at < sizeof text - 60; i++) {
        const struct client_state *state = &known->states[i];
        at += (size_t)snprintf(text + at, sizeof text - at, " [%u until %u, %u bytes]",
                               state->version, state->expiry_s, state->size_bytes);
    }
    if (item == NULL) {
        say(wrong, "key %c:%u is missing at %u; it may be%s%s", view->name, key, now_s, text,
            known->pending ? " (being written)" : "");
    } else {
        say(wrong, "key %c:%u has %zu bytes until %u (CAS %llu) at %u; it may be%s%s", view->name,
            key, item->value.size, item->expiry_s, (unsigned long long)item->cas, now_s, text,
            known->pending ? " (being written)" : "");
    }
}

/* Which of the key's possible states the restart has left; NULL: none matches. */
static const struct client_state *find_state(const struct client_view *view, unsigned key,
                                             const struct item *item, uint32_t now_s) {
    static const struct client_state absent;
    const struct client_key *known = &view->key[key];
    bool flush_due = view->flush_due_s != 0 && view->flush_due_s <= now_s;
    if (item == NULL && (view->may_miss || flush_due)) {
        return &absent;
    }
    if (flush_due && view->flush_certain) {
        return NULL;
    }
    for (uint32_t i = known->count; i-- > 0;) {
        const struct client_state *state = &known->states[i];
        bool visible = state_visible(state, now_s);
        if (item == NULL && !visible) {
            return &absent;
        }
        if (item != NULL && visible && state_matches(view, key, state, item)) {
            return state;
        }
    }
    return NULL;
}

/* Looks one key up. `found` is its state. False: the key may not have that state. */
static bool compare_key(const struct client_view *view, unsigned key, struct pool *pool,
                        struct store_thread *thread, struct client_state *found,
                        char wrong[CLIENT_MESSAGE_MAX]) {
    char text[CLIENT_KEY_TEXT];
    struct item item;
    store_thread_refresh(thread);
    enum status status = pool_get(pool, thread, key_text(text, view->name, key), &item);
    const struct item *seen = status == STATUS_OK ? &item : NULL;
    const struct client_state *state = find_state(view, key, seen, thread->now_s);
    if (state == NULL) {
        describe(view, key, seen, thread->now_s, wrong);
    } else {
        *found = *state;
    }
    store_thread_leave(thread);
    return state != NULL;
}

bool client_compare(const struct client_view *view, struct pool *pool, struct store_thread *thread,
                    char wrong[CLIENT_MESSAGE_MAX]) {
    for (unsigned key = 0; key < view->keys; key++) {
        struct client_state found;
        if (!compare_key(view, key, pool, thread, &found, wrong)) {
            return false;
        }
    }
    return true;
}

bool client_resume(struct client *client, struct pool *pool, struct store_thread *thread,
                   char wrong[CLIENT_MESSAGE_MAX]) {
    uint32_t now_s = environment_now_s();
    for (unsigned key = 0; key < client->view.keys; key++) {
        struct client_state found;
        if (!compare_key(&client->view, key, pool, thread, &found, wrong)) {
            return false;
        }
        pthread_mutex_lock(client->lock);
        struct client_key *known = &client->view.key[key];
        *known = (struct client_key){
            .states = {found}, .count = 1, .first = known->first + known->count};
        pthread_mutex_unlock(client->lock);
    }
    if (client->view.flush_due_s <= now_s) {
        client->view.flush_due_s = 0;
    }
    return true;
}

bool client_examine(const struct client_view *views, unsigned count,
                    const struct pool_options *options, const unsigned char *image, size_t size,
                    uint32_t later_s, char wrong[CLIENT_MESSAGE_MAX]) {
    char path[ENVIRONMENT_FOLDER_MAX + POOL_NAME_MAX + 16];
    char error[POOL_ERROR_MAX];
    uint32_t now_s = environment_now_s();
    snprintf(path, sizeof path, "%s/%s.pool", options->data_dir, options->name);
    disk_write_file(path, image, size);
    snprintf(path, sizeof path, "%s/%s.index", options->run_dir, options->name);
    unlink(path);
    struct grace *grace = grace_create(1);
    struct store_thread thread;
    store_thread_init(&thread, grace, 0);
    environment_set_s(now_s + later_s);
    struct pool *pool = pool_open(options, grace, error);
    bool kept = pool != NULL;
    if (!kept) {
        say(wrong, "the pool can not be opened: %s", error);
    }
    for (unsigned i = 0; kept && i < count; i++) {
        kept = client_compare(&views[i], pool, &thread, wrong);
    }
    pool_close(pool);
    grace_destroy(grace);
    environment_set_s(now_s);
    return kept;
}
