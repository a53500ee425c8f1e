"""What is imported when: nothing heavy before it is needed, and nothing that may be missing at all."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HEAVY = ("matplotlib", "numba", "llvmlite", "cupy", "torch", "PIL", "scipy", "pandas", "safetensors", "hypothesis")
SHOW = "print('\\n'.join(sorted(sys.modules)))"
HELP = """
import sys
from scratchnn_models.cli import main
sys.argv = ["scratchnn", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def imported(code: str) -> set[str]:
    """The top-level modules that a fresh process has imported after this code."""
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}\n{SHOW}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {line.split(".")[0] for line in done.stdout.splitlines()}


MODULES = ("scratchnn", "scratchnn_kernels", "scratchnn.gradcheck", "scratchnn.data", "scratchnn_models.lenet")


@pytest.mark.parametrize("module", MODULES)
def test_a_library_brings_numpy_and_nothing_heavy(module: str) -> None:
    found = imported(f"import {module}")
    assert "numpy" in found
    assert not found.intersection((*HEAVY, "rich", "typer"))


def test_the_command_line_comes_without_numpy() -> None:
    assert not imported("import scratchnn_models.cli").intersection((*HEAVY, "numpy", "rich"))


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_comes_without_numpy(arguments: list[str]) -> None:
    found = imported(HELP.format(arguments=arguments))
    assert "typer" in found
    assert not found.intersection((*HEAVY, "numpy"))


def test_a_table_needs_nothing_heavy() -> None:
    assert not imported(HELP.format(arguments=["list"])).intersection(HEAVY)


def test_the_installed_command_answers() -> None:
    script = Path(sysconfig.get_path("scripts")) / "scratchnn"
    done = subprocess.run([script, "--help"], capture_output=True, text=True, env={**os.environ, "TERM": "dumb"})
    assert done.returncode == 0 and "Usage: scratchnn" in done.stdout and not done.stderr


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
TRAIN = """
import importlib.util
import numpy as np
import scratchnn_kernels as kernels
from scratchnn_kernels import dispatch
from scratchnn import losses, optim
from scratchnn.random import stream
from scratchnn_models.lenet import LeNet

find_spec = importlib.util.find_spec
dispatch.find_spec = lambda name: None if name == "numba" else find_spec(name)  # what a missing package looks like
for op, versions in dispatch.TABLE.items():
    x = np.zeros((1, 1), np.float32)
    assert dispatch.choose(op, None, x) is versions["reference"], op
net = LeNet(rng=stream(0, "init"))
adam = optim.Adam(net.params(), 1e-3)
x, target = stream(0, "x").standard_normal((8, 1, 32, 32), np.float32), np.arange(8)
found = []
for _ in range(5):
    scores, ctx = net.forward(x, train=True)
    loss, dscores = losses.cross_entropy(scores, target)
    adam.zero_grad()
    net.backward_params(dscores, ctx)
    adam.step()
    found.append(float(loss))
assert found[-1] < 0.9 * found[0], found
"""


def test_without_numba_the_reference_kernels_serve() -> None:
    found = imported(WITHOUT.format(names=["numba", "llvmlite"]) + TRAIN)
    assert "numba" not in found and "llvmlite" not in found


def test_doctor_says_how_to_get_what_is_missing() -> None:
    code = WITHOUT.format(names=["nothing"]) + "sys.modules['numba'] = None\n" + HELP.format(arguments=["doctor"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "missing, so the slow reference kernels are used; pip install numba" in done.stdout
