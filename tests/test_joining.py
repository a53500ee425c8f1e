"""Concat and Split as a user of several arrays meets them; their laws are those of the case "Split and Concat"."""

import numpy as np
import pytest

from scratchnn import Concat, LayerError, Split
from scratchnn_kernels import KernelError

A, B = np.ones((2, 3, 4)), np.zeros((2, 1, 4))


def test_each_is_the_other_s_inverse() -> None:
    y, ctx = Concat().forward([A, B])
    assert y.shape == (2, 4, 4)
    parts, _ = Split((3, 1)).forward(y)
    assert [part.tolist() for part in parts] == [A.tolist(), B.tolist()]
    assert [dx.shape for dx in Concat().backward(y, ctx)] == [A.shape, B.shape]


def test_absent_tangents_are_zero() -> None:
    _, ctx = Concat().forward([A, B])
    assert Concat().jvp([None, None], ctx) == (None, None)
    assert Concat().jvp(None, ctx) == (None, None)
    y_dot, _ = Concat().jvp([None, B + 2], ctx)
    assert y_dot.tolist() == np.concatenate([0 * A, B + 2], 1).tolist()
    _, shapes = Split((3, 1)).forward(np.concatenate([A, B], 1))
    _, dx_dot = Split((3, 1)).backward_jvp([A, B], [None, B + 2], shapes, None)
    assert dx_dot.tolist() == y_dot.tolist()
    assert Split((3, 1)).backward_jvp([A, B], None, shapes, None)[1] is None


@pytest.mark.parametrize(
    ("xs", "told"),
    [
        ([], "xs is empty"),
        ([A, B[0]], "xs[1] is float64 [1,4] but xs[0] is float64 [2,3,4]"),
        ([A, np.ones((3, 3, 4))], "may differ along axis 1 only"),
        ([A, B.astype(np.float32)], "both must have one precision"),
        ([A, np.ones((2, 3, 4), int)], "xs[1] is int64"),
    ],
)
def test_concat_refuses(xs: list, told: str) -> None:
    with pytest.raises(LayerError, match="Concat") as caught:
        Concat().forward(xs)
    assert told in str(caught.value)


def test_axes_and_sizes_are_checked() -> None:
    with pytest.raises(LayerError, match=r"axis=3; xs\[0\]"):
        Concat(3).forward([A])
    with pytest.raises(LayerError, match="4 along axis 1 are expected"):
        Split((3, 1)).forward(A)
    with pytest.raises(KernelError, match="sizes"):
        Split(())
    with pytest.raises(KernelError, match="sizes"):
        Split((1, 0))


def test_wrong_gradients_are_refused() -> None:
    _, ctx = Concat().forward([A, B])
    with pytest.raises(LayerError, match=r"the shape \[2,4,4\] is expected"):
        Concat().backward(A, ctx)
    _, shapes = Split((3, 1)).forward(np.concatenate([A, B], 1))
    with pytest.raises(LayerError, match="1 gradients came"):
        Split((3, 1)).backward([A], shapes)
    with pytest.raises(LayerError, match=r"dy\[1\]"):
        Split((3, 1)).backward([A, A], shapes)
