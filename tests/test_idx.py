"""The IDX reader: what the writer wrote, or one DataError, and never more memory than allowed."""

import gzip
import struct
import tracemalloc
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scratchnn.data import idx
from scratchnn.data.idx import gunzip, read_idx, write_idx
from scratchnn.errors import DataError

DTYPES = st.sampled_from([np.dtype(name) for name in ("u1", "i1", "i2", "i4", "f4", "f8")])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, min_side=0)))


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # the same bytes on every run: they name the tests


SMALL = write_idx(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
LIMIT = 1 << 16


@given(ARRAYS, st.booleans(), st.booleans())
def test_reading_gives_back_what_was_written(array: NDArray[Any], compressed: bool, transposed: bool) -> None:
    array = array.T if transposed else array
    data = write_idx(array)
    back = read_idx(zipped(data) if compressed else data, "file")
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype and back.flags.writeable and back.dtype.isnative


def test_the_header_is_the_published_one() -> None:
    data = write_idx(np.array([[1, -2, 258]], np.int32))
    assert data == bytes.fromhex("00000c02 00000001 00000003 00000001 fffffffe 00000102")
    np.testing.assert_array_equal(read_idx(data, "file"), [[1, -2, 258]])


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", "byte 0: truncated: expected the 4 bytes of an IDX magic"),
        (b"\0\0\x08", "byte 3: truncated: expected the 4 bytes of an IDX magic"),
        (b"\x89PNG", "byte 0: expected an IDX magic number 00 00, got 89 50"),
        (b"\0\0\x07\x01", "byte 2: expected an IDX type code of 08, 09, 0b, 0c, 0d, 0e, got 07"),
        (b"\0\0\x08\0", "byte 3: expected a rank of 1 to 32, got 0"),
        (b"\0\0\x08\xff", "byte 3: expected a rank of 1 to 32, got 255"),
        (b"\0\0\x08\x02\0\0\0\x01\0", "byte 9: truncated: expected 2 axis sizes"),
        (SMALL[:-1], r"byte 63: truncated: expected 64 bytes for >i2 \(2, 3, 4\), got 63"),
        (SMALL + b"xy", "byte 64: trailing bytes: expected 64 bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "byte 4: expected an array of at most"),
        (b"\0\0\x0e\x03" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "byte 4: expected an array of at most"),
        (b"\0\0\x08\x04" + struct.pack(">4I", 2**16, 2**16, 2**16, 2**16), "byte 4: expected an array of at most"),
        (zipped(SMALL)[:-1], "truncated: expected more of the gzip stream"),
        (zipped(SMALL)[:5], "byte 5: truncated: expected more of the gzip stream"),
        (zipped(SMALL) + b"xy", "trailing bytes: expected the end, got 2 more"),
        (b"\x1f\x8b" + SMALL, "byte 0 or soon after: expected an intact gzip stream"),
        (zipped(SMALL)[:-8] + b"\0" * 8, "expected an intact gzip stream: .*incorrect data check"),
        (zipped(SMALL)[:-4] + b"\0" * 4, "expected an intact gzip stream: .*incorrect length check"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:40],
)
def test_damage_names_file_offset_and_expectation(data: bytes, expected: str) -> None:
    with pytest.raises(DataError, match=f"^some file: .*{expected}"):
        read_idx(data, "some file", LIMIT)


def damage(data: bytes, cut: int, place: int, value: int) -> bytes:
    changed = bytearray(data)
    changed[place % len(data)] = value
    return bytes(changed[: cut % (len(data) + 1)] if cut >= 0 else changed)


@given(
    st.binary(max_size=64)
    | st.binary(max_size=64).map(lambda tail: b"\0\0\x08" + tail)
    | st.binary(max_size=64).map(lambda tail: b"\x1f\x8b\x08\0" + tail)
    | st.builds(
        damage,
        st.sampled_from([SMALL, zipped(SMALL)]),
        st.integers(-60, 99),
        st.integers(0, 99),
        st.integers(0, 255),
    )
)
@example(b"\0\0\x0e\x20" + b"\xff" * 128)
@example(b"\0\0\x08\x20" + b"\0\0\0\x01" * 32 + b"\x07")
def test_any_bytes_give_an_array_or_a_data_error(data: bytes) -> None:
    try:
        array = read_idx(data, "fuzz", LIMIT)
    except DataError as error:
        assert str(error).startswith("fuzz: byte ")
    else:
        assert array.nbytes <= LIMIT


@pytest.mark.parametrize(
    "data",
    [zipped(bytes(50_000_000)), b"\0\0\x0e\x02" + b"\xff" * 8, zipped(b"\0\0\x0e\x02" + b"\x7f" * 8)],
)
def test_memory_is_bounded(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_idx(data, "bomb", LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()


def test_a_stream_of_exactly_the_limit_is_read() -> None:
    content = np.random.default_rng(0).bytes(3 * idx.BLOCK)
    packed = zipped(content)
    assert gunzip(packed, "file", len(content)) == content
    with pytest.raises(DataError, match=f"expected at most {len(content) - 1} bytes, but the file expands to more"):
        gunzip(packed, "file", len(content) - 1)


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.int64), np.zeros(3, complex), np.array(["a"]), np.zeros((), np.uint8)]
)
def test_what_the_format_cannot_hold_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="IDX cannot hold"):
        write_idx(array)
