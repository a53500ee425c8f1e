"""Room: parameters, sums and indices."""

import numpy as np

from exhibits.exhibit import Param, Plain, exhibit

ROOM = "Sums and indices"
ROWS = (3, 4)


class Linear(Plain):
    """y = x W^T + b, as many outputs as inputs."""

    def __init__(self, weight, bias):
        self.weight, self.bias = Param(weight), Param(bias)

    @classmethod
    def at(cls, shape, fill):
        return cls(fill(shape[1], shape[1]), fill(shape[1]))

    def forward(self, x):
        return x @ self.weight.data.T + self.bias.data, x

    def backward(self, dy, x):
        self.add(dy.T @ x, dy.sum(0))
        return dy @ self.weight.data

    def add(self, dw, db):
        self.weight.grad += dw
        self.bias.grad += db


class Scale(Plain):
    """y = x * weight, per feature."""

    def __init__(self, weight):
        self.weight = Param(weight)

    @classmethod
    def at(cls, shape, fill):
        return cls(fill(shape[1]))

    def forward(self, x):
        return x * self.weight.data, x

    def backward(self, dy, x):
        self.weight.grad = self.weight.grad + (dy * x).sum(0)
        return dy * self.weight.data


class Embedding(Plain):
    """y = rows of the table x, by index; one index comes twice."""

    def __init__(self, last):
        self.indices = np.array([0, last, 0])

    @classmethod
    def at(cls, shape, fill):
        return cls(shape[0] - 1)

    def forward(self, x):
        return np.take(x, self.indices, axis=0, mode="clip"), x.shape

    def backward(self, dy, shape):
        dx = np.zeros(shape, dy.dtype)
        np.add.at(dx, self.indices, dy)
        return dx


@exhibit(ROOM, "The bias that heard only the first sample", "gradient", ROWS,
    "A bias is broadcast over the batch, so its gradient is summed over the batch. `dy[0]` has the right shape, and "
    "with one sample it has the right value too.")  # fmt: skip
class BiasOfFirstSample(Linear):
    def backward(self, dy, x):
        self.add(dy.T @ x, dy[0])
        return dy @ self.weight.data


@exhibit(ROOM, "The mean where a sum belongs", "gradient", ROWS,
    "The loss averages over the batch already; a layer that divides by N again only trains more slowly. With "
    "one sample there is nothing to see, and a falling loss says nothing.")  # fmt: skip
class MeanInsteadOfSum(Linear):
    def backward(self, dy, x):
        self.add(dy.T @ x / len(x), dy.mean(0))
        return dy @ self.weight.data


@exhibit(ROOM, "The transposed weight gradient", "gradient", ROWS,
    "W is stored [out, in] here and [in, out] elsewhere; a formula copied from elsewhere gives the transpose. Shapes "
    "complain, except for square weights, and hidden layers of equal width are all square.")  # fmt: skip
class TransposedWeightGrad(Linear):
    def backward(self, dy, x):
        self.add(x.T @ dy, dy.sum(0))
        return dy @ self.weight.data


@exhibit(ROOM, "The gradient that was assigned", "adds", ROWS,
    "`=` instead of `+=`. Every test that calls backward once passes; a layer used twice in one step (a "
    "discriminator on real and fake, shared weights) loses all but the last contribution.",
    shown="two backwards")  # fmt: skip
class GradAssigned(Linear):
    def add(self, dw, db):
        self.weight.grad = dw
        self.bias.grad = db


@exhibit(ROOM, "The gradient that was never summed back", "shape", ROWS,
    "What forward broadcasts, backward sums. Without the sum the gradient gets the shape of the batch, and the "
    "optimizer's `w -= lr * grad` may broadcast once more and say nothing.")  # fmt: skip
class BroadcastNotSummed(Scale):
    def backward(self, dy, x):
        self.weight.grad = self.weight.grad + dy * x
        return dy * self.weight.data


@exhibit(ROOM, "The word that came twice", "gradient", ROWS,
    "`dx[indices] += dy` looks like a sum, but NumPy reads, adds and writes once per target: of repeated indices the "
    "last wins. Test sentences with no repeated word do not show it; `np.add.at` is the cure.",
    usual={"indices": np.array([0, 1, 2])})  # fmt: skip
class EmbeddingLastWins(Embedding):
    def backward(self, dy, shape):
        dx = np.zeros(shape, dy.dtype)
        dx[self.indices] += dy
        return dx
