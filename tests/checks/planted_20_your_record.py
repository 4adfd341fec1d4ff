"""Right and wrong answers to the exercises of chapter 20."""

import math
import statistics

from checks.planting import Planted, Wrong

# --- written from the text alone, before the checker


def wrong_2_sorts_both_and_zips(a, b):
    """Pairs the k-th seed with the k-th; no refusal."""
    return [y[1] - x[1] for x, y in zip(sorted(a), sorted(b), strict=False)]


def wrong_2_dictionaries_first(a, b):
    """The last of two runs of a seed wins."""
    a, b = dict(a), dict(b)
    if set(a) != set(b) or set(a) != set(range(len(a))):
        raise ValueError
    return [b[s] - a[s] for s in sorted(a)]


def wrong_2_shared_seeds(a, b):
    """Keeps the seeds that both have."""
    a, b = dict(a), dict(b)
    return [b[s] - a[s] for s in sorted(set(a) & set(b))]


def wrong_2_picked_seeds_pass(a, b):
    """Equal seeds, but not 0 to n − 1."""
    x, y = dict(a), dict(b)
    if len(x) < len(a) or len(y) < len(b) or set(x) != set(y):
        raise ValueError
    return [y[s] - x[s] for s in sorted(x)]


def wrong_2_order_of_a(a, b):
    """The order of the first list."""
    for runs in (a, b):
        if sorted(s for s, _ in runs) != list(range(len(runs))):
            raise ValueError
    if len(a) != len(b):
        raise ValueError
    y = dict(b)
    return [y[s] - x for s, x in a]


def wrong_2_sorts_in_place(a, b):
    """Right values, but the caller's lists are sorted."""
    a.sort()
    b.sort()
    if [s for s, _ in a] != list(range(len(a))) or [s for s, _ in b] != list(range(len(a))):
        raise ValueError
    return [y - x for (_, x), (_, y) in zip(a, b, strict=True)]


def correct_2_sorted_copies(a, b):
    a, b = sorted(a), sorted(b)
    if any([s for s, _ in runs] != list(range(max(len(a), len(b)))) for runs in (a, b)):
        raise ValueError("no pairs")
    return [y - x for (_, x), (_, y) in zip(a, b, strict=True)]


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
        correct=[correct_2_sorted_copies, lambda a, b: correct_2_sorted_copies(list(a), list(b))],
        wrong=[
            Wrong(wrong_2_sorts_both_and_zips, "what they share", from_text=True),
            Wrong(wrong_2_dictionaries_first, "doubled seeds pass", from_text=True),
            Wrong(wrong_2_shared_seeds, "what they share", from_text=True),
            Wrong(wrong_2_picked_seeds_pass, "picked seeds pass", from_text=True),
            Wrong(wrong_2_order_of_a, "in the order given", from_text=True),
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
            Wrong(wrong_3_whole_number, "value", from_text=True),
        ],
    ),
    "20.4": Planted(
        correct=[VALUE, VALUE + 0.02],
        wrong=[Wrong(-VALUE, BEHIND, from_text=True), Wrong(6.0, LOSS, from_text=True), Wrong("no", "type", from_text=True)],
    ),
}
