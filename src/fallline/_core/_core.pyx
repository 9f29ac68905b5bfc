"""The checked doorway to csrc: what Python hands over is looked at here, once, and no formula is written here."""

cimport cython
cimport numpy as cnp
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport HUGE_VAL, sqrt
from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from _fallline cimport *

import os

import numpy as np

cnp.import_array()

include "config.pxi"
include "plan.pxi"
include "block.pxi"
include "diff.pxi"
include "reading.pxi"
include "tape.pxi"
include "descend.pxi"
include "linear.pxi"
