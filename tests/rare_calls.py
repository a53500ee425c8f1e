"""Arguments that chance alone rarely draws, found by mutants that lived."""

from collections.abc import Callable
from typing import Any

import numpy as np

import oracles
from kernel_arguments import CONV_TERMS, Call

# Of depthwise convolutions x, kernel, and the rest: wide images, whose borders are worked on apart; rows of taps that
# share what they read; images one pixel wide, where all taps are one run; and pixels that no tap reaches.
DEPTHWISE: tuple[tuple[tuple[int, int, int, int], tuple[int, int], dict[str, Any]], ...] = (
    ((2, 10, 13, 30), (3, 3), {"padding": 1}),
    ((1, 9, 9, 45), (5, 5), {"padding": (2, 3)}),
    ((2, 9, 14, 33), (3, 4), {"padding": (1, 2), "stride": 2}),
    ((1, 8, 16, 26), (3, 3), {"padding": 2, "stride": 2, "dilation": 2}),
    ((1, 3, 18, 7), (1, 1), {"stride": (2, 1)}),
    ((1, 3, 7, 18), (1, 2), {"stride": (1, 4), "padding": (0, 1)}),
    ((2, 4, 14, 1), (3, 1), {"padding": (1, 0)}),
    ((1, 17, 12, 11), (7, 2), {"padding": (3, 0)}),
)

# x, out-channels, kernel, and the rest: more padding than the kernel covers, strides and dilations that differ and
# leave pixels out, groups of one and of several channels, rows in several pieces, more channels than a tile has, long
# rows.
CONVOLUTIONS: tuple[tuple[tuple[int, int, int, int], int, tuple[int, int], dict[str, Any]], ...] = (
    ((2, 3, 9, 8), 10, (2, 1), {"padding": (3, 2)}),
    ((2, 4, 9, 8), 6, (2, 1), {"padding": (3, 2), "groups": 2}),
    ((2, 5, 11, 8), 5, (2, 1), {"padding": (3, 2), "groups": 5}),
    ((2, 3, 17, 21), 5, (3, 2), {"padding": (1, 0), "stride": (3, 2)}),
    ((2, 3, 13, 40), 9, (2, 3), {"stride": (2, 3)}),
    ((2, 6, 9, 20), 22, (3, 2), {"groups": 2}),
    ((2, 6, 9, 11), 22, (2, 3), {"groups": 2, "padding": 1, "stride": (2, 1)}),
    ((2, 5, 17, 13), 5, (3, 2), {"padding": (1, 2), "stride": (3, 2), "groups": 5}),
    ((2, 10, 12, 11), 20, (3, 3), {"padding": (0, 3), "stride": (2, 1), "dilation": (2, 3)}),
    ((2, 20, 7, 6), 22, (2, 3), {"padding": (1, 0), "stride": (3, 4)}),
    ((1, 3, 14, 15), 19, (4, 5), {"padding": 1}),
    ((1, 2, 30, 5), 1, (3, 3), {"padding": 1, "stride": (2, 1)}),
    ((2, 1, 30, 5), 2, (3, 3), {"padding": 1, "stride": (1, 3)}),
    ((3, 11, 9, 14), 13, (3, 3), {"padding": 1}),
    ((2, 5, 19, 17), 7, (3, 3), {"padding": (2, 0), "dilation": (1, 2)}),
    ((3, 5, 10, 22), 6, (4, 4), {"padding": (1, 2), "stride": 2}),
    ((1, 9, 23, 30), 10, (4, 4), {"padding": 1, "stride": 2}),
    ((2, 7, 5, 9), 19, (1, 1), {}),
    ((19, 2, 4, 3), 3, (2, 3), {"padding": (2, 1)}),
    ((2, 3, 8, 9), 4, (1, 1), {"padding": (1, 2)}),
    ((2, 3, 5, 66), 5, (3, 3), {"padding": (2, 1)}),
    ((1, 3, 7, 140), 4, (3, 3), {"padding": 1, "dilation": (1, 2)}),
    ((1, 3, 8, 66), 4, (4, 4), {"padding": 1, "stride": 2}),
    *((shape, shape[1], kernel, options | {"groups": shape[1]}) for shape, kernel, options in DEPTHWISE),
)

# Windows of 2x2 side by side, which have loops of their own: rows and columns left over, more than a vector of windows.
# Five planes and five rows of windows, which three threads cannot share evenly.
POOLS = (
    (2, 3, 6, 8), (1, 2, 7, 9), (2, 9, 4, 21), (3, 2, 5, 4), (2, 11, 3, 2), (1, 1, 2, 40), (2, 3, 3, 5), (1, 5, 4, 6),
    (1, 3, 10, 5),
)  # fmt: skip


def rare_calls(op: str) -> list[Call]:
    draw = np.random.default_rng(0).standard_normal
    if op in CONV_TERMS:
        calls = [_convolution(op, draw, *row) for row in CONVOLUTIONS]
        return calls + [_rectified(call, draw) for call in calls] if op == "conv2d" else calls
    if "pool2d" in op:
        return [_pool(op, draw, shape) for shape in POOLS]
    if op in ("softmax", "softmax_grad"):  # several blocks of lines, and more than a block
        pairs = draw((2, 5, 3, 2)), draw((2, 5, 4)), draw((2, 2, 2, 300))
        return [Call(tuple(pair[: 1 + (op == "softmax_grad")]), {"axis": 1}) for pair in pairs]
    if op == "channel_sum":  # more channels than a tile has, and more rows than are summed without a loop
        return [Call((draw(shape),), {}) for shape in ((2, 3, 4, 5), (3, 40, 2, 3), (150, 40))]
    if op == "normalize_grad":  # interleaved axes
        return [Call((draw((2, 3, 2, 3)), draw((2, 3, 2, 3)), draw((1, 3, 1, 3)), (0, 2)), {"centred": True})]
    if op.startswith("linear"):  # more of all than a tile or a panel has
        arrays = {"x": draw((40, 23)), "weight": draw((37, 23)), "dy": draw((40, 37))}
        terms = {"linear": ("x", "weight"), "linear_input_grad": ("dy", "weight"), "linear_weight_grad": ("dy", "x")}
        narrow = {"x": draw((3, 50)), "weight": draw((41, 50)), "dy": draw((3, 41))}
        return [Call(tuple(given[term] for term in terms[op]), {}) for given in (arrays, narrow)]
    return []


def _convolution(
    op: str, draw: Callable[..., np.ndarray], shape: tuple[int, int, int, int], o: int, kernel: tuple[int, int],
    geometry: dict[str, Any],
) -> Call:  # fmt: skip
    geometry = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | geometry
    x, weight = draw(shape), draw((o, shape[1] // geometry["groups"], *kernel))
    dy = draw(oracles.conv2d(x, weight, None, **geometry).shape)
    arrays = {"x": x, "weight": weight, "dy": dy, "size": shape[2:], "kernel": kernel}
    return Call(tuple(arrays[term] for term in CONV_TERMS[op]), geometry)


def _rectified(call: Call, draw: Callable[..., np.ndarray]) -> Call:
    """The same with a bias, and the positive part of it all."""
    return Call((*call.args, draw(len(call.args[1]))), call.options | {"relu": True})


def _pool(op: str, draw: Callable[..., np.ndarray], shape: tuple[int, int, int, int]) -> Call:
    x, options = draw(shape), {"kernel_size": 2, "stride": 2, "padding": 0}
    if op in ("avg_pool2d", "max_pool2d"):
        return Call((x,), options)
    if op == "avg_pool2d_input_grad":
        return Call((draw((*shape[:2], shape[2] // 2, shape[3] // 2)), shape[2:]), options)
    y, winners = oracles.max_pool2d(x, **options, dilation=1, ceil_mode=False)
    return Call((x, winners) if op == "max_pool2d_gather" else (draw(y.shape), winners, shape[2:]), {})
