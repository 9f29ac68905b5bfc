/* The memory-traffic limit: move the bytes an optimizer's step must move, and do nothing else.
 *
 * Independent of fallline: plain C and pthreads, compiled by limit.py when the benchmarks run. Every element of `kept`
 * is read, every element of `changed` is read and written back with the value it had, so a limit can be measured on the
 * very arrays of the optimizer it judges. Volatile vectors keep the compiler from dropping loads and stores that change
 * nothing.
 */
#include <pthread.h>
#include <stddef.h>

enum { MAX_THREADS = 64, MAX_ARRAYS = 8, FLOATS = 16 };
typedef float vec __attribute__((vector_size(4 * FLOATS), aligned(4)));

typedef struct {
    float *changed[MAX_ARRAYS];
    const float *kept;
    size_t begin, end;
    int count;
} span;

static inline __attribute__((always_inline)) void move(const span *s, int count)
{
    size_t i = s->begin;

    for (; i + FLOATS <= s->end; i += FLOATS) {
        if (s->kept)
            (void)*(const volatile vec *)(s->kept + i);
        for (int k = 0; k < count; k++) {
            volatile vec *x = (volatile vec *)(s->changed[k] + i);
            *x = *x;
        }
    }
}

/* One loop for each number of arrays: a loop over a variable number would cost more than the memory. */
static void *run(void *argument)
{
    const span *s = argument;

    switch (s->count) {
    case 0: move(s, 0); break;
    case 1: move(s, 1); break;
    case 2: move(s, 2); break;
    case 3: move(s, 3); break;
    case 4: move(s, 4); break;
    case 5: move(s, 5); break;
    case 6: move(s, 6); break;
    case 7: move(s, 7); break;
    case 8: move(s, 8); break;
    }
    return NULL;
}

/* Move n floats of each array with `threads` threads, each an equal part, the caller being one of them; a few floats at
 * the ends of the parts are left out. `kept` may be NULL. Returns 0, or -1 if the arguments or a thread are refused. */
int limit_move(float *const *changed, int count, const float *kept, size_t n, int threads)
{
    span spans[MAX_THREADS];
    pthread_t workers[MAX_THREADS];
    int started = 1;

    if (count < 0 || count > MAX_ARRAYS || threads < 1 || threads > MAX_THREADS)
        return -1;
    for (int t = 0; t < threads; t++) {
        spans[t] = (span){.kept = kept, .count = count, .begin = n / threads * t, .end = n / threads * (t + 1)};
        for (int k = 0; k < count; k++)
            spans[t].changed[k] = changed[k];
    }
    while (started < threads && pthread_create(&workers[started], NULL, run, &spans[started]) == 0)
        started++;
    run(&spans[0]);
    for (int t = 1; t < started; t++)
        pthread_join(workers[t], NULL);
    return started == threads ? 0 : -1;
}
