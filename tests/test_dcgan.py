"""DCGAN and its judge: gradients of both phases, the options, and distances by their definitions."""

from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_laws import gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import Conv2d, ScratchnnError, data
from scratchnn.layer import Layer
from scratchnn.random import stream
from scratchnn_models import digit_judge, loop
from scratchnn_models.dcgan import DCGAN, Recipe, Training, prepared
from scratchnn_models.digit_judge import DigitJudge, GarmentJudge
from tiny_faces import tiny_faces
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(latent=5, width=3, epochs=2, batch_size=50, validation=VALIDATION)
OPTIONS: list[dict[str, Any]] = [{"norm": "batch"}, {"norm": "spectral"}, {"norm": "none", "r1": 2.0}]


def training(seed: int = 0, **changes: Any) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())


class Only(DCGAN):
    """A DCGAN of which only one player counts as trained."""

    player = ""

    def named_params(self) -> Any:
        return ((name, param) for name, param in super().named_params() if name.startswith(self.player))


def one_player(player: str, norm: str) -> Only:
    net = Only(4, 2, norm, rng=stream(0, "init"), dtype=np.float64)
    net.player = player
    return net


def cast(net: Layer, dtype: Any) -> None:
    """The other player too, which the law does not know of."""
    for _, param in DCGAN.named_params(net):  # type: ignore[arg-type]
        param.data, param.grad = param.data.astype(dtype), param.grad.astype(dtype)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["norm"])
def test_gradient_of_the_discriminator_and_none_of_the_generator(options: dict[str, Any]) -> None:
    net, images = one_player("discriminator", options["norm"]), RNG.standard_normal((2, 4, 1, 32, 32))
    vectors = {name: array.copy() for name, array in net.state_dict().items() if name.endswith(("_u", "_v"))}

    def objective(net: DCGAN) -> complex:
        dtype = next(net.params()).data.dtype
        for name, array in vectors.items():  # the power iteration moves on with every call
            net.state_dict()[name][...] = array
        loss, penalty = net.discriminate(*images.astype(dtype), options.get("r1", 0.0))
        return complex(loss + penalty)

    gradient_is_exact(net, objective, rtol=1e-8)
    assert not any(param.grad.any() for param in net.generator.params())


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradient_of_the_generator_and_none_of_the_discriminator(norm: str) -> None:
    net, z = one_player("generator", norm), RNG.uniform(-1, 1, (4, 4))

    def objective(net: DCGAN) -> complex:
        dtype = next(net.params()).data.dtype
        cast(net, dtype)
        fake, ctx = net.generator.forward(z.astype(dtype), train=True)
        return complex(net.fool(fake, ctx))

    gradient_is_exact(net, objective, rtol=1e-8)
    assert not any(param.grad.any() for param in net.discriminator.params())


def test_a_phase_lowers_its_own_loss() -> None:
    task = training()
    real, z = task.batch(0)

    def losses() -> tuple[float, float]:
        fake, ctx = task.net.generator.forward(z, train=True)
        return float(task.net.discriminate(real, fake)[0]), float(task.net.fool(fake, ctx))

    for player, optimizer in enumerate(task.optimizers.values()):
        optimizer.zero_grad()
        before = losses()
        optimizer.step()
        assert losses()[player] < before[player]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["norm"])
def test_same_seed_same_numbers_and_resuming(options: dict[str, Any]) -> None:
    same_seed_same_numbers_and_resumes(lambda seed: training(seed, **options))


def test_spectral_norm_bounds_every_layer_of_the_discriminator() -> None:
    net = DCGAN(4, 2, "spectral", rng=stream(0, "init"))
    for name, weight in net.discriminator.state_dict().items():
        if name.endswith("original"):
            u, v = (net.discriminator.state_dict()[name.replace("original", f"0._{of}")] for of in "uv")
            assert u @ weight.reshape(len(weight), -1) @ v == pytest.approx(
                np.linalg.svd(weight.reshape(len(weight), -1))[1][0], rel=0.05
            )


def test_recipes_that_cannot_be_followed() -> None:
    with pytest.raises(ScratchnnError, match="norm is 'layer'; one of batch, spectral, none is expected"):
        training(norm="layer")
    with pytest.raises(ScratchnnError, match="data is 'emoji'; one of mnist, fashion_mnist, faces is expected"):
        training(data="emoji")
    with pytest.raises(ScratchnnError, match="r1 takes the gradient of each image alone"):
        training(r1=1.0)


def test_the_frechet_distance_of_gaussians() -> None:
    a = RNG.standard_normal((4000, 3)) @ np.diag([1.0, 2.0, 0.5])
    assert digit_judge.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert digit_judge.frechet(a, a + np.array([1.0, 0, 2])) == pytest.approx(5)
    scaled = (a - a.mean(0)) * 3 + a.mean(0)  # (3 s - s)^2 for each axis, whatever the rotation
    assert digit_judge.frechet(a, scaled) == pytest.approx(4 * np.trace(np.cov(a.T)))


def test_precision_and_recall_of_a_part_and_of_a_stranger() -> None:
    real = np.concatenate([RNG.standard_normal((200, 2)), RNG.standard_normal((200, 2)) + 50])
    part, strange = real[:200] + 1e-3, np.concatenate([real, RNG.standard_normal((400, 2)) - 90])
    precision, recall = digit_judge.precision_recall(real, part)
    assert precision == 1 and recall == pytest.approx(0.5, abs=0.01)
    precision, recall = digit_judge.precision_recall(real, strange)
    assert precision == pytest.approx(0.5, abs=0.01) and recall == 1


def test_shares_and_entropy() -> None:
    share = digit_judge.shares(np.array([0, 0, 3, 9]))
    assert share.tolist() == [0.5, 0, 0, 0.25, 0, 0, 0, 0, 0, 0.25]
    assert digit_judge.entropy(share) == pytest.approx(1.5 * log(2))
    assert digit_judge.entropy(np.full(10, 0.1)) == pytest.approx(log(10))


def test_the_judge_reads_digits() -> None:
    """MNIST's, where they are in the cache; the drawn ones it has never seen."""
    if not data.describe("mnist")["cached"]:
        pytest.skip("MNIST is not in the cache")
    mnist = data.load("mnist")
    images, labels = mnist.test_images[:1000] / np.float32(255), mnist.test_labels[:1000]
    judge = DigitJudge(images)
    assert (judge.read(images)[1] == labels).mean() > 0.98
    framed = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    np.testing.assert_array_equal(judge.read(framed)[0], judge.real)  # 28 or 32 pixels are the same to it


@pytest.mark.parametrize("side, channels", [(32, 1), (64, 3)])
def test_shapes_of_both_players(side: int, channels: int) -> None:
    net = DCGAN(5, 2, "batch", (channels, side, side), rng=stream(0, "init"))
    x = net.decode(np.zeros((2, 5), np.float32))
    assert x.shape == (2, channels, side, side) and net.discriminator.forward(x)[0].shape == (2, 1)
    maps = [layer.weight.data.shape for layer in net.discriminator.layers if isinstance(layer, Conv2d)]
    assert [shape[0] for shape in maps] == [2, 4, 8, 16][: len(maps)] and len(maps) == (3 if side == 32 else 4)


def test_what_the_discriminator_sees() -> None:
    small, large = (np.full((1, 1, side, side), 255, np.uint8) for side in (28, 64))
    assert prepared(small).shape == (1, 1, 32, 32) and prepared(large).shape == (1, 1, 64, 64)
    assert prepared(small)[0, 0, 0, 0] == -1 and prepared(small)[0, 0, 2, 2] == prepared(large).min() == 1


def test_the_judge_reads_garments() -> None:
    """Fashion-MNIST's, where they are in the cache."""
    if not data.describe("fashion_mnist")["cached"]:
        pytest.skip("Fashion-MNIST is not in the cache")
    images, labels = data.load("fashion_mnist", "test")
    x = images[:1000] / np.float32(255)
    assert (GarmentJudge(x[:5]).read(x)[1] == labels[:1000]).mean() > 0.85


def test_the_command_on_garments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawn digits under another name."""
    pictures = {"losses.png", "gradients.png", "judged.png", "samples.png", "interpolation.png"}
    changes = {"data": "fashion_mnist", "latent": 5, "width": 3, "epochs": 10}
    report = trains_by_command(
        "dcgan", changes, tmp_path / "run", monkeypatch, pictures, lambda: replace(tiny_digits(), name="fashion_mnist")
    )
    assert report["fashion_mnist_lenet_fid"] > 0 and "parzen_log_likelihood" not in report


def test_the_command_on_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"losses.png", "gradients.png", "judged.png", "samples.png", "interpolation.png"}
    monkeypatch.setattr(loop, "LOG_EVERY", 10)
    changes = {"data": "faces", "latent": 5, "width": 2, "epochs": 2, "batch_size": 10}
    report = trains_by_command("dcgan", changes, tmp_path / "run", monkeypatch, pictures, tiny_faces)
    assert report["faces_face_distance"] > report["face_distance_of_training_images"] > 0
    assert "parzen_log_likelihood" not in report


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options["norm"])
def test_the_command(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"losses.png", "gradients.png", "judged.png", "samples.png", "interpolation.png"}
    changes = {"latent": 5, "width": 3, "epochs": 10, **options}
    report = trains_by_command("dcgan", changes, tmp_path / "run", monkeypatch, pictures)
    assert report["lenet_fid_of_training_images"] > 0 and (tmp_path / "run" / "film.gif").stat().st_size > 1000
