"""Which exercises are done: kept on this machine, no account; with a code to carry it elsewhere."""

import json
import os
import re
from pathlib import Path

from blueberry_checks import catalogue, chapters
from blueberry_lib.config import BlueberryError

FRESH = {"done": False, "attempts": 0, "hints": 0, "solution_seen": False}
CODE = re.compile(r"\d\d:\d+(\.\d+)*(-\d\d:\d+(\.\d+)*)*")


def file() -> Path:
    """Where progress is kept: BLUEBERRY_HOME, by default ~/.blueberry."""
    return Path(os.environ.get("BLUEBERRY_HOME", "~/.blueberry")).expanduser() / "progress.json"


def load() -> dict[str, dict]:
    """For each exercise tried: done, attempts, hints, solution_seen. A damaged file is set aside, and it says so."""
    if not file().exists():
        return {}
    try:
        known = json.loads(file().read_text(encoding="utf-8"))
        if all(FRESH.keys() <= entry.keys() for entry in known.values()):
            return known
    except (ValueError, AttributeError, OSError):
        pass
    aside = next(p for n in range(1, 1000) if not (p := file().with_name(f"progress-damaged-{n}.json")).exists())
    try:
        file().replace(aside)
        print(f"{file()} was damaged and is now {aside.name}; your progress code restores what was done.")
    except OSError as error:
        print(f"{file()} is damaged and cannot be set aside ({error}).")
    return {}


def update(name: str, **changes) -> dict:
    """Change what is kept of an exercise, by values or by functions of the old value; returns it as it is now.

    Where nothing can be written, it says so and goes on.
    """
    known = load()
    entry = known.setdefault(name, dict(FRESH))
    for key, change in changes.items():
        entry[key] = change(entry[key]) if callable(change) else change
    try:
        file().parent.mkdir(parents=True, exist_ok=True)
        temporary = file().with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(file())
    except OSError as error:
        print(f"Progress is not saved ({error}); set BLUEBERRY_HOME to a folder that can be written.")
    return entry


def code(known: dict[str, dict]) -> str:
    """What is done as a short text: 02:1.2.5-04:1 is exercises 02.1, 02.2, 02.5 and 04.1."""
    chapters: dict[str, list[str]] = {}
    for name in sorted(known):
        if known[name]["done"]:
            chapters.setdefault(name[:2], []).append(name[3:])
    return "-".join(f"{chapter}:{'.'.join(numbers)}" for chapter, numbers in chapters.items())


def restore(text: str) -> None:
    """Mark the exercises of a code as done, beside those that are. Raises BlueberryError for what is no code."""
    if not CODE.fullmatch(text):
        raise BlueberryError(f"{text!r} is no progress code; one looks like 02:1.2.5-04:1")
    names = [f"{part[:2]}.{number}" for part in text.split("-") for number in part[3:].split(".")]
    unknown = [name for name in names if name not in catalogue()]
    if unknown:
        raise BlueberryError(f"there is no exercise {unknown[0]} in this version of the course")
    for name in names:
        update(name, done=True)


def report() -> str:
    """Each chapter's exercises with a mark, the count, and the code."""
    known, lines = load(), []
    for chapter in chapters():
        lines.append(chapter.replace("_", " "))
        for name, text in catalogue().items():
            if text["chapter"] == chapter:
                lines.append(f"  {_mark(known.get(name))} {name} {text['title']}")
    done = sum(entry["done"] for entry in known.values())
    lines.append(f"\n{done} of {len(catalogue())} done ([x] done, [.] begun, [ ] not yet tried).")
    if done:
        lines.append(f"To restore this elsewhere: python -m blueberry_lib progress --restore {code(known)}")
    return "\n".join(lines)


def _mark(entry: dict | None) -> str:
    if entry is None:
        return "[ ]"
    return "[x]" if entry["done"] else "[.]"
