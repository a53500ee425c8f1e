"""Calls of kernels at the edges where their loops begin, end and change, which chance seldom meets all at once.

Windows that hang over each side of an image; rows and columns on both sides of a block; groups that lie in memory in
every way that normalisation tells apart.
"""

from typing import Any

import numpy as np

import scratchnn_kernels as kernels
from kernel_arguments import Call

Array = np.ndarray


def numbers(*shape: int, seed: int = 0) -> Array:
    """Float32 numbers, so that both precisions start from the same."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


def turned(a: Any) -> Any:
    """An array with its channels last in memory, and a matrix by columns."""
    if not isinstance(a, np.ndarray) or a.ndim < 3:
        return np.asfortranarray(a) if isinstance(a, np.ndarray) else a
    pixels = (-1,) if a.ndim == 3 else (-2, -1)
    places = tuple(range(1, 1 + len(pixels)))
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, pixels, places)), places, pixels)


def _windows() -> list[tuple[tuple[int, ...], dict[str, Any]]]:
    """Images, and windows over them."""
    small, wide = (2, 3, 5, 7), (1, 2, 4, 9)
    rows = [
        (small, {"kernel_size": 3}),
        (small, {"kernel_size": 3, "stride": 1}),
        (small, {"kernel_size": 3, "stride": 2}),
        (small, {"kernel_size": 3, "stride": 2, "padding": 1}),
        (small, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        (wide, {"kernel_size": (3, 2), "stride": (1, 2)}),
        (wide, {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 1)}),
        (wide, {"kernel_size": (2, 3), "stride": (3, 4), "padding": (1, 0)}),
        (wide, {"kernel_size": (1, 2), "stride": (1, 5)}),
        (wide, {"kernel_size": (4, 5), "stride": 3, "padding": (2, 2), "ceil_mode": True}),
        ((2, 1, 6, 6), {"kernel_size": (5, 4), "stride": (1, 2), "padding": (2, 1)}),
        ((3, 2, 1, 1), {"kernel_size": 1}),
        ((1, 2, 3, 1), {"kernel_size": (3, 1), "stride": 2, "padding": (1, 0)}),
    ]
    two_wide = [
        ((2, 3, 5, w), {"kernel_size": (3, 2), "stride": stride, "padding": padding})
        for w in (3, 4, 6, 7)
        for stride, padding in (((2, 2), 0), ((1, 2), (1, 0)), ((3, 2), (0, 1)), ((2, 3), 0), ((2, 1), 0))
    ]
    halves = [((2, 3, h, w), {"kernel_size": 2}) for h in (2, 5, 6) for w in (2, 3, 8, 13)]
    odd = [((2, 3, h, w), {"kernel_size": 2, "ceil_mode": True}) for h, w in ((4, 6), (5, 6), (4, 7))]
    near = [
        ((1, 3, 6, 6), {"kernel_size": kernel, "stride": stride, "padding": padding})
        for kernel, stride, padding in ((2, (2, 1), 0), (2, (1, 2), 0), ((2, 1), 2, 0), ((1, 2), 2, 0), (2, 2, 1))
    ]
    return [
        *rows,
        *halves,
        *two_wide,
        *odd,
        *near,
        ((1, 2, 1, 4), {"kernel_size": (1, 2)}),
        ((1, 1, 2, 1), {"kernel_size": (2, 1)}),
        ((2, 3, 4, 5), {"kernel_size": (4, 5)}),
        ((0, 3, 4, 5), {"kernel_size": 3}),
    ]


def _average_pools() -> list[Call]:
    return [Call((numbers(*x),), {**w, "count_include_pad": c}) for x, w in _windows() for c in (True, False)]


def _average_gradients() -> list[Call]:
    calls = []
    for (x,), options in _average_pools():
        dy = numbers(*kernels.avg_pool2d(x, **options, impl="reference").shape, seed=1)
        calls.append(Call((dy, x.shape[2:]), options))
    return calls


def _max_pools() -> list[Call]:
    """Of normal numbers, of few different ones, and with NaN and infinities."""
    calls = []
    dilated = [
        ((2, 3, 7, 9), {"kernel_size": 2, "dilation": 3}),
        ((1, 2, 8, 7), {"kernel_size": (2, 3), "stride": (1, 2), "dilation": (2, 1), "padding": 1}),
        ((1, 2, 8, 7), {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 4), "padding": (1, 1)}),
        ((1, 3, 6, 6), {"kernel_size": 2, "stride": 2, "dilation": (1, 2)}),
        ((1, 3, 6, 6), {"kernel_size": 2, "stride": 2, "dilation": (2, 1)}),
    ]
    for i, (shape, options) in enumerate([*_windows(), *dilated]):
        rng = np.random.default_rng(i)
        special = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0, 2.0], shape)
        few = rng.integers(-1, 2, shape).astype(float)
        calls += [Call((x,), options) for x in (numbers(*shape), few, special, np.full(shape, -np.inf))]
        calls += [Call((x,), options | {"relu": True}) for x in (few, special)]
    return calls


def _winners(gradient: bool) -> list[Call]:
    calls = []
    for shape, options in _windows():
        few = np.random.default_rng(0).integers(-1, 2, shape).astype(float)
        for index_type in (np.int64, np.int32, np.int16):
            y, winners = kernels.max_pool2d(few, **options, index_type=index_type, impl="reference")
            dy = numbers(*y.shape)
            calls.append(Call((dy, winners, shape[2:]) if gradient else (numbers(*shape), winners), {}))
    return calls


def _pads(gradient: bool) -> list[Call]:
    sides = [
        (1, 2, 2, 1), (2, 0, 0, 2), (0, 3, 1, 0), (-1, 2, -2, 1), (2, -1, 1, -2), (-1, -1, 0, 0), (0, 0, -1, -1),
        (3, 3, 3, 3), (0, 0, 0, 0), (-2, 3, 3, -3), (-3, -1, -1, -2), (3, -4, -3, 3),
    ]  # fmt: skip
    calls = []
    for left, right, top, bottom in sides:
        shape = (2, 3, 4 + top + bottom, 5 + left + right) if gradient else (2, 3, 4, 5)
        size = ((4, 5),) if gradient else ()
        calls += [
            Call((numbers(*shape), *size, (left, right, top, bottom)), {"mode": mode}) for mode in ("zeros", "reflect")
        ]
    return calls


def _resizes() -> list[Call]:
    sizes = [(4, 5), (8, 10), (2, 3), (2, 2), (1, 1), (5, 9), (12, 5), (4, 15), (3, 1)]
    modes = [("nearest", False), ("bilinear", False), ("bilinear", True)]
    images = [numbers(2, 3, 4, 5), numbers(1, 1, 1, 1), numbers(4, 2, 3, 2), numbers(1, 2, 2, 3)]
    return [
        Call((x, size), {"mode": mode, "align_corners": corners})
        for x in images
        for size in sizes
        for mode, corners in modes
    ]


def _losses() -> list[Call]:
    x = [4 * numbers(*shape) for shape in ((1,), (5,), (3, 4), (2, 3, 2, 5), (2049,), (4097,))]
    return [Call((a, np.random.default_rng(1).uniform(0, 1, a.shape)), {"divisor": 3}) for a in x]


Case = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]
NORMS: list[Case] = [
    # shape, axes, the weight's shape; batch norm: planes, cells, and both with more than a block
    ((3, 4, 2, 3), (0, 2, 3), (1, 4, 1, 1)),
    ((9, 4, 3, 3), (0, 2, 3), (1, 4, 1, 1)),
    ((16, 3, 3, 3), (0, 2, 3), (1, 3, 1, 1)),
    ((9, 2, 8, 16), (0, 2, 3), (1, 2, 1, 1)),
    ((2, 1, 1, 2050), (0, 2, 3), (1, 1, 1, 1)),
    ((1, 2, 1, 2050), (0, 2, 3), (1, 2, 1, 1)),
    ((2, 2, 1, 2050), (0, 2, 3), (1, 2, 1, 1)),
    ((9, 5, 5, 5), (0, 2, 3), (1, 5, 1, 1)),
    ((73, 3, 5, 5), (0, 2, 3), (1, 3, 1, 1)),
    ((67, 5), (0,), (1, 5)),
    ((131, 67), (0,), (1, 67)),
    ((70, 130), (0,), (1, 130)),
    ((7, 600), (0,), (1, 600)),
    ((3, 1030), (0,), (1, 1030)),
    ((3, 1100, 1, 3), (0, 2, 3), (1, 1100, 1, 1)),
    # layer norm
    ((5, 7), (1,), (1, 7)),
    ((1, 2050), (1,), (1, 2050)),
    ((67, 3), (1,), (1, 3)),
    ((2, 3, 4, 2), (1, 2, 3), (1, 3, 4, 2)),
    ((2, 3, 4, 2), (1, 2, 3), (1, 3, 1, 1)),
    # instance norm
    ((2, 3, 3, 2), (2, 3), (1, 3, 1, 1)),
    ((2, 66, 3, 3), (2, 3), (1, 66, 1, 1)),
    ((2, 1100, 2, 3), (2, 3), (1, 1100, 1, 1)),
    # group norm, and one number for all
    ((2, 2, 3, 2, 3), (2, 3, 4), (1, 2, 3, 1, 1)),
    ((3, 5, 2, 3, 3), (2, 3, 4), (1, 5, 2, 1, 1)),
    ((2, 3, 4, 2), (1, 2, 3), (1, 1, 1, 1)),
    ((2, 3, 4, 2), (2, 3), (1, 1, 1, 1)),
    ((2, 3, 4, 2), (2, 3), (2, 1, 1, 1)),
    # pixel norm, and axes between others
    ((2, 5, 3, 2), (1,), (1, 5, 1, 1)),
    ((3, 5, 2, 3), (0, 2), (1, 5, 1, 1)),
    ((4, 3, 5), (0, 2), (1, 3, 5)),
    ((9, 3, 5), (0, 2), (1, 3, 5)),
    ((9, 3, 5), (0, 2), (1, 1, 5)),
    ((10, 4), (0,), None),
    ((3, 4, 2, 3), (0, 2, 3), None),
    ((4, 6), (1,), None),
    ((3, 4, 5, 2), (2, 3), None),
]


def _norms() -> list[Call]:
    calls = []
    for shape, axes, affine in NORMS:
        weights = () if affine is None else (numbers(*affine, seed=1), numbers(*affine, seed=2))
        calls += [Call((numbers(*shape) + 3, axes, 1e-2, *weights), {"centred": c}) for c in (True, False)]
        calls += [Call((numbers(*shape), axes, 1e-2, *weights[:1]), {})]
    return calls


def _norm_gradients(affine: bool) -> list[Call]:
    calls = []
    for shape, axes, weight in NORMS:
        reduced = [1 if axis in axes else n for axis, n in enumerate(shape)]
        mean, inv_std = numbers(*reduced, seed=1), numbers(*reduced, seed=2)
        dy, x = numbers(*shape, seed=3), numbers(*shape)
        given = (mean, inv_std, None if weight is None else numbers(*weight, seed=4)) if affine else (inv_std,)
        calls += [Call((dy, x, *given, axes), {"centred": c}) for c in (True, False)]
    return calls


def _elementwises(op: str) -> list[Call]:
    from kernel_sizes import NUMBERS

    arrays = range(1 + op.endswith("_grad"))
    shapes = ((1,), (2,), (7,), (2, 3, 2, 5))
    return [Call(tuple(3 * numbers(*shape, seed=i) for i in arrays), NUMBERS.get(op, {})) for shape in shapes]


ELEMENTWISE = ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu", "silu", "elu")
CALLS: dict[str, list[Call]] = {
    "avg_pool2d": _average_pools(),
    "avg_pool2d_input_grad": _average_gradients(),
    "max_pool2d": _max_pools(),
    "max_pool2d_gather": _winners(gradient=False),
    "max_pool2d_scatter": _winners(gradient=True),
    "pad2d": _pads(gradient=False),
    "pad2d_input_grad": _pads(gradient=True),
    "resize2d": _resizes(),
    "resize2d_input_grad": _resizes(),
    "squared_error": _losses(),
    "absolute_error": _losses(),
    "binary_cross_entropy": _losses(),
    "normalize": _norms(),
    "normalize_grad": _norm_gradients(affine=False),
    "normalize_affine_grad": _norm_gradients(affine=True),
    "erf": _elementwises("erf"),
    **{op: _elementwises(op) for name in ELEMENTWISE for op in (name, f"{name}_grad")},
}
