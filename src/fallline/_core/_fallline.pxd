"""The C surface, as csrc/fallline.h declares it."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

cdef extern from "fallline.h" nogil:
    enum:
        FL_MAX_STATES
        FL_MAX_RUNNING
        FL_MAX_HYPERS
        FL_MAX_DIMS
        FL_MAX_NODES
        FL_BLOCK

    ctypedef enum fl_status:
        FL_OK
        FL_NO_MEMORY
        FL_NOT_FINITE

    const char *fl_isa_name(size_t i) noexcept
    int fl_isa_supported(size_t i) noexcept
    const char *fl_isa_current() noexcept
    int fl_isa_select(const char *name) noexcept

    ctypedef struct fl_rule_info:
        const char *name
        size_t n_hypers, n_running, n_states, n_constants
        const char *const *hypers
        const char *const *running
        const char *const *states

    size_t fl_rule_count() noexcept
    const fl_rule_info *fl_rule(size_t i) noexcept
    void fl_rule_start(size_t rule, const double *hypers, double *running, double *states) noexcept

    ctypedef enum fl_format:
        FL_FLOAT32
        FL_FLOAT64
        FL_FLOAT16
        FL_BFLOAT16

    ctypedef struct fl_layout:
        size_t n_dims
        size_t *shape
        ptrdiff_t *strides

    ctypedef struct fl_tensor:
        char *param
        const char *grad
        void **state
        void *average
        float *master
        double *running
        size_t size
        size_t group
        const fl_layout *param_layout
        const fl_layout *grad_layout
        fl_format param_format
        fl_format grad_format
        int stochastic

    ctypedef struct fl_group:
        double *hypers
        double l2
        int maximize
        int frozen

    ctypedef enum fl_nonfinite:
        FL_RAISE
        FL_SKIP
        FL_IGNORE

    ctypedef struct fl_settings:
        double scale, clip_value, clip_norm
        double average_decay
        uint64_t seed
        fl_nonfinite nonfinite
        size_t threads

    ctypedef struct fl_plan:
        pass

    fl_plan *fl_plan_new(size_t rule, size_t n_tensors, size_t n_groups) noexcept
    void fl_plan_free(fl_plan *plan) noexcept
    fl_tensor *fl_plan_tensors(fl_plan *plan) noexcept
    fl_group *fl_plan_groups(fl_plan *plan) noexcept
    fl_status fl_plan_arrange(fl_plan *plan) noexcept
    int fl_plan_enter(fl_plan *plan) noexcept
    void fl_plan_leave(fl_plan *plan) noexcept
    fl_group *fl_plan_current(fl_plan *plan) noexcept
    fl_status fl_plan_step(fl_plan *plan, const fl_settings *settings) noexcept
    void fl_plan_locate(const fl_plan *plan, size_t i, size_t *first, size_t *count) noexcept

    void fl_stencil(size_t order, size_t n, const double *nodes, double *weights) noexcept
    size_t fl_stencil_error(size_t order, size_t n, const double *nodes, double *constant) noexcept
    void fl_difference(size_t n, const double *weights, const double *values, size_t n_outputs, double factor,
                       double *out) noexcept

    ctypedef enum fl_noise_status:
        FL_NOISE_FOUND
        FL_NOISE_STEP_LARGE
        FL_NOISE_STEP_SMALL

    double fl_noise(size_t n, const double *values, fl_noise_status *status) noexcept
    void fl_extrapolate(size_t n_levels, double ratio, size_t power, const double *differences, const double *roundoff,
                        size_t n_outputs, double *values, double *errors, size_t *levels) noexcept

    ctypedef double fl_function(const double *x, size_t n, void *context) noexcept
    void fl_evaluate(fl_function *f, void *context, size_t n, double *x, size_t n_points, const size_t *starts,
                     const size_t *index, const double *moved, const double *base, double *values) noexcept
    void fl_differentiate(fl_function *f, void *context, size_t n, double *x, size_t n_lines, const size_t *index,
                          const double *steps, size_t order, size_t n_nodes, const double *nodes, const double *weights,
                          double origin, double *out, double *sizes, unsigned char *exact) noexcept

    void fl_usual_scales(size_t n_blocks, const size_t *stops, const double *x, double small, uint64_t *scratch,
                         double *scales) noexcept

    void fl_random_units(size_t n, const double *random, const double *scales, double *units) noexcept
    void fl_points_along(size_t n, const double *at, const double *units, size_t n_points, const double *t, double *points,
                         double *taken) noexcept

    const double FL_SAFETY
    ctypedef struct fl_six:
        double steps[6]
        double six[6]
        double four[6]
        double norm
    ctypedef struct fl_derivative:
        double residual, truncation, yours, numeric, whole, odd, curvature, bend, bend_error, size, own, noise
        double rounding, kink_error, bound, quality
    ctypedef struct fl_reading:
        double distance
        size_t n_outputs
        fl_derivative *outputs
        double gain, quality, bound
        int finite, constant, is_stuck, is_wild, is_bounded, is_right, has_kink, is_noisy
    ctypedef struct fl_known:
        const double *value
        const double *noise
        double given, eps, eps_of_yours

    void fl_read(const fl_six *weights, const fl_known *f, const double *values, const double *along, const double *sizes,
                 const double *units, fl_reading *reading) noexcept
    void fl_distrust(fl_reading *reading) noexcept
    void fl_settle(size_t n, fl_reading *const *readings, const fl_known *f) noexcept

    ctypedef double fl_objective(const double *x, size_t n, double *gradient, void *context) noexcept

    ctypedef struct fl_instruction:
        uint32_t operation, a, b

    ctypedef struct fl_tape:
        pass
    ctypedef struct fl_scratch:
        pass

    const char *fl_operation(size_t i, size_t *n_operands) noexcept
    fl_tape *fl_tape_new(size_t n_inputs, size_t n_constants, const double *constants, size_t n_instructions,
                         const fl_instruction *instructions, size_t result) noexcept
    fl_tape *fl_tape_share(fl_tape *tape) noexcept
    void fl_tape_free(fl_tape *tape) noexcept
    fl_scratch *fl_tape_take(fl_tape *tape) noexcept
    void fl_tape_give(fl_tape *tape, fl_scratch *scratch) noexcept
    double *fl_scratch_x(fl_scratch *scratch) noexcept
    double fl_tape_evaluate(const double *x, size_t n, double *gradient, void *scratch) noexcept
    double fl_tape_value(const double *x, size_t n, void *tape) noexcept
    double fl_tape_integrand(int n, double *x, void *tape) noexcept
    fl_status fl_tape_hessian(const fl_tape *tape, const double *x, double *hessian) noexcept
    fl_status fl_tape_batch(const fl_tape *tape, size_t n_points, const char *x, ptrdiff_t point_stride,
                            ptrdiff_t input_stride, double *values, double *gradients, size_t threads) noexcept

    ctypedef enum fl_stop:
        FL_GOING
        FL_GRADIENT_SMALL
        FL_VALUE_STEADY
        FL_STEP_SMALL
        FL_DIVERGED

    ctypedef void fl_projection(double *x, size_t n, void *context) noexcept
    ctypedef struct fl_box:
        const double *low
        const double *high
    void fl_project_to_box(double *x, size_t n, void *box) noexcept

    ctypedef struct fl_descent:
        fl_objective *objective
        void *context
        size_t n
        fl_plan *plan
        const fl_settings *settings
        double *x
        double *gradient
        double *best_x
        double *best_gradient
        double *before
        double *trial
        fl_projection *project
        void *project_context
        double gtol, ftol, xtol
        int maximize
        double value, best
        size_t n_steps, n_evaluations
        fl_stop stop

    ctypedef struct fl_timetable:
        size_t n_numbers
        const size_t *index
        const double *table

    void fl_descend_start(fl_descent *d) noexcept
    size_t fl_descend(fl_descent *d, size_t n_steps, const fl_timetable *timetable, size_t every, double *path) noexcept
    void fl_descend_many(size_t n_descents, fl_descent *const *descents, size_t n_steps, const fl_timetable *timetable,
                         size_t threads) noexcept

    ctypedef enum fl_loss:
        FL_LOG
        FL_HINGE
        FL_SQUARED_HINGE
        FL_MODIFIED_HUBER
        FL_SQUARED
        FL_HUBER
        FL_QUANTILE
        FL_SOFTMAX

    ctypedef struct fl_rows:
        const void *data
        const int32_t *columns
        const int32_t *starts
        int is_single
        const double *targets
        const double *weights

    ctypedef struct fl_learner:
        fl_plan *plan
        const fl_settings *settings
        fl_loss loss
        double parameter, l2, l1
        size_t n_features, n_outputs
        size_t lr
        double *weights
        double *intercept
        double *gradient
        double *intercept_gradient
        double *copies
        double *compact
        double *scores
        double *row
        double *average
        double *average_intercept
        size_t n_averaged
        int32_t *seen_in_batch
        unsigned char *is_seen
        int is_exact
        double *pulls
        double *lags
        double decay, pull
        size_t n_seen

    int fl_columns_increase(const fl_rows *rows, size_t n, size_t n_features) noexcept
    void fl_shuffle(size_t n, size_t *order, uint64_t key) noexcept
    double fl_learn(fl_learner *learner, const fl_rows *rows, size_t n, const size_t *order, size_t batch,
                    const fl_timetable *timetable) noexcept
