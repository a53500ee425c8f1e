"""A loss of several terms, each logged by its name beside its weight, sign included: loss = sum of weight * term."""

from collections.abc import Mapping

from scratchnn.layer import Array


def logged(terms: Mapping[str, tuple[float, float | Array]]) -> dict[str, float]:
    """{"name": (weight, value)} as what a step logs: the loss, each value, and each weight as "name_weight"."""
    values = {name: float(value) for name, (_, value) in terms.items()}
    weights = {f"{name}_weight": weight for name, (weight, _) in terms.items()}
    return {"loss": sum(weight * float(value) for weight, value in terms.values()), **values, **weights}
