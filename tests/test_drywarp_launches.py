"""The emulator's launches: what it refuses, how it guards arrays, and the race detector."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import drywarp
from drywarp import DrywarpError, RawModule, checking
from drywarp.memory import Guarded
from test_drywarp import floats, run


def test_arguments_are_checked() -> None:
    code = (
        "struct Two { int a; float b; }; __global__ void k(float *x, int n, double d, Two t) { x[n] = d + t.a + t.b; }"
    )
    kernel = RawModule(code).get_function("k")
    x, n, d = floats(4), np.int32(1), np.float64(3)
    two = np.array([(2, 0.5)], [("a", "<i4"), ("b", "<f4")])
    kernel((1,), (1,), (x, n, 3.0, two))
    assert x[1] == 5.5
    for args, message in [
        ((x, n, d), "3 arguments for 4 parameters"),
        ((x, 1, d, two), "argument 1 is i8, the kernel declares i4"),
        ((x, n, np.float32(3), two), "argument 2 is f4, the kernel declares f8"),
        ((x, n, d, two.astype([("a", "<i4"), ("b", "<f8")])), "argument 3 is s12, the kernel declares s8"),
        ((x.astype(float), n, d, two), "an array of float64, the kernel's pointer is to f4"),
        ((x[::2], n, d, two), "not C-contiguous"),
    ]:
        with pytest.raises(DrywarpError, match=message):
            kernel((1,), (1,), args)


def test_a_null_pointer_is_none_or_zero() -> None:
    kernel = RawModule("__global__ void k(const float *x, int *y) { *y = x == nullptr; }").get_function("k")
    for null in (None, np.uintp(0)):
        y = np.zeros(1, np.int32)
        kernel((1,), (1,), (null, y))
        assert y[0] == 1
    with pytest.raises(DrywarpError, match="argument 0 is i8"):
        kernel((1,), (1,), (np.uintp(8), y))


def test_one_array_given_twice_is_one_memory() -> None:
    x = floats(8)
    run("if (threadIdx.x < 8) p1[threadIdx.x] = p0[threadIdx.x] + 1;", x, x)
    np.testing.assert_array_equal(x, floats(8) + 1)
    with pytest.raises(DrywarpError, match="arguments 0 and 1 overlap in part"):
        run("", x, x[1:])


def test_what_cannot_be_launched() -> None:
    for options in ({"block": 1025}, {"grid": 0}, {"shared": 1 << 20}, {"block": (1, 1, 65)}):
        with pytest.raises(DrywarpError, match="invalid launch"):
            run("", **options)  # type: ignore[arg-type]
    with pytest.raises(DrywarpError, match="does not compile"):
        run("int;;) x")
    with pytest.raises(DrywarpError, match="there is no kernel 'm'; there are k"):
        RawModule("__global__ void k() {}").get_function("m")
    with pytest.raises(DrywarpError, match="there is no schedule 'sideways'"), checking("sideways"):
        pass


def test_after_a_failure_the_next_launch_is_sound() -> None:
    with pytest.raises(DrywarpError):
        run("p0[1 << 20] = 1;", floats(4))
    x = floats(4)
    run("if (threadIdx.x < 4) p0[threadIdx.x] = 7;", x)
    np.testing.assert_array_equal(x, 7)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_a_guarded_copy_is_aligned_as_its_original(at_end: bool, offset: int) -> None:
    array = np.arange(40, dtype=np.float32)[offset:]
    guard = Guarded(array, at_end=at_end)
    assert guard.address % 16 == array.ctypes.data % 16
    assert ctypes.string_at(guard.address, array.nbytes) == array.tobytes()
    gap = guard.high - guard.address - array.nbytes if at_end else guard.address - guard.low
    assert 0 <= gap < 16
    assert not guard.release()


RACE = """
import numpy as np
from drywarp import RawModule, checking
code = '''__global__ void k(const float *x, float *y) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  BARRIER
  y[threadIdx.x] = s[63 - threadIdx.x];
}'''
x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
with checking(races=True):
    RawModule(code).get_function("k")((2,), (64,), (x, y))
"""


@pytest.mark.parametrize(("barrier", "races"), [("__syncthreads();", False), ("", True), ("__syncwarp();", True)])
def test_the_race_detector(barrier: str, races: bool) -> None:
    done = with_race_detector(RACE.replace("BARRIER", barrier))
    assert (done.returncode != 0) is races, done.stderr[-2000:]
    assert ("data race" in done.stderr) is races


def with_race_detector(program: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with ThreadSanitizer loaded first; exit code 66 if it saw a race."""
    tsan = subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True).stdout.strip()
    kernels = Path(drywarp.__file__).parent.parent
    env = {**os.environ, "LD_PRELOAD": tsan, "TSAN_OPTIONS": "exitcode=66", "OPENBLAS_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(kernels), str(kernels.parent)])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=250)
