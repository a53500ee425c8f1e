"""Which implementation serves which arrays: with and without Numba, and on a GPU that is only played."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scratchnn_kernels import KernelError, array_module, dispatch
from scratchnn_kernels.dispatch import TABLE, choose, is_cupy, lazy_njit, numba_installed, register


class Remote(np.ndarray):
    """Plays a CuPy array."""


NEAR = np.zeros(2)
FAR = NEAR.view(Remote)


def reference() -> str:
    return "reference"


def cpu() -> str:
    return "cpu"


def cuda() -> str:
    return "cuda"


def played(monkeypatch: pytest.MonkeyPatch, numba: bool = True) -> ModuleType:
    """A `cupy` whose arrays are Remote; the ops `three`, `cpu`, `cuda` and `one`, named after what they have."""
    cupy = ModuleType("cupy")
    cupy.ndarray = Remote
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(dispatch, "numba_installed", lambda: numba)
    for op, more in {
        "three": {"cpu": cpu, "cuda": cuda},
        "cpu": {"cpu": cpu},
        "cuda": {"cuda": cuda},
        "one": {},
    }.items():
        monkeypatch.setitem(TABLE, op, {})  # so that it goes away again
        register(op, reference=reference, **more)
    return cupy


def chosen(op: str, *arrays: np.ndarray, impl: str | None = None) -> str:
    return str(choose(op, impl, *arrays)())


def test_an_op_has_the_implementations_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch)
    assert {op: [*TABLE[op]] for op in ("three", "cpu", "cuda", "one")} == {
        "three": ["reference", "cpu", "cuda"], "cpu": ["reference", "cpu"], "cuda": ["reference", "cuda"],
        "one": ["reference"],
    }  # fmt: skip
    assert [chosen("three", NEAR, impl=name) for name in TABLE["three"]] == ["reference", "cpu", "cuda"]
    with pytest.raises(KernelError, match="one has no implementation 'cpu'; it has reference"):
        choose("one", "cpu", NEAR)


def test_on_the_cpu_numba_makes_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    for numba, expected in ((True, "cpu"), (False, "reference")):
        played(monkeypatch, numba)
        for dtype in (np.float32, np.float64):
            assert chosen("three", NEAR.astype(dtype), NEAR.astype(dtype)) == expected
        assert chosen("cuda", NEAR) == chosen("one", NEAR) == "reference"


def test_gpu_arrays_are_served_by_cuda_or_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    for numba in (True, False):
        played(monkeypatch, numba)
        assert chosen("three", FAR, FAR) == chosen("cuda", FAR) == "cuda"
        assert chosen("cpu", FAR) == chosen("one", FAR) == "reference"


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, np.complex128])
def test_other_precisions_are_the_reference_s(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch)
    for array in (NEAR, FAR):
        assert chosen("three", array.astype(dtype)) == "reference"
        assert chosen("three", array, array.astype(dtype)) == chosen("three", array.astype(dtype), array) == "reference"


def test_two_devices_are_refused_with_what_is_where(monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch)
    with pytest.raises(
        KernelError, match=r"three got float64 \[2\] on the CPU, float64 \[2\] on the GPU; .* one device"
    ):
        choose("three", None, NEAR, FAR)
    with pytest.raises(KernelError, match="on the GPU, float64"):
        choose("one", None, FAR, NEAR)


def test_whose_array_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_cupy(NEAR) and array_module(NEAR) is np
    cupy = played(monkeypatch)
    assert is_cupy(FAR) and not is_cupy(NEAR) and not is_cupy([1.0])
    assert array_module(FAR) is cupy
    assert array_module(NEAR) is np


def test_whether_numba_is_there_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {"numba": None}
    monkeypatch.setattr(dispatch, "find_spec", found.pop)  # a second question would be a KeyError
    numba_installed.cache_clear()
    try:
        assert not numba_installed() and not numba_installed()
        found["numba"] = "a spec"
        numba_installed.cache_clear()
        assert numba_installed()
    finally:
        numba_installed.cache_clear()


def test_a_loop_is_compiled_at_its_first_call_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = []

    def njit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compilations.append(options)
        return lambda *args, **kwargs: ("compiled", function(*args, **kwargs))

    numba = ModuleType("numba")
    numba.njit = njit
    monkeypatch.setitem(sys.modules, "numba", numba)

    def loop(a: int, b: int) -> int:
        """Says what it does."""
        return 10 * a + b

    lazy = lazy_njit(loop)
    assert (lazy.__name__, lazy.__doc__, compilations) == ("loop", "Says what it does.", [])
    assert lazy(1, 2) == lazy(1, b=2) == lazy(b=2, a=1) == ("compiled", 12)
    (options,) = compilations
    assert options["error_model"] == "numpy", "1 / 0 is inf in a loop as it is in NumPy"
