/* The table of rules: their names, and the parts that run once per tensor and step, in double.
 *
 * Compiled once, for the baseline, so that constants have the same bits whatever instruction set the loops use. */
#include "kernels.h"

#define HYPER(...) (__VA_ARGS__)
#define RUNNING(...) (__VA_ARGS__)
#define STATE(...) (__VA_ARGS__)
#define DERIVED(...) (__VA_ARGS__)
#define START(...) __VA_ARGS__
#define PREPARE(...) __VA_ARGS__
#define UPDATE(...)
#define MOMENTS(...)
#define DIRECTION(...)
#define NORMS(...)
#define RATIO(...) __VA_ARGS__

#define SELECT(condition, a, b) ((condition) ? (a) : (b))
#define MIN(a, b) fl_min((a), (b))
#define MAX(a, b) fl_max((a), (b))
#define TIMES(a, b) fl_times((a), (b))

static inline double fl_min(double a, double b) { return a < b ? a : b; }
static inline double fl_max(double a, double b) { return a > b ? a : b; }
/* A running product. 0.9*5e-324 rounds to 5e-324, for ever, and a step with subnormal numbers takes 100 ns longer. */
static inline double fl_times(double a, double b) { return a*b < DBL_MIN ? 0 : a*b; }

#define FL_NAME_OF(x) #x,
#define FL_COUNT_OF(x) +1
#define FL_UNUSED(x) (void)x;
#define FL_FROM_HYPERS(x) double x = *hypers_++;
#define FL_FROM_RUNNING(x) double x = *from_++;
#define FL_TO_RUNNING(x) *running_++ = x;
#define FL_NEW(x) double x = 0;
#define FL_TO_STATES(x) *states_++ = x;
#define FL_FROM_CONSTANTS(x) const double x = *constants_++;
#define FL_TO_CONSTANTS(x) *constants_++ = x;

#define FL_NAMES_AND_START(name, hyper, running, state, derived, start, prepare)                               \
    static const char *const FL_PASTE(name, hyper_names)[] = {FL_LIST(FL_NAME_OF, hyper) NULL};                     \
    static const char *const FL_PASTE(name, running_names)[] = {"t", FL_LIST(FL_NAME_OF, running) NULL};             \
    static const char *const FL_PASTE(name, state_names)[] = {FL_LIST(FL_NAME_OF, state) NULL};                     \
    static void FL_PASTE(name, begin)(const double *hypers_, double *running_, double *states_)                \
    {                                                                                                          \
        FL_LIST(FL_FROM_HYPERS, hyper)                                                                         \
        FL_LIST(FL_NEW, running)                                                                               \
        FL_LIST(FL_NEW, state)                                                                                 \
        start                                                                                                  \
        *running_++ = 0;                                                                                       \
        FL_LIST(FL_TO_RUNNING, running)                                                                        \
        FL_LIST(FL_TO_STATES, state)                                                                           \
        FL_LIST(FL_UNUSED, hyper)                                                                              \
        (void)hypers_, (void)running_, (void)states_;                                                          \
    }                                                                                                          \
    static void FL_PASTE(name, constants)(const double *hypers_, double *running_, double *constants_)           \
    {                                                                                                          \
        const double *from_ = running_;                                                                        \
        const double t = *from_++ + 1;                                                                         \
        FL_LIST(FL_FROM_HYPERS, hyper)                                                                         \
        FL_LIST(FL_FROM_RUNNING, running)                                                                      \
        FL_LIST(FL_NEW, derived)                                                                               \
        prepare                                                                                                \
        *running_++ = t;                                                                                       \
        FL_LIST(FL_TO_RUNNING, running)                                                                        \
        FL_LIST(FL_TO_CONSTANTS, hyper)                                                                        \
        FL_LIST(FL_TO_CONSTANTS, derived)                                                                      \
        (void)hypers_, (void)running_, (void)constants_, (void)from_;                                          \
    }                                                                                                          \
    _Static_assert((0 FL_LIST(FL_COUNT_OF, hyper)) <= FL_MAX_HYPERS, #name ": too many hyperparameters");      \
    _Static_assert((1 FL_LIST(FL_COUNT_OF, running)) <= FL_MAX_RUNNING, #name ": too many running numbers");   \
    _Static_assert((0 FL_LIST(FL_COUNT_OF, state)) <= FL_MAX_STATES, #name ": too many states");               \
    _Static_assert((0 FL_LIST(FL_COUNT_OF, hyper) FL_LIST(FL_COUNT_OF, derived)) <= FL_MAX_CONSTANTS,          \
                   #name ": too many constants");

#define FL_RULE(name, hyper, running, state, derived, start, prepare, update) \
    FL_NAMES_AND_START(name, hyper, running, state, derived, start, prepare)
#define FL_RULE_WITH_NORMS(name, hyper, running, state, derived, start, prepare, moments, direction, norms, ratio, update) \
    FL_NAMES_AND_START(name, hyper, running, state, derived, start, prepare)                                   \
    static double FL_PASTE(name, quotient)(const double *constants_, double x, double y)                          \
    {                                                                                                          \
        double q = 1;                                                                                          \
        FL_LIST(FL_FROM_CONSTANTS, hyper)                                                                      \
        FL_LIST(FL_UNUSED, hyper)                                                                              \
        ratio                                                                                                  \
        return q;                                                                                              \
    }
#include "rules.h"

#define FL_ROW(name, hyper, running, state, derived, prepare, ratio)                                             \
    [FL_PASTE(FL_RULE, name)] = {                                                                              \
        {#name, 0 FL_LIST(FL_COUNT_OF, hyper), 1 FL_LIST(FL_COUNT_OF, running), 0 FL_LIST(FL_COUNT_OF, state), \
         0 FL_LIST(FL_COUNT_OF, hyper) FL_LIST(FL_COUNT_OF, derived),                                          \
         FL_PASTE(name, hyper_names), FL_PASTE(name, running_names), FL_PASTE(name, state_names)},                             \
        FL_PASTE(name, begin), FL_PASTE(name, constants), ratio, sizeof FL_STRING(prepare) == 1},
#define FL_RULE(name, hyper, running, state, derived, start, prepare, update) \
    FL_ROW(name, hyper, running, state, derived, prepare, NULL)
#define FL_RULE_WITH_NORMS(name, hyper, running, state, derived, start, prepare, moments, direction, norms, ratio, update) \
    FL_ROW(name, hyper, running, state, derived, prepare, FL_PASTE(name, quotient))
const fl_rule_functions fl_rules[FL_N_RULES] = {
#include "rules.h"
};

size_t fl_rule_count(void) { return FL_N_RULES; }

const fl_rule_info *fl_rule(size_t i) { return &fl_rules[i].info; }

void fl_rule_start(size_t rule, const double *hypers, double *running, double *states)
{
    fl_rules[rule].start(hypers, running, states);
}
