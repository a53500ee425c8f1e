"""Room: state, randomness and side effects. The formulas are right, and the gradients still are not."""

import numpy as np

from exhibits.activations import Sigmoid, Tanh
from exhibits.exhibit import Plain, exhibit

ROOM = "State, randomness, side effects"
ROWS = (3, 4)


class Dropout(Plain):
    """y = x mask / 0.6, in training."""

    def forward(self, x, train=False, rng=None):
        keep = rng.random(x.shape) < 0.6 if train else None
        return (x * keep / 0.6 if train else x.copy()), keep

    def backward(self, dy, keep):
        return dy.copy() if keep is None else self.masked(dy, keep)

    def masked(self, dy, keep):
        return dy * keep / 0.6


class Residual(Plain):
    """y = x + tanh(x)."""

    body = Tanh()

    def forward(self, x):
        y, ctx = self.body.forward(x)
        return x + y, ctx

    def backward(self, dy, ctx):
        return dy + self.body.backward(dy, ctx)


class TwoLayers(Plain):
    """y = sigmoid(tanh(x))."""

    first, second = Tanh(), Sigmoid()

    def forward(self, x):
        h, ctx1 = self.first.forward(x)
        y, ctx2 = self.second.forward(h)
        return y, (ctx1, ctx2)

    def backward(self, dy, ctx):
        ctx1, ctx2 = ctx
        dh = self.second.backward(dy, ctx2)
        return self.first.backward(dh, ctx1)


class TanhWithoutJvp(Tanh):
    jvp = None


@exhibit(ROOM, "The layer that remembers only its last input", "stateless", ROWS,
    "Activations kept in self belong to the latest forward. Run a discriminator on real, then on fake, and ask both "
    "back: the first gradient is computed at the second input.", shown="two forwards")  # fmt: skip
class KeptInSelf(TanhWithoutJvp):
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y, None

    def backward(self, dy, ctx):
        return dy * (1 - self.y * self.y)


@exhibit(ROOM, "A fresh mask for the way back", "gradient", ROWS,
    "backward draws its own dropout mask instead of forward's. The mean over many steps looks fine, each "
    "single gradient is noise; most tests run dropout in evaluation only.",
    train=True, usual={"train": False})  # fmt: skip
class DropoutFreshMask(Dropout):
    def masked(self, dy, keep):
        keep = np.random.default_rng(1).random(keep.shape) < 0.6
        return dy * keep / 0.6


@exhibit(ROOM, "Dropout without its scale", "gradient", ROWS,
    "forward divides by the share that is kept, backward does not. All signs and zeros are right, and the learning "
    "rate swallows the factor.", train=True, usual={"train": False})  # fmt: skip
class DropoutWithoutScale(Dropout):
    def masked(self, dy, keep):
        return dy * keep


@exhibit(ROOM, "The residual that forgot its skip", "gradient", ROWS,
    "x goes two ways forward, so two gradients come back and are added. Without the skip's the network is a "
    "plain one in backward: it trains, as badly as if there were no skip.")  # fmt: skip
class ResidualWithoutSkip(Residual):
    def backward(self, dy, ctx):
        return self.body.backward(dy, ctx)


@exhibit(ROOM, "Contexts in the wrong order", "gradient", ROWS,
    "backward is forward read upside-down, and so are the contexts. Swapped contexts of equal shape go through: each "
    "layer differentiates itself at the other one's point.")  # fmt: skip
class ContextsSwapped(TwoLayers):
    def backward(self, dy, ctx):
        ctx2, ctx1 = ctx
        dh = self.second.backward(dy, ctx2)
        return self.first.backward(dh, ctx1)


@exhibit(ROOM, "The borrowed dy, returned damaged", "pure", ROWS,
    "`dy *= slope` saves an array and returns the right dx. But whoever else holds that dy (the other branch of a "
    "residual block) now holds this layer's gradient.", shown="dy afterwards")  # fmt: skip
class WritesIntoDy(TanhWithoutJvp):
    def backward(self, dy, y):
        dy *= 1 - y * y
        return dy
