"""Naive loops for the norms within a sample, softmax and PReLU."""

from math import exp, sqrt

import numpy as np

from oracles import Array, State


def normalized(cells: Array, eps: float, *, centred: bool = True) -> Array:
    """Values to mean 0 (if centred) and mean square 1, one by one."""
    values = [float(v) for v in cells.reshape(-1)]
    mean = sum(values) / len(values) if centred else 0.0
    square = sum((v - mean) ** 2 for v in values) / len(values)
    return np.array([(v - mean) / sqrt(square + eps) for v in values]).reshape(cells.shape)


def layer_norm(x: Array, state: State, axes: int, eps: float) -> Array:
    y = np.zeros(x.shape)
    for at in np.ndindex(*x.shape[: x.ndim - axes]):
        y[at] = normalized(x[at], eps) * state.get("weight", 1.0) + state.get("bias", 0.0)
    return y


def group_norm(x: Array, state: State, groups: int, eps: float) -> Array:
    y, size = np.zeros(x.shape), x.shape[1] // groups
    for n in range(len(x)):
        for c in range(0, x.shape[1], size):
            y[n, c : c + size] = normalized(x[n, c : c + size], eps)
    return per_channel(y, state)


def instance_norm(x: Array, state: State, eps: float) -> Array:
    return group_norm(x, state, x.shape[1], eps)


def pixel_norm(x: Array, eps: float) -> Array:
    y = np.zeros(x.shape)
    for n, *pixel in np.ndindex(len(x), *x.shape[2:]):
        at = (n, slice(None), *pixel)
        y[at] = normalized(x[at], eps, centred=False)
    return y


def per_channel(y: Array, state: State) -> Array:
    for c in range(y.shape[1]):
        y[:, c] = y[:, c] * (state["weight"][c] if "weight" in state else 1) + (
            state["bias"][c] if "bias" in state else 0
        )
    return y


def softmax(x: Array, dim: int) -> Array:
    y, lines = np.zeros(x.shape), np.moveaxis(x, dim, -1)
    out = np.moveaxis(y, dim, -1)
    for at in np.ndindex(*lines.shape[:-1]):
        shares = [exp(float(v) - float(max(lines[at]))) for v in lines[at]]
        out[at] = [share / sum(shares) for share in shares]
    return y


def prelu(x: Array, state: State) -> Array:
    y = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        slope = state["weight"][at[1] if len(state["weight"]) > 1 else 0]
        y[at] = x[at] if x[at] > 0 else slope * x[at]
    return y
