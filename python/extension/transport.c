#include "transport.h"

#include <math.h>
#include <stdlib.h>

enum {
    KEY_MAX = 250,
    SPARE_MAX = 256 << 10, /* the largest buffer, in bytes, that is kept for the next read */
};

/* The thread state of this thread while it runs libstayd without the GIL. */
static _Thread_local PyThreadState *waiting;

void transport_begin_wait(void) {
    waiting = PyEval_SaveThread();
}

void transport_end_wait(void) {
    PyEval_RestoreThread(waiting);
    waiting = NULL;
}

int transport_interrupted(void *unused) {
    (void)unused;
    if (waiting == NULL) {
        return 0;
    }
    PyEval_RestoreThread(waiting);
    int raised = PyErr_CheckSignals() != 0;
    waiting = PyEval_SaveThread();
    return raised;
}

/* Calls a method of the transport's Python class. NULL with the method's exception. */
static PyObject *call_method(struct transport *transport, const char *name, const char *format,
                             ...) {
    PyObject *result = NULL;
    va_list arguments;
    va_start(arguments, format);
    PyObject *method = PyObject_GetAttrString((PyObject *)transport, name);
    PyObject *values = method == NULL ? NULL : Py_VaBuildValue(format, arguments);
    if (values != NULL) {
        result = PyObject_CallObject(method, values);
    }
    Py_XDECREF(values);
    Py_XDECREF(method);
    va_end(arguments);
    return result;
}

static bool key_is_valid(const char *data, Py_ssize_t size) {
    if (size < 1 || size > KEY_MAX) {
        return false;
    }
    unsigned char wrong = 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)data[i];
        wrong |= byte <= ' ' || byte == 0x7f;
    }
    return !wrong;
}

bool transport_is_ready(const struct transport *transport) {
    if (transport->client == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the client is not initialized");
        return false;
    }
    return true;
}

bool transport_key(struct transport *transport, PyObject *key, struct wire_key *wire) {
    *wire = (struct wire_key){0};
    if (!transport_is_ready(transport)) {
        return false;
    }
    if (PyUnicode_Check(key)) {
        wire->data = PyUnicode_AsUTF8AndSize(key, &wire->size);
        PyErr_Clear(); /* a lone surrogate: not a valid key */
    } else if (PyBytes_Check(key)) {
        wire->data = PyBytes_AS_STRING(key);
        wire->size = PyBytes_GET_SIZE(key);
    }
    if (wire->data != NULL && key_is_valid(wire->data, wire->size)) {
        return true;
    }
    Py_XDECREF(call_method(transport, "_refuse_key", "(O)", key));
    if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "invalid key");
    }
    return false;
}

bool transport_value(struct transport *transport, PyObject *key, PyObject *value,
                     struct wire_value *wire) {
    *wire = (struct wire_value){0};
    PyObject *pair = NULL;
    PyObject *data = value;
    if (transport->serde != NULL) {
        pair = PyObject_CallMethod(transport->serde, "serialize", "OO", key, value);
        PyObject *flags = NULL;
        if (pair != NULL && !PyTuple_Check(pair)) {
            PyErr_Format(PyExc_TypeError, "serialize() must give (bytes, flags), not %s",
                         Py_TYPE(pair)->tp_name);
            Py_CLEAR(pair);
        }
        if (pair == NULL ||
            !PyArg_ParseTuple(pair, "OO;serialize() must give two", &data, &flags)) {
            Py_XDECREF(pair);
            return false;
        }
        unsigned long number = PyLong_AsUnsignedLong(flags);
        if (!PyErr_Occurred() && number > UINT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "serialize() gave flags of more than 32 bits");
        }
        if (PyErr_Occurred()) {
            Py_DECREF(pair);
            return false;
        }
        wire->flags = (uint32_t)number;
    }
    if (PyBytes_Check(data)) {
        Py_INCREF(data);
        wire->owner = data;
    } else if (transport->serde !=
               NULL) { /* as in pymemcache: a serde may return text or a number */
        PyObject *text = PyObject_Str(data);
        wire->owner = text == NULL ? NULL : PyUnicode_AsUTF8String(text);
        Py_XDECREF(text);
    } else {
        PyErr_Format(PyExc_TypeError, "a value must be bytes, not %s", Py_TYPE(data)->tp_name);
    }
    Py_XDECREF(pair);
    if (wire->owner == NULL) {
        return false;
    }
    wire->data = PyBytes_AS_STRING(wire->owner);
    wire->size = PyBytes_GET_SIZE(wire->owner);
    return true;
}

void wire_value_finish(struct wire_value *wire) {
    Py_CLEAR(wire->owner);
}

/* Logs that the value cannot be read. Clears the exception that is set. */
static bool report_unreadable(struct transport *transport, PyObject *key) {
    PyObject *type;
    PyObject *error;
    PyObject *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *done = call_method(transport, "_report_unreadable", "(OO)", key, error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done != NULL;
}

PyObject *transport_decode(struct transport *transport, PyObject *key,
                           const struct stayd_value *value, PyObject *missing) {
    PyObject *data = PyBytes_FromStringAndSize(value->data, (Py_ssize_t)value->size);
    if (data == NULL || transport->serde == NULL) {
        return data;
    }
    PyObject *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8String(key) : new_reference(key);
    PyObject *result = NULL;
    if (name != NULL) {
        result = PyObject_CallMethod(transport->serde, "deserialize", "OOk", name, data,
                                     (unsigned long)value->flags);
        if (result == NULL && PyErr_ExceptionMatches(PyExc_Exception) &&
            report_unreadable(transport, name)) {
            result = missing;
            Py_INCREF(result);
        }
    }
    Py_XDECREF(name);
    Py_DECREF(data);
    return result;
}

bool transport_ttl(PyObject *duration, int64_t *ttl_s) {
    *ttl_s = 0;
    if (duration == Py_None) {
        return true;
    }
    double seconds = PyFloat_AsDouble(duration);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return false;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "ttl_s is not a number");
        return false;
    }
    double whole = ceil(seconds);
    *ttl_s = seconds <= 0 ? -1 : whole > 1e15 ? INT64_C(1000000000000000) : (int64_t)whole;
    return true;
}

PyObject *transport_fail(struct transport *transport, const char *command, enum stayd_status status,
                         const struct stayd_error *error) {
    if (PyErr_Occurred()) {
        return NULL; /* a signal handler has raised an exception: STAYD_INTERRUPTED */
    }
    PyObject *message = PyUnicode_DecodeUTF8(error->message, (Py_ssize_t)strlen(error->message),
                                             "backslashreplace");
    if (message != NULL) {
        Py_XDECREF(call_method(transport, "_raise", "(siNi)", command, (int)status, message,
                               error->timed_out));
    }
    if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError, "the request failed");
    }
    return NULL;
}

bool transport_failed(struct transport *transport, const char *command, enum stayd_status status,
                      const struct stayd_error *error) {
    if (!PyErr_Occurred() && !stayd_failed(status)) {
        return false;
    }
    transport_fail(transport, command, status, error);
    return true;
}

struct stayd_value *transport_take_buffer(struct transport *transport) {
    struct stayd_value *value = atomic_exchange(&transport->spare, NULL);
    if (value == NULL) {
        value = calloc(1, sizeof *value);
    }
    if (value == NULL) {
        PyErr_NoMemory();
    }
    return value;
}

void transport_free_buffer(struct stayd_value *value) {
    if (value != NULL) {
        stayd_value_free(value);
        free(value);
    }
}

void transport_give_buffer(struct transport *transport, struct stayd_value *value) {
    if (value->capacity > SPARE_MAX) {
        stayd_value_free(value);
    }
    transport_free_buffer(atomic_exchange(&transport->spare, value));
}
