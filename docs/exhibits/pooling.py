"""Room: pooling and upsampling, along one axis; an image has two of them and the same bugs twice."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from exhibits.exhibit import Plain, exhibit

ROOM = "Pooling and upsampling"
LINES = (3, 6)


class MaxPool(Plain):
    """y = the largest of each window of x [N,L]; of equal ones the first."""

    window, stride, padding = 2, 2, 0

    def forward(self, x):
        padded = np.pad(x, ((0, 0), (self.padding, self.padding)), constant_values=-np.inf)
        windows = sliding_window_view(padded.real, self.window, axis=1)[:, :: self.stride]  # [N,O,K]
        winner = windows.argmax(2) + self.stride * np.arange(windows.shape[1])  # counted in the padded array
        return np.take_along_axis(padded, winner, 1), (winner, x.shape)

    def backward(self, dy, ctx):
        winner, shape = ctx
        dx = np.zeros(shape, dy.dtype)
        rows = np.arange(len(dx))[:, None]
        np.add.at(dx, (rows, winner - self.padding), dy)
        return dx


class MaxPoolPadded(MaxPool):
    window, stride, padding = 2, 2, 1


class MaxPoolOverlapping(MaxPool):
    window, stride, padding = 3, 1, 1


class MaxOfPairs(Plain):
    """y = the larger of each pair in x [N,L]; of equal ones the first."""

    def forward(self, x):
        pairs = x.reshape(len(x), -1, 2)
        first = np.arange(2) == pairs.real.argmax(2)[..., None]
        return (pairs * first).sum(2), self.mask(pairs)

    def mask(self, pairs):
        return np.arange(2) == pairs.real.argmax(2)[..., None]

    def backward(self, dy, mask):
        return (dy[..., None] * mask).reshape(len(dy), -1)


class AvgPool(Plain):
    """y = the mean of each pair in x [N,L]."""

    def forward(self, x):
        return x.reshape(len(x), -1, 2).mean(2), x.shape

    def backward(self, dy, shape):
        return dy.repeat(2, axis=1) / 2


class Upsample(Plain):
    """y = every cell of x [N,L] twice."""

    def forward(self, x):
        return x.repeat(2, axis=1), x.shape

    def backward(self, dy, shape):
        return dy.reshape(*shape, 2).sum(2)


@exhibit(ROOM, "The winner counted from the padding", "runs", LINES,
    "forward finds its winners in the padded array, backward writes into the bare one: shifted by the padding, or "
    "past the end. Pooling layers are mostly tested without padding.",
    usual={"padding": 0},
    seen="Max-pool with padding crashed in numpy-ml and in deep-learning-from-scratch.")  # fmt: skip
class MaxPoolForgetsPadding(MaxPoolPadded):
    def backward(self, dy, ctx):
        winner, shape = ctx
        dx = np.zeros(shape, dy.dtype)
        rows = np.arange(len(dx))[:, None]
        np.add.at(dx, (rows, winner), dy)
        return dx


@exhibit(ROOM, "Overlapping windows, last one wins", "gradient", LINES,
    "A cell that wins in two windows gets both gradients. Assignment is right as long as stride equals window, which "
    "is the default that everyone tests.", usual={"window": 2, "stride": 2, "padding": 0})  # fmt: skip
class MaxPoolAssigns(MaxPoolOverlapping):
    def backward(self, dy, ctx):
        winner, shape = ctx
        dx = np.zeros(shape, dy.dtype)
        rows = np.arange(len(dx))[:, None]
        dx[rows, winner - self.padding] = dy
        return dx


@exhibit(ROOM, "A tie that pays twice", "subgradient", (2, 4),
    "`x == max` as the mask hands the whole gradient to every cell that equals the maximum: [1, 1] is no "
    "subgradient of max. Random floats never tie; images with black borders and outputs of ReLU do all the time.",
    ties=True, seen="Found among the defects of seven audited libraries.")  # fmt: skip
class TiePaysTwice(MaxOfPairs):
    def mask(self, pairs):
        return pairs.real == pairs.real.max(2, keepdims=True)


@exhibit(ROOM, "Everybody gets the first sample's gradient", "gradient", LINES,
    "One index too many. With one sample it is right, and with an all-ones cotangent too, as all samples' gradients "
    "are then equal: the two habits of unit tests hide it perfectly.",
    seen="NumPyNet's average pooling was wrong for batches and right for all ones.")  # fmt: skip
class AvgPoolOnesOnly(AvgPool):
    def backward(self, dy, shape):
        return np.tile(dy[:1].repeat(2, axis=1) / 2, (len(dy), 1))


@exhibit(ROOM, "Upsampling undone by subsampling", "gradient", LINES,
    "\"The inverse of repeating is skipping\", but backward is the transpose, not the inverse: the copies' gradients "
    "are summed. The signs are plausible, so the loss still falls.",
    seen='ML-From-Scratch; its DCGAN "never converged".')  # fmt: skip
class UpsampleSubsamples(Upsample):
    def backward(self, dy, shape):
        return dy[:, ::2]
