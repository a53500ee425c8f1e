"""The geometry of windows in numbers: pairs, named padding, how many fit, and what must be padded to cut them out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnn_kernels as kernels
from compare import assert_bits
from scratchnn_kernels import KernelError
from scratchnn_kernels.geometry import Window, conv_window, pair, pool_window, windows


def test_an_int_or_two_of_them_are_a_pair() -> None:
    assert pair("stride", 3, 1) == (3, 3)
    assert pair("stride", (2, 3), 1) == (2, 3)
    assert pair("stride", [2, 3], 1) == (2, 3)
    assert pair("padding", 0, 0) == (0, 0)


@pytest.mark.parametrize("value", [0, (1, 0), (0, 1), (1, 1, 1), (1,), 1.0, (1, 2.0), True, "2", None])
def test_what_is_no_pair_is_named(value: Any) -> None:
    with pytest.raises(KernelError, match=r"stride=.*; an int or a pair of ints >= 1"):
        pair("stride", value, 1)


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    ("stride=0", lambda: conv_window((1, 1), 0, 0, 1)),
    ("dilation=0", lambda: conv_window((1, 1), 1, 0, 0)),
    ("padding=-1", lambda: conv_window((1, 1), 1, -1, 1)),
    ("padding='full'", lambda: conv_window((1, 1), 1, "full", 1)),
    ("needs stride 1", lambda: conv_window((3, 3), (1, 2), "same", 1)),
    ("kernel_size=0", lambda: pool_window(0, None, 0, 1, False)),
    ("stride=0", lambda: pool_window(1, 0, 0, 1, False)),
    ("dilation=0", lambda: pool_window(1, None, 0, 0, False)),
    ("padding=-1", lambda: pool_window(1, None, -1, 1, False)),
    ("more than half", lambda: pool_window((4, 3), None, 2, 1, False)),
    ("axis H of 0 cells", lambda: conv_window((1, 1), 1, 3, 1).output_size((0, 5))),
    ("axis W of 0 cells", lambda: conv_window((1, 1), 1, 3, 1).output_size((5, 0))),
    ("axis W of 2 cells", lambda: conv_window((1, 4), 1, (0, 0), 1).output_size((5, 2))),
    ("stride=0", lambda: kernels.transposed_size((3, 3), (2, 2), stride=0)),
    ("dilation=0", lambda: kernels.transposed_size((3, 3), (2, 2), dilation=0)),
    ("padding=-1", lambda: kernels.transposed_size((3, 3), (2, 2), padding=-1)),
    ("output_padding=-1", lambda: kernels.transposed_size((3, 3), (2, 2), output_padding=-1)),
    ("output_size=0", lambda: kernels.transposed_size((3, 3), (2, 2), output_size=0)),
    ("1 to 1 are possible", lambda: kernels.transposed_size((1, 1), (1, 1), stride=3, padding=1, output_padding=1)),
    ("3 to 4 are possible", lambda: kernels.transposed_size((2, 2), (1, 1), stride=2, output_size=(5, 3))),
]


@pytest.mark.parametrize(("said", "call"), REFUSED)
def test_impossible_numbers_are_refused(said: str, call: Callable[[], Any]) -> None:
    with pytest.raises(KernelError, match=said):
        call()


def test_the_size_of_a_transposed_convolution() -> None:
    assert kernels.transposed_size((3, 4), (2, 3)) == (4, 6)
    assert kernels.transposed_size((3, 4), (2, 3), stride=2, padding=(0, 1), dilation=3) == (8, 11)
    assert kernels.transposed_size((3, 4), (2, 3), stride=2, output_padding=(0, 1)) == (6, 10)
    assert kernels.transposed_size((3, 4), (2, 3), stride=2, output_size=(7, 9)) == (7, 9)
    assert kernels.transposed_size((1, 1), (1, 1), stride=3, padding=1, output_padding=2) == (1, 1)


def test_same_padding_puts_an_odd_cell_after_the_image() -> None:
    assert conv_window((3, 4), 1, "same", 1).padding == ((1, 1), (1, 2))
    assert conv_window((2, 3), 1, "same", (3, 2)).padding == ((1, 2), (2, 2))
    assert conv_window((3, 4), (2, 1), "valid", 1).padding == ((0, 0), (0, 0))


def test_how_many_windows_fit() -> None:
    """With ceil_mode one more, if it begins inside the input or the padding before it."""
    window = Window((3, 2), (2, 3), ((1, 0), (0, 1)), (1, 2))
    assert window.extent == (3, 3)
    assert window.output_size((6, 7)) == (3, 2)
    assert Window((3, 2), (2, 3), ((1, 0), (0, 1)), (1, 2), ceil_mode=True).output_size((6, 7)) == (3, 3)
    assert pool_window(2, 2, 0, 1, True).output_size((5, 4)) == (3, 2)
    assert pool_window(1, 3, 0, 1, True).output_size((3, 4)) == (1, 2), "one that begins behind the input does not fit"
    assert pool_window(2, 2, 1, 1, True).output_size((3, 1)) == (2, 1), "nor one in the padding after it"


@pytest.mark.parametrize("size", [(5, 7), (6, 8), (7, 5)])
def test_only_ceil_mode_pads_more_than_was_asked(size: tuple[int, int]) -> None:
    plain = Window((3, 2), (2, 3), ((1, 0), (0, 1)), (1, 2))
    assert plain.overhang(size) == plain.padding


def test_ceil_mode_pads_what_the_last_window_lacks() -> None:
    assert pool_window(2, 2, 0, 1, True).overhang((5, 4)) == ((0, 1), (0, 0))
    assert pool_window(3, 3, 1, 1, True).overhang((5, 9)) == ((1, 1), (1, 2))
    assert pool_window((2, 3), (3, 2), (0, 1), 1, True).overhang((4, 4)) == ((0, 1), (1, 2))


def test_a_window_shows_these_cells() -> None:
    image = np.arange(1.0, 13).reshape(1, 1, 3, 4)
    view = windows(image, Window((2, 2), (1, 2), ((0, 1), (1, 0)), (2, 1)), fill=-1)
    expected = np.array([
        [[[-1, 1], [-1, 9]], [[2, 3], [10, 11]]],
        [[[-1, 5], [-1, -1]], [[6, 7], [-1, -1]]],
    ])  # fmt: skip
    assert_bits(view[0, 0], expected.astype(float), "the cells")
    turned = windows(image.swapaxes(2, 3), Window((2, 2), (2, 1), ((1, 0), (0, 1)), (1, 2)), fill=-1)
    assert_bits(turned[0, 0], expected.transpose(1, 0, 3, 2).astype(float), "turned, the same")
