#ifndef REGIONIO_LOOKUP_H
#define REGIONIO_LOOKUP_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *look_up(PyObject *module, PyObject *args);

#endif
