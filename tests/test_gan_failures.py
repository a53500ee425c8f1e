"""What makes GANs fail: games with known ends, modes by their definition, and gradients that vanish."""

from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_laws import same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn.random import stream
from scratchnn_models import games, gan_failures
from scratchnn_models.gan_failures import MATCHES, Recipe, Training, ahead, modes, ring
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(hidden=16, epochs=1, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: Any) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())


def test_simultaneous_steps_spiral_outwards_by_a_known_factor() -> None:
    way = games.played(games.bilinear, 60, 0.2, "simultaneous")
    np.testing.assert_allclose(np.hypot(*way.T), sqrt(2) * sqrt(1.04) ** np.arange(61))


def test_alternating_steps_go_round_on_an_ellipse() -> None:
    x, y = games.played(games.bilinear, 300, 0.2).T
    np.testing.assert_allclose(x**2 + y**2 - 0.2 * x * y, 1.8)  # what they keep
    assert np.hypot(*games.averaged(np.stack([x, y], 1))[-1]) < 0.05


def test_optimistic_steps_arrive_at_the_rate_of_the_recursion() -> None:
    way = games.played(games.bilinear, 400, 0.3, "optimistic")
    # z = x + iy follows z' = (1 + 2 i lr) z - i lr z_before; the larger root is how fast it shrinks
    larger = max(abs(np.roots([1, -(1 + 0.6j), 0.3j])))
    assert larger < 1
    assert np.hypot(*way[400]) / np.hypot(*way[300]) == pytest.approx(larger**100, rel=1e-6)


def test_the_dirac_gan_descends_along_its_own_gradient() -> None:
    def value(x: complex, y: complex, gamma: float) -> complex:
        return complex(np.log1p(np.exp(-x * y)) + gamma / 2 * y * y)

    x, y, h = 0.7, -1.3, 1e-30
    for gamma in (0.0, 0.4):
        dx, dy = games.dirac(gamma)(x, y)
        assert -dx == pytest.approx(value(x + 1j * h, y, 0).imag / h)  # f = -value: G descends f, D ascends it
        assert dy == pytest.approx(value(x, y + 1j * h, gamma).imag / h)


def test_only_cures_arrive() -> None:
    found = games.distances()
    assert found["distance_simultaneous"] > 10 and found["distance_alternating"] == pytest.approx(sqrt(2), rel=0.1)
    assert found["distance_dirac"] > 1 and found["distance_dirac_r1"] < 1e-6
    assert max(found["distance_averaged"], found["distance_optimistic"]) < 0.2


def test_modes_of_a_ring_and_of_a_part_of_it() -> None:
    points = ring(stream(0, "a"), 4000)
    assert modes(points) == (8, pytest.approx(1.0))
    left = points[points[:, 0] < -1]
    count, share = modes(np.concatenate([left, np.zeros_like(left)]))
    assert count == 3 and share == pytest.approx(0.5)
    assert modes(np.zeros((10, 2))) == (0, 0.0)


def test_the_minimax_gradient_vanishes_and_the_others_do_not() -> None:
    images = tiny_digits().train_images / np.float32(255)
    wide = replace(RECIPE, hidden=64)
    found = {loss: ahead(loss, images, wide, 0)[:, 1] for loss in ("minimax", "non_saturating", "critic")}
    left = {loss: norms[-1] / norms[0] for loss, norms in found.items()}
    assert left["minimax"] < 0.1 and min(left["non_saturating"], left["critic"]) > 1
    # at the start, where D says one half, both losses of a GAN have the same gradient
    assert found["minimax"][0] == pytest.approx(found["non_saturating"][0], rel=0.2)


def test_every_turn_of_every_match_moves_its_player() -> None:
    task = training()
    moves = dict.fromkeys(task.optimizers, 0)
    for name, optimizer in task.optimizers.items():

        def counted(name: str = name, step: Any = optimizer.step) -> None:
            moves[name] += 1
            step()

        optimizer.step = counted  # type: ignore[method-assign]
    task.train_step(0)
    assert moves == {
        f"{name}.{player}": turns
        for name, match in MATCHES.items()
        for player, turns in (("d", match.d_turns), ("g", match.g_turns))
    }


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training, steps=2)


def test_ten_turns_of_g_lose_modes_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    rings = {name: match for name, match in MATCHES.items() if match.ring}
    monkeypatch.setattr(gan_failures, "MATCHES", rings)
    task = Training(Recipe(validation=VALIDATION), 0, tiny_digits())
    covered: dict[str, list[int]] = {name: [] for name in rings}
    for step in range(600):
        task.train_step(step)
        if step >= 300 and step % 50 == 0:
            for name, net in zip(rings, task.net.nets, strict=True):
                z = stream(0, "drawn").standard_normal((500, 16), np.float32)
                covered[name].append(modes(net.generator.forward(z)[0])[0])
    assert max(covered["ring_collapsed"]) <= 3 and min(covered["ring_cured"][-2:]) >= 7


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "steps_per_epoch", 100)
    report = trains_by_command("gan_failures", {"hidden": 16}, tmp_path / "run", monkeypatch, {"page.png"})
    assert all(metric.name in report for metric in gan_failures.METRICS)
