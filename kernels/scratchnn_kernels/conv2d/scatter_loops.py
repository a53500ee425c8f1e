"""The jitted loops of the scattered input gradient: one product for all taps, then each share goes to its cell."""

from typing import Any, NamedTuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, add_runs, at, copy_run, tile


class Shares(NamedTuple):
    """The sizes of dy and of the padded dx, and the geometry of the window."""

    image: int  # strides of dy
    row: int
    col: int
    out_rows: int
    out_cols: int
    taps: int  # of the window's height
    width: int  # taps of its width
    channels: int  # of dx
    stride_row: int
    stride_col: int
    dilation_row: int
    dilation_col: int
    top: int
    left: int
    height: int  # of dx, and with its borders
    breadth: int
    padded_height: int
    padded_breadth: int
    block: int


@in_parts
def scatter(
    dy: Array, channels: Array, weights: Array, lines: Array, cut: Any, zeros: Array, floor: Array, first: Array,
    dx: Array, images: int, scratch: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """dx [N,H,W,C] = the sum of all shares; `channels` are offsets into dy, weights [O, taps * width * channels]."""
    shares, size = cut.taps * cut.width * cut.channels, cut.padded_breadth * cut.channels
    own, lines_size = share(scratch, part, parts), cut.out_cols * shares
    line, padded = own[:lines_size], own[lines_size:]
    begin, end = bounds(part, parts, images)
    for image in range(begin, end):
        for u in range(cut.padded_height):  # what a row holds before anything is added: the bias
            copy_run(at(first, 0), size, at(padded, u * size), floor[0])
        for i in range(cut.out_rows):
            source = at(dy, image * cut.image + i * cut.row)
            product(source, channels, weights, lines, cut, zeros, floor, line)
            add_shares(line, cut, i, padded)
        crop(padded, cut, dx, image)


@linked
def product(
    source: int, channels: Array, weights: Array, lines: Array, cut: Any, zeros: Array, floor: Array, line: Array
) -> None:
    """line [pixels, shares] = a row of dy times the weights."""
    shares = cut.taps * cut.width * cut.channels
    tiles = -(-cut.out_cols // ROWS)
    for s in range(0, shares, cut.block):
        for t in range(tiles):
            j, end = t * cut.out_cols // tiles, (t + 1) * cut.out_cols // tiles
            tile(
                end - j, min(cut.block, shares - s), source + j * cut.col * line.itemsize, cut.col, at(channels, 0),
                at(weights, s), at(lines, 0), channels.size, at(zeros, 0), 0, at(line, j * shares + s), shares,
                floor[0],
            )  # fmt: skip


@linked
def add_shares(line: Array, cut: Any, i: int, padded: Array) -> None:
    """Add the shares of dy's row i to the padded dx; the taps of a row lie side by side where dilation allows."""
    shares = cut.width * cut.channels
    run = shares if cut.dilation_col == 1 else cut.channels
    size = cut.padded_breadth * cut.channels
    for j in range(cut.out_cols):
        cell = i * cut.stride_row * size + j * cut.stride_col * cut.channels
        for r in range(shares // run):
            add_runs(
                at(line, j * cut.taps * shares + r * run), shares, run,
                at(padded, cell + r * cut.dilation_col * cut.channels), cut.dilation_row * size, cut.taps, line[0],
            )  # fmt: skip


@linked
def crop(padded: Array, cut: Any, dx: Array, image: int) -> None:
    """dx = the padded one without its borders."""
    size = cut.breadth * cut.channels
    for u in range(cut.height):
        start = ((u + cut.top) * cut.padded_breadth + cut.left) * cut.channels
        to = (image * cut.height + u) * size
        copy_run(at(padded, start), size, at(dx, to), padded[0])
