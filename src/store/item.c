#include "store/item.h"

#include "store/pool.h"

void item_describe(const struct record *record, unsigned frequency, struct item *item) {
    *item = (struct item){
        .key = record->key,
        .value = record->value,
        .client_flags = record->client_flags,
        .expiry_s = record->expiry_s,
        .accessed_s = record->accessed_s,
        .cas = record->cas != 0 ? record->cas : record->sequence,
        .fetched = frequency > 0,
        .stale = record->stale,
        .token_sent = record->token_sent,
    };
}
