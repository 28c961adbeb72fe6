#include "client.h"
#include "packing.h"
#include "sessions.h"

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

/* libstayd's `interrupted`. */
static int transport_interrupted(void *unused) {
    (void)unused;
    if (waiting == NULL) {
        return 0;
    }
    PyEval_RestoreThread(waiting);
    int raised = PyErr_CheckSignals() != 0;
    waiting = PyEval_SaveThread();
    return raised;
}

/* Calls a method of the transport's own class; NULL with its exception. */
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
    } else if (transport->serde != NULL) { /* as in pymemcache: a text, or the digits of a number */
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

static void free_buffer(struct stayd_value *value) {
    if (value != NULL) {
        stayd_value_free(value);
        free(value);
    }
}

void transport_give_buffer(struct transport *transport, struct stayd_value *value) {
    if (value->capacity > SPARE_MAX) {
        stayd_value_free(value);
    }
    free_buffer(atomic_exchange(&transport->spare, value));
}

/* --- the type --- */

/* Bytes or None; borrowed. False with an exception. */
static bool take_text(PyObject *object, const char **text) {
    char *data = NULL;
    if (object != Py_None && PyBytes_AsStringAndSize(object, &data, NULL) < 0) {
        return false;
    }
    *text = data;
    return true;
}

static int transport_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    struct transport *transport = (struct transport *)self;
    static char *names[] = {"url",
                            "serde",
                            "connect_timeout_ms",
                            "timeout_ms",
                            "restart_wait_ms",
                            "idle_timeout_ms",
                            "max_connections",
                            "user",
                            "password",
                            "tls_ca",
                            "tls_cert",
                            "tls_key",
                            NULL};
    const char *url;
    PyObject *serde;
    PyObject *user;
    PyObject *password;
    struct stayd_options options;
    stayd_options_init(&options);
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "yOiiiiIOOzzz:Transport", names, &url,
                                     &serde, &options.connect_timeout_ms, &options.timeout_ms,
                                     &options.restart_wait_ms, &options.idle_timeout_ms,
                                     &options.max_connections, &user, &password, &options.tls_ca,
                                     &options.tls_cert, &options.tls_key) ||
        !take_text(user, &options.user) || !take_text(password, &options.password)) {
        return -1;
    }
    if (transport->client != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the client is initialized already");
        return -1;
    }
    options.interrupted = transport_interrupted;
    struct stayd_error error;
    transport->client = stayd_open(url, &options, &error);
    if (transport->client == NULL) {
        transport_fail(transport, "open", error.status, &error);
        return -1;
    }
    if (serde != Py_None) {
        Py_INCREF(serde);
        transport->serde = serde;
    }
    return 0;
}

static int transport_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct transport *)self)->serde);
    return 0;
}

static int transport_clear(PyObject *self) {
    Py_CLEAR(((struct transport *)self)->serde);
    return 0;
}

static void transport_dealloc(PyObject *self) {
    struct transport *transport = (struct transport *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (transport->weak_references != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    transport_clear(self);
    free_buffer(transport->spare);
    stayd_close(transport->client);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef transport_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct transport, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define METHOD(name)                                                                               \
    { #name, (PyCFunction)(void (*)(void))transport_##name, METH_FASTCALL | METH_KEYWORDS, NULL }

static PyMethodDef transport_methods[] = {
    METHOD(get),
    METHOD(get_mapped),
    METHOD(gets),
    METHOD(set),
    METHOD(add),
    METHOD(replace),
    METHOD(cas),
    METHOD(touch),
    METHOD(delete),
    METHOD(incr),
    {"get_session", (PyCFunction)(void (*)(void))transport_get_session, METH_FASTCALL,
     "get_session(packing, scan, session_key)\n--\n\n"
     "(session, CAS number) if the daemon's memory tells; otherwise None."},
    {"get_many", transport_get_many, METH_O, NULL},
    {"set_many", (PyCFunction)(void (*)(void))transport_set_many, METH_VARARGS | METH_KEYWORDS,
     NULL},
    {"delete_many", transport_delete_many, METH_O, NULL},
    {"flush", transport_flush, METH_NOARGS, NULL},
    {"raw_stats", transport_raw_stats, METH_VARARGS,
     "raw_stats(group=None)\n--\n\nThe server's statistics: a list of (name, value), both text."},
    {"version", transport_version, METH_NOARGS, NULL},
    {"close", transport_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, "The requests of stayd.Client over libstayd: see stayd/native_client.py."},
    {Py_tp_init, transport_init},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_dealloc, transport_dealloc},
    {Py_tp_methods, transport_methods},
    {Py_tp_members, transport_members},
    {0, NULL},
};

static PyType_Spec transport_spec = {
    .name = "stayd._client.Transport",
    .basicsize = sizeof(struct transport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = transport_slots,
};

/* Those that are failures: stayd.native_client raises an exception for each. */
static const struct {
    const char *name;
    enum stayd_status status;
} statuses[] = {
    {"INVALID", STAYD_INVALID},
    {"DISCONNECTED", STAYD_DISCONNECTED},
    {"OUTCOME_UNKNOWN", STAYD_OUTCOME_UNKNOWN},
    {"BUSY", STAYD_BUSY},
    {"LOGIN_REFUSED", STAYD_LOGIN_REFUSED},
    {"REFUSED", STAYD_REFUSED},
    {"FULL", STAYD_FULL},
    {"TOO_LARGE", STAYD_TOO_LARGE},
    {"SERVER_ERROR", STAYD_SERVER_ERROR},
    {"PROTOCOL", STAYD_PROTOCOL},
    {"NO_MEMORY", STAYD_NO_MEMORY},
    {"UNSUPPORTED", STAYD_UNSUPPORTED},
};

static int module_exec(PyObject *module) {
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (PyModule_AddIntConstant(module, statuses[i].name, statuses[i].status) < 0) {
            return -1;
        }
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &transport_spec, NULL);
    if (type == NULL || PyModule_AddObject(module, "Transport", type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    if (!packing_add_type(module)) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "library_version", stayd_library_version());
}

/* All state is in objects, or in the thread (`waiting`): each interpreter can have its own module.
 * A free-threaded Python enables the GIL when it imports this module: nothing here needs the GIL,
 * but that has not been tested on such a Python. */
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "stayd._client",
    .m_doc = "libstayd for Python: stayd.Client's native back end.",
    .m_methods = sessions_functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__client(void) {
    return PyModuleDef_Init(&module);
}
