/* A tape: an expression as a list of operations on numbered values. Internal to csrc. */
#ifndef FL_TAPE_H
#define FL_TAPE_H

#include "fallline.h"
#include <math.h>
#include <stdatomic.h>

/* What the reverse pass has to do for an operand: nothing if it is constant; and if no later operation has put something
 * there, there is nothing to add to. */
enum { FL_ACTIVE_A = 1, FL_ACTIVE_B = 2, FL_FRESH_A = 4, FL_FRESH_B = 8 };

typedef struct {
    uint32_t a, b;
    uint8_t operation, flags;
} fl_entry;

/* Values are numbered: inputs, then constants, then the results of the entries. */
struct fl_tape {
    size_t n_inputs, n_constants, n_entries, result;
    const double *constants;
    const fl_entry *entries;
    _Atomic(fl_scratch *) spare; /* kept for the next call */
    atomic_size_t n_owners;
};

#define FL_UNARY(name, ...) FL_OP_##name,
#define FL_BINARY(name, ...) FL_OP_##name,
enum {
#include "operations.h"
    FL_N_OPERATIONS
};

/* ---- what operations.h is written in ---- */

static inline double fl_sign(double a) { return a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a; }
static inline double fl_unit_step(double a) { return a > 0 ? 1 : a <= 0 ? 0 : a; }
/* The derivative of max(a, b) by a; of min(a, b) it is that of max(b, a). */
static inline double fl_share(double a, double b) { return a > b ? 1 : a < b ? 0 : a == b ? 0.5 : a - b; }
/* e^-|a| does not overflow, and keeps what 1 - sigmoid(a) would lose. */
static inline double fl_sigmoid(double a)
{
    const double small = exp(-fabs(a));
    return (a >= 0 ? 1 : small)/(1 + small);
}
static inline double fl_sigmoid_slope(double a)
{
    const double small = exp(-fabs(a));
    return small/((1 + small)*(1 + small));
}
static inline double fl_softplus(double a) { return (a > 0 ? a : 0) + log1p(exp(-fabs(a))); }
/* 1 - tanh(a)^2 without its cancellation. */
static inline double fl_tanh_slope(double a)
{
    const double c = cosh(a);
    return 1/c/c;
}
static inline double fl_squared(double a) { return a*a; }
/* The derivative of a^b by b; at a = 0 a positive power stays 0. */
static inline double fl_power_slope(double a, double b, double y) { return a == 0 && b > 0 ? 0 : y*log(a); }

#endif
