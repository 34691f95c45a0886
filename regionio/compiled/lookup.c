/* Writes what a table holds for each place: values of 8 or 16 bits to others of 1 to 8 bytes. */
#include "lookup.h"

#include <stdint.h>

#define LOOK_UP(Place, Value)                                                   \
    do {                                                                        \
        const Place *place = places;                                            \
        const Value *value = table;                                             \
        Value *target = out;                                                    \
        for (Py_ssize_t i = 0; i < count; i++) target[i] = value[place[i]];     \
    } while (0)

#define LOOK_UP_PLACES(Value)                                                   \
    do {                                                                        \
        if (place_bytes == 1) LOOK_UP(uint8_t, Value);                          \
        else LOOK_UP(uint16_t, Value);                                          \
    } while (0)

static void fill(const void *table, const void *places, void *out, Py_ssize_t count,
                 Py_ssize_t place_bytes, Py_ssize_t value_bytes) {
    if (value_bytes == 1) LOOK_UP_PLACES(uint8_t);
    else if (value_bytes == 2) LOOK_UP_PLACES(uint16_t);
    else if (value_bytes == 4) LOOK_UP_PLACES(uint32_t);
    else LOOK_UP_PLACES(uint64_t);
}

/* Whether bytes are of `count` numbers of 1, 2, 4 or 8 bytes; which, is written to `each`. */
static int is_of(Py_ssize_t bytes, Py_ssize_t count, Py_ssize_t *each) {
    *each = count ? bytes / count : 1;
    return *each * count == bytes && (*each == 1 || *each == 2 || *each == 4 || *each == 8);
}

PyObject *look_up(PyObject *module, PyObject *args) {
    Py_buffer table, places, out;
    Py_ssize_t count, place_bytes, value_bytes;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*w*n", &table, &places, &out, &count)) return NULL;
    int fits = count >= 0 && is_of(places.len, count, &place_bytes) && place_bytes <= 2 &&
               is_of(out.len, count, &value_bytes) &&
               table.len >= value_bytes << (8 * place_bytes);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        fill(table.buf, places.buf, out.buf, count, place_bytes, value_bytes);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&places);
    PyBuffer_Release(&out);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "table, places and out do not fit together");
        return NULL;
    }
    Py_RETURN_NONE;
}
