#ifndef REGIONIO_CONTENT_H
#define REGIONIO_CONTENT_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

PyObject *content_box(PyObject *module, PyObject *args);

#endif
