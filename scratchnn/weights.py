"""Weights in and out of safetensors files, which PyTorch and others read and write too.

A damaged or foreign file raises one FileError that names the file and what is wrong; a file is replaced whole or not
at all.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn.errors import FileError, LayerError
from scratchnn.files import read_bytes, write_atomic
from scratchnn.layer import Array, Layer

DTYPES = {"F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"}  # BF16 has no NumPy dtype
HEADER_LIMIT = 100_000_000  # bytes; the format's own bound


def save_weights(layer: Layer, path: Path | str) -> None:
    """Write the layer's parameters and buffers under their PyTorch names."""
    write_tensors(Path(path), layer.state_dict())


def load_weights(layer: Layer, path: Path | str, strict: bool = True) -> None:
    """Read parameters and buffers; the layer stays as it was unless everything fits."""
    tensors, _ = read_tensors(Path(path))
    try:
        layer.load_state_dict(tensors, strict)
    except LayerError as error:
        raise FileError(f"{path}: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays and string metadata as one safetensors file, atomically."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    whole = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    try:
        content = save(whole, dict(metadata) if metadata else None)
    except SafetensorError as error:
        raise FileError(f"{path} cannot be written as safetensors, nothing there was changed: {error}") from error
    write_atomic(path, content)


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays (copies, writable) and the metadata of a safetensors file."""
    return parse_tensors(read_bytes(path), str(path))


def parse_tensors(content: bytes, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Like read_tensors, from bytes; `name` stands in the errors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(content, name)
    metadata = header.pop("__metadata__", None) or {}
    for tensor, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else entry
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise FileError(
                f"{name}: tensor {tensor!r} has dtype {dtype!r}; one of {', '.join(sorted(DTYPES))} is expected"
            )
    try:
        tensors = {key: np.array(array) for key, array in load(content).items()}
    except (SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise FileError(f"{name} is damaged or no safetensors file: {error}") from error
    return tensors, metadata


def _header(content: bytes, name: str) -> dict[str, Any]:
    size, most = int.from_bytes(content[:8], "little"), min(max(0, len(content) - 8), HEADER_LIMIT)
    if len(content) < 8 or size > most:
        raise FileError(
            f"{name} is damaged or no safetensors file: at offset 0, a header of {size} bytes is announced, "
            f"where at most {most} are possible"
        )

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # the reader of the safetensors package would take the last one in silence
            raise FileError(f"{name}: the header at offset 8 names a key twice")
        return found

    try:
        header = json.loads(content[8 : 8 + size], object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name}: the header at offset 8 is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise FileError(f"{name}: the header at offset 8 is no JSON object")
    return header
