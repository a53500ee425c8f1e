"""NVRTC without a GPU, a driver or CuPy: CUDA C++ to machine code, what it takes of a multiprocessor, and its text.

The libraries come from pip: nvidia-cuda-nvrtc, and for `machine_code` nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

# What CuPy 14 passes besides our own options: the code that is looked at here is the code that runs.
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
ARCHITECTURES = ("75", "80", "86", "89", "90", "90a", "100", "120")
USED = re.compile(
    r"Compiling entry function '(\S+)' for .*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads"
    r".*?Used (\d+) registers(?:, used \d+ barriers)?(?:, (\d+) bytes smem)?",
    re.S,
)


class Resources(NamedTuple):
    """What one kernel takes: registers a thread, bytes of static shared memory, bytes spilled and on the stack."""

    registers: int
    shared: int
    spilled: int
    stack: int


class Compiled(NamedTuple):
    """The machine code, and what each kernel takes, by its mangled name in the order of the log."""

    cubin: bytes
    kernels: dict[str, Resources]


def folders() -> list[Path]:
    """Where pip puts NVIDIA's files, and where an installed toolkit has them."""
    found = [Path(entry) / "nvidia" / name for entry in sys.path for name in ("cu13", "cuda_nvrtc")]
    return [*found, *(Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ)]


@cache
def library() -> Any:
    """NVRTC, or None where it is not installed."""
    for folder in folders():
        for place in (folder / "lib", folder / "lib64"):
            for path in sorted(place.glob("libnvrtc.so.1*")):
                for other in sorted(place.glob("libnvrtc-builtins.so*")):  # it looks for them by name, without a path
                    ctypes.CDLL(str(other), ctypes.RTLD_GLOBAL)
                return ctypes.CDLL(str(path))
    return None


def compiled(source: str, name: str, architecture: str, kernels: list[str]) -> Compiled:
    """Machine code of these kernels (C++ expressions) for sm_<architecture>; an error of the compiler is raised."""
    nvrtc, program = library(), ctypes.c_void_p()
    _checked(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None))
    try:
        for kernel in kernels:
            _checked(nvrtc.nvrtcAddNameExpression(program, kernel.encode()))
        options = [f"-arch=sm_{architecture}", "--ptxas-options=-v", *OPTIONS]
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
        log = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).rstrip(b"\0").decode()
        if failed:
            raise RuntimeError(f"{name} for sm_{architecture}:\n{log}")
        cubin = _read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(cubin, {found[1]: _resources(found) for found in USED.finditer(log)})


def machine_code(cubin: bytes) -> str | None:
    """The text of the machine code, or None where cuobjdump or nvdisasm is not installed."""
    places = os.pathsep.join([*(str(folder / "bin") for folder in folders()), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "kernel.cubin"
        path.write_bytes(cubin)
        try:
            done = subprocess.run(
                ["cuobjdump", "-sass", str(path)], capture_output=True, text=True, check=True,
                env={**os.environ, "PATH": places},
            )  # fmt: skip
        except FileNotFoundError:
            return None
    return done.stdout


def _resources(found: re.Match[str]) -> Resources:
    stack, stores, loads, registers, shared = (int(found[i] or 0) for i in range(2, 7))
    return Resources(registers, shared, stores + loads, stack)


def _read(size: Any, content: Any, program: Any) -> bytes:
    length = ctypes.c_size_t()
    _checked(size(program, ctypes.byref(length)))
    room = ctypes.create_string_buffer(length.value)
    _checked(content(program, room))
    return room.raw


def _checked(code: int) -> None:
    if code:
        library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(f"NVRTC: {library().nvrtcGetErrorString(code).decode()}")
