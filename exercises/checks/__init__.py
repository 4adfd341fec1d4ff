"""The exercises' checker.

from blueberry_checks import exercise
exercise("09.2").check(my_newton_schulz)
exercise("09.2").hint()
exercise("09.2").solution()
"""

import json
import sys
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

from blueberry_checks.engine.edits import compiled, mistakes
from blueberry_checks.engine.examine import Choice, Code, Number, examine
from blueberry_checks.engine.panel import Note, Panel
from blueberry_lib.config import BlueberryError


@cache
def catalogue() -> dict[str, dict]:
    """The text of every exercise: title, chapter, difficulty, importance, minutes, hints, solution, why."""
    return json.loads(Path(__file__).with_name("exercises.json").read_text(encoding="utf-8"))


def chapters() -> list[str]:
    """Every chapter that has exercises, such as 02_next_token, in order."""
    return list(dict.fromkeys(text["chapter"] for text in catalogue().values()))


@cache
def rules(name: str) -> Code | Choice | Number:
    """The rules of an exercise, with its solution as the reference unless they name another, and its edits made."""
    text = catalogue()[name]
    found = import_module(f"blueberry_checks.{text['chapter']}").EXERCISES[name]
    if not isinstance(found, Code):
        return found
    edits = mistakes(found.edits, text["solution"], found.section) if found.edits else ()
    own = found.reference or compiled(text["solution"])
    return replace(found, reference=own, edits="", mistakes=[*edits, *found.mistakes])


class Exercise:
    """One exercise: check an answer, ask for a hint, see the solution."""

    def __init__(self, name: str) -> None:
        if name not in catalogue():
            meant = next((known for known in catalogue() if known.lstrip("0") == str(name).strip().lstrip("0")), "")
            hint = f"do you mean {meant!r}?" if meant else f"there are {', '.join(catalogue())}"
            raise BlueberryError(f"there is no exercise {name!r}; {hint}")
        self.name, self.text, self.rules = name, catalogue()[name], rules(name)

    def check(self, answer) -> None:
        """Examine an answer (a function, a letter or a number, as asked), show what came of it, and keep it."""
        from blueberry_checks.progress import update

        outcome = examine(self.rules, answer)
        if outcome.status != "not started":
            done = outcome.status == "correct"
            update(self.name, attempts=lambda n: n + 1, done=lambda before: before or done)
        _display(Panel(self.name, self.text["title"], outcome, self.text["chapter"]))

    def hint(self, number: int | None = None) -> None:
        """Show hint 1 (the concept), 2 (the approach) or 3 (pseudocode); without a number, the next one."""
        from blueberry_checks.progress import load, update

        hints = self.text["hints"]
        number = number or min(load().get(self.name, {}).get("hints", 0) + 1, len(hints))
        if not 1 <= number <= len(hints):
            raise BlueberryError(f"{self.name} has hints 1 to {len(hints)}, not {number}")
        update(self.name, hints=lambda seen: max(seen, number))
        last = "" if number < len(hints) else " (the last; `.solution()` shows ours)"
        _display(Note(f"**{self.name}, hint {number} of {len(hints)}{last}**\n\n{hints[number - 1]}"))

    def solution(self) -> None:
        """Show our solution and why it works."""
        from blueberry_checks.progress import update

        update(self.name, solution_seen=True)
        code = f"```python\n{self.text['solution']}\n```"
        _display(Note(f"**{self.name}, our solution**\n\n{code}\n\n{self.text['why']}"))

    def piece(self, answer):
        """The answer itself if it is correct, else our own function in its place; says which where it is ours."""
        status = examine(self.rules, answer).status
        if status in ("correct", "library"):
            return answer
        what = "is not done yet" if status == "not started" else "is not right yet (check it to see why)"
        print(f"{self.name} {what}: what follows uses the library's own.")
        return self.rules.reference


def exercise(name: str) -> Exercise:
    """The exercise of a name such as "02.1". Raises BlueberryError, with the list, if there is none."""
    return Exercise(name)


def _display(thing) -> None:
    if "IPython" in sys.modules:
        from IPython.display import display

        display(thing)
    else:
        print(thing)
