/* Ranges of a file, each to a place of its own. */
#ifndef REGIONIO_RANGES_H
#define REGIONIO_RANGES_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

PyObject *read_ranges(PyObject *module, PyObject *args);

#endif
