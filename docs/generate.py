"""Fill the README's table of results from results/*.json, and copy its pictures from a run; --check changes nothing."""

import argparse
import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README, RESULTS, PICTURES = ROOT / "README.md", ROOT / "results", ROOT / "docs" / "pictures"
BEGIN, END = "<!-- results: made by `make readme` -->\n", "<!-- end of results -->"


def table() -> str:
    """One line a record."""
    lines = ["| model | measured | value | reference | seeds | command |", "|---|---|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        for record in found if isinstance(found, list) else []:  # mutation.json is no model's
            value = f"**{record['value']:.2f}** ± {record['std']:.2f}"
            reference = f"{record['reference']} ({record['reference_source']})"
            name = record["metric"].replace("_", " ")
            seeds = len(record["seeds"])
            lines.append(f"| {record['model']} | {name} | {value} | {reference} | {seeds} | `{record['command']}` |")
    return "\n".join(lines) + "\n"


def filled(readme: str) -> str:
    """The README with a fresh table between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def main() -> None:
    """Write the README, or with --check fail if it is not what the results make it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the README has drifted from results/")
    parser.add_argument("--run", type=Path, help="copy the pictures of this run folder into docs/pictures")
    options = parser.parse_args()
    readme = README.read_text()
    if options.check:
        if filled(readme) != readme:
            sys.exit("README.md has drifted from results/*.json: run `make readme`")
        return
    README.write_text(filled(readme))
    if options.run:
        PICTURES.mkdir(exist_ok=True)
        for picture in sorted(options.run.glob("*.png")):
            shutil.copy(picture, PICTURES / f"lenet-{picture.name}")


if __name__ == "__main__":
    main()
