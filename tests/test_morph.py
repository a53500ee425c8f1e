"""From one image to another: the ends are the two images' own, and what is between is decoded, not blended."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scratchnn import ScratchnnError
from scratchnn.random import stream
from scratchnn_models import morph
from scratchnn_models.autoencoder import Autoencoder
from scratchnn_models.pca import PCA
from scratchnn_models.vae import VAE
from scratchnn_models.vq_vae import VQVAE
from tiny_run import tiny_digits


@pytest.mark.parametrize("kind", [Autoencoder, VAE, VQVAE])
def test_the_ends_are_the_reconstructions_and_the_blend_is_linear(kind) -> None:
    net, data = kind(rng=stream(0, "init")), tiny_digits()
    start, end = morph.chosen(data, "7"), morph.chosen(data, "8")
    decoded, blended = morph.between(net, start, end, 5)
    assert decoded.shape == blended.shape == (5, 1, 28, 28)
    ends = net.decode(net.encode(np.stack([start, end])))
    np.testing.assert_allclose(decoded[[0, -1]], ends, atol=1e-6)
    np.testing.assert_allclose(blended[[0, 2, 4]], [start, (start + end) / 2, end], atol=1e-6)


def test_through_a_linear_code_the_way_is_straight() -> None:
    data = tiny_digits()
    pca = PCA((1, 28, 28), 8)
    pca.fit(data.train_images / 255)
    decoded, _ = morph.between(pca, morph.chosen(data, "1"), morph.chosen(data, "2"), 3)
    np.testing.assert_allclose(decoded[1], (decoded[0] + decoded[2]) / 2, atol=1e-6)


def test_pictures(tmp_path: Path) -> None:
    strip, film = morph.picture(Autoencoder(rng=stream(0, "init")), tiny_digits(), ("7", "8"), tmp_path)
    assert strip.read_bytes().startswith(b"\x89PNG")
    with Image.open(film) as shown:
        assert shown.size == (2 * 28 * morph.ZOOM, 28 * morph.ZOOM)


def test_a_class_that_there_is_not() -> None:
    with pytest.raises(ScratchnnError, match="mnist has no class 'x'; it has 0, 1"):
        morph.chosen(tiny_digits(), "x")
