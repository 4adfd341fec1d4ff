"""Right and wrong answers to the exercises of chapter 20."""

import math
import statistics

from checks.planting import Planted, Wrong

UPSIDE_DOWN = "You took r4 minus best. Asked for is the loss of best minus that of r4."
LOSS = "That is a loss. The mean of the differences, best minus r4, is asked for."

# --- written from the text alone, before the checker


def wrong_2_sets(a, b):
    """Sets forget what is there twice."""
    return {s for s, _ in a} == {s for s, _ in b} == set(range(len({s for s, _ in a})))


def wrong_2_same_seeds(a, b):
    """The same seeds, each once; which ones does not matter."""
    return sorted(s for s, _ in a) == sorted(s for s, _ in b) and len(dict(a)) == len(a)


def wrong_2_only_a(a, b):
    """Looks at one list and the lengths."""
    return sorted(s for s, _ in a) == list(range(len(a))) and len(a) == len(b)


def wrong_2_lengths_free(a, b):
    """Each list on its own."""
    return all(sorted(s for s, _ in runs) == list(range(len(runs))) for runs in (a, b))


def wrong_2_sorts_in_place(a, b):
    """Right, but the caller's lists are sorted."""
    a.sort()
    b.sort()
    return [s for s, _ in a] == [s for s, _ in b] == list(range(len(a)))


def correct_2_one_line(a, b):
    return sorted(s for s, _ in a) == sorted(s for s, _ in b) == list(range(len(a)))


def correct_2_counts(a, b):
    n = len(a)
    return len(b) == n and all({s for s, _ in runs} == set(range(n)) for runs in (a, b))


def wrong_3_two_sided(n, sd, gain):
    return n * (1 - math.erf(gain / sd / math.sqrt(2)))


def wrong_3_at_least_one(n, sd, gain):
    p = statistics.NormalDist(0, sd).cdf(-gain)
    return 1 - (1 - p) ** n


def wrong_3_one_change(n, sd, gain):
    return statistics.NormalDist(0, sd).cdf(-gain)


def wrong_3_two_runs(n, sd, gain):
    return n * statistics.NormalDist(0, sd * math.sqrt(2)).cdf(-gain)


def wrong_3_density(n, sd, gain):
    """The density for the probability."""
    return n * statistics.NormalDist(0, sd).pdf(gain)


def wrong_3_whole_number(n, sd, gain):
    return round(n * statistics.NormalDist(0, sd).cdf(-gain))


def correct_3_normal_dist(n, sd, gain):
    return n * statistics.NormalDist(0, sd).cdf(-gain)


def correct_3_erfc(n, sd, gain):
    return n * math.erfc(gain / sd / 2**0.5) / 2


PLANTED = {
    "20.1": Planted(
        correct=["c", "C", "(c)"],
        wrong=[Wrong(letter, letter, from_text=True) for letter in "abd"] + [Wrong(3, "type", from_text=True)],
    ),
    "20.2": Planted(
        correct=[correct_2_one_line, correct_2_counts],
        wrong=[
            Wrong(wrong_2_sets, "doubled seeds pass", from_text=True),
            Wrong(wrong_2_same_seeds, "picked seeds pass", from_text=True),
            Wrong(wrong_2_only_a, "only one list", from_text=True),
            Wrong(wrong_2_lengths_free, "lengths may differ", from_text=True),
            Wrong(wrong_2_sorts_in_place, "mutated", from_text=True),
        ],
    ),
    "20.3": Planted(
        correct=[correct_3_normal_dist, correct_3_erfc],
        wrong=[
            Wrong(wrong_3_two_sided, "both sides", from_text=True),
            Wrong(wrong_3_at_least_one, "at least one", from_text=True),
            Wrong(wrong_3_one_change, "one of them", from_text=True),
            Wrong(wrong_3_two_runs, "unpaired", from_text=True),
            Wrong(wrong_3_density, "value", from_text=True),
            Wrong(wrong_3_whole_number, "relation:rounded", from_text=True),
        ],
    ),
    "20.4": Planted(
        correct=[-0.96, -0.94],
        wrong=[
            Wrong(0.955, UPSIDE_DOWN, from_text=True),
            Wrong(5.22, LOSS, from_text=True),
            Wrong(-2.0, "value", from_text=True),
            Wrong("ahead", "type", from_text=True),
        ],
    ),
}
