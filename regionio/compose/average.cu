/* Averages regions over areas: each value of a smaller region from the pixels under it.
 *
 * Compiled for one kind of values at a time; defined then are
 *   VALUE    type of the values, before and after
 *   WORKING  type in which they are averaged (float, double)
 *   WHOLE    1: averages are rounded to the nearest
 *   TRUTH    1: values are true or false, and averages true from one half on
 */
typedef long long int64;

struct Shape {
    int64 regions, depth, height, width, channels; /* of the result */
    int64 source[5], target[5];                    /* bytes along these axes */
    int64 source_height, source_width;
    int64 taps_y, taps_x;
};

__device__ static WORKING down(const Shape &shape, const unsigned char *column, const int64 first,
                               const WORKING *share) {
    WORKING sum = 0;
    for (int64 tap = 0; tap < shape.taps_y; tap++) {
        if (!(share[tap] > 0)) continue; /* 0 times what is not a number would not be 0 */
        int64 y = first + tap < shape.source_height ? first + tap : shape.source_height - 1;
        WORKING value = (WORKING)*(const VALUE *)(column + y * shape.source[2]);
        sum = ADD(sum, MULTIPLY(value, share[tap]));
    }
    return sum;
}

__device__ static void store(unsigned char *place, WORKING value) {
#if TRUTH
    *(VALUE *)place = value >= (WORKING)0.5;
#elif WHOLE
    *(VALUE *)place = (VALUE)ROUND(value);
#else
    *(VALUE *)place = (VALUE)value;
#endif
}

extern "C" __global__ void average(const unsigned char *source, unsigned char *target,
                                   const Shape *shapes, const int64 *first_y,
                                   const WORKING *share_y, const int64 *first_x,
                                   const WORKING *share_x) {
    const Shape shape = *shapes;
    const int64 count = shape.regions * shape.depth * shape.height * shape.width * shape.channels;
    const int64 step = (int64)gridDim.x * blockDim.x;
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64 rest = i;
        const int64 c = rest % shape.channels;
        rest /= shape.channels;
        const int64 x = rest % shape.width;
        rest /= shape.width;
        const int64 y = rest % shape.height;
        rest /= shape.height;
        const int64 z = rest % shape.depth, n = rest / shape.depth;
        const unsigned char *from =
            source + n * shape.source[0] + z * shape.source[1] + c * shape.source[4];
        const int64 row = n * shape.height + y, column = n * shape.width + x;
        WORKING sum = 0;
        for (int64 tap = 0; tap < shape.taps_x; tap++) {
            const WORKING share = share_x[column * shape.taps_x + tap];
            if (!(share > 0)) continue;
            const int64 place = first_x[column] + tap;
            const int64 pixel = place < shape.source_width ? place : shape.source_width - 1;
            const WORKING part = down(shape, from + pixel * shape.source[3], first_y[row],
                                      share_y + row * shape.taps_y);
            sum = ADD(sum, MULTIPLY(part, share));
        }
        store(target + n * shape.target[0] + z * shape.target[1] + y * shape.target[2] +
                  x * shape.target[3] + c * shape.target[4],
              sum);
    }
}
