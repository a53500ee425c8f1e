"""Optimizers. All parameters lie in one flat buffer, so that a step is one pass over memory.

Making an optimizer moves the parameters' data and gradients into its buffer; `param.data` stays the same to the eye.
The rate is set by assigning `optimizer.lr`, e.g. from a schedule: `optimizer.lr = cosine(step, ...)`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array, Param


class FlatParams:
    """The trainable parameters among `params` as two flat buffers, data and grad, of which they become views."""

    def __init__(self, params: Iterable[Param]) -> None:
        self.params = [param for param in params if param.trainable]
        if not self.params:
            raise ScratchnnError("an optimizer needs at least one trainable parameter, and got none")
        dtypes = {str(param.data.dtype) for param in self.params}
        if len(dtypes) > 1:
            raise ScratchnnError(f"an optimizer needs parameters of one dtype, and got {', '.join(sorted(dtypes))}")
        self.data: Array = np.concatenate([param.data.reshape(-1) for param in self.params])
        self.grad: Array = np.concatenate([param.grad.reshape(-1) for param in self.params])
        self._views: list[tuple[Param, Array, Array]] = []
        at = 0
        for param in self.params:
            end = at + param.data.size
            param.data = self.data[at:end].reshape(param.data.shape)
            param.grad = self.grad[at:end].reshape(param.data.shape)
            self._views.append((param, param.data, param.grad))
            at = end

    def check(self) -> None:
        """Raise if a parameter's arrays were replaced since, e.g. by astype or a second optimizer."""
        for i, (param, data, grad) in enumerate(self._views):
            if param.data is not data or param.grad is not grad:
                raise ScratchnnError(
                    f"parameter {i} {[*data.shape]} has left this optimizer's buffer (astype, or another optimizer); "
                    "make the optimizer last, or assign in place: param.data[...] = values"
                )


class SGD:
    """Stochastic gradient descent with momentum, in PyTorch's form (velocity = momentum * velocity + gradient)."""

    def __init__(
        self, params: Iterable[Param], lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:  # fmt: skip
        self.flat = FlatParams(params)
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov
        self.velocity = np.zeros_like(self.flat.data)

    def step(self) -> None:
        """Move every parameter against its gradient; the gradients stay until zero_grad."""
        self.flat.check()
        kernels.sgd_update(
            self.flat.data, self.flat.grad, self.velocity, lr=self.lr, momentum=self.momentum,
            weight_decay=self.weight_decay, nesterov=self.nesterov,
        )  # fmt: skip

    def zero_grad(self) -> None:
        """Set all gradients to zero, in one pass."""
        self.flat.grad.fill(0)

    def state_dict(self) -> dict[str, Array]:
        """What a resumed run needs besides the parameters."""
        return {"velocity": self.velocity}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Continue from a state_dict()."""
        _load(self, {"velocity": self.velocity}, state)


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1); weight_decay adds to the gradient."""

    decoupled = False

    def __init__(
        self, params: Iterable[Param], lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        self.flat = FlatParams(params)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.m, self.v = np.zeros_like(self.flat.data), np.zeros_like(self.flat.data)
        self.steps = np.zeros((), np.int64)

    def step(self) -> None:
        """Move every parameter by its gradient's running mean over the root of its running square."""
        self.flat.check()
        self.steps += 1
        kernels.adam_update(
            self.flat.data, self.flat.grad, self.m, self.v, lr=self.lr, betas=self.betas, eps=self.eps,
            weight_decay=self.weight_decay, decoupled=self.decoupled, step=int(self.steps),
        )  # fmt: skip

    def zero_grad(self) -> None:
        """Set all gradients to zero, in one pass."""
        self.flat.grad.fill(0)

    def state_dict(self) -> dict[str, Array]:
        """What a resumed run needs besides the parameters."""
        return {"m": self.m, "v": self.v, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Continue from a state_dict()."""
        _load(self, self.state_dict(), state)


class AdamW(Adam):
    """Adam with decoupled weight decay: the weights shrink by lr * weight_decay a step (Loshchilov & Hutter 2019)."""

    decoupled = True

    def __init__(
        self, params: Iterable[Param], lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)


class RMSprop:
    """RMSprop (Tieleman & Hinton 2012): w -= lr g / (sqrt(v) + eps), v the running mean of squared gradients."""

    def __init__(
        self, params: Iterable[Param], lr: float = 1e-2, *, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        self.flat = FlatParams(params)
        self.lr, self.alpha, self.eps, self.weight_decay = lr, alpha, eps, weight_decay
        self.m, self.v = np.zeros_like(self.flat.data), np.zeros_like(self.flat.data)

    def step(self) -> None:
        """Move every parameter by its gradient over the root of its running square."""
        self.flat.check()
        kernels.adam_update(  # Adam without a mean of gradients, so late that it no longer corrects for its beginning
            self.flat.data, self.flat.grad, self.m, self.v, lr=self.lr, betas=(0.0, self.alpha), eps=self.eps,
            weight_decay=self.weight_decay, step=1 << 40,
        )  # fmt: skip

    def zero_grad(self) -> None:
        """Set all gradients to zero, in one pass."""
        self.flat.grad.fill(0)

    def state_dict(self) -> dict[str, Array]:
        """What a resumed run needs besides the parameters."""
        return {"v": self.v}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Continue from a state_dict()."""
        _load(self, self.state_dict(), state)


def _load(optimizer: Any, own: dict[str, Array], state: dict[str, Array]) -> None:
    name = type(optimizer).__name__
    if state.keys() != own.keys():
        raise ScratchnnError(f"{name}: the state holds {', '.join(state)}; {', '.join(own)} is expected")
    for key, array in own.items():
        if state[key].shape != array.shape or state[key].dtype != array.dtype:
            came, expected = state[key], array
            raise ScratchnnError(
                f"{name}: {key} is {came.dtype}{[*came.shape]}; {expected.dtype}{[*expected.shape]} is expected"
            )
    for key, array in own.items():
        array[...] = state[key]
