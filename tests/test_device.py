"""What is said about a GPU: none, an old driver, the wrong CUDA, and one that answers; and errors out of CuPy."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratchnn_kernels import device
from scratchnn_kernels.device import DeviceError, explained, gpu_state, mover, to_cpu


def installed(monkeypatch: pytest.MonkeyPatch, wheels: dict[str, str], runtime: Any = None) -> None:
    """Play a CuPy with this CUDA runtime, from these wheels."""
    monkeypatch.setattr(device, "_version", wheels.get)
    monkeypatch.setattr(device, "find_spec", lambda name: name if wheels else None)
    cupy = ModuleType("cupy")
    cupy.__version__, cupy.ndarray = "14.2.0", SimpleNamespace  # type: ignore[attr-defined]
    cupy.cuda = SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    cupy.asarray = lambda x: ("on the GPU", x)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def a_runtime(driver: int, count: int = 1) -> Any:
    about = {"name": b"A GPU", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30}
    return SimpleNamespace(
        driverGetVersion=lambda: driver, runtimeGetVersion=lambda: 13020, getDeviceCount=lambda: count,
        getDeviceProperties=dict.fromkeys(range(count), about).__getitem__,
    )  # fmt: skip


WHEEL = {"cupy-cuda13x": "14.2.0"}


@pytest.mark.parametrize(
    ("wheels", "runtime", "text"),
    [
        ({}, None, "no CuPy (optional); for an NVIDIA GPU: pip install 'scratchnn[cuda13]'"),
        (WHEEL | {"cupy-cuda12x": "13.6.0"}, None, "cupy-cuda12x 13.6.0 and cupy-cuda13x 14.2.0 are in each"),
        (WHEEL, a_runtime(0), "CuPy 14.2.0, but no NVIDIA driver"),
        (WHEEL, a_runtime(12040), "driver knows CUDA 12.4; install a newer driver, or scratchnn[cuda12] in its place"),
        (WHEEL, a_runtime(11080), "the driver knows CUDA 11.8; install a newer driver"),
        (WHEEL, a_runtime(13000, 0), "no GPU is visible"),
    ],
)  # fmt: skip
def test_without_a_gpu_it_says_what_to_do(
    wheels: dict[str, str], runtime: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, wheels, runtime)
    state = gpu_state()
    assert not state.ok and text in state.text
    with pytest.raises(DeviceError, match="no GPU can be used"):
        mover("cuda")


@pytest.mark.parametrize(("driver", "offered"), [(11080, False), (12040, True)])
def test_a_driver_that_is_too_old_is_offered_what_there_is(
    driver: int, offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, WHEEL, a_runtime(driver))
    assert ("or scratchnn[cuda" in gpu_state().text) == gpu_state().text.endswith(" in its place") == offered


def test_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = a_runtime(13000)
    runtime.getDeviceCount = lambda: 1 // 0
    installed(monkeypatch, WHEEL, runtime)
    assert gpu_state() == (False, "CuPy 14.2.0, but the driver says integer division or modulo by zero")


@pytest.mark.parametrize(("number", "version"), [(13020, (13, 2)), (12090, (12, 9)), (11990, (11, 99)), (0, (0, 0))])
def test_how_cuda_writes_a_version(number: int, version: tuple[int, int]) -> None:
    assert device._cuda(number) == version


def test_an_array_comes_back_from_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, WHEEL)
    host = np.zeros(2)
    assert to_cpu(SimpleNamespace(get=lambda: host)) is host


def test_a_gpu_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, WHEEL, a_runtime(13000))
    assert gpu_state() == (True, "A GPU, sm 9.0, 80 GiB, CuPy 14.2.0")
    assert mover("cuda")(1) == ("on the GPU", 1)


def test_cupy_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, WHEEL)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy cannot be imported" in gpu_state().text and not gpu_state().ok


def test_the_cpu_is_always_there() -> None:
    x = np.zeros(2)
    assert mover("cpu")(x) is x and to_cpu(x) is x
    with pytest.raises(DeviceError, match="device='tpu'; cpu or cuda is expected"):
        mover("tpu")


def test_errors_out_of_cupy_become_one_sentence() -> None:
    def error(name: str, module: str, text: str) -> BaseException:
        made: BaseException = type(name, (Exception,), {"__module__": module})(text)
        return made

    full = explained(error("OutOfMemoryError", "cupy.cuda.memory", "Out of memory allocating 8 bytes\nmore"))
    assert full == "the GPU's memory is full (Out of memory allocating 8 bytes); try a smaller --batch-size"
    stopped = explained(error("CUDARuntimeError", "cupy_backends.cuda.api.runtime", "cudaErrorIllegalAddress: .."))
    assert stopped == "the GPU stopped: cudaErrorIllegalAddress: .."
    nameless = explained(error("OutOfMemoryError", "cupy.cuda.memory", " "))
    assert nameless == "the GPU's memory is full (OutOfMemoryError); try a smaller --batch-size"
    assert "cannot compile" in str(explained(error("CompileException", "cupy.cuda.compiler", "kernel.cu(3): error")))
    assert explained(ValueError("x")) is None
