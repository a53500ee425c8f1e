"""Every case obeys every law; every case with a PyTorch twin agrees with it."""

import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import cases_pixels
import laws
import scratchnn
from cases import CASES, WITH_TWIN
from compare import assert_close, gradients
from scratchnn.testing.strategies import floats
from setups import Case, Setup

LAWS = [
    laws.forward_is_the_oracle,
    laws.backward_is_the_adjoint_of_jvp,
    laws.backward_is_linear,
    laws.complex_step_agrees,
    laws.backward_jvp_is_the_derivative,
    laws.hessian_is_symmetric,
    laws.absent_tangents_are_zero,
    laws.contexts_are_independent,
    laws.batches_join,
    laws.frozen_means_untouched,
    laws.backward_params_is_backward_without_dx,
    laws.dtype_stays,
    laws.layout_does_not_matter,
    laws.nothing_is_written_to,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
def test_law(case: Case, law: Callable[[Setup], None], data: st.DataObject) -> None:
    law(data.draw(case.setups))


@pytest.mark.oracle
@pytest.mark.parametrize("case", WITH_TWIN, ids=lambda case: case.name)
@given(data=st.data())
def test_pytorch_agrees(torch: ModuleType, case: Case, data: st.DataObject) -> None:
    """Forward, backward, and the buffers that forward writes."""
    s, dtype = data.draw(case.setups), data.draw(floats)
    assume(not s.beyond_twin)
    tolerance = laws.EXACT if dtype is np.float64 else 5 * laws.SINGLE
    layer, x, module = s.layer(dtype), s.x(dtype), twin_of(torch, s, dtype)
    x_torch = torch.from_numpy(x.copy()).requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")  # it tells of a copy that it makes
        y_torch = module(x_torch, **s.call)
    y, ctx = s.forward(layer, x)
    dy = s.random(0, y.shape, dtype)
    y_torch.backward(torch.from_numpy(dy.copy()))
    assert_close(y, y_torch.detach().numpy(), tolerance, "y")
    assert_close(layer.backward(dy, ctx), x_torch.grad.numpy(), tolerance, "dx")
    theirs = {name: param.grad.numpy() for name, param in module.named_parameters()}
    ours = gradients(layer)
    assert ours.keys() == theirs.keys()
    for name, grad in ours.items():
        assert_close(grad, theirs[name], tolerance, name)
    for name, array in layer.state_dict().items():
        assert_close(array, module.state_dict()[name].numpy(), tolerance, name)


def twin_of(torch: ModuleType, s: Setup, dtype: type) -> object:
    """PyTorch's layer with the same numbers in it; the names and layouts must be the same."""
    module = s.part.twin(torch).to(torch.float64 if dtype is np.float64 else torch.float32)
    module.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in s.layer(dtype).state_dict().items()})
    return module.train(s.train)


def test_every_layer_has_a_case() -> None:
    public = [kind for kind in vars(scratchnn).values() if isinstance(kind, type) and issubclass(kind, scratchnn.Layer)]
    seen = set()

    def note(layer: scratchnn.Layer) -> None:
        seen.add(type(layer))
        for _, child in layer.children():
            note(child)

    for case in CASES:
        note(case.simplest().layer())
    takes_integers = {scratchnn.Embedding}  # has no tangent in its input; see test_embedding.py
    assert set(public) - {scratchnn.Layer} - takes_integers == seen - {cases_pixels.Swapped}
