"""SpectralNorm in training: the power iteration, PyTorch's vectors and gradients, and what it bounds."""

import copy
from typing import Any

import numpy as np
import pytest

import scratchnn as snn
from compare import assert_close
from scratchnn import LayerError
from scratchnn_kernels import KernelError

BODIES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Linear": (lambda **make: snn.Linear(5, 3, **make), (4, 5)),
    "Conv2d": (lambda **make: snn.Conv2d(2, 3, (3, 2), stride=2, padding=1, **make), (4, 2, 5, 6)),
    "ConvTranspose2d": (lambda **make: snn.ConvTranspose2d(3, 2, (3, 4), stride=2, **make), (4, 3, 4, 3)),
}


def made(name: str, **options: Any) -> snn.SpectralNorm:
    rng = np.random.default_rng(3)
    return snn.SpectralNorm(BODIES[name][0](rng=rng, dtype=np.float64), rng=rng, **options)


def test_a_matrix_is_divided_by_its_largest_singular_value() -> None:
    layer = made("Linear", n_power_iterations=200)
    w = layer.original.data.copy()
    y, _ = layer.forward(np.eye(5), train=True)
    bias = layer.state_dict()["bias"]
    assert_close((y - bias).T, w / np.linalg.svd(w)[1][0], 1e-10, "W^")


@pytest.mark.oracle
@pytest.mark.parametrize("name", BODIES)
def test_training_is_pytorchs(name: str, torch: Any) -> None:
    layer, shape = made(name, n_power_iterations=2), BODIES[name][1]
    kind = f"torch.nn.{layer.body!r}"
    twin = torch.nn.utils.parametrizations.spectral_norm(
        eval(kind, {"torch": torch}).double(), n_power_iterations=2
    )  # fmt: skip
    twin.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in layer.state_dict().items()})
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(shape)
        given = torch.from_numpy(x).requires_grad_()
        theirs = twin(given)
        y, ctx = layer.forward(x, train=True)
        assert_close(y, theirs.detach().numpy(), 1e-12, "y")
        dy = np.random.default_rng(9).standard_normal(y.shape)
        theirs.backward(torch.from_numpy(dy))
        assert_close(layer.backward(dy, ctx), given.grad.numpy(), 1e-12, "dx")
    for key, array in layer.state_dict().items():
        assert_close(array, twin.state_dict()[key].numpy(), 1e-12, key)
    for key, param in layer.named_params():
        assert_close(param.grad, dict(twin.named_parameters())[key].grad.numpy(), 1e-11, key)


@pytest.mark.parametrize("name", BODIES)
def test_a_context_keeps_the_vectors_of_its_forward(name: str) -> None:
    """A discriminator runs on real and on fake before it is asked back, and its vectors move in between."""
    alone, both, shape = made(name), made(name), BODIES[name][1]
    x, other = np.random.default_rng(0).standard_normal((2, *shape))
    y, ctx = alone.forward(x, train=True)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx = alone.backward(dy, ctx)
    _, first = both.forward(x, train=True)
    for _ in range(3):
        both.forward(other, train=True)
    np.testing.assert_array_equal(both.backward(dy, first), dx)
    for (key, a), (_, b) in zip(alone.named_params(), both.named_params(), strict=True):
        np.testing.assert_array_equal(a.grad, b.grad, err_msg=key)


def test_the_exact_derivative_where_the_vectors_have_settled() -> None:
    layer = made("Linear", n_power_iterations=300)
    x, dy, h = np.random.default_rng(0).standard_normal((4, 5)), np.random.default_rng(1).standard_normal((4, 3)), 1e-6
    _, ctx = layer.forward(x, train=True)
    layer.backward(dy, ctx)
    direction = np.random.default_rng(2).standard_normal((3, 5))
    values = []
    for sign in (1, -1):
        moved = copy.deepcopy(layer)
        moved.original.data += sign * h * direction
        values.append((moved.forward(x, train=True)[0] * dy).sum())
    assert (layer.original.grad * direction).sum() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-7)


def test_evaluation_leaves_the_vectors_and_an_optimizer_may_own_the_weight() -> None:
    layer = made("Conv2d")
    state = copy.deepcopy(layer.state_dict())
    layer.forward(np.ones((1, 2, 5, 6)))
    for key, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, state[key], err_msg=key)
    optimizer = snn.optim.SGD(layer.params(), 0.1)
    y, ctx = layer.forward(np.ones((1, 2, 5, 6)), train=True)
    layer.backward_params(np.ones_like(y), ctx)
    optimizer.step()
    assert (layer.state_dict()["parametrizations.weight.original"] != state["parametrizations.weight.original"]).any()
    assert layer.forward(np.ones((1, 2, 5, 6)))[0].flat[0] != y.flat[0]


def test_refusals() -> None:
    with pytest.raises(KernelError, match=r"SpectralNorm takes a Linear, Conv2d or ConvTranspose2d, and got ReLU\(\)"):
        snn.SpectralNorm(snn.ReLU())
    with pytest.raises(KernelError, match="n_power_iterations=0"):
        made("Linear", n_power_iterations=0)
    with pytest.raises(LayerError, match=r"SpectralNorm\(Linear\(5, 3\)\): x is float64 \[2,4\]"):
        made("Linear").forward(np.ones((2, 4)))
