/* SHA256() of OpenSSL 3 looks the algorithm up by name each time, which takes ten times as long as
 * the digest of a session key. So this file uses the functions that OpenSSL 3 calls deprecated. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "sessions.h"

#include "packing.h"
#include "transport.h"

#include <openssl/sha.h>

#include <stdint.h>

enum {
    NAME_BYTES = 18, /* bytes of the digest in a name */
    NAME_LENGTH = NAME_BYTES / 3 * 4,

    /* a stored value's first byte: see stayd.packing */
    FORM_SESSIONS_1 = 1,
    FORM_TEXT = 32,
};

/* The name of the session with this key. Any text has a name. False with an exception. */
static bool make_name(PyObject *session_key, char name[NAME_LENGTH]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    PyObject *encoded = NULL;
    Py_ssize_t size;
    char *text;
    if (PyUnicode_Check(session_key) && PyUnicode_IS_COMPACT_ASCII(session_key)) {
        text = PyUnicode_DATA(session_key);
        size = PyUnicode_GET_LENGTH(session_key);
    } else {
        encoded = PyUnicode_AsEncodedString(session_key, "utf-8", "surrogatepass");
        if (encoded == NULL || PyBytes_AsStringAndSize(encoded, &text, &size) < 0) {
            Py_XDECREF(encoded);
            return false;
        }
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX hash;
    bool made = SHA256_Init(&hash) == 1 && SHA256_Update(&hash, text, (size_t)size) == 1 &&
                SHA256_Final(digest, &hash) == 1;
    Py_XDECREF(encoded);
    if (!made) {
        PyErr_NoMemory();
        return false;
    }
    for (int i = 0, at = 0; i < NAME_BYTES; i += 3) {
        uint32_t bits = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            name[at++] = digits[bits >> shift & 63];
        }
    }
    return true;
}

/* session_name(session_key): stayd.django.session_names.digest_name. */
static PyObject *session_name(PyObject *module, PyObject *session_key) {
    (void)module;
    char name[NAME_LENGTH];
    return make_name(session_key, name)
               ? PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, name, sizeof name)
               : NULL;
}

PyMethodDef sessions_functions[] = {
    {"session_name", session_name, METH_O,
     "session_name(session_key)\n--\n\nThe name of a session in the pool."},
    {NULL, NULL, 0, NULL},
};

/* The dict in this JSON text, as signing.JSONSerializer reads it. NULL if the text is not the JSON
 * of a dict, perhaps with an exception. */
static PyObject *scan_session(PyObject *scan, const char *data, size_t size) {
    PyObject *text = PyUnicode_DecodeLatin1(data, (Py_ssize_t)size, NULL);
    PyObject *begin = text == NULL ? NULL : PyLong_FromLong(0);
    PyObject *pair =
        begin == NULL ? NULL : PyObject_CallFunctionObjArgs(scan, text, begin, (PyObject *)NULL);
    PyObject *session = NULL;
    if (pair != NULL && PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2) {
        PyObject *found = PyTuple_GET_ITEM(pair, 0);
        if (PyDict_CheckExact(found) &&
            PyLong_AsSsize_t(PyTuple_GET_ITEM(pair, 1)) == (Py_ssize_t)size) {
            session = new_reference(found);
        }
    }
    Py_XDECREF(pair);
    Py_XDECREF(begin);
    Py_XDECREF(text);
    return session;
}

static PyObject *read_serialized(PyObject *scan, const char *data, size_t size) {
    return scan == Py_None ? PyBytes_FromStringAndSize(data, (Py_ssize_t)size)
                           : scan_session(scan, data, size);
}

/* The session in a stored value. NULL, perhaps with an exception, if the caller must take the
 * longer way. */
static PyObject *read_stored(PyObject *packing, PyObject *scan, const struct stayd_value *value) {
    unsigned char form = value->size == 0 ? FORM_TEXT : (unsigned char)value->data[0];
    if (form >= FORM_TEXT) {
        return read_serialized(scan, value->data, value->size);
    }
    struct packing_room room;
    if (form != FORM_SESSIONS_1 ||
        !packing_unpack(packing, value->data + 1, value->size - 1, &room)) {
        return NULL;
    }
    PyObject *session = read_serialized(scan, room.data, room.size);
    packing_free(&room);
    return session;
}

PyObject *transport_get_session(PyObject *self, PyObject *const *arguments, Py_ssize_t given) {
    struct transport *transport = (struct transport *)self;
    char name[NAME_LENGTH];
    if (given != 3 || !packing_is_ready(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "get_session() takes a Packing, a scanner and a key");
        return NULL;
    }
    if (!transport_is_ready(transport) || !make_name(arguments[2], name)) {
        return NULL;
    }
    struct stayd_value *value = transport_take_buffer(transport);
    if (value == NULL) {
        return NULL;
    }
    PyObject *session = NULL;
    if (stayd_get_mapped(transport->client, name, sizeof name, value) == STAYD_OK) {
        session = read_stored(arguments[0], arguments[1], value);
    }
    uint64_t number = value->cas;
    transport_give_buffer(transport, value);
    if (session != NULL) {
        return Py_BuildValue("(NK)", session, (unsigned long long)number);
    }
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return NULL; /* such as a KeyboardInterrupt in a finalizer */
    }
    PyErr_Clear();
    return new_reference(Py_None);
}
