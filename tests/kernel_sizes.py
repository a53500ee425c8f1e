"""Arguments that fill vectors and leave a rest: axes on both sides of a loop's 4 to 64 lanes, in two memory orders.

`kernel_arguments` draws awkward arguments, but short ones, of which a vector loop sees little. Many arrays here are
one such axis and nothing else: only arrays of less than 256 bytes can lie so near that a loop minds.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from kernel_arguments import CONV_TERMS, ONLY, Call

SIDES = st.sampled_from([33, 17, 47, 23, 15, 9, 61, 65, 79, 31, 7, 3, 1])
FEW, FLAGS = st.just(1) | st.sampled_from([1, 2, 3, 5, 9, 17, 35]), st.booleans()
NUMBERS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"negative_slope": 0.1},
    "leaky_relu_grad": {"negative_slope": 0.1},
    "softplus": {"beta": 3.0},
    "softplus_grad": {"beta": 3.0},
    "elu": {"alpha": 3.0},
    "elu_grad": {"alpha": 3.0},
}


class Numbers:
    """Arrays of normal numbers, each another one; all C-contiguous, or the images among them as N H W C in memory."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.last, self.seed = draw(FLAGS), draw(st.integers(0, 99))

    def __call__(self, *shape: int) -> np.ndarray:
        self.seed += 1
        # float32 numbers, so that both precisions start from the same
        x = np.random.default_rng(self.seed).standard_normal(shape).astype(np.float32).astype(np.float64)
        if self.last and x.ndim == 4:
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return x


@st.composite
def images(draw: st.DrawFn, least: int = 1) -> tuple[int, ...]:
    """[N,C,H,W]; the long axis is W or C."""
    n, few, h, long = draw(st.tuples(FEW, FEW, FEW, SIDES))
    w, c = (few, long) if draw(st.integers(0, 3)) == 3 else (long, few)
    return min(n, 3), c, max(least, h), max(least, w)


@st.composite
def linears(draw: st.DrawFn, *terms: str) -> Call:
    numbers, (n, i, o) = Numbers(draw), draw(st.tuples(SIDES, SIDES, SIDES))
    arrays = {"x": numbers(n, i), "weight": numbers(o, i), "dy": numbers(n, o)}
    return Call(tuple(arrays[term] for term in terms), {})


@st.composite
def convolutions(draw: st.DrawFn, *terms: str, **fixed: Any) -> Call:
    pairs, numbers = st.tuples(st.integers(1, 3), st.integers(1, 3)), Numbers(draw)
    options = {"stride": draw(pairs), "dilation": draw(pairs), "groups": draw(st.integers(1, 2))} | fixed
    kernel = options.pop("kernel_size", None) or draw(pairs)
    options = {"padding": draw(st.tuples(*[st.integers(0, k // 2) for k in kernel]))} | options
    i, o = (
        options.pop(channels, None) or options["groups"] * draw(FEW) for channels in ("in_channels", "out_channels")
    )
    size = draw(st.integers(7, 9)), draw(st.sampled_from([17, 7, 9]))
    x, weight = numbers(draw(st.integers(1, 3)), i, *size), numbers(o, i // options["groups"], *kernel)
    dy = numbers(*kernels.conv2d(x, weight, **options, impl="reference").shape)
    arrays = {"x": x, "weight": weight, "dy": dy, "size": size, "kernel": kernel}
    return Call(tuple(arrays[term] for term in terms), options)


@st.composite
def pools(draw: st.DrawFn, op: str) -> Call:
    x, numbers = draw(images(least=3)), Numbers(draw)
    kernel, stride = (draw(st.sampled_from([2, (2, 3), 3])) for _ in range(2))
    options = {"stride": stride, "padding": draw(st.integers(0, 1))}
    image = numbers(*x)
    if op.startswith("avg"):
        y = kernels.avg_pool2d(image, kernel, **options)
        return Call((image, kernel) if op == "avg_pool2d" else (numbers(*y.shape), x[2:], kernel), options)
    y, winners = kernels.max_pool2d(image, kernel, **options)
    arguments = {"max_pool2d": (image, kernel), "max_pool2d_gather": (image, winners)}
    arguments |= {"max_pool2d_scatter": (numbers(*y.shape), winners, x[2:])}
    return Call(arguments[op], options if op == "max_pool2d" else {})


@st.composite
def elementwises(draw: st.DrawFn, op: str) -> Call:
    shape, numbers = draw(images()), Numbers(draw)
    return Call(tuple(numbers(*shape) for _ in range(1 + op.endswith("_grad"))), NUMBERS.get(op, {}))


@st.composite
def losses(draw: st.DrawFn) -> Call:
    shape, numbers = draw(images()), Numbers(draw)
    return Call((numbers(*shape), abs(numbers(*shape)) % 1), {"divisor": 7})


@st.composite
def norms(draw: st.DrawFn, op: str) -> Call:
    """Batch, layer, instance and group norm (of groups of k channels), and layer norm of vectors."""
    (n, c, h, w), k, numbers = draw(images()), draw(st.integers(1, 3)), Numbers(draw)
    shape, axes, affine = draw(
        st.sampled_from([
            ((n, c, h, w), (0, 2, 3), (1, c, 1, 1)),
            ((n, c, h, w), (2, 3), (1, c, 1, 1)),
            ((n, c, h, w), (1, 2, 3), (1, c, h, w)),
            ((n, c, k, h, w), (2, 3, 4), (1, c, k, 1, 1)),
            ((n * h, w), (1,), (1, w)),
            ((n * c * h, w), (0,), (1, w)),
            ((n, c, h, w), (1,), (1, c, 1, 1)),
        ])
    )  # fmt: skip
    centred, weighted = draw(FLAGS), draw(FLAGS)
    reduced = [1 if axis in axes else size for axis, size in enumerate(shape)]
    statistics = numbers(*reduced), numbers(*reduced)
    arguments: dict[str, tuple[Any, ...]] = {
        "normalize": (numbers(*shape), axes, 1e-2, *((numbers(*affine), numbers(*affine)) if weighted else ())),
        "normalize_grad": (numbers(*shape), numbers(*shape), statistics[0], axes),
        "normalize_grad_jvp": (numbers(*shape), numbers(*shape), statistics[0], numbers(*shape), axes),
        "normalize_affine_grad": (
            numbers(*shape), numbers(*shape), *statistics, numbers(*affine) if weighted else None, axes,
        ),
    }  # fmt: skip
    return Call(arguments[op], {"centred": centred})


@st.composite
def softmaxes(draw: st.DrawFn, arrays: int) -> Call:
    shape, numbers = draw(images()), Numbers(draw)
    return Call(tuple(numbers(*shape) for _ in range(arrays)), {"axis": draw(st.sampled_from([3, 3, 1]))})


@st.composite
def cross_entropies(draw: st.DrawFn) -> Call:
    n, classes, numbers = draw(FEW), draw(SIDES), Numbers(draw)
    target = np.random.default_rng(0).integers(0, classes, n)
    return Call((numbers(n, classes), target), {"label_smoothing": draw(st.sampled_from([0.0, 0.1]))})


@st.composite
def resizes(draw: st.DrawFn) -> Call:
    mode, corners = draw(st.sampled_from([("nearest", False), ("bilinear", False), ("bilinear", True)]))
    image = Numbers(draw)(*draw(images()))
    return Call((image, (draw(FEW), draw(SIDES))), {"mode": mode, "align_corners": corners})


@st.composite
def pads(draw: st.DrawFn, *, backward: bool) -> Call:
    (n, c, h, w), padding = draw(images(least=3)), draw(st.tuples(*[st.integers(-1, 2)] * 4))
    left, right, top, bottom = padding
    options, numbers = {"mode": draw(st.sampled_from(["zeros", "reflect"]))}, Numbers(draw)
    if backward:
        return Call((numbers(n, c, top + h + bottom, left + w + right), (h, w), padding), options)
    return Call((numbers(n, c, h, w), padding), options)


@st.composite
def top_ks(draw: st.DrawFn) -> Call:
    n, size = draw(FEW), draw(SIDES)
    return Call((Numbers(draw)(n, size), draw(st.integers(1, size))), {"axis": 1})


@st.composite
def updates(draw: st.DrawFn, buffers: int, **options: Any) -> Call:
    numbers, size = Numbers(draw), draw(SIDES) * draw(FEW)
    arrays = [numbers(size) for _ in range(buffers - 1)]
    return Call((*arrays, abs(numbers(size))), {"lr": 1e-3, "weight_decay": 0.1, **options})


LARGE: dict[str, st.SearchStrategy[Call]] = {
    "linear": linears("x", "weight"),
    "linear_input_grad": linears("dy", "weight"),
    "linear_weight_grad": linears("dy", "x"),
    **{op: convolutions(*terms) for op, terms in CONV_TERMS.items()},
    "channel_sum": images().flatmap(lambda shape: elementwises("channel_sum")),
    "squared_error": losses(),
    "absolute_error": losses(),
    "binary_cross_entropy": losses(),
    "softmax": softmaxes(1),
    "softmax_grad": softmaxes(2),
    "softmax_cross_entropy": cross_entropies(),
    "resize2d": resizes(),
    "resize2d_input_grad": resizes(),
    "pad2d": pads(backward=False),
    "pad2d_input_grad": pads(backward=True),
    "topk": top_ks(),
    "k_sparse": top_ks(),
    "sgd_update": updates(3, momentum=0.9),
    "adam_update": updates(4, step=2),
}


def large_arguments(op: str, impl: str) -> st.SearchStrategy[Call]:
    """Arguments that this implementation takes."""
    if impl in ONLY:
        return st.one_of([convolutions(*CONV_TERMS[op], **{"dilation": 1} | fixed) for fixed in ONLY[impl]])
    if "pool2d" in op:
        return pools(op)
    if op.startswith("normalize"):
        return norms(op)
    return LARGE[op] if op in LARGE else elementwises(op)
