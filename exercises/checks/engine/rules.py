"""What an exercise asks, as data: the right answer, the wrong ones that are known, and what came of a check."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give, and what to tell them."""

    name: str
    message: str
    """What was probably done, and what to think about; never the solution."""
    section: str = ""
    """The anchor of the chapter's heading to read again."""
    wrong: Callable | None = None
    """The mistake as a function: an answer that agrees with it wherever it differs from the reference made it."""
    only: Callable[..., bool] | None = None
    """Or: of an input's arguments, whether it is one of those at which alone such an answer fails."""
    sign: Callable[[Callable], bool] | None = None
    """Or: whether an answer, given as a function, shows the mistake."""


@dataclass(frozen=True)
class Property:
    """What must hold for any input, whatever the values: causality, invariance, gradient flow."""

    name: str
    test: Callable[[Callable], str | None]
    """Takes the answer; returns what fails, in a sentence, or None."""
    section: str = ""


@dataclass(frozen=True, kw_only=True)
class Code:
    """An exercise whose answer is a function."""

    reference: Callable | None = None
    """None takes the solution."""
    example: tuple
    """The tiny exact case: positional arguments."""
    cases: Callable[[torch.Generator], Iterable[tuple]]
    section: str = ""
    """The anchor to read again where a mistake names none of its own."""
    edits: str = ""
    """Mistakes as edits of the solution's text, in the syntax of engine/edits.py; tried before the others."""
    mistakes: tuple[Mistake, ...] | list[Mistake] = ()
    calls: dict[str, int] = field(default_factory=dict)
    """Arguments that are plain functions, and how often the answer may call each; what it hands them must be of the
    dtypes and shapes that the reference hands."""
    properties: tuple[Property, ...] | list[Property] = ()
    not_allowed: tuple[str, ...] = ()
    """Names of calls that would do the whole exercise; a module of that name is seen too, nn.Softmax for softmax."""
    no_loops: bool = False
    """The text forbids loops: for, while, comprehensions, map."""
    tolerance: float | None = None
    """Relative; None takes the one of the dtype."""


@dataclass(frozen=True)
class Choice:
    """An exercise whose answer is a letter."""

    right: str
    wrong: dict[str, str]
    """Each other letter, and why it is not the answer."""
    section: str = ""


@dataclass(frozen=True)
class Number:
    """An exercise whose answer is a number."""

    value: float | Callable[[], float]
    within: float
    wrong: list[tuple[float, float, str]] = field(default_factory=list)
    """Ranges (from, to) of answers that come from a known mistake, and what to say of each."""
    section: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    status: str
    """not started, not yet, library (it works, but it only calls one) or correct."""
    cause: str
    """The stage that failed or the name of the mistake; empty if correct."""
    message: str
    given: str = ""
    expected: str = ""
    got: str = ""
    section: str = ""
