"""How the tests run: hypothesis profiles, and PyTorch as an oracle that may be absent, but never in silence."""

import os
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

INSTALL = "python -m pip install torch"
TORCH_REQUIRED = os.environ.get("SCRATCHNN_REQUIRE_TORCH") == "1"

# The default draws the same examples in every run: a red build is red for everyone. `SCRATCHNN_EXAMPLES=ci` draws more
# of them, and `thorough` looks further, elsewhere each time.
settings.register_profile(
    "default", max_examples=15, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", parent=settings.get_profile("default"), max_examples=40)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=500, derandomize=False)
settings.load_profile(os.environ.get("SCRATCHNN_EXAMPLES", "default"))


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch. Without it the test is skipped, or fails where SCRATCHNN_REQUIRE_TORCH=1."""
    if find_torch() is None:
        message = f"PyTorch is not installed; {INSTALL}"
        if TORCH_REQUIRED:
            pytest.fail(message + " (SCRATCHNN_REQUIRE_TORCH=1 lets no oracle test be left out)")
        pytest.skip(message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch

    torch.set_num_threads(1)
    return torch


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads share all work, however little."""
    from sharing import shared

    with shared(2):
        yield


def find_torch() -> object | None:
    try:
        return find_spec("torch")
    except ValueError:  # sys.modules["torch"] is None: someone forbids it
        return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = [report for report in terminalreporter.stats.get("skipped", []) if "oracle" in report.keywords]
    if left_out:
        terminalreporter.write_line(
            f"{len(left_out)} oracle tests were left out, because PyTorch is not installed; to run them: {INSTALL}",
            yellow=True,
        )
