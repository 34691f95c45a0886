/* Parts of a work, done by several threads that live no longer than the call: nothing is left to a
 * forked process or to the end of one. */
#ifndef REGIONIO_PARALLEL_H
#define REGIONIO_PARALLEL_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>

/* So many, or more, and all threads end at about one time. */
#define PARTS_A_THREAD 8

typedef void (*DoPart)(void *work, Py_ssize_t part);

/* Do parts 0 to `parts` - 1 by at most so many threads, this one included; needs no lock of
 * Python's. */
void in_parallel(DoPart do_part, void *work, Py_ssize_t parts, int threads);

/* Add to a number that several threads add to. */
void add_to(int64_t *sum, int64_t value);

#endif
