/* The loops that exist once per instruction set, and the table through which the plan calls them. Internal to csrc. */
#ifndef FL_KERNELS_H
#define FL_KERNELS_H

#include "fallline.h"
#include "macros.h"
#include "random.h"
#include "tape.h"
#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "fallline's bits and its checks for NaN need -fno-fast-math"
#endif
#if FLT_EVAL_METHOD != 0
#error "fallline needs float and double arithmetic in their own precision (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* Index of each rule; FL_N_RULES is their number. */
#define FL_RULE(name, ...) FL_PASTE(FL_RULE, name),
#define FL_RULE_WITH_NORMS(name, ...) FL_PASTE(FL_RULE, name),
enum {
#include "rules.h"
    FL_N_RULES
};

enum { FL_LANES = 16 };                    /* partial sums of a reduction; divides FL_BLOCK */
enum { FL_CHUNK = 256 };                   /* elements measured at once; a multiple of FL_LANES */
_Static_assert(FL_CHUNK % FL_LANES == 0 && FL_BLOCK % FL_LANES == 0 && FL_SPAN % FL_BLOCK == 0,
               "an element's lane must not depend on how a span is cut");
enum { FL_SINGLE = 0, FL_DOUBLE = 1 }; /* the two precisions of arithmetic */

/* What surrounds a rule: its gradient is scale*clamp(g, +-clip) + l2*p, and afterwards e = e + (1 - decay)*(p - e), or p
 * itself if decay is 0. */
typedef struct {
    double scale, clip, l2, decay;
} fl_dress;

/* Kernels for n elements. Pointers are aligned to their element and do not overlap; `void *` points to float or double. */

/* A step, with what surrounds it unless dress is NULL, and with the average unless e is NULL, which it is if dress is. */
typedef void fl_step_kernel(void *p, const void *g, void *const *state, const void *constants, const fl_dress *dress, void *e,
                            size_t n);
/* First pass of a rule with norms: updates its moments, adds the squares of the two quantities to sums[2*FL_LANES]. */
typedef void fl_measure_kernel(const void *p, const void *g, void *const *state, const void *constants, size_t n, double *sums);
/* The gradient as a step would see it; `out` may be `g`. */
typedef void fl_dress_kernel(void *out, const void *g, const void *p, const fl_dress *dress, size_t n);
/* 1 if all are finite. */
typedef int fl_finite_kernel(const void *g, size_t n);
/* Adds the squares of unit*clamp(g, +-clip) to sums[FL_LANES]; element i to lane i % FL_LANES. */
typedef void fl_squares_kernel(const void *g, double unit, double clip, size_t n, double *sums);
typedef void fl_decode_kernel(float *out, const uint16_t *in, size_t n);
typedef void fl_encode_kernel(uint16_t *out, const float *in, size_t n);
/* Rounds up or down with the probability that makes the mean exact; element i draws from (key, counter + i). */
typedef void fl_dither_kernel(uint16_t *out, const float *in, uint64_t key, uint64_t counter, size_t n);

/* n rows of m numbers as m columns, and back; see columns.inc.h. */
typedef void fl_transpose_kernel(const double *in, size_t m, size_t n, double *out);
/* The passes of a tape over n points; see tape.inc.h. */
typedef void fl_forward_kernel(const fl_tape *tape, double *values, size_t n);
typedef void fl_reverse_kernel(const fl_tape *tape, const double *values, double *adjoints, size_t n);

typedef struct {
    const char *name;
    fl_step_kernel *step[FL_N_RULES][2];
    fl_measure_kernel *measure[FL_N_RULES][2]; /* NULL for a rule without norms */
    fl_dress_kernel *dress[2];
    fl_finite_kernel *finite[2];
    fl_squares_kernel *squares[2];
    fl_decode_kernel *decode[FL_N_FORMATS]; /* NULL for float32 and float64, which need no decoding */
    fl_encode_kernel *encode[FL_N_FORMATS];
    fl_dither_kernel *dither[FL_N_FORMATS];
    fl_forward_kernel *forward;
    fl_reverse_kernel *reverse;
    fl_transpose_kernel *to_columns, *to_rows;
} fl_kernels;

extern const fl_kernels fl_kernels_baseline;
#if defined(__x86_64__) && defined(__GNUC__)
#define FL_HAVE_X86 1
extern const fl_kernels fl_kernels_avx2, fl_kernels_avx512;
#endif

/* The table in use (isa.c). */
const fl_kernels *fl_kernels_current(void);

/* What rules.c knows of a rule beyond its names. */
typedef struct {
    fl_rule_info info;
    void (*start)(const double *hypers, double *running, double *states);
    /* Advances running and writes n_constants numbers. */
    void (*prepare)(const double *hypers, double *running, double *constants);
    /* The rule's ratio from two norms, given its constants; NULL without norms. Belongs in the last constant. */
    double (*ratio)(const double *constants, double x, double y);
    int is_steady; /* prepare only counts: the constants depend on nothing but the hyperparameters */
} fl_rule_functions;
extern const fl_rule_functions fl_rules[FL_N_RULES];

#endif
