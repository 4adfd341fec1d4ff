"""An answer is told the first thing that is wrong with it, and a right one that it is right."""

import contextlib
import math
import sys
import time
from dataclasses import replace

import pytest
import torch

from blueberry_checks.engine.edits import compiled, mistakes
from blueberry_checks.engine.examine import Choice, Code, Mistake, Number, Property, examine
from blueberry_checks.engine.panel import Panel
from blueberry_checks.engine.values import difference


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


def test_strings_are_no_numbers_and_another_device_is_one_message():
    half = Code(reference=lambda x: x / 2, example=(3.0,), cases=lambda g: [(1.0,)])
    assert examine(half, lambda x: str(x / 2)).cause == "type"
    assert examine(Number(2.0, 0.1), "2.0").cause == "type"
    assert examine(Number(2.0, 0.1), float("nan")).cause == "type"
    outcome = examine(RULES, lambda x, n: running_mean(x, n).to("meta"))
    assert outcome.cause == "device" and "on meta" in outcome.message
    assert examine(half, lambda x: torch.tensor(x / 2, device="meta")).cause == "type"


def test_an_unimplemented_operation_of_torch_is_no_stub():
    assert cause(lambda x, n: x.to("meta").tolist()) == ("not yet", "crashed")


def test_what_would_end_the_session_is_a_crash():
    assert cause(lambda x, n: sys.exit()) == ("not yet", "crashed")


def test_waiting_is_not_computing_but_ends_too():
    def waits(x, count):
        time.sleep(0.15)
        return running_mean(x, count)

    assert cause(waits, seconds=0.5)[0] == "correct"


SOFTMAX = torch.nn.Softmax(dim=-1)


def test_a_forbidden_module_made_outside_is_seen_also_beside_a_wrong_result():
    rules = Code(
        reference=lambda x: x.exp() / x.exp().sum(-1, keepdim=True),
        example=(torch.tensor([0.0, 1.0]),),
        cases=lambda g: [(torch.randn(3, generator=g),)],
        not_allowed=("softmax",),
    )
    assert examine(rules, lambda x: SOFTMAX(x)).status == "library"
    assert examine(rules, lambda x: torch.nn.Softmax(-1)(x)).status == "library"
    assert "softmax" in examine(rules, lambda x: x.softmax(-1) + x).message


@pytest.mark.parametrize("answer", [lambda x: torch.stack([v + 1 for v in x]), lambda x: torch.stack([*map(inc, x)])])
def test_a_loop_is_seen_where_the_text_forbids_it(answer):
    rules = Code(reference=lambda x: x + 1, example=(torch.ones(2),), cases=lambda g: [], no_loops=True)
    assert examine(rules, answer).cause == "loop"
    assert examine(rules, inc).status == "correct"


def inc(x):
    return x + 1


def test_a_nested_list_sorted_in_place_is_mutated():
    def answer(rows):
        rows[0][0].sort()
        return rows[0][0][0]

    rules = Code(reference=lambda rows: min(rows[0][0]), example=(([[2, 1]],),), cases=lambda g: [(([[3, 1, 2]],),)])
    assert examine(rules, answer).cause == "mutated"


def test_long_values_are_cut_and_the_section_is_a_link():
    outcome = examine(RULES, lambda x, n: "x" * 5000)
    assert max(map(len, (outcome.message, outcome.got))) < 300
    outcome = examine(RULES, lambda x, n: running_mean(x, n) * n)
    html = Panel("02.1", "Means", outcome, "02_next_token")._repr_html_()
    assert 'href="../notebooks/02_next_token.ipynb#a-mean"' in html


SOURCE = 'def f(x, y):\n    """(N,)"""\n    z = x + y\n    return z / 2'


def test_edits_become_mistakes_with_their_names_messages_and_anchors():
    text = """
        a sum [sums]:
        z / 2 ~> z
        x + y ~> 2 * x && z / 2 ~> \\
        z + y - x
        Not halved.

        x + y ~> x - y
        The difference
        is taken.
    """
    found = list(mistakes(text, SOURCE, "means"))
    assert [m.name for m in found] == ["a sum", "a sum", "x + y ~> x - y"]
    assert [m.section for m in found] == ["sums", "sums", "means"]
    assert [m.wrong(4, 2) for m in found] == [6, 6, 1]
    assert [m.message for m in found] == ["Not halved.", "Not halved.", "The difference is taken."]
    assert compiled(SOURCE)(4, 2) == 3


@pytest.mark.parametrize("text", ["q ~> r\nNowhere.", "z / 2 ~> z z\nNo code.", "z / 2 ~> z", "name:\nNo edit."])
def test_an_edit_that_fits_nowhere_or_is_no_code_fails_at_once(text):
    with pytest.raises((ValueError, SyntaxError)):
        list(mistakes(text, SOURCE, ""))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (lambda e, x: -e, "sign"),
        (lambda e, x: 3 * e, "factor"),
        (lambda e, x: e + 3, "offset"),
        (lambda e, x: e.log(), "logarithm"),
        (lambda e, x: e.exp(), "exponential"),
        (lambda e, x: x, "input"),
        (lambda e, x: e.mT, "exchanged"),
        (lambda e, x: e.flip(-1), "reversed"),
        (lambda e, x: e * len(x), "times the size of x's dimension 0"),
        (lambda e, x: torch.cat((e[:1], x[1:] + 1)), "only the first"),
        (lambda e, x: torch.cat((e[:-1], x[-1:])), "all but the last"),
        (lambda e, x: e / 0, "infinite"),
        (lambda e, x: e * float("nan"), "NaN"),
    ],
)
def test_relations_to_the_right_result_are_seen(form, expected):
    rules = Code(
        reference=lambda x: x.exp() + x[0, 0] ** 2,
        example=(torch.tensor([[1.0, 2.0], [3.0, 0.5]]),),
        cases=lambda g: [(torch.rand(n, n, generator=g),) for n in (3, 4)],
    )
    assert examine(rules, lambda x: form(rules.reference(x), x)).cause == f"relation:{expected}"


def test_which_of_two_results_is_right_and_on_which_inputs():
    rules = Code(
        reference=lambda x, k: (x + k, x * k),
        example=(torch.tensor([1.0, 2.0]), 3),
        cases=lambda g: [(torch.randn(4, generator=g), k) for k in (0, 2)],
    )
    outcome = examine(rules, lambda x, k: (x + k, -x * k))
    assert outcome.cause == "relation:sign" and "the second is not right" in outcome.message
    assert examine(rules, lambda x, k: (x * k, x + k)).cause == "relation:pair"
    assert "those where k is 0" in examine(rules, lambda x, k: (x + k, x * (k or 9))).message
    only = Mistake("zero", "k may be 0.", only=lambda x, k: k == 0)
    rules = Code(reference=rules.reference, example=rules.example, cases=rules.cases, mistakes=[only])
    assert examine(rules, lambda x, k: (x + k, x * (k or 9))).cause == "zero"
    assert examine(rules, lambda x, k: (x + k, x * (k + 1))).cause != "zero"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda x, y, k: (y + k * x, k), "exchanged arguments"),
        (lambda x, y, k: (x + (1 - k) * y, k), "k were 1 - k"),
        (lambda x, y, k: (x + k * y[:1], k), "every row of y were its first"),
        (lambda x, y, k: (x + k * y * y, k), "y were squared"),
    ],
)
def test_an_argument_read_otherwise_is_seen(answer, expected):
    rules = Code(
        reference=lambda x, y, k: (x + k * y, k),
        example=(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]), 0.3),
        cases=lambda g: [(torch.randn(3, generator=g), torch.randn(3, generator=g), 0.6)],
    )
    outcome = examine(rules, answer)
    assert outcome.cause == f"relation:{expected}" and "first is not right" in outcome.message


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda velocity, x, t: (velocity(x, t) + velocity(x, t)) / 2, "calls"),
        (lambda velocity, x, t: velocity(x, t[:1]), "handed"),
        (lambda velocity, x, t: velocity(x, 0.5), "handed"),
        (lambda velocity, x, t: velocity(x, t.double()).float(), "handed"),
        (lambda velocity, x, t: velocity(x, t * t), "handed"),
        (lambda velocity, x, t: velocity(x + x.cumsum(1), t), "handed"),
        (lambda velocity, x, t: velocity(x, t) + x * t.view(-1, 1) ** 2, "combined"),
        (lambda velocity, x, t: velocity(torch.cat((x, x)), torch.cat((t, t)))[: len(x)], ""),
    ],
)
def test_the_calls_of_an_argument_are_counted_and_what_it_is_given_is_compared(answer, expected):
    times = torch.tensor([0.25, 0.5])
    rules = Code(
        reference=lambda velocity, x, t: velocity(x, t),
        example=(lambda x, t: x + t.view(-1, 1) if isinstance(t, torch.Tensor) else x + t, torch.ones(2, 3), times),
        cases=lambda g: [],
        calls={"velocity": 1},
    )
    assert examine(rules, answer).cause == expected


def test_a_known_crash_is_another_ones_only_with_the_same_words():
    def stops(words):
        def answer(x, count):
            raise RuntimeError(words)

        return answer

    rules = replace(RULES, mistakes=[Mistake("known", "It is known.", wrong=stops("one thing"))])
    assert examine(rules, stops("one thing")).cause == "known"
    assert examine(rules, stops("another thing")).cause == "crashed"


def test_only_infinity_agrees_with_infinity():
    assert difference(math.inf, 5.0, None) == "value" and difference(math.inf, math.inf, None) == ""


def test_tensors_of_booleans_are_compared():
    expected = torch.tensor([True, False])
    assert difference(expected, expected.clone(), None) == "" and difference(expected, ~expected, None) == "value"
    assert difference(expected, expected.int(), None) == "dtype"
