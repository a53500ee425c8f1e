"""A training that is killed, interrupted, damaged or out of disk goes on to the very result it would have had."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchnn import checkpoint
from tiny_run import STEPS, command, environment, scratchnn, started

PICTURES = ("curves.png", "filters.png", "mistakes.png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert begin(folder, save_every=1000, pictures=True).returncode == 0
    return folder


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed in step 17, not to be written to."""
    folder = tmp_path_factory.mktemp("runs") / "dead"
    assert begin(folder, kill=17).returncode == -9
    return folder


@pytest.fixture
def killed(dead: Path, tmp_path: Path) -> Path:
    """A copy of the run that was killed in step 17."""
    return Path(shutil.copytree(dead, tmp_path / "killed"))


def begin(folder: Path, **plan: float) -> subprocess.CompletedProcess[str]:
    return scratchnn("train", "lenet", "--seed", 3, "--out", folder, **plan)


def resume(folder: Path, **plan: float) -> subprocess.CompletedProcess[str]:
    return scratchnn("train", "lenet", "--resume", folder, **plan)


def resume_and_compare(folder: Path, whole: Path, pictures: bool = False) -> subprocess.CompletedProcess[str]:
    """Go on to the end; it must look as if nothing had happened."""
    done = resume(folder, pictures=pictures)
    assert done.returncode == 0, done.stderr
    expected = {path.name for path in whole.iterdir()} - (set() if pictures else set(PICTURES))
    assert {path.name for path in folder.iterdir()} == expected
    for name in ("weights.safetensors", "metrics.jsonl", "config.toml", *(PICTURES if pictures else ())):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    mine, theirs = last_checkpoint(folder), last_checkpoint(whole)
    assert mine.step == theirs.step == STEPS and mine.tensors.keys() == theirs.tensors.keys()
    for name, tensor in mine.tensors.items():
        np.testing.assert_array_equal(tensor, theirs.tensors[name], err_msg=name)
    results = [json.loads((run / "result.json").read_text()) for run in (folder, whole)]
    for result in results:
        del result["seconds"], result["run"]
    assert results[0] == results[1]
    return done


def last_checkpoint(folder: Path) -> checkpoint.Checkpoint:
    found = checkpoint.latest(folder / "checkpoints")
    assert found is not None
    return found


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("step-*.safetensors"))


def test_a_run_s_folder_holds_what_it_says(whole: Path) -> None:
    files = {"config.toml", "environment.json", "metrics.jsonl", "checkpoints", "weights.safetensors", "result.json"}
    assert {path.name for path in whole.iterdir()} == files | set(PICTURES)
    assert [path.name for path in checkpoints(whole)] == ["step-00000025.safetensors", "step-00000050.safetensors"]
    assert all((whole / name).read_bytes().startswith(b"\x89PNG") for name in PICTURES)
    logged = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in logged] == [7, 14, 21, 25, 28, 35, 42, 49, 50]
    assert [list(record)[1:] for record in logged] == [
        ["validation_loss", "validation_accuracy"] if record["step"] in (25, 50) else ["loss"] for record in logged
    ]


def test_killed_mid_epoch_and_resumed_equals_uninterrupted(killed: Path, whole: Path) -> None:
    assert last_checkpoint(killed).step == 17
    done = resume_and_compare(killed, whole, pictures=True)
    assert f"goes on at step 17 of {STEPS}" in done.stderr


def test_killed_long_after_the_checkpoint_in_the_middle_of_a_line(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert begin(folder, kill=46, save_every=1000).returncode == -9
    assert last_checkpoint(folder).step == 25
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 49, "lo')
    done = resume_and_compare(folder, whole)
    assert f"goes on at step 25 of {STEPS}" in done.stderr


def test_killed_before_the_first_checkpoint(whole: Path, tmp_path: Path) -> None:
    assert begin(tmp_path / "run", kill=9, save_every=1000).returncode == -9
    assert not checkpoints(tmp_path / "run")
    resume_and_compare(tmp_path / "run", whole)


def test_killed_again_and_again_at_random_moments(whole: Path, tmp_path: Path) -> None:
    folder, chance = tmp_path / "run", random.Random(0)
    for turn in range(3):
        how = ("--resume", folder) if turn else ("--seed", 3, "--out", folder)
        goal = 10 * turn + chance.randrange(1, 10)
        with started("train", "lenet", *how) as process:
            while not (found := checkpoints(folder)) or found[-1].name < f"step-{goal:08d}":
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
            assert process.wait() == -9
    resume_and_compare(folder, whole)


def test_resuming_a_finished_run_reports_it_again(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    done = resume(whole)
    assert done.returncode == 0 and "test_accuracy" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_killed_between_the_last_step_and_the_pictures(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for name in ("result.json", "weights.safetensors", *PICTURES):
        (folder / name).unlink()
    resume_and_compare(folder, whole)  # no step is left to do


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    stopped = begin(folder, interrupt=17, save_every=1000)
    assert stopped.returncode == 130 and not stopped.stdout
    told = f"stopped after step 18 of 50, saved in {folder}\ngo on with: scratchnn train lenet --resume '{folder}'\n"
    assert stopped.stderr == told
    assert last_checkpoint(folder).step == 18 and len(checkpoints(folder)) == 1
    arguments = shlex.split(stopped.stderr.splitlines()[-1].removeprefix("go on with: scratchnn"))
    assert arguments == ["train", "lenet", "--resume", str(folder)]  # which is what this does:
    resume_and_compare(folder, whole)


def test_a_second_ctrl_c_stops_at_once(whole: Path, tmp_path: Path) -> None:
    stopped = begin(tmp_path / "run", interrupt=17, presses=2)
    assert stopped.returncode == 130
    assert stopped.stderr.startswith("stopped at once") and "Traceback" not in stopped.stderr
    assert stopped.stderr.endswith(f"go on with: scratchnn train lenet --resume {tmp_path / 'run'}\n")
    assert last_checkpoint(tmp_path / "run").step == 17
    resume_and_compare(tmp_path / "run", whole)


def test_ctrl_c_in_the_last_step_lets_it_finish(whole: Path, tmp_path: Path) -> None:
    assert begin(tmp_path / "run", interrupt=STEPS - 1).returncode == 0
    resume_and_compare(tmp_path / "run", whole)


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_it_used(killed: Path, whole: Path) -> None:
    newest = checkpoints(killed)[-1]
    newest.write_bytes(newest.read_bytes()[:5000])
    again = resume(killed, interrupt=20, save_every=1000)
    assert again.returncode == 130
    warning, goes_on, *_ = again.stderr.splitlines()
    assert warning.startswith(f"warning: {newest} is damaged")
    assert warning.endswith("trying the checkpoint before it") and goes_on.endswith("goes on at step 16 of 50")
    assert [checkpoint.load(path).step for path in checkpoints(killed)] == [16, 21]  # two good ones again
    assert not resume_and_compare(killed, whole).stderr.startswith("warning")


def test_without_any_good_checkpoint_it_says_so_and_touches_nothing(killed: Path) -> None:
    for path in checkpoints(killed):
        content = bytearray(path.read_bytes())
        content[-100] ^= 4
        path.write_bytes(content)
    before = {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()}
    done = resume(killed)
    assert done.returncode == 1 and not done.stdout
    *warnings, error = done.stderr.splitlines()
    assert len(warnings) == 2 and all(line.startswith("warning: ") for line in warnings)
    assert error == f"error: {killed}/checkpoints: none of its 2 checkpoints can be read"
    assert {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()} == before


def test_a_checkpoint_of_another_network_is_refused(killed: Path) -> None:
    saved = last_checkpoint(killed)
    saved.tensors["optimizer.m"] = saved.tensors["optimizer.m"].astype(np.float64)
    del saved.tensors["net.classifier.1.bias"]
    checkpoint.save(killed / "checkpoints", saved.step, saved.tensors, saved.state)
    done = resume(killed)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {killed}/checkpoints: the checkpoint is of another network; "
        "net.classifier.1.bias, optimizer.m do not fit\n"
    )


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({}, "the checkpoint's state has seconds None and meter None; a float and sums with counts are expected"),
        ({"seconds": "1"}, "has seconds '1' and meter {}"),
        ({"meter": [1.0, 2]}, "and meter [1.0, 2]"),
        ({"meter": {"loss": [1.0, 0]}}, "and meter {'loss': [1.0, 0]}"),
        ({"meter": {"loss": 1.0}}, "and meter {'loss': 1.0}"),
    ],
)
def test_a_state_that_the_loop_did_not_write_is_refused(killed: Path, state: dict[str, Any], problem: str) -> None:
    """Though its SHA-256 is right."""
    saved = last_checkpoint(killed)
    checkpoint.save(
        killed / "checkpoints", saved.step, saved.tensors, ({"seconds": 1.0, "meter": {}} | state) if state else {}
    )
    done = resume(killed)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {killed}/checkpoints: ") and problem in done.stderr


def test_a_checkpoint_beyond_the_end_of_the_run_is_refused(killed: Path) -> None:
    saved = last_checkpoint(killed)
    checkpoint.save(killed / "checkpoints", STEPS + 1, saved.tensors, saved.state)
    done = resume(killed)
    assert done.returncode == 1
    assert (
        done.stderr == f"error: {killed}/checkpoints: the checkpoint is of step {STEPS + 1}; the run ends at {STEPS}\n"
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, dict[str, int], Callable[[], Any]]]:
    """A folder in which the third checkpoint has no room, the plan that makes it so, and a call that makes room.

    A real file system of 200 kB where we may mount one; else fsync says that the disk is full.
    """
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    mounted = os.geteuid() == 0 and subprocess.run([*mount, "size=200k", "tmpfs", place], capture_output=True)
    if not mounted or mounted.returncode:
        yield place, {"full": 2}, lambda: None
        return
    try:
        yield place, {}, lambda: subprocess.run([*mount, "remount,size=4m", "tmpfs", place], check=True)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_one_error_and_the_run_goes_on_when_there_is_room(
    small_disk: tuple[Path, dict[str, int], Callable[[], Any]], whole: Path
) -> None:
    place, plan, make_room = small_disk
    done = begin(place / "run", **plan)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"error: {place}/run/checkpoints/step-00000003.safetensors: cannot be written: ")
    assert done.stderr.count("\n") == 1
    assert "No space left on device (" in done.stderr and "; nothing there was changed" in done.stderr
    assert [checkpoint.load(path).step for path in checkpoints(place / "run")] == [1, 2]
    assert len(list((place / "run" / "checkpoints").iterdir())) == 2  # no temporary file stays
    make_room()
    resume_and_compare(place / "run", whole)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    done = scratchnn("train", "lenet", "--lr", "1e30", "--out", tmp_path / "run")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.splitlines()[-1] == (
        "error: step 1: loss is nan; Conv2d(6, 16, (5, 5)) (features.3) made the first one, in its forward, at step 1; "
        "try a smaller --lr"
    )
    assert "Traceback" not in done.stderr
    found = last_checkpoint(tmp_path / "run")
    assert found.step == 1 and all(np.isfinite(tensor).all() for tensor in found.tensors.values())


def test_without_a_terminal_there_are_plain_lines_on_stderr(tmp_path: Path) -> None:
    done = scratchnn("train", "lenet", "--out", tmp_path / "run", save_every=1000)
    lines = done.stderr.splitlines()
    assert [line.split()[:3] for line in lines] == [["lenet", "epoch", "1/2"], ["lenet", "epoch", "2/2"]]
    assert all("validation_loss" in line and "validation_accuracy" in line for line in lines)
    assert "\x1b" not in done.stderr + done.stdout and "\r" not in done.stderr + done.stdout


IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_on_a_terminal_there_is_a_bar_and_ctrl_c_is_a_key(whole: Path, tmp_path: Path) -> None:
    arguments = command("train", "lenet", "--seed", 3, "--out", tmp_path / "run", slow=0.05)
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *arguments],
        env={**environment(), "TERM": "xterm", "COLUMNS": "120"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as terminal:  # fmt: skip
        assert terminal.stdin and terminal.stdout
        while b"epoch 1/2" not in shown:
            shown += terminal.stdout.read1() or pytest.fail(f"it ended early: {shown.decode()}")
        terminal.stdin.write(b"\x03")
        terminal.stdin.flush()
        shown += terminal.stdout.read()
    assert terminal.returncode == 130
    text = shown.decode()
    for part in ("lenet", "━", "/50", "it/s", "loss ", "0:00:", "stopped after step", "go on with: scratchnn train"):
        assert part in text, part
    resume_and_compare(tmp_path / "run", whole)
