/* stayd.h's memory of values. */
#include "stayd.h"

#include <stdlib.h>

void stayd_value_free(struct stayd_value *value) {
    free(value->data);
    *value = (struct stayd_value){0};
}

void stayd_items_free(struct stayd_item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        stayd_value_free(&items[i].value);
    }
}
