"""The GAN: exact gradients of both phases, each leaving the other player alone, and the Parzen window."""

from dataclasses import replace
from math import log, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_laws import gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import Dropout
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Layer
from scratchnn.random import stream
from scratchnn_models import gan, gan_pictures, parzen
from scratchnn_models.gan import GAN, Recipe, Training
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(latent=6, hidden=24, epochs=2, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: Any) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())


class Only(GAN):
    """A GAN of which only one player counts as trained."""

    player = ""

    def named_params(self) -> Any:
        return ((name, param) for name, param in super().named_params() if name.startswith(self.player))


def one_player(player: str) -> Only:
    net = Only(5, 12, rng=stream(0, "init"), dtype=np.float64)
    net.player = player
    return net


def cast(net: Layer, dtype: Any) -> None:
    """The other player too, which the law does not know of."""
    for _, param in GAN.named_params(net):  # type: ignore[arg-type]
        param.data, param.grad = param.data.astype(dtype), param.grad.astype(dtype)


def test_gradient_of_the_discriminator_and_none_of_the_generator() -> None:
    net, real, fake = one_player("discriminator"), RNG.random((4, 1, 28, 28)), RNG.random((4, 1, 28, 28))

    def objective(net: GAN) -> complex:
        dtype = next(net.params()).data.dtype
        return complex(net.discriminate(real.astype(dtype), fake.astype(dtype), stream(0, "dropout")))

    gradient_is_exact(net, objective)
    assert not any(param.grad.any() for param in net.generator.params())


def test_gradient_of_the_generator_through_the_discriminator_and_none_of_that() -> None:
    net, z = one_player("generator"), RNG.uniform(-1, 1, (4, 5))

    def objective(net: GAN) -> complex:
        dtype = next(net.params()).data.dtype
        cast(net, dtype)
        fake, ctx = net.generator.forward(z.astype(dtype), train=True)
        return complex(net.fool(fake, ctx, stream(0, "dropout")))

    gradient_is_exact(net, objective)
    assert not any(param.grad.any() for param in net.discriminator.params())


def test_the_losses_by_their_definition() -> None:
    net, x = GAN(5, 12, rng=stream(0, "init"), dtype=np.float64), RNG.random((2, 4, 1, 28, 28))
    net.discriminator.layers = tuple(layer for layer in net.discriminator.layers if type(layer).__name__ != "Dropout")
    d = [1 / (1 + np.exp(-net.discriminator.forward(part)[0])) for part in x]
    found = net.discriminate(*x, stream(0, "dropout"))
    assert found == pytest.approx(-np.log(d[0]).mean() - np.log(1 - d[1]).mean())
    _, ctx = net.generator.forward(RNG.uniform(-1, 1, (4, 5)))
    assert net.fool(x[1], ctx, stream(0, "dropout")) == pytest.approx(-np.log(d[1]).mean())


def test_a_phase_lowers_its_own_loss() -> None:
    task = training()
    real, z = task.batch(0)

    def losses() -> tuple[float, float]:
        fake, ctx = task.net.generator.forward(z, train=True)
        return (
            float(task.net.discriminate(real, fake, stream(0, "dropout"))),
            float(task.net.fool(fake, ctx, stream(0, "dropout"))),
        )

    for player, optimizer in enumerate(task.optimizers.values()):
        optimizer.zero_grad()
        before = losses()
        optimizer.step()
        assert losses()[player] < before[player]


def test_the_mean_of_the_generators_draws_the_images() -> None:
    task = training(average=0.75)
    key = "0.weight"
    before = task.net.generator.state_dict()[key].copy()
    task.train_step(0)
    after = task.net.generator.state_dict()[key]
    np.testing.assert_allclose(task.net.mean.state_dict()[key], 0.75 * before + 0.25 * after, rtol=1e-5)
    z = RNG.uniform(-1, 1, (300, 6)).astype(np.float32)
    task.net.settle(z)
    expected, _ = task.net.mean.forward(z, train=True)  # by the statistics of these very z
    np.testing.assert_allclose(task.net.decode(z), expected, rtol=0.02, atol=0.01)


def test_r1_is_no_gradient_of_a_discriminator_with_dropout() -> None:
    with pytest.raises(ScratchnnError, match="r1 takes the gradient of D as it is, without dropout"):
        training(dropout=0.5)
    dropped = [
        layer.p for layer in training(r1=0.0, dropout=0.5).net.discriminator.layers if isinstance(layer, Dropout)
    ]
    assert dropped == [0.2, 0.5, 0.5], "the paper's"


def test_r1_holds_the_discriminator_back() -> None:
    """The penalty is logged, and a large one leaves D flat at real images; the rate ends near zero."""
    free, held = training(r1=0.0), training(r1=1000.0)
    penalties = [held.train_step(step)["r1"] for step in range(held.steps)]
    assert all("r1" not in free.train_step(step) for step in range(free.steps))

    def steepness(task: Training) -> float:
        real, _ = task.batch(0)
        scores, ctx = task.net.discriminator.forward(real)
        return float(np.square(task.net.discriminator.backward(np.ones_like(scores), ctx)).sum())

    assert 0 < penalties[-1] < penalties[0] and steepness(held) < 0.1 * steepness(free)
    assert 0 < held.optimizers["generator"].lr < 0.1 * held.recipe.lr


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_the_parzen_window_by_its_definition() -> None:
    samples, x = RNG.random((7, 3)), RNG.random((4, 3))
    for i, sigma in enumerate(sigmas := np.array([0.1, 0.7])):
        square = ((x[:, None] - samples) ** 2).sum(2)
        density = np.exp(-square / (2 * sigma**2)).mean(1) / (2 * pi * sigma**2) ** 1.5
        np.testing.assert_allclose(parzen.log_likelihood(samples, x, sigmas)[i], np.log(density), rtol=1e-10)


def test_the_parzen_window_where_every_sample_is_far() -> None:
    x, samples = np.ones((2, 784), np.float32), np.zeros((5, 784), np.float32)
    [found] = parzen.log_likelihood(samples, x, np.array([0.1]))
    assert found == pytest.approx(-784 / 0.02 - 392 * log(2 * pi * 0.01), rel=1e-5)


def test_sigma_is_the_deviation_of_noise_around_samples_and_the_test_images_do_not_choose_it() -> None:
    samples = 10 * RNG.standard_normal((50, 40))
    near = samples[RNG.integers(0, 50, 400)] + 0.2 * RNG.standard_normal((400, 40))
    mean, error, sigma = parzen.judged(samples, near, near[:100] + 0.0)
    assert sigma == pytest.approx(0.2, abs=0.011)
    assert mean == pytest.approx(-log(50) - 20 * (log(2 * pi * 0.04) + 1), abs=1.5) and 0 < error < 1
    assert parzen.judged(samples, near, samples)[2] == sigma


def test_k_means_finds_the_middles_of_heaps() -> None:
    middles = 10 * np.eye(4, 6)
    x = np.repeat(middles, 30, 0) + 0.01 * RNG.standard_normal((120, 6))
    centres = parzen.k_means(x, 4, np.random.default_rng(3), rounds=20)
    distances = parzen.squared_distances(x, centres)
    first = parzen.squared_distances(x, parzen.k_means(x, 4, np.random.default_rng(3), rounds=0))
    assert distances.min(1).sum() <= first.min(1).sum()
    for j in np.unique(nearest := distances.argmin(1)):  # each centre is the mean of its own
        np.testing.assert_allclose(centres[j], x[nearest == j].mean(0))


def test_a_way_between_noises() -> None:
    way = gan_pictures.between(np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]]), 3)
    np.testing.assert_allclose(way, [[0, 1], [0.5, 2], [1, 3]])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parzen, "SAMPLES", 60)
    monkeypatch.setattr(gan.parzen, "SIGMAS", np.linspace(0.1, 0.5, 3))
    pictures = {
        "losses.png", "gradients.png", "judged.png", "samples.png", "interpolation.png",
    }  # fmt: skip
    changes = {"latent": 6, "hidden": 24, "epochs": 10}
    report = trains_by_command("gan", changes, tmp_path / "run", monkeypatch, pictures)
    assert report["parzen_standard_error"] > 0
    frames = {int(path.stem.removeprefix("step-")) for path in (tmp_path / "run" / "samples").glob("*.png")}
    assert frames == {1, 2, 4, 8, *range(10, 101, 10)}
    with Image.open(tmp_path / "run" / "film.gif") as film, Image.open(tmp_path / "run" / "samples.png") as last:
        assert film.n_frames > 5 and film.size == last.size  # equal frames become one
