"""Wrong gradients of activations, pooling, composites and non-analytic layers; the base is the right version."""

import numpy as np

import plain_layers as plain
import scratchnn as s
import scratchnn_kernels as kernels
from planting import IMAGE, ROWS, planted

# --- activations ---


@planted("gradient", ROWS)
class TanhUsesX(s.Tanh):
    def forward(self, x, train=False, rng=None):
        return np.tanh(x), x


@planted("gradient", ROWS)
class SigmoidPlus(s.Sigmoid):
    def backward(self, dy, y):
        return dy * y * (1 + y)


@planted("gradient", ROWS, beta=2.0)
class SoftplusWithoutBeta(s.Softplus):
    def backward(self, dy, x):
        return kernels.softplus_grad(dy, x)


@planted("gradient", ROWS, 0.1)
class LeakySlopesSwapped(s.LeakyReLU):
    def backward(self, dy, x):
        return np.where(x.real > 0, 0.1 * dy, dy)


@planted("gradient", ROWS)
class ReLUMaskFromDy(s.ReLU):
    def backward(self, dy, y):
        return dy * (dy.real > 0)


@planted("subgradient", ROWS, ties=True)
class ReLUSlopeTwoAtZero(s.ReLU):
    def forward(self, x, train=False, rng=None):
        return kernels.relu(x), x

    def backward(self, dy, x):
        return dy * ((x.real > 0) + 2.0 * (x == 0))


@planted("gradient", ROWS)
class GeluConstant(plain.Gelu):
    a_of_slope = 0.0447


@planted("gradient", ROWS)
class SoftmaxDiagonal(plain.Softmax):
    def backward(self, dy, y):
        return dy * y * (1 - y)


@planted("gradient", ROWS, 2)
class TopKMaskFromDy(s.TopK):
    def backward(self, dy, mask):
        return dy * kernels.k_sparse(dy, self.k, axis=self.dim)[1]


# --- pooling and shapes ---


@planted("gradient", IMAGE, 2, stride=1)
class MaxPoolOverlapAssigns(s.MaxPool2d):
    def backward(self, dy, ctx):
        winners, (h, w) = ctx
        dx = np.zeros((*dy.shape[:2], h * w), dy.dtype)
        np.put_along_axis(dx, winners.reshape(*dy.shape[:2], -1), dy.reshape(*dy.shape[:2], -1), axis=2)
        return dx.reshape(*dy.shape[:2], h, w)


@planted("gradient", (2, 2, 4, 6), 2)
class MaxPoolRightForSquaresOnly(s.MaxPool2d):
    def backward(self, dy, ctx):
        winners, (h, w) = ctx
        return super().backward(dy, (winners // w * h + winners % w, (h, w)))


@planted("gradient", IMAGE, 2)
class MaxPoolWinnerBesides(s.MaxPool2d):
    def backward(self, dy, ctx):
        winners, (h, w) = ctx
        return super().backward(dy, ((winners + 1) % (h * w), (h, w)))


@planted("subgradient", (2, 1, 4, 4), 2, ties=True, says="does a tie count twice?")
class MaxPoolAllTies(s.MaxPool2d):
    def forward(self, x, train=False, rng=None):
        y, ctx = super().forward(x)
        return y, (x, y, ctx)

    def backward(self, dy, ctx):
        x, y, _ = ctx
        return dy.repeat(2, 2).repeat(2, 3) * (x == y.repeat(2, 2).repeat(2, 3))

    def jvp(self, x_dot, ctx):
        raise NotImplementedError("no jvp")


@planted("gradient", IMAGE, 3, stride=1, padding=1, count_include_pad=False)
class AvgPoolCountsPadding(s.AvgPool2d):
    def backward(self, dy, ctx):
        return kernels.avg_pool2d_input_grad(dy, ctx[0], 3, stride=1, padding=1)


@planted("gradient", (3, 2, 4, 4), 2)
class AvgPoolRightForOnesOnly(s.AvgPool2d):
    def backward(self, dy, size):
        return super().backward(np.full_like(dy, dy.mean()), size)


@planted("gradient", (2, 2, 3, 4))
class UpsampleSubsamples(plain.Upsample):
    def backward(self, dy, shape):
        return dy[:, :, ::2, ::2]


@planted("gradient", IMAGE)
class FlattenInFortranOrder(s.Flatten):
    def backward(self, dy, shapes):
        return dy.reshape(shapes[0], order="F")


@planted("shape", IMAGE)
class FlattenKeepsTheShape(s.Flatten):
    def backward(self, dy, shape):
        return dy


# --- composites and dropout ---


@planted("gradient", ROWS, s.Sequential(s.Linear(5, 5), s.Tanh()))
class ResidualWithoutSkip(s.Residual):
    def backward(self, dy, ctx):
        return self.body.backward(dy, ctx)


@planted("gradient", ROWS, s.Tanh(), s.Linear(5, 5))
class SequentialForwards(s.Sequential):
    def backward(self, dy, ctxs):
        for layer, ctx in zip(self.layers, ctxs, strict=True):
            dy = layer.backward(dy, ctx)
        return dy


@planted("gradient", ROWS, 0.4, train=True, says="scaled by the constant 0.6")
class DropoutWithoutScale(s.Dropout):
    def backward(self, dy, ctx):
        return dy * (ctx[1] > 0)


@planted("gradient", ROWS, 0.4, train=True)
class DropoutFreshMask(s.Dropout):
    def backward(self, dy, ctx):
        return dy * np.random.default_rng(99).permuted(ctx[1])


# --- where the complex step cannot go ---


@planted("gradient", ROWS, says="(method: central)")
class AbsWithoutSign(plain.AbsShift):
    def backward(self, dy, x):
        return dy * 1.5


@planted("gradient", ROWS, says="scaled by the constant 1.001")
class AbsScaledABit(plain.AbsShift):
    def backward(self, dy, x):
        return 1.001 * super().backward(dy, x)


@planted("gradient", ROWS, says="(method: central)")
class UnitNormNotProjected(plain.UnitNorm):
    def backward(self, dy, ctx):
        return dy / ctx[1]


@planted("gradient", (5, 4), says="got is the share of the last sample alone")
class ScaleOfLastSample(plain.Scale):
    def backward(self, dy, x):
        self.weight.grad += (dy * x)[-1]
        return dy * self.weight.data


@planted("differentiable", ROWS, says="float32")
class ForwardInFloat32(plain.Softmax):
    def forward(self, x):
        y, _ = super().forward(x.real.astype(np.float32))
        return y.astype(np.float64), y.astype(np.float64)
