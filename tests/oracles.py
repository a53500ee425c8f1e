"""The forward passes once more, as loops written from the formulas. Nothing here calls the library, or is fast."""

from math import erf, erfc, exp, expm1, log, sqrt, tanh
from typing import Any

import numpy as np

Array = np.ndarray
State = dict[str, Array]
PairOr = Any


def both(value: PairOr) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    y = np.zeros((*x.shape[:-1], len(weight)))
    for at in np.ndindex(*y.shape):
        y[at] = sum(x[(*at[:-1], i)] * weight[at[-1], i] for i in range(x.shape[-1]))
        y[at] += 0 if bias is None else bias[at[-1]]
    return y


def conv2d(
    x: Array, weight: Array, bias: Array | None, *, stride: PairOr, padding: PairOr, dilation: PairOr, groups: int
) -> Array:
    (s, t), (d, e), (out_channels, per_group, taps, taps_w) = both(stride), both(dilation), weight.shape
    (top, bottom), (left, right) = conv_padding(padding, (taps, taps_w), (d, e))
    h, w = x.shape[2:]
    oh = len(range(0, h + top + bottom - (taps - 1) * d, s))
    ow = len(range(0, w + left + right - (taps_w - 1) * e, t))
    y = np.zeros((len(x), out_channels, oh, ow))
    for n, o, i, j in np.ndindex(*y.shape):
        first = o // (out_channels // groups) * per_group  # the first input channel that this group sees
        for c, k, l in np.ndindex(per_group, taps, taps_w):
            u, v = i * s + k * d - top, j * t + l * e - left
            if 0 <= u < h and 0 <= v < w:
                y[n, o, i, j] += x[n, first + c, u, v] * weight[o, c, k, l]
        y[n, o, i, j] += 0 if bias is None else bias[o]
    return y


def conv_padding(padding: PairOr, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(before, after) of each axis."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return tuple((r // 2, r - r // 2) for r in reach)
    return tuple((p, p) for p in both(padding))


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None, *, stride: PairOr, padding: PairOr, output_padding: PairOr,
    dilation: PairOr, groups: int, output_size: tuple[int, int] | None = None,
) -> Array:  # fmt: skip
    (s, t), (p, q), (d, e), (a, b) = both(stride), both(padding), both(dilation), both(output_padding)
    (n_images, in_channels, h, w), (_, per_group, taps, taps_w) = x.shape, weight.shape
    size = ((h - 1) * s - 2 * p + d * (taps - 1) + 1 + a, (w - 1) * t - 2 * q + e * (taps_w - 1) + 1 + b)
    y = np.zeros((n_images, per_group * groups, *(size if output_size is None else output_size)))
    for n, c, i, j in np.ndindex(*x.shape):  # every input cell is stamped onto the output
        first = c // (in_channels // groups) * per_group
        for o, k, l in np.ndindex(per_group, taps, taps_w):
            u, v = i * s + k * d - p, j * t + l * e - q
            if 0 <= u < y.shape[2] and 0 <= v < y.shape[3]:
                y[n, first + o, u, v] += x[n, c, i, j] * weight[c, o, k, l]
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def pool_taps(
    size: tuple[int, int],
    *,
    kernel_size: PairOr,
    stride: PairOr,
    padding: PairOr,
    ceil_mode: bool,
    dilation: PairOr = 1,
) -> list[list[list[int]]]:
    """For each axis, for each window: the cells it covers that lie in the input."""
    kernel, gaps, pads = both(kernel_size), both(dilation), both(padding)
    steps = kernel if stride is None else both(stride)
    axes = []
    for length, k, s, p, d in zip(size, kernel, steps, pads, gaps, strict=True):
        starts, end = [-p], (k - 1) * d + 1  # a window [start, start + end) may pass the padded input in ceil_mode
        while starts[-1] + end < length + p:
            start = starts[-1] + s
            if start + end > length + p and not (ceil_mode and start < length):
                break
            starts.append(start)
        axes.append([[u for u in range(a, a + end, d) if 0 <= u < length] for a in starts])
    return axes


def max_pool2d(x: Array, **geometry: Any) -> tuple[Array, Array]:
    """(y, winners as u * W + v); the first of equals wins, and a NaN over all."""
    rows, columns = pool_taps(x.shape[2:], **geometry)
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    winners = np.zeros(y.shape, np.int64)
    for n, c, i, j in np.ndindex(*y.shape):
        cells = [(x[n, c, u, v], u * x.shape[3] + v) for u in rows[i] for v in columns[j]]
        best = cells[0]
        for cell in cells[1:]:
            if cell[0] > best[0] or (np.isnan(cell[0]) and not np.isnan(best[0])):
                best = cell
        y[n, c, i, j], winners[n, c, i, j] = best
    return y, winners


def avg_pool2d(x: Array, *, padding: PairOr, count_include_pad: bool, **geometry: Any) -> Array:
    rows, columns = pool_taps(x.shape[2:], padding=padding, **geometry)
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    counts = [[len(taps) for taps in axis] for axis in (rows, columns)]
    if count_include_pad:
        counts = [_padded_counts(axis, x.shape[axis + 2], len(counts[axis]), padding, **geometry) for axis in (0, 1)]
    for n, c, i, j in np.ndindex(*y.shape):
        y[n, c, i, j] = sum(x[n, c, u, v] for u in rows[i] for v in columns[j]) / (counts[0][i] * counts[1][j])
    return y


def _padded_counts(
    axis: int, length: int, windows: int, padding: PairOr, kernel_size: PairOr, stride: PairOr, ceil_mode: bool
) -> list[int]:
    k, p = both(kernel_size)[axis], both(padding)[axis]
    s = k if stride is None else both(stride)[axis]
    return [sum(-p <= i * s - p + tap < length + p for tap in range(k)) for i in range(windows)]


def elementwise(x: Array, f: Any) -> Array:
    y = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        y[at] = f(float(x[at]))
    return y


def relu(x: float) -> float:
    return x if x > 0 or x != x else 0.0


def leaky_relu(x: float, negative_slope: float) -> float:
    return x if x > 0 else negative_slope * x


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def softplus(x: float, beta: float) -> float:
    return log(1 + exp(beta * x)) / beta


def top_k(x: Array, k: int, axis: int) -> Array:
    """x where fewer than k others are larger, or equal and of a lower index; else 0."""
    y = np.zeros(x.shape)
    lines, kept = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
    for at in np.ndindex(*lines.shape):
        line, i = lines[at[:-1]], at[-1]
        before = sum(line[j] > line[i] or (line[j] == line[i] and j < i) for j in range(len(line)))
        kept[at] = line[i] if before < k else 0
    return y


def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """The cells of each sample in their order, dealt out into a new shape."""
    samples = x.shape[1:]
    sizes = list(shape)
    if -1 in sizes:
        sizes[sizes.index(-1)] = int(np.prod(samples)) // -int(np.prod(sizes))
    y = np.zeros((len(x), *sizes))
    for n in range(len(x)):
        for source, target in zip(np.ndindex(*samples), np.ndindex(*sizes), strict=True):
            y[(n, *target)] = x[(n, *source)]
    return y


def batch_norm(x: Array, state: State, train: bool, *, eps: float, momentum: float, affine: bool) -> Array:
    """Also writes the new running statistics into `state`."""
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        cells = [float(value) for value in x[:, c].reshape(-1)]
        mean, var = float(state["running_mean"][c]), float(state["running_var"][c])
        if train:
            batch = sum(cells) / len(cells)
            square = sum((value - batch) ** 2 for value in cells)
            state["running_mean"][c] = (1 - momentum) * mean + momentum * batch
            state["running_var"][c] = (1 - momentum) * var + momentum * square / (len(cells) - 1)
            mean, var = batch, square / len(cells)
        gamma, beta = (state["weight"][c], state["bias"][c]) if affine else (1.0, 0.0)
        y[:, c] = gamma * (x[:, c] - mean) / sqrt(var + eps) + beta
    if train:
        state["num_batches_tracked"] += 1
    return y


def gelu(x: float) -> float:
    return x * (1 + erf(x / sqrt(2))) / 2 if x > 0 else x * erfc(-x / sqrt(2)) / 2


def silu(x: float) -> float:
    return x * sigmoid(x)


def elu(x: float, alpha: float) -> float:
    return x if x > 0 else alpha * expm1(x)


ELEMENTWISE = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "gelu": gelu,
    "silu": silu,
    "elu": elu,
}
