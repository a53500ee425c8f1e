"""The VQ-VAE: its straight-through gradient as a surrogate's, the book, and a prior that looks only back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import losses
from scratchnn.random import stream
from scratchnn_models.symbol_prior import Prior, contexts, drawn
from scratchnn_models.vq_vae import COMMITMENT, VQVAE, Codebook, Recipe, Training
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(entries=12, epochs=2, prior_epochs=1, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


def test_gradient_of_the_surrogate() -> None:
    net = VQVAE(5, 3, 4, rng=stream(0, "init"), dtype=np.float64)
    x = RNG.random((2, 1, 28, 28))
    del net.prior  # it has its own loss

    def objective(net: VQVAE) -> complex:
        terms, _, _ = net.objective(x.astype(next(net.params()).data.dtype))
        return complex(terms["reconstruction"] + COMMITMENT * terms["commitment"])

    gradient_is_exact(net, objective)


def test_the_decoder_sees_the_entries_of_the_book_and_nothing_of_z() -> None:
    net = VQVAE(5, 3, 4, rng=stream(0, "init"))
    x = RNG.random((2, 1, 28, 28)).astype(np.float32)
    terms, _, c = net.objective(x)
    expected = losses.mse(net.decode_symbols(c), x, reduction="sum")[0] / 2
    assert terms["reconstruction"] == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_array_equal(c, net.symbols(x))
    np.testing.assert_array_equal(net.decode(net.encode(x)), net.decode_symbols(c))


def test_gradient_of_the_prior() -> None:
    prior = Prior(4, 7, 6, rng=stream(0, "init"), dtype=np.float64)
    c = RNG.integers(0, 4, (3, 7, 7))

    def objective(prior: Prior) -> complex:
        scores, ctx = prior.scores(contexts(c, 4))
        loss, dscores = losses.cross_entropy(scores, c.ravel())
        prior.backward_params(dscores, ctx)
        return complex(loss)

    gradient_is_exact(prior, objective)


def test_nearest_by_the_definition() -> None:
    book = Codebook(6, 3, rng=stream(0, "init"))
    z = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    c = book.nearest(z)
    for n, i, j in np.ndindex(2, 4, 5):
        assert c[n, i, j] == np.square(book.weight.data - z[n, :, i, j]).sum(1).argmin()
        np.testing.assert_array_equal(book.looked_up(c)[n, :, i, j], book.weight.data[c[n, i, j]])


def test_the_book_finds_the_middle_of_what_chooses_it_and_no_entry_stays_dead() -> None:
    book = Codebook(2, 2, rng=stream(0, "init"))
    book.weight.data[1] = book.sums.data[1] = 100  # nobody chooses it
    middles = np.array([[0, 0], [3, 4]], np.float32)
    for step in range(1000):
        rng = stream(0, "z", step)
        z = (middles[rng.integers(0, 2, 50)] + 0.1 * rng.standard_normal((50, 2))).astype(np.float32)
        z = z.T.reshape(1, 2, 50, 1)
        book.follow(z, book.nearest(z), rng)
    np.testing.assert_allclose(np.sort(book.weight.data, 0), middles, atol=0.1)


def test_the_prior_looks_only_back() -> None:
    c = RNG.integers(0, 12, (2, 7, 7))
    before = contexts(c, 12).reshape(2, 49, 5)
    assert before[0, 0].tolist() == [12, 12, 12, 12, 0]
    assert before[1, 24].tolist() == [c[1, 3, 2], c[1, 2, 2], c[1, 2, 3], c[1, 2, 4], 24]
    c.reshape(2, 49)[:, 24:] = 0
    np.testing.assert_array_equal(contexts(c, 12).reshape(2, 49, 5)[:, :25], before[:, :25])


def test_drawing_follows_the_prior() -> None:
    prior = Prior(3, rng=stream(0, "init"))
    for param in prior.params():
        param.data[...] = 0
    dict(prior.named_params())["head.3.bias"].data[...] = np.log([0.7, 0.2, 0.1])
    c = drawn(prior, 100, stream(0, "d"))
    assert np.bincount(c.ravel()) / c.size == pytest.approx([0.7, 0.2, 0.1], abs=0.02)


def test_steps_lower_the_loss_of_a_batch_and_the_prior_s() -> None:
    task = training(epochs=4, prior_epochs=2)
    x = task.batch(0)
    terms, _, _ = task.net.objective(x)
    found = [task.train_step(step) for step in range(task.steps)]
    after, _, _ = task.net.objective(x)
    assert after["reconstruction"] < terms["reconstruction"]
    assert "loss" in found[19] and found[-1]["prior_nats_per_symbol"] < found[20]["prior_nats_per_symbol"]


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)
    same_seed_same_numbers_and_resumes(lambda seed: training(seed, epochs=1))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"curves.png", "reconstructions.png", "samples.png"}
    report = trains_by_command("vq_vae", {"epochs": 3, "prior_epochs": 1}, tmp_path / "run", monkeypatch, pictures)
    assert 1 <= report["perplexity"] <= 64 and report["test_mse"] < 0.3
