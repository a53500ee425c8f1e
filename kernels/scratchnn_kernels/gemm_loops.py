"""The jitted loops of the matrix product: a block of b is packed, then all rows of a go over it in register tiles."""

from numba import njit, prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.tile import ROWS, at, copy_run, tile


@njit(error_model="numpy", cache=True, nogil=True)
def pack(b: Array, start: int, row: int, col: int, rows: int, cols: int, block: int, packed: Array) -> None:
    """packed [rows, block] = b[start + k * row + j * col] for k < rows, j < cols."""
    if col == 1:
        for k in range(rows):
            copy_run(at(b, start + k * row), cols, at(packed, k * block), b[0])
    else:
        for j in range(cols):
            line = b[start + j * col : start + j * col + (rows - 1) * row + 1]
            for k in range(rows):
                packed[k * block + j] = line[k * row]


@njit(error_model="numpy", cache=True, nogil=True, parallel=True)
def gemm(
    a: Array, a_row: int, a_steps: Array, b: Array, b_row: int, b_col: int, init: Array, floors: Array, out: Array,
    cols: int, depth: int, block: int, lines: Array, scratch: Array, parts: int, rows_in_parts: bool,
) -> None:  # fmt: skip
    """out [rows, cols] = init [cols] + a b; the parts are of the rows, or of the blocks of columns."""
    rows, inner, room = out.size // cols, a_steps.size, scratch.size // parts
    blocks = -(-cols // block)
    for part in prange(parts):
        packed = scratch[part * room : (part + 1) * room]
        lo, hi = (0, blocks) if rows_in_parts else (part * blocks // parts, (part + 1) * blocks // parts)
        top, end = (part * rows // parts, (part + 1) * rows // parts) if rows_in_parts else (0, rows)
        tiles = -(-(end - top) // ROWS)
        for j in range(lo * block, min(hi * block, cols), block):
            width = min(block, cols - j)
            for k in range(0, inner, depth):
                steps, last = min(depth, inner - k), k + depth >= inner
                pack(b, k * b_row + j * b_col, b_row, b_col, steps, width, block, packed)
                for t in range(tiles):
                    m, stop = top + t * (end - top) // tiles, top + (t + 1) * (end - top) // tiles
                    to = at(out, m * cols + j)
                    tile(
                        stop - m, width, at(a, m * a_row), a_row, at(a_steps, k), at(packed, 0), at(lines, 0), steps,
                        to if k else at(init, j), cols if k else 0, to, cols, floors[1 if last else 0],
                    )  # fmt: skip
