/* stayd._client.Transport: the requests of stayd.Client over libstayd.
 *
 * A request first asks the memory that the daemon shares with this process, with the GIL held, as
 * that takes less time than to release it. What has to go over a socket releases the GIL. Failures
 * become exceptions in Python (stayd/native.py), which is told the status and libstayd's message.
 */
#ifndef STAYD_EXTENSION_CLIENT_H
#define STAYD_EXTENSION_CLIENT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stayd.h>

#include <stdbool.h>

struct transport {
    PyObject_HEAD PyObject *weak_references;
    struct stayd *client;     /* NULL before __init__ */
    PyObject *serde;          /* NULL: values are bytes as they are */
    struct stayd_value spare; /* a buffer for the next read; taken and given back under the GIL */
};

/* A key as it goes over the wire; borrowed from the Python object it was made of. */
struct wire_key {
    const char *data;
    Py_ssize_t size;
};

/* A value as it goes over the wire. `owner` is released with wire_value_finish. */
struct wire_value {
    const char *data;
    Py_ssize_t size;
    uint32_t flags;
    PyObject *owner;
};

/* Releases and takes the GIL around a call of libstayd. Signals that come meanwhile are handled by
 * transport_interrupted, which is libstayd's `interrupted`. */
void transport_begin_wait(void);
void transport_end_wait(void);
int transport_interrupted(void *unused);

/* Fills in `wire`, or raises InvalidKey and returns false. */
bool transport_key(struct transport *transport, PyObject *key, struct wire_key *wire);

/* The value as the transport's serde writes it. False with an exception. */
bool transport_value(struct transport *transport, PyObject *key, PyObject *value,
                     struct wire_value *wire);
void wire_value_finish(struct wire_value *wire);

/* What the transport's serde reads in the value; `missing` (a new reference to it) where it cannot,
 * which is logged. NULL with an exception. */
PyObject *transport_decode(struct transport *transport, PyObject *key,
                           const struct stayd_value *value, PyObject *missing);

/* Converts a duration to libstayd's: None is no end, a fraction is rounded up, nothing or less ends
 * at once. False with an exception. */
bool transport_ttl(PyObject *duration, int64_t *ttl_s);

/* Raises the exception for a failed request, and returns NULL. `command` is the protocol's name. */
PyObject *transport_fail(struct transport *transport, const char *command, enum stayd_status status,
                         const struct stayd_error *error);

/* The same for a status that is an outcome; true if it is none and the exception is raised. */
bool transport_failed(struct transport *transport, const char *command, enum stayd_status status,
                      const struct stayd_error *error);

/* Py_NewRef is Python 3.10's. */
static inline PyObject *new_reference(PyObject *object) {
    Py_INCREF(object);
    return object;
}

struct stayd_value transport_take_buffer(struct transport *transport);
void transport_give_buffer(struct transport *transport, struct stayd_value *value);

extern PyMethodDef transport_single_methods[]; /* single.c: of one key */
extern PyMethodDef transport_many_methods[];   /* many.c: of several, and of the server */

#endif
