"""Room: what gradients do not show: the perfect derivative of a wrong forward, and errors of the last digits."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from exhibits.convolution import Conv
from exhibits.exhibit import Plain, exhibit
from exhibits.normalisation import BatchNorm

ROOM = "Invisible to gradients"
SIGNALS, ROWS = (3, 2, 4), (3, 4)


class PlainConv(Conv):
    """As Conv, without padding, and with the products laid out [N,P,O] before they are turned."""

    padding = 0

    def forward(self, x):
        windows = sliding_window_view(x, self.weight.data.shape[2], axis=2)
        y = np.einsum("ncpk,ock->npo", windows, self.weight.data)
        return self.turned(y), (windows, x.shape)

    def backward(self, dy, ctx):
        n, o, p = dy.shape
        return super().backward(self.turned_back(dy, (n, p, o)).swapaxes(1, 2), ctx)

    def turned(self, y):
        return y.swapaxes(1, 2)

    def turned_back(self, dy, shape):
        return dy.swapaxes(1, 2)


class Scaled(Plain):
    """y = x / sqrt(6), in x's own precision."""

    def forward(self, x):
        return x * float(1 / np.sqrt(6)), None

    def backward(self, dy, ctx):
        return dy * float(1 / np.sqrt(6))


class Swish(Plain):
    """y = x sigmoid(x)."""

    def forward(self, x):
        return x / (1 + np.exp(-x)), x

    def backward(self, dy, x):
        s = 1 / (1 + np.exp(-x))
        return dy * s * (1 + x * (1 - s))


@exhibit(ROOM, "The scrambled convolution", "forward oracle", SIGNALS,
    "`reshape` instead of a transpose: same shape, other order. backward undoes it consistently, so "
    "every gradient check passes, at any precision. Only somebody who knows y can tell.", shown="y",
    seen="neograd's convolution passes its gradient check while its forward is scrambled.")  # fmt: skip
class ConvScrambled(PlainConv):
    def turned(self, y):
        n, p, o = y.shape
        return y.reshape(n, o, p)

    def turned_back(self, dy, shape):
        return dy.reshape(shape)


@exhibit(ROOM, "Batch norm, per pixel", "forward oracle", SIGNALS,
    "Statistics over the batch axis alone are right for [N,C]; with pixels they make every pixel a channel of its "
    "own. forward and backward agree with one another, and both are wrong.", train=True, shown="y",
    seen="Batch norm per pixel on 4-D input was found in the audit.")  # fmt: skip
class BatchNormPerPixel(BatchNorm):
    axes = (0,)


@exhibit(ROOM, "The float64 that leaks", "float32 stays float32", ROWS,
    "Since NumPy 2 (NEP 50) a float32 array times the *NumPy* scalar 1/np.sqrt(6) is float64, while times a Python "
    "float it stays float32. All numbers are right, only wider; from here on the network runs in float64.",
    shown="dtype of y")  # fmt: skip
class LeaksFloat64(Scaled):
    def forward(self, x):
        return x * (1 / np.sqrt(6)), None


@exhibit(ROOM, "A detour through float32", "gradient", ROWS,
    "One cast in the middle of backward: eight good digits, and a double-precision result by its dtype. "
    "Central differences are too coarse to see it; the complex step is not.")  # fmt: skip
class DetourThroughFloat32(Swish):
    def backward(self, dy, x):
        s = 1 / (1 + np.exp(-x))
        narrow = np.complex64 if s.dtype.kind == "c" else np.float32
        return dy * s.astype(narrow) * (1 + x * (1 - s))
