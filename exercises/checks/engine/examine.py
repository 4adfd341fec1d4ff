"""How an answer is examined: stage by stage, until the first thing that is wrong.

Attempted → runs → type, shape, dtype → inputs left alone → the tiny case → random cases, one of them non-contiguous →
known mistakes, each with its own message → properties → not merely a call of a library. It ends within ten seconds.
"""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from blueberry_checks.engine.rules import Choice, Code, Mistake, Number, Outcome, Property
from blueberry_checks.engine.values import Raised, difference, fresh, kind, noncontiguous, show, size
from blueberry_checks.engine.watch import OutOfTime, borrowed, deadline, is_stub, namespace_of, where

__all__ = ["Choice", "Code", "Mistake", "Number", "Outcome", "Property", "examine"]
SECONDS = 10.0


@dataclass(frozen=True)
class Trial:
    """One input, what should come of it, and what did."""

    arguments: tuple
    expected: Any
    got: Any
    mutated: str = ""
    noncontiguous: bool = False


class Examination:
    """One answer under one exercise's rules."""

    def __init__(self, rules: Code, answer: Callable, seconds: float) -> None:
        self.rules, self.answer = rules, answer
        self.end = time.monotonic() + seconds
        self.names = list(inspect.signature(rules.reference).parameters)

    def call(self, *arguments):
        """The answer's result, its exceptions passed on."""
        with deadline(self.end, namespace_of(self.answer)):
            return self.answer(*arguments)

    def trial(self, arguments: tuple, spread: bool = False) -> Trial:
        """The answer on a copy of the arguments, beside the reference."""
        expected = self.rules.reference(*fresh(arguments))
        own = tuple(noncontiguous(a) for a in fresh(arguments)) if spread else fresh(arguments)
        try:
            got = self.call(*own)
        except Exception as error:
            if is_stub(self.answer, error):
                raise
            got = Raised(error)
        changed = [
            name
            for name, before, after in zip(self.names, arguments, own, strict=False)
            if isinstance(before, torch.Tensor | list) and difference(before, after, 0.0)
        ]
        return Trial(arguments, expected, got, ", ".join(changed), spread)

    def trials(self) -> list[Trial]:
        generator = torch.Generator().manual_seed(0)
        inputs = [self.rules.example, *self.rules.cases(generator)]
        return [*map(self.trial, inputs), self.trial(inputs[0], spread=True), self.trial(inputs[-1], spread=True)]

    def stage(self, trial: Trial) -> str:
        found = difference(trial.expected, trial.got, self.rules.tolerance)
        return "mutated" if trial.mutated and found in ("", "value") else found

    def made(self, mistake: Mistake, trials: list[Trial]) -> bool:
        """Whether the answer behaves as the mistake does."""
        if mistake.sign:
            try:
                return bool(mistake.sign(self.call))
            except Exception:
                return False
        parted = False
        for trial in trials:
            try:
                wrong = mistake.wrong(*fresh(trial.arguments))
            except Exception as error:
                wrong = Raised(error)
            if difference(wrong, trial.got, self.rules.tolerance):
                return False
            parted |= bool(difference(trial.expected, wrong, self.rules.tolerance))
        return parted

    def outcome(self, cause: str, message: str, trial: Trial, section: str = "") -> Outcome:
        given = ", ".join(f"{name} = {show(a)}" for name, a in zip(self.names, trial.arguments, strict=False))
        return Outcome("not yet", cause, message, given, show(trial.expected), show(trial.got), section)

    def generic(self, stage: str, trial: Trial) -> Outcome:
        """The message of a stage where no known mistake fits."""
        if trial.noncontiguous:
            return self.outcome(
                "non-contiguous",
                "It fails on a tensor whose values do not lie side by side in memory, such as a slice or a transpose. "
                "view needs them side by side; reshape does not.",
                trial,
            )
        messages = {
            "crashed": f"It stopped with {trial.got}{where(trial.got, self.answer)}.",
            "mutated": f"It changes its input {trial.mutated} in place. Whoever called it still needs that tensor.",
            "value": "The result has the right shape, but not the right values.",
        }
        other_kind = f"It should return {kind(trial.expected)}; it returned {kind(trial.got)}."
        return self.outcome(stage, messages.get(stage, other_kind), trial)

    def run(self) -> Outcome:
        trials = self.trials()
        failing = [trial for trial in trials if self.stage(trial)]
        if failing:
            smallest = min(failing, key=lambda trial: (trial.noncontiguous, size(trial.arguments)))
            if not any(trial.mutated for trial in trials):
                for mistake in self.rules.mistakes:
                    if self.made(mistake, trials):
                        return self.outcome(mistake.name, mistake.message, smallest, mistake.section)
            return self.generic(self.stage(smallest), smallest)
        for mistake in self.rules.mistakes:
            if mistake.sign and self.made(mistake, trials):
                return Outcome("not yet", mistake.name, mistake.message, section=mistake.section)
        for rule in self.rules.properties:
            try:
                fault = rule.test(self.call)
            except Exception as error:
                fault = f"It stopped with {Raised(error)}{where(Raised(error), self.answer)}."
            if fault:
                return Outcome("not yet", f"property:{rule.name}", fault, section=rule.section)
        used = borrowed(self.answer, self.rules.example, self.rules.not_allowed)
        if used:
            return Outcome("library", "library", f"It works, but {used} does the work: it is not your tick yet.")
        more = f" and {len(self.rules.properties)} properties" if len(self.rules.properties) > 1 else ""
        return Outcome("correct", "", f"It agrees with ours on {len(trials)} inputs{more}.")


def examine(rules: Code | Choice | Number, answer, seconds: float = SECONDS) -> Outcome:
    """Examine an answer. It never raises: what the answer does wrong is in the outcome."""
    if answer is ... or answer is None:
        return Outcome("not started", "", "Replace the three dots by your answer.")
    if isinstance(rules, Choice):
        return _choice(rules, answer)
    if isinstance(rules, Number):
        return _number(rules, answer)
    if not callable(answer):
        return Outcome("not yet", "type", f"Pass the function itself, check(name); this is {kind(answer)}.")
    try:
        with torch.random.fork_rng(devices=[]):
            return Examination(rules, answer, seconds).run()
    except NotImplementedError:
        return Outcome("not started", "", "Write the function's body in place of the line that raises.")
    except OutOfTime:
        return Outcome("not yet", "time", f"It was stopped after {seconds:g} s. Does a loop never end?")


def _choice(rules: Choice, answer) -> Outcome:
    letter = str(answer).strip(" ().\"'").lower()
    if letter == rules.right:
        return Outcome("correct", "", "That is the one.")
    if letter in rules.wrong:
        return Outcome("not yet", letter, rules.wrong[letter], section=rules.section)
    letters = ", ".join(sorted([rules.right, *rules.wrong]))
    return Outcome("not yet", "type", f"The answer is one of {letters}, as a string; this is {answer!r}.")


def _number(rules: Number, answer) -> Outcome:
    try:
        number = float(answer)
    except (TypeError, ValueError):
        return Outcome("not yet", "type", f"The answer is a number; this is {answer!r}.")
    value = rules.value() if callable(rules.value) else rules.value
    if abs(number - value) <= rules.within:
        return Outcome("correct", "", f"Within {rules.within:g} of what comes out.")
    for low, high, message in rules.wrong:
        if low <= number <= high:
            return Outcome("not yet", message, message, section=rules.section)
    return Outcome(
        "not yet", "value", f"{number:g} is too {'large' if number > value else 'small'}.", section=rules.section
    )
