/* What six values of a function beside a point, on a line through it, say of a derivative; see src/fallline/readings.py.
 *
 * Typical sizes: one output, or some hundreds; one to ten readings along a line. */
#include "kernels.h"

void fl_random_units(size_t n, const double *random, const double *scales, double *units)
{
    for (size_t i = 0; i < n; i++) {
        const double some = 2*random[i] - 1;
        units[i] = scales[i]*(some + (some < 0 ? -0.5 : 0.5));
    }
}

void fl_points_along(size_t n, const double *at, const double *units, size_t n_points, const double *t, double *restrict points,
                     double *restrict taken)
{
    for (size_t k = 0; k < n_points; k++) {
        const double length = t[k];
        for (size_t i = 0; i < n; i++) {
            const double reached = at[i] + length*units[i];
            points[k*n + i] = reached;
            taken[k*n + i] = reached - at[i];
        }
    }
}

/* Put what belongs to six steps, and 0 for step 0, in the order of the steps. */
static void in_order(const double *steps, const double *parts, double *sorted)
{
    for (size_t k = 0; k <= 6; k++) {
        size_t rank = 0;
        for (size_t i = 0; i < 6; i++)
            rank += k < 6 ? steps[i] < steps[k] : steps[i] < 0;
        if (k < 6)
            sorted[rank + (steps[k] > 0)] = parts[k];
        else
            sorted[rank] = 0;
    }
}

/* The noise in `rests`, which is what is left of the changes, and in their odd part. Where most neighbouring values are equal, f
 * is rounded to some unit, and the noise is a third of that; where all are, nothing is known. */
static void find_noise(const double *changes, const double *rests, double *whole, double *odd)
{
    size_t n_equal = 0;
    double unit = HUGE_VAL, part[7];
    fl_noise_status status;
    for (size_t i = 0; i < 6; i++) {
        const double step = fabs(changes[i + 1] - changes[i]);
        n_equal += step == 0;
        if (step > 0)
            unit = fmin(unit, step);
    }
    if (2*n_equal > 6) { /* half of them are equal beside the kink of a ReLU */
        *whole = *odd = unit < HUGE_VAL ? unit/3 : NAN;
        return;
    }
    for (size_t i = 0; i < 7; i++)
        part[i] = (rests[i] - rests[6 - i])/2;
    *whole = fl_noise(7, rests, &status);
    *odd = fl_noise(7, part, &status);
}

/* What the values alone say; `change` is f at the steps less f at x. */
static fl_derivative differentiate(const fl_six *w, double distance, const double change[6], const double along[6])
{
    fl_derivative d = {.finite = 1, .constant = 1, .whole = HUGE_VAL, .odd = NAN};
    double rho[6], changes[7], rests[7], less = 0;
    for (size_t k = 0; k < 6; k++) {
        rho[k] = change[k] - along[k];
        d.finite &= isfinite(rho[k]) != 0;
        d.constant &= change[k] == 0;
        d.yours += w->six[k]*along[k]/distance;
    }
    if (d.finite) {
        for (size_t k = 0; k < 6; k++) {
            d.residual += w->six[k]*rho[k]/distance;
            less += w->four[k]*rho[k]/distance;
        }
        d.truncation = fabs(d.residual - less);
        in_order(w->steps, change, changes);
        in_order(w->steps, rho, rests);
        find_noise(changes, rests, &d.whole, &d.odd);
        if (w->steps[0] == -w->steps[5]) { /* opposite points: what their sums say of curvature and kinks */
            const double one = rho[3] + rho[2], two = rho[4] + rho[1], three = rho[5] + rho[0];
            const double near = (4*one - two)/(2*distance), far = (9*one - three)/(6*distance);
            d.curvature = fabs(three)/(distance*distance);
            d.bend = fabs(near);
            d.bend_error = fabs(near - far);
        }
    }
    d.numeric = d.yours + d.residual;
    return d;
}

/* The larger number, or NaN if one of them is. */
static double larger(double a, double b)
{
    return b > a || isnan(b) ? b : a;
}

/* What follows from the noise. */
static void conclude(fl_reading *r)
{
    double largest = 0;
    for (size_t j = 0; j < r->n_outputs; j++)
        largest = larger(largest, r->outputs[j].size);
    r->quality = r->bound = 0;
    r->is_bounded = r->is_right = r->is_noisy = 1;
    r->has_kink = 0;
    for (size_t j = 0; j < r->n_outputs; j++) {
        fl_derivative *d = &r->outputs[j];
        d->rounding = FL_WORST*r->gain*d->noise;
        d->kink_error = 2*d->bend_error + 4*FL_WORST*d->noise/r->distance;
        d->bound = FL_SAFETY*d->truncation + d->rounding + d->own;
        d->quality = d->bound > 0 ? d->bound/fmax(fmax(d->size, fabs(d->numeric)), 1e-3*largest) : 0;
        r->quality = larger(r->quality, d->quality);
        r->bound = larger(r->bound, d->bound);
        r->is_bounded &= isfinite(d->bound) != 0;
        r->is_right &= fabs(d->residual) <= d->bound;
        r->is_noisy &= d->rounding > d->own + FL_SAFETY*d->truncation;
        r->has_kink |= d->bend > 3*d->kink_error;
    }
    if (!r->is_bounded)
        r->quality = HUGE_VAL;
}

void fl_read(const fl_six *w, const fl_known *f, const double *values, const double *along, const double *sizes,
             const double *units, fl_reading *r)
{
    const size_t n = r->n_outputs;
    int moves = 0;
    r->gain = w->norm/r->distance;
    r->finite = r->constant = 1;
    r->is_wild = 0;
    for (size_t j = 0; j < n; j++) {
        double change[6], own[6], most = NAN;
        for (size_t k = 0; k < 6; k++) {
            change[k] = values[k*n + j] - f->value[j];
            own[k] = along[k*n + j];
            most = fmax(most, fabs(change[k]));
            moves |= own[k] != 0;
        }
        fl_derivative d = differentiate(w, r->distance, change, own);
        const double rounding = f->eps*(fabs(f->value[j]) + most)/4;
        if (units != NULL) {
            d.whole = fmax(d.whole, units[j]);
            d.odd = fmax(d.odd, units[j]);
        }
        d.size = sizes[j];
        d.own = FL_SUMMANDS*f->eps_of_yours*(d.size + d.curvature);
        d.noise = fmax(rounding, d.whole);
        r->is_wild |= d.odd > FL_WILD*4/f->eps*rounding;
        r->finite &= d.finite;
        r->constant &= d.constant;
        r->outputs[j] = d;
    }
    r->is_stuck = r->constant && moves;
    conclude(r);
}

void fl_distrust(fl_reading *r)
{
    for (size_t j = 0; j < r->n_outputs; j++)
        r->outputs[j].whole = r->outputs[j].noise = HUGE_VAL;
    conclude(r);
}

/* Whether two readings at very different distances find the same kink; noise bends like 1/distance. */
static int same_bend(const fl_reading *a, const fl_reading *b, size_t j)
{
    const fl_derivative *p = &a->outputs[j], *q = &b->outputs[j];
    const double least = fmin(p->bend, q->bend)/8;
    const int far = fmax(a->distance, b->distance) > 4*fmin(a->distance, b->distance);
    return far && p->bend_error < least && q->bend_error < least && fabs(p->bend - q->bend) < least;
}

/* The least noise that any of the readings found. It is the same at every distance, and what a kink at x puts into the table falls
 * with the distance. */
static double least_noise(size_t n, fl_reading *const *readings, size_t j)
{
    double least = HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        least = -larger(-least, -readings[i]->outputs[j].whole);
        for (size_t k = 0; k < i; k++)
            if (same_bend(readings[k], readings[i], j))
                return 0;
    }
    return least;
}

void fl_settle(size_t n, fl_reading *const *readings, const fl_known *f)
{
    for (size_t j = 0; j < readings[0]->n_outputs; j++) {
        const double least = least_noise(n, readings, j);
        for (size_t i = 0; i < n; i++) {
            fl_derivative *d = &readings[i]->outputs[j];
            double seen = fmax(least, f->noise[j]);
            for (size_t k = 0; k < n; k++) /* what a kink nearby puts into the table is gone at smaller distances */
                if (readings[k]->distance <= readings[i]->distance)
                    seen = fmax(seen, readings[k]->outputs[j].odd);
            if (!isnan(f->given))
                seen = f->given;
            /* what terms of this size are rounded by does not cancel where they do */
            const double floor = f->eps*fmax(fabs(f->value[j]), d->size)/4;
            d->noise = isinf(d->whole) ? HUGE_VAL : fmax(isfinite(seen) ? seen : 0, floor);
        }
    }
    for (size_t i = 0; i < n; i++)
        conclude(readings[i]);
}
