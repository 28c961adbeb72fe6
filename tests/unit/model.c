#include "model.h"

struct model *model;
struct store store;
struct model_setup model_setup;
uint64_t model_seed;

void model_agree(bool holds, const char *condition, unsigned key, const char *what,
                 const char *file, int line) {
    if (!holds) {
        fprintf(stderr, "%s, seed %llu: key %u, %s: does not hold: ", model_setup.name,
                (unsigned long long)model_seed, key, what);
        expect(false, condition, file, line);
    }
}

struct bytes model_key_text(char text[POOL_KEY_MAX], unsigned key) {
    size_t size = (size_t)snprintf(text, POOL_KEY_MAX, "key-%u-", key);
    size_t length = key % 7 == 0 ? 60 + key * 13 % 190 : size;
    while (size < length) {
        text[size++] = 'x';
    }
    return bytes_from(text, size);
}

struct model_state *model_now(unsigned key) {
    return &model->keys[key].states[atomic_load(&model->keys[key].current)];
}

struct model_state *model_next(unsigned key) {
    return &model->keys[key].states[!atomic_load(&model->keys[key].current)];
}

bool model_is_visible(const struct model_state *state, uint32_t now_s) {
    return state->present && (state->expiry_s == 0 || state->expiry_s > now_s);
}

bool model_item_is(const struct item *item, const struct model_state *state) {
    return bytes_equal(item->value, bytes_from(state->value, state->size)) &&
           item->client_flags == state->client_flags && item->expiry_s == state->expiry_s &&
           item->stale == state->stale && item->token_sent == state->token_sent &&
           (state->cas == 0 || item->cas == state->cas);
}

struct model_state *model_begin(struct actor *actor, unsigned key) {
    struct model_state *next = model_next(key);
    *next = *model_now(key);
    next->cas = 0;
    (void)actor;
    return next;
}

void model_note_cas(unsigned key, const char *what, const struct item *item,
                    struct model_state *next) {
    uint64_t seen = atomic_load(&model->cas_max);
    AGREE(item->cas != 0, key, what);
    next->cas = item->cas;
    while (seen < item->cas && !atomic_compare_exchange_weak(&model->cas_max, &seen, item->cas)) {
    }
}

void model_announce(struct actor *actor, unsigned key) {
    atomic_store(&model->under_way[actor->index], (int)key);
}

void model_end(struct actor *actor, unsigned key, bool changed) {
    if (changed) {
        atomic_fetch_xor(&model->keys[key].current, 1);
    }
    atomic_store(&model->under_way[actor->index], -1);
}

void model_forget(struct actor *actor, unsigned key) {
    struct model_state *next = model_begin(actor, key);
    next->present = false;
    model_end(actor, key, true);
}

bool model_is_there(struct actor *actor, unsigned key) {
    return model_is_visible(model_now(key), actor->thread.now_s);
}
