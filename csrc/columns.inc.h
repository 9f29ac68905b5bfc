/* Points as rows of m numbers, and the same as m columns of n: callers have the first, blocks of a tape work in the second.
 * For few columns the compiler is told how many there are: it makes shuffles of whole vectors of it. */
#ifndef FL_INDEPENDENT
#error "define FL_INDEPENDENT before including columns.inc.h"
#endif

#define FL_ROWS(m, to, from) \
    FL_INDEPENDENT for (size_t i = 0; i < n; i++) \
        for (size_t j = 0; j < m; j++) \
            to = from;
#define FL_BY_WIDTH(to, from) \
    switch (m) { \
    case 1: FL_ROWS(1, to, from) break; \
    case 2: FL_ROWS(2, to, from) break; \
    case 3: FL_ROWS(3, to, from) break; \
    case 4: FL_ROWS(4, to, from) break; \
    default: FL_ROWS(m, to, from) \
    }

static void to_columns(const double *restrict rows, size_t m, size_t n, double *restrict columns)
{
    FL_BY_WIDTH(columns[j*n + i], rows[i*m + j])
}

static void to_rows(const double *restrict columns, size_t m, size_t n, double *restrict rows)
{
    FL_BY_WIDTH(rows[i*m + j], columns[j*n + i])
}

#undef FL_BY_WIDTH
#undef FL_ROWS
