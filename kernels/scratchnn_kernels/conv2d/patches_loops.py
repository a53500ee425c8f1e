"""The jitted loops of the weights' gradient by patches; see planes_loops.py for frames and pieces."""

from typing import Any

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.direct_loops import frame_of
from scratchnn_kernels.conv2d.planes_loops import cut_of, read_planes
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, TILE_BYTES, at, tile
from scratchnn_kernels.transpose import collect


@in_parts
def harvest_patches(
    x: Array, dy: Array, sizes: Array, columns: Array, pixels: Array, starts: Array, floor: Array, images: int,
    group_pieces: int, piece_rows: int, scratch: Array, sums: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """sums[part] [O,C/G,K,L] += the weights' gradient from the part's pieces; `columns` are the places of [C/G,K,L].

    pixels and starts: of the pixels of a piece, in dy and in their patches.
    """
    frame, cut = frame_of(sizes), cut_of(sizes)
    own, scratched = share(sums, part, parts), share(scratch, part, parts)
    patches, buffer = scratched[: pixels.size * columns.size], scratched[pixels.size * columns.size :]
    first, last = bounds(part, parts, images * cut.groups * group_pieces)
    for piece in range(first, last):
        which, top = piece // group_pieces, piece % group_pieces * piece_rows
        image, g = which // cut.groups, which % cut.groups
        source, row = read_planes(x, frame, cut, image, g, top, piece_rows, buffer, piece == first)
        lines = min(piece_rows, cut.height - top)
        for i in range(lines):
            collect(
                columns.size, cut.width, source + i * row * dy.itemsize, at(columns, 0),
                at(patches, i * cut.width * columns.size), columns.size, floor[0],
            )  # fmt: skip
        plane = ((image * cut.groups + g) * cut.group_out * cut.height + top) * cut.width
        steps, weights = lines * cut.width, g * cut.group_out * columns.size
        add_products(dy, plane, cut, patches, columns.size, pixels, starts, steps, floor[0], own, weights)


@linked
def add_products(
    dy: Array, plane: int, cut: Any, patches: Array, size: int, pixels: Array, starts: Array, steps: int,
    floor: float, sums: Array, weights: int,
) -> None:  # fmt: skip
    """Add [O/G,pixels] x [pixels,size] to the group's sums."""
    tiles, width, apart = -(-cut.group_out // ROWS), TILE_BYTES // dy.itemsize, cut.height * cut.width
    for t in range(tiles):
        m, end = t * cut.group_out // tiles, (t + 1) * cut.group_out // tiles
        for q in range(0, size, width):
            out = at(sums, weights + m * size + q)
            tile(
                end - m, min(width, size - q), at(dy, plane + m * apart), apart, at(pixels, 0), at(patches, q),
                at(starts, 0), steps, out, size, out, size, floor,
            )  # fmt: skip
