/* fallline: the C surface.
 *
 * What: steps of gradient descent over a model's tensors. Includes no Python.h, allocates nothing per step, prints nothing,
 * never aborts. Every function says what it needs of its pointers; a violation is undefined behaviour, which the doorway
 * (src/fallline/_core) rules out before it calls.
 *
 * Invariants: the bits of a result do not depend on the instruction set, on the number of threads, or on how a model is cut
 * into spans (a NaN is a NaN; the constants of a few rules come from the C library's pow, exp and log). This holds in the
 * default floating-point environment: a process that flushes subnormals may do so on some threads and not on others. A step
 * either happens for every tensor or leaves every byte as it was.
 *
 * Typical sizes: 1 to 10^4 tensors, 10 to 10^9 elements.
 */
#ifndef FALLLINE_H
#define FALLLINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FL_MAX_STATES = 4,     /* arrays of state in a rule */
    FL_MAX_RUNNING = 4,    /* running numbers in a rule, with t */
    FL_MAX_HYPERS = 8,     /* hyperparameters in a rule */
    FL_MAX_CONSTANTS = 16, /* hyperparameters and derived constants */
    FL_MAX_DIMS = 64,      /* as NumPy */
    FL_SPAN = 8192,        /* elements: the unit of summation, so part of a norm's bits; a span lies in one tensor */
    FL_BLOCK = 1024        /* elements: what passes through the first-level cache when a span is not stepped in place */
};

typedef enum {
    FL_OK = 0,
    FL_NO_MEMORY,  /* malloc refused; nothing was built */
    FL_NOT_FINITE  /* a gradient holds NaN or infinity and the policy forbids the step; nothing was written */
} fl_status;

/* ---- instruction sets (isa.c) ---- */

/* The compiled-in instruction sets, best last; NULL past the end. */
const char *fl_isa_name(size_t i);
/* 1 if this machine can run instruction set i. */
int fl_isa_supported(size_t i);
/* The one in use. */
const char *fl_isa_current(void);
/* Choose by name, or the best supported if name is NULL. Returns 0, or -1 for an unknown or unsupported name, which changes
 * nothing. Not while a step runs. */
int fl_isa_select(const char *name);

/* ---- rules (rules.c) ---- */

typedef struct {
    const char *name;
    size_t n_hypers, n_running, n_states, n_constants; /* n_running counts t, which comes first; n_constants counts the hypers */
    const char *const *hypers, *const *running, *const *states;
} fl_rule_info;

size_t fl_rule_count(void);
/* i < fl_rule_count(); static storage. */
const fl_rule_info *fl_rule(size_t i);
/* The values a tensor begins with: running[n_running] and one number for each state array. hypers[n_hypers] in the rule's order. */
void fl_rule_start(size_t rule, const double *hypers, double *running, double *states);

/* ---- formats ---- */

/* How an element is stored. Arithmetic is in float for all but FL_FLOAT64. */
typedef enum { FL_FLOAT32 = 0, FL_FLOAT64, FL_FLOAT16, FL_BFLOAT16, FL_N_FORMATS } fl_format;

/* Where the elements of an array are that is not contiguous and aligned: C order, strides in bytes, any alignment. At least
 * one dimension, none of length 0. */
typedef struct {
    size_t n_dims;
    size_t shape[FL_MAX_DIMS];
    ptrdiff_t strides[FL_MAX_DIMS];
} fl_layout;

/* ---- plans (plan.c) ---- */

/* One tensor of a plan. The caller fills it in before fl_plan_arrange and keeps the memory alive; `grad` and `grad_format`,
 * `grad_layout` may change before every step. The arrays must not overlap each other. */
typedef struct {
    char *param;
    const char *grad;             /* NULL: leave this tensor and its counters alone */
    void *state[FL_MAX_STATES];   /* float or double by the format, contiguous, aligned */
    void *average;                /* moving average of the weights, as the states; NULL: none */
    float *master;                /* FL_FLOAT16, FL_BFLOAT16: the value between steps; NULL: the parameter itself. Where the
                                   * parameter is not what the master rounds to, it was edited, and is taken over */
    double *running;              /* n_running numbers */
    size_t size;
    size_t group;
    const fl_layout *param_layout, *grad_layout; /* NULL: contiguous and aligned */
    fl_format param_format, grad_format;         /* the same, or FL_FLOAT32 for the gradient of a half parameter */
    int stochastic;               /* round to the half format stochastically; not with a master */
} fl_tensor;

/* The numbers shared by the tensors of one group; live, read at every step. */
typedef struct {
    double hypers[FL_MAX_HYPERS]; /* in the rule's order */
    double l2;                    /* coupled weight decay: g + l2*p */
    int maximize;
    int frozen;                   /* leave the tensors and their counters alone, whatever their gradient */
} fl_group;

typedef enum { FL_RAISE = 0, FL_SKIP, FL_IGNORE } fl_nonfinite;

/* What happens to every gradient before the rule: scaled by `scale` (finite, > 0), clipped to +-clip_value (>= 0; to 1 ulp),
 * then scaled down to a global norm of clip_norm (>= 0). Infinity switches a clip off. */
typedef struct {
    double scale, clip_value, clip_norm;
    double average_decay;         /* of the moving average, in [0, 1); ignored by tensors without one */
    uint64_t seed;                /* of stochastic rounding */
    fl_nonfinite nonfinite;
    size_t threads;               /* at most so many, the caller's included; at least 1 */
} fl_settings;

typedef struct fl_plan fl_plan;

/* A plan with zeroed tensors and groups for the given rule; NULL without memory. Free with fl_plan_free (NULL is fine). */
fl_plan *fl_plan_new(size_t rule, size_t n_tensors, size_t n_groups);
void fl_plan_free(fl_plan *plan);
fl_tensor *fl_plan_tensors(fl_plan *plan);
fl_group *fl_plan_groups(fl_plan *plan);
/* Cut the tensors into spans. Once, after `size`, `group` and `param` are filled in, before the first step. After
 * FL_NO_MEMORY the plan can only be freed. */
fl_status fl_plan_arrange(fl_plan *plan);

/* Take the plan for a step; 0, or -1 if another call has it. Every entry is followed by fl_plan_leave. Any thread.
 * The step uses the groups as they are at this call. */
int fl_plan_enter(fl_plan *plan);
void fl_plan_leave(fl_plan *plan);
/* The groups that a step uses, to be changed between fl_plan_enter and fl_plan_leave, until the latter. */
fl_group *fl_plan_current(fl_plan *plan);

/* One step of every tensor that has a gradient. FL_NOT_FINITE (only under FL_RAISE and FL_SKIP) writes nothing.
 * Between fl_plan_enter and fl_plan_leave. */
fl_status fl_plan_step(fl_plan *plan, const fl_settings *settings);

/* The same under FL_IGNORE and without clip_norm, for a plan of contiguous doubles without averages, by a rule without norms: of
 * tensor 0, which has rows of `width` <= FL_BLOCK elements, only the rows at index[0..n), all different and not negative, whose
 * gradients are slope*gradient[0..n*width), slope 1 under clip_value; of the others all. Steps copies of those rows,
 * rows[0..n*width), and leaves it to the caller to gather and to scatter them. After the first such step hyperparameters are changed
 * by fl_plan_follow only. */
void fl_plan_step_at(fl_plan *plan, const fl_settings *settings, size_t n, const int32_t *index, size_t width, double *rows,
                     const double *gradient, double slope);

/* Copy the rows of `width` elements that an array has at index[0..n) next to one another into `rows`, or back. */
void fl_gather_rows(double *rows, const double *array, size_t n, const int32_t *index, size_t width);
void fl_scatter_rows(double *array, const double *rows, size_t n, const int32_t *index, size_t width);

/* The first element of tensor i's gradient that is not finite (or its size, if all are) and how many there are, in the
 * groups as they were at the last fl_plan_enter. Serial. */
void fl_plan_locate(const fl_plan *plan, size_t i, size_t *first, size_t *count);

/* Hyperparameters that change from step to step: number i of step k is table[k*n_numbers + i], and goes to hyperparameter
 * index[i] of the plan's only group, or to its l2 if that is FL_MAX_HYPERS. */
typedef struct {
    size_t n_numbers;
    const size_t *index;
    const double *table;
} fl_timetable;

/* Set the numbers of step k; between fl_plan_enter and fl_plan_leave. */
void fl_plan_follow(fl_plan *plan, const fl_timetable *timetable, size_t k);

/* ---- numerical derivatives (diff.c) ---- */

enum { FL_MAX_NODES = 32 };

/* The weights of the derivative of the given order, D = h^-order * sum of weights[k]*f(x + nodes[k]*h). Distinct nodes, order < n
 * <= FL_MAX_NODES. Correctly rounded for consecutive integer nodes about 0, of up to order 6 and accuracy 8. */
void fl_stencil(size_t order, size_t n, const double *nodes, double *weights);
/* The accuracy p of that stencil; its error is constant * h^p * (the derivative of order + p), to first order in h. */
size_t fl_stencil_error(size_t order, size_t n, const double *nodes, double *constant);
/* out[j] = factor * sum over k of weights[k]*values[k*n_outputs + j]; the weights add up to 0. */
void fl_difference(size_t n, const double *weights, const double *values, size_t n_outputs, double factor, double *out);

typedef enum { FL_NOISE_FOUND = 0, FL_NOISE_STEP_LARGE, FL_NOISE_STEP_SMALL } fl_noise_status;

/* The standard deviation of the noise in 4 <= n <= FL_MAX_NODES values at equal distances, by difference tables (Moré & Wild
 * 2011, Estimating computational noise, SIAM J. Sci. Comput. 33(3), 1292-1314). If it is not found, the status says how the
 * distance must change, and the last level is returned. */
double fl_noise(size_t n, const double *values, fl_noise_status *status);

/* Extrapolate differences at the steps h, h/ratio, h/ratio^2, ..., whose errors are series in h^power, to step 0 (Ridders 1982,
 * Advances in Engineering Software 4(2), 75-76). differences[k*n_outputs + j], and roundoff likewise: a bound of the rounding
 * error of each. Of the table's entries the one with the least error is returned: its distance to the entries that it was made
 * of, and the roundoff carried along with it, which Ridders leaves out. levels[j]: the level at which it was reached. */
void fl_extrapolate(size_t n_levels, double ratio, size_t power, const double *differences, const double *roundoff,
                    size_t n_outputs, double *values, double *errors, size_t *levels);

typedef double fl_function(const double *x, size_t n, void *context);

/* values[k] = f(x) where x is base but for x[index[m]] = moved[m], starts[k] <= m < starts[k + 1], or m = k if starts is NULL. x
 * is a copy of base, and is one again afterwards. If index is NULL, point k is at moved + k*n, and x and base are not used. */
void fl_evaluate(fl_function *f, void *context, size_t n, double *x, size_t n_points, const size_t *starts, const size_t *index,
                 const double *moved, const double *base, double *values);

/* Differences along axes in one go: out[i], of f at x with entry index[i] moved by nodes[k]*steps[i]; sizes[i] is the greatest
 * magnitude of f there. exact[i] is 0, and nothing else is done for i, where a sum had to be rounded: the weights do not fit
 * then. f at node 0 is `origin`. x is as it was afterwards. */
void fl_differentiate(fl_function *f, void *context, size_t n, double *x, size_t n_lines, const size_t *index, const double *steps,
                      size_t order, size_t n_nodes, const double *nodes, const double *weights, double origin, double *out,
                      double *sizes, unsigned char *exact);

/* ---- blocks of a flat vector (blocks.c) ---- */

/* The middle one, by size, of the magnitudes that are not 0; `otherwise` if all are. Of an even number, the larger of the two. No
 * NaN. scratch: n numbers. */
double fl_middle(size_t n, const double *x, double otherwise, uint64_t *scratch);
/* How far entries may move: scales[i] is the magnitude of x[i], or at least what is in the middle of its block (or of x, if the block
 * is 0; or 1) over `small`. Block b ends at stops[b], where the next begins. scratch: as many numbers as x has. No NaN. */
void fl_usual_scales(size_t n_blocks, const size_t *stops, const double *x, double small, uint64_t *scratch, double *scales);

/* ---- readings of derivatives (readings.c) ---- */

/* Make a direction of numbers from [0, 1): scales[i] times 1/2 to 3/2, of either sign. units may be random. */
void fl_random_units(size_t n, const double *random, const double *scales, double *units);
/* points[k*n + i] = at[i] + t[k]*units[i], and what that moved by, rounded as it is: points less at. No overlap. */
void fl_points_along(size_t n, const double *at, const double *units, size_t n_points, const double *t, double *points,
                     double *taken);

#define FL_SAFETY 4.0    /* on the truncation: two stencils may agree by chance */
#define FL_WORST 5.0     /* standard deviations of noise */
#define FL_SUMMANDS 32.0 /* how much larger than the result the terms may be that a gradient was summed from */
#define FL_WILD 1e-3     /* what varies by more than this part of the value is not called noise */

/* Where six values are, in units of a distance: -3 -2 -1 1 2 3, or 1 to 6, or -1 to -6. `six` and `four` are the weights of first
 * derivatives at 0, of accuracy 6 and 4; `norm` is the Euclidean norm of the former. */
typedef struct {
    double steps[6], six[6], four[6], norm;
} fl_six;

/* What six values beside x say of one output along a line; see src/fallline/readings.py. */
typedef struct {
    double residual, truncation; /* slope of the remainder by a stencil of accuracy 6, and its distance to one of accuracy 4 */
    double yours, numeric;       /* slope of what the gradient says, and that plus the residual */
    double whole, odd;           /* noise in the remainder, and in its odd part; NaN: unknown; whole is infinite if not finite */
    double curvature, bend, bend_error; /* of opposite points, |c| of c*t + a*t^2 and its error; 0 if the steps are on one side */
    double size, own;            /* of the gradient's terms, and how far their rounding may have moved their sum */
    double noise;                /* standard deviation of the error of a value */
    double rounding, kink_error, bound; /* what noise makes of the residual, of the bend; how large the residual may be */
    double quality;              /* the bound relative to the derivative */
    int finite, constant;        /* all values are finite; f does not change */
} fl_derivative;

/* A reading at one distance. The caller fills in what comes before `gain`, and leaves the rest to the functions below. */
typedef struct {
    double distance; /* > 0 */
    size_t n_outputs;
    fl_derivative *outputs;
    double gain;                   /* by how much noise is multiplied in the residual */
    int finite, constant;          /* in all outputs */
    int is_stuck;                  /* constant, where the gradient says that f changes */
    int is_wild;                   /* the values vary by so much that it cannot be called noise */
    double quality, bound;         /* the greatest of them, NaN included; quality is infinite unless all bounds are finite */
    int is_bounded, is_right, has_kink; /* bounds are finite; residuals within them; an output has a kink at x, clearly */
    int is_noisy;                  /* in all outputs noise makes most of the bound */
} fl_reading;

/* What is known of f: n_outputs numbers at x, and of noise at least; the noise if the caller told it, else NaN; the spacing at 1 of
 * f's numbers and of those that the gradient was computed in. */
typedef struct {
    const double *value, *noise;
    double given, eps, eps_of_yours;
} fl_known;

/* Fill in a reading; values[k*n_outputs + j]: f at step k; along: what the gradient says of the change. sizes: of the terms of the
 * gradient. units: the noise of values that are rounded to few digits, NaN for others, or NULL. `noise` and `given` are not read. */
void fl_read(const fl_six *weights, const fl_known *f, const double *values, const double *along, const double *sizes,
             const double *units, fl_reading *reading);
/* Let a reading say that it tells nothing: its noise is infinite. */
void fl_distrust(fl_reading *reading);
/* Decide how much noise there is from all n > 0 readings of f along a line, and what follows for each. */
void fl_settle(size_t n, fl_reading *const *readings, const fl_known *f);

/* ---- compiled expressions (tape.c) ---- */

/* A function to minimize: its value at x and, unless `gradient` is NULL, its gradient there. One context for each thread. */
typedef double fl_objective(const double *x, size_t n, double *gradient, void *context);

/* One operation of an expression, fl_operation(i), on values that are numbered: inputs, then constants, then results. */
typedef struct {
    uint32_t operation, a, b; /* b is ignored if the operation has one operand */
} fl_instruction;

/* The name of operation i and, unless NULL, the number of its operands; NULL past the end. */
const char *fl_operation(size_t i, size_t *n_operands);

typedef struct fl_tape fl_tape;
typedef struct fl_scratch fl_scratch;

/* A tape, or NULL without memory. Operands come before what is made of them; `result` is the number of a value; there are fewer
 * than 2^31 values. Whoever only reads a tape may share it with any thread. Free with fl_tape_free (NULL is fine). */
fl_tape *fl_tape_new(size_t n_inputs, size_t n_constants, const double *constants, size_t n_instructions,
                     const fl_instruction *instructions, size_t result);
/* Returns the tape for one more owner, who frees it too; it goes when the last one does. */
fl_tape *fl_tape_share(fl_tape *tape);
void fl_tape_free(fl_tape *tape);

/* Memory for the evaluation of a tape, of one thread at a time; NULL without memory. Give it back before the tape is freed. */
fl_scratch *fl_tape_take(fl_tape *tape);
void fl_tape_give(fl_tape *tape, fl_scratch *scratch);
/* Where fl_tape_evaluate copies x to; it may be put there at once, and handed over as x. */
double *fl_scratch_x(fl_scratch *scratch);
/* The fl_objective of a tape; the context is a scratch, n the number of inputs. */
double fl_tape_evaluate(const double *x, size_t n, double *gradient, void *scratch);
/* The fl_function of a tape, which is the context; NaN without memory, or if n is not its number of inputs. Any thread. */
double fl_tape_value(const double *x, size_t n, void *tape);
/* The same, as SciPy's integrators want it. */
double fl_tape_integrand(int n, double *x, void *tape);

/* The matrix of second derivatives, n_inputs^2 numbers, exactly symmetric. FL_NO_MEMORY writes nothing. */
fl_status fl_tape_hessian(const fl_tape *tape, const double *x, double *hessian);
/* Values and, unless NULL, gradients (C order) at n_points; input j of point i is at x + i*point_stride + j*input_stride bytes,
 * aligned. Either of values and gradients may be NULL. On at most `threads` >= 1 threads. FL_NO_MEMORY writes nothing. */
fl_status fl_tape_batch(const fl_tape *tape, size_t n_points, const char *x, ptrdiff_t point_stride, ptrdiff_t input_stride,
                        double *values, double *gradients, size_t threads);

/* ---- minimizing in one loop (descend.c) ---- */

typedef enum {
    FL_GOING = 0,
    FL_GRADIENT_SMALL, /* no entry of the gradient is larger than gtol; under a projection, of what is left of the step along it */
    FL_VALUE_STEADY,   /* the last step changed the value by ftol*max(1, |value|) or less */
    FL_STEP_SMALL,     /* the last step changed no entry by more than xtol*max(1, |x|) */
    FL_DIVERGED        /* the value or an entry of the gradient is not finite */
} fl_stop;

/* Moves x to the nearest point that is allowed. One context for each thread. */
typedef void fl_projection(double *x, size_t n, void *context);

/* The projection to a box; the context has its bounds, n numbers each. */
typedef struct {
    const double *low, *high;
} fl_box;
void fl_project_to_box(double *x, size_t n, void *box);

/* A descent of one tensor of doubles, contiguous, which is a plan's only one. The caller fills in what comes before `value`,
 * and leaves the rest to fl_descend_start and fl_descend. */
typedef struct {
    fl_objective *objective;
    void *context;
    size_t n;
    fl_plan *plan;                /* of one tensor: x, whose gradient is `gradient` */
    const fl_settings *settings;  /* with FL_IGNORE: gradients are looked at here */
    double *x, *gradient;         /* n each */
    double *best_x, *best_gradient;
    double *before, *trial;       /* n each: x before the last step; scratch for projections */
    fl_projection *project;       /* after every step; NULL: none */
    void *project_context;
    double gtol, ftol, xtol;      /* below 0: not asked */
    int maximize;                 /* the greatest value is the best; the plan's group says so too */
    double value, best;           /* at x, and the best so far: at best_x */
    size_t n_steps, n_evaluations;
    fl_stop stop;
} fl_descent;

/* Evaluate at x, which becomes the best point. */
void fl_descend_start(fl_descent *d);

/* At most n_steps more steps, or fewer if d->stop says so: step, project, evaluate. `timetable` may be NULL.
 * Unless `path` is NULL, x after every step whose number is a multiple of `every` is appended there. Returns how many were. The
 * plan is entered, by whoever calls. */
size_t fl_descend(fl_descent *d, size_t n_steps, const fl_timetable *timetable, size_t every, double *path);

/* The same without a path for many descents, on at most `threads` threads; ones that have stopped are left alone. */
void fl_descend_many(size_t n_descents, fl_descent *const *descents, size_t n_steps, const fl_timetable *timetable,
                     size_t threads);

/* ---- linear models (linear.c) ---- */

/* Up to FL_MODIFIED_HUBER of a class and a margin, then of a number and an error, and of one class among many. */
typedef enum {
    FL_LOG = 0,
    FL_HINGE,
    FL_SQUARED_HINGE,
    FL_MODIFIED_HUBER,
    FL_SQUARED,
    FL_HUBER,    /* quadratic up to the parameter, > 0 */
    FL_QUANTILE, /* of the parameter, in (0, 1) */
    FL_SOFTMAX
} fl_loss;

/* Samples: all features of each in C order, or (columns is not NULL) those of row i at starts[i] <= k < starts[i + 1], all
 * different. `is_single`: of float, not double. */
typedef struct {
    const void *data;
    const int32_t *columns, *starts;
    int is_single;
    const double *targets; /* the number of the class, with one output 0 or 1; or the number to predict */
    const double *weights; /* of the rows, NULL: 1 each */
} fl_rows;

/* A linear model that learns. Arrays of weights have n_features*n_outputs numbers, feature by feature; those of intercepts
 * n_outputs. The caller fills in what comes before `decay`. */
typedef struct {
    fl_plan *plan;                /* of weights and intercept, with the gradients below; not frozen */
    const fl_settings *settings;  /* with FL_IGNORE */
    fl_loss loss;
    double parameter, l2, l1;     /* of the loss; penalties l2/2*w^2 + l1*|w|, not of intercepts */
    size_t n_features, n_outputs;
    size_t lr;                    /* which hyperparameter of the rule is the learning rate */
    double *weights, *intercept;  /* intercept: NULL if there is none */
    double *gradient, *intercept_gradient; /* zeros */
    double *copies, *compact;     /* scratch of the size of weights */
    double *scores, *row;         /* n_outputs; n_features */
    double *average, *average_intercept; /* mean of the weights after each step; NULL: none */
    size_t n_averaged;
    /* To step only the features that a batch of sparse rows has, else NULL; for n_outputs <= FL_BLOCK: */
    int32_t *seen_in_batch;       /* n_features */
    unsigned char *is_seen;       /* n_features zeros */
    int is_exact;                 /* the rule is gradient descent: the penalty of the rest is made up for; lr*l2 < 1 */
    double *pulls;                /* n_features zeros, if so and l1 > 0, then without averages; else NULL */
    double *lags;                 /* zeros of the size of weights, if there are averages; else NULL */
    double decay, pull;           /* 1 and 0 */
    double mass;                  /* 0 */
    size_t n_lagging;             /* 0 */
    double unit;                  /* while a step is made */
    const int32_t *seen;
    size_t n_seen;
} fl_learner;

/* Whether in every one of n sparse rows the columns increase, from 0 to n_features - 1 at most: what learning needs. Starts must not
 * fall. */
int fl_columns_increase(const fl_rows *rows, size_t n, size_t n_features);

/* Make `order` the numbers 0 to n - 1 in an order that the key decides; each is as likely as another, to 2^-53. n < 2^53. */
void fl_shuffle(size_t n, size_t *order, uint64_t key);

/* Learn from the rows order[0..n), `batch` to a step: the gradient is the mean of weight*loss, plus that of the penalties. Returns
 * the sum of weight*loss, each at the weights before its step. The timetable has a row for each step. The plan is entered, by
 * whoever calls. */
double fl_learn(fl_learner *learner, const fl_rows *rows, size_t n, const size_t *order, size_t batch,
                const fl_timetable *timetable);

/* ---- threads (pool.c) ---- */

/* Call task(context, i) for every i < n_tasks, on at most `threads` threads, the caller's included; returns when all are done.
 * The caller's thread runs all of them if another call is under way or no worker can be had. Safe after fork. */
void fl_pool_run(size_t threads, size_t n_tasks, void (*task)(void *context, size_t i), void *context);
/* Changes in every child forked after the first call; lets a lock that a parent's thread held be told from one that is held here. */
unsigned fl_fork_generation(void);

#ifdef __cplusplus
}
#endif
#endif
