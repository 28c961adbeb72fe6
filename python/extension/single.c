#include "single.h"

#include "transport.h"

/* Reads the arguments of one call, given by position or by name, into `values`, which must hold the
 * defaults. False with a TypeError. */
static bool take_arguments(const char *function, const char *const *names, unsigned count,
                           unsigned required, PyObject *const *arguments, Py_ssize_t given,
                           PyObject *keywords, PyObject **values) {
    bool taken[8] = {false};
    if (given > (Py_ssize_t)count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %u arguments (%zd given)", function,
                     count, given);
        return false;
    }
    for (Py_ssize_t i = 0; i < given; i++) {
        values[i] = arguments[i];
        taken[i] = true;
    }
    Py_ssize_t named = keywords == NULL ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(keywords, i);
        unsigned place = 0;
        while (place < count && PyUnicode_CompareWithASCIIString(name, names[place]) != 0) {
            place++;
        }
        if (place == count || taken[place]) {
            PyErr_Format(PyExc_TypeError,
                         place == count ? "%s() got an unexpected keyword argument '%U'"
                                        : "%s() got multiple values for argument '%U'",
                         function, name);
            return false;
        }
        values[place] = arguments[given + i];
        taken[place] = true;
    }
    for (unsigned place = 0; place < required; place++) {
        if (!taken[place]) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", function,
                         names[place]);
            return false;
        }
    }
    return true;
}

typedef enum stayd_status read_call(struct stayd *client, const char *key, size_t key_size,
                                    struct stayd_value *value, struct stayd_error *error);

/* get and gets: reads the item from the memory that the daemon shares, or with `call`. Sets
 * `*found`, and returns the value in a buffer that the caller must give back. NULL with an
 * exception. */
static struct stayd_value *read_item(struct transport *transport, const char *command,
                                     read_call *call, PyObject *name, bool *found) {
    struct wire_key key;
    if (!transport_key(transport, name, &key)) {
        return NULL;
    }
    struct stayd_value *value = transport_take_buffer(transport);
    if (value == NULL) {
        return NULL;
    }
    struct stayd_error error;
    enum stayd_status status =
        stayd_get_mapped(transport->client, key.data, (size_t)key.size, value);
    if (status == STAYD_NOT_MAPPED && call != NULL) {
        transport_begin_wait();
        status = call(transport->client, key.data, (size_t)key.size, value, &error);
        transport_end_wait();
    }
    *found = status == STAYD_OK;
    if (call != NULL && transport_failed(transport, command, status, &error)) {
        transport_give_buffer(transport, value);
        return NULL;
    }
    return value;
}

/* `call` NULL: reads only from the shared memory. */
static PyObject *get(PyObject *self, const char *command, read_call *call,
                     PyObject *const *arguments, Py_ssize_t given, PyObject *keywords) {
    static const char *const names[] = {"key", "default"};
    struct transport *transport = (struct transport *)self;
    PyObject *values[] = {NULL, Py_None};
    bool found;
    if (!take_arguments(command, names, 2, 1, arguments, given, keywords, values)) {
        return NULL;
    }
    struct stayd_value *value = read_item(transport, command, call, values[0], &found);
    if (value == NULL) {
        return NULL;
    }
    PyObject *result =
        found ? transport_decode(transport, values[0], value, values[1]) : new_reference(values[1]);
    transport_give_buffer(transport, value);
    return result;
}

PyObject *transport_get(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                        PyObject *keywords) {
    return get(self, "get", stayd_get, arguments, given, keywords);
}

PyObject *transport_get_mapped(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                               PyObject *keywords) {
    return get(self, "get_mapped", NULL, arguments, given, keywords);
}

PyObject *transport_gets(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                         PyObject *keywords) {
    static const char *const names[] = {"key"};
    struct transport *transport = (struct transport *)self;
    PyObject *name = NULL;
    bool found;
    if (!take_arguments("gets", names, 1, 1, arguments, given, keywords, &name)) {
        return NULL;
    }
    struct stayd_value *value = read_item(transport, "gets", stayd_gets, name, &found);
    if (value == NULL) {
        return NULL;
    }
    PyObject *decoded = found ? transport_decode(transport, name, value, Py_None) : NULL;
    PyObject *result = NULL;
    if (decoded != NULL) {
        result = Py_BuildValue("(NK)", decoded, (unsigned long long)value->cas);
    } else if (!found) {
        result = Py_BuildValue("(OO)", Py_None, Py_None);
    }
    transport_give_buffer(transport, value);
    return result;
}

/* A Python bool: whether the request was carried out. NULL with an exception if it failed. */
static PyObject *tell(struct transport *transport, const char *command, enum stayd_status status,
                      const struct stayd_error *error) {
    return transport_failed(transport, command, status, error)
               ? NULL
               : PyBool_FromLong(status == STAYD_OK);
}

typedef enum stayd_status store_call(struct stayd *client, const char *key, size_t key_size,
                                     const void *data, size_t size, uint32_t flags, int64_t ttl_s,
                                     struct stayd_error *error);

/* set, add and replace. `*status` is STAYD_OK or STAYD_NOT_STORED; false with an exception. */
static bool store(PyObject *self, const char *command, store_call *call, PyObject *const *arguments,
                  Py_ssize_t given, PyObject *keywords, enum stayd_status *status) {
    static const char *const names[] = {"key", "value", "ttl_s"};
    struct transport *transport = (struct transport *)self;
    PyObject *values[] = {NULL, NULL, Py_None};
    struct wire_key key;
    struct wire_value value;
    int64_t ttl_s;
    if (!take_arguments(command, names, 3, 2, arguments, given, keywords, values) ||
        !transport_value(transport, values[0], values[1], &value)) {
        return false;
    }
    bool ready = transport_key(transport, values[0], &key) && transport_ttl(values[2], &ttl_s);
    struct stayd_error error;
    if (ready) {
        transport_begin_wait();
        *status = call(transport->client, key.data, (size_t)key.size, value.data,
                       (size_t)value.size, value.flags, ttl_s, &error);
        transport_end_wait();
        ready = !transport_failed(transport, command, *status, &error);
    }
    wire_value_finish(&value);
    return ready;
}

PyObject *transport_set(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                        PyObject *keywords) {
    enum stayd_status status;
    if (!store(self, "set", stayd_set, arguments, given, keywords, &status)) {
        return NULL;
    }
    return new_reference(Py_None);
}

PyObject *transport_add(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                        PyObject *keywords) {
    enum stayd_status status;
    if (!store(self, "add", stayd_add, arguments, given, keywords, &status)) {
        return NULL;
    }
    return PyBool_FromLong(status == STAYD_OK);
}

PyObject *transport_replace(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                            PyObject *keywords) {
    enum stayd_status status;
    if (!store(self, "replace", stayd_replace, arguments, given, keywords, &status)) {
        return NULL;
    }
    return PyBool_FromLong(status == STAYD_OK);
}

PyObject *transport_cas(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                        PyObject *keywords) {
    static const char *const names[] = {"key", "value", "number", "ttl_s"};
    struct transport *transport = (struct transport *)self;
    PyObject *values[] = {NULL, NULL, NULL, Py_None};
    struct wire_key key;
    struct wire_value value;
    int64_t ttl_s;
    if (!take_arguments("cas", names, 4, 3, arguments, given, keywords, values)) {
        return NULL;
    }
    uint64_t number = PyLong_AsUnsignedLongLong(values[2]);
    if (PyErr_Occurred() || !transport_value(transport, values[0], values[1], &value)) {
        return NULL;
    }
    PyObject *result = NULL;
    if (transport_key(transport, values[0], &key) && transport_ttl(values[3], &ttl_s)) {
        struct stayd_error error;
        transport_begin_wait();
        enum stayd_status status =
            stayd_cas(transport->client, key.data, (size_t)key.size, value.data, (size_t)value.size,
                      value.flags, ttl_s, number, &error);
        transport_end_wait();
        if (status == STAYD_NOT_FOUND) {
            result = new_reference(Py_None);
        } else {
            result = tell(transport, "cas", status, &error);
        }
    }
    wire_value_finish(&value);
    return result;
}

PyObject *transport_touch(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                          PyObject *keywords) {
    static const char *const names[] = {"key", "ttl_s"};
    struct transport *transport = (struct transport *)self;
    PyObject *values[] = {NULL, Py_None};
    struct wire_key key;
    int64_t ttl_s;
    if (!take_arguments("touch", names, 2, 1, arguments, given, keywords, values) ||
        !transport_key(transport, values[0], &key) || !transport_ttl(values[1], &ttl_s)) {
        return NULL;
    }
    struct stayd_error error;
    transport_begin_wait();
    enum stayd_status status =
        stayd_touch(transport->client, key.data, (size_t)key.size, ttl_s, &error);
    transport_end_wait();
    return tell(transport, "touch", status, &error);
}

PyObject *transport_delete(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                           PyObject *keywords) {
    static const char *const names[] = {"key"};
    struct transport *transport = (struct transport *)self;
    PyObject *name = NULL;
    struct wire_key key;
    if (!take_arguments("delete", names, 1, 1, arguments, given, keywords, &name) ||
        !transport_key(transport, name, &key)) {
        return NULL;
    }
    struct stayd_error error;
    transport_begin_wait();
    enum stayd_status status = stayd_delete(transport->client, key.data, (size_t)key.size, &error);
    transport_end_wait();
    return tell(transport, "delete", status, &error);
}

/* The amount and its sign. False with an exception. */
static bool take_delta(PyObject *delta, bool *negative, uint64_t *amount) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(delta, &overflow);
    if (small == -1 && PyErr_Occurred()) {
        return false;
    }
    *negative = overflow < 0 || (overflow == 0 && small < 0);
    if (overflow == 0) {
        *amount = small < 0 ? 0 - (uint64_t)small : (uint64_t)small;
        return true;
    }
    PyObject *positive = PyNumber_Absolute(delta);
    if (positive == NULL) {
        return false;
    }
    *amount = PyLong_AsUnsignedLongLong(positive);
    Py_DECREF(positive);
    return !PyErr_Occurred();
}

PyObject *transport_incr(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                         PyObject *keywords) {
    static const char *const names[] = {"key", "delta"};
    struct transport *transport = (struct transport *)self;
    PyObject *values[] = {NULL, NULL};
    struct wire_key key;
    bool negative = false;
    uint64_t amount = 1;
    if (!take_arguments("incr", names, 2, 1, arguments, given, keywords, values) ||
        !transport_key(transport, values[0], &key) ||
        (values[1] != NULL && !take_delta(values[1], &negative, &amount))) {
        return NULL;
    }
    const char *command = negative ? "decr" : "incr";
    struct stayd_error error = {0};
    uint64_t number = 0;
    transport_begin_wait();
    enum stayd_status status = (negative ? stayd_decr : stayd_incr)(
        transport->client, key.data, (size_t)key.size, amount, &number, &error);
    transport_end_wait();
    if (status == STAYD_NOT_FOUND) {
        return new_reference(Py_None);
    }
    if (transport_failed(transport, command, status, &error)) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(number);
}
