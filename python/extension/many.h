/* Methods of stayd._client.Transport: requests with several keys in one round trip, and requests
 * about the server itself. stayd.Client documents them. */
#ifndef STAYD_EXTENSION_MANY_H
#define STAYD_EXTENSION_MANY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *transport_get_many(PyObject *self, PyObject *keys);
PyObject *transport_set_many(PyObject *self, PyObject *arguments, PyObject *keywords);
PyObject *transport_delete_many(PyObject *self, PyObject *keys);
PyObject *transport_flush(PyObject *self, PyObject *unused);
PyObject *transport_raw_stats(PyObject *self, PyObject *arguments);
PyObject *transport_version(PyObject *self, PyObject *unused);
PyObject *transport_close(PyObject *self, PyObject *unused);

#endif
