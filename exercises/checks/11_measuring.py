"""The checks of chapter 11: interleaved ratios, a clock, Welch's t, how many seeds, what disagrees in a record."""

from types import SimpleNamespace

import torch

from blueberry_checks import rules
from blueberry_checks.engine.examine import Choice, Code, Mistake, Property
from blueberry_checks.fake_device import FakeDevice

DRIFT, INSIDE, QUEUES = (
    "two-a-machine-that-drifts", "three-evaluation-inside-the-timer",
    "four-a-device-that-only-queues",
)  # fmt: skip
REAL, SEEDS, REFUSED = "is-the-difference-real", "how-many-seeds", "a-record-and-how-it-is-refused"

# --- 11.1


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


# --- 11.2


def _devices(g):
    yield FakeDevice([2.0], 5.0, 30.0), 1, 1
    yield FakeDevice([1.5, 0.5, 2.5], 4.0, 20.0), 3, 5
    yield FakeDevice([1.0, 2.0, 4.0, 8.0], 100.0, 1000.0), 4, 1
    for steps, every in ((6, 3), (7, 3), (10, 4)):
        costs = (torch.rand(steps, generator=g, dtype=torch.float64) + 0.5).tolist()
        yield FakeDevice(costs, 3.25, 17.5), steps, every


def _asked_of(f, steps, eval_every):
    device = FakeDevice([1.0, 2.0], 3.0, 4.0)
    methods = {name: getattr(device, name) for name in ("now", "step", "evaluate", "rehearse", "synchronize")}
    f(SimpleNamespace(**methods), steps, eval_every)  # there is no other way in
    return device.calls


def _as_ours(f):
    for steps in (7, 6):
        ours, made = (", ".join(_asked_of(g, steps, 3)) for g in (rules("11.2").reference, f))
        if made != ours:
            return (
                f"With {steps} steps and eval_every = 3 the device should be asked to {ours}; you asked it to {made}."
            )


# --- 11.3


def _two_arms(g):
    def losses(n, mean, spread):
        return (mean + spread * torch.randn(n, generator=g, dtype=torch.float64)).tolist()

    yield [1.0, 3.0], [2.0, 6.0]
    yield [4.0, 4.0, 4.0], [3.9, 4.1, 4.3]
    yield losses(5, 4.0, 0.03), losses(5, 3.9, 0.01)
    yield losses(5, 4.0, 0.01), losses(3, 4.1, 0.05)
    yield losses(10, 0.0, 2.0), losses(4, 1.0, 0.3)


# --- 11.4


def _plans(g):
    yield 0.02, 0.01, 0.05, 0.8
    yield 0.5, 0.01, 0.01, 0.9
    yield 0.005, 0.03, 0.01, 0.9
    yield 0.03, 0.02, 0.001, 0.95
    yield 0.05, 0.02, 0.05, 0.5
    yield 0.011, 0.013, 0.025, 0.99
    yield 0.4, 0.9, 0.2, 0.6


def _an_int(f):
    got = f(0.02, 0.01)
    return None if type(got) is int else f"A count of runs is an int; it returned {type(got).__name__} {got!r}."


def _defaults(f):
    if f(0.013, 0.01) != f(0.013, 0.01, 0.01, 0.9):
        return "Without alpha and power it should count for a level of 0.01 and a power of 0.9."


# --- 11.5


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
        {}, {"tokens_per_second": 500.0004}, {"tokens_per_second": 500.3}, {"tokens_per_second": 499.7},
        {"tokens_per_second": 499.5002}, {"tokens_per_second": 501.0}, {"tokens_per_second": 499.0},
        {"active_seconds": 6.0}, {"active_seconds": 6.0, "tokens_per_second": 4000 / 6}, {"flops": 2.0e12},
        {"flops": 3.5e12}, {"flops": 4.0e12}, {"peak_flops": 3.0e11},
        {"curve": _curve((1, (1000, 4.0, 4.0)), (2, (3000, 4.0, 4.25)))}, {"curve": _curve((1, (900, 4.0, 4.0)))},
        {"curve": _curve((2, (3000, 3.9, 4.25)))}, {"curve": _curve((3, (4000, 5.9, 3.5)))},
        {"curve": _curve((3, (4000, 1.0, 3.5)))}, {"curve": _curve((2, (1500, 3.0, 4.25)))},
        {"curve": _curve((3, (3900, 8.0, 3.5)))}, {"curve": _curve((3, (2900, 8.0, 3.5)))},
        {"curve": _curve((2, (3000, 6.0, 3.25)))}, {"val_loss": 3.4999}, {"val_loss": 3.4},
        {"tokens": 4100, "tokens_per_second": 512.5}, {"tokens": 4100, "tokens_per_second": 512.5, "val_loss": 3.4},
        {"val_loss": 4.0, "tokens_per_second": 400.0, "flops": 9e12, "curve": _curve((0, (2500, 2.0, 5.0)))},
    ]  # fmt: skip
    for change in changes:
        yield (_record(**change),)


EXERCISES = {
    "11.1": Code(
        example=([9.0, 2.0, 2.0, 2.0, 4.0], [3.0, 1.0, 1.2, 9.0, 2.0], 1),
        cases=_timings,
        section=DRIFT,
        edits="""
            a over b:
            y / x ~> x / y
            Your ratios are a / b. The question is how long B takes for each second of A.

            ratio of medians:
            sorted(y / x for x, y in pairs) ~> sorted(y for x, y in pairs) && half = ~> a = sorted(x for x, y in pairs); half = && half]) / 2 ~> half]) / (a[half] + a[-1 - half])
            You take the median of each list first. Then the two may come from different moments, and what was
            gained by timing in pairs is lost.

            ratio of means:
            (ratios[half] + ratios[-1 - half]) / 2 ~> sum(b[warmup:]) / sum(a[warmup:])
            You divide a mean (or a sum) by another: one long interruption moves it as far as it likes, and the
            pairs are lost.

            mean of ratios:
            (ratios[half] + ratios[-1 - half]) / 2 ~> sum(ratios) / len(ratios)
            You take the mean of the ratios; one spoiled pair moves a mean as far as it likes.

            warm-up counted [one-what-happens-only-once]:
            [warmup:] ~>
            The first pairs are still in. How many to leave out is the third argument.

            warm-up of one [one-what-happens-only-once]:
            [warmup:] ~> [1:]
            [warmup:] ~> [1:] && (ratios[half] + ratios[-1 - half]) / 2 ~> __import__("statistics").median(ratios)
            You always leave out one pair, whatever warmup says.

            one list alone [one-what-happens-only-once]:
            zip(a, b))[warmup:] ~> zip(a, b[warmup:]))
            zip(a, b))[warmup:] ~> zip(a[warmup:], b))
            The two lists no longer belong together: is the warm-up left out of only one of them?

            lower middle:
            (ratios[half] + ratios[-1 - half]) / 2 ~> ratios[-1 - half]
            (ratios[half] + ratios[-1 - half]) / 2 ~> ratios[half]
            Of an even number of ratios you return one of the two in the middle, as torch.median does.

            not sorted:
            sorted(y / x for x, y in pairs) ~> [y / x for x, y in pairs]
            sorted(y / x for x, y in pairs) ~> [y / x for x, y in pairs] && (ratios[half] + ratios[-1 - half]) / 2 ~> ratios[half]
            You take what stands in the middle of the list as it was measured; a median needs it sorted.
        """,
    ),
    "11.2": Code(
        example=(FakeDevice([2.0, 2.0, 3.0, 2.0, 1.0], 5.0, 30.0), 5, 2),
        cases=_devices,
        section=QUEUES,
        edits="""
            never waited:
            active += device.now() - start ~> pass && device.step() ~> device.step(); active += device.now() - start
            It comes out as zero: nobody waits for the queued work before reading the time after a step.

            evaluation counted [three-evaluation-inside-the-timer]:
            active = 0.0 ~> begin = device.now() && active += ~> active = && return active ~> return device.now() - begin
            The evaluations are in it: what you return is all the time from the first step to the end.

            everything counted [three-evaluation-inside-the-timer]:
            device.rehearse() ~> begin = device.now(); device.rehearse() && active += ~> active = && return active ~> return device.now() - begin
            Rehearsal, steps and evaluations are all in it.

            evaluation not awaited:
            device.evaluate() ~> device.evaluate(); continue
            An evaluation is queued and nobody waits for it; the next step does, and is charged for it.

            rehearsal not awaited:
            device.rehearse() ~> pass && active = 0.0 ~> active = 0.0; device.rehearse()
            The rehearsal's work is still queued when the clock starts, and the first step is charged for it.

            not rehearsed [one-what-happens-only-once]:
            device.rehearse() ~> pass
            The first step compiles inside your clock. What is that method for that does it beforehand?

            first step left out [one-what-happens-only-once]:
            active += device.now() - start ~> active += (device.now() - start) * (step > 1)
            The first step's time is missing: was it taken as the warm-up? It trains the model, and counts.

            steps after evaluations lost:
            range(1, steps + 1) ~> range(1, steps // eval_every * eval_every + 1)
            Steps after the last evaluation are missing: is their time added only when an evaluation comes?
        """,
        properties=[Property("evaluations", _as_ours, INSIDE)],
    ),
    "11.3": Code(
        example=([4.0, 4.2, 4.4], [3.9, 4.1]),
        cases=_two_arms,
        tolerance=1e-3,  # float32 is enough
        not_allowed=("ttest_ind", "ttest_ind_from_stats"),
        section=REAL,
        edits="""
            divided by n [how-much-is-noise]:
            / freedom_a / len(a) ~> / len(a) / len(a) && / freedom_b / len(b) ~> / len(b) / len(b)
            len(a) - 1, len(b) - 1 ~> len(a), len(b)
            Your variances divide by n. Around its own mean a sample lies closer than around the true one; n − 1
            makes up for that.

            pooled:
            (e_a + e_b) ** 0.5 ~> ((e_a * len(a) * freedom_a + e_b * len(b) * freedom_b) / (freedom_a + freedom_b) * (1 / len(a) + 1 / len(b))) ** 0.5 && (e_a + e_b) ** 2 / (e_a**2 / freedom_a + e_b**2 / freedom_b) ~> freedom_a + freedom_b
            You pool the two variances into one. That is Student's test, for arms known to be equally noisy.

            pooled degrees:
            (e_a + e_b) ** 2 / (e_a**2 / freedom_a + e_b**2 / freedom_b) ~> freedom_a + freedom_b
            t is right; n_a + n_b − 2 are the degrees of freedom of Student's test, not of Welch's.

            reversed:
            mean_a - mean_b ~> mean_b - mean_a
            The sign is turned round: it is the mean of a less that of b.

            spread of single runs:
            freedom_a / len(a) ~> freedom_a && freedom_b / len(b) ~> freedom_b
            You divide by the spread of single runs. What counts is the standard error of a mean: variance over n.

            errors added:
            (e_a + e_b) ** 0.5 ~> (e_a**0.5 + e_b**0.5)
            You add the two standard errors; what adds up is their squares.

            no root:
            (e_a + e_b) ** 0.5 ~> (e_a + e_b)
            You divide by the square of the standard error: a root is missing.

            errors unsquared:
            e_a**2 ~> e_a && e_b**2 ~> e_b
            t is right; below the line of df each e² is squared.

            rounded:
            freedom_b) ~> freedom_b) // 1
            return t, ~> return t, round( && freedom_b) ~> freedom_b))
            t is right; the degrees of freedom of Welch's test are not a whole number, and stay as they are.

            unsigned:
            (mean_a - mean_b) ~> abs(mean_a - mean_b)
            Your t is never negative; its sign says which arm is lower.
        """,
    ),
    "11.4": Code(
        example=(0.02, 0.01, 0.01, 0.9),
        cases=_plans,
        section=SEEDS,
        edits="""
            two-sided:
            1 - alpha, ~> 1 - alpha / 2,
            You take z at 1 − alpha / 2: that is the two-sided test. Only a lower loss counts here.

            one noisy arm:
            2 * (room ~> (room
            The factor 2 is missing: both arms are noisy, and the variance of a difference is the sum of two.

            both arms together:
            return ~> return 2 *
            You count the runs of both arms together; runs an arm are asked for.

            two squared:
            2 * (room ~> 4 * (room
            Your n is twice as large before rounding: does the 2 stand inside the square?

            upside down:
            spread / effect ~> effect / spread
            Spread and effect are exchanged: a smaller effect must take more seeds.

            to the nearest:
            math.ceil ~> round
            math.ceil ~> math.floor
            You round down or to the nearest count; then the power may fall short of what was asked.

            one run:
            max(2 ~> max(1
            Where the effect is large you return 1; one run an arm has no spread to test with.

            level's sign:
            [1 - alpha ~> [alpha
            , power] ~> , 1 - power]
            One of the two z's has the wrong sign: z(alpha) and z(1 − power) are negative; it takes z(1 − alpha) and z(power).

            no power:
            , power] ~> , 0.5]
            Power is left out: with so many seeds the difference would be shown in one try of two.

            both fixed:
            [1 - alpha, power] ~> [0.99, 0.9]
            [1 - alpha ~> [0.99
            , power] ~> , 0.9]
            Level or power, or both, stand fixed in your formula: an argument is not used.

            z not squared:
            (room * spread / effect) ** 2 ~> room * (spread / effect) ** 2
            ) ** 2) ~> ))
            (room * spread / effect) ** 2 ~> room**2 * spread / effect
            The square is of everything: the sum of the z's and the ratio of spread and effect.
        """,
        properties=[Property("an int", _an_int), Property("defaults", _defaults)],
    ),
    "11.5": Code(
        example=(EXAMPLE_RECORD,),
        cases=_records,
        section=REFUSED,
        edits="""
            rate to the digit:
            > 0.001 * rate ~> > 0
            You ask for an exact rate; a difference of 0.1 % is rounding, and allowed.

            rate one way:
            abs(record["tokens_per_second"] - rate) ~> record["tokens_per_second"] - rate
            Only a rate that is too high is noticed. One that is too low disagrees as well.

            rate one way:
            abs(record["tokens_per_second"] - rate) ~> rate - record["tokens_per_second"]
            Only a rate that is too low is noticed. One that is too high disagrees as well.

            no slack:
            1.2 * ~>
            The rule on the peak leaves a slack of 1.2; you refuse whatever is above the peak itself.

            FLOPs for a rate:
            ["flops"] / record["active_seconds"] ~> ["flops"]
            You compare all FLOPs of the run with a peak in FLOPs a *second*.

            equal refused:
            < before ~> <= before
            Two triples with equal tokens or equal seconds are allowed; only going down is not.

            seconds not ordered:
            or after[1] < before[1] ~>
            after[0] < before[0] or after[1] < before[1] ~> after < before
            after[0] < before[0] or ~>
            before[0] or ~> before[0] and
            A curve whose tokens or seconds go down passes: either is enough. Sorting triples compares tokens first,
            and often nothing else.

            ends compared:
            zip(curve, curve[1:]) ~> [(curve[0], curve[-1])]
            You compare the first triple with the last; a step back in the middle passes.

            loss must fall:
            < before[1] ~> < before[1] or after[2] > before[2]
            You refuse a loss that goes up. That happens in honest runs.

            both at the end:
            or curve[-1] ~> and curve[-1]
            or curve[-1][2] != record["val_loss"] ~>
            curve[-1][0] != record["tokens"] or ~>
            Either is enough for end: other tokens, or another loss.

            loss about equal:
            curve[-1][2] != record["val_loss"] ~> abs(curve[-1][2] - record["val_loss"]) > 0.01
            curve[-1][2] != record["val_loss"] ~> abs(curve[-1][2] - record["val_loss"]) > 0.001
            You forgive a small difference between the curve's last loss and val_loss. It is one number, written
            twice: it must be equal.

            lowest loss:
            curve[-1][2] != ~> min(x[2] for x in curve) !=
            You compare val_loss with the curve's lowest loss; it is the last one that counts.

            first fault only:
            return found ~> return {name for name in ("rate", "peak", "order", "end") if name in found and not any(n in found for n in ("rate", "peak", "order", "end")[: ("rate", "peak", "order", "end").index(name)])}
            It stops at the first fault. All of them belong in the set.
        """,
        mistakes=[
            Mistake(
                "not a set",
                "The names belong in a set, which has no order and holds each name once; empty, it is set().",
                sign=lambda f: isinstance(f(_record(val_loss=3.4)), list | tuple | str | dict),
            )
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
