/* Preprocessor lists.
 *
 * A list is written in parentheses, `(a, b, c)`, and may be empty. FL_LIST(f, (a, b, c)) expands to `f(a) f(b) f(c)`.
 * Lists of up to 27 entries; the longest in rules.h has 9. Needs __VA_OPT__ (GCC 8, Clang 6, C23).
 */
#ifndef FL_MACROS_H
#define FL_MACROS_H

#define FL_EXPAND(...) FL_EXPAND3(FL_EXPAND3(FL_EXPAND3(__VA_ARGS__)))
#define FL_EXPAND3(...) FL_EXPAND2(FL_EXPAND2(FL_EXPAND2(__VA_ARGS__)))
#define FL_EXPAND2(...) FL_EXPAND1(FL_EXPAND1(FL_EXPAND1(__VA_ARGS__)))
#define FL_EXPAND1(...) __VA_ARGS__

#define FL_PARENTHESES ()
#define FL_EACH(f, ...) __VA_OPT__(FL_EXPAND(FL_EACH_STEP(f, __VA_ARGS__)))
#define FL_EACH_STEP(f, first, ...) f(first) __VA_OPT__(FL_EACH_AGAIN FL_PARENTHESES (f, __VA_ARGS__))
#define FL_EACH_AGAIN() FL_EACH_STEP

#define FL_STRIP(...) __VA_ARGS__
#define FL_LIST(f, list) FL_LIST_STRIPPED(f, FL_STRIP list)
#define FL_LIST_STRIPPED(f, ...) FL_EACH(f, __VA_ARGS__)

/* FL_PASTE(a, b) joins its arguments after they are expanded, FL_STRING(a) makes a string of them. */
#define FL_PASTE(a, b) FL_PASTE_EXPANDED(a, b)
#define FL_PASTE_EXPANDED(a, b) a##_##b
#define FL_STRING(a) FL_STRING_EXPANDED(a)
#define FL_STRING_EXPANDED(a) #a

#endif
