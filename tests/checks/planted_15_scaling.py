"""Wrong and right answers to the exercises of chapter 15.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import torch
from checks.planting import Planted, Wrong

BELOW = "That is below the entropy of the tokens, 6.066 nats: a law without a floor falls for ever."
LAST = "That is about the loss at the largest budget you have; sixteen times as many tokens help more."

# --- 15.1, from the text alone


def wrong_1_mean_over_ranks(gradients, counts):
    """What an all-reduce with a mean does by itself."""
    return gradients.mean(dim=0)


def wrong_1_sum_over_rows(gradients, counts):
    """Turns means into sums and forgets to divide."""
    return (gradients * counts[:, None]).sum(dim=0)


def wrong_1_leaves_out_empty_ranks(gradients, counts):
    """Thinks only of the ranks without rows."""
    busy = counts > 0
    return gradients[busy].mean(dim=0)


def wrong_1_divided_by_ranks(gradients, counts):
    """Weighs by rows, divides by ranks."""
    return (gradients * counts[:, None]).sum(dim=0) / len(gradients)


def wrong_1_scales_in_place(gradients, counts):
    """Right values, but the caller's gradients are scaled."""
    gradients *= counts[:, None]
    return gradients.sum(dim=0) / counts.sum()


def correct_1_matrix_product(gradients, counts):
    return (counts / counts.sum()) @ gradients


def correct_1_row_by_row(gradients, counts):
    total = torch.zeros(gradients.shape[1])
    for gradient, count in zip(gradients, counts.tolist(), strict=True):
        total += gradient * (count / int(counts.sum()))
    return total


# --- 15.1, later


def wrong_1_added_up(gradients, counts):
    return gradients.sum(dim=0)


def wrong_1_the_largest_share(gradients, counts):
    return gradients[counts.argmax()]


# --- 15.2, from the text alone


def wrong_2_forgets_the_step(chunks, step):
    """Every rank sends chunk r always."""
    after = chunks.clone()
    R = len(chunks)
    for r in range(R):
        after[(r + 1) % R, r] += chunks[r, r]
    return after


def wrong_2_sends_to_the_left(chunks, step):
    after = chunks.clone()
    R = len(chunks)
    for r in range(R):
        c = (r - step) % R
        after[r - 1, c] += chunks[r, c]
    return after


def wrong_2_replaces(chunks, step):
    """The neighbour's own part is lost."""
    after = chunks.clone()
    R = len(chunks)
    for r in range(R):
        c = (r - step) % R
        after[(r + 1) % R, c] = chunks[r, c]
    return after


def wrong_2_in_place(chunks, step):
    """Right values, in the caller's tensor."""
    R = len(chunks)
    for r in range(R):
        c = (r - step) % R
        chunks[(r + 1) % R, c] += chunks[r, c]
    return chunks


def wrong_2_plus_step(chunks, step):
    """(r + s) for (r - s)."""
    after = chunks.clone()
    R = len(chunks)
    for r in range(R):
        c = (r + step) % R
        after[(r + 1) % R, c] += chunks[r, c]
    return after


def correct_2_indexed(chunks, step):
    r = torch.arange(len(chunks))
    c = (r - step) % len(chunks)
    after = chunks.clone()
    after[(r + 1) % len(chunks), c] += chunks[r, c]
    return after


def correct_2_seen_from_the_receiver(chunks, step):
    rows = []
    for r in range(len(chunks)):
        own, c = chunks[r].clone(), (r - 1 - step) % len(chunks)
        own[c] = own[c] + chunks[r - 1, c]
        rows.append(own)
    return torch.stack(rows)


# --- 15.2, later


def wrong_2_open_ring(chunks, step):
    after = chunks.clone()
    for r in range(len(chunks) - 1):
        c = (r - step) % len(chunks)
        after[r + 1, c] += chunks[r, c]
    return after


# --- 15.3, from the text alone


def wrong_3_sixteen_bytes(matrices, others, ranks, shard):
    """The usual rule of 16 bytes for each parameter."""
    n = matrices + others
    if shard == "nothing":
        return 16 * n
    if shard == "state":
        return 8 * n + -(-8 * n // ranks)
    return -(-16 * n // ranks)


def wrong_3_no_gradients(matrices, others, ranks, shard):
    """Weights and state only."""
    weights, state = 4 * (matrices + others), 4 * matrices + 8 * others
    if shard == "nothing":
        return weights + state
    if shard == "state":
        return weights + -(-state // ranks)
    return -(-(weights + state) // ranks)


def wrong_3_rounds_down(matrices, others, ranks, shard):
    both, state = 8 * (matrices + others), 4 * matrices + 8 * others
    return {"nothing": both + state, "state": both + state // ranks, "all": (both + state) // ranks}[shard]


def wrong_3_a_float(matrices, others, ranks, shard):
    both, state = 8 * (matrices + others), 4 * matrices + 8 * others
    return {"nothing": both + state, "state": both + state / ranks, "all": (both + state) / ranks}[shard]


def wrong_3_exchanged(matrices, others, ranks, shard):
    """Muon with two, AdamW with one."""
    both, state = 8 * (matrices + others), 8 * matrices + 4 * others
    return {"nothing": both + state, "state": both - (-state // ranks), "all": -(-(both + state) // ranks)}[shard]


def correct_3_a_table(matrices, others, ranks, shard):
    sizes = {"weights": matrices + others, "gradients": matrices + others, "state": matrices + 2 * others}
    shared = {"nothing": (), "state": ("state",), "all": tuple(sizes)}[shard]
    whole = sum(4 * n for name, n in sizes.items() if name not in shared)
    cut = sum(4 * n for name, n in sizes.items() if name in shared)
    return whole + (cut + ranks - 1) // ranks


def correct_3_counted_per_parameter(matrices, others, ranks, shard):
    total = 12 * matrices + 16 * others
    state = total - 8 * matrices - 8 * others
    kept = {"nothing": total, "state": total - state, "all": 0}[shard]
    return kept + (0 if shard == "nothing" else -(-(total - kept) // ranks))


PLANTED = {
    "15.1": Planted(
        correct=[correct_1_matrix_product, correct_1_row_by_row],
        wrong=[
            Wrong(wrong_1_mean_over_ranks, "mean of means", from_text=True),
            Wrong(wrong_1_sum_over_rows, "sum", from_text=True),
            Wrong(wrong_1_leaves_out_empty_ranks, "ranks with rows", from_text=True),
            Wrong(wrong_1_divided_by_ranks, "by ranks", from_text=True),
            Wrong(wrong_1_scales_in_place, "mutated", from_text=True),
            Wrong(wrong_1_added_up, "sum of means"),
            Wrong(wrong_1_the_largest_share, "loudest"),
        ],
    ),
    "15.2": Planted(
        correct=[correct_2_indexed, correct_2_seen_from_the_receiver],
        wrong=[
            Wrong(wrong_2_forgets_the_step, "same chunk each step", from_text=True),
            Wrong(wrong_2_sends_to_the_left, "to the left", from_text=True),
            Wrong(wrong_2_replaces, "replaced", from_text=True),
            Wrong(wrong_2_in_place, "mutated", from_text=True),
            Wrong(wrong_2_plus_step, "wrong way around", from_text=True),
            Wrong(wrong_2_open_ring, "no wrap"),
        ],
    ),
    "15.3": Planted(
        correct=[correct_3_a_table, correct_3_counted_per_parameter],
        wrong=[
            Wrong(wrong_3_sixteen_bytes, "AdamW for all", from_text=True),
            Wrong(wrong_3_no_gradients, "no gradients", from_text=True),
            Wrong(wrong_3_rounds_down, "rounded down", from_text=True),
            Wrong(wrong_3_a_float, "a fraction", from_text=True),
            Wrong(wrong_3_exchanged, "swapped", from_text=True),
        ],
    ),
    "15.4": Planted(
        correct=["C", " c) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("the data loader", "type"),
        ],
    ),
    "15.5": Planted(
        correct=[6.068, 6.0684, torch.tensor(6.07)],
        wrong=[
            Wrong(5.80, BELOW, from_text=True),
            Wrong(6.0935, LAST, from_text=True),
            Wrong("6.068", "type", from_text=True),
            Wrong(0.85, "That looks like one of the law's constants; asked for is the loss that it predicts."),
            Wrong(6.05, "value"),
        ],
    ),
}
