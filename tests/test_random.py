"""Streams of random numbers: the same for the same seed and name, independent of all others."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from scratchnn.random import stream

NAMES = [("a",), ("b",), ("a", 0), ("a", 1), ("a", "0"), ("a", "b"), ("ab",), (), ("",), (0,), (1, "a"), ("a", 1, 0)]


def test_same_seed_and_name_same_numbers() -> None:
    for name in NAMES:
        np.testing.assert_array_equal(stream(3, *name).random(50), stream(3, *name).random(50))


def test_every_name_and_seed_has_its_own_numbers() -> None:
    drawn = [stream(seed, *name).random(4000) for seed in (0, 1, 2**70) for name in NAMES]
    for a, b in itertools.combinations(drawn, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(4000)
        assert not np.intersect1d(a, b).size


def test_asking_changes_nobody_else_s_numbers() -> None:
    alone = stream(0, "init").random(10)
    first = stream(0, "init")
    half = first.random(5)
    stream(0, "dropout", 1).random(1000)
    np.random.default_rng(0).random(3)
    np.testing.assert_array_equal(np.concatenate([half, first.random(5)]), alone)


def test_another_process_draws_the_same_numbers() -> None:
    code = "from scratchnn.random import stream; print(stream(7, 'shuffle', 2).permutation(20).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(stream(7, "shuffle", 2).permutation(20).tolist())


def test_the_numbers_are_those_of_the_first_version() -> None:
    """Whoever changes them changes every published result."""
    assert stream(0, "init").integers(0, 1000, 4).tolist() == [251, 829, 313, 637]


def test_the_generator_is_counter_based() -> None:
    assert isinstance(stream(0, "a").bit_generator, np.random.Philox)


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_seeds_are_natural_numbers(seed: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        stream(seed, "a")  # type: ignore[arg-type]
