#include "value.h"

#include <stdlib.h>

enum {
    VALUE_MAX = 1 << 30,
    VALUE_ROUND = 64,
    VALUE_STEP_BYTES =
        1 << 20 /* bytes to reserve at a time; or as many as have arrived, if that is more */
};

void stayd_value_free(struct stayd_value *value) {
    free(value->data);
    *value = (struct stayd_value){0};
}

void stayd_items_free(struct stayd_item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        stayd_value_free(&items[i].value);
    }
}

bool value_reserve(struct stayd_value *value, size_t size) {
    if (size >= value->capacity) {
        size_t capacity = (size + VALUE_ROUND) & ~(size_t)(VALUE_ROUND - 1);
        char *data = realloc(value->data, capacity);
        if (data == NULL) {
            return false;
        }
        value->data = data;
        value->capacity = capacity;
    }
    value->data[size] = '\0';
    value->size = size;
    return true;
}

bool value_receive(struct stayd_value *value, struct channel *channel, uint64_t size) {
    size_t done = 0;
    if (size > VALUE_MAX) {
        return channel_refuse(channel, "a value of more than 1 GiB");
    }
    do {
        size_t step = done > VALUE_STEP_BYTES ? done : VALUE_STEP_BYTES;
        step = step < size - done ? step : size - done;
        if (!value_reserve(value, done + step)) {
            return channel_lack_memory(channel);
        }
        if (!channel_copy(channel, value->data + done, step)) {
            return false;
        }
        done += step;
    } while (done < size);
    return true;
}
