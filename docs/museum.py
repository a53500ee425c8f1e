"""Make docs/bug-museum.md from docs/exhibits/: every number on the page is computed here. --check changes nothing."""

import argparse
import difflib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from exhibits import EXHIBITS, Exhibit, checker
from exhibits.exhibit import Array
from exhibits.smallest import smallest
from exhibits.visitors import VISITORS, caught, content, subject

from scratchnn.gradcheck import GradcheckError
from scratchnn.gradcheck.report import worst_element

PAGE = Path(__file__).parent / "bug-museum.md"
OURS = ("gradcheck", "outputs")  # the last two columns; the others are what people write

SETTINGS = ("window", "stride", "padding", "slope", "alpha")

INTRO = """\
# The bug museum

*Made by `python docs/museum.py` from the layers in `docs/exhibits/`; every number here was computed, none was typed.*

{count} ways to get a backward pass wrong. Each exhibit is a right layer with one mistake, a few lines long. Where a
real library was seen with it, the exhibit says so. With {falls} of them the loss falls all the same, so the first
question is not what the bug is, but **who would have noticed**.

| test | what it does |
|---|---|
| loss falls | thirty steps of gradient descent end lower than they began |
| batch of 1 | an exact gradient check, random cotangent, one sample |
| all-ones dy | an exact gradient check of `y.sum()` |
| default tolerances | central differences, one output at a time, PyTorch's defaults: eps 1e-6, rtol 1e-3, atol 1e-5 |
| default settings | an exact gradient check of the easy case: stride = window, no padding, no repeated index |
| exact gradient | complex step, random cotangent, a batch, awkward settings, nearly all digits |
| **gradcheck** | `scratchnn.gradcheck`: the same, and second order, ties, adding, purity, state, shapes |
| **outputs** | `y` equals an independent implementation's, and float32 stays float32; no gradient check shows it |

## Who sees what

● sees it, · is content with it. The first {weak} are tests as people write them, with random inputs; the last two are
what this library demands of every layer, and together they see everything.
"""


def overview() -> str:
    """Exhibit by test, and how many each test sees."""
    head = ["exhibit", *VISITORS]
    rows = [[sees(exhibit, name) for name in VISITORS] for exhibit in EXHIBITS]
    lines = ["| " + " | ".join(head) + " |", "|---|" + ":-:|" * len(VISITORS)]
    for number, (exhibit, row) in enumerate(zip(EXHIBITS, rows, strict=True), 1):
        marks = " | ".join("●" if seen else "·" for seen in row)
        lines.append(f"| [{number}. {exhibit.title}](#{anchor(exhibit)}) | {marks} |")
    totals = " | ".join(f"**{sum(column)}**" for column in zip(*rows, strict=True))
    hidden = sum(not any(row[: -len(OURS)]) for row in rows)
    end = f"{hidden} of the {len(EXHIBITS)} pass all of the first {len(VISITORS) - len(OURS)} tests together."
    return "\n".join([*lines, f"| **seen, of {len(EXHIBITS)}** | {totals} |", "", end])


def sees(exhibit: Exhibit, visitor: str) -> bool:
    """Whether this test rejects the wrong layer."""
    return not content(VISITORS[visitor], exhibit, exhibit.wrong)


def anchor(exhibit: Exhibit) -> str:
    """bias-of-first-sample, of BiasOfFirstSample."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", exhibit.wrong.__name__).lower()


def section(number: int, exhibit: Exhibit) -> str:
    """One exhibit: story, the lines, the smallest example, and what the law says."""
    seen = f" *{exhibit.seen}*" if exhibit.seen else ""
    content_with_it = [name for name in VISITORS if name not in OURS and not sees(exhibit, name)]
    missed = f"**Not seen by:** {', '.join(content_with_it)}." if content_with_it else "**Seen by every test.**"
    parts = [
        f'<a id="{anchor(exhibit)}"></a>\n\n### {number}. {exhibit.title}',
        exhibit.story + seen,
        f"```diff\n{lines_changed(exhibit)}\n```",
        f"The smallest example{' (in training)' if exhibit.train else ''}:",
        f"```text\n{example(exhibit)}\n```",
        f"{missed} **Caught by** {law(exhibit)}:",
        f"> {message(exhibit)}",
    ]
    return "\n\n".join(parts)


def law(exhibit: Exhibit) -> str:
    """The name of what catches it."""
    ours = exhibit.caught_by in ("forward oracle", "float32 stays float32")
    return f"the law *{exhibit.caught_by}*" if ours else f"gradcheck's check *{exhibit.caught_by}*"


def lines_changed(exhibit: Exhibit) -> str:
    """The mistake as a diff that mends it: - wrong, + right."""
    blocks = []
    for name, value in vars(exhibit.wrong).items():
        if name.startswith("__"):
            continue
        right = getattr(exhibit.right, name)
        pair = [source(value), source(right)] if callable(value) else [[f"{name} = {v}"] for v in (value, right)]
        blocks.append(diff(*pair))
    return "\n\n".join(blocks)


def diff(wrong: list[str], right: list[str]) -> str:
    """Every line, with its mark."""
    marked = list(difflib.unified_diff(wrong, right, n=99, lineterm=""))[3:]
    return "\n".join(f"{line[0]} {line[1:]}".rstrip() for line in marked)


def source(function: Callable[..., Any]) -> list[str]:
    """Its lines, without the class's indent."""
    return textwrap.dedent(inspect.getsource(function)).rstrip().splitlines()


def example(exhibit: Exhibit) -> str:
    """The smallest input at which it shows; of the results only what differs, with as many digits as that takes."""
    given, expected, got = smallest(exhibit)
    settings = [f"{name} {getattr(exhibit.right, name)}" for name in SETTINGS if hasattr(exhibit.right, name)]
    rows = [("settings", ", ".join(settings))] if settings else []
    rows += [(name, numbers(a)) for name, a in given.items()]
    if isinstance(got, str):
        rows += [("expected " + name, numbers(a)) for name, a in expected.items()] + [("got", got)]
    else:
        for name, a in expected.items():
            digits = next((d for d in range(4, 13) if numbers(a, d) != numbers(got[name], d)), None)
            if digits:
                rows += [("expected " + name, numbers(a, digits)), ("got", numbers(got[name], digits))]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def numbers(a: Array, digits: int = 4) -> str:
    """A nested list; what is only rounding error is 0."""
    if a.ndim:
        return "[" + ", ".join(numbers(row, digits) for row in a) + "]"
    if a.dtype.kind != "f":
        return str(a)
    return f"{0.0 if abs(float(a)) < 1e-9 else float(a):.{digits}g}"


def message(exhibit: Exhibit) -> str:
    """What the law says; of what hangs on the last digits of x (which of equal errors is worst) nothing."""
    if exhibit.caught_by == "forward oracle":
        right, wrong = (subject(exhibit, kind).forward()[0] for kind in (exhibit.right, exhibit.wrong))
        return f"y differs from the naive implementation's: {worst_element(right, wrong)}"
    if exhibit.caught_by == "float32 stays float32":
        return f"forward made {smallest(exhibit).got['dtype of y']} out of float32"  # type: ignore[index]
    said = [complaint(exhibit, noise) for noise in range(4)]
    if len(set(said)) > 1:
        worst = r"worst element \[.*?\]: expected \S+, got [^;\s]+"
        return re.sub(worst, "several elements are equally wrong", said[0])
    return said[0]


def complaint(exhibit: Exhibit, noise: int) -> str:
    """Gradcheck's message, with zeros for rounding errors."""
    try:
        caught(exhibit, exhibit.wrong, noise)
    except GradcheckError as error:
        return re.sub(r"(expected|got) -?\d[\d.]*e-(1[3-9]|[2-9]\d)", r"\1 0", str(error)).replace("got -0;", "got 0;")
    raise AssertionError(f"{exhibit.title}: gradcheck is content")


def guard() -> str:
    """The checker that is wrong itself."""
    size = checker.smallest_accepted(checker.wrong_error)
    assert size and checker.smallest_accepted(checker.right_error) is None
    ones = np.ones(size)
    wrong, right = (error(ones, checker.FACTOR * ones) for error in (checker.wrong_error, checker.right_error))
    changed = diff(source(checker.wrong_error), source(checker.right_error))
    return f"""## Who guards the guards

### {len(EXHIBITS) + 1}. The checker that accepts everything

A relative error needs the right denominator. The largest difference over the *sum* of all elements shrinks as
the array grows, and then any gradient will do. *SmallPebble's checker accepted a gradient 1234 times too large (the
mechanism shown here is ours).*

```diff
{changed}
```

The smallest example: a gradient of {size} ones, {checker.FACTOR:g} times too large, content below {checker.ENOUGH:g}.

```text
expected error  {right:.4f}   rejected
got             {wrong:.4f}   accepted
```

**Not seen by:** any test of a right layer, of any size. **Caught by** planted bugs: `tests/` holds wrong layers for
every check of `scratchnn.gradcheck`, and this page is such a test too. A check that cannot fail is a defect."""


def page() -> str:
    """The whole page."""
    falls = sum(not sees(exhibit, "loss falls") for exhibit in EXHIBITS)
    intro = INTRO.format(count=len(EXHIBITS) + 1, falls=falls, weak=len(VISITORS) - len(OURS))
    parts = [intro + "\n" + overview(), *rooms()]
    parts.append(guard())
    return "\n\n".join(parts) + "\n"


def rooms() -> Iterator[str]:
    """A heading a room, then its exhibits."""
    for room, group in groupby(enumerate(EXHIBITS, 1), lambda pair: pair[1].room):
        yield f"## {room}"
        yield from (section(number, exhibit) for number, exhibit in group)


def main() -> None:
    """Write the page, or with --check fail if it is not what the exhibits make it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the page has drifted from the exhibits")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made)
    elif not PAGE.exists() or PAGE.read_text() != made:
        sys.exit("docs/bug-museum.md has drifted from docs/exhibits: run `python docs/museum.py`")


if __name__ == "__main__":
    main()
