"""Public kernels and losses refuse bad input themselves, not only where a layer has asked before them."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_close
from kernel_arguments import ARGUMENTS, IN_PLACE, Call
from scratchnn import losses
from scratchnn_kernels import KernelError
from scratchnn_kernels.conv2d import im2col

EVERY_OP = pytest.mark.parametrize("op", [op for op in ARGUMENTS if op not in IN_PLACE])
EVERY_GRADIENT = pytest.mark.parametrize("op", [op for op in ARGUMENTS if "_grad" in op])
ONE_ARRAY_FREE = ("linear_input_grad",)  # any rank of dy will do
WIDTH_FREE = ("linear_weight_grad", "resize2d_input_grad")  # the width of dy says how wide the output was


def arrays(op: str, call: Call) -> dict[int, np.ndarray]:
    """The float arguments by place; a normalisation's inv_std comes from normalize, and is taken on trust."""
    found = {i: a for i, a in enumerate(call.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
    return {i: a for i, a in found.items() if not (op.startswith("normalize_grad") and i == 2)}


def assert_refused(op: str, call: Call, place: int, came: Any) -> None:
    args = [*call.args]
    args[place] = came
    with pytest.raises(KernelError):
        getattr(kernels, op)(*args, **call.options)


@EVERY_OP
@given(data=st.data())
def test_integers_and_two_precisions(op: str, data: st.DataObject) -> None:
    call = data.draw(ARGUMENTS[op])
    given = arrays(op, call)
    for place, array in given.items():
        assert_refused(op, call, place, array.astype(int))
        if len(given) > 1:
            assert_refused(op, call, place, array.astype(np.float32))


@EVERY_GRADIENT
@given(data=st.data())
def test_a_dy_of_another_kind_rank_or_width(op: str, data: st.DataObject) -> None:
    call = data.draw(ARGUMENTS[op])
    dy = call.args[0]
    assert_refused(op, call, 0, dy.tolist())
    if op not in ONE_ARRAY_FREE:
        assert_refused(op, call, 0, dy[None])
    if op not in WIDTH_FREE and dy.size:
        assert_refused(op, call, 0, np.concatenate([dy, dy[..., :1]], -1))


DY, X, W = np.ones((2, 4, 3, 3)), np.ones((2, 6, 5, 5)), np.ones((4, 3, 3, 3))
BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: kernels.conv2d_weight_grad(DY, X, (3, 3), groups=4), r"groups=4 must divide the in-channels \(6\)"),
    (lambda: kernels.conv2d_weight_grad(DY, X, (3, 3), groups=3), r"out-channels \(4\)"),
    (lambda: kernels.conv2d_weight_grad(DY[:1], X, (3, 3), groups=2), "the shape"),
    (lambda: kernels.conv2d_weight_grad(DY, X[0], (3, 3), groups=2), r"\[N,C,H,W\]"),
    (lambda: kernels.conv2d(X, W, groups=3), r"groups=3 must divide the in-channels \(9\) and out-channels \(4\)"),
    (lambda: kernels.conv2d(X, W[0], groups=2), r"\[O,C,K,L\]"),
    (lambda: kernels.pad2d_input_grad(DY, (3, 3), (0, 0, 0, 0), mode="wrap"), "mode='wrap'"),
    (lambda: kernels.pad2d_input_grad(DY[:, :, :1], (4, 3), (0, 0, -3, 0), mode="wrap"), "mode='wrap'"),
    (lambda: kernels.resize2d_input_grad(DY, (2, 2), mode="cubic"), "mode='cubic'"),
    (lambda: kernels.resize2d_input_grad(DY, (2, 0)), "size="),
    (lambda: kernels.linear_weight_grad(np.ones((2, 3)), np.ones((3, 3))), "the shape"),
    (lambda: kernels.max_pool2d(X[0], 2), r"\[N,C,H,W\]"),
    (lambda: kernels.avg_pool2d(X[0], 2), r"\[N,C,H,W\]"),
]


@pytest.mark.parametrize(("call", "said"), BAD, ids=[said for _, said in BAD])
def test_geometry_and_options(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(KernelError, match=said):
        call()


@pytest.mark.parametrize("name", ["mse", "l1", "bce_with_logits", "cross_entropy"])
def test_a_tangent_of_a_loss_is_named_with_what_came(name: str) -> None:
    x, target = np.ones((4, 3)), np.array([0, 2, 1, 1]) if name == "cross_entropy" else np.full((4, 3), 0.5)
    for came, said in ((x[:1], "float64 [1,3]"), (x.astype(int), "int64 [4,3]"), (x.astype("f4"), "float32 [4,3]")):
        with pytest.raises(KernelError, match=re.escape(f"x_dot is {said}")):
            getattr(losses, f"{name}_jvp")(x, came, target)


@pytest.mark.parametrize("op", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"])
def test_a_batch_in_pieces_of_two_images(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """im2col cuts a batch into pieces that fit a cache; the pieces of small images are made small here."""
    rng = np.random.default_rng(0)
    x, weight, dy = (rng.standard_normal(shape) for shape in ((5, 4, 6, 7), (6, 2, 3, 2), (5, 6, 6, 6)))
    columns = 4 * 3 * 2 * 6 * 6 * x.itemsize
    args = {"conv2d": (x, weight), "conv2d_input_grad": (dy, weight, (6, 7)), "conv2d_weight_grad": (dy, x, (3, 2))}
    options = {"groups": 2, "padding": (1, 0)}
    truth = getattr(kernels, op)(*args[op], **options, impl="reference")
    for images in (1, 2, 3, 5):
        monkeypatch.setattr(im2col, "COLUMN_BYTES", images * columns)
        assert_close(
            getattr(kernels, op)(*args[op], **options, impl="im2col"), truth, 1e-12, f"{op}, {images} at a time"
        )
