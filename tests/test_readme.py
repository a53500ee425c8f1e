"""The README tells the truth: its tour runs, and its table is what results/ makes it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tour_runs_and_learns():
    (tour,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert 25 <= len(tour.splitlines()) <= 40
    done = subprocess.run([sys.executable, "-W", "error", "-c", tour], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"(\d+)% right", done.stdout)[1]) >= 95
    assert "gradcheck of Square" in done.stdout


def test_the_tour_s_check_refuses_the_wrong_gradient():
    (tour,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    wrong = tour.replace("return 2 * x * dy", "return x * dy")
    assert wrong != tour
    done = subprocess.run([sys.executable, "-c", wrong], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "GradcheckError" in done.stderr


def test_the_table_is_what_the_results_make_it():
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_picture_and_file_it_names_is_there():
    named = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README) + re.findall(
        r"`((?:scratchnn|kernels|models|tests)/[\w/]+\.py)`", README
    )
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []
