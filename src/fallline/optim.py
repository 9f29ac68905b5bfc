r"""The optimizers: one thin class for each, in the lecture's order.

A class names its rule in ``csrc/rules.h``, where the update is written, and declares its hyperparameters. Names and
defaults are those of torch.optim where it has the algorithm, else of the paper.

In the docstrings, :math:`\theta` is the parameter, :math:`g` the gradient, :math:`\eta` the learning rate ``lr``,
:math:`t` the step counted from 1, :math:`\lambda` the weight decay; :math:`\beta` are decays, and :math:`x \leftarrow
\operatorname{EMA}(y; \beta)` means :math:`x \leftarrow \beta x + (1-\beta) y`. Weight decay is *coupled* (:math:`g
\leftarrow g + \lambda\theta` before all else) unless the class says that it is *decoupled*. Every hyperparameter takes
a number or a schedule (`fallline.schedules`). All classes share the options that `Optimizer` documents.
"""

from typing import ClassVar

import numpy as np

from fallline.hyper import Number, Numbers, choice, hyper
from fallline.optimizer import Optimizer


def optimizers() -> dict[str, type[Optimizer]]:
    """Return all optimizers by name, in the lecture's order.

    Returns
    -------
    dict of str to class
        The names are those of the classes in lower case.

    Examples
    --------
    >>> import fallline as fl
    >>> list(fl.optimizers())[:7]
    ['sgd', 'momentum', 'nesterov', 'adagrad', 'adadelta', 'rmsprop', 'adam']
    """
    classes = [one for one in globals().values() if isinstance(one, type) and issubclass(one, Optimizer)]
    return {cls.__name__.lower(): cls for cls in classes if cls is not Optimizer}


class SGD(Optimizer):
    r"""Gradient descent: step against the gradient, with momentum if asked for.

    .. math:: \theta \leftarrow \theta - \eta g

    It is gradient descent when :math:`g` is computed from all data, stochastic gradient descent when from one sample,
    and mini-batch gradient descent when from a few (`fallline.batches`). With momentum :math:`\mu` and dampening
    :math:`\tau`,

    .. math:: b \leftarrow \mu b + (1-\tau) g, \qquad
              \theta \leftarrow \theta - \eta b
              \quad\text{or, Nesterov,}\quad \theta \leftarrow \theta - \eta (g + \mu b),

    where the first gradient is not dampened.

    Use it as the yardstick, where the problem is well scaled or a rate that decays is worth its planning: it keeps no
    state without momentum, and often generalizes best on images.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr : float or schedule
        Learning rate.
    momentum : float or schedule
        :math:`\mu`.
    dampening : float or schedule
        :math:`\tau`; not with Nesterov or the classic form.
    weight_decay : float or schedule
        Coupled.
    nesterov : bool
        Take Nesterov's step; needs momentum.
    form : {"torch", "classic"}
        ``"classic"`` is the textbook's :math:`v \leftarrow \mu v - \eta g`, :math:`\theta \leftarrow \theta + v`
        (Nesterov: :math:`\theta \leftarrow \theta + \mu v - \eta g`), which Keras uses: a step keeps the learning rate
        it was made with. The two agree while `lr` is constant.

    References
    ----------
    Cauchy 1847; Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning".

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 2.0])
    >>> opt = fl.SGD(x, lr=0.25)
    >>> opt.step(2 * x)  # the gradient of x @ x
    >>> x
    array([0.5, 1. ])
    """

    lr: Number = hyper(default=1e-3)
    momentum: Number = hyper(default=0.0, slots=("mu",))
    dampening: Number = hyper(default=0.0, slots=("tau",))
    weight_decay: Number = hyper(default=0.0)
    nesterov: bool = choice(default=False)
    form: str = choice(default="torch", among=("torch", "classic"), kw_only=True)

    @property
    def rule(self) -> str:
        if not self._any("momentum"):
            return "sgd"
        suffix = "_classic" if self.form == "classic" else ""
        return ("nesterov" if self.nesterov else "momentum") + suffix

    def _check_settings(self) -> None:
        owner = type(self).__name__
        if self.nesterov and any(s["momentum"] == 0 for s in self._settings):
            raise ValueError(f"{owner}(momentum): must be > 0 with nesterov; got 0. Pass momentum=0.9, for example.")
        dampening = [s["dampening"] for s in self._settings if s.get("dampening", 0) != 0]
        if (self.nesterov or self.form == "classic") and dampening:
            raise ValueError(
                f"{owner}(dampening): must be 0 with nesterov or form='classic'; got {dampening[0]!r}. Leave it out."
            )


class Momentum(SGD):
    r"""SGD with momentum: keep part of the last step, as a heavy ball does.

    It is `SGD` with ``momentum=0.9``:

    .. math:: b \leftarrow \mu b + (1-\tau) g, \qquad \theta \leftarrow \theta - \eta b

    Use it before anything cleverer where plain steps zigzag across a valley or crawl along it; one array of state.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, momentum, dampening, weight_decay, form
        As for `fallline.SGD`.

    References
    ----------
    Polyak 1964, "Some methods of speeding up the convergence of iteration methods".

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.Momentum(x, lr=0.25, momentum=0.5)
    >>> for _ in range(2):
    ...     opt.step(2 * x)
    >>> x
    array([0.])
    """

    lr: Number = hyper(default=1e-3)
    momentum: Number = hyper(default=0.9, slots=("mu",))
    dampening: Number = hyper(default=0.0, slots=("tau",))
    weight_decay: Number = hyper(default=0.0)
    form: str = choice(default="torch", among=("torch", "classic"), kw_only=True)
    nesterov = False

    @property
    def rule(self) -> str:
        return "momentum_classic" if self.form == "classic" else "momentum"


class Nesterov(SGD):
    r"""Nesterov accelerated gradient: momentum that takes the gradient of where it is about to be.

    It is `SGD` with ``momentum=0.9, nesterov=True``:

    .. math:: b \leftarrow \mu b + g, \qquad \theta \leftarrow \theta - \eta (g + \mu b)

    Use it in place of plain momentum at high :math:`\mu`, where that overshoots; the state is the same.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, momentum, weight_decay, form
        As for `fallline.SGD`.

    References
    ----------
    Nesterov 1983; in this form Sutskever et al. 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> fl.Nesterov(x, lr=0.25, momentum=0.5).step(2 * x)
    >>> x
    array([0.25])
    """

    lr: Number = hyper(default=1e-3)
    momentum: Number = hyper(default=0.9, slots=("mu",))
    weight_decay: Number = hyper(default=0.0)
    form: str = choice(default="torch", among=("torch", "classic"), kw_only=True)
    dampening = 0.0
    nesterov = True

    @property
    def rule(self) -> str:
        return "nesterov_classic" if self.form == "classic" else "nesterov"

    def _check_settings(self) -> None:
        """Nothing: without momentum, the step is plain gradient descent."""


class Adagrad(Optimizer):
    r"""AdaGrad: divide by the root of the sum of all squared gradients.

    .. math:: s \leftarrow s + g^2, \qquad
              \theta \leftarrow \theta - \frac{\eta}{1 + (t-1)\,\mathtt{lr\_decay}}\, \frac{g}{\sqrt{s} + \epsilon}

    Use it for sparse features and convex losses, whose rare coordinates keep large steps; in long runs of a network its
    steps die out, because the sum only grows.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, lr_decay, weight_decay, eps : float or schedule
        Weight decay is coupled.
    initial_accumulator_value : float
        What :math:`s` begins with.
    eps_inside : bool
        Use :math:`\sqrt{s + \epsilon}`, as Keras and optax (with ``initial_accumulator_value=0.1, eps=1e-7``).

    References
    ----------
    Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and stochastic optimization".

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 100.0])
    >>> fl.Adagrad(x, lr=0.5).step(2 * x)  # the first step has the length lr in every coordinate
    >>> x
    array([ 0.5, 99.5])
    """

    rule = "adagrad"
    lr: Number = hyper(default=1e-2)
    lr_decay: Number = hyper(default=0.0)
    weight_decay: Number = hyper(default=0.0)
    initial_accumulator_value: Number = hyper(default=0.0, slots=("s0",))
    eps: Number = hyper(default=1e-10, narrowed=True)
    eps_inside: bool = choice(default=False, slot="eps_inside", kw_only=True)


class Adadelta(Optimizer):
    r"""AdaDelta: steps in the units of the parameter, without a learning rate to choose.

    .. math:: v \leftarrow \operatorname{EMA}(g^2; \rho), \quad
              \Delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad
              u \leftarrow \operatorname{EMA}(\Delta^2; \rho), \quad \theta \leftarrow \theta - \eta \Delta

    Use it where no learning rate can be tried out; it starts slowly, and rarely wins against a rate that was tuned.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, rho, eps, weight_decay : float or schedule
        ``lr=1`` is the paper's (Keras has 0.001). Weight decay is coupled.

    References
    ----------
    Zeiler 2012, arXiv:1212.5701.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> fl.Adadelta(x).step(2 * x)
    >>> x.round(5)
    array([0.99684])
    """

    rule = "adadelta"
    lr: Number = hyper(default=1.0)
    rho: Number = hyper(default=0.9, below=1)
    eps: Number = hyper(default=1e-6, narrowed=True)
    weight_decay: Number = hyper(default=0.0)


class RMSprop(Optimizer):
    r"""RMSprop: divide by the root of a running mean of squared gradients.

    .. math:: v \leftarrow \operatorname{EMA}(g^2; \alpha), \qquad
              \theta \leftarrow \theta - \eta\, \frac{g}{\sqrt{v} + \epsilon}

    Centered, :math:`a \leftarrow \operatorname{EMA}(g; \alpha)` and :math:`v - a^2` takes the place of :math:`v`. With
    momentum, :math:`b \leftarrow \mu b + g/(\sqrt{v} + \epsilon)` and :math:`\theta \leftarrow \theta - \eta b`.

    Use it for recurrent networks and reinforcement learning, where the scale of the gradient drifts; half the state of
    Adam's, and no correction of its first steps.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, alpha, eps, weight_decay, momentum : float or schedule
        Weight decay is coupled.
    centered : bool
        Divide by an estimate of the standard deviation instead.
    eps_inside : bool
        Use :math:`\sqrt{v + \epsilon}`, as Keras and, by default, optax. It matters where `eps` is large (0.01 to 1).
    form : {"torch", "classic"}
        ``"classic"`` puts the learning rate into the momentum buffer, as Keras and optax.

    Notes
    -----
    Rounding can make :math:`v - a^2` negative, which is NaN in torch and optax; here it counts as 0.

    References
    ----------
    Tieleman and Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 100.0])
    >>> fl.RMSprop(x, lr=0.01, alpha=0.75).step(2 * x)
    >>> x
    array([ 0.98, 99.98])
    """

    lr: Number = hyper(default=1e-2)
    alpha: Number = hyper(default=0.99, below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    momentum: Number = hyper(default=0.0, slots=("mu",))
    centered: bool = choice(default=False)
    eps_inside: bool = choice(default=False, slot="eps_inside", kw_only=True)
    form: str = choice(default="torch", among=("torch", "classic"), slot="classic", kw_only=True)

    @property
    def rule(self) -> str:
        return "rmsprop" + ("_centered" if self.centered else "") + ("_momentum" if self._any("momentum") else "")


class Adam(Optimizer):
    r"""Adam: step by the running mean of the gradient over the root of the running mean of its square.

    .. math:: m \leftarrow \operatorname{EMA}(g; \beta_1), \quad v \leftarrow \operatorname{EMA}(g^2; \beta_2), \quad
              \theta \leftarrow \theta - \eta\, \frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)} + \epsilon}

    Use it as the first choice for a network that is not understood yet: it forgives badly scaled layers, for two arrays
    of state. With weight decay take `AdamW`.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled unless `decoupled_weight_decay`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`. Where they change, :math:`\beta^t` is the product over the steps.
    amsgrad : bool
        Use the maximum of all :math:`v` so far (AMSGrad, Reddi, Kale and Kumar 2018).
    decoupled_weight_decay : bool
        Shrink the parameters by :math:`1 - \eta\lambda` before the step, as `AdamW`.
    eps_mode : {"outside", "hat", "inside"}
        ``"outside"`` is the formula above (paper, torch, optax); ``"hat"`` is the paper's :math:`\hat\epsilon`, added
        to :math:`\sqrt{v}` before the bias is corrected (Keras); ``"inside"`` is :math:`\sqrt{\hat v + \epsilon}`
        (optax's ``eps_root``), which can be differentiated at 0.
    amsgrad_max : {"raw", "corrected"}
        Take the maximum of :math:`v` and then correct its bias (torch, Keras), or of the corrected (optax).

    References
    ----------
    Kingma and Ba 2015, arXiv:1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> params = {"W": np.ones((2, 2)), "b": np.zeros(2)}
    >>> opt = fl.Adam(params, lr=0.1)
    >>> opt.step({"W": 2 * params["W"], "b": None})  # b has no gradient in this step
    >>> params["W"].round(6)
    array([[0.9, 0.9],
           [0.9, 0.9]])
    >>> float(opt.state["W"]["t"]), float(opt.state["b"]["t"])
    (1.0, 0.0)
    """

    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    amsgrad: bool = choice(default=False)
    decoupled_weight_decay: bool = choice(default=False, kw_only=True)
    eps_mode: str = choice(default="outside", among=("outside", "hat", "inside"), slot="eps_mode", kw_only=True)
    amsgrad_max: str = choice(default="raw", among=("raw", "corrected"), slot="corrected", kw_only=True)
    fixed: ClassVar[dict[str, float]] = {"fixed_decay": 0.0}

    @property
    def rule(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"


class AdamW(Optimizer):
    r"""AdamW: Adam with decoupled weight decay.

    .. math:: \theta \leftarrow (1 - \eta\lambda)\, \theta, \quad\text{then a step of Adam}

    Use it for transformers, and wherever Adam needs weight decay: the decay is then the same for all weights, and is
    tuned apart from the learning rate.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, betas, eps, amsgrad, eps_mode, amsgrad_max
        As for `fallline.Adam`.
    weight_decay : float or schedule
        Decoupled.
    fixed_decay : bool
        Shrink by :math:`1 - \lambda` instead, so that a schedule of `lr` leaves the decay alone.

    References
    ----------
    Loshchilov and Hutter 2019, arXiv:1711.05101.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> fl.AdamW(x, lr=0.1, weight_decay=0.5).step(2 * x)  # 0.95 of x, less 0.1
    >>> x.round(6)
    array([0.85])
    """

    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=1e-2)
    amsgrad: bool = choice(default=False)
    fixed_decay: bool = choice(default=False, slot="fixed_decay", kw_only=True)
    eps_mode: str = choice(default="outside", among=("outside", "hat", "inside"), slot="eps_mode", kw_only=True)
    amsgrad_max: str = choice(default="raw", among=("raw", "corrected"), slot="corrected", kw_only=True)
    decoupled = True

    @property
    def rule(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"


class Adamax(Optimizer):
    r"""AdaMax: Adam with the infinity norm.

    .. math:: m \leftarrow \operatorname{EMA}(g; \beta_1), \quad u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
              \theta \leftarrow \theta - \frac{\eta}{1-\beta_1^t}\, \frac{m}{u}

    Use it where gradients are mostly 0 with rare large ones, as of embeddings: a maximum forgets slower than a mean,
    and needs no correction of its first steps.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    eps_mode : {"norm", "divisor"}
        ``"norm"`` is the formula above (torch, optax); ``"divisor"`` divides by :math:`u + \epsilon` (Keras).

    References
    ----------
    Kingma and Ba 2015, arXiv:1412.6980, algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> fl.Adamax(x, lr=0.1).step(2 * x)
    >>> x.round(6)
    array([0.9])
    """

    rule = "adamax"
    lr: Number = hyper(default=2e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    eps_mode: str = choice(default="norm", among=("norm", "divisor"), slot="eps_divisor", kw_only=True)


class NAdam(Optimizer):
    r"""NAdam: Adam with Nesterov's momentum, which is warmed up.

    .. math:: \mu_t = \beta_1 (1 - \tfrac12\, 0.96^{t\psi}), \qquad \theta \leftarrow \theta - \eta\,
              \Bigl(\frac{1-\mu_t}{1-\prod_{i\le t}\mu_i}\, g + \frac{\mu_{t+1}}{1-\prod_{i\le t+1}\mu_i}\, m\Bigr)
              \Big/ \Bigl(\sqrt{v/(1-\beta_2^t)} + \epsilon\Bigr)

    with the moments of `Adam`.

    Use it where Adam works and a little faster start is wanted; the cost is the same.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled unless `decoupled_weight_decay`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    momentum_decay : float or schedule
        :math:`\psi` (Keras has 1).
    decoupled_weight_decay : bool
        Shrink the parameters by :math:`1 - \eta\lambda` before the step.

    References
    ----------
    Dozat 2016, "Incorporating Nesterov momentum into Adam".

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.NAdam(x, lr=0.1)
    >>> for _ in range(100):
    ...     opt.step(2 * x)
    >>> bool(abs(x) < 0.05)
    True
    """

    rule = "nadam"
    lr: Number = hyper(default=2e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    momentum_decay: Number = hyper(default=4e-3, slots=("psi",))
    decoupled_weight_decay: bool = choice(default=False)


class RAdam(Optimizer):
    r"""RAdam: Adam whose adaptive rate is rectified while its variance is large.

    .. math:: \rho_\infty = \frac{2}{1-\beta_2} - 1, \qquad \rho = \rho_\infty - \frac{2t\beta_2^t}{1-\beta_2^t}, \qquad
              r = \sqrt{\frac{(\rho-4)(\rho-2)\rho_\infty}{(\rho_\infty-4)(\rho_\infty-2)\rho}}

    .. math:: \theta \leftarrow \theta - \eta\, \frac{m}{1-\beta_1^t} \cdot
              \begin{cases} r\, \sqrt{1-\beta_2^t} \big/ (\sqrt{v} + \epsilon) & \rho > 5 \\ 1 & \text{otherwise}
              \end{cases}

    with the moments of `Adam`.

    Use it where Adam needs a warm-up of its learning rate, and none is to be planned.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled unless `decoupled_weight_decay`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    decoupled_weight_decay : bool
        Shrink the parameters by :math:`1 - \eta\lambda` before the step.

    Notes
    -----
    The threshold and the place of `eps` are torch's; the paper rectifies from :math:`\rho > 4` on.

    References
    ----------
    Liu et al. 2020, arXiv:1908.03265.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> fl.RAdam(x, lr=0.1).step(2 * x)  # the first steps are plain momentum
    >>> x.round(6)
    array([0.8])
    """

    rule = "radam"
    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    decoupled_weight_decay: bool = choice(default=False)


class AdaBelief(Optimizer):
    r"""AdaBelief: divide by the deviation of the gradient from its running mean.

    .. math:: m \leftarrow \operatorname{EMA}(g; \beta_1), \quad
              s \leftarrow \operatorname{EMA}((g-m)^2; \beta_2) + \epsilon, \quad
              \theta \leftarrow \theta - \eta\, \frac{m/(1-\beta_1^t)}{\sqrt{s/(1-\beta_2^t)} + \epsilon}

    Use it where gradients are consistent but small, so that Adam's steps are too short; it reacts to noise that
    changes, and is more sensitive to eps.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled unless `decoupled_weight_decay`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    decoupled_weight_decay : bool
        Shrink the parameters by :math:`1 - \eta\lambda` before the step.

    References
    ----------
    Zhuang et al. 2020, arXiv:2010.07468.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.AdaBelief(x, lr=0.1)
    >>> for _ in range(100):
    ...     opt.step(2 * x)
    >>> bool(abs(x) < 0.05)
    True
    """

    rule = "adabelief"
    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-16, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    decoupled_weight_decay: bool = choice(default=False, kw_only=True)


class Yogi(Optimizer):
    r"""Yogi: Adam whose second moment grows and shrinks by at most the squared gradient.

    .. math:: m \leftarrow \operatorname{EMA}(g; \beta_1), \quad
              v \leftarrow v - (1-\beta_2)\operatorname{sign}(v - g^2)\, g^2, \quad
              \theta \leftarrow \theta - \eta\, \frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)} + \epsilon}

    Use it where Adam becomes unstable because its second moment forgets rare, large gradients too fast.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled unless `decoupled_weight_decay`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    initial_accumulator_value : float
        What both moments begin with.
    decoupled_weight_decay : bool
        Shrink the parameters by :math:`1 - \eta\lambda` before the step.

    Notes
    -----
    The bias correction and the start of both moments are optax's; the paper has neither.

    References
    ----------
    Zaheer et al. 2018, "Adaptive methods for nonconvex optimization".

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.Yogi(x, lr=0.1)
    >>> for _ in range(100):
    ...     opt.step(2 * x)
    >>> bool(abs(x) < 0.05)
    True
    """

    rule = "yogi"
    lr: Number = hyper(default=1e-2)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-3, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    initial_accumulator_value: Number = hyper(default=1e-6, slots=("s0",))
    decoupled_weight_decay: bool = choice(default=False, kw_only=True)


class Adan(Optimizer):
    r"""Adan: Nesterov's momentum for adaptive steps, from differences of gradients.

    .. math:: d = g - g_{t-1}, \quad m \leftarrow \operatorname{EMA}(g; \beta_1), \quad
              v \leftarrow \operatorname{EMA}(d; \beta_2), \quad n \leftarrow \operatorname{EMA}((g + \beta_2 d)^2;
              \beta_3)

    .. math:: \theta \leftarrow \Bigl(\theta - \eta\, \frac{\hat m + \beta_2 \hat v}{\sqrt{\hat n} + \epsilon}\Bigr)
              \Big/ (1 + \eta\lambda)

    where hats are bias corrections and the first :math:`d` is 0.

    Use it for large batches and transformers, at the price of more state than Adam's; expect to tune three decays.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps : float or schedule
        Learning rate and :math:`\epsilon`.
    betas : triple of float or schedule
        :math:`\beta_1, \beta_2, \beta_3`: weights of the past, as in the authors' code (the paper's are 1 minus these).
    weight_decay : float or schedule
        Decoupled, proximal.

    Notes
    -----
    The bias corrections are those of the authors' code.

    References
    ----------
    Xie et al. 2022, arXiv:2208.06677.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> fl.Adan(x, lr=0.1).step(2 * x)
    >>> x.round(6)
    array([0.9])
    """

    rule = "adan"
    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.98, 0.92, 0.99), slots=("b1", "b2", "b3"), below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    decoupled = True


class AdEMAMix(Optimizer):
    r"""AdEMAMix: Adam with a second, much slower mean of the gradient.

    .. math:: m_1 \leftarrow \operatorname{EMA}(g; \beta_1), \quad m_2 \leftarrow \operatorname{EMA}(g; \beta_3), \quad
              v \leftarrow \operatorname{EMA}(g^2; \beta_2)

    .. math:: \theta \leftarrow \theta - \eta\, \Bigl(
              \frac{m_1/(1-\beta_1^t) + \alpha m_2}{\sqrt{v/(1-\beta_2^t)} + \epsilon} + \lambda\theta\Bigr)

    Use it for long runs on much data, where gradients of thousands of steps ago still help; one more array than Adam.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps : float or schedule
        Learning rate and :math:`\epsilon`.
    betas : triple of float or schedule
        :math:`\beta_1, \beta_2, \beta_3`.
    weight_decay : float or schedule
        Decoupled.
    alpha : float or schedule
        Weight of the slow mean.
    warmup_steps : float
        Warm :math:`\alpha` up from 0 and :math:`\beta_3` from :math:`\beta_1`, as the paper's section 3, over so many
        steps; 0 for none.

    References
    ----------
    Pagliardini, Ablin and Grangier 2024, arXiv:2409.03137.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.AdEMAMix(x, lr=0.01)
    >>> for _ in range(100):
    ...     opt.step(2 * x)
    >>> bool(abs(x) < 0.5)
    True
    """

    rule = "ademamix"
    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.999, 0.9999), slots=("b1", "b2", "b3"), above=0, below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    alpha: Number = hyper(default=5.0)
    warmup_steps: Number = hyper(default=0, slots=("warmup",))
    decoupled = True


class ADOPT(Optimizer):
    r"""ADOPT: Adam that converges with any second decay, by dividing by the second moment of the steps before.

    .. math:: m \leftarrow \operatorname{EMA}\Bigl(\operatorname{clip}\Bigl(\frac{g}{\max(\sqrt{v}, \epsilon)},
              \pm (t-1)^{1/4}\Bigr); \beta_1\Bigr), \quad \theta \leftarrow \theta - \eta m, \quad
              v \leftarrow \operatorname{EMA}(g^2; \beta_2)

    The first step only sets :math:`v = g^2`.

    Use it where Adam diverges, or only converges with a second decay tuned to the problem.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps, weight_decay : float or schedule
        Weight decay is coupled unless `decoupled_weight_decay`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    decoupled_weight_decay : bool
        Shrink the parameters by :math:`1 - \eta\lambda` before every step but the first.

    References
    ----------
    Taniguchi et al. 2024, arXiv:2411.02853.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.ADOPT(x, lr=0.1)
    >>> for _ in range(100):
    ...     opt.step(2 * x)
    >>> bool(abs(x) < 0.05)
    True
    """

    rule = "adopt"
    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.9999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-6, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    decoupled_weight_decay: bool = choice(default=False, kw_only=True)


class Rprop(Optimizer):
    r"""Rprop: a step size for every weight, which grows while the gradient keeps its sign. For full batches.

    .. math:: s \leftarrow \operatorname{clip}\bigl(s \cdot \{\eta_+ \text{ if } g g_{t-1} > 0,\
              \eta_- \text{ if } g g_{t-1} < 0,\ 1 \text{ otherwise}\}\bigr), \qquad
              \theta \leftarrow \theta - \operatorname{sign}(g)\, s

    Where the sign changed, the weight waits for one step.

    Use it with gradients of all data and badly scaled parameters; in mini-batches the signs are noise, and it fails.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr : float
        The step sizes to begin with; later values of it change nothing.
    etas : pair of float or schedule
        :math:`\eta_-, \eta_+`.
    step_sizes : pair of float or schedule
        Smallest and largest step size.

    References
    ----------
    Riedmiller and Braun 1993; without backtracking, as torch.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 100.0])
    >>> fl.Rprop(x, lr=0.5).step(2 * x)
    >>> x
    array([ 0.5, 99.5])
    """

    rule = "rprop"
    lr: Number = hyper(default=1e-2)
    etas: Numbers = hyper(default=(0.5, 1.2), slots=("down", "up"), above=0)
    step_sizes: Numbers = hyper(default=(1e-6, 50.0), slots=("lo", "hi"))

    def _check_settings(self) -> None:
        for settings in self._settings:
            (down, up), (low, high) = settings["etas"], settings["step_sizes"]
            if not (callable(down) or callable(up)) and not down < 1 < up:
                raise ValueError(
                    f"Rprop(etas): must be a pair around 1; got {(down, up)!r}. Pass (0.5, 1.2), for example."
                )
            if not (callable(low) or callable(high)) and low > high:
                raise ValueError(
                    f"Rprop(step_sizes): must be the smallest and the largest step; got {(low, high)!r}. Exchange them."
                )


class Signum(Optimizer):
    r"""Signum: step by the sign of the running mean of the gradient; signSGD without momentum.

    .. math:: m \leftarrow \operatorname{EMA}(g; \mu), \qquad \theta \leftarrow \theta - \eta \operatorname{sign}(m)

    Use it where gradients must be sent in one bit, or their size means nothing; one array of state at most.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, momentum, weight_decay : float or schedule
        Weight decay is coupled.

    References
    ----------
    Bernstein et al. 2018, arXiv:1802.04434.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 0.0])
    >>> fl.Signum(x, lr=0.25).step(2 * x)  # the sign of 0 is 0
    >>> x
    array([0.75, 0.  ])
    """

    lr: Number = hyper(default=1e-3)
    momentum: Number = hyper(default=0.9, slots=("mu",), below=1)
    weight_decay: Number = hyper(default=0.0)

    @property
    def rule(self) -> str:
        return "signum" if self._any("momentum") else "signsgd"


class Lion(Optimizer):
    r"""Lion: step by the sign of a mix of the gradient and its running mean.

    .. math:: \theta \leftarrow (1-\eta\lambda)\theta - \eta \operatorname{sign}(\beta_1 m + (1-\beta_1) g), \qquad
              m \leftarrow \operatorname{EMA}(g; \beta_2)

    Use it for large models and batches, where half of Adam's state counts; with a learning rate three to ten times
    smaller than Adam's.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr : float or schedule
        Three to ten times smaller than for `AdamW`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    weight_decay : float or schedule
        Decoupled; three to ten times larger than for `AdamW`.

    References
    ----------
    Chen et al. 2023, arXiv:2302.06675.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 0.0])
    >>> fl.Lion(x, lr=0.25).step(2 * x)
    >>> x
    array([0.75, 0.  ])
    """

    rule = "lion"
    lr: Number = hyper(default=1e-4)
    betas: Numbers = hyper(default=(0.9, 0.99), slots=("b1", "b2"), below=1)
    weight_decay: Number = hyper(default=0.0)
    decoupled = True


class ASGD(Optimizer):
    r"""Averaged SGD: gradient descent with a decaying rate, and the average of its weights.

    .. math:: \eta_t = \eta \big/ (1 + \lambda' \eta (t-1))^\alpha, \qquad
              \theta \leftarrow (1 - \lambda'\eta_t)\theta - \eta_t g, \qquad
              a \leftarrow a + \frac{\theta - a}{\max(1, t - 1 - t_0)}

    `averaged` returns :math:`a`.

    Use it on convex problems with noisy gradients, where the average is as good as the best rate would be.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, lambd, alpha, weight_decay : float or schedule
        :math:`\eta, \lambda', \alpha`; weight decay is coupled and comes on top of :math:`\lambda'`.
    t0 : float
        The step from which the average is taken.

    References
    ----------
    Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the order of operations is
    torch's.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.ASGD(x, lr=0.25, lambd=0, t0=0)
    >>> for _ in range(3):
    ...     opt.step(2 * x)  # 1/2, 1/4, 1/8
    >>> opt.averaged()  # the first is left out of the average, as in torch
    array([0.1875])
    """

    rule = "asgd"
    lr: Number = hyper(default=1e-2)
    lambd: Number = hyper(default=1e-4)
    alpha: Number = hyper(default=0.75)
    t0: Number = hyper(default=1e6)
    weight_decay: Number = hyper(default=0.0)

    def _average_of(self, name: str, param: np.ndarray) -> np.ndarray:
        if self.ema is not None:
            return super()._average_of(name, param)
        state = self._state[name]
        return state["a"] if state["t"] > 0 else param


class FTRL(Optimizer):
    r"""FTRL-Proximal: follow the regularized leader, which makes weights exactly 0.

    .. math:: z \leftarrow z + g - \frac{\sqrt{n + g^2} - \sqrt{n}}{\eta}\, \theta, \qquad n \leftarrow n + g^2, \qquad
              \theta \leftarrow \frac{\operatorname{clip}(z, \pm\lambda_1) - z}{\sqrt{n}/\eta + \beta/\eta + 2\lambda_2}

    Use it for linear models of very many sparse features that are learned online, and shall be small afterwards.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`. Their first values enter only through :math:`z`, as in Keras.
    lr : float or schedule
        Greater than 0. Where it changes, the weights stay where they are (in Keras they shrink with it).
    l1, l2, beta : float or schedule
        :math:`\lambda_1, \lambda_2, \beta`. As in Keras, `l2` counts twice in the divisor, the paper's once.
    l2_shrinkage : float or schedule
        Adds :math:`2\,\mathtt{l2\_shrinkage}\,\theta` to the gradient that enters :math:`z`, not to the one in
        :math:`n`.
    initial_accumulator_value : float
        What :math:`n` begins with.

    References
    ----------
    McMahan et al. 2013, "Ad click prediction: a view from the trenches".

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0, 0.001])
    >>> opt = fl.FTRL(x, lr=0.1, l1=1.0)
    >>> opt.step(2 * x)
    >>> bool(x[1] == 0)
    True
    """

    rule = "ftrl"
    lr: Number = hyper(default=1e-3, above=0)
    l1: Number = hyper(default=0.0)
    l2: Number = hyper(default=0.0)
    l2_shrinkage: Number = hyper(default=0.0, slots=("shrink",))
    beta: Number = hyper(default=0.0)
    initial_accumulator_value: Number = hyper(default=0.1, slots=("n0",))


class LARS(Optimizer):
    r"""LARS: momentum, with a rate for every tensor from the ratio of its norm to its gradient's.

    .. math:: q = \tau\, \frac{\|\theta\|}{\|g\| + \lambda\|\theta\| + \epsilon}, \qquad
              b \leftarrow \mu b + q\, (g + \lambda\theta), \qquad \theta \leftarrow \theta - \eta b

    where :math:`q = 1` if a norm is 0. Keep biases and gains in a group with ``weight_decay=0``.

    Use it for convolutional networks with batches of thousands, where one rate does not fit all layers.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, momentum, eps : float or schedule
        :math:`\eta, \mu, \epsilon`.
    weight_decay : float or schedule
        :math:`\lambda`, inside the ratio.
    trust_coefficient : float or schedule
        :math:`\tau`.
    nesterov : bool
        Take Nesterov's step.

    Notes
    -----
    The learning rate is outside the momentum buffer, as in `SGD`; in the paper it is inside.

    References
    ----------
    You, Gitman and Ginsburg 2017, arXiv:1708.03888.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([3.0, 4.0])
    >>> fl.LARS(x, lr=1.0, trust_coefficient=0.5, eps=0).step(1000 * x)  # the step has half the length of x
    >>> x
    array([1.5, 2. ])
    """

    lr: Number = hyper(default=1e-3)
    momentum: Number = hyper(default=0.9, slots=("mu",))
    weight_decay: Number = hyper(default=0.0)
    trust_coefficient: Number = hyper(default=1e-3, slots=("trust",))
    eps: Number = hyper(default=1e-9, narrowed=True)
    nesterov: bool = choice(default=False, kw_only=True)
    decoupled = True

    @property
    def rule(self) -> str:
        return "lars_nesterov" if self.nesterov else "lars"


class LAMB(Optimizer):
    r"""LAMB: Adam, with a rate for every tensor from the ratio of its norm to its step's.

    .. math:: r = \frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)} + \epsilon} + \lambda\theta, \qquad
              \theta \leftarrow \theta - \eta\, \frac{\phi(\|\theta\|)}{\|r\|}\, r

    with the moments of `Adam`, :math:`\phi(x) = \min(x, \mathtt{max\_norm})`, and the ratio 1 if a norm is 0.

    Use it for transformers with batches of thousands, where `AdamW` needs one rate for every layer.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps : float or schedule
        Learning rate and :math:`\epsilon`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    weight_decay : float or schedule
        :math:`\lambda`, inside the ratio.
    max_norm : float or schedule
        Bound of the parameter's norm in the ratio; infinity for none.

    References
    ----------
    You et al. 2020, arXiv:1904.00962.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([3.0, 4.0])
    >>> fl.LAMB(x, lr=0.5).step(2 * x)  # the step has half the length of x
    >>> bool(np.isclose(np.linalg.norm(x - [3, 4]), 2.5))
    True
    """

    rule = "lamb"
    lr: Number = hyper(default=1e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), below=1)
    eps: Number = hyper(default=1e-6, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    max_norm: Number = hyper(default=float("inf"), above=0, infinite=True, kw_only=True)
    decoupled = True


class ScheduleFreeSGD(Optimizer):
    r"""Schedule-free SGD: no decay of the learning rate to plan, because the average of the weights takes its place.

    .. math:: y \leftarrow y + c\,(z - y) - \eta\,(1 - \mu(1-c))\, g, \qquad z \leftarrow z - \eta g, \qquad
              c = w_t \Big/ \sum_{i\le t} w_i, \quad w_t = t^r (\max_{i\le t} \eta_i)^p

    The parameters hold :math:`y`, where the gradient is taken; `averaged` returns :math:`x = z + (y - z)/\mu`, the
    weights to evaluate and to keep. There are no modes to switch.

    Use it where SGD with a schedule is good, and the number of steps is not known before; evaluate with `averaged`.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, weight_decay : float or schedule
        Weight decay is coupled, at :math:`y`.
    momentum : float
        :math:`\mu`, between 0 and 1 without the ends.
    warmup_steps : float
        Warm `lr` up linearly over so many steps.
    r, weight_lr_power : float
        Exponents :math:`r` and :math:`p` of the weights in the average.

    References
    ----------
    Defazio et al. 2024, arXiv:2405.15682.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.ScheduleFreeSGD(x, lr=0.25)
    >>> for _ in range(100):
    ...     opt.step(2 * x)
    >>> bool(abs(opt.averaged()) < 0.05)
    True
    """

    rule = "schedule_free_sgd"
    lr: Number = hyper(default=1.0)
    momentum: Number = hyper(default=0.9, slots=("mu",), above=0, below=1)
    weight_decay: Number = hyper(default=0.0)
    warmup_steps: Number = hyper(default=0, slots=("warmup",))
    r: Number = hyper(default=0.0)
    weight_lr_power: Number = hyper(default=2.0, slots=("power",))

    def _average_of(self, name: str, param: np.ndarray) -> np.ndarray:
        return _schedule_free_average(self, name, param, "momentum")


class ScheduleFreeAdamW(Optimizer):
    r"""Schedule-free AdamW: as `ScheduleFreeSGD`, with Adam's second moment.

    .. math:: v \leftarrow \operatorname{EMA}(g^2; \beta_2), \qquad
              d = \frac{g}{\sqrt{v/(1-\beta_2^t)} + \epsilon} + \lambda y

    and :math:`d` takes the place of :math:`g`, :math:`\beta_1` that of :math:`\mu`.

    Use it where AdamW with a schedule is good, and the number of steps is not known before; evaluate with `averaged`.

    Parameters
    ----------
    params : array, list, dict or groups
        See `fallline.Optimizer`.
    lr, eps : float or schedule
        Learning rate and :math:`\epsilon`.
    betas : pair of float or schedule
        :math:`\beta_1, \beta_2`.
    weight_decay : float or schedule
        Decoupled, at :math:`y`.
    warmup_steps, r, weight_lr_power : float
        As for `fallline.ScheduleFreeSGD`.

    Notes
    -----
    :math:`v` is corrected for its bias, as in the authors' present code; the paper puts the correction into the
    learning rate, and so into the weights of the average too.

    References
    ----------
    Defazio et al. 2024, arXiv:2405.15682.

    Examples
    --------
    >>> import numpy as np
    >>> import fallline as fl
    >>> x = np.array([1.0])
    >>> opt = fl.ScheduleFreeAdamW(x, lr=0.1)
    >>> for _ in range(200):
    ...     opt.step(2 * x)
    >>> bool(abs(opt.averaged()) < 0.1)
    True
    """

    rule = "schedule_free_adamw"
    lr: Number = hyper(default=2.5e-3)
    betas: Numbers = hyper(default=(0.9, 0.999), slots=("b1", "b2"), above=0, below=1)
    eps: Number = hyper(default=1e-8, narrowed=True)
    weight_decay: Number = hyper(default=0.0)
    warmup_steps: Number = hyper(default=0, slots=("warmup",))
    r: Number = hyper(default=0.0)
    weight_lr_power: Number = hyper(default=2.0, slots=("power",))
    decoupled = True

    def _average_of(self, name: str, param: np.ndarray) -> np.ndarray:
        return _schedule_free_average(self, name, param, "betas")


def _schedule_free_average(optimizer: Optimizer, name: str, y: np.ndarray, momentum: str) -> np.ndarray:
    """Return x, of which y = (1 - mu) z + mu x."""
    if optimizer.ema is not None:
        return Optimizer._average_of(optimizer, name, y)
    state = optimizer.state[name]
    if state["t"] == 0:
        return y
    y = state.get("master", y)
    mu = optimizer.current(momentum, group=optimizer._group_of[name])
    mu = mu[0] if isinstance(mu, tuple) else mu
    x: np.ndarray = state["z"] + (y - state["z"]) / mu
    return x
