/* The operations of compiled expressions, each once: its value y of the operands a and b, and its derivatives.
 *
 *   FL_UNARY(name, value, by a, twice by a)
 *   FL_BINARY(name, value, by a, by b, twice by a, by a and b, twice by b)
 *
 * Included after FL_UNARY and FL_BINARY are defined; they are undefined at the end. A derivative may use y. Outside of an
 * operation's domain its value is NaN or infinite, as NumPy's, and nothing else happens. At a kink: sign(0) and step(0) are
 * 0, and of equal operands max and min take the mean derivative. Functions are in tape.h. */
FL_BINARY(add, a + b, 1, 1, 0, 0, 0)
FL_BINARY(sub, a - b, 1, -1, 0, 0, 0)
FL_BINARY(mul, a*b, b, a, 0, 1, 0)
FL_BINARY(div, a/b, 1/b, -y/b, 0, -1/(b*b), 2*y/(b*b))
FL_BINARY(pow, pow(a, b), b*pow(a, b - 1), fl_power_slope(a, b, y), b*(b - 1)*pow(a, b - 2),
          pow(a, b - 1) + b*fl_power_slope(a, b - 1, pow(a, b - 1)), fl_power_slope(a, b, fl_power_slope(a, b, y)))
FL_BINARY(max, a > b || a != a ? a : b, fl_share(a, b), fl_share(b, a), 0, 0, 0)
FL_BINARY(min, a < b || a != a ? a : b, fl_share(b, a), fl_share(a, b), 0, 0, 0)
FL_UNARY(neg, -a, -1, 0)
FL_UNARY(exp, exp(a), y, y)
FL_UNARY(log, log(a), 1/a, -1/(a*a))
FL_UNARY(sqrt, sqrt(a), 0.5/y, -0.25/(a*y))
FL_UNARY(sin, sin(a), cos(a), -y)
FL_UNARY(cos, cos(a), -sin(a), -y)
FL_UNARY(tan, tan(a), 1 + y*y, 2*y*(1 + y*y))
FL_UNARY(asin, asin(a), 1/sqrt(1 - a*a), a/((1 - a*a)*sqrt(1 - a*a)))
FL_UNARY(acos, acos(a), -1/sqrt(1 - a*a), -a/((1 - a*a)*sqrt(1 - a*a)))
FL_UNARY(atan, atan(a), 1/(1 + a*a), -2*a/fl_squared(1 + a*a))
FL_UNARY(sinh, sinh(a), cosh(a), y)
FL_UNARY(cosh, cosh(a), sinh(a), y)
FL_UNARY(tanh, tanh(a), fl_tanh_slope(a), -2*y*fl_tanh_slope(a))
FL_UNARY(sigmoid, fl_sigmoid(a), fl_sigmoid_slope(a), -tanh(0.5*a)*fl_sigmoid_slope(a))
FL_UNARY(softplus, fl_softplus(a), fl_sigmoid(a), fl_sigmoid_slope(a))
FL_UNARY(relu, a > 0 || a != a ? a : 0, fl_unit_step(a), 0)
FL_UNARY(abs, fabs(a), fl_sign(a), 0)
FL_UNARY(sign, fl_sign(a), 0, 0)
FL_UNARY(step, fl_unit_step(a), 0, 0)

#undef FL_UNARY
#undef FL_BINARY
