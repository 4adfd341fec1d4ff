"""Wrong and right answers to the exercises of chapter 14.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import torch
from checks.planting import Planted, Wrong

P = 2**31 - 1


def wrong_1_common_hashes(first, second, a, b):
    """Compares all hash values, not the smallest ones."""
    shares = []
    for k in range(len(a)):
        x = {(int(a[k]) * v + int(b[k])) % P for v in first.tolist()}
        y = {(int(a[k]) * v + int(b[k])) % P for v in second.tolist()}
        shares.append(len(x & y) / len(x | y))
    return sum(shares) / len(shares)


def wrong_1_no_remainder(first, second, a, b):
    """Without % P every function keeps the order."""
    x = (a[:, None] * first + b[:, None]).min(1).values
    y = (a[:, None] * second + b[:, None]).min(1).values
    return (x == y).float().mean().item()


def wrong_1_largest(first, second, a, b):
    """The largest instead of the smallest."""
    x = ((a[:, None] * first + b[:, None]) % P).max(1).values
    y = ((a[:, None] * second + b[:, None]) % P).max(1).values
    return (x == y).float().mean().item()


def wrong_1_one_minimum(first, second, a, b):
    """One minimum over all functions."""
    x = ((a[:, None] * first + b[:, None]) % P).min()
    y = ((a[:, None] * second + b[:, None]) % P).min()
    return float(x == y)


def wrong_1_count(first, second, a, b):
    """How many agree, not the share."""
    x = ((a[:, None] * first + b[:, None]) % P).min(1).values
    y = ((a[:, None] * second + b[:, None]) % P).min(1).values
    return int((x == y).sum())


def correct_1_plain_python(first, second, a, b):
    def smallest(items, k):
        return min((int(a[k]) * v + int(b[k])) % P for v in items.tolist())

    return sum(smallest(first, k) == smallest(second, k) for k in range(len(a))) / len(a)


def wrong_2_any_in_band(signatures, bands):
    """One agreeing column is enough."""
    N = len(signatures)
    same = (signatures[:, None] == signatures[None]).view(N, N, bands, -1)
    return same.any(3).any(2)


def wrong_2_all_bands(signatures, bands):
    """Every band has to agree."""
    N = len(signatures)
    return (signatures[:, None] == signatures[None]).view(N, N, bands, -1).all(3).all(2)


def wrong_2_columns_for_bands(signatures, bands):
    """bands is taken for the number of columns in a band."""
    N = len(signatures)
    return (signatures[:, None] == signatures[None]).view(N, N, -1, bands).all(3).any(2)


def wrong_2_strided(signatures, bands):
    """A band is every bands-th column."""
    same = signatures[:, None] == signatures[None]
    return torch.stack([same[..., i::bands].all(-1) for i in range(bands)]).any(0)


def wrong_2_empty_diagonal(signatures, bands):
    result = correct_2_loops(signatures, bands)
    result.fill_diagonal_(False)
    return result


def correct_2_loops(signatures, bands):
    rows, width = signatures.tolist(), signatures.shape[1] // bands
    result = torch.zeros(len(rows), len(rows), dtype=torch.bool)
    for i, x in enumerate(rows):
        for j, y in enumerate(rows):
            cuts = range(0, len(x), width)
            result[i, j] = any(x[c : c + width] == y[c : c + width] for c in cuts)
    return result


def wrong_3_one_pass(links, draws, share):
    """One pass over the links."""
    label = list(range(len(draws)))
    for i, j in links.tolist():
        label[i] = label[j] = min(label[i], label[j])
    return draws[label] < share


def wrong_3_own_draw(links, draws, share):
    """The links are ignored."""
    return draws < share


def wrong_3_any_member(links, draws, share):
    """A family is held out if any of its members drew low."""
    held = draws < share
    for _ in range(len(draws)):
        for i, j in links.tolist():
            held[i] = held[j] = held[i] | held[j]
    return held


def wrong_3_neighbour(links, draws, share):
    """Each document takes the draw of the lowest one it is directly linked to."""
    lowest = list(range(len(draws)))
    for i, j in links.tolist():
        lowest[i], lowest[j] = min(lowest[i], j), min(lowest[j], i)
    return draws[lowest] < share


def wrong_3_highest(links, draws, share):
    """The highest number speaks for the family."""
    label = list(range(len(draws)))
    for _ in range(len(draws)):
        for i, j in links.tolist():
            label[i] = label[j] = max(label[i], label[j])
    return draws[label] < share


def correct_3_search(links, draws, share):
    """Walks through each family."""
    neighbours = {i: set() for i in range(len(draws))}
    for i, j in links.tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)
    held = torch.zeros(len(draws), dtype=torch.bool)
    seen = set()
    for start in range(len(draws)):
        if start not in seen:
            family, stack = set(), [start]
            while stack:
                i = stack.pop()
                if i not in family:
                    family.add(i)
                    stack += neighbours[i]
            seen |= family
            held[list(family)] = bool(draws[start] < share)
    return held


# --- from here on with the checkers at hand


def estimate_vectorised(first, second, a, b):
    """Right: float64 numbers hold the values exactly."""
    x, y = [((a.view(-1, 1) * s.view(1, -1) + b.view(-1, 1)).remainder(P)).amin(-1) for s in (first, second)]
    return float(torch.eq(x, y).sum()) / a.numel()


def estimate_b_left_out(first, second, a, b):
    x, y = [(a[:, None] * s % P).min(1).values for s in (first, second)]
    return (x == y).double().mean().item()


def estimate_by_elements(first, second, a, b):
    """The minimum over the functions."""
    x, y = [((a[:, None] * s + b[:, None]) % P).min(0).values for s in (first, second)]
    return len(set(x.tolist()) & set(y.tolist())) / len(set(x.tolist()) | set(y.tolist()))


def estimate_remainder_first(first, second, a, b):
    x, y = [(a[:, None] * s % P + b[:, None]).min(1).values for s in (first, second)]
    return (x == y).double().mean().item()


def estimate_exactly(first, second, a, b):
    """The exact similarity."""
    x, y = set(first.tolist()), set(second.tolist())
    return len(x & y) / len(x | y)


def estimate_other_prime(first, second, a, b):
    x, y = [((a[:, None] * s + b[:, None]) % 2**31).min(1).values for s in (first, second)]
    return (x == y).double().mean().item()


def pairs_by_table(signatures, bands):
    """Right: a dictionary for each band."""
    result = torch.eye(len(signatures), dtype=torch.bool)
    for band in signatures.chunk(bands, dim=1):
        buckets = {}
        for i, row in enumerate(band.tolist()):
            buckets.setdefault(tuple(row), []).append(i)
        for members in buckets.values():
            for i in members:
                result[i, members] = True
    return result


def pairs_upper_half(signatures, bands):
    return correct_2_loops(signatures, bands).triu()


def pairs_by_share(signatures, bands):
    """Enough agreement anywhere."""
    same = (signatures[:, None] == signatures).float().mean(-1)
    return same >= 1 / bands


def pairs_first_band(signatures, bands):
    width = signatures.shape[1] // bands
    return (signatures[:, None, :width] == signatures[:, :width]).all(-1)


def pairs_as_numbers(signatures, bands):
    return correct_2_loops(signatures, bands).long()


def held_by_matrix(links, draws, share):
    """Right: reachability by squaring."""
    N = len(draws)
    reach = torch.eye(N)
    for i, j in links.tolist():
        reach[i, j] = reach[j, i] = 1
    for _ in range(N.bit_length()):
        reach = ((reach @ reach) > 0).float()
    return draws[reach.argmax(dim=1)] < share


def held_two_passes(links, draws, share):
    label = list(range(len(draws)))
    for _ in range(2):
        for i, j in links.tolist():
            label[i] = label[j] = min(label[i], label[j])
    return draws[label] < share


def held_one_way(links, draws, share):
    label = list(range(len(draws)))
    for _ in range(len(draws)):
        for i, j in links.tolist():
            label[j] = min(label[i], label[j])
    return draws[label] < share


def held_lowest_draw(links, draws, share):
    return wrong_3_any_member(links, draws, share)


def held_inverted(links, draws, share):
    return ~correct_3_search(links, draws, share)


def held_at_most(links, draws, share):
    label = list(range(len(draws)))
    for _ in range(len(draws)):
        for i, j in links.tolist():
            label[i] = label[j] = min(label[i], label[j])
    return draws[label] <= share


def held_family_alone(links, draws, share):
    """Documents without a family always train."""
    held = correct_3_search(links, draws, share)
    alone = torch.ones(len(draws), dtype=torch.bool)
    alone[links.flatten()] = False
    return held & ~alone


PLANTED = {
    "14.1": Planted(
        correct=[correct_1_plain_python, estimate_vectorised],
        wrong=[
            Wrong(wrong_1_common_hashes, "all hash values", from_text=True),
            Wrong(wrong_1_no_remainder, "no remainder", from_text=True),
            Wrong(wrong_1_largest, "largest", from_text=True),
            Wrong(wrong_1_one_minimum, "hashed.min(dim=1).values ~> (a * 0 + hashed.min())", from_text=True),
            Wrong(wrong_1_count, "count", from_text=True),
            Wrong(estimate_b_left_out, "b without effect"),
            Wrong(estimate_by_elements, "some inputs"),
            Wrong(estimate_remainder_first, "b without effect"),
            Wrong(estimate_exactly, "all hash values"),
            Wrong(estimate_other_prime, "other modulus"),
        ],
        equivalent={
            "call dropped: (minima[0] == minima[1]).double().mean().item() (line 7)": "a tensor of one number will do"
        },
    ),
    "14.2": Planted(
        correct=[correct_2_loops, pairs_by_table],
        wrong=[
            Wrong(wrong_2_any_in_band, "any column", from_text=True),
            Wrong(wrong_2_all_bands, "every band", from_text=True),
            Wrong(wrong_2_columns_for_bands, "columns for bands", from_text=True),
            Wrong(wrong_2_strided, "strided", from_text=True),
            Wrong(wrong_2_empty_diagonal, "diagonal", from_text=True),
            Wrong(pairs_upper_half, "half"),
            Wrong(pairs_by_share, "enough anywhere"),
            Wrong(pairs_first_band, "first band"),
            Wrong(pairs_as_numbers, "dtype"),
        ],
    ),
    "14.3": Planted(
        correct=[correct_3_search, held_by_matrix],
        wrong=[
            Wrong(wrong_3_one_pass, "one pass", from_text=True),
            Wrong(wrong_3_own_draw, "no families", from_text=True),
            Wrong(wrong_3_any_member, "any member", from_text=True),
            Wrong(wrong_3_neighbour, "neighbours only", from_text=True),
            Wrong(wrong_3_highest, "highest number", from_text=True),
            Wrong(held_two_passes, "one pass"),
            Wrong(held_one_way, "one way"),
            Wrong(held_lowest_draw, "any member"),
            Wrong(held_inverted, "the other side"),
            Wrong(held_at_most, "below or equal"),
            Wrong(held_family_alone, "loners train"),
        ],
        equivalent={"call dropped: links.tolist() (line 7)": "tensors of one number index a list just as well"},
    ),
    "14.4": Planted(
        correct=["b", " B) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("c", "c", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("the shuffle", "type"),
        ],
    ),
    "14.5": Planted(
        correct=[0.384, 0.3838, torch.tensor(0.3838)],
        wrong=[
            Wrong(
                0.417,
                "That is the share by chunk; the share by document is still to be taken away.",
                from_text=True,
            ),
            Wrong(12.64, "That is the ratio of the two shares; their difference is asked for.", from_text=True),
            Wrong(38.4, "That is in percent; a number from 0 to 1 is asked for."),
            Wrong(0.033, "That is the share by document. How much larger is it by chunk?"),
            Wrong(-0.384, "The sign is wrong: by chunk minus by document."),
            Wrong(0.354, "Here the first fifth of the chunks validates. It is every fifth one."),
            Wrong(0.5, "value"),
            Wrong("much", "type"),
        ],
    ),
}
