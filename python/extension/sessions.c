#include "sessions.h"

#include <openssl/sha.h>
#include <zstd.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_BYTES = 18,        /* of the digest that a name holds */
    MAGIC_BYTES = 4,        /* at a frame's beginning; packed values go without */
    SMALL_BYTES = 32 << 10, /* what takes longer is done without the GIL */
};

/* --- names --- */

/* session_name(session_key): stayd.django.session_names.digest_name. Any text has one. */
static PyObject *session_name(PyObject *module, PyObject *session_key) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (void)module;
    PyObject *encoded = NULL;
    Py_ssize_t size;
    const char *text = NULL;
    if (PyUnicode_Check(session_key) && PyUnicode_IS_COMPACT_ASCII(session_key)) {
        text = PyUnicode_AsUTF8AndSize(session_key, &size);
    } else {
        encoded = PyUnicode_AsEncodedString(session_key, "utf-8", "surrogatepass");
        char *data;
        if (encoded == NULL || PyBytes_AsStringAndSize(encoded, &data, &size) < 0) {
            Py_XDECREF(encoded);
            return NULL;
        }
        text = data;
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char *made = text == NULL ? NULL : SHA256((const unsigned char *)text, size, digest);
    Py_XDECREF(encoded);
    if (made == NULL) {
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    char name[NAME_BYTES / 3 * 4];
    for (int i = 0, at = 0; i < NAME_BYTES; i += 3) {
        uint32_t bits = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            name[at++] = digits[bits >> shift & 63];
        }
    }
    return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, name, sizeof name);
}

PyMethodDef sessions_functions[] = {
    {"session_name", session_name, METH_O,
     "session_name(session_key)\n--\n\nThe name of a session in the pool."},
    {NULL, NULL, 0, NULL},
};

/* --- packing --- */

struct packing {
    PyObject_HEAD ZSTD_CCtx *compression; /* used under the GIL, as is the other */
    ZSTD_DCtx *decompression;
    ZSTD_CDict *compressing; /* the dictionary, in its two forms; NULL: none */
    ZSTD_DDict *decompressing;
    unsigned long long limit; /* bytes that a value may unpack to */
    int level;
};

static ZSTD_CCtx *new_compression(const struct packing *packing) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (context != NULL) {
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, packing->level);
        ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1);
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0);
        ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0);
        ZSTD_CCtx_refCDict(context, packing->compressing);
    }
    return context;
}

static ZSTD_DCtx *new_decompression(const struct packing *packing) {
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (context != NULL) {
        ZSTD_DCtx_refDDict(context, packing->decompressing);
    }
    return context;
}

static int packing_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dictionary", "limit", "level", NULL};
    struct packing *packing = (struct packing *)self;
    const char *dictionary;
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "z#Ki:Packing", names, &dictionary, &size,
                                     &packing->limit, &packing->level)) {
        return -1;
    }
    if (packing->compression != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "it is initialized already");
        return -1;
    }
    if (dictionary != NULL) {
        packing->compressing = ZSTD_createCDict(dictionary, (size_t)size, packing->level);
        packing->decompressing = ZSTD_createDDict(dictionary, (size_t)size);
    }
    packing->compression = new_compression(packing);
    packing->decompression = new_decompression(packing);
    bool has_all =
        packing->compression != NULL && packing->decompression != NULL &&
        (dictionary == NULL || (packing->compressing != NULL && packing->decompressing != NULL));
    if (!has_all) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void packing_dealloc(PyObject *self) {
    struct packing *packing = (struct packing *)self;
    PyTypeObject *type = Py_TYPE(self);
    ZSTD_freeCCtx(packing->compression);
    ZSTD_freeDCtx(packing->decompression);
    ZSTD_freeCDict(packing->compressing);
    ZSTD_freeDDict(packing->decompressing);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The bytes of an argument. False with an exception; also where __init__ was left out. */
static bool take_bytes(struct packing *packing, PyObject *object, char **data, Py_ssize_t *size) {
    if (packing->compression == NULL || packing->decompression == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "it is not initialized");
        return false;
    }
    return PyBytes_AsStringAndSize(object, data, size) == 0;
}

static PyObject *packing_pack(PyObject *self, PyObject *object) {
    struct packing *packing = (struct packing *)self;
    char *data;
    Py_ssize_t size;
    if (!take_bytes(packing, object, &data, &size)) {
        return NULL;
    }
    char small[4096];
    size_t room = ZSTD_compressBound((size_t)size);
    char *frame = room <= sizeof small ? small : malloc(room);
    size_t used = 0;
    bool has_memory = frame != NULL;
    if (has_memory && size <= SMALL_BYTES) {
        used = ZSTD_compress2(packing->compression, frame, room, data, (size_t)size);
    } else if (has_memory) {
        Py_BEGIN_ALLOW_THREADS;
        ZSTD_CCtx *own = new_compression(packing);
        has_memory = own != NULL;
        if (has_memory) {
            used = ZSTD_compress2(own, frame, room, data, (size_t)size);
        }
        ZSTD_freeCCtx(own);
        Py_END_ALLOW_THREADS;
    }
    PyObject *result = NULL;
    if (!has_memory) {
        PyErr_NoMemory();
    } else if (ZSTD_isError(used)) {
        PyErr_SetString(PyExc_ValueError, ZSTD_getErrorName(used));
    } else {
        result = PyBytes_FromStringAndSize(frame + MAGIC_BYTES, (Py_ssize_t)(used - MAGIC_BYTES));
    }
    if (frame != small) {
        free(frame);
    }
    return result;
}

/* Decompresses one whole frame to `size` bytes; false with a ValueError. */
static bool decompress(struct packing *packing, const char *frame, size_t frame_size, char *data,
                       size_t size) {
    size_t used;
    if (ZSTD_findFrameCompressedSize(frame, frame_size) != frame_size) {
        PyErr_SetString(PyExc_ValueError, "the frame is not one whole frame");
        return false;
    }
    if (size <= SMALL_BYTES) {
        used = ZSTD_decompressDCtx(packing->decompression, data, size, frame, frame_size);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        ZSTD_DCtx *own = new_decompression(packing);
        used = own == NULL ? (size_t)-1 : ZSTD_decompressDCtx(own, data, size, frame, frame_size);
        ZSTD_freeDCtx(own);
        Py_END_ALLOW_THREADS;
    }
    if (ZSTD_isError(used)) {
        PyErr_SetString(PyExc_ValueError, ZSTD_getErrorName(used));
        return false;
    }
    if (used != size) {
        PyErr_SetString(PyExc_ValueError, "the value has another size than it names");
        return false;
    }
    return true;
}

static PyObject *packing_unpack(PyObject *self, PyObject *object) {
    struct packing *packing = (struct packing *)self;
    char *packed;
    Py_ssize_t packed_size;
    if (!take_bytes(packing, object, &packed, &packed_size)) {
        return NULL;
    }
    static const unsigned char magic[MAGIC_BYTES] = {0x28, 0xb5, 0x2f, 0xfd};
    char small[4096];
    size_t frame_size = (size_t)packed_size + MAGIC_BYTES;
    char *frame = frame_size <= sizeof small ? small : malloc(frame_size);
    if (frame == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(frame, magic, MAGIC_BYTES);
    memcpy(frame + MAGIC_BYTES, packed, (size_t)packed_size);
    unsigned long long size = ZSTD_getFrameContentSize(frame, frame_size);
    PyObject *result = NULL;
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) {
        PyErr_SetString(PyExc_ValueError, "the frame does not name its size");
    } else if (size > packing->limit) {
        PyErr_Format(PyExc_ValueError, "the value unpacks to %llu bytes, more than %llu", size,
                     packing->limit);
    } else {
        result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    }
    if (result != NULL &&
        !decompress(packing, frame, frame_size, PyBytes_AS_STRING(result), (size_t)size)) {
        Py_CLEAR(result);
    }
    if (frame != small) {
        free(frame);
    }
    return result;
}

static PyMethodDef packing_methods[] = {
    {"pack", packing_pack, METH_O, "pack(data)\n--\n\nThe packed form of bytes."},
    {"unpack", packing_unpack, METH_O,
     "unpack(packed)\n--\n\nThe data, or ValueError if it is damaged or longer than the limit."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packing_slots[] = {
    {Py_tp_doc, "Packing(dictionary, limit, level)\n--\n\nSee stayd.packing.Packing."},
    {Py_tp_init, packing_init},
    {Py_tp_dealloc, packing_dealloc},
    {Py_tp_methods, packing_methods},
    {0, NULL},
};

static PyType_Spec packing_spec = {
    .name = "stayd._client.Packing",
    .basicsize = sizeof(struct packing),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = packing_slots,
};

bool sessions_add_packing(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &packing_spec, NULL);
    if (type == NULL || PyModule_AddObject(module, "Packing", type) < 0) {
        Py_XDECREF(type);
        return false;
    }
    return true;
}
