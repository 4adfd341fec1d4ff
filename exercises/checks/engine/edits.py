"""Mistakes written down as edits of the solution's own text.

    never there [warmdown]:
    total_steps - 1 - step ~> total_steps - step
    At the last step nothing should be left of the fall.

A block, set off by blank lines, is a name with an optional anchor (without this line, the edit is the name), a line
for each edit, and the message. An edit replaces every occurrence; `old ~> new && old ~> new` makes two at once; \\n in
the new text begins a new line of the function's body; a line that ends with a backslash goes on in the next.
"""

import math
import re
from collections.abc import Callable, Iterator

import torch

from blueberry_checks.engine.rules import Mistake

HEADER = re.compile(r"([^~]+?)(?: \[([\w-]+)\])?:")


def compiled(source: str) -> Callable:
    """The function that a source text defines; torch, math and F are at hand."""
    space = {"torch": torch, "math": math, "F": torch.nn.functional, "__name__": "solution"}
    before = set(space)
    exec(source, space)
    return next(value for name, value in space.items() if name not in before and name != "__builtins__")


def edited(source: str, edit: str) -> Callable:
    """The solution after an edit. Raises ValueError for one that fits nowhere."""
    for change in edit.split(" && "):
        old, _, new = (part.strip() for part in change.partition("~>"))
        if old not in source:
            raise ValueError(f"the edit {change!r} fits nowhere in the solution")
        source = source.replace(old, new.replace("\\n", "\n    "))
    return compiled(source)


def mistakes(edits: str, source: str, section: str) -> Iterator[Mistake]:
    """The mistakes of blocks of edits; those without an anchor of their own have the given section."""
    for block in re.split(r"\n\s*\n", re.sub(r"\s*\\\n\s*", " ", edits.strip())):
        lines = [line.strip() for line in block.splitlines()]
        header = HEADER.fullmatch(lines[0])
        changes = [line for line in lines if "~>" in line]
        message = " ".join(line for line in lines[bool(header) :] if "~>" not in line)
        if not changes or not message:
            raise ValueError(f"a block needs an edit and a message: {block!r}")
        for change in changes:
            name, anchor = header.groups() if header else (change, None)
            yield Mistake(name, message, anchor or section, wrong=edited(source, change))
