"""Winograd's convolution equals the reference, over shapes that its tiles, blocks and vectors do not divide."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits, assert_close
from scratchnn.testing.strategies import floats
from scratchnn_kernels import threads
from scratchnn_kernels.conv2d import winograd
from scratchnn_kernels.geometry import Window, conv_window

Array = np.ndarray
TOLERANCE = {(True, np.float32): 2e-6, (False, np.float32): 1e-5, (True, np.float64): 1e-13, (False, np.float64): 1e-13}
EXACT = pytest.mark.parametrize("exact", [True, False])
KERNEL = pytest.mark.parametrize("kernel", [3, 4])  # of stride 1 and 2


class Case(NamedTuple):
    x: Array
    weight: Array
    bias: Array
    dy: Array
    window: Window
    options: dict[str, Any]

    def cast(self, dtype: Any) -> "Case":
        arrays = (a.astype(dtype, order="K") for a in (self.x, self.weight, self.bias, self.dy))
        return Case(*arrays, self.window, self.options)


def case(n: int, c: int, o: int, size: tuple[int, int], last: bool = False, kernel: int = 3, **options: Any) -> Case:
    """Random arguments, channels last in memory or first."""
    rng = np.random.default_rng(0)
    options["stride"] = kernel - 2
    window = conv_window((kernel, kernel), kernel - 2, options.get("padding", 0), options.get("dilation", 1))
    x, dy = (rng.standard_normal(s) for s in ((n, c, *size), (n, o, *window.output_size(size))))
    if last:
        x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy))
    return Case(x, rng.standard_normal((o, c, kernel, kernel)), rng.standard_normal(o), dy, window, options)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kernel, padding = draw(st.sampled_from([3, 4])), draw(st.tuples(*[st.sampled_from([0, 1, 2, 3])] * 2))
    dilation = draw(st.sampled_from([1, 1, 2, (1, 3), (2, 1)])) if kernel == 3 else 1
    steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    least = [max(1, (kernel - 1) * d + 1 - 2 * p) for d, p in zip(steps, padding, strict=True)]
    rows, cols = (draw(st.integers(most, 25)) for most in least)
    channels = st.sampled_from([1, 2, 3, 7, 16, 17, 33, 40])
    n, last = draw(st.integers(0, 3)), draw(st.booleans())
    return case(
        n, draw(channels), draw(channels), (rows, cols), last, kernel, padding=padding, dilation=dilation
    )  # fmt: skip


def results(given: Case, exact: bool) -> tuple[Array, Array, Array, Array]:
    """The three passes, and the first also without a bias; the arguments are unchanged."""
    x, weight, bias, dy, window, _ = given
    kept = [a.copy() for a in given[:4]]
    found = (
        winograd.conv2d(x, weight, bias, window, 1, exact=exact),
        winograd.conv2d(x, weight, None, window, 1, exact=exact),
        winograd.input_grad(dy, weight, x.shape[2:], window, 1, exact=exact),
        winograd.weight_grad(dy, x, window, 1, exact=exact),
    )
    for before, after in zip(kept, given[:4], strict=True):
        assert_bits(after, before, "an argument")
    return found


def check(given: Case, dtype: Any, exact: bool) -> None:
    (x, weight, bias, dy, _, options) = given
    options = options | {"impl": "reference"}
    truth = (
        kernels.conv2d(x, weight, bias, **options),
        kernels.conv2d(x, weight, **options),
        kernels.conv2d_input_grad(dy, weight, x.shape[2:], **options),
        kernels.conv2d_weight_grad(dy, x, weight.shape[2:], **options),
    )
    names = ("y with a bias", "y", "dx", "dw")
    for got, expected, name in zip(results(given.cast(dtype), exact), truth, names, strict=True):
        assert got.dtype == dtype
        assert_close(got, expected, TOLERANCE[exact, dtype], name)


@EXACT
@given(given_case=cases(), dtype=floats)
def test_any_shape(exact: bool, given_case: Case, dtype: Any) -> None:
    check(given_case, dtype, exact)


@EXACT
@KERNEL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("last", [False, True])
def test_large_images(exact: bool, kernel: int, dtype: Any, last: bool) -> None:
    """Several runs side by side, several blocks, several images in a block, and panels of weights."""
    check(case(1, 20, 70, (22, 150 * (kernel - 2)), last, kernel, padding=1), dtype, exact)
    check(case(9, 70, 20, (9, 7), last, kernel, padding=(1, 2)), dtype, exact)
    check(case(2, 5, 3, (70, 21), last, kernel, padding=(2, 0)), dtype, exact)


def test_many_weights() -> None:
    """So many that blocks grow, for the gradient first."""
    check(case(3, 130, 160, (15, 17), True, 4, padding=1), np.float32, exact=False)


@EXACT
@KERNEL
@pytest.mark.parametrize("step", [(1, 1, 2, 1), (1, 2, 1, 1), (-1, 1, 1, -1)])
def test_any_strides(exact: bool, kernel: int, step: tuple[int, ...]) -> None:
    given = case(2, 12, 9, (18, 16), kernel=kernel, padding=1)
    slices = tuple(slice(None, None, s) for s in step)
    x = given.x[slices]
    dy = np.random.default_rng(1).standard_normal((len(x), 9, *given.window.output_size(x.shape[2:])))
    weight = given.weight.transpose(0, 1, 3, 2)[:, :: step[1]]
    check(given._replace(x=x, dy=dy[..., ::-1], weight=weight), np.float64, exact)


@pytest.fixture
def number_of_threads() -> Iterator[None]:
    before = threads.get_threads()
    yield
    threads.set_threads(before)


@EXACT
@KERNEL
@pytest.mark.parametrize("n", [1, 5])
def test_threads_share_images_and_rows(exact: bool, kernel: int, n: int, number_of_threads: None) -> None:
    """Any number of threads gives the reference's results, and the same bits in each run."""
    given = case(n, 16, 33, (21, 18), kernel=kernel, padding=1)
    for count in (1, 2, 3):
        threads.set_threads(count)
        check(given, np.float64, exact)
        for one, two in zip(results(given, exact), results(given, exact), strict=True):
            assert_bits(two, one, f"a second run by {count} threads")


@EXACT
def test_a_nan_is_not_lost(exact: bool) -> None:
    """Every output that the kernel computes from a NaN is NaN; neighbours in its tile may be, other tiles are not."""
    given = case(1, 4, 3, (20, 20), padding=1)
    x = given.x.copy()
    x[0, 1, 9, 9] = np.nan
    y = winograd.conv2d(x, given.weight, None, given.window, 1, exact=exact)
    lost = np.isnan(y)
    assert lost[:, :, 8:11, 8:11].all()
    far, m = np.ones((20, 20), bool), 2 if exact else 4
    far[8 - m : 11 + m, 8 - m : 11 + m] = False
    assert not lost[:, :, far].any()


@EXACT
@KERNEL
def test_small_and_large_numbers_keep_their_precision(exact: bool, kernel: int) -> None:
    """The transforms neither overflow nor lose what single precision holds; results scale with the input."""
    given = case(1, 8, 8, (12, 12), kernel=kernel, padding=1).cast(np.float32)
    y = winograd.conv2d(given.x, given.weight, None, given.window, 1, exact=exact)
    for power in (-90, 90):
        scaled = winograd.conv2d(np.ldexp(given.x, power), given.weight, None, given.window, 1, exact=exact)
        assert_bits(scaled, np.ldexp(y, power), f"x 2^{power}")


@KERNEL
@pytest.mark.parametrize(("exact", "most"), [(True, 1.5e-6), (False, 3e-6)])
def test_rounding_errors_are_as_documented(kernel: int, exact: bool, most: float) -> None:
    """At the size of a real layer, relative to the largest result."""
    given = case(8, 64, 64, (16, 16), True, kernel, padding=1).cast(np.float32)
    y = kernels.conv2d(*given.cast(np.float64)[:2], None, **given.options, impl="reference")
    got = winograd.conv2d(given.x, given.weight, None, given.window, 1, exact=exact)
    assert abs(got - y).max() < most * abs(y).max()
