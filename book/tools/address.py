"""Change the project's address everywhere: configuration, badges, clone commands, the first cells of notebooks.

    python book/tools/address.py OWNER/NAME

The old address is the one in _config.yml. The publishing workflow runs this with its own repository's name, so that the
pages of a fork point to the fork. Links to the history of the original records stay.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "*.cff", "_config.yml", "pyproject.toml", "book/*.md", "notebooks/*.ipynb", "exercises/**/*.ipynb")
PLACES += (".github/**/*.yml", ".github/**/*.md")
HISTORY = r"(?!/blob/main/docs/LEADERBOARD|/pull/\d)"


def address(root: Path = ROOT) -> str:
    """The address in _config.yml, as OWNER/NAME."""
    config = (root / "_config.yml").read_text(encoding="utf-8")
    return re.search(r"url: https://github\.com/([\w.-]+/[\w.-]+)", config)[1]


def change(new: str, root: Path = ROOT) -> list[Path]:
    """Write the new address into every file that holds the old one; returns those files."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", new):
        raise SystemExit(f"error: {new!r} is not OWNER/NAME.")
    old = address(root)
    names = re.escape(old.split("/")[1]), new.split("/")[1]
    changed = []
    for path in sorted({path for place in PLACES for path in root.glob(place)}):
        text = path.read_bytes().decode()
        made = re.sub(rf"(github(?:\.com)?/){re.escape(old)}(?![\w-]){HISTORY}", rf"\g<1>{new}", text)
        if path.suffix == ".md":
            made = re.sub(rf"(?m)^cd {names[0]}(?=\r?$)", f"cd {names[1]}", made)
        if made != text:
            path.write_bytes(made.encode())
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(f"{address()} → {sys.argv[1]}: {len(change(sys.argv[1]))} files changed.")
