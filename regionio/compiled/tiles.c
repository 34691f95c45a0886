/* Reads the compressed bytes of many tiles in one go. */
#define _GNU_SOURCE /* pread */
#define _FILE_OFFSET_BITS 64
#include "tiles.h"

#include "parallel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <unistd.h>
#endif

/* Reading a gap of this size costs less than a second request. */
#define LARGEST_GAP_BYTES (16 * 1024)

typedef struct {
    int64_t offset, size;
} Range;

int open_tiles(PyObject *source, Tiles *tiles) {
    memset(tiles, 0, sizeof *tiles);
    if (PyTuple_Check(source)) {
        if (!PyArg_ParseTuple(source, "iy*", &tiles->descriptor, &tiles->ranges)) return -1;
        tiles->count = tiles->ranges.len / (Py_ssize_t)sizeof(Range);
    } else if (PyList_Check(source)) {
        tiles->count = PyList_Size(source);
        tiles->buffers = PyMem_Calloc((size_t)tiles->count + 1, sizeof(Py_buffer));
    } else {
        PyErr_SetString(PyExc_TypeError, "tiles are a list of buffers, or a file and ranges");
        return -1;
    }
    tiles->bytes = PyMem_Calloc((size_t)tiles->count + 1, sizeof(Bytes));
    if (tiles->bytes == NULL || (tiles->buffers == NULL && tiles->ranges.buf == NULL)) {
        PyErr_NoMemory();
        close_tiles(tiles);
        return -1;
    }
    for (Py_ssize_t i = 0; tiles->buffers && i < tiles->count; i++) {
        Py_buffer *buffer = &tiles->buffers[i];
        if (PyObject_GetBuffer(PyList_GetItem(source, i), buffer, PyBUF_SIMPLE)) {
            close_tiles(tiles);
            return -1;
        }
        tiles->bytes[i] = (Bytes){buffer->buf, (size_t)buffer->len};
    }
    return 0;
}

void close_tiles(Tiles *tiles) {
    for (Py_ssize_t i = 0; tiles->buffers && i < tiles->count; i++)
        if (tiles->buffers[i].obj) PyBuffer_Release(&tiles->buffers[i]);
    if (tiles->ranges.obj) PyBuffer_Release(&tiles->ranges);
    PyMem_Free(tiles->buffers);
    PyMem_Free(tiles->bytes);
}

#ifdef _WIN32
unsigned char *read_tiles(Tiles *tiles, Py_ssize_t first, Py_ssize_t end) {
    (void)tiles, (void)first, (void)end;
    return NULL; /* nothing is read: all is left to Python */
}
#else

/* Return one past the last range that is read together with range `first`, and where they end. */
static Py_ssize_t run_end(const Range *ranges, Py_ssize_t first, Py_ssize_t count, int64_t *stop) {
    Py_ssize_t last = first + 1;
    *stop = ranges[first].offset + ranges[first].size;
    while (last < count && ranges[last].offset >= ranges[first].offset &&
           ranges[last].offset <= *stop + LARGEST_GAP_BYTES) {
        int64_t end = ranges[last].offset + ranges[last].size;
        if (end > *stop) *stop = end;
        last++;
    }
    return last;
}

static int64_t read_at(int descriptor, unsigned char *memory, int64_t size, int64_t offset) {
    int64_t done = 0;
    while (done < size) {
        ssize_t got = pread(descriptor, memory + done, (size_t)(size - done), offset + done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += got;
    }
    return done;
}

unsigned char *read_tiles(Tiles *tiles, Py_ssize_t first, Py_ssize_t end) {
    const Range *ranges = tiles->ranges.buf;
    int64_t stop, total = 0, requests = 0, bytes_read = 0;
    if (ranges == NULL) return NULL;
    for (Py_ssize_t run = first; run < end;) {
        Py_ssize_t last = run_end(ranges, run, end, &stop);
        total += stop - ranges[run].offset;
        run = last;
    }
    unsigned char *memory = malloc((size_t)total + 1), *place = memory;
    if (memory == NULL) return NULL;
    for (Py_ssize_t run = first; run < end;) {
        Py_ssize_t last = run_end(ranges, run, end, &stop);
        int64_t start = ranges[run].offset;
        int64_t got = read_at(tiles->descriptor, place, stop - start, start);
        for (Py_ssize_t i = run; i < last; i++)
            if (ranges[i].offset + ranges[i].size - start <= got)
                tiles->bytes[i] =
                    (Bytes){place + (ranges[i].offset - start), (size_t)ranges[i].size};
        requests++;
        bytes_read += got;
        place += stop - start;
        run = last;
    }
    add_to(&tiles->requests, requests);
    add_to(&tiles->bytes_read, bytes_read);
    return memory;
}
#endif
