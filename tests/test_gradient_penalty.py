"""Gradient penalties: their parameter gradients against PyTorch's double backward and against the complex step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnn as snn
from model_laws import gradient_is_exact
from scratchnn.layer import Array
from scratchnn_models.gradient_penalty import norms, r1, unit_norm

PENALTIES: dict[str, Callable[..., Array]] = {"r1": r1, "unit_norm": unit_norm}
MAKE: dict[str, Any] = {"dtype": np.float64}


def network(between: Callable[[], list[snn.Layer]]) -> snn.Sequential:
    """A critic of images [N,2,6,6] with these layers after its first convolution to 4 channels."""
    rng = np.random.default_rng(1)
    return snn.Sequential(
        snn.Conv2d(2, 4, 3, stride=1, padding=1, rng=rng, **MAKE), *between(),
        snn.Conv2d(4, 3, 4, stride=2, padding=1, rng=rng, **MAKE), snn.Tanh(), snn.Flatten(),
        snn.Linear(27, 1, bias=False, rng=rng, **MAKE),
    )  # fmt: skip


# What lies between has a second derivative (SiLU), none (LeakyReLU), mixes channels (norms), or has parameters that
# no tangent moves (GroupNorm, PReLU): another framework's double backward stops at exactly these.
BETWEEN: dict[str, Callable[[], list[snn.Layer]]] = {
    "SiLU": lambda: [snn.SiLU()],
    "LeakyReLU": lambda: [snn.LeakyReLU(0.2)],
    "GroupNorm": lambda: [snn.GroupNorm(2, 4, **MAKE), snn.SiLU()],
    "LayerNorm": lambda: [snn.GroupNorm(1, 4, **MAKE), snn.LeakyReLU(0.2)],
    "InstanceNorm2d": lambda: [snn.InstanceNorm2d(4, affine=True, **MAKE), snn.SiLU()],
    "PReLU": lambda: [snn.PReLU(4, **MAKE)],
    "AvgPool2d": lambda: [snn.Softplus(), snn.AvgPool2d(3, stride=1, padding=1)],
}


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_by_complex_step(penalty: str, between: str) -> None:
    net, x = network(BETWEEN[between]), np.random.default_rng(2).standard_normal((3, 2, 6, 6))

    def objective(net: snn.Sequential) -> complex:
        dtype = next(net.params()).data.dtype
        return complex(PENALTIES[penalty](net, x.astype(dtype), 0.7))

    gradient_is_exact(net, objective)


@pytest.mark.oracle
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_against_double_backward(penalty: str, between: str) -> None:
    torch = pytest.importorskip("torch")
    net, x = network(BETWEEN[between]), np.random.default_rng(2).standard_normal((3, 2, 6, 6))
    value = PENALTIES[penalty](net, x, 0.7)

    twin = torch.nn.Sequential(*(eval(f"torch.nn.{layer!r}", {"torch": torch}) for layer in net.layers)).double()
    twin.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in net.state_dict().items()})
    given = torch.from_numpy(x).requires_grad_()
    [g] = torch.autograd.grad(twin(given).sum(), given, create_graph=True)
    squares = g.square().sum((1, 2, 3))
    expected = squares.mean() * 0.35 if penalty == "r1" else 0.7 * ((squares + 1e-12).sqrt() - 1).square().mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    for (name, param), theirs in zip(net.named_params(), twin.parameters(), strict=True):
        wanted = np.zeros_like(param.data) if theirs.grad is None else theirs.grad.numpy()
        np.testing.assert_allclose(param.grad, wanted, rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_linear_critic_has_the_norm_of_its_weight() -> None:
    net = snn.Sequential(snn.Linear(5, 1, rng=np.random.default_rng(0), dtype=np.float64))
    length = np.linalg.norm(net.layers[0].weight.data)
    x = np.random.default_rng(1).standard_normal((4, 5))
    assert r1(net, x, 3.0) == pytest.approx(1.5 * length**2)
    assert unit_norm(net, x, 3.0) == pytest.approx(3 * (length - 1) ** 2)
    assert norms(np.array([[3.0, 4.0]]))[0, 0] == pytest.approx(5)


def test_the_penalty_adds_and_leaves_trainable_what_was() -> None:
    net, x = network(BETWEEN["SiLU"]), np.random.default_rng(2).standard_normal((3, 2, 6, 6))
    r1(net, x, 1.0)
    once = [param.grad.copy() for param in net.params()]
    r1(net, x, 1.0)
    for param, grad in zip(net.params(), once, strict=True):
        np.testing.assert_allclose(param.grad, 2 * grad)
        assert param.trainable
