"""The same command gives the same bits; `--hash-every` records them, and `compare` says where two runs part."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scratchnn.errors import ScratchnnError
from scratchnn_models import hashes, train
from scratchnn_models.errors import Incomparable
from scratchnn_models.run import Run
from tiny_run import NUDGED, command, environment, scratchnn, threaded_product

NET = ["features.0.weight", "features.0.bias", NUDGED, "features.3.bias", "classifier.1.weight", "classifier.1.bias"]
TENSORS = [*(f"net.{name}" for name in NET), "optimizer.m", "optimizer.v", "optimizer.steps"]


def begin(folder: Path, *arguments: object, threads: int = 1, **plan: float) -> Path:
    """Train one epoch of 25 steps in a process whose BLAS may have this many threads."""
    line = command("train", "lenet", "--epochs", 1, "--out", folder, *arguments, save_every=1000, **plan)
    env = {**environment(), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == (-9 if "kill" in plan else 0), done.stderr
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return begin(tmp_path_factory.mktemp("runs") / "run", "--hash-every", 1)


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("hashes.jsonl", "weights.safetensors")]


def test_a_line_has_every_tensor_in_the_order_of_the_network(run: Path) -> None:
    records = Run.reopen(run).hashes()
    assert [record["step"] for record in records] == list(range(26))
    for record in records:
        assert list(record["hashes"]) == TENSORS
        assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in record["hashes"].values())
    assert len({record["hashes"]["net.features.0.weight"] for record in records}) == 26


def test_the_same_command_twice_gives_the_same_bits(run: Path, tmp_path: Path) -> None:
    again = begin(tmp_path / "again", "--hash-every", 1)
    assert content(again) == content(run)
    assert hashes.compare(run, again)["equal"]


def test_killed_and_resumed_goes_on_with_the_hashes(run: Path, tmp_path: Path) -> None:
    folder = begin(tmp_path / "run", "--hash-every", 1, kill=17)  # before the first checkpoint: from the start again
    assert len(Run.reopen(folder).hashes()) == 18
    assert scratchnn("train", "lenet", "--resume", folder, interrupt=9).returncode == 130
    assert len(Run.reopen(folder).hashes()) == 11
    assert scratchnn("train", "lenet", "--resume", folder).returncode == 0
    assert content(folder) == content(run)


def test_deterministic_is_the_same_over_threads(tmp_path: Path) -> None:
    options = ("--hash-every", 1, "--deterministic")
    one = begin(tmp_path / "one", *options, "--threads", 1, product=True)
    two = begin(tmp_path / "two", *options, "--threads", 2, threads=2, product=True)
    default = begin(tmp_path / "default", *options, threads=2, product=True)
    assert content(one) == content(two) == content(default)
    assert Run.reopen(two).config["deterministic"] is True
    free = begin(tmp_path / "free", "--hash-every", 1, "--threads", 2, threads=2, product=True)
    assert hashes.compare(one, free)["equal"] == (not blas_depends_on_threads())


def blas_depends_on_threads() -> bool:
    """Whether the test above could have failed on this machine."""
    with train.limited(1):
        alone = threaded_product()
    with train.limited(2):
        return bool((threaded_product()[:5, :5] != alone[:5, :5]).any())


def test_deterministic_leaves_blas_one_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from threadpoolctl import threadpool_info

    from tiny_run import in_the_place_of_mnist

    class SeenError(Exception):
        """How many threads BLAS has when training begins."""

    def fit(*_: Any) -> None:
        raise SeenError({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})

    in_the_place_of_mnist(monkeypatch.setattr)
    monkeypatch.setattr(train, "fit", fit)
    for threads in (None, 2):
        with pytest.raises(SeenError, match=r"^\{1\}$"):
            train.begun("lenet", {}, 0, tmp_path / f"{threads}", threads, {"deterministic": True})
        with pytest.raises(SeenError, match=r"^\{1\}$"):
            train.resumed("lenet", tmp_path / f"{threads}", threads)
        with pytest.raises(SeenError, match=r"^\{1\}$"):
            train.over_seeds("lenet", {}, 2, tmp_path / f"s{threads}", threads, None, {"deterministic": True})
    with pytest.raises(ScratchnnError, match="holds a run with another recipe"):
        train.over_seeds("lenet", {}, 2, tmp_path / "sNone", None, None)
    with pytest.raises(SeenError, match=r"^\{2\}$"):  # and it can have more
        train.begun("lenet", {}, 0, tmp_path / "more", 2)


def test_compare_finds_the_step_and_the_layer_that_were_changed(run: Path, tmp_path: Path) -> None:
    nudged = begin(tmp_path / "nudged", "--hash-every", 1, nudge=6)
    done = scratchnn("compare", run, nudged, "--json")
    assert done.returncode == 1 and not done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["equal"], said["step"], said["equal_until"]) == (False, 7, 6)
    assert (said["layer"], said["tensor"]) == ("net.features.3", "net.features.3.weight")
    assert said["differ"] == ["net.features.3.weight"] and said["of"] == len(TENSORS)
    assert done.stdout.splitlines()[:3] == [
        "the runs part at step 7: they are equal up to step 6",
        "first layer: net.features.3",
        "first tensor: net.features.3.weight (1 of 9 differ)",
    ]


def test_compare_of_two_seeds(run: Path, tmp_path: Path) -> None:
    said = hashes.compare(run, begin(tmp_path / "other", "--hash-every", 5, "--seed", 1))
    assert (said["step"], said["layer"], said["equal_until"]) == (0, "net.features.0", None)
    assert said["common_steps"] == 6 and said["last_step"] == 25


def test_compare_of_equal_runs(run: Path) -> None:
    done = scratchnn("compare", run, run, "--json")
    assert done.returncode == 0 and not done.stderr
    line, said = done.stdout.splitlines()
    assert line == "equal at all 26 common steps, the last of them 25"
    assert json.loads(said) == {"equal": True, "runs": [str(run), str(run)], "common_steps": 26, "last_step": 25}


def recorded(folder: Path, *records: dict[str, Any]) -> Path:
    run = Run.create(folder, {"model": "lenet", "seed": 0, "recipe": {}})
    for record in records:
        run.log_hashes(record)
    return folder


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    without = recorded(tmp_path / "without")
    odd = recorded(tmp_path / "odd", {"step": 1, "hashes": {"a": "0"}}, {"step": 3, "hashes": {"a": "0"}})
    even = recorded(tmp_path / "even", {"step": 2, "hashes": {"a": "0"}})
    damaged = recorded(tmp_path / "damaged", {"step": 2, "hashes": 3})
    for other, problem in [
        (tmp_path / "nowhere", "nowhere holds no run"),
        (without, "without holds no hashes; `scratchnn train ... --hash-every 1` writes them"),
        (even, r"no step has hashes in both runs: \S+odd has 2 from 1 to 3, \S+even has 1 from 2 to 2"),
        (damaged, r"hashes\.jsonl is damaged: a line lacks its 'hashes'"),
    ]:
        with pytest.raises(Incomparable, match=problem):
            hashes.compare(odd, other)
    done = scratchnn("compare", odd, without)
    assert done.returncode == 2 and not done.stdout and done.stderr.startswith("error: ")


def test_a_tensor_that_one_run_lacks_differs(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", {"step": 1, "hashes": {"a.w": "0", "c.w": "0"}})
    two = recorded(tmp_path / "two", {"step": 1, "hashes": {"a.w": "0", "b.w": "0", "c.w": "0"}})
    assert hashes.compare(one, two)["tensor"] == hashes.compare(two, one)["tensor"] == "b.w"
