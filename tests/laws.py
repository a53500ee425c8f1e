"""The laws that every layer obeys. Each takes a drawn setup; none knows which layer it has.

Cotangents and tangents are random: all-ones ones hide errors. The complex step takes the branch of the real code, so
kinks need no exception.
"""

from copy import deepcopy
from unittest.mock import patch

import numpy as np

from compare import H, assert_bits, assert_close, assert_same_sum, gradients, nudged, or_zeros
from parts import Mode
from scratchnn import Layer, frozen
from scratchnn_kernels import TABLE
from setups import Setup

EXACT = 1e-12  # float64, in units of the largest cell or of the sum of absolute terms
SINGLE = 2e-5  # float32


def forward_is_the_oracle(s: Setup) -> None:
    """y, and the buffers that forward writes, equal the naive loops'; in any memory layout, in both precisions."""
    for dtype, tolerance in ((np.float64, EXACT), (np.float32, SINGLE)):
        layer, x = s.layer(dtype), s.x(dtype)
        state = deepcopy({name: array.astype(float) for name, array in layer.state_dict().items()})
        y, _ = s.forward(layer, s.awkward(x))
        assert_close(
            y, s.part.oracle(x.astype(float), state, Mode(s.train, s.rng())), tolerance, f"y in {dtype.__name__}"
        )
        for name, array in layer.state_dict().items():
            assert_close(array, state[name], tolerance, f"{name} in {dtype.__name__}")


def backward_is_the_adjoint_of_jvp(s: Setup) -> None:
    """<jvp(v), w> = <v, backward(w)>, for the input alone and for each parameter alone."""
    layer, (y, ctx) = _ran(s)
    w, v = s.random(0, y.shape), s.random(1, s.shape)
    dx = layer.backward(w, ctx)
    y_dot, _ = layer.jvp(v, ctx)
    assert_same_sum([(or_zeros(y_dot, y.shape), w)], [(v, dx)], EXACT, "the input")
    for i, (name, param) in enumerate(layer.named_params()):
        param.dot = s.random(2 + i, param.data.shape)
        y_dot, _ = layer.jvp(None, ctx)
        assert_same_sum([(or_zeros(y_dot, y.shape), w)], [(param.dot, param.grad)], EXACT, name)
        param.dot = None


def backward_is_linear(s: Setup) -> None:
    """backward(0) = 0 and backward(2 w) = 2 backward(w), to the last bit."""
    results = []
    for factor in (0.0, 1.0, 2.0):
        layer, (y, ctx) = _ran(s)
        results.append([layer.backward(factor * s.random(0, y.shape), ctx), *gradients(layer).values()])
    for none, one, two in zip(*results, strict=True):
        assert not none.any(), "backward(0) is not 0"
        assert_bits(two, 2 * one, "backward(2 w)")


def complex_step_agrees(s: Setup) -> None:
    """jvp is the complex-step derivative cell by cell, and backward its adjoint."""
    layer, (y, ctx) = _ran(s)
    v, w = s.random(0, s.shape), s.random(1, y.shape)
    s.give_tangents(layer, 2)
    with nudged(layer):
        moved, _ = s.forward(layer, s.x() + 1j * H * v)
    truth = moved.imag / H
    y_dot, _ = layer.jvp(v, ctx)
    assert_close(or_zeros(y_dot, y.shape), truth, EXACT, "jvp")
    dx = layer.backward(w, ctx)
    shares = [(param.dot, param.grad) for param in layer.params()]
    assert_same_sum([(v, dx), *shares], [(w, truth)], EXACT, "backward")


def backward_jvp_is_the_derivative(s: Setup) -> None:
    """It returns dx and the derivative of dx, and adds the derivative of each parameter's gradient."""
    layer, (y, ctx) = _ran(s)
    v, dy, dy_dot = s.random(0, s.shape), s.random(1, y.shape), s.random(2, y.shape)
    s.give_tangents(layer, 3)
    with nudged(layer):
        _, moved = s.forward(layer, s.x() + 1j * H * v)
        truth = layer.backward(dy + 1j * H * dy_dot, moved).imag / H
        truths = {name: grad.imag / H for name, grad in gradients(layer).items()}
    _, ctx_dot = layer.jvp(v, ctx)
    for times in (1, 2):  # it adds
        dx, dx_dot = layer.backward_jvp(dy, dy_dot, ctx, ctx_dot)
        assert_close(or_zeros(dx_dot, s.shape), truth, EXACT, "dx_dot")
        for name, grad in gradients(layer).items():
            assert_close(grad, times * truths[name], EXACT, f"the derivative of {name}'s gradient")
    assert_bits(dx, layer.backward(dy, ctx), "dx of backward_jvp")


def hessian_is_symmetric(s: Setup) -> None:
    """u.Hv = v.Hu over the input and all parameters together, for the scalar <y, w>."""
    layer, (y, ctx) = _ran(s)
    w, params = s.random(0, y.shape), list(layer.params())
    directions, products = [], []
    for label in (100, 200):
        s.give_tangents(layer, label)
        directions.append([s.random(label - 1, s.shape), *(param.dot for param in params)])
        layer.zero_grad()
        _, ctx_dot = layer.jvp(directions[-1][0], ctx)
        _, dx_dot = layer.backward_jvp(w, None, ctx, ctx_dot)
        products.append([or_zeros(dx_dot, s.shape), *gradients(layer).values()])
    (u, v), (hu, hv) = directions, products
    assert_same_sum([*zip(u, hv, strict=True)], [*zip(v, hu, strict=True)], EXACT, "the Hessian")


def absent_tangents_are_zero(s: Setup) -> None:
    """None in the place of a tangent gives what zeros give, for each of x_dot, dy_dot and the parameters' tangents."""
    for given in (0, 1, 2, 4):  # nothing, or one alone: x_dot, dy_dot, the parameters'
        outcomes = []
        for absent in (None, 0.0):
            layer, (y, ctx) = _ran(s)
            x_dot, dy_dot = (
                s.random(label, shape) if given >> label & 1 else _nothing(absent, shape)
                for label, shape in ((0, s.shape), (1, y.shape))
            )
            for i, param in enumerate(layer.params()):
                shape = param.data.shape
                param.dot = s.random(3 + i, shape) if given & 4 else _nothing(absent, shape)
            y_dot, ctx_dot = layer.jvp(x_dot, ctx)
            dx, dx_dot = layer.backward_jvp(s.random(2, y.shape), dy_dot, ctx, ctx_dot)
            tangents = or_zeros(y_dot, y.shape), or_zeros(dx_dot, s.shape)
            outcomes.append([*tangents, dx, *gradients(layer).values()])
        for left, right in zip(*outcomes, strict=True):
            assert_close(left, right, EXACT, f"absent tangents, bits {given:03b}")


def _nothing(absent: float | None, shape: tuple[int, ...]) -> np.ndarray | None:
    return None if absent is None else np.zeros(shape)


def contexts_are_independent(s: Setup) -> None:
    """Two calls, two contexts: asked back in either order they add the same, which is the sum of what each adds."""
    totals = []
    for order in ((0, 1), (1, 0), (0,), (1,)):
        layer = s.layer()
        runs = [s.forward(layer, x) for x in (s.x(), s.random(0, s.shape))]
        dxs = {i: layer.backward(s.random(1 + i, runs[i][0].shape), runs[i][1]) for i in order}
        totals.append((dxs, gradients(layer)))
    (both, forwards), (_, backwards), (one, first), (two, second) = totals
    for i, alone in ((0, one), (1, two)):
        assert_bits(both[i], alone[i], f"dx of call {i}")
    for name in forwards:
        assert_close(forwards[name], backwards[name], EXACT, f"{name}, in the other order")
        assert_close(forwards[name], first[name] + second[name], EXACT, f"{name}, against one by one")


def batches_join(s: Setup) -> None:
    """Gradients of two batches add up to those of the joined batch.

    Not so for batch norm in training, where each sample sees the others, nor for dropout, which draws one mask a call.
    """
    if not s.joins:
        return
    layer, xs = s.layer(), [s.x(), s.random(0, (2, *s.shape[1:]))]
    runs = [s.forward(layer, x) for x in xs]
    dys = [s.random(1 + i, y.shape) for i, (y, _) in enumerate(runs)]
    dxs = [layer.backward(dy, ctx) for dy, (_, ctx) in zip(dys, runs, strict=True)]
    apart = gradients(layer)
    layer.zero_grad()
    y, ctx = s.forward(layer, np.concatenate(xs))
    assert_close(y, np.concatenate([y for y, _ in runs]), EXACT, "y")
    assert_close(layer.backward(np.concatenate(dys), ctx), np.concatenate(dxs), EXACT, "dx")
    for name, grad in gradients(layer).items():
        assert_close(apart[name], grad, EXACT, name)


def frozen_means_untouched(s: Setup) -> None:
    """Under `frozen`, dx keeps its bits, no gradient is touched, and no weight gradient is even computed."""
    layer, (y, ctx) = _ran(s)
    _, ctx_dot = layer.jvp(s.random(0, s.shape), ctx)
    dy, dy_dot = s.random(1, y.shape), s.random(2, y.shape)
    dx, second = layer.backward(dy, ctx), layer.backward_jvp(dy, dy_dot, ctx, ctx_dot)
    before = gradients(layer)
    forbidden = {op: {"reference": _refuse, "cpu": _refuse} for op in TABLE if op.endswith("weight_grad")}
    with frozen(layer), patch.dict(TABLE, forbidden):
        assert_bits(layer.backward(dy, ctx), dx, "dx")
        for got, expected in zip(layer.backward_jvp(dy, dy_dot, ctx, ctx_dot), second, strict=True):
            assert_bits(got, expected, "backward_jvp")
        layer.backward_params(dy, ctx)
    for name, grad in gradients(layer).items():
        assert_bits(grad, before[name], f"{name}'s gradient")
    assert all(param.trainable for param in layer.params()), "frozen did not thaw"


def _refuse(*_: object) -> None:
    raise AssertionError("a frozen layer computed a weight gradient")


def backward_params_is_backward_without_dx(s: Setup) -> None:
    layer, (y, ctx) = _ran(s)
    dy = s.random(0, y.shape)
    layer.backward(dy, ctx)
    expected = gradients(layer)
    layer.zero_grad()
    assert layer.backward_params(dy, ctx) is None
    for name, grad in gradients(layer).items():
        assert_bits(grad, expected[name], name)


def dtype_stays(s: Setup) -> None:
    """float32 in, float32 out, and so for float64: y, dx, every gradient, every tangent, every buffer."""
    for dtype in (np.float32, np.float64):
        layer = s.layer(dtype)
        y, ctx = s.forward(layer, s.x(dtype))
        for i, param in enumerate(layer.params()):
            param.dot = s.random(i, param.data.shape, dtype)
        dy = s.random(0, y.shape, dtype)
        y_dot, ctx_dot = layer.jvp(s.random(1, s.shape, dtype), ctx)
        outcome = [y, y_dot, layer.backward(dy, ctx), *layer.backward_jvp(dy, dy, ctx, ctx_dot)]
        outcome += [array for param in layer.params() for array in (param.data, param.grad)]
        outcome += [array for array in layer.state_dict().values() if array.dtype.kind == "f"]
        assert {array.dtype for array in outcome} == {np.dtype(dtype)}, [str(array.dtype) for array in outcome]


def layout_does_not_matter(s: Setup) -> None:
    """An x and a dy in another memory layout give the same numbers, forwards, backwards and along tangents."""
    outcomes = []
    for lay in (np.ascontiguousarray, s.awkward):
        layer = s.layer()
        y, ctx = s.forward(layer, lay(s.x()))
        dy, v = lay(s.random(0, y.shape)), lay(s.random(1, s.shape))
        y_dot, ctx_dot = layer.jvp(v, ctx)
        outcome = [y, y_dot, layer.backward(dy, ctx), *layer.backward_jvp(dy, lay(2 * dy), ctx, ctx_dot)]
        outcomes.append([*outcome, *gradients(layer).values()])
    for plain, awkward in zip(*outcomes, strict=True):
        assert_close(awkward, plain, EXACT, s.layout)


def nothing_is_written_to(s: Setup) -> None:
    """x, dy, the contexts and the parameters are the same after all passes; only gradients and buffers change."""
    layer, x = s.layer(), s.x()
    kept = deepcopy((x, [param.data for param in layer.params()]))
    y, ctx = s.forward(layer, x)
    dy, dy_dot, v = s.random(0, y.shape), s.random(1, y.shape), s.random(2, s.shape)
    _, ctx_dot = layer.jvp(v, ctx)
    arguments = (y, ctx, ctx_dot, dy, dy_dot, v)
    before = deepcopy(arguments)
    layer.backward(dy, ctx)
    layer.backward_params(dy, ctx)
    layer.jvp(v, ctx)
    layer.backward_jvp(dy, dy_dot, ctx, ctx_dot)
    assert_unchanged((x, [param.data for param in layer.params()]), kept, "x and parameters")
    assert_unchanged(arguments, before, "arguments")


def assert_unchanged(now: object, before: object, what: str) -> None:
    """Deep, through tuples, lists and dicts of arrays."""
    assert type(now) is type(before), what
    if isinstance(now, np.ndarray):
        assert_bits(now, before, what)
    elif isinstance(now, tuple | list):
        for i, (a, b) in enumerate(zip(now, before, strict=True)):
            assert_unchanged(a, b, f"{what}[{i}]")
    else:
        assert now == before, what


def _ran(s: Setup) -> tuple[Layer, tuple[np.ndarray, object]]:
    layer = s.layer()
    return layer, s.forward(layer, s.x())
