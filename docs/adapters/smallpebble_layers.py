"""SmallPebble's layers and losses, for `scratchnn audit docs/adapters/smallpebble_layers.py` (pip install smallpebble).

SmallPebble is a small autograd on NumPy: every operation keeps its local gradients, and images are [N,H,W,C]. Its graph
is never used up, so the wrapper's ctx is the graph itself.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchnn.audit import Case
from scratchnn.errors import ScratchnnError

try:
    import smallpebble as sp
except ModuleNotFoundError as error:
    raise ScratchnnError(f"{error.name} is not installed; pip install smallpebble") from error

Array = np.ndarray[Any, np.dtype[np.float64]]


class Param:
    """A parameter as scratchnn has them: an array, and the gradient that backward adds to."""

    def __init__(self, data: Array) -> None:
        self.data, self.grad = data, np.zeros_like(data)


class SmallPebble:
    """A function of SmallPebble's variables: the input, then the parameters."""

    def __init__(self, function: Callable[..., Any], **params: Array) -> None:
        self.function = function
        self.params = {name: Param(data) for name, data in params.items()}

    def named_params(self) -> Iterator[tuple[str, Param]]:
        return iter(self.params.items())

    def forward(self, x: Array) -> tuple[Array, Any]:
        point = [np.array(a) for a in (x, *(param.data for param in self.params.values()))]
        if any(a.dtype != np.float64 for a in point):
            raise TypeError("SmallPebble is asked for real numbers alone")
        variables = [sp.Variable(a) for a in point]
        y = self.function(*variables)
        return np.array(y.array), (y, variables)

    def backward(self, dy: Array, ctx: Any) -> Array:
        y, variables = ctx
        found = sp.get_gradients(sp.sum(sp.mul(y, sp.Variable(np.array(dy)))))
        for param, variable in zip(self.params.values(), variables[1:], strict=True):
            param.grad = param.grad + found[variable]
        return np.asarray(found[variables[0]])


def windows(x: Array, size: tuple[int, int], stride: int) -> Array:
    """The windows of images [N,H,W,C], as [N,OH,OW,C,K,L]."""
    view = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return view[:, ::stride, ::stride]


def same(x: Array, size: tuple[int, int], stride: int, fill: float) -> Array:
    """x with TensorFlow's "SAME" padding: as many windows as strides fit, the odd cell at the end."""
    edges = []
    for length, kernel in zip(x.shape[1:3], size, strict=True):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        edges.append((total // 2, total - total // 2))
    return np.pad(x, ((0, 0), *edges, (0, 0)), constant_values=fill)


def convolved(x: Array, w: Array, padding: str, stride: int) -> Array:
    x = same(x, w.shape[:2], stride, 0.0) if padding == "SAME" else x
    return np.einsum("nijckl,klco->nijo", windows(x, w.shape[:2], stride), w)


def pooled(x: Array, size: tuple[int, int], padding: str, stride: int) -> Array:
    x = same(x, size, stride, -np.inf) if padding == "SAME" else x
    return windows(x, size, stride).max((-1, -2))


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def dense(x: Any, w: Any, b: Any) -> Any:
    return sp.add(sp.matmul(x, w), b)


def cases() -> Iterator[Case]:
    """Layers, pools and a loss at random inputs."""
    rng = np.random.default_rng(0)
    draw = rng.standard_normal
    rows, images = draw((3, 4)), draw((2, 5, 6, 3))
    w, b, kernel = draw((4, 2)), draw(2), draw((3, 2, 3, 2))
    yield Case("linear", SmallPebble(dense, w=w, b=b), rows, oracle=lambda x: x @ w + b)
    yield Case("leaky_relu", SmallPebble(sp.leaky_relu), rows, oracle=lambda x: np.where(x > 0, x, 0.02 * x))
    yield Case("exp", SmallPebble(sp.exp), rows, oracle=np.exp)
    yield Case("square", SmallPebble(sp.square), rows, oracle=np.square)
    for axis in (-1, 0):
        layer = SmallPebble(lambda x, axis=axis: sp.softmax(x, axis))
        yield Case(f"softmax, axis {axis}", layer, rows, oracle=lambda x, axis=axis: softmax(x, axis))
    spread = SmallPebble(sp.softmax)
    yield Case("softmax, rows far apart", spread, np.array([[0.0, 1], [900, 901]]), oracle=lambda x: softmax(x, -1))
    yield Case("maxax", SmallPebble(lambda x: sp.maxax(x, 1)), rows)
    for padding in ("VALID", "SAME"):
        for stride in (1, 2, 3):
            name = f"{padding}, stride {stride}"
            layer = SmallPebble(lambda x, w, p=padding, s=stride: sp.conv2d(x, w, p, (s, s)), w=kernel)
            yield Case(
                f"conv2d, {name}", layer, images, oracle=lambda x, p=padding, s=stride: convolved(x, kernel, p, s)
            )
            pool = SmallPebble(lambda x, p=padding, s=stride: sp.maxpool2d(x, 2, 3, p, (s, s)))
            oracle = lambda x, p=padding, s=stride: pooled(x, (2, 3), p, s)  # noqa: E731
            yield Case(f"maxpool2d, {name}", pool, images, oracle=oracle)
    chances, classes = rng.dirichlet(np.ones(4), 3), np.array([0, 2, 1])
    yield Case("cross_entropy", SmallPebble(lambda x: sp.cross_entropy(x, classes[: len(x.array)])), chances, shrink=())
