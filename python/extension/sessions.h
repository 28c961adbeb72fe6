/* Functions in C that stayd.django calls for each session. */
#ifndef STAYD_EXTENSION_SESSIONS_H
#define STAYD_EXTENSION_SESSIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef sessions_functions[]; /* of the module: session_name */

/* Transport.get_session(packing, scan, session_key): the session as (dict, CAS number), if the
 * memory that the daemon shares has it in a form that this version reads. Otherwise None, and the
 * caller takes the longer way, which also explains what is wrong. `scan` is a json.JSONDecoder's
 * scan_once; if it is None, the result has the serialized session (bytes) instead of the dict. */
PyObject *transport_get_session(PyObject *self, PyObject *const *arguments, Py_ssize_t given);

#endif
