"""Names and layouts of parameters are PyTorch's; loading is strict, and changes nothing when it fails."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import CASES, WITH_TWIN
from compare import assert_bits
from scratchnn import BatchNorm2d, Buffer, Layer, LayerError, Linear, Param, ReLU, Residual, Sequential
from scratchnn.testing.strategies import floats
from setups import Case

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.oracle
@pytest.mark.parametrize("case", WITH_TWIN, ids=lambda case: case.name)
@given(data=st.data(), dtype=floats)
def test_names_and_layouts_are_pytorchs(torch: ModuleType, case: Case, data: st.DataObject, dtype: type) -> None:
    s = data.draw(case.setups)
    ours = s.layer(dtype).state_dict()
    module = s.part.twin(torch).to(torch.float64 if dtype is np.float64 else torch.float32)
    theirs = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert (array.shape, array.dtype) == (theirs[name].shape, theirs[name].dtype), name
    layer = s.layer(dtype)
    layer.load_state_dict(theirs)
    for name, array in layer.state_dict().items():
        assert_bits(array, theirs[name], name)


@EVERY_CASE
@given(data=st.data(), dtype=floats)
def test_round_trip(case: Case, data: st.DataObject, dtype: type) -> None:
    """A layer with other numbers becomes this one, to the bit; arrays are filled in place, never replaced or shared."""
    s = data.draw(case.setups)
    layer, other = s.layer(dtype), s.layer(dtype)
    for array in other.state_dict().values():
        array[...] = array + 1
    held = other.state_dict()
    other.load_state_dict(layer.state_dict())
    for name, array in layer.state_dict().items():
        assert held[name] is other.state_dict()[name]
        assert_bits(held[name], array, name)
        assert not np.shares_memory(held[name], array)
    x = s.x(dtype)
    assert_bits(s.forward(other, x)[0], s.forward(layer, x)[0], "y")


@EVERY_CASE
@given(data=st.data(), dtype=floats)
def test_what_does_not_fit_changes_nothing(case: Case, data: st.DataObject, dtype: type) -> None:
    """Each fault alone, in the last entry, after others that do fit: missing, unknown, another shape, another dtype."""
    layer = data.draw(case.setups).layer(dtype)
    good = {name: array.copy() for name, array in layer.state_dict().items()}
    moved = {name: array + array.dtype.type(1) for name, array in good.items()}
    faults = [(moved | {"stray": np.zeros(1)}, "stray is not of this layer")]
    if good:
        name, array = [*moved.items()][-1]
        wrong_kind = np.dtype("f2" if array.dtype.kind == "f" else "i4")
        faults += [
            ({key: value for key, value in moved.items() if key != name}, f"{name} is missing"),
            (moved | {name: array[None]}, f"{name} is {array.dtype}"),
            (moved | {name: array.astype(wrong_kind)}, f"{name} is {wrong_kind}"),
        ]
    for state, said in faults:
        with pytest.raises(LayerError) as caught:
            layer.load_state_dict(state)
        assert said in str(caught.value) and type(layer).__name__ in str(caught.value)
        for key, array in layer.state_dict().items():
            assert_bits(array, good[key], f"{key} after the error")


def test_all_faults_are_told_at_once() -> None:
    network = Sequential(Linear(2, 3), ReLU(), BatchNorm2d(3))
    state = network.state_dict()
    state["0.weight"] = np.zeros((2, 3), np.float32)
    state["9.bias"] = state.pop("0.bias")
    with pytest.raises(LayerError) as caught:
        network.load_state_dict(state)
    for said in ("0.bias is missing", "9.bias is not", "0.weight is float32[2, 3], float32[3, 2] is expected"):
        assert said in str(caught.value)


def test_loading_loosely_takes_what_there_is() -> None:
    layer = Linear(2, 2)
    bias = layer.bias.data.copy()
    layer.load_state_dict({"weight": np.ones((2, 2), np.float32), "stray": np.ones(1)}, strict=False)
    assert_bits(layer.weight.data, np.ones((2, 2), np.float32), "weight")
    assert_bits(layer.bias.data, bias, "bias")
    with pytest.raises(LayerError, match="weight is"):
        layer.load_state_dict({"weight": np.ones((3, 2), np.float32)}, strict=False)


def test_tied_parameters_count_once() -> None:
    class Tied(Layer):
        def __init__(self) -> None:
            self.first, self.second = Linear(2, 2), Linear(2, 2)
            self.second.weight = self.first.weight
            self.blocks = [Residual(Linear(2, 2, bias=False)), ReLU()]
            self.scale, self.count = Param(np.ones(1)), Buffer(np.zeros(()))

    names = [name for name, _ in Tied().named_params()]
    assert names == ["scale", "first.weight", "first.bias", "second.bias", "blocks.0.body.weight"]
    assert [*Tied().state_dict()] == [*names, "count"]


def test_astype_and_zero_grad() -> None:
    layer = Sequential(Linear(2, 3), BatchNorm2d(3))
    for param in layer.params():
        param.grad += 1
        param.dot = np.ones_like(param.data)
    assert layer.astype(np.float64) is layer
    floating = [a for a in layer.state_dict().values() if a.ndim] + [p.dot for p in layer.params()]
    assert {array.dtype for array in floating + [p.grad for p in layer.params()]} == {np.dtype(np.float64)}
    assert layer.state_dict()["1.num_batches_tracked"].dtype == np.int64
    layer.zero_grad()
    assert all(not param.grad.any() for param in layer.params())
