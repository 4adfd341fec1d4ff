"""Wrong and right answers to the exercises of chapter 04.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import math

import torch
from checks.planting import Planted, Wrong


def wrong_1_forgot_keepdim(x):
    """w / w.sum(1) without keepdim divides column j by j + 1."""
    T = x.shape[1]
    w = torch.tril(torch.ones(T, T, dtype=x.dtype))
    w = w / w.sum(1)
    return w @ x


def wrong_1_averages_the_future(x):
    """triu for tril."""
    T = x.shape[1]
    w = torch.ones(T, T, dtype=x.dtype).triu()
    return (w / w.sum(1, keepdim=True)) @ x


def wrong_1_only_float32(x):
    """Weights always float32."""
    T = x.shape[1]
    w = torch.ones(T, T).tril()
    return (w / w.sum(1, keepdim=True)) @ x


def wrong_1_without_itself(x):
    """Averages strictly earlier rows, row 0 left as it is."""
    T = x.shape[1]
    w = torch.ones(T, T, dtype=x.dtype).tril(diagonal=-1)
    w[0, 0] = 1
    return (w / w.sum(1, keepdim=True)) @ x


def wrong_1_divides_by_T(x):
    """Divides every row by T."""
    T = x.shape[1]
    return (torch.ones(T, T, dtype=x.dtype).tril() / T) @ x


def wrong_1_cast_to_float32(x):
    """Casts x to make the product run; right values."""
    T = x.shape[1]
    w = torch.ones(T, T).tril() / torch.arange(1, T + 1)[:, None]
    return w @ x.float()


def correct_1_arange_comparison(x):
    """The triangle by comparing two aranges, each row divided by its number."""
    t = torch.arange(x.size(-2))
    w = (t[None, :] <= t[:, None]).to(x.dtype) / (t + 1).to(x.dtype)[:, None]
    return w @ x


def correct_1_softmax_of_zeros(x):
    """Right: softmax over 0 and -inf gives the even weights (neither in 'Allowed' nor in 'Not allowed')."""
    T = x.shape[1]
    w = torch.zeros(T, T, dtype=x.dtype).masked_fill(torch.ones(T, T).tril() == 0, float("-inf"))
    return torch.matmul(torch.softmax(w, dim=-1), x)


def wrong_2_masked_after_then_renormalised(scores):
    """Softmax over all keys, future struck out, divided again."""
    w = torch.softmax(scores, dim=-1).tril()
    return w / w.sum(dim=-1, keepdim=True)


def wrong_2_minus_1000_as_infinity(scores):
    """Fills the future with -1000."""
    T = scores.shape[-1]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -1000.0), dim=-1)


def wrong_2_softmax_over_dim_1(scores):
    """dim=1 is the keys only for a (T, T) input."""
    T = scores.shape[-1]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, float("-inf")), dim=1)


def wrong_2_changes_scores(scores):
    """masked_fill_ in place; right values."""
    T = scores.shape[-1]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores.masked_fill_(future, float("-inf"))
    return torch.softmax(scores, dim=-1)


def wrong_2_zero_scores_for_the_future(scores):
    """tril on the scores: exp(0) = 1, not 0."""
    return torch.softmax(scores.tril(), dim=-1)


def wrong_2_T_from_dim_1(scores):
    """Takes T from shape[1]; right for 2 and 3 dimensions."""
    T = scores.shape[1]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, float("-inf")), dim=-1)


def wrong_2_mask_multiplied_after(scores):
    """Strikes the future out after the softmax."""
    return torch.softmax(scores, dim=-1).tril()


def correct_2_row_by_row(scores):
    """A new tensor of zeros, each row the softmax of its own slice."""
    out = torch.zeros_like(scores)
    for i in range(scores.shape[-1]):
        out[..., i, : i + 1] = torch.softmax(scores[..., i, : i + 1], dim=-1)
    return out


def correct_2_exp_by_hand(scores):
    """Transposed, softmax by hand over dim -2 with the maximum of the allowed part, transposed back."""
    s = scores.transpose(-1, -2)  # keys are now rows
    allowed = torch.ones(s.shape[-2:], dtype=torch.bool).triu()
    top = torch.where(allowed, s, torch.full_like(s, -math.inf)).amax(dim=-2, keepdim=True)
    e = torch.where(allowed, (s - top).clamp(max=0).exp(), torch.zeros_like(s))
    return (e / e.sum(dim=-2, keepdim=True)).transpose(-1, -2)


def wrong_4_queries_and_keys_swapped(q, k, v):
    """k @ q^T: rows are keys."""
    T, D = q.shape[1], q.shape[2]
    s = k @ q.transpose(1, 2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_4_mask_after_softmax(q, k, v):
    """Multiplies the mask in after the softmax."""
    s = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return torch.softmax(s, dim=-1).tril() @ v


def wrong_4_scaled_by_size_of_values(q, k, v):
    """Takes the width of v for D; right where E = D."""
    T = q.shape[1]
    s = q @ k.transpose(1, 2) / math.sqrt(v.shape[-1])
    s = s.masked_fill(torch.ones(T, T).tril() == 0, float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_4_scaled_by_D(q, k, v):
    """Divides by D, forgot the root."""
    T, D = q.shape[1], q.shape[2]
    s = q @ k.transpose(1, 2) / D
    s = s.masked_fill(torch.ones(T, T).tril() == 0, float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_4_softmax_over_queries(q, k, v):
    """softmax(dim=1) on (B, T, T) runs down the queries."""
    T, D = q.shape[1], q.shape[2]
    s = q @ k.transpose(1, 2) / D**0.5
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=1) @ v


def wrong_4_only_the_first_sequence(q, k, v):
    """Flattens the batch into one long sequence; right for B = 1."""
    B, T, D = q.shape
    qf, kf, vf = q.reshape(B * T, D), k.reshape(B * T, D), v.reshape(B * T, -1)
    s = qf @ kf.T / math.sqrt(D)
    s = s.masked_fill(torch.ones(B * T, B * T, dtype=torch.bool).triu(1), float("-inf"))
    return (torch.softmax(s, dim=-1) @ vf).reshape(B, T, -1)


def wrong_4_float32_inside(q, k, v):
    """Computes and returns float32."""
    T, D = q.shape[1], q.shape[2]
    s = q.float() @ k.float().transpose(1, 2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=-1) @ v.float()


def correct_4_token_by_token(q, k, v):
    """One query at a time, only over the keys it may see, the query scaled beforehand."""
    rows = []
    for t in range(q.shape[1]):
        s = torch.einsum("bd,bjd->bj", q[:, t] * q.shape[-1] ** -0.5, k[:, : t + 1])
        rows.append(torch.einsum("bj,bje->be", s.softmax(-1), v[:, : t + 1]))
    return torch.stack(rows, dim=1)


def wrong_5_reshape_only(x, n_heads):
    """Reshapes straight to (B, H, T, D)."""
    B, T, W = x.shape
    return x.reshape(B, n_heads, T, W // n_heads)


def wrong_5_number_taken_for_size(x, n_heads):
    """Takes n_heads for the size of a head."""
    B, T, _ = x.shape
    return x.reshape(B, T, -1, n_heads).transpose(1, 2)


def wrong_5_only_contiguous(x, n_heads):
    """Flattens the tokens of all sequences with view first."""
    B, T, W = x.shape
    tokens = x.view(B * T, n_heads, W // n_heads)
    return tokens.reshape(B, T, n_heads, W // n_heads).transpose(1, 2)


def wrong_5_features_dealt_out(x, n_heads):
    """Deals the features out like cards."""
    B, T, W = x.shape
    return x.reshape(B, T, W // n_heads, n_heads).permute(0, 3, 1, 2)


def wrong_5_always_float32(x, n_heads):
    """Copies into torch.zeros."""
    B, T, W = x.shape
    D = W // n_heads
    out = torch.zeros(B, n_heads, T, D)
    for h in range(n_heads):
        out[:, h] = x[:, :, h * D : (h + 1) * D]
    return out


def wrong_5_axis_not_moved(x, n_heads):
    """Forgot to move the heads; passes no miniature by value, but the shape agrees where T = H."""
    B, T, W = x.shape
    return x.reshape(B, T, n_heads, W // n_heads)


def correct_5_stacked_blocks(x, n_heads):
    """Cut into blocks of features, stacked along a new axis."""
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def correct_5_gather_by_index(x, n_heads):
    """An index for every head and feature."""
    D = x.shape[-1] // n_heads
    where = torch.arange(n_heads)[:, None] * D + torch.arange(D)[None, :]
    return x[:, :, where].permute(0, 2, 1, 3)


def correct_5_view_of_the_last_axis(x, n_heads):
    """Right, although it says view: splitting the last axis alone needs no contiguous input."""
    return x.view(x.shape[0], x.shape[1], n_heads, -1).transpose(1, 2)


def wrong_6_keys_dealt_out(q, k, v):
    """repeat() lays the key heads 0, 1, 0, 1."""
    H, T, D = q.shape[1], q.shape[2], q.shape[3]
    g = H // k.shape[1]
    k, v = k.repeat(1, g, 1, 1), v.repeat(1, g, 1, 1)
    s = q @ k.transpose(-1, -2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_6_repeated_K_times(q, k, v):
    """Repeats each key head K times, not H/K times."""
    T, D = q.shape[2], q.shape[3]
    K = k.shape[1]
    k, v = k.repeat_interleave(K, dim=1), v.repeat_interleave(K, dim=1)
    s = q @ k.transpose(-1, -2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_6_no_scale(q, k, v):
    """Forgot 1/sqrt(D)."""
    T = q.shape[2]
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    s = q @ k.transpose(-1, -2)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_6_mask_wrong_way_round(q, k, v):
    """Hides the past, keeps itself and the future."""
    T, D = q.shape[2], q.shape[3]
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    s = q @ k.transpose(-1, -2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).tril(-1), float("-inf"))
    return torch.softmax(s, dim=-1) @ v


def wrong_6_no_mask(q, k, v):
    """Forgot that it is causal."""
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return torch.softmax(s, dim=-1) @ v


def wrong_6_queries_averaged(q, k, v):
    """Averages the queries of a group and copies the result."""
    B, H, T, D = q.shape
    K = k.shape[1]
    qm = q.reshape(B, K, H // K, T, D).mean(dim=2)
    s = qm @ k.transpose(-1, -2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return (torch.softmax(s, dim=-1) @ v).repeat_interleave(H // K, dim=1)


def wrong_6_softmax_over_queries(q, k, v):
    """softmax(dim=2) of (B, H, T, T) runs down the queries."""
    T, D = q.shape[2], q.shape[3]
    g = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(g, 1), v.repeat_interleave(g, 1)
    s = q @ k.transpose(-1, -2) / math.sqrt(D)
    s = s.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(s, dim=2) @ v


def correct_6_groups_as_an_axis(q, k, v):
    """A fifth axis for the group, nothing repeated, einsum throughout."""
    B, H, T, D = q.shape
    K = k.shape[1]
    q5 = q.reshape(B, K, H // K, T, D)
    s = torch.einsum("bkgtd,bksd->bkgts", q5, k) * D**-0.5
    t = torch.arange(T)
    s = torch.where(t[:, None] >= t, s, torch.full_like(s, -math.inf))
    return torch.einsum("bkgts,bksd->bkgtd", s.softmax(-1), v).reshape(B, H, T, D)


def correct_6_head_by_head(q, k, v):
    """Loops over heads and tokens."""
    H, K, T, D = q.shape[1], k.shape[1], q.shape[2], q.shape[3]
    out = torch.empty_like(q)
    for h in range(H):
        kh, vh = k[:, h * K // H], v[:, h * K // H]
        for t in range(T):
            s = (kh[:, : t + 1] * q[:, h, t, None]).sum(-1) / math.sqrt(D)
            out[:, h, t] = (s.softmax(-1)[..., None] * vh[:, : t + 1]).sum(1)
    return out


def wrong_7_occurrence_itself(ids):
    """Attends to the earlier same token, not to what followed it."""
    T = len(ids)
    w = torch.zeros(T, T)
    for t in range(T):
        for j in range(t):
            if ids[j] == ids[t]:
                w[t, j] = 1
        if w[t].sum() == 0:
            w[t, t] = 1
        w[t] /= w[t].sum()
    return w


def wrong_7_never_itself(ids):
    """Looks at j < t only."""
    T = len(ids)
    w = torch.zeros(T, T)
    for t in range(T):
        hits = [j for j in range(1, t) if ids[j - 1] == ids[t]]
        for j in hits or [t]:
            w[t, j] = 1 / len(hits or [t])
    return w


def wrong_7_latest_only(ids):
    """Keeps the latest earlier occurrence only."""
    last = {}
    w = torch.zeros(len(ids), len(ids))
    for t, token in enumerate(ids.tolist()):
        w[t, last.get(token, t - 1) + 1] = 1.0
        last[token] = t
    return w


def wrong_7_not_normalised(ids):
    """1 at every hit."""
    T = len(ids)
    w = torch.zeros(T, T)
    for t in range(T):
        for j in range(1, t + 1):
            if ids[j - 1] == ids[t]:
                w[t, j] = 1.0
        if not w[t].any():
            w[t, t] = 1.0
    return w


def wrong_7_itself_always(ids):
    """Adds t itself to every row as a safeguard."""
    T = len(ids)
    w = torch.eye(T)
    for t in range(T):
        for j in range(1, t + 1):
            if ids[j - 1] == ids[t]:
                w[t, j] = 1.0
    return w / w.sum(dim=1, keepdim=True)


def wrong_7_rolled_round(ids):
    """roll(1) gives position 0 the last token as its predecessor."""
    before = ids.roll(1)
    w = (before[None, :] == ids[:, None]).float().tril()
    none = w.sum(1) == 0
    w[none, none] = 1.0
    return w / w.sum(1, keepdim=True)


def wrong_7_float64(ids):
    """Right numbers through Python lists of doubles."""
    seq = ids.tolist()
    rows = []
    for t in range(len(seq)):
        hits = [j for j in range(1, t + 1) if seq[j - 1] == seq[t]] or [t]
        rows.append([1 / len(hits) if j in hits else 0.0 for j in range(len(seq))])
    return torch.tensor(rows, dtype=torch.float64)


def correct_7_no_loop(ids):
    """The table of equal tokens shifted by one column, the diagonal filled where a row is empty."""
    T = ids.numel()
    same = (ids[:, None] == ids[None, :]).tril(-1)  # an earlier occurrence stands at j - 1
    hit = torch.cat([torch.zeros(T, 1, dtype=torch.bool), same[:, :-1]], dim=1)
    hit = hit | torch.diag(~hit.any(dim=1))
    return hit.float() / hit.sum(dim=1, keepdim=True)


def correct_7_dictionary(ids):
    """One pass with a dictionary of the positions that followed each token."""
    followers = {}
    w = torch.zeros(len(ids), len(ids))
    for t, token in enumerate(ids.tolist()):
        if t > 0:
            followers.setdefault(int(ids[t - 1]), []).append(t)
        at = followers.get(token, [t])
        w[t, at] = 1.0 / len(at)
    return w


# Ours, written with the checker.


def correct_5_einops_style(x, n_heads):
    B, T, _ = x.shape
    return x.permute(0, 2, 1).reshape(B, n_heads, -1, T).permute(0, 1, 3, 2)


def correct_4_outer_mask(q, k, v):
    position = torch.arange(q.shape[1])
    blocked = torch.where(position[:, None] < position, -math.inf, 0.0).to(q.dtype)
    weights = torch.softmax(torch.einsum("btd,bsd->bts", q, k) * q.shape[-1] ** -0.5 + blocked, dim=2)
    return torch.einsum("bts,bse->bte", weights, v)


def wrong_1_cumulative(x):
    return x.cumsum(1) / torch.arange(1, x.shape[1] + 1).to(x.dtype)[:, None]


def wrong_1_one_row(x):
    return x.mean(dim=1)


def wrong_4_torch_does_it(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def wrong_4_detached(q, k, v):
    return correct_4_outer_mask(q, k.detach(), v)


def wrong_5_list_of_heads(x, n_heads):
    return list(x.chunk(n_heads, dim=-1))


def wrong_6_torch_does_it(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


PLANTED = {
    "04.1": Planted(
        correct=[correct_1_arange_comparison, correct_1_softmax_of_zeros],
        wrong=[
            Wrong(wrong_1_forgot_keepdim, "divided along the columns", from_text=True),
            Wrong(wrong_1_averages_the_future, "future", from_text=True),
            Wrong(wrong_1_only_float32, "crashed", from_text=True),
            Wrong(wrong_1_without_itself, "itself left out", from_text=True),
            Wrong(wrong_1_divides_by_T, "divided by T", from_text=True),
            Wrong(wrong_1_cast_to_float32, "dtype", from_text=True),
            Wrong(wrong_1_cumulative, "library"),
            Wrong(wrong_1_one_row, "shape"),
        ],
    ),
    "04.2": Planted(
        correct=[correct_2_row_by_row, correct_2_exp_by_hand],
        wrong=[
            Wrong(wrong_2_masked_after_then_renormalised, "renormalised", from_text=True),
            Wrong(wrong_2_minus_1000_as_infinity, "mask too weak", from_text=True),
            Wrong(wrong_2_softmax_over_dim_1, "over dimension 1", from_text=True),
            Wrong(wrong_2_changes_scores, "mutated", from_text=True),
            Wrong(wrong_2_zero_scores_for_the_future, "score 0", from_text=True),
            Wrong(wrong_2_T_from_dim_1, "crashed", from_text=True),
            Wrong(wrong_2_mask_multiplied_after, "mask after softmax", from_text=True),
        ],
        equivalent={"one more: 1 (line 3)": "scores are square: shape[-2] is shape[-1]"},
    ),
    "04.3": Planted(
        correct=["b", "B", " b "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("e", "e", from_text=True),
            Wrong("c", "c"),
            Wrong(3, "type"),
        ],
    ),
    "04.4": Planted(
        correct=[correct_4_token_by_token, correct_4_outer_mask],
        wrong=[
            Wrong(wrong_4_queries_and_keys_swapped, "queries and keys swapped", from_text=True),
            Wrong(wrong_4_mask_after_softmax, "mask after softmax", from_text=True),
            Wrong(wrong_4_scaled_by_size_of_values, "wrong width", from_text=True),
            Wrong(wrong_4_scaled_by_D, "divided by D", from_text=True),
            Wrong(wrong_4_softmax_over_queries, "over the queries", from_text=True),
            Wrong(wrong_4_only_the_first_sequence, "one long sequence", from_text=True),
            Wrong(wrong_4_float32_inside, "dtype", from_text=True),
            Wrong(wrong_4_torch_does_it, "library"),
            Wrong(wrong_4_detached, "property:gradient"),
        ],
    ),
    "04.5": Planted(
        correct=[
            correct_5_stacked_blocks,
            correct_5_gather_by_index,
            correct_5_view_of_the_last_axis,
            correct_5_einops_style,
        ],
        wrong=[
            Wrong(wrong_5_reshape_only, "only viewed", from_text=True),
            Wrong(wrong_5_number_taken_for_size, "heads and width confused", from_text=True),
            Wrong(wrong_5_only_contiguous, "crashed", from_text=True),
            Wrong(wrong_5_features_dealt_out, "interleaved", from_text=True),
            Wrong(wrong_5_always_float32, "dtype", from_text=True),
            Wrong(wrong_5_axis_not_moved, "not moved", from_text=True),
            Wrong(wrong_5_list_of_heads, "type"),
        ],
    ),
    "04.6": Planted(
        correct=[correct_6_groups_as_an_axis, correct_6_head_by_head],
        wrong=[
            Wrong(wrong_6_keys_dealt_out, "keys in turn", from_text=True),
            Wrong(wrong_6_repeated_K_times, "repeated K times", from_text=True),
            Wrong(wrong_6_no_scale, "no scale", from_text=True),
            Wrong(wrong_6_mask_wrong_way_round, "upside down", from_text=True),
            Wrong(wrong_6_no_mask, "no mask", from_text=True),
            Wrong(wrong_6_queries_averaged, "queries averaged", from_text=True),
            Wrong(wrong_6_softmax_over_queries, "over the queries", from_text=True),
            Wrong(wrong_6_torch_does_it, "library"),
        ],
    ),
    "04.7": Planted(
        correct=[correct_7_no_loop, correct_7_dictionary],
        wrong=[
            Wrong(wrong_7_occurrence_itself, "looks at the match", from_text=True),
            Wrong(wrong_7_never_itself, "j stops too early", from_text=True),
            Wrong(wrong_7_latest_only, "only the latest", from_text=True),
            Wrong(wrong_7_not_normalised, "not shared", from_text=True),
            Wrong(wrong_7_itself_always, "always itself", from_text=True),
            Wrong(wrong_7_rolled_round, "wraps round", from_text=True),
            Wrong(wrong_7_float64, "dtype", from_text=True),
        ],
    ),
}
