/* Half formats, for one instruction set: float16 (IEEE binary16) and bfloat16 (the upper half of a float).
 *
 * In integer operations, so that the bits are the same with and without conversion instructions. */

static inline uint32_t FL_PASTE(bits_of, FL_ISA)(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float FL_PASTE(float_of, FL_ISA)(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#define BITS(x) FL_PASTE(bits_of, FL_ISA)(x)
#define FLOAT(bits) FL_PASTE(float_of, FL_ISA)(bits)

#define DRAW(i) (uint32_t)(fl_draw(key, counter + (i)) >> 32)

static void decode_bfloat16(float *restrict out, const uint16_t *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = FLOAT((uint32_t)in[i] << 16);
}

#define BFLOAT16(a, rounded) (uint16_t)(((a) & 0x7fffffffu) > 0x7f800000u ? ((a) >> 16) | 0x40u : (rounded) >> 16)

static void encode_bfloat16(uint16_t *restrict out, const float *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t a = BITS(in[i]);
        out[i] = BFLOAT16(a, a + 0x7fffu + ((a >> 16) & 1u));
    }
}

/* The sum with noise, but no larger than the largest finite number where rounding to nearest stays finite. */
#define MIN(x, y) ((x) < (y) ? (x) : (y))
#define DITHERED(magnitude, noise, overflow, largest) \
    MIN((magnitude) + (noise), (magnitude) < (overflow) ? (largest) : UINT32_MAX) /* && would be a branch: no vectors */

static void dither_bfloat16(uint16_t *restrict out, const float *restrict in, uint64_t key, uint64_t counter, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = BITS(in[i]), a = bits & 0x7fffffffu;
        const uint32_t noise = a >= 0x7f800000u ? 0 : DRAW(i) >> 16;
        out[i] = BFLOAT16(bits, (bits & 0x80000000u) | DITHERED(a, noise, 0x7f7f8000u, 0x7f7fffffu));
    }
}

/* The product with 2^112 moves the exponent from float16's bias to float's, and is exact for subnormals too. */
static void decode_float16(float *restrict out, const uint16_t *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t a = (uint32_t)(in[i] & 0x7fffu) << 13;
        const uint32_t magnitude = a >= 0x0f800000u ? a + 0x70000000u : BITS(FLOAT(a)*0x1p112f);
        out[i] = FLOAT(magnitude | (uint32_t)(in[i] & 0x8000u) << 16);
    }
}

/* a: bits of a magnitude. 2^16 and above is infinity or NaN, below 2^-14 is subnormal. */
#define FLOAT16(a, sign, normal, subnormal)                              \
    (uint16_t)((sign) >> 16 | ((a) > 0x7f800000u    ? 0x7e00u            \
                               : (a) >= 0x47800000u ? 0x7c00u            \
                               : (a) >= 0x38800000u ? ((normal) - 0x38000000u) >> 13 \
                                                    : (subnormal)))

static void encode_float16(uint16_t *restrict out, const float *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = BITS(in[i]), a = bits & 0x7fffffffu;
        /* One unit of the last place of 0.5f is float16's smallest number: the sum rounds to it. */
        const uint32_t subnormal = BITS(FLOAT(a < 0x38800000u ? a : 0) + 0.5f) - BITS(0.5f);
        out[i] = FLOAT16(a, bits & 0x80000000u, a + 0xfffu + ((a >> 13) & 1u), subnormal);
    }
}

static void dither_float16(uint16_t *restrict out, const float *restrict in, uint64_t key, uint64_t counter, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = BITS(in[i]), a = bits & 0x7fffffffu, random = DRAW(i);
        /* A fixed-point number with 21 bits after the point, counting float16's smallest number; smaller bits are cut off. */
        const int32_t fixed = (int32_t)(FLOAT(a < 0x38800000u ? a : 0)*0x1p45f);
        const uint32_t subnormal = ((uint32_t)fixed + (random >> 11)) >> 21;
        out[i] = FLOAT16(a, bits & 0x80000000u, DITHERED(a, random >> 19, 0x477ff000u, 0x477fffffu), subnormal);
    }
}

#undef BITS
#undef FLOAT
#undef DRAW
#undef DITHERED
#undef MIN
#undef BFLOAT16
#undef FLOAT16
