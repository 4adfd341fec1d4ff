"""Planted answers for the exercises of chapter 12."""

import torch
from checks.planting import Planted, Wrong

# --- 12.1, from the text alone


def wrong_1_forward_only(matrix_params, n_layers, d_model, context, tokens, peak):
    """2 FLOPs an entry."""
    return (2 * matrix_params + 6 * d_model * context * n_layers) * tokens / peak


def wrong_1_no_attention(matrix_params, n_layers, d_model, context, tokens, peak):
    """6 N D."""
    return 6 * matrix_params * tokens / peak


def wrong_1_one_layer(matrix_params, n_layers, d_model, context, tokens, peak):
    """Forgets n_layers."""
    return (6 * matrix_params + 6 * d_model * context) * tokens / peak


def wrong_1_matrices_times_layers(matrix_params, n_layers, d_model, context, tokens, peak):
    """Multiplies everything by n_layers."""
    return n_layers * (6 * matrix_params + 6 * d_model * context) * tokens / peak


def wrong_1_twelve(matrix_params, n_layers, d_model, context, tokens, peak):
    """The 12 d T of the usual formula, without the causal half."""
    return (6 * matrix_params + 12 * n_layers * d_model * context) * tokens / peak


def wrong_1_context_squared(matrix_params, n_layers, d_model, context, tokens, peak):
    """Attention is quadratic, so context**2."""
    return (6 * matrix_params + 6 * n_layers * d_model * context**2) * tokens / peak


def wrong_1_six_forgotten_twice(matrix_params, n_layers, d_model, context, tokens, peak):
    """Tokens a second instead of seconds: upside down."""
    return peak / ((6 * matrix_params + 6 * n_layers * d_model * context) * tokens)


def wrong_1_whole_seconds(matrix_params, n_layers, d_model, context, tokens, peak):
    """// for /."""
    return (6 * matrix_params + 6 * n_layers * d_model * context) * tokens // peak


def correct_1_adds_up(matrix_params, n_layers, d_model, context, tokens, peak):
    """Unusual but right: 2 forward and 4 backward, layer by layer, seconds a token first."""
    flops = (2 + 4) * matrix_params
    for _ in range(n_layers):
        flops += 6 * d_model * context
    return (flops / peak) * tokens


def correct_1_six_outside(matrix_params, n_layers, d_model, context, tokens, peak):
    """Unusual but right: a one-entry tensor in float64, 6 taken outside."""
    per_token = torch.tensor([matrix_params, n_layers * d_model * context], dtype=torch.float64).sum()
    return 6 * tokens / peak * per_token


# --- 12.1, written beside the checker


def seconds_step_by_step(matrix_params, n_layers, d_model, context, tokens, peak):
    matrices = matrix_params * (2 + 4)
    attention = sum(6 * d_model * context for _ in range(n_layers))
    return tokens * (matrices + attention) / peak


def seconds_as_a_tensor(matrix_params, n_layers, d_model, context, tokens, peak):
    flops = torch.tensor(6.0 * matrix_params, dtype=torch.float64) + 6 * n_layers * d_model * context
    return flops * (tokens / peak)


# --- 12.2, from the text alone


def wrong_2_reaches_floor_one_step_late(step, total_steps, decay, floor):
    """Starts to fall one step late: the floor would be reached at step total_steps, which is never run."""
    n = max(1, round(decay * total_steps))
    start = total_steps - n
    if step < start:
        return 1.0
    return 1.0 - (1.0 - floor) * (step - start) / n


def wrong_2_n_minus_one_parts(step, total_steps, decay, floor):
    """linspace from 1 to floor over the n steps, both ends included: n - 1 parts."""
    n = max(1, round(decay * total_steps))
    start = total_steps - n
    if step < start:
        return 1.0
    if n == 1:
        return floor
    return 1.0 - (1.0 - floor) * (step - start) / (n - 1)


def wrong_2_falls_to_zero(step, total_steps, decay, floor):
    """Falls to 0 and cuts off at floor."""
    n = max(1, round(decay * total_steps))
    return max(floor, min(1.0, (total_steps - 1 - step) / n))


def wrong_2_int_for_round(step, total_steps, decay, floor):
    """int() cuts off; passes the example."""
    n = max(1, int(decay * total_steps))
    left = total_steps - 1 - step
    if left >= n:
        return 1.0
    return floor + (1.0 - floor) * left / n


def wrong_2_no_least_one(step, total_steps, decay, floor):
    """Forgets 'but at least 1'; passes the example."""
    n = round(decay * total_steps)
    left = total_steps - 1 - step
    if left >= n:
        return 1.0
    return floor + (1.0 - floor) * left / n


def wrong_2_decay_is_the_start(step, total_steps, decay, floor):
    """Takes decay for the place where the fall begins; passes the example (decay 0.5)."""
    start = min(round(decay * total_steps), total_steps - 1)
    if step < start:
        return 1.0
    n = total_steps - start
    return 1.0 - (1.0 - floor) * (step - start + 1) / n


def wrong_2_geometric(step, total_steps, decay, floor):
    """Falls by equal factors."""
    n = max(1, round(decay * total_steps))
    k = max(0, step - (total_steps - n) + 1)
    return floor ** (k / n)


def wrong_2_int_one(step, total_steps, decay, floor):
    """Right by value, but gives the int 1 before the fall."""
    n = max(1, round(decay * total_steps))
    left = total_steps - 1 - step
    return 1 if left >= n else floor + (1.0 - floor) * left / n


def correct_2_from_the_end(step, total_steps, decay, floor):
    """Unusual but right: counts the steps still to come, and cuts off at 1."""
    n = max(round(decay * total_steps), 1)
    up = min(total_steps - 1 - step, n) / n
    return up * 1.0 + (1.0 - up) * floor


def correct_2_whole_schedule(step, total_steps, decay, floor):
    """Unusual but right: writes the whole schedule from the end as a list and looks the step up."""
    n = max(1, round(decay * total_steps))
    backwards = [floor + i * (1.0 - floor) / n for i in range(n)] + [1.0] * (total_steps - n)
    return backwards[-1 - step]


# --- 12.2, written beside the checker


def factor_with_if(step, total_steps, decay, floor):
    n = max(round(decay * total_steps), 1)
    begins = total_steps - n
    if step < begins:
        return 1.0
    return 1.0 - (step - begins + 1) * (1.0 - floor) / n


def factor_from_a_table(step, total_steps, decay, floor):
    n = max(round(decay * total_steps), 1)
    line = torch.linspace(1.0, floor, n + 1, dtype=torch.float64)[1:]
    return torch.cat((torch.ones(total_steps - n, dtype=torch.float64), line))[step]


def factor_by_the_library(step, total_steps, decay, floor):
    from blueberry_lib.config import ScheduleConfig
    from blueberry_lib.optim.schedules import learning_rate_factor

    return learning_rate_factor(ScheduleConfig(kind="wsd", decay=decay, floor=floor), step, total_steps)


# --- 12.3, from the text alone


def wrong_3_shares_swapped(own, shares):
    """s for the first layer's values, 1 - s for the own."""
    out = [own[0]]
    for i in range(1, len(own)):
        out.append((1 - shares[i - 1]) * own[i] + shares[i - 1] * own[0])
    return torch.stack(out)


def wrong_3_layer_before_used(own, shares):
    """Mixes with what the layer before used."""
    out = [own[0]]
    for i in range(1, len(own)):
        out.append(shares[i - 1] * own[i] + (1 - shares[i - 1]) * out[-1])
    return torch.stack(out)


def wrong_3_layer_before_own(own, shares):
    """Mixes with the layer before's own values."""
    s = shares[:, None, None]
    return torch.cat([own[:1], s * own[1:] + (1 - s) * own[:-1]])


def wrong_3_share_of_its_own_index(own, shares):
    """shares[i] for shares[i - 1]; runs over at the last layer, so min()."""
    out = [own[0]]
    for i in range(1, len(own)):
        s = shares[min(i, len(shares) - 1)]
        out.append(s * own[i] + (1 - s) * own[0])
    return torch.stack(out)


def wrong_3_adds(own, shares):
    """A residual is added: own + (1 - s) first."""
    s = shares[:, None, None]
    return torch.cat([own[:1], own[1:] + (1 - s) * own[0]])


def wrong_3_empty_stack(own, shares):
    """Stacks the later layers first; passes the example."""
    later = torch.stack([s * v + (1 - s) * own[0] for s, v in zip(shares, own[1:], strict=True)])
    return torch.cat([own[:1], later])


def wrong_3_first_layer_left_out(own, shares):
    """Gives back the mixed layers only."""
    s = shares.reshape(-1, 1, 1)
    return s * own[1:] + (1 - s) * own[:1]


def wrong_3_in_place(own, shares):
    """Right values, written into own."""
    for i in range(1, len(own)):
        own[i] = shares[i - 1] * own[i] + (1 - shares[i - 1]) * own[0]
    return own


def wrong_3_shares_along_the_last_dimension(own, shares):
    """No reshape of shares: broadcast along D; passes no shape but D = L - 1 or D = 1 with L = 2."""
    return torch.cat([own[:1], shares * own[1:] + (1 - shares) * own[0]])


def wrong_3_float32_zeros(own, shares):
    """Fills a new torch.zeros; passes the example."""
    out = torch.zeros(own.shape)
    out[0] = own[0]
    for i in range(1, len(own)):
        out[i] = torch.lerp(own[0], own[i], shares[i - 1])
    return out


def correct_3_one_matrix(own, shares):
    """Unusual but right: an (L, L) mixing matrix, diagonal of shares and a first column, applied with einsum."""
    s = torch.cat([torch.ones_like(own[:, 0, 0])[:1], shares])
    mix = torch.diag(s)
    mix[1:, 0] = 1 - shares
    return torch.einsum("lm,mtd->ltd", mix, own)


def correct_3_lerp_of_all(own, shares):
    """Unusual but right: lerp from the first layer to each, the first layer's own share being 1 (mixed …"""
    s = torch.nn.functional.pad(shares, (1, 0), value=1.0)
    return torch.lerp(own[:1].expand_as(own), own, s.view(-1, 1, 1))


# --- 12.3, written beside the checker


def values_by_lerp(own, shares):
    return torch.cat((own[:1], torch.lerp(own[:1], own[1:], shares.view(-1, 1, 1))))


def values_by_einsum(own, shares):
    weights = torch.diag(torch.cat((torch.zeros_like(shares[:0]), shares.new_zeros(1), shares)))
    weights[:, 0] += 1 - weights.sum(dim=1)
    return torch.einsum("ml,ltd->mtd", weights, own)


def values_in_place(own, shares):
    for layer, s in enumerate(shares, start=1):
        own[layer] = s * own[layer] + (1 - s) * own[0]
    return own


# --- 12.4, from the text alone


def wrong_4_roll(keys):
    """torch.roll wraps around."""
    h = keys.shape[1] // 2
    return torch.cat([keys[:, :h], keys[:, h:].roll(1, dims=2)], dim=1)


def wrong_4_zero_for_the_first(keys):
    """Pads with zeros."""
    h = keys.shape[1] // 2
    out = keys.clone()
    out[:, h:, 1:] = keys[:, h:, :-1]
    out[:, h:, 0] = 0
    return out


def wrong_4_next_token(keys):
    """Shifts to the other side."""
    h = keys.shape[1] // 2
    out = keys.clone()
    out[:, h:, :-1] = keys[:, h:, 1:]
    return out


def wrong_4_first_half(keys):
    """Shifts the first half."""
    h = keys.shape[1] // 2
    out = keys.clone()
    out[:, :h, 1:] = keys[:, :h, :-1]
    return out


def wrong_4_every_other_head(keys):
    """Every second head; passes the example (H = 2)."""
    out = keys.clone()
    out[:, 1::2, 1:] = keys[:, 1::2, :-1]
    return out


def wrong_4_half_of_the_entries(keys):
    """Shifts half of each key's entries (D) instead of half of the heads."""
    d = keys.shape[-1] // 2
    out = keys.clone()
    out[:, :, 1:, d:] = keys[:, :, :-1, d:]
    return out


def wrong_4_one_after_the_other(keys):
    """A loop over the tokens that reads from what it has written."""
    h = keys.shape[1] // 2
    out = keys.clone()
    for t in range(1, keys.shape[2]):
        out[:, h:, t] = out[:, h:, t - 1]
    return out


def wrong_4_no_copy(keys):
    """Right values, written into keys."""
    h = keys.shape[1] // 2
    keys[:, h:, 1:] = keys[:, h:, :-1].clone()
    return keys


def wrong_4_along_the_heads(keys):
    """Takes the head before instead of the token before."""
    h = keys.shape[1] // 2
    out = keys.clone()
    out[:, h:] = keys[:, h - 1 : -1]
    return out


def wrong_4_last_head_only(keys):
    """keys[:, 1:] for 'the others'; passes the example (H = 2)."""
    out = keys.clone()
    out[:, 1:, 1:] = keys[:, 1:, :-1]
    return out


def wrong_4_new_zeros(keys):
    """Fills a new torch.zeros; right numbers in float32."""
    h = keys.shape[1] // 2
    out = torch.zeros(keys.shape)
    out[:, :h] = keys[:, :h]
    out[:, h:, 0] = keys[:, h:, 0]
    out[:, h:, 1:] = keys[:, h:, :-1]
    return out


def correct_4_gather_by_index(keys):
    """Unusual but right: index of the source token for each head and token, then advanced indexing."""
    H, T = keys.shape[1:3]
    t = torch.arange(T)
    late = (torch.arange(H) >= H // 2).long()[:, None]
    source = (t[None, :] - late).clamp(min=0)
    return keys[:, torch.arange(H)[:, None], source]


def correct_4_roll_and_mend(keys):
    """Unusual but right: split, roll, and the first token put back; tuple unpacked from chunk."""
    stay, move = torch.chunk(keys, 2, dim=1)
    rolled = torch.roll(move, shifts=1, dims=-2)
    first = torch.arange(keys.shape[2]).eq(0).view(1, 1, -1, 1)
    return torch.cat((stay, torch.where(first, move, rolled)), dim=1)


# --- 12.4, written beside the checker


def keys_by_index(keys):
    result = keys.clone()
    half = keys.shape[1] // 2
    result[:, half:, 1:] = keys[:, half:, :-1]
    return result


def keys_by_gather(keys):
    B, H, T, D = keys.shape
    at = torch.arange(T).expand(H, T).clone()
    at[H // 2 :] = (at[H // 2 :] - 1).clamp(min=0)
    return keys.gather(2, at[None, :, :, None].expand(B, H, T, D))


def keys_in_place(keys):
    half = keys.shape[1] // 2
    keys[:, half:, 1:] = keys[:, half:, :-1].clone()
    return keys


# --- 12.5, from the text alone


def wrong_5_clamp(logits, cap):
    """A hard cap."""
    return logits.clamp(-cap, cap), (logits.abs() < cap).to(logits.dtype)


def wrong_5_slope_times_cap(logits, cap):
    """Forgets the inner derivative 1 / cap."""
    t = torch.tanh(logits / cap)
    return cap * t, cap * (1 - t**2)


def wrong_5_slope_over_cap(logits, cap):
    """Forgets the outer factor cap."""
    t = torch.tanh(logits / cap)
    return cap * t, (1 - t**2) / cap


def wrong_5_slope_from_the_capped(logits, cap):
    """1 - y**2 with the capped logit for tanh."""
    y = cap * torch.tanh(logits / cap)
    return y, 1 - y**2


def wrong_5_tanh_by_hand(logits, cap):
    """Exponentials by hand; passes the example."""
    u, v = torch.exp(logits / cap), torch.exp(-logits / cap)
    t = (u - v) / (u + v)
    return cap * t, 1 - t**2


def wrong_5_no_division_inside(logits, cap):
    """cap * tanh(logits)."""
    t = torch.tanh(logits)
    return cap * t, 1 - t**2


def wrong_5_secant(logits, cap):
    """Takes capped / logit for the slope."""
    y = cap * torch.tanh(logits / cap)
    return y, y / logits


def wrong_5_nan_to_num(logits, cap):
    """Exponentials by hand, NaN hushed up as 0; passes the example."""
    u, v = torch.exp(logits / cap), torch.exp(-logits / cap)
    t = torch.nan_to_num((u - v) / (u + v))
    return cap * t, 1 - t**2


def wrong_5_in_place(logits, cap):
    """Right values, but div_ on the input."""
    t = logits.div_(cap).tanh()
    return cap * t, 1 - t**2


def correct_5_autograd(logits, cap):
    """Unusual but right: the slope by autograd of the sum."""
    with torch.enable_grad():
        x = logits.detach().clone().requires_grad_(True)
        y = torch.tanh(x / cap) * cap
        (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), slope


def correct_5_sigmoids(logits, cap):
    """Unusual but right: tanh(u) = 2 sigmoid(2u) - 1, slope 4 s (1 - s) with s(-x) for 1 - s(x)."""
    x = 2 * logits / cap
    s, r = torch.sigmoid(x), torch.sigmoid(-x)
    return cap * (s - r), 4 * s * r


def correct_5_jvp(logits, cap):
    """Unusual but right: forward derivative with torch.func.jvp, both results at once."""
    return torch.func.jvp(lambda x: cap * torch.tanh(x / cap), (logits,), (torch.ones_like(logits),))


# --- 12.5, written beside the checker


def cap_by_autograd(logits, cap):
    with torch.enable_grad():
        z = logits.detach().clone().requires_grad_()
        capped = cap * (z / cap).tanh()
        (slope,) = torch.autograd.grad(capped.sum(), z)
    return capped.detach(), slope


def cap_by_sigmoid(logits, cap):
    bent = 2 * torch.sigmoid(2 * logits / cap) - 1
    capped = bent * cap
    return capped, 1 - (capped / cap) ** 2


def cap_reversed(logits, cap):
    bent = torch.tanh(logits / cap)
    return 1 - bent**2, cap * bent


def cap_without_slope(logits, cap):
    return cap * torch.tanh(logits / cap)


PLANTED = {
    "12.1": Planted(
        correct=[correct_1_adds_up, correct_1_six_outside, seconds_step_by_step, seconds_as_a_tensor],
        wrong=[
            Wrong(wrong_1_forward_only, "matrices forward alone", from_text=True),
            Wrong(wrong_1_no_attention, "no attention", from_text=True),
            Wrong(wrong_1_one_layer, "one layer's attention", from_text=True),
            Wrong(wrong_1_matrices_times_layers, "layers twice", from_text=True),
            Wrong(wrong_1_twelve, "no causal half", from_text=True),
            Wrong(wrong_1_context_squared, "context squared", from_text=True),
            Wrong(wrong_1_six_forgotten_twice, "relation:reciprocal", from_text=True),
            Wrong(wrong_1_whole_seconds, "relation:whole", from_text=True),
        ],
    ),
    "12.2": Planted(
        correct=[
            correct_2_from_the_end,
            correct_2_whole_schedule,
            wrong_2_int_one,
            factor_with_if,
            factor_from_a_table,
        ],
        wrong=[
            Wrong(wrong_2_reaches_floor_one_step_late, "never there", from_text=True),
            Wrong(wrong_2_n_minus_one_parts, "one part too few", from_text=True),
            Wrong(wrong_2_falls_to_zero, "cut off at the floor", from_text=True),
            Wrong(wrong_2_int_for_round, "cut, not rounded", from_text=True),
            Wrong(wrong_2_no_least_one, "n may be 0", from_text=True),
            Wrong(wrong_2_decay_is_the_start, "held for decay", from_text=True),
            Wrong(wrong_2_geometric, "equal factors", from_text=True),
            Wrong(factor_by_the_library, "library"),
        ],
    ),
    "12.3": Planted(
        correct=[correct_3_one_matrix, correct_3_lerp_of_all, values_by_lerp, values_by_einsum],
        wrong=[
            Wrong(wrong_3_shares_swapped, "swapped", from_text=True),
            Wrong(wrong_3_layer_before_used, "a chain", from_text=True),
            Wrong(wrong_3_layer_before_own, "the layer before", from_text=True),
            Wrong(wrong_3_share_of_its_own_index, "one layer late", from_text=True),
            Wrong(wrong_3_adds, "own kept whole", from_text=True),
            Wrong(wrong_3_empty_stack, "crashed", from_text=True),
            Wrong(wrong_3_first_layer_left_out, "first layer missing", from_text=True),
            Wrong(wrong_3_in_place, "mutated", from_text=True),
            Wrong(wrong_3_shares_along_the_last_dimension, "share across entries", from_text=True),
            Wrong(wrong_3_float32_zeros, "dtype", from_text=True),
            Wrong(values_in_place, "mutated"),
        ],
    ),
    "12.4": Planted(
        correct=[correct_4_gather_by_index, correct_4_roll_and_mend, keys_by_index, keys_by_gather],
        wrong=[
            Wrong(wrong_4_roll, "rolled round", from_text=True),
            Wrong(wrong_4_zero_for_the_first, "zero first", from_text=True),
            Wrong(wrong_4_next_token, "from the future", from_text=True),
            Wrong(wrong_4_first_half, "the other half", from_text=True),
            Wrong(wrong_4_every_other_head, "every other head", from_text=True),
            Wrong(wrong_4_half_of_the_entries, "half of each key", from_text=True),
            Wrong(wrong_4_one_after_the_other, "one after the other", from_text=True),
            Wrong(wrong_4_no_copy, "mutated", from_text=True),
            Wrong(wrong_4_along_the_heads, "the head before", from_text=True),
            Wrong(wrong_4_last_head_only, "all but one head", from_text=True),
            Wrong(wrong_4_new_zeros, "dtype", from_text=True),
            Wrong(keys_in_place, "mutated"),
        ],
    ),
    "12.5": Planted(
        correct=[correct_5_autograd, correct_5_sigmoids, correct_5_jvp, cap_by_autograd, cap_by_sigmoid],
        wrong=[
            Wrong(wrong_5_clamp, "cut off", from_text=True),
            Wrong(wrong_5_slope_times_cap, "relation:times cap", from_text=True),
            Wrong(wrong_5_slope_over_cap, "relation:over cap", from_text=True),
            Wrong(wrong_5_slope_from_the_capped, "square of the capped", from_text=True),
            Wrong(wrong_5_tanh_by_hand, "NaN", from_text=True),
            Wrong(wrong_5_no_division_inside, "cap not inside", from_text=True),
            Wrong(wrong_5_secant, "a ratio", from_text=True),
            Wrong(wrong_5_nan_to_num, "0 for large ones", from_text=True),
            Wrong(wrong_5_in_place, "mutated", from_text=True),
            Wrong(cap_reversed, "relation:pair"),
            Wrong(cap_without_slope, "type"),
        ],
    ),
    "12.6": Planted(
        correct=["B", " (b) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("c", "c", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("bd", "type", from_text=True),
            Wrong("none", "type"),
        ],
    ),
}
