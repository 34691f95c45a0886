/* Finds the rectangle outside which a picture has nothing but background. Only what lies outside it
 * is looked at, and of each row what is to the left and to the right of those before. */
#include "content.h"

#include "picture.h"

#include <stdint.h>
#include <string.h>

/* Pixels that are looked at together. */
#define BLOCK 64

/* A value is content if value - 1, without a sign, is below the limit. */
typedef struct {
    Picture picture;
    int itemsize;
    unsigned limit;
} Search;

static int is_content(const Search *search, const char *pixel) {
    if (search->itemsize == 1) return (uint8_t)(*(const uint8_t *)pixel - 1) < search->limit;
    uint16_t value;
    memcpy(&value, pixel, sizeof value);
    return (uint16_t)(value - 1) < search->limit;
}

#define ANY(Value)                                                      \
    do {                                                                \
        const Value *value = (const Value *)(const void *)pixels;       \
        Value found = 0;                                                \
        for (int i = 0; i < BLOCK; i++)                                 \
            found |= (Value)((Value)(value[i] - 1) < (Value)search->limit); \
        return found != 0;                                              \
    } while (0)

/* Whether a block of neighbours has any content. */
static int any_in_block(const Search *search, const char *pixels) {
    if (search->itemsize == 1) ANY(uint8_t);
    ANY(uint16_t);
}

/* Return the first column from `start` on with content, `stop` if there is none before it. */
static Py_ssize_t first_in(const Search *search, const char *row, Py_ssize_t start,
                           Py_ssize_t stop) {
    Py_ssize_t place = start;
    if (search->picture.column_stride == search->itemsize)
        while (place + BLOCK <= stop && !any_in_block(search, row + place * search->itemsize))
            place += BLOCK;
    while (place < stop && !is_content(search, row + place * search->picture.column_stride)) place++;
    return place;
}

/* Return one past the last column before `stop` with content, `start` if there is none. */
static Py_ssize_t last_in(const Search *search, const char *row, Py_ssize_t start,
                          Py_ssize_t stop) {
    Py_ssize_t place = stop;
    if (search->picture.column_stride == search->itemsize)
        while (place - BLOCK >= start &&
               !any_in_block(search, row + (place - BLOCK) * search->itemsize))
            place -= BLOCK;
    while (place > start && !is_content(search, row + (place - 1) * search->picture.column_stride))
        place--;
    return place;
}

typedef struct {
    Py_ssize_t left, top, right, bottom;
} Box;

static Box found_in(const Search *search) {
    Py_ssize_t columns = search->picture.columns;
    Box box = {columns, 0, 0, search->picture.rows};
#define ROW(number) (search->picture.data + (number) * search->picture.row_stride)
    while (box.top < box.bottom && first_in(search, ROW(box.top), 0, columns) == columns)
        box.top++;
    while (box.bottom > box.top && first_in(search, ROW(box.bottom - 1), 0, columns) == columns)
        box.bottom--;
    for (Py_ssize_t y = box.top; y < box.bottom; y++) {
        box.left = first_in(search, ROW(y), 0, box.left);
        box.right = last_in(search, ROW(y), box.right, columns);
    }
#undef ROW
    return box;
}

PyObject *content_box(PyObject *module, PyObject *args) {
    PyObject *source;
    Py_buffer view;
    Search search;
    Picture *picture = &search.picture;
    Box box;
    int maximum;
    (void)module;
    if (!PyArg_ParseTuple(args, "Op", &source, &maximum)) return NULL;
    if (PyObject_GetBuffer(source, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)) return NULL;
    int fits = has_picture(&view, "BH", picture);
    if (fits) {
        search.itemsize = picture->kind == 'B' ? 1 : 2;
        search.limit = (picture->kind == 'B' ? 0xFF : 0xFFFF) - (maximum ? 1 : 0);
        int is_mirrored = picture->column_stride == -search.itemsize;
        if (is_mirrored) {
            picture->data += (picture->columns - 1) * picture->column_stride;
            picture->column_stride = search.itemsize;
        }
        Py_BEGIN_ALLOW_THREADS
        box = found_in(&search);
        Py_END_ALLOW_THREADS
        if (is_mirrored)
            box = (Box){picture->columns - box.right, box.top, picture->columns - box.left,
                        box.bottom};
    }
    PyBuffer_Release(&view);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a picture is [rows, columns] of uint8 or uint16");
        return NULL;
    }
    if (box.top >= box.bottom) Py_RETURN_NONE;
    return Py_BuildValue("nnnn", box.left, box.top, box.right, box.bottom);
}
