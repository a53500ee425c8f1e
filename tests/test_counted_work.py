"""What a kernel tells of its work: multiplications, in pieces that threads may share."""

from typing import Any

import pytest

from edge_calls import numbers
from scratchnn_kernels import threads
from test_threads import run

X, DY = numbers(2, 6, 7, 9), numbers(2, 24, 5, 8)
WEIGHT, DEPTH = numbers(24, 6, 3, 2), numbers(6, 1, 3, 2)
PRODUCTS = 2 * 24 * 6 * 3 * 2 * 5 * 8  # of all outputs
SWEPT = 2 * 24 * 6 * 3 * 2 * 7 * 9  # of all inputs, whose sweep reads beside dy, too
NARROW = numbers(40, 9)  # rows whose numbers go into two sums and a result
COUNTED: list[tuple[str, str, tuple[Any, ...], dict[str, Any], int, int]] = [
    ("conv2d", "direct", (X, WEIGHT), {}, PRODUCTS, 2),
    ("conv2d", "planes", (X, WEIGHT), {}, PRODUCTS, 2),
    ("conv2d", "images", (X, WEIGHT), {}, PRODUCTS, 1),
    ("conv2d", "images", (numbers(33, 6, 7, 9), WEIGHT), {}, PRODUCTS // 2 * 33, 3),
    ("conv2d", "depthwise", (X, DEPTH), {"groups": 6}, PRODUCTS // 24, 2),
    ("conv2d_input_grad", "direct", (DY, WEIGHT, (7, 9)), {}, SWEPT, 2),
    ("conv2d_input_grad", "planes", (DY, WEIGHT, (7, 9)), {}, SWEPT, 2),
    ("conv2d_input_grad", "images", (DY, WEIGHT, (7, 9)), {}, PRODUCTS, 1),
    ("conv2d_input_grad", "scatter", (DY, WEIGHT, (7, 9)), {}, PRODUCTS, 2),
    ("conv2d_weight_grad", "direct", (DY, X, (3, 2)), {}, PRODUCTS, 2),
    ("conv2d_weight_grad", "planes", (DY, X, (3, 2)), {}, PRODUCTS, 2),
    ("conv2d_weight_grad", "patches", (DY, X, (3, 2)), {}, PRODUCTS, 2),
    ("conv2d_weight_grad", "depthwise", (DY[:, :6], X, (3, 2)), {"groups": 6}, PRODUCTS // 24, 2),
    ("conv2d_weight_grad", "planes", (DY[:, :6], X, (3, 2)), {"groups": 2}, PRODUCTS // 8, 4),
    ("conv2d_weight_grad", "patches", (DY[:, :6], X, (3, 2)), {"groups": 2}, PRODUCTS // 8, 4),
    ("linear", "cpu", (numbers(40, 600), numbers(700, 600)), {}, 40 * 600 * 700, 40),
    ("linear_weight_grad", "cpu", (numbers(40, 600), numbers(40, 700)), {}, 40 * 600 * 700, 600),
    ("channel_sum", "cpu", (X,), {}, X.size, 2),
    ("channel_sum", "cpu", (numbers(100, 50),), {}, 5000, 1),
    ("normalize", "cpu", (NARROW, (1,), 1e-5, None, None), {}, 4 * NARROW.size, 40),
    ("normalize_grad", "cpu", (NARROW, NARROW, NARROW[:, :1], (1,)), {}, 4 * NARROW.size, 40),
]


@pytest.mark.parametrize("i", range(len(COUNTED)))
def test_work_is_counted_in_multiplications(i: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the pieces are images, blocks of them, groups where vectors run along pixels, or rows of a product."""
    op, impl, args, options, work, pieces = COUNTED[i]
    asked: list[tuple[int, int]] = []

    def parts(work: int, pieces: int) -> int:
        asked.append((work, pieces))
        return 1

    monkeypatch.setattr(threads, "parts", parts)
    run(op, args, impl=impl, **options)
    assert (work, pieces) in asked
