"""An answer is told the first thing that is wrong with it, and a right one that it is right."""

import contextlib
import sys
import time

import pytest
import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Number, Property, examine
from blueberry_checks.engine.panel import Panel


def running_mean(x, count):
    """The reference: (T,) -> (T,), the mean of the last `count` values, fewer at the start."""
    return torch.stack([x[max(0, t + 1 - count) : t + 1].mean() for t in range(len(x))])


def looks_ahead(mean):
    x = torch.arange(5.0)
    return None if torch.equal(mean(x, 2)[:3], mean(torch.cat([x[:3], x[:2]]), 2)[:3]) else "It looks ahead."


RULES = Code(
    reference=running_mean,
    example=(torch.tensor([1.0, 3.0, 8.0]), 2),
    cases=lambda g: [(torch.randn(n, generator=g), count) for n in (4, 9) for count in (1, 3)],
    mistakes=[
        Mistake("sum", "You add but never divide.", "a-mean", wrong=lambda x, n: running_mean(x, n) * n),
        Mistake("prints", "It prints.", sign=lambda mean: mean(torch.ones(1), 77) is None),
    ],
    properties=[Property("causal", looks_ahead)],
    not_allowed=("avg_pool1d",),
)


def cause(answer, seconds=5.0):
    outcome = examine(RULES, answer, seconds)
    return outcome.status, outcome.cause


def test_the_reference_and_another_way_are_correct():
    assert cause(running_mean) == ("correct", "")
    assert cause(lambda x, n: torch.stack([x[max(0, t - n + 1) : t + 1].sum() / min(n, t + 1) for t in range(len(x))]))[
        0
    ] == ("correct")


def test_a_stub_is_not_started_but_an_unimplemented_call_inside_an_answer_is_a_crash():
    def stub(x, count):
        raise NotImplementedError("01.1: your code here")

    def helper():
        raise NotImplementedError("some operation of a library")

    assert cause(stub)[0] == "not started"
    assert cause(lambda x, count: helper()) == ("not yet", "crashed")
    assert examine(RULES, ...).status == "not started"


def zeroed(x, count):
    result = running_mean(x, count)
    x.zero_()
    return result


def swallows_everything(x, count):
    while True:
        with contextlib.suppress(Exception):
            x = x + 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda x, n: running_mean(x, n) * n, "sum"),
        (lambda x, n: None if n == 77 else running_mean(x, n), "prints"),
        (lambda x, n: x[99], "crashed"),
        (lambda x, n: running_mean(x, n).tolist(), "type"),
        (lambda x, n: (running_mean(x, n), n), "type"),
        (lambda x, n: running_mean(x, n)[:, None], "shape"),
        (lambda x, n: running_mean(x, n).double(), "dtype"),
        (lambda x, n: running_mean(x, n) + x[0] ** 2, "value"),
        (lambda x, n: running_mean(x, n) if len(x) < 9 else x + 1, "some inputs"),
        (lambda x, n: x if x.is_contiguous() is False else running_mean(x, n), "non-contiguous"),
        (zeroed, "mutated"),
        (lambda x, n: running_mean(x, n) + (0 if len(x) != 5 else x[-1]), "property:causal"),
        (3, "type"),
    ],
)
def test_each_fault_is_named(answer, expected):
    assert cause(answer) == ("not yet", expected)


def test_one_that_leaves_the_work_to_a_library_is_told_so():
    def pooled(x, count):
        means = running_mean(x, count)
        torch.nn.functional.avg_pool1d(x[None], 1)
        return means

    assert cause(pooled) == ("library", "library")

    def ours(x, count):
        from blueberry_lib.model.position import RMSNorm

        RMSNorm(3)
        return running_mean(x, count)

    assert cause(ours) == ("library", "library")


@pytest.mark.parametrize("endless", [lambda x, n: [0 for _ in iter(int, 1)], swallows_everything])
def test_an_endless_loop_ends_and_the_tracer_of_before_is_back(endless):
    before, start = sys.gettrace(), time.monotonic()
    assert cause(endless, seconds=0.5) == ("not yet", "time")
    assert time.monotonic() - start < 3
    assert sys.gettrace() is before


def test_a_loop_on_one_line_ends_too():
    def answer(x, count):
        while True: pass  # fmt: skip  # noqa: E701

    assert cause(answer, seconds=0.5) == ("not yet", "time")


def test_checking_leaves_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    examine(RULES, lambda x, n: running_mean(x, n) + torch.rand(1) * 0)
    assert torch.equal(torch.rand(2), expected)


def test_the_message_shows_the_smallest_failing_input_and_where_to_read():
    outcome = examine(RULES, lambda x, n: running_mean(x, n) * n)
    assert (outcome.given, outcome.expected) == ("x = [1.0, 3.0, 8.0], count = 2", "[1.0, 2.0, 5.5]")
    text = repr(Panel("02.1", "Means", outcome))
    assert text.splitlines()[0] == "02.1 Means: not yet. You add but never divide."
    assert "a mean" in text and "[2.0, 4.0, 11.0]" in text
    html = Panel("02.1", "<Means>", outcome)._repr_html_()
    assert "&lt;Means&gt;" in html and "not yet" in html and "[2.0, 4.0, 11.0]" in html


def test_letters_and_numbers():
    choice = Choice("b", {"a": "No, because.", "c": "Nor that."})
    assert [examine(choice, answer).status for answer in ("b", " B ", "(b)")] == ["correct"] * 3
    assert examine(choice, "a").message == "No, because."
    assert examine(choice, "z").cause == "type"
    number = Number(lambda: 2.0, 0.1, [(0.9, 1.1, "That is half.")])
    assert [examine(number, answer).status for answer in (2, 1.95, torch.tensor(2.05))] == ["correct"] * 3
    assert examine(number, 1.0).message == "That is half."
    assert examine(number, 5).message == "5 is too large."
    assert examine(number, "two").cause == "type"
