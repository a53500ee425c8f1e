"""Curvature of a loss in a network's parameters: Hessian-vector products, and the top eigenvalue by Lanczos.

    H v = d/de grad(theta + e v)      one forward, one jvp and one backward_jvp; no differencing, H is never formed

Pearlmutter 1994; Lanczos 1950, with full reorthogonalisation.
"""

from collections.abc import Callable, Mapping

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array, Layer

Loss = Callable[[Array], tuple[Array, Array]]  # y -> (value, gradient), e.g. partial(losses.mse, target=t)
LossJvp = Callable[[Array, Array], tuple[Array, Array]]  # (y, y_dot) -> both, differentiated along y_dot


def hessian_vector_product(
    network: Layer, x: Array, loss: Loss, loss_jvp: LossJvp, v: Mapping[str, Array], *, train: bool = False,
    rng: np.random.Generator | None = None,
) -> dict[str, Array]:  # fmt: skip
    """H v by parameter name, for H the Hessian of loss(network(x)); v names arrays like the parameters.

    Parameters that v does not name have no direction; all of them appear in the result. Gradients stay as they were.
    """
    params = dict(network.named_params())
    for name, direction in v.items():
        if name not in params or direction.shape != params[name].data.shape:
            raise ScratchnnError(f"v has {name!r} {[*direction.shape]}, which is no parameter of {network!r}")
    kept = {name: (param.grad, param.dot) for name, param in params.items()}
    try:
        for name, param in params.items():
            param.grad, param.dot = np.zeros_like(param.data), v.get(name)
        y, ctx = network.forward(x, train, rng)
        y_dot, ctx_dot = network.jvp(None, ctx)
        if y_dot is not None:
            _, dy = loss(y)
            _, dy_dot = loss_jvp(y, y_dot)
            network.backward_jvp(dy, dy_dot, ctx, ctx_dot)
        return {name: param.grad for name, param in params.items()}
    finally:
        for name, param in params.items():
            param.grad, param.dot = kept[name]


def flat_hessian_vector_product(
    network: Layer, x: Array, loss: Loss, loss_jvp: LossJvp
) -> tuple[Callable[[Array], Array], int]:
    """(v -> H v, size), where v [P] holds all parameters one after the other: what an eigenvalue solver wants."""
    shapes = {name: param.data.shape for name, param in network.named_params()}
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])

    def product(v: Array) -> Array:
        pieces = np.split(v, ends[:-1])
        named = {name: piece.reshape(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        hv = hessian_vector_product(network, x, loss, loss_jvp, named)
        return np.concatenate([hv[name].reshape(-1) for name in shapes])

    return product, int(ends[-1])


def top_eigenvalue(
    product: Callable[[Array], Array], size: int, rng: np.random.Generator, *, steps: int = 50,
    tolerance: float = 1e-6, dtype: type = np.float64,
) -> tuple[float, Array, float]:  # fmt: skip
    """(eigenvalue, unit eigenvector, residual |Hv - av|) of the largest eigenvalue of a symmetric matrix, by Lanczos.

    Stops once the residual is below `tolerance` times the eigenvalue's size, or after `steps` products.
    """
    basis: list[Array] = []
    alphas: list[float] = []
    betas: list[float] = []
    q = rng.standard_normal(size)
    q = (q / np.linalg.norm(q)).astype(dtype)
    while True:
        basis.append(q)
        w = product(q).astype(np.float64)
        alphas.append(float(w @ q))
        for known in basis:  # full reorthogonalisation: rounding would bring found eigenvalues back as ghosts
            w -= float(w @ known) * known
        beta = float(np.linalg.norm(w))
        values, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(betas, -1))  # eigh reads the lower triangle
        residual = beta * abs(float(vectors[-1, -1]))
        done = residual <= tolerance * abs(float(values[-1]))
        if done or len(basis) == min(steps, size):
            vector: Array = np.stack(basis, 1) @ vectors[:, -1]
            return float(values[-1]), vector / np.linalg.norm(vector), residual
        betas.append(beta)
        q = (w / beta).astype(dtype)
