"""Wrong and right answers to the exercises of chapter 07.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import math

import torch
from checks.planting import Planted, Wrong


def wrong_1_crossing_token_cut(logits, top_k, top_p):
    """Compares the sum that includes the token."""
    if top_k is not None:
        top_k = min(top_k, logits.shape[-1])
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
        out = ordered.softmax(-1).cumsum(-1) > top_p
        logits = logits.masked_fill(torch.zeros_like(out).scatter(-1, ids, out), -torch.inf)
    return logits


def wrong_1_top_p_before_top_k(logits, top_k, top_p):
    """The shares of top-p are those of the whole vocabulary."""
    kept = torch.ones_like(logits, dtype=torch.bool)
    if top_p is not None and top_p < 1:
        p = logits.softmax(-1)
        ordered, ids = p.sort(dim=-1, descending=True, stable=True)
        late = ordered.cumsum(-1) - ordered >= top_p
        kept &= ~torch.zeros_like(late).scatter(-1, ids, late)
    if top_k is not None and top_k < logits.shape[-1]:
        kept &= logits >= logits.topk(top_k).values[..., -1:]
    return logits.masked_fill(~kept, -torch.inf)


def wrong_1_exactly_k(logits, top_k, top_p):
    """Of equals at the border only as many as fit."""
    kept = torch.full_like(logits, -torch.inf)
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
    ordered, ids = ordered[..., :top_k], ids[..., :top_k]
    if top_p is not None and top_p < 1:
        p = ordered.softmax(-1)
        ordered = ordered.masked_fill(p.cumsum(-1) - p >= top_p, -torch.inf)
    return kept.scatter(-1, ids, ordered)


def wrong_1_gathered_with_ids(logits, top_k, top_p):
    """ids instead of their inverse."""
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
        p = ordered.softmax(-1)
        late = p.cumsum(-1) - p >= top_p
        logits = logits.masked_fill(late.gather(-1, ids), -torch.inf)
    return logits


def wrong_1_zero_for_cut(logits, top_k, top_p):
    """0 instead of -inf."""
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], 0)
    if top_p is not None and top_p < 1:
        ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
        p = ordered.softmax(-1)
        late = p.cumsum(-1) - p >= top_p
        logits = logits.masked_fill(torch.zeros_like(late).scatter(-1, ids, late), 0)
    return logits


def wrong_1_in_place(logits, top_k, top_p):
    """Right values, written into the input."""
    if top_k is not None and top_k < logits.shape[-1]:
        logits[logits < logits.topk(top_k).values[..., -1:]] = -torch.inf
    if top_p is not None and top_p < 1:
        ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
        p = ordered.softmax(-1)
        late = p.cumsum(-1) - p >= top_p
        logits[torch.zeros_like(late).scatter(-1, ids, late)] = -torch.inf
    return logits


def correct_1_row_by_row(logits, top_k, top_p):
    """Plain Python over the rows."""
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]):
        least = -math.inf if top_k is None else sorted(row.tolist(), reverse=True)[:top_k][-1]
        left = [i for i in range(len(row)) if row[i] >= least]
        left.sort(key=lambda i: -row[i].item())
        if top_p is not None and top_p < 1:
            p, total, few = row[left].double().softmax(0).tolist(), 0.0, []
            for i, share in zip(left, p, strict=True):
                if total >= top_p:
                    break
                few.append(i)
                total += share
            left = few
        new = torch.full_like(row, -math.inf)
        new[left] = row[left]
        rows.append(new)
    return torch.stack(rows).reshape(logits.shape)


def correct_1_scatter(logits, top_k, top_p):
    """Sorted once, both cuts there, scattered back."""
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
    V = logits.shape[-1]
    if top_k is not None:
        least = ordered[..., min(top_k, V) - 1, None]
        ordered = torch.where(ordered >= least, ordered, torch.tensor(-torch.inf))
    if top_p is not None and top_p != 1:
        p = torch.softmax(ordered, -1)
        enough = torch.cat((torch.zeros_like(p[..., :1]), p.cumsum(-1)[..., :-1]), -1) >= top_p
        ordered = torch.where(enough, torch.tensor(-torch.inf), ordered)
    return torch.empty_like(logits).scatter(-1, ids, ordered)


def wrong_2_replaced(pending):
    return pending.decode("utf-8", errors="replace"), b""


def wrong_2_ignored(pending):
    return pending.decode("utf-8", errors="ignore"), b""


def wrong_2_all_or_nothing(pending):
    try:
        return pending.decode(), b""
    except UnicodeDecodeError:
        return "", pending


def wrong_2_real_replacement_held(pending):
    """Waits whenever the text ends with the replacement character."""
    text = pending.decode("utf-8", errors="replace")
    if not text.endswith("�"):
        return text, b""
    for kept in (1, 2, 3):
        try:
            whole = pending[:-kept].decode()
            return whole, pending[-kept:]
        except UnicodeDecodeError:
            pass


def wrong_2_slice_by_minus_zero(pending):
    """pending[:-0] is empty."""
    for kept in range(4):
        try:
            return pending[:-kept].decode(), pending[-kept:]
        except UnicodeDecodeError:
            pass


def wrong_2_high_bytes_held(pending):
    """Keeps all bytes from 0x80 on at the end, complete or not."""
    cut = len(pending)
    while cut and pending[cut - 1] >= 0x80:
        cut -= 1
    return pending[:cut].decode(), pending[cut:]


def correct_2_lead_byte(pending):
    """Walks back to the last lead byte and counts."""
    for back in range(1, min(3, len(pending)) + 1):
        lead = pending[-back]
        if lead >= 0xC0:
            needed = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2
            if needed > back:
                return pending[:-back].decode(), pending[-back:]
            break
        if lead < 0x80:
            break
    return pending.decode(), b""


def correct_2_error_start(pending):
    try:
        return str(pending, "utf-8"), b""
    except UnicodeDecodeError as error:
        return str(pending[: error.start], "utf-8"), pending[error.start :]


def wrong_3_not_itself(q, k, v, keys, values):
    """Attends to the old cache, then appends."""
    w = (torch.einsum("bhd,bhsd->bhs", q, keys) / math.sqrt(q.shape[-1])).softmax(-1)
    y = torch.einsum("bhs,bhse->bhe", w, values)
    return y, torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)


def wrong_3_causal_triangle(q, k, v, keys, values):
    """tril of shape (1, S + 1) leaves the first key."""
    keys, values = torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)
    scores = q[:, :, None] @ keys.mT / math.sqrt(q.shape[-1])
    seen = torch.ones(1, keys.shape[2], dtype=torch.bool).tril()
    return (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values)[:, :, 0], keys, values


def wrong_3_no_root(q, k, v, keys, values):
    keys, values = torch.cat((keys, k.unsqueeze(2)), 2), torch.cat((values, v.unsqueeze(2)), 2)
    return ((q.unsqueeze(2) @ keys.mT).softmax(-1) @ values).squeeze(2), keys, values


def wrong_3_old_cache_returned(q, k, v, keys, values):
    all_keys, all_values = torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)
    scores = q[:, :, None] @ all_keys.mT / math.sqrt(q.shape[-1])
    return (scores.softmax(-1) @ all_values)[:, :, 0], keys, values


def wrong_3_one_row_too_many(q, k, v, keys, values):
    """The output keeps the dimension of length 1."""
    keys, values = torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)
    return (q[:, :, None] @ keys.mT / math.sqrt(q.shape[-1])).softmax(-1) @ values, keys, values


def correct_3_einsum(q, k, v, keys, values):
    keys, values = torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)
    w = (torch.einsum("bhd,bhsd->bhs", q, keys) * q.shape[-1] ** -0.5).softmax(-1)
    return torch.einsum("bhs,bhse->bhe", w, values), keys, values


def correct_3_allocated(q, k, v, keys, values):
    """A larger tensor, filled; the softmax by hand."""
    B, H, S, D = keys.shape
    more_keys, more_values = keys.new_zeros(B, H, S + 1, D), values.new_zeros(B, H, S + 1, values.shape[-1])
    more_keys[:, :, :S], more_keys[:, :, S] = keys, k
    more_values[:, :, :S], more_values[:, :, S] = values, v
    scores = (more_keys * q[:, :, None]).sum(-1) / D**0.5
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    return (e[..., None] * more_values).sum(2) / e.sum(-1)[..., None], more_keys, more_values


def wrong_4_padding_right(lengths):
    T = int(lengths.max())
    t = torch.arange(T)
    return (t <= t[:, None]) & ((t < lengths[:, None, None]) | torch.eye(T, dtype=torch.bool))


def wrong_4_empty_rows(lengths):
    T = int(lengths.max())
    t = torch.arange(T)
    return (t <= t[:, None]) & (t >= (T - lengths)[:, None, None])


def wrong_4_not_causal(lengths):
    T = int(lengths.max())
    t = torch.arange(T)
    return (t >= (T - lengths)[:, None, None]) | torch.eye(T, dtype=torch.bool)


def wrong_4_hidden_is_true(lengths):
    return ~correct_4_loop(lengths)


def wrong_4_floats(lengths):
    return correct_4_loop(lengths).float()


def correct_4_loop(lengths):
    B, T = len(lengths), max(lengths.tolist())
    mask = torch.ones(T, T).tril().bool().repeat(B, 1, 1)
    for b, length in enumerate(lengths.tolist()):
        mask[b, :, : T - length] = False
        mask[b].fill_diagonal_(True)
    return mask


def correct_4_plain_python(lengths):
    sizes = lengths.tolist()
    T = max(sizes)
    return torch.tensor([[[j == i or T - n <= j < i for j in range(T)] for i in range(T)] for n in sizes])


def cut_by_threshold(logits, top_k, top_p):
    """Right: each token against the probability of all that come before it."""
    V = logits.shape[-1]
    if top_k is not None:
        larger = (logits[..., None, :] > logits[..., :, None]).sum(-1)
        logits = torch.where(larger < top_k, logits, -torch.inf)
    if top_p is None or top_p >= 1:
        return logits
    p, i = logits.double().softmax(-1), torch.arange(V)
    first = (p[..., None, :] > p[..., :, None]) | ((p[..., None, :] == p[..., :, None]) & (i < i[:, None]))
    return torch.where((first * p[..., None, :]).sum(-1) < top_p, logits, -torch.inf)


def cut_with_topk_of_too_many(logits, top_k, top_p):
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -torch.inf)
    return correct_1_scatter(logits, None, top_p)


def cut_one_at_top_p_one(logits, top_k, top_p):
    logits = correct_1_scatter(logits, top_k, None)
    if top_p is not None:
        ordered, ids = torch.sort(logits, descending=True, stable=True)
        p = ordered.softmax(-1)
        logits = logits.masked_fill(torch.zeros_like(p).scatter(-1, ids, p.cumsum(-1) - p) >= top_p, -torch.inf)
    return logits


def cut_only_top_k(logits, top_k, top_p):
    return correct_1_scatter(logits, top_k, None)


def cut_as_probabilities(logits, top_k, top_p):
    return correct_1_scatter(logits, top_k, top_p).softmax(-1)


def cut_for_two_dimensions(logits, top_k, top_p):
    assert logits.ndim == 2
    return correct_1_scatter(logits, top_k, top_p)


def bytes_of_first_error(pending):
    """Right: the error says where."""
    try:
        pending.decode()
        cut = len(pending)
    except UnicodeDecodeError as error:
        cut = error.start
    return pending[:cut].decode(), bytes(pending[cut:])


def bytes_one_by_one(pending):
    """Right: characters are taken off the front as long as they are whole."""
    text = ""
    while pending:
        size = 1 + sum(pending[0] >= limit for limit in (0xC0, 0xE0, 0xF0))
        if len(pending) < size:
            break
        text += pending[:size].decode()
        pending = pending[size:]
    return text, pending


def bytes_incremental(pending):
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    text = decoder.decode(pending)
    return text, decoder.getstate()[0]


def bytes_at_most_two(pending):
    for kept in (0, 1, 2):
        try:
            end = len(pending) - kept
            return pending[:end].decode(), pending[end:]
        except UnicodeDecodeError:
            pass


def bytes_rest_lost(pending):
    return bytes_of_first_error(pending)[0], b""


def bytes_last_index(pending):
    """Looks at the last byte without asking whether there is one."""
    return ("", pending) if pending[-1] > 255 else bytes_of_first_error(pending)


def bytes_as_list(pending):
    text, rest = bytes_of_first_error(pending)
    return text, list(rest)


def step_by_the_last_row(q, k, v, keys, values):
    """Right: in a loop over heads."""
    keys, values = torch.cat((keys, k[:, :, None]), -2), torch.cat((values, v[:, :, None]), -2)
    rows = []
    for b in range(q.shape[0]):
        heads = []
        for h in range(q.shape[1]):
            w = torch.softmax(keys[b, h] @ q[b, h] / math.sqrt(q.shape[2]), 0)
            heads.append(w @ values[b, h])
        rows.append(torch.stack(heads))
    return torch.stack(rows), keys, values


def step_borrowed(q, k, v, keys, values):
    keys, values = torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)
    y = torch.nn.functional.scaled_dot_product_attention(q[:, :, None], keys, values)
    return y[:, :, 0], keys, values


def step_newest_first(q, k, v, keys, values):
    keys, values = torch.cat((k[:, :, None], keys), 2), torch.cat((v[:, :, None], values), 2)
    w = torch.softmax(torch.einsum("bhd,bhsd->bhs", q, keys) / math.sqrt(q.shape[-1]), -1)
    return torch.einsum("bhs,bhse->bhe", w, values), keys, values


def step_root_of_tokens(q, k, v, keys, values):
    keys, values = torch.cat((keys, k[:, :, None]), 2), torch.cat((values, v[:, :, None]), 2)
    w = torch.softmax(torch.einsum("bhd,bhsd->bhs", q, keys) / math.sqrt(keys.shape[-2]), -1)
    return torch.einsum("bhs,bhse->bhe", w, values), keys, values


def step_fixed_window(q, k, v, keys, values):
    keys, values = torch.cat((keys[:, :, 1:], k[:, :, None]), 2), torch.cat((values[:, :, 1:], v[:, :, None]), 2)
    w = torch.softmax(torch.einsum("bhd,bhsd->bhs", q, keys) / math.sqrt(q.shape[-1]), -1)
    return torch.einsum("bhs,bhse->bhe", w, values), keys, values


def step_overwrites(q, k, v, keys, values):
    """Writes into the cache that it was given."""
    y, all_keys, all_values = correct_3_einsum(q, k, v, keys, values)
    keys.zero_()
    return y, all_keys, all_values


def mask_by_repeat(lengths):
    """Right: real tokens on both sides, and the diagonal."""
    T = int(lengths.max())
    real = torch.arange(T).flip(0) < lengths[:, None]
    return (real[:, None] & torch.ones(T, T).bool().tril()) | torch.eye(T).bool()


def mask_padding_sees_padding(lengths):
    T = int(lengths.max())
    real = torch.arange(T) >= T - lengths[:, None]
    return (real[:, None, :] == real[:, :, None]) & torch.ones(T, T).bool().tril()


def mask_triangle_only(lengths):
    T = int(lengths.max())
    return torch.ones(len(lengths), T, T, dtype=torch.bool).tril()


def mask_for_heads(lengths):
    return mask_by_repeat(lengths)[:, None]


def mask_one_too_many(lengths):
    T = int(lengths.max())
    t = torch.arange(T)
    return ((t > (T - lengths)[:, None, None]) & (t <= t[:, None])) | (t == t[:, None])


PLANTED = {
    "07.1": Planted(
        correct=[correct_1_row_by_row, correct_1_scatter, cut_by_threshold],
        wrong=[
            Wrong(wrong_1_crossing_token_cut, "crossing token cut", from_text=True),
            Wrong(wrong_1_top_p_before_top_k, "top-p first", from_text=True),
            Wrong(wrong_1_exactly_k, "ties of top-k", from_text=True),
            Wrong(wrong_1_gathered_with_ids, "places for ids", from_text=True),
            Wrong(wrong_1_zero_for_cut, "0 for cut", from_text=True),
            Wrong(wrong_1_in_place, "mutated", from_text=True),
            Wrong(cut_with_topk_of_too_many, "k beyond V"),
            Wrong(cut_one_at_top_p_one, "one cuts"),
            Wrong(cut_only_top_k, "no top-p"),
            Wrong(cut_as_probabilities, "probabilities"),
            Wrong(cut_for_two_dimensions, "no rows"),
        ],
        equivalent={
            "another comparison: top_k < logits.shape[-1] (line 4)": "the V largest of V are all of them",
            "flag flipped: True (line 8)": "torch sorts so few numbers on a CPU stably in any case",
        },
    ),
    "07.2": Planted(
        correct=[correct_2_lead_byte, correct_2_error_start, bytes_of_first_error, bytes_one_by_one],
        wrong=[
            Wrong(wrong_2_replaced, "replaced", from_text=True),
            Wrong(wrong_2_ignored, "thrown away", from_text=True),
            Wrong(wrong_2_all_or_nothing, "all or nothing", from_text=True),
            Wrong(wrong_2_real_replacement_held, "a real one held", from_text=True),
            Wrong(wrong_2_slice_by_minus_zero, "minus zero", from_text=True),
            Wrong(wrong_2_high_bytes_held, "high bytes held", from_text=True),
            Wrong(bytes_incremental, "library"),
            Wrong(bytes_at_most_two, "range(4) ~> range(3)"),
            Wrong(bytes_rest_lost, "thrown away"),
            Wrong(bytes_last_index, "nothing at all"),
            Wrong(bytes_as_list, "type"),
        ],
        equivalent={"one more: 4 (line 3)": "no text has four incomplete bytes"},
    ),
    "07.3": Planted(
        correct=[correct_3_einsum, correct_3_allocated, step_by_the_last_row],
        wrong=[
            Wrong(wrong_3_not_itself, "not itself", from_text=True),
            Wrong(wrong_3_causal_triangle, "causal triangle", from_text=True),
            Wrong(wrong_3_no_root, "no scale", from_text=True),
            Wrong(wrong_3_old_cache_returned, "old cache", from_text=True),
            Wrong(wrong_3_one_row_too_many, "one row too many", from_text=True),
            Wrong(step_borrowed, "library"),
            Wrong(step_newest_first, "newest first"),
            Wrong(step_root_of_tokens, "wrong root"),
            Wrong(step_fixed_window, "oldest dropped"),
            Wrong(step_overwrites, "mutated"),
        ],
        equivalent={"one less: 0 (line 7)": "there is one query: the first is the last"},
    ),
    "07.4": Planted(
        correct=[correct_4_loop, correct_4_plain_python, mask_by_repeat],
        wrong=[
            Wrong(wrong_4_padding_right, "padding at the right", from_text=True),
            Wrong(wrong_4_empty_rows, "empty rows", from_text=True),
            Wrong(wrong_4_not_causal, "not causal", from_text=True),
            Wrong(wrong_4_hidden_is_true, "hidden is True", from_text=True),
            Wrong(wrong_4_floats, "dtype", from_text=True),
            Wrong(mask_padding_sees_padding, "padding sees padding"),
            Wrong(mask_triangle_only, "padding not hidden"),
            Wrong(mask_for_heads, "shape"),
            Wrong(mask_one_too_many, "first real token hidden"),
        ],
    ),
    "07.5": Planted(
        correct=["c", " C) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("e", "e", from_text=True),
            Wrong("the counter", "type"),
        ],
    ),
    "07.6": Planted(
        correct=[677 / 740, 0.915, torch.tensor(0.9149)],
        wrong=[
            Wrong(63 / 740, "That is the share that stops. The others end in a loop.", from_text=True),
            Wrong(
                1.0, "A walk that arrives at the end of the text stops: the characters there are followed by nothing."
            ),
            Wrong(
                785 / 848, "You start from each place in the text. Each context counts once, however often it occurs."
            ),
            Wrong(660 / 723, "That is the share for 7 characters; 8 are asked for."),
            Wrong(91.5, "That is in percent; a share from 0 to 1 is asked for.", from_text=True),
            Wrong(0.5, "value"),
            Wrong("all", "type"),
        ],
    ),
}
