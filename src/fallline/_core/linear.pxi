# Linear models that learn sample by sample.

LOSSES = {
    "log": FL_LOG,
    "hinge": FL_HINGE,
    "squared_hinge": FL_SQUARED_HINGE,
    "modified_huber": FL_MODIFIED_HUBER,
    "squared": FL_SQUARED,
    "huber": FL_HUBER,
    "quantile": FL_QUANTILE,
    "softmax": FL_SOFTMAX,
}


def shuffled(size_t n, uint64_t key):
    """Return the numbers 0 to n - 1 in an order that the key decides."""
    order = np.empty(n, np.uintp)
    fl_shuffle(n, <size_t *>cnp.PyArray_DATA(order), key)
    return order


cdef class Samples:
    """Rows to learn from, looked at once.

    Parameters
    ----------
    data : float32 or float64 array
        (n, n_features) in C order, or what a CSR matrix stores.
    columns, starts : int32 arrays or None
        Of a CSR matrix, `indices` and `indptr`.
    n_features : int
    targets : float64 array, (n,)
    weights : float64 array, (n,), or None
    """

    cdef fl_rows rows
    cdef size_t n, n_features
    cdef double largest
    cdef object kept
    cdef readonly bint is_canonical
    """Whether the columns of every row increase, so that none is there twice, as learning needs."""

    def __cinit__(self, cnp.ndarray data not None, columns, starts, size_t n_features, const double[::1] targets not None,
                  const double[::1] weights):
        cdef const int32_t[::1] own_columns, own_starts
        cdef Py_ssize_t i
        if not cnp.PyArray_IS_C_CONTIGUOUS(data) or data.dtype not in (np.float32, np.float64):
            raise IndexError
        self.kept = (data, columns, starts, targets, weights)
        self.n, self.n_features, self.largest, self.is_canonical = targets.shape[0], n_features, 0, True
        self.rows.data, self.rows.is_single = cnp.PyArray_DATA(data), data.dtype == np.float32
        if columns is None:
            if <size_t>data.size != self.n*n_features:
                raise IndexError
        else:
            own_columns, own_starts = columns, starts
            if <size_t>own_starts.shape[0] != self.n + 1 or own_columns.shape[0] > data.size or own_starts[0] < 0 or \
                    own_starts[self.n] > own_columns.shape[0]:
                raise IndexError
            for i in range(<Py_ssize_t>self.n):
                if own_starts[i + 1] < own_starts[i]:
                    raise IndexError
            self.rows.starts = &own_starts[0]
            self.rows.columns = &own_columns[0] if own_columns.shape[0] > 0 else <const int32_t *>&own_starts[0]
            self.is_canonical = fl_columns_increase(&self.rows, self.n, n_features)
            for i in range(0 if self.is_canonical else own_columns.shape[0]):
                if own_columns[i] < 0 or <size_t>own_columns[i] >= n_features:
                    raise IndexError
        for i in range(<Py_ssize_t>self.n):
            if not targets[i] >= self.largest:
                continue
            self.largest = targets[i]
        self.rows.targets = &targets[0] if self.n > 0 else NULL
        if weights is not None:
            if <size_t>weights.shape[0] != self.n:
                raise IndexError
            self.rows.weights = &weights[0] if self.n > 0 else NULL


cdef class Learner:
    """A linear model, whose weights and intercept are a plan's arrays.

    Parameters
    ----------
    plan : Plan
        Of a contiguous float64 array of weights, (n_features, n_outputs), and perhaps one of intercepts, (n_outputs,).
    loss : str
        A key of `LOSSES`.
    parameter : float
        Of "huber" and "quantile".
    l2, l1 : float
        The penalties.
    lr : int
        Index of the learning rate in the rule.
    only_seen : bool
        Step only the features that a batch has; samples must be sparse.
    is_exact : bool
        The rule is plain gradient descent: make up for the penalty of those that it has not. Needs lr*l2 < 1.
    average : (weights, intercept or None) or None
        Arrays that become the mean of what they are named after over all steps.
    """

    cdef fl_learner l
    cdef fl_settings settings
    cdef Plan plan
    cdef object kept

    def __cinit__(self, Plan plan not None, str loss, double parameter, double l2, double l1, size_t n_outputs, size_t lr,
                  bint only_seen, bint is_exact, average):
        cdef size_t i, n, size = plan.tensors[0].size
        if not 1 <= plan.n_tensors <= 2 or plan.n_groups != 1 or n_outputs == 0 or size % n_outputs != 0 or \
                lr >= fl_rule(plan.index).n_hypers:
            raise IndexError
        for i in range(plan.n_tensors):
            if plan.tensors[i].param_format != FL_FLOAT64 or plan.tensors[i].param_layout != NULL or \
                    (only_seen and plan.tensors[i].average != NULL):
                raise IndexError
        if (plan.n_tensors == 2 and plan.tensors[1].size != n_outputs) or (only_seen and n_outputs > FL_BLOCK):
            raise IndexError
        if only_seen and is_exact and l1 > 0 and average is not None:
            raise IndexError
        n = size//n_outputs
        self.plan, self.kept, self.l.decay = plan, [], 1
        self.l.plan, self.l.settings, self.l.loss, self.l.parameter = plan.plan, &self.settings, LOSSES[loss], parameter
        self.l.l2, self.l.l1, self.l.n_features, self.l.n_outputs, self.l.lr = l2, l1, n, n_outputs, lr
        self.l.weights, self.l.gradient = <double *>plan.tensors[0].param, self._zeros(size)
        self.l.copies, self.l.scores, self.l.row = self._scratch(size), self._scratch(n_outputs), self._scratch(n)
        if plan.n_tensors == 2:
            self.l.intercept, self.l.intercept_gradient = <double *>plan.tensors[1].param, self._zeros(n_outputs)
        if average is not None:
            self._set_average(average, size)
        if only_seen:
            self._set_seen(n, size, is_exact)

    cdef double *_zeros(self, size_t n) except NULL:
        return <double *>self._memory(np.zeros(n + 1))

    cdef double *_scratch(self, size_t n) except NULL:
        return <double *>self._memory(np.empty(n + 1))

    cdef void *_memory(self, array) except NULL:
        self.kept.append(array)
        return cnp.PyArray_DATA(array)

    cdef int _set_average(self, average, size_t size) except -1:
        cdef double[::1] weights = average[0].reshape(-1), intercept
        if <size_t>weights.shape[0] != size or self.l.n_features == 0:
            raise IndexError
        self.l.average = &weights[0]
        if self.l.intercept != NULL:
            intercept = average[1]
            if <size_t>intercept.shape[0] != self.l.n_outputs:
                raise IndexError
            self.l.average_intercept = &intercept[0]
        self.kept.append(average)
        return 0

    cdef int _set_seen(self, size_t n, size_t size, bint is_exact) except -1:
        self.l.compact = self._scratch(size)
        self.l.seen_in_batch = <int32_t *>self._memory(np.empty(n + 1, np.int32))
        self.l.is_seen = <unsigned char *>self._memory(np.zeros(n + 1, np.uint8))
        self.l.is_exact = is_exact
        if is_exact and self.l.l1 > 0:
            self.l.pulls = self._zeros(n)
        if self.l.average != NULL:
            self.l.lags = self._zeros(size)
        return 0

    @property
    def is_exact(self):
        """Whether the penalty of what is not seen is made up for."""
        return self.l.is_exact != 0

    @property
    def n_averaged(self):
        """Steps in the average."""
        return self.l.n_averaged

    @n_averaged.setter
    def n_averaged(self, size_t n):
        self.l.n_averaged = n

    def learn(self, Samples samples not None, const size_t[::1] order not None, size_t batch, size_t[::1] index not None,
              double[:, ::1] table not None):
        """Learn from the rows at `order`, `batch` to a step; return the sum of their weighted losses.

        The numbers of row k of `table` go, before step k, to the hyperparameters at `index` (or `L2`).
        """
        cdef fl_timetable timetable
        cdef size_t i, n = order.shape[0], n_steps
        cdef bint is_outside = False
        cdef double total
        if batch == 0 or samples.n_features != self.l.n_features:
            raise IndexError
        if not samples.is_canonical or (self.l.seen_in_batch != NULL and samples.rows.columns == NULL) or \
                (self.l.loss == FL_SOFTMAX and samples.largest >= self.l.n_outputs):
            raise IndexError
        for i in range(n):
            is_outside |= order[i] >= samples.n
        if is_outside:
            raise IndexError
        n_steps = (n + batch - 1)//batch
        timetable.n_numbers = index.shape[0]
        if timetable.n_numbers > 0:
            if <size_t>table.shape[0] < n_steps or table.shape[1] != index.shape[0]:
                raise IndexError
            timetable.index, timetable.table = &index[0], &table[0, 0]
        if n == 0:
            return 0.0
        self._enter()
        with nogil:
            total = fl_learn(&self.l, &samples.rows, n, &order[0], batch, &timetable)
        self.plan._forget_gradients()
        self.plan.steps += n_steps
        fl_plan_leave(self.plan.plan)
        PyErr_CheckSignals()
        return total

    cdef int _enter(self) except -1:
        cdef const double *gradients[2]
        cdef size_t i
        if fl_plan_enter(self.plan.plan) != 0:
            raise IndexError
        gradients[0], gradients[1] = self.l.gradient, self.l.intercept_gradient
        self.settings = self.plan.settings
        self.settings.nonfinite = FL_IGNORE
        self.settings.threads = self.plan.threads if self.plan.threads > 0 else _default_threads
        for i in range(self.plan.n_tensors):
            self.plan.tensors[i].grad = <const char *>gradients[i]
            self.plan.tensors[i].grad_layout = NULL
            self.plan.tensors[i].grad_format = FL_FLOAT64
        return 0
