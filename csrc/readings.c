/* What six values of a function beside a point, on a line through it, say of a derivative; see src/fallline/readings.py.
 *
 * Typical sizes: one output, or some hundreds; one to ten readings along a line. */
#include "kernels.h"

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

void fl_read(const double *steps, const double *six, const double *four, double distance, size_t n_outputs, const double *change,
             const double *along, fl_reading *readings)
{
    for (size_t j = 0; j < n_outputs; j++) {
        fl_reading r = {.finite = 1, .constant = 1, .whole = HUGE_VAL, .odd = NAN};
        double rho[6], changes[7], rests[7], own[6], less = 0;
        for (size_t k = 0; k < 6; k++) {
            own[k] = change[k*n_outputs + j];
            rho[k] = own[k] - along[k*n_outputs + j];
            r.finite &= isfinite(rho[k]) != 0;
            r.constant &= own[k] == 0;
            r.yours += six[k]*along[k*n_outputs + j]/distance;
        }
        if (r.finite) {
            for (size_t k = 0; k < 6; k++) {
                r.residual += six[k]*rho[k]/distance;
                less += four[k]*rho[k]/distance;
            }
            r.truncation = fabs(r.residual - less);
            in_order(steps, own, changes);
            in_order(steps, rho, rests);
            find_noise(changes, rests, &r.whole, &r.odd);
            if (steps[0] == -steps[5]) { /* opposite points: what their sums say of curvature and kinks */
                const double one = rho[3] + rho[2], two = rho[4] + rho[1], three = rho[5] + rho[0];
                const double near = (4*one - two)/(2*distance), far = (9*one - three)/(6*distance);
                r.curvature = fabs(three)/(distance*distance);
                r.bend = fabs(near);
                r.bend_error = fabs(near - far);
            }
        }
        readings[j] = r;
    }
}
