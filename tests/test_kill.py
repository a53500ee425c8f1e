"""Twenty kill -9 while checkpoints are written; `make kill` makes it two hundred."""

import sys
from pathlib import Path

import pytest

import kill

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")


def test_twenty_kills(tmp_path: Path) -> None:
    done = kill.kill(tmp_path, 20)
    assert done.kills == 20 and done.acknowledged >= 20
    assert done.temporaries, "no kill came in the middle of a write: this test showed nothing"


IN_PLACE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import kill
from scratchnn import files, weights
weights.write_atomic = lambda path, data: (path.parent.mkdir(parents=True, exist_ok=True), path.write_bytes(data))
kill.write(Path(sys.argv[-1]))
"""


def test_a_writer_in_place_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "in_place.py"
    child.write_text(IN_PLACE)
    monkeypatch.setattr(kill, "__file__", str(child))
    with pytest.raises(UserWarning, match="is damaged or no safetensors file"):
        kill.kill(tmp_path / "checkpoints", 60)
