# The arrays of a tree as blocks of one flat vector of doubles, seen and gathered without a Python call for each.
from libc.float cimport DBL_EPSILON, FLT_EPSILON

cdef extern from "numpy/arrayobject.h":
    ctypedef void PyArray_DotFunc(void *, cnp.npy_intp, void *, cnp.npy_intp, void *, cnp.npy_intp, void *)
    ctypedef struct PyArray_ArrFuncs:
        PyArray_DotFunc *dotfunc
    PyArray_ArrFuncs *PyDataType_GetArrFuncs(cnp.PyArray_Descr *)

cdef enum:
    MOST_AXES = 8  # of blocks that are seen here; `of` does the others


cdef double *_numbers(cnp.ndarray array, size_t n) except? NULL:
    """Return where the n doubles of an array are, or raise."""
    if cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT64 or not cnp.PyArray_ISCARRAY_RO(array) \
            or <size_t>cnp.PyArray_SIZE(array) != n:
        raise IndexError
    return <double *>cnp.PyArray_DATA(array)


cdef class Block:
    """Where an array of a tree is in a flat vector, and in which shape; what else a leaf is, a subclass says.

    Parameters
    ----------
    start : int
    shape : tuple of int
    is_plain : bool
        It is an array of float64: a view shows it. Others are made by the method ``of(flat)`` of the subclass.
    """

    cdef readonly Py_ssize_t start, stop
    cdef readonly tuple shape
    cdef bint is_seen
    cdef cnp.npy_intp sides[MOST_AXES]

    def __init__(self, Py_ssize_t start, tuple shape not None, bint is_plain):
        cdef Py_ssize_t size = 1, axis
        self.is_seen = is_plain and len(shape) <= MOST_AXES
        for axis in range(len(shape)):
            size *= shape[axis]
            if axis < MOST_AXES:
                self.sides[axis] = shape[axis]
        self.start, self.stop, self.shape = start, start + size, shape


cdef object _view(Block block, cnp.ndarray flat):
    cdef cnp.ndarray array = cnp.PyArray_SimpleNewFromData(
        <int>len(block.shape), block.sides, cnp.NPY_FLOAT64, <double *>cnp.PyArray_DATA(flat) + block.start)
    cnp.set_array_base(array, flat)
    return array


cdef object _views(layout, cnp.ndarray flat, bint are_doubles):
    cdef list children
    if isinstance(layout, Block):
        return _view(layout, flat) if are_doubles and (<Block>layout).is_seen else layout.of(flat)
    if isinstance(layout, dict):
        return {key: _views(child, flat, are_doubles) for key, child in (<dict>layout).items()}
    children = [_views(child, flat, are_doubles) for child in layout]
    if isinstance(layout, list):
        return children
    return type(layout)(*children) if hasattr(layout, "_fields") else tuple(children)


cdef Py_ssize_t _end(layout) except -1:
    """Return how long a flat vector must be at least."""
    if isinstance(layout, Block):
        return (<Block>layout).stop
    cdef Py_ssize_t end = 0
    for child in layout.values() if isinstance(layout, dict) else layout:
        end = max(end, _end(child))
    return end


cdef object _seen(layout, cnp.ndarray flat):
    cdef bint are_doubles = cnp.PyArray_NDIM(flat) == 1 and cnp.PyArray_TYPE(flat) == cnp.NPY_FLOAT64 \
        and cnp.PyArray_ISCARRAY(flat)
    if are_doubles and cnp.PyArray_SIZE(flat) < _end(layout):
        raise IndexError
    return _views(layout, flat, are_doubles)


def views(layout, cnp.ndarray flat not None):
    """Return a tree of what its blocks show of flat vectors, (..., size): views wherever that can be."""
    return _seen(layout, flat)


cdef bint _gather_block(Block block, array, double *out, double *eps):
    cdef Py_ssize_t n = block.stop - block.start, i
    cdef int axis
    if type(array) is not cnp.ndarray or cnp.PyArray_NDIM(array) != len(block.shape) or len(block.shape) > MOST_AXES \
            or not cnp.PyArray_ISCARRAY_RO(array):
        return False
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, axis) != block.sides[axis]:
            return False
    if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64:
        memcpy(out + block.start, cnp.PyArray_DATA(array), n*sizeof(double))
        eps[0] = max(eps[0], DBL_EPSILON)
    elif cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32:
        for i in range(n):
            out[block.start + i] = (<float *>cnp.PyArray_DATA(array))[i]
        eps[0] = FLT_EPSILON
    else:
        return False
    return True


cdef bint _gather(layout, tree, double *out, double *eps) except -1:
    cdef Py_ssize_t i
    if isinstance(layout, Block):
        return _gather_block(layout, tree, out, eps)
    if type(tree) is not type(layout) or len(tree) != len(layout):
        return False
    if isinstance(layout, dict):
        for key, child in (<dict>layout).items():
            if key not in (<dict>tree) or not _gather(child, (<dict>tree)[key], out, eps):
                return False
        return True
    for i in range(len(layout)):
        if not _gather(layout[i], tree[i], out, eps):
            return False
    return True


def gather(layout, tree, Py_ssize_t size):
    """Return a tree of C-contiguous float32 and float64 arrays as a flat vector of doubles, and the eps of the coarsest.

    Return None if the tree is any other than `layout`, which only Python can say in words.
    """
    cdef double eps = 0
    if size < _end(layout):
        raise IndexError
    flat = np.empty(size)
    return (flat, eps) if size and _gather(layout, tree, <double *>cnp.PyArray_DATA(flat), &eps) else None


def norms(list blocks not None, cnp.ndarray flat not None):
    """Return the Euclidean norm of every block of a flat vector of doubles."""
    cdef Block block
    cdef double *data = _numbers(flat, cnp.PyArray_SIZE(flat))
    cdef double squares
    cdef list result = []
    cdef PyArray_DotFunc *dot = PyDataType_GetArrFuncs(cnp.PyArray_DESCR(flat)).dotfunc  # NumPy's, by BLAS
    for block in blocks:
        if block.stop > cnp.PyArray_SIZE(flat):
            raise IndexError
        dot(data + block.start, sizeof(double), data + block.start, sizeof(double), &squares, block.stop - block.start, NULL)
        result.append(sqrt(squares))
    return result


def uniform(list blocks not None, cnp.ndarray flat not None):
    """Return those blocks of a flat vector of doubles whose entries are all the same; blocks without entries are not."""
    cdef Block block
    cdef double *data = _numbers(flat, cnp.PyArray_SIZE(flat))
    cdef Py_ssize_t i
    cdef list result = []
    for block in blocks:
        if block.stop > cnp.PyArray_SIZE(flat):
            raise IndexError
        i = block.start
        while i < block.stop and data[i] == data[block.start]:
            i += 1
        if i == block.stop > block.start:
            result.append(block)
    return result


def usual_scales(list blocks not None, double[::1] flat not None, double small):
    """Return how far every entry of a flat vector moves: its magnitude, or `small` times less than is usual in its block.

    The blocks follow each other, and have all of the vector.
    """
    cdef size_t n = flat.shape[0], n_blocks = len(blocks), b, start = 0
    cdef double[::1] out
    cdef size_t[::1] stops
    cdef uint64_t[::1] scratch
    scales, ends, space = np.empty(n), np.empty(n_blocks, np.uintp), np.empty(n, np.uint64)
    out, stops, scratch = scales, ends, space
    for b in range(n_blocks):
        if <size_t>(<Block?>blocks[b]).start != start:
            raise IndexError
        start = stops[b] = (<Block>blocks[b]).stop
    if start != n:
        raise IndexError
    if n:
        fl_usual_scales(n_blocks, &stops[0], &flat[0], small, &scratch[0], &out[0])
    return scales
