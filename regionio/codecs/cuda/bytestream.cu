/* Decompressed tiles in slots of one piece of memory: their checksums, and their predictor undone.
 *
 * Compiled for one kind of samples at a time; defined then are
 *   BITS     an unsigned type of the samples' size
 *   SWAPPED  1: samples are in the other byte order, and come out in the machine's
 *   DIFFERENCES  1: samples are stored as their differences from those before them
 */
typedef long long int64;
typedef unsigned long long uint64;

#define MODULUS 65521u /* RFC 1950, 9 */
#define STRETCH 4096   /* values whose sums stay below 2^63 */

/* The two halves of Adler-32 of each slot; `sums` are uint64[n, 2] and zero before. */
extern "C" __global__ void adler(const unsigned char *slots, int64 step, const uint64 *sizes,
                                 uint64 *sums) {
    const unsigned char *data = slots + (int64)blockIdx.x * step;
    const uint64 size = sizes[blockIdx.x];
    uint64 low = 0, high = 0, count = 0;
    for (uint64 i = threadIdx.x; i < size; i += blockDim.x) {
        low += data[i];
        high += (size - i) % MODULUS * data[i];
        if (++count % STRETCH == 0) {
            low %= MODULUS;
            high %= MODULUS;
        }
    }
    atomicAdd(&sums[2 * blockIdx.x], low % MODULUS);
    atomicAdd(&sums[2 * blockIdx.x + 1], high % MODULUS);
}

__device__ static BITS swapped(BITS bits) {
#if SWAPPED
    BITS other = 0;
    for (int byte = 0; byte < (int)sizeof(BITS); byte++)
        other |= (BITS)((bits >> (8 * byte) & 0xFF) << (8 * ((int)sizeof(BITS) - 1 - byte)));
    return other;
#else
    return bits;
#endif
}

/* Swap bytes and add up differences, in rows of `columns` pixels of `samples`. */
extern "C" __global__ void unpack(unsigned char *slots, int64 step, int64 rows, int64 columns,
                                  int64 samples) {
    BITS *tile = (BITS *)(slots + (int64)blockIdx.x * step);
    const int64 lines = rows * samples;
    for (int64 line = threadIdx.x; line < lines; line += blockDim.x) {
        BITS *place = tile + line / samples * columns * samples + line % samples;
        BITS sum = 0;
        for (int64 x = 0; x < columns; x++, place += samples) {
            sum = (BITS)(DIFFERENCES * sum + swapped(*place));
            *place = sum;
        }
    }
}
