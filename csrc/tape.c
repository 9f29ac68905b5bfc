/* Compiled expressions: values, exact gradients (reverse mode) and Hessians (forward over reverse) of a tape.
 *
 * No code is made at run time. One point is evaluated entry by entry; many are evaluated in blocks, so that each entry is a
 * loop over points, which the compiler vectorises, in memory that stays in the cache. Both give the same bits, whatever the
 * instruction set and the number of threads.
 *
 * Typical sizes: 1 to 10 inputs, 10 to 100 entries; 10^5 entries work. */
#include "kernels.h"
#include <stdlib.h>

#define FL_INDEPENDENT
#define FL_TAPE(name) FL_PASTE(name, at_one_point)
#define FL_POINTS 1
#include "tape.inc.h"

enum {
    BLOCK_VALUES = 2048, /* numbers in a block: with as many adjoints they stay in the first-level cache */
    MIN_WIDTH = 8,       /* points in a block: a vector's worth */
    MAX_WIDTH = 256,
    CHUNK = 4096,        /* points that a thread takes at once */
    CACHE_LINE = 64
};

struct fl_scratch {
    const fl_tape *tape;
    double *adjoints;
    double values[];
};

static const struct {
    const char *name;
    size_t n_operands;
} operations[] = {
#define FL_UNARY(name, ...) {#name, 1},
#define FL_BINARY(name, ...) {#name, 2},
#include "operations.h"
};

const char *fl_operation(size_t i, size_t *n_operands)
{
    if (i >= FL_N_OPERATIONS)
        return NULL;
    if (n_operands != NULL)
        *n_operands = operations[i].n_operands;
    return operations[i].name;
}

static size_t count(const fl_tape *tape) { return tape->n_inputs + tape->n_constants + tape->n_entries; }

/* ---- making one ---- */

/* Which operands depend on an input. */
static void mark_active(const fl_tape *tape, fl_entry *entries, unsigned char *active)
{
    const size_t first = tape->n_inputs + tape->n_constants;
    memset(active, 1, tape->n_inputs);
    memset(active + tape->n_inputs, 0, tape->n_constants);
    for (size_t k = 0; k < tape->n_entries; k++) {
        fl_entry *entry = entries + k;
        if (active[entry->a])
            entry->flags |= FL_ACTIVE_A;
        if (operations[entry->operation].n_operands == 2 && active[entry->b])
            entry->flags |= FL_ACTIVE_B;
        active[first + k] = entry->flags != 0;
    }
}

/* Which operands the reverse pass, which goes backwards, comes to for the first time. The inputs begin with zeros. What leads
 * nowhere must be skipped, since nothing is put into its adjoint. */
static void mark_fresh(const fl_tape *tape, fl_entry *entries, unsigned char *seen)
{
    const size_t first = tape->n_inputs + tape->n_constants;
    memset(seen, 0, count(tape));
    memset(seen, 1, tape->n_inputs);
    seen[tape->result] = 1;
    for (size_t k = tape->n_entries; k-- > 0;) {
        fl_entry *entry = entries + k;
        if (!seen[first + k])
            entry->flags = 0;
        if ((entry->flags & FL_ACTIVE_A) && !seen[entry->a]) {
            entry->flags |= FL_FRESH_A;
            seen[entry->a] = 1;
        }
        if ((entry->flags & FL_ACTIVE_B) && !seen[entry->b]) {
            entry->flags |= FL_FRESH_B;
            seen[entry->b] = 1;
        }
    }
}

fl_tape *fl_tape_new(size_t n_inputs, size_t n_constants, const double *constants, size_t n_instructions,
                     const fl_instruction *instructions, size_t result)
{
    const size_t n_values = n_inputs + n_constants + n_instructions;
    fl_tape *tape = malloc(sizeof *tape + n_constants*sizeof *constants + n_instructions*sizeof *tape->entries);
    unsigned char *marks = malloc(n_values + 1);
    if (tape == NULL || marks == NULL) {
        free(tape);
        free(marks);
        return NULL;
    }
    double *own_constants = (double *)(tape + 1);
    fl_entry *entries = (fl_entry *)(own_constants + n_constants);
    *tape = (fl_tape){.n_inputs = n_inputs, .n_constants = n_constants, .n_entries = n_instructions, .result = result,
                      .constants = own_constants, .entries = entries, .n_owners = 1};
    if (n_constants > 0)
        memcpy(own_constants, constants, n_constants*sizeof *constants);
    for (size_t k = 0; k < n_instructions; k++) {
        const uint32_t operation = instructions[k].operation;
        const uint32_t b = operations[operation].n_operands == 2 ? instructions[k].b : instructions[k].a;
        entries[k] = (fl_entry){.operation = (uint8_t)operation, .a = instructions[k].a, .b = b};
    }
    mark_active(tape, entries, marks);
    mark_fresh(tape, entries, marks);
    free(marks);
    return tape;
}

fl_tape *fl_tape_share(fl_tape *tape)
{
    atomic_fetch_add(&tape->n_owners, 1);
    return tape;
}

void fl_tape_free(fl_tape *tape)
{
    if (tape == NULL || atomic_fetch_sub(&tape->n_owners, 1) > 1)
        return;
    free(atomic_load(&tape->spare));
    free(tape);
}

/* ---- one point ---- */

fl_scratch *fl_tape_take(fl_tape *tape)
{
    fl_scratch *scratch = atomic_exchange(&tape->spare, NULL);
    if (scratch != NULL)
        return scratch;
    scratch = malloc(sizeof *scratch + 2*count(tape)*sizeof *scratch->values);
    if (scratch == NULL)
        return NULL;
    scratch->tape = tape;
    scratch->adjoints = scratch->values + count(tape);
    if (tape->n_constants > 0)
        memcpy(scratch->values + tape->n_inputs, tape->constants, tape->n_constants*sizeof *tape->constants);
    return scratch;
}

void fl_tape_give(fl_tape *tape, fl_scratch *scratch) { free(atomic_exchange(&tape->spare, scratch)); }

double *fl_scratch_x(fl_scratch *scratch) { return scratch->values; }

double fl_tape_evaluate(const double *x, size_t n, double *gradient, void *context)
{
    fl_scratch *scratch = context;
    const fl_tape *tape = scratch->tape;
    if (x != scratch->values)
        for (size_t i = 0; i < n; i++)
            scratch->values[i] = x[i];
    forward_at_one_point(tape, scratch->values, 1);
    if (gradient != NULL) {
        for (size_t i = 0; i < n; i++)
            scratch->adjoints[i] = 0;
        scratch->adjoints[tape->result] = 1;
        reverse_at_one_point(tape, scratch->values, scratch->adjoints, 1);
        for (size_t i = 0; i < n; i++)
            gradient[i] = scratch->adjoints[i];
    }
    return scratch->values[tape->result];
}

double fl_tape_value(const double *x, size_t n, void *context)
{
    fl_tape *tape = context;
    fl_scratch *scratch = n == tape->n_inputs ? fl_tape_take(tape) : NULL;
    if (scratch == NULL)
        return NAN;
    const double value = fl_tape_evaluate(x, n, NULL, scratch);
    fl_tape_give(tape, scratch);
    return value;
}

double fl_tape_integrand(int n, double *x, void *context) { return fl_tape_value(x, (size_t)n, context); }

/* ---- second derivatives ---- */

/* The derivative of every value along one direction of the inputs, which is there. */
static void push_tangents(const fl_tape *tape, const double *values, double *tangents)
{
    const size_t first = tape->n_inputs + tape->n_constants;
    for (size_t k = 0; k < tape->n_entries; k++) {
        const fl_entry *entry = tape->entries + k;
        const double a = values[entry->a], b = values[entry->b], y = values[first + k];
        const int has_a = entry->flags & FL_ACTIVE_A, has_b = entry->flags & FL_ACTIVE_B;
        double tangent = 0;
        (void)b, (void)y;
        switch (entry->operation) {
#define FL_UNARY(name, value, by_a, ...) \
    case FL_OP_##name: \
        if (has_a) \
            tangent = (by_a)*tangents[entry->a]; \
        break;
#define FL_BINARY(name, value, by_a, by_b, ...) \
    case FL_OP_##name: \
        if (has_a) \
            tangent = (by_a)*tangents[entry->a]; \
        if (has_b) \
            tangent += (by_b)*tangents[entry->b]; \
        break;
#include "operations.h"
        }
        tangents[first + k] = tangent;
    }
}

/* The derivative of every adjoint along that direction; those of the inputs are a column of the Hessian. Begins with zeros. */
static void pull_tangents(const fl_tape *tape, const double *values, const double *adjoints, const double *tangents,
                          double *columns)
{
    const size_t first = tape->n_inputs + tape->n_constants;
    for (size_t k = tape->n_entries; k-- > 0;) {
        const fl_entry *entry = tape->entries + k;
        const double a = values[entry->a], b = values[entry->b], y = values[first + k];
        const int has_a = entry->flags & FL_ACTIVE_A, has_b = entry->flags & FL_ACTIVE_B;
        const double d = adjoints[first + k], d_d = columns[first + k];
        const double t_a = tangents[entry->a], t_b = tangents[entry->b];
        (void)b, (void)y, (void)t_b;
        switch (entry->operation) {
#define FL_UNARY(name, value, by_a, by_aa) \
    case FL_OP_##name: \
        if (has_a) \
            columns[entry->a] += d_d*(by_a) + d*((by_aa)*t_a); \
        break;
#define FL_BINARY(name, value, by_a, by_b, by_aa, by_ab, by_bb) \
    case FL_OP_##name: \
        if (has_a) \
            columns[entry->a] += d_d*(by_a) + d*((by_aa)*t_a + (has_b ? (by_ab)*t_b : 0)); \
        if (has_b) \
            columns[entry->b] += d_d*(by_b) + d*((has_a ? (by_ab)*t_a : 0) + (by_bb)*t_b); \
        break;
#include "operations.h"
        }
    }
}

fl_status fl_tape_hessian(const fl_tape *tape, const double *x, double *hessian)
{
    const size_t n = tape->n_inputs, n_values = count(tape);
    double *values = calloc(4*n_values + 1, sizeof *values);
    if (values == NULL)
        return FL_NO_MEMORY;
    double *adjoints = values + n_values, *tangents = adjoints + n_values, *columns = tangents + n_values;
    if (n > 0)
        memcpy(values, x, n*sizeof *x);
    if (tape->n_constants > 0)
        memcpy(values + n, tape->constants, tape->n_constants*sizeof *values);
    forward_at_one_point(tape, values, 1);
    adjoints[tape->result] = 1;
    reverse_at_one_point(tape, values, adjoints, 1);
    for (size_t i = 0; i < n; i++) {
        memset(columns, 0, n_values*sizeof *columns);
        for (size_t j = 0; j < n; j++)
            tangents[j] = i == j;
        push_tangents(tape, values, tangents);
        pull_tangents(tape, values, adjoints, tangents, columns);
        for (size_t j = i; j < n; j++)
            hessian[i*n + j] = hessian[j*n + i] = columns[j];
    }
    free(values);
    return FL_OK;
}

/* ---- many points ---- */

typedef struct {
    const fl_tape *tape;
    size_t n_points, width;
    const char *x;
    ptrdiff_t point_stride, input_stride;
    double *values, *gradients;
    double *scratch; /* for each task: values and adjoints of a block */
    atomic_size_t next;
} fl_batch;

static void take_inputs(const fl_batch *batch, const fl_kernels *kernels, size_t first, size_t n, double *block)
{
    const size_t n_inputs = batch->tape->n_inputs;
    const ptrdiff_t item = (ptrdiff_t)sizeof *block, row = (ptrdiff_t)n_inputs*item;
    const char *x = batch->x + (ptrdiff_t)first*batch->point_stride;
    if (batch->input_stride == item && batch->point_stride == row) {
        const ptrdiff_t ahead = row*(ptrdiff_t)batch->width;
        for (ptrdiff_t k = ahead; k < 2*ahead; k += CACHE_LINE)
            __builtin_prefetch(x + k);
        kernels->to_columns((const double *)x, n_inputs, n, block);
        return;
    }
    for (size_t j = 0; j < n_inputs; j++)
        for (size_t i = 0; i < n; i++)
            block[j*n + i] = *(const double *)(x + (ptrdiff_t)i*batch->point_stride + (ptrdiff_t)j*batch->input_stride);
}

static void evaluate_block(const fl_batch *batch, size_t first, size_t n, double *block, double *adjoints)
{
    const fl_tape *tape = batch->tape;
    const fl_kernels *kernels = fl_kernels_current();
    const size_t n_inputs = tape->n_inputs;
    take_inputs(batch, kernels, first, n, block);
    kernels->forward(tape, block, n);
    if (batch->values != NULL)
        memcpy(batch->values + first, block + tape->result*n, n*sizeof *block);
    if (batch->gradients == NULL)
        return;
    memset(adjoints, 0, n_inputs*n*sizeof *adjoints);
    for (size_t i = 0; i < n; i++)
        adjoints[tape->result*n + i] = 1;
    kernels->reverse(tape, block, adjoints, n);
    kernels->to_rows(adjoints, n_inputs, n, batch->gradients + first*n_inputs);
}

static void fill_constants(const fl_tape *tape, size_t n, double *block)
{
    for (size_t j = 0; j < tape->n_constants; j++)
        for (size_t i = 0; i < n; i++)
            block[(tape->n_inputs + j)*n + i] = tape->constants[j];
}

static void evaluate_chunks(void *context, size_t task)
{
    fl_batch *batch = context;
    const size_t n_values = count(batch->tape)*batch->width;
    const size_t width = batch->width, chunk = CHUNK/width*width;
    double *block = batch->scratch + 2*task*n_values;
    size_t filled = 0;
    for (size_t first; (first = atomic_fetch_add(&batch->next, chunk)) < batch->n_points;) {
        const size_t end = batch->n_points - first < chunk ? batch->n_points : first + chunk;
        for (; first < end; first += width) {
            const size_t n = end - first < width ? end - first : width;
            if (n != filled)
                fill_constants(batch->tape, filled = n, block);
            evaluate_block(batch, first, n, block, block + n_values);
        }
    }
}

static size_t block_width(const fl_tape *tape)
{
    const size_t width = BLOCK_VALUES/(count(tape) + 1)/MIN_WIDTH*MIN_WIDTH;
    return width < MIN_WIDTH ? MIN_WIDTH : width > MAX_WIDTH ? MAX_WIDTH : width;
}

fl_status fl_tape_batch(const fl_tape *tape, size_t n_points, const char *x, ptrdiff_t point_stride, ptrdiff_t input_stride,
                        double *values, double *gradients, size_t threads)
{
    const size_t n_chunks = (n_points + CHUNK - 1)/CHUNK, n_tasks = threads < n_chunks ? threads : n_chunks;
    fl_batch batch = {tape, n_points, block_width(tape), x, point_stride, input_stride, values, gradients, NULL, 0};
    if (n_points == 0)
        return FL_OK;
    batch.scratch = malloc(2*n_tasks*count(tape)*batch.width*sizeof *batch.scratch + 1);
    if (batch.scratch == NULL)
        return FL_NO_MEMORY;
    fl_pool_run(threads, n_tasks, evaluate_chunks, &batch);
    free(batch.scratch);
    return FL_OK;
}
