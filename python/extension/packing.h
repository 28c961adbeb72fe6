/* stayd._client.Packing: packs and unpacks a value, as stayd.packing does, in C. Any thread may use
 * a Packing, without the GIL too. */
#ifndef STAYD_EXTENSION_PACKING_H
#define STAYD_EXTENSION_PACKING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

/* Adds the type Packing to the module. False with an exception. */
bool packing_add_type(PyObject *module);

/* Whether this is a Packing whose __init__ has run. */
bool packing_is_ready(PyObject *object);

/* A buffer: on the caller's stack, or from malloc if it is larger. packing_free frees it. */
struct packing_room {
    char *data; /* NULL: nothing */
    size_t size;
    char small[4096];
};

void packing_free(struct packing_room *room);

/* Unpacks a frame without its magic number. False with an exception; `room` is then empty. */
bool packing_unpack(PyObject *self, const char *packed, size_t packed_size,
                    struct packing_room *room);

#endif
