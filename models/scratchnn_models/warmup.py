"""Compile every kernel ahead of time, and tell when one is compiled.

Numba compiles a kernel when it is first called and keeps the code on disk. So a warm-up calls all of them: each
version of each op, on arrays too small to share and on arrays that several threads share, in both memory orders.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import scratchnn_kernels as kernels
from scratchnn import losses
from scratchnn.layer import Array
from scratchnn_kernels.dispatch import numba_installed
from scratchnn_models.catalog import MODELS, module
from scratchnn_models.progress import Progress

# Not compiled, or (the last two) not for every window: the rule's own calls below have theirs.
LEFT_OUT = ("reference", "cuda", "cuda_tf32", "im2col", "fft", "pointwise", "depthwise")


class Call(NamedTuple):
    """One call of a public kernel; without `impl` among the options, of each of its compiled versions."""

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any]


@contextmanager
def compiling(began: Callable[[], object] = lambda: None) -> Iterator[list[str]]:
    """A list that names each kernel compiled meanwhile (not those found on disk); `began` is called at the first."""
    names: list[str] = []
    if not numba_installed():
        yield names
        return
    from numba.core import event

    class Note(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            function = event.data["dispatcher"].py_func
            if function.__module__.startswith("scratchnn_kernels."):  # not what Numba compiles for itself
                if not names:
                    began()
                names.append(f"{function.__module__.removeprefix('scratchnn_kernels.')}.{function.__name__}")

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Note()):
        yield names


def warm(dtype: str) -> dict[str, Any]:
    """Run every compiled kernel once; returns how many had to be compiled, and the seconds."""
    began, before = time.monotonic(), kernels.get_threads()
    todo = [call for large in (False, True) for last in (False, True) for call in calls(dtype, large, last)]
    kernels.set_threads(max(2, before))  # with one thread, nobody would call the threaded versions
    try:
        with compiling() as names, Progress("warmup", len(todo)) as progress:
            for done, call in enumerate(todo):
                _run(call)
                progress.update(done + 1, {"compiled": len(names)})
            if dtype == "float32":
                for model in MODELS:
                    step(model)
    finally:
        kernels.set_threads(before)
    return {"dtype": dtype, "kernels": len(names), "seconds": round(time.monotonic() - began, 1)}


def calls(dtype: str, large: bool, channels_last: bool) -> Iterator[Call]:
    """A call or more for every op that has a compiled version."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> Array:
        x = rng.uniform(0.1, 1, shape).astype(dtype)
        if channels_last and x.ndim == 4:
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return x

    yield from _convolutions(numbers, 40 if large else 4, 24 if large else 6)
    yield from _pixels(numbers, 20 if large else 3, 40 if large else 6)
    yield from _norms(numbers, 20 if large else 3, 40 if large else 6)
    if not channels_last:
        yield from _rows(numbers, 300 if large else 2, 200)
    shape = (4, 40, 24, 24) if large else (1, 2, 4, 4)
    for op in ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "silu", "elu", "gelu"):
        yield Call(op, (numbers(*shape),), {})
        yield Call(f"{op}_grad", (numbers(*shape), numbers(*shape)), {})
    yield Call("erf", (numbers(*shape),), {})


def _convolutions(numbers: Callable[..., Array], channels: int, side: int) -> Iterator[Call]:
    """A 3x3 window, which every algorithm takes; then the one that the rule chooses for others."""
    x, weight, same = numbers(2, channels, side, side), numbers(channels, channels, 3, 3), {"padding": 1}
    yield Call("conv2d", (x, weight), same)
    yield Call("conv2d", (x, weight, numbers(channels)), same)
    yield Call("conv2d_input_grad", (x, weight, (side, side)), same)
    yield Call("conv2d_weight_grad", (x, x, (3, 3)), same)
    many = numbers(16, 6, 8, 8), numbers(6, 6, 3, 3)
    yield Call("conv2d", many, {"padding": 1})  # along the images
    yield Call("conv2d_input_grad", (*many, (8, 8)), {"padding": 1})
    for c, o, kernel, stride, groups in (
        (channels, channels, 3, 1, channels),
        (channels, channels, 1, 1, 1),
        (channels, channels, 4, 2, 1),
        (channels, channels, 4, 2, 2),
        (3, channels, 4, 2, 1),
        (channels, 3, 5, 1, 1),
    ):
        out = (side - kernel) // stride + 1
        image, dy, window = numbers(2, c, side, side), numbers(2, o, out, out), numbers(o, c // groups, kernel, kernel)
        options = {"stride": stride, "groups": groups, "impl": "cpu"}
        yield Call("conv2d", (image, window, numbers(o)), options)
        yield Call("conv2d_input_grad", (dy, window, (side, side)), options)
        yield Call("conv2d_weight_grad", (dy, image, (kernel, kernel)), options)


def _pixels(numbers: Callable[..., Array], channels: int, side: int) -> Iterator[Call]:
    """Pooling, padding, resizing, and the sum over pixels."""
    x, half = numbers(2, channels, side, side), numbers(2, channels, side // 2, side // 2)
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1)):
        options: dict[str, Any] = {"stride": stride, "padding": padding}
        y, places = kernels.max_pool2d(x, kernel, **options, impl="reference")
        yield Call("max_pool2d", (x, kernel), options)
        yield Call("max_pool2d_gather", (x, places), {})
        yield Call("max_pool2d_scatter", (y, places, (side, side)), {})
        yield Call("avg_pool2d", (x, kernel), options)
        yield Call("avg_pool2d_input_grad", (half, (side, side), kernel), options)
    for mode in ("zeros", "reflect"):
        padded = numbers(2, channels, side + 2, side + 2)
        yield Call("pad2d", (x, (1, 1, 1, 1)), {"mode": mode})
        yield Call("pad2d_input_grad", (padded, (side, side), (1, 1, 1, 1)), {"mode": mode})
    for mode in ("nearest", "bilinear"):
        yield Call("resize2d", (half, (side, side)), {"mode": mode})
        yield Call("resize2d_input_grad", (x, (side // 2, side // 2)), {"mode": mode})
    yield Call("channel_sum", (x,), {})


def _norms(numbers: Callable[..., Array], channels: int, side: int) -> Iterator[Call]:
    """Batch norm, layer norm and instance norm, with and without weights."""
    for shape, axes in (
        ((4, channels, side, side), (0, 2, 3)),
        ((4, channels, side, side), (1, 2, 3)),
        ((4, channels, side, side), (2, 3)),
        ((8 * side, 8 * channels), (0,)),
        ((8 * side, 8 * channels), (1,)),
    ):
        x = numbers(*shape)
        weight = numbers(*[1 if axis != 1 else n for axis, n in enumerate(shape)])
        _, mean, inv_std, _ = kernels.normalize(x, axes, 1e-5, impl="reference")
        for affine in ((), (weight, weight)):
            yield Call("normalize", (x, axes, 1e-5, *affine), {})
        yield Call("normalize_grad", (x, x, inv_std, axes), {})
        yield Call("normalize_affine_grad", (x, x, mean, inv_std, weight, axes), {})


def _rows(numbers: Callable[..., Array], rows: int, length: int) -> Iterator[Call]:
    """Softmax, losses, top-k, the products and the optimizers' updates."""
    x, target = numbers(rows, length), np.arange(rows) % length
    lines = numbers(4, length, rows)
    for given, axis in ((x, -1), (lines, 1)):
        yield Call("softmax", (given,), {"axis": axis})
        yield Call("softmax_grad", (given, given), {"axis": axis})
    yield Call("softmax_cross_entropy", (x, target), {})
    for op in ("squared_error", "absolute_error", "binary_cross_entropy"):
        yield Call(op, (x, abs(x) % 1), {})
    yield Call("topk", (x, 5), {})
    yield Call("k_sparse", (x, 5), {})
    weight = numbers(length, length)
    yield Call("linear", (x, weight), {})
    yield Call("linear_input_grad", (x, weight), {})
    yield Call("linear_weight_grad", (x, x), {})
    yield Call("sgd_update", tuple(numbers(rows * length) for _ in range(3)), {"lr": 0.1})
    yield Call("adam_update", tuple(numbers(rows * length) for _ in range(4)), {"lr": 0.1, "step": 1})


def _run(call: Call) -> None:
    kernel = getattr(kernels, call.op)
    if "impl" in call.options:
        kernel(*call.args, **call.options)
        return
    for impl in kernels.TABLE[call.op]:
        if impl not in LEFT_OUT:
            kernel(*call.args, **call.options, impl=impl)


def step(model: str) -> None:
    """What a layer calls besides the ops: a step of a batch and one of a few images."""
    for batch in (64, 2):  # batch norm needs two
        net, x = module(model).example(batch)
        y, ctx = net.forward(x, train=True, rng=np.random.default_rng(0))
        if next(net.params(), None) is None:
            continue  # PCA: nothing is learned step by step
        _, dy = losses.cross_entropy(y, np.zeros(batch, np.int64)) if y.ndim == 2 else (0, np.ones_like(y))
        net.backward(dy, ctx)
        net.backward_params(dy, ctx)
