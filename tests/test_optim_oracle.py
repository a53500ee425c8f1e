"""The optimizers against their formulas, written as loops over single numbers: PyTorch need not be there."""

from math import sqrt

import numpy as np
import pytest

from compare import assert_close
from scratchnn import Param
from scratchnn.optim import SGD, Adam, AdamW, RMSprop

STEPS = 4
RNG = np.random.default_rng(5)
START, GRADIENTS = RNG.standard_normal(3), RNG.standard_normal((STEPS, 3))


def run(make: object, **options: object) -> np.ndarray:
    param = Param(START.copy())
    optimizer = make([param], **options)
    for gradient in GRADIENTS:
        optimizer.zero_grad()
        param.grad += gradient
        optimizer.step()
    return param.data


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov: bool) -> None:
    expected = []
    for i, w in enumerate(START):
        velocity = 0.0
        for gradient in GRADIENTS[:, i]:
            g = gradient + 0.05 * w
            velocity = 0.8 * velocity + g
            w -= 0.1 * (g + 0.8 * velocity if nesterov else velocity)
        expected.append(w)
    found = run(SGD, lr=0.1, momentum=0.8, weight_decay=0.05, nesterov=nesterov)
    assert_close(found, np.array(expected), 1e-14, "w")


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_adam(kind: type) -> None:
    b1, b2, eps, decay, lr = 0.8, 0.95, 0.03, 0.2, 0.07
    expected = []
    for i, w in enumerate(START):
        m = v = 0.0
        for t, gradient in enumerate(GRADIENTS[:, i], 1):
            g = gradient + decay * w if kind is Adam else gradient
            w = w if kind is Adam else w - lr * decay * w
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            w -= lr * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)
        expected.append(w)
    found = run(kind, lr=lr, betas=(b1, b2), eps=eps, weight_decay=decay)
    assert_close(found, np.array(expected), 1e-14, "w")


def test_rmsprop() -> None:
    expected = []
    for i, w in enumerate(START):
        v = 0.0
        for gradient in GRADIENTS[:, i]:
            g = gradient + 0.2 * w
            v = 0.9 * v + 0.1 * g * g
            w -= 0.07 * g / (sqrt(v) + 0.03)
        expected.append(w)
    found = run(RMSprop, lr=0.07, alpha=0.9, eps=0.03, weight_decay=0.2)
    assert_close(found, np.array(expected), 1e-14, "w")


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_the_state_of_adam_has_the_names_of_the_paper(kind: type) -> None:
    param = Param(START.copy())
    optimizer = kind([param], betas=(0.75, 0.5))
    param.grad += GRADIENTS[0]
    optimizer.step()
    state = optimizer.state_dict()
    assert_close(state["m"], 0.25 * GRADIENTS[0], 1e-15, "m, the mean of the gradients")
    assert_close(state["v"], 0.5 * GRADIENTS[0] ** 2, 1e-15, "v, the mean of their squares")
    assert state["steps"] == 1
