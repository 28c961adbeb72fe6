#include "proto/dump.h"

#include "base/clock.h"
#include "proto/base64.h"
#include "proto/reply.h"
#include "proto/uri.h"
#include "store/scan.h"

#include <stdlib.h>

enum {
    DUMP_BUCKETS = 512,          /* of the index, in one step: some 2500 items */
    DUMP_STEP_BYTES = 64 << 10,  /* bytes of replies after which a step ends */
    DUMP_LINE_MAX = 1024,        /* a key with three characters for each byte, and seven numbers */
    DUMP_CLASS_MAX = 63,         /* memcached's largest class of slabs */
    DUMP_SIZE_STEP = 32,         /* in bytes, of the counters of `stats sizes` */
    DUMP_HISTOGRAMS_MAX = 8,     /* of one pool at a time: each takes a quarter of item_max */
    DUMP_STALLED_MS = 2000,      /* a dump without a step for so long may be replaced */
    DUMP_SLEEP_MAX_US = 1000000, /* memcached's */
};

_Static_assert(DUMP_LINE_MAX > URI_KEY_MAX + 7 * NUMBER_DIGITS_MAX + 64, "a line fits");

#define REPLY_DUMP_RUNS "BUSY currently processing crawler request\r\n" /* memcached's */

/* One step of a dump. */
struct dump_step {
    struct request *request;
    bool failed; /* no memory for a line */
};

static bool dump_includes(const struct proto_dump *dump, const struct pool_scanned *scanned) {
    return (dump->classes & 1U << scanned->ttl_class) != 0;
}

static void dump_put_metadata(struct dump_step *step, const struct pool_scanned *scanned) {
    struct buffer *replies = step->request->replies;
    const struct item *item = &scanned->item;
    if (!reply_reserve(replies, DUMP_LINE_MAX)) {
        step->failed = true;
        return;
    }
    char *at = replies->data + replies->size;
    at = uri_put(reply_put_text(at, "key="), item->key);
    at = reply_put_text(at, " exp=");
    at = item->expiry_s == 0 ? reply_put_text(at, "-1") : reply_put_number(at, item->expiry_s);
    at = reply_put_number(reply_put_text(at, " la="), item->accessed_s);
    at = reply_put_number(reply_put_text(at, " cas="), item->cas);
    at = reply_put_text(at, item->fetched ? " fetch=yes" : " fetch=no");
    at = reply_put_number(reply_put_text(at, " cls="), scanned->ttl_class + 1);
    at = reply_put_number(reply_put_text(at, " size="), scanned->record_bytes);
    at = reply_put_number(reply_put_text(at, " flags="), item->client_flags);
    at = reply_put_text(at, "\n"); /* memcached ends these lines with \n alone */
    replies->size = (size_t)(at - replies->data);
}

/* Whether a key can be written in a text request without encoding. */
static bool dump_key_is_text(struct bytes key) {
    for (size_t i = 0; i < key.size; i++) {
        unsigned char byte = (unsigned char)key.data[i];
        if (byte <= ' ' || byte == 127) {
            return false;
        }
    }
    return true;
}

static void dump_put_key(struct dump_step *step, const struct pool_scanned *scanned) {
    struct buffer *replies = step->request->replies;
    struct bytes key = scanned->item.key;
    if (!reply_reserve(replies, DUMP_LINE_MAX)) {
        step->failed = true;
        return;
    }
    char *at = reply_put_text(replies->data + replies->size, "mg ");
    if (dump_key_is_text(key)) {
        at = reply_put(at, key.data, key.size);
    } else {
        base64_encode(key, at);
        at = reply_put_text(at + base64_encoded_size(key.size), " b");
    }
    at = reply_put_text(at, "\r\n");
    replies->size = (size_t)(at - replies->data);
}

/* Leaves out keys that are not text: a reader could not tell where such a key ends. */
static void dump_put_item(struct dump_step *step, const struct pool_scanned *scanned) {
    struct buffer *replies = step->request->replies;
    struct proto_dump *dump = &step->request->progress->dump;
    const struct item *item = &scanned->item;
    if (dump->left == 0 || !dump_key_is_text(item->key)) {
        return;
    }
    if (!reply_reserve(replies, DUMP_LINE_MAX)) {
        step->failed = true;
        return;
    }
    dump->left--;
    char *at = reply_put_text(replies->data + replies->size, "ITEM ");
    at = reply_put_text(reply_put(at, item->key.data, item->key.size), " [");
    at = reply_put_text(reply_put_number(at, item->value.size), " b; ");
    at = reply_put_text(reply_put_number(at, item->expiry_s), " s]\r\n");
    replies->size = (size_t)(at - replies->data);
}

static void dump_visit(void *context, const struct pool_scanned *scanned) {
    struct dump_step *step = context;
    struct proto_dump *dump = &step->request->progress->dump;
    if (!dump_includes(dump, scanned)) {
        return;
    }
    switch (dump->kind) {
    case PROTO_DUMP_METADATA:
        dump_put_metadata(step, scanned);
        break;
    case PROTO_DUMP_KEYS:
        dump_put_key(step, scanned);
        break;
    case PROTO_DUMP_ITEMS:
        dump_put_item(step, scanned);
        break;
    case PROTO_DUMP_SIZES: {
        size_t place = (scanned->record_bytes - 1) / DUMP_SIZE_STEP;
        dump->sizes[place < dump->sizes_count ? place : dump->sizes_count - 1]++;
        break;
    }
    }
}

/* NULL: memory is short, or the pool has its maximum of histograms. */
static uint64_t *dump_create_sizes(struct proto_service *service, size_t count) {
    uint64_t *sizes = NULL;
    if (atomic_fetch_add(&service->histograms, 1) < DUMP_HISTOGRAMS_MAX) {
        sizes = calloc(count, sizeof *sizes);
    }
    if (sizes == NULL) {
        atomic_fetch_sub(&service->histograms, 1);
    }
    return sizes;
}

static void dump_destroy_sizes(struct proto_service *service, struct proto_dump *dump) {
    if (dump->sizes != NULL) {
        free(dump->sizes);
        dump->sizes = NULL;
        atomic_fetch_sub(&service->histograms, 1);
    }
}

/* A pool has one dump at a time, as in memcached: otherwise two hundred clients with a dump each
 * could take all CPU time. A dump whose client does not read is replaced by the next dump;
 * otherwise it would block the others. Returns the number of the new dump; 0: another dump is
 * running. */
static uint64_t dump_take_turn(struct proto_service *service) {
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t running = atomic_load(&service->dump);
    if (running != 0 && now_ms - atomic_load(&service->dump_stepped_ms) < DUMP_STALLED_MS) {
        return 0;
    }
    uint64_t number = atomic_fetch_add(&service->dumps_started, 1) + 1;
    atomic_store(&service->dump_stepped_ms, now_ms);
    return atomic_compare_exchange_strong(&service->dump, &running, number) ? number : 0;
}

static void dump_leave_turn(struct proto_service *service, uint64_t number) {
    atomic_compare_exchange_strong(&service->dump, &number,
                                   0); /* fails if another dump has replaced it */
}

/* lru_crawler_starts of `stats` */
static void crawler_count(struct proto_service *service) {
    atomic_fetch_add_explicit(&service->crawls, 1, memory_order_relaxed); /* a number */
}

static enum request_end dump_begin(struct request *request, enum proto_dump_kind kind,
                                   uint32_t classes) {
    struct proto_service *service = request->connection->service;
    struct proto_dump *dump = &request->progress->dump;
    uint64_t number = dump_take_turn(service);
    if (number == 0) {
        reply_text(request, REPLY_DUMP_RUNS);
        return REQUEST_DONE;
    }
    *dump = (struct proto_dump){.kind = kind, .classes = classes, .number = number};
    if (kind == PROTO_DUMP_SIZES) {
        /* One counter for each 32 bytes of the largest record: item_max and less than 100 bytes. */
        dump->sizes_count = request->connection->item_max_bytes / DUMP_SIZE_STEP + 4;
        dump->sizes = dump_create_sizes(service, dump->sizes_count);
        if (dump->sizes == NULL) {
            dump_leave_turn(service, number);
            reply_text(request, "SERVER_ERROR out of memory writing stats\r\n");
            return REQUEST_DONE;
        }
    }
    if (kind == PROTO_DUMP_METADATA || kind == PROTO_DUMP_KEYS) {
        crawler_count(service);
        reply_text(request, "OK\r\n");
    }
    request->progress->phase = PROTO_PHASE_DUMP;
    return REQUEST_PAUSED;
}

enum request_end dump_begin_sizes(struct request *request) {
    return dump_begin(request, PROTO_DUMP_SIZES, UINT32_MAX);
}

void dump_abandon(struct proto_connection *connection) {
    struct proto_dump *dump = &connection->progress.dump;
    if (connection->progress.phase == PROTO_PHASE_DUMP) {
        connection->progress.phase = PROTO_PHASE_LINE;
        dump_leave_turn(connection->service, dump->number);
    }
    dump_destroy_sizes(connection->service, dump);
}

/* All items have been visited. Writes as much of the histogram as fits a step. True: all of it is
 * written. */
static bool dump_finish(struct request *request) {
    struct proto_dump *dump = &request->progress->dump;
    for (; dump->sizes_told < dump->sizes_count; dump->sizes_told++) {
        if (request->replies->size >= DUMP_STEP_BYTES) {
            return false;
        }
        if (dump->sizes[dump->sizes_told] > 0 && reply_reserve(request->replies, 0)) {
            char *at = reply_put_text(request->replies->data + request->replies->size, "STAT ");
            at = reply_put_number(at, (uint64_t)(dump->sizes_told + 1) * DUMP_SIZE_STEP);
            *at++ = ' ';
            at = reply_put_number(at, dump->sizes[dump->sizes_told]);
            at = reply_put_text(at, "\r\n");
            request->replies->size = (size_t)(at - request->replies->data);
        }
    }
    return true;
}

enum request_end dump_resume(struct request *request) {
    struct proto_service *service = request->connection->service;
    struct proto_dump *dump = &request->progress->dump;
    struct dump_step step = {.request = request};
    request->next = request->start; /* later requests wait */
    if (atomic_load(&service->dump) != dump->number) {
        return REQUEST_CLOSES; /* another dump has replaced this one: the client must not take a
                                  part of a dump for a whole dump */
    }
    atomic_store(&service->dump_stepped_ms, clock_monotonic_ms());
    for (unsigned i = 0; i < DUMP_BUCKETS && !dump->scanned; i++) {
        enum status status =
            pool_scan(request->pool, request->thread, &dump->next_bucket, dump_visit, &step);
        if (step.failed || status == STATUS_NO_MEMORY) {
            return REQUEST_CLOSES;
        }
        dump->scanned = status == STATUS_END || (dump->kind == PROTO_DUMP_ITEMS && dump->left == 0);
        if (request->replies->size >= DUMP_STEP_BYTES) {
            break;
        }
    }
    if (!dump->scanned || !dump_finish(request)) {
        request->connection->turn_left =
            0; /* end the turn: other connections have waited during this step */
        return REQUEST_PAUSED;
    }
    if (!reply_reserve(request->replies, 0)) {
        return REQUEST_CLOSES;
    }
    request->noreply = false;
    reply_text(request, dump->kind == PROTO_DUMP_KEYS ? "EN\r\n" : "END\r\n");
    dump_abandon(request->connection);
    return REQUEST_DONE;
}

/* The bit of a class; 0 for one of memcached's 63 classes that stayd does not have. */
static uint32_t dump_class_bit(uint64_t class) {
    return class >= 1 && class <= POOL_TTL_CLASSES ? 1U << (class - 1) : 0;
}

enum request_end dump_run_cachedump(struct request *request) {
    struct bytes class_word;
    struct bytes limit_word;
    uint64_t class;
    uint64_t limit;
    if (request->connection->service->server->rights.dump_disabled) {
        reply_text(request, "CLIENT_ERROR stats cachedump not allowed\r\n");
    } else if (!line_next(&request->line, &class_word) || !line_next(&request->line, &limit_word)) {
        reply_text(request, "CLIENT_ERROR bad command line\r\n");
    } else if (!word_u64(class_word, &class) || !word_u64(limit_word, &limit)) {
        reply_text(request, REPLY_BAD_LINE);
    } else if (class > DUMP_CLASS_MAX) {
        reply_text(request, "CLIENT_ERROR Illegal slab id\r\n");
    } else if (dump_class_bit(class) == 0) {
        reply_text(request, "END\r\n"); /* memcdump asks for all 63 classes; those that stayd does
                                           not have need no dump */
    } else {
        enum request_end end = dump_begin(request, PROTO_DUMP_ITEMS, dump_class_bit(class));
        request->progress->dump.left = limit > 0 ? limit : UINT64_MAX;
        return end;
    }
    return REQUEST_DONE;
}

#define CRAWLER_BAD_CLASS "BADCLASS invalid class id\r\n"
#define CRAWLER_DISABLED "CLIENT_ERROR lru crawler disabled\r\n"

/* "all", "hash", or a list of classes like 1,3,8. As in memcached, an entry of the list may be
 * empty. Returns NULL, or the reply to a list that is wrong. */
static const char *crawler_read_classes(struct bytes word, bool hash, uint32_t *classes) {
    if (word_is(word, "all") || (hash && word_is(word, "hash"))) {
        *classes = UINT32_MAX;
        return NULL;
    }
    bool any = false;
    *classes = 0;
    const char *at = word.data;
    const char *end = word.data + word.size;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct bytes number = bytes_from(at, (size_t)((comma != NULL ? comma : end) - at));
        at = number.data + number.size + 1;
        uint64_t class;
        if (number.size == 0) {
            continue;
        }
        /* as memcached, accepts 63 classes; those that stayd does not have are empty */
        if (!word_u64(number, &class) || class < 1 || class > 63) {
            return CRAWLER_BAD_CLASS;
        }
        *classes |= class <= POOL_TTL_CLASSES ? 1U << (class - 1) : 0;
        any = true;
    }
    return any ? NULL : "NOTSTARTED no items to crawl\r\n";
}

static enum request_end crawler_dump(struct request *request, struct bytes word,
                                     enum proto_dump_kind kind) {
    const struct proto_service *service = request->connection->service;
    uint32_t classes;
    const char *fault = crawler_read_classes(word, true, &classes);
    if (atomic_load(&service->crawler_stopped)) {
        reply_text(request, CRAWLER_DISABLED);
    } else if (service->server->rights.dump_disabled) {
        reply_text(request, kind == PROTO_DUMP_KEYS ? "ERROR key dump not allowed\r\n"
                                                    : "ERROR metadump not allowed\r\n");
    } else if (fault != NULL) {
        reply_text(request, fault);
    } else {
        return dump_begin(request, kind, classes);
    }
    return REQUEST_DONE;
}

static void crawler_crawl(struct request *request, struct bytes word) {
    uint32_t classes;
    if (atomic_load(&request->connection->service->crawler_stopped)) {
        reply_text(request, CRAWLER_DISABLED);
    } else if (word_is(word, "hash")) {
        reply_text(request, "ERROR an unknown error happened\r\n");
    } else {
        const char *fault = crawler_read_classes(word, false, &classes);
        if (fault == NULL) {
            crawler_count(request->connection->service);
        }
        reply_text(request, fault != NULL ? fault : "OK\r\n");
    }
}

static void crawler_set(struct request *request, struct bytes word, _Atomic uint32_t *setting,
                        uint32_t limit, const char *above) {
    uint64_t number;
    if (!word_u64(word, &number)) {
        reply_text(request, REPLY_BAD_LINE);
    } else if (number > limit) {
        reply_text(request, above);
    } else {
        atomic_store(setting, (uint32_t)number);
        reply_text(request, "OK\r\n");
    }
}

static void crawler_enable(struct request *request) {
    bool stopped = atomic_exchange(&request->connection->service->crawler_stopped, false);
    reply_text(request, stopped ? "OK\r\n" : "ERROR failed to start lru crawler thread\r\n");
}

static void crawler_disable(struct request *request) {
    atomic_store(&request->connection->service->crawler_stopped, true);
    reply_text(request, "OK\r\n");
}

enum request_end crawler_run(struct request *request, unsigned variant) {
    (void)variant;
    struct proto_service *service = request->connection->service;
    struct bytes words[3];
    unsigned count = 0;
    while (count < 3 && line_next(&request->line, &words[count])) {
        count++;
    }
    if (count == 1 && word_is(words[0], "enable")) {
        crawler_enable(request);
    } else if (count == 1 && word_is(words[0], "disable")) {
        crawler_disable(request);
    } else if (count != 2) {
        reply_text(request, REPLY_ERROR);
    } else if (word_is(words[0], "metadump")) {
        return crawler_dump(request, words[1], PROTO_DUMP_METADATA);
    } else if (word_is(words[0], "mgdump")) {
        return crawler_dump(request, words[1], PROTO_DUMP_KEYS);
    } else if (word_is(words[0], "crawl")) {
        crawler_crawl(request, words[1]);
    } else if (word_is(words[0], "sleep")) {
        crawler_set(request, words[1], &service->crawler_sleep_us, DUMP_SLEEP_MAX_US,
                    "CLIENT_ERROR sleep must be one second or less\r\n");
    } else if (word_is(words[0], "tocrawl")) {
        crawler_set(request, words[1], &service->crawler_limit, UINT32_MAX, REPLY_BAD_LINE);
    } else {
        reply_text(request, REPLY_ERROR);
    }
    return REQUEST_DONE;
}
