/* Finds the rectangle outside which a picture has nothing but background. Only what lies outside it
 * is looked at, and of each row what is to the left and to the right of those before. */
#include "content.h"

#include <stdint.h>
#include <string.h>

/* Pixels that are looked at together. */
#define BLOCK 64

typedef struct {
    const char *data;
    Py_ssize_t rows, columns, row_stride, column_stride;
    int itemsize;
    unsigned limit; /* a value is content if value - 1, without a sign, is below it */
} Picture;

static int is_content(const Picture *picture, const char *pixel) {
    if (picture->itemsize == 1) return (uint8_t)(*(const uint8_t *)pixel - 1) < picture->limit;
    uint16_t value;
    memcpy(&value, pixel, sizeof value);
    return (uint16_t)(value - 1) < picture->limit;
}

#define ANY(Value)                                                      \
    do {                                                                \
        const Value *value = (const Value *)(const void *)pixels;       \
        Value found = 0;                                                \
        for (int i = 0; i < BLOCK; i++)                                 \
            found |= (Value)((Value)(value[i] - 1) < (Value)picture->limit); \
        return found != 0;                                              \
    } while (0)

/* Whether a block of neighbours has any content. */
static int any_in_block(const Picture *picture, const char *pixels) {
    if (picture->itemsize == 1) ANY(uint8_t);
    ANY(uint16_t);
}

/* Return the first column from `start` on with content, `stop` if there is none before it. */
static Py_ssize_t first_in(const Picture *picture, const char *row, Py_ssize_t start,
                           Py_ssize_t stop) {
    Py_ssize_t place = start;
    if (picture->column_stride == picture->itemsize)
        while (place + BLOCK <= stop && !any_in_block(picture, row + place * picture->itemsize))
            place += BLOCK;
    while (place < stop && !is_content(picture, row + place * picture->column_stride)) place++;
    return place;
}

/* Return one past the last column before `stop` with content, `start` if there is none. */
static Py_ssize_t last_in(const Picture *picture, const char *row, Py_ssize_t start,
                          Py_ssize_t stop) {
    Py_ssize_t place = stop;
    if (picture->column_stride == picture->itemsize)
        while (place - BLOCK >= start &&
               !any_in_block(picture, row + (place - BLOCK) * picture->itemsize))
            place -= BLOCK;
    while (place > start && !is_content(picture, row + (place - 1) * picture->column_stride))
        place--;
    return place;
}

typedef struct {
    Py_ssize_t left, top, right, bottom;
} Box;

static Box found_in(const Picture *picture) {
    Py_ssize_t columns = picture->columns;
    Box box = {columns, 0, 0, picture->rows};
#define ROW(number) (picture->data + (number) * picture->row_stride)
    while (box.top < box.bottom && first_in(picture, ROW(box.top), 0, columns) == columns)
        box.top++;
    while (box.bottom > box.top && first_in(picture, ROW(box.bottom - 1), 0, columns) == columns)
        box.bottom--;
    for (Py_ssize_t y = box.top; y < box.bottom; y++) {
        box.left = first_in(picture, ROW(y), 0, box.left);
        box.right = last_in(picture, ROW(y), box.right, columns);
    }
#undef ROW
    return box;
}

static int has_picture(const Py_buffer *view, int maximum, Picture *picture) {
    if (view->ndim != 2 || view->format == NULL || view->format[1] != 0) return 0;
    char kind = view->format[0];
    if (kind != 'B' && kind != 'H') return 0;
    int itemsize = kind == 'B' ? 1 : 2;
    unsigned largest = kind == 'B' ? 0xFF : 0xFFFF;
    *picture = (Picture){view->buf, view->shape[0], view->shape[1], view->strides[0],
                         view->strides[1], itemsize, maximum ? largest - 1 : largest};
    return 1;
}

PyObject *content_box(PyObject *module, PyObject *args) {
    PyObject *source;
    Py_buffer view;
    Picture picture;
    Box box;
    int maximum;
    (void)module;
    if (!PyArg_ParseTuple(args, "Op", &source, &maximum)) return NULL;
    if (PyObject_GetBuffer(source, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)) return NULL;
    int fits = has_picture(&view, maximum, &picture);
    if (fits) {
        int is_mirrored = picture.column_stride == -picture.itemsize;
        if (is_mirrored) {
            picture.data += (picture.columns - 1) * picture.column_stride;
            picture.column_stride = picture.itemsize;
        }
        Py_BEGIN_ALLOW_THREADS
        box = found_in(&picture);
        Py_END_ALLOW_THREADS
        if (is_mirrored)
            box = (Box){picture.columns - box.right, box.top, picture.columns - box.left, box.bottom};
    }
    PyBuffer_Release(&view);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a picture is [rows, columns] of uint8 or uint16");
        return NULL;
    }
    if (box.top >= box.bottom) Py_RETURN_NONE;
    return Py_BuildValue("nnnn", box.left, box.top, box.right, box.bottom);
}
