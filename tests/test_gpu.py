"""On a GPU: every CUDA kernel against the reference, the same bits twice, and the emulated tensor cores.

`make gpu` runs them. Under compute-sanitizer (SCRATCHNN_NO_POOL=1) every array is an allocation of its own: CuPy's
pool would hide what reads beyond one.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import drywarp
from cuda_case import Case, disagreement
from cuda_cases import CASES, truths
from scratchnn.random import stream
from scratchnn_kernels import device
from scratchnn_kernels.cuda import source
from scratchnn_models.lenet import LeNet, Recipe, Training
from tiny_run import tiny_digits

pytestmark = pytest.mark.gpu
STATE = device.gpu_state()


@pytest.fixture(autouse=True)
def gpu() -> Iterator[Any]:
    """CuPy; without a GPU the test is skipped, or fails where SCRATCHNN_REQUIRE_GPU=1."""
    if not STATE.ok:
        if os.environ.get("SCRATCHNN_REQUIRE_GPU") == "1":
            pytest.fail(f"no GPU: {STATE.text} (SCRATCHNN_REQUIRE_GPU=1 lets no such test be left out)")
        pytest.skip(f"no GPU: {STATE.text}")
    import cupy

    if os.environ.get("SCRATCHNN_NO_POOL") == "1":
        cupy.cuda.set_allocator(None)
    yield cupy
    cupy.cuda.runtime.deviceSynchronize()


def on_gpu(case: Case, dtype: Any) -> list[np.ndarray]:
    """The results of a case by its CUDA kernels."""
    move = device.mover("cuda")
    # Cast here: CuPy's own cast makes zeros of subnormal numbers.
    cast = (a.astype(dtype) if getattr(a, "dtype", None) == np.float64 else a for a in case.args)
    moved = case._replace(args=tuple(move(a) if isinstance(a, np.ndarray) else a for a in cast))
    return [device.to_cpu(a) for a in moved.run(case.impl, dtype)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_the_reference(name: str, dtype: Any) -> None:
    for case, truth in zip(CASES[name], truths(name), strict=True):
        if case.impl != "cuda_tf32" or dtype == np.float32:
            complaint = disagreement(case, on_gpu(case, dtype), truth, dtype)
            assert complaint is None, f"{complaint}; {case.options}"


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_twice(name: str) -> None:
    for case in CASES[name]:
        for first, second in zip(on_gpu(case, np.float32), on_gpu(case, np.float32), strict=True):
            np.testing.assert_array_equal(first, second)


FRAGMENTS = """
#include "tensor_core.cuh"
// One warp, one mma: what each lane holds before and after.
extern "C" __global__ void fragments(const unsigned *a, const unsigned *b, const float *c, float *d, const float *x,
                                     unsigned *rounded) {
  int lane = threadIdx.x;
  unsigned u[4], v[2];
  float sum[4];
  for (int i = 0; i < 4; i++) u[i] = a[4 * lane + i];
  for (int i = 0; i < 2; i++) v[i] = b[2 * lane + i];
  for (int i = 0; i < 4; i++) sum[i] = c[4 * lane + i];
  mma_tf32(sum, u, v);
  for (int i = 0; i < 4; i++) d[4 * lane + i] = sum[i];
  rounded[lane] = to_tf32(x[lane]);
}
"""


def fragments(library: Any, move: Any) -> list[np.ndarray]:
    """d and the rounded numbers, for random small integers, which TF32 holds and whose sums are exact."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-8, 9, 32 * n).astype(np.float32) for n in (4, 2, 4))
    x = rng.standard_normal(32).astype(np.float32)
    code = source.INCLUDE.sub((source.HEADERS / "tensor_core.cuh").read_text(), FRAGMENTS.lstrip())
    module = library.RawModule(code=code.replace("#pragma once", ""), options=source.OPTIONS)
    given = [move(array) for array in (a.view(np.uint32), b.view(np.uint32), c, np.zeros_like(c), x)]
    given.append(move(np.zeros(32, np.uint32)))
    module.get_function("fragments")((1,), (32,), tuple(given))
    return [device.to_cpu(given[3]), device.to_cpu(given[5])]


def test_the_emulated_tensor_core_is_the_real_one(gpu: Any) -> None:
    """Bit for bit, on sums that are exact: layout and rounding of the inputs."""
    for emulated, real in zip(fragments(drywarp, np.copy), fragments(gpu, gpu.asarray), strict=True):
        np.testing.assert_array_equal(emulated, real)


def test_a_captured_step_trains_as_kernel_by_kernel() -> None:
    x = stream(0, "x").standard_normal((8, 1, 32, 32), np.float32)
    move = device.mover("cuda")
    given = move(x), move(np.arange(8))

    def losses(graph: bool) -> list[float]:
        training = Training(Recipe(epochs=1, batch_size=8, validation=8), 0, tiny_digits(), "cuda", graph)
        found = []
        for _ in range(4):
            found.append(float(training.learn(*given)))
            training.optimizer.step()
        return found

    kernel_by_kernel = losses(graph=False)
    assert losses(graph=True) == kernel_by_kernel and kernel_by_kernel[3] < kernel_by_kernel[0]


def test_lenet_on_both_devices() -> None:
    x = stream(0, "x").standard_normal((8, 1, 32, 32), np.float32)
    net = LeNet(rng=stream(0, "init"))
    here, _ = net.forward(x)
    there, _ = net.to("cuda").forward(device.mover("cuda")(x))
    np.testing.assert_allclose(device.to_cpu(there), here, rtol=1e-4, atol=1e-5)
