/* The two passes over a tape, for n points at once: value i of point j is values[i*n + j]. Included with FL_TAPE, which makes
 * names, and FL_POINTS: `n`, or 1 for code that is made for a single point. */
#if !defined(FL_TAPE) || !defined(FL_POINTS) || !defined(FL_INDEPENDENT)
#error "define FL_TAPE, FL_POINTS and FL_INDEPENDENT before including tape.inc.h"
#endif

#define FL_EVERY_POINT FL_INDEPENDENT for (size_t i = 0; i < width; i++)

/* Inputs and constants are there; what the entries make of them follows. */
static void FL_TAPE(forward)(const fl_tape *tape, double *values, size_t n)
{
    const size_t width = FL_POINTS;
    const fl_entry *entry = tape->entries, *const end = entry + tape->n_entries;
    double *y = values + (tape->n_inputs + tape->n_constants)*width;
    (void)n;
    for (; entry < end; entry++, y += width) {
        const double *const at_a = values + entry->a*width, *const at_b = values + entry->b*width;
        switch (entry->operation) {
#define FL_UNARY(name, value, ...) \
    case FL_OP_##name: \
        FL_EVERY_POINT { \
            const double a = at_a[i]; \
            y[i] = value; \
        } \
        break;
#define FL_BINARY(name, value, ...) \
    case FL_OP_##name: \
        FL_EVERY_POINT { \
            const double a = at_a[i], b = at_b[i]; \
            y[i] = value; \
        } \
        break;
#include "operations.h"
        }
    }
}

/* adjoint: the derivative of the result by value i. That of the result and, as zeros, those of the inputs are there. */
static void FL_TAPE(reverse)(const fl_tape *tape, const double *values, double *adjoints, size_t n)
{
    const size_t width = FL_POINTS;
    const size_t first = tape->n_inputs + tape->n_constants;
    (void)n;
    for (size_t k = tape->n_entries; k-- > 0;) {
        const fl_entry *const entry = tape->entries + k;
        const double *const at_a = values + entry->a*width, *const at_b = values + entry->b*width;
        const double *const at_y = values + (first + k)*width, *const d = adjoints + (first + k)*width;
        double *const d_a = adjoints + entry->a*width, *const d_b = adjoints + entry->b*width;
        switch (entry->operation) {
#define FL_POINT(OPERATOR, target, slope) \
    FL_EVERY_POINT { \
        const double a = at_a[i], b = at_b[i], y = at_y[i]; \
        (void)a, (void)b, (void)y; \
        target[i] OPERATOR d[i]*(slope); \
    }
#define FL_OPERAND(ACTIVE, FRESH, target, slope) \
    if (entry->flags & FRESH) { \
        FL_POINT(=, target, slope) \
    } else if (entry->flags & ACTIVE) { \
        FL_POINT(+=, target, slope) \
    }
#define FL_UNARY(name, value, by_a, ...) \
    case FL_OP_##name: \
        FL_OPERAND(FL_ACTIVE_A, FL_FRESH_A, d_a, by_a) \
        break;
#define FL_BINARY(name, value, by_a, by_b, ...) \
    case FL_OP_##name: \
        FL_OPERAND(FL_ACTIVE_A, FL_FRESH_A, d_a, by_a) \
        FL_OPERAND(FL_ACTIVE_B, FL_FRESH_B, d_b, by_b) \
        break;
#include "operations.h"
#undef FL_OPERAND
#undef FL_POINT
        }
    }
}

#undef FL_EVERY_POINT
#undef FL_TAPE
#undef FL_POINTS
