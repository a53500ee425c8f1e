"""From CUDA C++ to a shared library: g++ with the emulator's headers in front, and a cache of what was compiled."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HEADERS = Path(__file__).parent / "include"
COMMON = (
    "-std=c++20", "-O1", "-g1", "-fPIC", "-fno-strict-aliasing", "-fno-gnu-unique", "-fvisibility=hidden",
    "-ffp-contract=off", "-Wno-attributes", "-Wno-unknown-pragmas",
)  # fmt: skip
# bounds-strict: the last array of a struct, too, has the length that it says.
UNDEFINED = (
    "-fsanitize=undefined", "-fsanitize=bounds-strict", "-fsanitize-undefined-trap-on-error", "-fno-sanitize=vptr",
)  # fmt: skip
RACES = ("-fsanitize=thread",)
# `extern __shared__ T name[];` declares memory that only a launch knows the size of.
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w:]+(?:\s+\w+)*?)\s+(\w+)\s*\[\s*\]\s*;")


class DrywarpError(RuntimeError):
    """A kernel that does not compile, a launch that cannot be, or a bug that was seen."""


def library(code: str, names: Sequence[str], options: Sequence[str], races: bool) -> Path:
    """The shared library of this source with an entry point for each of the kernels, compiled unless it was before."""
    exports = [f"DRYWARP_EXPORT({i}, {name})" for i, name in enumerate(names)]
    code = DYNAMIC.sub(r"\1 *\2 = drywarp::dynamic_shared<\1>();", code)
    source = "\n".join(['#line 1 "kernel.cu"', code, *exports, "DRYWARP_MAIN()", ""])
    flags = [*COMMON, *(RACES if races else UNDEFINED), *(o for o in options if o.startswith(("-D", "-I")))]
    header = _precompiled(tuple(flags))
    path = header.parent / f"{_key(source)}.so"
    if not path.exists():
        words = [_compiler(), *flags, "-shared", "-include", str(header), "-x", "c++", "-"]
        _run(words, path, source)
    return path


@cache
def _precompiled(flags: tuple[str, ...]) -> Path:
    """The emulator's headers in a folder of their own for these flags, compiled ahead: that halves the time."""
    texts = {path.name: path.read_text() for path in sorted(HEADERS.glob("*.h"))}
    folder = _cache() / _key(*flags, *texts.values())
    header = folder / "drywarp.h"
    ready = folder / "drywarp.h.gch"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            _replace(folder / name, text)
        _run([_compiler(), *flags, "-x", "c++-header", str(header)], ready)
    return header


def _run(words: list[str], target: Path, source: str | None = None) -> None:
    """Compile into a file of another name first: another process may be doing the same."""
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run([*words, "-o", str(draft)], input=source, text=True, capture_output=True)
    if done.returncode:
        raise DrywarpError(f"g++ does not compile this:\n{done.stderr[:4000]}")
    draft.replace(target)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def _key(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


def _cache() -> Path:
    base = os.environ.get("DRYWARP_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "drywarp"


@cache
def _compiler() -> str:
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        raise DrywarpError("drywarp compiles kernels with g++, which is not here; install it, or set CXX")
    return found
