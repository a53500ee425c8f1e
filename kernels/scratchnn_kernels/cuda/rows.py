"""Which group of threads does a row of numbers on a GPU, see row.cuh."""

from scratchnn_kernels.cuda.source import Source

HELD = {8: 64, 32: 256, 128: 1024, 256: 4096}  # threads of a group: numbers that they hold in registers
LONGEST = HELD[256]
THREADS = 256  # of a block


def names(*kernels: str) -> tuple[str, ...]:
    """The C++ expressions of kernels over rows, for all groups."""
    return tuple(f"{kernel}<{{T}}, {width}>" for kernel in kernels for width in HELD)


def launch(source: Source, kernel: str, rows: int, length: int, *args: object) -> None:
    """By the smallest group that holds a row; the largest does longer ones too. Rows and length go last."""
    width = next((width for width, held in HELD.items() if length <= held), 256)
    groups = THREADS // width if width <= 32 else 1  # only threads of a warp can be a part of a block
    source.launch(f"{kernel}<{{T}}, {width}>", (-(-rows // groups),), (width, groups), *args, rows, length)
