"""Which group of threads does a row of numbers on a GPU, see row.cuh."""

from collections.abc import Mapping

from scratchnn_kernels.cuda.source import Source

Groups = Mapping[int, int]
TOGETHER: Groups = {8: 64, 32: 256, 128: 1024, 256: 4096}  # threads of a group: numbers that they hold in registers
PAIRS: Groups = {8: 64, 32: 256, 128: 1024, 512: 4096}  # of two arrays
APART: Groups = {1: 16, 2: 32, 4: 64}  # the same where the numbers of a row do not lie together
LONGEST = max(TOGETHER.values())
THREADS = 256  # of a block


def names(*kernels: str, groups: Groups = TOGETHER) -> tuple[str, ...]:
    """The C++ expressions of kernels over rows, for all groups."""
    return tuple(f"{kernel}<{{T}}, {width}>" for kernel in kernels for width in groups)


def blocks(rows: int, length: int, most: int | None = None, groups: Groups = TOGETHER) -> int:
    """Of how many blocks each group has a row, or several if `most` is less."""
    count = -(-rows // _beside(_width(length, groups)))
    return count if most is None else min(count, most)


def launch(
    source: Source, kernel: str, rows: int, length: int, *args: object, most: int | None = None,
    groups: Groups = TOGETHER,
) -> None:  # fmt: skip
    """By the smallest group that holds a row; the largest does longer ones too. Rows and length go last."""
    width = _width(length, groups)
    grid, block = (blocks(rows, length, most, groups),), (width, _beside(width))
    source.launch(f"{kernel}<{{T}}, {width}>", grid, block, *args, rows, length)


def _width(length: int, groups: Groups) -> int:
    return next((width for width, held in groups.items() if length <= held), max(groups))


def _beside(width: int) -> int:
    """The groups of a block: only threads of a warp can be a part of one."""
    return THREADS // width if width <= 32 else 1
