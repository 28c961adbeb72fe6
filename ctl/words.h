/* Formats numbers for people, and prints JSON objects for programs. */
#ifndef STAYD_CTL_WORDS_H
#define STAYD_CTL_WORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WORDS_MAX = 40, /* bytes of a number or a time as text, with its zero */
    WORDS_BAR = 40, /* the length of a whole bar */
};

/* "12.3M" */
const char *words_bytes(uint64_t bytes, char text[WORDS_MAX]);

/* The two largest units: "3 d 4 h", "2 min 5 s"; "-" for UINT64_MAX. */
const char *words_time(uint64_t seconds, char text[WORDS_MAX]);

/* "97.5%"; "-" if `whole` is 0 */
const char *words_share(uint64_t part, uint64_t whole, char text[WORDS_MAX]);

/* Two spaces, and a bar of WORDS_BAR * part / whole characters; "" if that is less than 1. At most
 * a whole bar, even if a server reports more. */
const char *words_bar(uint64_t part, uint64_t whole, char text[WORDS_BAR + 3]);

/* Whether standard output is a terminal that shows colours. */
bool words_have_colours(void);

/* The bytes as a JSON string if they are UTF-8, else in base64 under `NAME_base64`. False if memory
 * is short. */
bool words_set_bytes(json_t *object, const char *name, const char *data, size_t size);

/* Prints the object on a line of its own, and frees it. False if that fails, or if `object` is
 * NULL, because memory was short. */
bool words_print_json(json_t *object);

#endif
