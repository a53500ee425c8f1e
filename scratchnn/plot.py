"""Pictures, the only place that draws. Matplotlib is imported at the first picture, and no window is ever opened."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn.files import write_atomic
from scratchnn.layer import Array

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#666666"
LINE_COLOURS = (BLUE, ORANGE, "#2a8f5b", "#8a3fa0")
Panel = Callable[[Any], None]  # draws on the axes it is given


def curves(path: Path, series: Mapping[str, Sequence[tuple[float, float]]], y_label: str, *, log: bool = True) -> None:
    """Lines over training steps, y on a logarithmic axis or a linear one; series: name -> points (step, value)."""
    figure = _figure(6.4, 3.6)
    axes = figure.add_subplot()
    for colour, (name, points) in zip(LINE_COLOURS, series.items(), strict=False):
        steps, values = [step for step, _ in points], [value for _, value in points]
        axes.plot(
            steps, values, color=colour, label=name, linewidth=1.5, marker="o" if len(points) < 30 else None, ms=3
        )
    axes.set(yscale="log" if log else "linear", xlabel="step", ylabel=y_label)
    _bare(axes)
    _save(figure, path)


def lines(path: Path, series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> None:
    """Points (x, y) of each name, joined in their order; both axes linear."""
    figure = _figure(6.4, 3.6)
    axes = figure.add_subplot()
    for colour, (name, points) in zip(LINE_COLOURS, series.items(), strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, label=name, linewidth=1.5, marker="o", ms=3)
    axes.set(xlabel=x_label, ylabel=y_label)
    _bare(axes)
    _save(figure, path)


def filters(path: Path, weight: Array, title: str, columns: int = 10) -> None:
    """Filters [O,C,K,L] in rows, each scaled alike, zero in white; RGB where C is 3, else the first channel."""
    limit = float(np.abs(weight).max())
    sheet = mosaic(weight if weight.shape[1] == 3 else weight[:, :1], columns, np.nan)
    figure = _figure(0.9 * columns + 0.2, 0.9 * columns * sheet.shape[1] / sheet.shape[2] + 0.5)
    figure.suptitle(title, fontsize=9)
    axes = figure.add_subplot()
    if len(sheet) == 3:
        axes.imshow(np.nan_to_num(sheet / (2 * limit) + 0.5, nan=1).transpose(1, 2, 0))
    else:
        axes.imshow(sheet[0], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_axis_off()
    _save(figure, path)


def mosaic(images: Array, columns: int, background: float) -> Array:
    """Images [N,C,H,W] side by side as one [C,..,..], a cell of background between them."""
    n, c, h, w = images.shape
    rows = max(1, -(-n // columns))
    sheet = np.full((c, rows * (h + 1) - 1, columns * (w + 1) - 1), background, images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        sheet[:, top : top + h, left : left + w] = image
    return sheet


def grid(path: Path, images: Array, columns: int = 10, zoom: int = 2) -> None:
    """Images [N,C,H,W] in [0,1] in rows, pixel for pixel, each pixel `zoom` wide; without matplotlib, so at once."""
    from PIL import Image

    sheet = (np.clip(mosaic(images, columns, 0.5), 0, 1) * 255).round().astype(np.uint8)
    sheet = sheet.repeat(zoom, 1).repeat(zoom, 2)
    buffer = BytesIO()
    Image.fromarray(sheet.transpose(1, 2, 0) if len(sheet) == 3 else sheet[0]).save(buffer, format="png")
    write_atomic(path, buffer.getvalue())


def film(path: Path, frames: Array, zoom: int = 1, milliseconds: int = 80) -> None:
    """Frames [N,C,H,W] in [0,1] one after the other as a GIF that begins again, each pixel `zoom` wide."""
    from PIL import Image

    large = (np.clip(frames, 0, 1) * 255).round().astype(np.uint8).repeat(zoom, 2).repeat(zoom, 3)
    pictures = [Image.fromarray(frame.transpose(1, 2, 0) if len(frame) == 3 else frame[0]) for frame in large]
    buffer = BytesIO()
    pictures[0].save(buffer, format="gif", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    write_atomic(path, buffer.getvalue())


def strips(path: Path, rows: Mapping[str, Array], title: str) -> None:
    """A row of images [N,C,H,W] in [0,1] under each name, e.g. the test images and what became of them."""
    count, (h, w) = max(map(len, rows.values())), next(iter(rows.values())).shape[2:]
    figure = _figure(0.6 * count + 1.6, 0.6 * h / w * len(rows) + 0.5)
    figure.suptitle(title, fontsize=9)
    for axes, (name, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
        sheet = mosaic(images, count, 0.0)
        axes.imshow(_pixels(np.clip(sheet, 0, 1)), cmap="gray_r", vmin=0, vmax=1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center")
    _save(figure, path)


def scatter(path: Path, points: Array, labels: Array, classes: Sequence[str], title: str) -> None:
    """Points [N,2], coloured by their labels [N]."""
    figure = _figure(5.6, 5)
    axes = figure.add_subplot()
    for label, name in enumerate(classes):
        mine = points[labels == label]
        axes.scatter(mine[:, 0], mine[:, 1], s=3, alpha=0.6, color=f"C{label}", label=name, linewidths=0)
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, markerscale=4, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def arrows(path: Path, cloud: Array, starts: Array, ends: Array, title: str) -> None:
    """A cloud of points [N,2] and arrows from starts to ends [M,2]."""
    figure = _figure(5.6, 5)
    axes = figure.add_subplot()
    axes.scatter(cloud[:, 0], cloud[:, 1], s=4, color=ORANGE, alpha=0.7, linewidths=0)
    moves = ends - starts
    straight = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.002}
    axes.quiver(starts[:, 0], starts[:, 1], moves[:, 0], moves[:, 1], color=BLUE, **straight)
    axes.set_title(title, fontsize=9)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def page(path: Path, panels: Mapping[str, Panel], columns: int = 3) -> None:
    """Several pictures under their titles on one page; `dots`, `tracks` and `sheet` make them."""
    rows = -(-len(panels) // columns)
    figure = _figure(3.6 * columns, 3.0 * rows)
    for i, (title, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        panel(axes)
        axes.set_title(title, fontsize=8)
    _save(figure, path)


def dots(points: Array, targets: Array) -> Panel:
    """A panel of points [N,2] over targets [M,2]."""

    def draw(axes: Any) -> None:
        axes.scatter(targets[:, 0], targets[:, 1], s=90, color=ORANGE, alpha=0.4, linewidths=0)
        axes.scatter(points[:, 0], points[:, 1], s=2, color=BLUE, linewidths=0)
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(False)

    return draw


def tracks(series: Mapping[str, Array], labels: tuple[str, str] = ("", ""), *, log: bool = False) -> Panel:
    """A panel of lines through points [N,2] by name; both axes logarithmic or linear."""

    def draw(axes: Any) -> None:
        for colour, (name, points) in zip(LINE_COLOURS, series.items(), strict=False):
            axes.plot(points[:, 0], points[:, 1], color=colour, label=name, linewidth=1)
        axes.set(xlabel=labels[0], ylabel=labels[1], **({"xscale": "log", "yscale": "log"} if log else {}))
        _bare(axes)
        axes.legend(frameon=False, fontsize=6)

    return draw


def sheet(images: Array, columns: int = 10) -> Panel:
    """A panel of images [N,C,H,W] in [0,1]."""

    def draw(axes: Any) -> None:
        axes.imshow(_pixels(np.clip(mosaic(images, columns, 0.5), 0, 1)), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()

    return draw


def histograms(path: Path, values: Mapping[str, Array], x_label: str, bins: int = 60) -> None:
    """The share of values in each bin, by name, one below the other; the share on a logarithmic axis."""
    figure = _figure(5.6, 1.4 * len(values) + 0.6)
    rows = figure.subplots(len(values), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, found) in zip(rows, values.items(), strict=True):
        axes.hist(found.ravel(), bins=bins, weights=np.full(found.size, 1 / found.size), color=BLUE, log=True)
        axes.set_ylabel(name, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1].set_xlabel(x_label)
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


def font(name: str) -> Path:
    """The file of a font that comes with matplotlib, such as "DejaVuSans"."""
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts", "ttf", f"{name}.ttf")


def _bare(axes: Any) -> None:
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _pixels(image: Array) -> Array:
    return image.transpose(1, 2, 0) if len(image) == 3 else image[0]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # the object API: no pyplot, no global state, no display

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())
