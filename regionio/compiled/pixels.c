/* What is done to decoded pixels and would take NumPy many steps; it needs no library. */
#include "content.h"
#include "lookup.h"
#include "resize.h"

PyDoc_STRVAR(content_box_doc,
"Return (left, top, right, bottom) of what is no background: content_box(picture, maximum).\n\n"
"None where all is. `picture` is [rows, columns] of uint8 or uint16, with any strides; background\n"
"are zeros and, with `maximum`, the largest values.");

PyDoc_STRVAR(look_up_doc,
"Write what a table holds for each place: look_up(table, places, out, count).\n\n"
"`places` are of 8 or 16 bits, and the table has an entry for every one that there can be.");

PyDoc_STRVAR(resize_doc,
"Resize a picture by weighted sums: resize(picture, first_row, row_weight, first_column,\n"
"column_weight, out).\n\n"
"`regionio.preprocess.kernels.Taps` says what they are. `picture` is [rows, columns] of uint8,\n"
"uint16 or float32, with any strides; `out` of the same dtype, row after row.");

static PyMethodDef methods[] = {{"content_box", content_box, METH_VARARGS, content_box_doc},
                                {"look_up", look_up, METH_VARARGS, look_up_doc},
                                {"resize", resize, METH_VARARGS, resize_doc},
                                {NULL, NULL, 0, NULL}};

static int add_names(PyObject *module) {
    PyObject *names = Py_BuildValue("[sss]", "content_box", "look_up", "resize");
    if (names == NULL || PyModule_AddObjectRef(module, "__all__", names) < 0) return -1;
    Py_DECREF(names);
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_names}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_pixels", "Tables, resizing, content.", 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pixels(void) { return PyModuleDef_Init(&definition); }
