/* A model's tensors as one flat plan, and the step over it.
 *
 * The tensors are cut once into spans of at most FL_SPAN elements, and spans are gathered into tasks, which the threads share.
 * A step has up to four passes over the spans: the check and the norm of the gradients (a pass only if the policy or clip_norm
 * asks), the constants of every tensor (serial, in double), the norms of a rule that has some, the step.
 * Nothing is written before the first pass is done.
 *
 * Sums run in a fixed order: 16 lanes in a span, spans in a tensor, tensors in the plan. So threads do not change them.
 */
#include "kernels.h"
#include "layout.h"
#include <stdatomic.h>
#include <stdlib.h>

enum {                      /* elements, measured */
    LEAST_TASK = 4096,      /* a task outweighs being handed out */
    LARGEST_TASK = 1 << 18, /* a few megabytes */
    TASKS = 32,             /* aimed at between these two */
    PARALLEL = 1 << 16,     /* a plan of fewer is stepped before a sleeping thread wakes */
    UNROLLED = 4            /* of a loop that no vectors are made of */
};

typedef struct {
    size_t tensor, start, n;
} fl_span;

struct fl_plan {
    atomic_uint owner;                      /* 0, or 1 + the fork generation of the call that is under way */
    size_t rule, n_tensors, n_groups, n_spans, n_tasks;
    fl_tensor *tensors;
    fl_group *groups, *current;             /* as the caller sets them; as they were when the step under way was entered */
    size_t *first_element;                  /* of each tensor, counted through the plan: the counter of stochastic rounding */
    fl_span *spans;
    size_t *tasks;                          /* task i is spans [tasks[i], tasks[i + 1]) */
    double (*sums)[2];                      /* one or two sums of squares for each span */
    double (*constants)[FL_MAX_CONSTANTS];  /* of each tensor, and the same narrowed */
    float (*narrowed)[FL_MAX_CONSTANTS];
    size_t *source;                         /* the tensor whose constants a tensor uses: itself, or an earlier one */
    int is_ready;                           /* the constants of the step before hold for the next one at rows, too */
};

/* What a pass needs to know; lives on the stack of fl_plan_step. */
typedef struct {
    const fl_plan *plan;
    const fl_settings *settings;
    const fl_kernels *kernels;
    double scale, clip; /* g becomes scale*clamp(g, +-clip) */
    double unit;        /* the squares are summed in this unit */
    int finite_pass, squares_pass;
    int backwards;      /* the direction of the pass under way */
    atomic_int found_nonfinite;
} fl_pass;

/* A block's elements, decoded. */
typedef union {
    _Alignas(64) float single[FL_BLOCK];
    double twice[FL_BLOCK];
} fl_buffer;

static const size_t item_sizes[FL_N_FORMATS] = {4, 8, 2, 2};

static int precision(const fl_tensor *t) { return t->param_format == FL_FLOAT64 ? FL_DOUBLE : FL_SINGLE; }

static size_t real_size(const fl_tensor *t) { return precision(t) == FL_DOUBLE ? sizeof(double) : sizeof(float); }

static int is_half(fl_format format) { return format == FL_FLOAT16 || format == FL_BFLOAT16; }

static int is_active(const fl_plan *plan, const fl_tensor *t) { return t->grad != NULL && !plan->current[t->group].frozen; }

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* ---- building ---- */

fl_plan *fl_plan_new(size_t rule, size_t n_tensors, size_t n_groups)
{
    fl_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return NULL;
    plan->rule = rule;
    plan->n_tensors = n_tensors;
    plan->n_groups = n_groups;
    plan->tensors = calloc(n_tensors + 1, sizeof *plan->tensors);
    plan->groups = calloc(n_groups + 1, sizeof *plan->groups);
    plan->current = calloc(n_groups + 1, sizeof *plan->current);
    if (plan->tensors == NULL || plan->groups == NULL || plan->current == NULL) {
        fl_plan_free(plan);
        return NULL;
    }
    return plan;
}

void fl_plan_free(fl_plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->tensors);
    free(plan->groups);
    free(plan->current);
    free(plan->first_element);
    free(plan->spans);
    free(plan->tasks);
    free(plan->sums);
    free(plan->constants);
    free(plan->narrowed);
    free(plan->source);
    free(plan);
}

fl_tensor *fl_plan_tensors(fl_plan *plan) { return plan->tensors; }

fl_group *fl_plan_groups(fl_plan *plan) { return plan->groups; }

/* Fills in the spans of tensor i, or only counts them if there is no room yet. */
static size_t cut(fl_plan *plan, size_t i, size_t n_spans)
{
    const size_t size = plan->tensors[i].size;
    for (size_t start = 0; start < size; start += FL_SPAN, n_spans++)
        if (plan->spans != NULL)
            plan->spans[n_spans] = (fl_span){i, start, smaller(size - start, FL_SPAN)};
    return n_spans;
}

/* Enough tasks that threads finish together, and large enough ones that memory is read in long runs. */
static void gather_tasks(fl_plan *plan)
{
    const size_t total = plan->first_element[plan->n_tensors];
    const size_t wanted = larger(LEAST_TASK, smaller(total/TASKS, LARGEST_TASK));
    size_t elements = 0;
    plan->n_tasks = 0;
    for (size_t i = 0; i < plan->n_spans; i++) {
        if (elements == 0)
            plan->tasks[plan->n_tasks++] = i;
        elements += plan->spans[i].n;
        if (elements >= wanted)
            elements = 0;
    }
    plan->tasks[plan->n_tasks] = plan->n_spans;
}

fl_status fl_plan_arrange(fl_plan *plan)
{
    const size_t n_tensors = plan->n_tensors;
    for (size_t i = 0; i < n_tensors; i++)
        plan->n_spans = cut(plan, i, plan->n_spans);
    plan->first_element = calloc(n_tensors + 1, sizeof *plan->first_element);
    plan->spans = calloc(plan->n_spans + 1, sizeof *plan->spans);
    plan->tasks = calloc(plan->n_spans + 1, sizeof *plan->tasks);
    plan->sums = calloc(plan->n_spans + 1, sizeof *plan->sums);
    plan->constants = calloc(n_tensors + 1, sizeof *plan->constants);
    plan->narrowed = calloc(n_tensors + 1, sizeof *plan->narrowed);
    plan->source = calloc(n_tensors + 1, sizeof *plan->source);
    if (!plan->first_element || !plan->spans || !plan->tasks || !plan->sums || !plan->constants || !plan->narrowed ||
        !plan->source)
        return FL_NO_MEMORY;
    for (size_t i = 0, n_spans = 0; i < n_tensors; i++) {
        plan->first_element[i + 1] = plan->first_element[i] + plan->tensors[i].size;
        n_spans = cut(plan, i, n_spans);
    }
    gather_tasks(plan);
    return FL_OK;
}

/* ---- blocks in and out ---- */

/* Elements [start, start + n) of an array in the precision of its tensor's arithmetic: in place, or decoded into the buffer. */
static const void *fetch(const fl_pass *pass, const char *array, const fl_layout *layout, fl_format format, size_t start,
                         size_t n, fl_buffer *buffer)
{
    const size_t item_size = item_sizes[format];
    if (!is_half(format)) {
        if (layout == NULL)
            return array + start*item_size;
        fl_gather(buffer, array, layout, item_size, start, n);
        return buffer;
    }
    uint16_t raw[FL_BLOCK];
    if (layout != NULL) {
        fl_gather(raw, array, layout, item_size, start, n);
        pass->kernels->decode[format](buffer->single, raw, n);
    } else {
        pass->kernels->decode[format](buffer->single, (const uint16_t *)(const void *)array + start, n);
    }
    return buffer;
}

/* 64 bits that differ for every (seed, step): the key of a tensor's stochastic rounding. */
static uint64_t rounding_key(uint64_t seed, double t)
{
    uint64_t z = (seed ^ ((uint64_t)t << 32)) + (uint64_t)t*0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 32))*0xd6e8feb86659fd93u;
    return z ^ (z >> 32);
}

/* The opposite of fetch for a parameter whose block is not stepped in place. */
static void store(const fl_pass *pass, const fl_tensor *t, size_t start, size_t n, const void *values)
{
    const fl_plan *plan = pass->plan;
    const size_t item_size = item_sizes[t->param_format];
    if (!is_half(t->param_format)) {
        if (t->param_layout != NULL)
            fl_scatter(t->param, t->param_layout, values, item_size, start, n);
        return;
    }
    uint16_t raw[FL_BLOCK];
    if (t->stochastic) {
        const size_t i = (size_t)(t - plan->tensors);
        const uint64_t key = rounding_key(pass->settings->seed, t->running[0]);
        pass->kernels->dither[t->param_format](raw, values, key, plan->first_element[i] + start, n);
    } else {
        pass->kernels->encode[t->param_format](raw, values, n);
    }
    fl_scatter(t->param, t->param_layout, raw, item_size, start, n);
}

static const void *fetch_gradient(const fl_pass *pass, const fl_tensor *t, size_t start, size_t n, fl_buffer *buffer)
{
    return fetch(pass, t->grad, t->grad_layout, t->grad_format, start, n, buffer);
}

/* The master copy holds what the half parameter was rounded from; where the parameter was changed since, it is taken over. */
static const void *fetch_master(const fl_pass *pass, const fl_tensor *t, size_t start, size_t n)
{
    uint16_t now[FL_BLOCK], written[FL_BLOCK];
    float changed[FL_BLOCK], *master = t->master + start;
    fl_gather(now, t->param, t->param_layout, sizeof *now, start, n);
    pass->kernels->encode[t->param_format](written, master, n);
    if (memcmp(now, written, n*sizeof *now) != 0) {
        pass->kernels->decode[t->param_format](changed, now, n);
        for (size_t i = 0; i < n; i++)
            if (now[i] != written[i])
                master[i] = changed[i];
    }
    return master;
}

static const void *fetch_param(const fl_pass *pass, const fl_tensor *t, size_t start, size_t n, fl_buffer *buffer)
{
    if (t->master != NULL)
        return fetch_master(pass, t, start, n);
    return fetch(pass, t->param, t->param_layout, t->param_format, start, n, buffer);
}

static int gradient_is_in_place(const fl_tensor *t) { return t->grad_layout == NULL && !is_half(t->grad_format); }

static int param_is_in_place(const fl_tensor *t) { return t->param_layout == NULL && !is_half(t->param_format); }

/* How much of a span can be handled at once. */
static size_t stride_of(const fl_span *span, int in_place) { return in_place ? span->n : (size_t)FL_BLOCK; }

/* ---- the check and the norm of the gradients ---- */

/* Adding halves pairwise is an order like any other; it is this one everywhere. */
static double sum_lanes(const double *lanes)
{
    double sums[FL_LANES];
    memcpy(sums, lanes, sizeof sums);
    for (size_t width = FL_LANES/2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++)
            sums[i] += sums[i + width];
    return sums[0];
}

static void check_span(fl_pass *pass, const fl_span *span, double *sum)
{
    const fl_tensor *t = &pass->plan->tensors[span->tensor];
    const int real = precision(t);
    const size_t stride = stride_of(span, gradient_is_in_place(t));
    double lanes[FL_LANES];
    if (pass->squares_pass)
        memset(lanes, 0, sizeof lanes);
    for (size_t done = 0; done < span->n; done += stride) {
        fl_buffer buffer;
        const size_t n = smaller(stride, span->n - done);
        const void *g = fetch_gradient(pass, t, span->start + done, n, &buffer);
        if (pass->finite_pass && !pass->kernels->finite[real](g, n))
            atomic_store_explicit(&pass->found_nonfinite, 1, memory_order_relaxed);
        if (pass->squares_pass)
            pass->kernels->squares[real](g, pass->unit, pass->clip, n, lanes);
    }
    if (pass->squares_pass)
        *sum = sum_lanes(lanes);
}

/* The first span of the i-th task of a pass; the next task's is the end. */
static const size_t *task_of(const fl_pass *pass, size_t i)
{
    return &pass->plan->tasks[pass->backwards ? pass->plan->n_tasks - 1 - i : i];
}

static void check_task(void *context, size_t task)
{
    fl_pass *pass = context;
    const fl_plan *plan = pass->plan;
    const size_t *spans = task_of(pass, task);
    for (size_t i = spans[0]; i < spans[1]; i++) {
        plan->sums[i][0] = 0;
        if (is_active(plan, &plan->tensors[plan->spans[i].tensor]))
            check_span(pass, &plan->spans[i], &plan->sums[i][0]);
    }
}

/* Every other pass goes backwards, and so begins with what the one before it left in the cache. */
static void run(fl_pass *pass, void (*task)(void *context, size_t i))
{
    const fl_plan *plan = pass->plan;
    pass->backwards = !pass->backwards;
    const size_t threads = plan->first_element[plan->n_tensors] < PARALLEL ? 1 : pass->settings->threads;
    fl_pool_run(threads, plan->n_tasks, task, pass);
}

static double total_of_sums(const fl_plan *plan)
{
    double total = 0;
    for (size_t i = 0; i < plan->n_spans; i++)
        total += plan->sums[i][0];
    return total;
}

/* What clip_norm multiplies the gradients by. Squares of a double may overflow where the norm does not: then they are summed
 * once more in a larger unit. A norm that is not finite, under FL_IGNORE, scales nothing: 0*infinity would spread NaN. */
static double norm_factor(fl_pass *pass)
{
    double clip = pass->settings->clip_norm, total = total_of_sums(pass->plan);
    if (!isfinite(total)) {
        const int finite_pass = pass->finite_pass;
        pass->finite_pass = 0;
        pass->unit = 0x1p-600;
        run(pass, check_task);
        pass->finite_pass = finite_pass;
        clip *= pass->unit;
        total = total_of_sums(pass->plan);
    }
    const double norm = pass->scale*sqrt(total);
    return norm > clip && norm < HUGE_VAL ? clip/norm : 1;
}

/* The first pass. Settles the factor that all gradients are multiplied by. */
static fl_status check(fl_pass *pass)
{
    const fl_settings *settings = pass->settings;
    const int must_be_finite = settings->nonfinite != FL_IGNORE;
    pass->squares_pass = settings->clip_norm < HUGE_VAL;
    /* A finite sum of squares has finite terms, unless clip_value made them so: then nothing else need be looked at. */
    pass->finite_pass = must_be_finite && !(pass->squares_pass && pass->clip == HUGE_VAL);
    if (!pass->finite_pass && !pass->squares_pass)
        return FL_OK;
    run(pass, check_task);
    if (must_be_finite && !pass->finite_pass && !isfinite(total_of_sums(pass->plan))) {
        pass->finite_pass = 1; /* tells an infinite gradient from squares that overflow */
        run(pass, check_task);
    }
    if (atomic_load(&pass->found_nonfinite))
        return FL_NOT_FINITE;
    if (pass->squares_pass)
        pass->scale *= norm_factor(pass);
    return FL_OK;
}

void fl_plan_locate(const fl_plan *plan, size_t i, size_t *first, size_t *count)
{
    const fl_tensor *t = &plan->tensors[i];
    const fl_pass pass = {.plan = plan, .kernels = fl_kernels_current()};
    *first = t->size;
    *count = 0;
    if (!is_active(plan, t))
        return;
    for (size_t start = 0; start < t->size; start += FL_BLOCK) {
        fl_buffer buffer;
        const size_t n = smaller(FL_BLOCK, t->size - start);
        const void *g = fetch_gradient(&pass, t, start, n, &buffer);
        for (size_t j = 0; j < n; j++) {
            const double x = precision(t) == FL_DOUBLE ? ((const double *)g)[j] : (double)((const float *)g)[j];
            if (!isfinite(x) && (*count)++ == 0)
                *first = start + j;
        }
    }
}

/* ---- the constants ---- */

static int same(const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return 0;
    return 1;
}

static void copy(double *to, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i];
}

static void narrow(float *narrowed, const double *constants, size_t n)
{
    for (size_t i = 0; i < n; i++)
        narrowed[i] = (float)constants[i];
}

/* Tensors that have taken the same steps in the same group have the same constants: they are computed for the first of them,
 * which is most of the work saved in a model of many small tensors. A rule with norms has a constant of every tensor's own. */
static void prepare(const fl_plan *plan)
{
    const fl_rule_functions *rule = &fl_rules[plan->rule];
    const size_t n_running = rule->info.n_running;
    const int shared = rule->ratio == NULL;
    double before[FL_MAX_RUNNING];
    const fl_tensor *last = NULL;
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const fl_tensor *t = &plan->tensors[i];
        if (!is_active(plan, t))
            continue;
        if (shared && last != NULL && last->group == t->group && same(before, t->running, n_running)) {
            copy(t->running, last->running, n_running);
            plan->source[i] = plan->source[last - plan->tensors];
        } else {
            copy(before, t->running, n_running);
            rule->prepare(plan->current[t->group].hypers, t->running, plan->constants[i]);
            narrow(plan->narrowed[i], plan->constants[i], rule->info.n_constants);
            plan->source[i] = i;
        }
        last = t;
    }
}

/* Most of what a step at a few rows takes is to compute constants that are the same as before. */
static void prepare_once(fl_plan *plan)
{
    for (size_t i = 0; plan->is_ready && i < plan->n_tensors; i++)
        if (is_active(plan, &plan->tensors[i]))
            plan->tensors[i].running[0] += 1;
    if (plan->is_ready)
        return;
    prepare(plan);
    plan->is_ready = fl_rules[plan->rule].is_steady;
}

/* ---- the step ---- */

/* What surrounds the rule for this tensor; the first average is the first weights. */
static fl_dress dress_of(const fl_pass *pass, const fl_tensor *t)
{
    const fl_group *group = &pass->plan->current[t->group];
    return (fl_dress){
        .scale = group->maximize ? -pass->scale : pass->scale,
        .clip = pass->clip,
        .l2 = group->l2,
        .decay = t->running[0] > 1 ? pass->settings->average_decay : 0,
    };
}

static int is_bare(const fl_dress *dress) { return dress->scale == 1 && dress->clip == HUGE_VAL && dress->l2 == 0; }

static const void *constants_of(const fl_plan *plan, size_t tensor)
{
    const size_t source = plan->source[tensor];
    return precision(&plan->tensors[tensor]) == FL_DOUBLE ? (const void *)plan->constants[source]
                                                          : (const void *)plan->narrowed[source];
}

static void states_at(const fl_plan *plan, const fl_tensor *t, size_t start, void **states)
{
    for (size_t k = 0; k < fl_rules[plan->rule].info.n_states; k++)
        states[k] = (char *)t->state[k] + start*real_size(t);
}

static void measure_span(fl_pass *pass, const fl_span *span, double *sums)
{
    const fl_plan *plan = pass->plan;
    const fl_tensor *t = &plan->tensors[span->tensor];
    const int real = precision(t);
    const fl_dress dress = dress_of(pass, t);
    double lanes[2*FL_LANES] = {0};
    const size_t stride = stride_of(span, gradient_is_in_place(t) && param_is_in_place(t) && is_bare(&dress));
    for (size_t done = 0; done < span->n; done += stride) {
        fl_buffer p_buffer, g_buffer;
        void *states[FL_MAX_STATES];
        const size_t start = span->start + done, n = smaller(stride, span->n - done);
        const void *p = fetch_param(pass, t, start, n, &p_buffer);
        const void *g = fetch_gradient(pass, t, start, n, &g_buffer);
        if (!is_bare(&dress)) {
            pass->kernels->dress[real](&g_buffer, g, p, &dress, n);
            g = &g_buffer;
        }
        states_at(plan, t, start, states);
        pass->kernels->measure[plan->rule][real](p, g, states, constants_of(plan, span->tensor), n, lanes);
    }
    sums[0] = sum_lanes(lanes);
    sums[1] = sum_lanes(lanes + FL_LANES);
}

static void measure_task(void *context, size_t task)
{
    fl_pass *pass = context;
    const fl_plan *plan = pass->plan;
    const size_t *spans = task_of(pass, task);
    for (size_t i = spans[0]; i < spans[1]; i++)
        if (is_active(plan, &plan->tensors[plan->spans[i].tensor]))
            measure_span(pass, &plan->spans[i], plan->sums[i]);
}

/* The norms of every tensor, and from them the ratio that is the last of its constants. */
static void measure(fl_pass *pass)
{
    const fl_plan *plan = pass->plan;
    const fl_rule_functions *rule = &fl_rules[plan->rule];
    const size_t last = rule->info.n_constants - 1;
    run(pass, measure_task);
    for (size_t i = 0; i < plan->n_spans;) {
        const size_t tensor = plan->spans[i].tensor;
        double x = 0, y = 0;
        for (; i < plan->n_spans && plan->spans[i].tensor == tensor; i++) {
            x += plan->sums[i][0];
            y += plan->sums[i][1];
        }
        if (is_active(plan, &plan->tensors[tensor])) {
            plan->constants[tensor][last] = rule->ratio(plan->constants[tensor], sqrt(x), sqrt(y));
            plan->narrowed[tensor][last] = (float)plan->constants[tensor][last];
        }
    }
}

static void step_span(const fl_pass *pass, const fl_span *span)
{
    const fl_plan *plan = pass->plan;
    const fl_tensor *t = &plan->tensors[span->tensor];
    const fl_dress dress = dress_of(pass, t);
    const fl_dress *needed = is_bare(&dress) && t->average == NULL ? NULL : &dress;
    const size_t stride = stride_of(span, gradient_is_in_place(t) && param_is_in_place(t));
    for (size_t done = 0; done < span->n; done += stride) {
        fl_buffer p_buffer, g_buffer;
        void *states[FL_MAX_STATES];
        const size_t start = span->start + done, n = smaller(stride, span->n - done);
        /* In place, in the master copy or in the buffer: all three may be written. */
        void *p = (void *)(uintptr_t)fetch_param(pass, t, start, n, &p_buffer);
        const void *g = fetch_gradient(pass, t, start, n, &g_buffer);
        void *e = t->average == NULL ? NULL : (char *)t->average + start*real_size(t);
        states_at(plan, t, start, states);
        pass->kernels->step[plan->rule][precision(t)](p, g, states, constants_of(plan, span->tensor), needed, e, n);
        store(pass, t, start, n, p);
    }
}

static void step_task(void *context, size_t task)
{
    const fl_pass *pass = context;
    const fl_plan *plan = pass->plan;
    const size_t *spans = task_of(pass, task);
    for (size_t i = spans[0]; i < spans[1]; i++)
        if (is_active(plan, &plan->tensors[plan->spans[i].tensor]))
            step_span(pass, &plan->spans[i]);
}

/* An owner of another generation was a thread of the parent process, which this child does not have. */
static int take(fl_plan *plan)
{
    const unsigned me = fl_fork_generation() + 1;
    unsigned owner = 0;
    return atomic_compare_exchange_strong(&plan->owner, &owner, me) ||
           (owner != me && atomic_compare_exchange_strong(&plan->owner, &owner, me));
}

int fl_plan_enter(fl_plan *plan)
{
    if (!take(plan))
        return -1;
    memcpy(plan->current, plan->groups, plan->n_groups*sizeof *plan->groups);
    plan->is_ready = 0;
    return 0;
}

void fl_plan_leave(fl_plan *plan) { atomic_store(&plan->owner, 0); }

fl_group *fl_plan_current(fl_plan *plan) { return plan->current; }

static fl_pass pass_of(const fl_plan *plan, const fl_settings *settings)
{
    return (fl_pass){
        .plan = plan,
        .settings = settings,
        .kernels = fl_kernels_current(),
        .scale = settings->scale,
        .clip = settings->clip_value/settings->scale,
        .unit = 1,
        .backwards = 1, /* the first pass turns round */
    };
}

fl_status fl_plan_step(fl_plan *plan, const fl_settings *settings)
{
    fl_pass pass = pass_of(plan, settings);
    const fl_status status = check(&pass);
    if (status != FL_OK)
        return status;
    prepare(plan);
    if (fl_rules[plan->rule].ratio != NULL)
        measure(&pass);
    run(&pass, step_task);
    return FL_OK;
}

void fl_plan_follow(fl_plan *plan, const fl_timetable *timetable, size_t k)
{
    if (timetable->n_numbers > 0)
        plan->is_ready = 0;
    for (size_t i = 0; i < timetable->n_numbers; i++) {
        const double number = timetable->table[k*timetable->n_numbers + i];
        if (timetable->index[i] < FL_MAX_HYPERS)
            plan->current->hypers[timetable->index[i]] = number;
        else
            plan->current->l2 = number;
    }
}

void fl_gather_rows(double *rows, const double *array, size_t n, const int32_t *index, size_t width)
{
    for (size_t i = 0; width == 1 && i < n; i++)
        rows[i] = array[index[i]];
    for (size_t i = 0; width > 1 && i < n; i++)
        for (size_t k = 0; k < width; k++)
            rows[i*width + k] = array[(size_t)index[i]*width + k];
}

void fl_scatter_rows(double *array, const double *rows, size_t n, const int32_t *index, size_t width)
{
    const size_t n_whole = width == 1 ? n - n % UNROLLED : 0;
    for (size_t i = 0; i < n_whole; i += UNROLLED)
        for (size_t k = i; k < i + UNROLLED; k++)
            array[index[k]] = rows[k];
    for (size_t i = n_whole; width == 1 && i < n; i++)
        array[index[i]] = rows[i];
    for (size_t i = 0; width > 1 && i < n; i++)
        for (size_t k = 0; k < width; k++)
            array[(size_t)index[i]*width + k] = rows[i*width + k];
}

/* Of a tensor of contiguous doubles, or of copies of a part of it; by slope*gradient. */
static void step_doubles(const fl_pass *pass, size_t tensor, void *param, const void *gradient, double slope, void *const *states,
                         size_t n)
{
    const fl_plan *plan = pass->plan;
    fl_dress dress = dress_of(pass, &plan->tensors[tensor]);
    dress.scale *= slope;
    pass->kernels->step[plan->rule][FL_DOUBLE](param, gradient, states, constants_of(plan, tensor),
                                               is_bare(&dress) ? NULL : &dress, NULL, n);
}

static void step_rows(const fl_pass *pass, size_t n, const int32_t *index, size_t width, double *rows, const double *gradient,
                      double slope)
{
    const fl_tensor *t = pass->plan->tensors;
    const size_t n_states = fl_rules[pass->plan->rule].info.n_states;
    double states[FL_MAX_STATES][FL_BLOCK];
    void *const to_states[FL_MAX_STATES] = {states[0], states[1], states[2], states[3]};
    for (size_t k = 0; k < n_states; k++)
        fl_gather_rows(states[k], t->state[k], n, index, width);
    step_doubles(pass, 0, rows, gradient, slope, to_states, n*width);
    for (size_t k = 0; k < n_states; k++)
        fl_scatter_rows(t->state[k], states[k], n, index, width);
}

void fl_plan_step_at(fl_plan *plan, const fl_settings *settings, size_t n, const int32_t *index, size_t width, double *rows,
                     const double *gradient, double slope)
{
    const fl_pass pass = pass_of(plan, settings);
    const size_t at_once = FL_BLOCK/width;
    prepare_once(plan);
    for (size_t done = 0; done < n; done += at_once)
        step_rows(&pass, smaller(n - done, at_once), index + done, width, rows + done*width, gradient + done*width, slope);
    for (size_t i = 1; i < plan->n_tensors; i++)
        step_doubles(&pass, i, plan->tensors[i].param, plan->tensors[i].grad, 1, plan->tensors[i].state, plan->tensors[i].size);
}
