"""The micro-kernels' inner loops in machine code: full vectors, fused multiply-adds, no vector on the stack."""

import re
from typing import Any

import numba
import pytest
from numba import types

from scratchnn_kernels import depthwise_channels, depthwise_planes, dot_tile, tile, vector_code

REGISTER = {64: "zmm", 32: "ymm"}.get(vector_code.VECTOR_BYTES)
pytestmark = pytest.mark.skipif(REGISTER is None, reason="this CPU has no fused multiply-add on vectors")

KERNELS = {
    "tile": (tile.tile, 12),
    "dot_tile": (dot_tile.dot_tile, 12),
    "slide": (depthwise_planes.slide, 7),
    "sheet": (depthwise_planes.sheet, 10),
    "rake": (depthwise_planes.rake, 10),
    "glide": (depthwise_channels.glide, 11),
    "reap": (depthwise_channels.reap, 9),
}


def assembly(kernel: Any, integers: int, number: Any) -> str:
    """Of the kernel compiled for this precision; anew, because Numba shows no code of what is called by address."""
    fresh = numba.njit(error_model="numpy", nogil=True)(kernel.py_func)
    arguments = [types.intp] * integers + [number]
    if kernel is depthwise_planes.slide:
        arguments = [*arguments, types.intp, number]
    if kernel is depthwise_planes.sheet:
        arguments = [*arguments, types.intp, types.intp, number]
    fresh.compile(tuple(arguments))
    return str(fresh.inspect_asm(fresh.signatures[0]))


def inner_loops(code: str) -> list[str]:
    """What lies between a label and the jump back to it, if it multiplies and there is no label in between."""
    blocks = [block for block in re.split(r"\n(?=\.L\w+:)", code) if block.startswith(".L")]
    ends = [re.search(rf"\tj\w+\t{re.escape(block.split(':', 1)[0])}\n", block) for block in blocks]
    loops = [block[: end.start()] for block, end in zip(blocks, ends, strict=True) if end]
    return [loop for loop in loops if "vfmadd" in loop]


@pytest.mark.parametrize("number", [types.float32, types.float64], ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_inner_loops_multiply_full_vectors_and_spill_nothing(name: str, number: Any) -> None:
    kernel, integers = KERNELS[name]
    loops = inner_loops(assembly(kernel, integers, number))
    suffix = "ps" if number == types.float32 else "pd"
    assert loops
    for loop in loops:
        products = re.findall(r"\tvfmadd\w+(ps|pd|ss|sd)\t(.*)", loop)
        assert all(kind == suffix and str(REGISTER) in operands for kind, operands in products), loop
        assert not re.search(r"[xyz]mm\d+.*\(%rsp\b|\(%rsp\b.*[xyz]mm\d+", loop), loop


def test_the_largest_tile_keeps_its_sums_in_registers_and_the_stack_out() -> None:
    """Of 14 rows and 2 vectors with AVX-512, else of 6 and 2: its loop adds to each sum once."""
    loops = inner_loops(assembly(tile.tile, 12, types.float32))
    largest = [loop for loop in loops if loop.count("vfmadd") == tile.ROWS * tile.VECTORS]
    assert any("(%rsp" not in loop for loop in largest)
