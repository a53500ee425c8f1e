"""Wrong gradients of linear layers, convolutions and normalisations. The base of each class is the right version."""

import numpy as np

import plain_layers as plain
import scratchnn as s
import scratchnn_kernels as kernels
from planting import IMAGE, ROWS, planted

# --- sums, signs and scales ---


@planted("gradient", ROWS, 5, 3, says="wrong sign")
class WrongSign(s.Linear):
    def backward(self, dy, x):
        return -super().backward(dy, x)


@planted("gradient", ROWS, 5, 3, says="bias (method: complex)")
class BiasOfFirstSample(s.Linear):
    def backward_params(self, dy, x):
        self.weight.grad += self.weight.trainable * kernels.linear_weight_grad(dy, x)
        self.bias.grad += self.bias.trainable * dy[0]


@planted("gradient", IMAGE, 2, 3, 3, says="the share of the first sample alone")
class ConvBiasOfFirstSample(s.Conv2d):
    def backward(self, dy, x):
        self.bias.grad += dy[0].sum((1, 2))
        self.weight.grad += self._weight_grad(dy, x)
        return self._input_grad(dy, self.weight.data, x)


@planted("gradient", ROWS, 5, 3, says="got is expected divided by N=4")
class MeanOverBatch(s.Linear):
    def backward_params(self, dy, x):
        super().backward_params(dy / len(dy), x)


@planted("gradient", ROWS, 5, 5, says="got is expected transposed")
class TransposedWeightGrad(s.Linear):
    def backward_params(self, dy, x):
        self.weight.grad += x.T @ dy
        self.bias.grad += dy.sum(0)


@planted("gradient", ROWS, 5, 3, says="scaled by the constant 1.001")
class ScaledABit(s.Linear):
    def backward(self, dy, x):
        return 1.001 * super().backward(dy, x)


@planted("gradient", ROWS, 5, 3, says="is this gradient forgotten?")
class ForgottenBias(s.Linear):
    def backward_params(self, dy, x):
        self.weight.grad += self.weight.trainable * kernels.linear_weight_grad(dy, x)


@planted("gradient", ROWS, says="index 0 of the first axis is right")
class OnlyFirstSampleRight(s.Tanh):
    def backward(self, dy, y):
        return dy * (1 - y[:1] ** 2)


@planted("gradient", ROWS, 5, 3, says="float32")
class ComputesInFloat32(s.Linear):
    def backward(self, dy, x):
        return super().backward(dy, x).astype(np.complex64 if dy.dtype.kind == "c" else np.float32).astype(dy.dtype)


# --- convolution ---


@planted("gradient", IMAGE, 2, 2, 3, padding=1, says="the input")
class ConvKernelTransposed(s.Conv2d):
    def _input_grad(self, dy, weight, x):
        return super()._input_grad(dy, weight.swapaxes(2, 3), x)


@planted("gradient", IMAGE, 2, 3, 3, padding=1, says="the input")
class ConvKernelFlipped(s.Conv2d):
    def _input_grad(self, dy, weight, x):
        return super()._input_grad(dy, weight[:, :, ::-1, ::-1], x)


@planted("gradient", IMAGE, 2, 3, 3, says="got is expected flipped")
class ConvWeightGradFlipped(s.Conv2d):
    def _weight_grad(self, dy, x):
        return super()._weight_grad(dy, x)[:, :, ::-1, ::-1]


@planted("gradient", IMAGE, 2, 2, 3, says="the input")
class ConvChannelsSwapped(s.Conv2d):
    def _input_grad(self, dy, weight, x):
        return super()._input_grad(dy, weight.swapaxes(0, 1), x)


@planted("gradient", IMAGE, 2, 3, 3, padding=1)
class ConvPaddingOffByOne(s.Conv2d):
    def _input_grad(self, dy, weight, x):
        return np.roll(super()._input_grad(dy, weight, x), 1, axis=3)


@planted("gradient", IMAGE, 2, 3, 3, padding=1, says="only cells at the border")
class ConvBorderForgotten(s.Conv2d):
    def backward(self, dy, x):
        dx = super().backward(dy, x)
        dx[:, :, 0] = 0
        return dx


@planted("gradient", IMAGE, 2, 3, 2, stride=2)
class ConvStrideIgnored(s.Conv2d):
    def _input_grad(self, dy, weight, x):
        full = np.zeros((*dy.shape[:2], x.shape[2] - 1, x.shape[3] - 1), dy.dtype)
        full[:, :, : dy.shape[2], : dy.shape[3]] = dy
        return kernels.conv2d_input_grad(full, weight, x.shape[2:])


@planted("gradient", (2, 2, 7, 7), 2, 3, 3, dilation=2, says="weight")
class ConvDilationIgnored(s.Conv2d):
    def _weight_grad(self, dy, x):
        return kernels.conv2d_weight_grad(dy, x[:, :, :5, :5], (3, 3))


@planted("gradient", (2, 4, 5, 6), 4, 6, 3, groups=2)
class ConvGroupsMixed(s.Conv2d):
    def _input_grad(self, dy, weight, x):
        return np.roll(super()._input_grad(dy, weight, x), 2, axis=1)


@planted("gradient", (2, 3, 3, 4), 3, 2, 3, stride=2, output_padding=1, says="weight")
class TransposedConvWeightGradFlipped(s.ConvTranspose2d):
    def _weight_grad(self, dy, x):
        return super()._weight_grad(dy, x)[:, :, ::-1, ::-1]


# --- normalisation: forward is right, and each backward forgets something ---


class ByParts(s.BatchNorm2d):
    """Batch norm whose dx is made by _normalize_grad alone, so that a fault planted there shows."""

    def backward(self, dy, ctx):
        super().backward(dy, ctx)
        return self._normalize_grad(self._scale(dy), ctx)


@planted("gradient", IMAGE, 2, train=True)
class BatchNormWithoutMeanTerm(ByParts):
    def _normalize_grad(self, g, ctx):
        return ctx.inv_std * (g - ctx.x_hat * (g * ctx.x_hat).mean((0, 2, 3), keepdims=True))


@planted("gradient", IMAGE, 2, train=True)
class BatchNormWithoutVarianceTerm(ByParts):
    def _normalize_grad(self, g, ctx):
        return ctx.inv_std * (g - g.mean((0, 2, 3), keepdims=True))


@planted("gradient", IMAGE, 2)
class EvalBackwardAsInTraining(ByParts):
    def _normalize_grad(self, g, ctx):
        return super()._normalize_grad(g, ctx._replace(from_x=True))


@planted("gradient", IMAGE, 2, train=True)
class TrainBackwardAsInEval(ByParts):
    def _normalize_grad(self, g, ctx):
        return super()._normalize_grad(g, ctx._replace(from_x=False))


@planted("gradient", IMAGE, 2, train=True, says="scaled by the constant")
class UnbiasedVarianceInBackward(ByParts):
    def _normalize_grad(self, g, ctx):
        count = g.size / g.shape[1]
        return super()._normalize_grad(g, ctx) * np.sqrt((count - 1) / count)


@planted("gradient", IMAGE, 2, eps=1e-3, train=True)
class EpsOutsideTheRoot(ByParts):
    def _normalize_grad(self, g, ctx):
        inv_std = 1 / (np.sqrt(1 / ctx.inv_std**2 - self.eps) + self.eps)
        return super()._normalize_grad(g, ctx._replace(inv_std=inv_std))


@planted("gradient", ROWS)
class LayerNormMeanConstant(plain.LayerNorm):
    def backward(self, dy, ctx):
        y, inv_std = ctx
        return inv_std * (dy - y * (dy * y).mean(-1, keepdims=True))
