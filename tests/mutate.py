"""The mutation score: faults put into kernels, layers, losses and optimizers, and how many the tests see.

    python tests/mutate.py [--only MODULE ...] [--sample N] [--backward] [--jobs N] [--results FILE]

Numba's loops run as plain Python here, on the plain twins of the micro-kernels (plain_intrinsics.py), which mind the
limits of their arrays. The code that writes those micro-kernels as LLVM code is mutated too, one process a mutant: each
is compiled and held to its twin. `mutation_survivors.toml` says of a mutant that lives why it is equivalent; one in
backward code that it does not name makes the command fail.
"""

import os

os.environ["NUMBA_DISABLE_JIT"] = "1"  # before Numba is imported
os.environ["NUMBA_CPU_FEATURES"] = "+sse2"  # vectors of 16 bytes, so that small arrays hold several

import argparse
import random
import resource
import sys
import time
import tomllib
from functools import partial
from importlib import import_module
from pathlib import Path

from battery import Item, Line, by_line, items_of, measured, only_python
from forked import in_processes
from frozen_kernels import frozen_kernels
from killing import Score, run_and_check
from mutants import Mutant, mutants_of
from mutation_results import judged, known, show, survivors, write
from scratchnn_models.run import commit

ROOT = Path(__file__).parent.parent
REASONS = Path(__file__).parent / "mutation_survivors.toml"
KERNELS = (
    "activations", "avg_pool2d", "avg_pool_cpu", "avg_pool_vectors", "channel_sum", "channel_sum_loops", "check",
    "column_vectors", "conv2d/__init__", "conv2d/depthwise", "conv2d/depthwise_loops", "conv2d/direct",
    "conv2d/direct_loops", "conv2d/fft", "conv2d/im2col", "conv2d/images", "conv2d/images_loops", "conv2d/neighbours",
    "conv2d/order", "conv2d/patches", "conv2d/patches_loops", "conv2d/planes", "conv2d/planes_loops", "conv2d/plans",
    "conv2d/pointwise", "conv2d/reference", "conv2d/rule", "conv2d/scatter", "conv2d/scatter_loops", "conv2d/sweep",
    "conv2d/weight_loops", "conv2d/winograd", "conv2d/winograd_grid", "conv2d/winograd_loops",
    "conv2d/winograd_transform", "conv2d/winograd_weight_loops", "conv_transpose2d", "depthwise_channels",
    "depthwise_planes", "device", "dispatch", "dot_tile", "elementwise", "elementwise_loops", "elementwise_threaded",
    "gelu", "gemm", "gemm_loops", "geometry", "linear", "losses", "losses_loops", "max_pool2d", "max_pool_cpu",
    "max_pool_loops", "max_pool_vectors", "memory", "normalize", "normalize_cells", "normalize_cells_threaded",
    "normalize_cpu", "normalize_runs", "normalize_runs_threaded", "pad2d", "parted", "resize2d", "resize_loops",
    "rows_cpu", "softmax", "threads", "tile", "topk", "topk_cpu", "transpose", "update",
    "update_cpu", "vector_bits", "vector_code", "vector_math", "window_cpu", "window_loops", "window_vectors",
)  # fmt: skip
LAYERS = (
    "activations", "batch_norm", "containers", "conv2d", "conv_transpose2d", "dropout", "embedding", "hessian",
    "joining", "layer", "linear", "losses", "norm", "optim", "pooling", "resample", "shape", "smooth",
    "spectral_norm", "topk",
)  # fmt: skip
ELSEWHERE = (  # CUDA, which `mutate_cuda.py` scores
    "kernels/normalize:_normalize_cuda:", "kernels/normalize:_normalize_grad_cuda:",
    "kernels/normalize:_affine_grad_cuda:",
    # how Numba compiles, and what asks for memory before it is used: they change no number
    "kernels/conv2d/winograd_loops:ahead_of:", "kernels/conv2d/winograd_loops:fetch:",
    "kernels/conv2d/winograd_transform:prefetch", "kernels/parted:packed", "kernels/parted:enter",
    "kernels/vector_bits:compiled:", "kernels/vector_bits:summing:",
    "kernels/vector_bits:threaded:", "kernels/vector_bits:wide", "kernels/vector_code:Code.prefetch:",
    "kernels/vector_code:_vector_bytes:",
)  # fmt: skip
WRITING = (  # LLVM code, of which plain_intrinsics.py says in Python what it computes
    "kernels/avg_pool_vectors:_", "kernels/channel_sum_loops:sum_run", "kernels/column_vectors:",
    "kernels/conv2d/winograd_transform:", "kernels/depthwise_channels:", "kernels/depthwise_planes:",
    "kernels/dot_tile:", "kernels/max_pool_vectors:_Winners", "kernels/max_pool_vectors:_pick",
    "kernels/max_pool_vectors:_put", "kernels/tile:", "kernels/transpose:_", "kernels/transpose:collect:",
    "kernels/transpose:take_run:", "kernels/transpose:weave:", "kernels/vector_bits:", "kernels/vector_code:",
    "kernels/window_vectors:",
)  # fmt: skip
MEMORY = 4 << 30  # bytes more than now; a fault in a shape asks for everything


def targets() -> dict[str, Path]:
    """The modules under test by short name: kernels/conv2d, scratchnn/conv2d."""
    folder = ROOT / "kernels" / "scratchnn_kernels"
    kernels = {f"kernels/{name}": folder / f"{name}.py" for name in KERNELS}
    return kernels | {f"scratchnn/{name}": ROOT / "scratchnn" / f"{name}.py" for name in LAYERS}


def explanations(path: Path = REASONS) -> dict[str, str]:
    """Why each survivor is equivalent, by id."""
    return tomllib.loads(path.read_text())["equivalent"] if path.exists() else {}


def chosen_mutants(only: list[str], sample: int | None, backward: bool) -> list[Mutant]:
    """The mutants of the modules whose short name contains one of `only`, those of backward code first.

    A sample holds all backward code, and this many of the other mutants, always the same ones.
    """
    modules = {module: path for module, path in targets().items() if not only or any(word in module for word in only)}
    found = [mutant for module, path in modules.items() for mutant in mutants_of(path, module)]
    found = [mutant for mutant in found if not mutant.id.startswith(ELSEWHERE)]
    first, others = ([m for m in found if m.backward is wanted] for wanted in (True, False))
    if sample is not None and sample < len(others):
        others = [others[place] for place in sorted(random.Random(0).sample(range(len(others)), sample))]
    return first if backward else [*first, *others]


def score_of(mutants: list[Mutant], tests: list[str], examples: int, jobs: int) -> Score:
    """The score, found by so many processes."""
    from vector_killing import run_apart, trials, unsound  # imports Numba

    apart, within = ([m for m in mutants if m.id.startswith(WRITING) is wanted] for wanted in (True, False))
    compiled = trials({str(mutant.path) for mutant in apart}) if apart else []
    table = battery({str(mutant.path) for mutant in within}, tests, examples, jobs) if within else {}
    first = sum(in_processes(jobs, partial(run_apart, table=compiled, progress=True), apart), Score())
    first.broken = unsound(compiled)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return sum(in_processes(jobs, partial(run_and_check, table=table), within), first)


def battery(paths: set[str], tests: list[str], examples: int, jobs: int) -> dict[Line, list[Item]]:
    """The table of items by line, made anew from the unmutated code; all tests, or those whose name holds a word."""
    only_python()
    for path in paths:  # some modules are imported when they are first called, in a child, and would have no mutants
        name = ".".join(Path(path).relative_to(ROOT).with_suffix("").parts)
        import_module(name.removeprefix("kernels.").removesuffix(".__init__"))
    items = [*items_of(examples=examples, words=tests), *frozen_kernels(examples, words=tests)]
    good = measured(items, paths, jobs)
    seconds = sum(item.seconds for item in good)
    print(f"battery: {len(good)} of {len(items)} items run these modules and take less than a second: {seconds:.1f} s")
    return by_line(good)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the faults that the tests see.")
    parser.add_argument("--only", action="append", default=[], metavar="MODULE", help="e.g. scratchnn/linear")
    parser.add_argument("--tests", action="append", default=[], metavar="WORD", help="only tests with this in the name")
    parser.add_argument("--examples", type=int, default=10, metavar="N", help="of each test")
    parser.add_argument("--sample", type=int, metavar="N", help="all backward code, and N of the others")
    parser.add_argument("--backward", action="store_true", help="only backward, jvp and backward_jvp code")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the mutants")
    parser.add_argument("--results", type=Path, help="renew these modules in this JSON file")
    asked = parser.parse_args()
    if asked.results and (asked.sample is not None or asked.backward or asked.tests):
        parser.error("--results counts whole modules by all tests: no --sample, --backward or --tests")
    began = time.perf_counter()
    mutants = chosen_mutants(asked.only, asked.sample, asked.backward)
    score, reasons = score_of(mutants, asked.tests, asked.examples, asked.jobs), explanations()
    speed = len([*score.killed, *score.lived]) / max(score.seconds, 1e-9)
    print(f"{speed:.1f} mutants/s, {time.perf_counter() - began:.0f} s in all")
    modules = judged(score, {"command": " ".join(["python", *sys.argv]), "commit": commit()})
    if asked.results:
        modules = known(asked.results, {*targets()}) | modules
        write(asked.results, modules, reasons)
    show(modules, reasons)
    made = {mutant.id for mutant in chosen_mutants([], None, False)}
    stale = [i for i in reasons if i in score.killed or i not in made]
    for i in stale:
        print(f"explained as equivalent, yet killed, or no longer made: {i}")
    open_ends = [i for i in survivors(modules, ("backward",)) if i not in reasons]
    for name, failure in score.broken.items():
        print(f"fails on the unmutated code after the run, so a mutant left something behind: {name}: {failure}")
    print(f"{len(open_ends)} survivors in backward code are unexplained")
    sys.exit(1 if open_ends or stale or score.broken else 0)


if __name__ == "__main__":
    main()
