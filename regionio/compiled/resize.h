#ifndef REGIONIO_RESIZE_H
#define REGIONIO_RESIZE_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *resize(PyObject *module, PyObject *args);

#endif
