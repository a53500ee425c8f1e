"""Where arrays are: "cpu" (NumPy) or "cuda" (CuPy). Only this module imports CuPy, and only when a GPU is asked for."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.cuda import Captured
from scratchnn_kernels.dispatch import is_cupy

DEVICES = ("cpu", "cuda")
MAJORS = (12, 13)  # of CUDA, for which there is CuPy and an extra of ours
INSTALL = "for an NVIDIA GPU: pip install 'scratchnn[cuda13]' (driver 580 or newer), or scratchnn[cuda12]"


class DeviceError(KernelError):
    """A GPU that cannot be used, and what to do about it."""


class State(NamedTuple):
    """Whether a GPU answers, and a sentence about it or about what is missing."""

    ok: bool
    text: str


def gpu_state() -> State:
    """Look for CuPy and a GPU; nothing here fails."""
    wheels = [f"cupy-cuda{major}x {found}" for major in MAJORS if (found := _version(f"cupy-cuda{major}x"))]
    if len(wheels) > 1:
        return State(False, f"{' and '.join(wheels)} are in each other's way; uninstall both, then install one")
    if find_spec("cupy") is None:
        return State(False, f"no CuPy (optional); {INSTALL}")
    try:
        import cupy
    except Exception as error:  # a library of CUDA that is missing is an ImportError, or an OSError, or CuPy's own
        return State(False, f"CuPy cannot be imported ({_first_line(error)}); {INSTALL}")
    return _asked(cupy)


def _asked(cupy: Any) -> State:
    runtime, name = cupy.cuda.runtime, f"CuPy {cupy.__version__}"
    driver, needed = (_cuda(f()) for f in (runtime.driverGetVersion, runtime.runtimeGetVersion))
    if driver == (0, 0):
        return State(False, f"{name}, but no NVIDIA driver; install one, or use --device cpu")
    if driver[0] < needed[0]:
        other = "install a newer driver" + (f", or scratchnn[cuda{driver[0]}]" if driver[0] in MAJORS else "")
        return State(
            False,
            f"{name} is for CUDA {needed[0]}, and the driver knows CUDA {driver[0]}.{driver[1]}; {other}"
            + (" in its place" if driver[0] in MAJORS else ""),
        )
    try:
        count = runtime.getDeviceCount()
        about = runtime.getDeviceProperties(0) if count else {}
    except Exception as error:
        return State(False, f"{name}, but the driver says {_first_line(error)}")
    if not count:
        return State(False, f"{name} and a driver for CUDA {driver[0]}.{driver[1]}, but no GPU is visible")
    memory, capability = about["totalGlobalMem"] / (1 << 30), f"{about['major']}.{about['minor']}"
    return State(True, f"{about['name'].decode()}, sm {capability}, {memory:.0f} GiB, {name}")


def mover(device: str) -> Callable[[Any], Array]:
    """The function that brings an array to a device; DeviceError says why there is none."""
    if device not in DEVICES:
        raise DeviceError(f"device={device!r}; {' or '.join(DEVICES)} is expected")
    if device == "cpu":
        return to_cpu
    state = gpu_state()
    if not state.ok:
        raise DeviceError(f"no GPU can be used: {state.text}")
    import cupy

    move: Callable[[Any], Array] = cupy.asarray
    return move


def captured(function: Callable[..., Any]) -> Captured:
    """The function as a CUDA graph, where `mover` found a GPU."""
    import cupy

    return Captured(function, cupy.cuda)


def to_cpu(x: Any) -> Array:
    """x as a NumPy array; itself if it is one."""
    host: Array = x.get() if is_cupy(x) else np.asarray(x)
    return host


def explained(error: BaseException) -> str | None:
    """One sentence for an error out of CuPy, or None if it is none: CuPy's classes are not to be had without CuPy."""
    name, origin = type(error).__name__, type(error).__module__.split(".")[0]
    if origin not in ("cupy", "cupy_backends"):
        return None
    if name == "OutOfMemoryError":
        return f"the GPU's memory is full ({_first_line(error)}); try a smaller --batch-size"
    if name == "CompileException":
        return f"CuPy cannot compile a kernel: {_first_line(error)}"
    return f"the GPU stopped: {_first_line(error)}"


def _cuda(number: int) -> tuple[int, int]:
    """CUDA's way to write a version, 13020, as (13, 2)."""
    return number // 1000, number % 1000 // 10


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # it imports a tenth of the standard library

    try:
        return version(name)
    except PackageNotFoundError:
        return None
