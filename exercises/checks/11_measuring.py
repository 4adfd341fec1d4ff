"""The checks of chapter 11: interleaved ratios, a clock, Welch's t, how many seeds, what disagrees in a record."""

import math
import statistics
from itertools import pairwise

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Property
from blueberry_checks.fake_device import FakeDevice

# --- 11.1


def _paired_ratio(a, b, warmup):
    return statistics.median([y / x for x, y in zip(a, b, strict=True)][warmup:])


def _timings(g):
    def seconds(n, size):
        values = size * (1 + 0.2 * torch.rand(n, generator=g))
        values[torch.randint(n, (max(1, n // 4),), generator=g)] *= 4.0  # now and then something else runs
        return values.tolist()

    yield [2.0], [3.0], 0
    yield [1.0, 2.0], [3.0, 1.0], 0
    yield [4.0, 2.0, 1.0], [1.0, 3.0, 2.0], 2
    for n, warmup in ((5, 0), (6, 0), (9, 2), (9, 1), (12, 3)):
        yield seconds(n, 2.0), seconds(n, 1.6), warmup


def _ratios(a, b, warmup):
    return [y / x for x, y in zip(a, b, strict=True)][warmup:]


def _middle(pick):
    return lambda a, b, warmup: pick(sorted(_ratios(a, b, warmup)))


def _with(statistic):
    """The ratio of one number a list, instead of one number of the ratios."""
    return lambda a, b, warmup: statistic(b[warmup:]) / statistic(a[warmup:])


# --- 11.2


def _active_seconds(device, steps, eval_every):
    device.rehearse()
    device.synchronize()
    active, start = 0.0, device.now()
    for step in range(1, steps + 1):
        device.step()
        if step % eval_every == 0 or step == steps:  # wait only where the phase changes
            device.synchronize()
            active += device.now() - start
            if step % eval_every == 0:
                device.evaluate()
                device.synchronize()
            start = device.now()
    return active


def _devices(g):
    yield FakeDevice([2.0], 5.0, 30.0), 1, 1
    yield FakeDevice([1.5, 0.5, 2.5], 4.0, 20.0), 3, 5
    yield FakeDevice([1.0, 2.0, 4.0, 8.0], 100.0, 1000.0), 4, 1
    for steps, every in ((6, 3), (7, 3), (10, 4)):
        costs = (torch.rand(steps, generator=g, dtype=torch.float64) + 0.5).tolist()
        yield FakeDevice(costs, 3.25, 17.5), steps, every


def _clocked(rehearse="wait", after_step=True, evaluation="wait", whole=False):
    """The clock with things left out, as learners leave them out."""

    def clock(device, steps, eval_every):
        begin = device.now()
        if rehearse:
            device.rehearse()
        if rehearse == "wait":
            device.synchronize()
        active, first = 0.0, device.now()
        for step in range(1, steps + 1):
            start = device.now()
            device.step()
            if after_step:
                device.synchronize()
            active += device.now() - start
            if step % eval_every == 0:
                device.evaluate()
                if evaluation == "wait":
                    device.synchronize()
        device.synchronize()
        return device.now() - (begin if whole == "all" else first) if whole else active

    return clock


def _mean_step(device, steps, eval_every):
    return _active_seconds(device, steps, eval_every) / steps


def _calls(steps, eval_every):
    def asked(f):
        device = FakeDevice([1.0, 2.0], 3.0, 4.0)
        f(device, steps, eval_every)
        return device.calls

    return asked


def _steps_counted(f):
    made = _calls(7, 3)(f).count("step")
    return None if made == 7 else f"Asked for 7 steps it called step() {made} times: each call trains the model."


def _evaluations_placed(f):
    made = [call for call in _calls(7, 3)(f) if call != "rehearse"]
    expected = ["step", "step", "step", "evaluate"] * 2 + ["step"]
    if made == expected:
        return None
    return (
        f"With 7 steps, and eval_every = 3, evaluations belong after steps 3 and 6; the calls were {', '.join(made)}."
    )


def _rehearsed_once(f):
    made = _calls(2, 5)(f)
    if made.count("rehearse") == 1 and made[0] == "rehearse":
        return None
    return f"rehearse() belongs once, before all else; the calls were {', '.join(made)}."


# --- 11.3


def _welch(a, b):
    e = [statistics.variance(values) / len(values) for values in (a, b)]
    t = (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(sum(e))
    return t, sum(e) ** 2 / sum(x * x / (len(values) - 1) for x, values in zip(e, (a, b), strict=True))


def _two_arms(g):
    def losses(n, mean, spread):
        return (mean + spread * torch.randn(n, generator=g, dtype=torch.float64)).tolist()

    yield [1.0, 3.0], [2.0, 6.0]
    yield [4.0, 4.0, 4.0], [3.9, 4.1, 4.3]
    yield losses(5, 4.0, 0.03), losses(5, 3.9, 0.01)
    yield losses(5, 4.0, 0.01), losses(3, 4.1, 0.05)
    yield losses(10, 0.0, 2.0), losses(4, 1.0, 0.3)


def _welch_with(variance=statistics.variance, divided=True, order=1, df=None, root=True):
    """Welch's pair with one thing done otherwise."""

    def welch(a, b):
        e = [variance(values) / (len(values) if divided else 1) for values in (a, b)]
        spread = sum(e)
        t = order * (statistics.fmean(a) - statistics.fmean(b)) / (math.sqrt(spread) if root else spread)
        if df:
            return t, df(a, b, e)
        return t, spread**2 / sum(x * x / (len(values) - 1) for x, values in zip(e, (a, b), strict=True))

    return welch


def _pooled(a, b):
    df = len(a) + len(b) - 2
    variance = (statistics.variance(a) * (len(a) - 1) + statistics.variance(b) * (len(b) - 1)) / df
    return (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(variance * (1 / len(a) + 1 / len(b))), df


def _df_by_counts(a, b, e):
    return sum(e) ** 2 / (e[0] ** 2 / len(a) + e[1] ** 2 / len(b))


def _df_unsquared(a, b, e):
    return sum(e) / (e[0] ** 2 / (len(a) - 1) + e[1] ** 2 / (len(b) - 1))


def _df_e_unsquared(a, b, e):
    return sum(e) ** 2 / (e[0] / (len(a) - 1) + e[1] / (len(b) - 1))


def _df_squares_added(a, b, e):
    return (e[0] ** 2 + e[1] ** 2) / (e[0] ** 2 / (len(a) - 1) + e[1] ** 2 / (len(b) - 1))


# --- 11.4

_z = statistics.NormalDist().inv_cdf


def _seeds_needed(effect, spread, alpha=0.01, power=0.9):
    return max(2, math.ceil(2 * ((_z(1 - alpha) + _z(power)) * spread / effect) ** 2))


def _plans(g):
    yield 0.02, 0.01, 0.05, 0.8
    yield 0.5, 0.01, 0.01, 0.9
    yield 0.005, 0.03, 0.01, 0.9
    yield 0.03, 0.02, 0.001, 0.95
    yield 0.05, 0.02, 0.05, 0.5
    yield 0.011, 0.013, 0.025, 0.99
    yield 0.4, 0.9, 0.2, 0.6


def _plan_with(
    two=2, level=lambda alpha: _z(1 - alpha), reach=lambda power: _z(power), square=2, up=math.ceil, least=2, over=False
):
    """The count of seeds with one thing done otherwise."""

    def seeds(effect, spread, alpha=0.01, power=0.9):
        ratio = effect / spread if over else spread / effect
        return max(least, up(two * ((level(alpha) + reach(power)) * ratio) ** square))

    return seeds


def _an_int(f):
    got = f(0.02, 0.01)
    return None if type(got) is int else f"A count of runs is an int; it returned {type(got).__name__} {got!r}."


def _defaults(f):
    if f(0.013, 0.01) == _seeds_needed(0.013, 0.01):
        return None
    return "Without alpha and power it should count for a level of 0.01 and a power of 0.9."


# --- 11.5


def _disagreements(record, tolerance=1e-3, slack=1.2):
    found = set()
    follows = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] / follows - 1) > tolerance:
        found.add("rate")
    if record["flops"] > slack * record["peak_flops"] * record["active_seconds"]:
        found.add("peak")
    for (tokens, seconds, _), (later_tokens, later_seconds, _) in pairwise(record["curve"]):
        if later_tokens < tokens or later_seconds < seconds:
            found.add("order")
    tokens, _, loss = record["curve"][-1]
    if tokens != record["tokens"] or loss != record["val_loss"]:
        found.add("end")
    return found


def _record(**changes):
    """A record that agrees with itself, with some fields changed."""
    record = {
        "tokens": 4000, "active_seconds": 8.0, "tokens_per_second": 500.0, "flops": 3.0e12, "peak_flops": 4.0e11,
        "val_loss": 3.5, "curve": [(1000, 2.0, 5.0), (2000, 4.0, 4.0), (3000, 6.0, 4.25), (4000, 8.0, 3.5)],
    }  # fmt: skip
    return {**record, **changes}


def _curve(*changes):
    """The curve of that record with some triples changed: (index, triple)."""
    curve = _record()["curve"]
    for i, triple in changes:
        curve[i] = triple
    return curve


EXAMPLE_RECORD = {
    "tokens": 1000, "active_seconds": 10.0, "tokens_per_second": 100.0, "flops": 5e12, "peak_flops": 4e11,
    "val_loss": 3.9, "curve": [(500, 5.0, 4.2), (1000, 9.9, 4.0)],
}  # fmt: skip


def _records(g):
    changes = [
        {},
        {"tokens_per_second": 500.0004},
        {"tokens_per_second": 500.3},
        {"tokens_per_second": 499.7},
        {"tokens_per_second": 501.0},
        {"tokens_per_second": 499.0},
        {"active_seconds": 6.0},
        {"active_seconds": 6.0, "tokens_per_second": 4000 / 6},
        {"flops": 3.5e12},
        {"flops": 4.0e12},
        {"peak_flops": 3.0e11},
        {"curve": _curve((1, (1000, 4.0, 4.0)), (2, (3000, 4.0, 4.25)))},
        {"curve": _curve((1, (900, 4.0, 4.0)))},
        {"curve": _curve((2, (3000, 3.9, 4.25)))},
        {"curve": _curve((3, (4000, 5.9, 3.5)))},
        {"curve": _curve((3, (4000, 1.0, 3.5)))},
        {"curve": _curve((2, (1500, 3.0, 4.25)))},
        {"curve": _curve((3, (3900, 8.0, 3.5)))},
        {"curve": _curve((3, (2900, 8.0, 3.5)))},
        {"curve": _curve((2, (3000, 6.0, 3.25)))},
        {"val_loss": 3.4999},
        {"val_loss": 3.4},
        {"tokens": 4100, "tokens_per_second": 512.5},
        {"val_loss": 4.0, "tokens_per_second": 400.0, "flops": 9e12, "curve": _curve((0, (2500, 2.0, 5.0)))},
    ]
    for change in changes:
        yield (_record(**change),)


def _seen(**other):
    """The validator with some of its rules changed: a name and what decides it."""

    def disagreements(record):
        found = _disagreements(record)
        for name, rule in other.items():
            found = found - {name} | ({name} if rule(record) else set())
        return found

    return disagreements


def _rate(record):
    return record["tokens_per_second"] / (record["tokens"] / record["active_seconds"])


def _falls(*columns, equal=False, ends=False, rises=False):
    def rule(record):
        curve = record["curve"]
        pairs = [(curve[0], curve[-1])] if ends else list(pairwise(curve))
        fell = any(y[i] <= x[i] if equal else y[i] < x[i] for x, y in pairs for i in columns)
        return fell or (rises and any(y[2] > x[2] for x, y in pairs))

    return rule


def _first_only(record):
    found = _disagreements(record)
    return next(({name} for name in ("rate", "peak", "order", "end") if name in found), set())


def _record_untouched(f):
    record = _record()
    f(record)
    return (
        None if record == _record() else "It changes the record that it was given. Whoever called it still needs that."
    )


EXERCISES = {
    "11.1": Code(
        reference=_paired_ratio,
        example=([9.0, 2.0, 2.0, 2.0, 4.0], [3.0, 1.0, 1.2, 9.0, 2.0], 1),
        cases=_timings,
        mistakes=[
            Mistake(
                "a over b",
                "Your ratios are a / b. The question is how long B takes for each second of A.",
                section="two-a-machine-that-drifts",
                wrong=lambda a, b, warmup: _paired_ratio(b, a, warmup),
            ),
            Mistake(
                "ratio of medians",
                "You take the median of each list first. Then the two may come from different moments, and what was "
                "gained by timing in pairs is lost.",
                section="two-a-machine-that-drifts",
                wrong=_with(statistics.median),
            ),
            Mistake(
                "ratio of means",
                "You divide a mean (or a sum) by another: one long interruption moves it as far as it likes, and the "
                "pairs are lost.",
                section="two-a-machine-that-drifts",
                wrong=_with(statistics.fmean),
            ),
            Mistake(
                "mean of ratios",
                "You take the mean of the ratios; one spoiled pair moves a mean as far as it likes.",
                section="two-a-machine-that-drifts",
                wrong=lambda a, b, warmup: statistics.fmean(_ratios(a, b, warmup)),
            ),
            Mistake(
                "warm-up counted",
                "The first pairs are still in. How many to leave out is the third argument.",
                section="one-what-happens-only-once",
                wrong=lambda a, b, warmup: _paired_ratio(a, b, 0),
            ),
            Mistake(
                "warm-up after sorting",
                "You leave out the smallest ratios, not the first ones: is it sorted too early?",
                wrong=lambda a, b, warmup: statistics.median(sorted(_ratios(a, b, 0))[warmup:]),
            ),
            Mistake(
                "warm-up at the end",
                "You leave out the last pairs; the slow ones are the first.",
                wrong=lambda a, b, warmup: statistics.median(_ratios(a, b, 0)[: len(a) - warmup]),
            ),
            Mistake(
                "warm-up of one",
                "You always leave out one pair, whatever warmup says.",
                wrong=lambda a, b, warmup: statistics.median(_ratios(a, b, 1)),
            ),
            Mistake(
                "one list alone",
                "The two lists no longer belong together: is the warm-up left out of only one of them?",
                wrong=lambda a, b, warmup: statistics.median([y / x for x, y in zip(a, b[warmup:], strict=False)]),
            ),
            Mistake(
                "one list alone",
                "The two lists no longer belong together: is the warm-up left out of only one of them?",
                wrong=lambda a, b, warmup: statistics.median([y / x for x, y in zip(a[warmup:], b, strict=False)]),
            ),
            Mistake(
                "lists sorted",
                "You sort the two lists, and with that pair the fastest A with the fastest B.",
                wrong=lambda a, b, warmup: _paired_ratio(sorted(a[warmup:]), sorted(b[warmup:]), 0),
            ),
            Mistake(
                "lower middle",
                "Of an even number of ratios you return the lower of the two in the middle, as torch.median does.",
                wrong=_middle(lambda ratios: ratios[(len(ratios) - 1) // 2]),
            ),
            Mistake(
                "upper middle",
                "Of an even number of ratios you return the upper of the two in the middle.",
                wrong=_middle(lambda ratios: ratios[len(ratios) // 2]),
            ),
            Mistake(
                "best ratio",
                "That is the smallest ratio. It is the luckiest pair, not the typical one.",
                wrong=_middle(lambda ratios: ratios[0]),
            ),
            Mistake(
                "not sorted",
                "You take what stands in the middle of the list as it was measured; a median needs it sorted.",
                wrong=lambda a, b, warmup: (r := _ratios(a, b, warmup)) and (r[len(r) // 2] + r[(len(r) - 1) // 2]) / 2,
            ),
            Mistake(
                "not sorted",
                "You take what stands in the middle of the list as it was measured; a median needs it sorted.",
                wrong=lambda a, b, warmup: (r := _ratios(a, b, warmup))[len(r) // 2],
            ),
            Mistake(
                "differences",
                "You subtract. A ratio says how much faster on any machine, a difference only on this one.",
                wrong=lambda a, b, warmup: statistics.median(
                    [y - x for x, y in zip(a[warmup:], b[warmup:], strict=True)]
                ),
            ),
        ],
    ),
    "11.2": Code(
        reference=_active_seconds,
        example=(FakeDevice([2.0, 2.0, 3.0, 2.0, 1.0], 5.0, 30.0), 5, 2),
        cases=_devices,
        mistakes=[
            Mistake(
                "never waited",
                "It comes out as zero: nobody waits for the queued work before reading the time after a step.",
                section="four-a-device-that-only-queues",
                wrong=_clocked(after_step=False),
            ),
            Mistake(
                "never waited",
                "Nearly nothing comes out: nobody waits for the queued work before reading the time after a step.",
                section="four-a-device-that-only-queues",
                wrong=_clocked(after_step=False, evaluation="", rehearse="queued"),
            ),
            Mistake(
                "evaluation counted",
                "The evaluations are in it: what you return is all the time from the first step to the end.",
                section="three-evaluation-inside-the-timer",
                wrong=_clocked(whole="run"),
            ),
            Mistake(
                "everything counted",
                "Rehearsal, steps and evaluations are all in it.",
                section="three-evaluation-inside-the-timer",
                wrong=_clocked(whole="all"),
            ),
            Mistake(
                "evaluation not awaited",
                "An evaluation is queued and nobody waits for it; the next step does, and is charged for it.",
                section="four-a-device-that-only-queues",
                wrong=_clocked(evaluation=""),
            ),
            Mistake(
                "rehearsal not awaited",
                "The rehearsal's work is still queued when the clock starts, and the first step is charged for it.",
                section="four-a-device-that-only-queues",
                wrong=_clocked(rehearse="queued"),
            ),
            Mistake(
                "nothing awaited but steps",
                "For rehearsal and evaluations nobody waits; the next step does, and is charged for them.",
                section="four-a-device-that-only-queues",
                wrong=_clocked(rehearse="queued", evaluation=""),
            ),
            Mistake(
                "not rehearsed",
                "The first step compiles inside your clock. What is that method for that does it beforehand?",
                section="one-what-happens-only-once",
                wrong=_clocked(rehearse=""),
            ),
            Mistake(
                "rehearsal counted",
                "The rehearsal is in it: the clock starts too early.",
                section="one-what-happens-only-once",
                wrong=lambda device, steps, eval_every: (
                    _active_seconds(device, steps, eval_every) + device.compiling + device.costs[0] + device.evaluation
                ),
            ),
            Mistake(
                "first step left out",
                "The first step's time is missing: was it taken as the warm-up? It trains the model, and counts.",
                section="one-what-happens-only-once",
                wrong=lambda device, steps, eval_every: _active_seconds(device, steps, eval_every) - device.costs[0],
            ),
            Mistake(
                "a step",
                "That is the time of a step on average; asked for is that of all steps together.",
                wrong=_mean_step,
            ),
            Mistake(
                "steps after evaluations lost",
                "Steps after the last evaluation are missing: is their time added only when an evaluation comes?",
                wrong=lambda device, steps, eval_every: _active_seconds(
                    device, steps // eval_every * eval_every, eval_every
                ),
            ),
            Mistake(
                "one round",
                "It counts as if only the steps before an evaluation took time: only the last step before each reading "
                "is in it.",
                wrong=lambda device, steps, eval_every: sum(
                    device.costs[i % len(device.costs)] for i in range(eval_every - 1, steps, eval_every)
                ),
            ),
        ],
        properties=[
            Property("rehearsed once", _rehearsed_once, section="one-what-happens-only-once"),
            Property("steps", _steps_counted, section="one-what-happens-only-once"),
            Property("evaluations", _evaluations_placed, section="three-evaluation-inside-the-timer"),
        ],
    ),
    "11.3": Code(
        reference=_welch,
        example=([4.0, 4.2, 4.4], [3.9, 4.1]),
        cases=_two_arms,
        tolerance=1e-3,  # float32 is enough
        not_allowed=("ttest_ind", "ttest_ind_from_stats", "axis_nan_policy_wrapper"),
        mistakes=[
            Mistake(
                "divided by n",
                "Your variances divide by n. Around its own mean a sample lies closer than around the true one; n − 1 "
                "makes up for that.",
                section="how-much-is-noise",
                wrong=_welch_with(variance=statistics.pvariance),
            ),
            Mistake(
                "pooled",
                "You pool the two variances into one. That is Student's test, for arms known to be equally noisy.",
                section="is-the-difference-real",
                wrong=_pooled,
            ),
            Mistake(
                "pooled degrees",
                "t is right; n_a + n_b − 2 are the degrees of freedom of Student's test, not of Welch's.",
                section="is-the-difference-real",
                wrong=_welch_with(df=lambda a, b, e: len(a) + len(b) - 2),
            ),
            Mistake(
                "smaller degrees",
                "t is right; the smaller n − 1 is a cautious bound for the degrees of freedom, not Welch's value.",
                section="is-the-difference-real",
                wrong=_welch_with(df=lambda a, b, e: min(len(a), len(b)) - 1),
            ),
            Mistake(
                "reversed",
                "The sign is turned round: it is the mean of a less that of b.",
                section="is-the-difference-real",
                wrong=_welch_with(order=-1),
            ),
            Mistake(
                "spread of single runs",
                "You divide by the spread of single runs. What counts is how far means stray: variance over n.",
                section="is-the-difference-real",
                wrong=_welch_with(divided=False),
            ),
            Mistake(
                "deviations for variances",
                "Where a variance belongs, you have a standard deviation.",
                section="is-the-difference-real",
                wrong=_welch_with(variance=statistics.stdev),
            ),
            Mistake(
                "errors added",
                "You add the two standard errors; what adds up is their squares.",
                section="is-the-difference-real",
                wrong=lambda a, b: (
                    (statistics.fmean(a) - statistics.fmean(b))
                    / sum(statistics.stdev(values) / math.sqrt(len(values)) for values in (a, b)),
                    _welch(a, b)[1],
                ),
            ),
            Mistake(
                "no root",
                "You divide by the square of the standard error: a root is missing.",
                section="is-the-difference-real",
                wrong=_welch_with(root=False),
            ),
            Mistake(
                "degrees by n",
                "t is right; in the degrees of freedom you divide by n where n − 1 belongs.",
                section="is-the-difference-real",
                wrong=_welch_with(df=_df_by_counts),
            ),
            Mistake(
                "degrees unsquared",
                "t is right; the numerator of df is the square of the sum.",
                section="is-the-difference-real",
                wrong=_welch_with(df=_df_unsquared),
            ),
            Mistake(
                "errors unsquared",
                "t is right; below the line of df each e² is squared.",
                section="is-the-difference-real",
                wrong=_welch_with(df=_df_e_unsquared),
            ),
            Mistake(
                "squares added",
                "t is right; the numerator of df is the square of the sum, not the sum of the squares.",
                section="is-the-difference-real",
                wrong=_welch_with(df=_df_squares_added),
            ),
            Mistake(
                "rounded",
                "t is right; the degrees of freedom of Welch's test are not a whole number, and stay as they are.",
                section="is-the-difference-real",
                wrong=lambda a, b: (_welch(a, b)[0], round(_welch(a, b)[1])),
            ),
            Mistake(
                "rounded",
                "t is right; the degrees of freedom of Welch's test are not a whole number, and stay as they are.",
                section="is-the-difference-real",
                wrong=lambda a, b: (_welch(a, b)[0], math.floor(_welch(a, b)[1])),
            ),
            Mistake("pair reversed", "t comes first, then df.", wrong=lambda a, b: _welch(a, b)[::-1]),
            Mistake(
                "unsigned",
                "Your t is never negative; its sign says which arm is lower.",
                section="is-the-difference-real",
                wrong=lambda a, b: (abs(_welch(a, b)[0]), _welch(a, b)[1]),
            ),
        ],
    ),
    "11.4": Code(
        reference=_seeds_needed,
        example=(0.02, 0.01, 0.01, 0.9),
        cases=_plans,
        mistakes=[
            Mistake(
                "two-sided",
                "You take z at 1 − alpha / 2: that is the two-sided test. Only a lower loss counts here.",
                section="how-many-seeds",
                wrong=_plan_with(level=lambda alpha: _z(1 - alpha / 2)),
            ),
            Mistake(
                "one noisy arm",
                "The factor 2 is missing: both arms are noisy, and the variance of a difference is the sum of two.",
                section="how-many-seeds",
                wrong=_plan_with(two=1),
            ),
            Mistake(
                "both arms together",
                "You count the runs of both arms together; runs an arm are asked for.",
                section="how-many-seeds",
                wrong=lambda *plan: 2 * _seeds_needed(*plan),
            ),
            Mistake(
                "two squared",
                "Your n is twice as large before rounding: does the 2 stand inside the square?",
                section="how-many-seeds",
                wrong=_plan_with(two=4),
            ),
            Mistake(
                "not squared",
                "The square is missing: half the effect takes four times the seeds, not twice.",
                section="how-many-seeds",
                wrong=_plan_with(square=1),
            ),
            Mistake(
                "upside down",
                "Spread and effect are exchanged: a smaller effect must take more seeds.",
                section="how-many-seeds",
                wrong=_plan_with(over=True),
            ),
            Mistake(
                "rounded down",
                "You round down; then the power falls short of what was asked.",
                section="how-many-seeds",
                wrong=_plan_with(up=math.floor),
            ),
            Mistake(
                "to the nearest",
                "You round to the nearest count; then the power may fall short of what was asked.",
                section="how-many-seeds",
                wrong=_plan_with(up=round),
            ),
            Mistake(
                "one run",
                "Where the effect is large you return 1; one run an arm has no spread to test with.",
                section="how-many-seeds",
                wrong=_plan_with(least=1),
            ),
            Mistake(
                "never less than 3",
                "You never return less than 3; the least is 2.",
                section="how-many-seeds",
                wrong=_plan_with(least=3),
            ),
            Mistake(
                "level's sign",
                "z(alpha) is negative; the threshold is z(1 − alpha).",
                section="how-many-seeds",
                wrong=_plan_with(level=_z),
            ),
            Mistake(
                "power's sign",
                "z(1 − power) is negative; it takes z(power).",
                section="how-many-seeds",
                wrong=_plan_with(reach=lambda power: _z(1 - power)),
            ),
            Mistake(
                "no power",
                "Power is left out: with so many seeds the difference would be shown in one try of two.",
                section="how-many-seeds",
                wrong=_plan_with(reach=lambda power: 0.0),
            ),
            Mistake(
                "fixed level",
                "The level stands fixed in your formula: alpha is not used.",
                section="how-many-seeds",
                wrong=_plan_with(level=lambda alpha: _z(0.99)),
            ),
            Mistake(
                "fixed power",
                "The power stands fixed in your formula: the argument is not used.",
                section="how-many-seeds",
                wrong=_plan_with(reach=lambda power: _z(0.9)),
            ),
            Mistake(
                "both fixed",
                "Level and power stand fixed in your formula: the arguments are not used.",
                section="how-many-seeds",
                wrong=_plan_with(level=lambda alpha: _z(0.99), reach=lambda power: _z(0.9)),
            ),
            Mistake(
                "added too late",
                "You square the two z's one by one; the square is of their sum.",
                section="how-many-seeds",
                wrong=lambda effect, spread, alpha=0.01, power=0.9: max(
                    2, math.ceil(2 * (_z(1 - alpha) ** 2 + _z(power) ** 2) * (spread / effect) ** 2)
                ),
            ),
            Mistake(
                "z not squared",
                "The square takes in the z's too, not only the ratio of spread and effect.",
                section="how-many-seeds",
                wrong=lambda effect, spread, alpha=0.01, power=0.9: max(
                    2, math.ceil(2 * (_z(1 - alpha) + _z(power)) * (spread / effect) ** 2)
                ),
            ),
            Mistake(
                "ratio not squared",
                "The square takes in the ratio of spread and effect too, not only the z's.",
                section="how-many-seeds",
                wrong=lambda effect, spread, alpha=0.01, power=0.9: max(
                    2, math.ceil(2 * (_z(1 - alpha) + _z(power)) ** 2 * spread / effect)
                ),
            ),
        ],
        properties=[
            Property("an int", _an_int, section="how-many-seeds"),
            Property("defaults", _defaults, section="how-many-seeds"),
        ],
    ),
    "11.5": Code(
        reference=_disagreements,
        example=(EXAMPLE_RECORD,),
        cases=_records,
        mistakes=[
            Mistake(
                "rate to the digit",
                "You ask for an exact rate; a difference of 0.1 % is rounding, and allowed.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(rate=lambda r: _rate(r) != 1),
            ),
            Mistake(
                "rate one way",
                "Only a rate that is too high is noticed. One that is too low disagrees as well.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(rate=lambda r: _rate(r) > 1.001),
            ),
            Mistake(
                "rate one way",
                "Only a rate that is too low is noticed. One that is too high disagrees as well.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(rate=lambda r: _rate(r) < 0.999),
            ),
            Mistake(
                "absolute tolerance",
                "Your tolerance on the rate is in tokens a second; 0.1 % is a share.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(rate=lambda r: abs(r["tokens_per_second"] - r["tokens"] / r["active_seconds"]) > 1e-3),
            ),
            Mistake(
                "one per cent",
                "Your tolerance on the rate is wider than 0.1 %, which is 0.001.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(rate=lambda r: abs(_rate(r) - 1) > 0.01),
            ),
            Mistake(
                "no slack",
                "The rule on the peak leaves a slack of 1.2; you refuse whatever is above the peak itself.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(peak=lambda r: r["flops"] / r["active_seconds"] > r["peak_flops"]),
            ),
            Mistake(
                "FLOPs for a rate",
                "You compare all FLOPs of the run with a peak in FLOPs a *second*.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(peak=lambda r: r["flops"] > 1.2 * r["peak_flops"]),
            ),
            Mistake(
                "slack turned round",
                "You divide the peak by 1.2: the slack works against the record.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(peak=lambda r: 1.2 * r["flops"] / r["active_seconds"] > r["peak_flops"]),
            ),
            Mistake(
                "peak turned round",
                "You say peak where the machine stays below it.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(peak=lambda r: r["flops"] / r["active_seconds"] < 1.2 * r["peak_flops"]),
            ),
            Mistake(
                "equal refused",
                "Two triples with equal tokens or equal seconds are allowed; only going down is not.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=_falls(0, 1, equal=True)),
            ),
            Mistake(
                "seconds not ordered",
                "A curve whose seconds go down passes.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=_falls(0)),
            ),
            Mistake(
                "seconds not ordered",
                "A curve whose seconds go down passes. Sorting triples compares their tokens first, and often nothing "
                "else.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=lambda r: r["curve"] != sorted(r["curve"])),
            ),
            Mistake(
                "tokens not ordered",
                "A curve whose tokens go down passes.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=_falls(1)),
            ),
            Mistake(
                "only both",
                "Tokens or seconds: either going down is enough.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(
                    order=lambda r: any(y[0] < x[0] and y[1] < x[1] for x, y in pairwise(r["curve"])),
                ),
            ),
            Mistake(
                "ends compared",
                "You compare the first triple with the last; a step back in the middle passes.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=_falls(0, 1, ends=True)),
            ),
            Mistake(
                "loss must fall",
                "You refuse a loss that goes up. That happens in honest runs.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=_falls(0, 1, rises=True)),
            ),
            Mistake(
                "loss at the end not compared",
                "The curve's last loss is not compared with val_loss.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(end=lambda r: r["curve"][-1][0] != r["tokens"]),
            ),
            Mistake(
                "tokens at the end not compared",
                "The tokens of the last triple are not compared with the record's.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(end=lambda r: r["curve"][-1][2] != r["val_loss"]),
            ),
            Mistake(
                "both at the end",
                "Either is enough for end: other tokens, or another loss.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(end=lambda r: r["curve"][-1][0] != r["tokens"] and r["curve"][-1][2] != r["val_loss"]),
            ),
            Mistake(
                "loss about equal",
                "You forgive a small difference between the curve's last loss and val_loss. It is one number, written "
                "twice: it must be equal.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(
                    end=lambda r: (
                        r["curve"][-1][0] != r["tokens"]
                        or not math.isclose(r["curve"][-1][2], r["val_loss"], rel_tol=1e-3)
                    )
                ),
            ),
            Mistake(
                "lowest loss",
                "You compare val_loss with the curve's lowest loss; it is the last one that counts.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(
                    end=lambda r: r["curve"][-1][0] != r["tokens"] or min(x[2] for x in r["curve"]) != r["val_loss"]
                ),
            ),
            Mistake(
                "seconds compared too",
                "You compare the last triple's seconds as well; no rule here asks for that.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(
                    end=lambda r: r["curve"][-1] != (r["tokens"], r["active_seconds"], r["val_loss"]),
                ),
            ),
            Mistake(
                "first fault only",
                "It stops at the first fault. All of them belong in the set.",
                section="a-record-and-how-it-is-refused",
                wrong=_first_only,
            ),
            Mistake(
                "rate forgotten",
                "The rate is never refused.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(rate=lambda r: False),
            ),
            Mistake(
                "peak forgotten",
                "The peak is never refused.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(peak=lambda r: False),
            ),
            Mistake(
                "order forgotten",
                "A curve that goes back is never refused.",
                section="a-record-and-how-it-is-refused",
                wrong=_seen(order=lambda r: False),
            ),
            Mistake(
                "not a set",
                "The names belong in a set, which has no order and holds each name once; empty, it is set().",
                sign=lambda f: isinstance(f(_record(val_loss=3.4)), list | tuple | str | dict),
            ),
            Mistake(
                "empty is None",
                "A record that agrees with itself gives an empty set; yours gives nothing at all.",
                sign=lambda f: f(_record()) is None and isinstance(f(_record(val_loss=3.4)), set),
            ),
        ],
        properties=[
            Property("record untouched", _record_untouched),
            Property(
                "a set",
                lambda f: (
                    None
                    if isinstance(f(_record()), set | frozenset)
                    else "Without a fault it returns no set; an empty one is set()."
                ),
            ),
        ],
    ),
    "11.6": Choice(
        right="c",
        wrong={
            "a": "The best of ten is the luckiest of ten. With one recipe run as both arms, one of the two bests is "
            "lower too. The means differ by less than half a standard error.",
            "b": "That a difference is not shown does not show that there is none. Its standard error is about 0.019 "
            "nats: a loss worse by 0.005, and by more, is not ruled out.",
            "d": "Whoever looks after every seed and stops at the first good moment tests ten times, not once. The "
            "p-value holds for a number of seeds fixed beforehand.",
        },
        section="three-traps",
    ),
}
