/* Reads many ranges of a file into one piece of memory, each to a place of its own. */
#define _GNU_SOURCE /* preadv */
#define _FILE_OFFSET_BITS 64
#include "ranges.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#ifndef _WIN32
#include <sys/uio.h>
#include <unistd.h>
#endif

/* Reading a gap of this size costs less than a second request. */
#define LARGEST_GAP_BYTES (16 * 1024)

/* Pieces of one request; every system takes as many. */
#define MOST_PIECES 512

typedef struct {
    int64_t offset, size, place;
} Placed;

typedef struct {
    Py_ssize_t requests, done; /* done: ranges that were read, in order */
    int64_t bytes_read;
} Count;

#ifdef _WIN32
static void read_all(int descriptor, const Placed *ranges, Py_ssize_t count, unsigned char *memory,
                     unsigned char *gap, Count *found) {
    (void)descriptor, (void)ranges, (void)count, (void)memory, (void)gap, (void)found;
}
#else

/* Lay out what is read with one request from range `first` on; return one past the last range. */
static Py_ssize_t gathered(const Placed *ranges, Py_ssize_t first, Py_ssize_t count,
                           unsigned char *memory, unsigned char *gap, struct iovec *pieces,
                           int *used) {
    int64_t stop = ranges[first].offset;
    Py_ssize_t last = first;
    *used = 0;
    for (; last < count && *used + 2 <= MOST_PIECES; last++) {
        int64_t between = ranges[last].offset - stop;
        if (between < 0 || between > LARGEST_GAP_BYTES) break;
        if (between) pieces[(*used)++] = (struct iovec){gap, (size_t)between};
        pieces[(*used)++] =
            (struct iovec){memory + ranges[last].place, (size_t)ranges[last].size};
        stop = ranges[last].offset + ranges[last].size;
    }
    return last;
}

static int read_one(int descriptor, const Placed *range, unsigned char *memory) {
    int64_t done = 0;
    while (done < range->size) {
        ssize_t got = pread(descriptor, memory + range->place + done,
                            (size_t)(range->size - done), range->offset + done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        done += got;
    }
    return 1;
}

static void read_all(int descriptor, const Placed *ranges, Py_ssize_t count, unsigned char *memory,
                     unsigned char *gap, Count *found) {
    struct iovec pieces[MOST_PIECES];
    int used;
    while (found->done < count) {
        Py_ssize_t first = found->done;
        Py_ssize_t last = gathered(ranges, first, count, memory, gap, pieces, &used);
        int64_t wanted = ranges[last - 1].offset + ranges[last - 1].size - ranges[first].offset;
        ssize_t got = preadv(descriptor, pieces, used, ranges[first].offset);
        found->requests++;
        found->bytes_read += wanted;
        if (got == wanted) {
            found->done = last;
            continue;
        }
        /* a signal, the end of the file, or more than one request may take: one by one */
        for (; found->done < last; found->done++)
            if (!read_one(descriptor, &ranges[found->done], memory)) return;
    }
}
#endif

/* Whether every range has its place inside the memory. */
static int all_fit(const Placed *ranges, Py_ssize_t count, Py_ssize_t room) {
    for (Py_ssize_t i = 0; i < count; i++) {
        const Placed *range = &ranges[i];
        if (range->size < 0 || range->place < 0 || range->size > room - range->place) return 0;
    }
    return 1;
}

PyObject *read_ranges(PyObject *module, PyObject *args) {
    int descriptor;
    Py_buffer ranges, memory;
    Count count = {0, 0, 0};
    (void)module;
    if (!PyArg_ParseTuple(args, "iy*w*", &descriptor, &ranges, &memory)) return NULL;
    Py_ssize_t number = ranges.len / (Py_ssize_t)sizeof(Placed);
    unsigned char *gap = malloc(LARGEST_GAP_BYTES);
    int fits = all_fit(ranges.buf, number, memory.len);
    if (fits && gap) {
        Py_BEGIN_ALLOW_THREADS
        read_all(descriptor, ranges.buf, number, memory.buf, gap, &count);
        Py_END_ALLOW_THREADS
    }
    int has_memory = gap != NULL;
    free(gap);
    PyBuffer_Release(&ranges);
    PyBuffer_Release(&memory);
    if (!has_memory) return PyErr_NoMemory();
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a range does not fit into the memory");
        return NULL;
    }
    return Py_BuildValue("nnL", count.done, count.requests, (long long)count.bytes_read);
}
