/* stayd._client.Packing: what stayd.packing does for each value, in C. Any thread may use an object
 * of it; nothing relies on the GIL for that. */
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

/* Bytes on the caller's stack, or from malloc if there are more. packing_free frees them. */
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
