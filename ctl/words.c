#include "words.h"

#include "base/bytes.h"
#include "proto/base64.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *words_bytes(uint64_t bytes, char text[WORDS_MAX]) {
    static const char units[] = " KMGT";
    double number = (double)bytes;
    unsigned unit = 0;
    while (number >= 1024 && unit < 4) {
        number /= 1024;
        unit++;
    }
    if (unit == 0) {
        snprintf(text, WORDS_MAX, "%" PRIu64, bytes);
    } else {
        snprintf(text, WORDS_MAX, "%.1f%c", number, units[unit]);
    }
    return text;
}

const char *words_time(uint64_t seconds, char text[WORDS_MAX]) {
    static const struct {
        uint64_t seconds;
        const char *large;
        uint64_t part;
        const char *small;
    } units[] = {{86400, "d", 3600, "h"}, {3600, "h", 60, "min"}, {60, "min", 1, "s"}};
    if (seconds == UINT64_MAX) {
        return "-";
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (seconds >= units[i].seconds) {
            snprintf(text, WORDS_MAX, "%" PRIu64 " %s %" PRIu64 " %s", seconds / units[i].seconds,
                     units[i].large, seconds % units[i].seconds / units[i].part, units[i].small);
            return text;
        }
    }
    snprintf(text, WORDS_MAX, "%" PRIu64 " s", seconds);
    return text;
}

const char *words_share(uint64_t part, uint64_t whole, char text[WORDS_MAX]) {
    if (whole == 0) {
        return "-";
    }
    snprintf(text, WORDS_MAX, "%.1f%%", 100.0 * (double)part / (double)whole);
    return text;
}

const char *words_bar(uint64_t part, uint64_t whole, char text[WORDS_BAR + 3]) {
    double share = whole == 0 ? 0 : (double)part / (double)whole;
    size_t length = (size_t)((share < 1 ? share : 1) * WORDS_BAR);
    memcpy(text, "  ", 2);
    memset(text + 2, '#', length);
    text[length > 0 ? length + 2 : 0] = '\0';
    return text;
}

bool words_have_colours(void) {
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL && terminal != NULL &&
           terminal[0] != '\0' && terminal[0] != 'd'; /* dumb */
}

bool words_set_bytes(json_t *object, const char *name, const char *data, size_t size) {
    json_t *text = json_stringn(data, size);
    if (text != NULL) {
        return json_object_set_new(object, name, text) == 0;
    }
    char encoded_name[64];
    size_t encoded_size = base64_encoded_size(size);
    char *encoded = malloc(encoded_size);
    if (encoded == NULL) {
        return false;
    }
    base64_encode((struct bytes){data, size}, encoded);
    snprintf(encoded_name, sizeof encoded_name, "%s_base64", name);
    bool set = json_object_set_new(object, encoded_name, json_stringn(encoded, encoded_size)) == 0;
    free(encoded);
    return set;
}

bool words_print_json(json_t *object) {
    bool printed = object != NULL && json_dumpf(object, stdout, JSON_ENCODE_ANY) == 0 &&
                   putchar('\n') != EOF && fflush(stdout) == 0;
    json_decref(object);
    if (!printed) {
        fputs("stayctl: cannot print the result\n", stderr);
    }
    return printed;
}
