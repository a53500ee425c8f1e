"""`check_layer`: draw examples, check all laws for each, shrink what fails."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from scratchnn.gradcheck.report import GradcheckError, label
from scratchnn.layer import Array
from scratchnn.testing.adapt import Functions, Stateful
from scratchnn.testing.example import Example, Inputs, Kind, examples_of
from scratchnn.testing.laws import Oracle, obey
from scratchnn.testing.report import LawError, Report, Tally

NO_PARAMS: Mapping[str, str] = {}
STATE = "; a class that keeps what backward needs in self can be checked with keeps_state=True"


def check_layer(
    layer: Any, inputs: Inputs, *, oracle: Oracle | None = None, examples: int = 25, train: bool = False,
    smooth: bool = True, float32: bool = True, params: Mapping[str, str] = NO_PARAMS, keeps_state: bool = False,
    tolerance: float | None = None, domain: Callable[[Array], Array] = np.asarray,
) -> Report:  # fmt: skip
    """Check all laws for a layer at drawn inputs; raises LawError with the smallest example that breaks one.

    layer: forward(x[, train][, rng]) -> (y, ctx) and backward(dy, ctx) -> dx; a pair of functions, where forward may
        give y alone, and backward then gets x; a class of the old style, backward(dy), which keeps its state in self:
        that breaks the law "stateless" unless keeps_state=True, and `params` names its parameters and their gradients
        ({"W": "dW"}); or a class or function that makes any of these. It gets the drawn options, and rng and dtype if
        it has such arguments. What belongs to another framework needs a forward and a backward that convert.
    inputs: a shape; a Configuration (shape, options, train); or a hypothesis strategy of either. `train` is for shapes.
    oracle: oracle(x) or oracle(x, layer) -> y, what forward must give.
    smooth: False also draws small integers, which lie on kinks and tie: backward there must be a subgradient.
    float32: whether float32 in must be float32 out.
    domain: makes inputs that the layer takes out of normal numbers, such as np.exp for a layer of positive ones.
    tolerance: None is 1e-12, and 1e-6 where forward is not analytic (see gradcheck).
    """
    kind, tally = Kind(layer, params, keeps_state, domain), Tally()
    begun = time.perf_counter()
    names: list[str] = []

    def hold(example: Example) -> None:
        subject = example.layer()
        names.append(label(subject) if isinstance(subject, Functions | Stateful) else type(subject).__name__)
        with _told(example, subject, tally):
            tally.add(obey(example, oracle, tolerance, float32))

    _search(examples_of(kind, inputs, train, smooth), hold, examples)
    return tally.report(names[0], time.perf_counter() - begun)


@contextmanager
def _told(example: Example, layer: Any, tally: Tally) -> Iterator[None]:
    """Turn whatever goes wrong into a LawError."""
    try:
        yield
    except GradcheckError as error:
        problem = str(error).partition(f"(method: {error.method}): ")[2]
        hint = STATE if error.check == "stateless" and isinstance(layer, Stateful) else ""
        found = LawError(label(layer), error.check, error.wrt, example, error.error, problem + hint, tally.examples + 1)
        raise found from error.__cause__
    except Exception as error:
        problem = f"it raised {type(error).__name__}: {error}"
        raise LawError(label(layer), "runs", "forward", example, math.inf, problem, tally.examples + 1) from error


def _search(strategy: st.SearchStrategy[Example], hold: Callable[[Example], None], examples: int) -> None:
    """Draw the examples, the same ones in every run; of those that fail, raise what the smallest one raised."""
    failures: list[LawError] = []

    def note(example: Example) -> None:
        try:
            hold(example)
        except LawError as error:
            failures.append(error)
            raise

    search = settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False,
    )  # fmt: skip
    try:
        search(given(strategy)(note))()
    except (LawError, Flaky):  # flaky: it failed once, and not when it was tried again
        if not failures:
            raise
        failures[-1].__notes__ = []  # hypothesis tells of the example once more, in its own words
        raise failures[-1].with_traceback(None) from failures[-1].__cause__
