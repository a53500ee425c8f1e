"""No CUDA kernel has a data race: a dozen of its cases, built for ThreadSanitizer, in a process of its own."""

import pytest

from cuda_cases import CASES
from test_drywarp_launches import with_race_detector

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
import drywarp
from cuda_cases import CASES
from scratchnn_kernels.cuda import stand_in

with stand_in(drywarp), drywarp.checking(races=True):
    cases = CASES[{name!r}]
    for case in cases[:: max(1, len(cases) // 12)]:
        case.run(case.impl, np.float32)
"""


@pytest.mark.parametrize("name", CASES)
def test_no_race(name: str) -> None:
    done = with_race_detector(PROGRAM.format(tests=__file__.rsplit("/", 1)[0], name=name))
    assert done.returncode == 0, done.stderr[-3000:]
