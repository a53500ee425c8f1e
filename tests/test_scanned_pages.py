"""Scanned pages: what damages them, the filter that evens their light, and the network that cleans them."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import Layer, losses
from scratchnn.random import stream
from scratchnn_models import filters, pages, scanned_pages
from scratchnn_models.scanned_pages import HELD_OUT, Recipe, Training, network

RNG = np.random.default_rng(0)
RECIPE = Recipe(pages=HELD_OUT + 6, test_pages=3, channels=4, batch_size=4)


@cache
def some_pages() -> pages.Pages:
    return scanned_pages.dataset(RECIPE)


def training(seed: int = 0) -> Training:
    return Training(RECIPE, seed, some_pages())


def test_gradient() -> None:
    net = network(3, rng=stream(0, "init"), dtype=np.float64)
    x, scan = RNG.random((2, 1, 8, 12)), RNG.random((2, 1, 8, 12))

    def objective(net: Layer) -> complex:
        y, ctx = net.forward(scan.astype(next(net.params()).data.dtype), train=True)
        loss, dy = losses.mse(y, x.astype(y.dtype), reduction="sum")
        net.backward_params(dy, ctx)
        return complex(loss)

    gradient_is_exact(net, objective)


def test_a_step_lowers_the_error_of_its_batch() -> None:
    task = training()
    scans, x = task.batch(0)
    a_step_lowers(lambda: float(losses.mse(task.net.forward(scans)[0], x)[0]), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_a_piece_is_of_one_place_of_a_page_that_is_not_held_out() -> None:
    data = pages.Pages(*(np.zeros((HELD_OUT + 2, 1, 192, 256), np.uint8) for _ in range(6)))
    for i in range(len(data.clean)):
        data.clean[i, 0] = 10 * i + np.arange(256) // 32
    data.scans[:] = data.clean
    task = Training(RECIPE, 0, data)
    found = set()
    for step in range(20):
        scans, x = task.batch(step)
        assert scans.shape == x.shape == (4, 1, 64, 64)
        np.testing.assert_array_equal(scans, x)
        found |= {round(255 * float(piece.min())) // 10 for piece in x}
    assert found == {0, 1}


def test_pages_are_ink_on_white_and_the_same_every_time() -> None:
    first, again = pages.drawn(2, 3), pages.drawn(2, 3)
    for name in ("scans", "clean", "test_scans", "unseen_scans", "unseen_clean"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.clean.shape == (2, 1, pages.HEIGHT, pages.WIDTH)
    assert not (first.test_clean[:2] == first.clean).all((1, 2, 3)).any()
    for clean in (*first.clean, *first.unseen_clean):
        assert clean.min() < 30 and 0.6 < (clean == 255).mean() < 0.95
    assert not set(pages.SEEN) & set(pages.UNSEEN)


@pytest.mark.parametrize("font", pages.SEEN + pages.UNSEEN)
def test_every_font_has_the_letters(font: str) -> None:
    face = pages._face(font, 14)
    letters = sorted(set("".join(pages.WORDS)))
    shapes = [bytes(face.getmask(letter)) for letter in letters]
    assert all(any(shape) for shape in shapes) and len(set(shapes)) == len(letters)  # no box in the place of several


def test_each_cause_of_damage_darkens() -> None:
    shape = (96, 128)
    for cause in (pages._stains, pages._light):
        passed = np.stack([cause(shape, stream(0, "cause", i)) for i in range(20)])
        assert passed.shape == (20, *shape) and passed.min() > 0.1 and passed.max() <= 1 + 1e-9
        assert passed.std((1, 2)).max() > 0.05
    white = np.ones(shape, np.float32)
    scans = np.stack([pages.scanned(white, stream(0, "scan", i)) for i in range(10)])
    assert scans.max() <= 1 and 0.3 < scans.mean() < 0.95


def test_flattening_makes_paper_white_and_keeps_ink() -> None:
    x = np.broadcast_to(np.linspace(0.4, 0.9, 80), (1, 1, 60, 80)).copy()
    x[:, :, 20:40, 30:32] *= 0.2
    flat = filters.flattened(x)
    paper = np.ones_like(x, bool)
    paper[:, :, 19:41, 29:33] = False
    assert flat[paper].min() > 0.8 > 1.5 * x[paper].min() and flat[0, 0, 30, 30] < 0.3
    assert filters.flattened(np.zeros((1, 1, 20, 20))).max() == 0


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "steps_per_epoch", 60)
    monkeypatch.setattr(scanned_pages, "RIVALS", scanned_pages.FILTERS[2:3])
    changes = {"epochs": 1, "pages": 20, "test_pages": 3, "channels": 8, "batch_size": 8}
    pictures = {"curves.png", "pages.png", "pages-unseen-fonts.png"}
    report = trains_by_command("scanned_pages", changes, tmp_path / "run", monkeypatch, pictures)
    for fonts in ("", "_unseen_fonts"):
        lead = report[f"psnr{fonts} after"] - report[f"psnr{fonts} gaussian 0.5"]
        assert report[f"psnr_above_best_filter{fonts}"] == pytest.approx(lead)


def test_the_best_filter_is_chosen_on_training_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    rivals = [(name, lambda x, value: np.full_like(x, value), value) for name, value in (("black", 0), ("white", 1))]
    monkeypatch.setattr(scanned_pages, "RIVALS", rivals)
    task = training()
    clean = task.data.clean
    nothing = np.zeros_like(clean)
    task.data = pages.Pages(nothing, clean, *(4 * [nothing]))  # of the tests, black would be the best
    assert {measure: choice[0] for measure, choice in task.best_filters.items()} == {"psnr": "white", "ssim": "white"}
    task = Training(RECIPE, 0, pages.Pages(nothing, nothing, *(4 * [clean])))
    assert {measure: choice[0] for measure, choice in task.best_filters.items()} == {"psnr": "black", "ssim": "black"}
