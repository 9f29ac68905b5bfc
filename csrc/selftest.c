/* The tests of the core that need no Python: for sanitizers, for coverage, for a machine that has only a compiler.
 *
 *   selftest                                        prints what fails, then `N passed, N failed`; status 0 if nothing failed
 *   selftest --wrong-rule [formula|rounding|tail]   the same with a wrong kernel for Adam, which the tests have to notice
 *
 * Invariants: every random number comes from `mix` of constants, so that every run is the same. What must agree is compared
 * byte for byte; a tolerance says why it is there. LeakSanitizer sees to it that all is freed.
 * plan.c is compiled into this file once more, under other names, so that its allocator and its table of kernels can be made to
 * fail. The tests use this copy. */
#define _GNU_SOURCE
#include "kernels.h"
#include "layout.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t until_refusal = SIZE_MAX; /* the allocations that succeed before one fails */

static void *rationed_calloc(size_t n, size_t size) { return until_refusal-- > 0 ? calloc(n, size) : NULL; }
static const fl_kernels *kernels_in_use(void);

#define fl_plan_new copy_plan_new
#define fl_plan_free copy_plan_free
#define fl_plan_tensors copy_plan_tensors
#define fl_plan_groups copy_plan_groups
#define fl_plan_arrange copy_plan_arrange
#define fl_plan_enter copy_plan_enter
#define fl_plan_leave copy_plan_leave
#define fl_plan_step copy_plan_step
#define fl_plan_locate copy_plan_locate
#define fl_plan_current copy_plan_current
#define fl_plan_follow copy_plan_follow
#define fl_plan_step_at copy_plan_step_at
#define fl_gather_rows copy_gather_rows
#define fl_scatter_rows copy_scatter_rows
void fl_plan_free(fl_plan *plan);
#define calloc rationed_calloc
#define fl_kernels_current kernels_in_use
#include "plan.c"
#undef calloc
#undef fl_kernels_current

static size_t best, every = 1; /* the last instruction set this machine supports; every how many rules are tested */

/* Called by ThreadSanitizer alone, which is slow; and a child that starts threads is what is tested here. */
const char *__tsan_default_options(void);
__attribute__((no_sanitize("thread"))) const char *__tsan_default_options(void)
{
    every = 16;
    return "die_after_fork=0";
}

/* ---- what the tests share ---- */

static size_t n_passed, n_failed;
/* Count, and say so if it does not hold. */
#define expect(holds, ...) \
    ((holds) ? (void)n_passed++ : n_failed++ < 50 ? (void)(printf(__VA_ARGS__), putchar('\n')) : (void)0)

/* Memory and plans until the next release_all. */
static void *blocks[1000];
static fl_plan *plans[10];
static size_t n_blocks, n_plans;

static void *allocate(size_t size)
{
    void *block = calloc(1, size + 1);
    if (block == NULL || n_blocks == sizeof blocks/sizeof *blocks)
        abort();
    return blocks[n_blocks++] = block;
}

static void release_all(void)
{
    while (n_plans > 0)
        fl_plan_free(plans[--n_plans]);
    while (n_blocks > 0)
        free(blocks[--n_blocks]);
}

/* 64 bits from 64 bits; not the generator of codec.inc.h, whose output is tested with it. */
static uint64_t mix(uint64_t x)
{
    for (int i = 0; i < 2; i++)
        x = (x ^ (x >> 29))*0xff51afd7ed558ccdu + 0x632be59bd9b4e019u;
    return x ^ (x >> 32);
}

static size_t below(size_t n, uint64_t seed) { return (size_t)(mix(seed) % n); }

/* A number to compute with: of either sign and mostly about 1, some 0, some tiny or large. */
static double number(uint64_t seed)
{
    static const double factors[16] = {0, -0.0, 1e-30, 1e-42, 1e3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    return (double)(int64_t)mix(seed)*0x1p-62*factors[below(16, seed)];
}

/* ---- wrong kernels ---- */

static const char *fault = "";
static const fl_kernels *truth; /* what the wrong kernels are wrong about */

static void wrong_adam(void *p, const void *g, void *const *state, const void *constants, const fl_dress *dress, void *e,
                       size_t n)
{
    double wrong[FL_MAX_CONSTANTS], *x = p;
    memcpy(wrong, constants, fl_rules[FL_RULE_adam].info.n_constants*sizeof *wrong);
    if (strcmp(fault, "formula") == 0)
        wrong[1] = wrong[2]; /* b1 = b2 */
    const size_t stepped = strcmp(fault, "tail") == 0 && n % 16 == 15 ? n - 1 : n;
    truth->step[FL_RULE_adam][FL_DOUBLE](p, g, state, wrong, dress, e, stepped);
    if (strcmp(fault, "rounding") == 0 && n > 0)
        x[n - 1] = nextafter(x[n - 1], 0);
}

static const fl_kernels *kernels_in_use(void)
{
    static fl_kernels wrong;
    truth = fl_kernels_current();
    if (fault[0] == 0 || strcmp(truth->name, fl_isa_name(best)) != 0) /* only the best is wrong */
        return truth;
    wrong = *truth;
    wrong.step[FL_RULE_adam][FL_DOUBLE] = wrong_adam;
    return &wrong;
}

/* ---- a model ---- */

typedef struct {
    size_t rule;
    fl_format format;
    int stochastic, master, plain; /* plain: no prologue and no average, the rule alone, in place */
    size_t isa, threads, offset;   /* offset in elements moves the arrays off malloc's alignment */
    int strided;                   /* parameters and gradients backwards, unaligned, with gaps */
} setup;

typedef struct {
    char *first;
    size_t n;
    fl_format format;
    fl_layout layout;
} array;

static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 255, 256, 257, 1000, 32767, 32768, 32769};
enum { N_TENSORS = sizeof lengths/sizeof *lengths, N_STEPS = 2 };
enum { GRAD, PARAM, AVERAGE, MASTER, STATES, N_PARTS = STATES + FL_MAX_STATES };

typedef struct {
    setup s;
    fl_plan *plan;
    fl_group *groups;
    fl_settings settings;
    array parts[N_TENSORS][N_PARTS];
    double running[N_TENSORS][FL_MAX_RUNNING];
} model;

static void *make_array(array *a, fl_format format, size_t n, size_t offset, int strided)
{
    const size_t item_size = item_sizes[format], step = item_size + (strided ? 3 : 0);
    *a = (array){.n = n, .format = format, .layout = {1, {n}, {strided ? -(ptrdiff_t)step : (ptrdiff_t)step}}};
    a->first = (char *)allocate(n*step + offset*item_size) + offset*item_size + (strided && n > 0 ? n*step - item_size : 0);
    return a->first;
}

/* Element i of floats or doubles; 0 if there is no array. */
static double at(const array *a, size_t i)
{
    union { float single; double twice; } x = {.twice = 0};
    if (a->n > 0)
        memcpy(&x, a->first + (ptrdiff_t)i*a->layout.strides[0], item_sizes[a->format]);
    return a->format == FL_FLOAT64 ? x.twice : (double)x.single;
}

static void put(array *a, size_t i, double x)
{
    char *to = a->n > 0 ? a->first + (ptrdiff_t)i*a->layout.strides[0] : NULL;
    const float single = (float)x;
    uint16_t half;
    if (to != NULL && a->format == FL_FLOAT64) {
        memcpy(to, &x, sizeof x);
    } else if (to != NULL && a->format == FL_FLOAT32) {
        memcpy(to, &single, sizeof single);
    } else if (to != NULL) {
        fl_kernels_baseline.encode[a->format](&half, &single, 1);
        memcpy(to, &half, sizeof half);
    }
}

/* Two tensors of one group, two of the other, and so on. */
static fl_group *group_of(const model *m, size_t i) { return &m->groups[i/2 % 2]; }

static void place(model *m, size_t i)
{
    fl_tensor *t = &fl_plan_tensors(m->plan)[i];
    array *parts = m->parts[i];
    const setup s = m->s;
    const size_t n = lengths[i], n_states = fl_rule(s.rule)->n_states;
    const fl_format real = s.format == FL_FLOAT64 ? FL_FLOAT64 : FL_FLOAT32;
    double starts[FL_MAX_STATES];
    *t = (fl_tensor){.size = n, .group = i/2 % 2, .running = m->running[i], .param_format = s.format, .grad_format = s.format};
    t->param = make_array(&parts[PARAM], s.format, n, s.offset, s.strided);
    t->grad = make_array(&parts[GRAD], s.format, n, s.offset + 1, s.strided);
    t->param_layout = s.strided ? &parts[PARAM].layout : NULL;
    t->grad_layout = s.strided ? &parts[GRAD].layout : NULL;
    t->average = s.plain ? NULL : make_array(&parts[AVERAGE], real, n, s.offset, 0);
    t->master = s.master ? make_array(&parts[MASTER], real, n, s.offset, 0) : NULL;
    t->stochastic = s.stochastic;
    fl_rule_start(s.rule, group_of(m, i)->hypers, t->running, starts);
    for (size_t k = 0; k < n_states; k++)
        t->state[k] = make_array(&parts[STATES + k], real, n, s.offset, 0);
    for (size_t j = 0; j < n; j++) {
        put(&parts[PARAM], j, number(100*i + j));
        for (size_t k = 0; k < n_states; k++)
            put(&parts[STATES + k], j, starts[k]);
    }
}

static model *new_model(setup s)
{
    model *m = allocate(sizeof *m);
    m->s = s;
    m->plan = plans[n_plans++] = fl_plan_new(s.rule, N_TENSORS, 2);
    m->groups = fl_plan_groups(m->plan);
    m->settings = s.plain ? (fl_settings){1, HUGE_VAL, HUGE_VAL, 0, 0, FL_IGNORE, s.threads}
                          : (fl_settings){0.75, 1.25, 40, 0.9, 7, FL_RAISE, s.threads};
    for (size_t g = 0; g < 2; g++) {
        for (size_t k = 0; k < FL_MAX_HYPERS; k++)
            m->groups[g].hypers[k] = 0.9 - 0.1*(double)k - 0.03*(double)g; /* whatever they mean */
        m->groups[g].l2 = s.plain || g == 0 ? 0 : 0.05;
        m->groups[g].maximize = !s.plain && g == 0;
    }
    for (size_t i = 0; i < N_TENSORS; i++)
        place(m, i);
    fl_isa_select(fl_isa_name(s.isa));
    if (fl_plan_arrange(m->plan) != FL_OK)
        abort();
    return m;
}

/* Gradients that are the same for the same t. */
static void fill_gradients(model *m, size_t t)
{
    for (size_t i = 0; i < N_TENSORS; i++)
        for (size_t j = 0; j < lengths[i]; j++)
            put(&m->parts[i][GRAD], j, number(1000000*t + 1000*i + j));
}

static fl_status step_model(model *m)
{
    const int entered = fl_plan_enter(m->plan);
    const fl_status status = fl_plan_step(m->plan, &m->settings);
    fl_plan_leave(m->plan);
    return entered == 0 ? status : FL_NO_MEMORY;
}

/* 1 if all that a step may write of tensor i is the same in both. */
static int same_tensor(const model *a, const model *b, size_t i)
{
    static char x[300000], y[300000];
    int same_bytes = memcmp(a->running[i], b->running[i], sizeof a->running[i]) == 0;
    for (size_t k = PARAM; k < N_PARTS; k++) {
        const array *one = &a->parts[i][k], *other = &b->parts[i][k];
        if (one->n == 0)
            continue;
        fl_gather(x, one->first, &one->layout, item_sizes[one->format], 0, one->n);
        fl_gather(y, other->first, &other->layout, item_sizes[one->format], 0, one->n);
        same_bytes &= memcmp(x, y, one->n*item_sizes[one->format]) == 0;
    }
    return same_bytes;
}

static void expect_same(const model *right, const model *m)
{
    const setup s = m->s;
    for (size_t i = 0; i < N_TENSORS; i++)
        expect(same_tensor(right, m, i), "%s, format %d, plain %d, length %zu: wrong for %s, %zu threads, offset %zu, strided %d",
               fl_rule(s.rule)->name, (int)s.format, s.plain, lengths[i], fl_isa_name(s.isa), s.threads, s.offset, s.strided);
}

/* ---- the rules ---- */

/* Arithmetic is in double, and R (or `put`) rounds each result to the precision of the rule. For float that is the same as
 * arithmetic in float, because double has more than twice its digits; and it leaves a compiler nothing to contract. */
static int in_single;
static double R(double x) { return in_single ? (double)(float)x : x; }

/* x^t as a product of t factors. */
static double power(double x, size_t t) { return t > 0 ? power(x, t - 1)*x : 1; }

/* Adds the sum of squares, span after span: element i in lane i % 16, and the lanes folded in halves. */
static double add_squares(double total, const array *a)
{
    for (size_t start = 0; start < a->n; start += FL_SPAN) {
        double lanes[16] = {0};
        for (size_t i = 0; i < FL_SPAN && start + i < a->n; i++)
            lanes[i % 16] += at(a, start + i)*at(a, start + i);
        for (size_t half = 8; half > 0; half /= 2)
            for (size_t i = 0; i < half; i++)
                lanes[i] += lanes[half + i];
        total += lanes[0];
    }
    return total;
}

/* What is done to the gradients before the rule: clipped by value, scaled to their norm, negated, coupled to the weights. */
static void replay_prologue(model *m)
{
    const double clip = R(m->settings.clip_value/m->settings.scale);
    double scale = m->settings.scale, total = 0;
    for (size_t i = 0; i < N_TENSORS; i++) {
        array *g = &m->parts[i][GRAD];
        for (size_t j = 0; j < g->n; j++)
            put(g, j, at(g, j) > clip ? clip : at(g, j) < -clip ? -clip : at(g, j));
        total = add_squares(total, g);
    }
    if (scale*sqrt(total) > m->settings.clip_norm)
        scale *= m->settings.clip_norm/(scale*sqrt(total));
    for (size_t i = 0; i < N_TENSORS; i++) {
        array *g = &m->parts[i][GRAD];
        const double factor = R(group_of(m, i)->maximize ? -scale : scale), l2 = R(group_of(m, i)->l2);
        for (size_t j = 0; j < g->n; j++)
            put(g, j, l2 == 0 ? factor*at(g, j) : R(factor*at(g, j)) + R(l2*at(&m->parts[i][PARAM], j)));
    }
}

/* Step t of a tensor, in scalar operations. */
static void replay_rule(size_t rule, const double *h, size_t t, array parts[N_PARTS])
{
    const double lr = R(h[0]), b1 = R(h[1]), c1 = R(1 - h[1]), b2 = R(h[2]), c2 = R(1 - h[2]), eps = R(h[3]), wd = R(h[4]);
    const double k1 = R(1/(1 - power(h[1], t))), k2 = R(1/(1 - power(h[2], t))), c = R(t > 1 ? 1 - h[2] : 1), max_norm = h[5];
    array direction;
    make_array(&direction, parts[PARAM].format, parts[PARAM].n, 0, 0);
    for (size_t i = 0; i < parts[PARAM].n; i++) {
        double p = at(&parts[PARAM], i), g = at(&parts[GRAD], i), m = at(&parts[STATES], i), v = at(&parts[STATES + 1], i);
        if (rule == FL_RULE_sgd) {
            p = p - R(lr*g);
        } else if (rule == FL_RULE_momentum) {
            m = R(R(b1*m) + R(c*g));
            p = p - R(lr*m);
        } else if (rule == FL_RULE_lion) {
            const double x = R(R(b1*m) + R(c1*g));
            p = R(R(1 - h[0]*h[3])*p) - R(lr*((x > 0) - (x < 0)));
            m = R(b2*m) + R(c2*g);
        } else { /* Adam, where eps_mode and fixed_decay read as 0 and as true; LAMB */
            m = R(R(b1*m) + R(c1*g));
            v = R(R(b2*v) + R(c2*R(g*g)));
            const double x = R(R(m*k1)/R(R(sqrt(R(v*k2))) + eps));
            put(&direction, i, x + R(wd*p));
            p = rule == FL_RULE_adam ? R(R(1 - h[4])*p) - R(lr*x) : p;
        }
        put(&parts[PARAM], i, p);
        put(&parts[STATES], i, m);
        put(&parts[STATES + 1], i, v);
    }
    const double x = sqrt(add_squares(0, &parts[PARAM])), y = sqrt(add_squares(0, &direction));
    const double q = R(x > 0 && y > 0 ? (x < max_norm ? x : max_norm)/y : 1);
    for (size_t i = 0; rule == FL_RULE_lamb && i < parts[PARAM].n; i++)
        put(&parts[PARAM], i, at(&parts[PARAM], i) - R(R(lr*q)*at(&direction, i)));
}

static model *replay(setup s)
{
    model *m = new_model(s);
    double unused[FL_MAX_CONSTANTS];
    in_single = s.format == FL_FLOAT32;
    for (size_t t = 1; t <= N_STEPS; t++) {
        const double decay = t > 1 ? 0.9 : 0; /* the first average is the first weights */
        fill_gradients(m, t);
        if (!s.plain)
            replay_prologue(m);
        for (size_t i = 0; i < N_TENSORS; i++) {
            array *e = &m->parts[i][AVERAGE], *p = &m->parts[i][PARAM];
            replay_rule(s.rule, group_of(m, i)->hypers, t, m->parts[i]);
            fl_rules[s.rule].prepare(group_of(m, i)->hypers, m->running[i], unused);
            for (size_t j = 0; j < e->n; j++)
                put(e, j, decay == 0 ? at(p, j) : at(e, j) + R(R(1 - decay)*R(at(p, j) - at(e, j))));
        }
    }
    return m;
}

static model *outcome(setup s, size_t isa, size_t threads, size_t offset, int strided)
{
    s.isa = isa, s.threads = threads, s.offset = offset, s.strided = strided;
    model *m = new_model(s);
    for (size_t t = 1; t <= N_STEPS; t++) {
        fill_gradients(m, t);
        expect(step_model(m) == FL_OK, "%s: must step", fl_rule(s.rule)->name);
    }
    return m;
}

/* The same bits in every setup; for some rules, those of a scalar step. */
static void test_rule(setup s)
{
    const int is_replayed = s.format <= FL_FLOAT64 && (s.rule == FL_RULE_sgd || s.rule == FL_RULE_momentum ||
                            s.rule == FL_RULE_adam || s.rule == FL_RULE_lion || s.rule == FL_RULE_lamb);
    for (s.plain = 0; s.plain < 2; s.plain++) {
        const model *right = is_replayed ? replay(s) : outcome(s, best/2, 1, 1, 0);
        expect_same(right, outcome(s, 0, 1, 0, 0));
        expect_same(right, outcome(s, best/2, 2, 2, 0));
        expect_same(right, outcome(s, best, 3, 3, 0));
        expect_same(right, outcome(s, best, 4, 0, 1));
        release_all();
    }
}

/* ---- all or nothing ---- */

/* Two elements of a tensor's gradient are not finite; a twin is not stepped. */
static void test_nonfinite(fl_format format, fl_nonfinite policy, double value, size_t tensor, size_t first)
{
    const setup s = {.rule = FL_RULE_adam, .format = format, .stochastic = 1, .isa = best, .threads = 3};
    model *m = new_model(s), *twin = new_model(s);
    size_t found, count, changed = 0;
    m->settings.nonfinite = policy;
    m->settings.clip_norm = first % 2 ? HUGE_VAL : 40; /* each way of looking for them */
    m->settings.clip_value = first % 4 ? HUGE_VAL : 1.25;
    fill_gradients(m, 1);
    put(&m->parts[tensor][GRAD], first, value);
    put(&m->parts[tensor][GRAD], lengths[tensor] - 1, value);
    const fl_status status = step_model(m);
    for (size_t i = 0; i < N_TENSORS; i++)
        changed += !same_tensor(m, twin, i);
    expect(policy == FL_IGNORE ? status == FL_OK && changed == N_TENSORS : status == FL_NOT_FINITE && changed == 0,
           "policy %d, format %d: %zu tensors changed", policy, format, changed);
    fl_plan_locate(m->plan, tensor, &found, &count);
    expect(found == first && count == 2, "locate: must find 2 at %zu; got %zu at %zu", first, count, found);
    release_all();
}

/* Squares beyond double: the norm is clipped all the same, within the roundings of a sum in 16 lanes. A tensor without gradient
 * and a frozen group keep every byte, whatever their gradient. */
static void test_extremes(void)
{
    const setup s = {.rule = FL_RULE_sgd, .format = FL_FLOAT64, .isa = best, .threads = 2};
    model *m = new_model(s), *twin = new_model(s);
    array *step = &m->parts[12][PARAM];
    size_t found, count;
    m->groups[0] = (fl_group){.hypers = {1}};
    m->groups[1].frozen = 1;
    m->settings.clip_value = HUGE_VAL;
    fl_plan_tensors(m->plan)[9].grad = NULL;
    put(&m->parts[11][GRAD], 0, NAN); /* group 1 */
    for (size_t j = 0; j < lengths[12]; j++)
        put(&m->parts[12][GRAD], j, 1e200), put(step, j, 0);
    expect(step_model(m) == FL_OK, "frozen: a gradient that is not used may be anything");
    expect(fabs(sqrt(add_squares(0, step))/40 - 1) < (double)lengths[12]/16*DBL_EPSILON, "clip_norm: a norm of 1e202");
    expect(same_tensor(m, twin, 9) && same_tensor(m, twin, 11) && !same_tensor(m, twin, 12), "tensors: must be left alone");
    fl_plan_locate(m->plan, 11, &found, &count);
    expect(found == lengths[11] && count == 0, "locate: must find nothing in a frozen tensor; got %zu at %zu", count, found);
    release_all();
}

/* ---- half formats ---- */

typedef struct {
    fl_format format;
    int digits, low; /* after the point; the exponent of the smallest normal number */
    unsigned infinity;
} half_format;

/* By arithmetic; infinity has the value that the next number would have. */
static double value_of(const half_format *h, unsigned bits)
{
    const int exponent = (int)(bits & 0x7fff) >> h->digits, digits = (int)bits & ((1 << h->digits) - 1);
    const int whole = exponent == 0 ? digits : digits + (1 << h->digits);
    return ldexp(bits & 0x8000 ? -whole : whole, (exponent == 0 ? 0 : exponent - 1) + h->low - h->digits);
}

/* Every half number decoded and encoded again; and half way to the next one, and a float to either side of that, rounded. */
static void test_codec(const half_format *h, const fl_kernels *kernels)
{
    enum { N = 65536 };
    static float decoded[N], x[3*N];
    static uint16_t all[N], again[N], rounded[3*N];
    size_t wrong = 0;
    for (unsigned i = 0; i < N; i++) {
        all[i] = (uint16_t)i;
        x[3*i + 1] = (float)((value_of(h, i) + value_of(h, i + 1))/2);
        x[3*i] = nextafterf(x[3*i + 1], 0);
        x[3*i + 2] = nextafterf(x[3*i + 1], i & 0x8000 ? -HUGE_VALF : HUGE_VALF);
    }
    kernels->decode[h->format](decoded, all, N);
    kernels->encode[h->format](again, decoded, N);
    kernels->encode[h->format](rounded, x, 3*N);
    for (unsigned i = 0; i < N; i++) {
        if ((i & 0x7fff) > h->infinity)
            wrong += !isnan(decoded[i]) || (again[i] & 0x7fffu) <= h->infinity;
        else if ((i & 0x7fff) == h->infinity)
            wrong += !isinf(decoded[i]) || again[i] != i;
        else
            wrong += (double)decoded[i] != value_of(h, i) || !signbit(decoded[i]) != !(i & 0x8000) || again[i] != i ||
                     rounded[3*i] != i || rounded[3*i + 1] != i + (i & 1) || rounded[3*i + 2] != i + 1;
    }
    expect(wrong == 0, "format %d, %s: %zu numbers are decoded, encoded or rounded wrong", h->format, kernels->name, wrong);
}

/* A number between two half numbers is rounded to either with the right mean; and where a run is cut does not matter. */
static void test_dither(const half_format *h, const fl_kernels *kernels, unsigned bits, double up, uint64_t key)
{
    enum { N = 4096 };
    float in[N];
    uint16_t out[N], baseline[N];
    size_t ups = 0, downs = 0, cut_at = below(N, key);
    for (size_t i = 0; i < N; i++)
        in[i] = (float)(value_of(h, bits) + up*(value_of(h, bits + 1) - value_of(h, bits)));
    fl_kernels_baseline.dither[h->format](baseline, in, key, 1000, N);
    kernels->dither[h->format](out, in, key, 1000, cut_at);
    kernels->dither[h->format](out + cut_at, in + cut_at, key, 1000 + cut_at, N - cut_at);
    for (size_t i = 0; i < N; i++)
        ups += out[i] == bits + 1, downs += out[i] == bits;
    expect(memcmp(out, baseline, sizeof out) == 0, "dither to format %d: %s is not as the baseline", h->format, kernels->name);
    expect(ups + downs == N && fabs((double)ups - N*up) <= 5*sqrt(N*up*(1 - up)), /* five standard deviations */
           "dither to format %d, %s: %a went up %zu times, down %zu", h->format, kernels->name, (double)in[0], ups, downs);
}

static void test_halves(void)
{
    static const half_format formats[] = {{FL_FLOAT16, 10, -14, 0x7c00}, {FL_BFLOAT16, 7, -126, 0x7f80}};
    for (size_t k = 0; k < 2*(best + 1); k++) {
        const half_format *h = &formats[k % 2];
        fl_isa_select(fl_isa_name(k/2));
        test_codec(h, fl_kernels_current());
        for (unsigned i = 0; i < 128; i++) { /* subnormal and any; of both signs */
            const size_t bits = below(i & 1 ? 1u << h->digits : h->infinity, i);
            test_dither(h, fl_kernels_current(), (unsigned)bits | (i & 2) << 14, i/128.0, mix(i));
        }
    }
}

/* ---- layouts ---- */

/* Random elements of a random array against index arithmetic; unaligned, transposed, reversed, repeated. */
static void test_layout(uint64_t seed)
{
    enum { ROOM = 8192 };
    static char memory[ROOM], expected[ROOM], buffer[ROOM], items[ROOM];
    const size_t item_size = (size_t)2 << below(3, seed);
    fl_layout layout = {.n_dims = 1 + below(4, seed + 1)};
    size_t size = 1, wrong = 0, turn = below(4, seed + 2), repeats = 0;
    ptrdiff_t reach = (ptrdiff_t)(item_size + below(3, seed + 3)), origin = (ptrdiff_t)below(7, seed + 4);
    for (size_t k = 0; k < layout.n_dims; k++) { /* from the dimension that is dense in memory to the one that is not */
        const size_t d = (k + turn) % layout.n_dims, kind = below(8, seed + 20 + d);
        size *= layout.shape[d] = 1 + below(5, seed + 10 + d);
        const ptrdiff_t extent = (ptrdiff_t)layout.shape[d]*reach;
        layout.strides[d] = kind == 0 ? 0 : kind < 3 ? -reach : reach;
        origin += kind == 1 || kind == 2 ? extent - reach : 0;
        repeats |= kind == 0;
        reach = kind == 0 ? reach : extent + (ptrdiff_t)below(3, seed + 30 + d);
    }
    const size_t start = below(size, seed + 5), n = below(size - start + 1, seed + 6);
    for (size_t i = 0; i < ROOM; i++)
        memory[i] = expected[i] = (char)mix(seed + i), items[i] = (char)mix(~seed + i), buffer[i] = 0;
    fl_gather(buffer, memory + origin, &layout, item_size, start, n);
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t place = origin;
        for (size_t d = layout.n_dims, rest = start + i; d-- > 0; rest /= layout.shape[d])
            place += (ptrdiff_t)(rest % layout.shape[d])*layout.strides[d];
        wrong += memcmp(buffer + i*item_size, memory + place, item_size) != 0;
        memcpy(expected + place, items + i*item_size, item_size);
    }
    for (size_t i = n*item_size; i < ROOM; i++)
        wrong += buffer[i] != 0;
    expect(wrong == 0, "fl_gather: layout %llu is wrong at %zu places", (unsigned long long)seed, wrong);
    if (!repeats) /* else it is never written to */
        fl_scatter(memory + origin, &layout, items, item_size, start, n);
    expect(repeats || memcmp(memory, expected, ROOM) == 0, "fl_scatter: layout %llu is wrong", (unsigned long long)seed);
}

/* ---- the pool ---- */

enum { MAX_TASKS = 64, MOST_THREADS = 8 };
typedef struct {
    atomic_uint runs[MAX_TASKS];
    int nested; /* each task calls the pool again */
} tally;

static int runs_each_once(size_t threads, size_t n_tasks, int nested);

static void count_run(void *context, size_t i)
{
    tally *counts = context;
    if (!counts->nested || runs_each_once(4, 5, 0))
        atomic_fetch_add(&counts->runs[i], 1);
}

static int runs_each_once(size_t threads, size_t n_tasks, int nested)
{
    tally counts = {.nested = nested};
    fl_pool_run(threads, n_tasks, count_run, &counts);
    for (size_t i = 0; i < MAX_TASKS; i++)
        if (atomic_load(&counts.runs[i]) != (i < n_tasks))
            return 0;
    return 1;
}

static void *call_often(void *failures)
{
    for (uint64_t i = 0; i < 1000; i++)
        if (!runs_each_once(below(MOST_THREADS + 1, i), below(MAX_TASKS + 1, ~i), i % 50 == 0))
            atomic_fetch_add((atomic_uint *)failures, 1);
    return NULL;
}

/* 1 if `test` returns 1 in a forked child. */
static int well_in_child(int (*test)(void *context), void *context)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0)
        _exit(!test(context));
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* Tasks that wait, but not for ever, until all are under way. So all workers have started: in the child of a process that forks
 * while the address sanitizer starts a thread, no thread starts, as its lock is held by one that the child has not. */
static void meet(void *present, size_t i)
{
    atomic_fetch_add((atomic_uint *)present, 1);
    for (int patience = 10000; atomic_load((atomic_uint *)present) < MOST_THREADS; patience--, usleep(1000))
        if (patience == 0)
            atomic_fetch_add((atomic_uint *)present, 10 + (unsigned)i);
}

static int pool_works(void *context) /* NULL: in a child, too */
{
    atomic_uint failures = 0, present = 0;
    call_often(&failures);
    fl_pool_run(MOST_THREADS, MOST_THREADS, meet, &present);
    return failures == 0 && present == MOST_THREADS && (context != NULL || well_in_child(pool_works, &failures));
}

static void test_pool(void)
{
    pthread_t callers[4];
    atomic_uint failures = 0;
    expect(pool_works(&failures), "fl_pool_run: must share tasks and run each once");
    for (size_t i = 0; i < 4; i++)
        expect(pthread_create(&callers[i], NULL, call_often, &failures) == 0, "pthread_create: the test needs threads");
    for (size_t i = 0; i < 4; i++)
        pthread_join(callers[i], NULL);
    expect(atomic_load(&failures) == 0, "fl_pool_run: %u of 4000 calls by four threads failed", atomic_load(&failures));
    expect(well_in_child(pool_works, NULL), "fl_pool_run: must work in forked children");
    expect(pool_works(&failures), "fl_pool_run: must work after a fork");
}

/* ---- the lock and the memory of a plan ---- */

static int enters(void *plan) { return fl_plan_enter(plan) == 0; }

static void test_plan(void)
{
    fl_plan *plan = fl_plan_new(FL_RULE_sgd, 0, 0);
    expect(enters(plan) && !enters(plan), "fl_plan_enter: must take a plan once");
    expect(well_in_child(enters, plan), "fl_plan_enter: a child must not wait for a thread of its parent");
    expect(!enters(plan), "fl_plan_enter: must not take a plan because a child did");
    fl_plan_leave(plan);
    expect(enters(plan), "fl_plan_enter: must take a plan that was left");
    fl_plan_free(plan);
    fl_status status = FL_NO_MEMORY;
    for (size_t refused = 0; status != FL_OK; refused++) {
        until_refusal = refused;
        plan = fl_plan_new(FL_RULE_adam, 3, 1);
        status = plan != NULL ? fl_plan_arrange(plan) : FL_NO_MEMORY;
        fl_plan_free(plan);
        expect((status == FL_OK) == (until_refusal == 0), "fl_plan_arrange: %d without allocation %zu", status, refused);
    }
    until_refusal = SIZE_MAX;
}

/* ---- numerical derivatives ---- */

/* Nodes first, first + 1, ...; the weights are integers over one denominator. */
static void test_stencil(size_t order, size_t n, int first, const double *numerators, double denominator, size_t accuracy,
                         double constant)
{
    double nodes[FL_MAX_NODES] = {0}, weights[FL_MAX_NODES] = {0}, found;
    for (size_t i = 0; i < n; i++)
        nodes[i] = first + (double)i;
    fl_stencil(order, n, nodes, weights);
    for (size_t i = 0; i < n; i++)
        expect(weights[i] == numerators[i]/denominator, "fl_stencil: order %zu, %zu nodes from %d: weight %zu is %.17g", order, n,
               first, i, weights[i]);
    const size_t power = fl_stencil_error(order, n, nodes, &found);
    expect(power == accuracy && fabs(found - constant) <= 1e-15*fabs(constant),
           "fl_stencil_error: order %zu, %zu nodes from %d: %.17g h^%zu", order, n, first, found, power);
}

static void test_stencils(void)
{
    test_stencil(1, 3, -1, (double[]){-1, 0, 1}, 2, 2, 1.0/6);
    test_stencil(2, 3, -1, (double[]){1, -2, 1}, 1, 2, 1.0/12);
    test_stencil(1, 9, -4, (double[]){3, -32, 168, -672, 0, 672, -168, 32, -3}, 840, 8, -1.0/630);
    test_stencil(2, 9, -4, (double[]){-9, 128, -1008, 8064, -14350, 8064, -1008, 128, -9}, 5040, 8, -1.0/3150);
    test_stencil(1, 2, 0, (double[]){-1, 1}, 1, 1, 1.0/2);
    test_stencil(1, 9, 0, (double[]){-2283, 6720, -11760, 15680, -14700, 9408, -3920, 960, -105}, 840, 8, -1.0/9);
    test_stencil(2, 6, 0, (double[]){45, -154, 214, -156, 61, -10}, 12, 4, -137.0/180);
    test_stencil(1, 3, -2, (double[]){1, -4, 3}, 2, 2, -1.0/3);
}

static void test_differences(void)
{
    /* x^2 and 5 at 1 - h, 1, 1 + h with h = 1/2, and with a value that is large beside the differences */
    double out[3];
    fl_difference(3, (double[]){-0.5, 0, 0.5}, (double[]){0.25, 5, 1e15, 1, 5, 1e15, 2.25, 5, 1e15 + 1}, 3, 2, out);
    expect(out[0] == 2 && out[1] == 0 && out[2] == 1, "fl_difference: %g %g %g", out[0], out[1], out[2]);
}

static void test_noise(void)
{
    size_t near = 0, tests = 0;
    for (int exponent = -600; exponent <= 600; exponent += 300) /* squares would overflow, or vanish */
        for (uint64_t i = 0; i < 200; i++, tests++) {
            double values[7] = {0}, x = number(~i);
            fl_noise_status status;
            for (size_t k = 0; k < 7; k++) {
                const double noise = (double)(int64_t)mix(100*i + k)*0x1p-63; /* within 1: its standard deviation is 0.58 */
                values[k] = ldexp(1e6 + x*(double)k + noise, exponent);
            }
            const double level = ldexp(fl_noise(7, values, &status), -exponent);
            near += status == FL_NOISE_FOUND && level > 0.58/4 && level < 0.58*4;
        }
    expect(near >= tests*9/10, "fl_noise: found %zu of %zu", near, tests);
    double equal[7] = {1, 1, 1, 1, 1, 1, 1}, smooth[7] = {0};
    fl_noise_status status;
    expect(fl_noise(7, equal, &status) == 0 && status == FL_NOISE_STEP_SMALL, "fl_noise: must tell equal values");
    for (size_t k = 0; k < 7; k++)
        smooth[k] = ldexp(1, (int)k);
    fl_noise(7, smooth, &status);
    expect(status == FL_NOISE_STEP_LARGE, "fl_noise: must tell a smooth function");
}

static int by_magnitude(const void *a, const void *b)
{
    const double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

static void test_blocks(void)
{
    enum { MOST = 300 };
    for (uint64_t i = 0; i < 300; i++) {
        double x[MOST], sorted[MOST];
        uint64_t scratch[MOST];
        size_t n = (size_t)(mix(i)%MOST), n_zeros = 0;
        for (size_t k = 0; k < n; k++) {
            x[k] = i%3 == 0 ? (double)(mix(1000*i + k)%7) - 3 : ldexp(number(1000*i + k), (int)(mix(k + i)%1000) - 500);
            sorted[k] = x[k];
            n_zeros += x[k] == 0;
        }
        qsort(sorted, n, sizeof *sorted, by_magnitude);
        const double expected = n > n_zeros ? fabs(sorted[n_zeros + (n - n_zeros)/2]) : 5;
        expect(fl_middle(n, x, 5, scratch) == expected, "fl_middle: of %zu numbers", n);
    }
    double x[7] = {-8, 32, 1, 0, 0, 0.5, 64}, scales[7];
    uint64_t scratch[7];
    fl_usual_scales(3, (size_t[]){3, 5, 7}, x, 8, scratch, scales);
    const double expected[7] = {8, 32, 1, 1, 1, 8, 64}; /* in the middle are 8 of all, 8 of the first, 64 of the last */
    expect(memcmp(scales, expected, sizeof scales) == 0, "fl_usual_scales: %g %g %g", scales[2], scales[3], scales[5]);
}

/* Read 1 + slope*t + bend*|t|, with a ripple, at six points, and 1 beside it; the gradient says yours*t. */
static void read_bent(double slope, double bend, double ripple, double yours, const double *units, fl_reading *r)
{
    const fl_six w = {{-3, -2, -1, 1, 2, 3}, {-1.0/60, 9.0/60, -0.75, 0.75, -9.0/60, 1.0/60},
                      {0, 1.0/12, -8.0/12, 8.0/12, -1.0/12, 0}, 1.08};
    const double known[2] = {1, 1}, none[2] = {0}, sizes[2] = {fabs(yours), 0};
    double values[12], along[12] = {0};
    for (size_t k = 0; k < 6; k++) {
        const double t = w.steps[k]*r->distance;
        values[2*k] = 1 + slope*t + bend*fabs(t) + ripple*((double)((k + 1)*(k + 2)%5) - 1);
        values[2*k + 1] = 1;
        along[2*k] = yours*t;
    }
    fl_read(&w, &(fl_known){known, none, NAN, DBL_EPSILON, DBL_EPSILON}, values, along, sizes, units, r);
}

static void test_points(void)
{
    double units[4] = {0, 0.25, 0.5, 0.75}, points[4], taken[4];
    fl_random_units(4, units, (double[]){1, 2, 2, 4}, units);
    expect(units[0] == -1.5 && units[1] == -2 && units[2] == 1 && units[3] == 4, "fl_random_units: %g %g", units[0], units[3]);
    fl_points_along(2, (double[]){1, 0x1p53}, (double[]){2, 1}, 2, (double[]){0.5, -0.5}, points, taken);
    expect(points[0] == 2 && points[1] == 0x1p53 && points[2] == 0, "fl_points_along: %g %g", points[0], points[2]);
    expect(taken[0] == 1 && taken[1] == 0 && taken[3] == 0, "fl_points_along: %g, where x cannot move", taken[1]);
}

static void test_readings(void)
{
    fl_derivative outputs[3][2];
    fl_reading r[3], *all[3] = {&r[0], &r[1], &r[2]};
    const double value[2] = {1, 1}, noise[2] = {0};
    for (size_t i = 0; i < 3; i++)
        r[i] = (fl_reading){.distance = ldexp(1, -10 - 4*(int)i), .n_outputs = 2, .outputs = outputs[i]};
    read_bent(2, 0, 0, 2, NULL, &r[0]);
    expect(r[0].is_right && r[0].is_bounded && !r[0].has_kink && r[0].finite && r[0].quality < 1e-9, "fl_read: %g", r[0].quality);
    expect(fabs(outputs[0][0].numeric - 2) <= outputs[0][0].bound && outputs[0][1].constant, "fl_read: %g", outputs[0][0].numeric);
    read_bent(2, 0, 0, 3, NULL, &r[0]);
    expect(!r[0].is_right && fabs(outputs[0][0].residual + 1) <= outputs[0][0].bound, "fl_read: %g", outputs[0][0].residual);
    read_bent(NAN, 0, 0, 2, NULL, &r[0]);
    expect(!r[0].finite && !r[0].is_bounded && isinf(r[0].quality), "fl_read: values that are not finite tell nothing");
    read_bent(2, 0, 0, 2, (double[]){NAN, 0.5}, &r[0]);
    expect(outputs[0][0].noise < 1e-9 && outputs[0][1].noise == 0.5, "fl_read: %g, of rounded values", outputs[0][1].noise);
    read_bent(0, 0, 0, 2, NULL, &r[0]);
    expect(r[0].is_stuck && r[0].constant, "fl_read: f does not change, and its gradient says so");
    fl_distrust(&r[0]);
    expect(!r[0].is_bounded && isinf(outputs[0][1].noise), "fl_distrust: a bound of %g", r[0].bound);
    for (size_t i = 0; i < 3; i++)
        read_bent(2, 0, 1e-9, 2, NULL, &r[i]);
    fl_settle(3, all, &(fl_known){value, noise, NAN, DBL_EPSILON, DBL_EPSILON});
    for (size_t i = 0; i < 3; i++)
        expect(outputs[i][0].noise > 1e-10 && outputs[i][0].noise < 1e-8 && r[i].is_right, "fl_settle: %g", outputs[i][0].noise);
    fl_settle(3, all, &(fl_known){value, noise, 0.5, DBL_EPSILON, DBL_EPSILON});
    expect(outputs[0][0].noise == 0.5 && outputs[2][1].noise == 0.5, "fl_settle: noise that is given; got %g", outputs[0][0].noise);
    for (size_t i = 0; i < 3; i++)
        read_bent(2, 1, 0, 2, NULL, &r[i]);
    expect(outputs[2][0].whole > 1e-9, "fl_read: %g, where a kink looks like noise", outputs[2][0].whole);
    fl_settle(3, all, &(fl_known){value, noise, NAN, DBL_EPSILON, DBL_EPSILON});
    expect(outputs[2][0].noise < 1e-12 && r[2].has_kink && r[2].is_right, "fl_settle: a kink is no noise; %g", outputs[2][0].noise);
}

static void test_extrapolation(void)
{
    double differences[12], roundoff[12] = {0}, values[2], errors[2];
    size_t levels[2];
    for (size_t k = 0; k < 6; k++) { /* of x^5 and of 3x + 7, at 1 */
        const double h = ldexp(1, -(int)k);
        differences[2*k] = 5 + 10*h*h + h*h*h*h;
        differences[2*k + 1] = 3;
    }
    fl_extrapolate(6, 2, 2, differences, roundoff, 2, values, errors, levels);
    expect(values[0] == 5 && errors[0] < 1e-13 && values[1] == 3 && errors[1] == 0, "fl_extrapolate: %.17g, %.17g", values[0],
           values[1]);
    for (size_t k = 0; k < 6; k++)
        roundoff[2*k + 1] = ldexp(0.125, (int)k);
    fl_extrapolate(6, 2, 2, differences, roundoff, 2, values, errors, levels);
    expect(values[1] == 3 && errors[1] > 0.125 && errors[1] < 1 && levels[1] == 1, "fl_extrapolate: an error of %g", errors[1]);
}

static double weighted_sum(const double *x, size_t n, void *context)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += *(double *)context*(double)(i + 1)*x[i];
    return sum;
}

static void test_evaluation(void)
{
    double x[3] = {1, 2, 3}, base[3] = {1, 2, 3}, context = 2, values[3];
    const size_t starts[4] = {0, 1, 1, 3}, index[3] = {1, 0, 2};
    const double moved[3] = {5, 7, 11};
    fl_evaluate(weighted_sum, &context, 3, x, 3, starts, index, moved, base, values);
    expect(values[0] == 40 && values[1] == 28 && values[2] == 88, "fl_evaluate: %g %g %g", values[0], values[1], values[2]);
    fl_evaluate(weighted_sum, &context, 3, x, 2, NULL, index, moved, base, values + 1);
    expect(values[0] == 40 && values[1] == 40 && values[2] == 40, "fl_evaluate: %g %g", values[1], values[2]);
    expect(memcmp(x, base, sizeof x) == 0, "fl_evaluate: must restore x");
    fl_evaluate(weighted_sum, &context, 3, NULL, 2, NULL, NULL, (double[]){1, 1, 1, 1, 2, 3}, NULL, values);
    expect(values[0] == 12 && values[1] == 28, "fl_evaluate: %g %g for points in full", values[0], values[1]);
}

static void test_axes(void)
{
    double x[3] = {1, 2, 3}, context = 2, out[3] = {0}, sizes[3] = {0}, steps[3] = {0.5, 0.25, 1}, huge = 0x3p52;
    const size_t index[3] = {1, 0, 2};
    unsigned char exact[3];
    fl_differentiate(weighted_sum, &context, 3, x, 3, index, steps, 1, 2, (double[]){-1, 1}, (double[]){-0.5, 0.5}, 0, out, sizes,
                     exact);
    expect(out[0] == 4 && out[1] == 2 && out[2] == 6, "fl_differentiate: %g %g %g", out[0], out[1], out[2]);
    expect(sizes[0] == 30 && exact[0] && x[0] == 1 && x[1] == 2 && x[2] == 3, "fl_differentiate: must restore x");
    fl_differentiate(weighted_sum, &context, 3, x, 1, index, steps, 2, 3, (double[]){-1, 0, 1}, (double[]){1, -2, 1}, 27, out,
                     sizes, exact);
    expect(out[0] == 4*(26 - 54 + 30), "fl_differentiate: the value at node 0 is given; got %g", out[0]);
    fl_differentiate(weighted_sum, &context, 1, &huge, 1, (size_t[]){0}, steps, 1, 2, (double[]){-1, 1}, (double[]){-0.5, 0.5}, 0,
                     out, sizes, exact);
    expect(!exact[0] && huge == 0x3p52, "fl_differentiate: 3*2^52 + 1/2 is not a double");
}

/* ---- compiled expressions ---- */

static uint32_t operation(const char *name)
{
    size_t i = 0;
    while (strcmp(fl_operation(i, NULL), name) != 0)
        i++;
    return (uint32_t)i;
}

/* f = 3*x*x*y - max(x, y) + 7, whose last entry but one is not needed. */
static fl_tape *small_tape(void)
{
    const fl_instruction instructions[] = {
        {operation("mul"), 0, 0}, {operation("mul"), 2, 4}, {operation("mul"), 5, 1}, {operation("max"), 0, 1},
        {operation("sub"), 6, 7}, {operation("add"), 8, 3}, {operation("exp"), 8, 0}};
    return fl_tape_new(2, 2, (double[]){3, 7}, 7, instructions, 9);
}

static void test_tape(void)
{
    enum { N = 5000 };
    fl_tape *tape = fl_tape_share(small_tape());
    fl_tape_free(tape);
    const double x[2] = {2, 5};
    double gradient[2], hessian[4];
    fl_scratch *scratch = fl_tape_take(tape), *another = fl_tape_take(tape);
    expect(scratch != another, "fl_tape_take: must not give the same memory to two");
    const double value = fl_tape_evaluate(x, 2, gradient, scratch);
    expect(value == 62 && gradient[0] == 60 && gradient[1] == 11, "tape: %g, %g %g", value, gradient[0], gradient[1]);
    fl_tape_give(tape, scratch);
    fl_tape_give(tape, another);
    expect(fl_tape_value(x, 2, tape) == 62 && isnan(fl_tape_value(x, 1, tape)), "fl_tape_value: must know the number of inputs");
    expect(fl_tape_integrand(2, (double[]){2, 5}, tape) == 62, "fl_tape_integrand: %g", fl_tape_integrand(2, (double[]){2, 5}, tape));
    expect(fl_tape_hessian(tape, x, hessian) == FL_OK && hessian[0] == 30 && hessian[1] == 12 && hessian[2] == 12 && hessian[3] == 0,
           "fl_tape_hessian: %g %g %g %g", hessian[0], hessian[1], hessian[2], hessian[3]);
    double *points = malloc(2*N*sizeof *points), *values = malloc(N*sizeof *values), *gradients = malloc(2*N*sizeof *gradients);
    for (size_t i = 0; i < 2*N; i++)
        points[i] = (double)(mix(i) % 1000)/128;
    for (size_t threads = 1; threads <= 3; threads++) {
        expect(fl_tape_batch(tape, N, (char *)points, 2*sizeof *points, sizeof *points, values, gradients, threads) == FL_OK,
               "fl_tape_batch: must succeed");
        size_t same = 0;
        scratch = fl_tape_take(tape);
        for (size_t i = 0; i < N; i++)
            same += fl_tape_evaluate(points + 2*i, 2, gradient, scratch) == values[i] && gradient[0] == gradients[2*i] &&
                    gradient[1] == gradients[2*i + 1];
        fl_tape_give(tape, scratch);
        expect(same == N, "fl_tape_batch: %zu of %d points have the bits of one, with %zu threads", same, N, threads);
    }
    free(points);
    free(values);
    free(gradients);
    fl_tape_free(tape);
    fl_tape_free(NULL);
}

/* ---- minimizing ---- */

static double bowl(const double *x, size_t n, double *gradient, void *context)
{
    double sum = 0;
    const double scale = *(const double *)context;
    for (size_t i = 0; i < n; i++) {
        sum += scale*(x[i] - 3)*(x[i] - 3);
        gradient[i] = 2*scale*(x[i] - 3);
    }
    return sum;
}

/* Gradient descent by hand, with exact numbers: x - 3 halves at every step of lr 1/4. */
static void test_descent(void)
{
    enum { N = 2, MANY = 5 };
    size_t sgd = 0;
    while (strcmp(fl_rule(sgd)->name, "sgd") != 0)
        sgd++;
    double x[MANY][N], memory[MANY][5*N], running[MANY][FL_MAX_RUNNING] = {{0}}, path[3*N], scale = 1, states[FL_MAX_STATES];
    const double low[N] = {-1, 4}, high[N] = {100, 100};
    fl_box box = {low, high};
    fl_descent descents[MANY], *all[MANY];
    fl_plan *own[MANY];
    const fl_settings settings = {.scale = 1, .clip_value = HUGE_VAL, .clip_norm = HUGE_VAL, .nonfinite = FL_IGNORE, .threads = 1};
    for (size_t i = 0; i < MANY; i++) {
        double *m = memory[i];
        x[i][0] = 11;
        x[i][1] = 19;
        own[i] = fl_plan_new(sgd, 1, 1);
        *fl_plan_tensors(own[i]) = (fl_tensor){.param = (char *)x[i], .grad = (const char *)m, .running = running[i], .size = N,
                                              .param_format = FL_FLOAT64, .grad_format = FL_FLOAT64};
        fl_plan_groups(own[i])->hypers[0] = 0.25;
        fl_rule_start(sgd, fl_plan_groups(own[i])->hypers, running[i], states);
        expect(fl_plan_arrange(own[i]) == FL_OK && fl_plan_enter(own[i]) == 0, "fl_plan_enter: must be taken");
        descents[i] = (fl_descent){.objective = bowl, .context = &scale, .n = N, .plan = own[i], .settings = &settings, .x = x[i],
                                   .gradient = m, .best_x = m + N, .best_gradient = m + 2*N, .before = m + 3*N, .trial = m + 4*N,
                                   .gtol = -1, .ftol = -1, .xtol = -1};
        all[i] = &descents[i];
    }
    fl_descent *d = all[0];
    fl_descend_start(d);
    expect(d->value == 320 && d->best == 320 && d->n_evaluations == 1, "fl_descend_start: %g", d->value);
    expect(fl_descend(d, 3, NULL, 2, path) == 1 && path[0] == 5 && path[1] == 7, "fl_descend: path %g %g", path[0], path[1]);
    expect(x[0][0] == 4 && x[0][1] == 5 && d->best == 5 && d->n_steps == 3 && d->best_x[1] == 5, "fl_descend: %g %g", x[0][0], x[0][1]);
    const size_t index[1] = {0};
    const double table[2] = {0.5, 0.25};
    const fl_timetable timetable = {1, index, table};
    fl_descend(d, 1, &timetable, 1, NULL); /* lr 1/2 leads to the minimum */
    expect(x[0][0] == 3 && x[0][1] == 3 && d->value == 0, "fl_timetable: %g %g", x[0][0], x[0][1]);
    d->gtol = 0;
    fl_descend(d, 5, NULL, 1, NULL);
    expect(d->stop == FL_GRADIENT_SMALL && d->n_steps == 5, "fl_descend: must stop; %zu steps", d->n_steps);
    d = all[1];
    d->project = fl_project_to_box;
    d->project_context = &box;
    d->gtol = 1e-9;
    fl_descend_start(d);
    fl_descend(d, 1000, NULL, 1, NULL);
    expect(d->stop == FL_GRADIENT_SMALL && x[1][1] == 4 && fabs(x[1][0] - 3) < 1e-8, "fl_project_to_box: %g %g", x[1][0], x[1][1]);
    d = all[2];
    d->maximize = 1;
    fl_plan_current(own[2])->maximize = 1;
    fl_descend_start(d);
    fl_descend(d, 100000, NULL, 1, NULL);
    expect(d->stop == FL_DIVERGED && isfinite(d->best) && d->best > 1e300, "maximize: %g", d->best);
    for (size_t i = 3; i < MANY; i++)
        fl_descend_start(all[i]);
    fl_descend_many(MANY, all, 40, NULL, 3);
    for (size_t i = 3; i < MANY; i++)
        expect(x[i][0] == 3 + ldexp(8, -40) && x[i][1] == 3 + ldexp(16, -40), "fl_descend_many: %g %g", x[i][0], x[i][1]);
    for (size_t i = 0; i < MANY; i++) {
        fl_plan_leave(own[i]);
        fl_plan_free(own[i]);
    }
}

/* Gradient descent on sparse rows, whose penalty is made up for, and on the same rows in full. */
static void test_linear(fl_loss loss, size_t n_outputs, double l1) /* with averages if l1 is 0 */
{
    enum { N_ROWS = 30, N_FEATURES = 19, MOST_OUTPUTS = 3, N_WEIGHTS = N_FEATURES*MOST_OUTPUTS };
    static float full[N_ROWS*N_FEATURES], packed[N_ROWS*N_FEATURES];
    int32_t columns[N_ROWS*N_FEATURES], starts[N_ROWS + 1] = {0};
    double targets[N_ROWS], sizes[N_ROWS], weights[2][N_WEIGHTS] = {{0}}, intercepts[2][MOST_OUTPUTS] = {{0}};
    double averages[2][N_WEIGHTS], average_intercepts[2][MOST_OUTPUTS];
    size_t order[N_ROWS];
    for (size_t i = 0; i < N_ROWS; i++) {
        order[i] = (7*i) % N_ROWS;
        targets[i] = (double)(mix(i) % (loss == FL_SOFTMAX ? n_outputs : 2));
        sizes[i] = 1 + fabs(number(i));
        starts[i + 1] = starts[i];
        for (size_t j = 0; j < N_FEATURES; j++) {
            full[i*N_FEATURES + j] = mix(i*N_FEATURES + j) % 3 == 0 ? 0 : (float)number(i*N_FEATURES + j + 1);
            if (full[i*N_FEATURES + j] != 0) {
                columns[starts[i + 1]] = (int32_t)j;
                packed[starts[i + 1]++] = full[i*N_FEATURES + j];
            }
        }
    }
    const fl_rows forms[2] = {
        {.data = full, .is_single = 1, .targets = targets, .weights = sizes},
        {.data = packed, .is_single = 1, .columns = columns, .starts = starts, .targets = targets, .weights = sizes},
    };
    expect(fl_columns_increase(&forms[1], N_ROWS, N_FEATURES), "fl_columns_increase: they do");
    expect(!fl_columns_increase(&forms[1], N_ROWS, N_FEATURES - 1), "fl_columns_increase: the last one is outside");
    const int32_t first = columns[starts[3]];
    columns[starts[3]] = columns[starts[3] + 1];
    expect(!fl_columns_increase(&forms[1], N_ROWS, N_FEATURES), "fl_columns_increase: one is there twice");
    columns[starts[3]] = -1;
    expect(!fl_columns_increase(&forms[1], N_ROWS, N_FEATURES), "fl_columns_increase: one is negative");
    columns[starts[3]] = first;
    const fl_settings settings = {.scale = 1, .clip_value = HUGE_VAL, .clip_norm = HUGE_VAL, .nonfinite = FL_IGNORE, .threads = 1};
    const double rates[2*N_ROWS] = {[0] = 0.5, [1] = 0.4, [2] = 0.3};
    const size_t index = 0;
    for (size_t trial = 0; trial < 4; trial++) {
        const size_t batch = trial % 2 == 0 ? 1 : 4;
        const fl_timetable timetable = {trial / 2, &index, rates}; /* the first trials: none, a learning rate of 1/32 */
        double total[2] = {0};
        memset(weights, 0, sizeof weights);
        memset(intercepts, 0, sizeof intercepts);
        memset(averages, 0, sizeof averages);
        memset(average_intercepts, 0, sizeof average_intercepts);
        for (size_t form = 0; form < 2; form++) {
            double gradient[N_WEIGHTS] = {0}, slopes[MOST_OUTPUTS], copies[N_WEIGHTS], compact[N_WEIGHTS], scores[MOST_OUTPUTS];
            double row[N_FEATURES], running[2] = {0}, pulls[N_FEATURES] = {0}, lags[N_WEIGHTS] = {0};
            int32_t seen[N_FEATURES];
            unsigned char is_seen[N_FEATURES] = {0};
            fl_plan *plan = fl_plan_new(FL_RULE_sgd, 2, 1);
            fl_plan_tensors(plan)[0] = (fl_tensor){.param = (char *)weights[form], .grad = (char *)gradient, .running = &running[0],
                .size = N_FEATURES*n_outputs, .param_format = FL_FLOAT64, .grad_format = FL_FLOAT64};
            fl_plan_tensors(plan)[1] = (fl_tensor){.param = (char *)intercepts[form], .grad = (char *)slopes, .running = &running[1],
                .size = n_outputs, .param_format = FL_FLOAT64, .grad_format = FL_FLOAT64};
            fl_plan_groups(plan)->hypers[0] = 0.03125;
            expect(fl_plan_arrange(plan) == FL_OK && fl_plan_enter(plan) == 0, "fl_learn: no plan");
            fl_learner l = {.plan = plan, .settings = &settings, .loss = loss, .l2 = 0.3, .l1 = l1,
                .n_features = N_FEATURES, .n_outputs = n_outputs, .weights = weights[form], .intercept = intercepts[form],
                .gradient = gradient, .intercept_gradient = slopes, .copies = copies, .compact = compact, .scores = scores,
                .row = row, .decay = 1};
            if (form == 1) {
                l.seen_in_batch = seen;
                l.is_seen = is_seen;
                l.is_exact = 1;
                l.pulls = l1 > 0 ? pulls : NULL;
                l.lags = l1 > 0 ? NULL : lags;
            }
            if (l1 == 0) {
                l.average = averages[form];
                l.average_intercept = average_intercepts[form];
            }
            total[form] = fl_learn(&l, &forms[form], N_ROWS, order, batch, &timetable);
            expect(l.decay == 1 && l.pull == 0, "fl_learn: the penalty is not settled");
            for (size_t i = 0; i < 2; i++)
                expect(running[i] == (double)((N_ROWS + batch - 1)/batch), "fl_learn: counted %g steps", running[i]);
            fl_plan_leave(plan);
            fl_plan_free(plan);
        }
        expect(fabs(total[0] - total[1]) <= 1e-12*total[0] && total[0] > 0, "fl_learn: %g %g", total[0], total[1]);
        for (size_t i = 0; i < N_FEATURES*n_outputs; i++) {
            expect(fabs(weights[0][i] - weights[1][i]) <= 1e-12*fmax(1, fabs(weights[0][i])), "fl_learn: weight %zu %g %g", i,
                   weights[0][i], weights[1][i]);
            expect(fabs(averages[0][i] - averages[1][i]) <= 1e-12*fmax(1, fabs(averages[0][i])), "fl_learn: average %zu %g %g", i,
                   averages[0][i], averages[1][i]);
        }
        for (size_t k = 0; k < n_outputs; k++) {
            expect(fabs(intercepts[0][k] - intercepts[1][k]) <= 1e-12 && intercepts[0][k] != 0, "fl_learn: intercept %zu", k);
            expect(fabs(average_intercepts[0][k] - average_intercepts[1][k]) <= 1e-12 && (average_intercepts[0][k] != 0) == (l1 == 0),
                   "fl_learn: average intercept %zu", k);
        }
    }
}

/* Every order of four is as likely as the others: 1/24 of the keys, with a standard deviation of 31. */
static void test_shuffle(void)
{
    enum { N = 4, N_KEYS = 24000 };
    size_t counts[N*N*N*N] = {0}, n_orders = 0;
    for (uint64_t key = 0; key < N_KEYS; key++) {
        size_t order[N], place = 0;
        fl_shuffle(N, order, mix(key));
        for (size_t i = 0; i < N; i++)
            place = N*place + order[i];
        counts[place]++;
    }
    for (size_t i = 0; i < N*N*N*N; i++) {
        expect(counts[i] == 0 || (counts[i] > 850 && counts[i] < 1150), "fl_shuffle: order %zu came %zu times", i, counts[i]);
        n_orders += counts[i] > 0;
    }
    expect(n_orders == 24, "fl_shuffle: %zu orders", n_orders);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments > 1 && strcmp(arguments[1], "--wrong-rule") == 0)
        fault = n_arguments > 2 ? arguments[2] : "formula";
    while (fl_isa_name(best + 1) != NULL && fl_isa_supported(best + 1))
        best++;
    test_plan();
    test_pool();
    for (uint64_t i = 0; i < 2000; i++)
        test_layout(mix(i));
    test_halves();
    test_stencils();
    test_differences();
    test_noise();
    test_blocks();
    test_points();
    test_readings();
    test_extrapolation();
    test_evaluation();
    test_axes();
    test_tape();
    test_descent();
    test_linear(FL_SOFTMAX, 3, 0.02);
    test_linear(FL_SOFTMAX, 3, 0);
    test_linear(FL_LOG, 1, 0.02);
    test_linear(FL_LOG, 1, 0);
    test_shuffle();
    for (size_t i = 0; i < fl_rule_count(); i += every)
        for (fl_format format = FL_FLOAT32; format <= FL_FLOAT64; format++)
            test_rule((setup){.rule = i, .format = format});
    for (fl_format format = FL_FLOAT16; format <= FL_BFLOAT16; format++) {
        test_rule((setup){.rule = FL_RULE_adam, .format = format});
        test_rule((setup){.rule = FL_RULE_adam, .format = format, .stochastic = 1});
        test_rule((setup){.rule = FL_RULE_lamb, .format = format, .master = 1});
    }
    test_extremes();
    for (fl_format format = FL_FLOAT32; format < FL_N_FORMATS; format++) {
        test_nonfinite(format, FL_RAISE, NAN, 2, 0);
        test_nonfinite(format, FL_RAISE, -HUGE_VAL, 10, 32765);
        test_nonfinite(format, FL_SKIP, HUGE_VAL, 12, 32766);
        test_nonfinite(format, FL_IGNORE, NAN, 9, 500);
    }
    printf("%zu passed, %zu failed\n", n_passed, n_failed);
    return n_failed > 0;
}
