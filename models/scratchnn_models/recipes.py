"""What all recipes share: numbers that make sense, and changes by name from the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from typing import Any

from scratchnn.errors import ScratchnnError


def check(recipe: Any) -> None:
    """Raise unless the learning rate and the number of epochs can be followed; for a recipe's __post_init__."""
    if not (recipe.lr > 0 and isfinite(recipe.lr)):
        raise ScratchnnError(f"the learning rate is {recipe.lr}; a number above 0 is expected")
    if recipe.epochs < 1:
        raise ScratchnnError(f"the number of epochs is {recipe.epochs}; 1 or more is expected")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise unless the value is an allowed one."""
    if value not in allowed:
        raise ScratchnnError(f"{name} is {value!r}; one of {', '.join(allowed)} is expected")


def changed(recipe: Any, changes: Mapping[str, Any]) -> Any:
    """The recipe with these fields changed; an error for one that it does not have."""
    unknown = [name for name in changes if name not in asdict(recipe)]
    if unknown:
        raise ScratchnnError(f"this model's recipe has no {', '.join(unknown)}; it has {', '.join(asdict(recipe))}")
    return replace(recipe, **changes)


def changes(recipe: Any, settings: Sequence[str]) -> dict[str, Any]:
    """The fields that "name=value" settings change, each value of the type that the recipe has there."""
    own, changed = asdict(recipe), {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or name not in own:
            raise ScratchnnError(f"--set {setting}: NAME=VALUE is expected, with a name among {', '.join(own)}")
        changed[name] = _parsed(setting, text, type(own[name]))
    return changed


def _parsed(setting: str, text: str, kind: type) -> Any:
    if kind is bool and text in ("true", "false"):
        return text == "true"
    try:
        if kind is not bool:
            return kind(text)
    except ValueError:
        pass
    raise ScratchnnError(f"--set {setting}: {'true or false' if kind is bool else kind.__name__} is expected")
