#include "cluster/origin.h"

#include <stdio.h>

static const char *const origin_words[] = {
    [ORIGIN_NONE] = "none", [ORIGIN_BEGUN] = "begun", [ORIGIN_DONE] = "done"};

struct bytes origin_write(const struct origin *origin, char text[ORIGIN_TEXT_MAX]) {
    int size = snprintf(text, ORIGIN_TEXT_MAX, "stayd origin 1 %s %016llx",
                        origin_words[origin->state], (unsigned long long)origin->source);
    return bytes_from(text, (size_t)size);
}

bool origin_read(struct bytes payload, struct origin *origin) {
    char text[ORIGIN_TEXT_MAX];
    char again[ORIGIN_TEXT_MAX];
    char word[8];
    unsigned long long source;
    if (payload.size >= sizeof text) {
        return false;
    }
    memcpy(text, payload.data, payload.size);
    text[payload.size] = '\0';
    if (sscanf(text, "stayd origin 1 %7s %16llx", word, &source) != 2) {
        return false;
    }
    origin->source = source;
    origin->state = strcmp(word, origin_words[ORIGIN_DONE]) == 0 ? ORIGIN_DONE : ORIGIN_BEGUN;
    return bytes_equal(origin_write(origin, again), payload);
}

enum engine_check origin_find(const struct engine *engine, const struct subjects *subjects,
                              uint32_t partition, struct origin *origin,
                              char error[ENGINE_ERROR_MAX]) {
    char subject[ENGINE_SUBJECT_MAX];
    struct buffer payload = {0};
    *origin = (struct origin){.state = ORIGIN_NONE};
    subjects_write_origin(subjects, partition, subject);
    enum engine_check check =
        engine->find_now(engine->self, partition, subject, &origin->sequence, &payload, error);
    if (check == ENGINE_RIGHT && origin->sequence != 0 &&
        !origin_read(bytes_from(payload.data, payload.size), origin)) {
        snprintf(error, ENGINE_ERROR_MAX,
                 "the log of partition %u has a record of its origin that this stayd does not know",
                 partition);
        check = ENGINE_WRONG;
    }
    buffer_finish(&payload);
    return check;
}
