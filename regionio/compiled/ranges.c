/* Reads many ranges of a file into one piece of memory, each to a place of its own. */
#define _GNU_SOURCE /* preadv */
#define _FILE_OFFSET_BITS 64
#include "ranges.h"

#include "parallel.h"

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

/* Ranges of one call, `step` of them a part. */
typedef struct {
    int descriptor;
    const Placed *ranges;
    Py_ssize_t count, step;
    unsigned char *memory;
    Count *counts;
} Work;

static void read_part(void *argument, Py_ssize_t part) {
    const Work *work = argument;
    Py_ssize_t first = part * work->step, count = work->count - first;
    unsigned char *gap = malloc(LARGEST_GAP_BYTES);
    if (count > work->step) count = work->step;
    if (gap)
        read_all(work->descriptor, work->ranges + first, count, work->memory, gap,
                 &work->counts[part]);
    free(gap);
}

/* Return what all parts have done; of the ranges, those before the first that was not read. */
static PyObject *total(const Work *work, Py_ssize_t parts) {
    Count sum = {0, 0, 0};
    int complete = 1;
    for (Py_ssize_t i = 0; i < parts; i++) {
        Py_ssize_t count = work->count - i * work->step;
        if (complete) sum.done += work->counts[i].done;
        if (work->counts[i].done < (count < work->step ? count : work->step)) complete = 0;
        sum.requests += work->counts[i].requests;
        sum.bytes_read += work->counts[i].bytes_read;
    }
    return Py_BuildValue("nnL", sum.done, sum.requests, (long long)sum.bytes_read);
}

PyObject *read_ranges(PyObject *module, PyObject *args) {
    int threads;
    Py_buffer ranges, memory;
    Work work;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "iy*w*i", &work.descriptor, &ranges, &memory, &threads))
        return NULL;
    work.ranges = ranges.buf;
    work.memory = memory.buf;
    work.count = ranges.len / (Py_ssize_t)sizeof(Placed);
    Py_ssize_t parts = threads > 1 ? PARTS_A_THREAD * (Py_ssize_t)threads : 1;
    work.step = work.count > parts ? (work.count + parts - 1) / parts : 1;
    if (threads <= 1 && work.count) work.step = work.count;
    parts = (work.count + work.step - 1) / work.step;
    work.counts = PyMem_Calloc((size_t)parts + 1, sizeof(Count));
    if (work.counts == NULL) {
        PyErr_NoMemory();
    } else if (!all_fit(work.ranges, work.count, memory.len)) {
        PyErr_SetString(PyExc_ValueError, "a range does not fit into the memory");
    } else {
        Py_BEGIN_ALLOW_THREADS
        in_parallel(read_part, &work, parts, threads);
        Py_END_ALLOW_THREADS
        result = total(&work, parts);
    }
    PyMem_Free(work.counts);
    PyBuffer_Release(&ranges);
    PyBuffer_Release(&memory);
    return result;
}
