"""The command line as people and scripts meet it: help, reports, JSON, and one clear message for every mistake."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from scratchnn_models import cli, lenet
from scratchnn_models.catalog import MODELS
from scratchnn_models.run import Run
from tiny_run import in_the_place_of_mnist, scratchnn

COMMANDS = ("list", "doctor", "summary", "train", "evaluate", "morph", "compare", "check", "audit", "shapes", "data")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process, in an empty folder; gives exit code, stdout and stderr."""
    in_the_place_of_mnist(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scratchnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out, shown.err

    return run


def words(text: str) -> str:
    """The text without the boxes that are drawn around it and the line breaks that they force."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A short run, and what `train --json` said at its end."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = scratchnn("train", "lenet", "--epochs", 1, "--out", folder, "--json", save_every=1000)
    assert done.returncode == 0, done.stderr
    return folder, last_line(done.stdout)


def last_line(stdout: str) -> dict[str, Any]:
    """The JSON object on the last line, after which nothing comes."""
    assert stdout.endswith("}\n")
    content: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return content


def test_help_lists_every_command(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^│ {command} +[A-Z][^│]*", out, re.MULTILINE), command
    assert words(call()[1]) == words(out)  # also what somebody sees who types no more than the name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert code == 0 and not err
    assert f"Usage: scratchnn {command}" in out
    text = words(out)
    assert " . " not in text and "[]" not in text  # no default that was taken for markup and swallowed
    options = re.findall(r"│ +(--[\w-]+)", out)
    assert {"--json", "--help"} <= set(options)
    for option in options:
        assert re.search(rf"{option} <[^>]+> (\[\S+\] )?[A-Z][^.]+\.", text), f"{option} has no description"


def test_help_of_train_tells_the_defaults(call: Call) -> None:
    text = words(call("train", "--help")[1])
    for default in ("(the recipe's)", "(all cores)", "(runs/MODEL-DATE)", "(0)"):
        assert f"[default: {default}]" in text


@pytest.mark.parametrize("model", MODELS)
def test_list_of_one_model(model: str, call: Call) -> None:
    code, out, _ = call("list", model, "--json")
    assert code == 0
    content = last_line(out)
    assert content["model"] == model and content["about"].splitlines()[0] in out
    assert "lr" in content["recipe"] or model == "pca"


def test_list_of_none(call: Call) -> None:
    code, _, err = call("list", "lunet")
    assert code == 1 and "there is no model 'lunet'" in err


def test_list(tmp_path: Path) -> None:
    done = scratchnn("list", "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert last_line(done.stdout) == {"models": list(MODELS), "data": ["mnist", "fashion_mnist", "emoji", "faces"]}
    assert done.stdout.startswith("lenet ") and "data sets: mnist, fashion_mnist, emoji, faces" in done.stdout


def test_doctor(tmp_path: Path) -> None:
    done = scratchnn("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    findings = {finding["name"]: finding for finding in last_line(done.stdout)["findings"]}
    assert {"python", "numpy", "numba", "gpu", "data: mnist", "disk"} <= findings.keys()
    for finding in findings.values():
        assert re.search(rf"^{'ok' if finding['ok'] else '--'} +{finding['name']}", done.stdout, re.MULTILINE)
        assert finding["state"] in done.stdout
        assert finding["ok"] or finding["name"] == "disk" or "pip install" in finding["state"]
    assert not list(tmp_path.iterdir())


def test_summary(tmp_path: Path) -> None:
    done = scratchnn("summary", "lenet", "--batch-size", 2, "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    said = last_line(done.stdout)
    assert said["model"] == "lenet" and said["batch_size"] == 2
    shapes = [tuple(layer["output"]) for layer in said["layers"]]
    assert shapes[:2] == [(2, 6, 28, 28), (2, 6, 14, 14)] and shapes[-1] == (2, 10)
    assert said["params"] == 6 * 25 + 6 + 16 * 6 * 25 + 16 + 10 * 400 + 10
    convolutions = 2 * 2 * (28 * 28 * 6 * 25 + 10 * 10 * 16 * 150)
    assert [layer["flops"] for layer in said["layers"] if "Conv2d" in layer["layer"]] == [
        2 * 2 * 28 * 28 * 6 * 25,
        convolutions - 2 * 2 * 28 * 28 * 6 * 25,
    ]
    assert "2x16x5x5" in done.stdout and "6,582" in done.stdout


def test_train(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, said = trained
    assert list(said)[:4] == ["model", "test_accuracy", "test_error_percent", "seconds"]
    assert said["model"] == "lenet" and said["steps"] == 25 and said["run"] == str(folder)
    assert 0 <= said["test_accuracy"] <= 1 and said["seconds"] > 0
    assert Run.reopen(folder).result() == said
    recipe = Run.reopen(folder).config["recipe"]
    assert recipe["epochs"] == 1 and recipe["batch_size"] == 20 and recipe["lr"] == lenet.Recipe().lr
    environment = json.loads((folder / "environment.json").read_text())
    assert {"python", "numpy", "processor", "cores", "commit"} <= environment.keys()


def test_evaluate(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, said = trained
    done = scratchnn("evaluate", folder, "--threads", 1, "--json")
    assert done.returncode == 0 and not done.stderr
    assert last_line(done.stdout) == {
        name: said[name] for name in ("model", "run", "test_accuracy", "test_error_percent")
    }


def test_morph_wants_a_model_with_a_code(trained: tuple[Path, dict[str, Any]]) -> None:
    for model, problem in (("vae", "is a run of lenet, not of vae"), ("lenet", "LeNet has no one code to go through")):
        done = scratchnn("morph", model, trained[0])
        assert done.returncode == 1 and problem in done.stderr and not done.stdout


def test_data(tmp_path: Path) -> None:
    done = scratchnn("data", "mnist", "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    said = last_line(done.stdout)
    assert said["name"] == "mnist" and done.stdout.startswith(f"mnist: {said['state']}")


def test_options_reach_the_recipe_and_resume_keeps_them(tmp_path: Path) -> None:
    options = {"epochs": 1, "batch_size": 50, "lr": 0.01}
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    done = scratchnn("train", "lenet", *arguments, "--seed", 5, "--out", tmp_path / "run", "--threads", 1, interrupt=3)
    assert done.returncode == 130
    config = Run.reopen(tmp_path / "run").config
    assert config["seed"] == 5 and options.items() <= config["recipe"].items()
    done = scratchnn("train", "lenet", "--resume", tmp_path / "run", "--threads", 1, "--json")
    assert last_line(done.stdout)["steps"] == 10 and last_line(done.stdout)["seed"] == 5


def test_several_seeds_and_their_record(tmp_path: Path) -> None:
    arguments = ("train", "lenet", "--seeds", 2, "--epochs", 1, "--results", tmp_path / "lenet.json", "--json")
    stopped = scratchnn(*arguments, cwd=tmp_path, interrupt=3)
    assert stopped.returncode == 130 and not (tmp_path / "lenet.json").exists()
    goes_on = f"go on with: scratchnn train lenet --seeds 2 --epochs 1 --results {tmp_path / 'lenet.json'} --json"
    assert stopped.stderr.splitlines()[-1] == goes_on
    done = scratchnn(*arguments, cwd=tmp_path)
    assert done.returncode == 0 and "goes on at step 4 of 25" in done.stderr
    said = last_line(done.stdout)
    (record,) = json.loads((tmp_path / "lenet.json").read_text())
    assert record.keys() >= {
        "model", "metric", "value", "std", "seeds", "higher_is_better", "reference", "reference_source", "command",
        "commit", "seconds", "device",
    }  # fmt: skip
    assert record["metric"] == "test_error_percent" and record["seeds"] == [0, 1] == said["seeds"]
    found = said["metrics"]["test_error_percent"]
    assert record["value"] == pytest.approx(sum(found["values"]) / 2) == pytest.approx(found["mean"])
    assert record["std"] == pytest.approx(found["std"], abs=1e-6) and found["std"] > 0
    again = scratchnn("evaluate", "lenet", "--seeds", 2, "--json", cwd=tmp_path)  # of other runs: the recipe's epochs
    assert again.returncode == 1 and "holds a run with another recipe" in again.stderr
    assert record["command"].startswith("scratchnn train lenet --seeds 2")
    other = scratchnn("train", "lenet", "--seeds", 2, "--epochs", 2, cwd=tmp_path)
    assert other.returncode == 1 and "holds a run with another recipe; choose another --out" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        ("train lent", 1, "error: there is no model 'lent'; there is: lenet, "),
        ("summary lent", 1, "error: there is no model 'lent'; there is: lenet, "),
        ("train lenet --data cifar", 1, "error: no data set is called 'cifar'; there are: mnist"),
        ("data cifar", 1, "error: no data set is called 'cifar'; there are: mnist"),
        ("evaluate nowhere", 1, "error: nowhere holds no run: config.toml cannot be read (No such file"),
        ("train lenet --resume nowhere", 1, "error: nowhere holds no run: config.toml cannot be read"),
        ("train lenet --lr 0", 1, "error: the learning rate is 0.0; a number above 0 is expected"),
        ("train lenet --lr -1", 1, "error: the learning rate is -1.0;"),
        ("train lenet --lr nan", 1, "error: the learning rate is nan;"),
        ("train lenet --lr inf", 1, "error: the learning rate is inf;"),
        ("train lenet --batch-size 501", 1, "error: the batch size is 501; mnist has 500 images to train on"),
        ("train lenet --out /dev/null/run", 1, "error: /dev/null/run/environment.json: cannot be written: "),
        ("train lenet --set rotation=much", 1, "error: --set rotation=much: float is expected"),
        ("train lenet --set spin=3", 1, "error: --set spin=3: NAME=VALUE is expected, with a name among data, epochs"),
        ("train pca --epochs 3", 1, "error: this model's recipe has no epochs; it has data, code, validation"),
        ("shapes conv", 1, "error: 'conv' is no convolution; \"conv 3x3 s2 p1 d2 3->16\" or"),
        ("morph vae nowhere", 1, "error: nowhere holds no run: config.toml cannot be read"),
        ("train", 2, "Missing argument 'model'"),
        ("trian", 2, "No such command 'trian'"),
        ("train lenet --epoch 3 --nonsense", 2, "No such option"),
        ("train lenet --lr fast", 2, "Invalid value for '--lr'"),
        ("train lenet --epochs 0", 2, "Invalid value for '--epochs'"),
        ("train lenet --epochs 1.5", 2, "Invalid value for '--epochs'"),
        ("train lenet --batch-size 0", 2, "Invalid value for '--batch-size'"),
        ("train lenet --seed -1", 2, "Invalid value for '--seed'"),
        ("train lenet --seeds 0", 2, "Invalid value for '--seeds'"),
        ("train lenet --hash-every 0", 2, "Invalid value for '--hash-every'"),
        ("compare here there", 2, "error: here holds no run: config.toml cannot be read (No such file"),
        ("train lenet --threads 0", 2, "Invalid value for '--threads'"),
        ("train lenet --results r.json", 2, "--results needs --seeds"),
        ("train lenet --seeds 2 --seed 3", 2, "--seed is for one run, --seeds for several"),
        *(
            (f"train lenet --resume run {more}", 2, "a resumed run keeps its configuration")
            for more in (
                "--epochs 3",
                "--lr 0.1",
                "--seed 1",
                "--out other",
                "--seeds 2",
                "--data mnist",
                "--set shift=1",
                "--hash-every 1",
                "--deterministic",
            )
        ),
    ],
)
def test_mistakes(arguments: str, code: int, problem: str, call: Call, tmp_path: Path) -> None:
    got, out, err = call(*arguments.split())
    assert got == code and problem in words(err)
    assert not out and "Traceback" not in err and (code == 2 or err.count("\n") == 1)
    assert not list(tmp_path.iterdir())  # nothing left behind


def test_a_mistake_in_a_real_process(tmp_path: Path) -> None:
    done = scratchnn("train", "lenet", "--data", "cifar", "--json", cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == "error: no data set is called 'cifar'; there are: mnist, fashion_mnist, emoji, faces\n"


def test_an_existing_run_is_not_overwritten(call: Call, trained: tuple[Path, dict[str, Any]]) -> None:
    folder = trained[0]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, err = call("train", "lenet", "--out", folder)
    assert (code, out) == (1, "")
    expected = f"error: {folder} holds a run already: go on with it by --resume {folder}, or choose another --out\n"
    assert err == expected
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


EDITS = {
    "of another model": ('model = "lenet"', 'model = "vae"', "is a run of vae, not of lenet"),
    "of an unknown field": ("warmup", "warm_up", "config.toml does not fit this version's recipe: warm_up, warmup"),
    "with a lacking field": ("elastic = 0.7\n", "", "config.toml does not fit this version's recipe: elastic"),
    "with a wrong type": ("epochs = 2", 'epochs = "2"', "config.toml: epochs is '2'; int is expected"),
    "with a wrong value": ("epochs = 2", "epochs = 0", "the number of epochs is 0; 1 or more is expected"),
    "of unknown data": ('data = "mnist"', 'data = "cifar"', "no data set is called 'cifar'; there are: mnist"),
    "that is no TOML": ("[recipe]", "[recipe", "config.toml is damaged"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_run_that_does_not_fit_is_not_gone_on_with(edit: str, call: Call, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"model": "lenet", "seed": 0, "recipe": asdict(lenet.Recipe())})
    config = run.folder / "config.toml"
    old, new, problem = EDITS[edit]
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    code, out, err = call("train", "lenet", "--resume", "run")
    assert code == 1 and not out and err.startswith("error: ") and problem in err and err.count("\n") == 1
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.toml", "environment.json"]


def test_an_unfinished_run_is_not_evaluated(call: Call, tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {"model": "lenet", "seed": 0, "recipe": asdict(lenet.Recipe())})
    code, out, err = call("evaluate", "run")
    assert (code, out) == (1, "")
    assert err == "error: run is not finished; go on with: scratchnn train lenet --resume run\n"


def test_damaged_weights_are_named(call: Call, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained[0], tmp_path / "run"))
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, out, err = call("evaluate", "run")
    assert code == 1 and not out and err.startswith("error: run/weights.safetensors is damaged")
