"""Calls of products and convolutions for cuda_cases.py."""

from typing import Any

import numpy as np

import scratchnn_kernels as kernels
from cuda_case import Case, normal


def products() -> list[Case]:
    cases = []
    sizes = (
        (70, 67, 75, False),
        (5, 33, 150, False),
        (150, 37, 140, True),
        (600, 11, 9, False),
        (1, 1, 1, False),
        (12, 80, 40, False),
        (20, 70, 30, False),
        (20, 11, 30, True),
    )
    for n, i, o, large in sizes:
        x, w, dy = normal(n, i), normal(o, i), normal(n, o)
        cases += [Case("linear", (x, w), large=large), Case("linear_input_grad", (dy, w), large=large)]
        cases += [Case("linear_weight_grad", (dy, x), large=large)]
        cases += [Case("linear", (x, w, normal(o)), {"relu": relu}) for relu in (True, False)]
    return cases


def trio(n: int, c: int, size: tuple[int, int], o: int, kernel: tuple[int, int], **options: Any) -> list[Case]:
    """Forward, input gradient, weight gradient; `impl` and `large` are the cases', the rest is geometry."""
    how = {name: options.pop(name) for name in ("impl", "large") if name in options}
    x, w, bias = normal(n, c, *size), normal(o, c // options.get("groups", 1), *kernel), normal(o)
    dy = normal(*kernels.conv2d(x, w, **options, impl="reference").shape)
    return [
        Case("conv2d", (x, w, bias), options, **how),
        Case("conv2d_input_grad", (dy, w, size), options, **how),
        Case("conv2d_weight_grad", (dy, x, kernel), options, **how),
    ]


def convolutions() -> list[Case]:
    mixed = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)}
    infinite = np.ones((1, 2, 4, 4))
    infinite[0, 0, 2, 2] = np.inf
    return [
        *trio(3, 3, (13, 11), 6, (3, 2), padding=(1, 0)),
        *trio(2, 18, (9, 10), 36, (2, 3), groups=2, **mixed),
        *trio(1, 140, (7, 6), 132, (1, 2), stride=2, large=True),
        *trio(2, 4, (20, 17), 20, (3, 3), stride=(3, 2), dilation=(3, 4), padding=4),
        *trio(2, 3, (6, 5), 4, (1, 1), stride=3),
        *trio(2, 4, (18, 17), 6, (2, 2), groups=2),  # a weight gradient in parts
        *trio(2, 36, (8, 8), 40, (3, 3), padding=1),  # results 16 bytes at a time, and sums in parts
        *trio(1, 12, (9, 8), 12, (4, 4)),
        *trio(2, 20, (9, 8), 24, (3, 2), padding=1),  # narrow tiles, and the wide ones in their place
        *trio(1, 20, (6, 7), 24, (2, 2), large=True),
        *trio(1, 8, (6, 7), 9, (2, 2)),
        Case("conv2d", (normal(2, 40, 5, 4), normal(6, 40, 2, 2), normal(6)), {"relu": True}),
        Case("conv2d", (infinite, np.ones((3, 2, 2, 2)))),
        # Rows of results of which 16 bytes are not together, and are cut by the end of an image.
        Case("conv2d_input_grad", (np.ones((1, 3, 4, 2)), np.ones((3, 12, 1, 2)), (4, 4)), {"stride": (1, 2)}),
        Case("conv2d_input_grad", (np.ones((2, 3, 3, 5)), np.ones((3, 12, 1, 1)), (3, 5))),
        # Phases without a cell, and with a single one.
        Case("conv2d_input_grad", (np.ones((2, 3, 1, 1)), np.ones((3, 2, 1, 1)), (2, 2)), {"stride": 3}),
    ]


def tensor_convolutions() -> list[Case]:
    mixed = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "impl": "cuda_tf32"}
    return [
        *trio(3, 3, (13, 11), 6, (3, 2), padding=(1, 0), impl="cuda_tf32"),
        *trio(2, 18, (9, 10), 150, (2, 3), groups=2, **mixed),
        *trio(1, 70, (7, 6), 5, (1, 1), impl="cuda_tf32"),
        *trio(2, 4, (18, 17), 6, (2, 2), groups=2, impl="cuda_tf32"),
        *trio(2, 130, (9, 8), 132, (1, 1), impl="cuda_tf32"),  # the large tile, and sums in parts
        *trio(1, 20, (5, 8), 66, (1, 1), impl="cuda_tf32"),  # 16 bytes at a time, beyond what there is
        *trio(2, 3, (6, 5), 4, (1, 1), stride=3, impl="cuda_tf32"),  # phases without a tap
        *trio(2, 1, (6, 5), 5, (3, 3), impl="cuda_tf32"),  # rows of weights that do not begin at 16 bytes
        *trio(5, 6, (2, 2), 7, (2, 2), impl="cuda_tf32"),  # nor images
        Case("conv2d", (normal(2, 4, 8, 9), normal(3, 4, 1, 3), normal(3)), {"relu": True}, "cuda_tf32", off=True),
        # Of 25 parts of the sum, the last has no terms.
        Case("conv2d_weight_grad", (normal(13, 3, 5, 25), normal(13, 2, 5, 25), (1, 1)), {}, "cuda_tf32"),
    ]


def depthwise() -> list[Case]:
    mixed = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 3}
    x, w, bias = normal(3, 2, 17, 70), normal(4, 1, 3, 3), normal(4)
    infinite = normal(1, 2, 13, 6)
    infinite[0, :, -1, 2], infinite[0, 1, 4, 0], infinite[0, 0, 4, 5] = np.inf, np.nan, np.inf
    return [
        *trio(2, 3, (13, 21), 6, (3, 2), **mixed),
        *trio(3, 5, (9, 8), 5, (2, 2), groups=5),
        *trio(2, 2, (33, 9), 4, (2, 3), stride=(3, 2), padding=(1, 2), dilation=(2, 1), groups=2),
        *trio(2, 2, (3, 2), 2, (1, 1), stride=4, groups=2),  # phases without a tap or a cell
        *trio(3, 2, (19, 67), 4, (3, 3), padding=(1, 2), groups=2),
        *trio(5, 3, (9, 7), 3, (5, 5), padding=2, groups=3),
        *trio(10, 2, (17, 40), 2, (3, 3), groups=2),  # a weight gradient in parts
        Case("conv2d", (x, w, bias), {"groups": 2, "relu": True}),
        Case("conv2d_weight_grad", (normal(1, 2, 11, 4), infinite, (3, 3)), {"groups": 2}),
        Case("conv2d", (normal(150_000, 4, 1, 1), normal(4, 1, 1, 1)), {"groups": 4}),  # several planes a thread
        Case("conv2d_input_grad", (normal(150_000, 4, 1, 1), normal(4, 1, 1, 1), (1, 1)), {"groups": 4}),
        *(case._replace(blocks=1) for case in trio(5, 2, (17, 20), 2, (3, 3), groups=2)),
        Case("conv2d_weight_grad", (normal(257, 2, 1, 1), normal(257, 2, 1, 1), (1, 1)), {"groups": 2}),
    ]
