"""Arrays that TensorFlow reads where they are: a copy of all rows is what a training has no memory for."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.legacy_keras import tf

_ALIGNED = 64
"""Bytes: what TensorFlow asks of the address of a tensor."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled, that `tensor` need not copy."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    room = np.empty(size + _ALIGNED, np.uint8)
    start = -room.ctypes.data % _ALIGNED
    return room[start : start + size].view(kind).reshape(shape)


def tensor(x: NDArray[Any]) -> Any:
    """The array as a tensor: the same memory where that can be, else a copy. What is written to the array later may be seen."""
    if x.dtype.kind in "iuf" and x.size and x.flags.c_contiguous and x.flags.writeable and x.ctypes.data % _ALIGNED == 0:
        return tf.experimental.dlpack.from_dlpack(x.__dlpack__())
    return tf.constant(x)
