/* Pictures in arrays of Python's. */
#ifndef REGIONIO_PICTURE_H
#define REGIONIO_PICTURE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

typedef struct {
    const char *data;
    Py_ssize_t rows, columns, row_stride, column_stride;
    char kind; /* of its values, as the module struct has it */
} Picture;

/* Take the picture of a buffer, of any strides; return whether it is one of some kinds of values. */
int has_picture(const Py_buffer *view, const char *kinds, Picture *picture);

#endif
