"""Pictures, the only place that draws. Matplotlib is imported at the first picture, and no window is ever opened."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn.files import write_atomic
from scratchnn.layer import Array

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#666666"
LINE_COLOURS = (BLUE, ORANGE, "#2a8f5b", "#8a3fa0")


def curves(path: Path, series: Mapping[str, Sequence[tuple[float, float]]], y_label: str) -> None:
    """Lines over training steps, y on a logarithmic axis; series: name -> points (step, value)."""
    figure = _figure(6.4, 3.6)
    axes = figure.add_subplot()
    for colour, (name, points) in zip(LINE_COLOURS, series.items(), strict=False):
        steps, values = [step for step, _ in points], [value for _, value in points]
        axes.plot(
            steps, values, color=colour, label=name, linewidth=1.5, marker="o" if len(points) < 30 else None, ms=3
        )
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, path)


def filters(path: Path, weight: Array, title: str) -> None:
    """A row of filters [O,C,K,L], each scaled alike, zero in white; RGB where C is 3, else the first channel."""
    count = len(weight)
    figure = _figure(0.9 * count + 0.4, 1.5)
    figure.suptitle(title, fontsize=9)
    limit = float(np.abs(weight).max())
    for i, kernel in enumerate(weight):
        axes = figure.add_subplot(1, count, i + 1)
        if len(kernel) == 3:
            axes.imshow(kernel.transpose(1, 2, 0) / (2 * limit) + 0.5)
        else:
            axes.imshow(kernel[0], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_axis_off()
    _save(figure, path)


def labelled_images(path: Path, images: Array, labels: Sequence[str], title: str, columns: int = 12) -> None:
    """A grid of images [N,C,H,W] in [0,1], a label under each."""
    rows = max(1, -(-len(images) // columns))
    figure = _figure(0.8 * columns, 1.02 * rows + 0.4)
    figure.suptitle(title, fontsize=10)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(_pixels(image), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(label, fontsize=7, y=-0.28, color=GREY)
        axes.set_axis_off()
    _save(figure, path)


def _pixels(image: Array) -> Array:
    return image.transpose(1, 2, 0) if len(image) == 3 else image[0]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # the object API: no pyplot, no global state, no display

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())
