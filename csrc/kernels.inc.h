/* The body of one instruction set: every loop, once. Included by isa_*.c with FL_ISA defined, between pragmas that tell the
 * compiler what it may use. No vector code by hand: the compiler vectorises all of it. */
#ifndef FL_ISA
#error "define FL_ISA before including kernels.inc.h"
#endif

#define FL_FN(name) FL_PASTE(name, FL_PRECISION)
#if defined(__clang__)
#define FL_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define FL_INDEPENDENT _Pragma("GCC ivdep")
#endif

#define real float
#define FL_PRECISION single
#define FL_BITS uint32_t
#define FL_INFINITY_BITS 0x7f800000u
#include "step.inc.h"
#include "reduce.inc.h"
#undef real
#undef FL_PRECISION
#undef FL_BITS
#undef FL_INFINITY_BITS

#define real double
#define FL_PRECISION double
#define FL_BITS uint64_t
#define FL_INFINITY_BITS 0x7ff0000000000000u
#include "step.inc.h"
#include "reduce.inc.h"
#undef real
#undef FL_PRECISION
#undef FL_BITS
#undef FL_INFINITY_BITS

#include "codec.inc.h"
#include "columns.inc.h"

#define FL_TAPE(name) FL_PASTE(tape, name)
#define FL_POINTS n
#include "tape.inc.h"

const fl_kernels FL_PASTE(fl_kernels, FL_ISA) = {
    .name = FL_STRING(FL_ISA),
    .step = {
#define FL_RULE(name, ...) [FL_PASTE(FL_RULE, name)] = {FL_PASTE(name, single), FL_PASTE(name, double)},
#define FL_RULE_WITH_NORMS FL_RULE
#include "rules.h"
    },
    .measure = {
#define FL_RULE(name, ...)
#define FL_RULE_WITH_NORMS(name, ...) \
    [FL_PASTE(FL_RULE, name)] = {FL_PASTE(FL_PASTE(name, measure), single), FL_PASTE(FL_PASTE(name, measure), double)},
#include "rules.h"
    },
    .dress = {dress_single, dress_double},
    .finite = {finite_single, finite_double},
    .squares = {squares_single, squares_double},
    .decode = {[FL_FLOAT16] = decode_float16, [FL_BFLOAT16] = decode_bfloat16},
    .encode = {[FL_FLOAT16] = encode_float16, [FL_BFLOAT16] = encode_bfloat16},
    .forward = tape_forward,
    .reverse = tape_reverse,
    .to_columns = to_columns,
    .to_rows = to_rows,
    .dither = {[FL_FLOAT16] = dither_float16, [FL_BFLOAT16] = dither_bfloat16},
};

#undef FL_FN
#undef FL_INDEPENDENT
