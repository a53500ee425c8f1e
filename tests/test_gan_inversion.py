"""GAN inversion: an encoder with an exact gradient, and a descent that finds the z of an image that has one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import ScratchnnError, data
from scratchnn.random import stream
from scratchnn_models import gan_inversion, train
from scratchnn_models.dcgan import DCGAN
from scratchnn_models.gan_inversion import Inverter, Recipe, Training, descended, sharpness
from tiny_faces import tiny_faces
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small DCGAN."""
    folder = tmp_path_factory.mktemp("runs") / "dcgan"
    small = {"latent": 4, "width": 3, "epochs": 10, "validation": VALIDATION, "batch_size": 50}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, **options: tiny_digits())
        train.begun("dcgan", small, 0, folder, None)
    return folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Finished runs of a DCGAN and of a VAE-GAN on faces, with as many numbers, and of one with more."""
    folder = tmp_path_factory.mktemp("faces")
    small = {"width": 2, "epochs": 1, "validation": VALIDATION, "batch_size": 50}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, **options: tiny_faces())
        train.begun("dcgan", {"data": "faces", "latent": 4, **small}, 0, folder / "gan", None)
        for latent in (4, 5):
            train.begun("vae_gan", {"latent": latent, **small}, 0, folder / f"vae-{latent}", None)
    return {name: str(folder / name) for name in ("gan", "vae-4", "vae-5")}


def training(gan: Path, seed: int = 0) -> Training:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, **options: tiny_digits())
        return Training(replace(Recipe(), gan=str(gan), width=3, batch_size=20), seed, tiny_digits())


def test_gradient() -> None:
    net, x, z = Inverter(3, 2, rng=stream(0, "init"), dtype=np.float64), RNG.random((3, 1, 32, 32)), RNG.random((3, 3))

    def objective(net: Inverter) -> complex:
        dtype = next(net.params()).data.dtype
        return complex(net.objective(x.astype(dtype), z.astype(dtype)))

    gradient_is_exact(net, objective)


def test_descent_finds_the_z_of_an_image_that_has_one() -> None:
    generator = DCGAN(3, 4, rng=stream(0, "init")).generator
    z = RNG.uniform(-0.8, 0.8, (5, 3)).astype(np.float32)
    generator.forward(RNG.uniform(-1, 1, (200, 3)).astype(np.float32), train=True)
    x, _ = generator.forward(z)
    before = {name: array.copy() for name, array in generator.state_dict().items()}
    found = descended(generator, x, z + 0.15 * RNG.standard_normal(z.shape).astype(np.float32), steps=200)
    np.testing.assert_allclose(found, z, atol=0.02)
    for name, array in generator.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert not any(param.grad.any() for param in generator.params())
    assert np.abs(descended(generator, x, z + 5, steps=3)).max() <= 1


def test_sharpness_of_a_step_and_of_its_blur() -> None:
    step = np.repeat([0.0, 1.0], 4).reshape(1, 1, 1, 8).repeat(8, 2)
    assert sharpness(step) == pytest.approx(1 / 7)
    assert sharpness(np.tile([[0.0, 1.0], [1.0, 0.0]], (1, 1, 4, 4))) == pytest.approx(2)


def test_a_step_lowers_the_error_of_its_batch(gan: Path) -> None:
    task = training(gan)
    x, z = task.batch(0)
    a_step_lowers(lambda: float(task.net.objective(x, z)), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming(gan: Path) -> None:
    same_seed_same_numbers_and_resumes(lambda seed: training(gan, seed))


def test_another_model_s_run_is_refused(gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(data, "load", lambda name, **options: tiny_digits())
    train.begun("lenet", {"epochs": 1, "validation": VALIDATION}, 0, folder, None)
    with pytest.raises(ScratchnnError, match="is a run of lenet; one of dcgan is expected"):
        training(folder)


def test_runs_that_do_not_fit_are_refused(faces: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", lambda name, **options: tiny_faces())
    with pytest.raises(ScratchnnError, match="vae-5 has codes of 5 numbers, the GAN of 4"):
        Training(Recipe(data="faces", gan=faces["gan"], vae=faces["vae-5"]), 0, tiny_faces())
    with pytest.raises(ScratchnnError, match="gan makes faces, not mnist"):
        Training(Recipe(gan=faces["gan"]), 0, tiny_digits())
    with pytest.raises(ScratchnnError, match="gan is a run of dcgan; one of vae or vae_gan is expected"):
        Training(Recipe(data="faces", gan=faces["gan"], vae=faces["gan"]), 0, tiny_faces())


def test_the_command_on_faces(faces: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "steps_per_epoch", 100)
    monkeypatch.setattr(gan_inversion, "DESCENT", 5)
    monkeypatch.setattr(gan_inversion, "INVERTED", 40)
    changes = {"data": "faces", "gan": faces["gan"], "vae": faces["vae-4"], "width": 2, "batch_size": 10}
    pictures = {"inversions.png", "curves.png", "arithmetic.png"}
    report = trains_by_command("gan_inversion", changes, tmp_path / "run", monkeypatch, pictures, tiny_faces)
    errors = [report[f"faces_{name}_mse"] for name in ("inversion", "vae", "vae_gan")]
    ratios = [report[f"faces_inversion_mse_over_{name}"] for name in ("vae", "vae_gan")]
    assert ratios == pytest.approx([errors[0] / errors[1], errors[0] / errors[2]])
    assert "faces_glasses_added_percent" in report


def test_the_command(gan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "steps_per_epoch", 100)
    monkeypatch.setattr(gan_inversion, "DESCENT", 20)
    changes = {"gan": str(gan), "width": 3}
    report = trains_by_command(
        "gan_inversion", changes, tmp_path / "run", monkeypatch, {"inversions.png", "curves.png"}
    )
    assert report["inversion_mse_over_encoder"] < 1
