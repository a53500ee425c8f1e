"""The optimizers: twenty steps beside PyTorch, the flat buffer, frozen parameters, and a resumed run."""

from collections.abc import Callable
from functools import partial
from math import cos, pi
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare import assert_bits, assert_close
from scratchnn import Linear, Param, ScratchnnError, Sequential, frozen, schedules
from scratchnn.optim import SGD, Adam, AdamW, RMSprop
from scratchnn.testing.strategies import seeds
from scratchnn_kernels import TABLE

SHAPES = [(3, 2), (4,), (2, 1, 2, 2), ()]
VARIANTS: dict[str, tuple[type, dict[str, Any]]] = {
    "SGD": (SGD, {"lr": 0.1}),
    "SGD momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "SGD nesterov": (SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "SGD decay": (SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
    "SGD nesterov decay": (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "nesterov": True}),
    "Adam": (Adam, {}),
    "Adam decay": (Adam, {"lr": 0.01, "betas": (0.5, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
    "RMSprop": (RMSprop, {}),
    "RMSprop decay": (RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}),
    "AdamW": (AdamW, {}),
    "AdamW decay": (AdamW, {"lr": 0.02, "betas": (0.0, 0.9), "weight_decay": 0.3}),
}
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS)
EVERY_DTYPE = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def params_of(seed: int, dtype: Any = np.float64) -> list[Param]:
    rng = np.random.default_rng(seed)
    return [Param(rng.standard_normal(shape).astype(dtype)) for shape in SHAPES]


def make(variant: str, params: list[Param]) -> Any:
    kind, options = VARIANTS[variant]
    return kind(params, **options)


def set_gradients(params: list[Param], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for param in params:
        param.grad[...] = rng.standard_normal(param.grad.shape)


@pytest.mark.oracle
@EVERY_DTYPE
@EVERY_VARIANT
@settings(max_examples=5)
@given(seed=seeds)
def test_twenty_steps_beside_pytorch(torch: ModuleType, variant: str, dtype: Any, seed: int) -> None:
    params = params_of(seed, dtype)
    twins = [torch.from_numpy(param.data.copy()).requires_grad_() for param in params]
    ours = make(variant, params)
    kind, options = VARIANTS[variant]
    theirs = getattr(torch.optim, kind.__name__)(twins, **options)
    for step in range(20):
        set_gradients(params, seed + step)
        for param, twin in zip(params, twins, strict=True):
            twin.grad = torch.from_numpy(param.grad.copy())
        if step == 10:  # a schedule sets the rate
            ours.lr = theirs.param_groups[0]["lr"] = 0.03
        ours.step()
        theirs.step()
        for param, twin in zip(params, twins, strict=True):
            assert_close(param.data, twin.detach().numpy(), 1e-12 if dtype is np.float64 else 1e-5, f"step {step}")
            assert param.data.dtype == dtype


@EVERY_DTYPE
@EVERY_VARIANT
def test_the_fast_step_is_the_reference(variant: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for names in (("reference", "cpu"), ("reference",)):
        for op in ("sgd_update", "adam_update"):
            monkeypatch.setitem(TABLE, op, {name: TABLE[op][name] for name in names})
        params = params_of(0, dtype)
        optimizer = make(variant, params)
        for step in range(5):
            set_gradients(params, step)
            optimizer.step()
        runs.append(optimizer.flat.data.copy())
    assert_close(runs[0], runs[1], 1e-14 if dtype is np.float64 else 1e-6, variant)


@EVERY_VARIANT
def test_parameters_are_views_of_one_buffer(variant: str) -> None:
    params = params_of(1)
    before = [param.data.copy() for param in params]
    set_gradients(params, 0)
    gradients = [param.grad.copy() for param in params]
    flat = make(variant, params).flat
    for param, data, grad in zip(params, before, gradients, strict=True):
        assert_bits(param.data, data, "data keeps its values when it moves")
        assert_bits(param.grad, grad, "and so does grad")
        assert np.shares_memory(param.data, flat.data) and np.shares_memory(param.grad, flat.grad)
    assert flat.data.size == flat.grad.size == sum(param.data.size for param in params)
    assert_bits(flat.data, np.concatenate([data.reshape(-1) for data in before]), "the order is the parameters'")


@EVERY_VARIANT
def test_zero_grad_and_a_step_leave_what_is_not_theirs(variant: str) -> None:
    params = params_of(2)
    optimizer = make(variant, params)
    set_gradients(params, 1)
    before = optimizer.flat.grad.copy()
    optimizer.step()
    assert_bits(optimizer.flat.grad, before, "a step keeps the gradients")
    optimizer.zero_grad()
    assert all(not param.grad.any() for param in params)


DETACH: list[Callable[[Sequential], Any]] = [
    lambda network: network.astype(np.float64),
    lambda network: Adam(network.params()),
    lambda network: setattr(next(network.params()), "data", np.zeros((3, 2), np.float32)),
    lambda network: setattr(next(network.params()), "grad", np.zeros((3, 2), np.float32)),
]


@pytest.mark.parametrize("detach", DETACH)
@pytest.mark.parametrize("kind", [partial(SGD, lr=0.1), Adam, AdamW, RMSprop])
def test_a_parameter_that_left_the_buffer_is_an_error(kind: Any, detach: Callable[[Sequential], Any]) -> None:
    network = Sequential(Linear(2, 3), Linear(3, 1))
    optimizer = kind(network.params())
    optimizer.step()
    detach(network)
    before = {name: array.copy() for name, array in optimizer.state_dict().items()}
    with pytest.raises(ScratchnnError, match=r"parameter 0 \[3,2\] has left|parameter 0 \[3, 2\] has left"):
        optimizer.step()
    for name, array in optimizer.state_dict().items():
        assert_bits(array, before[name], f"{name} after the error")


def test_assigning_in_place_keeps_the_parameters_attached() -> None:
    network = Linear(2, 3)
    optimizer = SGD(network.params(), 1.0)
    network.weight.data[...] = 5
    network.load_state_dict({name: array + 1 for name, array in network.state_dict().items()})
    network.weight.grad += 2
    optimizer.step()
    assert_bits(network.weight.data, np.full((3, 2), 4, np.float32), "weight")


@EVERY_VARIANT
@EVERY_DTYPE
def test_a_resumed_run_continues_to_the_bit(variant: str, dtype: Any) -> None:
    whole, first, second = params_of(3, dtype), params_of(3, dtype), params_of(4, dtype)
    uninterrupted, interrupted = make(variant, whole), make(variant, first)
    for step in range(6):
        if step == 3:  # a new process: new parameters, a new optimizer, both loaded
            state = {name: array.copy() for name, array in interrupted.state_dict().items()}
            saved, first = [param.data.copy() for param in first], second
            interrupted = make(variant, first)
            for param, data in zip(first, saved, strict=True):
                param.data[...] = data
            interrupted.load_state_dict(state)
        for params, optimizer in ((whole, uninterrupted), (first, interrupted)):
            set_gradients(params, step)
            optimizer.step()
    assert_bits(interrupted.flat.data, uninterrupted.flat.data, variant)


@EVERY_VARIANT
def test_a_state_that_does_not_fit_changes_nothing(variant: str) -> None:
    params = params_of(5)
    optimizer = make(variant, params)
    set_gradients(params, 0)
    optimizer.step()
    good = {name: array.copy() for name, array in optimizer.state_dict().items()}
    first = next(iter(good))
    wrong = [
        {},
        good | {"more": good[first]},
        good | {first: good[first][:-1]},
        good | {first: good[first].astype("f4")},
    ]
    for state in wrong:
        with pytest.raises(ScratchnnError, match="expected"):
            optimizer.load_state_dict({name: array + 1 for name, array in state.items()})
        for name, array in optimizer.state_dict().items():
            assert_bits(array, good[name], name)


@pytest.mark.parametrize("kind", [partial(SGD, lr=0.1), Adam, AdamW, RMSprop])
def test_frozen_parameters_are_left_out(kind: Any) -> None:
    network = Sequential(Linear(2, 3), Linear(3, 1))
    body, head = network.layers
    with frozen(body):
        optimizer = kind(network.params())
    before = body.state_dict()["weight"].copy()
    for param in network.params():
        param.grad += 1
    optimizer.step()
    assert_bits(body.weight.data, before, "the frozen weight")
    assert optimizer.flat.data.size == head.weight.data.size + head.bias.data.size
    with frozen(network), pytest.raises(ScratchnnError, match="at least one trainable parameter"):
        kind(network.params())
    with pytest.raises(ScratchnnError, match="one dtype"):
        kind([*Linear(2, 2).params(), *Linear(2, 2, dtype=np.float64).params()])


@given(step=st.integers(0, 10_000), lr=st.floats(1e-6, 10))
def test_a_constant_schedule(step: int, lr: float) -> None:
    assert schedules.constant(step, lr=lr) == lr


def test_warmup_cosine_at_known_points() -> None:
    rate = partial(schedules.warmup_cosine, lr=2.0, total=110, warmup=10, final=0.5)
    np.testing.assert_allclose([rate(s) for s in (0, 4, 9, 10)], [0.2, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(
        [rate(35), rate(60), rate(110), rate(10**6)], [0.5 + 0.75 * (1 + cos(pi / 4)), 1.25, 0.5, 0.5]
    )
    assert all(rate(s) >= rate(s + 1) for s in range(10, 120))
    assert schedules.warmup_cosine(0, lr=1.0, total=0) == 1.0
    assert schedules.warmup_cosine(0, lr=1.0, total=10) == 1.0


def test_step_decay_at_known_points() -> None:
    rates = [schedules.step_decay(step, lr=8.0, every=10, factor=0.5) for step in (0, 9, 10, 19, 20, 30)]
    assert rates == [8.0, 8.0, 4.0, 4.0, 2.0, 1.0]
    np.testing.assert_allclose(schedules.step_decay(10, lr=1.0, every=10), 0.1)
