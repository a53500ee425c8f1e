"""Room: normalisation. The statistics depend on x, and every backward here forgets some part of that."""

import numpy as np

from exhibits.exhibit import Plain, exhibit

ROOM = "Normalisation"
SIGNALS, ROWS, EPS = (3, 2, 4), (3, 4), 1e-5


class BatchNorm(Plain):
    """y = (x - mean) s per channel of x [N,C,L], s = 1 / sqrt(var + eps); in evaluation both are constants."""

    axes = (0, 2)

    def forward(self, x, train=False):
        mean = x.mean(self.axes, keepdims=True) if train else 0.5
        var = ((x - mean) ** 2).mean(self.axes, keepdims=True) if train else 2.0
        s = (var + EPS) ** -0.5
        return (x - mean) * s, ((x - mean) * s, s, train)

    def backward(self, dy, ctx):
        y, s, train = ctx
        return self.project(dy, y, s) if train else dy * s

    def project(self, g, y, s):
        return s * (g - self.mean(g) - y * self.mean(g * y))

    def mean(self, a):
        return a.mean(self.axes, keepdims=True)

    def jvp(self, x_dot, ctx):
        y_dot = None if x_dot is None else self.backward(x_dot, ctx)
        return y_dot, (x_dot, y_dot)

    def backward_jvp(self, dy, dy_dot, ctx, ctx_dot):
        (y, s, train), (x_dot, y_dot) = ctx, ctx_dot
        dx, dx_dot = self.backward(dy, ctx), np.zeros_like(dy)
        if dy_dot is not None:
            dx_dot = dx_dot + self.backward(dy_dot, ctx)
        if train and x_dot is not None:
            dx_dot = dx_dot + self.curvature(dx, dy, y, s, x_dot, y_dot)
        return dx, dx_dot

    def curvature(self, dx, dy, y, s, x_dot, y_dot):
        s_dot = -s * s * self.mean(y * x_dot)
        bent = y_dot * self.mean(dy * y) + y * self.mean(dy * y_dot)
        return s_dot / s * dx - s * bent


class LayerNorm(Plain):
    """y = (x - mean) s over the last axis."""

    def forward(self, x):
        centred = x - x.mean(-1, keepdims=True)
        s = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
        return centred * s, (centred * s, s)

    def backward(self, dy, ctx):
        y, s = ctx
        return s * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True))


@exhibit(ROOM, "Batch norm without the mean's share", "gradient", SIGNALS,
    "The mean depends on every x, and so its gradient flows back to every x. Without the term it still looks like a "
    "normalised gradient, and networks still train.", train=True)  # fmt: skip
class WithoutMeanTerm(BatchNorm):
    def project(self, g, y, s):
        return s * (g - y * self.mean(g * y))


@exhibit(ROOM, "Batch norm without the variance's share", "gradient", SIGNALS,
    "The same for the variance. An all-ones cotangent is blind to it: its sum against the normalised y is zero.",
    train=True)  # fmt: skip
class WithoutVarianceTerm(BatchNorm):
    def project(self, g, y, s):
        return s * (g - self.mean(g))


@exhibit(ROOM, "Evaluation, differentiated as training", "gradient", SIGNALS,
    "In evaluation the statistics are constants and backward is one multiplication. Whoever needs it (saliency maps, "
    "a frozen critic, fine-tuning) gets the training formula and no warning. A test in training mode cannot see it.",
    usual={"train": True}, seen="Four of five audited libraries had no evaluation-mode backward.")  # fmt: skip
class EvalAsTraining(BatchNorm):
    def backward(self, dy, ctx):
        y, s, _ = ctx
        return self.project(dy, y, s)


@exhibit(ROOM, "Epsilon outside of the root", "gradient", SIGNALS,
    "1 / (sqrt(var) + eps) instead of 1 / sqrt(var + eps). The error is of the size of eps, so "
    "it hides below the tolerances that finite differences force upon a checker.", train=True)  # fmt: skip
class EpsOutsideTheRoot(BatchNorm):
    def project(self, g, y, s):
        s = 1 / (np.sqrt(1 / s**2 - EPS) + EPS)
        return s * (g - self.mean(g) - y * self.mean(g * y))


@exhibit(ROOM, "Layer norm with a constant mean", "gradient", ROWS,
    "The variance's share is there and the mean's is not, because \"the mean is subtracted anyway\". "
    "A layer norm's dx must sum to zero in every row: a one-line test.")  # fmt: skip
class LayerNormMeanConstant(LayerNorm):
    def backward(self, dy, ctx):
        y, s = ctx
        return s * (dy - y * (dy * y).mean(-1, keepdims=True))


@exhibit(ROOM, "The scale's own derivative, forgotten at second order", "second order", SIGNALS,
    "Differentiating backward once more, the scale s = 1 / sqrt(var + eps) moves too. First-order checks pass; only a "
    "gradient penalty or a Hessian-vector product ever uses this code.",
    train=True, shown="second order", seen="DeZero's batch norm was silently wrong at second order.")  # fmt: skip
class WithoutScaleDot(BatchNorm):
    def curvature(self, dx, dy, y, s, x_dot, y_dot):
        bent = y_dot * self.mean(dy * y) + y * self.mean(dy * y_dot)
        return -s * bent
