"""The convolution's algorithms at sizes that fill and overfill their tiles, and the rule that chooses among them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_close
from kernel_arguments import CONV_TERMS, ONLY
from scratchnn.testing.strategies import both, floats, layouts, relaid, seeds
from scratchnn_kernels import TABLE, KernelError

ALGORITHMS = [
    (op, impl) for op in CONV_TERMS for impl in TABLE[op] if impl != "reference" and not impl.startswith("cuda")
]
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


@st.composite
def large_convolutions(draw: st.DrawFn, dtype: Any, **fixed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and geometry; channels and widths beyond a tile's 8 rows and 32 columns, and no multiples of them."""
    groups = fixed.get("groups") or draw(st.sampled_from([1, 1, 1, 2, 3]))
    c, o = (groups * draw(st.integers(1, 40)) for _ in range(2))
    if "in_channels" in fixed:  # depthwise
        groups = c = o = draw(st.integers(1, 40))
    kernel = fixed.get("kernel_size") or draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    geometry = {
        "stride": fixed.get("stride") or draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": fixed["padding"] if "padding" in fixed else draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
        "dilation": fixed.get("dilation") or draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "groups": groups,
    }
    height, width = (
        draw(st.integers(1, 20)) + (k - 1) * d for k, d in zip(kernel, both(geometry["dilation"]), strict=True)
    )
    rng = np.random.default_rng(draw(seeds))
    n = draw(st.integers(0, 3))

    def numbers(*shape: int) -> np.ndarray:
        return relaid(rng.standard_normal(shape).astype(dtype), draw(layouts))

    x, weight, bias = numbers(n, c, height, width), numbers(o, c // groups, *kernel), numbers(o)
    y = kernels.conv2d(x, weight, **geometry, impl="reference")
    arrays = {"x": x, "weight": weight, "bias": bias, "dy": numbers(*y.shape)}
    return arrays | {"size": (height, width), "kernel": kernel}, geometry


def call(op: str, arrays: dict[str, Any], geometry: dict[str, Any], impl: str | None) -> np.ndarray:
    given = [arrays[term] for term in CONV_TERMS[op]] + ([arrays["bias"]] if op == "conv2d" else [])
    result: np.ndarray = getattr(kernels, op)(*given, **geometry, impl=impl)
    return result


def wide(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: a.astype(np.float64) if isinstance(a, np.ndarray) else a for name, a in arrays.items()}


@pytest.mark.parametrize(("op", "impl"), ALGORITHMS)
@given(data=st.data(), dtype=floats)
def test_large_shapes(op: str, impl: str, data: st.DataObject, dtype: Any) -> None:
    arrays, geometry = data.draw(large_convolutions(dtype, **data.draw(st.sampled_from(ONLY.get(impl, ({},))))))
    got, truth = call(op, arrays, geometry, impl), call(op, wide(arrays), geometry, "reference")
    assert got.dtype == dtype
    assert_close(got, truth, TOLERANCE[dtype], f"{op} by {impl}")


@pytest.mark.parametrize(("op", "impl"), ALGORITHMS)
def test_threads_share_the_work(op: str, impl: str) -> None:
    """Enough work for two threads, with a batch that they cannot share evenly, and with one image."""
    rng = np.random.default_rng(0)
    o, groups = (33, 33) if impl == "depthwise" else (34, 1)
    side, padding = (1, 0) if impl == "pointwise" else (3, 1)
    for n in (3, 1):
        arrays = {"x": rng.standard_normal((n, 33, 21, 18))}
        arrays |= {"weight": rng.standard_normal((o, 33 // groups, side, side))}
        arrays |= {"bias": rng.standard_normal(o), "dy": rng.standard_normal((n, o, 21, 18))}
        arrays |= {"size": (21, 18), "kernel": (side, side)}
        geometry = {"padding": padding, "groups": groups}
        truth = call(op, arrays, geometry, "reference")
        before = kernels.get_threads()
        try:
            for threads in (1, 2):
                kernels.set_threads(threads)
                assert_close(call(op, arrays, geometry, impl), truth, 1e-12, f"{op} by {impl}, {threads} threads")
        finally:
            kernels.set_threads(before)


@pytest.mark.parametrize(("op", "impl"), [(op, impl) for op, impl in ALGORITHMS if impl in ONLY])
def test_an_algorithm_refuses_what_it_does_not_take(op: str, impl: str) -> None:
    arrays = {"x": np.ones((1, 4, 6, 6)), "weight": np.ones((4, 2, 2, 2)), "bias": np.ones(4)}
    arrays |= {"dy": np.ones((1, 4, 5, 5)), "size": (6, 6), "kernel": (2, 2)}
    with pytest.raises(KernelError, match="groups=2"):
        call(op, arrays, {"groups": 2}, impl)


@pytest.mark.parametrize("op", list(CONV_TERMS))
@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        ((4, 4), {"stride": 1}, r"got 4x4, stride \(1, 1\)"),
        ((3, 3), {"stride": 2}, r"got 3x3, stride \(2, 2\)"),
        ((4, 4), {"stride": (2, 1)}, r"got 4x4, stride \(2, 1\)"),
        ((4, 4), {"stride": 2, "dilation": 2}, r"stride \(2, 2\), dilation \(2, 2\)"),
        ((4, 3), {"stride": 2}, r"got 4x3"),
    ],
)
def test_winograd_names_what_it_takes(op: str, kernel: tuple[int, int], options: dict[str, Any], message: str) -> None:
    arrays = {"x": np.ones((1, 4, 9, 9)), "weight": np.ones((4, 4, *kernel)), "bias": np.ones(4)}
    dy = np.ones_like(kernels.conv2d(arrays["x"], arrays["weight"], **options))
    with pytest.raises(KernelError, match=message):
        call(op, arrays | {"dy": dy, "size": (9, 9), "kernel": kernel}, options, "winograd")


def chosen(shape: tuple[int, int, int], out: int, kernel: int, dtype: Any = np.float32, **geometry: Any) -> list[str]:
    """The names that the rule gives for the three passes."""
    c, h, w = shape
    return [choice.algorithm for choice in kernels.conv2d_choices((1, c, h, w), out, kernel, dtype=dtype, **geometry)]


def test_the_rule() -> None:
    assert chosen((64, 64, 64), 64, 3, padding=1) == ["winograd"] * 3
    assert chosen((64, 64, 64), 64, 3, np.float64, padding=1) == ["winograd_exact"] * 3
    with kernels.exact_convolutions():
        assert chosen((64, 64, 64), 64, 3, padding=1) == ["winograd_exact"] * 3
    assert chosen((64, 64, 64), 64, 3, padding=1) == ["winograd"] * 3
    assert chosen((64, 5, 5), 64, 3, padding=1) == ["direct"] * 3, "half of Winograd's tiles would be thrown away"
    assert chosen((64, 16, 16), 128, 4, stride=2, padding=1) == ["winograd"] * 3
    assert chosen((64, 14, 14), 128, 4, np.float64, stride=2, padding=1) == ["winograd_exact"] * 3
    assert chosen((64, 10, 10), 128, 4, stride=2, padding=1) == ["direct"] * 3
    assert chosen((64, 16, 16), 128, 3, stride=2, padding=1) == ["direct"] * 3
    assert chosen((1, 32, 32), 6, 5) == ["planes", "planes", "planes"]
    assert chosen((1, 28, 28), 32, 3, padding=1) == ["direct", "scatter", "planes"]
    assert chosen((6, 14, 14), 16, 5) == ["direct", "planes", "direct"]
    assert chosen((1, 28, 28), 64, 4, stride=2, padding=1) == ["direct", "scatter", "patches"]
    assert chosen((3, 32, 32), 32, 4, stride=2, padding=1) == ["direct", "scatter", "direct"], "as many taps to turn"
    assert chosen((1, 28, 28), 32, 3, padding=1, channels_last=True) == ["direct", "scatter", "direct"]
    assert chosen((64, 64, 64), 64, 1) == ["pointwise", "pointwise", "planes"]
    assert chosen((64, 64, 64), 64, 1, channels_last=True) == ["pointwise"] * 3
    assert chosen((64, 64, 64), 64, 21, padding=10) == ["fft"] * 3
    assert chosen((64, 21, 21), 64, 21) == ["direct"] * 3, "a window as large as the image"
    assert chosen((64, 64, 64), 64, 1, stride=2) == ["direct", "direct", "planes"]
    assert chosen((64, 64, 64), 64, 3, padding=1, groups=64) == ["planes"] * 3
    assert chosen((64, 64, 64), 64, 3, padding=1, groups=64, channels_last=True) == ["depthwise"] * 3


@pytest.mark.parametrize("impl", [impl for op, impl in ALGORITHMS if op == "conv2d_input_grad"])
@given(data=st.data(), dtype=floats)
def test_a_transposed_convolution_stores_its_bias(impl: str, data: st.DataObject, dtype: Any) -> None:
    """Also in the cells that no tap reaches, where the stride is beyond the kernel."""
    fixed = data.draw(st.sampled_from(ONLY.get(impl, ({},))))
    groups = fixed.get("groups") or data.draw(st.sampled_from([1, 2]))
    kernel, _ = fixed.get("kernel_size") or data.draw(st.tuples(st.integers(1, 3), st.none()))
    stride = fixed.get("stride") or data.draw(st.integers(1, 4))
    c, o = (groups * data.draw(st.integers(1, 20)) for _ in range(2))
    if "in_channels" in fixed:  # depthwise
        groups = c = o = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(seeds))
    x, weight, bias = (rng.standard_normal(s) for s in ((2, c, 3, 5), (c, o // groups, kernel, kernel), (o,)))
    options = {"stride": stride, "groups": groups, "output_padding": stride - 1}
    truth = kernels.conv_transpose2d(x, weight, None, **options, impl="reference") + bias[:, None, None]
    x, weight, bias = (a.astype(dtype) for a in (x, weight, bias))
    got = kernels.conv_transpose2d(x, weight, bias, **options, impl=impl)
    assert_close(got, truth, TOLERANCE[dtype], impl)
