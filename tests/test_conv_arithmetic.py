"""The calculator of convolutions: the lecture's examples, and windows that are what the layers really look at."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scratchnn import LayerError, ScratchnnError
from scratchnn_models.conv_arithmetic import INPUT, Convolution, film, parse, parse_size


@pytest.mark.parametrize(
    ("text", "size", "output"),
    [
        ("conv 5x5", (32, 32), (28, 28)),  # LeNet's first layer
        ("tconv 3x3", (2, 2), (4, 4)),
        ("tconv 3x3 s2", (2, 2), (5, 5)),
        ("conv 3x3 d2", (7, 7), (3, 3)),  # the lecture's "dilation 1": one hole
        ("conv 3x3 s2 p1 d2", (32, 32), (15, 15)),
        ("conv 3x3 p1", (5, 7), (5, 7)),
        ("tconv 3x3 s2 p1 o1", (7, 7), (14, 14)),
    ],
)
def test_examples(text: str, size: tuple[int, int], output: tuple[int, int]) -> None:
    assert parse(text).output(size) == output


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    transposed, stride = draw(st.booleans()), draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.integers(1, 2))
    output_padding = draw(st.integers(0, stride - 1)) if transposed else 0
    return Convolution(transposed, kernel, stride, draw(st.integers(0, 2)), dilation, output_padding)


@given(convolutions(), st.tuples(st.integers(2, 5), st.integers(2, 5)))
def test_the_window_is_what_the_layer_looks_at(convolution: Convolution, size: tuple[int, int]) -> None:
    layer = convolution.layer().astype(float)
    for param in layer.params():
        param.data[...] = 1
    try:
        (rows, columns), x = convolution.output(size), np.zeros((1, 1, *size))
    except LayerError:
        return  # nothing comes out of so small an input
    for axis, length in enumerate((rows, columns)):
        expression = convolution.formula(size[axis], axis).replace("floor", "np.floor")
        assert eval(expression, {"np": np}) == length
    canvas = convolution.canvas(size)
    _, ctx = layer.forward(x)
    for i in range(rows):
        for j in range(columns):
            dy = np.zeros((1, 1, rows, columns))
            dy[0, 0, i, j] = 1
            seen = np.zeros(canvas.shape, int)
            for tap in convolution.taps(i, j, size):
                seen[tap] += 1
            looked = seen[canvas == INPUT].reshape(size)
            np.testing.assert_array_equal(looked, layer.backward(dy, ctx)[0, 0])
            reached = np.argwhere(looked)
            if len(reached):
                assert (np.ptp(reached, 0) < convolution.field()).all()


def test_parameters_and_flops() -> None:
    convolution = parse("conv 5x5 3->16")
    assert convolution.params() == 16 * 3 * 25 + 16 and convolution.flops((32, 32)) == 2 * 28 * 28 * 16 * 3 * 25
    assert parse("tconv 2x2 s2 4->8").flops((5, 6)) == 2 * 5 * 6 * 4 * 8 * 4


@pytest.mark.parametrize("text", ["conv 3x3 s2", "tconv 3x3 s2", "tconv 2x3 p1", "conv 2x2 p1 d2"])
def test_a_film_has_a_frame_for_each_output_cell(text: str, tmp_path: Path) -> None:
    convolution, path = parse(text), tmp_path / "film.gif"
    count = film(convolution, (5, 6), path)
    rows, columns = convolution.output((5, 6))
    with Image.open(path) as shown:
        assert count == rows * columns == shown.n_frames


@pytest.mark.parametrize("text", ["", "pool 2x2", "conv", "conv 3", "conv 3x3 q2", "conv 3x3 s2 o1", "conv 3x3 s"])
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ScratchnnError, match=r"expected|only a transposed"):
        parse(text)


def test_sizes() -> None:
    assert parse_size("32x16") == (32, 16)
    with pytest.raises(ScratchnnError, match="'32' is no size"):
        parse_size("32")
