"""The README tells the truth: its tour runs, and its table is what results/ makes it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(heading: str, language: str = "python") -> str:
    """The block of that language in the section of that name."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return found


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)


TOUR, OWN_LAYER = "A tour in thirty lines", "Checking your own layer"


def test_the_tour_runs_and_learns():
    tour = block(TOUR)
    assert 25 <= len(tour.splitlines()) <= 40
    done = run(tour)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"(\d+)% right", done.stdout)[1]) >= 95
    assert "gradcheck of Square" in done.stdout


def test_the_tour_s_check_refuses_the_wrong_gradient():
    wrong = block(TOUR).replace("return 2 * x * dy", "return x * dy")
    assert wrong != block(TOUR)
    done = run(wrong)
    assert done.returncode != 0
    assert "GradcheckError" in done.stderr


def test_one_s_own_layer_is_tested_in_ten_lines():
    code = block(OWN_LAYER)
    assert len([line for line in code.splitlines() if line]) <= 11
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Swish: 25 configurations") and "\noracle " in done.stdout


def test_what_the_wrong_one_answers_is_what_the_readme_shows():
    right, shown = block(OWN_LAYER), block(OWN_LAYER, "text")
    wrong = right.replace("(s + x * s", "(x * s")
    assert wrong != right
    done = run(wrong)
    assert done.returncode != 0
    assert re.sub(r"\d{5}\b", "", shown) in re.sub(r"\d{5}\b", "", done.stderr)  # the last digits are the processor's


def test_the_emulator_s_example_runs_and_its_bugs_are_seen():
    code = block("drywarp: CUDA kernels without a GPU")
    assert run(code).returncode == 0
    without_barrier = run(code.replace("  __syncthreads();\n", ""))
    assert "AssertionError" in without_barrier.stderr
    too_many = run(code.replace("(64,), (x, y, np.int32(64))", "(65,), (x, y, np.int32(65))"))
    assert "block (0,0,0) thread (64,0,0): a bad memory access" in too_many.stderr
    assert "byte 256 of argument 0, which has 256" in too_many.stderr


def test_the_table_is_what_the_results_make_it():
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_picture_and_file_it_names_is_there():
    named = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README) + re.findall(
        r"`((?:scratchnn|kernels|models|tests)/[\w/]+\.py)`", README
    )
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
