"""The emulator: CUDA C++ gives the numbers it should, and each kind of bug is seen, under the schedules that can."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import drywarp
from drywarp import SCHEDULES, DrywarpError, RawModule, checking

ALL = [*SCHEDULES]


def run(body: str, *args: Any, grid: int = 1, block: Any = 64, shared: int = 0, before: str = "") -> None:
    """Launch `__global__ void k(...)` with the parameters that the arguments ask for: p0, p1, .. in the body."""
    words = {"f": "float", "i": "int"}
    kinds = [f"{words[a.dtype.kind]} {'*' * isinstance(a, np.ndarray)}p{i}" for i, a in enumerate(args)]
    code = f"{before}\n__global__ void k({', '.join(kinds)}) {{\n{body}\n}}"
    RawModule(code).get_function("k")((grid,), block if isinstance(block, tuple) else (block,), args, shared_mem=shared)


def seen_under(launch: Callable[[], None], message: str) -> list[str]:
    """The schedules under which a launch ends with this message."""
    found = []
    for schedule in ALL:
        try:
            with checking(schedule):
                launch()
        except DrywarpError as error:
            assert message in str(error), error
            found.append(schedule)
    return found


def floats(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)


@pytest.mark.parametrize("schedule", ALL)
def test_barriers_shuffles_votes_atomics_and_dynamic_memory(schedule: str) -> None:
    """One kernel uses all of it; its result does not depend on the order of threads."""
    code = """
    template <class T> __device__ T warp_sum(T v) {
      for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
      return v;
    }
    template <class T> __global__ void k(const T *x, T *total, unsigned *votes, int n) {
      extern __shared__ T part[];
      int i = threadIdx.x, lane = i % 32, warp = i / 32;
      T v = warp_sum(i < n ? x[i] : T(0));
      if (lane == 0) part[warp] = v;
      unsigned odd = __ballot_sync(0xffffffffu, i & 1);
      if (lane == 0) atomicOr(votes, odd);
      __syncthreads();
      if (i == 0) for (int w = 0; w < blockDim.x / 32; w++) atomicAdd(total, part[w]);
    }"""
    module = RawModule(code, name_expressions=["k<float>", "k<double>"])
    for name, dtype in (("float", np.float32), ("double", np.float64)):
        x, total, votes = np.arange(100, dtype=dtype), np.zeros(1, dtype), np.zeros(1, np.uint32)
        with checking(schedule):
            module.get_function(f"k<{name}>")((2,), (128,), (x, total, votes, np.int32(100)), shared_mem=4 * x.itemsize)
        assert total[0] == 2 * x.sum() and votes[0] == 0xAAAAAAAA


def test_threads_of_a_block_with_three_axes() -> None:
    out = drywarp.empty(24, np.int32)
    run("int i = threadIdx.x + 4 * (threadIdx.y + 3 * threadIdx.z); p0[i] = 100 * threadIdx.z + 10 * threadIdx.y + "
        "threadIdx.x;", out, block=(4, 3, 2))  # fmt: skip
    z, y, x = np.mgrid[:2, :3, :4]
    np.testing.assert_array_equal(out, (100 * z + 10 * y + x).ravel())


def test_a_missing_barrier_is_a_wrong_number_in_some_schedule() -> None:
    wrong = []
    for schedule in ALL:
        y = drywarp.empty(64, np.float32)
        with checking(schedule):
            run("__shared__ float s[64]; s[threadIdx.x] = p0[threadIdx.x]; p1[threadIdx.x] = s[63 - threadIdx.x];",
                floats(64), y)  # fmt: skip
        if not np.array_equal(y, floats(64)[::-1]):
            wrong.append(schedule)
    assert wrong == ALL


def test_a_barrier_too_few_in_a_loop_is_seen() -> None:
    """The second barrier keeps a fast thread from overwriting what a slow one has yet to read."""
    wrong = []
    for schedule in ALL:
        y = drywarp.empty(64, np.float32)
        with checking(schedule):
            run("__shared__ float s[64]; float sum = 0; for (int k = 0; k < 3; k++) { s[threadIdx.x] = k +"
                " p0[threadIdx.x];"
                "__syncthreads(); sum += s[63 - threadIdx.x]; } p1[threadIdx.x] = sum;", floats(64), y)  # fmt: skip
        if not np.array_equal(y, 3 * floats(64)[::-1] + 3):
            wrong.append(schedule)
    assert "forward" in wrong and "backward" in wrong


def test_divergence_and_deadlock() -> None:
    two = "if (threadIdx.x < 32)\n __syncthreads();\nelse\n __syncthreads();"
    assert seen_under(lambda: run(two), "barrier divergence: __syncthreads in line") == ALL
    late = "if (threadIdx.x < 32) __syncthreads(); else __shfl_xor_sync(0xffffffffu, 1, threadIdx.x == 40 ? 0 : 1);"
    assert not seen_under(lambda: run(late), "")  # exited threads do not take part, as on a GPU
    odd = "if (threadIdx.x & 1) __shfl_xor_sync(0xffffffffu, 1, 1); else __syncthreads();"
    assert seen_under(lambda: run(odd), "deadlock") == ALL


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("if (threadIdx.x % 32 != 3) __shfl_xor_sync(0xffffffffu, 1, 1);", "lane 3 of its mask has exited"),
        ("__shfl_xor_sync(0x0000ffffu, 1, 1);", "the calling lane is not in its mask"),
        ("if (threadIdx.x % 32 < 16) __shfl_sync(0x0000ffffu, 1, 20);", "reads lane 20, which is not in its mask"),
        ("if (threadIdx.x < 32) __syncwarp();\nelse if (threadIdx.x < 48) __syncwarp();\nelse __syncwarp();",
         "warp divergence"),
    ],
)  # fmt: skip
def test_wrong_warp_collectives(body: str, message: str) -> None:
    assert seen_under(lambda: run(body), message)


def test_a_short_last_warp_takes_part_whole() -> None:
    y = drywarp.empty(40, np.int32)
    run("p0[threadIdx.x] = __popc(__ballot_sync(0xffffffffu, 1));", y, block=40)
    np.testing.assert_array_equal(y, [32] * 32 + [8] * 8)


FORWARDS = [name for name, number in SCHEDULES.items() if number % 2 == 0]
BACKWARDS = [name for name, number in SCHEDULES.items() if number % 2]


def test_reads_beyond_arrays_fault_in_half_of_the_schedules() -> None:
    y = drywarp.empty(64, np.float32)
    assert seen_under(lambda: run("p1[threadIdx.x] = p0[threadIdx.x + 1];", floats(64), y), "byte 256 of") == FORWARDS
    assert seen_under(lambda: run("p1[threadIdx.x] = p0[(int)threadIdx.x - 1];", floats(64), y), "byte -4") == BACKWARDS


def test_what_lies_beside_an_array_is_a_nan_and_not_to_be_written() -> None:
    """61 floats do not fill 16 bytes: the end of the page is three floats away."""
    y = drywarp.empty(1, np.float32)
    run("p1[0] = p0[61];", floats(61), y, block=1)
    assert np.isnan(y[0])
    for value in ("1", "p0[62]", "p0[62] + p0[0]"):  # also what is there already, once it has been computed with
        seen = seen_under(lambda value=value: run(f"p0[61] = {value};", floats(61), block=1), "wrote beside argument 0")
        assert seen == ([] if value == "p0[62]" else ALL)


def test_dynamic_shared_memory_is_fenced_on_both_sides() -> None:
    def beyond(index: str) -> Callable[[], None]:
        return lambda: run(f"extern __shared__ float s[]; s[{index}] = 1;", block=1, shared=64)

    assert seen_under(beyond("16"), "bad memory access") == FORWARDS
    assert seen_under(beyond("-(int)blockDim.x"), "bad memory access") == BACKWARDS
    assert not seen_under(beyond("15"), "")


def test_uninitialised_memory_is_nan() -> None:
    y = drywarp.empty(4, np.float32)
    assert np.isnan(y).all() and (drywarp.empty((2, 2), int) == -1).all()
    run("__shared__ float s[4]; extern __shared__ float d[]; p0[threadIdx.x] = threadIdx.x < 2 ? s[0] : d[0];",
        np.zeros(4, np.float32), block=4, shared=16)  # fmt: skip
    kept = np.zeros(4, np.float32)
    run("__shared__ float s[4]; extern __shared__ float d[]; p0[threadIdx.x] = threadIdx.x < 2 ? s[0] : d[0];", kept,
        grid=2, block=4, shared=16)  # fmt: skip
    assert np.isnan(kept).all()


@pytest.mark.parametrize(
    "body",
    [
        "__shared__ float s[4]; s[threadIdx.x + 1] = 0;",
        "float r[4] = {}; p0[0] = (int)r[p0[0] + 4];",
        "struct Row { float first, last[4]; } *row = (Row *)p0; row->last[p0[1] + 3] = 0;",
        "p0[0] = 2147483647 + p0[1];",
        "p0[0] = 1 << (31 + p0[1]);",
        "p0[0] = 7 / (p0[1] - 1);",
        "*(int4 *)(p0 + 1) = make_int4(0, 0, 0, 0);",
    ],
)
def test_undefined_behaviour(body: str) -> None:
    ints = np.array([0, 1, 2, 3, 4, 5, 6, 7], np.int32)
    assert seen_under(lambda: run(body, ints.copy(), block=4), "undefined behaviour") == ALL


def test_async_copies_land_when_they_are_waited_for() -> None:
    body = """
    __shared__ __align__(16) float s[8];
    if (threadIdx.x < 8) drywarp::async_copy(s + threadIdx.x, p0 + threadIdx.x, 4, threadIdx.x < 6 ? 4 : 0);
    drywarp::async_commit();
    WAIT
    __syncthreads();
    if (threadIdx.x < 8) p1[threadIdx.x] = s[7 - threadIdx.x];"""
    y = drywarp.empty(8, np.float32)
    run(body.replace("WAIT", "drywarp::async_wait(0);"), floats(8), y)
    np.testing.assert_array_equal(y, [0, 0, 5, 4, 3, 2, 1, 0])
    for too_early in ("", "drywarp::async_wait(1);"):
        run(body.replace("WAIT", too_early), floats(8), y)
        assert np.isnan(y).all()


def test_tensor_cores_multiply() -> None:
    """m16n8k8 on numbers that TF32 holds exactly, m16n8k16 on such of BF16; layouts as in the PTX ISA."""
    rng = np.random.default_rng(0)
    a, b, d = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((16, 16), (16, 8), (2, 16, 8)))
    body = """
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned u[4], v[2];
    float c[4];
    for (int r = 0; r < 4; r++) c[r] = p2[(g + r / 2 * 8) * 8 + 2 * t + r % 2];
    for (int r = 0; r < 4; r++) u[r] = __float_as_uint(p0[(g + r % 2 * 8) * 16 + t + r / 2 * 4]);
    for (int r = 0; r < 2; r++) v[r] = __float_as_uint(p1[(t + 4 * r) * 8 + g]);
    drywarp::mma<8>(c, u, v, __LINE__);
    for (int r = 0; r < 4; r++) p3[(g + r / 2 * 8) * 8 + 2 * t + r % 2] = c[r];
    auto bits = [](float x) { return __float_as_uint(x); };
    auto two = [&](float low, float high) { return bits(low) >> 16 | (bits(high) & 0xffff0000u); };
    for (int r = 0; r < 4; r++) c[r] = p2[128 + (g + r / 2 * 8) * 8 + 2 * t + r % 2];
    for (int r = 0; r < 4; r++) {
      const float *q = p0 + (g + r % 2 * 8) * 16 + 2 * t + r / 2 * 8;
      u[r] = two(q[0], q[1]);
    }
    for (int r = 0; r < 2; r++) { const float *q = p1 + (2 * t + 8 * r) * 8 + g; v[r] = two(q[0], q[8]); }
    drywarp::mma<16>(c, u, v, __LINE__);
    for (int r = 0; r < 4; r++) p3[128 + (g + r / 2 * 8) * 8 + 2 * t + r % 2] = c[r];"""
    out = drywarp.empty((2, 16, 8), np.float32)
    run(body, a, b, d, out, block=32)
    np.testing.assert_array_equal(out, [d[0] + a[:, :8] @ b[:8], d[1] + a @ b])
    assert seen_under(lambda: run("if (threadIdx.x) { float c[4] = {}; unsigned u[4] = {}, v[2] = {}; "
                                  "drywarp::mma<8>(c, u, v, 1); }", block=32), "line 1") == ALL  # fmt: skip
