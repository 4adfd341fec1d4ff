"""Numbers in the prose that come from a record, and stay equal to it.

    python book/tools/bind_numbers.py           check: exit 1 where a page and a record differ
    python book/tools/bind_numbers.py --write   put the records' values into the pages

A bound number follows a comment with the record's file stem (of book/records/*.json or, for what chapters load,
blueberry_lib/recorded/*.json), a dotted path into it and, if its own digits do not show it, a format:

    <!--num:first_run:val_loss-->3.61                     as many decimals as are written
    <!--num:first_run:tokens:,-->1,048,576                any Python format
    <!--num:first_run:dollars*100:.2f-->0.31              scaled
    <!--text:first_run:hardware.name-->AMD EPYC<!--/-->   a text, up to the closing comment

In a notebook the stem ``out`` stands for the notebook's own stored text output, and the path for the words before the
number, with underscores for spaces, on the one line that has them; ``.2`` takes the second number after them:

    <!--num:out:bits_per_byte-->1.52

A comment must not begin a line: Markdown would end the paragraph there.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ("book/records", "blueberry_lib/recorded")
NUMBER = r"[-+]?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[-+]?\d+)?%?"
BOUND = re.compile(
    r"<!--num:(?P<stem>\w+):(?P<path>[\w.-]+)(?:\*(?P<scale>[\d.e+-]+))?(?::(?P<form>[^>]*?))?-->"
    rf"(?P<number>{NUMBER})?"
    r"|<!--text:(?P<text_stem>\w+):(?P<text_path>[\w.]+)-->(?P<text>.*?)<!--/-->",
    re.DOTALL,
)


class BindingError(Exception):
    """A comment that names no value."""


def printed(output: str, path: str) -> float:
    """The number after some words on the one line of a notebook's output that has them."""
    label, _, index = path.partition(".")
    words = re.escape(label).replace("_", "[ _]")
    lines = [match[1] for match in re.finditer(rf"^.*?\b{words}\b(.*)$", output, re.MULTILINE)]
    if len(lines) != 1:
        raise BindingError(f"{len(lines)} lines of output have {label!r}; one should")
    numbers = re.findall(NUMBER, lines[0])
    if len(numbers) < int(index or 1):
        raise BindingError(f"there is no number {index or 1} after {label!r} in the output")
    number = numbers[int(index or 1) - 1].replace(",", "")
    return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)


def look_up(root: Path, stem: str, path: str):
    """The value at a dotted path of a record; numbers in the path index lists, and 1_5 is the key 1.5."""
    file = next((f for folder in RECORDS if (f := root / folder / f"{stem}.json").exists()), None)
    if file is None:
        raise BindingError(f"there is no {stem}.json in {' or '.join(RECORDS)}")
    value = json.loads(file.read_text(encoding="utf-8"))
    for key in path.split("."):
        try:
            value = value[int(key) if isinstance(value, list) else key if key in value else key.replace("_", ".")]
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


def bound_value(match: re.Match, root: Path, output: str) -> tuple[str, str]:
    """What stands after a comment, and what its record has."""
    if match["stem"] is None:
        return match["text"], str(look_up(root, match["text_stem"], match["text_path"]))
    stem, path = match["stem"], match["path"]
    value = printed(output, path) if stem == "out" else look_up(root, stem, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BindingError(f"{match['stem']}:{match['path']} is {value!r}, not a number")
    written = match["number"] or ""
    return written, show(value * float(match["scale"]) if match["scale"] else value, match["form"], written)


def bound(text: str, root: Path, output: str = "") -> tuple[str, list[str], list[str]]:
    """The text with every bound value as its record has it, what changed, and what cannot be bound."""
    changes, faults, seen = [], [], set()

    def put(match: re.Match) -> str:
        seen.add(match.start())
        if not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip():
            faults.append(f"a line begins with {match[0]}; put a word before it")
            return match[0]
        try:
            old, new = bound_value(match, root, output)
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


def notebooks(root: Path = ROOT) -> list[Path]:
    """The notebooks that are written by hand: those of the learners are made from the solutions."""
    return sorted([*root.glob("notebooks/*.ipynb"), *root.glob("exercises/solutions/*.ipynb")])


def text_outputs(notebook: dict) -> str:
    """All that a notebook's cells printed."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return "\n".join("".join(o.get("text") or o.get("data", {}).get("text/plain", ())) for o in outputs)


def bind_notebook(text: str, root: Path) -> tuple[str, list[str], list[str]]:
    """As ``bound``, for the Markdown cells of a notebook."""
    notebook, changes, faults = json.loads(text), [], []
    output = text_outputs(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            new, changed, wrong = bound("".join(cell["source"]), root, output)
            cell["source"] = new.splitlines(keepends=True)
            changes, faults = changes + changed, faults + wrong
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n" if changes else text, changes, faults


def run(root: Path = ROOT, write: bool = False) -> list[str]:
    """What differs, a line each; with ``write`` the pages are mended, and only what cannot be is left."""
    complaints = []
    for page in [*pages(root), *notebooks(root)]:
        text = page.read_text(encoding="utf-8")
        new, changes, faults = (bind_notebook if page.suffix == ".ipynb" else bound)(text, root)
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
