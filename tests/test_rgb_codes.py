"""RGB images in bits: the likelihood of bytes, exact gradients of both coders, and what their bounds add up to."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn.data import Dataset
from scratchnn.random import stream
from scratchnn_models import discretized_logistic, gaussian
from scratchnn_models.rgb_codes import Coder, GaussianCoder, Recipe, SymbolCoder, Training
from scratchnn_models.symbol_prior import contexts
from tiny_run import VALIDATION, digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(channels=4, latent=5, entries=12, epochs=2, prior_epochs=1, batch_size=25, validation=VALIDATION)
KINDS = ("vae", "vq")


@cache
def tiny_pictures() -> Dataset:
    """Digits in three grounds, with a border: [N,3,32,32]."""
    parts = []
    for name, count in (("train", 100 + VALIDATION), ("test", 40)):
        images, labels = digits(name, count, channels=3)
        parts += [np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=255), labels]
    return Dataset("emoji", tuple("0123456789"), *parts)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_pictures())  # type: ignore[arg-type]


def test_the_likelihoods_of_all_bytes_add_up_to_one() -> None:
    y = RNG.normal(size=(1, 6, 1, 1)) * np.array([1, 1, 1, 3, 3, 3])[None, :, None, None]
    x = np.broadcast_to(np.arange(256)[:, None, None, None] / 255, (256, 1, 1, 1))
    for i in range(3):
        of_one = np.broadcast_to(y[:, i::3], (256, 2, 1, 1))
        assert np.exp(-discretized_logistic.nll(of_one, x)).sum() == pytest.approx(1, rel=1e-12)


def test_the_likelihood_by_the_definition() -> None:
    y, x = 0.2 * RNG.normal(size=(3, 2, 4, 5)), RNG.integers(0, 256, (3, 1, 4, 5)) / 255
    x[0, 0, 0, :2] = 0, 1
    mean, log_scale = discretized_logistic.split(y)
    np.testing.assert_allclose(log_scale, np.log1p(np.exp(y[:, 1:] + 5)) - 7)

    def below(edge: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(edge - mean) / np.exp(log_scale)))

    upper = np.where(x == 1, 1, below(x + 1 / 510))
    lower = np.where(x == 0, 0, below(x - 1 / 510))
    expected = -np.log(upper - lower).sum((1, 2, 3))
    np.testing.assert_allclose(discretized_logistic.nll(y, x), expected, rtol=1e-9)
    np.testing.assert_allclose(discretized_logistic.loss(y, x)[0], expected.sum(), rtol=1e-9)


def test_the_gradient_of_the_likelihood_at_both_ends_and_between() -> None:
    y, x = RNG.normal(size=(3, 6, 4, 5)), RNG.integers(0, 256, (3, 3, 4, 5)) / 255
    x[0, 0, 0, :2] = 0, 1
    _, dy = discretized_logistic.loss(y, x)
    for place in np.ndindex(3, 6, 2, 2):
        moved = y.astype(complex)
        moved[place] += 1e-30j
        assert dy[place] == pytest.approx(discretized_logistic.loss(moved, x)[0].imag / 1e-30, rel=1e-10, abs=1e-12)


def test_a_mean_far_away_costs_much_and_breaks_nothing() -> None:
    y = np.zeros((1, 2, 1, 3), np.float32)
    y[:, 0], y[:, 1] = 100, -60  # as narrow as it gets
    value, dy = discretized_logistic.loss(y, np.array([[[[0, 0.4, 1]]]], np.float32))
    assert np.isfinite(value) and value > 1e4 and np.isfinite(dy).all()


def test_gradient_of_the_vae() -> None:
    net = GaussianCoder(2, 3, rng=stream(0, "init"), dtype=np.float64)
    x, noise = RNG.integers(0, 256, (2, 3, 32, 32)) / 255, RNG.standard_normal((2, 3))

    def objective(net: GaussianCoder) -> complex:
        terms = net.objective(x.astype(next(net.params()).data.dtype), noise, 0.7)
        return complex(terms["reconstruction"] + 0.7 * terms["kl"])

    gradient_is_exact(net, objective)


def test_gradient_of_the_surrogate_of_the_vq_vae() -> None:
    net = SymbolCoder(2, 5, 3, rng=stream(0, "init"), dtype=np.float64)
    x = RNG.integers(0, 256, (2, 3, 32, 32)) / 255
    del net.prior  # it has its own loss

    def objective(net: SymbolCoder) -> complex:
        terms, _, _ = net.objective(x.astype(next(net.params()).data.dtype), 3.0)
        return complex(terms["reconstruction"] + 3 * terms["commitment"])

    gradient_is_exact(net, objective)


def test_the_bounds_are_made_of_what_they_say() -> None:
    x = RNG.integers(0, 256, (4, 3, 32, 32)).astype(np.float32) / 255
    vq = SymbolCoder(2, 5, 3, rng=stream(0, "init"))
    terms, _, c = vq.objective(x, 1.0)
    seen, code = vq.bound(x, stream(0, "b"))
    assert seen.mean() == pytest.approx(float(terms["reconstruction"]), rel=1e-5)
    scores, _ = vq.prior.scores(contexts(c, 5))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    picked = p[np.arange(len(p)), c.ravel()].reshape(4, -1)
    np.testing.assert_allclose(code, -np.log(picked).sum(1), rtol=1e-4)
    vae = GaussianCoder(2, 3, rng=stream(0, "init"))
    noise = stream(0, "b").standard_normal((4, 3), np.float32)
    terms = vae.objective(x, noise)
    np.testing.assert_allclose(vae.bound(x, stream(0, "b")).mean(1), [terms["reconstruction"], terms["kl"]], rtol=1e-5)


def test_bits_are_nats_by_byte() -> None:
    task = training()
    task.net.bound = lambda x, rng: np.stack([np.full(len(x), 3072 * np.log(2)), np.full(len(x), 1536 * np.log(2))])
    assert task._bits(np.zeros((7, 3, 32, 32), np.float32)) == pytest.approx((1.0, 0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_lowers_the_bound_of_its_batch(kind: str) -> None:
    task = training(kind=kind, warmup=0.0)
    x = task.batch(0)

    def loss() -> float:
        return float(task.net.bound(x, stream(0, "b"))[0].mean())

    a_step_lowers(loss, lambda: task.train_step(0))


def test_the_prior_learns_in_the_last_epochs_and_the_coder_rests() -> None:
    task = training(kind="vq", epochs=3, prior_epochs=2)
    first = task.net.codebook.weight.data.copy()
    found = [task.train_step(step) for step in range(5)]
    assert np.abs(task.net.codebook.weight.data - first).max() > 0.01  # it follows as long as the coder learns
    coder, book = task.net.encoder.state_dict()["0.weight"].copy(), task.net.codebook.weight.data.copy()
    found += [task.train_step(step) for step in range(5, task.steps)]
    assert "loss" in found[3] and found[-1]["prior_nats_per_symbol"] < found[4]["prior_nats_per_symbol"]
    np.testing.assert_array_equal(task.net.encoder.state_dict()["0.weight"], coder)
    np.testing.assert_array_equal(task.net.codebook.weight.data, book)


def test_the_weight_of_the_kl_warms_up() -> None:
    task = training(warmup=0.5)
    found = [task.train_step(step)["kl_weight"] for step in range(task.steps)]
    assert task.steps == 8 and found == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_numbers_and_resuming(kind: str) -> None:
    same_seed_same_numbers_and_resumes(lambda seed: training(seed, kind=kind))


def test_means_of_codes_decode_to_images() -> None:
    x = RNG.random((3, 3, 32, 32)).astype(np.float32)
    net: Coder = GaussianCoder(4, 5, rng=stream(0, "init"))
    z = net.encode(x)
    assert z.shape == (3, 5)
    np.testing.assert_array_equal(z, gaussian.split(net.encoder.forward(x)[0])[0])
    assert net.decode(z).shape == x.shape and 0 <= net.decode(z).min() <= net.decode(z).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_command(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"kind": kind, "channels": 4, "latent": 5, "entries": 12, "epochs": 2, "prior_epochs": 1}
    pictures = {"curves.png", "reconstructions.png", "samples.png"}
    report = trains_by_command("rgb_codes", changes, tmp_path / "run", monkeypatch, pictures, tiny_pictures)
    assert 0 < report["bits_of_code"] < report[f"{kind}_bits_per_dim"] < 12 and report[f"{kind}_test_mse"] < 0.3
