/* Writes pieces of tiles that lie in device memory into regions, all of a batch in one launch.
 *
 * Compiled for one kind of values at a time; defined then are
 *   SOURCE   type of stored samples (unsigned char, short, float …)
 *   BITS     an unsigned type of the same size, in which bytes are swapped and bits masked
 *   TARGET   type of the region's values
 *   WORKING  type in which values are scaled (float, double)
 *   SWAPPED  1: samples are in the other byte order
 *   USED     bits that count in a sample, 0: all of them
 *   SIGNED   1: the highest of the bits that count is the sign's
 *   SCALED   1: values become value * scale + offset
 *   OPAQUE   1: samples are only copied (complex numbers)
 *   TABLED   n: a table with n values a stored value gives what comes out; 0: there is none
 *   MOVED    1: a value's bytes stay as they are
 *
 * A row of a piece is for the threads along x of a block; those along y have other rows.
 */
typedef long long int64;

struct Complex64 {
    float real, imaginary;
};

struct Complex128 {
    double real, imaginary;
};

struct Piece {
    int64 source;         /* address of the first pixel's first sample */
    int64 row_stride;     /* bytes, all three */
    int64 pixel_stride;
    int64 channel_stride;
    int64 target;         /* address of the first pixel's first channel in the region */
    int64 height, width;
    int64 first_channel;  /* of the plane that the piece is of, in `Channels` */
    int64 channel_count;
    int64 table;          /* address of its table */
};

struct Channel {
    int64 sample;  /* which sample of the source */
    int64 offset;  /* bytes from the pixel's address in the region */
    int64 number;  /* which scale and offset */
};

#if !OPAQUE
__device__ static SOURCE load(const unsigned char *place) {
    BITS bits = 0;
    if (!SWAPPED && (size_t)place % sizeof(BITS) == 0) {
        bits = *(const BITS *)place;
    } else {
        for (int byte = 0; byte < (int)sizeof(BITS); byte++) {
            int shift = 8 * (SWAPPED ? (int)sizeof(BITS) - 1 - byte : byte);
            bits |= (BITS)((BITS)place[byte] << shift);
        }
    }
#if USED
    bits = (BITS)(bits << (8 * sizeof(BITS) - USED));
#if SIGNED
    SOURCE moved;
    memcpy(&moved, &bits, sizeof moved);
    return (SOURCE)(moved >> (8 * sizeof(BITS) - USED)); /* takes the sign along */
#else
    bits = (BITS)(bits >> (8 * sizeof(BITS) - USED));
#endif
#endif
    SOURCE value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

__device__ static void store(unsigned char *place, WORKING value) {
    *(TARGET *)place = (TARGET)value;
}
#endif

__device__ static void copy_value(const Piece &piece, const Channel &channel, int64 y, int64 x,
                                  int64 row_stride, int64 pixel_stride, const WORKING *scale,
                                  const WORKING *offset) {
    const unsigned char *from = (const unsigned char *)piece.source + y * piece.row_stride +
                                x * piece.pixel_stride;
    unsigned char *to = (unsigned char *)piece.target + y * row_stride + x * pixel_stride +
                        channel.offset;
#if OPAQUE
    memcpy(to, from + channel.sample * piece.channel_stride, sizeof(TARGET));
#elif TABLED
    BITS bits;
    SOURCE stored = load(from + (TABLED == 1 ? channel.sample * piece.channel_stride : 0));
    memcpy(&bits, &stored, sizeof bits);
    TABLE value = ((const TABLE *)piece.table)[(int64)bits * TABLED +
                                               (TABLED == 1 ? 0 : channel.sample)];
#else
    SOURCE value = load(from + channel.sample * piece.channel_stride);
#endif
#if OPAQUE
    (void)scale, (void)offset;
#elif SCALED
    /* rounded after each step, as NumPy does it */
    store(to, ADD(MULTIPLY((WORKING)value, scale[channel.number]), offset[channel.number]));
#else
    *(TARGET *)to = (TARGET)value;
#endif
}

#if MOVED
struct alignas(16) Words {
    unsigned int word[4];
};

/* Copies bytes. Of the target whole words of 16 bytes are written; of the source words of 4 are
 * read, in which no byte may be wanted at an end, but at least one is. */
__device__ static void copy_bytes(unsigned char *to, const unsigned char *from, unsigned int count) {
    const unsigned int room = (unsigned int)(-(size_t)to % 16), head = room < count ? room : count;
    const unsigned int words = (count - head) / 16, done = head + 16 * words;
    for (unsigned int i = threadIdx.x; i < head; i += blockDim.x) to[i] = from[i];
    Words *target = (Words *)(to + head);
    const unsigned char *begin = from + head;
    if ((size_t)begin % 16 == 0) {
        const Words *source = (const Words *)begin;
        for (unsigned int i = threadIdx.x; i < words; i += blockDim.x) target[i] = source[i];
    } else {
        const unsigned int shift = 8 * (unsigned int)((size_t)begin % 4);
        const unsigned int *source = (const unsigned int *)(begin - shift / 8);
        for (unsigned int i = threadIdx.x; i < words; i += blockDim.x) {
            const unsigned int *word = source + 4 * (size_t)i;
            Words found;
            for (int k = 0; k < 4; k++)
                found.word[k] = shift ? word[k] >> shift | word[k + 1] << (32 - shift) : word[k];
            target[i] = found;
        }
    }
    for (unsigned int i = done + threadIdx.x; i < count; i += blockDim.x) to[i] = from[i];
}

/* Returns how many runs of bytes a row consists of that lie in the region as in the tile: 1, or
 * one a channel, or 0: values lie apart. */
__device__ static unsigned int runs_of(const Piece &piece, const Channel *channels,
                                       int64 pixel_stride) {
    const int64 size = sizeof(TARGET);
    if (piece.pixel_stride != pixel_stride) return 0;
    if (pixel_stride == size) return (unsigned int)piece.channel_count;
    if (pixel_stride != size * piece.channel_count) return 0;
    for (int64 c = 1; c < piece.channel_count; c++) {
        const int64 step = (channels[c].sample - channels[0].sample) * piece.channel_stride;
        if (step != c * size || channels[c].offset - channels[0].offset != c * size) return 0;
    }
    return 1;
}
#endif

__device__ static void copy_row(const Piece &piece, const Channel *channels, int64 y,
                                int64 row_stride, int64 pixel_stride, const WORKING *scale,
                                const WORKING *offset) {
    const unsigned int count = (unsigned int)piece.channel_count;
    const unsigned int width = (unsigned int)piece.width;
    /* neighbouring threads write neighbouring values */
    if (pixel_stride == (int64)sizeof(TARGET)) {
        for (unsigned int c = 0; c < count; c++)
            for (unsigned int x = threadIdx.x; x < width; x += blockDim.x)
                copy_value(piece, channels[c], y, x, row_stride, pixel_stride, scale, offset);
        return;
    }
    const unsigned int step_x = blockDim.x / count, step_c = blockDim.x % count;
    unsigned int x = threadIdx.x / count, c = threadIdx.x % count;
    while (x < width) {
        copy_value(piece, channels[c], y, x, row_stride, pixel_stride, scale, offset);
        x += step_x, c += step_c;
        if (c >= count) x++, c -= count;
    }
}

extern "C" __global__ void gather(const Piece *pieces, const Channel *channels, int64 row_stride,
                                  int64 pixel_stride, const WORKING *scale,
                                  const WORKING *offset) {
    const Piece piece = pieces[blockIdx.x];
    const Channel *own = channels + piece.first_channel;
    const int64 step = (int64)gridDim.y * blockDim.y;
    int64 y = (int64)blockIdx.y * blockDim.y + threadIdx.y;
#if MOVED
    const unsigned int runs = runs_of(piece, own, pixel_stride);
    const unsigned int bytes =
        (unsigned int)(piece.width * piece.channel_count * (int64)sizeof(TARGET) / (runs ? runs : 1));
    for (; runs && y < piece.height; y += step) {
        const unsigned char *from = (const unsigned char *)piece.source + y * piece.row_stride;
        unsigned char *to = (unsigned char *)piece.target + y * row_stride;
        for (unsigned int c = 0; c < runs; c++)
            copy_bytes(to + own[c].offset, from + own[c].sample * piece.channel_stride, bytes);
    }
#endif
    for (; y < piece.height; y += step)
        copy_row(piece, own, y, row_stride, pixel_stride, scale, offset);
}
