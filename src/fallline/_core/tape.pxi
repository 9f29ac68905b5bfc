# Compiled expressions.

from cpython.list cimport PyList_CheckExact
from cpython.pycapsule cimport PyCapsule_New, PyCapsule_SetContext
from cpython.sequence cimport PySequence_Fast_GET_ITEM, PySequence_Fast_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact
from libc.limits cimport INT_MAX
from libc.stdint cimport uint32_t


def operations():
    """Return the operations that a tape knows: name to index and number of operands, in the order of csrc/operations.h."""
    cdef size_t i = 0, n_operands
    cdef const char *name
    table = {}
    while True:
        name = fl_operation(i, &n_operands)
        if name == NULL:
            return table
        table[name.decode()] = i, n_operands
        i += 1


cdef class Tape:
    """An expression as a list of operations, which C evaluates.

    Parameters
    ----------
    names : tuple of str
        The inputs.
    constants : (k,) float64
    instructions : (m, 3) uint32
        Rows of operation, a, b, where a and b number values: inputs, then constants, then results.
    result : int
        The number of the value that is the expression's.
    """

    cdef readonly tuple variables
    cdef fl_tape *tape
    cdef size_t n_inputs

    def __init__(self, tuple names not None, double[::1] constants not None, uint32_t[:, ::1] instructions not None,
                 size_t result):
        cdef size_t n_constants = constants.shape[0], n_instructions = instructions.shape[0], k, n_operands, known
        cdef size_t first = len(names) + n_constants
        if self.tape != NULL:
            raise RuntimeError("Tape: must be made once; got a second call of __init__. Make another one.")
        if instructions.shape[1] != 3 or result >= first + n_instructions or first + n_instructions > INT_MAX:
            raise IndexError
        for k in range(n_instructions):
            known = first + k
            if fl_operation(instructions[k, 0], &n_operands) == NULL or instructions[k, 1] >= known \
                    or (n_operands == 2 and instructions[k, 2] >= known):
                raise IndexError
        self.variables = names
        self.n_inputs = len(names)
        self.tape = fl_tape_new(self.n_inputs, n_constants, &constants[0] if n_constants else NULL, n_instructions,
                                <const fl_instruction *>&instructions[0, 0] if n_instructions else NULL, result)
        if self.tape == NULL:
            raise MemoryError

    def __dealloc__(self):
        fl_tape_free(self.tape)

    # ---- one point ----

    cdef int must_be_made(self) except -1:
        if self.tape == NULL:
            raise RuntimeError("Tape: must be made before it is used; got none. Call __init__.")
        return 0

    cdef fl_scratch *take(self) except NULL:
        self.must_be_made()
        cdef fl_scratch *scratch = fl_tape_take(self.tape)
        if scratch == NULL:
            raise MemoryError
        return scratch

    cdef int read(self, x, double *into) except -1:
        """Read a point; the common kinds directly."""
        cdef size_t n = self.n_inputs, i
        cdef char *data
        cdef cnp.npy_intp stride
        if cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64 and cnp.PyArray_NDIM(x) == 1 \
                and <size_t>cnp.PyArray_DIM(x, 0) == n and cnp.PyArray_ISBEHAVED_RO(x):
            data, stride = cnp.PyArray_BYTES(x), cnp.PyArray_STRIDE(x, 0)
            for i in range(n):
                into[i] = (<double *>(data + <cnp.npy_intp>i*stride))[0]
            return 0
        if (PyList_CheckExact(x) or PyTuple_CheckExact(x)) and <size_t>PySequence_Fast_GET_SIZE(x) == n:
            for i in range(n):
                item = <object>PySequence_Fast_GET_ITEM(x, i)
                if not PyFloat_Check(item):
                    break
                into[i] = PyFloat_AS_DOUBLE(item)
            else:
                return 0
        cdef double[:] numbers = self._numbers(x, 1)
        for i in range(n):
            into[i] = numbers[i]
        return 0

    def _numbers(self, x, int n_axes):
        """Return points as an array of float64 whose last axis has the inputs, or raise."""
        points = np.asarray(x)
        if points.dtype.kind not in "biuf":
            raise TypeError(f"x: must be real numbers; got {points.dtype}. Pass floats.")
        if points.ndim != n_axes or <size_t>points.shape[n_axes - 1] != self.n_inputs:
            shape = f"({self.n_inputs},)" if n_axes == 1 else f"(points, {self.n_inputs})"
            names = ", ".join(self.variables[:6]) + (", ..." if self.n_inputs > 6 else "")
            raise ValueError(f"x: must have shape {shape}, a number for each of {names or 'no variables'}; got shape "
                             f"{points.shape}. Many points, one in a row, are for batch, one point for the call.")
        points = points.astype(np.float64, copy=False)
        return points if points.flags.aligned else points.copy()

    def __call__(self, x, /):
        """Evaluate at one point.

        Parameters
        ----------
        x : sequence or ndarray of n real numbers

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If x does not consist of n real numbers.
        """
        cdef fl_scratch *scratch = self.take()
        try:
            self.read(x, fl_scratch_x(scratch))
            return fl_tape_evaluate(fl_scratch_x(scratch), self.n_inputs, NULL, scratch)
        finally:
            fl_tape_give(self.tape, scratch)

    def gradient(self, x, /):
        """Return the exact gradient at one point, an array of shape (n,); see `__call__`."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x, /):
        """Return both at one point, for little more than the gradient; see `__call__`.

        SciPy's ``minimize(g.value_and_gradient, x0, jac=True)`` takes it as it is.
        """
        cdef fl_scratch *scratch = self.take()
        cdef cnp.npy_intp n = self.n_inputs
        cdef double value
        try:
            self.read(x, fl_scratch_x(scratch))
            gradient = cnp.PyArray_EMPTY(1, &n, cnp.NPY_FLOAT64, False)
            value = fl_tape_evaluate(fl_scratch_x(scratch), n, <double *>cnp.PyArray_DATA(gradient), scratch)
            return value, gradient
        finally:
            fl_tape_give(self.tape, scratch)

    def hessian(self, x, /):
        """Return the matrix of second derivatives at one point, shape (n, n), exactly symmetric; see `__call__`."""
        cdef fl_scratch *scratch = self.take()
        cdef fl_status status
        try:
            self.read(x, fl_scratch_x(scratch))
            matrix = np.empty((self.n_inputs, self.n_inputs))
            status = fl_tape_hessian(self.tape, fl_scratch_x(scratch), <double *>cnp.PyArray_DATA(matrix))
        finally:
            fl_tape_give(self.tape, scratch)
        if status == FL_NO_MEMORY:
            raise MemoryError
        return matrix

    # ---- many points ----

    def _batch(self, cnp.ndarray x not None, double[::1] values, double[:, ::1] gradients, size_t threads):
        """Write the values and the gradients, each unless None, at points that `_numbers` has looked at."""
        self.must_be_made()
        cdef size_t n_points = cnp.PyArray_DIM(x, 0)
        if <size_t>cnp.PyArray_DIM(x, 1) != self.n_inputs or (values is not None and <size_t>values.shape[0] != n_points) \
                or (gradients is not None and (<size_t>gradients.shape[0] != n_points
                                               or <size_t>gradients.shape[1] != self.n_inputs)):
            raise IndexError
        cdef double *to_values = NULL if values is None or n_points == 0 else &values[0]
        cdef double *to_gradients = NULL if gradients is None or gradients.size == 0 else &gradients[0, 0]
        cdef const char *data = cnp.PyArray_BYTES(x)
        cdef ptrdiff_t point_stride = cnp.PyArray_STRIDE(x, 0), input_stride = cnp.PyArray_STRIDE(x, 1)
        cdef fl_status status
        with nogil:
            status = fl_tape_batch(self.tape, n_points, data, point_stride, input_stride, to_values, to_gradients, threads)
        if status == FL_NO_MEMORY:
            raise MemoryError

    # ---- for other native code ----

    def native(self):
        """Return it as a `Native` function."""
        self.must_be_made()
        cdef Native native = Native(0, self)
        native.function, native.context = &fl_tape_value, self.tape
        return native

    def capsule(self):
        """Return a capsule of ``double (int, double *, void *)``, which may outlive this."""
        self.must_be_made()
        capsule = PyCapsule_New(<void *>&fl_tape_integrand, INTEGRAND, _free_context)
        PyCapsule_SetContext(capsule, fl_tape_share(self.tape))
        return capsule


cdef const char *INTEGRAND = "double (int, double *, void *)"


cdef void _free_context(object capsule) noexcept:
    fl_tape_free(<fl_tape *>PyCapsule_GetContext(capsule))
