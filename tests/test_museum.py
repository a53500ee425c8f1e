"""The bug museum: its page is what its exhibits make it, and each exhibit is what the page says."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchnn.gradcheck import GradcheckError

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))  # docs/museum.py is run from there
museum = importlib.import_module("museum")
smallest = importlib.import_module("exhibits.smallest")
visitors = importlib.import_module("exhibits.visitors")

EXHIBITS = museum.EXHIBITS
BEYOND_GRADCHECK = {"forward oracle": visitors.forward_oracle, "float32 stays float32": visitors.float32_stays}
each = pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.wrong.__name__)


def test_there_are_enough_different_exhibits() -> None:
    assert len(EXHIBITS) >= 25
    for names in ([e.title for e in EXHIBITS], [museum.anchor(e) for e in EXHIBITS]):
        assert len(set(names)) == len(names)


def test_the_page_has_not_drifted() -> None:
    assert museum.PAGE.read_text() == museum.page(), "run `python docs/museum.py`"


@each
def test_the_wrong_layer_is_rejected_by_the_law_that_is_named(exhibit: Any) -> None:
    if law := BEYOND_GRADCHECK.get(exhibit.caught_by):
        assert not law(exhibit, exhibit.wrong)
        visitors.caught(exhibit, exhibit.wrong)  # and gradcheck has nothing against it, which is the point
    else:
        with pytest.raises(GradcheckError) as error:
            visitors.caught(exhibit, exhibit.wrong)
        assert error.value.check == exhibit.caught_by


@each
def test_no_message_hangs_on_the_last_digits(exhibit: Any) -> None:
    """Another machine's exp may differ there, and must make the same page."""
    said = museum.message(exhibit)
    if exhibit.caught_by not in BEYOND_GRADCHECK and "equally wrong" not in said:
        assert {museum.complaint(exhibit, noise) for noise in range(5, 10)} == {said}


@each
def test_the_right_layer_is_accepted_by_every_test(exhibit: Any) -> None:
    for name, visitor in visitors.VISITORS.items():
        with np.errstate(over="ignore"):
            assert visitor(exhibit, exhibit.right), name


@each
def test_the_mistake_is_one_method_or_two(exhibit: Any) -> None:
    changed = [name for name in vars(exhibit.wrong) if not name.startswith("__")]
    assert 1 <= len(changed) <= 2
    assert all(hasattr(exhibit.right, name) for name in changed)


@each
def test_the_smallest_example_differs_and_none_is_smaller(exhibit: Any) -> None:
    example = smallest.smallest(exhibit)
    if not isinstance(example.got, str):
        assert any(
            example.expected[name].shape != got.shape or not np.array_equal(example.expected[name], got)
            for name, got in example.got.items()
        )
    x = next(a for name, a in example.given.items() if name.startswith("x"))
    assert x.size <= 12
    for shape in smallest.shapes(exhibit.shape):
        if int(np.prod(shape)) < x.size:
            assert all(smallest.example_at(exhibit, shape, draw) is None for draw in range(smallest.DRAWS))


def test_every_weak_test_misses_something_and_sees_something() -> None:
    for name in visitors.VISITORS:
        seen = sum(museum.sees(exhibit, name) for exhibit in EXHIBITS)
        assert 0 < seen < len(EXHIBITS), name


def test_a_law_sees_every_exhibit() -> None:
    assert all(any(museum.sees(exhibit, name) for name in museum.OURS) for exhibit in EXHIBITS)


def test_drift_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(museum, "PAGE", page)
    monkeypatch.setattr(museum, "page", lambda: "as made")
    monkeypatch.setattr(sys, "argv", ["museum.py", "--check"])
    for text in (None, "edited by hand"):
        if text is not None:
            page.write_text(text)
        with pytest.raises(SystemExit, match="has drifted"):
            museum.main()
    page.write_text("as made")
    museum.main()


def test_the_checker_on_display_accepts_what_the_right_one_rejects() -> None:
    wrong, right = museum.checker.wrong_error, museum.checker.right_error
    size = museum.checker.smallest_accepted(wrong)
    assert size is not None
    assert museum.checker.smallest_accepted(right) is None
    ones = np.ones(4 * size)
    assert wrong(ones, ones) == right(ones, ones) == 0
