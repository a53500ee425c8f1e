"""Room: convolution, along one axis."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from exhibits.exhibit import Param, Plain, exhibit

ROOM = "Convolution"
SIGNALS = (2, 2, 5)


class Conv(Plain):
    """y [N,O,P] = windows of x [N,C,L] times weight [O,C,K], as many outputs as inputs."""

    stride, padding = 1, 1

    def __init__(self, weight):
        self.weight = Param(weight)

    @classmethod
    def at(cls, shape, fill):
        return cls(fill(shape[1], shape[1], 2))

    def forward(self, x):
        padded = np.pad(x, ((0, 0), (0, 0), (self.padding, self.padding)))
        windows = sliding_window_view(padded, self.weight.data.shape[2], axis=2)[:, :, :: self.stride]  # [N,C,P,K]
        return np.einsum("ncpk,ock->nop", windows, self.weight.data), (windows, x.shape)

    def backward(self, dy, ctx):
        windows, shape = ctx
        self.weight.grad += np.einsum("nop,ncpk->ock", dy, windows)
        dwindows = self.windows_grad(dy, self.weight.data)
        return self.cropped(self.folded(dwindows, shape), shape)

    def windows_grad(self, dy, weight):
        return np.einsum("nop,ock->ncpk", dy, weight)

    def folded(self, dwindows, shape):
        n, c, length = shape
        dx = np.zeros((n, c, length + 2 * self.padding), dwindows.dtype)
        for k in range(dwindows.shape[3]):
            end = k + self.stride * dwindows.shape[2]
            dx[:, :, k : end : self.stride] += dwindows[..., k]
        return dx

    def cropped(self, dx, shape):
        return dx[:, :, self.padding : self.padding + shape[2]]


class StridedConv(Conv):
    stride, padding = 2, 0


@exhibit(ROOM, "The kernel turned once too often", "gradient", SIGNALS,
    "Textbooks turn the kernel around in backward, because their forward is a correlation. In code that scatters "
    "windows the turn is already done, and a second one is right only for symmetric kernels.")  # fmt: skip
class ConvFlipped(Conv):
    def windows_grad(self, dy, weight):
        return np.einsum("nop,ock->ncpk", dy, weight[:, :, ::-1])


@exhibit(ROOM, "In-channels for out-channels", "gradient", SIGNALS,
    "The weight's two channel axes are swapped in backward. Unequal channel counts would crash; tests with one "
    "channel, or blocks that keep the channel count, run and learn something else.")  # fmt: skip
class ConvChannelsSwapped(Conv):
    def windows_grad(self, dy, weight):
        return np.einsum("nop,cok->ncpk", dy, weight)


@exhibit(ROOM, "Off by one in the padding", "gradient", SIGNALS,
    "The padding is cropped at the wrong place, so each pixel gets its neighbour's gradient. Neighbours in an image "
    "are alike: training works, a little worse.")  # fmt: skip
class ConvPaddingOffByOne(Conv):
    def cropped(self, dx, shape):
        return dx[:, :, self.padding - 1 : self.padding - 1 + shape[2]]


@exhibit(ROOM, "The stride that backward did not hear of", "gradient", SIGNALS,
    "The windows' gradients are laid side by side as if the stride were 1. All shapes fit, and with "
    "stride 1 all values too.", usual={"stride": 1})  # fmt: skip
class ConvStrideIgnored(StridedConv):
    def folded(self, dwindows, shape):
        n, c, length = shape
        dx = np.zeros((n, c, length + 2 * self.padding), dwindows.dtype)
        for k in range(dwindows.shape[3]):
            end = k + dwindows.shape[2]
            dx[:, :, k:end] += dwindows[..., k]
        return dx


@exhibit(ROOM, "Overlapping windows, assigned", "gradient", SIGNALS,
    "The fold (col2im) must add where windows overlap. With stride equal to the kernel size nothing overlaps, and "
    "assignment is right.", usual={"stride": 2, "padding": 0})  # fmt: skip
class ConvFoldAssigns(Conv):
    def folded(self, dwindows, shape):
        n, c, length = shape
        dx = np.zeros((n, c, length + 2 * self.padding), dwindows.dtype)
        for k in range(dwindows.shape[3]):
            end = k + self.stride * dwindows.shape[2]
            dx[:, :, k : end : self.stride] = dwindows[..., k]
        return dx
