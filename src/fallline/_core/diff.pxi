# Numerical derivatives: stencils and their arithmetic, and the loops that call a function at many points.

from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.pycapsule cimport PyCapsule_CheckExact, PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define FL_IS_MINE_ALONE(object) 0
    #else
    #define FL_IS_MINE_ALONE(object) (Py_REFCNT(object) == 1)
    #endif
    """
    bint FL_IS_MINE_ALONE(object thing)


# ---- stencils and differences ----

def stencil(size_t order, double[::1] nodes not None):
    """Return the weights of a derivative at 0 from values at distinct nodes."""
    cdef size_t n = nodes.shape[0]
    if not order < n <= FL_MAX_NODES:
        raise IndexError
    weights = np.empty(n)
    cdef double[::1] out = weights
    fl_stencil(order, n, &nodes[0], &out[0])
    return weights


def stencil_error(size_t order, double[::1] nodes not None):
    """Return the accuracy p of a stencil, and C, where its error is C h^p f^(order + p)."""
    cdef size_t n = nodes.shape[0]
    cdef double constant
    if not order < n <= FL_MAX_NODES:
        raise IndexError
    return fl_stencil_error(order, n, &nodes[0], &constant), constant


def differences(double[:, ::1] weights not None, double[:, :, ::1] values not None, double[::1] factors not None):
    """Return for every row i of `values`, (n, nodes, outputs), its weighted sum times factors[i]: (n, outputs).

    There is one row of weights for each, or one for all.
    """
    cdef size_t n = values.shape[0], n_nodes = values.shape[1], n_outputs = values.shape[2], i
    cdef size_t stride = weights.shape[0] > 1
    if <size_t>weights.shape[1] != n_nodes or <size_t>factors.shape[0] != n or weights.shape[0] not in (1, n):
        raise IndexError
    result = np.empty((n, n_outputs))
    cdef double[:, ::1] out = result
    if n_outputs == 0:
        return result
    for i in range(n):
        fl_difference(n_nodes, &weights[i*stride, 0], &values[i, 0, 0], n_outputs, factors[i], &out[i, 0])
    return result


def noise(double[::1] values not None):
    """Return the noise level in values at equal distances, and "found", "large" or "small" (of the distance)."""
    cdef fl_noise_status status
    if not 4 <= values.shape[0] <= FL_MAX_NODES:
        raise IndexError
    level = fl_noise(values.shape[0], &values[0], &status)
    return level, "found" if status == FL_NOISE_FOUND else "large" if status == FL_NOISE_STEP_LARGE else "small"


def extrapolate(double[:, ::1] differences not None, double[:, ::1] roundoff not None, double ratio, size_t power):
    """Return values, errors and levels of the extrapolation of (levels, outputs) differences to step 0."""
    cdef size_t n_levels = differences.shape[0], n_outputs = differences.shape[1]
    if not 0 < n_levels <= FL_MAX_NODES or roundoff.shape[0] != differences.shape[0] \
            or roundoff.shape[1] != differences.shape[1]:
        raise IndexError
    values, errors, levels = np.empty(n_outputs), np.empty(n_outputs), np.empty(n_outputs, np.uintp)
    cdef double[::1] v = values, e = errors
    cdef size_t[::1] l = levels
    if n_outputs:
        fl_extrapolate(n_levels, ratio, power, &differences[0, 0], &roundoff[0, 0], n_outputs, &v[0], &e[0], &l[0])
    return values, errors, levels


# ---- calling Python functions ----

OUTSIDE = float("nan")  # this very object stands for "x is outside of f's domain", whatever shape f returns


cdef bint _says_outside(error):
    """Tell whether an exception is the scalar world's way to say NaN: 1/0, math.exp(1000), math.log(-1)."""
    if isinstance(error, ArithmeticError):
        return True
    return type(error) is ValueError and str(error).startswith(("math domain error", "expected a "))


cdef cnp.ndarray _copy(cnp.ndarray base):
    return cnp.PyArray_NewCopy(base, cnp.NPY_CORDER)


cdef bint _is_as_made(cnp.ndarray x, cnp.ndarray base) noexcept:
    """Tell whether x may be handed out once more: nobody else has it, and f has not reshaped or locked it."""
    if not FL_IS_MINE_ALONE(x) or cnp.PyArray_NDIM(x) != cnp.PyArray_NDIM(base):
        return False
    for i in range(cnp.PyArray_NDIM(base)):
        if cnp.PyArray_DIM(x, i) != cnp.PyArray_DIM(base, i):
            return False
    return cnp.PyArray_ISWRITEABLE(x) and cnp.PyArray_IS_C_CONTIGUOUS(x) \
        and cnp.PyArray_TYPE(x) == cnp.PyArray_TYPE(base)


cdef size_t _count_points(size_t[::1] starts, size_t[::1] index, double[::1] moved, size_t n) except? 0:
    """Return how many points `call_moved` is given, whose variable has n entries."""
    if index is None:
        if starts is not None or n == 0 or moved.shape[0] % n:
            raise IndexError
        return moved.shape[0]//n
    return index.shape[0] if starts is None else starts.shape[0] - 1


def owned(result):
    """Return what f returned, with copies of the arrays that f may keep and write over at its next call."""
    if isinstance(result, cnp.ndarray):
        is_new = FL_IS_MINE_ALONE(result) and cnp.PyArray_BASE(result) is NULL
        return result if is_new else result.copy()
    if isinstance(result, dict):
        return {key: owned(part) for key, part in result.items()}
    if isinstance(result, list):
        return [owned(part) for part in result]
    return tuple([owned(part) for part in result]) if isinstance(result, tuple) else result


def call_moved(f, tuple args, layout, cnp.ndarray base not None, size_t[::1] starts, size_t[::1] index,
               double[::1] moved not None):
    """Call f at points that differ from `base` in a few entries; return the list of what it returned.

    Point k is `base`, C-contiguous float32 or float64, with flat entry index[m] set to moved[m] for starts[k] <= m <
    starts[k + 1], or m = k if `starts` is None. If `index` is None, it is row k of `moved` in all entries. f gets a copy
    that it may keep or change; or, unless `layout` is None, what `views` shows of the copy. Results are as if f returned
    new arrays each time. Where f raises that it is not defined there, the result is `OUTSIDE`.
    """
    cdef bint each_one = starts is None, is_whole = index is None
    cdef size_t n = cnp.PyArray_SIZE(base), k, m
    cdef size_t n_points = _count_points(starts, index, moved, n)
    cdef bint is_double = cnp.PyArray_TYPE(base) == cnp.NPY_FLOAT64
    cdef size_t n_bytes = cnp.PyArray_NBYTES(base)
    cdef cnp.ndarray x = None
    cdef char *data
    cdef list results = []
    for k in range(n_points):
        if layout is not None or x is None or not _is_as_made(x, base):
            x = _copy(base)
        elif not is_whole:
            memcpy(cnp.PyArray_BYTES(x), cnp.PyArray_BYTES(base), n_bytes)
        data = cnp.PyArray_BYTES(x)
        if is_whole and is_double:
            memcpy(data, &moved[k*n], n_bytes)
        elif is_whole:
            for m in range(n):
                (<float *>data)[m] = <float>moved[k*n + m]
        else:
            for m in range(k if each_one else starts[k], k + 1 if each_one else starts[k + 1]):
                if is_double:
                    (<double *>data)[index[m]] = moved[m]
                else:
                    (<float *>data)[index[m]] = <float>moved[m]
        argument = x if layout is None else _seen(layout, x)
        try:
            results.append(owned(f(argument, *args) if args else f(argument)))
        except (ArithmeticError, ValueError) as error:
            if not _says_outside(error):
                raise
            results.append(OUTSIDE)
        argument = None  # so that x may be mine alone
    return results


def call_watched(f, tuple args not None, layout, cnp.ndarray flat not None):
    """Call f with what `views` shows of a copy; return its result, its argument, and whether the copy is as it was."""
    cdef cnp.ndarray given = _copy(flat)
    argument = _seen(layout, given)
    result = f(argument, *args)
    return result, argument, same_bytes(given, flat)


def floats(list results not None):
    """Return Python and NumPy float64 numbers as an array of doubles, or None if something else is among them.

    `OUTSIDE` alone does not say what f returns: None.
    """
    cdef Py_ssize_t n = len(results), i
    cdef bint is_outside = True
    array = np.empty(n)
    cdef double *out = <double *>cnp.PyArray_DATA(array)
    for i in range(n):
        if not PyFloat_Check(results[i]):
            return None
        is_outside = is_outside and results[i] is OUTSIDE
        out[i] = PyFloat_AS_DOUBLE(results[i])
    return None if is_outside else array


def same_bytes(cnp.ndarray a not None, cnp.ndarray b not None):
    """Tell whether two C-contiguous arrays of numbers are the same bit by bit, NaN included."""
    cdef size_t n_bytes = cnp.PyArray_NBYTES(a)
    if not (cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_IS_C_CONTIGUOUS(b)):
        raise IndexError
    return n_bytes == <size_t>cnp.PyArray_NBYTES(b) and memcmp(cnp.PyArray_BYTES(a), cnp.PyArray_BYTES(b), n_bytes) == 0


# ---- calling native functions ----

cdef class Native:
    """A C function ``double f(const double *x, size_t n, void *context)``.

    Parameters
    ----------
    function : int or PyCapsule
        Its address, or the capsule of a `scipy.LowLevelCallable`, whose context is handed on.
    owner : object
        Kept alive as long as this.
    """

    cdef fl_function *function
    cdef void *context
    cdef object owner

    def __cinit__(self, function, owner):
        if PyCapsule_CheckExact(function):
            self.function = <fl_function *>PyCapsule_GetPointer(function, PyCapsule_GetName(function))
            self.context = PyCapsule_GetContext(function)
        else:
            self.function = <fl_function *><uintptr_t>function
        self.owner = owner

    def call_moved(self, double[::1] base not None, size_t[::1] starts, size_t[::1] index,
                   double[::1] moved not None):
        """Return the values at the points of `call_moved`, without the GIL; Ctrl-C is seen every so many points."""
        cdef size_t n = base.shape[0], n_points = _count_points(starts, index, moved, n), first = 0, some
        scratch, values = np.array(base), np.empty(n_points)
        cdef double[::1] x = scratch, out = values
        cdef double *at = &x[0] if n else NULL
        cdef const size_t *entries = NULL if index is None else &index[0] if index.shape[0] else &n  # NULL: points in full
        cdef const double *numbers = &moved[0] if moved.shape[0] else NULL
        while first < n_points:
            some = min(n_points - first, <size_t>4096)
            with nogil:
                fl_evaluate(self.function, self.context, n, at, some, NULL if starts is None else &starts[first],
                            entries, numbers, &base[0] if n else NULL, &out[first])
            PyErr_CheckSignals()
            first += some
            if index is None:
                numbers += n*some
            elif starts is None:
                entries += some
                numbers += some
        return values

    def differentiate(self, double[::1] x not None, size_t[::1] index not None, double[::1] steps not None,
                      size_t order, double[::1] nodes not None, double[::1] weights not None, double origin):
        """Return differences along axes, the sizes of f, and where x + node*step was exact: elsewhere nothing is done.

        x is written to, and as it was afterwards.
        """
        cdef size_t n = x.shape[0], n_lines = index.shape[0], first = 0, some
        if steps.shape[0] != index.shape[0] or weights.shape[0] != nodes.shape[0] or nodes.shape[0] > FL_MAX_NODES:
            raise IndexError
        values, sizes, exact = np.empty(n_lines), np.empty(n_lines), np.empty(n_lines, np.uint8)
        cdef double[::1] out = values, magnitudes = sizes
        cdef unsigned char[::1] fits = exact
        while first < n_lines:
            some = min(n_lines - first, <size_t>1024)
            with nogil:
                fl_differentiate(self.function, self.context, n, &x[0], some, &index[first], &steps[first], order,
                                 nodes.shape[0], &nodes[0], &weights[0], origin, &out[first], &magnitudes[first],
                                 &fits[first])
            PyErr_CheckSignals()
            first += some
        return values, sizes, exact.view(np.bool_)


def capsule_name(capsule):
    """Return the name of a PyCapsule, which in a `scipy.LowLevelCallable` is the signature; None if it has none."""
    cdef const char *name = PyCapsule_GetName(capsule)
    return None if name == NULL else name.decode()
