"""Room: activations."""

import numpy as np

from exhibits.exhibit import Plain, exhibit

ROOM = "Activations"
ROWS = (3, 4)


class ReLU(Plain):
    """y = max(x, 0)."""

    def forward(self, x):
        return x * (x.real > 0), x

    def backward(self, dy, x):
        return dy * (x.real > 0)


class LeakyReLU(Plain):
    """y = x where x > 0, else slope x."""

    slope = 0.1

    def forward(self, x):
        return np.where(x.real > 0, x, self.slope * x), x

    def backward(self, dy, x):
        return np.where(x.real > 0, dy, self.slope * dy)


class ELU(Plain):
    """y = x where x > 0, else alpha (e^x - 1)."""

    alpha = 0.5

    def forward(self, x):
        y = np.where(x.real > 0, x, self.alpha * (np.exp(np.minimum(x.real, 0) + 1j * x.imag) - 1))
        return y if x.dtype.kind == "c" else y.real, y if x.dtype.kind == "c" else y.real

    def backward(self, dy, y):
        return dy * np.where(y.real > 0, 1, y + self.alpha)


class Sigmoid(Plain):
    """y = 1 / (1 + e^-x)."""

    def forward(self, x):
        y = 1 / (1 + np.exp(-x))
        return y, y

    def backward(self, dy, y):
        return dy * y * (1 - y)


class SigmoidOfX(Sigmoid):
    def forward(self, x):
        return super().forward(x)[0], x

    def backward(self, dy, x):
        y, _ = super().forward(x)
        return dy * y * (1 - y)


class Tanh(Plain):
    """y = tanh x, with second order."""

    def forward(self, x):
        y = np.tanh(x)
        return y, y

    def backward(self, dy, y):
        return dy * (1 - y * y)

    def jvp(self, x_dot, y):
        y_dot = None if x_dot is None else x_dot * (1 - y * y)
        return y_dot, y_dot

    def backward_jvp(self, dy, dy_dot, y, y_dot):
        dx_dot = np.zeros_like(y)
        if dy_dot is not None:
            dx_dot = dx_dot + dy_dot * (1 - y * y)
        if y_dot is not None:
            dx_dot = dx_dot + self.curvature(dy, y, y_dot)
        return self.backward(dy, y), dx_dot

    def curvature(self, dy, y, y_dot):
        return dy * -2 * y * y_dot


class GELU(Plain):
    """y = x/2 (1 + tanh u), u = 0.79788 (x + 0.044715 x^3)."""

    c, a_of_slope = float(np.sqrt(2 / np.pi)), 0.044715

    def forward(self, x):
        return x / 2 * (1 + np.tanh(self.c * (x + 0.044715 * x**3))), x

    def backward(self, dy, x):
        t = np.tanh(self.c * (x + 0.044715 * x**3))
        return dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * self.c * (1 + 3 * self.a_of_slope * x**2))


class Softmax(Plain):
    """y = e^x / sum e^x, per row."""

    def forward(self, x):
        e = np.exp(x - x.real.max(1, keepdims=True))
        y = e / e.sum(1, keepdims=True)
        return y, y

    def backward(self, dy, y):
        return y * (dy - (y * dy).sum(1, keepdims=True))


class LogSoftmax(Softmax):
    """y = x - log sum e^x, per row; ctx is the softmax."""

    def forward(self, x):
        p, _ = super().forward(x)
        return np.log(p), p

    def backward(self, dy, p):
        return dy - p * dy.sum(1, keepdims=True)


class TopK(Plain):
    """y = x where it is among the two largest of its row, else 0."""

    def forward(self, x):
        mask = x.real >= np.sort(x.real, axis=1)[:, -2:-1]
        return x * mask, (x, mask)

    def backward(self, dy, ctx):
        _, mask = ctx
        return dy * mask


@exhibit(ROOM, "ReLU's mask from the wrong array", "gradient", ROWS,
    "`dy > 0` where `x > 0` is meant (guided backpropagation, by accident). With cotangents of ones, and after a loss "
    "whose gradient is positive, nothing looks odd: half the signal is missing.")  # fmt: skip
class ReLUMaskFromDy(ReLU):
    def backward(self, dy, x):
        return dy * (x.real > 0) * (dy.real > 0)


@exhibit(ROOM, "The leak on the wrong side", "gradient", ROWS,
    "The two arms of `where` are swapped. All gradients keep their sign, so the loss keeps falling.")  # fmt: skip
class LeakySlopesSwapped(LeakyReLU):
    def backward(self, dy, x):
        return np.where(x.real > 0, self.slope * dy, dy)


@exhibit(ROOM, "ELU that is right for alpha = 1", "gradient", ROWS,
    "From y the slope is y + alpha; with the default alpha = 1 that is y + 1. Tests use defaults.",
    usual={"alpha": 1.0})  # fmt: skip
class ELUForgetsAlpha(ELU):
    def backward(self, dy, y):
        return dy * np.where(y.real > 0, 1, y + 1)


@exhibit(ROOM, "Sigmoid's x taken for its y", "gradient", ROWS,
    "y (1 - y) is written in terms of the output, but what lies in ctx is the input. Both are arrays of "
    "the same shape, and nobody asks which one it is.")  # fmt: skip
class SigmoidFromX(SigmoidOfX):
    def backward(self, dy, x):
        return dy * x * (1 - x)


@exhibit(ROOM, "GELU's constant, cut short", "gradient", ROWS,
    "0.0447 for 0.044715 in backward alone: so small an error that finite differences with usual "
    "tolerances cannot tell from their own noise.", seen="Wrong GELU constants were found in the audit.")  # fmt: skip
class GELUConstant(GELU):
    a_of_slope = 0.0447


@exhibit(ROOM, "Softmax, reduced to its diagonal", "gradient", ROWS,
    "dy y (1 - y) is sigmoid's formula, and the diagonal of softmax's Jacobian. What is missing is that every output "
    "takes from all others: rows of dx must sum to zero.",
    seen="Found among the defects of the audited libraries.")  # fmt: skip
class SoftmaxDiagonal(Softmax):
    def backward(self, dy, y):
        return dy * y * (1 - y)


@exhibit(ROOM, "Log-softmax, right under one loss", "gradient", ROWS,
    "Cross-entropy's famous \"p - t\" moved into the layer: dy + p is right where each row of dy sums to -1, "
    "as under that one loss, and wrong under every other, even under its mean over a batch.")  # fmt: skip
class LogSoftmaxForOneLoss(LogSoftmax):
    def backward(self, dy, p):
        return dy + p


@exhibit(ROOM, "Top-k, chosen anew in backward", "gradient", ROWS,
    "The mask must come from forward. Chosen from dy it keeps as many numbers as it should, but "
    "others: the sparsity looks right in every log.")  # fmt: skip
class TopKMaskFromDy(TopK):
    def backward(self, dy, ctx):
        return dy * (dy.real >= np.sort(dy.real, axis=1)[:, -2:-1])


@exhibit(ROOM, "Tanh, straight at second order", "second order", ROWS,
    "1 - y^2 is treated as a constant in the double backward, so the term -2 y y' dy is gone. Training "
    "never runs this code, until someone adds a gradient penalty.", shown="second order",
    seen="The best-known hand-written double backward in NumPy is wrong for tanh.")  # fmt: skip
class TanhWithoutCurvature(Tanh):
    def curvature(self, dy, y, y_dot):
        return np.zeros_like(y)
