/* Minimizing in one loop: step, evaluate, keep the best point, stop; again and again, without a caller in between.
 *
 * The steps are those of a plan, bit for bit: this file has no formula of an optimizer. Typical sizes: 2 to 1000 numbers, 10^2 to
 * 10^7 steps, 1 to 10^5 descents at once. */
#include "fallline.h"
#include <math.h>
#include <string.h>

enum { TASKS_PER_THREAD = 8 };

static double larger(double a, double b) { return a > b ? a : b; }

static int is_better(const fl_descent *d, double value) { return d->maximize ? value > d->best : value < d->best; }

static int all_finite(const double *x, size_t n)
{
    double zero = 0;
    for (size_t i = 0; i < n; i++)
        zero += 0*x[i];
    return zero == 0;
}

void fl_project_to_box(double *x, size_t n, void *context)
{
    const fl_box *box = context;
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] < box->low[i] ? box->low[i] : x[i] > box->high[i] ? box->high[i] : x[i];
}

/* The largest entry of the gradient, or of what a projection leaves of the step along it. */
static double slope(const fl_descent *d)
{
    double most = 0;
    const double *end = d->gradient;
    if (d->project != NULL) {
        for (size_t i = 0; i < d->n; i++)
            d->trial[i] = d->maximize ? d->x[i] + d->gradient[i] : d->x[i] - d->gradient[i];
        d->project(d->trial, d->n, d->project_context);
        for (size_t i = 0; i < d->n; i++)
            d->trial[i] -= d->x[i];
        end = d->trial;
    }
    for (size_t i = 0; i < d->n; i++)
        most = larger(most, fabs(end[i]));
    return most;
}

static int step_is_small(const fl_descent *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (!(fabs(d->x[i] - d->before[i]) <= d->xtol*larger(1, fabs(d->x[i]))))
            return 0;
    return 1;
}

static void keep_best(fl_descent *d)
{
    d->best = d->value;
    memcpy(d->best_x, d->x, d->n*sizeof *d->x);
    memcpy(d->best_gradient, d->gradient, d->n*sizeof *d->gradient);
}

static void evaluate(fl_descent *d)
{
    d->value = d->objective(d->x, d->n, d->gradient, d->context);
    d->n_evaluations++;
}

static fl_stop stop_of(const fl_descent *d, double value_before)
{
    if (!isfinite(d->value) || !all_finite(d->gradient, d->n))
        return FL_DIVERGED;
    if (d->gtol >= 0 && slope(d) <= d->gtol)
        return FL_GRADIENT_SMALL;
    if (d->n_steps == 0)
        return FL_GOING;
    if (d->ftol >= 0 && fabs(d->value - value_before) <= d->ftol*larger(1, fabs(d->value)))
        return FL_VALUE_STEADY;
    if (d->xtol >= 0 && step_is_small(d))
        return FL_STEP_SMALL;
    return FL_GOING;
}

void fl_descend_start(fl_descent *d)
{
    d->n_steps = d->n_evaluations = 0;
    evaluate(d);
    keep_best(d);
    d->stop = stop_of(d, d->value);
}

static void descend_once(fl_descent *d)
{
    const double value_before = d->value;
    memcpy(d->before, d->x, d->n*sizeof *d->x);
    fl_plan_step(d->plan, d->settings);
    if (d->project != NULL)
        d->project(d->x, d->n, d->project_context);
    d->n_steps++;
    evaluate(d);
    d->stop = stop_of(d, value_before);
    if (d->stop != FL_DIVERGED && is_better(d, d->value))
        keep_best(d);
}

size_t fl_descend(fl_descent *d, size_t n_steps, const fl_timetable *timetable, size_t every, double *path)
{
    size_t n_recorded = 0;
    for (size_t k = 0; k < n_steps && d->stop == FL_GOING; k++) {
        if (timetable != NULL)
            fl_plan_follow(d->plan, timetable, k);
        descend_once(d);
        if (path != NULL && d->n_steps % every == 0)
            memcpy(path + d->n*n_recorded++, d->x, d->n*sizeof *d->x);
    }
    return n_recorded;
}

typedef struct {
    fl_descent *const *descents;
    size_t n_descents, n_steps, n_together;
    const fl_timetable *timetable;
} fl_crowd;

static void descend_some(void *context, size_t task)
{
    const fl_crowd *crowd = context;
    const size_t first = task*crowd->n_together;
    for (size_t i = first; i < first + crowd->n_together && i < crowd->n_descents; i++)
        fl_descend(crowd->descents[i], crowd->n_steps, crowd->timetable, 1, NULL);
}

/* Neighbours go to one thread: their numbers are few, and share cache lines. */
void fl_descend_many(size_t n_descents, fl_descent *const *descents, size_t n_steps, const fl_timetable *timetable,
                     size_t threads)
{
    const size_t n_together = 1 + n_descents/(TASKS_PER_THREAD*threads);
    fl_crowd crowd = {descents, n_descents, n_steps, n_together, timetable};
    fl_pool_run(threads, (n_descents + n_together - 1)/n_together, descend_some, &crowd);
}
