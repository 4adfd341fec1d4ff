"""What happens inside an answer while it runs: how long it takes, whether it is still a stub, what it calls."""

import dis
import functools
import gc
import inspect
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from types import CodeType, FunctionType

import torch

from blueberry_checks.engine.values import Raised, difference, fresh, kind

LOOPS = {"FOR_ITER", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}


class OutOfTime(BaseException):
    """Raised inside an answer that runs too long; not an Exception, so that answers do not catch it."""


@contextmanager
def deadline(end: float, namespace: dict):
    """Raise OutOfTime in Python code of this namespace that runs past a moment of this thread's computing time.

    Waiting ends too, after six times as long by the clock on the wall.
    """
    wall = time.monotonic() + 6 * max(0.0, end - time.thread_time())

    def step(frame, event, argument):
        if time.thread_time() > end or time.monotonic() > wall:
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
    """Whether the error is the answer's own ``raise NotImplementedError``, not one from something it called, C too."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    if not isinstance(error, NotImplementedError) or code is not getattr(answer, "__code__", None):
        return False
    return any(i.offset == trace.tb_lasti and i.opname == "RAISE_VARARGS" for i in dis.get_instructions(code))


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

    def name_of(frame) -> str:
        """The public name of what a frame of the answer called, where it is not allowed."""
        code, owner = frame.f_code, frame.f_locals.get("self")
        called = set(frame.f_back.f_code.co_names) & set(not_allowed) - {code.co_name}
        if code.co_name in not_allowed:
            return code.co_name
        if isinstance(owner, torch.nn.Module):
            plain = type(owner).__name__.lower().removesuffix("loss")
            return type(owner).__name__ if plain in {n.replace("_", "") for n in not_allowed} else ""
        wrapped = gc.get_referrers(code) if called else []
        return next((f.__name__ for f in wrapped if isinstance(f, FunctionType) and f.__name__ in called), "")

    def watch(frame, event, argument):
        module = frame.f_globals.get("__name__", "")
        if event == "call" and frame.f_globals is not own:
            if module.startswith("blueberry_lib."):
                found.append(f"{module}.{frame.f_code.co_name}")
            elif frame.f_back and frame.f_back.f_globals is own and (name := name_of(frame)):
                found.append(name)
        elif event == "c_call" and frame.f_globals is own and getattr(argument, "__name__", "") in not_allowed:
            found.append(argument.__name__)

    before = sys.getprofile()
    arguments = fresh(example)
    sys.setprofile(watch)
    try:
        answer(*arguments)
    except (Exception, SystemExit):
        pass
    finally:
        sys.setprofile(before)
    return found[0] if found else ""


def loops(answer: Callable) -> bool:
    """Whether an answer, or a function of its own that it names, loops in Python."""
    own, seen, todo = namespace_of(answer), set(), [getattr(inspect.unwrap(answer), "__code__", None)]
    while todo:
        code = todo.pop()
        if code is None or code in seen:
            continue
        seen.add(code)
        if "map" in code.co_names or any(i.opname in LOOPS for i in dis.get_instructions(code)):
            return True
        todo += [c for c in code.co_consts if isinstance(c, CodeType)]
        todo += [
            f.__code__ for n in code.co_names if isinstance(f := own.get(n), FunctionType) and f.__globals__ is own
        ]
    return False


def counted(function: Callable, log: list[tuple]) -> Callable:
    """A function that notes a copy of what it is given at each call."""

    @functools.wraps(function)
    def wrapper(*arguments, **named):
        log.append(fresh(arguments))
        return function(*arguments, **named)

    return wrapper


def misused(function: Callable, name: str, most: int, meant: list[tuple], log: list[tuple]) -> tuple[str, str]:
    """(cause, sentence) where an answer hands an argument things of another kind, or calls it too often."""
    for handed in log:
        for i, (place, item, right) in enumerate(
            zip(inspect.signature(function).parameters, handed, meant[0], strict=False)
        ):
            if isinstance(right, torch.Tensor):
                first, ours = getattr(handed[0], "shape", ())[:1], getattr(meant[0][0], "shape", ())[:1]
                alike = kind_of(item) == kind_of(right)
                if not alike or (i and ours == right.shape[:1] and first != item.shape[:1]):
                    beside = f", beside {kind(handed[0])}" if i else ""
                    return "handed", f"As {place} it hands {name} {kind(item)}{beside}; ours hands it {kind(right)}."
    if len(log) > most:
        return "calls", f"It calls {name} {len(log)} times; {most} will do, and each may be a run of a network."
    return "", ""


def kind_of(item) -> tuple:
    """What must be the same of what is handed to a function: all but the number of rows."""
    return (item.dtype, item.dim(), item.shape[1:]) if isinstance(item, torch.Tensor) else (type(item),)


def strays(function: Callable, name: str, meant: list[tuple], log: list[tuple]) -> tuple[str, str]:
    """(cause, sentence) of how a wrong result comes about: by other calls than ours, or by what is made of them."""
    for handed in log:
        found = [[difference(a, b, 1e-4) for a, b in zip(call, handed, strict=False)] for call in meant]
        if any(not any(stages) for stages in found):
            continue
        if any(stage not in ("", "value") for stages in found for stage in stages):
            return "", ""
        places = zip(inspect.signature(function).parameters, *found, strict=False)
        never = next((place for place, *stages in places if all(stages)), "")
        which = f"another {never} than ours ever does" if never else "arguments that do not belong together"
        return "handed", f"It calls {name} with {which}."
    if len(log) < len(meant):
        return "calls", f"It calls {name} {len(log)} times; ours does {len(meant)} times."
    return "combined", f"It calls {name} with the right things; what it makes of the results is not right."
