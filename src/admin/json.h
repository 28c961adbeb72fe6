/* Writes the parts of a JSON object. */
#ifndef STAYD_ADMIN_JSON_H
#define STAYD_ADMIN_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Escapes quotes and backslashes; a control character becomes a space. The text is UTF-8. */
void json_write_string(FILE *stream, const char *text);

/* A name, its value, and a comma. */
void json_write_number(FILE *stream, const char *name, uint64_t number);
void json_write_bool(FILE *stream, const char *name, bool yes);

#endif
