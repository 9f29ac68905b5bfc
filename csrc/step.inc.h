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

#define FL_STEP(name, hyper, state, derived, ...)                             \
    static void FL_FN(name)(void *pv_, const void *gv_, void *const *state_, const void *kv_, size_t n_) \
    {                                                                         \
        real *restrict p_array = pv_;                                         \
        FL_ARRAYS(hyper, state, derived)                                      \
        FL_INDEPENDENT                                                        \
        for (size_t i_ = 0; i_ < n_; i_++) {                                  \
            real p = p_array[i_];                                             \
            const real g = g_array[i_];                                       \
            FL_LIST(FL_LOAD, state)                                           \
            __VA_ARGS__                                                       \
            FL_LIST(FL_STORE, state)                                          \
            p_array[i_] = p;                                                  \
            (void)g;                                                          \
        }                                                                     \
    }

/* The first pass of a rule with norms, 16 elements at a time, so that element i is summed in lane i % 16 whatever vectors the
 * machine has. sums_ holds the lanes of x, then those of y. */
#define FL_MEASURE(name, hyper, state, derived, ...)                          \
    static void FL_FN(FL_PASTE(name, measure))(const void *pv_, const void *gv_, void *const *state_,    \
                                               const void *kv_, size_t n_, double *restrict sums_)       \
    {                                                                         \
        const real *restrict p_array = pv_;                                   \
        FL_ARRAYS(hyper, state, derived)                                      \
        for (size_t start_ = 0; start_ < n_; start_ += FL_LANES) {            \
            real x_[FL_LANES] = {0}, y_[FL_LANES] = {0};                      \
            const size_t m_ = n_ - start_ < FL_LANES ? n_ - start_ : FL_LANES; \
            FL_INDEPENDENT                                                    \
            for (size_t j_ = 0; j_ < m_; j_++) {                              \
                const size_t i_ = start_ + j_;                                \
                const real p = p_array[i_];                                   \
                const real g = g_array[i_];                                   \
                FL_LIST(FL_LOAD, state)                                       \
                __VA_ARGS__                                                   \
                FL_LIST(FL_STORE, state)                                      \
            }                                                                 \
            for (size_t j_ = 0; j_ < FL_LANES; j_++) {                        \
                sums_[j_] += (double)x_[j_]*(double)x_[j_];                   \
                sums_[FL_LANES + j_] += (double)y_[j_]*(double)y_[j_];        \
            }                                                                 \
        }                                                                     \
    }

#define FL_RULE(name, hyper, running, state, derived, start, prepare, update) FL_STEP(name, hyper, state, derived, update)
#define FL_RULE_WITH_NORMS(name, hyper, running, state, derived, start, prepare, moments, direction, norms, ratio, update) \
    FL_MEASURE(name, hyper, state, derived, moments direction norms)          \
    FL_STEP(name, hyper, state, derived, direction update)
#include "rules.h"

static void FL_FN(prologue)(void *out_, const void *g_, const void *p_, double scale_, double clip_, double l2_, size_t n)
{
    /* Not restrict: out may be g. The order of the arguments lets NaN through MIN and MAX. */
    real *out = out_;
    const real *g = g_, *p = p_;
    const real scale = (real)scale_, clip = (real)clip_, l2 = (real)l2_;
    if (l2_ == 0) {
        FL_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            out[i] = scale*MAX(-clip, MIN(clip, g[i]));
    } else {
        FL_INDEPENDENT
        for (size_t i = 0; i < n; i++)
            out[i] = scale*MAX(-clip, MIN(clip, g[i])) + l2*p[i];
    }
}

static void FL_FN(average)(void *e_, const void *p_, double decay_, size_t n)
{
    real *restrict e = e_;
    const real *restrict p = p_;
    const real decay = (real)decay_, rest = (real)(1 - decay_);
    for (size_t i = 0; i < n; i++)
        e[i] = decay*e[i] + rest*p[i];
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
