"""Small faults in CUDA C++, made in its text: where one may be, and what it puts there.

The sources are spaced in one way, which tells an operator from a template's bracket or a pointer's star: operators have
spaces around them. Comments, preprocessor lines, templates' heads, assertions and what only a GPU compiles (PTX) are
left alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OPERATORS = {
    "+": "-", "-": "+", "*": "+", "/": "*", "%": "/", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=",
    "!=": "==", "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "|": "&", "&": "|", ">>": "<<", "<<": ">>", "^": "|",
}  # fmt: skip
OPERATOR = re.compile(r"(?<= )(\+=|-=|&&|\|\||<=|>=|==|!=|<<|>>|[-+*/%<>|&^])(?= )")
NUMBER = re.compile(r"(?<![\w.<])(\d+)(?![\w.])(?=[^\n]*[;{),:\]])")
CALL = re.compile(r"\b(min|max)\(")
DROPPED = re.compile(r"(__syncthreads\(\);|async_wait\([^\n;]*\);|async_commit\(\);|\bcontinue;|\bbreak;)")
GUARD = re.compile(r"\bif \((?=[^\n]*\) (?:return|continue|\{|[\w(*]))")
LEFT_ALONE = re.compile(r"^\s*(#|//|template <|static_assert|asm\b|:|\"|typedef|enum|extern)|//.*$")


class Mutant(NamedTuple):
    """A fault: its id, the text of the file with it, and the line before and after."""

    id: str
    file: str
    text: str
    change: str


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of a file, in its order."""
    text, found, counts = path.read_text(), [], dict[str, int]()
    for start, end, new, kind in sorted(_faults(text)):
        line = text.count("\n", 0, start) + 1
        key = f"{path.name}:{line}:{kind}"
        number = counts[key] = counts.get(key, -1) + 1
        mutated = text[:start] + new + text[end:]
        before, after = (t.splitlines()[line - 1].strip() for t in (text, mutated))
        found.append(Mutant(f"{key}:{number}", path.name, mutated, f"{before}  ->  {after}"))
    return found


def _faults(text: str) -> Iterator[tuple[int, int, str, str]]:
    for start, line in _lines(text):
        for match in OPERATOR.finditer(line):
            yield start + match.start(), start + match.end(), OPERATORS[match[1]], "operator"
        for match in NUMBER.finditer(line):
            yield start + match.start(), start + match.end(), str(int(match[1]) + 1), "number"
        for match in CALL.finditer(line):
            yield start + match.start(), start + match.end(), {"min": "max(", "max": "min("}[match[1]], "call"
        for match in DROPPED.finditer(line):
            yield start + match.start(), start + match.end(), ";", "drop"
        for match in GUARD.finditer(line):
            yield start + match.end(), start + match.end(), "false && ", "never"
            yield start + match.end(), start + match.end(), "true || ", "always"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(offset, line) of the lines that may be changed, without their comments."""
    offset, only_on_a_gpu = 0, False
    for line in text.splitlines(keepends=True):
        only_on_a_gpu = line.startswith("#elif __CUDA_ARCH__") or (only_on_a_gpu and not line.startswith("#endif"))
        left = LEFT_ALONE.search(line)
        if not only_on_a_gpu and (left is None or left.start() > 0):
            yield offset, line if left is None else line[: left.start()]
        offset += len(line)
