# Minimizing in one loop.

STOPS = {
    FL_GOING: "going",
    FL_GRADIENT_SMALL: "gradient",
    FL_VALUE_STEADY: "value",
    FL_STEP_SMALL: "step",
    FL_DIVERGED: "diverged",
}


cdef class Objective:
    """A function to minimize, whose value and gradient are computed together.

    Parameters
    ----------
    function : int or PyCapsule or Tape or callable
        The address of a C function ``double f(const double *x, size_t n, double *gradient, void *context)``, the capsule
        of a `scipy.LowLevelCallable` of that signature, a tape, or a Python function of an array that is its own, which
        returns a float and a float64 array.
    owner : object
        Kept alive as long as this.
    """

    cdef fl_objective *function
    cdef void *context
    cdef object owner
    cdef readonly bint is_native

    def __cinit__(self, function, owner):
        self.owner = owner
        self.is_native = True
        if isinstance(function, Tape):
            self.owner = function
            self.function = &fl_tape_evaluate
        elif PyCapsule_CheckExact(function):
            self.function = <fl_objective *>PyCapsule_GetPointer(function, PyCapsule_GetName(function))
            self.context = PyCapsule_GetContext(function)
        elif isinstance(function, int):
            self.function = <fl_objective *><uintptr_t>function
        else:
            self.is_native = False
            self.owner = function
            self.function = &_evaluate_in_python


cdef double _evaluate_in_python(const double *x, size_t n, double *gradient, void *context) noexcept with gil:
    """Call the Python function of a descent; after an error it is not called again, and the descent ends."""
    cdef Descent descent = <Descent>context
    cdef const double[::1] slopes
    if descent.error is not None:
        return HUGE_VAL
    try:
        point = np.empty(n)
        memcpy(cnp.PyArray_DATA(point), x, n*sizeof(double))
        value, found = descent.objective.owner(point)
        slopes = found
        if <size_t>slopes.shape[0] != n:
            raise IndexError
        if n > 0:
            memcpy(gradient, &slopes[0], n*sizeof(double))
        return value
    except BaseException as error:
        descent.error = error
        return HUGE_VAL


cdef void _project_in_python(double *x, size_t n, void *context) noexcept with gil:
    cdef Descent descent = <Descent>context
    cdef const double[::1] moved
    if descent.error is not None:
        return
    try:
        point = np.empty(n)
        memcpy(cnp.PyArray_DATA(point), x, n*sizeof(double))
        moved = descent.projection(point)
        if <size_t>moved.shape[0] != n:
            raise IndexError
        if n > 0:
            memcpy(x, &moved[0], n*sizeof(double))
    except BaseException as error:
        descent.error = error


cdef class Descent:
    """One descent: an optimizer's plan of one array, an objective, and the best point so far.

    Parameters
    ----------
    plan : Plan
        Of one contiguous array of float64.
    objective : Objective
    projection : callable, or (low, high) arrays of float64, or None
        What moves x into the allowed region after each step.
    gtol, ftol, xtol : float
        When to stop; negative: never.
    maximize : bool
    """

    cdef fl_descent d
    cdef fl_settings settings
    cdef fl_box box
    cdef readonly object best_x, best_gradient
    cdef Plan plan
    cdef Objective objective
    cdef object projection, error
    cdef double[::1] memory, low, high
    cdef fl_tape *tape
    cdef fl_scratch *scratch

    def __cinit__(self, Plan plan not None, Objective objective not None, projection, double gtol, double ftol, double xtol,
                  bint maximize):
        if plan.n_tensors != 1 or plan.tensors[0].param_format != FL_FLOAT64 or plan.tensors[0].param_layout != NULL:
            raise IndexError
        cdef size_t n = plan.tensors[0].size
        self.plan, self.objective, self.projection = plan, objective, projection
        self.best_x, self.best_gradient, self.memory = np.empty(n), np.empty(n), np.empty(3*n + 1)
        self.d.n, self.d.plan, self.d.settings = n, plan.plan, &self.settings
        self.d.x, self.d.gradient = <double *>plan.tensors[0].param, &self.memory[0]
        self.d.before, self.d.trial = &self.memory[0] + n, &self.memory[0] + 2*n
        self.d.best_x = <double *>cnp.PyArray_DATA(self.best_x)
        self.d.best_gradient = <double *>cnp.PyArray_DATA(self.best_gradient)
        self.d.gtol, self.d.ftol, self.d.xtol, self.d.maximize = gtol, ftol, xtol, maximize
        self._set_objective()
        self._set_projection(n)

    cdef int _set_objective(self) except -1:
        self.d.objective, self.d.context = self.objective.function, self.objective.context
        if not self.objective.is_native:
            self.d.context = <void *>self
        elif isinstance(self.objective.owner, Tape):
            if (<Tape>self.objective.owner).n_inputs != self.d.n:
                raise IndexError
            self.scratch = (<Tape>self.objective.owner).take()
            self.tape = fl_tape_share((<Tape>self.objective.owner).tape)
            self.d.context = self.scratch
        return 0

    cdef int _set_projection(self, size_t n) except -1:
        if isinstance(self.projection, tuple):
            self.low, self.high = self.projection
            if <size_t>self.low.shape[0] != n or <size_t>self.high.shape[0] != n:
                raise IndexError
            if n > 0:
                self.box.low, self.box.high = &self.low[0], &self.high[0]
            self.d.project, self.d.project_context = &fl_project_to_box, &self.box
        elif self.projection is not None:
            self.d.project, self.d.project_context = &_project_in_python, <void *>self
        return 0

    def __dealloc__(self):
        if self.scratch != NULL:
            fl_tape_give(self.tape, self.scratch)
        fl_tape_free(self.tape)

    @property
    def value(self):
        """f at x."""
        return self.d.value

    @property
    def best(self):
        """f at the best point."""
        return self.d.best

    @property
    def n_steps(self):
        """Steps that were taken."""
        return self.d.n_steps

    @property
    def n_evaluations(self):
        """Evaluations of the objective."""
        return self.d.n_evaluations

    @property
    def stop(self):
        """What ended it, or "going"."""
        return STOPS[self.d.stop]

    def start(self):
        """Evaluate at x."""
        with nogil:
            fl_descend_start(&self.d)
        self._raise()

    def advance(self, size_t n_steps, size_t[::1] index not None, double[:, ::1] table not None, size_t every):
        """Take at most so many steps; return x after those whose number is a multiple of `every`, unless it is 0.

        The numbers of row k of `table` go, before step k, to the hyperparameters at `index` (or `L2`).
        """
        cdef fl_timetable timetable
        cdef size_t room = n_steps//every + 1 if every > 0 else 0, n_recorded
        path = np.empty((room, self.d.n)) if every > 0 else None
        cdef double *to_path = <double *>cnp.PyArray_DATA(path) if every > 0 else NULL
        self.enter(index, table, n_steps, &timetable)
        with nogil:
            n_recorded = fl_descend(&self.d, n_steps, &timetable, every, to_path)
        self.leave()
        self._raise()
        return path[:n_recorded] if every > 0 else None

    cdef int enter(self, size_t[::1] index, double[:, ::1] table, size_t n_steps, fl_timetable *timetable) except -1:
        timetable.n_numbers = index.shape[0]
        if timetable.n_numbers > 0:
            if <size_t>table.shape[0] < n_steps or table.shape[1] != index.shape[0]:
                raise IndexError
            timetable.index, timetable.table = &index[0], &table[0, 0]
        if fl_plan_enter(self.plan.plan) != 0:
            raise IndexError
        self.settings = self.plan.settings
        self.settings.nonfinite = FL_IGNORE
        self.settings.threads = self.plan.threads if self.plan.threads > 0 else _default_threads
        self.plan.tensors[0].grad = <const char *>self.d.gradient
        self.plan.tensors[0].grad_layout = NULL
        self.plan.tensors[0].grad_format = FL_FLOAT64
        return 0

    cdef void leave(self) noexcept:
        self.plan._forget_gradients()
        self.plan.steps = self.d.n_steps
        fl_plan_leave(self.plan.plan)

    cdef int _raise(self) except -1:
        """Raise what the Python function raised, or what Ctrl-C asks for."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        PyErr_CheckSignals()
        return 0


def advance_all(list descents not None, size_t n_steps, size_t[::1] index not None, double[:, ::1] table not None,
                size_t threads):
    """Advance many descents with native objectives; see `Descent.advance`."""
    cdef size_t n = len(descents), entered = 0, i
    cdef fl_timetable timetable
    cdef Descent one
    timetable.n_numbers = 0
    cdef fl_descent **all = <fl_descent **>calloc(n + 1, sizeof(fl_descent *))
    if all == NULL:
        raise MemoryError
    try:
        for i in range(n):
            one = descents[i]
            if not one.objective.is_native or (one.projection is not None and not isinstance(one.projection, tuple)):
                raise IndexError
            one.enter(index, table, n_steps, &timetable)
            entered += 1
            one.settings.threads = 1
            all[i] = &one.d
        with nogil:
            fl_descend_many(n, all, n_steps, &timetable, threads)
    finally:
        for i in range(entered):
            (<Descent>descents[i]).leave()
        free(all)
    PyErr_CheckSignals()
