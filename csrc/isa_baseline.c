/* The kernels for the compiler's default target: SSE2 on x86-64, NEON on aarch64. */
#include "kernels.h"

#define FL_ISA baseline
#include "kernels.inc.h"
