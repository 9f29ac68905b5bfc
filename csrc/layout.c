/* Gather and scatter of strided, possibly unaligned arrays. */
#include "layout.h"
#include <string.h>

/* A position in the array, kept as the index along every dimension and the address. */
typedef struct {
    const fl_layout *layout;
    size_t index[FL_MAX_DIMS];
    ptrdiff_t offset;
} cursor;

static cursor cursor_at(const fl_layout *layout, size_t start)
{
    cursor c = {.layout = layout, .offset = 0};
    for (size_t d = layout->n_dims; d-- > 0;) {
        c.index[d] = start % layout->shape[d];
        start /= layout->shape[d];
        c.offset += (ptrdiff_t)c.index[d]*layout->strides[d];
    }
    return c;
}

/* Elements left in the innermost dimension. */
static size_t run_length(const cursor *c)
{
    const size_t last = c->layout->n_dims - 1;
    return c->layout->shape[last] - c->index[last];
}

static void advance(cursor *c, size_t n)
{
    size_t d = c->layout->n_dims - 1;
    c->index[d] += n;
    c->offset += (ptrdiff_t)n*c->layout->strides[d];
    while (d > 0 && c->index[d] == c->layout->shape[d]) {
        c->offset -= (ptrdiff_t)c->index[d]*c->layout->strides[d];
        c->index[d] = 0;
        d--;
        c->index[d]++;
        c->offset += c->layout->strides[d];
    }
}

static void copy_run(char *to, ptrdiff_t to_stride, const char *from, ptrdiff_t from_stride, size_t item_size, size_t n)
{
    /* Constant sizes make of each memcpy one move. */
#define COPY(size)                                                             \
    for (size_t i = 0; i < n; i++)                                             \
        memcpy(to + (ptrdiff_t)i*to_stride, from + (ptrdiff_t)i*from_stride, size)
    if (item_size == 2)
        COPY(2);
    else if (item_size == 4)
        COPY(4);
    else
        COPY(8);
#undef COPY
}

void fl_gather(void *buffer, const char *array, const fl_layout *layout, size_t item_size, size_t start, size_t n)
{
    if (layout == NULL) {
        memcpy(buffer, array + start*item_size, n*item_size);
        return;
    }
    cursor c = cursor_at(layout, start);
    for (char *out = buffer; n > 0;) {
        const size_t run = run_length(&c) < n ? run_length(&c) : n;
        copy_run(out, (ptrdiff_t)item_size, array + c.offset, layout->strides[layout->n_dims - 1], item_size, run);
        out += run*item_size;
        n -= run;
        advance(&c, run);
    }
}

void fl_scatter(char *array, const fl_layout *layout, const void *buffer, size_t item_size, size_t start, size_t n)
{
    if (layout == NULL) {
        memcpy(array + start*item_size, buffer, n*item_size);
        return;
    }
    cursor c = cursor_at(layout, start);
    for (const char *in = buffer; n > 0;) {
        const size_t run = run_length(&c) < n ? run_length(&c) : n;
        copy_run(array + c.offset, layout->strides[layout->n_dims - 1], in, (ptrdiff_t)item_size, item_size, run);
        in += run*item_size;
        n -= run;
        advance(&c, run);
    }
}
