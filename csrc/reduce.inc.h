/* Reductions of gradients, for one instruction set and one precision. */
#if !defined(real) || !defined(FL_PRECISION) || !defined(FL_BITS) || !defined(FL_INFINITY_BITS)
#error "define real, FL_PRECISION, FL_BITS and FL_INFINITY_BITS before including reduce.inc.h"
#endif

/* With the sign cleared, adding what infinity lacks of the sign bit sets that bit for infinity and NaN, and only for them. */
static int FL_FN(finite)(const void *g_, size_t n)
{
    const real *g = g_;
    const FL_BITS magnitude = ~(FL_BITS)0 >> 1;
    FL_BITS found = 0;
    for (size_t i = 0; i < n; i++) {
        FL_BITS bits;
        memcpy(&bits, g + i, sizeof bits);
        found |= (bits & magnitude) + (magnitude + 1 - FL_INFINITY_BITS);
    }
    return found <= magnitude;
}

/* Element i goes to lane i % 16: the order of summation, and so the bits, do not depend on the machine's vectors. */
static void FL_FN(squares)(const void *g_, double unit, double clip_, size_t n, double *restrict sums)
{
    const real *g = g_;
    const real clip = (real)clip_;
    double lanes[FL_LANES];
    memcpy(lanes, sums, sizeof lanes);
    size_t i = 0;
    for (; i + FL_LANES <= n; i += FL_LANES)
        for (size_t j = 0; j < FL_LANES; j++) {
            const double x = unit*(double)FL_FN(fl_max)(-clip, FL_FN(fl_min)(clip, g[i + j]));
            lanes[j] += x*x;
        }
    for (size_t j = 0; i + j < n; j++) {
        const double x = unit*(double)FL_FN(fl_max)(-clip, FL_FN(fl_min)(clip, g[i + j]));
        lanes[j] += x*x;
    }
    memcpy(sums, lanes, sizeof lanes);
}
