# What six values of a function along a line say of a derivative.

def reading(double[::1] steps not None, double[::1] six not None, double[::1] four not None, double distance,
            double[:, ::1] change not None, double[:, ::1] along not None):
    """Return what six values say of every output.

    Returns
    -------
    table : (8, outputs)
        Residual, truncation, yours, noise of the whole and of the odd part, curvature, bend and its error.
    finite, constant : bool
    """
    cdef size_t n_outputs = change.shape[1], j
    if (<size_t>steps.shape[0], <size_t>six.shape[0], <size_t>four.shape[0], <size_t>change.shape[0],
            <size_t>along.shape[0], <size_t>along.shape[1]) != (6, 6, 6, 6, 6, n_outputs):
        raise IndexError
    table = np.empty((8, n_outputs))
    cdef double[:, ::1] out = table
    cdef bint finite = True, constant = True
    cdef fl_reading *readings = <fl_reading *>calloc(n_outputs + 1, sizeof(fl_reading))
    if readings == NULL:
        raise MemoryError
    if n_outputs:
        fl_read(&steps[0], &six[0], &four[0], distance, n_outputs, &change[0, 0], &along[0, 0], readings)
    for j in range(n_outputs):
        out[0, j], out[1, j], out[2, j] = readings[j].residual, readings[j].truncation, readings[j].yours
        out[3, j], out[4, j], out[5, j] = readings[j].whole, readings[j].odd, readings[j].curvature
        out[6, j], out[7, j] = readings[j].bend, readings[j].bend_error
        finite = finite and readings[j].finite
        constant = constant and readings[j].constant
    free(readings)
    return table, finite, constant
