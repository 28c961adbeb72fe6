#include "packing.h"

#include <zstd.h>

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAGIC_BYTES = 4,        /* at the start of a frame; packed values leave them out */
    SMALL_BYTES = 32 << 10, /* larger values are packed without the GIL */
};

/* Each call takes the context and gives it back. A call at the same time finds none and makes one.
 */
struct packing {
    PyObject_HEAD _Atomic(ZSTD_CCtx *) compression;
    _Atomic(ZSTD_DCtx *) decompression;
    ZSTD_CDict *compressing; /* the dictionary, in two forms; NULL: none */
    ZSTD_DDict *decompressing;
    unsigned long long limit; /* the largest size of an unpacked value */
    int level;
    bool is_ready;
};

static ZSTD_CCtx *take_compression(struct packing *packing) {
    ZSTD_CCtx *context = atomic_exchange(&packing->compression, NULL);
    if (context == NULL) {
        context = ZSTD_createCCtx();
        if (context != NULL) {
            ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, packing->level);
            ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1);
            ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0);
            ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0);
            ZSTD_CCtx_refCDict(context, packing->compressing);
        }
    }
    return context;
}

static void give_compression(struct packing *packing, ZSTD_CCtx *context) {
    ZSTD_freeCCtx(atomic_exchange(&packing->compression, context));
}

static ZSTD_DCtx *take_decompression(struct packing *packing) {
    ZSTD_DCtx *context = atomic_exchange(&packing->decompression, NULL);
    if (context == NULL) {
        context = ZSTD_createDCtx();
        if (context != NULL) {
            ZSTD_DCtx_refDDict(context, packing->decompressing);
        }
    }
    return context;
}

static void give_decompression(struct packing *packing, ZSTD_DCtx *context) {
    ZSTD_freeDCtx(atomic_exchange(&packing->decompression, context));
}

static int packing_init(PyObject *self, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"dictionary", "limit", "level", NULL};
    struct packing *packing = (struct packing *)self;
    const char *dictionary;
    Py_ssize_t size;
    unsigned long long limit;
    int level;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "z#Ki:Packing", names, &dictionary, &size,
                                     &limit, &level)) {
        return -1;
    }
    if (packing->is_ready) {
        PyErr_SetString(PyExc_RuntimeError, "it is initialized already");
        return -1;
    }
    packing->limit = limit;
    packing->level = level;
    if (dictionary != NULL) {
        packing->compressing = ZSTD_createCDict(dictionary, (size_t)size, level);
        packing->decompressing = ZSTD_createDDict(dictionary, (size_t)size);
        if (packing->compressing == NULL || packing->decompressing == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    packing->is_ready = true;
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

bool packing_is_ready(PyObject *object) {
    /* no class is derived from Packing, so no other type has this function */
    return Py_TYPE(object)->tp_dealloc == packing_dealloc && ((struct packing *)object)->is_ready;
}

/* The bytes of an argument. False with an exception, also if __init__ has not run. */
static bool take_bytes(struct packing *packing, PyObject *object, char **data, Py_ssize_t *size) {
    if (!packing->is_ready) {
        PyErr_SetString(PyExc_RuntimeError, "it is not initialized");
        return false;
    }
    return PyBytes_AsStringAndSize(object, data, size) == 0;
}

/* False with a MemoryError. */
static bool room_reserve(struct packing_room *room, size_t size) {
    room->size = size;
    room->data = size <= sizeof room->small ? room->small : malloc(size);
    if (room->data == NULL) {
        PyErr_NoMemory();
    }
    return room->data != NULL;
}

void packing_free(struct packing_room *room) {
    if (room->data != room->small) {
        free(room->data);
    }
    room->data = NULL;
}

static PyObject *packing_pack(PyObject *self, PyObject *object) {
    struct packing *packing = (struct packing *)self;
    struct packing_room frame;
    char *data;
    Py_ssize_t size;
    if (!take_bytes(packing, object, &data, &size) ||
        !room_reserve(&frame, ZSTD_compressBound((size_t)size))) {
        return NULL;
    }
    size_t used = 0;
    PyThreadState *released = size > SMALL_BYTES ? PyEval_SaveThread() : NULL;
    ZSTD_CCtx *context = take_compression(packing);
    if (context != NULL) {
        used = ZSTD_compress2(context, frame.data, frame.size, data, (size_t)size);
        give_compression(packing, context);
    }
    if (released != NULL) {
        PyEval_RestoreThread(released);
    }
    PyObject *result = NULL;
    if (context == NULL) {
        PyErr_NoMemory();
    } else if (ZSTD_isError(used)) {
        PyErr_SetString(PyExc_ValueError, ZSTD_getErrorName(used));
    } else {
        result =
            PyBytes_FromStringAndSize(frame.data + MAGIC_BYTES, (Py_ssize_t)(used - MAGIC_BYTES));
    }
    packing_free(&frame);
    return result;
}

/* Decompresses one whole frame to `room`, which has the frame's size. False with an exception. */
static bool decompress(struct packing *packing, const struct packing_room *frame,
                       struct packing_room *room) {
    if (ZSTD_findFrameCompressedSize(frame->data, frame->size) != frame->size) {
        PyErr_SetString(PyExc_ValueError, "the frame is not one whole frame");
        return false;
    }
    size_t used = 0;
    PyThreadState *released = room->size > SMALL_BYTES ? PyEval_SaveThread() : NULL;
    ZSTD_DCtx *context = take_decompression(packing);
    if (context != NULL) {
        used = ZSTD_decompressDCtx(context, room->data, room->size, frame->data, frame->size);
        give_decompression(packing, context);
    }
    if (released != NULL) {
        PyEval_RestoreThread(released);
    }
    if (context == NULL) {
        PyErr_NoMemory();
    } else if (ZSTD_isError(used)) {
        PyErr_SetString(PyExc_ValueError, ZSTD_getErrorName(used));
    } else if (used != room->size) {
        PyErr_SetString(PyExc_ValueError, "the value has another size than it names");
    } else {
        return true;
    }
    return false;
}

/* Decompresses a frame with its magic number. False with an exception; `room` is then empty. */
static bool unpack_frame(struct packing *packing, const struct packing_room *frame,
                         struct packing_room *room) {
    unsigned long long size = ZSTD_getFrameContentSize(frame->data, frame->size);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) {
        PyErr_SetString(PyExc_ValueError, "the frame does not name its size");
        return false;
    }
    if (size > packing->limit) {
        PyErr_Format(PyExc_ValueError, "the value unpacks to %llu bytes, more than %llu", size,
                     packing->limit);
        return false;
    }
    if (!room_reserve(room, (size_t)size)) {
        return false;
    }
    if (!decompress(packing, frame, room)) {
        packing_free(room);
        return false;
    }
    return true;
}

bool packing_unpack(PyObject *self, const char *packed, size_t packed_size,
                    struct packing_room *room) {
    static const unsigned char magic[MAGIC_BYTES] = {0x28, 0xb5, 0x2f, 0xfd};
    struct packing_room frame;
    room->data = NULL;
    if (!room_reserve(&frame, MAGIC_BYTES + packed_size)) {
        return false;
    }
    memcpy(frame.data, magic, MAGIC_BYTES);
    memcpy(frame.data + MAGIC_BYTES, packed, packed_size);
    bool unpacked = unpack_frame((struct packing *)self, &frame, room);
    packing_free(&frame);
    return unpacked;
}

static PyObject *packing_method_unpack(PyObject *self, PyObject *object) {
    char *packed;
    Py_ssize_t packed_size;
    struct packing_room room;
    if (!take_bytes((struct packing *)self, object, &packed, &packed_size) ||
        !packing_unpack(self, packed, (size_t)packed_size, &room)) {
        return NULL;
    }
    PyObject *result = PyBytes_FromStringAndSize(room.data, (Py_ssize_t)room.size);
    packing_free(&room);
    return result;
}

static PyMethodDef packing_methods[] = {
    {"pack", packing_pack, METH_O, "pack(data)\n--\n\nThe packed form of bytes."},
    {"unpack", packing_method_unpack, METH_O,
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

bool packing_add_type(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &packing_spec, NULL);
    if (type == NULL || PyModule_AddObject(module, "Packing", type) < 0) {
        Py_XDECREF(type);
        return false;
    }
    return true;
}
