"""How an answer is examined: stage by stage, until the first thing that is wrong.

Attempted → runs → type, shape, dtype → inputs left alone → the tiny case → random cases, one of them non-contiguous →
known mistakes, each with its own message, else what the engine sees by itself → how often arguments are called →
properties → not merely a call of a library. It ends after ten seconds of computing.
"""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from blueberry_checks.engine import watch
from blueberry_checks.engine.relations import condition, relation
from blueberry_checks.engine.rules import Choice, Code, Mistake, Number, Outcome, Property
from blueberry_checks.engine.values import Raised, as_number, cut, difference, fresh, kind, noncontiguous, show, size

__all__ = ["Choice", "Code", "Mistake", "Number", "Outcome", "Property", "examine"]
SECONDS = 10.0
ENDED = (Exception, SystemExit)


@dataclass(frozen=True)
class Trial:
    """One input, what should come of it, and what did."""

    arguments: tuple
    expected: Any
    got: Any
    mutated: str = ""
    noncontiguous: bool = False
    misuse: tuple[str, str] = ("", "")
    """(cause, sentence) of what is wrong with its calls of an argument."""
    stray: tuple[str, str] = ("", "")
    """What its calls say of a wrong result."""


class Examination:
    """One answer under one exercise's rules."""

    def __init__(self, rules: Code, answer: Callable, seconds: float) -> None:
        self.rules, self.answer = rules, answer
        self.end = time.thread_time() + seconds
        self.names = list(inspect.signature(rules.reference).parameters)

    def call(self, *arguments):
        """The answer's result, its exceptions passed on."""
        with watch.deadline(self.end, watch.namespace_of(self.answer)):
            return self.answer(*arguments)

    def trial(self, arguments: tuple, spread: bool = False) -> Trial:
        """The answer on a copy of the arguments, beside the reference."""
        meant, logs = ({name: [] for name in self.rules.calls} for _ in range(2))
        expected = self.rules.reference(*self.watched(fresh(arguments), meant))
        own = tuple(noncontiguous(a) for a in fresh(arguments)) if spread else fresh(arguments)
        try:
            got = self.call(*self.watched(own, logs))
        except ENDED as error:
            if watch.is_stub(self.answer, error):
                raise
            got = Raised(error)
        changed = [
            name
            for name, before, after in zip(self.names, arguments, own, strict=False)
            if isinstance(before, torch.Tensor | list | tuple | dict) and difference(before, after, 0.0)
        ]
        misuse = stray = ("", "")
        for name, most in self.rules.calls.items():
            function = arguments[self.names.index(name)]
            misuse = watch.misused(function, name, most, meant[name], logs[name])
            stray = misuse if any(misuse) else watch.strays(function, name, meant[name], logs[name])
        return Trial(arguments, expected, got, ", ".join(changed), spread, misuse, stray)

    def watched(self, arguments: tuple, logs: dict[str, list]) -> tuple:
        """The arguments, those whose calls are counted each in a wrapper that does."""
        named = zip(self.names, arguments, strict=False)
        return tuple(watch.counted(a, logs[name]) if name in logs else a for name, a in named)

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
            except ENDED:
                return False
        if mistake.only:
            failing = [trial for trial in trials if self.stage(trial)]
            return bool(failing) and all(mistake.only(*fresh(trial.arguments)) for trial in failing)
        parted = False
        for trial in trials:
            try:
                wrong = mistake.wrong(*fresh(trial.arguments))
            except Exception as error:
                wrong = Raised(error)
            if difference(wrong, trial.got, self.rules.tolerance):
                return False
            if isinstance(wrong, Raised) and str(wrong) != str(trial.got):  # another fault of the same type
                return False
            parted |= bool(difference(trial.expected, wrong, self.rules.tolerance))
        return parted

    def outcome(self, cause: str, message: str, trial: Trial, section: str = "") -> Outcome:
        given = ", ".join(f"{name} = {show(a)}" for name, a in zip(self.names, trial.arguments, strict=False))
        used = watch.borrowed(self.answer, self.rules.example, self.rules.not_allowed)
        message += f" Besides, {used} does what you are asked to write." if used else ""
        return Outcome(
            "not yet", cause, message, given, show(trial.expected), show(trial.got), section or self.rules.section
        )

    def generic(self, stage: str, trial: Trial, trials: list[Trial]) -> Outcome:
        """The message of a stage where no known mistake fits."""
        if trial.noncontiguous:
            return self.outcome(
                "non-contiguous",
                "It fails on a tensor whose values do not lie side by side in memory, such as a slice or a transpose. "
                "view needs them side by side; reshape does not.",
                trial,
            )
        messages = {
            "crashed": f"It stopped with {trial.got}{watch.where(trial.got, self.answer)}.",
            "mutated": f"It changes its input {trial.mutated} in place. Whoever called it still needs that tensor.",
            "value": "The result has the right shape, but not the right values.",
        }
        message = messages.get(stage, f"It should return {kind(trial.expected)}; it returned {kind(trial.got)}.")
        plain = [t for t in trials if not t.noncontiguous]
        if stage == "mutated":
            return self.outcome(stage, message, trial)
        limits = condition(self.names, [(t.arguments, bool(self.stage(t))) for t in plain])
        cause = stage
        alike = [(t.arguments, t.expected, t.got) for t in plain if self.stage(t) == stage]
        if trial.misuse[0] == "handed":
            cause, message = "handed", f"{trial.misuse[1]} {message}"
        elif stage in ("value", "shape"):
            stray = next((t.stray for t in trials if t.stray[0] == "handed"), trial.stray)
            meant = {} if stray[0] == "handed" else {"reference": self.rules.reference}
            name, sentence = relation(self.names, alike, self.rules.tolerance, **meant)
            if name and stage == "shape":
                message = f"{message} {sentence}"
            elif name:
                cause, message = f"relation:{name}", sentence
            elif any(stray):
                cause, message = stray
            elif limits and stage == "value":
                cause = "some inputs"
        return self.outcome(cause, f"{message} {limits}".strip(), trial)

    def run(self) -> Outcome:
        trials = self.trials()
        failing = [trial for trial in trials if self.stage(trial)]
        if failing:
            smallest = min(failing, key=lambda trial: (trial.noncontiguous, size(trial.arguments)))
            if not any(trial.mutated for trial in trials):
                for mistake in self.rules.mistakes:
                    if self.made(mistake, trials):
                        return self.outcome(mistake.name, mistake.message, smallest, mistake.section)
            return self.generic(self.stage(smallest), smallest, trials)
        for mistake in self.rules.mistakes:
            if mistake.sign and self.made(mistake, trials):
                return Outcome("not yet", mistake.name, mistake.message, section=mistake.section or self.rules.section)
        for trial in trials:
            if trial.misuse[0]:
                return self.outcome(*trial.misuse, trial)
        for rule in self.rules.properties:
            try:
                fault = rule.test(self.call)
            except ENDED as error:
                fault = f"It stopped with {Raised(error)}{watch.where(Raised(error), self.answer)}."
            if fault:
                return Outcome("not yet", f"property:{rule.name}", fault, section=rule.section or self.rules.section)
        used = watch.borrowed(self.answer, self.rules.example, self.rules.not_allowed)
        if used:
            return Outcome("library", "library", f"It works, but {used} does the work: it is not your tick yet.")
        if self.rules.no_loops and watch.loops(self.answer):
            return Outcome("not yet", "loop", "It works, but in a loop. The text asks for whole tensors at a time.")
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
    except watch.OutOfTime:
        return Outcome("not yet", "time", f"It took longer than {seconds:g} s and was stopped; ours takes far less.")


def _choice(rules: Choice, answer) -> Outcome:
    letter = str(answer).strip(" ().\"'").lower()
    if letter == rules.right:
        return Outcome("correct", "", "That is the one.")
    if letter in rules.wrong:
        return Outcome("not yet", letter, rules.wrong[letter], section=rules.section)
    letters = ", ".join(sorted([rules.right, *rules.wrong]))
    return Outcome("not yet", "type", f"The answer is one of {letters}, as a string; this is {cut(repr(answer))}.")


def _number(rules: Number, answer) -> Outcome:
    number = as_number(answer)
    if number is None or number != number:
        return Outcome("not yet", "type", f"The answer is a number; this is {cut(repr(answer))}.")
    value = rules.value() if callable(rules.value) else rules.value
    if abs(number - value) <= rules.within:
        near = f"Within {rules.within:g} of what comes out." if rules.within else "It is what comes out."
        return Outcome("correct", "", near)
    for low, high, message in rules.wrong:
        if low <= number <= high:
            return Outcome("not yet", message, message, section=rules.section)
    return Outcome(
        "not yet", "value", f"{number:g} is too {'large' if number > value else 'small'}.", section=rules.section
    )
