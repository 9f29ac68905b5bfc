/* The loops of the rules, for one instruction set and one precision (`real`, FL_PRECISION). */
#if !defined(real) || !defined(FL_PRECISION)
#error "define real and FL_PRECISION before including step.inc.h"
#endif

static inline real FL_FN(fl_min)(real a, real b) { return a < b ? a : b; }
static inline real FL_FN(fl_max)(real a, real b) { return a > b ? a : b; }
static inline real FL_FN(fl_sign)(real x) { return (real)(x > 0 ? 1 : 0) - (real)(x < 0 ? 1 : 0); }

#define SELECT(condition, a, b) ((condition) ? (a) : (b))
#define MIN(a, b) FL_FN(fl_min)((a), (b))
#define MAX(a, b) FL_FN(fl_max)((a), (b))
#define SIGN(x) FL_FN(fl_sign)(x)
#define ABS(x) _Generic((real)0, float: fabsf, double: fabs)(x)
#define SQRT(x) _Generic((real)0, float: sqrtf, double: sqrt)(x)

#define HYPER(...) (__VA_ARGS__)
#define STATE(...) (__VA_ARGS__)
#define DERIVED(...) (__VA_ARGS__)
#define RUNNING(...)
#define START(...)
#define PREPARE(...)
#define RATIO(...)
#define UPDATE(...) __VA_ARGS__
#define MOMENTS(...) __VA_ARGS__
#define DIRECTION(...) __VA_ARGS__
#define NORMS(a, b) x_[j_] = a; y_[j_] = b;

#define FL_CONSTANT(name) const real name = *constants_++; (void)name;
#define FL_POINTER(name) real *restrict FL_PASTE(name, array) = *state_++;
#define FL_LOAD(name) real name = FL_PASTE(name, array)[i_];
#define FL_STORE(name) FL_PASTE(name, array)[i_] = name;

#define FL_ARRAYS(hyper, state, derived)                                      \
    const real *restrict g_array = gv_;                                       \
    const real *constants_ = kv_;                                             \
    FL_LIST(FL_CONSTANT, hyper)                                               \
    FL_LIST(FL_CONSTANT, derived)                                             \
    FL_LIST(FL_POINTER, state)                                                \
    (void)state_, (void)constants_;

/* What happens to a gradient before the rule. The order of the arguments lets NaN through MIN and MAX. */
static inline real FL_FN(dressed)(real g, real p, real scale, real clip, real l2, int has_l2)
{
    const real x = scale*MAX(-clip, MIN(clip, g));
    return has_l2 ? x + l2*p : x;
}

/* The average is not decay*e + rest*p, whose factors, narrowed, do not add up to 1: with 0.9999 it would be wrong by 1e-4.
 *
 * One loop for a rule and all that surrounds it: in loops of their own, block by block, they would leave the memory idle for
 * half of the time. The loop is written once and compiled three times, bare, dressed, and dressed with an average. */
#define FL_STEP(name, hyper, state, derived, ...)                             \
    static inline __attribute__((always_inline)) void FL_FN(FL_PASTE(name, loop))( \
        void *pv_, const void *gv_, void *const *state_, const void *kv_, const fl_dress *dress_, void *ev_, size_t n_) \
    {                                                                         \
        real *restrict p_array = pv_;                                         \
        real *restrict e_array = ev_;                                         \
        const fl_dress bare_ = {1, 0, 0, 0}, *d_ = dress_ != NULL ? dress_ : &bare_; \
        const real scale_ = (real)d_->scale, clip_ = (real)d_->clip, l2_ = (real)d_->l2; \
        const real decay_ = (real)d_->decay, rest_ = (real)(1 - d_->decay);   \
        const int has_l2_ = d_->l2 != 0;                                      \
        FL_ARRAYS(hyper, state, derived)                                      \
        FL_INDEPENDENT                                                        \
        for (size_t i_ = 0; i_ < n_; i_++) {                                  \
            real p = p_array[i_];                                             \
            const real g = dress_ == NULL ? g_array[i_]                       \
                                          : FL_FN(dressed)(g_array[i_], p, scale_, clip_, l2_, has_l2_); \
            FL_LIST(FL_LOAD, state)                                           \
            __VA_ARGS__                                                       \
            FL_LIST(FL_STORE, state)                                          \
            p_array[i_] = p;                                                  \
            if (e_array != NULL)                                              \
                e_array[i_] = decay_ == 0 ? p : e_array[i_] + rest_*(p - e_array[i_]); \
            (void)g;                                                          \
        }                                                                     \
    }                                                                         \
    static void FL_FN(name)(void *p, const void *g, void *const *state_, const void *k, const fl_dress *dress, void *e, size_t n) \
    {                                                                         \
        if (dress == NULL)                                                    \
            FL_FN(FL_PASTE(name, loop))(p, g, state_, k, NULL, NULL, n);      \
        else if (e == NULL)                                                   \
            FL_FN(FL_PASTE(name, loop))(p, g, state_, k, dress, NULL, n);     \
        else                                                                  \
            FL_FN(FL_PASTE(name, loop))(p, g, state_, k, dress, e, n);        \
    }

/* Adds the squares of x to sums[FL_LANES], element i to lane i % FL_LANES; fills up the last lanes of x with zeros. */
static void FL_FN(add_squares)(real *restrict x, size_t n, double *restrict sums)
{
    double lanes[FL_LANES];
    memcpy(lanes, sums, sizeof lanes);
    for (; n % FL_LANES != 0; n++)
        x[n] = 0;
    for (size_t i = 0; i < n; i += FL_LANES)
        for (size_t j = 0; j < FL_LANES; j++)
            lanes[j] += (double)x[i + j]*(double)x[i + j];
    memcpy(sums, lanes, sizeof lanes);
}

/* The first pass of a rule with norms. sums_ holds the lanes of x, then those of y. */
#define FL_MEASURE(name, hyper, state, derived, ...)                          \
    static void FL_FN(FL_PASTE(name, measure))(const void *pv_, const void *gv_, void *const *state_,    \
                                               const void *kv_, size_t n_, double *restrict sums_)       \
    {                                                                         \
        const real *restrict p_array = pv_;                                   \
        FL_ARRAYS(hyper, state, derived)                                      \
        for (size_t start_ = 0; start_ < n_; start_ += FL_CHUNK) {            \
            real x_[FL_CHUNK], y_[FL_CHUNK];                                  \
            const size_t m_ = n_ - start_ < FL_CHUNK ? n_ - start_ : FL_CHUNK; \
            FL_INDEPENDENT                                                    \
            for (size_t j_ = 0; j_ < m_; j_++) {                              \
                const size_t i_ = start_ + j_;                                \
                const real p = p_array[i_];                                   \
                const real g = g_array[i_];                                   \
                FL_LIST(FL_LOAD, state)                                       \
                __VA_ARGS__                                                   \
                FL_LIST(FL_STORE, state)                                      \
            }                                                                 \
            FL_FN(add_squares)(x_, m_, sums_);                                \
            FL_FN(add_squares)(y_, m_, sums_ + FL_LANES);                     \
        }                                                                     \
    }

#define FL_RULE(name, hyper, running, state, derived, start, prepare, update) FL_STEP(name, hyper, state, derived, update)
#define FL_RULE_WITH_NORMS(name, hyper, running, state, derived, start, prepare, moments, direction, norms, ratio, update) \
    FL_MEASURE(name, hyper, state, derived, moments direction norms)          \
    FL_STEP(name, hyper, state, derived, direction update)
#include "rules.h"

/* The gradients that a rule with norms measures; out may be g. */
static void FL_FN(dress)(void *out_, const void *g_, const void *p_, const fl_dress *dress, size_t n)
{
    real *out = out_;
    const real *g = g_, *p = p_;
    const real scale = (real)dress->scale, clip = (real)dress->clip, l2 = (real)dress->l2;
    const int has_l2 = dress->l2 != 0;
    FL_INDEPENDENT
    for (size_t i = 0; i < n; i++)
        out[i] = FL_FN(dressed)(g[i], p[i], scale, clip, l2, has_l2);
}

#undef SELECT
#undef MIN
#undef MAX
#undef SIGN
#undef ABS
#undef SQRT
#undef HYPER
#undef STATE
#undef DERIVED
#undef RUNNING
#undef START
#undef PREPARE
#undef RATIO
#undef UPDATE
#undef MOMENTS
#undef DIRECTION
#undef NORMS
#undef FL_CONSTANT
#undef FL_POINTER
#undef FL_LOAD
#undef FL_STORE
#undef FL_ARRAYS
#undef FL_STEP
#undef FL_MEASURE
