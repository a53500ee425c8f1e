"""Hessian-vector products and Lanczos, against dense Hessians by the complex step; and the losses' own tangents."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import scratchnn
from compare import H, assert_bits, assert_close
from scratchnn import losses
from scratchnn.errors import ScratchnnError
from scratchnn.hessian import flat_hessian_vector_product, hessian_vector_product, top_eigenvalue
from scratchnn_models.lenet import LeNet

RNG = np.random.default_rng(7)
X, LABELS = RNG.standard_normal((5, 2, 6, 6)), np.array([0, 2, 1, 1, 0])


def network() -> scratchnn.Sequential:
    rng = np.random.default_rng(3)
    return scratchnn.Sequential(
        scratchnn.Conv2d(2, 3, 3, rng=rng, dtype=np.float64),
        scratchnn.BatchNorm2d(3, dtype=np.float64),
        scratchnn.GELU(),
        scratchnn.MaxPool2d(2),
        scratchnn.Flatten(),
        scratchnn.Linear(12, 3, rng=rng, dtype=np.float64),
    )


LOSS = partial(losses.cross_entropy, target=LABELS, label_smoothing=0.1)
LOSS_JVP = partial(losses.cross_entropy_jvp, target=LABELS, label_smoothing=0.1)


def gradient(net: scratchnn.Layer) -> np.ndarray:
    y, ctx = net.forward(X)
    for param in net.params():
        param.grad = np.zeros_like(param.data)
    net.backward(LOSS(y)[1], ctx)
    return np.concatenate([param.grad.reshape(-1) for param in net.params()])


def dense_hessian(net: scratchnn.Layer) -> np.ndarray:
    """Column by column: the gradient at theta + i h e_j."""
    columns = []
    for param in net.params():
        for j in range(param.data.size):
            kept = param.data
            nudge = np.zeros(kept.shape, complex)
            nudge.flat[j] = 1j * H
            for other in net.params():
                other.data = other.data.astype(complex)
            param.data = kept + nudge
            columns.append(gradient(net).imag / H)
            for other in net.params():
                other.data = other.data.real.copy()
            param.data = kept
    return np.stack(columns, 1)


def test_products_are_the_dense_hessian_s() -> None:
    net = network()
    dense = dense_hessian(net)
    assert_close(dense, dense.T, 1e-12, "symmetry")
    product, size = flat_hessian_vector_product(net, X, LOSS, LOSS_JVP)
    assert size == len(dense)
    for _ in range(3):
        v = RNG.standard_normal(size)
        assert_close(product(v), dense @ v, 1e-12, "H v")


def test_lanczos_finds_the_top_eigenvalue() -> None:
    net = network()
    product, size = flat_hessian_vector_product(net, X, LOSS, LOSS_JVP)
    value, vector, residual = top_eigenvalue(product, size, np.random.default_rng(0), tolerance=1e-8)
    assert abs(value - np.linalg.eigvalsh(dense_hessian(net))[-1]) < 1e-8 * value
    assert np.linalg.norm(product(vector) - value * vector) < 1e-6 * value
    assert residual <= 1e-8 * value


def test_lanczos_ends_on_a_small_matrix_and_on_zero() -> None:
    matrix = np.diag([3.0, -5.0, 1.0])
    value, vector, _ = top_eigenvalue(matrix.dot, 3, np.random.default_rng(0))
    assert value == pytest.approx(3)
    assert abs(vector[0]) == pytest.approx(1)
    assert top_eigenvalue(np.zeros_like, 4, np.random.default_rng(0))[0] == 0


def spectrum(size: int, scale: float = 1.0) -> tuple[np.ndarray, list[int]]:
    """A symmetric matrix of known eigenvalues in a random basis, and a list for the products that are asked of it."""
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((size, size)))[0]
    return scale * (basis * np.linspace(-2, 1, size) ** 3) @ basis.T, []


def counted(matrix: np.ndarray, products: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda v: (products.append(1), matrix @ v)[1]


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_lanczos_stops_after_its_steps_and_says_how_far_it_is(steps: int) -> None:
    matrix, products = spectrum(30)
    rng = np.random.default_rng(0)
    value, vector, residual = top_eigenvalue(counted(matrix, products), 30, rng, steps=steps, tolerance=0)
    assert len(products) == steps
    assert residual == pytest.approx(np.linalg.norm(matrix @ vector - value * vector))
    assert value == pytest.approx(vector @ matrix @ vector)


@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_lanczos_s_tolerance_is_relative(scale: float) -> None:
    """So the size of the loss makes no difference to the number of products."""
    runs = []
    for factor in (1.0, scale):
        matrix, products = spectrum(60, factor)
        value, _, residual = top_eigenvalue(counted(matrix, products), 60, np.random.default_rng(0), tolerance=1e-3)
        assert residual <= 1e-3 * value
        runs.append((len(products), value / factor))
    assert runs[0] == runs[1] and runs[0][0] < 50


def test_lanczos_makes_no_more_products_than_there_are_dimensions() -> None:
    matrix, products = spectrum(6)
    value, _, _ = top_eigenvalue(counted(matrix, products), 6, np.random.default_rng(0), tolerance=0)
    assert value == pytest.approx(1) and len(products) <= 6


def test_the_eigenvector_has_length_one_in_float32_too() -> None:
    matrix, products = spectrum(30)
    _, vector, _ = top_eigenvalue(counted(matrix, products), 30, np.random.default_rng(0), dtype=np.float32)
    assert abs(np.linalg.norm(vector) - 1) < 1e-15


def test_the_passes_are_those_of_training_if_asked() -> None:
    """Dropout with a generator: its mask goes into the product; without one, training is refused."""
    net = scratchnn.Sequential(scratchnn.Dropout(0.5), *network().layers)
    v = {"6.weight": RNG.standard_normal((3, 12))}
    products = [
        hessian_vector_product(net, X, LOSS, LOSS_JVP, v, train=True, rng=np.random.default_rng(seed))["6.weight"]
        for seed in (0, 0, 1)
    ]
    assert_bits(products[0], products[1], "the same mask")
    evaluated = hessian_vector_product(net, X, LOSS, LOSS_JVP, v, rng=np.random.default_rng(0))["6.weight"]
    assert np.abs(products[0] - products[2]).max() > 1e-3 < np.abs(products[0] - evaluated).max()
    with pytest.raises(scratchnn.LayerError, match="rng=generator"):
        hessian_vector_product(net, X, LOSS, LOSS_JVP, v, train=True)


def test_nothing_of_the_network_changes() -> None:
    net = network()
    for param in net.params():
        param.grad[...] = RNG.standard_normal(param.grad.shape)
        param.dot = param.grad + 1
    before = [(p.data.copy(), p.grad, p.grad.copy(), p.dot) for p in net.params()]
    hessian_vector_product(net, X, LOSS, LOSS_JVP, {"5.bias": np.ones(3)})
    for param, (data, grad, values, dot) in zip(net.params(), before, strict=True):
        assert_bits(param.data, data, "data")
        assert param.grad is grad
        assert_bits(grad, values, "grad")
        assert param.dot is dot


def test_directions_that_are_absent_or_wrong() -> None:
    net = network()
    nothing = hessian_vector_product(net, X, LOSS, LOSS_JVP, {})
    assert nothing.keys() == dict(net.named_params()).keys()
    assert not any(array.any() for array in nothing.values())
    for wrong in ({"5.bias": np.ones(4)}, {"6.bias": np.ones(3)}):
        with pytest.raises(ScratchnnError, match="no parameter"):
            hessian_vector_product(net, X, LOSS, LOSS_JVP, wrong)


def test_the_example_of_the_docs_runs(tmp_path: Path) -> None:
    scratchnn.save_weights(LeNet(rng=np.random.default_rng(0)), tmp_path / "weights.safetensors")
    example = Path(__file__).parent.parent / "docs" / "examples" / "top_eigenvalue.py"
    command = [sys.executable, example, tmp_path, "--images", "20", "--steps", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "of the 6,582 x 6,582 Hessian" in done.stdout


PAIRS = [
    (losses.mse, losses.mse_jvp, {}),
    (losses.l1, losses.l1_jvp, {}),
    (losses.bce_with_logits, losses.bce_with_logits_jvp, {}),
    (losses.cross_entropy, losses.cross_entropy_jvp, {}),
    (losses.cross_entropy, losses.cross_entropy_jvp, {"label_smoothing": 0.3}),
]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("loss", "jvp", "options"), PAIRS)
def test_losses_second_order(loss, jvp, options, reduction) -> None:
    x, x_dot = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
    target = np.array([0, 2, 1, 1]) if loss is losses.cross_entropy else RNG.uniform(size=(4, 3))
    value, grad = loss(x + 1j * H * x_dot, target, reduction=reduction, **options)
    value_dot, grad_dot = jvp(x, x_dot, target, reduction=reduction, **options)
    assert_close(np.array(value_dot), np.array(value.imag / H), 1e-12, "value_dot")
    assert_close(grad_dot, grad.imag / H, 1e-12, "gradient_dot")
    u = RNG.standard_normal((4, 3))
    _, hu = jvp(x, u, target, reduction=reduction, **options)
    assert abs((u * grad_dot).sum() - (x_dot * hu).sum()) < 1e-12


@pytest.mark.parametrize(("loss", "jvp", "options"), PAIRS)
def test_losses_refuse_a_wrong_tangent(loss, jvp, options) -> None:
    x = RNG.standard_normal((4, 3))
    target = np.array([0, 2, 1, 1]) if loss is losses.cross_entropy else np.full((4, 3), 0.5)
    with pytest.raises(ValueError, match="x_dot is"):
        jvp(x, x[:1], target, **options)
