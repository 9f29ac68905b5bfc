/* The update rules, each written once.
 *
 * This file is included many times: for the enumeration and the table of names (rules.c), and for the loops over float and
 * double of every instruction set (step.inc.h). The includer defines FL_RULE and FL_RULE_WITH_NORMS first.
 *
 *   FL_RULE(name, HYPER(...), RUNNING(...), STATE(...), DERIVED(...), START(...), PREPARE(...), UPDATE(...))
 *
 *   HYPER     numbers the caller sets, and may change between steps
 *   RUNNING   numbers that one tensor carries from step to step besides t (powers of a decay, sums); saved with the state
 *   STATE     arrays of the parameter's size, in the precision of the arithmetic
 *   DERIVED   numbers that PREPARE computes for the loop
 *   START     values that RUNNING and STATE begin with, where that is not 0
 *   PREPARE   runs once a step and tensor, in double, with t already counting this step from 1; it may change its copies of
 *             the hyperparameters. Afterwards HYPER and DERIVED are narrowed once to the precision of the arithmetic
 *   UPDATE    runs for every element: p parameter, g gradient (already scaled, clipped, negated for maximization and with
 *             coupled weight decay added), and the STATE arrays by name
 *
 * UPDATE uses only operations that IEEE 754 rounds correctly: + - * / SQRT, comparison and SELECT, MIN, MAX, ABS, SIGN. The
 * order of operations is part of the rule: it decides the bits, which are the same on every instruction set. So no reciprocal
 * or reassociation "for speed": the loops wait for memory. Where PREPARE sets a factor to 1 or a term to 0, the operation is
 * exact, which lets one formula serve two conventions.
 *
 * tests/replay.py reads this file as text. Inside a rule write plain assignments ended by semicolons, `real` for a local
 * variable, and SELECT instead of `?:`. TIMES(a, b) is a*b, and 0 where that is subnormal.
 *
 * Letters: p parameter, g gradient, lr learning rate, t step; m first moment, v second moment; b1 b2 b3 decays, c1 = 1 - b1
 * and so on, computed in double because 1 - 0.999f is wrong by 1.3e-5; b1t the product of the b1 of all steps, which is b1^t
 * while b1 stays as it is; k1 = 1/(1 - b1t) the bias correction; mu momentum; eps; wd decoupled weight decay; keep what
 * remains of p after it. T means torch.optim, whose conventions are the default.
 */

/* Shared by the rules that correct two moments for their bias. */
#define BIAS_CORRECTION                          \
    b1t = TIMES(b1t, b1); c1 = 1 - b1; k1 = 1/(1 - b1t); \
    b2t = TIMES(b2t, b2); c2 = 1 - b2; k2 = 1/(1 - b2t);

/* ---------------------------------------------------------------- gradient descent, momentum, Nesterov */

/* Gradient descent; stochastic when g comes from one sample, mini-batch when from a few. Cauchy 1847; Robbins & Monro 1951. */
FL_RULE(sgd, HYPER(lr), RUNNING(), STATE(), DERIVED(), START(), PREPARE(),
    UPDATE(
        p = p - lr*g;))

/* Momentum (heavy ball), Polyak 1964, as T writes it: the buffer holds gradients, and the first gradient is not dampened. */
FL_RULE(momentum, HYPER(lr, mu, tau), RUNNING(), STATE(b), DERIVED(c), START(),
    PREPARE(
        c = SELECT(t > 1, 1 - tau, 1);),
    UPDATE(
        b = mu*b + c*g;
        p = p - lr*b;))

/* Nesterov's accelerated gradient, Sutskever et al. 2013, as T writes it. */
FL_RULE(nesterov, HYPER(lr, mu), RUNNING(), STATE(b), DERIVED(), START(), PREPARE(),
    UPDATE(
        b = mu*b + g;
        p = p - lr*(g + mu*b);))

/* Momentum in the textbook form: the buffer holds steps, so that a step keeps the learning rate it was made with. */
FL_RULE(momentum_classic, HYPER(lr, mu), RUNNING(), STATE(v), DERIVED(), START(), PREPARE(),
    UPDATE(
        v = mu*v - lr*g;
        p = p + v;))

/* Nesterov's accelerated gradient in the textbook form (Keras, Sutskever et al. 2013 after a shift of variables). */
FL_RULE(nesterov_classic, HYPER(lr, mu), RUNNING(), STATE(v), DERIVED(), START(), PREPARE(),
    UPDATE(
        v = mu*v - lr*g;
        p = p + (mu*v - lr*g);))

/* ---------------------------------------------------------------- AdaGrad, AdaDelta, RMSprop */

/* AdaGrad. Duchi, Hazan & Singer 2011. eps is outside the root (T) or inside (Keras, optax): one of eo, ei is 0. */
FL_RULE(adagrad, HYPER(lr, lr_decay, s0, eps, eps_inside), RUNNING(), STATE(s), DERIVED(eo, ei),
    START(
        s = s0;),
    PREPARE(
        lr = lr/(1 + (t - 1)*lr_decay);
        eo = SELECT(eps_inside, 0, eps);
        ei = SELECT(eps_inside, eps, 0);),
    UPDATE(
        s = s + g*g;
        p = p - lr*(g/(SQRT(s + ei) + eo));))

/* AdaDelta. Zeiler 2012 (arXiv:1212.5701), algorithm 1; T's lr multiplies the step. u is the mean square of the steps. */
FL_RULE(adadelta, HYPER(lr, rho, eps), RUNNING(), STATE(v, u), DERIVED(c), START(),
    PREPARE(
        c = 1 - rho;),
    UPDATE(
        v = rho*v + c*(g*g);
        real d = (SQRT(u + eps)/SQRT(v + eps))*g;
        u = rho*u + c*(d*d);
        p = p - lr*d;))

/* RMSprop. Tieleman & Hinton 2012, lecture 6.5; centered as Graves 2013 (arXiv:1308.0850), equations 38 to 45. eps as in
 * AdaGrad. With momentum, lr multiplies the buffer (T: lb = 1) or what enters it (Keras, optax: lp = 1). Rounding can make
 * the centered second moment negative; T and optax take the root of that, here it is 0. */
#define RMSPROP_CONSTANTS             \
    c = 1 - alpha;                    \
    eo = SELECT(eps_inside, 0, eps);  \
    ei = SELECT(eps_inside, eps, 0);
#define RMSPROP_MOMENTUM              \
    lb = SELECT(classic, lr, 1);      \
    lp = SELECT(classic, 1, lr);

FL_RULE(rmsprop, HYPER(lr, alpha, eps, eps_inside), RUNNING(), STATE(v), DERIVED(c, eo, ei), START(),
    PREPARE(
        RMSPROP_CONSTANTS),
    UPDATE(
        v = alpha*v + c*(g*g);
        p = p - lr*(g/(SQRT(v + ei) + eo));))

FL_RULE(rmsprop_centered, HYPER(lr, alpha, eps, eps_inside), RUNNING(), STATE(v, a), DERIVED(c, eo, ei), START(),
    PREPARE(
        RMSPROP_CONSTANTS),
    UPDATE(
        v = alpha*v + c*(g*g);
        a = alpha*a + c*g;
        p = p - lr*(g/(SQRT(MAX(v - a*a, 0) + ei) + eo));))

FL_RULE(rmsprop_momentum, HYPER(lr, alpha, eps, mu, eps_inside, classic), RUNNING(), STATE(v, b),
    DERIVED(c, eo, ei, lb, lp), START(),
    PREPARE(
        RMSPROP_CONSTANTS
        RMSPROP_MOMENTUM),
    UPDATE(
        v = alpha*v + c*(g*g);
        b = mu*b + lb*(g/(SQRT(v + ei) + eo));
        p = p - lp*b;))

FL_RULE(rmsprop_centered_momentum, HYPER(lr, alpha, eps, mu, eps_inside, classic), RUNNING(), STATE(v, a, b),
    DERIVED(c, eo, ei, lb, lp), START(),
    PREPARE(
        RMSPROP_CONSTANTS
        RMSPROP_MOMENTUM),
    UPDATE(
        v = alpha*v + c*(g*g);
        a = alpha*a + c*g;
        b = mu*b + lb*(g/(SQRT(MAX(v - a*a, 0) + ei) + eo));
        p = p - lp*b;))

/* ---------------------------------------------------------------- Adam and its family */

/* Adam. Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1; AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) where wd > 0.
 * eps_mode 0: outside the root, sqrt(v/(1 - b2^t)) + eps (paper, T, optax); 1: "epsilon hat", added to sqrt(v) before the
 * bias is corrected (Keras); 2: inside the root (optax's eps_root). fixed_decay: wd is not multiplied by lr. */
#define ADAM_CONSTANTS                                                         \
    BIAS_CORRECTION                                                            \
    keep = 1 - SELECT(fixed_decay, wd, lr*wd);                                 \
    eo = SELECT(eps_mode == 1, eps*sqrt(k2), SELECT(eps_mode == 2, 0, eps));   \
    ei = SELECT(eps_mode == 2, eps, 0);

FL_RULE(adam, HYPER(lr, b1, b2, eps, wd, eps_mode, fixed_decay), RUNNING(b1t, b2t), STATE(m, v),
    DERIVED(c1, c2, k1, k2, keep, eo, ei),
    START(
        b1t = 1;
        b2t = 1;),
    PREPARE(
        ADAM_CONSTANTS),
    UPDATE(
        m = b1*m + c1*g;
        v = b2*v + c2*(g*g);
        p = keep*p - lr*((m*k1)/(SQRT(v*k2 + ei) + eo));))

/* AMSGrad. Reddi, Kale & Kumar 2018, algorithm 2. The maximum is over v and corrected afterwards (T), or over the corrected
 * v (optax; corrected = 1): kv or k2 is 1. */
FL_RULE(amsgrad, HYPER(lr, b1, b2, eps, wd, eps_mode, fixed_decay, corrected), RUNNING(b1t, b2t), STATE(m, v, vmax),
    DERIVED(c1, c2, k1, k2, kv, keep, eo, ei),
    START(
        b1t = 1;
        b2t = 1;),
    PREPARE(
        ADAM_CONSTANTS
        kv = SELECT(corrected, k2, 1);
        k2 = SELECT(corrected, 1, k2);),
    UPDATE(
        m = b1*m + c1*g;
        v = b2*v + c2*(g*g);
        vmax = MAX(vmax, v*kv);
        p = keep*p - lr*((m*k1)/(SQRT(vmax*k2 + ei) + eo));))

/* AdaMax. Kingma & Ba 2015, algorithm 2. eps enters the norm (T, optax) or the divisor (Keras; eps_divisor = 1). */
FL_RULE(adamax, HYPER(lr, b1, b2, eps, eps_divisor), RUNNING(b1t), STATE(m, u), DERIVED(c1, a, en, ed),
    START(
        b1t = 1;),
    PREPARE(
        b1t = TIMES(b1t, b1);
        c1 = 1 - b1;
        a = lr/(1 - b1t);
        en = SELECT(eps_divisor, 0, eps);
        ed = SELECT(eps_divisor, eps, 0);),
    UPDATE(
        m = b1*m + c1*g;
        u = MAX(b2*u, ABS(g) + en);
        p = p - a*(m/(u + ed));))

/* NAdam. Dozat 2016, algorithm 2, with the momentum schedule of its section 4; psi is T's momentum_decay. */
FL_RULE(nadam, HYPER(lr, b1, b2, eps, wd, psi), RUNNING(mut, b2t), STATE(m, v), DERIVED(c1, c2, k2, wg, wm, keep),
    START(
        mut = 1;
        b2t = 1;),
    PREPARE(
        double mu = b1*(1 - 0.5*pow(0.96, t*psi));
        double next = b1*(1 - 0.5*pow(0.96, (t + 1)*psi));
        mut = TIMES(mut, mu);
        b2t = TIMES(b2t, b2);
        c1 = 1 - b1;
        c2 = 1 - b2;
        k2 = 1/(1 - b2t);
        wg = lr*(1 - mu)/(1 - mut);
        wm = lr*next/(1 - mut*next);
        keep = 1 - lr*wd;),
    UPDATE(
        m = b1*m + c1*g;
        v = b2*v + c2*(g*g);
        p = keep*p - (wg*g + wm*m)/(SQRT(v*k2) + eps);))

/* RAdam. Liu et al. 2020 (arXiv:1908.03265), algorithm 2, with T's threshold rho > 5 and T's eps (added before the bias of v
 * is corrected). r is 0 while the variance of the adaptive rate is intractable. */
FL_RULE(radam, HYPER(lr, b1, b2, eps, wd), RUNNING(b1t, b2t), STATE(m, v), DERIVED(c1, c2, k1, k2, a, r, keep),
    START(
        b1t = 1;
        b2t = 1;),
    PREPARE(
        BIAS_CORRECTION
        double limit = 2/(1 - b2) - 1;
        double rho = limit - 2*t*b2t/(1 - b2t);
        r = SELECT(rho > 5, sqrt((1 - b2t)*(rho - 4)*(rho - 2)*limit/((limit - 4)*(limit - 2)*rho)), 0);
        a = lr*k1;
        keep = 1 - lr*wd;),
    UPDATE(
        m = b1*m + c1*g;
        v = b2*v + c2*(g*g);
        p = keep*p - a*SELECT(r > 0, m*(r/(SQRT(v) + eps)), m);))

/* AdaBelief. Zhuang et al. 2020 (arXiv:2010.07468), algorithm 2: eps enters s at every step, and the divisor. */
FL_RULE(adabelief, HYPER(lr, b1, b2, eps, wd), RUNNING(b1t, b2t), STATE(m, s), DERIVED(c1, c2, k1, k2, keep),
    START(
        b1t = 1;
        b2t = 1;),
    PREPARE(
        BIAS_CORRECTION
        keep = 1 - lr*wd;),
    UPDATE(
        m = b1*m + c1*g;
        real d = g - m;
        s = (b2*s + c2*(d*d)) + eps;
        p = keep*p - lr*((m*k1)/(SQRT(s*k2) + eps));))

/* Yogi. Zaheer et al. 2018, algorithm 2, with bias correction and both moments started at s0, as optax. */
FL_RULE(yogi, HYPER(lr, b1, b2, eps, wd, s0), RUNNING(b1t, b2t), STATE(m, v), DERIVED(c1, c2, k1, k2, keep),
    START(
        b1t = 1;
        b2t = 1;
        m = s0;
        v = s0;),
    PREPARE(
        BIAS_CORRECTION
        keep = 1 - lr*wd;),
    UPDATE(
        m = b1*m + c1*g;
        real q = g*g;
        v = v - (c2*SIGN(v - q))*q;
        p = keep*p - lr*((m*k1)/(SQRT(v*k2) + eps));))

/* Adan. Xie et al. 2022 (arXiv:2208.06677), algorithm 1, with the authors' code's betas (weights of the past). */
FL_RULE(adan, HYPER(lr, b1, b2, b3, eps, wd), RUNNING(b1t, b2t, b3t), STATE(m, v, n, prev),
    DERIVED(c1, c2, c3, k1, k2, k3, first, grow),
    START(
        b1t = 1;
        b2t = 1;
        b3t = 1;),
    PREPARE(
        BIAS_CORRECTION
        b3t = TIMES(b3t, b3);
        c3 = 1 - b3;
        k3 = 1/(1 - b3t);
        first = SELECT(t > 1, 0, 1);
        grow = 1 + lr*wd;),
    UPDATE(
        real d = SELECT(first > 0, 0, g - prev);
        real e = g + b2*d;
        m = b1*m + c1*g;
        v = b2*v + c2*d;
        n = b3*n + c3*(e*e);
        p = (p - lr*((m*k1 + b2*(v*k2))/(SQRT(n*k3) + eps)))/grow;
        prev = g;))

/* AdEMAMix. Pagliardini et al. 2024 (arXiv:2409.03137), algorithm 1, with its warm-ups of alpha and b3 over `warmup` steps. */
FL_RULE(ademamix, HYPER(lr, b1, b2, b3, eps, wd, alpha, warmup), RUNNING(b1t, b2t), STATE(m1, m2, v),
    DERIVED(c1, c2, c3, k1, k2),
    START(
        b1t = 1;
        b2t = 1;),
    PREPARE(
        BIAS_CORRECTION
        double w = SELECT(t < warmup, t/warmup, 1);
        alpha = alpha*w;
        b3 = SELECT(w < 1, MIN(exp(log(b1)*log(b3)/((1 - w)*log(b3) + w*log(b1))), b3), b3);
        c3 = 1 - b3;),
    UPDATE(
        m1 = b1*m1 + c1*g;
        m2 = b3*m2 + c3*g;
        v = b2*v + c2*(g*g);
        p = p - lr*((m1*k1 + alpha*m2)/(SQRT(v*k2) + eps) + wd*p);))

/* ADOPT. Taniguchi et al. 2024 (arXiv:2411.02853), algorithm 2 with the clipping of its appendix: the first step only sets v. */
FL_RULE(adopt, HYPER(lr, b1, b2, eps, wd), RUNNING(), STATE(m, v), DERIVED(c1, c2, limit, keep), START(),
    PREPARE(
        c1 = SELECT(t > 1, 1 - b1, 0);
        lr = SELECT(t > 1, lr, 0);
        b2 = SELECT(t > 1, b2, 0);
        c2 = 1 - b2;
        limit = pow(t - 1, 0.25);
        keep = 1 - lr*wd;),
    UPDATE(
        m = b1*m + c1*MAX(MIN(g/MAX(SQRT(v), eps), limit), -limit);
        p = keep*p - lr*m;
        v = b2*v + c2*(g*g);))

/* ---------------------------------------------------------------- signs */

/* Rprop. Riedmiller & Braun 1993, without backtracking, as T: after a change of sign the weight waits for one step. */
FL_RULE(rprop, HYPER(lr, down, up, lo, hi), RUNNING(), STATE(step, prev), DERIVED(),
    START(
        step = lr;),
    PREPARE(),
    UPDATE(
        real w = SIGN(g)*SIGN(prev);
        step = MAX(MIN(step*SELECT(w > 0, up, SELECT(w < 0, down, 1)), hi), lo);
        prev = SELECT(w < 0, 0, g);
        p = p - SIGN(prev)*step;))

/* signSGD. Bernstein et al. 2018 (arXiv:1802.04434), algorithm 1. */
FL_RULE(signsgd, HYPER(lr), RUNNING(), STATE(), DERIVED(), START(), PREPARE(),
    UPDATE(
        p = p - lr*SIGN(g);))

/* Signum. Bernstein et al. 2018, algorithm 2. */
FL_RULE(signum, HYPER(lr, mu), RUNNING(), STATE(m), DERIVED(c), START(),
    PREPARE(
        c = 1 - mu;),
    UPDATE(
        m = mu*m + c*g;
        p = p - lr*SIGN(m);))

/* Lion. Chen et al. 2023 (arXiv:2302.06675), algorithm 2. SIGN(0) = 0: nothing moves where m and g are 0. */
FL_RULE(lion, HYPER(lr, b1, b2, wd), RUNNING(), STATE(m), DERIVED(c1, c2, keep), START(),
    PREPARE(
        c1 = 1 - b1;
        c2 = 1 - b2;
        keep = 1 - lr*wd;),
    UPDATE(
        p = keep*p - lr*SIGN(b1*m + c1*g);
        m = b2*m + c2*g;))

/* ---------------------------------------------------------------- averages and proximal steps */

/* Averaged SGD. Polyak & Juditsky 1992; the decaying rate of Bottou's ASGD, in T's order: a step uses the rates that the
 * step before it prepared. */
FL_RULE(asgd, HYPER(lr, lambd, alpha, t0), RUNNING(), STATE(a), DERIVED(eta, keep, w), START(),
    PREPARE(
        eta = lr/pow(1 + lambd*lr*(t - 1), alpha);
        keep = 1 - lambd*eta;
        w = 1/MAX(1, t - 1 - t0);),
    UPDATE(
        p = keep*p - eta*g;
        a = SELECT(w < 1, a + w*(p - a), p);))

/* FTRL-Proximal. McMahan et al. 2013, algorithm 1, learning-rate power 1/2, in Keras's convention of l2, beta and shrinkage.
 * Where lr changes, so does the pull of all steps before; k makes up for that (Keras does not, and loses the weights), and is
 * 0 while lr stays. */
FL_RULE(ftrl, HYPER(lr, l1, l2, shrink, beta, n0), RUNNING(last), STATE(n, z), DERIVED(h, q0, k),
    START(
        n = n0;),
    PREPARE(
        h = 2*shrink;
        q0 = 2*l2 + beta/lr;
        k = SELECT(last > 0, 1/lr - 1/last, 0);
        last = lr;),
    UPDATE(
        real root = SQRT(n + g*g);
        real old = SQRT(n);
        z = z + ((g + h*p) - ((root - old)/lr + k*(old + beta))*p);
        n = n + g*g;
        p = (MAX(MIN(z, l1), -l1) - z)/(root/lr + q0);))

/* Schedule-free SGD and AdamW. Defazio et al. 2024 (arXiv:2405.15682), algorithm 1 and the authors' code: p holds y, the point
 * where the gradient is taken; the average is x = z + (y - z)/mu. ck is the weight of z in the average. */
#define SCHEDULE_FREE_AVERAGE                                      \
    lr = lr*SELECT(t < warmup, t/warmup, 1);                       \
    lr_max = MAX(lr_max, lr);                                      \
    double weight = pow(t, r)*pow(lr_max, power);                  \
    sum = sum + weight;                                            \
    ck = SELECT(sum > 0, weight/sum, 0);                           \
    first = SELECT(t > 1, 0, 1);

FL_RULE(schedule_free_sgd, HYPER(lr, mu, warmup, r, power), RUNNING(lr_max, sum), STATE(z), DERIVED(ck, first, a), START(),
    PREPARE(
        SCHEDULE_FREE_AVERAGE
        a = lr*(1 - mu*(1 - ck));),
    UPDATE(
        z = SELECT(first > 0, p, z);
        p = (p + ck*(z - p)) - a*g;
        z = z - lr*g;))

FL_RULE(schedule_free_adamw, HYPER(lr, b1, b2, eps, wd, warmup, r, power), RUNNING(b2t, lr_max, sum), STATE(z, v),
    DERIVED(c2, k2, ck, first, a),
    START(
        b2t = 1;),
    PREPARE(
        SCHEDULE_FREE_AVERAGE
        b2t = TIMES(b2t, b2);
        c2 = 1 - b2;
        k2 = 1/(1 - b2t);
        a = lr*(1 - b1*(1 - ck));),
    UPDATE(
        z = SELECT(first > 0, p, z);
        v = b2*v + c2*(g*g);
        real d = g/(SQRT(v*k2) + eps) + wd*p;
        p = (p + ck*(z - p)) - a*d;
        z = z - lr*d;))

/* ---------------------------------------------------------------- rules that need norms of a whole tensor
 *
 *   FL_RULE_WITH_NORMS(name, HYPER, RUNNING, STATE, DERIVED(..., q), START, PREPARE, MOMENTS(...), DIRECTION(...),
 *                      NORMS(x, y), RATIO(...), UPDATE(...))
 *
 * A first pass runs MOMENTS and DIRECTION and sums the squares of NORMS over the tensor; RATIO then computes q, the last of
 * DERIVED, from the norms x and y, in double; a second pass runs DIRECTION again, then UPDATE. */

/* LARS. You, Gitman & Ginsburg 2017 (arXiv:1708.03888), algorithm 1; lr outside the buffer, as T's momentum. */
#define LARS_RATIO q = SELECT(x > 0 && y > 0, trust*x/(y + wd*x + eps), 1);

FL_RULE_WITH_NORMS(lars, HYPER(lr, mu, wd, trust, eps), RUNNING(), STATE(b), DERIVED(q), START(), PREPARE(), MOMENTS(),
    DIRECTION(),
    NORMS(p, g),
    RATIO(
        LARS_RATIO),
    UPDATE(
        real r = g + wd*p;
        b = mu*b + q*r;
        p = p - lr*b;))

FL_RULE_WITH_NORMS(lars_nesterov, HYPER(lr, mu, wd, trust, eps), RUNNING(), STATE(b), DERIVED(q), START(), PREPARE(),
    MOMENTS(),
    DIRECTION(),
    NORMS(p, g),
    RATIO(
        LARS_RATIO),
    UPDATE(
        real r = g + wd*p;
        b = mu*b + q*r;
        p = p - lr*(q*r + mu*b);))

/* LAMB. You et al. 2020 (arXiv:1904.00962), algorithm 2; phi(x) = min(x, max_norm). */
FL_RULE_WITH_NORMS(lamb, HYPER(lr, b1, b2, eps, wd, max_norm), RUNNING(b1t, b2t), STATE(m, v), DERIVED(c1, c2, k1, k2, q),
    START(
        b1t = 1;
        b2t = 1;),
    PREPARE(
        BIAS_CORRECTION),
    MOMENTS(
        m = b1*m + c1*g;
        v = b2*v + c2*(g*g);),
    DIRECTION(
        real r = (m*k1)/(SQRT(v*k2) + eps) + wd*p;),
    NORMS(p, r),
    RATIO(
        q = SELECT(x > 0 && y > 0, MIN(x, max_norm)/y, 1);),
    UPDATE(
        p = p - (lr*q)*r;))

#undef BIAS_CORRECTION
#undef RMSPROP_CONSTANTS
#undef RMSPROP_MOMENTUM
#undef ADAM_CONSTANTS
#undef SCHEDULE_FREE_AVERAGE
#undef LARS_RATIO
#undef FL_RULE
#undef FL_RULE_WITH_NORMS
