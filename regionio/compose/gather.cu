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
    for (int byte = 0; byte < (int)sizeof(BITS); byte++) {
        int shift = 8 * (SWAPPED ? (int)sizeof(BITS) - 1 - byte : byte);
        bits |= (BITS)((BITS)place[byte] << shift);
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

extern "C" __global__ void gather(const Piece *pieces, const Channel *channels, int64 row_stride,
                                  int64 pixel_stride, const WORKING *scale,
                                  const WORKING *offset) {
    const Piece piece = pieces[blockIdx.x];
    const unsigned int count = (unsigned int)piece.channel_count;
    const unsigned int width = (unsigned int)piece.width;
    const unsigned int per_row = width * count;
    const int is_planar = pixel_stride == (int64)sizeof(TARGET);
    for (int64 y = blockIdx.y; y < piece.height; y += gridDim.y) {
        for (unsigned int i = threadIdx.x; i < per_row; i += blockDim.x) {
            /* neighbouring threads write neighbouring values */
            unsigned int c = is_planar ? i / width : i % count;
            unsigned int x = is_planar ? i % width : i / count;
            copy_value(piece, channels[piece.first_channel + c], y, x, row_stride, pixel_stride,
                       scale, offset);
        }
    }
}
