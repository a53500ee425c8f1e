"""Public kernels and losses refuse bad input themselves, not only where a layer has asked before them."""

import re
from collections.abc import Callable
from copy import deepcopy
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


def arrays(call: Call) -> dict[int, np.ndarray]:
    """The float arguments by place."""
    return {i: a for i, a in enumerate(call.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"}


def assert_refused(op: str, call: Call, place: int, came: Any) -> None:
    args = [*call.args]
    args[place] = came
    with pytest.raises(KernelError):
        getattr(kernels, op)(*args, **call.options)


@EVERY_OP
@given(data=st.data())
def test_lists_integers_and_two_precisions(op: str, data: st.DataObject) -> None:
    call = data.draw(ARGUMENTS[op])
    given = arrays(call)
    for place, array in given.items():
        assert_refused(op, call, place, array.astype(int))
        assert_refused(op, call, place, array.tolist())
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
Y, WINNERS = np.ones((1, 1, 1, 3)), np.array([[[[0, 2, 4]]]])
M = X[:1]  # as large as statistics over the batch
BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: kernels.conv2d_weight_grad(DY, X, (3, 3), groups=4), r"groups=4 must divide the in-channels \(6\)"),
    (lambda: kernels.conv2d_weight_grad(DY, X, (3, 3), groups=3), r"out-channels \(4\)"),
    (lambda: kernels.conv2d_weight_grad(DY[:1], X, (3, 3), groups=2), "the shape"),
    (lambda: kernels.conv2d_weight_grad(DY, X[0], (3, 3), groups=2), r"\[N,C,H,W\]"),
    (lambda: kernels.conv2d(X, W, groups=3), r"groups=3 must divide the in-channels \(9\) and out-channels \(4\)"),
    (lambda: kernels.conv2d(X, W[0], groups=2), r"\[O,C,K,L\]"),
    (lambda: kernels.conv2d(X, W[..., :2], groups=3), r"in-channels \(9\)"),
    (lambda: kernels.conv2d(X, W[:, :, :2], groups=3), r"in-channels \(9\)"),
    (lambda: kernels.conv2d(X, W, groups=0), "groups=0"),
    (lambda: kernels.conv2d(X, W, groups=-2), "groups=-2"),
    (lambda: kernels.conv2d(X, W), "3 are expected$"),
    (lambda: kernels.conv2d(X[:, :5], W, groups=2), "6 are expected$"),
    (lambda: kernels.conv2d(X[:, :5, :, :3], W, groups=2), "6 are expected$"),
    (lambda: kernels.conv2d(X.transpose(0, 2, 3, 1), W, groups=2), "6 are expected; it looks like NHWC"),
    (lambda: kernels.conv_transpose2d(X, W, groups=2), "6 channels; 4 are expected"),
    (lambda: kernels.conv_transpose2d(X[:, :3], W[:3, 0]), r"\[I,O,K,L\]"),
    (lambda: kernels.conv_transpose2d(X[:, :4], W.astype(int)), "weight is int64"),
    (lambda: kernels.conv_transpose2d(X[:, :4], W.tolist()), "weight is a list"),
    (lambda: kernels.conv_transpose2d(X[:, :4], W, np.ones(1)), r"bias is float64 \[1\]; the shape \[3\]"),
    (lambda: kernels.conv_transpose2d(X[:, :4], W, impl="fpga"), "no implementation 'fpga'"),
    (lambda: kernels.linear(X, W), r"\[O,I\]"),
    (lambda: kernels.linear(X, W[0, 0].tolist()), "weight is a list"),
    (lambda: kernels.softplus(X, 0.0), "beta=0.0"),
    (lambda: kernels.softplus(X, -1.0), "beta=-1.0"),
    (lambda: kernels.softmax(X, axis=4), "axis=4; x is"),
    (lambda: kernels.softmax_grad(X, X, axis=-5), "axis=-5; y is"),
    (lambda: kernels.softmax_cross_entropy(X[0, 0], np.zeros(5, int), label_smoothing=-0.5), "label_smoothing=-0.5"),
    (lambda: kernels.topk(X, 0), "k=0"),
    (lambda: kernels.k_sparse(X, 6), "k=6"),
    (lambda: kernels.normalize_grad(DY, X, X, (0,)), r"dy is float64 \[2,4,3,3\]; the shape \[2,6,5,5\]"),
    (lambda: kernels.normalize_grad_jvp(DY, X, X, X, (0,)), r"dy is float64 \[2,4,3,3\]; the shape \[2,6,5,5\]"),
    (lambda: kernels.normalize_grad(X, X, X, (0,)), r"inv_std is float64 \[2,6,5,5\]; the shape \[1,6,5,5\]"),
    (
        lambda: kernels.normalize_affine_grad(DY, X, M, M, None, (0,)),
        r"dy is float64 \[2,4,3,3\]; the shape \[2,6,5,5\]",
    ),
    (
        lambda: kernels.normalize_affine_grad(X, X, X, M, None, (0,)),
        r"mean is float64 \[2,6,5,5\]; the shape \[1,6,5,5\]",
    ),
    (
        lambda: kernels.normalize_affine_grad(X, X, M, X, None, (0,)),
        r"inv_std is float64 \[2,6,5,5\]; the shape \[1,6,5,5\]",
    ),
    (lambda: kernels.normalize_affine_grad(X, X, M.astype("f"), M, None, (0,)), r"mean is float32"),
    (
        lambda: kernels.normalize_affine_grad(X, X, M, M, M[0], (0,)),
        r"weight is float64 \[6,5,5\]; with x float64 \[2,6,5,5\]",
    ),
    (lambda: kernels.normalize(X, (0,), 1e-5, M[0]), r"weight is float64 \[6,5,5\]; with x float64 \[2,6,5,5\]"),
    (lambda: kernels.normalize(X, (0,), 1e-5, M[:, :2]), r"weight is float64 \[1,2,5,5\]; with x float64 \[2,6,5,5\]"),
    (lambda: kernels.normalize(X, (0,), 1e-5, M, M[0]), r"bias is float64 \[6,5,5\]; with x"),
    (lambda: kernels.normalize(X, (0,), 1e-5, M, M[:, :1]), r"bias is float64 \[1,1,5,5\]; a weight of the same shape"),
    (lambda: kernels.normalize(X, (0,), 1e-5, None, M), r"bias is float64 \[1,6,5,5\]; a weight of the same shape"),
    (lambda: kernels.normalize(X, (0,), 1e-5, M.astype("f")), r"weight is float32"),
    (lambda: kernels.conv2d(X[:, :3], W, np.ones(4, "f")), r"bias is float32"),
    (lambda: kernels.conv_transpose2d(X[:, :4], W, np.ones(3, "f")), r"bias is float32"),
    (lambda: kernels.pad2d(X, (1, 1)), r"\(left, right, top, bottom\)"),
    (lambda: kernels.pad2d(X, (0, 5, 0, 0), mode="reflect"), "reflects more"),
    (lambda: kernels.pad2d(X[:, :, :3], (0, 0, 3, 0), mode="reflect"), "reflects more"),
    (lambda: kernels.resize2d(X, (2, 2), mode="cubic"), "mode='cubic'"),
    (lambda: kernels.resize2d(X, (2, 2), align_corners=True), "mode='nearest', align_corners=True"),
    (lambda: kernels.resize2d(X, (2, 2, 2)), "size="),
    (lambda: kernels.resize2d(X, (0, 2)), "size="),
    (lambda: kernels.max_pool2d(X[:, :, :3], (2, 1), padding=(1, 0), dilation=(4, 1)), "holds no cell"),
    (lambda: kernels.max_pool2d(X[..., :3], (1, 2), padding=(0, 1), dilation=(1, 4)), "holds no cell"),
    (lambda: kernels.max_pool2d(X[:, :, :3], (2, 1), padding=(1, 0), dilation=(4, 1), impl="reference"), "no cell"),
    (lambda: kernels.max_pool2d(X[..., :3], (1, 2), padding=(0, 1), dilation=(1, 4), impl="reference"), "no cell"),
    (lambda: kernels.max_unpool2d(Y.tolist(), WINNERS, 2), "y is a list"),
    (lambda: kernels.max_unpool2d(Y.astype(int), WINNERS, 2), "y is int64"),
    (lambda: kernels.max_unpool2d(Y[:, :, :, :2], WINNERS, 2), "the shape"),
    (lambda: kernels.max_unpool2d(Y, WINNERS, 3, padding=2), "more than half"),
    (lambda: kernels.max_unpool2d(Y, np.array([[[[0, 5, 0]]]]), 2), "one cell twice"),
    (lambda: kernels.max_unpool2d(Y, np.array([[[[0, 5, 5]]]]), 2), "one cell twice"),
    (lambda: kernels.max_unpool2d(Y, WINNERS, 2, impl="fpga"), "no implementation 'fpga'"),
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


P, OTHER = np.ones(3), np.ones(4)
BUFFERS: list[tuple[tuple[Any, ...], str]] = [
    ((P.tolist(), P, P, P), "w is a list"),
    ((P[None], P[None], P[None], P[None]), r"w is float64 \[1,3\]; 1 axes \[P\]"),
    ((OTHER, P, P, P), r"\[3\]; the shape \[4\]"),
    ((P, OTHER, P, P), r"\[4\]; the shape \[3\]"),
    ((P, P, OTHER, P), r"\[4\]; the shape \[3\]"),
    ((P, P, P.astype(np.float32), P), "one precision"),
]


@pytest.mark.parametrize(("buffers", "said"), BUFFERS)
def test_buffers_of_an_optimizer_that_do_not_fit(buffers: tuple[Any, ...], said: str) -> None:
    given = deepcopy(buffers)
    with pytest.raises(KernelError, match=said):
        kernels.sgd_update(*given[:3], lr=1.0)
    with pytest.raises(KernelError, match=said):
        kernels.adam_update(*given, lr=1.0, step=1)
    for array, before in zip(given, buffers, strict=True):
        assert np.array_equal(array, before), "a buffer has changed"


@pytest.mark.parametrize("name", ["mse", "l1", "bce_with_logits", "cross_entropy"])
def test_a_loss_takes_no_lists(name: str) -> None:
    x, target = np.ones((4, 3)), np.array([0, 2, 1, 1]) if name == "cross_entropy" else np.full((4, 3), 0.5)
    for call, said in (
        (lambda: getattr(losses, name)(x.tolist(), target), "(x|logits) is a list"),
        (lambda: getattr(losses, name)(x, target.tolist()), "target is a list"),
        (lambda: getattr(losses, f"{name}_jvp")(x, x.tolist(), target), "x_dot is a list"),
    ):
        with pytest.raises(KernelError, match=said):
            call()


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


@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_a_convolution_without_out_channels(impl: str) -> None:
    x = np.zeros((2, 3, 8, 8))
    for op, weight in (("conv2d", np.zeros((0, 3, 3, 3))), ("conv_transpose2d", np.zeros((0, 3, 3, 3)))):
        with pytest.raises(KernelError, match=re.escape("weight is float64 [0,3,3,3]; no axis may be empty")):
            getattr(kernels, op)(x, weight, impl=impl)
