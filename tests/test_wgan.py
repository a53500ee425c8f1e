"""The Wasserstein GANs: exact gradients of both phases, clipping, and a penalty in the critic's step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_laws import gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn.layer import Layer
from scratchnn.random import stream
from scratchnn_models import gradient_penalty, wgan, wgan_gp
from scratchnn_models.wgan import WGAN
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
MODELS: dict[str, Any] = {"wgan": wgan, "wgan_gp": wgan_gp}
EITHER = pytest.mark.parametrize("model", MODELS)


def training(model: str, seed: int = 0, **changes: Any) -> wgan.Training:
    own = MODELS[model]
    small = {"latent": 5, "width": 3, "critics": 2, "epochs": 2, "batch_size": 50, "validation": VALIDATION}
    return own.Training(replace(own.Recipe(), **small | changes), seed, tiny_digits())


class Only(WGAN):
    """A WGAN of which only one player counts as trained."""

    player = ""

    def named_params(self) -> Any:
        """Without the last bias, on which a difference of means does not depend."""
        own = ((name, param) for name, param in super().named_params() if name.startswith(self.player))
        return ((name, param) for name, param in own if param.data.shape != (1,) or self.player == "generator")


def one_player(player: str, norm: str) -> Only:
    net = Only(4, 2, norm, rng=stream(0, "init"), dtype=np.float64)
    net.player = player
    return net


def cast(net: Layer, dtype: Any) -> None:
    for _, param in WGAN.named_params(net):  # type: ignore[arg-type]
        param.data, param.grad = param.data.astype(dtype), param.grad.astype(dtype)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradient_of_the_critic_with_and_without_a_penalty(norm: str) -> None:
    net, images = one_player("critic", norm), RNG.standard_normal((2, 4, 1, 32, 32))

    def objective(net: WGAN) -> complex:
        dtype = next(net.params()).data.dtype
        cast(net, dtype)
        real, fake = images.astype(dtype)
        loss = net.criticise(real, fake)
        return complex(loss if norm == "batch" else loss + gradient_penalty.unit_norm(net.critic, real + fake, 10.0))

    gradient_is_exact(net, objective, rtol=1e-8)
    assert not any(param.grad.any() for param in net.generator.params())


def test_gradient_of_the_generator_and_none_of_the_critic() -> None:
    net, z = one_player("generator", "batch"), RNG.standard_normal((4, 4))

    def objective(net: WGAN) -> complex:
        dtype = next(net.params()).data.dtype
        cast(net, dtype)
        fake, ctx = net.generator.forward(z.astype(dtype), train=True)
        return complex(net.please(fake, ctx))

    gradient_is_exact(net, objective, rtol=1e-8)
    assert not any(param.grad.any() for param in net.critic.params())


def test_the_losses_by_their_definition() -> None:
    net, (real, fake) = WGAN(4, 2, "none", rng=stream(0, "init")), RNG.standard_normal((2, 4, 1, 32, 32), np.float32)
    means = [float(net.critic.forward(x)[0].mean()) for x in (real, fake)]
    assert net.criticise(real, fake) == pytest.approx(means[1] - means[0], abs=1e-6)
    _, ctx = net.generator.forward(RNG.standard_normal((4, 4), np.float32), train=True)
    assert net.please(fake, ctx) == pytest.approx(-means[1], abs=1e-6)


def test_weights_stay_clipped_and_the_critic_learns_the_distance() -> None:
    task = training("wgan", lr=1e-3, clip=0.03)
    losses = [task.train_step(step)["critic_loss"] for step in range(5)]
    largest = max(np.abs(param.data).max() for param in task.net.critic.params())
    assert largest == pytest.approx(0.03) and losses[-1] < losses[0]
    assert max(np.abs(param.data).max() for param in task.net.generator.params()) > 0.03


def test_the_penalty_holds_the_critic_to_a_slope_of_one() -> None:
    slopes = {}
    for weight in (0.0, 10.0):
        task = training("wgan_gp", weight=weight, lr=2e-3)
        for step in range(25):
            task.train_step(step)
        x, z = task.batch(99)
        between = (x + task.net.generator.forward(z)[0]) / 2
        scores, ctx = task.net.critic.forward(between)
        slopes[weight] = gradient_penalty.norms(task.net.critic.backward(np.ones_like(scores), ctx)).mean()
    assert abs(slopes[10.0] - 1) < 0.5, slopes
    assert slopes[0.0] > 2 * slopes[10.0]


@EITHER
def test_every_turn_of_the_critic_sees_other_images(model: str) -> None:
    task = training(model)
    seen: list[np.ndarray] = []
    batch = task.batch
    task.batch = lambda turn: seen.append(batch(turn)[0]) or batch(turn)  # type: ignore[func-returns-value,method-assign]
    task.train_step(0)
    task.train_step(1)
    assert len(seen) == 4 and all((a != b).any() for i, a in enumerate(seen) for b in seen[:i])


@EITHER
def test_same_seed_same_numbers_and_resuming(model: str) -> None:
    same_seed_same_numbers_and_resumes(lambda seed: training(model, seed))


@EITHER
def test_the_command(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"losses.png", "gradients.png", "judged.png", "samples.png", "interpolation.png"}
    changes = {"latent": 5, "width": 3, "critics": 1, "epochs": 10}
    report = trains_by_command(model, changes, tmp_path / "run", monkeypatch, pictures)
    assert report["lenet_fid"] > report["lenet_fid_of_training_images"] > 0
