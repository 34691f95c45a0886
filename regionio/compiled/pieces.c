/* Writes pieces of decoded 8-bit tiles into regions. */
#include "pieces.h"

#include <string.h>

int complete_target(Target *target, Py_ssize_t tiles, int samples) {
    Layout *layout = &target->layout;
    Py_ssize_t pair = 2 * (Py_ssize_t)sizeof(int64_t);
    const int64_t *first = target->first.buf;

    layout->channels = target->channels.buf;
    layout->channel_count = (int)(target->channels.len / pair);
    layout->table = target->table.len ? target->table.buf : NULL;
    int itemsize = layout->itemsize;
    int sizes_fit = (itemsize == 1 || itemsize == 2 || itemsize == 4 || itemsize == 8) &&
                    target->first.len == (tiles + 1) * (Py_ssize_t)sizeof(int64_t) &&
                    target->pieces.len == first[tiles] * (Py_ssize_t)sizeof(Piece) &&
                    target->channels.len % pair == 0 &&
                    (!layout->table ||
                     target->table.len == (Py_ssize_t)256 * layout->channel_count * itemsize);
    for (int c = 0; sizes_fit && c < layout->channel_count; c++)
        sizes_fit = layout->channels[c][0] >= 0 && layout->channels[c][0] < samples;
    for (Py_ssize_t i = 0; sizes_fit && i < tiles; i++)
        sizes_fit = first[i] >= 0 && first[i] <= first[i + 1];
    if (sizes_fit) return 0;
    PyErr_SetString(PyExc_ValueError, "pieces, channels and table do not fit together");
    return -1;
}

void release_target(Target *target) {
    PyBuffer_Release(&target->first);
    PyBuffer_Release(&target->pieces);
    PyBuffer_Release(&target->channels);
    PyBuffer_Release(&target->table);
}

#define WRITE_AS(type)                                                                  \
    for (int c = 0; c < layout->channel_count; c++) {                                   \
        const type *values = (const type *)layout->table + 256 * c;                     \
        const unsigned char *sample = row + layout->channels[c][0];                     \
        char *target = place + layout->channels[c][1];                                  \
        for (int64_t x = 0; x < width; x++) {                                           \
            memcpy(target, &values[*sample], sizeof(type));                             \
            sample += samples;                                                          \
            target += layout->pixel_stride;                                             \
        }                                                                               \
    }

void write_row(const Layout *layout, char *place, const unsigned char *row, int64_t width,
               int samples) {
    if (layout->table == NULL) {
        memcpy(place, row, (size_t)(width * samples));
        return;
    }
    switch (layout->itemsize) {
        case 1: WRITE_AS(uint8_t) break;
        case 2: WRITE_AS(uint16_t) break;
        case 4: WRITE_AS(uint32_t) break;
        default: WRITE_AS(uint64_t) break;
    }
}

PyObject *paste(PyObject *module, PyObject *args) {
    Py_buffer addresses;
    Py_ssize_t tile_row_stride;
    int samples;
    Target target;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*ni" TARGET_FORMAT, &addresses, &tile_row_stride, &samples,
                          TARGET_FIELDS(target)))
        return NULL;
    Py_ssize_t count = addresses.len / (Py_ssize_t)sizeof(int64_t);
    if (complete_target(&target, count, samples) == 0) {
        const Layout *layout = &target.layout;
        const int64_t *first = target.first.buf, *address = addresses.buf;
        const Piece *pieces = target.pieces.buf;

        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) {
            for (const Piece *piece = pieces + first[i]; piece < pieces + first[i + 1]; piece++) {
                const unsigned char *row = (const unsigned char *)(uintptr_t)address[i] +
                                           piece->y * tile_row_stride + piece->x * samples;
                char *place = (char *)(uintptr_t)piece->address;
                for (int64_t y = 0; y < piece->height; y++) {
                    write_row(layout, place, row, piece->width, samples);
                    row += tile_row_stride;
                    place += layout->row_stride;
                }
            }
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    release_target(&target);
    PyBuffer_Release(&addresses);
    return result;
}
