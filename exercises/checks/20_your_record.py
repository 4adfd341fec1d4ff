"""The checks of chapter 20: which plan, honest pairs, lucky changes, a record of one's own."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Number, Property

PAIRS, MANY, CASES = "the-verdict", "how-many-pairs-does-your-effect-need", "three-cases"

UPSIDE_DOWN = "You took r4 minus best. Asked for is the loss of best minus that of r4."
LOSS = "That is a loss. The mean of the differences, best minus r4, is asked for."

# --- 20.2


def _arms(g):
    def runs(seeds):
        return [(seed, 4 + 0.05 * torch.randn(1, generator=g).item()) for seed in seeds]

    yield [(0, 4.0)], [(0, 3.5)]
    yield runs(range(7)), runs(range(7))
    yield runs([2, 0, 1]), runs([1, 2, 0])
    yield runs([4, 3, 2, 1, 0]), runs([0, 1, 2, 3, 4])
    for a, b in (
        ([0, 2], [0, 2]), ([0, 1, 1], [0, 1, 2]), ([0, 1, 2], [0, 1, 1]), ([0, 1, 2], [0, 1]), ([0, 1], [0, 1, 2]),
        ([1, 2, 3], [1, 2, 3]), ([0, 0], [0, 0]), ([0, 1, 2], [3, 4, 5]), ([0, 1, 2, 2], [0, 1, 2, 2]),
        ([0, 1, 3], [0, 1, 2]),
    ):  # fmt: skip
        yield runs(a), runs(b)


# --- 20.3


def _tries(g):
    yield 1, 1.0, 0.0
    yield 20, 0.05, 0.05
    yield 7, 0.004, 0.012
    for _ in range(4):
        n, sd, gain = torch.rand(3, generator=g, dtype=torch.float64).tolist()
        yield 2 + int(40 * n), 0.005 + 0.05 * sd, 0.06 * gain


def _negative(f):
    if not 0 <= f(3, 0.01, 0.2) < 1e-6:
        return "A gain of twenty standard deviations should never be found by luck."


EXERCISES = {
    "20.1": Choice(
        right="c",
        wrong={
            "a": "Two machines may differ by more than your effect, and without pairs the 0.05 between seeds come back.",
            "b": "Which seven are kept is decided after the losses are seen. That is picking, even with a good reason.",
            "d": "The sign flips of five pairs cannot come below 1/32 = 0.031, however clear the effect.",
        },
        section=PAIRS,
    ),
    "20.2": Code(
        example=([(0, 4.0), (1, 3.5)], [(1, 3.25), (0, 4.5)]),
        cases=_arms,
        section=PAIRS,
        edits="""
            picked seeds pass:
            list(range(len(runs))) ~> sorted({seed for seed, _ in a})
            Seeds that do not run from 0 to n − 1 pass: somebody may have chosen them.

            doubled seeds pass:
            sorted(seed for seed, _ in runs) != list(range(len(runs))) ~> {s for s, _ in runs} != set(range(max(a)[0] + 1))
            A seed that is there twice passes. A dictionary or a set forgets that it came twice.

            only one list:
            for runs in (a, b) ~> for runs in (a,)
            for runs in (a, b) ~> for runs in (b,)
            You examine one of the two lists. The other may have a seed twice, or others.

            lengths may differ:
            return len(a) == len(b) ~> return True
            A seed that only one recipe has passes: nobody knows why the other run is missing.
        """,
    ),
    "20.3": Code(
        example=(16, 0.01, 0.01),
        cases=_tries,
        section=CASES,
        properties=[Property("no luck is that great", _negative)],
        edits="""
            both sides:
            return n * below ~> return 2 * n * below
            You count the changes that look worse by as much, too. Only those that look better are asked for.

            at least one:
            return n * below ~> return 1 - (1 - below) ** n
            That is the probability that at least one looks better. The expected number is asked for.

            the other tail:
            -gain / sd ~> gain / sd
            Those are the changes that do not look better by the gain. Take the lower tail.

            one of them:
            return n * below ~> return below
            That is the probability for one change. There are n of them.

            unpaired:
            -gain / sd / ~> -gain / sd / math.sqrt(2) /
            You widened the spread by √2, as for two runs that are not a pair. The sd given is that of differences already.

            erf without the root:
            -gain / sd / math.sqrt(2) ~> -gain / sd
            erf takes x / √2, not x.
        """,
    ),
    "20.4": Number(
        value=-0.955,
        within=0.06,
        wrong=[(0.85, 1.1, UPSIDE_DOWN), (4.0, 9.0, LOSS)],
        section=CASES,
    ),
}
