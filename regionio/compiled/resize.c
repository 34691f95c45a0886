/* Resizes a picture by weighted sums, down the columns and then along the rows, in float.
 *
 * Sums are taken tap by tap and without fused operations, so that every machine gives the same. */
#include "resize.h"

#include "picture.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* Rows that are summed up together along the rows: their pixels lie side by side. */
#define BLOCK 8

/* Compiled for wide registers, too, where the processor has them: sums stay the same. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

typedef struct {
    const int64_t *first;
    const float *weight;
    Py_ssize_t count, taps;
} Axis;

typedef struct {
    float *rows;       /* [taps, columns]: rows of the source, as they come */
    Py_ssize_t *held;  /* which these are */
    float *sum;        /* [columns] */
    float *block;      /* [columns, BLOCK] */
} Scratch;

#define TO_FLOATS(Value)                                                                     \
    do {                                                                                     \
        const Py_ssize_t step = picture->column_stride, size = (Py_ssize_t)sizeof(Value);    \
        const Py_ssize_t count = picture->columns;                                           \
        const Value *value = (const Value *)(const void *)row;                               \
        if (step == size)                                                                    \
            for (Py_ssize_t i = 0; i < count; i++) out[i] = value[i];                        \
        else if (step == -size)                                                              \
            for (Py_ssize_t i = 0; i < count; i++) out[i] = value[-i];                       \
        else                                                                                 \
            for (Py_ssize_t i = 0; i < count; i++) out[i] = *(const Value *)(row + i * step); \
    } while (0)

WIDE static void to_floats(const Picture *picture, Py_ssize_t number, float *restrict out) {
    const char *row = picture->data + number * picture->row_stride;
    if (picture->kind == 'B') TO_FLOATS(uint8_t);
    else if (picture->kind == 'H') TO_FLOATS(uint16_t);
    else TO_FLOATS(float);
}

static const float *source_row(const Picture *picture, const Axis *down, Py_ssize_t number,
                               Scratch *scratch) {
    Py_ssize_t slot = number % down->taps;
    float *row = scratch->rows + slot * picture->columns;
    if (scratch->held[slot] != number) {
        to_floats(picture, number, row);
        scratch->held[slot] = number;
    }
    return row;
}

WIDE static void add(float *restrict sum, const float *restrict row, float weight, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) sum[i] += weight * row[i];
}

/* Write one row of the smaller height into its column of the block. */
static void sum_rows(const Picture *picture, const Axis *down, Py_ssize_t number, int place,
                     Scratch *scratch) {
    const float *weight = down->weight + number * down->taps;
    Py_ssize_t columns = picture->columns;
    float *restrict sum = scratch->sum, *restrict block = scratch->block;
    for (Py_ssize_t i = 0; i < columns; i++) sum[i] = 0;
    for (Py_ssize_t tap = 0; tap < down->taps; tap++) {
        Py_ssize_t row = down->first[number] + tap;
        if (row >= picture->rows) break; /* its weight is 0 */
        add(sum, source_row(picture, down, row, scratch), weight[tap], columns);
    }
    for (Py_ssize_t i = 0; i < columns; i++) block[i * BLOCK + place] = sum[i];
}

static float rounded(float value, float most) {
    float whole = floorf(value + 0.5f);
    return whole < 0 ? 0 : whole > most ? most : whole;
}

static void put(void *out, Py_ssize_t place, char kind, float value) {
    if (kind == 'B') ((uint8_t *)out)[place] = (uint8_t)rounded(value, 255);
    else if (kind == 'H') ((uint16_t *)out)[place] = (uint16_t)rounded(value, 65535);
    else ((float *)out)[place] = value;
}

/* Write the rows of a block, from `top` on. */
WIDE static void sum_columns(const Picture *picture, const Axis *across, Py_ssize_t top, int rows,
                        const float *restrict block, void *out) {
    for (Py_ssize_t column = 0; column < across->count; column++) {
        const float *weight = across->weight + column * across->taps;
        float sum[BLOCK] = {0};
        for (Py_ssize_t tap = 0; tap < across->taps; tap++) {
            Py_ssize_t from = across->first[column] + tap;
            if (from >= picture->columns) break;
            for (int i = 0; i < BLOCK; i++) sum[i] += weight[tap] * block[from * BLOCK + i];
        }
        for (int i = 0; i < rows; i++)
            put(out, (top + i) * across->count + column, picture->kind, sum[i]);
    }
}

static void resize_all(const Picture *picture, const Axis *down, const Axis *across,
                       Scratch *scratch, void *out) {
    for (Py_ssize_t i = 0; i < down->taps; i++) scratch->held[i] = -1;
    for (Py_ssize_t i = 0; i < picture->columns * BLOCK; i++) scratch->block[i] = 0;
    for (Py_ssize_t top = 0; top < down->count; top += BLOCK) {
        int rows = down->count - top < BLOCK ? (int)(down->count - top) : BLOCK;
        for (int i = 0; i < rows; i++) sum_rows(picture, down, top + i, i, scratch);
        sum_columns(picture, across, top, rows, scratch->block, out);
    }
}

static int has_axis(const Py_buffer *first, const Py_buffer *weight, Py_ssize_t size, Axis *axis) {
    axis->first = first->buf;
    axis->weight = weight->buf;
    axis->count = first->len / (Py_ssize_t)sizeof(int64_t);
    if (axis->count == 0 || weight->len == 0) return 0;
    axis->taps = weight->len / axis->count / (Py_ssize_t)sizeof(float);
    if (axis->taps * axis->count * (Py_ssize_t)sizeof(float) != weight->len) return 0;
    for (Py_ssize_t i = 0; i < axis->count; i++)
        if (axis->first[i] < 0 || axis->first[i] >= size) return 0;
    return 1;
}

static Scratch scratch_of(Py_ssize_t columns, Py_ssize_t taps) {
    size_t row = (size_t)columns * sizeof(float);
    return (Scratch){malloc(row * (size_t)taps), malloc((size_t)taps * sizeof(Py_ssize_t)),
                     malloc(row), malloc(row * BLOCK)};
}

static void free_scratch(Scratch *scratch) {
    free(scratch->rows);
    free(scratch->held);
    free(scratch->sum);
    free(scratch->block);
}

PyObject *resize(PyObject *module, PyObject *args) {
    PyObject *source;
    Py_buffer view, first_row, row_weight, first_column, column_weight, out;
    Picture picture;
    Axis down, across;
    (void)module;
    if (!PyArg_ParseTuple(args, "Oy*y*y*y*w*", &source, &first_row, &row_weight, &first_column,
                          &column_weight, &out))
        return NULL;
    int has_memory = 1;
    int fits = PyObject_GetBuffer(source, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT) == 0;
    if (fits) {
        fits = has_picture(&view, "BHf", &picture) &&
               has_axis(&first_row, &row_weight, picture.rows, &down) &&
               has_axis(&first_column, &column_weight, picture.columns, &across) &&
               out.len == down.count * across.count * view.itemsize;
        if (fits) {
            Scratch scratch = scratch_of(picture.columns, down.taps);
            has_memory = scratch.rows && scratch.held && scratch.sum && scratch.block;
            if (has_memory) {
                Py_BEGIN_ALLOW_THREADS
                resize_all(&picture, &down, &across, &scratch, out.buf);
                Py_END_ALLOW_THREADS
            }
            free_scratch(&scratch);
        }
        PyBuffer_Release(&view);
    }
    PyBuffer_Release(&first_row);
    PyBuffer_Release(&row_weight);
    PyBuffer_Release(&first_column);
    PyBuffer_Release(&column_weight);
    PyBuffer_Release(&out);
    if (PyErr_Occurred()) return NULL;
    if (!has_memory) return PyErr_NoMemory();
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "picture, weights and out do not fit together");
        return NULL;
    }
    Py_RETURN_NONE;
}
