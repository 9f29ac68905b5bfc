"""What every optimizer is: a rule, parameters, their state, and the options that work the same for all rules."""

from os import PathLike
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from fallline import _core, checkpoint, trees
from fallline.hyper import Choice, Declared, Field, Hyper, Number, choice, hyper, seed, threads
from fallline.params import check_params
from fallline.shelf import Shelf

_RULES = _core.rules()
_SMALLEST, _LARGEST = 2.0**-149, float(np.finfo(np.float32).max)


class Group:
    """One parameter group; its hyperparameters are attributes, and may be assigned between steps.

    Besides the optimizer's own: ``lr_scale`` multiplies the learning rate, and while ``frozen`` is true the group's
    parameters, states and counters are left alone.
    """

    __slots__ = ("_index", "_optimizer")
    _index: int
    _optimizer: "Optimizer"

    def __init__(self, optimizer: "Optimizer", index: int) -> None:
        object.__setattr__(self, "_optimizer", optimizer)
        object.__setattr__(self, "_index", index)

    def __reduce__(self) -> tuple[Any, ...]:
        return Group, (self._optimizer, self._index)

    def __getattr__(self, name: str) -> Any:
        settings = self._optimizer._settings[self._index]
        if name not in settings:
            raise AttributeError(self._unknown(name))
        return settings[name]

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._optimizer._group_fields().get(name)
        if field is None:
            raise AttributeError(self._unknown(name))
        self._optimizer._assign(field, value, self._index)

    def _unknown(self, name: str) -> str:
        known = ", ".join(self._optimizer._settings[self._index])
        return f"groups[{self._index}]: must be asked for a hyperparameter ({known}); got {name!r}. Check the spelling."

    def __repr__(self) -> str:
        settings = self._optimizer._settings[self._index]
        return f"Group({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def _of_groups(name: str, field: Any) -> Any:
    """Name a field that belongs to the groups alone, which is in no class's body."""
    field.__set_name__(Group, name)
    return field


_LR_SCALE: Hyper = _of_groups("lr_scale", hyper(default=1.0))
_FROZEN: Choice = _of_groups("frozen", choice(default=False, live=True, in_groups=True))
_IN_GROUPS_ONLY: dict[str, Field] = {field.name: field for field in (_LR_SCALE, _FROZEN)}


class Optimizer(Declared):
    """Base of all optimizers.

    Parameters
    ----------
    params : array, list, tuple, dict, or list of groups
        Arrays to optimize, in place: float32, float64, float16 or bfloat16 (of ml_dtypes), of any shape and strides.
        Lists and dicts may be nested. Groups are dicts with the key ``"params"`` and hyperparameters of their own, as
        in torch.
    maximize : bool
        Step uphill.
    clip_value : float or schedule, optional
        Clip every element of a gradient to ``[-clip_value, clip_value]``.
    clip_norm : float or schedule, optional
        Scale all gradients down to this global 2-norm if theirs is larger. (torch divides by the norm + 1e-6; optax and
        this by the norm.)
    grad_scale : float or schedule
        Multiply gradients by this first, for example by 1/loss_scale.
    nonfinite : {"raise", "skip", "ignore"}
        What to do if a gradient holds NaN or infinity. The first two look at all gradients before anything is written,
        which reads them once more: they leave parameters, states and counters as they were.
    ema : float or schedule, optional
        Keep a moving average of the weights with this decay; `averaged` returns it.
    half_params : {"master", "stochastic", "nearest"}
        How float16 and bfloat16 parameters keep what is too small for them: in a float32 master copy (4 bytes an
        element), by stochastic rounding, or not at all.
    rng : None, int or numpy.random.Generator
        Seed of the stochastic rounding, which depends on (seed, step, element) only.
    threads : int, optional
        Use at most this many threads; `fallline.set_num_threads` sets it for all.
    """

    maximize: bool = choice(default=False, live=True, kw_only=True, in_groups=True)
    clip_value: Number | None = hyper(default=None, above=0, optional=True, kw_only=True, in_groups=False)
    clip_norm: Number | None = hyper(default=None, above=0, optional=True, kw_only=True, in_groups=False)
    grad_scale: Number = hyper(default=1.0, above=0, kw_only=True, in_groups=False)
    nonfinite: str = choice(default="raise", among=("raise", "skip", "ignore"), live=True, kw_only=True)
    ema: Number | None = hyper(default=None, below=1, optional=True, kw_only=True, in_groups=False)
    half_params: str = choice(default="master", among=("master", "stochastic", "nearest"), kw_only=True)
    rng: "int | np.random.Generator | None" = seed(default=None)
    threads: int | None = threads(default=None)

    #: Name of the rule in csrc/rules.h; a property where it depends on the settings.
    rule: ClassVar[Any]

    #: Hyperparameters of the rule that the class does not offer, and their values.
    fixed: ClassVar[dict[str, float]] = {}

    @property
    def decoupled(self) -> bool:
        """Whether weight decay shrinks the parameters instead of entering the gradient; some classes always do."""
        return bool(getattr(self, "decoupled_weight_decay", False))

    # ---- building

    def __init__(self, *args: Any, **keywords: Any) -> None:
        if not hasattr(type(self), "rule"):
            raise TypeError(
                f"{type(self).__name__}: must be a class with a rule; got the base of all optimizers. "
                f"Use one of them, for example Adam."
            )
        params, given = self._bind(args, keywords)
        self._common = {name: value for name, value in given.items() if not self._fields[name].in_groups}
        defaults = {name: value for name, value in given.items() if self._fields[name].in_groups}
        defaults |= {name: field.default for name, field in _IN_GROUPS_ONLY.items()}
        self._grouped = trees.is_groups(params)
        if self._grouped:
            self._params = [group["params"] for group in params]
            self._settings = [defaults | self._own_settings(i, group) for i, group in enumerate(params)]
        else:
            self._params = params
            self._settings = [defaults]
        self._build()

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse names that are no hyperparameter, which would change nothing."""
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), Field):
            live = ", ".join(name for name, field in self._fields.items() if field.live)
            raise AttributeError(
                f"{type(self).__name__}.{name}: must be a hyperparameter to be assigned ({live}); got {name!r}. "
                f"Check the spelling."
            )
        super().__setattr__(name, value)

    @classmethod
    def _group_fields(cls) -> dict[str, Field]:
        return {name: f for name, f in cls._fields.items() if f.in_groups} | _IN_GROUPS_ONLY

    def _own_settings(self, i: int, group: dict[str, Any]) -> dict[str, Any]:
        fields = self._group_fields()
        unknown = [name for name in group if name not in fields and name != "params"]
        if unknown:
            everywhere = unknown[0] in self._fields
            cure = "Pass it to the optimizer: it holds for all groups." if everywhere else "Check the spelling."
            raise ValueError(
                f"params[{i}]: must have the keys 'params' and hyperparameters that groups may have "
                f"({', '.join(fields)}); got {unknown[0]!r}. {cure}"
            )
        owner = f"{type(self).__name__} group {i} "
        return {name: fields[name].check(owner, value) for name, value in group.items() if name != "params"}

    def _build(self, rule: str | None = None) -> None:
        named = list(trees.leaves(self._params))
        check_params(named)
        self._check_settings()
        structure, _ = trees.numbered(self._params)
        group_of = [i for i, tree in enumerate(self._group_trees()) for _ in trees.leaves(tree)]
        self._named = named
        self._built = rule or self.rule
        self._averages = self.ema is not None
        self._single = any(array.dtype != np.float64 for _, array in named)
        self._plan = _core.Plan(self._built, [name for name, _ in named], structure, len(self._settings))
        self._own_grads: Any = None
        self._push_all()
        self._place(named, group_of)

    def _group_trees(self) -> list[Any]:
        return list(self._params) if self._grouped else [self._params]

    def _place(self, named: list[tuple[str, np.ndarray]], group_of: list[int]) -> None:
        """Allocate the state of every tensor and hand all of it to the plan."""
        info = _RULES[self._built]
        self._group_of = {name: group for (name, _), group in zip(named, group_of, strict=True)}
        extras = [self._extras(array) for _, array in named]
        shelf = Shelf(
            (array, len(info["states"]) + len(extra)) for (_, array), extra in zip(named, extras, strict=True)
        )
        self._running = np.empty((len(named), len(info["running"])))
        state: dict[str, Any] = {}
        for i, ((name, array), extra) in enumerate(zip(named, extras, strict=True)):
            running, initial = _core.start_values(self._built, self._numbers(group_of[i], 0)[0])
            self._running[i] = running
            flat, shaped = shelf.take(array, len(initial) + len(extra))
            for one, value in zip(flat, initial, strict=False):
                one[:] = value
            own = dict(zip([*info["states"], *extra], flat, strict=True))
            if "master" in own:
                shaped[-1][...] = array
            self._plan.place(
                i, array, group_of[i], flat[: len(initial)], self._running[i],
                average=own.get("average"), master=own.get("master"), stochastic=self.half_params == "stochastic",
            )  # fmt: skip
            counters = {key: self._running[i, k : k + 1].reshape(()) for k, key in enumerate(info["running"])}
            state[name] = MappingProxyType(dict(zip(own, shaped, strict=True)) | counters)
        self._plan.arrange([self._running, *shelf.arrays.values()])
        self._state = MappingProxyType(state)

    def _extras(self, array: np.ndarray) -> list[str]:
        half = array.dtype.itemsize == 2 and self.half_params == "master"
        return [*(["average"] if self._averages else []), *(["master"] if half else [])]

    # ---- hyperparameters

    def _check_settings(self) -> None:
        """Raise if settings that are fine one by one do not go together."""

    def _any(self, name: str) -> bool:
        """Return whether a hyperparameter is anything but 0 in any group."""
        return any(settings[name] != 0 for settings in self._settings)

    def _assign(self, field: Field, value: Any, group: int | None = None) -> None:
        owner = type(self).__name__ if group is None else f"groups[{group}] "
        if not field.live:
            raise AttributeError(
                f"{owner}({field.name}): must be chosen when the optimizer is built; got an assignment of {value!r}. "
                f"Build a new optimizer."
            )
        value = field.check(owner, value)
        before = self._settings, self._common
        if field.in_groups:
            chosen = range(len(self._settings)) if group is None else [group]
            self._settings = [s | {field.name: value} if i in chosen else s for i, s in enumerate(self._settings)]
        else:
            self._common = self._common | {field.name: value}
        try:
            self._check_settings()
            if self._lacks_state():
                raise ValueError(
                    f"{owner}({field.name}): must need the state that was built; got {value!r}. Build a new optimizer."
                )
            self._push_all()
        except Exception:
            self._settings, self._common = before
            self._push_all()
            raise

    def _lacks_state(self) -> bool:
        """Return whether the settings need arrays that were not built."""
        lacking = set(_RULES[self.rule]["states"]) - set(_RULES[self._built]["states"])
        return bool(lacking) or (self.ema is not None) != self._averages

    def _numbers(self, group: int, t: int) -> tuple[list[float], float]:
        """Return the rule's hyperparameters of a group after t steps, and its coupled weight decay."""
        owner = type(self).__name__
        settings = self._settings[group]
        numbers: dict[str, float] = dict(self.fixed)
        for name, field in self._fields.items():
            value = settings[name] if field.in_groups else self._common[name]
            if isinstance(field, Hyper):
                value = field.at(owner, value, t)
                if field.narrowed:
                    self._check_narrowed(field, value)
            numbers |= field.numbers(value)
        lr: Any = self._fields["lr"]
        numbers["lr"] = lr.scaled(owner, numbers["lr"], _LR_SCALE.at(owner, settings["lr_scale"], t))
        decay = numbers.get("weight_decay", 0.0)
        numbers["wd"] = decay if self.decoupled else 0.0
        return [numbers[name] for name in _RULES[self._built]["hypers"]], 0.0 if self.decoupled else decay

    def _check_narrowed(self, field: Hyper, value: float) -> None:
        if self._single and value > 0 and not _SMALLEST <= value <= _LARGEST:
            raise field.refuse(
                ValueError, type(self).__name__, "0, or between 1.4e-45 and 3.4e38, the range of float32", value,
                "Use a number in that range, or float64 parameters.",
            )  # fmt: skip

    def _push(self, group: int) -> None:
        hypers, l2 = self._numbers(group, self.steps)
        settings = self._settings[group]
        self._plan.set_group(group, hypers, l2, settings["maximize"], settings["frozen"])

    def _push_options(self, plan: _core.Plan | None = None) -> None:
        owner, t = type(self).__name__, self.steps
        value = {name: f.at(owner, self._common[name], t) for name, f in self._fields.items()
                 if isinstance(f, Hyper) and not f.in_groups}  # fmt: skip
        (plan or self._plan).set_options(
            value["grad_scale"], value["clip_value"], value["clip_norm"], value["ema"],
            self._common["rng"], self._common["nonfinite"], self._common["threads"] or 0,
        )  # fmt: skip

    def _push_all(self) -> None:
        """Hand all numbers to the plan, and note which of them follow schedules."""
        for i in range(len(self._settings)):
            self._push(i)
        self._push_options()
        followers = [self._followers(i) for i in range(len(self._settings))]
        self._follow_numbers = [one for found in followers for one in found or ()]
        self._follow_groups = [i for i, found in enumerate(followers) if found is None]
        self._follow_options = any(
            isinstance(f, Hyper) and not f.in_groups and f.is_scheduled(self._common[name])
            for name, f in self._fields.items()
        )
        self._scheduled = bool(self._follow_numbers or self._follow_groups or self._follow_options)

    def _followers(self, group: int) -> list[tuple[Any, Hyper, int, int, float]] | None:
        """Return (schedule, field, group, index of the rule's number, factor) for each schedule of a group.

        None stands for a group of which more than single numbers change.
        """
        settings = self._settings[group]
        if callable(settings["lr_scale"]):
            return None
        hypers = _RULES[self._built]["hypers"]
        followers: list[tuple[Any, Hyper, int, int, float]] = []
        for name, field in self._group_fields().items():
            if not isinstance(field, Hyper) or not field.is_scheduled(settings[name]):
                continue
            if field.narrowed:
                return None
            for slot, schedule in field.numbers(settings[name]).items():
                slot = "wd" if slot == "weight_decay" and self.decoupled else slot
                index = _core.L2 if slot == "weight_decay" else hypers.index(slot) if slot in hypers else None
                if callable(schedule) and index is not None:
                    followers.append((schedule, field, group, index, settings["lr_scale"] if slot == "lr" else 1.0))
        return followers

    def _follow_schedules(self) -> None:
        owner, plan, t = type(self).__name__, self._plan, self._plan.steps
        new = [(group, index, field.scaled(owner, field.at(owner, schedule, t), factor))
               for schedule, field, group, index, factor in self._follow_numbers]  # fmt: skip
        for group, index, number in new:
            plan.set_number(group, index, number)
        for i in self._follow_groups:
            self._push(i)
        if self._follow_options:
            self._push_options()

    def _replica(self, x: np.ndarray, lr: float | None) -> _core.Plan:
        """Return a plan that steps x from the beginning as this optimizer would its one array, which is alike."""
        info, settings = _RULES[self._built], self._settings[0]
        hypers, l2 = self._numbers(0, 0)
        if lr is not None:
            hypers[info["hypers"].index("lr")] = lr
        running, initial = _core.start_values(self._built, hypers)
        counters, states = np.array(running), [np.full(x.size, value) for value in initial]
        average = np.empty(x.size) if self._averages else None
        plan = _core.Plan(self._built, ["0"], trees.numbered(x)[0], 1)
        plan.place(0, x, 0, states, counters, average=average)
        plan.arrange([counters, *states, *([] if average is None else [average])])
        plan.set_group(0, hypers, l2, settings["maximize"], False)
        self._push_options(plan)
        return plan

    def _timetable(self, n_steps: int, t: int | None = None) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the scheduled numbers of the steps from t on, a row for each, and where in the rule they belong.

        None if more than single numbers of one group follow schedules: then each step has to ask.
        """
        if self._follow_groups or self._follow_options or len(self._settings) > 1:
            return None
        owner, t = type(self).__name__, self.steps if t is None else t
        rows = [[field.scaled(owner, field.at(owner, schedule, t + k), factor)
                 for schedule, field, _, _, factor in self._follow_numbers]
                for k in range(n_steps if self._scheduled else 0)]  # fmt: skip
        index = np.array([index for _, _, _, index, _ in self._follow_numbers], np.intp).astype(np.uintp)
        return index, np.array(rows, np.float64).reshape(len(rows), len(index))

    def current(self, name: str, group: int = 0) -> Any:
        """Return the value of a hyperparameter that the next step will use: a schedule is evaluated.

        Parameters
        ----------
        name : str
            For example ``"lr"``.
        group : int
            Number of the parameter group.
        """
        field = self._fields.get(name) or _IN_GROUPS_ONLY.get(name)
        if field is None:
            known = ", ".join([*self._fields, *_IN_GROUPS_ONLY])
            raise ValueError(f"current(name): must be a hyperparameter ({known}); got {name!r}. Check the spelling.")
        if not -len(self._settings) <= group < len(self._settings):
            raise IndexError(
                f"current(group): must be the number of a group, from 0 to {len(self._settings) - 1}; got {group}. "
                f"Look at opt.groups."
            )
        value = self._settings[group][name] if field.in_groups else self._common[name]
        return field.at(type(self).__name__, value, self.steps) if isinstance(field, Hyper) else value

    def _arrays(self) -> list[tuple[str, np.ndarray]]:
        """Return the named parameters, unless they, or the containers that hold them, were changed since."""
        held, built = dict(trees.leaves(self._params)), dict(self._named)
        for name in [*built, *held]:
            if held.get(name) is not built.get(name):
                raise RuntimeError(
                    f"params[{name!r}]: must be the array that the optimizer was built with; got another, put in its "
                    f"place. Write into the array instead: array[...] = values."
                )
        self._plan.check_params()
        return self._named

    @property
    def params(self) -> Any:
        """The parameters, in the structure they were given in; of groups, a list of theirs."""
        return self._params

    @property
    def groups(self) -> list[Group]:
        """The parameter groups; one, if none were given."""
        return [Group(self, i) for i in range(len(self._settings))]

    # ---- stepping

    def step(self, grads: Any = ...) -> None:
        """Step all parameters, in place.

        Parameters
        ----------
        grads : like params, optional
            Gradients, in the structure of the parameters and of their shapes and dtypes (float32 will do for half
            parameters). A missing or None entry leaves that tensor and its counters alone. Without the argument,
            `grads` of the optimizer are used.

        Raises
        ------
        TypeError, ValueError
            A gradient does not match its parameter, or is not finite. Nothing was changed.
        RuntimeError
            Another thread is stepping this optimizer, or a parameter was resized, reshaped or moved.
        """
        if grads is ...:
            grads = self._filled_grads()
        if self._scheduled:
            self._follow_schedules()
        self._plan.step(grads)

    @property
    def grads(self) -> Any:
        """Gradient buffers like the parameters, zero at first: fill them, then call `step` without argument."""
        if self._own_grads is None:
            arrays = dict(self._arrays())
            self._own_grads = trees.rebuild(self._params, lambda name: np.zeros_like(arrays[name]))
        return self._own_grads

    def _filled_grads(self) -> Any:
        if self._own_grads is None:
            raise RuntimeError(
                "step: must be given gradients, or find them in opt.grads; got neither. Call opt.step(grads), or fill "
                "opt.grads first."
            )
        return self._own_grads

    @property
    def steps(self) -> int:
        """Number of steps done."""
        return self._plan.steps

    @property
    def skipped(self) -> int:
        """Number of steps that were skipped because a gradient was not finite."""
        return self._plan.skipped

    # ---- state

    @property
    def state(self) -> MappingProxyType[str, MappingProxyType[str, np.ndarray]]:
        """Live arrays of the state, by the names of the tensors and of the rule's states; counters are 0-d arrays."""
        return self._state

    def averaged(self) -> Any:
        """Return the averaged weights, as new arrays in the structure of the parameters.

        They are the moving average that `ema` keeps, or else the average that belongs to the rule (ASGD,
        schedule-free).
        """
        arrays = dict(self._arrays())
        return trees.rebuild(self._params, lambda name: self._average_of(name, arrays[name]).astype(arrays[name].dtype))

    def _average_of(self, name: str, param: np.ndarray) -> np.ndarray:
        if self.ema is None:
            raise RuntimeError(
                f"averaged: must be called on an optimizer that averages; got {type(self).__name__} without ema. "
                f"Build it with ema=0.999, for example."
            )
        state = self._state[name]
        return state["average"] if state["t"] > 0 else param

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all state and hyperparameters, as nested dicts; without the parameters."""
        return {
            "format": checkpoint.FORMAT,
            "optimizer": type(self).__name__,
            "rule": self._built,
            "choices": {name: self._common[name] for name, f in self._fields.items() if self._is_choice(f)},
            "options": {name: checkpoint.packed(self._common[name]) for name in self._live_options()},
            "groups": [{name: checkpoint.packed(x) for name, x in settings.items()} for settings in self._settings],
            "steps": self.steps,
            "skipped": self.skipped,
            "rng": self._common["rng"],
            "state": {name: {key: array.copy() for key, array in own.items()} for name, own in self._state.items()},
        }

    @staticmethod
    def _is_choice(field: Field) -> bool:
        return isinstance(field, Choice) and not field.live

    def _live_options(self) -> list[str]:
        return [name for name, f in self._fields.items() if isinstance(f, Hyper) and not f.in_groups]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, strictly by name, shape and dtype: all, or nothing and an error."""
        checkpoint.check(state_dict, self.state_dict())
        owner, before = type(self).__name__, (self._settings, self._common, self.steps, self.skipped)
        fields = self._group_fields()
        settings = [
            {name: fields[name].check(owner, checkpoint.unpacked(given[name], own[name])) for name in own}
            for own, given in zip(self._settings, state_dict["groups"], strict=True)
        ]
        options = {
            name: self._fields[name].check(owner, checkpoint.unpacked(given, self._common[name]))
            for name, given in state_dict["options"].items()
        }
        with checkpoint.restored_schedules(
            [*zip(settings, state_dict["groups"], strict=True), (options, state_dict["options"])]
        ):
            try:
                self._settings, self._common = settings, self._common | options | {"rng": state_dict["rng"]}
                self._plan.steps, self._plan.skipped = state_dict["steps"], state_dict["skipped"]
                self._check_settings()
                if self._lacks_state():
                    raise ValueError(
                        "load_state_dict(state_dict): must need the state that was built; got hyperparameters "
                        "that need other. Build the optimizer with the settings it was saved with."
                    )
                self._push_all()
            except Exception:
                self._settings, self._common, self._plan.steps, self._plan.skipped = before
                self._push_all()
                raise
        for name, arrays in self._state.items():
            for key, array in arrays.items():
                array[...] = state_dict["state"][name][key]

    def save(self, path: str | PathLike[str]) -> None:
        """Write parameters, state and hyperparameters to a file (NumPy's npz, no pickle).

        The file is written aside, synced and renamed: an interrupted save leaves the old file as it was.
        """
        checkpoint.write(path, self.state_dict(), dict(self._arrays()))

    def load(self, path: str | PathLike[str]) -> None:
        """Read what `save` wrote, into the parameters and the state; all of it, or nothing and an error."""
        state_dict, params = checkpoint.read(path)
        checkpoint.check_params(dict(self._arrays()), params)
        self.load_state_dict(state_dict)
        for name, array in self._named:
            array[...] = params[name]

    def __getstate__(self) -> dict[str, Any]:
        self._arrays()
        kept = ("_params", "_common", "_settings", "_grouped", "_own_grads")
        return {name: getattr(self, name) for name in kept} | {"state_dict": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state_dict, own_grads = state.pop("state_dict"), state.pop("_own_grads")
        self.__dict__.update(state)
        self._build(state_dict["rule"])
        self.load_state_dict(state_dict)
        self._own_grads = own_grads

    def __repr__(self) -> str:
        arrays = [array for _, array in self._named]
        count = f"{_counted(len(arrays), 'array')}, {_counted(sum(a.size for a in arrays), 'element')}"
        shown = {name: self._shown(name, f) for name, f in self._fields.items()}
        arguments = ", ".join(f"{name}={text}" for name, text in shown.items() if text is not None)
        return f"{type(self).__name__}({arguments}) on {count}, {_counted(self.steps, 'step')} done"

    def _shown(self, name: str, field: Field) -> str | None:
        """Return what repr shows of a field: hyperparameters always, options where they are not the default."""
        given = [s[name] for s in self._settings] if field.in_groups else [self._common[name]]
        is_option = isinstance(field, Choice) or field.common
        if name == "rng" or (is_option and all(value == field.default for value in given)):
            return None
        return repr(given[0]) if all(value == given[0] for value in given) else "/".join(map(repr, given))


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
