#include "status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct status_field {
    const char *name; /* in the statistics */
    size_t offset;    /* in struct status_pool */
    size_t size;      /* of a text; 0: it is a number */
};

#define TEXT(name)                                                                                 \
    { #name, offsetof(struct status_pool, name), sizeof(((struct status_pool *)0)->name) }
#define NUMBER(name, member)                                                                       \
    { name, offsetof(struct status_pool, member), 0 }

/* memcached reports less than stayd, so some numbers have two sources; the last one is preferred.
 */
static const struct status_field fields[] = {
    TEXT(pool),
    TEXT(stayd_version),
    TEXT(evict),
    TEXT(persist),
    TEXT(full),
    TEXT(read_only),
    NUMBER("curr_items", items),
    NUMBER("bytes", live_bytes),
    NUMBER("limit_maxbytes", capacity_bytes),
    NUMBER("capacity_bytes", capacity_bytes),
    NUMBER("cmd_get", lookups),
    NUMBER("get_hits", hits),
    NUMBER("evictions", evictions),
};

static void status_take(void *user, const char *name, const char *value) {
    struct status_pool *status = user;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct status_field *field = &fields[i];
        if (strcmp(field->name, name) != 0) {
            continue;
        }
        char *place = (char *)status + field->offset;
        if (field->size > 0) {
            snprintf(place, field->size, "%s", value);
        } else {
            *(uint64_t *)(void *)place = strtoull(value, NULL, 10);
        }
    }
}

enum stayd_status status_read(struct stayd *client, struct status_pool *status,
                              struct stayd_error *error) {
    *status = (struct status_pool){0};
    return stayd_stats(client, 0, NULL, status_take, status, error);
}

static void status_format_bytes(uint64_t bytes, char *text, size_t size) {
    static const char units[] = " KMGT";
    double number = (double)bytes;
    unsigned unit = 0;
    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    if (unit == 0) {
        snprintf(text, size, "%" PRIu64, bytes);
    } else {
        snprintf(text, size, "%.1f%c", number, units[unit]);
    }
}

static const char *status_word(const struct status_pool *status) {
    if (strcmp(status->read_only, "yes") == 0) {
        return "READ-ONLY";
    }
    return strcmp(status->full, "yes") == 0 ? "FULL" : "ok";
}

static void status_print_line(const char *name, const char *url, const struct status_pool *status) {
    char live[16];
    char capacity[16];
    char memory[40];
    char hits[16] = "-";
    status_format_bytes(status->live_bytes, live, sizeof live);
    status_format_bytes(status->capacity_bytes, capacity, sizeof capacity);
    snprintf(memory, sizeof memory, "%s of %s", live, capacity);
    if (status->lookups > 0) {
        snprintf(hits, sizeof hits, "%.1f%%",
                 100.0 * (double)status->hits / (double)status->lookups);
    }
    printf("%-16s %-10s %10" PRIu64 " %16s %7s %10" PRIu64 "  %s\n", name, status_word(status),
           status->items, memory, hits, status->evictions, url);
}

bool status_print(const struct target_list *list) {
    struct stayd_error errors[CONFIG_POOLS_MAX] = {0};
    bool well = true;
    bool unreached = false;
    printf("%-16s %-10s %10s %16s %7s %10s  %s\n", "POOL", "STATE", "ITEMS", "MEMORY", "HITS",
           "EVICTIONS", "ADDRESS");
    for (unsigned i = 0; i < list->count; i++) {
        const struct target *target = &list->items[i];
        const char *url;
        struct status_pool status;
        struct stayd *client = target_open(target, &url, &errors[i]);
        if (client != NULL && status_read(client, &status, &errors[i]) == STAYD_OK) {
            const char *name = status.pool[0] != '\0' ? status.pool : target->name;
            status_print_line(name, url, &status);
            errors[i].message[0] = '\0'; /* the error of an address that was tried before */
            well = well && strcmp(status_word(&status), "ok") == 0;
        } else {
            unreached = unreached || url == NULL;
            printf("%-16s %-10s %10s %16s %7s %10s  %s\n", target->name, "DOWN", "-", "-", "-", "-",
                   target->url_count > 0 ? target->urls[target->url_count - 1] : "-");
            well = false;
        }
        stayd_close(client);
    }
    fflush(stdout);
    for (unsigned i = 0; i < list->count; i++) {
        if (errors[i].message[0] != '\0') {
            fprintf(stderr, "stayctl: pool %s: %s\n", list->items[i].name, errors[i].message);
        }
    }
    if (unreached) {
        fputs(TARGET_ADVICE, stderr);
    }
    return well;
}
