/* The instruction sets: list them, choose one, force one by name. */
#include "kernels.h"

static const fl_kernels *const compiled[] = {
    &fl_kernels_baseline,
#ifdef FL_HAVE_X86
    &fl_kernels_avx2,
    &fl_kernels_avx512,
#endif
};
enum { N_COMPILED = sizeof compiled/sizeof *compiled };

static const fl_kernels *current = &fl_kernels_baseline;

const fl_kernels *fl_kernels_current(void) { return current; }

const char *fl_isa_name(size_t i) { return i < N_COMPILED ? compiled[i]->name : NULL; }

const char *fl_isa_current(void) { return current->name; }

int fl_isa_supported(size_t i)
{
    if (i == 0 || i >= N_COMPILED)
        return i == 0;
#ifdef FL_HAVE_X86
    /* These ask xgetbv too: an instruction set counts only if the operating system saves its registers. */
    __builtin_cpu_init();
    if (compiled[i] == &fl_kernels_avx2)
        return __builtin_cpu_supports("avx2") != 0;
    if (compiled[i] == &fl_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return 0;
}

int fl_isa_select(const char *name)
{
    for (size_t i = N_COMPILED; i-- > 0;)
        if (fl_isa_supported(i) && (name == NULL || strcmp(name, compiled[i]->name) == 0)) {
            current = compiled[i];
            return 0;
        }
    return -1;
}
