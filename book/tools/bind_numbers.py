"""Numbers in the prose that come from a record, and stay equal to it.

    python book/tools/bind_numbers.py           check: exit 1 where a page and a record differ
    python book/tools/bind_numbers.py --write   put the records' values into the pages

A bound number follows a comment with the record's file stem (of book/records/*.json), a dotted path into it and,
if its own digits do not show it, a format:

    <!--num:first_run:val_loss-->3.61                     as many decimals as are written
    <!--num:first_run:tokens:,-->1,048,576                any Python format
    <!--num:first_run:dollars*100:.2f-->0.31              scaled
    <!--text:first_run:hardware.name-->AMD EPYC<!--/-->   a text, up to the closing comment

A comment must not begin a line: Markdown would end the paragraph there.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"-?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[-+]?\d+)?%?"
BOUND = re.compile(
    r"<!--num:(?P<stem>\w+):(?P<path>[\w.]+)(?:\*(?P<scale>[\d.e+-]+))?(?::(?P<form>[^>]*?))?-->"
    rf"(?P<number>{NUMBER})?"
    r"|<!--text:(?P<text_stem>\w+):(?P<text_path>[\w.]+)-->(?P<text>.*?)<!--/-->",
    re.DOTALL,
)


class BindingError(Exception):
    """A comment that names no value."""


def look_up(records: Path, stem: str, path: str):
    """The value at a dotted path of a record; numbers in the path index lists."""
    file = records / f"{stem}.json"
    if not file.exists():
        raise BindingError(f"there is no {file}")
    value = json.loads(file.read_text(encoding="utf-8"))
    for key in path.split("."):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise BindingError(f"{file} has nothing at {path!r} (stopped at {key!r})") from None
    return value


def show(value: float, form: str | None, written: str) -> str:
    """A value as the page should write it: by its format, else like the number that stands there."""
    if form:
        return format(value, form)
    percent = "%" if written.endswith("%") else "f"
    decimals = len(written.rstrip("%").partition(".")[2])
    return format(value, f"{',' if ',' in written else ''}.{decimals}{percent}")


def bound_value(match: re.Match, records: Path) -> tuple[str, str]:
    """What stands after a comment, and what its record has."""
    if match["stem"] is None:
        return match["text"], str(look_up(records, match["text_stem"], match["text_path"]))
    value = look_up(records, match["stem"], match["path"])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BindingError(f"{match['stem']}:{match['path']} is {value!r}, not a number")
    written = match["number"] or ""
    return written, show(value * float(match["scale"]) if match["scale"] else value, match["form"], written)


def bound(text: str, records: Path) -> tuple[str, list[str], list[str]]:
    """The text with every bound value as its record has it, what changed, and what cannot be bound."""
    changes, faults, seen = [], [], set()

    def put(match: re.Match) -> str:
        seen.add(match.start())
        if not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip():
            faults.append(f"a line begins with {match[0]}; put a word before it")
            return match[0]
        try:
            old, new = bound_value(match, records)
        except BindingError as error:
            faults.append(str(error))
            return match[0]
        if old != new:
            changes.append(f"{match['path'] or match['text_path']}: {old!r}, the record has {new!r}")
        end = "" if match["stem"] else "<!--/-->"
        return match[0].removesuffix(old + end) + new + end

    new = BOUND.sub(put, text)
    for start in re.finditer("<!--(num|text):", text):
        if start.start() not in seen:
            faults.append(f"cannot be read: {text[start.start() :].splitlines()[0][:60]}")
    return new, changes, faults


def pages(root: Path = ROOT) -> list[Path]:
    return [*sorted((root / "book").glob("*.md")), *filter(Path.exists, [root / "README.md"])]


def run(root: Path = ROOT, write: bool = False) -> list[str]:
    """What differs, a line each; with ``write`` the pages are mended, and only what cannot be is left."""
    complaints = []
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        new, changes, faults = bound(text, root / "book" / "records")
        if write and changes:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(root)}: {len(changes)} values written")
            changes = []
        complaints += [f"{page.relative_to(root)}: {fault}" for fault in [*changes, *dict.fromkeys(faults)]]
    return complaints


if __name__ == "__main__":
    found = run(write="--write" in sys.argv[1:])
    print("\n".join(found) or "Every bound number agrees with its record.")
    sys.exit(bool(found))
