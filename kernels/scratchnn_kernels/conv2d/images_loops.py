"""The jitted loops of the convolution whose vectors run along the images; see images.py. All arrays are flat."""

from typing import Any, NamedTuple

from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, at, fill_run, tile
from scratchnn_kernels.transpose import transpose


class Block(NamedTuple):
    """Images that are worked on together, numbers of an image that is read and of one that is written, and groups."""

    images: int
    read: int
    written: int
    plane: int
    groups: int
    group_out: int
    from_group: int  # from a group's pixels to the next one's in a turned block


BLOCK = len(Block._fields)


@njit(error_model="numpy", cache=True, nogil=True)
def block_of(sizes: Array) -> Any:
    """As an array, because a tuple costs a microsecond a call."""
    return Block(*to_fixed_tuple(sizes, BLOCK))


@in_parts
def gather_images(
    x: Array, sizes: Array, places: Array, weight_steps: Array, source_steps: Array, weights: Array, bias: Array,
    floor: float, y: Array, images: int, scratch: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """y = the sweep of x; the tables are those of images.Plan, `floor` the least result."""
    block, own = block_of(sizes), share(scratch, part, parts)
    one, two = block.read * block.images, (block.read + block.written) * block.images
    turned, results, spread = own[:one], own[one:two], own[two:]
    for o in range(bias.size):
        fill_run(block.images, at(spread, o * block.images), bias[o])
    first, last = bounds(part, parts, -(-images // block.images))
    for n in range(first * block.images, last * block.images, block.images):
        width = min(block.images, images - n)
        transpose(width, block.read, x, n * block.read, block.read, turned, 0, block.images, x.dtype.type(0))
        for q in range(len(places)):
            place_images(places[q], turned, weight_steps, source_steps, weights, spread, floor, results, block, width)
        transpose(block.written, width, results, 0, block.images, y, n * block.written, block.written, x.dtype.type(0))


@linked
def place_images(
    place: Array, turned: Array, weight_steps: Array, source_steps: Array, weights: Array, spread: Array, floor: float,
    results: Array, block: Any, width: int,
) -> None:  # fmt: skip
    """One pixel of all channels and images of a block."""
    to, origin, start, steps, begin, group = place
    tiles = -(-block.group_out // ROWS)
    for g in range(block.groups):
        for t in range(tiles):
            m, last = t * block.group_out // tiles, (t + 1) * block.group_out // tiles
            o = g * block.group_out + m
            out, out_row = at(results, (o * block.plane + to) * block.images), block.plane * block.images
            if steps == 0:  # only padding, or a stride beyond the kernel
                for r in range(last - m):
                    value = max(spread[(o + r) * block.images], floor)
                    fill_run(width, out + r * out_row * results.itemsize, value)
                continue
            tile(
                last - m, width, at(weights, begin + g * group + m), 1, at(weight_steps, start),
                at(turned, origin + g * block.from_group), at(source_steps, start), steps,
                at(spread, o * block.images), block.images, out, out_row, floor,
            )  # fmt: skip
