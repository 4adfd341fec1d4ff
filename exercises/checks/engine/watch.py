"""What happens inside an answer while it runs: how long it takes, whether it is still a stub, what it calls."""

import inspect
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager

from blueberry_checks.engine.values import Raised, fresh


class OutOfTime(BaseException):
    """Raised inside an answer that runs too long; not an Exception, so that answers do not catch it."""


@contextmanager
def deadline(end: float, namespace: dict):
    """Raise OutOfTime in Python code of this namespace that runs past a moment of time.monotonic()."""

    def step(frame, event, argument):
        if time.monotonic() > end:
            raise OutOfTime
        return step

    def enter(frame, event, argument):
        if frame.f_globals is not namespace:
            return None
        frame.f_trace_opcodes = True  # up to 3.12 a loop on one line has no line events; in 3.13.0 it has those alone
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def namespace_of(answer: Callable) -> dict:
    return getattr(inspect.unwrap(answer), "__globals__", {})


def is_stub(answer: Callable, error: Exception) -> bool:
    """Whether the error is the answer's own ``raise NotImplementedError``, not one from something it called."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    return isinstance(error, NotImplementedError) and trace.tb_frame.f_code is getattr(answer, "__code__", None)


def where(raised, answer: Callable) -> str:
    """The line of the answer at which it was raised."""
    trace = raised.error.__traceback__ if isinstance(raised, Raised) else None
    code, line = getattr(answer, "__code__", None), None
    while trace:
        if trace.tb_frame.f_code is code:
            line = trace.tb_lineno - code.co_firstlineno
        trace = trace.tb_next
    return "" if line is None else f" (line {line + 1} of your function)"


def borrowed(answer: Callable, example: tuple, not_allowed: tuple[str, ...]) -> str:
    """The call by which an answer leaves the work to a library, or nothing."""
    own, found = namespace_of(answer), []

    def watch(frame, event, argument):
        module = frame.f_globals.get("__name__", "")
        if event == "call" and frame.f_globals is not own:
            if module.startswith("blueberry_lib."):
                found.append(f"{module}.{frame.f_code.co_name}")
            elif frame.f_back and frame.f_back.f_globals is own and frame.f_code.co_name in not_allowed:
                found.append(frame.f_code.co_name)
        elif event == "c_call" and frame.f_globals is own and getattr(argument, "__name__", "") in not_allowed:
            found.append(argument.__name__)

    before = sys.getprofile()
    arguments = fresh(example)
    sys.setprofile(watch)
    try:
        answer(*arguments)
    finally:
        sys.setprofile(before)
    return found[0] if found else ""
