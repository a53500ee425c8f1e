"""Which implementation serves a shape, and what the machine's limits allow."""

from collections.abc import Iterator
from math import prod

import numpy as np

from scratchnn_bench.geometry import Shape
from scratchnn_bench.peak import Peak
from scratchnn_kernels import TABLE, Array, conv2d_choices
from scratchnn_kernels.dispatch import choose

# The kernel behind each pass of a layer, and its place among conv2d_choices.
KERNELS = {
    "conv": {"forward": "conv2d", "dX": "conv2d_input_grad", "dW": "conv2d_weight_grad"},
    "convT": {"forward": "conv2d_input_grad", "dX": "conv2d", "dW": "conv2d_weight_grad"},
    "linear": {"forward": "linear", "dX": "linear_input_grad", "dW": "linear_weight_grad"},
}


def explain(shape: Shape, peak: Peak) -> Iterator[str]:
    """Lines about each pass: the kernel, who serves it, arithmetic, bytes, and the least time they take."""
    x, weight = np.empty(shape.x_shape, np.float32), next(shape.layer().params()).data
    nbytes = 4 * (prod(shape.x_shape) + prod(shape.y_shape) + weight.size)
    by_flops, by_bytes = shape.flops / peak.gflops * 1e-3, nbytes / peak.gbytes * 1e-3  # microseconds
    yield f"{shape.kind} {shape}: x {_shown(shape.x_shape)} -> y {_shown(shape.y_shape)}, float32"
    yield f"machine: {peak.gflops:.0f} GFLOP/s ({peak.gflops_by}), copies {peak.gbytes:.0f} GB/s"
    yield f"each pass: {shape.flops / 1e6:.1f} MFLOP, {nbytes / 1e6:.2f} MB if each array is touched once"
    limit = "arithmetic" if by_flops > by_bytes else "memory"
    yield (
        f"floor: {max(by_flops, by_bytes):.0f} us, set by {limit} "
        f"(arithmetic {by_flops:.0f} us, memory {by_bytes:.0f} us); fewer multiplications than the plain algorithm's "
        "(Winograd, FFT) can go below the arithmetic"
    )
    for name, op in KERNELS[shape.kind].items():
        served = served_by(op, x, weight) if shape.kind == "linear" else algorithm_of(op, shape)
        yield f"{name:8} {op:20} {served}"


def algorithm_of(op: str, shape: Shape) -> str:
    """The algorithm that the convolution's rule chooses, why, and the others that `impl=` can name."""
    image, channels = (shape.x_shape, shape.outs) if shape.kind == "conv" else (shape.y_shape, shape.ins)
    n, c, h, w = image
    choices = conv2d_choices((n, c, h, w), channels, shape.kernel, **shape.options)
    choice = choices[list(KERNELS["conv"].values()).index(op)]
    others = ", ".join(other for other in TABLE[op] if other != choice.algorithm)
    return f"served by {choice.algorithm!r}: {choice.why}; impl= also takes {others}"


def served_by(op: str, *arrays: Array) -> str:
    """The implementation that the dispatch table chooses, and the others that `impl=` can name."""
    chosen = choose(op, None, *arrays)
    name = next(name for name, kernel in TABLE[op].items() if kernel is chosen)
    others = ", ".join(other for other in TABLE[op] if other != name)
    return f"served by {name!r} ({kernel_name(chosen)}); impl= also takes {others}"


def kernel_name(kernel: object) -> str:
    """Where a kernel is written."""
    return f"{getattr(kernel, '__module__', '?')}.{getattr(kernel, '__qualname__', '?')}"


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
