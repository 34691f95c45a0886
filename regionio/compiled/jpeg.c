/* Decodes 8-bit baseline JPEG tiles and writes pieces of them where they belong.
 *
 * One call decodes many tiles without Python's lock, by several threads if that is wanted. Of each tile only what its pieces need is
 * transformed: rows above and columns beside them are skipped, rows below are not even
 * entropy-decoded. Whatever is unusual about a stream (another process than baseline, a warning of
 * libjpeg's, an unexpected size) makes this code leave the tile to Python, which decodes it again
 * or says what is wrong with it.
 *
 * Needs libjpeg-turbo 1.5 or later. Source: libjpeg-turbo's libjpeg.txt.
 */
#include "parallel.h"
#include "pieces.h"
#include "tiles.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#ifndef LIBJPEG_TURBO_VERSION
#error "libjpeg-turbo is needed: other libjpegs can't decode parts of a picture"
#endif
#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)
const char jpeg_library[] = "libjpeg-turbo " TEXT(LIBJPEG_TURBO_VERSION);

/* Columns beside the wanted ones that chroma is interpolated from, and some to spare. */
#define MARGIN 16

#define MOST_PART_TILES 8

/* Memory for a whole tile, of which `rows` and `columns` lie inside the image; address 0: none. */
typedef struct {
    int64_t address, rows, columns;
} Keep;

typedef struct {
    int rows, columns, samples, is_rgb, can_stop_early;
    Bytes prefix, suffix;
} TileKind;

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf escape;
} ErrorManager;

typedef struct {
    struct jpeg_source_mgr base;
    Bytes parts[3];
    int next;
} SourceManager;

static void on_error(j_common_ptr decoder) { longjmp(((ErrorManager *)decoder->err)->escape, 1); }

static void on_message(j_common_ptr decoder, int level) {
    if (level < 0) on_error(decoder);
}

static void ignore(j_common_ptr decoder) { (void)decoder; }

static void do_nothing(j_decompress_ptr decoder) { (void)decoder; }

static boolean next_part(j_decompress_ptr decoder) {
    SourceManager *source = (SourceManager *)decoder->src;
    while (source->next < 3) {
        Bytes part = source->parts[source->next++];
        if (part.size > 0) {
            source->base.next_input_byte = part.data;
            source->base.bytes_in_buffer = part.size;
            return TRUE;
        }
    }
    on_error((j_common_ptr)decoder);
    return FALSE;
}

static void skip_bytes(j_decompress_ptr decoder, long count) {
    struct jpeg_source_mgr *source = decoder->src;
    while (count > 0) {
        if (source->bytes_in_buffer == 0) next_part(decoder);
        size_t step = (size_t)count < source->bytes_in_buffer ? (size_t)count
                                                              : source->bytes_in_buffer;
        source->next_input_byte += step;
        source->bytes_in_buffer -= step;
        count -= (long)step;
    }
}

/* Whether the end marker is still to come: no entropy-coded data looks like it. */
static int is_complete(j_decompress_ptr decoder, Bytes stream) {
    const unsigned char *rest = decoder->src->next_input_byte;
    size_t size = decoder->src->bytes_in_buffer, end = stream.size;
    while (end > 0 && stream.data[end - 1] == 0) end--;
    if (end >= 2 && stream.data[end - 2] == 0xFF && stream.data[end - 1] == 0xD9) return 1;
    for (size_t i = 0; i + 1 < size; i++)
        if (rest[i] == 0xFF && rest[i + 1] == 0xD9) return 1;
    return 0;
}

/* Whether libjpeg-turbo's skipping of rows and columns is exact for a stream's subsampling. */
static int may_skip(j_decompress_ptr decoder) {
    if (decoder->max_h_samp_factor > 2 || decoder->max_v_samp_factor > 2) return 0;
    for (int c = 1; c < decoder->num_components; c++)
        if (decoder->comp_info[c].h_samp_factor != 1 || decoder->comp_info[c].v_samp_factor != 1)
            return 0;
    return 1;
}

/* Rows and columns of a tile that are needed, the last ones excluded. */
typedef struct {
    int64_t top, bottom, left, right;
} Box;

static Box needed(const Keep *keep, const Piece *pieces, int64_t count) {
    Box box = {INT64_MAX, 0, INT64_MAX, 0};
    if (keep->address) return (Box){0, keep->rows, 0, keep->columns};
    for (int64_t i = 0; i < count; i++) {
        const Piece *piece = &pieces[i];
        if (piece->y < box.top) box.top = piece->y;
        if (piece->x < box.left) box.left = piece->x;
        if (piece->y + piece->height > box.bottom) box.bottom = piece->y + piece->height;
        if (piece->x + piece->width > box.right) box.right = piece->x + piece->width;
    }
    return box;
}

/* Have libjpeg skip what lies above and beside a box; return the first column that it gives. */
static JDIMENSION skip_to(j_decompress_ptr decoder, Box box) {
    JDIMENSION first = 0, columns = decoder->output_width;
    int64_t block_rows = DCTSIZE * decoder->max_v_samp_factor;
    int64_t rows = (box.top / block_rows - 1) * block_rows;
    if (!may_skip(decoder)) return 0;
    if (box.left > MARGIN) first = (JDIMENSION)box.left - MARGIN;
    if (box.right + MARGIN < (int64_t)columns) columns = (JDIMENSION)box.right + MARGIN;
    columns -= first;
    if (columns < decoder->output_width) jpeg_crop_scanline(decoder, &first, &columns);
    if (rows > 0) jpeg_skip_scanlines(decoder, (JDIMENSION)rows);
    return first;
}

/* Decode the rows of a box, which start at column `first`, and write pieces of them. */
static void decode_rows(j_decompress_ptr decoder, const TileKind *kind, Box box, JDIMENSION first,
                        const Keep *keep, const Piece *pieces, int64_t count,
                        const Layout *layout, unsigned char *scratch) {
    const Py_ssize_t tile_row = (Py_ssize_t)kind->columns * kind->samples;
    int straight = layout->table == NULL && count == 1 && !keep->address && box.left == first &&
                   box.right - box.left == (int64_t)decoder->output_width;
    while ((int64_t)decoder->output_scanline < box.bottom) {
        int64_t y = decoder->output_scanline;
        JSAMPROW row = scratch;
        if (keep->address) row = (JSAMPROW)(uintptr_t)keep->address + y * tile_row;
        if (straight && y >= box.top)
            row = (JSAMPROW)(uintptr_t)pieces->address + (y - box.top) * layout->row_stride;
        jpeg_read_scanlines(decoder, &row, 1);
        if (straight) continue;
        for (const Piece *piece = pieces; piece < pieces + count; piece++) {
            if (y < piece->y || y >= piece->y + piece->height) continue;
            char *place = (char *)(uintptr_t)piece->address + (y - piece->y) * layout->row_stride;
            write_row(layout, place, row + (piece->x - first) * kind->samples, piece->width,
                      kind->samples);
        }
    }
}

/* Decode one tile into its pieces. Returns whether that was done. */
static int decode_tile(const TileKind *kind, Bytes stream, const Keep *keep, const Piece *pieces,
                       int64_t count, const Layout *layout, unsigned char *scratch) {
    struct jpeg_decompress_struct decoder;
    ErrorManager errors;
    SourceManager source;
    Box box = needed(keep, pieces, count);
    if (box.top < 0 || box.left < 0 || box.top >= box.bottom) return 0;

    memset(&decoder, 0, sizeof decoder);
    decoder.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = on_error;
    errors.base.emit_message = on_message;
    errors.base.output_message = ignore;
    if (setjmp(errors.escape)) {
        jpeg_destroy_decompress(&decoder);
        return 0;
    }
    jpeg_create_decompress(&decoder);
    memset(&source, 0, sizeof source);
    source.base.init_source = do_nothing;
    source.base.fill_input_buffer = next_part;
    source.base.skip_input_data = skip_bytes;
    source.base.resync_to_restart = jpeg_resync_to_restart;
    source.base.term_source = do_nothing;
    source.parts[0] = kind->prefix;
    source.parts[1] = stream;
    source.parts[2] = kind->suffix;
    decoder.src = &source.base;

    jpeg_read_header(&decoder, TRUE);
    int usual = !decoder.progressive_mode && !decoder.arith_code && decoder.data_precision == 8 &&
                decoder.num_components == kind->samples &&
                decoder.comps_in_scan == decoder.num_components &&
                decoder.image_width == (JDIMENSION)kind->columns &&
                decoder.image_height == (JDIMENSION)kind->rows &&
                box.bottom <= (int64_t)decoder.image_height &&
                box.right <= (int64_t)decoder.image_width &&
                !(kind->is_rgb && decoder.saw_Adobe_marker);
    if (!usual) on_error((j_common_ptr)&decoder);
    if (kind->samples == 1) {
        decoder.out_color_space = JCS_GRAYSCALE;
    } else {
        if (kind->is_rgb) decoder.jpeg_color_space = JCS_RGB;
        decoder.out_color_space = JCS_RGB;
    }
    jpeg_start_decompress(&decoder);
    JDIMENSION first = skip_to(&decoder, box);
    decode_rows(&decoder, kind, box, first, keep, pieces, count, layout, scratch);

    if (decoder.output_scanline < decoder.output_height && kind->can_stop_early) {
        if (!is_complete(&decoder, stream)) on_error((j_common_ptr)&decoder);
    } else {
        JSAMPROW row = scratch;
        while (decoder.output_scanline < decoder.output_height)
            jpeg_read_scanlines(&decoder, &row, 1);
        jpeg_finish_decompress(&decoder);
    }
    jpeg_destroy_decompress(&decoder);
    return 1;
}

/* Tiles of one call, `step` of them a part. */
typedef struct {
    TileKind kind;
    Tiles tiles;
    Py_ssize_t skip, step;
    const Keep *keep;
    Target target;
    char *done;
} Work;

static void decode_part(void *argument, Py_ssize_t part) {
    const Work *work = argument;
    const Keep nothing = {0, 0, 0};
    const int64_t *bounds = work->target.first.buf;
    const Piece *pieces = work->target.pieces.buf;
    Py_ssize_t first = part * work->step, end = first + work->step, skip = work->skip;
    if (end > work->tiles.count) end = work->tiles.count;
    unsigned char *memory = read_tiles(&((Work *)argument)->tiles, first, end);
    unsigned char *scratch =
        malloc((size_t)work->kind.columns * (size_t)work->kind.samples + 64);
    for (Py_ssize_t i = first; scratch && i < end; i++) {
        const unsigned char *data = work->tiles.bytes[i].data;
        size_t size = work->tiles.bytes[i].size;
        if (data == NULL || size < (size_t)skip) continue;
        if (skip == 2 && (data[0] != 0xFF || data[1] != 0xD8)) continue;
        Bytes stream = {data + skip, size - (size_t)skip};
        const Keep *keep = work->keep ? &work->keep[i] : &nothing;
        work->done[i] = (char)decode_tile(&work->kind, stream, keep, pieces + bounds[i],
                                          bounds[i + 1] - bounds[i], &work->target.layout,
                                          scratch);
    }
    free(scratch);
    free(memory);
}

/* Return how many tiles a part has: few, for threads to end at one time, but neighbours together.
 * One thread reads all of them at once. */
static Py_ssize_t part_step(Py_ssize_t count, int threads) {
    Py_ssize_t step = count / (PARTS_A_THREAD * (Py_ssize_t)threads);
    if (threads <= 1) return count > 0 ? count : 1;
    if (step > MOST_PART_TILES) return MOST_PART_TILES;
    return step > 0 ? step : 1;
}

static PyObject *decoded(Work *work, Py_ssize_t keep_bytes, int threads) {
    const TileKind *kind = &work->kind;
    Py_ssize_t count = work->tiles.count;
    if (kind->samples < 1 || kind->samples > 3 || kind->columns < 1 ||
        kind->columns > JPEG_MAX_DIMENSION ||
        (keep_bytes && keep_bytes != count * (Py_ssize_t)sizeof(Keep))) {
        PyErr_SetString(PyExc_ValueError, "tiles of a size that no JPEG stream has");
        return NULL;
    }
    if (complete_target(&work->target, count, kind->samples)) return NULL;
    work->done = PyMem_Calloc((size_t)count + 1, 1);
    if (work->done == NULL) return PyErr_NoMemory();
    work->step = part_step(count, threads);

    Py_BEGIN_ALLOW_THREADS
    in_parallel(decode_part, work, (count + work->step - 1) / work->step, threads);
    Py_END_ALLOW_THREADS

    PyObject *result = Py_BuildValue("y#LL", work->done, count, (long long)work->tiles.requests,
                                     (long long)work->tiles.bytes_read);
    PyMem_Free(work->done);
    return result;
}

PyObject *decode_jpeg(PyObject *module, PyObject *args) {
    PyObject *source, *result = NULL;
    Py_buffer prefix, suffix, keep;
    int threads;
    Work work;
    TileKind *kind = &work.kind;
    (void)module;
    if (!PyArg_ParseTuple(args, "Oy*y*niiipy*i" TARGET_FORMAT, &source, &prefix, &suffix,
                          &work.skip, &kind->rows, &kind->columns, &kind->samples, &kind->is_rgb,
                          &keep, &threads, TARGET_FIELDS(work.target)))
        return NULL;
    kind->prefix = (Bytes){prefix.buf, (size_t)prefix.len};
    kind->suffix = (Bytes){suffix.buf, (size_t)suffix.len};
    kind->can_stop_early = suffix.len == 0;
    work.keep = keep.len ? keep.buf : NULL;
    if (open_tiles(source, &work.tiles) == 0) {
        result = decoded(&work, keep.len, threads);
        close_tiles(&work.tiles);
    }
    PyBuffer_Release(&prefix);
    PyBuffer_Release(&suffix);
    PyBuffer_Release(&keep);
    release_target(&work.target);
    return result;
}
