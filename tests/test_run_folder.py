"""A run's folder: what is written into it and read back, whole or cut or damaged."""

import os
from pathlib import Path

import numpy as np
import pytest

from scratchnn.errors import FileError
from scratchnn_models.run import Run

WHOLE = b'model = "lenet"\nseed = 1\n%s\n[recipe]\n'
CONFIG = {"model": "lenet", "seed": 0, "recipe": {"lr": 0.1}}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_measurement_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    run = Run.create(tmp_path, CONFIG)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(FileError, match=r"metrics\.jsonl cannot be written: No space left on device"):
        run.log({"step": 1, "loss": 0.5})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"model = ", "config.toml is damaged: Invalid value"),
        (b"\xff\xfe", "config.toml is damaged: .* can't decode byte"),
        (b"", "config.toml is damaged: its 'model' is None"),
        (b'model = "lenet"\nseed = "a"', "config.toml is damaged: its 'seed' is 'a'"),
        (b'model = "lenet"\nseed = -1\n[recipe]', "config.toml is damaged: its 'seed' is -1"),
        (b'model = "lenet"\nseed = 1', "config.toml is damaged: its 'recipe' is None"),
        (WHOLE % b'hash_every = "a"', "config.toml is damaged: its 'hash_every' is 'a'"),
        (WHOLE % b"hash_every = 0", "config.toml is damaged: its 'hash_every' is 0"),
        (WHOLE % b"deterministic = 1", "config.toml is damaged: its 'deterministic' is 1"),
    ],
)
def test_a_damaged_configuration_is_named(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(FileError, match=problem):
        Run.reopen(tmp_path)


def test_a_folder_that_holds_no_run_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileError, match=r"holds no run: config\.toml cannot be read \(No such file"):
            Run.reopen(folder)


def test_measurements(tmp_path: Path) -> None:
    run = Run.create(tmp_path, CONFIG)
    assert run.metrics() == [] and run.latest() is None
    for step in (1, 2, 3):
        run.log({"step": step, "loss": 1 / 3})
    assert run.metrics() == [{"step": step, "loss": 1 / 3} for step in (1, 2, 3)]
    path = tmp_path / "metrics.jsonl"
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert run.metrics() == [{"step": step, "loss": 1 / 3} for step in (1, 2, 3)][: content[:cut].count(b"\n")]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"loss": 1}', b"\xff", b"[" * 100_000])
def test_damaged_measurements_are_named(line: bytes, tmp_path: Path) -> None:
    run = Run.create(tmp_path, CONFIG)
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(FileError, match=r"metrics\.jsonl, line 2 is damaged"):
        run.latest()


@pytest.mark.parametrize("content", [b"", b"{", b"3", b"\xff"])
def test_a_damaged_result_is_named(content: bytes, tmp_path: Path) -> None:
    run = Run.create(tmp_path, CONFIG)
    assert run.result() is None
    run.finish({"a": 0.1})
    assert run.result() == {"a": 0.1}
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(FileError, match=r"result\.json is damaged"):
        run.result()


def test_the_measurements_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    run = Run.create(tmp_path, CONFIG)
    for step in (1, 2, 3):
        run.log({"step": step})
        if step == 2:
            run.save(step, {"a": np.ones(3)}, {})
    found = Run.reopen(tmp_path).latest()
    assert found is not None and found.step == 2
    assert run.metrics() == [{"step": 1}, {"step": 2}]


def test_a_power_cut_takes_no_measurement_before_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not on the disk when a checkpoint is would never be measured again."""
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        synced.extend(path.name for path in tmp_path.rglob("*") if path.stat().st_ino == inode)
        fsync(descriptor)

    run = Run.create(tmp_path, CONFIG)
    run.log({"step": 1})
    run.log_hashes({"step": 1, "hashes": {}})
    monkeypatch.setattr(os, "fsync", note)
    run.save(1, {"a": np.ones(3)}, {})
    assert synced[:2] == ["metrics.jsonl", "hashes.jsonl"] and synced[2].startswith(".step-00000001")


def test_the_hashes_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    run = Run.create(tmp_path, CONFIG)
    for step in range(4):
        run.log_hashes({"step": step, "hashes": {}})
        if step == 2:
            run.save(step, {"a": np.ones(3)}, {})
    assert Run.reopen(tmp_path).latest() is not None
    assert [record["step"] for record in run.hashes()] == [0, 1, 2]
    (tmp_path / "checkpoints" / "step-00000002.safetensors").unlink()
    assert run.latest() is None and run.hashes() == []  # step 0 will be hashed again
