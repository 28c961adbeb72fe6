/* What stayd.packing and stayd.django.session_names do for each session, in C. */
#ifndef STAYD_EXTENSION_SESSIONS_H
#define STAYD_EXTENSION_SESSIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

extern PyMethodDef sessions_functions[]; /* of the module: session_name */

/* Adds the type Packing to the module. False with an exception. */
bool sessions_add_packing(PyObject *module);

#endif
