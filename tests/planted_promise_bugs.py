"""Right gradients and broken promises: side effects, state, wrong jvp and wrong second order."""

import numpy as np

import plain_layers as plain
import scratchnn as s
import scratchnn_kernels as kernels
from planting import IMAGE, ROWS, planted
from scratchnn.layer import add, product_rule

# --- side effects and state ---


@planted("adds", ROWS, 5, 3, says="Param.grad was assigned")
class GradAssigned(s.Linear):
    def backward_params(self, dy, x):
        self.weight.grad = kernels.linear_weight_grad(dy, x)
        self.bias.grad = dy.sum(0)


@planted("adds", ROWS, 5, 3, says="expected")
class GradDecays(s.Linear):
    def backward_params(self, dy, x):
        self.bias.grad *= 0.9
        super().backward_params(dy, x)


@planted("adds", ROWS, 5, 3, says="bias in backward_jvp")
class SecondOrderAssigned(s.Linear):
    def backward_jvp(self, dy, dy_dot, x, x_dot):
        self.bias.grad[...] = 0
        return super().backward_jvp(dy, dy_dot, x, x_dot)


@planted("pure", ROWS, says="backward changed dy")
class WritesIntoDy(s.Tanh):
    def backward(self, dy, y):
        dy *= 1 - y * y
        return dy

    def jvp(self, x_dot, y):
        raise NotImplementedError


@planted("pure", ROWS, says="forward changed its input")
class WritesIntoX(s.ReLU):
    def forward(self, x, train=False, rng=None):
        x[x.real < 0] = 0
        return x.copy(), x


@planted("pure", ROWS, says="backward changed the input of forward")
class WritesIntoXInBackward(plain.Gelu):
    def backward(self, dy, x):
        dx = super().backward(dy, x)
        x *= 0
        return dx


@planted("pure", ROWS, says="backward changed ctx")
class WritesIntoCtx(plain.LayerNorm):
    def backward(self, dy, ctx):
        dx = super().backward(dy, ctx)
        ctx[1][...] = 0
        return dx


@planted("pure", ROWS, 5, 3, says="the parameter itself was changed")
class LearnsInBackward(s.Linear):
    def backward(self, dy, x):
        dx = super().backward(dy, x)
        self.weight.data -= 0.1 * self.weight.grad
        return dx


@planted("stateless", ROWS)
class KeepsTheOutput(s.Tanh):
    def forward(self, x, train=False, rng=None):
        self.y, _ = super().forward(x)
        return self.y, None

    def backward(self, dy, ctx):
        return super().backward(dy, self.y)

    def jvp(self, x_dot, ctx):
        raise NotImplementedError


@planted("batch", ROWS)
class KnowsTheBatchSize(s.Tanh):
    def backward(self, dy, y):
        return super().backward(dy, y) * (len(dy) / ROWS[0])


@planted("batch", ROWS, 5, 3, says="weight")
class WeightGradKnowsTheBatchSize(s.Linear):
    def backward_params(self, dy, x):
        super().backward_params(dy * (len(dy) / ROWS[0]), x)


@planted("linear", (6, 10), says="the input")
class ClipsLargeCotangents(s.Tanh):
    def backward(self, dy, y):
        return super().backward(dy * np.minimum(1, 6 / np.maximum(np.abs(dy), 1e-9)), y)


@planted("frozen", ROWS, 5, 3, says="weight")
class IgnoresFrozen(s.Linear):
    def backward_params(self, dy, x):
        self.weight.grad += kernels.linear_weight_grad(dy, x)
        self.bias.grad += dy.sum(0)


@planted("frozen", ROWS, 5, 3, says="the input")
class FrozenStopsTheGradient(s.Linear):
    def backward(self, dy, x):
        return super().backward(dy, x) * self.weight.trainable


@planted("frozen", ROWS, 5, 3, says="the input")
class AllFrozenStopsTheGradient(s.Linear):
    def backward(self, dy, x):
        return super().backward(dy, x) * (self.weight.trainable or self.bias.trainable)


@planted("backward_params", ROWS, 5, 3, says="bias")
class BackwardParamsForgetsBias(s.Linear):
    def backward(self, dy, x):
        super().backward_params(dy, x)
        return kernels.linear_input_grad(dy, self.weight.data)

    def backward_params(self, dy, x):
        self.weight.grad += kernels.linear_weight_grad(dy, x)


@planted("dtype", ROWS, says="backward made float32")
class ReturnsFloat32(s.Tanh):
    def backward(self, dy, y):
        return super().backward(dy, y).astype(np.float32)


@planted("shape", ROWS, 5, 3, says="bias")
class BiasGradUnsummed(s.Linear):
    def backward_params(self, dy, x):
        self.bias.grad = self.bias.grad + dy


@planted("runs", IMAGE, 2, says="backward raised ValueError")
class Crashes(s.AvgPool2d):
    def backward(self, dy, size):
        raise ValueError("operands could not be broadcast together")


@planted("deterministic", ROWS, 0.5, train=True)
class OwnGenerator(s.Dropout):
    generator = np.random.default_rng(0)

    def forward(self, x, train=False, rng=None):
        return super().forward(x, train, self.generator)


# --- forward mode and second order: backward itself is right ---


@planted("adjoint", ROWS, says="y_dot against forward (complex)")
class JvpOfTheInverse(s.Tanh):
    def jvp(self, x_dot, y):
        y_dot = None if x_dot is None else x_dot / (1 - y * y)
        return y_dot, y_dot


@planted("adjoint", ROWS, 5, 3, says="bias")
class JvpWithoutBias(s.Linear):
    def jvp(self, x_dot, x):
        return product_rule(kernels.linear, x, x_dot, self.weight.data, self.weight.dot), x_dot


@planted("adjoint", ROWS, 5, 3, says="weight")
class JvpNeedsInputTangent(s.Linear):
    def jvp(self, x_dot, x):
        return (None, None) if x_dot is None else super().jvp(x_dot, x)


@planted("absent tangents", ROWS, 5, 3, says="all together")
class JvpMixesTangents(s.Linear):
    def jvp(self, x_dot, x):
        y_dot, ctx_dot = super().jvp(x_dot, x)
        both = x_dot is not None and self.weight.dot is not None
        return y_dot + x_dot @ self.weight.dot.T if both else y_dot, ctx_dot


@planted("absent tangents", ROWS, 5, 3, says="weight")
class JvpOfOneTangentOnly(s.Linear):
    def jvp(self, x_dot, x):
        if x_dot is None:
            return super().jvp(None, x)
        return kernels.linear(x_dot, self.weight.data), x_dot


@planted("shape", ROWS, 5, 3, says="y_dot (3,), y (4, 3)")
class JvpOfBiasNotSpread(s.Linear):
    def jvp(self, x_dot, x):
        alone = x_dot is None and self.weight.dot is None and self.bias.dot is not None
        return (self.bias.dot, None) if alone else super().jvp(x_dot, x)


@planted("absent tangents", ROWS, says="not zero without a tangent")
class JvpOfNothing(s.Tanh):
    def jvp(self, x_dot, y):
        return super().jvp(np.ones_like(y) if x_dot is None else x_dot, y)


@planted("second order", ROWS, says="dx_dot")
class TanhWithoutCurvature(s.Tanh):
    def backward_jvp(self, dy, dy_dot, y, y_dot):
        return self.backward(dy, y), None if dy_dot is None else self.backward(dy_dot, y)


@planted("second order", ROWS, says="dx of backward_jvp")
class SecondOrderOtherDx(s.Sigmoid):
    def backward_jvp(self, dy, dy_dot, y, y_dot):
        dx, dx_dot = super().backward_jvp(dy, dy_dot, y, y_dot)
        return 2 * dx, dx_dot


@planted("second order", IMAGE, 2, 3, 3, says="weight")
class ConvWithoutOneProductTerm(s.Conv2d):
    def backward_jvp(self, dy, dy_dot, x, x_dot):
        return super().backward_jvp(dy, dy_dot, x, None)


@planted("second order", IMAGE, 2, 3, 3, says="dx_dot")
class ConvWithoutWeightTangent(s.Conv2d):
    def backward_jvp(self, dy, dy_dot, x, x_dot):
        dx, _ = super().backward_jvp(dy, dy_dot, x, x_dot)
        return dx, None if dy_dot is None else self._input_grad(dy_dot, self.weight.data, x)


@planted("second order", IMAGE, 2, train=True, says="dx_dot")
class BatchNormScaleConstant(s.BatchNorm2d):
    def backward_jvp(self, dy, dy_dot, ctx, ctx_dot):
        dx, dx_dot = super().backward_jvp(dy, dy_dot, ctx, ctx_dot)
        if ctx_dot[0] is None:
            return dx, dx_dot
        relative = ctx.inv_std * (ctx.x_hat * ctx_dot[0]).mean((0, 2, 3), keepdims=True)
        return dx, add(dx_dot, relative * dx)


@planted("runs", ROWS, says="backward_jvp raised TypeError")
class SecondOrderNeedsDyDot(s.ReLU):
    def backward_jvp(self, dy, dy_dot, y, ctx_dot):
        return self.backward(dy, y), dy_dot * (y > 0)


@planted("second order", ROWS, says="dx_dot (method: central)")
class CubeCurvatureTwice(plain.Cube):
    def backward_jvp(self, dy, dy_dot, x, x_dot):
        dx, dx_dot = super().backward_jvp(dy, dy_dot, x, x_dot)
        return dx, dx_dot if x_dot is None else dx_dot + 1e-3 * x * x_dot * dy
