"""The tests that people write, each tried on each bug, from the weakest to those that this library demands.

A test here answers True if it is content with the layer. Whatever raises is not content.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from exhibits.exhibit import Array, Exhibit, Plain
from scratchnn.gradcheck import GradcheckError, gradcheck
from scratchnn.gradcheck.derivative import slope
from scratchnn.gradcheck.subject import Subject

Grads = dict[str, Array]


def subject(exhibit: Exhibit, kind: type[Plain], shape: tuple[int, ...] | None = None) -> Subject:
    """The layer at its input; another shape than the exhibit's may be asked for."""
    shape = shape or exhibit.shape
    return Subject(exhibit.build(kind, shape), exhibit.input(shape), exhibit.train, 0)


def derivatives(of: Subject, w: Array, method: str) -> Grads:
    """d <forward, w> / d each element of the input and the parameters."""
    grads = {name: np.zeros(a.shape) for name, a in of.point.items()}
    for name, grad in grads.items():
        for i in range(grad.size):
            v = np.zeros(grad.shape)
            v.flat[i] = 1
            y_dot = _central(of, name, v) if method == "central" else slope(partial(_along, of, name, v), method)
            grad.flat[i] = (w * y_dot).sum()
    return grads


def _along(of: Subject, name: str, v: Array, t: complex) -> Array:
    return of.forward({name: v}, t)[0]


def _central(of: Subject, name: str, v: Array, eps: float = 1e-6) -> Array:
    difference: Array = _along(of, name, v, eps) - _along(of, name, v, -eps)
    return difference / (2 * eps)


def _agree(of: Subject, w: Array, method: str, rtol: float, atol: float) -> bool:
    expected = derivatives(of, w, method)
    got = of.pull(w.copy(), of.forward()[1])
    return all(
        got[name].shape == grad.shape and np.allclose(got[name], grad, rtol=rtol, atol=atol)
        for name, grad in expected.items()
    )


def loss_falls(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """Thirty steps of gradient descent on |y - target|^2 / 2 over the input and the parameters."""
    of = subject(exhibit, kind)
    target = np.random.default_rng(5).standard_normal(of.forward()[0].shape)
    losses = []
    for _ in range(30):
        y, ctx = of.forward()
        losses.append(float(((y - target) ** 2).sum()))
        grads = of.pull(y - target, ctx)
        of.point = {name: a - 0.02 * grads[name] for name, a in of.point.items()}
    return losses[-1] < losses[0]


def one_sample(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """An exact gradient check with a random cotangent, for a batch of one."""
    of = subject(exhibit, kind, (1, *exhibit.shape[1:]))
    return _agree(of, _random(of), "complex", 1e-9, 1e-9)


def all_ones(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """An exact gradient check of y.sum()."""
    of = subject(exhibit, kind)
    return _agree(of, np.ones(of.forward()[0].shape), "complex", 1e-9, 1e-9)


def default_settings(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """An exact gradient check of the easy case, see Exhibit.usual: stride = window, no padding, no repeated index."""
    settings = dict(exhibit.usual)
    train = settings.pop("train", exhibit.train)
    layer = exhibit.build(kind, exhibit.shape)
    vars(layer).update(settings)
    of = Subject(layer, exhibit.input(exhibit.shape), train, 0)
    return _agree(of, _random(of), "complex", 1e-10, 1e-12)


def default_tolerances(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """Central differences, one output at a time, by the defaults of PyTorch's: eps 1e-6, rtol 1e-3, atol 1e-5."""
    of = subject(exhibit, kind)
    shape = of.forward()[0].shape
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return all(_agree(of, w, "central", 1e-3, 1e-5) for w in units)


def exact_gradient(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """Complex step and a random cotangent, to nearly all digits."""
    of = subject(exhibit, kind)
    return _agree(of, _random(of), "complex", 1e-10, 1e-12)


def laws(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """scratchnn.gradcheck: gradients, second order, promises."""
    caught(exhibit, kind)
    return True


def outputs(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """y equals an independent implementation's, and float32 stays float32."""
    return forward_oracle(exhibit, kind) and float32_stays(exhibit, kind)


def forward_oracle(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """y equals the right layer's."""
    expected, got = (subject(exhibit, k).forward()[0] for k in (exhibit.right, kind))
    return expected.shape == got.shape and np.allclose(expected, got, rtol=1e-10, atol=1e-12)


def float32_stays(exhibit: Exhibit, kind: type[Plain]) -> bool:
    """float32 in, float32 out."""
    of = subject(exhibit, kind)
    of.point = {name: a.astype(np.float32) for name, a in of.point.items()}
    return bool(of.forward()[0].dtype == np.float32)


def caught(exhibit: Exhibit, kind: type[Plain], noise: int = 0) -> None:
    """Raise GradcheckError where the laws do not hold; noise > 0 draws a change of x in its last digits."""
    x = np.ones(exhibit.shape) if exhibit.ties else exhibit.input(exhibit.shape)
    if noise and not exhibit.ties:
        x = x * (1 + 1e-15 * np.random.default_rng(noise).standard_normal(x.shape))
    gradcheck(exhibit.build(kind, exhibit.shape), x, train=exhibit.train)


def _random(of: Subject) -> Array:
    return np.random.default_rng(3).standard_normal(of.forward()[0].shape)


Visitor = Callable[[Exhibit, type[Plain]], bool]
VISITORS: dict[str, Visitor] = {
    "loss falls": loss_falls,
    "batch of 1": one_sample,
    "all-ones dy": all_ones,
    "default tolerances": default_tolerances,
    "default settings": default_settings,
    "exact gradient": exact_gradient,
    "gradcheck": laws,
    "outputs": outputs,
}


def content(visitor: Visitor, exhibit: Exhibit, kind: type[Plain]) -> bool:
    """Whether this test accepts the layer; a crash is noticed by any test."""
    try:
        with np.errstate(all="ignore"):  # a wrong gradient may well drive a descent to infinity
            return visitor(exhibit, kind)
    except (GradcheckError, ValueError, IndexError, TypeError):
        return False
