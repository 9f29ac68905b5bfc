# A model's tensors and their step.

L2 = -1   # where `Plan.set_number` puts coupled weight decay

cdef dict _NONFINITE = {"raise": FL_RAISE, "skip": FL_SKIP, "ignore": FL_IGNORE}


cdef int _format_of(cnp.dtype dtype) except -1:
    """The storage format of a dtype, or 99 if it is none of ours. bfloat16 is known by its name: ml_dtypes is not imported."""
    if dtype.byteorder not in (b"=", b"|", "=", "|"):
        return 99
    if dtype.type_num == cnp.NPY_FLOAT:
        return FL_FLOAT32
    if dtype.type_num == cnp.NPY_DOUBLE:
        return FL_FLOAT64
    if dtype.type_num == cnp.NPY_FLOAT16:
        return FL_FLOAT16
    if dtype.name == "bfloat16" and dtype.itemsize == 2:
        return FL_BFLOAT16
    return 99


def is_supported(dtype):
    """Return whether arrays of this dtype can be stepped: native float32, float64, float16 or bfloat16."""
    return _format_of(np.dtype(dtype)) != 99


cdef bint _is_flat(cnp.ndarray array, bint fortran) noexcept:
    """Whether the elements lie in memory one after another, aligned, in C order (or Fortran order)."""
    cdef int flags = cnp.NPY_ARRAY_ALIGNED | (cnp.NPY_ARRAY_F_CONTIGUOUS if fortran else cnp.NPY_ARRAY_C_CONTIGUOUS)
    return cnp.PyArray_CHKFLAGS(array, flags)


cdef void _describe(fl_layout *layout, cnp.ndarray array, bint fortran) noexcept:
    """Write down the shape and strides of an array, transposed if its elements are counted in Fortran order."""
    cdef int n_dims = cnp.PyArray_NDIM(array)
    cdef int d, source
    layout.n_dims = n_dims
    for d in range(n_dims):
        source = n_dims - 1 - d if fortran else d
        layout.shape[d] = cnp.PyArray_DIM(array, source)
        layout.strides[d] = cnp.PyArray_STRIDE(array, source)
    if n_dims == 0:
        layout.n_dims = 1
        layout.shape[0] = 1
        layout.strides[0] = 0


cdef void _bounds(cnp.ndarray array, uintptr_t *low, uintptr_t *high) noexcept:
    """The addresses [low, high) that an array's elements lie in."""
    cdef int d
    cdef cnp.npy_intp reach
    low[0] = high[0] = <uintptr_t>cnp.PyArray_DATA(array)
    for d in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, d) == 0:
            return
        reach = (cnp.PyArray_DIM(array, d) - 1)*cnp.PyArray_STRIDE(array, d)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += cnp.PyArray_ITEMSIZE(array)


@cython.final
cdef class _Node:
    """Where tensors stand in what `step` takes: a leaf, or a list or a dict of nodes."""

    cdef Py_ssize_t leaf   # number of the tensor, or -1
    cdef list entries      # of a list
    cdef dict named        # of a dict

    def __cinit__(self, structure):
        self.leaf = -1
        if isinstance(structure, dict):
            self.named = {key: _Node(child) for key, child in structure.items()}
        elif isinstance(structure, list):
            self.entries = [_Node(child) for child in structure]
        else:
            self.leaf = structure

    def path_to(self, node, path=()):
        """Return the keys that lead from here to a node, or None."""
        if node is self:
            return path
        children = enumerate(self.entries) if self.entries is not None else (self.named or {}).items()
        for key, child in children:
            found = child.path_to(node, (*path, str(key)))
            if found is not None:
                return found
        return None


@cython.final
cdef class Plan:
    """The tensors of one model, flat, and the rule that steps them.

    Built by `fallline.optimizer`: one `place` for every tensor, then `arrange`. The plan keeps the arrays alive.

    Parameters
    ----------
    rule : str
        A name of `rules()`.
    names : list of str
        One for every tensor, for messages.
    structure : int, list or dict
        How tensors are arranged in what `step` takes: an int is the number of a tensor, lists and dicts nest.
    n_groups : int
    """

    cdef fl_plan *plan
    cdef fl_tensor *tensors
    cdef fl_layout *layouts      # two for every tensor: of the parameter, of the gradient
    cdef PyObject **held         # the gradients of the step under way
    cdef cnp.npy_intp *geometry  # of every parameter as it was built: dimensions, then shape and stride of each
    cdef size_t *geometry_at     # where that of each begins
    cdef const char **accepted   # the last gradient of every tensor that was seen not to overlap anything
    cdef uintptr_t *taken        # sorted, disjoint [low, high) pairs that hold the memory that a step writes
    cdef size_t n_taken
    cdef size_t n_tensors, n_groups
    cdef size_t index
    cdef fl_settings settings
    cdef size_t threads          # 0: the process's default
    cdef readonly list names
    cdef _Node structure
    cdef list params, dtypes, kept
    cdef bytearray fortran
    cdef public long long steps
    cdef public long long skipped

    def __cinit__(self, str rule, list names, structure, size_t n_groups):
        self.index = _rule_index(rule)
        self.n_tensors = len(names)
        self.n_groups = n_groups
        self.names = names
        self.structure = _Node(structure)
        self.params = [None]*self.n_tensors
        self.dtypes = [None]*self.n_tensors
        self.fortran = bytearray(self.n_tensors)
        self.plan = fl_plan_new(self.index, self.n_tensors, n_groups)
        self.layouts = <fl_layout *>calloc(2*self.n_tensors + 1, sizeof(fl_layout))
        self.held = <PyObject **>calloc(self.n_tensors + 1, sizeof(PyObject *))
        self.accepted = <const char **>calloc(self.n_tensors + 1, sizeof(char *))
        self.geometry_at = <size_t *>calloc(self.n_tensors + 1, sizeof(size_t))
        if self.plan == NULL or self.layouts == NULL or self.held == NULL or self.accepted == NULL \
                or self.geometry_at == NULL:
            raise MemoryError
        self.tensors = fl_plan_tensors(self.plan)

    def __dealloc__(self):
        fl_plan_free(self.plan)
        free(self.layouts)
        free(self.held)
        free(self.accepted)
        free(self.taken)
        free(self.geometry)
        free(self.geometry_at)

    def place(self, size_t i, param, size_t group, list states, cnp.ndarray running not None,
              average=None, master=None, bint stochastic=False):
        """Hand over tensor i: its parameter, and contiguous arrays of as many elements for all that belongs to it.

        The latter are parts of the arrays that `arrange` is given.
        """
        cdef fl_tensor *t = &self.tensors[i]
        cdef size_t k
        if i >= self.n_tensors or group >= self.n_groups or <size_t>len(states) != fl_rule(self.index).n_states:
            raise IndexError
        self.fortran[i] = not cnp.PyArray_IS_C_CONTIGUOUS(param) and cnp.PyArray_IS_F_CONTIGUOUS(param)
        t.param = <char *>cnp.PyArray_DATA(param)
        t.size = cnp.PyArray_SIZE(param)
        t.group = group
        t.param_format = <fl_format>_format_of(param.dtype)
        if not _is_flat(param, self.fortran[i]):
            _describe(&self.layouts[2*i], param, False)
            t.param_layout = &self.layouts[2*i]
        for k in range(fl_rule(self.index).n_states):
            t.state[k] = self._own(states[k], t.size)
        t.average = self._own(average, t.size)
        t.master = <float *>self._own(master, t.size)
        t.stochastic = stochastic
        t.running = <double *>self._own(running, fl_rule(self.index).n_running)
        self.params[i] = param
        self.dtypes[i] = param.dtype

    cdef void *_own(self, array, size_t size) except? NULL:
        if array is None:
            return NULL
        if not _is_flat(array, False) or <size_t>cnp.PyArray_SIZE(array) != size:
            raise IndexError
        return cnp.PyArray_DATA(array)

    def arrange(self, list owners):
        """Close the plan: cut it into spans, and note the memory that its steps write.

        `owners` are the arrays that hold the states; the plan keeps them alive.
        """
        self.kept = owners
        self._note_geometry()
        if fl_plan_arrange(self.plan) != FL_OK:
            raise MemoryError
        cdef uintptr_t low = 0, high = 0
        ranges = []
        for array in [*self.params, *self.kept]:
            _bounds(array, &low, &high)
            if low < high:
                ranges.append((low, high))
        self.taken = <uintptr_t *>calloc(2*len(ranges) + 1, sizeof(uintptr_t))
        if self.taken == NULL:
            raise MemoryError
        for low, high in sorted(ranges):
            if self.n_taken > 0 and low < self.taken[2*self.n_taken - 1]:     # interleaved views
                self.taken[2*self.n_taken - 1] = max(high, self.taken[2*self.n_taken - 1])
                continue
            self.taken[2*self.n_taken] = low
            self.taken[2*self.n_taken + 1] = high
            self.n_taken += 1

    cdef int _note_geometry(self) except -1:
        cdef size_t i, at = 0
        cdef int d, n_dims
        cdef cnp.ndarray param
        self.geometry = <cnp.npy_intp *>calloc(
            sum([1 + 2*param.ndim for param in self.params]) + 1, sizeof(cnp.npy_intp))
        if self.geometry == NULL:
            raise MemoryError
        for i in range(self.n_tensors):
            param = self.params[i]
            n_dims = cnp.PyArray_NDIM(param)
            self.geometry_at[i] = at
            self.geometry[at] = n_dims
            for d in range(n_dims):
                self.geometry[at + 1 + 2*d] = cnp.PyArray_DIM(param, d)
                self.geometry[at + 2 + 2*d] = cnp.PyArray_STRIDE(param, d)
            at += 1 + 2*n_dims
        return 0

    cdef bint _is_as_built(self, size_t i, cnp.ndarray param) except -1:
        """Whether a parameter still has the memory, the shape, the strides and the dtype that it was built with."""
        cdef const cnp.npy_intp *built = &self.geometry[self.geometry_at[i]]
        cdef int d, n_dims = cnp.PyArray_NDIM(param)
        if cnp.PyArray_DATA(param) != self.tensors[i].param or n_dims != built[0]:
            return False
        for d in range(n_dims):
            if cnp.PyArray_DIM(param, d) != built[1 + 2*d] or cnp.PyArray_STRIDE(param, d) != built[2 + 2*d]:
                return False
        return <void *>cnp.PyArray_DESCR(param) == <void *>self.dtypes[i] or param.dtype == self.dtypes[i]

    def check_params(self):
        """Raise if a parameter is not as it was built."""
        cdef size_t i
        for i in range(self.n_tensors):
            if not self._is_as_built(i, self.params[i]):
                self._refuse_changed(i)

    def set_group(self, size_t i, hypers, double l2, bint maximize, bint frozen):
        """Set the numbers of group i: hyperparameters in the rule's order, coupled weight decay, and two flags."""
        cdef fl_group *group = &fl_plan_groups(self.plan)[i]
        if i >= self.n_groups or <size_t>len(hypers) != fl_rule(self.index).n_hypers:
            raise IndexError
        cdef size_t k
        for k in range(fl_rule(self.index).n_hypers):
            group.hypers[k] = hypers[k]
        group.l2 = l2
        group.maximize = maximize
        group.frozen = frozen

    def set_number(self, size_t i, Py_ssize_t index, double number):
        """Set one hyperparameter of group i by its index in the rule, or its coupled weight decay by `L2`."""
        if i >= self.n_groups or index >= <Py_ssize_t>fl_rule(self.index).n_hypers:
            raise IndexError
        if index < 0:
            fl_plan_groups(self.plan)[i].l2 = number
        else:
            fl_plan_groups(self.plan)[i].hypers[index] = number

    def set_options(self, double scale, clip_value, clip_norm, average_decay, uint64_t seed, str nonfinite, size_t threads):
        """Set what holds for all groups; None switches a clip off, 0 threads means the process's default."""
        self.settings.scale = scale
        self.settings.clip_value = HUGE_VAL if clip_value is None else clip_value
        self.settings.clip_norm = HUGE_VAL if clip_norm is None else clip_norm
        self.settings.average_decay = 0 if average_decay is None else average_decay
        self.settings.seed = seed
        self.settings.nonfinite = _NONFINITE[nonfinite]
        self.threads = threads

    def step(self, grads):
        """Step every tensor that has a gradient; all of them, or none and an error."""
        cdef fl_status status
        cdef fl_settings settings
        if fl_plan_enter(self.plan) != 0:
            raise RuntimeError("step: must be called by one thread at a time; got a call while another is under way on this "
                               "optimizer. Guard it by a lock, or give each thread its own optimizer.")
        try:
            self._forget_gradients()
            self._collect(self.structure, grads)
            settings = self.settings     # another thread may set them during the step
            settings.threads = self.threads if self.threads > 0 else _default_threads
            with nogil:
                status = fl_plan_step(self.plan, &settings)
            if status == FL_OK:
                self.steps += 1
            elif settings.nonfinite == FL_SKIP:
                self.skipped += 1
            else:
                self._report_nonfinite()
        finally:
            self._release_gradients()
            fl_plan_leave(self.plan)

    # ---- taking the gradients

    cdef void _forget_gradients(self) noexcept:
        cdef size_t i
        for i in range(self.n_tensors):
            self.tensors[i].grad = NULL

    cdef void _release_gradients(self) noexcept:
        cdef size_t i
        for i in range(self.n_tensors):
            if self.held[i] != NULL:
                Py_DECREF(<object>self.held[i])
                self.held[i] = NULL

    cdef int _collect(self, _Node node, grads) except -1:
        if node.leaf >= 0:
            return self._take(node.leaf, grads)
        if grads is None:
            return 0
        if node.entries is not None:
            return self._collect_list(node, grads)
        return self._collect_dict(node, grads)

    cdef int _collect_list(self, _Node node, grads) except -1:
        cdef Py_ssize_t i, n = len(node.entries)
        if not isinstance(grads, (list, tuple)):
            raise TypeError(f"{self._label(node)}: must be a list of {n}, like the parameters; got "
                            f"{type(grads).__name__}. Pass gradients in the structure of the parameters.")
        if len(grads) != n:
            raise ValueError(f"{self._label(node)}: must have {n} entries, like the parameters; got {len(grads)}. Pass "
                             f"None for a parameter that has no gradient.")
        for i in range(n):
            self._collect(<_Node>node.entries[i], grads[i])
        return 0

    cdef int _collect_dict(self, _Node node, grads) except -1:
        cdef PyObject *value
        cdef Py_ssize_t found = 0
        if not isinstance(grads, dict):
            raise TypeError(f"{self._label(node)}: must be a dict with the names of the parameters; got "
                            f"{type(grads).__name__}. Pass gradients in the structure of the parameters.")
        for key, child in node.named.items():
            value = PyDict_GetItemWithError(grads, key)
            if value != NULL:
                found += 1
                self._collect(<_Node>child, <object>value)
        if found != len(grads):
            surplus = [key for key in grads if key not in node.named]
            raise ValueError(f"{self._label(node)}: must have only names of parameters ({', '.join(map(repr, node.named))}); "
                             f"got also {', '.join(map(repr, surplus))}. Remove what has no parameter.")
        return 0

    cdef int _take(self, size_t i, given) except -1:
        """Note the gradient of tensor i, after looking at it; about 10 ns if it is as it should be."""
        if given is None:
            return 0
        cdef fl_tensor *t = &self.tensors[i]
        if fl_plan_groups(self.plan)[t.group].frozen:
            return 0
        cdef cnp.ndarray param = <cnp.ndarray>self.params[i]
        cdef cnp.ndarray grad = <cnp.ndarray>(given if cnp.PyArray_Check(given) else self._array_of(i, given))
        cdef int d, n_dims = cnp.PyArray_NDIM(param)
        if not self._is_as_built(i, param) or not cnp.PyArray_ISWRITEABLE(param):
            self._refuse_param(i)
        if cnp.PyArray_NDIM(grad) != n_dims:
            self._refuse_shape(i, grad)
        for d in range(n_dims):
            if cnp.PyArray_DIM(grad, d) != cnp.PyArray_DIM(param, d):
                self._refuse_shape(i, grad)
        if cnp.PyArray_DESCR(grad) is cnp.PyArray_DESCR(param):
            t.grad_format = t.param_format
        else:
            t.grad_format = <fl_format>self._format_of_gradient(i, grad)
        t.grad_layout = NULL
        if not _is_flat(grad, self.fortran[i]):
            _describe(&self.layouts[2*i + 1], grad, self.fortran[i])
            t.grad_layout = &self.layouts[2*i + 1]
        t.grad = <const char *>cnp.PyArray_DATA(grad)
        if t.grad != self.accepted[i] or t.grad_layout != NULL or t.grad_format != t.param_format:
            self._refuse_overlap(i, grad)
            self.accepted[i] = t.grad if t.grad_layout == NULL and t.grad_format == t.param_format else NULL
        Py_INCREF(grad)
        self.held[i] = <PyObject *>grad
        return 0

    cdef object _array_of(self, size_t i, grad):
        """A number is the gradient of a 0-d parameter, because NumPy's operations on 0-d arrays return numbers."""
        param = self.params[i]
        if cnp.PyArray_NDIM(param) == 0 and isinstance(grad, np.generic):
            return np.asarray(grad)
        if cnp.PyArray_NDIM(param) == 0 and isinstance(grad, float):
            with np.errstate(over="ignore"):     # a number that overflows is not finite, which is looked at later
                return np.asarray(grad, dtype=param.dtype)
        raise TypeError(f"grads[{self.names[i]!r}]: must be a NumPy array or None; got {type(grad).__name__}. "
                        f"Convert it, for example with numpy.asarray.")

    cdef int _format_of_gradient(self, size_t i, grad) except -1:
        cdef int wanted = self.tensors[i].param_format
        cdef int found = _format_of(grad.dtype)
        if found == wanted or (found == FL_FLOAT32 and (wanted == FL_FLOAT16 or wanted == FL_BFLOAT16)):
            return found
        own = self.params[i].dtype
        also = " or float32" if wanted == FL_FLOAT16 or wanted == FL_BFLOAT16 else ""
        raise TypeError(f"grads[{self.names[i]!r}]: must have the parameter's dtype {own}{also}; got {grad.dtype}. "
                        f"Convert it with .astype({str(own)!r}).")

    cdef int _refuse_shape(self, size_t i, grad) except -1:
        raise ValueError(f"grads[{self.names[i]!r}]: must have the parameter's shape {self.params[i].shape}; got {grad.shape}. "
                         f"Check the formula, or the broadcasting in it.")

    cdef int _refuse_param(self, size_t i) except -1:
        param = self.params[i]
        if not cnp.PyArray_ISWRITEABLE(param):
            raise ValueError(f"params[{self.names[i]!r}]: must be writeable; got an array that was made read-only after the "
                             f"optimizer was built. Set its flags.writeable, or freeze its group.")
        self._refuse_changed(i)

    cdef int _refuse_changed(self, size_t i) except -1:
        raise RuntimeError(f"params[{self.names[i]!r}]: must keep the memory, shape, strides and dtype that the optimizer "
                           f"was built with; got an array that was changed since. Build a new optimizer for it.")

    cdef int _refuse_overlap(self, size_t i, grad) except -1:
        """A step would change, while it reads, a gradient that lies in memory that it writes."""
        cdef uintptr_t low = 0, high = 0
        cdef size_t first = 0, last = self.n_taken, middle
        _bounds(grad, &low, &high)
        while first < last:                      # the first range that ends after low
            middle = (first + last)//2
            if self.taken[2*middle + 1] <= low:
                first = middle + 1
            else:
                last = middle
        if first < self.n_taken and self.taken[2*first] < high:
            self._name_overlap(i, grad)
        return 0

    cdef int _name_overlap(self, size_t i, grad) except -1:
        for name, param in zip(self.names, self.params):
            if np.shares_memory(grad, param):
                raise ValueError(f"grads[{self.names[i]!r}]: must not share memory with a parameter; got an array that "
                                 f"overlaps params[{name!r}]. Pass a copy.")
        for array in self.kept:
            if np.shares_memory(grad, array):
                raise ValueError(f"grads[{self.names[i]!r}]: must not share memory with the optimizer's state; got an array "
                                 f"that does. Pass a copy.")
        return 0

    # ---- messages

    def _label(self, _Node node):
        path = self.structure.path_to(node)
        return f"grads[{'/'.join(path)!r}]" if path else "grads"

    def _report_nonfinite(self):
        cdef size_t i, first = 0, count = 0
        faults = []
        for i in range(self.n_tensors):
            fl_plan_locate(self.plan, i, &first, &count)
            if count > 0:
                faults.append((i, first, count))
        i, first, count = faults[0]
        grad = <object>self.held[i]
        order = "F" if self.fortran[i] else "C"
        where = tuple(int(k) for k in np.unravel_index(first, grad.shape, order)) if grad.ndim else ()
        more = len(faults) - 1
        others = f", and {more} more tensor{'s' if more > 1 else ''} with such elements" if more else ""
        raise ValueError(
            f"grads[{self.names[i]!r}]: must be finite; got {float(grad[where])} at index {where}, {count} of {grad.size} elements "
            f"not finite{others}. Nothing was changed. Look for the operation that made it, clip, or pass nonfinite=\"skip\".")

