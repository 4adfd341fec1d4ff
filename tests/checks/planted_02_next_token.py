"""Wrong and right answers to the exercises of chapter 02.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import math
from itertools import pairwise

import torch
from checks.planting import Planted, Wrong

# --- 02.1, from the text alone


def wrong_1_rows_swapped(ids, vocab_size):
    """Took the row for the token that follows."""
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for i in range(len(ids) - 1):
        counts[ids[i + 1], ids[i]] += 1
    return counts


def wrong_1_repeats_lost(ids, vocab_size):
    """Believes += with index tensors adds once per occurrence."""
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    counts[ids[:-1], ids[1:]] += 1
    return counts


def wrong_1_one_token_crashes(ids, vocab_size):
    """Never thought of a text without pairs; passes the worked example."""
    seq = ids.tolist()
    pairs = torch.tensor([[a, b] for a, b in pairwise(seq)])
    flat = pairs[:, 0] * vocab_size + pairs[:, 1]
    return torch.bincount(flat, minlength=vocab_size**2).reshape(vocab_size, vocab_size)


def wrong_1_wraps_round(ids, vocab_size):
    """roll() pairs the last token with the first."""
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for a, b in zip(ids.tolist(), ids.roll(-1).tolist(), strict=False):
        counts[a, b] += 1
    return counts


def wrong_1_float_counts(ids, vocab_size):
    """Forgot that torch.zeros is float32; the numbers are right."""
    counts = torch.zeros(vocab_size, vocab_size)
    for a, b in pairwise(ids.tolist()):
        counts[a, b] += 1
    return counts


def correct_1_one_hot_product(ids, vocab_size):
    """Unusual but right: one-hot rows of 'before', transposed, times one-hot rows of 'after' (int64 product)."""
    hot = (ids[:, None] == torch.arange(vocab_size)).to(torch.int64)
    return hot[:-1].T @ hot[1:]


# --- 02.2, from the text alone


def wrong_2_columns_normalised(counts, alpha):
    """Took dim=0 for 'each row'."""
    smoothed = counts + alpha
    return (smoothed / smoothed.sum(dim=0, keepdim=True)).float()


def wrong_2_square_only(counts, alpha):
    """Takes shape[0] for the vocabulary: right only for square tables."""
    vocab = counts.shape[0]
    total = counts.sum(dim=1, keepdim=True) + alpha * vocab
    return ((counts + alpha) / total).float()


def wrong_2_alpha_truncated(counts, alpha):
    """full_like keeps int64, so alpha = 0.5 becomes 0; right for alpha = 1.0."""
    extra = torch.full_like(counts, alpha)
    smoothed = counts + extra
    return smoothed / smoothed.sum(dim=1, keepdim=True)


def wrong_2_alpha_added_once(counts, alpha):
    """Adds one alpha to the total of the row, not V of them."""
    return ((counts + alpha) / (counts.sum(dim=1, keepdim=True) + alpha)).float()


def wrong_2_returns_double(counts, alpha):
    """Right numbers, wrong dtype; passes a comparison by value."""
    smoothed = counts.double() + alpha
    return smoothed / smoothed.sum(dim=1, keepdim=True)


def correct_2_mix_with_uniform(counts, alpha):
    """Unusual but right: a mixture of the raw frequencies and the uniform distribution, row by row in float64."""
    vocab = counts.shape[1]
    rows = []
    for row in counts:
        n = int(row.sum())
        share = n / (n + alpha * vocab)
        raw = row.double() / max(n, 1)
        rows.append(share * raw + (1 - share) / vocab)
    return torch.stack(rows).float()


# --- 02.3, from the text alone


def wrong_3_times_ln2(nats, ids, token_bytes):
    """Multiplies by ln 2 where nats must be divided by it."""
    bits = nats.sum() * math.log(2)
    return (bits / token_bytes[ids].sum()).item()


def wrong_3_end_of_text_dropped(nats, ids, token_bytes):
    """Leaves out tokens of 0 bytes altogether."""
    sizes = token_bytes[ids]
    keep = sizes > 0
    return (nats[keep].sum() / math.log(2) / sizes[keep].sum()).item()


def wrong_3_mean_of_ratios(nats, ids, token_bytes):
    """Averages bits/bytes token by token."""
    sizes = token_bytes[ids].clamp(min=1)
    return (nats / math.log(2) / sizes).mean().item()


def wrong_3_bytes_of_vocabulary(nats, ids, token_bytes):
    """Adds the bytes of the vocabulary, not of the text."""
    return (nats.sum() / math.log(2) / token_bytes.sum()).item()


def wrong_3_returns_tensor(nats, ids, token_bytes):
    """Forgot .item(); right value."""
    return nats.sum() / math.log(2) / token_bytes[ids].sum()


def wrong_3_end_of_text_one_byte(nats, ids, token_bytes):
    """Guards against division by 0 by clamping every size to 1."""
    sizes = token_bytes[ids].clamp(min=1)
    return (nats.sum() / math.log(2) / sizes.sum()).item()


def correct_3_plain_python(nats, ids, token_bytes):
    """Unusual but right: log2(e) as the factor, histogram of the ids for the bytes, math.fsum for the surprise."""
    size = (torch.bincount(ids, minlength=len(token_bytes)) * token_bytes).sum().item()
    return math.fsum(nats.tolist()) * math.log2(math.e) / size


# --- 02.4, from the text alone


def wrong_4_edge_to_the_left(logits, temperature, u):
    """searchsorted without right=True (>= for >); passes the example."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    p = torch.softmax(logits / temperature, dim=0)
    alive = int(torch.isfinite(logits).nonzero()[-1])
    return torch.searchsorted(p.cumsum(0), u).clamp(max=alive)


def wrong_4_sorted_first(logits, temperature, u):
    """Lays out the likeliest token first (as top-p code does); passes the example, which is sorted."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    p = torch.softmax(logits / temperature, dim=0)
    p, order = p.sort(descending=True, stable=True)
    alive = int(torch.isfinite(logits).sum()) - 1
    return order[torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=alive)]


def wrong_4_tiny_temperature_for_zero(logits, temperature, u):
    """Replaces temperature 0 by 1e-6; passes the example."""
    temperature = max(temperature, 1e-6)
    p = torch.softmax(logits / temperature, dim=0)
    alive = int(torch.isfinite(logits).nonzero()[-1])
    return torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=alive)


def wrong_4_changes_logits(logits, temperature, u):
    """logits /= temperature; right draws."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    logits /= temperature
    p = torch.softmax(logits, dim=0)
    alive = int(torch.isfinite(logits).nonzero()[-1])
    return torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=alive)


def wrong_4_returns_v(logits, temperature, u):
    """No guard at the end; passes the example."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    p = torch.softmax(logits / temperature, dim=0)
    return torch.searchsorted(p.cumsum(0), u, right=True)


def wrong_4_clamped_to_an_impossible_one(logits, temperature, u):
    """Clamps to V - 1 even if that logit is -inf."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    p = torch.softmax(logits / temperature, dim=0)
    return torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=len(logits) - 1)


def wrong_4_times_temperature(logits, temperature, u):
    """Multiplies by the temperature (treats it as a sharpness)."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    p = torch.softmax(logits * temperature, dim=0)
    alive = int(torch.isfinite(logits).nonzero()[-1])
    return torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=alive)


def wrong_4_probabilities_divided(logits, temperature, u):
    """Divides the probabilities and normalises again, which undoes it."""
    if temperature == 0:
        best = int((logits == logits.max()).nonzero()[0])
        return torch.full((len(u),), best)
    p = torch.softmax(logits, dim=0) / temperature
    p = p / p.sum()
    alive = int(torch.isfinite(logits).nonzero()[-1])
    return torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=alive)


def correct_4_walk_with_loops(logits, temperature, u):
    """Unusual but right: powers of the relative weights, then a walk along the stretches in Python floats (float64)."""
    scores = logits.tolist()
    top = max(scores)
    if temperature == 0:
        return torch.tensor([scores.index(top)] * len(u), dtype=torch.int64)
    weights = [math.exp((x - top) / temperature) for x in scores]
    total = math.fsum(weights)
    drawn = []
    for x in u.tolist():
        running, choice = 0.0, None
        for token, w in enumerate(weights):
            if w == 0.0:
                continue
            choice = token
            running += w / total
            if running > x:
                break
        drawn.append(choice)
    return torch.tensor(drawn, dtype=torch.int64)


def correct_4_count_the_edges(logits, temperature, u):
    """Unusual but right: counts the running sums that are not greater than u, on the possible tokens only."""
    possible = torch.nonzero(logits > -math.inf)[:, 0]
    z = logits[possible].double()
    if temperature == 0:
        return possible[int((z == z.max()).nonzero()[0])].repeat(len(u))
    edges = torch.softmax(z / temperature, 0).cumsum(0)[:-1]
    return possible[(edges[None, :] <= u[:, None].double()).sum(dim=1)]


# --- written with the checkers at hand


def pairs_in_dictionary(ids, vocab_size):
    found = {}
    for pair in pairwise(ids.tolist()):
        found[pair] = found.get(pair, 0) + 1
    return torch.tensor([[found.get((i, j), 0) for j in range(vocab_size)] for i in range(vocab_size)])


def pairs_accumulated(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    return counts.index_put((ids[:-1], ids[1:]), torch.tensor(1), accumulate=True)


def pairs_flat(ids, vocab_size):
    return torch.bincount(ids[:-1] * vocab_size + ids[1:], minlength=vocab_size**2)


def pairs_one_beyond(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.int64)
    for t in range(len(ids)):
        counts[ids[t], ids[t + 1]] += 1
    return counts


def rows_in_a_loop(counts, alpha):
    rows = torch.empty(counts.shape)
    for i, row in enumerate(counts.tolist()):
        total = sum(row) + alpha * len(row)
        rows[i] = torch.tensor([(c + alpha) / total for c in row])
    return rows


def rows_by_matrix_product(counts, alpha):
    more = counts.double() + alpha
    ones = torch.ones(counts.shape[1], counts.shape[1], dtype=torch.float64)
    return (more / (more @ ones)).float()


def bytes_from_mean(nats, ids, token_bytes):
    per_token = nats.double().mean() / math.log(2)
    return (per_token / token_bytes[ids].double().mean()).item()


def bytes_loop(nats, ids, token_bytes):
    bits = size = 0.0
    for surprise, i in zip(nats.tolist(), ids.tolist(), strict=True):
        bits += surprise * math.log2(math.e)
        size += token_bytes[i].item()
    return bits / size


def draw_by_search(logits, temperature, u):
    if temperature == 0:
        return torch.full(u.shape, int(torch.argmax(logits)))
    p = torch.softmax(logits / temperature, 0)
    drawn = (p.cumsum(0)[None, :] > u[:, None]).int().argmax(dim=1)
    missed = p.cumsum(0)[-1] <= u
    return torch.where(missed, logits.isfinite().nonzero()[-1, 0], drawn)


def draw_one_at_a_time(logits, temperature, u):
    best = int(logits.argmax())
    ids = []
    for x in u.tolist():
        if temperature == 0:
            ids.append(best)
            continue
        left = x
        shares = torch.softmax(logits.double() / temperature, 0).tolist()
        chosen = max(i for i, share in enumerate(shares) if share > 0)
        for i, share in enumerate(shares):
            left -= share
            if left < 0:
                chosen = i
                break
        ids.append(chosen)
    return torch.tensor(ids)


def draw_zero_divides(logits, temperature, u):
    ends = (logits / temperature).softmax(0).cumsum(0)
    last = int(logits.isfinite().nonzero().max())
    return torch.searchsorted(ends, u, right=True).clamp(max=last)


def rows_without_counts_clamped(counts, alpha):
    return (counts + alpha) / (counts + alpha).sum(-1, keepdim=True).clamp(min=1)


def pairs_in_one_row(ids, vocab_size):
    counts = [[0] * vocab_size] * vocab_size
    for a, b in pairwise(ids.tolist()):
        counts[a][b] += 1
    return torch.tensor(counts)


def draw_nothing_beyond(logits, temperature, u):
    if temperature == 0:
        return torch.full((len(u),), int(logits.argmax()))
    ends = (logits / temperature).softmax(0).cumsum(0)
    return (ends[None] > u[:, None]).int().argmax(1)


def draw_without_temperature(logits, temperature, u):
    ends = logits.softmax(0).cumsum(0)
    return torch.searchsorted(ends, u.contiguous(), right=True).clamp(max=int(logits.isfinite().nonzero().max()))


def bytes_as_text(nats, ids, token_bytes):
    return str(wrong_3_returns_tensor(nats, ids, token_bytes).item())


PLANTED = {
    "02.1": Planted(
        correct=[correct_1_one_hot_product, pairs_in_dictionary, pairs_accumulated],
        wrong=[
            Wrong(wrong_1_rows_swapped, "reversed", from_text=True),
            Wrong(wrong_1_repeats_lost, "repeats", from_text=True),
            Wrong(wrong_1_one_token_crashes, "one token", from_text=True),
            Wrong(wrong_1_wraps_round, "ring", from_text=True),
            Wrong(wrong_1_float_counts, "dtype", from_text=True),
            Wrong(pairs_flat, "shape"),
            Wrong(pairs_in_one_row, "one row"),
            Wrong(pairs_one_beyond, "crashed"),
        ],
    ),
    "02.2": Planted(
        correct=[correct_2_mix_with_uniform, rows_in_a_loop, rows_by_matrix_product],
        wrong=[
            Wrong(wrong_2_columns_normalised, "columns", from_text=True),
            Wrong(wrong_2_square_only, "rows for columns", from_text=True),
            Wrong(wrong_2_alpha_truncated, "alpha cut off", from_text=True),
            Wrong(wrong_2_alpha_added_once, "alpha once in the sum", from_text=True),
            Wrong(wrong_2_returns_double, "dtype", from_text=True),
            Wrong(
                rows_without_counts_clamped,
                "more.sum(dim=1, keepdim=True) ~> more.sum(dim=1, keepdim=True).clamp(min=1)",
            ),
        ],
    ),
    "02.3": Planted(
        correct=[correct_3_plain_python, wrong_3_returns_tensor, bytes_from_mean, bytes_loop],
        wrong=[
            Wrong(wrong_3_times_ln2, "wrong way", from_text=True),
            Wrong(wrong_3_end_of_text_dropped, "end left out", from_text=True),
            Wrong(wrong_3_mean_of_ratios, "mean of ratios", from_text=True),
            Wrong(wrong_3_bytes_of_vocabulary, "whole vocabulary", from_text=True),
            Wrong(wrong_3_end_of_text_one_byte, "end as a byte", from_text=True),
            Wrong(bytes_as_text, "type"),
        ],
        equivalent={
            "call dropped: (bits / token_bytes[ids].sum()).item() (line 4)": "a tensor without dimensions will do",
        },
    ),
    "02.4": Planted(
        correct=[correct_4_walk_with_loops, correct_4_count_the_edges, draw_by_search, draw_one_at_a_time],
        wrong=[
            Wrong(wrong_4_edge_to_the_left, "impossible first", from_text=True),
            Wrong(wrong_4_sorted_first, "sorted", from_text=True),
            Wrong(wrong_4_tiny_temperature_for_zero, "tiny temperature", from_text=True),
            Wrong(wrong_4_changes_logits, "mutated", from_text=True),
            Wrong(wrong_4_returns_v, "beyond the vocabulary", from_text=True),
            Wrong(wrong_4_clamped_to_an_impossible_one, "impossible last", from_text=True),
            Wrong(wrong_4_times_temperature, "times", from_text=True),
            Wrong(wrong_4_probabilities_divided, "no effect", from_text=True),
            Wrong(draw_zero_divides, "zero"),
            Wrong(draw_nothing_beyond, "nothing beyond u"),
            Wrong(draw_without_temperature, "no effect"),
        ],
        equivalent={
            "one less: 0 (line 5)": "one dimension is the first and the last",
        },
    ),
    "02.5": Planted(
        correct=["C", " c) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("A mean of batch means is not the mean over all tokens", "type", from_text=True),
        ],
    ),
}
