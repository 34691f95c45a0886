/* The compressed bytes of tiles: in memory already, or to be read from a file. */
#ifndef REGIONIO_TILES_H
#define REGIONIO_TILES_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>

typedef struct {
    const unsigned char *data;
    size_t size;
} Bytes;

/* Tiles of one call, and what has to be let go of after it. */
typedef struct {
    Py_ssize_t count;
    Bytes *bytes; /* data is NULL where the file has not all of them */
    Py_buffer *buffers;
    Py_buffer ranges;
    int descriptor;
    int64_t requests, bytes_read;
} Tiles;

/* Open a list of buffers, or a tuple (file descriptor, int64[n, 2] of offsets and sizes sorted by
 * offset). Returns -1 with an exception set. */
int open_tiles(PyObject *source, Tiles *tiles);

/* Read some tiles that are in a file; several threads may, and none needs Python's lock. Returns
 * the memory that they are in then, which the caller frees, or NULL. */
unsigned char *read_tiles(Tiles *tiles, Py_ssize_t first, Py_ssize_t end);

void close_tiles(Tiles *tiles);

#endif
