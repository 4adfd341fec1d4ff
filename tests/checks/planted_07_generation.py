"""Wrong and right answers to the exercises of chapter 07.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import codecs
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
