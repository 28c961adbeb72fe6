#include "model.h"

#include "base/number.h"

static const char *operation_names[] = {
    "get",   "set",   "add",    "replace",       "append",     "prepend", "set if cas",
    "touch", "count", "delete", "delete if cas", "invalidate", "fetch",   "read another's"};
enum operation {
    OPERATION_GET,
    OPERATION_SET,
    OPERATION_ADD,
    OPERATION_REPLACE,
    OPERATION_APPEND,
    OPERATION_PREPEND,
    OPERATION_CAS,
    OPERATION_TOUCH,
    OPERATION_COUNT,
    OPERATION_DELETE,
    OPERATION_DELETE_CAS,
    OPERATION_INVALIDATE,
    OPERATION_FETCH,
    OPERATION_READ_OTHER,
    OPERATIONS
};

static uint32_t any_expiry(struct actor *actor) {
    uint32_t now_s = actor->thread.now_s;
    switch (random_below(&actor->random, 8)) {
    case 0:
    case 1:
        return 0;
    case 2:
        return now_s + 1 + random_below(&actor->random, 6);
    case 3:
        return now_s + random_below(&actor->random, 400);
    case 4:
        return now_s + 1000 + random_below(&actor->random, 80000);
    case 5:
        return random_below(&actor->random, 5) == 0 ? 1 : now_s + 2;
    default:
        return now_s + 100000 + random_below(&actor->random, 3000000);
    }
}

static bool is_large(unsigned key) {
    return key % MODEL_LARGE == 0;
}

static uint32_t any_size(struct actor *actor, unsigned key) {
    if (is_large(key)) {
        return 4096 + random_below(&actor->random, 1000);
    }
    return random_below(&actor->random, random_below(&actor->random, 6) == 0 ? 2980 : 900);
}

static void fill_value(struct actor *actor, unsigned key, struct model_state *state) {
    state->size = any_size(actor, key);
    if (random_below(&actor->random, 5) == 0) {
        state->size = (uint32_t)number_format_u64(random_next(&actor->random) >> 40, state->value);
    } else {
        number_value(state->value, state->size, (unsigned)random_next(&actor->random), 0);
    }
}

/* A change that finds no room changes nothing. Checks that this change may be refused at all. */
static bool was_refused(enum status status, bool there, unsigned key, const char *what) {
    if (status != STATUS_NO_MEMORY) {
        return false;
    }
    AGREE(!model_setup.evict, key, what);
    AGREE(!there, key, what); /* updates go on */
    atomic_fetch_add(&model->refused, 1);
    return true;
}

void model_get(struct actor *actor, unsigned key, const char *what) {
    char text[POOL_KEY_MAX];
    struct item item;
    enum status status = pool_get(store.pool, &actor->thread, model_key_text(text, key), &item);
    bool there = model_is_there(actor, key);
    if (status == STATUS_OK) {
        AGREE(there, key, what);
        AGREE(model_item_is(&item, model_now(key)), key, what);
    } else if (there) {
        AGREE(model_setup.evict, key, what);
        model_forget(actor, key);
    }
}

static void do_store(struct actor *actor, unsigned key, enum operation operation,
                     const char *what) {
    static const enum pool_store_mode modes[] = {
        [OPERATION_SET] = POOL_SET,       [OPERATION_CAS] = POOL_SET,
        [OPERATION_ADD] = POOL_ADD,       [OPERATION_REPLACE] = POOL_REPLACE,
        [OPERATION_APPEND] = POOL_APPEND, [OPERATION_PREPEND] = POOL_PREPEND};
    char text[POOL_KEY_MAX];
    bool there = model_is_there(actor, key);
    const struct model_state *old = model_now(key);
    struct model_state *next = model_begin(actor, key);
    struct pool_store request = {.mode = modes[operation], .expiry_s = any_expiry(actor)};
    bool joins = operation == OPERATION_APPEND || operation == OPERATION_PREPEND;
    if (joins) {
        uint32_t size = random_below(&actor->random, 200);
        if (old->size + size > (is_large(key) ? MODEL_VALUE_MAX : 3000)) {
            return;
        }
        number_value(actor->value, size, (unsigned)random_next(&actor->random), 1);
        request.value = bytes_from(actor->value, size);
        if (operation == OPERATION_APPEND) {
            memcpy(next->value + old->size, actor->value, size);
        } else {
            memcpy(next->value, actor->value, size);
            memcpy(next->value + size, old->value, old->size);
        }
        next->size = old->size + size;
    } else {
        fill_value(actor, key, next);
        request.value = bytes_from(next->value, next->size);
        request.client_flags =
            random_below(&actor->random, 2) ? (uint32_t)random_next(&actor->random) : 0;
        next->client_flags = request.client_flags;
        next->expiry_s = request.expiry_s;
    }
    next->stale = false;
    next->token_sent = false;
    next->present = true;
    bool right_cas = old->cas != 0 && random_below(&actor->random, 4) != 0;
    if (operation == OPERATION_CAS) {
        request.compare_cas = true;
        request.cas = right_cas ? old->cas : random_next(&actor->random);
    }
    model_announce(actor, key);
    struct item item;
    enum status status =
        pool_store(store.pool, &actor->thread, model_key_text(text, key), &request, &item);
    if (model_setup.evict && there &&
        (status == STATUS_NOT_FOUND ||
         (status == STATUS_NOT_STORED && operation != OPERATION_ADD) ||
         (status == STATUS_OK && operation == OPERATION_ADD))) {
        there = false;
    }
    bool stored = false;
    switch (operation) {
    case OPERATION_ADD:
        stored = !there;
        break;
    case OPERATION_SET:
        stored = true;
        break;
    case OPERATION_CAS:
        stored = there && right_cas;
        break;
    default:
        stored = there;
        break;
    }
    if (stored && was_refused(status, there, key, what)) {
        model_end(actor, key, false);
        return;
    }
    enum status expected = stored                                ? STATUS_OK
                           : operation == OPERATION_CAS && there ? STATUS_EXISTS
                           : operation == OPERATION_CAS          ? STATUS_NOT_FOUND
                                                                 : STATUS_NOT_STORED;
    AGREE(status == expected, key, what);
    if (status == STATUS_OK) {
        model_note_cas(key, what, &item, next);
    }
    next->present = stored || there;
    if (!stored) {
        if (!there && old->present) {
            next->present = false;
            model_end(actor, key, true);
            return;
        }
        model_end(actor, key, false);
        return;
    }
    model_end(actor, key, true);
}

static void do_touch(struct actor *actor, unsigned key, bool fetch, const char *what) {
    char text[POOL_KEY_MAX];
    bool there = model_is_there(actor, key);
    struct model_state *next = model_begin(actor, key);
    next->cas = model_now(key)->cas;
    struct pool_fetch request = {
        .touch = !fetch || random_below(&actor->random, 2),
        .touch_expiry_s = any_expiry(actor),
        .recache = fetch && random_below(&actor->random, 2),
        .recache_s = random_below(&actor->random, 1000),
        .create = fetch && random_below(&actor->random, 2),
        .create_expiry_s = any_expiry(actor),
        .win_stale = fetch,
    };
    if (request.touch) {
        next->expiry_s = request.touch_expiry_s;
    }
    uint32_t now_s = actor->thread.now_s;
    bool soon = request.recache && next->expiry_s != 0 &&
                next->expiry_s < (uint64_t)now_s + request.recache_s;
    bool won = !next->token_sent && ((request.win_stale && next->stale) || soon);
    next->token_sent = next->token_sent || won;
    struct model_state created = {.present = true, .expiry_s = request.create_expiry_s};
    created.token_sent = true;
    if (!there) {
        *next = request.create ? created : *next;
    }
    model_announce(actor, key);
    struct pool_fetched fetched;
    enum status status =
        pool_fetch(store.pool, &actor->thread, model_key_text(text, key), &request, &fetched);
    if (model_setup.evict && there && (status == STATUS_NOT_FOUND || fetched.created)) {
        there = false;
        *next = request.create ? created : *next;
    }
    if (was_refused(status, there, key, what)) {
        model_end(actor, key, false);
        return;
    }
    AGREE(status == (there || request.create ? STATUS_OK : STATUS_NOT_FOUND), key, what);
    if (status != STATUS_OK) {
        next->present = false;
        model_end(actor, key, true);
        return;
    }
    AGREE(fetched.created == !there, key, what);
    AGREE(fetched.won == (won || !there), key, what);
    AGREE(model_item_is(&fetched.item, next) || !model_is_visible(next, now_s), key, what);
    if (!there) {
        model_note_cas(key, what, &fetched.item, next);
    }
    model_end(actor, key, true);
}

static void do_count(struct actor *actor, unsigned key, const char *what) {
    char text[POOL_KEY_MAX];
    bool there = model_is_there(actor, key);
    struct model_state *next = model_begin(actor, key);
    uint64_t before;
    bool numeric = number_parse_u64(bytes_from(next->value, next->size), &before);
    if (there && !numeric) {
        return; /* the tests of operations test which values are numbers */
    }
    struct pool_arithmetic request = {
        .delta = random_next(&actor->random) >> 34,
        .decrement = random_below(&actor->random, 2),
    };
    uint64_t after = !request.decrement       ? before + request.delta
                     : before > request.delta ? before - request.delta
                                              : 0;
    uint32_t old_size = next->size;
    next->size = (uint32_t)number_format_u64(after, next->value);
    while (next->size < old_size) {
        next->value[next->size++] = ' ';
    }
    model_announce(actor, key);
    uint64_t number;
    struct pool_fetched fetched;
    enum status status = pool_arithmetic(store.pool, &actor->thread, model_key_text(text, key),
                                         &request, &number, &fetched);
    if (status == STATUS_NOT_FOUND && (!there || model_setup.evict)) {
        next->present = false;
        model_end(actor, key, true);
        return;
    }
    AGREE(status == STATUS_OK && there, key, what);
    AGREE(number == after, key, what);
    AGREE(model_item_is(&fetched.item, next), key, what);
    model_note_cas(key, what, &fetched.item, next);
    model_end(actor, key, true);
}

static void do_delete(struct actor *actor, unsigned key, enum operation operation,
                      const char *what) {
    char text[POOL_KEY_MAX];
    bool there = model_is_there(actor, key);
    const struct model_state *old = model_now(key);
    struct model_state *next = model_begin(actor, key);
    bool right_cas = old->cas != 0 && random_below(&actor->random, 4) != 0;
    struct pool_delete request = {0};
    if (operation == OPERATION_DELETE_CAS) {
        request.compare_cas = true;
        request.cas = right_cas ? old->cas : random_next(&actor->random);
    }
    if (operation == OPERATION_INVALIDATE) {
        request.invalidate = true;
        request.touch = random_below(&actor->random, 2);
        request.touch_expiry_s = any_expiry(actor);
        next->stale = true;
        next->token_sent = false;
        next->expiry_s = request.touch ? request.touch_expiry_s : next->expiry_s;
    } else {
        next->present = false;
    }
    model_announce(actor, key);
    enum status status =
        pool_delete(store.pool, &actor->thread, model_key_text(text, key), &request);
    if (status == STATUS_NOT_FOUND) {
        AGREE(!there || model_setup.evict, key, what);
        next->present = false;
        model_end(actor, key, true);
        return;
    }
    AGREE(there, key, what);
    bool wrong = operation == OPERATION_DELETE_CAS && !right_cas;
    AGREE(status == (wrong ? STATUS_EXISTS : STATUS_OK), key, what);
    model_end(actor, key, !wrong);
}

/* Another thread writes the key, so any value is right. The test is that its memory can be read. */
static void do_read_other(struct actor *actor) {
    char text[POOL_KEY_MAX];
    struct item item;
    unsigned key = random_below(&actor->random, MODEL_KEYS);
    if (pool_get(store.pool, &actor->thread, model_key_text(text, key), &item) == STATUS_OK) {
        volatile unsigned sum = 0;
        for (size_t i = 0; i < item.value.size; i++) {
            sum += (unsigned char)item.value.data[i];
        }
        (void)sum;
    }
}

void model_operate(struct actor *actor) {
    unsigned per_thread = MODEL_KEYS / model_setup.threads;
    unsigned key = actor->index * per_thread + random_below(&actor->random, per_thread);
    enum operation operation = (enum operation)random_below(&actor->random, OPERATIONS);
    if (random_below(&actor->random, 8) == 0) {
        key -= key % MODEL_LARGE;
        operation = random_below(&actor->random, 2) ? OPERATION_TOUCH : operation;
    }
    const char *what = operation_names[operation];
    if (random_below(&actor->random, 4) == 0) {
        store_thread_refresh(&actor->thread); /* a batch of some operations */
    }
    switch (operation) {
    case OPERATION_GET:
        model_get(actor, key, what);
        break;
    case OPERATION_SET:
    case OPERATION_ADD:
    case OPERATION_REPLACE:
    case OPERATION_APPEND:
    case OPERATION_PREPEND:
    case OPERATION_CAS:
        do_store(actor, key, operation, what);
        break;
    case OPERATION_TOUCH:
    case OPERATION_FETCH:
        do_touch(actor, key, operation == OPERATION_FETCH, what);
        break;
    case OPERATION_COUNT:
        do_count(actor, key, what);
        break;
    case OPERATION_DELETE:
    case OPERATION_DELETE_CAS:
    case OPERATION_INVALIDATE:
        do_delete(actor, key, operation, what);
        break;
    default:
        do_read_other(actor);
        break;
    }
}
