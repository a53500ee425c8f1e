"""What this machine has, what is missing, and how to get it."""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from scratchnn_models.run import commit, processor


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    ok: bool
    state: str


def examine() -> list[Finding]:
    """Look at everything; nothing here fails."""
    return [
        Finding("python", sys.version_info >= (3, 11), platform.python_version()),
        Finding("scratchnn", True, f"{version('scratchnn')}, commit {commit()}"),
        Finding("processor", True, f"{processor()}, {os.cpu_count()} cores"),
        _numpy(),
        *_numba(),
        _gpu(),
        _package("torch", "opponent and oracle only", "pip install 'scratchnn[bench]'"),
        _package("dicebear-core", "draws the data set faces", "pip install 'scratchnn[faces]'"),
        *_data(),
        _disk(),
    ]


def _numpy() -> Finding:
    import numpy
    from threadpoolctl import threadpool_info

    blas = [f"{i['internal_api']} {i['version']} with {i['num_threads']} threads" for i in threadpool_info()]
    return Finding("numpy", True, f"{numpy.__version__}, {', '.join(blas) or 'BLAS unknown'}")


def _numba() -> list[Finding]:
    if find_spec("numba") is None:
        return [Finding("numba", False, "missing, so the slow reference kernels are used; pip install numba")]
    from scratchnn_kernels import gemm_loops, get_threads, vector_code  # the first and the last import Numba

    cache = Path(gemm_loops.gemm.stats.cache_path)
    state = f"{get_threads()} threads, vectors of {8 * vector_code.VECTOR_BYTES} bits, compiled code in {cache}"
    return [Finding("numba", True, version("numba")), Finding("kernels", True, state)]


def _gpu() -> Finding:
    from scratchnn_kernels.device import gpu_state

    return Finding("gpu", *gpu_state())


def _package(name: str, purpose: str, get: str) -> Finding:
    found = _version(name)
    return Finding(name, found is not None, f"{found}, {purpose}" if found else f"missing ({purpose}); {get}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _data() -> list[Finding]:
    from scratchnn import data

    return [Finding(f"data: {name}", True, str(data.describe(name)["state"])) for name in data.names()]


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    return Finding("disk", free > 1 << 30, f"{free / (1 << 30):.1f} GiB free here")
