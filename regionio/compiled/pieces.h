/* Pieces of 8-bit tiles, and how they lie in the memory of regions. */
#ifndef REGIONIO_PIECES_H
#define REGIONIO_PIECES_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>

/* A rectangle of a tile, and the address that its first pixel goes to. */
typedef struct {
    int64_t y, x, height, width, address;
} Piece;

/* Where pixels go: pixel x of a row to the row's address + x * pixel_stride. */
typedef struct {
    Py_ssize_t row_stride, pixel_stride;
    const int64_t (*channels)[2]; /* (sample, offset in bytes) of each channel written */
    int channel_count;
    const char *table; /* [channels][256] values by sample; NULL: pixels are copied */
    int itemsize;      /* bytes of a value: 1, 2, 4 or 8 */
} Layout;

/* The arguments that every function here takes, and the buffers that they hold. */
typedef struct {
    Py_buffer first, pieces, channels, table;
    Layout layout;
} Target;

/* For PyArg_ParseTuple: `TARGET_FORMAT` with `TARGET_FIELDS(target)`. */
#define TARGET_FORMAT "y*y*nny*y*i"
#define TARGET_FIELDS(target)                                                           \
    &(target).first, &(target).pieces, &(target).layout.row_stride,                     \
        &(target).layout.pixel_stride, &(target).channels, &(target).table,             \
        &(target).layout.itemsize

/* Complete a target whose fields were parsed. Returns -1 with an exception set if its parts do not
 * fit together. */
int complete_target(Target *target, Py_ssize_t tiles, int samples);

void release_target(Target *target);

/* Write `width` pixels of a decoded row. */
void write_row(const Layout *layout, char *place, const unsigned char *row, int64_t width,
               int samples);

PyObject *decode_jpeg(PyObject *module, PyObject *args);
PyObject *paste(PyObject *module, PyObject *args);
extern const char jpeg_library[];

#endif
