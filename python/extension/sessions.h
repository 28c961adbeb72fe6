/* What stayd.django does for each session, in C. */
#ifndef STAYD_EXTENSION_SESSIONS_H
#define STAYD_EXTENSION_SESSIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef sessions_functions[]; /* of the module: session_name */

/* Transport.get_session(packing, scan, session_key): the session as (dict, CAS number) if memory
 * that the daemon shares has it, in a form that this version reads; otherwise None, and the caller
 * takes the usual way, which also explains what is wrong. `scan` is a json.JSONDecoder's scan_once;
 * None: the result has the serialized session, bytes, in the dict's place. */
PyObject *transport_get_session(PyObject *self, PyObject *const *arguments, Py_ssize_t given);

#endif
