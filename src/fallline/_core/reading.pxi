# What six values of a function along a line say of a derivative.

SAFETY = FL_SAFETY


def random_units(cnp.ndarray random not None, cnp.ndarray scales not None):
    """Return a direction that moves entries by 1/2 to 3/2 of their scales either way, of random numbers from [0, 1)."""
    cdef size_t n = cnp.PyArray_SIZE(random)
    units = np.empty(n)
    fl_random_units(n, _numbers(random, n), _numbers(scales, n), _numbers(units, n))
    return units


def points_along(cnp.ndarray at not None, cnp.ndarray units not None, cnp.ndarray t not None):
    """Return the points at + t[k]*units and what they really moved by, both (points, entries)."""
    cdef size_t n = cnp.PyArray_SIZE(at), n_points = cnp.PyArray_SIZE(t)
    points, taken = np.empty((n_points, n)), np.empty((n_points, n))
    fl_points_along(n, _numbers(at, n), _numbers(units, n), n_points, _numbers(t, n_points), _numbers(points, n_points*n),
                    _numbers(taken, n_points*n))
    return points, taken


cdef class SixPoints:
    """Where six values are on a line, in units of a distance, and how they are weighed.

    Parameters
    ----------
    steps : (6,)
    six, four : (6,)
        Weights of first derivatives at 0 of accuracy 6 and 4.
    norm : float
        Of `six`.
    """

    cdef fl_six six
    cdef readonly object steps

    def __cinit__(self, cnp.ndarray steps not None, cnp.ndarray six not None, cnp.ndarray four not None, double norm):
        memcpy(self.six.steps, _numbers(steps, 6), sizeof(self.six.steps))
        memcpy(self.six.six, _numbers(six, 6), sizeof(self.six.six))
        memcpy(self.six.four, _numbers(four, 6), sizeof(self.six.four))
        self.six.norm, self.steps = norm, steps


cdef class Known:
    """What is known of f at a point.

    Parameters
    ----------
    value : (outputs,)
    noise : (outputs,)
        At least.
    given : float
        The noise, if the caller told it; else NaN.
    eps, eps_of_yours : float
        The spacing at 1 of f's numbers, and of those that the gradient was computed in.
    """

    cdef fl_known known
    cdef object value, noise
    cdef size_t n_outputs

    def __cinit__(self, cnp.ndarray value not None, cnp.ndarray noise not None, double given, double eps,
                  double eps_of_yours):
        self.n_outputs = cnp.PyArray_SIZE(value)
        self.known.value, self.known.noise = _numbers(value, self.n_outputs), _numbers(noise, self.n_outputs)
        self.known.given, self.known.eps, self.known.eps_of_yours = given, eps, eps_of_yours
        self.value, self.noise = value, noise


cdef class Reading:
    """What six values of f say of every output; `fallline.readings` describes the attributes.

    Parameters
    ----------
    points : SixPoints
    known : Known
    line : object
        The direction; kept.
    distance : float
    values, along : (6, outputs)
        f, and what yours says of its changes.
    sizes, units : (outputs,)
        Of the terms of yours; the noise of values that are rounded to few digits, NaN for others, or None for all.
    """

    cdef fl_reading reading
    cdef Known known
    cdef readonly object line

    def __cinit__(self, SixPoints points not None, Known known not None, line, double distance,
                  cnp.ndarray values not None, cnp.ndarray along not None, cnp.ndarray sizes not None, cnp.ndarray units):
        cdef size_t n = known.n_outputs
        self.reading.distance, self.reading.n_outputs, self.line, self.known = distance, n, line, known
        self.reading.outputs = <fl_derivative *>calloc(n + 1, sizeof(fl_derivative))
        if self.reading.outputs == NULL:
            raise MemoryError
        fl_read(&points.six, &known.known, _numbers(values, 6*n), _numbers(along, 6*n), _numbers(sizes, n),
                NULL if units is None else _numbers(units, n), &self.reading)

    def __dealloc__(self):
        free(self.reading.outputs)

    def distrust(self):
        """Say that this distance tells nothing."""
        fl_distrust(&self.reading)

    cdef _column(self, const double *first):
        """Return one number of every output."""
        cdef size_t n = self.reading.n_outputs, j
        array = np.empty(n)
        cdef double *out = <double *>cnp.PyArray_DATA(array)
        for j in range(n):
            out[j] = first[j*(sizeof(fl_derivative)//sizeof(double))]
        return array

    @property
    def distance(self):
        return self.reading.distance

    @property
    def gain(self):
        return self.reading.gain

    @property
    def quality(self):
        return self.reading.quality

    @property
    def finite(self):
        return self.reading.finite != 0

    @property
    def constant(self):
        return self.reading.constant != 0

    @property
    def is_stuck(self):
        return self.reading.is_stuck != 0

    @property
    def is_wild(self):
        return self.reading.is_wild != 0

    @property
    def is_bounded(self):
        return self.reading.is_bounded != 0

    @property
    def is_right(self):
        return self.reading.is_right != 0

    @property
    def has_kink(self):
        return self.reading.has_kink != 0

    @property
    def is_noisy(self):
        return self.reading.is_noisy != 0

    @property
    def rank(self):
        return self.reading.quality, self.reading.bound

    @property
    def numeric(self):
        return self._column(&self.reading.outputs[0].numeric)

    @property
    def yours(self):
        return self._column(&self.reading.outputs[0].yours)

    @property
    def residual(self):
        return self._column(&self.reading.outputs[0].residual)

    @property
    def truncation(self):
        return self._column(&self.reading.outputs[0].truncation)

    @property
    def own(self):
        return self._column(&self.reading.outputs[0].own)

    @property
    def whole(self):
        return self._column(&self.reading.outputs[0].whole)

    @property
    def odd(self):
        return self._column(&self.reading.outputs[0].odd)

    @property
    def bend(self):
        return self._column(&self.reading.outputs[0].bend)

    @property
    def bend_error(self):
        return self._column(&self.reading.outputs[0].bend_error)

    @property
    def size(self):
        return self._column(&self.reading.outputs[0].size)

    @property
    def noise(self):
        return self._column(&self.reading.outputs[0].noise)

    @property
    def rounding(self):
        return self._column(&self.reading.outputs[0].rounding)

    @property
    def kink_error(self):
        return self._column(&self.reading.outputs[0].kink_error)

    @property
    def bound(self):
        return self._column(&self.reading.outputs[0].bound)

    @property
    def qualities(self):
        return self._column(&self.reading.outputs[0].quality)


def settle(list readings not None):
    """Decide how much noise there is from all readings of f along a line, by what is known of it at the last."""
    cdef Py_ssize_t n = len(readings), i
    cdef Known known
    cdef fl_reading **all = <fl_reading **>calloc(n + 1, sizeof(fl_reading *))
    if all == NULL:
        raise MemoryError
    try:
        for i in range(n):
            known = (<Reading?>readings[i]).known
            all[i] = &(<Reading>readings[i]).reading
            if all[i].n_outputs != all[0].n_outputs:
                raise IndexError
        if n:
            fl_settle(n, all, &known.known)
    finally:
        free(all)
