/* Decodes a rectangle of a JPEG 2000 picture: only the code blocks that it needs. Palettes and
 * colour spaces of the file around a codestream are not applied: who calls this sees to that.
 *
 * Whatever is unusual about a stream (a warning of OpenJPEG's, an unexpected size or depth, lossy
 * transforms, which round otherwise in parts than in the whole) makes this code leave the picture to Python, which decodes all of it or says what is wrong with it.
 *
 * Needs OpenJPEG 2.3 or later. Source: openjpeg.h; ISO/IEC 15444-1.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include <openjpeg.h>

#define READ_BYTES (1 << 20)
#define REVERSIBLE 1
#define HIGH_THROUGHPUT 0x40

typedef struct {
    const unsigned char *data;
    size_t size, place;
} Memory;

/* What the picture must be, and what is wanted of it. */
typedef struct {
    uint32_t width, height, samples, bits;
    int is_signed, itemsize;
    uint32_t left, top, right, bottom;
} Wanted;

static OPJ_SIZE_T read_memory(void *buffer, OPJ_SIZE_T size, void *user) {
    Memory *memory = user;
    size_t left = memory->size - memory->place;
    if (left == 0) return (OPJ_SIZE_T)-1;
    if (size > left) size = left;
    memcpy(buffer, memory->data + memory->place, size);
    memory->place += size;
    return size;
}

static OPJ_OFF_T skip_memory(OPJ_OFF_T size, void *user) {
    Memory *memory = user;
    if (size < 0 || (uint64_t)size > memory->size - memory->place) return -1;
    memory->place += (size_t)size;
    return size;
}

static OPJ_BOOL seek_memory(OPJ_OFF_T place, void *user) {
    Memory *memory = user;
    if (place < 0 || (uint64_t)place > memory->size) return OPJ_FALSE;
    memory->place = (size_t)place;
    return OPJ_TRUE;
}

static void note(const char *message, void *noted) {
    (void)message;
    *(int *)noted = 1;
}

static void ignore(const char *message, void *user) { (void)message, (void)user; }

static int is_expected(const opj_image_t *image, const Wanted *wanted) {
    if (image->x1 - image->x0 != wanted->width || image->y1 - image->y0 != wanted->height ||
        image->numcomps != wanted->samples)
        return 0;
    for (uint32_t c = 0; c < image->numcomps; c++) {
        const opj_image_comp_t *part = &image->comps[c];
        if (part->dx != 1 || part->dy != 1 || part->prec != wanted->bits ||
            (part->sgnd != 0) != wanted->is_signed)
            return 0;
    }
    return 1;
}

/* Return whether parts come out as they do of the whole: not of transforms in floating point, nor,
 * in OpenJPEG 2.5.0, of high-throughput code blocks. */
static int is_exact_in_parts(opj_codec_t *codec) {
    opj_codestream_info_v2_t *info = opj_get_cstr_info(codec);
    int exact = info != NULL && info->m_default_tile_info.tccp_info != NULL;
    for (uint32_t c = 0; exact && c < info->nbcomps; c++) {
        const opj_tccp_info_t *coding = &info->m_default_tile_info.tccp_info[c];
        exact = coding->qmfbid == REVERSIBLE && !(coding->cblksty & HIGH_THROUGHPUT);
    }
    if (info) opj_destroy_cstr_info(&info);
    return exact;
}

static int write_pixels(const opj_image_t *image, const Wanted *wanted, unsigned char *out) {
    uint32_t width = wanted->right - wanted->left, height = wanted->bottom - wanted->top;
    size_t count = (size_t)width * height;
    if (image->numcomps != wanted->samples) return 0; /* a palette may have added some */
    for (uint32_t c = 0; c < wanted->samples; c++) {
        const opj_image_comp_t *part = &image->comps[c];
        if (part->data == NULL || part->w != width || part->h != height ||
            part->prec != wanted->bits || (part->sgnd != 0) != wanted->is_signed)
            return 0;
    }
    for (uint32_t c = 0; c < wanted->samples; c++) {
        const int32_t *value = image->comps[c].data;
        if (wanted->itemsize == 1) {
            uint8_t *place = out + c;
            for (size_t i = 0; i < count; i++) place[i * wanted->samples] = (uint8_t)value[i];
        } else {
            uint16_t *place = (uint16_t *)(void *)out + c;
            for (size_t i = 0; i < count; i++) place[i * wanted->samples] = (uint16_t)value[i];
        }
    }
    return 1;
}

static int decode(Memory *memory, const Wanted *wanted, unsigned char *out) {
    static const unsigned char codestream[4] = {0xFF, 0x4F, 0xFF, 0x51};
    int is_raw = memory->size >= 4 && memcmp(memory->data, codestream, 4) == 0;
    int noted = 0, done = 0;
    opj_image_t *image = NULL;
    opj_dparameters_t parameters;
    opj_codec_t *codec = opj_create_decompress(is_raw ? OPJ_CODEC_J2K : OPJ_CODEC_JP2);
    opj_stream_t *stream = opj_stream_create(READ_BYTES, OPJ_TRUE);

    if (codec && stream) {
        opj_set_info_handler(codec, ignore, NULL);
        opj_set_warning_handler(codec, note, &noted);
        opj_set_error_handler(codec, note, &noted);
        opj_stream_set_read_function(stream, read_memory);
        opj_stream_set_skip_function(stream, skip_memory);
        opj_stream_set_seek_function(stream, seek_memory);
        opj_stream_set_user_data(stream, memory, NULL);
        opj_stream_set_user_data_length(stream, memory->size);
        opj_set_default_decoder_parameters(&parameters);
        parameters.flags |= OPJ_DPARAMETERS_IGNORE_PCLR_CMAP_CDEF_FLAG;
        done = opj_setup_decoder(codec, &parameters) && opj_read_header(stream, codec, &image) &&
               is_expected(image, wanted) && is_exact_in_parts(codec) &&
               opj_set_decode_area(codec, image, (OPJ_INT32)(image->x0 + wanted->left),
                                   (OPJ_INT32)(image->y0 + wanted->top),
                                   (OPJ_INT32)(image->x0 + wanted->right),
                                   (OPJ_INT32)(image->y0 + wanted->bottom)) &&
               opj_decode(codec, stream, image) && opj_end_decompress(codec, stream) && !noted &&
               write_pixels(image, wanted, out);
    }
    if (image) opj_image_destroy(image);
    if (stream) opj_stream_destroy(stream);
    if (codec) opj_destroy_codec(codec);
    return done;
}

PyDoc_STRVAR(decode_area_doc,
"decode_area(data, (height, width, samples), bits, is_signed, (top, left, bottom, right), out)\n\n"
"Decode a rectangle of a picture into `out`, of 8- or 16-bit samples by its depth. Return whether\n"
"it was done; if not, the picture is damaged or not of that kind.");

static PyObject *decode_area(PyObject *module, PyObject *args) {
    Py_buffer data, out;
    Wanted wanted;
    int done = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*(III)Ip(IIII)w*", &data, &wanted.height, &wanted.width,
                          &wanted.samples, &wanted.bits, &wanted.is_signed, &wanted.top,
                          &wanted.left, &wanted.bottom, &wanted.right, &out))
        return NULL;
    wanted.itemsize = wanted.bits <= 8 ? 1 : 2;
    int is_inside = wanted.top < wanted.bottom && wanted.bottom <= wanted.height &&
                    wanted.left < wanted.right && wanted.right <= wanted.width &&
                    wanted.width <= INT32_MAX / 2 && wanted.height <= INT32_MAX / 2 &&
                    wanted.bits <= 16;
    size_t needed = is_inside ? (size_t)(wanted.bottom - wanted.top) *
                                    (wanted.right - wanted.left) * wanted.samples *
                                    (size_t)wanted.itemsize
                              : 0;
    if (is_inside && (size_t)out.len == needed) {
        Memory memory = {data.buf, (size_t)data.len, 0};
        Py_BEGIN_ALLOW_THREADS
        done = decode(&memory, &wanted, out.buf);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_SetString(PyExc_ValueError, "the rectangle is not inside, or out has another size");
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(done);
}

static PyMethodDef methods[] = {{"decode_area", decode_area, METH_VARARGS, decode_area_doc},
                                {NULL, NULL, 0, NULL}};

static int add_names(PyObject *module) {
    PyObject *names = Py_BuildValue("[ss]", "JPEG2000_LIBRARY", "decode_area");
    if (names == NULL || PyModule_AddObjectRef(module, "__all__", names) < 0) return -1;
    Py_DECREF(names);
    PyObject *library = PyUnicode_FromFormat("OpenJPEG %s", opj_version());
    int failed = library == NULL || PyModule_AddObjectRef(module, "JPEG2000_LIBRARY", library);
    Py_XDECREF(library);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_names}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_jpeg2000", "Parts of JPEG 2000 pictures.", 0, methods, slots,
    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__jpeg2000(void) { return PyModuleDef_Init(&definition); }
