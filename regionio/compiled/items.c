/* Walks the items of encapsulated DICOM pixels: a read of eight bytes for each.
 *
 * Source: DICOM PS3.5, A.4. Encapsulated pixels are little endian.
 */
#define _GNU_SOURCE /* pread */
#define _FILE_OFFSET_BITS 64
#include "items.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <unistd.h>
#endif

#define HEADER_BYTES 8
#define UNDEFINED 0xFFFFFFFFu
#define MOST_ITEMS (1 << 24)

static const unsigned char item_tag[4] = {0xFE, 0xFF, 0x00, 0xE0};

#ifdef _WIN32
static Py_ssize_t walk(int descriptor, int64_t *place, int64_t limit, int64_t **starts) {
    (void)descriptor, (void)place, (void)limit, (void)starts;
    return 0; /* all is left to Python */
}
#else

/* Note where items begin, up to whatever is no whole item before `limit`, where `place` is left.
 * Returns their number, -1 without memory. */
static Py_ssize_t walk(int descriptor, int64_t *place, int64_t limit, int64_t **starts) {
    Py_ssize_t count = 0, room = 0;
    while (limit - *place >= HEADER_BYTES) {
        unsigned char header[HEADER_BYTES];
        ssize_t got = pread(descriptor, header, HEADER_BYTES, *place);
        if (got < 0 && errno == EINTR) continue;
        if (got != HEADER_BYTES || memcmp(header, item_tag, sizeof item_tag)) break;
        uint32_t length = (uint32_t)header[4] | (uint32_t)header[5] << 8 |
                          (uint32_t)header[6] << 16 | (uint32_t)header[7] << 24;
        if (length == 0 || length == UNDEFINED || count > MOST_ITEMS ||
            limit - *place - HEADER_BYTES < (int64_t)length)
            break; /* Python says what is wrong with it */
        if (count == room) {
            room = room ? 2 * room : 1024;
            int64_t *more = realloc(*starts, (size_t)room * sizeof **starts);
            if (more == NULL) return -1;
            *starts = more;
        }
        (*starts)[count++] = *place;
        *place += HEADER_BYTES + (int64_t)length;
    }
    return count;
}
#endif

PyObject *walk_items(PyObject *module, PyObject *args) {
    int descriptor;
    long long first, limit;
    int64_t *starts = NULL;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "iLL", &descriptor, &first, &limit)) return NULL;
    int64_t place = first;
    Py_ssize_t count;

    Py_BEGIN_ALLOW_THREADS
    count = walk(descriptor, &place, limit, &starts);
    Py_END_ALLOW_THREADS

    if (count < 0) {
        PyErr_NoMemory();
    } else {
        Py_ssize_t size = count * (Py_ssize_t)sizeof *starts;
        result = Py_BuildValue("y#L", starts ? (const char *)starts : "", size, (long long)place);
    }
    free(starts);
    return result;
}
