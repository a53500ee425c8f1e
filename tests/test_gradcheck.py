"""The gradient checker: it finds every planted bug and says which, accepts all that is right, and leaves no trace."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import plain_layers as plain
import planted_bugs  # noqa: F401  the three enter their bugs into BUGS
import planted_nonlinear_bugs  # noqa: F401
import planted_promise_bugs  # noqa: F401
import scratchnn as s
from planting import BUGS, IMAGE, ROWS, Bug, build_input, prepared
from scratchnn.errors import LayerError, ScratchnnError
from scratchnn.gradcheck import GradcheckError, Report, gradcheck
from scratchnn.gradcheck.report import Ledger
from scratchnn.gradcheck.second_order import symmetry
from scratchnn.gradcheck.subject import Subject

NAMES = [bug.name for bug in BUGS]


def test_there_are_enough_different_bugs() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 60
    assert len({bug.check for bug in BUGS}) == 17  # all but finite and hessian symmetry, which are below


@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_a_planted_bug_is_found_by_its_check(bug: Bug) -> None:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(bug.wrong(), build_input(bug.shape, bug.ties), train=bug.train)
    message = str(caught.value)
    assert caught.value.check == bug.check, message
    assert f"check {bug.check!r} failed for {caught.value.wrt} (method: {caught.value.method})" in message
    assert bug.says in message, message
    if bug.check in ("gradient", "adjoint", "second order"):
        assert re.search(r"relative error \S+, tolerance 1e-\d\d; .*worst element \[.*\]: expected .*, got ", message)
        assert caught.value.error > caught.value.tolerance


@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_its_right_version_is_accepted(bug: Bug) -> None:
    report = gradcheck(bug.right(), build_input(bug.shape, bug.ties), train=bug.train)
    assert all(check.error <= check.tolerance for check in report.checks)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
def test_neither_depends_on_the_seed(bug: Bug, seed: int) -> None:
    gradcheck(bug.right(), build_input(bug.shape, bug.ties), train=bug.train, seed=seed)
    with pytest.raises(GradcheckError):
        gradcheck(bug.wrong(), build_input(bug.shape, bug.ties), train=bug.train, seed=seed)


def small_network() -> s.Layer:
    body = s.Sequential(s.Conv2d(3, 3, 3, padding="same"), s.Sigmoid())
    last = (s.MaxPool2d(2), s.Flatten(), s.Dropout(0.3), s.Linear(3 * 2 * 3, 4))
    return s.Sequential(s.Conv2d(2, 3, 2, padding=1), s.BatchNorm2d(3), s.LeakyReLU(0.2), s.Residual(body), *last)


LAYERS: list[tuple[Callable[[], Any], tuple[int, ...], bool]] = [
    (lambda: s.Linear(5, 3), ROWS, False),
    (lambda: s.Linear(5, 3, bias=False), (2, 3, 5), False),
    (lambda: s.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGE, False),
    (lambda: s.Conv2d(2, 4, 2, groups=2, padding="same", dilation=(1, 2)), IMAGE, False),
    (lambda: s.Conv2d(2, 3, 2, stride=3, bias=False), (1, 2, 5, 6), False),
    (lambda: s.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), IMAGE, False),
    (lambda: s.ConvTranspose2d(2, 4, 2, groups=2, dilation=2, bias=False), IMAGE, False),
    (lambda: s.MaxPool2d(2), IMAGE, False),
    (lambda: s.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), IMAGE, False),
    (lambda: s.MaxPool2d(2, stride=1, dilation=2), IMAGE, False),
    (lambda: s.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False), IMAGE, False),
    (lambda: s.AvgPool2d((2, 3)), IMAGE, False),
    (s.ReLU, ROWS, False),
    (s.LeakyReLU, ROWS, False),
    (s.Sigmoid, ROWS, False),
    (s.Tanh, ROWS, False),
    (lambda: s.Softplus(3.0), ROWS, False),
    (lambda: s.TopK(2), ROWS, False),
    (lambda: s.TopK(1, dim=1), IMAGE, False),
    (s.Flatten, IMAGE, False),
    (lambda: s.Reshape(6, -1), IMAGE, False),
    (lambda: s.Dropout(0.4), ROWS, True),
    (s.Dropout, ROWS, False),
    (lambda: s.BatchNorm1d(5), ROWS, True),
    (lambda: s.BatchNorm1d(5), (2, 5), True),
    (lambda: s.BatchNorm1d(5), ROWS, False),
    (lambda: s.BatchNorm2d(2), IMAGE, True),
    (lambda: s.BatchNorm2d(2, affine=False), IMAGE, True),
    (lambda: s.BatchNorm2d(2), IMAGE, False),
    (small_network, (4, 2, 4, 5), True),
    (small_network, (4, 2, 4, 5), False),
]


@pytest.mark.parametrize(("build", "shape", "train"), LAYERS, ids=lambda value: "")
def test_every_layer_of_the_library_is_right_to_machine_precision(
    build: Callable[[], Any], shape: tuple[int, ...], train: bool
) -> None:
    layer = prepared(build())
    report = gradcheck(layer, build_input(shape), train=train, second_order=True)
    assert report.method == "complex"
    assert {"gradient", "adjoint", "second order", "hessian symmetry", "pure", "stateless"} <= {
        check.name for check in report.checks
    }
    assert report.worst < 1e-13, report


PLAIN = [plain.Scale, plain.Softmax, plain.LayerNorm, plain.Gelu, plain.AbsShift, plain.UnitNorm, plain.Clip]


@pytest.mark.parametrize("kind", PLAIN)
def test_a_layer_of_any_other_class_is_accepted(kind: type) -> None:
    report = gradcheck(kind(), build_input((3, 4)))
    assert report.method == ("central" if kind in (plain.AbsShift, plain.UnitNorm) else "complex")
    assert any("no jvp" in line for line in report.left_out)
    with pytest.raises(GradcheckError, match="backward_jvp"):
        gradcheck(kind(), build_input((3, 4)), second_order=True)


class Temperature(s.Layer):
    """y = x t, where t has no axis; what it is given must be arrays all the same, also when it is moved."""

    def __init__(self) -> None:
        self.t = s.Param(np.array(1.5))

    def forward(self, x: Any, train: bool = False, rng: Any = None) -> Any:
        assert all(isinstance(a, np.ndarray) for a in (x, self.t.data, self.t.grad))
        return np.asarray(x * self.t.data), x

    def backward(self, dy: Any, x: Any) -> Any:
        assert isinstance(dy, np.ndarray)
        if self.t.trainable:
            self.t.grad[...] += (dy * x).sum()
        return np.asarray(dy * self.t.data)

    def jvp(self, x_dot: Any, x: Any) -> Any:
        x_dot = np.zeros(x.shape) if x_dot is None else x_dot
        t_dot = np.zeros(()) if self.t.dot is None else self.t.dot
        assert isinstance(x_dot, np.ndarray) and isinstance(t_dot, np.ndarray)
        return x_dot * self.t.data + x * t_dot, x_dot

    def backward_jvp(self, dy: Any, dy_dot: Any, x: Any, x_dot: Any) -> Any:
        dy_dot = np.zeros(x.shape) if dy_dot is None else dy_dot
        t_dot = np.zeros(()) if self.t.dot is None else self.t.dot
        self.t.grad[...] += (dy_dot * x + dy * x_dot).sum()
        return dy * self.t.data, dy_dot * self.t.data + dy * t_dot


class NeverFrozen(Temperature):
    def backward(self, dy: Any, x: Any) -> Any:
        trainable = self.t.trainable
        self.t.trainable = True
        dx = super().backward(dy, x)
        self.t.trainable = trainable
        return dx


@pytest.mark.parametrize("shape", [(), (3, 4)])
def test_arrays_without_axes(shape: tuple[int, ...]) -> None:
    report = gradcheck(Temperature(), np.random.default_rng(0).normal(size=shape) + np.zeros(shape))
    assert report.worst < 1e-14
    with pytest.raises(GradcheckError, match=r"frozen.* expected 0, got "):
        gradcheck(NeverFrozen(), build_input((3, 4)))


class NumberForArray(s.Layer):
    def __init__(self, method: str) -> None:
        self.method = method

    def forward(self, x: Any, train: bool = False, rng: Any = None) -> Any:
        return x * 2, x

    def backward(self, dy: Any, x: Any) -> Any:
        return 0 if self.method == "backward" else dy * 2

    def jvp(self, x_dot: Any, x: Any) -> Any:
        return 0 if self.method == "jvp" or x_dot is None else x_dot * 2, x_dot

    def backward_jvp(self, dy: Any, dy_dot: Any, x: Any, x_dot: Any) -> Any:
        return dy * 2, 0 if self.method == "backward_jvp" or dy_dot is None else dy_dot * 2


@pytest.mark.parametrize("method", ["backward", "jvp", "backward_jvp"])
def test_a_number_where_an_array_is_expected_is_told(method: str) -> None:
    with pytest.raises(GradcheckError, match=r"\(\)"):
        gradcheck(NumberForArray(method), build_input((3, 4)))


class OneElementOff(s.Tanh):
    def backward(self, dy: Any, y: Any) -> Any:
        dx = super().backward(dy, y)
        dx[2, 3] *= -1
        return dx


def test_the_worst_element_is_named_with_its_numbers() -> None:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(OneElementOff(), build_input(ROWS))
    found = re.search(r"worst element \[2,3\]: expected (\S+), got (\S+); .* only 1 of 20 elements", str(caught.value))
    assert found is not None, str(caught.value)
    assert float(found[1]) == -float(found[2]) != 0


def test_an_input_too_large_to_go_through_is_explained_by_a_sample_of_it() -> None:
    with pytest.raises(GradcheckError, match=r"of 2000 elements \(flat\), worst element \[\d+\]"):
        gradcheck(next(bug for bug in BUGS if bug.name == "SigmoidPlus").wrong(), build_input((40, 60)))


def test_hessian_symmetry_sees_a_missing_product_term() -> None:
    """In gradcheck the second-order check is in front of it, and finds it first."""
    for name, symmetric in (("ConvWithoutOneProductTerm", False), ("ConvKernelFlipped", True)):
        bug = next(bug for bug in BUGS if bug.name == name)
        layer = bug.right() if symmetric else bug.wrong()
        subject, rng = Subject(layer, build_input(bug.shape), False, 0), np.random.default_rng(0)
        y, ctx = subject.forward()
        c = rng.standard_normal(y.shape)
        if symmetric:
            symmetry(subject, Ledger(layer, None), rng, c, subject.pull(c, ctx))
        else:
            with pytest.raises(GradcheckError, match=r"u\.Hv and v\.Hu"):
                symmetry(subject, Ledger(layer, None), rng, c, subject.pull(c, ctx))


def test_the_method_can_be_asked_for() -> None:
    x = build_input(ROWS)
    assert gradcheck(s.Tanh(), x, method="central").method == "central"
    assert gradcheck(s.Tanh(), x, method="complex").method == "complex"
    with pytest.raises(GradcheckError, match="'gradient'"):
        gradcheck(plain.AbsShift(), x, method="complex")  # forced where it does not hold
    with pytest.raises(ValueError, match="method='autograd'"):
        gradcheck(s.Tanh(), x, method="autograd")  # type: ignore[arg-type]


def test_the_tolerance_can_be_given() -> None:
    x = build_input(ROWS)
    with pytest.raises(GradcheckError, match="tolerance 1e-15"):
        gradcheck(plain.AbsShift(), x, tolerance=1e-15)
    bug = next(bug for bug in BUGS if bug.name == "AbsScaledABit")
    gradcheck(bug.wrong(), x, tolerance=1e-2)


@pytest.mark.parametrize("train", [False, True])
def test_backward_of_a_backward_that_is_not_analytic(train: bool) -> None:
    report = gradcheck(plain.Cube(), build_input(ROWS), train=train)
    assert {c.method for c in report.checks if c.wrt == "dx_dot"} == {"central"}
    assert report.method == "complex"


def trace(layer: Any) -> Iterator[tuple[str, Any]]:
    for name, param in layer.named_params():
        for part in ("data", "grad", "dot"):
            array = getattr(param, part)
            yield f"{name}.{part}", (id(array), None if array is None else (array.dtype, array.tobytes()))
        yield f"{name}.trainable", param.trainable
    for name, array in layer.state_dict().items():
        yield name, (id(array), array.dtype, array.tobytes())


@pytest.mark.parametrize("wrong", [False, True])
def test_the_layer_is_left_bit_for_bit_as_it_was(wrong: bool) -> None:
    layer = prepared(small_network())
    if wrong:
        layer.layers[0].backward = lambda dy, ctx: dy
    params = dict(layer.named_params())
    params["0.weight"].dot = np.ones_like(params["0.weight"].data)
    params["1.bias"].trainable = False
    for param in params.values():
        param.grad[...] = np.random.default_rng(1).standard_normal(param.grad.shape)
    x = build_input((4, 2, 4, 5))
    before, x_before = dict(trace(layer)), x.tobytes()
    if wrong:
        with pytest.raises(GradcheckError):
            gradcheck(layer, x, train=True)
    else:
        gradcheck(layer, x, train=True)
    assert dict(trace(layer)) == before
    assert x.tobytes() == x_before


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (s.ReLU(), np.zeros(ROWS)),
        (s.LeakyReLU(), np.where(np.arange(20).reshape(ROWS) == 7, 0.0, build_input(ROWS))),
        (s.MaxPool2d(2), np.ones((2, 1, 4, 4))),
        (s.MaxPool2d(3, stride=1, padding=1), np.round(build_input((2, 1, 4, 4)))),
        (s.TopK(2), np.zeros(ROWS)),
        (plain.AbsShift(), np.zeros(ROWS)),
        (prepared(s.Sequential(s.ReLU(), s.Linear(5, 5), s.ReLU())), np.zeros(ROWS)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_input_at_a_kink_is_moved_and_said_so(layer: Any, x: Any) -> None:
    report = gradcheck(layer, x)
    assert any("kink" in note for note in report.notes)
    assert any(check.name == "subgradient" for check in report.checks)


def test_an_input_beside_a_kink_is_not_moved_for_the_complex_step() -> None:
    x = build_input(ROWS)
    x[0, 0] = 3e-7  # closer than the largest steps of the second opinion
    report = gradcheck(s.ReLU(), x)
    assert report.method == "complex"
    assert report.notes == ()


def test_float32_is_refused_with_the_remedy() -> None:
    with pytest.raises(LayerError, match=r"weight is float32; .*layer.astype\(numpy.float64\)"):
        gradcheck(s.Linear(5, 3), build_input(ROWS))
    with pytest.raises(LayerError, match=r"got x as float32 \[4, 5\]"):
        gradcheck(s.Tanh(), build_input(ROWS).astype(np.float32))
    with pytest.raises(LayerError, match=r"running_mean is float32"):
        gradcheck(s.BatchNorm2d(2, affine=False), build_input(IMAGE))
    with pytest.raises(LayerError, match=r"not empty is expected"):
        gradcheck(s.Tanh(), np.zeros((0, 3)))


class NoForwardMode(s.Tanh):
    jvp, backward_jvp = s.Layer.jvp, s.Layer.backward_jvp


def test_what_is_left_out_is_said() -> None:
    text = str(gradcheck(s.Sequential(NoForwardMode(), s.ReLU()), build_input(ROWS)))
    assert "left out: adjoint (NoForwardMode has no jvp)" in text
    assert "left out: second order (it needs jvp)" in text
    assert "left out: second order (not asked for)" in str(gradcheck(s.Tanh(), build_input(ROWS), second_order=False))
    assert "left out: batch" in str(gradcheck(s.BatchNorm1d(5).astype("f8"), build_input(ROWS), train=True))


def test_the_worst_of_all_draws_is_remembered() -> None:
    ledger, one = Ledger(s.Tanh(), None), np.ones(1)
    for error in (1e-13, 5e-13, 2e-13):
        ledger.arrays("gradient", "x", one, one - error)
    assert abs(ledger.report().worst - 5e-13) < 1e-15


def test_values_that_are_not_finite_are_named() -> None:
    with pytest.raises(GradcheckError, match="NaN or inf"):
        gradcheck(s.Tanh(), np.full(ROWS, np.nan))


def test_the_report_is_a_table_and_the_error_fits_both_worlds() -> None:
    report = gradcheck(prepared(s.Linear(5, 3)), build_input(ROWS))
    assert isinstance(report, Report)
    text = str(report)
    assert text.startswith("gradcheck of Linear(5, 3): ")
    assert re.search(r"^gradient +complex +\d\.\de-\d\d +1e-12 +the input, weight, bias$", text, re.MULTILINE)
    assert issubclass(GradcheckError, ScratchnnError)
    assert issubclass(GradcheckError, AssertionError)
