"""Arguments for every op of the dispatch table. An op that is not here fails a test: enter new kernels."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import oracles
from scratchnn.testing.strategies import (
    Options,
    batches,
    conv_options,
    layouts,
    pool_inputs,
    pool_options,
    relaid,
    seeds,
    shapes,
    sizes_that_fit,
    values,
)


class Call(NamedTuple):
    """The arguments of a public kernel, in float64."""

    args: tuple[Any, ...]
    options: Options

    def cast(self, dtype: Any) -> "Call":
        """The same numbers in another precision, copied in their memory layout; index arrays stay what they are."""

        def cast(a: Any) -> Any:
            if not isinstance(a, np.ndarray):
                return a
            return a.astype(dtype, order="K") if a.dtype.kind == "f" else a.copy(order="K")

        return Call(tuple(cast(a) for a in self.args), self.options)


class Numbers:
    """Arrays of normal numbers, each another one, in drawn memory layouts."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.seed = draw, draw(seeds)

    def __call__(self, *shape: int, ties: bool = False) -> np.ndarray:
        self.seed += 1
        # float32 numbers, so that both precisions start from the same
        x = values(shape, self.seed, np.float32, ties=ties).astype(np.float64)
        return relaid(x, self.draw(layouts))


@st.composite
def linears(draw: st.DrawFn, *terms: str) -> Call:
    numbers = Numbers(draw)
    x = numbers(*draw(shapes(2, 3)))
    arrays = {"x": x, "weight": numbers(draw(st.integers(1, 4)), x.shape[-1])}
    arrays["dy"] = numbers(*x.shape[:-1], len(arrays["weight"]))
    return Call(tuple(arrays[term] for term in terms), {})


@st.composite
def convolutions(draw: st.DrawFn, *terms: str, **fixed: Any) -> Call:
    fits = conv_options().filter(lambda options: options["padding"] != "same" or fixed.get("stride", 1) == 1)
    options, numbers = draw(fits) | fixed, Numbers(draw)
    size = draw(sizes_that_fit(options))
    x = numbers(draw(batches), options["in_channels"], *size)
    kernel = options["kernel_size"] if isinstance(options["kernel_size"], tuple) else (options["kernel_size"],) * 2
    weight = numbers(options["out_channels"], options["in_channels"] // options["groups"], *kernel)
    geometry = {name: options[name] for name in ("stride", "padding", "dilation", "groups")}
    dy = numbers(*oracles.conv2d(x, weight, None, **geometry).shape)
    arrays = {"x": x, "weight": weight, "dy": dy, "size": size, "kernel": kernel}
    return Call(tuple(arrays[term] for term in terms), geometry)


@st.composite
def max_pools(draw: st.DrawFn, *terms: str) -> Call:
    options, numbers = draw(pool_options(dilated=True)), Numbers(draw)
    x = numbers(*draw(pool_inputs(options)), ties=draw(st.booleans()))
    y, winners = oracles.max_pool2d(x, **options)
    if terms == ("x",):
        return Call((x,), options)
    arrays = {"x": x, "y": numbers(*y.shape), "winners": winners, "size": x.shape[2:]}
    return Call(tuple(arrays[term] for term in terms), {})


@st.composite
def average_pools(draw: st.DrawFn, *terms: str) -> Call:
    options, numbers = draw(pool_options(dilated=False)), Numbers(draw)
    x = numbers(*draw(pool_inputs(options)))
    arrays = {"x": x, "dy": numbers(*oracles.avg_pool2d(x, **options).shape), "size": x.shape[2:]}
    return Call(tuple(arrays[term] for term in terms), options)


@st.composite
def elementwises(draw: st.DrawFn, arrays: int, **options: st.SearchStrategy[float]) -> Call:
    shape, numbers, ties = draw(shapes()), Numbers(draw), draw(st.booleans())
    given = tuple(numbers(*shape, ties=ties) for _ in range(arrays))
    return Call(given, {name: draw(strategy) for name, strategy in options.items()})


@st.composite
def top_ks(draw: st.DrawFn) -> Call:
    shape = draw(shapes(1, 4).filter(lambda shape: shape[0] > 0))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    x = Numbers(draw)(*shape, ties=draw(st.booleans()))
    return Call((x, draw(st.integers(1, shape[axis]))), {"axis": axis})


@st.composite
def cross_entropies(draw: st.DrawFn) -> Call:
    n, classes = draw(batches), draw(st.integers(1, 5))
    target = np.random.default_rng(draw(seeds)).integers(0, classes, n)
    return Call((Numbers(draw)(n, classes), target), {"label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0]))})


@st.composite
def losses(draw: st.DrawFn) -> Call:
    """x, a target in [0,1] and a divisor."""
    shape, numbers = draw(shapes(1, 4)), Numbers(draw)
    x, target = numbers(*shape, ties=draw(st.booleans())), abs(numbers(*shape)) % 1
    return Call((x, target), {"divisor": draw(st.sampled_from([1, 7]))})


@st.composite
def norms(draw: st.DrawFn, arrays: int) -> Call:
    """x alone with eps (and weight and bias), or g, x^, s (and x_dot); x^ and s need not come from an x."""
    shape = draw(shapes(2, 4).filter(lambda shape: shape[0] > 0))
    axes, numbers = draw(norm_axes(len(shape))), Numbers(draw)
    if arrays == 1:
        weight = draw(st.none() | weight_shapes(shape))
        affine = () if weight is None else (numbers(*weight), numbers(*weight))
        return Call((numbers(*shape), axes, 1e-2, *affine), {"centred": draw(st.booleans())})
    inv_std = numbers(*(1 if axis in axes else n for axis, n in enumerate(shape)))
    given = (numbers(*shape), numbers(*shape), inv_std, *(numbers(*shape) for _ in range(arrays - 2)), axes)
    return Call(given, {"centred": draw(st.booleans())})


@st.composite
def affine_norm_gradients(draw: st.DrawFn) -> Call:
    """dy, x, mean, s and weight; mean and s need not come from x."""
    shape = draw(shapes(2, 4).filter(lambda shape: shape[0] > 0))
    axes, numbers = draw(norm_axes(len(shape))), Numbers(draw)
    reduced = [1 if axis in axes else n for axis, n in enumerate(shape)]
    statistics, weight = (numbers(*reduced), numbers(*reduced)), numbers(*draw(weight_shapes(shape)))
    return Call((numbers(*shape), numbers(*shape), *statistics, weight, axes), {"centred": draw(st.booleans())})


def norm_axes(rank: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Batch norm's axes, layer norm's, or any."""
    any_axes = st.sets(st.integers(0, rank - 1), min_size=1).map(lambda axes: tuple(sorted(axes)))
    return st.sampled_from([(0, *range(2, rank)), (rank - 1,), tuple(range(1, rank))]) | any_axes


def weight_shapes(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
    """Along each axis the length of x or 1."""
    return st.tuples(*[st.sampled_from([1, n]) for n in shape])


@st.composite
def images(draw: st.DrawFn) -> Call:
    sides = st.integers(1, 7)
    return Call((Numbers(draw)(draw(batches), draw(st.integers(1, 40)), draw(sides), draw(sides)),), {})


@st.composite
def matrices(draw: st.DrawFn) -> Call:
    return Call((Numbers(draw)(draw(batches), draw(st.integers(1, 40))),), {})


@st.composite
def softmaxes(draw: st.DrawFn, arrays: int) -> Call:
    shape, numbers = draw(shapes(2, 4)), Numbers(draw)
    axis = draw(st.integers(1, len(shape) - 1))
    return Call(tuple(numbers(*shape) for _ in range(arrays)), {"axis": axis})


@st.composite
def resizes(draw: st.DrawFn) -> Call:
    """An image and a size: of the output for resize2d, of the input for its adjoint."""
    cells = st.integers(1, 5)
    mode, corners = draw(st.sampled_from([("nearest", False), ("bilinear", False), ("bilinear", True)]))
    image = Numbers(draw)(draw(batches), draw(cells), draw(cells), draw(cells))
    return Call((image, (draw(cells), draw(cells))), {"mode": mode, "align_corners": corners})


@st.composite
def pads(draw: st.DrawFn, *, backward: bool) -> Call:
    mode, (h, w) = draw(st.sampled_from(["zeros", "reflect"])), draw(st.tuples(st.integers(3, 5), st.integers(3, 5)))
    padding = draw(st.tuples(*[st.integers(-1, 2)] * 4))
    left, right, top, bottom = padding
    size = (top + h + bottom, left + w + right) if backward else (h, w)
    image = Numbers(draw)(draw(batches), draw(st.integers(1, 3)), *size)
    return Call((image, (h, w), padding) if backward else (image, padding), {"mode": mode})


@st.composite
def updates(draw: st.DrawFn, buffers: int, **options: st.SearchStrategy[Any]) -> Call:
    numbers, size = Numbers(draw), draw(st.integers(1, 40))
    arrays = [np.ascontiguousarray(numbers(size)) for _ in range(buffers)]
    if buffers == 4:
        arrays[3] = abs(arrays[3])  # Adam's v is a mean of squares
    decays = st.sampled_from([0.0, 0.1])
    drawn = {name: draw(strategy) for name, strategy in options.items()}
    return Call(tuple(arrays), {"lr": draw(st.sampled_from([0.1, 1e-3])), "weight_decay": draw(decays), **drawn})


SLOPES, BETAS = st.sampled_from([0.01, 0.5]), st.sampled_from([1.0, 3.0])

CONV_TERMS = {
    "conv2d": ("x", "weight"),
    "conv2d_input_grad": ("dy", "weight", "size"),
    "conv2d_weight_grad": ("dy", "x", "kernel"),
}

ARGUMENTS: dict[str, st.SearchStrategy[Call]] = {
    "linear": linears("x", "weight"),
    "linear_input_grad": linears("dy", "weight"),
    "linear_weight_grad": linears("dy", "x"),
    **{op: convolutions(*terms) for op, terms in CONV_TERMS.items()},
    "channel_sum": images() | matrices(),
    "max_pool2d": max_pools("x"),
    "max_pool2d_gather": max_pools("x", "winners"),
    "max_pool2d_scatter": max_pools("y", "winners", "size"),
    "avg_pool2d": average_pools("x"),
    "avg_pool2d_input_grad": average_pools("dy", "size"),
    "relu": elementwises(1),
    "relu_grad": elementwises(2),
    "leaky_relu": elementwises(1, negative_slope=SLOPES),
    "leaky_relu_grad": elementwises(2, negative_slope=SLOPES),
    "sigmoid": elementwises(1),
    "sigmoid_grad": elementwises(2),
    "tanh": elementwises(1),
    "tanh_grad": elementwises(2),
    "softplus": elementwises(1, beta=BETAS),
    "softplus_grad": elementwises(2, beta=BETAS),
    "gelu": elementwises(1),
    "gelu_grad": elementwises(2),
    "erf": elementwises(1),
    "silu": elementwises(1),
    "silu_grad": elementwises(2),
    "elu": elementwises(1, alpha=BETAS),
    "elu_grad": elementwises(2, alpha=BETAS),
    "softmax": softmaxes(1),
    "softmax_grad": softmaxes(2),
    "resize2d": resizes(),
    "resize2d_input_grad": resizes(),
    "pad2d": pads(backward=False),
    "pad2d_input_grad": pads(backward=True),
    "topk": top_ks(),
    "k_sparse": top_ks(),
    "softmax_cross_entropy": cross_entropies(),
    "squared_error": losses(),
    "absolute_error": losses(),
    "binary_cross_entropy": losses(),
    "normalize": norms(1),
    "normalize_grad": norms(2),
    "normalize_affine_grad": affine_norm_gradients(),
    "normalize_grad_jvp": norms(3),
    "sgd_update": updates(3, momentum=st.sampled_from([0.0, 0.9]), nesterov=st.booleans()),
    "adam_update": updates(4, decoupled=st.booleans(), step=st.sampled_from([1, 2, 1000])),
}
# Algorithms that take some geometries only; they refuse the others (tests/test_conv_algorithms.py).
WINOGRAD = (
    {"kernel_size": (3, 3), "stride": 1, "groups": 1},
    {"kernel_size": (4, 4), "stride": 2, "dilation": 1, "groups": 1},
)
ONLY: dict[str, tuple[dict[str, Any], ...]] = {
    "winograd": WINOGRAD,
    "winograd_exact": WINOGRAD,
    "scatter": ({"groups": 1},),
    "fft": ({"stride": 1, "groups": 1},),
    "pointwise": ({"kernel_size": (1, 1), "stride": 1, "padding": 0, "groups": 1},),
    "depthwise": ({"groups": 3, "in_channels": 3, "out_channels": 3},),
}


def arguments(op: str, impl: str) -> st.SearchStrategy[Call]:
    """Arguments that this implementation takes."""
    if impl not in ONLY:
        return ARGUMENTS[op]
    return st.one_of(*(convolutions(*CONV_TERMS[op], **fixed) for fixed in ONLY[impl]))


IN_PLACE = ("sgd_update", "adam_update")  # they change their arguments, and take no complex numbers
