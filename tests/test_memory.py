"""Recycled memory: handed out again when nobody sees it any more, and not before; and the orders that arrays lie in."""

import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare import Array, assert_bits
from scratchnn_kernels import memory
from scratchnn_kernels.conv2d import order

LARGE = memory.SMALLEST  # bytes, and so many numbers of one byte
PAGE = 4096


def address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def test_memory_is_used_again_once_nobody_sees_it() -> None:
    x = memory.empty((LARGE,), np.int8)
    view, place = x[5:].reshape(-1)[::2], address(x)
    assert address(memory.empty((LARGE,), np.int8)) != place
    del x
    assert address(memory.empty((LARGE,), np.int8)) != place, "a view is left"
    del view
    kept = memory.empty((LARGE,), np.int8)
    others = [memory.empty((LARGE // 8,), np.float64) for _ in range(3)]
    assert place in {address(a) for a in (kept, *others)}
    assert len({address(a) for a in (kept, *others)}) == 4


def test_small_arrays_are_numpy_s_own() -> None:
    assert memory.empty((LARGE - 1,), np.int8).base is None
    assert memory.empty((LARGE // 8 - 1,), np.float64).base is None
    assert memory.empty((LARGE,), np.int8).base is not None
    assert memory.empty((2, LARGE // 16), np.float64).base is not None


def test_memory_is_given_back() -> None:
    memory.empty((LARGE,), np.int8)
    assert memory._free
    memory.clear()
    assert not memory._free


@given(st.integers(LARGE, 1 << 40))
def test_near_sizes_share_blocks(size: int) -> None:
    room = memory._room((size,), np.uint8)
    assert size <= room < size + size / 8 + 1 and room % PAGE == 0 and memory._room((room,), np.uint8) == room


def test_sizes_between_two_powers_of_two_are_eight() -> None:
    for power in (15, 20, 31):
        sizes = np.linspace(1 << power, (2 << power) - 1, 1000).astype(int)
        assert len({memory._room((int(size),), np.uint8) for size in sizes}) in (8, 9)


def test_blocks_begin_at_different_places_of_a_page_and_hold_their_arrays() -> None:
    memory.clear()
    arrays = [memory.empty((2 * LARGE,), np.int8) for _ in range(memory.COLOURS)]
    for i, x in enumerate(arrays):
        x[...] = i
    assert all((x == i).all() for i, x in enumerate(arrays))
    assert len({address(x) % PAGE for x in arrays}) == memory.COLOURS
    assert {address(x) % 64 for x in arrays} == {0}, "vectors lie on a line of the cache"


def test_large_blocks_have_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    told: list[tuple[int, int]] = []

    class Block(mmap.mmap):
        def __new__(cls, number: int, size: int, flags: int) -> Any:
            made.append((number, flags))
            return super().__new__(cls, number, size, flags=flags)

        def madvise(self, option: int) -> None:  # type: ignore[override]
            told.append((len(self), option))

    monkeypatch.setattr(mmap, "mmap", Block)
    for room in (PAGE, memory.HUGE_PAGE - PAGE, memory.HUGE_PAGE, 2 * memory.HUGE_PAGE):
        assert len(memory._fresh(room)) == room
    assert made == [(-1, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)] * 4
    if hasattr(mmap, "MADV_HUGEPAGE"):
        assert told == [(size * memory.HUGE_PAGE, mmap.MADV_HUGEPAGE) for size in (1, 2)]
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    memory._fresh(memory.HUGE_PAGE)
    assert len(told) in (0, 2), "without a name for it, nothing is asked"


X = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
LAST = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
LAID = {
    "in order": X,
    "channels last": LAST,
    "by columns": np.asfortranarray(X),
    "turned": np.ascontiguousarray(X.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2),
    "reversed": X[:, ::-1, :, ::-1],
    "last and reversed": LAST[::-1],
    "with gaps": np.repeat(X, 2, 3)[..., ::2],
    "three axes": np.asfortranarray(X[0]),
    "two axes": X[0, 0].T,
}


def without_sign(x: Array) -> list[int]:
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


@pytest.mark.parametrize("x", LAID.values(), ids=LAID)
def test_a_like_has_the_same_order_and_no_gaps(x: Array) -> None:
    y = memory.empty_like(x)
    assert y.shape == x.shape and y.dtype == x.dtype and without_sign(y) == without_sign(x)
    assert y.transpose(without_sign(y)).flags.c_contiguous
    assert memory.empty_like(x.astype(np.float32, order="K")).dtype == np.float32


@pytest.mark.parametrize("x", LAID.values(), ids=LAID)
def test_flat_vectors_keep_what_belongs_together(x: Array) -> None:
    first, second, third = memory.flat(x, 2 * x.copy("C"), x.copy("F") + 1)
    assert first.ndim == 1 and first.flags.c_contiguous
    assert_bits(second, 2 * first, "a copy in order")
    assert_bits(third, first + 1, "a copy by columns")
    y = memory.empty_like(x)
    (vector,) = memory.flat(y)
    assert np.shares_memory(vector, y) or not y.size
    vector[...] = first
    assert_bits(y, x, "what was written to the vector")


def test_channels_last_is_told_from_other_orders() -> None:
    assert [name for name, x in LAID.items() if memory.channels_last(x)] == ["channels last"]
    assert not memory.channels_last(LAST[:, :1]) and not memory.channels_last(X[:, :1])
    assert memory.channels_last(memory.empty_channels_last((2, 3, 4, 5), np.float32))
    assert memory.empty_channels_last((2, 3, 4, 5), np.float32).shape == (2, 3, 4, 5)


def test_convolutions_read_both_orders() -> None:
    """One channel, or one pixel, lies in both orders at once."""
    numbers, source = order.read(LAST)
    assert source == (3, 4, 5, True) and np.shares_memory(numbers, LAST)
    assert_bits(numbers, X.transpose(0, 2, 3, 1).reshape(-1), "channels last")
    assert_bits(order.flat(LAST), numbers, "flat")
    numbers, source = order.read(X)
    assert source == (3, 4, 5, False) and np.shares_memory(numbers, X)
    assert_bits(numbers, X.reshape(-1), "in order")
    numbers, source = order.read(LAID["by columns"])
    assert source == (3, 4, 5, False)
    assert_bits(numbers, X.reshape(-1), "a copy in order")
    assert [name for name, x in LAID.items() if x.ndim == 4 and order.is_channels_last(x)] == ["channels last"]
    for x in (X[:, :1].copy(), X[:, :, :1, :1].copy()):
        assert order.is_channels_last(x) and order.read(x)[1].last
    assert not order.is_channels_last(X[:, :, :1].copy())


class Turning:
    """The loops of `transpose` in plain Python, and what was asked of them."""

    BLOCK = 3

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def channels_to_end(
        self, parts: int, x: Array, channels: int, pixels: int, y: Array, blocks: int, number: Any
    ) -> None:  # fmt: skip
        assert type(number) is x.dtype.type and number == 0
        self.asked.append((blocks, parts))
        y[:] = x.reshape(-1, channels, pixels).transpose(0, 2, 1).reshape(-1)


def test_an_image_is_turned_by_blocks_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from sharing import shared

    loops = Turning()
    monkeypatch.setattr(order, "jitted", {"transpose": loops}.__getitem__)
    for parts in (1, 3):
        with shared(parts):
            for x in (X, X[:1], X[:1, :, :1, :4].copy(), X[:1, :, :1, :2].copy()):
                turned = order.as_channels_last(x)
                assert memory.channels_last(turned)
                assert_bits(turned, x, "turned")
    assert loops.asked == [(14, 1), (7, 1), (2, 1), (1, 1), (14, 3), (7, 3), (2, 2), (1, 1)]
    assert order.as_channels_last(LAST) is LAST
    for name in ("by columns", "reversed", "with gaps"):
        turned = order.as_channels_last(LAID[name])
        assert memory.channels_last(turned)
        assert_bits(turned, X if name != "reversed" else LAID[name], name)
    assert order.as_channels_last(np.zeros((0, 3, 4, 5))).shape == (0, 3, 4, 5)
    assert len(loops.asked) == 8
