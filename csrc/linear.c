/* Linear models, learned sample by sample: scores, losses and gradients of a batch of rows, and a step of a plan.
 *
 * The steps are those of a plan, bit for bit: this file has no formula of an optimizer. Weights are stored feature by feature, so
 * that a sparse row touches runs of memory. Typical sizes: 10 to 10^6 features, 1 to 100 outputs, 10^3 to 10^7 rows.
 *
 * A sparse row steps the weights of its own features only. Under plain gradient descent the penalty of the steps in between is
 * made up for, in closed form (Lipton & Elkan 2015, arXiv 1505.06449), so the result is that of stepping all of them: a step
 * multiplies every weight by 1 - lr*l2, which is kept as one number, `decay`, that the weights are in units of; and pulls every
 * weight to 0 by lr*l1, which in these units is the same for all that have not been seen since. Under another rule what it would
 * have done to the rest is left out.
 *
 * The average of the weights is made up for as well. In units of the decay a weight changes only when it is seen: a change by d, when
 * the decays of all steps so far add up to m, is missing from the sum of u*decay over all steps by d*m, if u is the last value. So
 * what is missing is summed up, the `lag`, and the average is computed when the weights are settled.
 */
#include "fallline.h"
#include "random.h"
#include <math.h>
#include <string.h>

enum {
    LANES = 8,
    CACHE_LINE = 64,
    PER_LINE = CACHE_LINE/sizeof(int32_t), /* columns; entries are in as many lines, or in two */
    AHEAD = 4                              /* rows to ask memory for, measured */
};
static const double LEAST_DECAY = 0x1p-300; /* of a penalty made up for later, before the units overflow */
static const double LEAST_DECAY_OF_SUMS = 0x1p-8; /* before sums in these units lose digits */

/* ---- losses: the value at a score, and its slope ---- */

typedef struct {
    double value, slope;
} fl_point;

/* y is -1 or 1. */
static fl_point loss_of_margin(fl_loss loss, double score, double y)
{
    const double margin = y*score, lack = 1 - margin;
    switch (loss) {
    case FL_LOG: {
        const double e = exp(-fabs(margin)), u = 1 + e, inverse = 1/u;
        /* log1p(e), from log(u) and what the sum u has lost. */
        return (fl_point){log(u) + (e - (u - 1))*inverse + (margin < 0 ? -margin : 0), -y*(margin < 0 ? inverse : e*inverse)};
    }
    case FL_HINGE: return lack > 0 ? (fl_point){lack, -y} : (fl_point){0, 0};
    case FL_SQUARED_HINGE: return lack > 0 ? (fl_point){lack*lack, -2*y*lack} : (fl_point){0, 0};
    default: /* FL_MODIFIED_HUBER */
        return lack <= 0 ? (fl_point){0, 0} : lack <= 2 ? (fl_point){lack*lack, -2*y*lack} : (fl_point){-4*margin, -4*y};
    }
}

static fl_point loss_of_error(fl_loss loss, double score, double y, double parameter)
{
    const double error = score - y;
    switch (loss) {
    case FL_SQUARED: return (fl_point){0.5*error*error, error};
    case FL_HUBER:
        if (fabs(error) <= parameter)
            return (fl_point){0.5*error*error, error};
        return (fl_point){parameter*(fabs(error) - 0.5*parameter), error > 0 ? parameter : -parameter};
    default: /* FL_QUANTILE */
        return error < 0 ? (fl_point){-parameter*error, -parameter}
                         : (fl_point){(1 - parameter)*error, error > 0 ? 1 - parameter : 0};
    }
}

/* Scores become slopes. */
static double softmax(double *scores, size_t n, size_t target)
{
    double most = scores[0], total = 0;
    for (size_t k = 1; k < n; k++)
        most = scores[k] > most ? scores[k] : most;
    const double own = scores[target] - most;
    for (size_t k = 0; k < n; k++)
        total += scores[k] = exp(scores[k] - most);
    for (size_t k = 0; k < n; k++)
        scores[k] /= total;
    scores[target] -= 1;
    return log(total) - own;
}

/* The loss of a row, added up over the outputs; scores become slopes. */
static double judge(const fl_learner *l, double *scores, double target)
{
    double total = 0;
    if (l->loss == FL_SOFTMAX)
        return softmax(scores, l->n_outputs, (size_t)target);
    for (size_t k = 0; k < l->n_outputs; k++) {
        const double positive = l->n_outputs == 1 ? 1 : (double)k;
        const fl_point at = l->loss <= FL_MODIFIED_HUBER
                                ? loss_of_margin(l->loss, scores[k], target == positive ? 1 : -1)
                                : loss_of_error(l->loss, scores[k], target, l->parameter);
        total += at.value;
        scores[k] = at.slope;
    }
    return total;
}

/* ---- rows ---- */

/* The entries of a row, and the features they belong to: NULL for all. */
typedef struct {
    const double *x;
    const int32_t *columns;
    size_t n;
} fl_row;

static fl_row fetch(const fl_learner *l, const fl_rows *rows, size_t i)
{
    const int is_sparse = rows->columns != NULL;
    const size_t start = is_sparse ? (size_t)rows->starts[i] : i*l->n_features;
    const size_t n = is_sparse ? (size_t)rows->starts[i + 1] - start : l->n_features;
    const int32_t *columns = is_sparse ? rows->columns + start : NULL;
    if (!rows->is_single)
        return (fl_row){(const double *)rows->data + start, columns, n};
    const float *single = (const float *)rows->data + start;
    for (size_t j = 0; j < n; j++)
        l->row[j] = single[j];
    return (fl_row){l->row, columns, n};
}

int fl_columns_increase(const fl_rows *rows, size_t n, size_t n_features)
{
    const int32_t *columns = rows->columns;
    uint32_t n_falls = 0, n_falls_between_rows = 0; /* 32 bits, as the columns have: that makes vectors */
    int is_outside = 0;
    for (size_t k = (size_t)rows->starts[0] + 1; k < (size_t)rows->starts[n]; k++)
        n_falls += columns[k] <= columns[k - 1];
    for (size_t i = 0; i < n; i++) {
        const int32_t start = rows->starts[i], end = rows->starts[i + 1];
        if (start == end)
            continue;
        n_falls_between_rows += start > rows->starts[0] && columns[start] <= columns[start - 1];
        is_outside |= columns[start] < 0 || (size_t)columns[end - 1] >= n_features;
    }
    return n_falls == n_falls_between_rows && !is_outside;
}

/* Asks memory for a row that is needed soon: the order is random, so that the machine cannot guess. Inline, because GCC drops the
 * call of a function that does nothing else. */
static inline __attribute__((always_inline)) void prefetch(const fl_learner *l, const fl_rows *rows, size_t i)
{
    const size_t item = rows->is_single ? sizeof(float) : sizeof(double);
    const int is_sparse = rows->columns != NULL;
    const size_t start = is_sparse ? (size_t)rows->starts[i] : i*l->n_features;
    const size_t n = is_sparse ? (size_t)rows->starts[i + 1] - start : l->n_features;
    const char *data = (const char *)rows->data + start*item;
    for (size_t j = 0; j < n; j += PER_LINE) {
        __builtin_prefetch(data + j*item);
        __builtin_prefetch(data + j*item + CACHE_LINE);
        if (is_sparse)
            __builtin_prefetch(rows->columns + start + j);
    }
    __builtin_prefetch(&rows->targets[i]);
}

/* In lanes, whose order the compiler may not choose. The weights are those at `columns`, which are copied, unless that is NULL: in
 * one loop, because vectors that were just written number by number are slow to load. */
static inline __attribute__((always_inline)) double dot(const double *x, const double *weights, const int32_t *columns,
                                                        double *restrict copies, size_t n)
{
    double lanes[LANES] = {0}, rest = 0;
    size_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (size_t k = j; k < j + LANES; k++) {
            const double w = columns == NULL ? weights[k] : (copies[k] = weights[columns[k]]);
            lanes[k - j] += x[k]*w;
        }
    for (; j < n; j++) {
        const double w = columns == NULL ? weights[j] : (copies[j] = weights[columns[j]]);
        rest += x[j]*w;
    }
    for (size_t width = LANES/2; width > 0; width /= 2)
        for (size_t k = 0; k < width; k++)
            lanes[k] += lanes[k + width];
    return lanes[0] + rest;
}

/* The sums of several outputs, by weights that lie next to one another. */
static void add_products(const fl_row *row, const double *weights, double *sums, size_t n_outputs)
{
    for (size_t k = 0; k < n_outputs; k++)
        sums[k] = 0;
    for (size_t j = 0; j < row->n; j++)
        for (size_t k = 0; k < n_outputs; k++)
            sums[k] += row->x[j]*weights[j*n_outputs + k];
}

/* The scores of a row. Leaves the weights of a sparse row in l->copies. */
static void score(const fl_learner *l, const fl_row *row)
{
    if (l->n_outputs > 1 && row->columns != NULL)
        fl_gather_rows(l->copies, l->weights, row->n, row->columns, l->n_outputs);
    if (l->n_outputs > 1)
        add_products(row, row->columns != NULL ? l->copies : l->weights, l->scores, l->n_outputs);
    else
        l->scores[0] = row->columns != NULL ? dot(row->x, l->weights, row->columns, l->copies, row->n)
                                            : dot(row->x, l->weights, NULL, NULL, row->n);
    for (size_t k = 0; k < l->n_outputs; k++)
        l->scores[k] = l->decay*l->scores[k] + (l->intercept != NULL ? l->intercept[k] : 0);
}

/* Adds the gradient of a row's loss, whose slopes are given, to l->gradient. */
static void add_gradient(const fl_learner *l, const fl_row *row, const double *slopes)
{
    const size_t n_outputs = l->n_outputs;
    if (n_outputs == 1 && row->columns == NULL) {
        for (size_t j = 0; j < row->n; j++)
            l->gradient[j] += slopes[0]*row->x[j];
        return;
    }
    for (size_t j = 0; j < row->n; j++) {
        double *g = l->gradient + n_outputs*(row->columns == NULL ? j : (size_t)row->columns[j]);
        for (size_t k = 0; k < n_outputs; k++)
            g[k] += row->x[j]*slopes[k];
    }
}

/* ---- penalties ---- */

/* The gradient with that of l1*|w|: of the slopes that it has at 0 the one that makes the gradient smallest (Andrew & Gao 2007,
 * Scalable training of L1-regularized log-linear models, ICML). */
static double with_l1(double g, double w, double l1)
{
    if (w != 0)
        return w > 0 ? g + l1 : g - l1;
    return g > l1 ? g - l1 : g < -l1 ? g + l1 : 0;
}

/* A step does not take a weight across 0, where the slope of the penalty jumps, nor from 0 to where the gradient does not point. */
static double within_orthant(double now, double before, double g)
{
    return now*(before != 0 ? before : -g) > 0 ? now : 0;
}

/* Does to the weights of a feature what the penalty of the steps since it was last seen does; in units of l->decay. */
static void make_up(const fl_learner *l, size_t feature)
{
    const double pull = l->l1*(l->pull - l->pulls[feature]);
    for (double *w = l->weights + feature*l->n_outputs; pull > 0 && w < l->weights + (feature + 1)*l->n_outputs; w++)
        *w = fabs(*w) > pull ? *w - copysign(pull, *w) : 0;
    l->pulls[feature] = l->pull;
}

/* The averages of the steps since they were last settled join those before. */
static void settle_averages(fl_learner *l)
{
    const double steps = (double)l->n_lagging, total = (double)(l->n_averaged += l->n_lagging);
    for (size_t i = 0; l->n_lagging > 0 && i < l->n_features*l->n_outputs; i++) {
        l->average[i] += (l->weights[i]*l->mass - l->lags[i] - steps*l->average[i])/total;
        l->lags[i] = 0;
    }
    l->mass = 0;
    l->n_lagging = 0;
}

/* All weights as they are. */
static void settle(fl_learner *l)
{
    settle_averages(l);
    for (size_t j = 0; l->pulls != NULL && j < l->n_features; j++) {
        make_up(l, j);
        l->pulls[j] = 0;
    }
    double *weights = l->weights;
    const double decay = l->decay; /* which the compiler takes for one of the weights */
    for (size_t i = 0; decay != 1 && i < l->n_features*l->n_outputs; i++)
        weights[i] *= decay;
    l->decay = 1;
    l->pull = 0;
}

/* ---- steps ---- */

static double learning_rate(const fl_learner *l) { return fl_plan_current(l->plan)->hypers[l->lr]; }

static void step_all(fl_learner *l)
{
    const size_t n = l->n_features*l->n_outputs;
    if (l->l1 > 0) {
        memcpy(l->copies, l->weights, n*sizeof *l->copies);
        for (size_t i = 0; i < n; i++)
            l->gradient[i] = with_l1(l->gradient[i], l->weights[i], l->l1);
    }
    fl_plan_step(l->plan, l->settings);
    for (size_t i = 0; l->l1 > 0 && i < n; i++)
        l->weights[i] = within_orthant(l->weights[i], l->copies[i], l->gradient[i]);
}

/* What a step at what was seen has to add; gradient descent has l2 in the decay. */
static double penalty_to_add(const fl_learner *l) { return l->is_exact ? 0 : l->l2; }
static int adds_penalty(const fl_learner *l) { return l->l1 > 0 || penalty_to_add(l) > 0; }

/* Adds the penalty to l->compact, the gradient of what was seen. */
static void add_penalty(const fl_learner *l)
{
    const double l2 = penalty_to_add(l), l1 = l->l1*l->unit;
    for (size_t i = 0; i < l->n_seen*l->n_outputs; i++) {
        const double w = l->copies[i], g = l->compact[i] + l2*w;
        l->compact[i] = l1 > 0 ? with_l1(g, w, l1) : g;
    }
}

/* l->weights still has what was before the step. */
static void stay_in_orthant(const fl_learner *l)
{
    const size_t n_outputs = l->n_outputs;
    for (size_t i = 0; i < l->n_seen; i++)
        for (size_t k = i*n_outputs; k < (i + 1)*n_outputs; k++) {
            const double before = l->weights[(size_t)l->seen[i]*n_outputs + k - i*n_outputs];
            l->copies[k] = within_orthant(l->copies[k], before, l->compact[k]);
        }
}

/* The weights at what was seen are about to become l->copies. */
static void add_lags(const fl_learner *l)
{
    const size_t n_outputs = l->n_outputs;
    for (size_t i = 0; i < l->n_seen; i++)
        for (size_t k = 0, at = (size_t)l->seen[i]*n_outputs; k < n_outputs; k++)
            l->lags[at + k] += (l->copies[i*n_outputs + k] - l->weights[at + k])*l->mass;
}

static void average_intercept(const fl_learner *l, double share)
{
    for (size_t k = 0; l->intercept != NULL && k < l->n_outputs; k++)
        l->average_intercept[k] += share*(l->intercept[k] - l->average_intercept[k]);
}

/* A step of the weights of the features that were seen, which l->copies holds. The gradient of their loss is slope*gradient: of a
 * penalty to add, or under clip_value, slope is 1 and gradient l->compact. */
static void step_seen(fl_learner *l, const double *gradient, double slope)
{
    if (adds_penalty(l))
        add_penalty(l);
    if (l->is_exact) {
        const double lr = learning_rate(l);
        l->decay *= 1 - lr*l->l2;
        l->pull += lr*l->unit;
    }
    fl_plan_step_at(l->plan, l->settings, l->n_seen, l->seen, l->n_outputs, l->copies, gradient, slope);
    if (l->l1 > 0)
        stay_in_orthant(l);
    if (l->lags != NULL)
        add_lags(l);
    fl_scatter_rows(l->weights, l->copies, l->n_seen, l->seen, l->n_outputs);
    for (size_t i = 0; l->pulls != NULL && i < l->n_seen; i++)
        l->pulls[l->seen[i]] = l->pull;
    if (l->lags != NULL) {
        l->mass += l->decay;
        average_intercept(l, 1/(double)(l->n_averaged + ++l->n_lagging));
    }
    if (l->decay < (l->lags != NULL ? LEAST_DECAY_OF_SUMS : LEAST_DECAY))
        settle(l);
}

/* The features of a row, whose weights are about to be used, join those that were seen. */
static void see(fl_learner *l, const fl_row *row)
{
    for (size_t j = 0; j < row->n; j++) {
        const size_t feature = (size_t)row->columns[j];
        if (l->is_seen[feature])
            continue;
        l->is_seen[feature] = 1;
        l->seen_in_batch[l->n_seen++] = row->columns[j];
        if (l->pulls != NULL)
            make_up(l, feature);
    }
}

/* Moves the gradients of what was seen from l->gradient to l->compact. */
static void collect(fl_learner *l)
{
    const size_t n_outputs = l->n_outputs;
    for (size_t i = 0; i < l->n_seen; i++) {
        const size_t feature = (size_t)l->seen[i];
        memcpy(l->compact + i*n_outputs, l->gradient + feature*n_outputs, n_outputs*sizeof *l->compact);
        memset(l->gradient + feature*n_outputs, 0, n_outputs*sizeof *l->gradient);
        l->is_seen[feature] = 0;
    }
}

static void update_average(fl_learner *l)
{
    const double share = 1/(double)++l->n_averaged;
    for (size_t i = 0; i < l->n_features*l->n_outputs; i++)
        l->average[i] += share*(l->weights[i] - l->average[i]);
    average_intercept(l, share);
}

/* Row i with its share in the batch: its scores become slopes, by weights in units of what l->decay will be. Returns its loss.
 * Leaves a sparse row's weights in l->copies. */
static double examine(const fl_learner *l, const fl_rows *rows, size_t i, const fl_row *row, double share)
{
    const double weight = rows->weights == NULL ? 1 : rows->weights[i];
    score(l, row);
    const double loss = judge(l, l->scores, rows->targets[i]);
    for (size_t k = 0; k < l->n_outputs; k++)
        l->scores[k] *= weight*share;
    for (size_t k = 0; l->intercept != NULL && k < l->n_outputs; k++)
        l->intercept_gradient[k] += l->scores[k];
    for (size_t k = 0; k < l->n_outputs && l->unit != 1; k++)
        l->scores[k] *= l->unit;
    return weight*loss;
}

/* The products of a row's entries and the slopes: the gradient of its loss by the weights of its features. */
static void multiply(double *restrict gradient, const fl_row *row, const double *slopes, size_t n_outputs)
{
    const double slope = slopes[0];
    for (size_t j = 0; n_outputs == 1 && j < row->n; j++)
        gradient[j] = row->x[j]*slope;
    for (size_t j = 0; n_outputs > 1 && j < row->n; j++)
        for (size_t k = 0; k < n_outputs; k++)
            gradient[j*n_outputs + k] = row->x[j]*slopes[k];
}

/* A sparse row is a batch: its features are different, so nothing need be added up. */
static double learn_sparse_row(fl_learner *l, const fl_rows *rows, size_t i)
{
    const fl_row row = fetch(l, rows, i);
    l->seen = row.columns;
    l->n_seen = row.n;
    for (size_t j = 0; l->pulls != NULL && j < row.n; j++)
        make_up(l, (size_t)row.columns[j]);
    const double loss = examine(l, rows, i, &row, 1);
    if (l->n_outputs == 1 && !adds_penalty(l) && l->settings->clip_value == HUGE_VAL) {
        step_seen(l, row.x, l->scores[0]);
    } else {
        multiply(l->compact, &row, l->scores, l->n_outputs);
        step_seen(l, l->compact, 1);
    }
    return loss;
}

static double learn_sparse_batch(fl_learner *l, const fl_rows *rows, const size_t *order, size_t n)
{
    double total = 0;
    l->n_seen = 0;
    for (size_t i = 0; i < n; i++) {
        const fl_row row = fetch(l, rows, order[i]);
        see(l, &row);
        total += examine(l, rows, order[i], &row, 1/(double)n);
        add_gradient(l, &row, l->scores);
    }
    l->seen = l->seen_in_batch;
    collect(l);
    fl_gather_rows(l->copies, l->weights, l->n_seen, l->seen, l->n_outputs);
    step_seen(l, l->compact, 1);
    return total;
}

static double learn_batch(fl_learner *l, const fl_rows *rows, const size_t *order, size_t n, size_t n_left)
{
    double total = 0;
    for (size_t i = 0; i < l->n_features*l->n_outputs; i++)
        l->gradient[i] = l->l2*l->weights[i];
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n_left)
            prefetch(l, rows, order[i + AHEAD]);
        const fl_row row = fetch(l, rows, order[i]);
        total += examine(l, rows, order[i], &row, 1/(double)n);
        add_gradient(l, &row, l->scores);
    }
    step_all(l);
    if (l->average != NULL)
        update_average(l);
    return total;
}

/* Fisher and Yates, from the front: number i changes places with one of the i + 1 first, itself included. */
void fl_shuffle(size_t n, size_t *order, uint64_t key)
{
    for (size_t i = 0; i < n; i++) {
        const size_t place = (size_t)((double)(fl_draw(key, i) >> 11)*0x1p-53*(double)(i + 1));
        order[i] = order[place];
        order[place] = i;
    }
}

double fl_learn(fl_learner *l, const fl_rows *rows, size_t n, const size_t *order, size_t batch, const fl_timetable *timetable)
{
    double total = 0;
    for (size_t done = 0, k = 0; done < n; done += batch, k++) {
        const size_t size = n - done < batch ? n - done : batch;
        fl_plan_follow(l->plan, timetable, k);
        l->unit = l->is_exact ? 1/(l->decay*(1 - learning_rate(l)*l->l2)) : 1;
        for (size_t j = 0; l->intercept != NULL && j < l->n_outputs; j++)
            l->intercept_gradient[j] = 0;
        if (l->seen_in_batch == NULL) {
            total += learn_batch(l, rows, order + done, size, n - done);
        } else if (size > 1) {
            total += learn_sparse_batch(l, rows, order + done, size);
        } else {
            if (done + 2*AHEAD < n)
                __builtin_prefetch(&rows->starts[order[done + 2*AHEAD]]);
            if (done + AHEAD < n)
                prefetch(l, rows, order[done + AHEAD]);
            total += learn_sparse_row(l, rows, order[done]);
        }
    }
    settle(l);
    return total;
}
