"""Every micro-kernel of LLVM code does what its plain twin says, in both precisions, and touches nothing else."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

import micro_arguments
import plain_intrinsics
from micro_kernels import Compiled, Memory, assert_same

# By module, the intrinsics in it that Numba compiles, and who draws their arguments in micro_arguments.py.
COMPILED: dict[str, dict[str, str]] = {
    "vector_bits": {
        name: name for name in (
            "constant", "fma", "polynomial", "power_of_two", "with_sign", "ordered", "from_ordered", "plus_one_if",
        )
    },
    "tile": {"_any_tile": "tile", "add_runs": "add_runs", "copy_run": "copy_run", "fill_run": "fill_run", "at": "at"},
    "column_vectors": {name: name for name in ("moments_8", "moments_1", "sums", "scale", "combine")},
    "transpose": {"_transpose": "transpose", "_collect": "collect", "_take_run": "take_run", "_weave": "weave"},
    "dot_tile": {"_any_dot_tile": "dot_tile"},
    "depthwise_channels": {"_glide": "glide", "_reap": "reap"},
    "depthwise_planes": {"_slide": "slide", "_sheet": "sheet", "_rake": "rake"},
    "channel_sum_loops": {"sum_run": "sum_run"},
    "window_vectors": {"lanes": "lanes"},
    "max_pool_vectors": {name: name for name in ("_pick_columns", "_pick_channels", "_put_columns", "_put_channels")},
    "avg_pool_vectors": {
        name: name for name in ("_mean_columns", "_mean_channels", "_share_columns", "_share_channels")
    },
    "conv2d.winograd_transform": {"_any_square": "square"},
}  # fmt: skip
MICRO_KERNELS = [(module, inner, name) for module, names in COMPILED.items() for inner, name in names.items()]


def checks(module: str, inner: str, name: str, dtype: Any, count: int) -> Callable[[], None]:
    """Compile the micro-kernel anew and hold it to its twin, for so many arguments."""
    home, plain = importlib.import_module(f"scratchnn_kernels.{module}"), plain_intrinsics.OF_MODULE[module]
    intrinsic, twin = getattr(home, inner), plain[inner] if inner in plain else plain[name]
    linked = getattr(home, name) if inner not in plain else None
    draw = getattr(micro_arguments, name)
    arguments = [draw(Memory(seed, dtype), seed) for seed in range(count)]

    def check() -> None:
        with pytest.MonkeyPatch.context() as patch:
            micro = Compiled(intrinsic)
            patch.setattr(home, inner, micro)
            for args in arguments:
                assert_same(linked or micro, twin, args)

    return check


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("module", "inner", "name"), MICRO_KERNELS)
def test_a_micro_kernel_is_its_plain_twin(module: str, inner: str, name: str, dtype: Any) -> None:
    checks(module, inner, name, dtype, 60)()
