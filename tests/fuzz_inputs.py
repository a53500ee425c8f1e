"""Hostile files for the readers: valid ones of every kind, changed in the ways that files are damaged or forged."""

import gzip
import json
import math
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchnn import checkpoint
from scratchnn.data.idx import TYPES, write_idx
from scratchnn.layer import Array

EXTREMES = [0, 1, 2**7 - 1, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1]
DTYPES = ["F32", "F64", "F16", "BF16", "F8_E4M3", "C64", "I8", "U64", "BOOL", "F31", "", "f32"]
VALUES = [
    None, True, False, 0, 1, 4, -1, 1.5, 1e400, float("nan"), 10**30, *EXTREMES, "", "x", "\ud800", "\0", "Ω" * 9, [],
    {}, [[]], [1, 2], [2**62, 4], [0, 2**62], [-1], [0, 4], [4, 0], [1] * 70, {"a": "b"}, {"a": 1}, *DTYPES,
]  # fmt: skip
NAMES = ["", "x", "weight", "__metadata__", "dtype", "shape", "data_offsets", "scratchnn", "sha256", "\0", "\ud800"]
NESTED = [
    "[" * 3000,
    '{"x":' * 3000,
    "[" * 3000 + "]" * 3000,
    "9" * 5000,
    "1e999",
    "NaN",
    "\ufeff{}",
    "// no",
    '"\\ud800"',
]
CLAIM = (2**40).to_bytes(8, "little")  # a terabyte
Chance = random.Random
Tensors = dict[str, Array]


def flip(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def overwrite(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    data[chance.randrange(len(data))] = chance.randrange(256)
    return data


def announce(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    """An extreme number where lengths and sizes stand: near the beginning, and at the end of gzip."""
    width = chance.choice((1, 2, 4, 8))
    at = chance.choice((0, 2, 3, 4, 8, 12, 16, max(0, len(data) - width), chance.randrange(len(data))))
    number = chance.choice((*EXTREMES, len(data), len(data) - 8)) % 256**width
    data[at : at + width] = number.to_bytes(width, chance.choice(("little", "big")))
    return data


def cut(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    return data[: chance.randrange(len(data))]


def lengthen(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    return data + chance.choice((b"\0", CLAIM, chance.randbytes(chance.randrange(40)), chance.choice(pool)))


def remove(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 33)]
    return data


def repeat(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    at = chance.randrange(len(data))
    piece = data[at : at + chance.randrange(1, 65)]
    data[at:at] = piece * chance.choice((1, 1, 2, 20))
    return data


def splice(data: bytearray, chance: Chance, pool: list[bytes]) -> bytearray:
    other = chance.choice(pool)
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


CHANGES = [flip, flip, overwrite, announce, announce, cut, lengthen, remove, repeat, splice]


def changed(data: bytes, chance: Chance, pool: list[bytes]) -> bytes:
    """One to three changes."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if result:
            result = chance.choice(CHANGES)(result, chance, pool)
    return bytes(result)


def _idx_files() -> list[bytes]:
    shapes = [(3,), (2, 3, 4), (0, 5), (1,) * 32, (5, 28, 28)]
    arrays = [np.zeros(shape, dtype) for shape in shapes for dtype in ("u1", "i2", "f8")]
    return [write_idx(array) for array in arrays]


def idx(chance: Chance) -> Iterator[bytes]:
    """Raw IDX."""
    pool = _idx_files()
    while True:
        yield _forged_idx(chance) if chance.random() < 0.2 else changed(chance.choice(pool), chance, pool)


def _forged_idx(chance: Chance) -> bytes:
    """A header of any rank whose axes may be extreme, and as many bytes as it announces, where they are few."""
    rank = chance.choice((1, 2, 3, 4, 32, 33, 64, 65, 255))
    most = chance.choice((1, 1, 2, 3))
    axes = [chance.randrange(most + 1) or 1 for _ in range(min(rank, 8))] + [1] * (rank - 8)
    if chance.random() < 0.5:
        axes[chance.randrange(rank)] = chance.choice(EXTREMES) % 2**32
    code = chance.choice((0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E))
    size = math.prod(axes) * np.dtype(TYPES[code]).itemsize
    header = bytes((0, 0, code, rank)) + b"".join(axis.to_bytes(4, "big") for axis in axes)
    return header + bytes(size if size < 100_000 else 8)


def gzipped(chance: Chance) -> Iterator[bytes]:
    """IDX in gzip: the compressed bytes changed, or those inside."""
    inside = [data for data in _idx_files() if len(data) < 1000]
    pool = [gzip.compress(data, level, mtime=0) for data in inside for level in (0, 1, 9)]
    pool += [_packed(bytes(10**7)), _packed(b"\0\0\x08\x01\0\0\xff\xff" + bytes(2**17)), _packed(b"")]  # bombs
    pool.append(b"\x1f\x8b\x08\x1c" + bytes(6) + b"\4\0abcdname\0comment\0" + pool[1][10:])  # every optional field
    while True:
        if chance.random() < 0.2:
            yield _packed(changed(chance.choice(inside), chance, inside))
        else:
            yield changed(chance.choice(pool), chance, pool)


def _packed(data: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(data) + packer.flush()


def framed(header: str, data: bytes) -> bytes:
    """A safetensors file of any header text."""
    text = header.encode(errors="surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def _arrays() -> Tensors:
    rng = np.random.default_rng(0)
    names = {"weight": "f4", "bias": "f8", "mask": "?", "steps": "i8", "half": "f2", "empty": "u1"}
    shapes = {"weight": (2, 3), "bias": (3,), "mask": (5,), "steps": (), "half": (1, 2, 1), "empty": (0, 4)}
    return {name: rng.integers(0, 9, shapes[name]).astype(dtype) for name, dtype in names.items()}


def _header_and_data(tensors: Tensors) -> tuple[dict[str, Any], bytes]:
    codes = {"float32": "F32", "float64": "F64", "bool": "BOOL", "int64": "I64", "float16": "F16", "uint8": "U8"}
    header: dict[str, Any] = {}
    data = b""
    for name, array in sorted(tensors.items(), key=lambda pair: -pair[1].itemsize):
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": codes[str(array.dtype)], "shape": [*array.shape], "data_offsets": place}
        data += array.tobytes()
    return header, data


def forge(tree: Any, chance: Chance) -> Any:
    """A copy of a JSON tree with one thing changed somewhere."""
    if not isinstance(tree, dict | list) or not tree or chance.random() < 0.15:
        return chance.choice((*VALUES, [tree], [tree, tree], {"x": tree}))
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    key, copy = chance.choice(keys), tree.copy()
    way = chance.random()
    if way < 0.1:
        del copy[key]
    elif way < 0.2 and isinstance(copy, dict):
        copy[chance.choice(NAMES)] = chance.choice((*VALUES, copy[key]))
    else:
        copy[key] = forge(tree[key], chance)
    return copy


def forged_text(tree: Any, chance: Chance) -> str:
    """JSON with one or two things changed in it, and now and then damage to the text itself."""
    for _ in range(chance.choice((1, 1, 2))):
        tree = forge(tree, chance)
    text = json.dumps(tree, ensure_ascii=chance.random() < 0.8)
    way = chance.random()
    if way < 0.05:
        return chance.choice(NESTED)
    if way < 0.15:
        at = chance.randrange(len(text))
        return text[:at] + chance.choice((text[at:][: chance.randrange(30)], chance.choice(NESTED), ",")) + text[at:]
    return text


def safetensors(chance: Chance) -> Iterator[bytes]:
    """The bytes changed, or the JSON of the header."""
    header, data = _header_and_data(_arrays())
    described = {"__metadata__": {"format": "pt", "text": "Ω\n"}, **header}
    first = dict([next(iter(header.items()))])
    trees = [(header, data), (described, data), (first, data[:24]), ({}, b"")]
    pool = [framed(json.dumps(tree), content) for tree, content in trees]
    while True:
        if chance.random() < 0.5:
            tree, content = chance.choice(trees)
            yield framed(forged_text(tree, chance), content)
        else:
            yield changed(chance.choice(pool), chance, pool)


def checkpoints(chance: Chance) -> Iterator[bytes]:
    """The bytes changed, the header, or the state: signed again, so that the SHA-256 does not save the reader."""
    tensors = _arrays()
    header, data = _header_and_data(tensors)
    state = {"step": 3, "state": {"seconds": 0.5, "meter": {"loss": [1.5, 2]}, "text": "Ω"}}

    def signed(text: str) -> dict[str, Any]:
        sealed = text.encode(errors="replace").decode()
        return {"__metadata__": {"scratchnn": sealed, "sha256": checkpoint._digest(tensors, sealed)}, **header}

    valid = signed(json.dumps(state))
    pool = [framed(json.dumps(valid), data)]
    while True:
        way = chance.random()
        if way < 0.4:
            yield framed(json.dumps(signed(forged_text(state, chance))), data)
        elif way < 0.6:
            yield framed(forged_text(valid, chance), data)
        else:
            yield changed(pool[0], chance, pool)


INPUTS: dict[str, Callable[[Chance], Iterator[bytes]]] = {
    "idx": idx,
    "gzip": gzipped,
    "safetensors": safetensors,
    "checkpoint": checkpoints,
}
