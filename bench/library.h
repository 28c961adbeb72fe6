/* The client libraries of the benchmark of reads: libstayd, with and without the pool's memory, and
 * libmemcached. One client on one thread; each failure ends the process with a message. */
#ifndef BENCH_LIBRARY_H
#define BENCH_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

enum { LIBRARY_KEYS_MAX = 100 }; /* in one read */

struct library_item {
    const char *key; /* the caller's */
    size_t key_size;
    const char *value; /* owned by the library, valid until its next read; not zero-terminated.
                          NULL: a miss */
    size_t value_size;
};

struct library {
    const char *name;

    /* Connects. `server`: memcached://HOST:PORT/, unix:///PATH */
    void (*open)(const char *server);
    void (*close)(void);

    void (*get)(struct library_item *item);
    void (*get_many)(struct library_item *items, unsigned count);
    void (*set)(const char *key, size_t key_size, const char *value, size_t value_size);
};

/* NULL if there is no library of this name. */
const struct library *library_find(const char *name);

/* Prints the message, and exits with status 2. */
_Noreturn void library_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
