/* The module stayd._client, and its type Transport: how an object is made and freed, and its
 * methods. */
#include "many.h"
#include "packing.h"
#include "sessions.h"
#include "single.h"
#include "transport.h"

#include <structmember.h>

#include <stddef.h>

/* An argument that is bytes or None, borrowed. On failure, false, with an exception set. */
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
    transport_free_buffer(transport->spare);
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

/* The statuses that are failures: stayd.native_client raises an exception for each. */
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

/* All state is in objects or in the thread (`waiting`), so each interpreter can have its own
 * module. A free-threaded Python enables the GIL when it imports this module. Nothing here needs
 * the GIL, but that has not been tested on such a Python. */
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
