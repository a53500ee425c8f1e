"""The convolution's algorithms at sizes that fill and overfill their tiles, and how their work is shared."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_close
from kernel_arguments import CONV_TERMS, ONLY
from rare_calls import DEPTHWISE
from scratchnn.testing.strategies import both, floats, layouts, relaid, seeds
from scratchnn_kernels import TABLE, KernelError, threads
from scratchnn_kernels.conv2d import fft, im2col, plans
from scratchnn_kernels.geometry import conv_window

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


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "kernel", "options"), DEPTHWISE, ids=str)
@pytest.mark.parametrize("op", CONV_TERMS)
@pytest.mark.parametrize("impl", ["planes", "depthwise"])
def test_each_channel_by_itself(
    impl: str, op: str, shape: tuple[int, int, int, int], kernel: tuple[int, int], options: Any, dtype: Any, last: bool
) -> None:
    geometry, rng = options | {"groups": shape[1]}, np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (shape, (shape[1], 1, *kernel), shape[1:2]))
    dy = rng.standard_normal(kernels.conv2d(x, weight, **geometry, impl="reference").shape).astype(dtype)
    if last:
        x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy))
    arrays = {"x": x, "weight": weight, "bias": bias, "dy": dy}
    sizes = {"size": shape[2:], "kernel": kernel}
    truth = call(op, wide(arrays) | sizes, geometry, "reference")
    assert_close(call(op, arrays | sizes, geometry, impl), truth, TOLERANCE[dtype], impl)


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


# Those leave the work to the rule, to NumPy and to products; pieces of "images" are of several.
BY_OTHERS = ("cpu", "fft", "im2col", "pointwise", "images")


def forget_plans() -> None:
    for plan in (plans.gather_plan, plans.weight_plan, plans.planes_weight_plan, plans.patches_plan):
        plan.cache_clear()


def shared(op: str, impl: str, images: int, monkeypatch: pytest.MonkeyPatch, groups: int = 1) -> tuple[int, int]:
    """The work that a convolution of 3x3 over [images,16,20,16] tells, and its pieces."""
    groups = 16 if impl == "depthwise" else groups
    x, weight = np.ones((images, 16, 20, 16)), np.ones((16, 16 // groups, 3, 3))
    arrays = {"x": x, "dy": x, "weight": weight, "bias": np.ones(16), "size": (20, 16), "kernel": (3, 3)}
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(threads, "parts", lambda work, pieces: told.append((work, pieces)) or 1)
    call(op, arrays, {"padding": 1, "groups": groups}, impl)
    return told[-1]  # the first may be that of an array which is turned


@pytest.mark.parametrize(("op", "impl"), [(op, impl) for op, impl in ALGORITHMS if impl not in BY_OTHERS])
def test_threads_are_told_how_much_there_is_to_do(op: str, impl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The multiplications, and pieces of each image: else few threads, or too many, would share them."""
    monkeypatch.setattr(plans, "PIECE_BYTES", 1 << 14)
    forget_plans()
    taps = {"winograd": 36 / 16, "winograd_exact": 16 / 4}.get(impl, 9)
    products = 20 * 16 * 16 * taps * (1 if impl == "depthwise" else 16)
    (work, pieces), (more, most) = shared(op, impl, 1, monkeypatch), shared(op, impl, 3, monkeypatch)
    assert (work, more, most) == (products, 3 * products, 3 * pieces)
    if impl in ("direct", "planes", "depthwise", "patches"):
        assert pieces > 1
        monkeypatch.setattr(plans, "PIECE_BYTES", 1 << 30)
        forget_plans()
        assert shared(op, impl, 3, monkeypatch) == (more, 3)
    if impl in ("planes", "patches"):
        assert shared(op, impl, 1, monkeypatch, groups=2) == (products / 2, 2), "a group is a piece"


@pytest.mark.parametrize(("c", "o"), [(4, 6), (6, 4), (4, 4)])
def test_depthwise_names_the_channels(c: int, o: int) -> None:
    """As many groups as channels in and out are served, and two groups of these are not."""
    x, weight, dy = np.ones((1, c, 5, 5)), np.ones((o, c // 2, 3, 3)), np.ones((1, o, 3, 3))
    given = {"conv2d": (x, weight), "conv2d_input_grad": (dy, weight, (5, 5)), "conv2d_weight_grad": (dy, x, (3, 3))}
    for op, args in given.items():
        with pytest.raises(KernelError, match=f"got groups=2, {c} and {o} channels"):
            getattr(kernels, op)(*args, groups=2, impl="depthwise")


def test_depthwise_of_more_channels_in_than_groups() -> None:
    dy, weight = np.ones((1, 4, 3, 3)), np.ones((4, 2, 3, 3))
    with pytest.raises(KernelError, match="got groups=4, 8 and 4 channels"):
        kernels.conv2d_input_grad(dy, weight, (5, 5), groups=4, impl="depthwise")


def test_the_fourier_transform_takes_lengths_of_small_factors() -> None:
    lengths = {1: 1, 2: 2, 7: 8, 11: 12, 13: 15, 17: 18, 23: 24, 31: 32, 33: 36, 91: 96, 97: 100, 121: 125}
    assert {least: fft._smooth(least) for least in lengths} == lengths


@pytest.mark.parametrize("stride", [(1, 2), (2, 1)])
def test_the_fourier_transform_has_no_stride(stride: tuple[int, int]) -> None:
    with pytest.raises(KernelError, match=re.escape(f"got stride {stride}, groups=1")):
        kernels.conv2d(np.ones((1, 2, 5, 5)), np.ones((2, 2, 3, 3)), stride=stride, impl="fft")


@pytest.mark.parametrize(("room", "images"), [(0, 1), (1, 1), (2, 2), (2.9, 2), (3, 3), (99, 5)])
def test_the_columns_of_as_many_images_as_there_is_room_for(
    room: float, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, window = np.zeros((5, 3, 7, 6), np.float32), conv_window((3, 2), (2, 1), 0, 1)
    shape = (3, 3, 2, 3, 5)
    monkeypatch.setattr(im2col, "COLUMN_BYTES", int(room * 4 * 3 * 3 * 2 * 3 * 5))
    assert im2col._columns_buffer(x, window).shape == (images, *shape)
