#include "proto/tuning.h"

#include "proto/reply.h"

#include <stdlib.h>

enum {
    TUNING_WORDS_MAX = 6,
    TUNING_CLASS_MAX = 63,   /* memcached's last slab class */
    TUNING_WINDOW_MIN_S = 3, /* memcached's limits */
    TUNING_WINDOW_MAX_S = 1800,
    TUNING_LRU_PERCENT = 80, /* memcached's limit for the hot and warm parts together */
};

/* Reads the words after the command's name. A last word "noreply" suppresses the reply; it counts
 * as a word. */
static unsigned tuning_read(struct request *request, struct bytes words[TUNING_WORDS_MAX]) {
    unsigned count = 0;
    while (count < TUNING_WORDS_MAX && line_next(&request->line, &words[count])) {
        count++;
    }
    request_read_noreply(request, count > 0 ? words[count - 1] : (struct bytes){0});
    return count;
}

static bool tuning_number(struct bytes word, int64_t *number) {
    return number_parse_i64(word, number) && *number >= -INT32_MAX && *number <= INT32_MAX;
}

static const char *slabs_reassign(struct bytes from, struct bytes to) {
    int64_t source;
    int64_t target;
    if (!tuning_number(from, &source) || !tuning_number(to, &target)) {
        return REPLY_BAD_LINE;
    }
    if (source == target) {
        return "SAME src and dst class are identical\r\n";
    }
    if (source < 0 || target < 0 || source > TUNING_CLASS_MAX || target > TUNING_CLASS_MAX) {
        return "BADCLASS invalid src or dst class id\r\n";
    }
    return "NOSPARE source class has no spare pages\r\n";
}

static bool tuning_factor(struct bytes word, double *factor) {
    char text[32];
    char *end;
    if (word.size == 0 || word.size >= sizeof text) {
        return false;
    }
    memcpy(text, word.data, word.size);
    text[word.size] = 0;
    *factor = strtod(text, &end);
    return *end == 0;
}

/* automove <0|1|2>, automove ratio|freeratio <share>, or automove window <seconds> */
static const char *slabs_automove(const struct bytes *words, unsigned count) {
    uint64_t level;
    double ratio;
    if (word_is(words[1], "window")) {
        if (count < 3 || !word_u64(words[2], &level)) {
            return REPLY_BAD_LINE;
        }
        return level < TUNING_WINDOW_MIN_S || level > TUNING_WINDOW_MAX_S
                   ? "CLIENT_ERROR automove window too low or too high\r\n"
                   : "OK\r\n";
    }
    if (word_is(words[1], "ratio") || word_is(words[1], "freeratio")) {
        return count >= 3 && tuning_factor(words[2], &ratio) ? "OK\r\n" : REPLY_ERROR;
    }
    if (!word_u64(words[1], &level)) {
        return REPLY_BAD_LINE;
    }
    return level > 2 ? REPLY_ERROR : "OK\r\n";
}

enum request_end slabs_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes words[TUNING_WORDS_MAX];
    unsigned count = tuning_read(request, words);
    const char *reply = REPLY_ERROR;
    if (count == 3 && word_is(words[0], "reassign")) {
        reply = slabs_reassign(words[1], words[2]);
    } else if (count >= 2 && word_is(words[0], "automove")) {
        reply = slabs_automove(words, count);
    }
    reply_text(request, reply);
    return REQUEST_DONE;
}

static const char *lru_tune(const struct bytes words[TUNING_WORDS_MAX]) {
    uint64_t hot;
    uint64_t warm;
    double hot_factor;
    double warm_factor;
    if (!word_u64(words[1], &hot) || !word_u64(words[2], &warm) ||
        !tuning_factor(words[3], &hot_factor) || !tuning_factor(words[4], &warm_factor)) {
        return REPLY_ERROR;
    }
    if (hot > TUNING_LRU_PERCENT || warm > TUNING_LRU_PERCENT - hot) {
        return "ERROR hot and warm pcts must not exceed 80\r\n";
    }
    if (hot_factor <= 0 || warm_factor <= 0) {
        return "ERROR hot/warm age factors must be greater than 0\r\n";
    }
    return "OK\r\n";
}

enum request_end lru_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes words[TUNING_WORDS_MAX];
    unsigned count = tuning_read(request, words);
    const char *reply = REPLY_ERROR;
    int64_t ttl_s;
    if (count >= 5 && word_is(words[0], "tune")) {
        reply = lru_tune(words);
    } else if (count >= 2 && word_is(words[0], "mode")) {
        bool known = word_is(words[1], "flat") || word_is(words[1], "segmented");
        reply = known ? "OK\r\n" : REPLY_ERROR;
    } else if (count >= 2 && word_is(words[0], "temp_ttl")) {
        reply = tuning_number(words[1], &ttl_s) ? "OK\r\n" : REPLY_ERROR;
    }
    reply_text(request, reply);
    return REQUEST_DONE;
}

static bool tuning_count(struct bytes word) {
    uint64_t number;
    return word_u64(word, &number) && number <= UINT32_MAX;
}

/* Whether memcached with external storage would accept this setting. */
static bool extstore_takes(const struct bytes *words, unsigned count) {
    static const char *const counts[] = {"item_size",     "item_age",   "low_ttl",   "recache_rate",
                                         "compact_under", "drop_under", "max_sleep", "drop_unread"};
    uint64_t class;
    double share;
    if (count < 2) {
        return false;
    }
    if (word_is(words[0], "free_memchunks")) {
        return count >= 3 && word_u64(words[1], &class) && class <= TUNING_CLASS_MAX &&
               tuning_count(words[2]);
    }
    if (word_is(words[0], "max_frag")) {
        return tuning_factor(words[1], &share);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (word_is(words[0], counts[i])) {
            return tuning_count(words[1]);
        }
    }
    return false;
}

enum request_end extstore_run(struct request *request, unsigned variant) {
    (void)variant;
    struct bytes words[TUNING_WORDS_MAX];
    unsigned count = tuning_read(request, words);
    reply_text(request, extstore_takes(words, count) ? "OK\r\n" : REPLY_ERROR);
    return REQUEST_DONE;
}
