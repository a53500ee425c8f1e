"""A convolutional denoising autoencoder that cleans scanned pages of text.

After Vincent et al. 2008, with the causes of damage of old paper in place of noise; pages.py makes both.

    minimise  mean_n,pixel (f(scan_n) - page_n)^2        over pieces of 64x64 pixels

Two strided convolutions to feature maps of a quarter of the side, two in the middle, and transposed ones back. Nothing
in it depends on the size, so that it is trained on pieces and cleans whole pages.

The number is the PSNR, and the SSIM, above those of the best of median, Gaussian and non-local-means filters, each also
after the page was divided by an estimate of its background; which is best, training pages say. Half of the test pages
are of fonts that were never trained on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, ConvTranspose2d, Layer, ReLU, Sequential, Sigmoid, losses, optim, plot
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import pages, recipes
from scratchnn_models.batches import parts, scaled
from scratchnn_models.filters import FILTERS, Filter, flattened
from scratchnn_models.image_quality import psnr, ssim
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

BEST = "the best of median, Gaussian, non-local means, also after division by the background"
METRICS = tuple(
    Metric(f"{measure}_above_best_filter{fonts}", 0.0, BEST, higher_is_better=True)
    for fonts in ("", "_unseen_fonts")
    for measure in ("psnr", "ssim")
)
SIDE, HELD_OUT, TUNED_ON = 64, 16, 4  # of a piece; pages for validation; pages that choose the filter


def _after_flattening(choice: Filter) -> Filter:
    name, clean, strength = choice
    return f"flattened, {name}", lambda x, strength: clean(flattened(x), strength), strength


RIVALS: tuple[Filter, ...] = (*FILTERS, *map(_after_flattening, FILTERS))


def network(channels: int = 32, *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32) -> Layer:
    """Scans [N,1,H,W] in [0,1] to pages, for sides that are multiples of 4."""
    make: dict[str, Any] = {"padding": 1, "rng": rng, "dtype": dtype}
    c = channels
    return Sequential(
        Conv2d(1, c, 4, stride=2, **make), ReLU(), Conv2d(c, 2 * c, 4, stride=2, **make), ReLU(),  # [N,2c,H/4,W/4]
        Conv2d(2 * c, 2 * c, 3, **make), ReLU(), Conv2d(2 * c, 2 * c, 3, **make), ReLU(),
        ConvTranspose2d(2 * c, c, 4, stride=2, **make), ReLU(), ConvTranspose2d(c, 1, 4, stride=2, **make), Sigmoid(),
    )  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train scanned_pages` trains; chosen on the last training pages, never on the test pages."""

    data: str = "pages"
    pages: int = 400
    test_pages: int = 24  # in either set of fonts
    channels: int = 32
    epochs: int = 10  # of 500 steps
    batch_size: int = 16
    lr: float = 2e-3

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("data", self.data, ("pages",))


def dataset(recipe: Recipe) -> pages.Pages:
    """The pages, drawn anew for every run, and always the same."""
    return pages.drawn(recipe.pages, recipe.test_pages)


class Training:
    """The task of the loop."""

    steps_per_epoch = 500

    def __init__(self, recipe: Recipe, seed: int, data: pages.Pages) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = network(recipe.channels, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the squared error between what is made of scans, and the pages."""
        scans, x = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        y, ctx = self.net.forward(scans, train=True)
        loss, dy = losses.mse(y, x)
        self.optimizer.zero_grad()
        self.net.backward_params(dy, ctx)
        self.optimizer.step()
        return {"loss": float(loss)}

    def batch(self, step: int) -> tuple[Array, Array]:
        """Pieces [B,1,64,64] of scans and of pages, at random places, of a step."""
        rng = stream(self.seed, "pieces", step)
        count, _, height, width = self.data.scans.shape
        pieces = []
        for page in rng.integers(0, count - HELD_OUT, self.recipe.batch_size):
            top, left = rng.integers(0, height - SIDE + 1), rng.integers(0, width - SIDE + 1)
            place = page, slice(None), slice(top, top + SIDE), slice(left, left + SIDE)
            pieces.append((self.data.scans[place], self.data.clean[place]))
        scans, clean = (scaled(np.stack(images)) for images in zip(*pieces, strict=True))
        return scans, clean

    def validate(self) -> dict[str, float]:
        """PSNR and SSIM on the last training pages."""
        x = scaled(self.data.clean[-HELD_OUT:])
        y = self._cleaned(scaled(self.data.scans[-HELD_OUT:]))
        return {"validation_psnr": psnr(y, x), "validation_ssim": ssim(y, x)}

    def samples(self) -> Array:
        """Scans of unseen fonts, and below them what becomes of them."""
        scans = scaled(self.data.unseen_scans[:3])
        return np.concatenate([scans, self._cleaned(scans)])[:, :, :128, :96]

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """PSNR and SSIM before and after, of the best filter by each of the two, and the lead over it."""
        numbers: dict[str, float] = {}
        for fonts, scans, clean in self._tests():
            scan, x = scaled(scans), scaled(clean)
            y = self._cleaned(scan)
            for measure in (psnr, ssim):
                name, best = measure.__name__, self.best_filters[measure.__name__]
                filtered = measure(_filtered(scan, best), x)
                numbers[f"{name}{fonts} before"], numbers[f"{name}{fonts} after"] = measure(scan, x), measure(y, x)
                numbers[f"{name}{fonts} {best[0]} {best[2]}"] = filtered
                numbers[f"{name}_above_best_filter{fonts}"] = measure(y, x) - filtered
        return numbers

    def draw(self, run: Run) -> None:
        """pages.png, pages-unseen-fonts.png: scan, cleaned, the best filter's, the page; and curves.png."""
        best = self.best_filters["psnr"]
        for fonts, scans, clean in self._tests():
            scan = scaled(scans[:3])
            rows = [scan, self._cleaned(scan), _filtered(scan, best), scaled(clean[:3])]
            name = f"pages{fonts.replace('_', '-')}.png"
            plot.grid(run.folder / name, np.concatenate(rows)[:, :, :, :240], columns=3, zoom=1)
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error, mean over pixels")

    def _tests(self) -> tuple[tuple[str, Any, Any], ...]:
        data = self.data
        return ("", data.test_scans, data.test_clean), ("_unseen_fonts", data.unseen_scans, data.unseen_clean)

    @cached_property
    def best_filters(self) -> dict[str, Filter]:
        """Which filter cleans training pages best, by either measure."""
        scans, x = scaled(self.data.scans[-TUNED_ON:]), scaled(self.data.clean[-TUNED_ON:])
        found = [(rival, _filtered(scans, rival)) for rival in RIVALS]
        return {m.__name__: max(found, key=lambda pair: m(pair[1], x))[0] for m in (psnr, ssim)}

    def _cleaned(self, scans: Array) -> Array:
        return np.concatenate([self.net.forward(part)[0] for part in parts(scans, 8)])


def _filtered(scans: Array, choice: Filter) -> Array:
    """What a filter makes of scans, in [0,1] like the network's."""
    _, clean, strength = choice
    cut: Array = np.clip(clean(scans, strength), 0, 1)
    return cut


def example(batch_size: int) -> tuple[Layer, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return network(rng=stream(0, "init")), np.zeros((batch_size, 1, SIDE, SIDE), np.float32)
