"""Property-based tests for layers written by hand, also for those of others.

    report = check_layer(layer, inputs, oracle=None, examples=25)      raises LawError, else a table of what was tried

Hypothesis draws shapes, configurations, memory layouts and seeds from `inputs`; for each one all laws are checked, and
what fails is shrunk to the smallest example. `scratchnn.testing.strategies` has the geometries and layouts that
scratchnn's own tests draw from; `scratchnn.testing.cases` has the configurations of its layers.
"""

from scratchnn.testing.missing import MissingHypothesis

try:
    from scratchnn.testing import strategies
    from scratchnn.testing.check import check_layer
    from scratchnn.testing.example import Configuration, Example
    from scratchnn.testing.report import Law, LawError, Report
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise MissingHypothesis from error

__all__ = ["Configuration", "Example", "Law", "LawError", "MissingHypothesis", "Report", "check_layer", "strategies"]
