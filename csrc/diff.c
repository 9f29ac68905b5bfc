/* The arithmetic of numerical derivatives: stencils, differences of values, the noise of a function, extrapolation to step 0.
 *
 * Everything here is scalar and serial: a derivative's cost is the function's. Typical sizes: 2 to 14 nodes, 1 to 10^6 points. */
#include "kernels.h"

/* ---- stencils ---- */

static double factorial(size_t n)
{
    double product = 1;
    for (size_t i = 2; i <= n; i++)
        product *= (double)i;
    return product;
}

/* The coefficients of x^0 ... x^degree of the product of (x - nodes[j]) over all j but `omitted`. */
static void node_polynomial(size_t degree, size_t n, const double *nodes, size_t omitted, double *coefficients)
{
    coefficients[0] = 1;
    for (size_t i = 1; i <= degree; i++)
        coefficients[i] = 0;
    for (size_t j = 0; j < n; j++)
        if (j != omitted) {
            for (size_t i = degree; i > 0; i--)
                coefficients[i] = coefficients[i - 1] - nodes[j]*coefficients[i];
            coefficients[0] *= -nodes[j];
        }
}

/* The weight of a node is the derivative at 0 of its Lagrange polynomial. With integer nodes of a stencil's size, numerator and
 * denominator are integers below 2^53, so that the one division makes the only rounding. */
void fl_stencil(size_t order, size_t n, const double *nodes, double *weights)
{
    double coefficients[FL_MAX_NODES + 1];
    for (size_t k = 0; k < n; k++) {
        node_polynomial(order, n, nodes, k, coefficients);
        double denominator = 1;
        for (size_t j = 0; j < n; j++)
            if (j != k)
                denominator *= nodes[k] - nodes[j];
        weights[k] = factorial(order)*coefficients[order]/denominator;
    }
}

/* A stencil differentiates the polynomial through its nodes. That of x^n is x^n less the product of all (x - node); where the
 * nodes are symmetric, that product may lack x^order, and the next power, x*product, speaks. */
size_t fl_stencil_error(size_t order, size_t n, const double *nodes, double *constant)
{
    double coefficients[FL_MAX_NODES + 1];
    node_polynomial(order, n, nodes, n, coefficients);
    size_t power = n;
    double moment = coefficients[order];
    if (moment == 0 && order > 0) {
        power = n + 1;
        moment = coefficients[order - 1];
    }
    *constant = -factorial(order)*moment/factorial(power);
    return power - order;
}

/* ---- differences ---- */

void fl_difference(size_t n, const double *weights, const double *values, size_t n_outputs, double factor, double *out)
{
    for (size_t j = 0; j < n_outputs; j++) {
        /* The weights add up to 0, and values that are close have an exact difference: to subtract one of them first keeps the
         * rounding of the products as small as the differences are. */
        const double origin = values[j];
        double sum = 0;
        for (size_t k = 1; k < n; k++)
            sum += weights[k]*(values[k*n_outputs + j] - origin);
        out[j] = factor*sum;
    }
}

/* ---- noise ---- */

/* Differences of order k of noise alone have the variance sigma^2 (2k)!/(k!)^2, so that all levels agree; those of a smooth
 * function shrink from order to order, until noise is left. Moré and Wild also ask that the values vary by less than a tenth:
 * that would refuse every root. What a function does that is all noise at this distance, its levels tell. */
double fl_noise(size_t n, const double *values, fl_noise_status *status)
{
    double table[FL_MAX_NODES], level[FL_MAX_NODES], size = 0;
    int changes_sign[FL_MAX_NODES], exponent;
    size_t n_equal = 0;
    for (size_t i = 0; i < n; i++)
        size = fmax(size, fabs(values[i]));
    frexp(size, &exponent); /* values about 1 have squares that neither overflow nor vanish */
    for (size_t i = 0; i < n; i++) {
        table[i] = ldexp(values[i], -exponent);
        n_equal += i > 0 && values[i] == values[i - 1];
    }
    double gamma = 1;
    for (size_t k = 1; k < n; k++) {
        const size_t left = n - k;
        double squares = 0, least = HUGE_VAL, most = -HUGE_VAL;
        gamma *= (double)k/(2*(2*(double)k - 1));
        for (size_t i = 0; i < left; i++) {
            table[i] = table[i + 1] - table[i];
            squares += table[i]*table[i];
            least = fmin(least, table[i]);
            most = fmax(most, table[i]);
        }
        level[k - 1] = sqrt(gamma*squares/(double)left);
        changes_sign[k - 1] = least < 0 && most > 0;
    }
    *status = 2*n_equal >= n - 1 ? FL_NOISE_STEP_SMALL : FL_NOISE_STEP_LARGE;
    for (size_t k = 0; *status == FL_NOISE_STEP_LARGE && k + 3 < n; k++) {
        const double least = fmin(level[k], fmin(level[k + 1], level[k + 2]));
        const double most = fmax(level[k], fmax(level[k + 1], level[k + 2]));
        if (most <= 4*least && changes_sign[k]) {
            *status = FL_NOISE_FOUND;
            return ldexp(level[k], exponent);
        }
    }
    /* the last level is of one difference, which may be small by chance */
    return ldexp(fmax(level[n - 2], level[n - 3]), exponent);
}

/* ---- extrapolation ---- */

void fl_extrapolate(size_t n_levels, double ratio, size_t power, const double *differences, const double *roundoff,
                    size_t n_outputs, double *values, double *errors, size_t *levels)
{
    const double step_growth = pow(ratio, (double)power);
    for (size_t output = 0; output < n_outputs; output++) {
        double a[FL_MAX_NODES] = {0}, r[FL_MAX_NODES] = {0}; /* the table's last row, and how far rounding may have moved it */
        values[output] = NAN;
        errors[output] = HUGE_VAL;
        levels[output] = 0;
        for (size_t k = 0; k < n_levels; k++) {
            double above = a[0], above_r = r[0], growth = 1;
            a[0] = differences[k*n_outputs + output];
            r[0] = roundoff[k*n_outputs + output];
            for (size_t j = 1; j <= k; j++) {
                growth *= step_growth;
                const double next = a[j - 1] + (a[j - 1] - above)/(growth - 1);
                const double next_r = r[j - 1] + (r[j - 1] + above_r)/(growth - 1);
                const double error = fmax(fabs(next - a[j - 1]), fabs(next - above)) + next_r;
                if (j < k) {
                    above = a[j];
                    above_r = r[j];
                }
                a[j] = next;
                r[j] = next_r;
                if (error < errors[output]) {
                    values[output] = next;
                    errors[output] = error;
                    levels[output] = k;
                }
            }
        }
    }
}

/* ---- native functions ---- */

void fl_evaluate(fl_function *f, void *context, size_t n, double *x, size_t n_points, const size_t *starts, const size_t *index,
                 const double *moved, const double *base, double *values)
{
    for (size_t k = 0; k < n_points; k++) {
        if (index == NULL) {
            values[k] = f(moved + k*n, n, context);
            continue;
        }
        const size_t first = starts != NULL ? starts[k] : k, last = starts != NULL ? starts[k + 1] : k + 1;
        for (size_t m = first; m < last; m++)
            x[index[m]] = moved[m];
        values[k] = f(x, n, context);
        for (size_t m = first; m < last; m++)
            x[index[m]] = base[index[m]];
    }
}

void fl_differentiate(fl_function *f, void *context, size_t n, double *x, size_t n_lines, const size_t *index, const double *steps,
                      size_t order, size_t n_nodes, const double *nodes, const double *weights, double origin, double *out,
                      double *sizes, unsigned char *exact)
{
    for (size_t i = 0; i < n_lines; i++) {
        double values[FL_MAX_NODES], factor = 1, *entry = &x[index[i]];
        const double at = *entry, h = steps[i];
        exact[i] = 1;
        for (size_t k = 0; k < n_nodes; k++) {
            const volatile double reached = at + nodes[k]*h;
            exact[i] &= reached - at == nodes[k]*h;
        }
        if (!exact[i])
            continue;
        sizes[i] = 0;
        for (size_t k = 0; k < n_nodes; k++) {
            *entry = at + nodes[k]*h;
            values[k] = nodes[k] == 0 ? origin : f(x, n, context);
            if (!(fabs(values[k]) <= sizes[i])) /* fmax is a call */
                sizes[i] = fabs(values[k]);
        }
        *entry = at;
        for (size_t k = 0; k < order; k++)
            factor /= h;
        fl_difference(n_nodes, weights, values, 1, factor, &out[i]);
    }
}
