"""VAE-GAN: each player's gradient is that of its own terms and nobody else's, and arithmetic with a known direction."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_laws import gradient_is_exact, same_seed_same_numbers_and_resumes, total, trains_by_command
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import attribute_arithmetic, gaussian, loop
from scratchnn_models.face_judge import FaceReader
from scratchnn_models.face_vae import VAE
from scratchnn_models.image_quality import psnr
from scratchnn_models.vae_gan import PLAYERS, VAEGAN, Recipe, Seen, Training
from tiny_faces import tiny_faces
from tiny_run import VALIDATION

RNG = np.random.default_rng(0)
RECIPE = Recipe(latent=4, width=2, epochs=2, batch_size=25, validation=VALIDATION)
X, NOISE, PRIOR = RNG.random((3, 3, 64, 64)), RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
GAMMA, DEVIATION = 0.3, 0.7


def training(seed: int = 0) -> Training:
    return Training(replace(RECIPE), seed, tiny_faces())


class Only(VAEGAN):
    """A VAE-GAN of which only one player counts as trained."""

    player = ""

    def named_params(self) -> Any:
        return ((name, param) for name, param in super().named_params() if name.startswith(self.player))


def seen_by(net: VAEGAN) -> Seen:
    """The forward pass, in the dtype of whatever player the law has moved."""
    dtype = next(net.params()).data.dtype
    for _, param in VAEGAN.named_params(net):  # type: ignore[arg-type]
        param.data, param.grad = param.data.astype(dtype), param.grad.astype(dtype)
    return net.see(X.astype(dtype), NOISE, PRIOR)


def losses(net: VAEGAN) -> dict[str, complex]:
    """The loss of each player, by the definitions; adds all gradients."""
    seen = seen_by(net)
    d_terms = net.discriminate(X.astype(seen.code.dtype), seen, GAMMA)
    e_terms, g_terms = net.reconstruct(seen, GAMMA, DEVIATION)
    return {
        "encoder": total(e_terms, {"kl": 1, "similarity": 1}),
        "decoder": total(g_terms, {"similarity": GAMMA, "reconstructed": 1, "drawn": 1}),
        "discriminator": total(d_terms, {"real": 1, "reconstructed": 1, "drawn": 1, "r1": 1}),
    }


@pytest.mark.parametrize("player", PLAYERS)
def test_gradient_of_each_player_is_that_of_its_own_loss(player: str) -> None:
    net = Only(4, 2, rng=stream(0, "init"), dtype=np.float64)
    net.player = player
    gradient_is_exact(net, lambda net: losses(net)[player], rtol=1e-7)


def test_gradient_of_the_plain_one() -> None:
    def objective(net: VAE) -> complex:
        terms = net.objective(X.astype(next(net.params()).data.dtype), NOISE, 0.5)
        return total(terms, {"reconstruction": 1, "kl": 1})

    gradient_is_exact(VAE(4, 2, rng=stream(0, "init"), dtype=np.float64), objective, rtol=1e-7)


def test_the_terms_by_their_definitions() -> None:
    net = VAEGAN(4, 2, rng=stream(0, "init"), dtype=np.float64)
    seen = seen_by(net)
    e_terms, g_terms = net.reconstruct(seen, GAMMA, DEVIATION)
    real, again = seen.features[:3], seen.features[3:6]
    assert e_terms["similarity"] == pytest.approx(np.square((real - again) / DEVIATION).sum() / 2 / 3)
    assert e_terms["kl"] == pytest.approx(gaussian.kl(seen.code).sum() / 3)
    probability = 1 / (1 + np.exp(-seen.logits))
    assert g_terms["drawn"] == pytest.approx(-np.log(probability[6:]).mean())
    assert net.discriminate(X, seen, GAMMA)["reconstructed"] == pytest.approx(-np.log(1 - probability[3:6]).mean())


@pytest.mark.parametrize("player", PLAYERS)
def test_a_step_lowers_the_loss_of_its_player(player: str) -> None:
    net = VAEGAN(4, 2, rng=stream(0, "init"), dtype=np.float64)
    before = losses(net)[player].real
    net.zero_grad()
    losses(net)
    for param in getattr(net, player).params():
        param.data -= 1e-6 * param.grad
    assert losses(net)[player].real < before


def test_every_term_is_logged_with_its_weight() -> None:
    numbers = training().train_step(0)
    assert numbers["decoder_loss"] == pytest.approx(
        sum(numbers[f"decoder_{n}_weight"] * numbers[f"decoder_{n}"] for n in ("similarity", "reconstructed", "drawn"))
    )
    assert numbers["decoder_similarity_weight"] == RECIPE.gamma and numbers["decoder_similarity"] > 0


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


class Reads(FaceReader):
    """Reads the attributes that were written into the first pixels."""

    def read(self, x: Array) -> tuple[Array, Array]:
        return x, x[:, 0, 0, :5].round().astype(int)


def test_arithmetic_with_a_direction_that_is_known() -> None:
    labels = RNG.integers(0, 2, (40, 5))
    z = labels + 0.1 * RNG.standard_normal(labels.shape)

    def decode(z: Array) -> Array:
        x = np.zeros((len(z), 3, 64, 64))
        x[:, 0, 0, :5] = z
        x[:, :, 20] = z[:, :1, None]
        return x

    v = attribute_arithmetic.direction(z, labels)
    assert v[0] == pytest.approx(1, abs=0.1)
    found = attribute_arithmetic.judged(decode, z, np.eye(5)[0], labels, Reads())
    assert found["glasses_before_percent"] == 0 and found["glasses_added_percent"] == 100
    assert found["glasses_removed_percent"] == 100 and found["others_kept_percent"] == 100
    assert found["eyes_moved_mse"] == pytest.approx(1 / 16)  # one row of sixteen moved by 1
    assert found["elsewhere_moved_mse"] == pytest.approx(1 / (48 * 64 * 3))
    still = attribute_arithmetic.judged(decode, z, np.zeros(5), labels, Reads())
    assert still["glasses_added_percent"] == 0 and still["glasses_removed_percent"] == 0
    other = attribute_arithmetic.judged(decode, z, np.eye(5)[1] * 0.9, labels, Reads())
    assert other["others_kept_percent"] < 100


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {
        "losses.png", "gradients.png", "judged.png", "samples.png", "samples-vae.png", "interpolation.png",
        "reconstructions.png", "arithmetic.png",
    }  # fmt: skip
    monkeypatch.setattr(loop, "LOG_EVERY", 10)
    changes = {"latent": 4, "width": 2, "epochs": 4, "batch_size": 10}
    report = trains_by_command("vae_gan", changes, tmp_path / "run", monkeypatch, pictures, tiny_faces)
    grey = psnr(np.full((60, 3, 64, 64), 0.5), tiny_faces().test_images / 255)
    assert report["vae_psnr"] > grey and (tmp_path / "run" / "film.gif").stat().st_size > 1000
