"""Principal components: scikit-learn's to 1e-10, and what makes them principal."""

from pathlib import Path

import numpy as np
import pytest

from model_laws import trains_by_command
from scratchnn_models.pca import PCA, Recipe, Training, mse
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)


def fitted(x: np.ndarray, code: int) -> PCA:
    pca = PCA(x.shape[1:], code)
    pca.fit(x)
    return pca


@pytest.mark.parametrize(("shape", "code"), [((200, 6), 3), ((300, 1, 5, 4), 20), ((50, 2), 1), ((500, 1, 28, 28), 32)])
def test_equals_scikit_learn(shape: tuple[int, ...], code: int) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = RNG.standard_normal((len(range(shape[0])), int(np.prod(shape[1:])))) @ np.diag(
        np.linspace(3, 0.1, int(np.prod(shape[1:])))
    )
    ours = fitted(x.reshape(shape), code)
    theirs = decomposition.PCA(code, svd_solver="full").fit(x)
    np.testing.assert_allclose(ours.variances.data, theirs.explained_variance_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.components.data, theirs.components_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.encode(x.reshape(shape)), theirs.transform(x), rtol=0, atol=1e-10)
    again = theirs.inverse_transform(theirs.transform(x)).reshape(shape)
    np.testing.assert_allclose(ours.forward(x.reshape(shape))[0], again, rtol=0, atol=1e-10)


def test_all_axes_lose_nothing_and_the_axes_are_orthonormal() -> None:
    x = RNG.standard_normal((40, 5)) * np.arange(1, 6)
    pca = fitted(x, 5)
    np.testing.assert_allclose(pca.forward(x)[0], x, atol=1e-12)
    np.testing.assert_allclose(pca.components.data @ pca.components.data.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(pca.variances.data.sum(), x.var(0, ddof=1).sum(), rtol=1e-12)


def test_no_other_plane_is_closer() -> None:
    x = RNG.standard_normal((100, 6)) * np.arange(1, 7)
    pca = fitted(x, 2)
    for _ in range(50):
        other = PCA((6,), 2)
        other.mean.data[...] = pca.mean.data
        other.components.data[...] = np.linalg.qr(pca.components.data.T + 0.1 * RNG.standard_normal((6, 2)))[0].T
        assert mse(pca, x) < mse(other, x)


def test_held_out_images_are_not_fitted() -> None:
    data = tiny_digits()
    task = Training(Recipe(code=5, validation=VALIDATION), 0, data)
    data.train_images[-VALIDATION:] = 255
    task.train_step(0)
    assert task.net.mean.data.max() < 0.9 and task.validate()["validation_mse"] > 0.1


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"points.png", "components.png", "reconstructions.png", "latent.png"}
    report = trains_by_command("pca", {}, tmp_path / "run", monkeypatch, pictures)
    assert 0 < report["test_mse_code32"] < 0.05
