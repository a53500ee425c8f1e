"""The jitted loops of the channel sums, one for each memory order; images are shared among the threads."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.check import Array
from scratchnn_kernels.dot_tile import total
from scratchnn_kernels.parted import bounds, in_parts
from scratchnn_kernels.tile import at, tile
from scratchnn_kernels.vector_code import I64, Code

CHAINS = 4  # sums that run side by side: an addition takes four cycles, and two can begin in each


@in_parts
def sum_planes(x: Array, images: int, plane: int, channels: int, sums: Array, part: int, parts: int) -> None:
    """sums[part, c] += the numbers of each plane of channel c in the part's images; x lies N C H W."""
    begin, end = bounds(part, parts, images)
    for image in range(begin, end):
        for c in range(channels):
            sums[part * channels + c] += sum_run(at(x, (image * channels + c) * plane), plane, x.dtype.type(0))


@in_parts
def sum_pixels(
    x: Array, images: int, channels: int, one: Array, nowhere: Array, steps: Array, block: int, sums: Array,
    part: int, parts: int,
) -> None:  # fmt: skip
    """The same where x lies N H W C: a product with a row of ones, so that the vectors run along the channels."""
    pixels = steps.size
    begin, end = bounds(part, parts, images)
    for image in range(begin, end):
        for c in range(0, channels, block):
            out = at(sums, part * channels + c)
            tile(
                1, min(block, channels - c), at(one, 0), 0, at(nowhere, 0), at(x, image * pixels * channels + c),
                at(steps, 0), pixels, out, 0, out, 0, one[1],
            )  # fmt: skip


@intrinsic
def sum_run(typing: Any, source: Any, count: Any, kind: Any) -> Any:
    """The sum of `count` numbers from an address on; `kind` has their type."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code, b = Code(builder, kind), builder
        zero = ir.Constant(code.vector, [0.0] * code.lanes)
        before, loop, after = b.block, b.append_basic_block("sum"), b.append_basic_block("sum.done")
        b.branch(loop)
        b.position_at_end(loop)
        i = b.phi(I64)
        i.add_incoming(I64(0), before)
        held = [b.phi(code.vector) for _ in range(CHAINS)]
        new = []
        for chain, phi in enumerate(held):
            phi.add_incoming(zero, before)
            place = b.add(i, I64(chain * code.lanes))
            values = code.load_vector(code.address(args[0], place), code.mask(b.sub(args[1], place)))
            new.append(b.fadd(phi, values))
        following = b.add(i, I64(CHAINS * code.lanes))
        i.add_incoming(following, loop)
        for phi, value in zip(held, new, strict=True):
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following, args[1]), loop, after)
        b.position_at_end(after)
        return total(code, b.fadd(b.fadd(new[0], new[1]), b.fadd(new[2], new[3])))

    return kind(types.intp, types.intp, kind), codegen
