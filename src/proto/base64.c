#include "proto/base64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of a digit; 0 for padding; -1 for a byte that is neither. */
static int base64_digit(char byte) {
    if (byte >= 'A' && byte <= 'Z') {
        return byte - 'A';
    }
    if (byte >= 'a' && byte <= 'z') {
        return byte - 'a' + 26;
    }
    if (byte >= '0' && byte <= '9') {
        return byte - '0' + 52;
    }
    switch (byte) {
    case '+':
        return 62;
    case '/':
        return 63;
    case '=':
        return 0;
    default:
        return -1;
    }
}

size_t base64_decode(struct bytes text, char *data) {
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        digits += base64_digit(text.data[i]) >= 0;
    }
    if (digits % 4 != 0) {
        return 0;
    }
    size_t size = 0;
    size_t padding = 0;
    uint32_t block = 0;
    digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0) {
            continue;
        }
        block = block << 6 | (uint32_t)digit;
        padding += text.data[i] == '=';
        if (++digits % 4 != 0) {
            continue;
        }
        if (padding > 2) {
            return 0;
        }
        for (size_t n = 0; n < 3 - padding; n++) {
            data[size++] = (char)(block >> (16 - 8 * n) & 0xff);
        }
        if (padding > 0) {
            break;
        }
        block = 0;
    }
    return size;
}

void base64_encode(struct bytes data, char *text) {
    size_t i = 0;
    while (i < data.size) {
        size_t left = data.size - i < 3 ? data.size - i : 3;
        uint32_t block = 0;
        for (size_t n = 0; n < 3; n++) {
            block = block << 8 | (n < left ? (unsigned char)data.data[i + n] : 0);
        }
        for (size_t n = 0; n < 4; n++) {
            *text++ = n <= left ? alphabet[block >> (18 - 6 * n) & 63] : '=';
        }
        i += left;
    }
}
