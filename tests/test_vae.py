"""The variational autoencoder: exact gradients, the closed-form KL, and a likelihood that quadrature confirms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, total, trains_by_command
from scratchnn import ScratchnnError
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import gaussian, vae
from scratchnn_models.vae import VAE, Recipe, Training, binarized, nll
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(hidden=24, latent=3, epochs=2, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


def images(count: int) -> Array:
    return (RNG.random((count, 1, 28, 28)) < 0.3).astype(float)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize(("beta", "free_bits"), [(1.0, 0.0), (0.3, 0.0), (2.0, 0.02)])
def test_gradient_of_the_bound(kind: str, beta: float, free_bits: float) -> None:
    net = VAE(kind, 12, 4, rng=stream(0, "init"), dtype=np.float64)
    x, noise = images(3), RNG.standard_normal((3, 4))
    if free_bits:  # it must bite on some of the latent numbers, and not on others
        kl = gaussian.kl(net.encoder.forward(x)[0]).mean(0)
        free_bits = float(np.sort(kl)[1:3].mean())

    def objective(net: VAE) -> complex:
        dtype = next(net.params()).data.dtype
        terms = net.objective(x.astype(dtype), noise.astype(dtype), beta, free_bits)
        return total(terms, {"reconstruction": 1, "kl": beta})

    gradient_is_exact(net, objective)


def test_the_kl_is_what_monte_carlo_says() -> None:
    code = np.array([[0.5, -1.0, 0.3, -0.7]])
    z = gaussian.sample(code, RNG.standard_normal((400_000, 2)))
    estimate = gaussian.log_density(z, *gaussian.split(code)) - gaussian.log_density(z)
    assert gaussian.kl(code).sum() == pytest.approx(estimate.mean(), abs=4 * estimate.std() / 400_000**0.5)
    assert gaussian.kl(np.zeros((2, 6))).sum() == 0


def test_importance_sampling_finds_the_likelihood_that_quadrature_finds() -> None:
    net = VAE("mlp", 8, 1, rng=stream(0, "init"))
    for param in net.decoder.params():
        param.data *= 2  # so that z matters; the encoder stays near the prior, so that nothing is missed
    x = (np.random.default_rng(1).random((2, 1, 28, 28)) < 0.3).astype(np.float32)
    z = np.linspace(-8, 8, 4001, dtype=np.float32)[:, None]
    logits = net.decoder.forward(z)[0].reshape(4001, -1).astype(float)
    log_joint = (x.reshape(2, 1, -1) * logits - np.logaddexp(0, logits)).sum(2) + gaussian.log_density(z)
    top = log_joint.max(1, keepdims=True)
    exact = -(top[:, 0] + np.log(np.exp(log_joint - top).sum(1) * 16 / 4000)).mean()
    few, many = nll(net, x, stream(0, "importance"), (50, 5000))
    assert many == pytest.approx(exact, abs=0.05)
    assert few == pytest.approx(exact, abs=3)


def test_a_decoder_that_ignores_its_code_has_an_exact_likelihood() -> None:
    net = VAE("mlp", 8, 2, rng=stream(0, "init"))
    for param in net.params():
        param.data[...] = 0
    last = dict(net.named_params())["decoder.4.bias"]
    last.data[...] = np.log(0.25 / 0.75)
    x = images(5).astype(np.float32)
    black = x.mean() * 784
    exact = -(black * np.log(0.25) + (784 - black) * np.log(0.75))
    assert nll(net, x, stream(0, "i"), (10, 20)) == pytest.approx([exact, exact], rel=1e-5)


def test_a_step_lowers_the_bound_of_its_batch() -> None:
    task = training(warmup=0.0)
    x, noise = task.batch(0)
    a_step_lowers(lambda: sum(task.net.objective(x, noise).values()), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_beta_warms_up_and_its_weight_is_logged() -> None:
    task = training(warmup=0.5, beta=4.0)
    logged = [task.train_step(step) for step in range(task.steps)]
    assert [found["kl_weight"] for found in logged[:2]] == [0.4, 0.8] and logged[-1]["kl_weight"] == 4.0
    for found in logged:
        assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl_weight"] * found["kl"])


def test_black_pixels_are_as_frequent_as_their_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8), 2000).reshape(256, 2000)
    x = binarized(grey, stream(0, "a"))
    assert set(np.unique(x)) == {0, 1} and not x[0].any() and x[255].all()
    assert np.abs(x.mean(1) - np.arange(256) / 255).max() < 0.05


def test_recipes_that_cannot_be_followed() -> None:
    with pytest.raises(ScratchnnError, match="kind is 'rnn'; one of mlp, conv is expected"):
        training(kind="rnn")


def test_the_test_images_are_binarised_alike_for_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Array] = []
    monkeypatch.setattr(vae, "nll", lambda net, x, rng, counts: seen.append(x) or [0.0, 0.0])
    for seed in (0, 1):
        training(seed).test()
    np.testing.assert_array_equal(*seen)
    assert seen[0].shape == (200, 1, 28, 28) and set(np.unique(seen[0])) == {0, 1}


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_the_command(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "COUNTS", (5, 25))
    pictures = {"curves.png", "samples.png", "reconstructions.png", "units.png", "latent.png", "plane.png"}
    changes = {"kind": kind, "hidden": 16, "latent": 2, "epochs": 5}
    report = trains_by_command("vae", changes, tmp_path / "run", monkeypatch, pictures)
    prefix = "" if kind == "mlp" else "conv_"
    nelbo, few, many = (report[f"{prefix}{name}"] for name in ("nelbo_nats", "nll_nats_is200", "nll_nats_is5000"))
    assert many < few < nelbo and list((tmp_path / "run" / "samples").glob("*.png"))
