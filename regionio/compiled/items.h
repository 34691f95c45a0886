/* Items of encapsulated DICOM pixels. */
#ifndef REGIONIO_ITEMS_H
#define REGIONIO_ITEMS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

PyObject *walk_items(PyObject *module, PyObject *args);

#endif
