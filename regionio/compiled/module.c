/* The compiled part of regionio: what would hold Python's lock for too long, once for many tiles. */
#include "items.h"
#include "pieces.h"
#include "ranges.h"

PyDoc_STRVAR(decode_jpeg_doc,
"Decode JPEG tiles and write pieces of them to memory.\n\n"
"Return for each tile whether it was done, the number of reads and the bytes read.\n"
"`regionio.codecs.cpu.jpeg_pieces` and `regionio.codecs.Target` say what the arguments are.");

PyDoc_STRVAR(paste_doc,
"Write pieces of decoded 8-bit tiles to memory.\n\n"
"`regionio.compose.Canvas` and `regionio.codecs.Target` say what the arguments are.");

PyDoc_STRVAR(walk_items_doc,
"Walk the items of encapsulated pixels in a file: walk_items(descriptor, place, limit).\n\n"
"Return int64 bytes of where each begins, and the place of what is no whole item before `limit`.");

PyDoc_STRVAR(read_ranges_doc,
"Read ranges of a file, each to its place, by several threads:\n"
"read_ranges(descriptor, ranges, memory, threads).\n\n"
"`ranges` are int64[n, 3]: offset, size and place, sorted by offset. Return how many were read\n"
"before the file ended, the number of reads and the bytes read.");

static PyMethodDef methods[] = {{"decode_jpeg", decode_jpeg, METH_VARARGS, decode_jpeg_doc},
                                {"paste", paste, METH_VARARGS, paste_doc},
                                {"read_ranges", read_ranges, METH_VARARGS, read_ranges_doc},
                                {"walk_items", walk_items, METH_VARARGS, walk_items_doc},
                                {NULL, NULL, 0, NULL}};

static int add_names(PyObject *module) {
    PyObject *names = Py_BuildValue("[sssss]", "JPEG_LIBRARY", "decode_jpeg", "paste", "read_ranges",
                                    "walk_items");
    if (names == NULL || PyModule_AddObjectRef(module, "__all__", names) < 0) return -1;
    Py_DECREF(names);
    return PyModule_AddStringConstant(module, "JPEG_LIBRARY", jpeg_library);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_names}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_compiled", "The compiled part of regionio.", 0, methods, slots,
    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
