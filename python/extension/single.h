/* Methods of stayd._client.Transport: requests with one key. stayd.Client documents them. */
#ifndef STAYD_EXTENSION_SINGLE_H
#define STAYD_EXTENSION_SINGLE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef PyObject *transport_method(PyObject *self, PyObject *const *arguments, Py_ssize_t given,
                                   PyObject *keywords);

transport_method transport_get, transport_get_mapped, transport_gets, transport_set, transport_add,
    transport_replace, transport_cas, transport_touch, transport_delete, transport_incr;

#endif
