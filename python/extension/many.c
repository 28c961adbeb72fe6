#include "many.h"

#include "transport.h"

#include <stdlib.h>

/* Keys, their Python objects, and the items that libstayd fills in. */
struct batch {
    PyObject *keys; /* a tuple or a list */
    struct stayd_item *items;
    struct wire_value *values; /* set_many: one for each item; the first `filled` of them are set */
    size_t count;
    size_t filled;
};

static void batch_finish(struct batch *batch) {
    for (size_t i = 0; i < batch->filled; i++) {
        wire_value_finish(&batch->values[i]);
    }
    free(batch->values);
    free(batch->items);
    Py_XDECREF(batch->keys);
}

/* False with an exception. The caller calls batch_finish in both cases. */
static bool batch_begin(struct batch *batch, struct transport *transport, PyObject *keys) {
    *batch = (struct batch){.keys = NULL};
    if (!transport_is_ready(transport)) {
        return false;
    }
    batch->keys = PySequence_Tuple(keys);
    if (batch->keys == NULL) {
        return false;
    }
    batch->count = (size_t)PyTuple_GET_SIZE(batch->keys);
    batch->items = calloc(batch->count + 1, sizeof *batch->items);
    if (batch->items == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct wire_key key;
        if (!transport_key(transport, PyTuple_GET_ITEM(batch->keys, (Py_ssize_t)i), &key)) {
            return false;
        }
        batch->items[i].key = key.data;
        batch->items[i].key_size = (size_t)key.size;
    }
    return true;
}

PyObject *transport_get_many(PyObject *self, PyObject *keys) {
    struct transport *transport = (struct transport *)self;
    struct batch batch;
    PyObject *found = NULL;
    if (!batch_begin(&batch, transport, keys)) {
        batch_finish(&batch);
        return NULL;
    }
    struct stayd_error error;
    transport_begin_wait();
    enum stayd_status status = stayd_get_many(transport->client, batch.items, batch.count, &error);
    transport_end_wait();
    if (transport_failed(transport, "get_many", status, &error)) {
        goto end;
    }
    found = PyDict_New();
    for (size_t i = 0; found != NULL && i < batch.count; i++) {
        if (batch.items[i].status != STAYD_OK) {
            continue;
        }
        /* The tuple of keys stands for a value that cannot be read, because no serde can return
         * that object. */
        PyObject *key = PyTuple_GET_ITEM(batch.keys, (Py_ssize_t)i);
        PyObject *value = transport_decode(transport, key, &batch.items[i].value, batch.keys);
        if (value == NULL || (value != batch.keys && PyDict_SetItem(found, key, value) < 0)) {
            Py_CLEAR(found);
        }
        Py_XDECREF(value);
    }
end:
    stayd_items_free(batch.items, batch.count);
    batch_finish(&batch);
    return found;
}

/* The value in the dict, as a new reference, because the serde or another thread may remove it from
 * the dict. NULL if there is none, perhaps with an exception. */
static PyObject *find_in_dict(PyObject *dict, PyObject *key) {
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *value;
    PyDict_GetItemRef(dict, key, &value);
    return value;
#else
    PyObject *value = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(value);
    return value;
#endif
}

static bool batch_take_values(struct batch *batch, struct transport *transport, PyObject *values) {
    batch->values = calloc(batch->count + 1, sizeof *batch->values);
    if (batch->values == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        PyObject *key = PyTuple_GET_ITEM(batch->keys, (Py_ssize_t)i);
        PyObject *value = find_in_dict(values, key);
        bool taken = value != NULL && transport_value(transport, key, value, &batch->values[i]);
        Py_XDECREF(value);
        if (!taken) {
            if (!PyErr_Occurred()) {
                PyErr_SetObject(PyExc_KeyError, key); /* a key whose hash has changed */
            }
            return false;
        }
        batch->filled = i + 1;
        batch->items[i].value.data = (char *)(uintptr_t)batch->values[i].data;
        batch->items[i].value.size = (size_t)batch->values[i].size;
        batch->items[i].value.flags = batch->values[i].flags;
    }
    return true;
}

/* A list of the keys for which the pool had no room. NULL with an exception on any other failure.
 */
static PyObject *batch_refused(struct batch *batch, struct transport *transport,
                               enum stayd_status status, const struct stayd_error *error) {
    PyObject *refused = PyList_New(0);
    for (size_t i = 0; refused != NULL && i < batch->count; i++) {
        enum stayd_status of_item = batch->items[i].status;
        if (of_item == STAYD_FULL || of_item == STAYD_TOO_LARGE) {
            if (PyList_Append(refused, PyTuple_GET_ITEM(batch->keys, (Py_ssize_t)i)) < 0) {
                Py_CLEAR(refused);
            }
        } else if (stayd_failed(of_item)) {
            Py_CLEAR(refused);
            transport_fail(transport, "set_many", of_item, error);
        }
    }
    if (refused != NULL && PyList_GET_SIZE(refused) == 0 && stayd_failed(status)) {
        Py_CLEAR(refused);
        transport_fail(transport, "set_many", status, error);
    }
    return refused;
}

PyObject *transport_set_many(PyObject *self, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"values", "ttl_s", NULL};
    struct transport *transport = (struct transport *)self;
    PyObject *values;
    PyObject *duration = Py_None;
    int64_t ttl_s;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!|O:set_many", names, &PyDict_Type,
                                     &values, &duration) ||
        !transport_ttl(duration, &ttl_s)) {
        return NULL;
    }
    struct batch batch;
    PyObject *refused = NULL;
    if (batch_begin(&batch, transport, values) && batch_take_values(&batch, transport, values)) {
        struct stayd_error error = {0};
        transport_begin_wait();
        enum stayd_status status =
            stayd_set_many(transport->client, batch.items, batch.count, ttl_s, &error);
        transport_end_wait();
        refused = PyErr_Occurred() ? NULL : batch_refused(&batch, transport, status, &error);
    }
    batch_finish(&batch);
    return refused;
}

PyObject *transport_delete_many(PyObject *self, PyObject *keys) {
    struct transport *transport = (struct transport *)self;
    struct batch batch;
    bool done = false;
    if (batch_begin(&batch, transport, keys)) {
        struct stayd_error error;
        transport_begin_wait();
        enum stayd_status status =
            stayd_delete_many(transport->client, batch.items, batch.count, &error);
        transport_end_wait();
        done = !transport_failed(transport, "delete_many", status, &error);
    }
    batch_finish(&batch);
    return done ? Py_BuildValue("") : NULL;
}

PyObject *transport_flush(PyObject *self, PyObject *unused) {
    (void)unused;
    struct transport *transport = (struct transport *)self;
    if (!transport_is_ready(transport)) {
        return NULL;
    }
    struct stayd_error error;
    transport_begin_wait();
    enum stayd_status status = stayd_flush_all(transport->client, 0, &error);
    transport_end_wait();
    return transport_failed(transport, "flush_all", status, &error) ? NULL : Py_BuildValue("");
}

/* The lines of `stats`, collected without the GIL. */
struct lines {
    char *data; /* names and values in turn, each followed by a zero byte */
    size_t size;
    size_t capacity;
    bool failed; /* no memory */
};

static void lines_add(struct lines *lines, const char *text) {
    size_t size = strlen(text) + 1;
    if (lines->size + size > lines->capacity) {
        size_t capacity = (lines->size + size) * 2;
        char *data = realloc(lines->data, capacity);
        lines->failed = lines->failed || data == NULL;
        if (data == NULL) {
            return;
        }
        lines->data = data;
        lines->capacity = capacity;
    }
    memcpy(lines->data + lines->size, text, size);
    lines->size += size;
}

static void take_stat(void *user, const char *name, const char *value) {
    struct lines *lines = user;
    if (!lines->failed) {
        lines_add(lines, name);
        lines_add(lines, value);
    }
}

static PyObject *decode_text(const char *text) {
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
}

/* stats(group=None) -> a list of (name, value), both text. */
PyObject *transport_raw_stats(PyObject *self, PyObject *arguments) {
    struct transport *transport = (struct transport *)self;
    const char *group = NULL;
    if (!PyArg_ParseTuple(arguments, "|z:raw_stats", &group) || !transport_is_ready(transport)) {
        return NULL;
    }
    struct lines lines = {0};
    struct stayd_error error;
    transport_begin_wait();
    enum stayd_status status = stayd_stats(transport->client, 0, group, take_stat, &lines, &error);
    transport_end_wait();
    PyObject *result = NULL;
    if (!transport_failed(transport, "stats", status, &error)) {
        result = lines.failed ? PyErr_NoMemory() : PyList_New(0);
    }
    for (size_t at = 0; result != NULL && at < lines.size;) {
        const char *name = lines.data + at;
        const char *value = name + strlen(name) + 1;
        at = (size_t)(value - lines.data) + strlen(value) + 1;
        PyObject *pair = Py_BuildValue("(NN)", decode_text(name), decode_text(value));
        if (pair == NULL || PyList_Append(result, pair) < 0) {
            Py_CLEAR(result);
        }
        Py_XDECREF(pair);
    }
    free(lines.data);
    return result;
}

PyObject *transport_version(PyObject *self, PyObject *unused) {
    (void)unused;
    struct transport *transport = (struct transport *)self;
    char version[128];
    struct stayd_error error;
    if (!transport_is_ready(transport)) {
        return NULL;
    }
    transport_begin_wait();
    enum stayd_status status = stayd_version(transport->client, 0, version, sizeof version, &error);
    transport_end_wait();
    return transport_failed(transport, "version", status, &error) ? NULL : decode_text(version);
}

PyObject *transport_close(PyObject *self, PyObject *unused) {
    (void)unused;
    struct transport *transport = (struct transport *)self;
    if (transport->client != NULL) {
        transport_begin_wait(); /* because TLS sends close_notify */
        stayd_disconnect(transport->client);
        transport_end_wait();
    }
    return Py_BuildValue("");
}
