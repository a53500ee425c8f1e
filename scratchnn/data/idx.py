"""IDX, the format of MNIST: two zero bytes, a type code, the rank, one big-endian uint32 per axis, then the numbers.

The reader trusts nothing: sizes are compared in Python integers before anything is allocated, and a compressed file is
never expanded beyond what the caller allows. Whatever the damage, one `DataError` names file, offset and expectation.
"""

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchnn.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {np.dtype(text).newbyteorder("="): code for code, text in TYPES.items()}
MAX_RANK = 32  # what every NumPy can hold
GZIP = b"\x1f\x8b"
BLOCK = 1 << 16


def read_idx(data: bytes, name: str, max_bytes: int = 1 << 30) -> NDArray[Any]:
    """The array in raw or gzipped IDX `data`, writable, in native byte order; `name` is what errors call the file."""
    if data[:2] == GZIP:
        data = gunzip(data, name, max_bytes)
    dtype, shape = _header(data, name)
    start = 4 + 4 * len(shape)
    expected = start + math.prod(shape) * dtype.itemsize
    # an axis of 0 makes every size legal on paper, but NumPy still multiplies the others
    if start + math.prod(d or 1 for d in shape) * dtype.itemsize > max_bytes:
        raise DataError(f"{name}: byte 4: expected an array of at most {max_bytes} bytes, got the shape {shape}")
    if len(data) != expected:
        place = min(len(data), expected)
        damage = "truncated" if len(data) < expected else "trailing bytes"
        raise DataError(
            f"{name}: byte {place}: {damage}: expected {expected} bytes for {dtype} {shape}, got {len(data)}"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def write_idx(array: NDArray[Any]) -> bytes:
    """`array` as raw IDX; the format has uint8, int8, int16, int32, float32 and float64, and at least one axis."""
    code = CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        raise DataError(f"IDX cannot hold {array.dtype}; expected one of {', '.join(str(dtype) for dtype in CODES)}")
    if not 1 <= array.ndim <= MAX_RANK or max(array.shape) > 0xFFFFFFFF:
        raise DataError(f"IDX cannot hold the shape {array.shape}; expected 1 to {MAX_RANK} axes below 2^32")
    header = bytes((0, 0, code, array.ndim)) + b"".join(d.to_bytes(4, "big") for d in array.shape)
    return header + array.astype(TYPES[code]).tobytes()


def gunzip(data: bytes, name: str, max_bytes: int) -> bytes:
    """The content of the single gzip stream `data`, checksum checked; stops as soon as it exceeds `max_bytes`."""
    inflater = zlib.decompressobj(wbits=31)  # 31: a gzip header and trailer around the deflate stream
    pieces: list[bytes] = []
    size = 0
    for start in range(0, len(data), BLOCK):  # in blocks, so that errors can say where
        block = data[start : start + BLOCK]
        try:
            pieces.append(inflater.decompress(block, max_bytes - size + 1))
        except zlib.error as error:
            raise DataError(f"{name}: byte {start} or soon after: expected an intact gzip stream: {error}") from error
        size += len(pieces[-1])
        if size > max_bytes:
            raise DataError(f"{name}: byte {start}: expected at most {max_bytes} bytes, but the file expands to more")
        if inflater.eof:
            end = start + len(block) - len(inflater.unused_data)
            if end < len(data):
                raise DataError(f"{name}: byte {end}: trailing bytes: expected the end, got {len(data) - end} more")
            return b"".join(pieces)
    raise DataError(f"{name}: byte {len(data)}: truncated: expected more of the gzip stream")


def _header(data: bytes, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape out of the first bytes of an IDX file."""
    if len(data) < 4:
        raise DataError(f"{name}: byte {len(data)}: truncated: expected the 4 bytes of an IDX magic number")
    if data[:2] != b"\0\0":
        raise DataError(f"{name}: byte 0: expected an IDX magic number 00 00, got {data[:2].hex(' ')}")
    if data[2] not in TYPES:
        known = ", ".join(f"{code:02x}" for code in TYPES)
        raise DataError(f"{name}: byte 2: expected an IDX type code of {known}, got {data[2]:02x}")
    rank = data[3]
    if not 1 <= rank <= MAX_RANK:
        raise DataError(f"{name}: byte 3: expected a rank of 1 to {MAX_RANK}, got {rank}")
    if len(data) < 4 + 4 * rank:
        raise DataError(f"{name}: byte {len(data)}: truncated: expected {rank} axis sizes of 4 bytes each")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, 4 + 4 * rank, 4))
    return np.dtype(TYPES[data[2]]), shape
