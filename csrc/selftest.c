/* The tests of the core that need no Python: for sanitizers, for coverage, and for a machine where only a compiler is.
 *
 *   selftest                        prints what fails, then `N passed, N failed`; the status is 0 if nothing failed
 *   selftest --wrong-rule [FAULT]   the same with one kernel replaced by a wrong one: has to fail, or the tests are no good.
 *                                   FAULT: formula (default), fma, tail, order
 *
 * Invariants: every random number comes from `mix` of constants, so that every run is the same. What must agree is compared
 * byte for byte: there is no tolerance but where it says why.
 *
 * plan.c and pool.c are compiled into this file once more, under other names, so that their allocator, their source of threads
 * and their table of kernels can be made to fail; tests of plans use this copy. */
#define _GNU_SOURCE
#include "kernels.h"
#include "layout.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- seams ---- */

static size_t allocations_left = SIZE_MAX, live_blocks; /* how many succeed before one fails; how many are not freed yet */

static void *rationed_calloc(size_t n, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    live_blocks++;
    return calloc(n, size);
}

static void counted_free(void *block)
{
    live_blocks -= block != NULL;
    free(block);
}

static int refuse_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    (void)thread, (void)attributes, (void)start, (void)argument;
    return EAGAIN;
}

static const fl_kernels *kernels_in_use(void);

#define calloc rationed_calloc
#define free counted_free
#define fl_kernels_current kernels_in_use
#define fl_plan_new copy_plan_new
#define fl_plan_free copy_plan_free
#define fl_plan_tensors copy_plan_tensors
#define fl_plan_groups copy_plan_groups
#define fl_plan_arrange copy_plan_arrange
#define fl_plan_enter copy_plan_enter
#define fl_plan_leave copy_plan_leave
#define fl_plan_step copy_plan_step
#define fl_plan_locate copy_plan_locate
typedef struct fl_plan copy_plan;
void copy_plan_free(copy_plan *plan);
#include "plan.c"
#undef calloc
#undef free
#undef fl_kernels_current

#define pthread_create refuse_thread
#define fl_pool_run lonely_pool_run
#define fl_fork_generation lonely_fork_generation
#include "pool.c"
#undef pthread_create
#undef fl_pool_run
#undef fl_fork_generation

/* Says nothing unless ThreadSanitizer asks: a child that starts threads after a fork is what is tested here. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }

/* ---- what the tests share ---- */

static size_t n_passed, n_failed;

__attribute__((format(printf, 2, 3))) static int expect(int holds, const char *format, ...)
{
    va_list arguments;
    if (holds) {
        n_passed++;
        return 1;
    }
    if (n_failed++ < 50) {
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
    }
    return 0;
}

/* 64 bits from 64 bits; not the generator of codec.inc.h, whose output is tested with it. */
static uint64_t mix(uint64_t x)
{
    for (int i = 0; i < 2; i++)
        x = (x ^ (x >> 29))*0xff51afd7ed558ccdu + 0x632be59bd9b4e019u;
    return x ^ (x >> 32);
}

static size_t below(size_t n, uint64_t seed) { return (size_t)(mix(seed) % n); }

/* A number to compute with: mostly about 1, some 0, of either sign, some tiny or huge. */
static double number(uint64_t seed)
{
    const uint64_t r = mix(seed);
    const double x = (double)(int64_t)r*0x1p-62;
    const unsigned kind = (unsigned)r % 32;
    return kind == 0 ? 0 : kind == 1 ? -0.0 : kind == 2 ? x*1e-30 : kind == 3 ? x*1e-42 : kind == 4 ? x*1e4 : x;
}

static void *allocate(size_t size)
{
    void *block = calloc(1, size + 1);
    if (block == NULL)
        abort();
    return block;
}

static size_t n_isas(void)
{
    size_t n = 0;
    while (fl_isa_name(n) != NULL && fl_isa_supported(n))
        n++;
    return n;
}

/* ---- wrong kernels ---- */

static enum { NO_FAULT, WRONG_FORMULA, WRONG_CONTRACTION, WRONG_TAIL, WRONG_ORDER } fault;
static const fl_kernels *truth; /* what a wrong kernel is wrong about */

static void adam_with_one_beta(void *p, const void *g, void *const *state, const void *constants, size_t n)
{
    double wrong[FL_MAX_CONSTANTS];
    memcpy(wrong, constants, fl_rules[FL_RULE_adam].info.n_constants*sizeof *wrong);
    wrong[1] = wrong[2]; /* b1 = b2 */
    truth->step[FL_RULE_adam][FL_DOUBLE](p, g, state, wrong, n);
}

static void sgd_contracted(void *p_, const void *g_, void *const *state, const void *constants, size_t n)
{
    float *p = p_;
    const float *g = g_, lr = *(const float *)constants;
    (void)state;
    for (size_t i = 0; i < n; i++)
        p[i] = fmaf(-lr, g[i], p[i]);
}

static void lion_without_last(void *p, const void *g, void *const *state, const void *constants, size_t n)
{
    truth->step[FL_RULE_lion][FL_SINGLE](p, g, state, constants, n % 16 == 15 ? n - 1 : n);
}

static void squares_in_order(const void *g_, double unit, double clip, size_t n, double *sums)
{
    const double *g = g_;
    for (size_t i = 0; i < n; i++)
        sums[0] += unit*fmax(-clip, fmin(clip, g[i]))*unit*fmax(-clip, fmin(clip, g[i]));
}

static const fl_kernels *kernels_in_use(void)
{
    static fl_kernels wrong;
    truth = fl_kernels_current();
    /* A formula is wrong on every instruction set, the rest on the best one. */
    if (fault == NO_FAULT || (fault != WRONG_FORMULA && strcmp(truth->name, fl_isa_name(n_isas() - 1)) != 0))
        return truth;
    wrong = *truth;
    if (fault == WRONG_FORMULA)
        wrong.step[FL_RULE_adam][FL_DOUBLE] = adam_with_one_beta;
    else if (fault == WRONG_CONTRACTION)
        wrong.step[FL_RULE_sgd][FL_SINGLE] = sgd_contracted;
    else if (fault == WRONG_TAIL)
        wrong.step[FL_RULE_lion][FL_SINGLE] = lion_without_last;
    else
        wrong.squares[FL_DOUBLE] = squares_in_order;
    return &wrong;
}

/* ---- a small model, in any manner ---- */

/* What is computed. */
typedef struct {
    size_t rule;
    fl_format format;
    int stochastic, master; /* of half formats */
    int plain;              /* no prologue and no average: the rule alone, in place */
} subject;

/* How: none of this may change a bit. */
typedef struct {
    size_t isa, threads, offset; /* offset in elements moves the arrays off the alignment of malloc */
    int strided;                 /* parameters and gradients are strided and unaligned */
} manner;

static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 255, 256, 257, 1000, 32767, 32768, 32769};
enum { N_TENSORS = sizeof lengths/sizeof *lengths, N_STEPS = 3 };

/* An array with a place for each element: contiguous, or with three bytes between, the last element first. */
typedef struct {
    char *block, *first;
    size_t n, item_size;
    ptrdiff_t stride;
    fl_layout layout;
} strip;

static strip new_strip(size_t n, size_t item_size, size_t offset, int strided)
{
    strip s = {.n = n, .item_size = item_size, .stride = (ptrdiff_t)item_size};
    if (strided) {
        s.stride = -(ptrdiff_t)(item_size + 3);
        s.block = allocate(n*(item_size + 3) + 1);
        s.first = n == 0 ? s.block : s.block + 1 + (n - 1)*(item_size + 3);
        s.layout = (fl_layout){1, {n}, {s.stride}};
    } else {
        s.block = allocate((n + offset)*item_size);
        s.first = s.block + offset*item_size;
    }
    return s;
}

static const fl_layout *layout_of(const strip *s) { return s->layout.n_dims > 0 ? &s->layout : NULL; }

static void set(strip *s, size_t i, const void *item) { memcpy(s->first + (ptrdiff_t)i*s->stride, item, s->item_size); }

static void set_number(strip *s, fl_format format, size_t i, double x)
{
    const float single = (float)x;
    uint16_t half;
    if (format == FL_FLOAT64)
        set(s, i, &x);
    else if (format == FL_FLOAT32)
        set(s, i, &single);
    else {
        fl_kernels_baseline.encode[format](&half, &single, 1);
        set(s, i, &half);
    }
}

typedef struct {
    subject what;
    fl_plan *plan;
    fl_tensor *tensors;
    fl_group *groups;
    fl_settings settings;
    strip param[N_TENSORS], grad[N_TENSORS], state[N_TENSORS][FL_MAX_STATES], average[N_TENSORS], master[N_TENSORS];
    double running[N_TENSORS][FL_MAX_RUNNING];
} model;

/* A value that suits a hyperparameter of this name; an unknown one gets 0.5, so that a new rule needs no new row. */
static double hyper_value(const char *name)
{
    static const struct { const char *name; double value; } rows[] = {
        {"lr", 0.01}, {"mu", 0.9}, {"tau", 0.1}, {"b1", 0.9}, {"b2", 0.99}, {"b3", 0.999}, {"eps", 1e-8}, {"wd", 0.01},
        {"rho", 0.9}, {"alpha", 0.9}, {"lo", 1e-6}, {"hi", 50}, {"up", 1.2}, {"down", 0.5}, {"warmup", 2}, {"trust", 0.001},
    };
    for (size_t i = 0; i < sizeof rows/sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].value;
    return 0.5;
}

static void *arithmetic_strip(strip *s, fl_format format, size_t n, size_t offset, double start)
{
    const fl_format real = format == FL_FLOAT64 ? FL_FLOAT64 : FL_FLOAT32;
    *s = new_strip(n, item_sizes[real], offset, 0);
    for (size_t i = 0; i < n; i++)
        set_number(s, real, i, start);
    return s->first;
}

static void place(model *m, size_t i, manner how)
{
    fl_tensor *t = &m->tensors[i];
    const size_t n = lengths[i];
    const fl_format format = m->what.format;
    double starts[FL_MAX_STATES];
    m->param[i] = new_strip(n, item_sizes[format], how.offset, how.strided);
    m->grad[i] = new_strip(n, item_sizes[format], how.offset + 1, how.strided);
    for (size_t j = 0; j < n; j++)
        set_number(&m->param[i], format, j, number(1000*i + j));
    fl_rule_start(m->what.rule, m->groups[i % 2].hypers, m->running[i], starts);
    for (size_t k = 0; k < fl_rule(m->what.rule)->n_states; k++)
        t->state[k] = arithmetic_strip(&m->state[i][k], format, n, how.offset, starts[k]);
    if (!m->what.plain)
        t->average = arithmetic_strip(&m->average[i], format, n, how.offset, 0);
    if (m->what.master) {
        t->master = arithmetic_strip(&m->master[i], format, n, how.offset, 0);
        for (size_t j = 0; j < n; j++) {
            uint16_t half;
            memcpy(&half, m->param[i].first + (ptrdiff_t)j*m->param[i].stride, sizeof half);
            fl_kernels_baseline.decode[format](t->master + j, &half, 1);
        }
    }
    t->param = m->param[i].first;
    t->param_layout = layout_of(&m->param[i]);
    t->grad = m->grad[i].first;
    t->grad_layout = layout_of(&m->grad[i]);
    t->param_format = t->grad_format = format;
    t->stochastic = m->what.stochastic;
    t->running = m->running[i];
    t->size = n;
    t->group = i % 2;
}

static model *new_model(subject what, manner how)
{
    const fl_rule_info *info = fl_rule(what.rule);
    model *m = allocate(sizeof *m);
    m->what = what;
    m->plan = fl_plan_new(what.rule, N_TENSORS, 2);
    m->tensors = fl_plan_tensors(m->plan);
    m->groups = fl_plan_groups(m->plan);
    m->settings = (fl_settings){1, HUGE_VAL, HUGE_VAL, 0.9, 7, FL_IGNORE, how.threads};
    for (size_t g = 0; g < 2; g++) {
        for (size_t k = 0; k < info->n_hypers; k++)
            m->groups[g].hypers[k] = hyper_value(info->hypers[k]);
        m->groups[g].l2 = what.plain ? 0 : 0.05*(double)g;
        m->groups[g].maximize = !what.plain && g == 0;
    }
    if (!what.plain) {
        m->settings.scale = 0.75;
        m->settings.clip_value = 1.25;
        m->settings.clip_norm = 40;
        m->settings.nonfinite = FL_RAISE;
    }
    for (size_t i = 0; i < N_TENSORS; i++)
        place(m, i, how);
    fl_isa_select(fl_isa_name(how.isa));
    if (fl_plan_arrange(m->plan) != FL_OK)
        abort();
    return m;
}

static void fill_gradients(model *m, uint64_t step)
{
    for (size_t i = 0; i < N_TENSORS; i++)
        for (size_t j = 0; j < lengths[i]; j++)
            set_number(&m->grad[i], m->what.format, j, number((step << 40) + 100000*i + j));
}

static fl_status step_model(model *m)
{
    const int entered = fl_plan_enter(m->plan);
    const fl_status status = fl_plan_step(m->plan, &m->settings);
    fl_plan_leave(m->plan);
    return entered == 0 ? status : FL_NO_MEMORY;
}

static void free_model(model *m)
{
    for (size_t i = 0; i < N_TENSORS; i++) {
        free(m->param[i].block), free(m->grad[i].block), free(m->average[i].block), free(m->master[i].block);
        for (size_t k = 0; k < FL_MAX_STATES; k++)
            free(m->state[i][k].block);
    }
    fl_plan_free(m->plan);
    free(m);
}

static size_t copy_strip(const strip *s, unsigned char *out)
{
    for (size_t j = 0; j < s->n; j++)
        memcpy(out + j*s->item_size, s->first + (ptrdiff_t)j*s->stride, s->item_size);
    return s->n*s->item_size;
}

/* All that a step may write, in the order of the elements. */
typedef struct {
    size_t n, tensor_ends[N_TENSORS];
    unsigned char bytes[];
} snapshot;

static snapshot *snapshot_of(const model *m)
{
    size_t elements = 0;
    for (size_t i = 0; i < N_TENSORS; i++)
        elements += lengths[i];
    snapshot *s = allocate(sizeof *s + (elements*(3 + FL_MAX_STATES) + N_TENSORS*FL_MAX_RUNNING)*sizeof(double));
    for (size_t i = 0; i < N_TENSORS; i++) {
        const strip *parts[] = {&m->param[i], &m->average[i], &m->master[i]};
        for (size_t k = 0; k < 3; k++)
            s->n += copy_strip(parts[k], s->bytes + s->n);
        for (size_t k = 0; k < FL_MAX_STATES; k++)
            s->n += copy_strip(&m->state[i][k], s->bytes + s->n);
        memcpy(s->bytes + s->n, m->running[i], sizeof m->running[i]);
        s->n += sizeof m->running[i];
        s->tensor_ends[i] = s->n;
    }
    return s;
}

/* The length of the first tensor where two snapshots differ, or SIZE_MAX. */
static size_t difference(const snapshot *a, const snapshot *b)
{
    for (size_t i = 0, start = 0; i < N_TENSORS; start = a->tensor_ends[i++])
        if (memcmp(a->bytes + start, b->bytes + start, a->tensor_ends[i] - start) != 0)
            return lengths[i];
    return SIZE_MAX;
}

static snapshot *outcome(subject what, manner how)
{
    model *m = new_model(what, how);
    for (uint64_t step = 1; step <= N_STEPS; step++) {
        fill_gradients(m, step);
        expect(step_model(m) == FL_OK, "%s: must step", fl_rule(what.rule)->name);
    }
    snapshot *s = snapshot_of(m);
    free_model(m);
    return s;
}

/* ---- the rules: the same bits in every manner ---- */

static void test_manners_of(subject what)
{
    const size_t best = n_isas() - 1;
    const manner ways[] = {{best, 1, 0, 0}, {best/2, 2, 1, 0}, {best, 3, 3, 0}, {0, 4, 5, 1}, {best, 4, 0, 1}};
    snapshot *first = outcome(what, (manner){0, 1, 0, 0});
    for (size_t w = 0; w < sizeof ways/sizeof *ways; w++) {
        snapshot *other = outcome(what, ways[w]);
        const size_t where = difference(first, other);
        expect(where == SIZE_MAX, "%s, format %d%s: %s, %zu threads, offset %zu%s differs from baseline at length %zu",
               fl_rule(what.rule)->name, (int)what.format, what.plain ? ", plain" : "", fl_isa_name(ways[w].isa),
               ways[w].threads, ways[w].offset, ways[w].strided ? ", strided" : "", where);
        free(other);
    }
    free(first);
}

static void test_manners(void)
{
    for (size_t rule = 0; rule < fl_rule_count(); rule++)
        for (int plain = 0; plain < 2; plain++) {
            test_manners_of((subject){rule, FL_FLOAT32, 0, 0, plain});
            test_manners_of((subject){rule, FL_FLOAT64, 0, 0, plain});
        }
    for (fl_format format = FL_FLOAT16; format <= FL_BFLOAT16; format++) {
        test_manners_of((subject){FL_RULE_adam, format, 0, 0, 0});
        test_manners_of((subject){FL_RULE_adam, format, 1, 0, 0});
        test_manners_of((subject){FL_RULE_lamb, format, 0, 1, 0});
    }
}

/* A kernel does not care where a run of elements is cut. */
static void test_cuts(void)
{
    enum { N = 100 };
    for (size_t rule = 0; rule < fl_rule_count(); rule++)
        for (size_t isa = 0; isa < n_isas(); isa++) {
            double constants[FL_MAX_CONSTANTS];
            double whole[2 + FL_MAX_STATES][N], parts[2 + FL_MAX_STATES][N]; /* p, g, states */
            size_t cuts_that_differ = 0;
            fl_isa_select(fl_isa_name(isa));
            for (size_t k = 0; k < FL_MAX_CONSTANTS; k++)
                constants[k] = 0.1 + 0.05*(double)k;
            for (size_t cut_at = 0; cut_at <= N; cut_at += 7) {
                for (size_t i = 0; i < sizeof whole/sizeof **whole; i++)
                    (&whole[0][0])[i] = fabs(number(i)); /* a second moment is not negative */
                memcpy(parts, whole, sizeof whole);
                void *all[FL_MAX_STATES], *left[FL_MAX_STATES], *right[FL_MAX_STATES];
                for (size_t k = 0; k < FL_MAX_STATES; k++)
                    all[k] = whole[2 + k], left[k] = parts[2 + k], right[k] = parts[2 + k] + cut_at;
                fl_step_kernel *step = kernels_in_use()->step[rule][FL_DOUBLE];
                step(whole[0], whole[1], all, constants, N);
                step(parts[0], parts[1], left, constants, cut_at);
                step(parts[0] + cut_at, parts[1] + cut_at, right, constants, N - cut_at);
                cuts_that_differ += memcmp(whole, parts, sizeof whole) != 0;
            }
            expect(cuts_that_differ == 0, "%s, %s: bits depend on where the elements are cut", fl_rule(rule)->name, fl_isa_name(isa));
        }
}

/* ---- some rules: the bits of a scalar step ---- */

/* Arithmetic is in double, and every result is rounded to the precision of the rule. For float that gives the same as
 * arithmetic in float, because double has more than twice its digits; and no compiler can contract it. */
static int in_single;

static double R(double x) { return in_single ? (double)(float)x : x; }

/* Norms: squares in double, element i of a span in sum i % 16, the sums folded in halves. */
static double replay_norm(const double *x, size_t n)
{
    double total = 0;
    for (size_t start = 0; start < n; start += FL_SPAN) {
        double sums[16] = {0};
        for (size_t i = 0; i < FL_SPAN && start + i < n; i++)
            sums[i % 16] += x[start + i]*x[start + i];
        for (size_t half = 8; half > 0; half /= 2)
            for (size_t i = 0; i < half; i++)
                sums[i] += sums[half + i];
        total += sums[0];
    }
    return sqrt(total);
}

typedef void replay(double *p, const double *g, double *s1, double *s2, double t, size_t n);

static void replay_sgd(double *p, const double *g, double *s1, double *s2, double t, size_t n)
{
    (void)s1, (void)s2, (void)t;
    for (size_t i = 0; i < n; i++)
        p[i] = R(p[i] - R(R(0.01)*g[i]));
}

static void replay_momentum(double *p, const double *g, double *b, double *s2, double t, size_t n)
{
    (void)s2;
    for (size_t i = 0; i < n; i++) {
        b[i] = R(R(R(0.9)*b[i]) + R(R(t > 1 ? 1 - 0.1 : 1)*g[i]));
        p[i] = R(p[i] - R(R(0.01)*b[i]));
    }
}

static double power(double x, double t) { return t > 0 ? power(x, t - 1)*x : 1; }

static void replay_moments(const double *g, double *m, double *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        m[i] = R(R(R(0.9)*m[i]) + R(R(1 - 0.9)*g[i]));
        v[i] = R(R(R(0.99)*v[i]) + R(R(1 - 0.99)*R(g[i]*g[i])));
    }
}

/* eps_mode and fixed_decay are 0.5, which reads as mode 0 and as true. */
static void replay_adam(double *p, const double *g, double *m, double *v, double t, size_t n)
{
    const double k1 = R(1/(1 - power(0.9, t))), k2 = R(1/(1 - power(0.99, t)));
    replay_moments(g, m, v, n);
    for (size_t i = 0; i < n; i++)
        p[i] = R(R(R(1 - 0.01)*p[i]) - R(R(0.01)*R(R(m[i]*k1)/R(R(sqrt(R(v[i]*k2))) + R(1e-8)))));
}

static void replay_lion(double *p, const double *g, double *m, double *s2, double t, size_t n)
{
    (void)s2, (void)t;
    for (size_t i = 0; i < n; i++) {
        const double x = R(R(R(0.9)*m[i]) + R(R(1 - 0.9)*g[i]));
        p[i] = R(R(R(1 - 0.01*0.01)*p[i]) - R(R(0.01)*((x > 0) - (x < 0))));
        m[i] = R(R(R(0.99)*m[i]) + R(R(1 - 0.99)*g[i]));
    }
}

static void replay_lamb(double *p, const double *g, double *m, double *v, double t, size_t n)
{
    const double k1 = R(1/(1 - power(0.9, t))), k2 = R(1/(1 - power(0.99, t)));
    double *r = allocate(n*sizeof *r);
    replay_moments(g, m, v, n);
    for (size_t i = 0; i < n; i++)
        r[i] = R(R(R(m[i]*k1)/R(R(sqrt(R(v[i]*k2))) + R(1e-8))) + R(R(0.01)*p[i]));
    const double x = replay_norm(p, n), y = replay_norm(r, n);
    const double q = R(x > 0 && y > 0 ? (x < 0.5 ? x : 0.5)/y : 1);
    for (size_t i = 0; i < n; i++)
        p[i] = R(p[i] - R(R(R(0.01)*q)*r[i]));
    free(r);
}

static const struct { size_t rule; replay *step; } replays[] = {
    {FL_RULE_sgd, replay_sgd}, {FL_RULE_momentum, replay_momentum}, {FL_RULE_adam, replay_adam}, {FL_RULE_lion, replay_lion},
    {FL_RULE_lamb, replay_lamb},
};

static double number_at(const strip *s, size_t i)
{
    float single = 0;
    double twice = 0;
    memcpy(s->item_size == 8 ? (void *)&twice : (void *)&single, s->first + (ptrdiff_t)i*s->stride, s->item_size);
    return s->item_size == 8 ? twice : (double)single;
}

static double *numbers_of(const strip *s)
{
    double *x = allocate(s->n*sizeof *x);
    for (size_t i = 0; i < s->n; i++)
        x[i] = number_at(s, i);
    return x;
}

/* What is done to a gradient before the rule. */
static void replay_prologue(const model *m, size_t tensor, const double *p, double *g, double scale)
{
    const double clip = R(m->settings.clip_value/m->settings.scale), l2 = m->groups[tensor % 2].l2;
    if (m->groups[tensor % 2].maximize)
        scale = -scale;
    for (size_t i = 0; i < m->param[tensor].n; i++) {
        g[i] = R(R(scale)*(g[i] > clip ? clip : g[i] < -clip ? -clip : g[i]));
        if (l2 != 0)
            g[i] = R(g[i] + R(R(l2)*p[i]));
    }
}

/* The factor that clips the gradients to their norm. */
static double replay_scale(const model *m)
{
    const double clip = R(m->settings.clip_value/m->settings.scale);
    double squares = 0;
    for (size_t i = 0; i < N_TENSORS; i++) {
        double *g = numbers_of(&m->grad[i]);
        for (size_t j = 0; j < lengths[i]; j++)
            g[j] = g[j] > clip ? clip : g[j] < -clip ? -clip : g[j];
        for (size_t start = 0; start < lengths[i]; start += FL_SPAN) {
            const double norm = replay_norm(g + start, smaller(FL_SPAN, lengths[i] - start));
            squares += norm*norm;
        }
        free(g);
    }
    const double norm = m->settings.scale*sqrt(squares);
    return norm > m->settings.clip_norm ? m->settings.scale*(m->settings.clip_norm/norm) : m->settings.scale;
}

static size_t wrong_elements(const strip *s, const double *expected)
{
    size_t wrong = 0;
    for (size_t j = 0; j < s->n; j++)
        wrong += number_at(s, j) != expected[j];
    return wrong;
}

static void test_replay_of(size_t which, fl_format format, manner how, int plain)
{
    model *m = new_model((subject){replays[which].rule, format, 0, 0, plain}, how);
    double *p[N_TENSORS], *s1[N_TENSORS], *s2[N_TENSORS];
    in_single = format == FL_FLOAT32;
    m->settings.clip_norm = HUGE_VAL; /* test_norm has it: its last bit is not replayed */
    for (size_t i = 0; i < N_TENSORS; i++) {
        p[i] = numbers_of(&m->param[i]);
        s1[i] = allocate(lengths[i]*sizeof(double));
        s2[i] = allocate(lengths[i]*sizeof(double));
    }
    for (uint64_t step = 1; step <= N_STEPS; step++) {
        fill_gradients(m, step);
        for (size_t i = 0; i < N_TENSORS; i++) {
            double *g = numbers_of(&m->grad[i]);
            if (!plain)
                replay_prologue(m, i, p[i], g, m->settings.scale);
            replays[which].step(p[i], g, s1[i], s2[i], (double)step, lengths[i]);
            free(g);
        }
        step_model(m);
    }
    for (size_t i = 0; i < N_TENSORS; i++) {
        const size_t wrong = wrong_elements(&m->param[i], p[i]) + (m->state[i][0].n ? wrong_elements(&m->state[i][0], s1[i]) : 0) +
                             (m->state[i][1].n ? wrong_elements(&m->state[i][1], s2[i]) : 0);
        expect(wrong == 0, "%s, format %d, %s: %zu elements differ from a scalar step at length %zu",
               fl_rule(replays[which].rule)->name, (int)format, fl_isa_name(how.isa), wrong, lengths[i]);
        free(p[i]), free(s1[i]), free(s2[i]);
    }
    free_model(m);
}

static void test_replays(void)
{
    for (size_t which = 0; which < sizeof replays/sizeof *replays; which++)
        for (size_t isa = 0; isa < n_isas(); isa++)
            for (int plain = 0; plain < 2; plain++) {
                test_replay_of(which, FL_FLOAT32, (manner){isa, 2, 1, 0}, plain);
                test_replay_of(which, FL_FLOAT64, (manner){isa, 2, 1, 0}, plain);
            }
}

/* The norm within a few units of the last place of a float: the sums of the spans are rooted and squared again on the way. */
static void test_norm(void)
{
    for (fl_format format = FL_FLOAT32; format <= FL_FLOAT64; format++)
        for (int huge = 0; huge <= (format == FL_FLOAT64); huge++) {
            model *m = new_model((subject){FL_RULE_sgd, format, 0, 0, 0}, (manner){n_isas() - 1, 2, 0, 0});
            for (size_t g = 0; g < 2; g++)
                m->groups[g] = (fl_group){.hypers = {1}};
            fill_gradients(m, 1);
            if (huge) { /* 32769 squares of 1e200 are beyond double, their root is not */
                m->settings.clip_value = HUGE_VAL;
                for (size_t j = 0; j < lengths[N_TENSORS - 1]; j++)
                    set_number(&m->grad[N_TENSORS - 1], format, j, j % 2 ? 1e200 : -1e200);
            }
            const double scale = huge ? 40/(1e200*sqrt((double)lengths[N_TENSORS - 1])) : replay_scale(m);
            expect(scale < m->settings.scale, "clip_norm: the test must clip; got scale %g", scale);
            double *before = numbers_of(&m->param[N_TENSORS - 1]), *g = numbers_of(&m->grad[N_TENSORS - 1]);
            in_single = format == FL_FLOAT32;
            replay_prologue(m, N_TENSORS - 1, before, g, scale);
            step_model(m);
            double worst = 0;
            for (size_t j = 0; j < lengths[N_TENSORS - 1]; j++) {
                const double step = before[j] - number_at(&m->param[N_TENSORS - 1], j);
                worst = fmax(worst, fabs(step - g[j])/(fabs(before[j]) + fabs(g[j]) + 1e-30));
            }
            expect(worst < (format == FL_FLOAT32 ? 4*FLT_EPSILON : 64*DBL_EPSILON), "clip_norm, format %d%s: off by %g",
                   (int)format, huge ? ", beyond the range of squares" : "", worst);
            free(before), free(g);
            free_model(m);
        }
}

/* The first average is the weights, the next is between; within the roundings of three operations. */
static void test_average(void)
{
    model *m = new_model((subject){FL_RULE_sgd, FL_FLOAT32, 0, 0, 0}, (manner){0, 1, 0, 0});
    double *average = NULL;
    for (uint64_t step = 1; step <= N_STEPS; step++) {
        fill_gradients(m, step);
        step_model(m);
        double worst = 0, *p = numbers_of(&m->param[9]), *e = numbers_of(&m->average[9]);
        for (size_t j = 0; j < lengths[9]; j++) {
            const double expected = step == 1 ? p[j] : 0.9*average[j] + 0.1*p[j];
            worst = fmax(worst, fabs(e[j] - expected)/(fabs(p[j]) + fabs(e[j]) + FLT_MIN));
        }
        expect(step == 1 ? worst == 0 : worst < 2*FLT_EPSILON, "average: off by %g in step %d", worst, (int)step);
        free(average), free(p);
        average = e;
    }
    free(average);
    free_model(m);
}

/* ---- all or nothing ---- */

static void test_nonfinite_of(fl_format format, fl_nonfinite policy, double value, size_t tensor, size_t first)
{
    model *m = new_model((subject){FL_RULE_adam, format, format > FL_FLOAT64, 0, 0}, (manner){n_isas() - 1, 3, 0, 0});
    size_t found, count;
    m->settings.nonfinite = policy;
    fill_gradients(m, 1);
    fl_plan_locate(m->plan, tensor, &found, &count);
    expect(count == 0 && found == lengths[tensor], "locate: must find nothing; got %zu at %zu", count, found);
    set_number(&m->grad[tensor], format, first, value);
    set_number(&m->grad[tensor], format, lengths[tensor] - 1, value);
    snapshot *before = snapshot_of(m);
    const fl_status status = step_model(m);
    snapshot *after = snapshot_of(m);
    if (policy == FL_IGNORE)
        expect(status == FL_OK && difference(before, after) != SIZE_MAX, "FL_IGNORE: must step; got status %d", (int)status);
    else
        expect(status == FL_NOT_FINITE && difference(before, after) == SIZE_MAX,
               "policy %d, format %d, gradient %g: nothing may be written; got status %d, length %zu changed", (int)policy,
               (int)format, value, (int)status, difference(before, after));
    fl_plan_locate(m->plan, tensor, &found, &count);
    const size_t expected = first == lengths[tensor] - 1 ? 1 : 2;
    expect(found == first && count == expected, "locate: must find %zu at %zu; got %zu at %zu", expected, first, count, found);
    free(before), free(after);
    free_model(m);
}

static void test_nonfinite(void)
{
    for (fl_format format = FL_FLOAT32; format < FL_N_FORMATS; format++) {
        test_nonfinite_of(format, FL_RAISE, NAN, 1, 0);
        test_nonfinite_of(format, FL_RAISE, -INFINITY, 10, 32765);
        test_nonfinite_of(format, FL_SKIP, INFINITY, 12, 32768);
        test_nonfinite_of(format, FL_IGNORE, NAN, 9, 500);
    }
}

/* A tensor without gradient and a frozen group keep every byte, counters too, whatever their gradient. */
static void test_left_alone(void)
{
    model *m = new_model((subject){FL_RULE_adam, FL_FLOAT32, 0, 0, 0}, (manner){n_isas() - 1, 2, 0, 0});
    fill_gradients(m, 1);
    m->groups[1].frozen = 1;
    set_number(&m->grad[11], FL_FLOAT32, 0, NAN); /* of group 1 */
    m->tensors[12].grad = NULL;
    snapshot *before = snapshot_of(m);
    expect(step_model(m) == FL_OK, "frozen: a gradient that is not used may be anything");
    snapshot *after = snapshot_of(m);
    for (size_t i = 0, start = 0; i < N_TENSORS; start = before->tensor_ends[i++]) {
        const int same_bytes = memcmp(before->bytes + start, after->bytes + start, before->tensor_ends[i] - start) == 0;
        expect(same_bytes == (i % 2 == 1 || i == 12), "tensor %zu: must %s", i, same_bytes ? "be stepped" : "be left alone");
    }
    size_t found, count;
    fl_plan_locate(m->plan, 11, &found, &count);
    expect(count == 0 && found == lengths[11], "locate: must not look at a frozen tensor");
    free(before), free(after);
    free_model(m);
}

/* ---- formats ---- */

/* An independent view of the half formats: sign, exponent and digits by arithmetic. */
typedef struct {
    fl_format format;
    int digits, low;  /* after the point; the exponent of the smallest normal number */
    double beyond;    /* the first power of two that is too large */
} half_format;
static const half_format halves[] = {{FL_FLOAT16, 10, -14, 0x1p16}, {FL_BFLOAT16, 7, -126, 0x1p128}};

static double value_of(const half_format *h, uint16_t bits)
{
    const int exponent = (bits & 0x7fff) >> h->digits, digits = bits & ((1 << h->digits) - 1);
    const double magnitude = exponent == 0 ? ldexp(digits, h->low - h->digits)
                                           : ldexp((1 << h->digits) + digits, exponent - 1 + h->low - h->digits);
    const double value = magnitude < h->beyond ? magnitude : digits == 0 ? INFINITY : (double)NAN;
    return bits & 0x8000 ? -value : value;
}

/* The distance of the half numbers around x. */
static double unit_of(const half_format *h, double x)
{
    const int exponent = x == 0 ? h->low : ilogb(x);
    return ldexp(1, (exponent < h->low ? h->low : exponent) - h->digits);
}

static double nearest(const half_format *h, float x)
{
    const double unit = unit_of(h, (double)x), y = isfinite(x) ? rint((double)x/unit)*unit : (double)x; /* to even */
    return fabs(y) >= h->beyond ? copysign(INFINITY, y) : y;
}

static int same_number(double a, double b) { return isnan(a) ? isnan(b) : a == b && !signbit(a) == !signbit(b); }

static void test_codecs(void)
{
    enum { N = 65536 };
    float *decoded = allocate(N*sizeof *decoded), *x = allocate(3*N*sizeof *x);
    uint16_t *all = allocate(N*sizeof *all), *encoded = allocate(3*N*sizeof *encoded);
    for (size_t i = 0; i < N; i++)
        all[i] = (uint16_t)i;
    for (size_t isa = 0; isa < n_isas(); isa++)
        for (size_t k = 0; k < 2; k++) {
            const half_format *h = &halves[k];
            size_t wrong_decoded = 0, wrong_back = 0, wrong_rounded = 0;
            fl_isa_select(fl_isa_name(isa));
            kernels_in_use()->decode[h->format](decoded, all, N);
            kernels_in_use()->encode[h->format](encoded, decoded, N);
            for (size_t i = 0; i < N; i++) {
                wrong_decoded += !same_number((double)decoded[i], value_of(h, all[i]));
                wrong_back += isnan(decoded[i]) ? !isnan(value_of(h, encoded[i])) : encoded[i] != all[i];
                /* Half way to the next number, and beside it. */
                const float middle = (float)((double)decoded[i] + unit_of(h, (double)decoded[i])/2);
                x[3*i] = isfinite(decoded[i]) ? middle : decoded[i];
                x[3*i + 1] = nextafterf(x[3*i], 0);
                x[3*i + 2] = nextafterf(x[3*i], copysignf(INFINITY, x[3*i]));
            }
            kernels_in_use()->encode[h->format](encoded, x, 3*N);
            for (size_t i = 0; i < 3*N; i++)
                wrong_rounded += !same_number(value_of(h, encoded[i]), nearest(h, x[i]));
            expect(wrong_decoded + wrong_back + wrong_rounded == 0,
                   "format %d, %s: %zu decoded wrong, %zu changed by decoding and encoding, %zu rounded wrong", (int)h->format,
                   fl_isa_name(isa), wrong_decoded, wrong_back, wrong_rounded);
        }
    free(decoded), free(x), free(all), free(encoded);
}

/* Rounded up or down, never else, with the right mean; bits that do not depend on cuts and instruction sets. */
static void test_dither_of(const half_format *h, float x, uint64_t key)
{
    enum { N = 4096 };
    float in[N];
    uint16_t out[N], other[N];
    const double unit = unit_of(h, (double)x), lower = floor((double)x/unit)*unit, up = ((double)x - lower)/unit;
    size_t ups = 0, wrong = 0, cut_at = below(N, key);
    for (size_t i = 0; i < N; i++)
        in[i] = x;
    fl_kernels_baseline.dither[h->format](out, in, key, 1000, N);
    for (size_t i = 0; i < N; i++) {
        const double y = value_of(h, out[i]);
        wrong += y != lower && (y != lower + unit || up == 0);
        ups += y != lower;
    }
    expect(wrong == 0, "dither to format %d: %a went to neither neighbour %zu times", (int)h->format, (double)x, wrong);
    /* Within five standard deviations, and what the sum of two roundings of `up` can be off. */
    expect(fabs((double)ups - N*up) <= 5*sqrt(N*up*(1 - up)) + 0.01, "dither to format %d: %a rounded up %zu times of %d, not %g",
           (int)h->format, (double)x, ups, N, N*up);
    for (size_t isa = 0; isa < n_isas(); isa++) {
        fl_isa_select(fl_isa_name(isa));
        kernels_in_use()->dither[h->format](other, in, key, 1000, cut_at);
        kernels_in_use()->dither[h->format](other + cut_at, in, key, 1000 + cut_at, N - cut_at);
        expect(memcmp(out, other, sizeof out) == 0, "dither to format %d: %s cut at %zu differs", (int)h->format, fl_isa_name(isa), cut_at);
    }
}

static void test_dither(void)
{
    for (size_t k = 0; k < 2; k++) {
        for (uint64_t i = 0; i < 100; i++) /* all exponents of the format, and some below; both signs */
            test_dither_of(&halves[k], (float)(ldexp(1.5 + 0.9*(double)(int64_t)mix(i)*0x1p-64, halves[k].low - 12 + (int)i % 26)*
                                               (i % 2 ? 1 : -1)), mix(~i));
        const float fixed[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, 0x1p-14f, 0x1p-24f, 0x3p-24f, -1.5f, 65280.0f};
        for (size_t isa = 0; isa < n_isas(); isa++)
            for (uint64_t key = 0; key < 64; key++) {
                uint16_t out[sizeof fixed/sizeof *fixed];
                size_t changed = 0;
                fl_isa_select(fl_isa_name(isa));
                kernels_in_use()->dither[halves[k].format](out, fixed, key, 0, sizeof fixed/sizeof *fixed);
                for (size_t i = 0; i < sizeof fixed/sizeof *fixed; i++)
                    changed += !same_number(value_of(&halves[k], out[i]), (double)fixed[i]);
                expect(changed == 0, "dither to format %d, %s: must keep what the format has", (int)halves[k].format, fl_isa_name(isa));
            }
    }
}

/* ---- layouts ---- */

/* Elements start to start + n of a random array against index arithmetic; unaligned, transposed, reversed, repeated. */
static void test_layout(uint64_t seed)
{
    enum { ROOM = 8192 };
    static char array[ROOM], expected[ROOM], buffer[ROOM], items[ROOM];
    const size_t item_size = (size_t[]){2, 4, 8}[below(3, seed)];
    fl_layout layout = {.n_dims = 1 + below(4, seed + 1)};
    size_t size = 1, order[4] = {0, 1, 2, 3};
    ptrdiff_t reach = (ptrdiff_t)(item_size + below(3, seed + 2)), origin = (ptrdiff_t)below(7, seed + 3);
    int repeats = 0;
    for (size_t d = 0; d < layout.n_dims; d++) {
        const size_t other = below(d + 1, seed + 10 + d), swapped = order[other];
        order[other] = order[d], order[d] = swapped;
        layout.shape[d] = 1 + below(5, seed + 20 + d);
        size *= layout.shape[d];
    }
    for (size_t k = 0; k < layout.n_dims; k++) {
        const size_t d = order[k], kind = below(8, seed + 30 + d);
        const ptrdiff_t extent = (ptrdiff_t)layout.shape[d]*reach;
        layout.strides[d] = kind == 0 ? 0 : kind < 3 ? -reach : reach;
        origin += kind == 1 || kind == 2 ? extent - reach : 0;
        repeats |= kind == 0;
        reach = kind == 0 ? reach : extent + (ptrdiff_t)below(3, seed + 40 + d);
    }
    const size_t start = below(size, seed + 4), n = below(size - start + 1, seed + 5);
    for (size_t i = 0; i < ROOM; i++)
        array[i] = expected[i] = (char)mix(seed + i), buffer[i] = 0, items[i] = (char)mix(~seed + i);
    size_t wrong = 0;
    fl_gather(buffer, array + origin, &layout, item_size, start, n);
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = origin;
        for (size_t d = layout.n_dims, rest = start + i; d-- > 0; rest /= layout.shape[d])
            at += (ptrdiff_t)(rest % layout.shape[d])*layout.strides[d];
        wrong += memcmp(buffer + i*item_size, array + at, item_size) != 0;
        memcpy(expected + at, items + i*item_size, item_size);
    }
    for (size_t i = n*item_size; i < ROOM; i++)
        wrong += buffer[i] != 0;
    expect(wrong == 0, "fl_gather: layout %llu is wrong at %zu places", (unsigned long long)seed, wrong);
    if (repeats) /* is never written to */
        return;
    fl_scatter(array + origin, &layout, items, item_size, start, n);
    expect(memcmp(array, expected, ROOM) == 0, "fl_scatter: layout %llu is wrong", (unsigned long long)seed);
}

/* ---- the pool ---- */

enum { MAX_TASKS = 64 };
typedef struct {
    atomic_uint runs[MAX_TASKS];
    atomic_uint nested;
} tally;

static void count_run(void *context, size_t i) { atomic_fetch_add(&((tally *)context)->runs[i], 1); }

static void count_nested(void *context, size_t i)
{
    static const size_t n_inner = 5;
    tally inner = {{0}, 0}, *outer = context;
    fl_pool_run(4, n_inner, count_run, &inner);
    for (size_t k = 0; k < n_inner; k++)
        atomic_fetch_add(&outer->nested, atomic_load(&inner.runs[k]));
    count_run(context, i);
}

typedef void pool_run(size_t threads, size_t n_tasks, void (*task)(void *context, size_t i), void *context);

/* 1 if every task is run once. */
static int runs_each_once(pool_run *run_on, size_t threads, size_t n_tasks, int nested)
{
    tally counts = {{0}, 0};
    run_on(threads, n_tasks, nested ? count_nested : count_run, &counts);
    for (size_t i = 0; i < MAX_TASKS; i++)
        if (atomic_load(&counts.runs[i]) != (i < n_tasks))
            return 0;
    return atomic_load(&counts.nested) == (nested ? 5*n_tasks : 0);
}

static void *call_often(void *failures)
{
    for (uint64_t i = 0; i < 300; i++)
        if (!runs_each_once(fl_pool_run, 1 + below(5, i), below(MAX_TASKS + 1, ~i), 0))
            atomic_fetch_add((atomic_uint *)failures, 1);
    return NULL;
}

/* The status of a child that runs `test`, which returns 1 if all is well. */
static int well_in_child(int (*test)(void *), void *context)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0)
        _exit(test(context) ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int pool_works(void *unused)
{
    for (uint64_t i = 0; i < 50; i++)
        if (!runs_each_once(fl_pool_run, 4, MAX_TASKS, i % 2))
            return 0;
    return unused != NULL || well_in_child(pool_works, &n_passed); /* in a grandchild too */
}

static void test_pool(void)
{
    size_t failures = 0;
    for (uint64_t i = 0; i < 3000; i++)
        failures += !runs_each_once(fl_pool_run, below(9, i), below(MAX_TASKS + 1, ~i), 0);
    expect(failures == 0, "fl_pool_run: %zu calls did not run every task once", failures);
    expect(runs_each_once(fl_pool_run, 4, MAX_TASKS, 1), "fl_pool_run: must work inside a task");
    expect(runs_each_once(fl_pool_run, 1000, MAX_TASKS, 0), "fl_pool_run: must work for more threads than tasks");
    expect(runs_each_once(lonely_pool_run, 4, MAX_TASKS, 0), "fl_pool_run: must work where no thread can be had");

    pthread_t callers[4];
    atomic_uint failed_calls = 0;
    for (size_t i = 0; i < 4; i++)
        if (pthread_create(&callers[i], NULL, call_often, &failed_calls) != 0)
            abort();
    for (size_t i = 0; i < 4; i++)
        pthread_join(callers[i], NULL);
    expect(atomic_load(&failed_calls) == 0, "fl_pool_run: %u calls at once did not run every task once", atomic_load(&failed_calls));

    const unsigned generation = fl_fork_generation();
    expect(well_in_child(pool_works, NULL), "fl_pool_run: must work in a forked child and its child");
    expect(fl_fork_generation() == generation, "fl_fork_generation: must not change in the parent");
    expect(pool_works(NULL), "fl_pool_run: must work after a fork");
}

/* ---- plans: the lock, memory ---- */

static int enters_and_leaves(void *plan)
{
    if (fl_plan_enter(plan) != 0)
        return 0;
    const int taken = fl_plan_enter(plan) == -1;
    fl_plan_leave(plan);
    return taken;
}

static void test_lock(void)
{
    fl_plan *plan = fl_plan_new(FL_RULE_sgd, 0, 0);
    fl_settings settings = {1, HUGE_VAL, HUGE_VAL, 0, 0, FL_RAISE, 4};
    expect(fl_plan_arrange(plan) == FL_OK && enters_and_leaves(plan), "fl_plan_enter: must take a free plan, once");
    expect(fl_plan_enter(plan) == 0, "fl_plan_enter: must take a plan that was left");
    expect(fl_plan_step(plan, &settings) == FL_OK, "fl_plan_step: must step a plan without tensors");
    expect(well_in_child(enters_and_leaves, plan), "fl_plan_enter: a child must not wait for a thread of its parent");
    expect(fl_plan_enter(plan) == -1, "fl_plan_enter: must keep a plan that a child entered");
    fl_plan_leave(plan);
    fl_plan_free(plan);
    fl_plan_free(NULL);
}

static void test_memory(void)
{
    size_t refusals = 0;
    for (int done = 0; !done; refusals++) {
        allocations_left = refusals;
        fl_plan *plan = fl_plan_new(FL_RULE_adam, 3, 1);
        if (plan != NULL) {
            fl_plan_tensors(plan)[1].size = 100000;
            const fl_status status = fl_plan_arrange(plan);
            done = status == FL_OK;
            expect(done || status == FL_NO_MEMORY, "fl_plan_arrange: must return FL_NO_MEMORY; got %d", (int)status);
        }
        fl_plan_free(plan);
        expect(live_blocks == 0, "fl_plan_free: %zu blocks are left after allocation %zu failed", live_blocks, refusals);
    }
    allocations_left = SIZE_MAX;
    expect(refusals > 3, "fl_plan_arrange: the test must refuse some allocations");
}

/* ---- tables ---- */

static void test_tables(void)
{
    fl_isa_select(fl_isa_name(0));
    expect(fl_isa_select("no such set") == -1 && strcmp(fl_isa_current(), fl_isa_name(0)) == 0,
           "fl_isa_select: must refuse an unknown name and change nothing");
    expect(fl_isa_select(NULL) == 0 && strcmp(fl_isa_current(), fl_isa_name(n_isas() - 1)) == 0, "fl_isa_select: NULL must be the best");
    for (size_t i = 0; i < fl_rule_count(); i++) {
        const fl_rule_info *info = fl_rule(i);
        double hypers[FL_MAX_HYPERS] = {0}, running[FL_MAX_RUNNING], states[FL_MAX_STATES];
        fl_rule_start(i, hypers, running, states);
        expect(strcmp(info->running[0], "t") == 0 && running[0] == 0, "%s: must begin at t = 0", info->name);
        expect(info->hypers[info->n_hypers] == NULL && info->running[info->n_running] == NULL && info->states[info->n_states] == NULL,
               "%s: names must be as many as their counts", info->name);
        for (size_t j = 0; j < i; j++)
            expect(strcmp(info->name, fl_rule(j)->name) != 0, "%s: must be there once", info->name);
    }
}

static int parse(int n, char **arguments)
{
    static const char *const faults[] = {"", "formula", "fma", "tail", "order"};
    if (n > 1 && strcmp(arguments[1], "--wrong-rule") == 0)
        for (int i = WRONG_FORMULA; i <= WRONG_ORDER; i++)
            if (n == 2 || strcmp(arguments[2], faults[i]) == 0) {
                fault = i;
                return 1;
            }
    return n == 1;
}

int main(int n_arguments, char **arguments)
{
    if (!parse(n_arguments, arguments)) {
        fprintf(stderr, "usage: %s [--wrong-rule [formula|fma|tail|order]]\n", arguments[0]);
        return 2;
    }
    test_tables();
    test_memory();
    test_pool();
    test_lock();
    test_codecs();
    test_dither();
    for (uint64_t seed = 0; seed < 3000; seed++)
        test_layout(mix(seed));
    test_cuts();
    test_replays();
    test_norm();
    test_average();
    test_nonfinite();
    test_left_alone();
    test_manners();
    printf("%zu passed, %zu failed\n", n_passed, n_failed);
    return n_failed > 0;
}
