"""What a command says at its end: for people line by line, for scripts as one line of JSON."""

import json as jsonlib
from typing import Any

import typer


def show(report: dict[str, Any]) -> None:
    """One line a number."""
    for name, value in report.items():
        if name == "metrics":
            for metric, found in value.items():
                spread = "" if found["std"] is None else f" ± {found['std']:.3g}"
                typer.echo(f"{metric:20} {found['mean']:.5g}{spread}")
            continue
        typer.echo(f"{name:20} {'  '.join(map(str, value)) if isinstance(value, list) else value}")


def last_line(json: bool, content: dict[str, Any]) -> None:
    """With --json, the one line that scripts read: the last of stdout."""
    if json:
        typer.echo(jsonlib.dumps(content))
