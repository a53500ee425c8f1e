"""Resizing images: a linear map along each axis, and its adjoint.

    resize2d             y[n,c,i,j]  = sum_uv A[i,u] x[n,c,u,v] B[j,v]
    resize2d_input_grad  dx[n,c,u,v] = sum_ij A[i,u] dy[n,c,i,j] B[j,v]

Output cell i of O looks at position p of I input cells:
    nearest                    p = floor(i I/O)
    bilinear                   p = (i + 1/2) I/O - 1/2, at least 0      (pixels are areas)
    bilinear, align_corners    p = i (I-1)/(O-1)                        (pixels are points)
Bilinear blends the cells beside p: row i of A has at most two weights, and they sum to 1.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels import window_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, register
from scratchnn_kernels.memory import channels_last
from scratchnn_kernels.window_cpu import call

MODES = ("nearest", "bilinear")


def resize2d(
    x: Array, size: tuple[int, int], *, mode: str = "nearest", align_corners: bool = False, impl: str | None = None
) -> Array:
    """x [N,C,H,W] -> y [N,C,*size]."""
    check.floating("x", x, "NCHW")
    _check_mode(mode, align_corners, size)
    y: Array = choose("resize2d", impl, x)(x, tuple(size), mode, align_corners)
    return y


def resize2d_input_grad(
    dy: Array, input_size: tuple[int, int], *, mode: str = "nearest", align_corners: bool = False,
    impl: str | None = None,
) -> Array:  # fmt: skip
    """The adjoint of resize2d: dy [N,C,OH,OW] -> dx [N,C,*input_size]."""
    check.floating("dy", dy, "NCHW")
    _check_mode(mode, align_corners, input_size)
    dx: Array = choose("resize2d_input_grad", impl, dy)(dy, tuple(input_size), mode, align_corners)
    return dx


def _check_mode(mode: str, align_corners: bool, size: tuple[int, int]) -> None:
    if mode not in MODES or (align_corners and mode != "bilinear"):
        raise KernelError(
            f"mode={mode!r}, align_corners={align_corners}; one of {MODES}, the latter with bilinear only"
        )
    if len(size) != 2 or min(size) < 1:
        raise KernelError(f"size={size}; (height, width), both at least 1, is expected")


# --- reference: the matrices A and B, written out ---


def _resize2d_reference(x: Array, size: tuple[int, int], mode: str, align_corners: bool) -> Array:
    rows, columns = (_matrix(x, i, o, mode, align_corners) for i, o in zip(x.shape[2:], size, strict=True))
    y: Array = rows @ x @ columns.T
    return y


def _input_grad_reference(dy: Array, input_size: tuple[int, int], mode: str, align_corners: bool) -> Array:
    rows, columns = (_matrix(dy, i, o, mode, align_corners) for i, o in zip(input_size, dy.shape[2:], strict=True))
    dx: Array = rows.T @ dy @ columns
    return dx


def _matrix(like: Array, inputs: int, outputs: int, mode: str, align_corners: bool) -> Array:
    """The weights [outputs,inputs] of one axis, in the real precision and on the device of `like`."""
    matrix: Array = array_module(like).asarray(_written_out(like.real.dtype, inputs, outputs, mode, align_corners))
    return matrix


@lru_cache(1024)
def _written_out(dtype: Any, inputs: int, outputs: int, mode: str, align_corners: bool) -> Array:
    left, right, blend = _places(inputs, outputs, mode, align_corners)
    weights, i = np.zeros((outputs, inputs)), np.arange(outputs)
    np.add.at(weights, (i, left), 1 - blend)
    np.add.at(weights, (i, right), blend)
    return weights.astype(dtype)


@lru_cache(1024)
def _places(inputs: int, outputs: int, mode: str, align_corners: bool) -> tuple[Array, Array, Array]:
    """The two cells that each output blends, and how much of the second it takes."""
    i = np.arange(outputs)
    if mode == "nearest":
        left, right = i * inputs // outputs, i * inputs // outputs
        return left, right, np.zeros(outputs)
    place = i * ((inputs - 1) / max(outputs - 1, 1)) if align_corners else (i + 0.5) * (inputs / outputs) - 0.5
    place = np.maximum(place, 0)
    left = np.minimum(place.astype(int), inputs - 1)
    return left, np.minimum(left + 1, inputs - 1), place - left


# --- CPU ---


def _resize2d_cpu(x: Array, size: tuple[int, int], mode: str, align_corners: bool) -> Array:
    if not channels_last(x):
        return _resize2d_reference(x, size, mode, align_corners)  # short rows: products of matrices are faster
    axes = zip(x.shape[2:], size, strict=True)
    rows, columns = [_weights(x, *_places(i, o, mode, align_corners)) for i, o in axes]
    return call("resize", x, size, *rows, *columns)


def _input_grad_cpu(dy: Array, input_size: tuple[int, int], mode: str, align_corners: bool) -> Array:
    if not channels_last(dy):
        return _input_grad_reference(dy, input_size, mode, align_corners)
    axes = zip(input_size, dy.shape[2:], strict=True)
    rows, columns = [_weights(dy, *_places(i, o, mode, align_corners)) for i, o in axes]
    return call("resize_gradient", dy, input_size, *rows, *columns)


def _weights(like: Array, left: Array, right: Array, blend: Array) -> tuple[Array, Array, Array]:
    return left, right, blend.astype(like.dtype)


register("resize2d", reference=_resize2d_reference, cpu=_resize2d_cpu, cuda=cuda.resize2d)
register("resize2d_input_grad", reference=_input_grad_reference, cpu=_input_grad_cpu, cuda=cuda.resize2d_input_grad)
