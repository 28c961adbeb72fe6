#include "base/number.h"

bool number_parse_u64(struct bytes text, uint64_t *number) {
    if (text.size == 0 || text.size > NUMBER_DIGITS_MAX) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *number = value;
    return true;
}

bool number_parse_i64(struct bytes text, int64_t *number) {
    bool negative = text.size > 0 && text.data[0] == '-';
    if (negative) {
        text.data++;
        text.size--;
    }
    uint64_t magnitude;
    if (!number_parse_u64(text, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *number = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

size_t number_format_u64(uint64_t number, char *text) {
    char reversed[NUMBER_DIGITS_MAX];
    size_t digits = 0;
    do {
        reversed[digits++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (size_t i = 0; i < digits; i++) {
        text[i] = reversed[digits - 1 - i];
    }
    return digits;
}

/* Removes a unit letter from the end of `text` and returns it; returns `none` if there is no
 * letter. */
static char number_take_unit(struct bytes *text, char none) {
    if (text->size == 0) {
        return none;
    }
    char last = text->data[text->size - 1];
    if (last >= '0' && last <= '9') {
        return none;
    }
    text->size--;
    return last;
}

bool number_parse_size(struct bytes text, uint64_t *size_bytes) {
    uint64_t unit;
    switch (number_take_unit(&text, 'B')) {
    case 'B':
        unit = 1;
        break;
    case 'K':
    case 'k':
        unit = 1U << 10;
        break;
    case 'M':
    case 'm':
        unit = 1U << 20;
        break;
    case 'G':
    case 'g':
        unit = 1U << 30;
        break;
    default:
        return false;
    }
    uint64_t count;
    return number_parse_u64(text, &count) && number_multiply_u64(count, unit, size_bytes);
}

bool number_parse_duration(struct bytes text, uint64_t *duration_s) {
    uint64_t unit;
    switch (number_take_unit(&text, 's')) {
    case 's':
        unit = 1;
        break;
    case 'm':
        unit = 60;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'd':
        unit = 86400;
        break;
    default:
        return false;
    }
    uint64_t count;
    return number_parse_u64(text, &count) && number_multiply_u64(count, unit, duration_s);
}
