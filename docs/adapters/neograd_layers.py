"""neograd's layers and losses, for `scratchnn audit docs/adapters/neograd_layers.py` (pip install neograd dill).

neograd is a small autograd on NumPy. Its graph is global and is used up by backward, so the wrapper's ctx is the point,
and backward runs forward once more in a graph of its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchnn.audit import Case
from scratchnn.errors import ScratchnnError

try:
    import neograd
    from neograd.autograd.ops import conv2d, conv3d, maxpool2d, maxpool3d
    from neograd.nn import activations, loss
    from neograd.nn.layers import Dropout
except ModuleNotFoundError as error:
    raise ScratchnnError(f"{error.name} is not installed; pip install neograd dill") from error

Array = np.ndarray[Any, np.dtype[np.float64]]


class Param:
    """A parameter as scratchnn has them: an array, and the gradient that backward adds to."""

    def __init__(self, data: Array) -> None:
        self.data, self.grad = data, np.zeros_like(data)


class Neograd:
    """A function of neograd's tensors: the input, then the parameters; a kernel is not broadcast to the input."""

    def __init__(self, function: Callable[..., Any], kernel: bool = False, **params: Array) -> None:
        self.function, self.kernel = function, kernel
        self.params = {name: Param(data) for name, data in params.items()}

    def named_params(self) -> Iterator[tuple[str, Param]]:
        return iter(self.params.items())

    def forward(self, x: Array) -> tuple[Array, Any]:
        point = [np.array(a) for a in (x, *(param.data for param in self.params.values()))]
        if any(a.dtype != np.float64 for a in point):
            raise TypeError("neograd takes real numbers alone")
        with neograd.new_graph():
            return self._run(point)[0].data.copy(), point

    def backward(self, dy: Array, ctx: list[Array]) -> Array:
        with neograd.new_graph():
            y, tensors = self._run(ctx)
            y.backward(np.array(dy))
        for param, tensor in zip(self.params.values(), tensors[1:], strict=True):
            param.grad = param.grad + tensor.grad
        return np.asarray(tensors[0].grad)

    def _run(self, point: list[Array]) -> tuple[Any, list[Any]]:
        np.random.seed(0)  # Dropout draws from NumPy's global generator
        tensors = [
            neograd.tensor(a.copy(), requires_grad=True, requires_broadcasting=not (self.kernel and i))
            for i, a in enumerate(point)
        ]
        return self.function(*tensors), tensors


def dense(x: Any, w: Any, b: Any) -> Any:
    return neograd.dot(x, w) + b


def dropout() -> Any:
    layer = Dropout(0.5)
    layer.set_eval(False)
    return layer


def dropped(x: Array) -> Array:
    np.random.seed(0)
    return np.where(np.random.random(x.shape) < 0.5, x / 0.5, 0)


def windows(x: Array, size: tuple[int, int], padding: int, stride: int) -> Array:
    """The windows of an image [..,H,W], as [..,OH,OW,K,L]."""
    edges = ((0, 0),) * (x.ndim - 2) + ((padding, padding),) * 2
    view = np.lib.stride_tricks.sliding_window_view(np.pad(x, edges), size, axis=(-2, -1))
    return view[..., ::stride, ::stride, :, :]


def convolved(x: Array, w: Array, b: Array) -> Array:
    return np.einsum("ncijkl,ockl->noij", windows(x, (3, 2), 0, 1), w) + b[:, None, None]


def cases() -> Iterator[Case]:
    """Layers, pools and losses at random inputs."""
    rng = np.random.default_rng(0)
    draw = rng.standard_normal
    rows, image, images = draw((3, 4)), draw((2, 5, 6)), draw((2, 3, 5, 6))
    w, b = draw((4, 2)), draw((1, 2))
    yield Case("Linear", Neograd(dense, w=w, b=b), rows, oracle=lambda x: x @ w + b)
    for name in ("ReLU", "Sigmoid", "Tanh", "LeakyReLU"):
        yield Case(name, Neograd(getattr(activations, name)()), rows)
    softmax = Neograd(activations.Softmax(axis=1))
    yield Case("Softmax", softmax, rows, oracle=lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True))
    yield Case("Dropout", Neograd(dropout()), rows, oracle=dropped)
    kernel, kernels, biases = draw((3, 2)), draw((2, 3, 3, 2)), draw(2)
    one = Neograd(lambda x, w, b: conv2d(x, w, b, 1, 2), kernel=True, w=kernel, b=np.array(0.5))
    yield Case("Conv2D", one, image, oracle=lambda x: (windows(x, (3, 2), 1, 2) * kernel).sum((-1, -2)) + 0.5)
    many = Neograd(lambda x, w, b: conv3d(x, w, b, 0, 1), kernel=True, w=kernels, b=biases)
    yield Case("Conv3D", many, images, oracle=lambda x: convolved(x, kernels, biases))
    yield from pools(image, images)
    target, classes = draw((3, 4)), np.eye(4)[[0, 2, 1]]
    chances = rng.dirichlet(np.ones(4), 3)
    yield Case("MSE", Neograd(lambda x: loss.MSE()(x, neograd.tensor(target))), rows, shrink=())
    yield Case("BCE", Neograd(lambda x: loss.BCE()(x, neograd.tensor(classes))), chances, shrink=())
    yield Case("CE", Neograd(lambda x: loss.CE()(x, neograd.tensor(classes))), chances, shrink=())


def pools(image: Array, images: Array) -> Iterator[Case]:
    """Max-pooling with windows that touch, overlap and leave gaps."""
    for stride in (2, 1, 3):
        for name, pool, x in (("MaxPool2D", maxpool2d, image), ("MaxPool3D", maxpool3d, images)):
            layer = Neograd(lambda x, pool=pool, stride=stride: pool(x, (2, 2), 0, stride))
            oracle = lambda x, stride=stride: windows(x, (2, 2), 0, stride).max((-1, -2))  # noqa: E731
            yield Case(f"{name}, stride {stride}", layer, x, oracle=oracle)
