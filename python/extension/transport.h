/* stayd._client.Transport: the requests of stayd.Client over libstayd.
 *
 * Any thread may use a Transport, without the GIL too.
 *
 * A get first reads the memory that the daemon shares with this process. It keeps the GIL, because
 * that takes less time than releasing the GIL. A request over a socket releases the GIL. A failure
 * calls stayd/native_client.py, which raises the exception, with the status and libstayd's message.
 */
#ifndef STAYD_EXTENSION_TRANSPORT_H
#define STAYD_EXTENSION_TRANSPORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stayd.h>

#include <stdatomic.h>
#include <stdbool.h>

struct transport {
    PyObject_HEAD PyObject *weak_references;
    struct stayd *client; /* NULL before __init__ */
    PyObject *serde;      /* NULL: values are bytes, and are not converted */
    _Atomic(struct stayd_value *)
        spare; /* a buffer for the next read; NULL: there is none, or a call uses it */
};

/* A key as bytes for the wire; borrowed from the Python object. */
struct wire_key {
    const char *data;
    Py_ssize_t size;
};

/* A value as bytes for the wire. wire_value_finish releases `owner`. */
struct wire_value {
    const char *data;
    Py_ssize_t size;
    uint32_t flags;
    PyObject *owner;
};

/* Releases and takes the GIL around a call of libstayd. */
void transport_begin_wait(void);
void transport_end_wait(void);

/* libstayd's `interrupted`: runs Python's handlers of the signals that came during the call. 1 if a
 * handler has raised an exception. */
int transport_interrupted(void *unused);

/* False with an exception if __init__ has not run, because a subclass has not called it. */
bool transport_is_ready(const struct transport *transport);

/* Fills in `wire`, or raises InvalidKey and returns false. */
bool transport_key(struct transport *transport, PyObject *key, struct wire_key *wire);

/* Converts the value with the transport's serde. False with an exception. */
bool transport_value(struct transport *transport, PyObject *key, PyObject *value,
                     struct wire_value *wire);
void wire_value_finish(struct wire_value *wire);

/* The Python value that the transport's serde reads. If the serde cannot read it, logs that and
 * returns `missing` (a new reference). NULL with an exception. */
PyObject *transport_decode(struct transport *transport, PyObject *key,
                           const struct stayd_value *value, PyObject *missing);

/* Converts a time to live to libstayd's: None means no expiry, a fraction is rounded up, and 0 or
 * less expires at once. False with an exception. */
bool transport_ttl(PyObject *duration, int64_t *ttl_s);

/* Raises the exception for a failed request, and returns NULL. `command` is the protocol's name. */
PyObject *transport_fail(struct transport *transport, const char *command, enum stayd_status status,
                         const struct stayd_error *error);

/* True if the status is a failure and not an outcome. Then the exception is set. */
bool transport_failed(struct transport *transport, const char *command, enum stayd_status status,
                      const struct stayd_error *error);

/* Py_NewRef exists from Python 3.10 on. */
static inline PyObject *new_reference(PyObject *object) {
    Py_INCREF(object);
    return object;
}

/* A buffer for a value, which the caller must give back. NULL with a MemoryError. */
struct stayd_value *transport_take_buffer(struct transport *transport);
void transport_give_buffer(struct transport *transport, struct stayd_value *value);
void transport_free_buffer(struct stayd_value *value); /* NULL: does nothing */

#endif
