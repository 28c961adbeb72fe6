#include "base/clock.h"
#include "base/log.h"
#include "offline.h"
#include "verify.h"
#include "words.h"

#include <stdio.h>

struct check {
    const char *path;
    struct inspect *inspect;
    struct inspect_counts counts;
    struct progress progress;
    json_t *faults; /* the faults so far; NULL: they are printed */
    bool counted;   /* the items were counted: */
    uint64_t live;
    uint64_t expired;
};

static void check_report(void *context, uint32_t segment, uint64_t offset, const char *what) {
    struct check *check = context;
    if (check->faults != NULL) {
        json_array_append_new(check->faults, json_pack("{s:i, s:I, s:s}", "segment", (int)segment,
                                                       "offset", (json_int_t)offset, "what", what));
        return;
    }
    progress_clear(&check->progress);
    printf("%s: segment %u, at byte %llu: %s\n", check->path, segment, (unsigned long long)offset,
           what);
}

static void check_count_items(struct check *check, char error[POOL_ERROR_MAX]) {
    check->counted = inspect_index(check->inspect, error);
    if (check->counted) {
        inspect_count_items(check->inspect, clock_unix_s(), &check->live, &check->expired);
    }
}

static void check_print_items(const struct check *check, const char *error) {
    if (check->counted) {
        printf("  items      %llu live, %llu expired\n", (unsigned long long)check->live,
               (unsigned long long)check->expired);
    } else if (error[0] != '\0') {
        printf("  items      not counted: %s\n", error);
    }
}

static void check_print_counts(const struct check *check) {
    const struct inspect_counts *counts = &check->counts;
    printf("  segments   %u used, %u free\n", counts->segments_used, counts->segments_free);
    printf("  records    %llu values, %llu tombstones, %llu flushes\n",
           (unsigned long long)counts->values, (unsigned long long)counts->tombstones,
           (unsigned long long)counts->flushes);
    printf("  torn       %llu bytes\n", (unsigned long long)counts->torn_bytes);
    printf("  left over  %llu bytes of old records behind the last one\n",
           (unsigned long long)counts->stale_bytes);
}

static int check_conclude(const struct check *check, bool readable) {
    unsigned long long faults = check->counts.faults;
    if (!readable) {
        printf("%s cannot be read as a whole: %llu faults\n", check->path, faults);
        return EXIT_WRONG;
    }
    if (faults > 0) {
        printf("%s is damaged: %llu faults. A write that a crash interrupted looks the same; stayd "
               "skips these bytes, and keeps the rest\n",
               check->path, faults);
        return EXIT_FAULT;
    }
    printf("%s has no faults\n", check->path);
    return 0;
}

static void check_print(const struct check *check, const char *error) {
    const struct inspect_about *about = inspect_about(check->inspect);
    printf("%s: pool %s, %u segments of %uK, items of up to %uK\n", check->path, about->name,
           about->segment_count, about->segment_bytes >> 10, about->item_max_bytes >> 10);
    check_print_items(check, error);
    check_print_counts(check);
}

static int check_print_json(struct check *check, bool readable) {
    const struct inspect_counts *counts = &check->counts;
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "file", check->path, "pool",
        inspect_about(check->inspect)->name, "ok", readable && counts->faults == 0, "values",
        (json_int_t)counts->values, "tombstones", (json_int_t)counts->tombstones, "torn_bytes",
        (json_int_t)counts->torn_bytes, "faults", check->faults);
    if (object != NULL && check->counted) {
        json_object_set_new(object, "live_items", json_integer((json_int_t)check->live));
        json_object_set_new(object, "expired_items", json_integer((json_int_t)check->expired));
    }
    if (!words_print_json(object)) {
        return EXIT_FAULT;
    }
    if (!readable) {
        return EXIT_WRONG;
    }
    return counts->faults > 0 ? EXIT_FAULT : 0;
}

int check_run(const char *path, const struct invocation *invocation) {
    char error[POOL_ERROR_MAX] = "";
    struct check check = {.path = path, .inspect = inspect_open(path, INSPECT_UNUSED, error)};
    if (check.inspect == NULL) {
        fprintf(stderr, "stayctl: %s\n", error);
        return EXIT_WRONG;
    }
    check.faults = invocation->json ? json_array() : NULL;
    log_set_level(LOG_LEVEL_WARNING);
    bool readable = verify_segments(check.inspect, VERIFY_ALL, &check.progress, &check.counts,
                                    check_report, &check);
    if (readable) {
        check_count_items(&check, error);
    }
    int result;
    if (invocation->json) {
        result = check_print_json(&check, readable);
    } else {
        check_print(&check, error);
        result = check_conclude(&check, readable);
    }
    inspect_close(check.inspect);
    return result;
}
