"""Penalties on the gradient of a network by its input, whose own gradients by the parameters are second order.

    L = phi(g),  g = grad_x <f(x), 1>,  v = dL/dg:     dL/dtheta = d/de grad_theta <f(x + e v), 1>  at e = 0

So the two sweeps that every layer has, differentiated along v (`jvp`, then `backward_jvp`), give it exactly, and no
layer needs to know of the penalty. A network that mixes the samples of a batch (batch norm) has no gradient of one
sample: use none, or layer norm.
"""

from collections.abc import Callable

import numpy as np

from scratchnn import frozen
from scratchnn.layer import Array, Layer


def r1(net: Layer, x: Array, gamma: float) -> Array:
    """Add the gradient of gamma/2 mean_n |grad f(x_n)|^2 at real images (Mescheder et al. 2018, eq. 9); its value."""
    n, scale = len(x), x.real.dtype.type(gamma / len(x))
    g = _along(net, x, lambda g: scale * g)
    value: Array = (g * g).sum() * (gamma / 2 / n)
    return value


def unit_norm(net: Layer, x: Array, weight: float) -> Array:
    """Add the gradient of weight mean_n (|grad f(x_n)| - 1)^2 (Gulrajani et al. 2017, eq. 3); its value."""
    scale = x.real.dtype.type(2 * weight / len(x))
    g = _along(net, x, lambda g: scale * (1 - 1 / norms(g)) * g)
    value: Array = np.square(norms(g) - 1).mean() * weight
    return value


def norms(g: Array) -> Array:
    """|g_n| for each sample, as wide as g."""
    tiny = g.real.dtype.type(1e-12)  # at g = 0 the norm has no derivative
    lengths: Array = np.sqrt((g * g).sum(tuple(range(1, g.ndim)), keepdims=True) + tiny)
    return lengths


def _along(net: Layer, x: Array, direction: Callable[[Array], Array]) -> Array:
    """g at x; adds d/de grad_theta <f(x + e v), 1> with v = direction(g)."""
    y, ctx = net.forward(x, train=True)
    one = np.ones_like(y)
    with frozen(net):
        g = net.backward(one, ctx)
    _, ctx_dot = net.jvp(direction(g), ctx)
    net.backward_jvp(one, None, ctx, ctx_dot)  # the cotangent 1 does not move
    return g
