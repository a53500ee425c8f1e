"""Calls that take every CUDA kernel through all of its code: beyond one tile, one block and one warp, and never a
multiple of them. `.cu` file -> its calls; the race detector, the schedules and the mutation run use the same ones.
"""

from typing import Any

import numpy as np

import scratchnn_kernels as kernels
from cuda_case import Array, Case, normal, rng
from cuda_cases_products import convolutions, depthwise, products, tensor_convolutions


def elementwise() -> list[Case]:
    x = np.concatenate([normal(1030) * 3, [0.0, -0.0, 30, -30, 90, -90, np.inf, -np.inf, np.nan]])
    dy, y = normal(x.size), 1 / (1 + np.exp(-normal(x.size)))
    calm = np.where(np.isfinite(x), x, 1)  # 0 * inf is for the reference to say
    numbers = {"leaky_relu": {"negative_slope": 0.5}, "softplus": {"beta": 3.0}, "elu": {"alpha": 3.0}}
    names = ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "silu", "elu", "gelu", "erf")
    cases = [Case(op, (calm if op == "silu" else x,), numbers.get(op, {})) for op in names]
    for op in names[:-1]:
        kept = y if op in ("sigmoid", "tanh") else calm
        cases.append(Case(f"{op}_grad", (dy, kept), numbers.get(op, {})))
    return [*cases, Case("relu", (x[:30],), off=True), Case("relu_grad", (dy[:30], calm[:30]), off=True)]


# For each group of threads, and beyond its registers; the first array and its 36 targets end at a multiple of 16 bytes,
# where a read of a number behind them is seen.
ROWS = (36, 29), (9, 70), (2, 700), (2, 1100), (2, 4200)
LINES = (2, 5, 137), (2, 23, 21), (3, 50, 2), (3, 71, 2)


def softmaxes() -> list[Case]:
    banned = normal(3, 70)
    banned[1, ::3] = -np.inf
    cases = [Case("softmax", (banned,)), *(Case("softmax", (20 * normal(*shape),)) for shape in ROWS)]
    cases += [Case("softmax", (20 * normal(*shape),), {"axis": 1}) for shape in LINES]
    cases += [Case("softmax_grad", (normal(*shape), normal(*shape)), {"axis": 1}) for shape in ROWS]
    cases += [Case("softmax_grad", (normal(*shape), normal(*shape)), {"axis": 1}) for shape in LINES]
    for shape, smoothing in (((9, 10), 0.0), *((shape, 0.1) for shape in ROWS)):
        scores, target = 5 * normal(*shape), rng.integers(0, shape[1], shape[0])
        target[:2] = 0, shape[1] - 1
        cases.append(Case("softmax_cross_entropy", (scores, target), {"label_smoothing": smoothing}))
    excluded = normal(9, 10)
    excluded[:, 3] = -np.inf
    return [*cases, Case("softmax_cross_entropy", (excluded, rng.integers(4, 10, 9)))]


def pools() -> list[Case]:
    ties = rng.integers(0, 3, (2, 3, 13, 11)).astype(float)
    ties[0, 0, 2:5, 3:6], ties[0, 1, :4] = np.nan, -np.inf
    few, many = {"kernel_size": 2}, {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": (1, 2)}
    cases = [Case("max_pool2d", (x,), o) for x in (ties, normal(2, 3, 13, 11)) for o in (few, many)]
    cases += [Case("max_pool2d", (ties,), many | {"index_type": t}) for t in (np.int32, np.int16)]
    cases += [Case("max_pool2d", (normal(3, 2, 9, 9),), few | {"index_type": np.int8})]
    cases += [Case("max_pool2d", (x,), many | {"relu": True}) for x in (ties - 1, -abs(normal(1, 2, 5, 5)))]
    for index_type in (np.int64, np.int32, np.int16):
        winners = rng.integers(0, 13 * 11, (2, 3, 7, 10)).astype(index_type)
        cases += [Case("max_pool2d_scatter", (normal(2, 3, 7, 10), winners, (13, 11)))]
        cases += [Case("max_pool2d_gather", (normal(2, 3, 13, 11), winners))]
    _, winners = kernels.max_pool2d(normal(2, 3, 31, 29), 3, stride=2, padding=1)
    small = rng.integers(0, 20, (2, 1, 3, 3)).astype(np.int8)
    cases += [Case("max_pool2d_gather", (normal(2, 1, 4, 5), small))]
    cases += [Case("max_pool2d_scatter", (normal(2, 1, 3, 3), small, size)) for size in ((4, 5), (5, 5))]
    cases += [Case("max_pool2d_scatter", (normal(*winners.shape), winners, (31, 29)))]
    for shape, options in (((7, 9, 6, 5), {"kernel_size": 2}), ((1, 1, 200, 161), {"kernel_size": 5, "stride": 4})):
        _, winners = kernels.max_pool2d(normal(*shape), **options)  # small planes together, and a large one
        cases += [Case("max_pool2d_scatter", (normal(*winners.shape), winners, shape[2:]))]
    often = np.where(rng.random((3, 1, 20, 13)) < 0.5, 17, rng.integers(0, 30, (3, 1, 20, 13)))
    cases += [Case("max_pool2d_scatter", (normal(*often.shape), often, (5, 6)))]
    again = np.zeros((32, 1, 6, 6), int)  # all planes of a block, whose first output is in the middle of a list
    return [*cases, Case("max_pool2d_scatter", (np.ones(again.shape), again, (1, 2)))]


def windows() -> list[Case]:
    cases = []
    for options in (
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "count_include_pad": True},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": 1, "count_include_pad": False},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": (2, 3), "stride": (3, 4), "ceil_mode": True, "count_include_pad": False},
    ):
        x = normal(2, 3, 12, 10)
        y = kernels.avg_pool2d(x, **options, impl="reference")
        cases += [Case("avg_pool2d", (x,), options)]
        cases += [Case("avg_pool2d_input_grad", (normal(*y.shape), (12, 10)), options)]
    for padding, mode in (((1, 2, 3, 0), "zeros"), ((-1, 2, 3, -2), "zeros"), ((3, 4, 5, 2), "reflect")):
        x = normal(2, 3, 7, 6)
        y = kernels.pad2d(x, padding, mode=mode, impl="reference")
        cases += [Case("pad2d", (x, padding), {"mode": mode})]
        cases += [Case("pad2d_input_grad", (normal(*y.shape), (7, 6), padding), {"mode": mode})]
    for mode, corners in (("nearest", False), ("bilinear", False), ("bilinear", True)):
        options = {"mode": mode, "align_corners": corners}
        for size in ((5, 17), (16, 3), (1, 1)):
            cases += [Case("resize2d", (normal(2, 2, 8, 9), size), options)]
            cases += [Case("resize2d_input_grad", (normal(2, 2, *size), (8, 9)), options)]
        cases += [Case("resize2d_input_grad", (normal(1, 1, 5, 4), (1, 1)), options)]
        # Not a whole number of blocks, more planes than a thread takes at once, and more outputs of a cell.
        cases += [Case("resize2d", (normal(1, 11, 10, 9), (19, 17)), options)]
        cases += [Case("resize2d_input_grad", (normal(1, 11, 21, 93), (21, 15)), options)]
    x, half = normal(11, 1, 23, 35), {"kernel_size": (1, 2)}
    cases += [Case("avg_pool2d", (x,), half), Case("avg_pool2d", (normal(50, 3, 4, 5),), {"kernel_size": 2})]
    cases += [Case("avg_pool2d_input_grad", (normal(11, 1, 23, 17), (23, 35)), half)]
    # The planes of one thread, and one more.
    cases += [Case("avg_pool2d", (np.ones((5, 1, 10, 13)),), {"kernel_size": 1})]
    cases += [Case("pad2d", (x, (1, 2, 3, 1)), {"mode": "reflect"})]
    cases += [Case("pad2d_input_grad", (normal(11, 1, 27, 38), (23, 35), (1, 2, 3, 1)), {"mode": "reflect"})]
    return cases


def tops() -> list[Case]:
    ties = rng.integers(-2, 3, (3, 700)).astype(float)
    ties[0, 5:9], ties[0, 20:30], ties[1, :3] = np.nan, np.inf, -np.inf
    ties[2, ::7] = -0.0
    calls: list[tuple[Any, int, int]] = [(normal(3, 700), 5, 1), (normal(3, 700), 300, 1), (ties, 300, 1)]
    calls += [(ties, 12, 1), (ties[:, :40], 40, 1), (normal(2, 70, 3) * 1e-39, 31, 1), (normal(300, 2), 7, 0)]
    long = np.concatenate([ties[1:], ties[1:]], 1)  # for a block; one with more than THREADS to sort, and few ties
    calls += [(long, 300, 1), (long, 5, 1), (normal(2, 1025), 700, 1)]
    tiny, level, alike = normal(3, 60), normal(3, 1024), np.full((2, 50), -np.inf)
    tiny[0] *= 1e-39
    tiny[1, ::2] *= -1e-39
    level[:, ::200] = 3
    calls += [(tiny, 20, 1), (-tiny, 20, 1), (level, 4, 1), (level, 33, 1), (level, 1024, 1), (alike, 3, 1)]
    calls += [(normal(5, 1), 1, 1), (normal(3, 200), 64, 1), (normal(3, 200), 1, 1)]
    long = np.arange(1400.0) * 37 % 1400
    rows = [
        *((long, 700), (long, 1400)),
        (np.arange(40.0)[::-1] * 2.0**-149, 33),  # neighbouring keys, and the lanes' largest are the 32 largest
        (np.arange(67.0) * 44 % 67, 32),  # one candidate too many to be few
        ((np.arange(40.0) + 15) % 40, 32),  # 40 candidates, of which a lane's second is the largest
        # Of 64 and 43 candidates some are equal, and so many that a wrong sum of ranks would be the right one.
        *((np.arange(64.0) % 32, 32), (np.arange(43.0) % 22, 32)),
    ]
    calls += [(np.array([[2.0, 2, 1, 1], [3, 2, 1, 1]]), 4, 1), *((np.stack([x, x]), k, 1) for x, k in rows)]
    return [Case(op, (x, k), {"axis": axis}) for op in ("topk", "k_sparse") for x, k, axis in calls]


# Shape, axes, weight.
NORMS: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]] = [
    # batch norm in pieces: 16 bytes at a time, and not
    ((7, 3, 40, 31), (0, 2, 3), (1, 3, 1, 1)),
    ((9, 2, 31, 31), (0, 2, 3), (1, 2, 1, 1)),
    # rows for each group of threads: layer norm in shares, group norm, instance norm; and one row too long
    ((150, 45), (1,), (1, 45)),
    ((20, 100), (1,), (1, 100)),
    ((5, 700), (1,), (1, 700)),
    ((5, 4, 11, 13), (2, 3), (1, 4, 1, 1)),
    ((3, 2, 4, 8, 11), (2, 3, 4), (1, 2, 4, 1, 1)),
    ((2, 300), (1,), None),
    ((3, 1500), (1,), (1, 1500)),
    ((2, 2, 4, 33, 33), (2, 3, 4), (1, 2, 4, 1, 1)),
    ((1, 4101), (1,), (1, 4101)),
    # weights of other kinds, cells of one number
    ((4, 3, 5, 7), (2, 3), (1, 3, 1, 1)),
    ((3, 4, 5), (2,), (1, 4, 5)),
    ((4, 3, 5), (0, 2), (1, 3, 5)),
    ((4, 3, 5), (0, 2), (1, 1, 5)),
    ((65, 2, 5), (0, 2), (1, 1, 5)),  # the weights' sums in parts
    ((130, 2, 3), (2,), (1, 2, 1)),
    ((4, 3, 5), (0, 2), None),
    ((4, 3, 5), (0,), (1, 3, 1)),
    ((1, 3), (0,), (1, 3)),
]


def norms() -> dict[str, list[Case]]:
    cases = []
    for shape, axes, weight in NORMS:
        x, g, reduced = normal(*shape) + 3, normal(*shape), [1 if i in axes else n for i, n in enumerate(shape)]
        affine = () if weight is None else (normal(*weight), normal(*weight))
        mean, inv_std = normal(*reduced), normal(*reduced)
        for centred in (True, False):
            o = {"centred": centred}
            cases += [Case("normalize", (x, axes, 0.3, *affine), o)]
            cases += [Case("normalize_grad", (g, x, inv_std, axes), o)]
            cases += [Case("normalize_affine_grad", (g, x, mean, inv_std, affine[0] if affine else None, axes), o)]
    x, g = normal(2, 3, 44), normal(2, 3, 44)
    cases += [
        Case("normalize", (x, (0, 2), 0.3), off=True),
        *(Case("normalize_grad", (g, x, normal(1, 3, 1), (0, 2)), off=off) for off in (True, (1,))),
    ]
    # A weight without a bias; weights of one number each.
    x, w, one = normal(3, 4, 5), normal(1, 4, 5), np.ones((1, 4, 1))
    cases += [Case("normalize", (x, (2,), 0.3, w)), Case("normalize_affine_grad", (x[:1], w, one, one, w, (2,)))]
    # More pieces than threads, and some of them empty.
    x, g, one = normal(1, 4105), normal(1, 4105) + 1, np.ones((1, 1))
    cases += [
        Case("normalize", (x, (1,), 0.3, one, one), piece=15),
        Case("normalize_affine_grad", (g, x, one, one, one, (1,)), piece=15),
    ]
    # A difference of large squares would lose the variance.
    far = [rng.integers(97, 104, shape).astype(float) for shape in ((300, 2), (5, 600), (2, 3, 50, 60))]
    cases += [Case("normalize", (x, axes, 0.3)) for x, axes in zip(far, ((0,), (1,), (0, 2, 3)), strict=True)]
    return {
        "normalize.cu": [case for case in cases if case.op == "normalize"],
        "normalize_grad.cu": [case for case in cases if case.op != "normalize"],
    }


def updates() -> list[Case]:
    w, g, m, v = normal(300), normal(300), normal(300), abs(normal(300))
    sgd = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    adam = {"lr": 0.1, "eps": 0.3, "weight_decay": 0.1, "step": 3}
    cases = [Case("sgd_update", (w, g, m), sgd | {"nesterov": nesterov}) for nesterov in (True, False)]
    return [
        *cases,
        *(Case("adam_update", (w, g, m, v), adam | {"decoupled": decoupled}) for decoupled in (True, False)),
    ]


def losses() -> list[Case]:
    x, t, p = 3 * normal(70, 9), normal(70, 9), abs(np.tanh(normal(70, 9)))
    x[0, :3], t[0, :3], p[0, 3:5] = (0.5, 40, -40), (0.5, 1, 1), (0, 1)
    divisors = [{}, {"divisor": 7}]
    return [
        Case(op, (x, p if op == "binary_cross_entropy" else t), divisor)
        for op in ("squared_error", "absolute_error", "binary_cross_entropy")
        for divisor in divisors
    ] + [
        Case("squared_error", (normal(1025, 1025), normal(1025, 1025))),
        *(Case("squared_error", (normal(30), normal(30)), off=off) for off in (True, (1,))),
    ]


CASES: dict[str, list[Case]] = {
    "elementwise.cu": elementwise(),
    "softmax.cu": softmaxes(),
    "channel_sum.cu": [
        Case("channel_sum", (normal(*shape),)) for shape in ((5, 3, 17, 19), (5, 200, 1, 3), (300, 45), (1, 3, 1, 1))
    ],
    "losses.cu": losses(),
    "max_pool2d.cu": pools(),
    "window.cu": windows(),
    "topk.cu": tops(),
    **norms(),
    "linear.cu": products(),
    "conv2d.cu": convolutions(),
    "conv2d_tf32.cu": tensor_convolutions(),
    "depthwise.cu": depthwise(),
    "update.cu": updates(),
}


def truths(name: str) -> list[list[Array]]:
    """What the references say, in float64."""
    with np.errstate(all="ignore"):
        return [case.run("reference") for case in CASES[name]]
