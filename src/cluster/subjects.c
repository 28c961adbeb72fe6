#include "cluster/subjects.h"

#include "base/hash.h"
#include "store/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char subjects_alphabet[64] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

uint32_t subjects_get_partition(const struct subjects *subjects, struct bytes key) {
    return (uint32_t)(hash_key(0, key) % subjects->partitions);
}

/* Returns the end of the text, which it terminates. */
static char *subjects_encode(struct bytes data, char *text) {
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < data.size; i++) {
        bits = bits << 8 | (unsigned char)data.data[i];
        for (count += 8; count >= 6; count -= 6) {
            *text++ = subjects_alphabet[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        *text++ = subjects_alphabet[bits << (6 - count) & 63];
    }
    *text = '\0';
    return text;
}

/* Returns how many bytes were written; 0: this is not what subjects_encode writes. */
static size_t subjects_decode(const char *text, char *data, size_t most) {
    uint32_t bits = 0;
    unsigned count = 0;
    size_t size = 0;
    for (; *text != '\0'; text++) {
        const char *at = memchr(subjects_alphabet, *text, sizeof subjects_alphabet);
        if (at == NULL) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)(at - subjects_alphabet);
        count += 6;
        if (count >= 8) {
            if (size == most) {
                return 0;
            }
            count -= 8;
            data[size++] = (char)(bits >> count);
        }
    }
    /* One text for each key: the unused bits are 0, and no letter is too many. */
    return count < 6 && (bits & ((1U << count) - 1)) == 0 ? size : 0;
}

void subjects_write_key(const struct subjects *subjects, struct bytes key,
                        char subject[ENGINE_SUBJECT_MAX]) {
    int size = snprintf(subject, ENGINE_SUBJECT_MAX, "%s.%s.%u.k.", subjects->prefix,
                        subjects->pool, subjects_get_partition(subjects, key));
    subjects_encode(key, subject + size);
}

void subjects_write_flush(const struct subjects *subjects, uint32_t partition,
                          char subject[ENGINE_SUBJECT_MAX]) {
    snprintf(subject, ENGINE_SUBJECT_MAX, "%s.%s.%u.f", subjects->prefix, subjects->pool,
             partition);
}

void subjects_write_origin(const struct subjects *subjects, uint32_t partition,
                           char subject[ENGINE_SUBJECT_MAX]) {
    snprintf(subject, ENGINE_SUBJECT_MAX, "%s.%s.%u.o", subjects->prefix, subjects->pool,
             partition);
}

void subjects_write_host(const struct subjects *subjects, uint32_t partition, uint64_t host,
                         char subject[ENGINE_SUBJECT_MAX]) {
    snprintf(subject, ENGINE_SUBJECT_MAX, "%s.%s.%u.h.%016llx", subjects->prefix, subjects->pool,
             partition, (unsigned long long)host);
}

void subjects_write_confirmation(const struct subjects *subjects, uint32_t partition, uint64_t host,
                                 char subject[ENGINE_SUBJECT_MAX]) {
    snprintf(subject, ENGINE_SUBJECT_MAX, "%s.%s.%u.c.%016llx", subjects->prefix, subjects->pool,
             partition, (unsigned long long)host);
}

enum subject_kind subjects_read(const struct subjects *subjects, uint32_t partition,
                                const char *subject, char *key, size_t *key_size, uint64_t *host) {
    char before[ENGINE_SUBJECT_MAX];
    int size =
        snprintf(before, sizeof before, "%s.%s.%u.", subjects->prefix, subjects->pool, partition);
    if (strncmp(subject, before, (size_t)size) != 0) {
        return SUBJECT_FOREIGN;
    }
    if (strcmp(subject + size, "f") == 0) {
        return SUBJECT_FLUSH;
    }
    if (strcmp(subject + size, "o") == 0) {
        return SUBJECT_ORIGIN;
    }
    if (subject[size] == '\0' || subject[size + 1] != '.') {
        return SUBJECT_FOREIGN;
    }
    const char *rest = subject + size + 2;
    if (subject[size] == 'h' || subject[size] == 'c') {
        char *end;
        *host = strtoull(rest, &end, 16);
        return *rest == '\0' || *end != '\0' ? SUBJECT_FOREIGN
               : subject[size] == 'h'        ? SUBJECT_HOST
                                             : SUBJECT_CONFIRMATION;
    }
    *key_size = subject[size] == 'k' ? subjects_decode(rest, key, POOL_KEY_MAX) : 0;
    if (*key_size == 0 ||
        subjects_get_partition(subjects, bytes_from(key, *key_size)) != partition) {
        return SUBJECT_FOREIGN;
    }
    return SUBJECT_KEY;
}
