"""Columns of all rows are read where they are."""

import numpy as np
import pytest

from models.tensors import empty, tensor


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(1,), (1000,), (77, 3)])
def test_an_array_made_for_it_is_not_copied(dtype: type, shape: tuple[int, ...]) -> None:
    x = empty(shape, dtype)
    x[:] = 3
    seen = tensor(x)
    x[-1] = 7
    assert (x.shape, x.dtype) == (shape, dtype)
    np.testing.assert_array_equal(seen.numpy(), x)  # what was written later is seen


def test_the_memory_lives_as_long_as_the_tensor() -> None:
    seen = tensor(_filled())
    _ = [_filled() * 2 for _ in range(10)]  # would take the place of what was let go
    np.testing.assert_array_equal(seen.numpy(), np.full(1_000_000, 5.0))


def _filled() -> np.ndarray:
    x = empty((1_000_000,), np.float64)
    x[:] = 5
    return x


@pytest.mark.parametrize(
    "x",
    [
        empty((100,), np.int64)[1:],
        empty((100, 4), np.float32)[:, 1],
        np.array([b"text", b""], object),
        np.array([True, False]),
        np.broadcast_to(np.float32(1), (5,)),
        np.zeros((0, 3), np.float32),
    ],
    ids=["not aligned", "not contiguous", "text", "boolean", "read only", "empty"],
)
def test_what_cannot_be_shared_is_copied(x: np.ndarray) -> None:
    np.testing.assert_array_equal(tensor(x).numpy(), x)
