"""Wrong and right answers to the exercises of chapter 10.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import math

import torch
from checks.planting import Planted, Wrong


def wrong_1_weights_only(k, n, size, rate, bandwidth):
    """Only the weights are moved."""
    return math.ceil(size * k * n / bandwidth / (2 * k * n / rate))


def wrong_1_one_flop(k, n, size, rate, bandwidth):
    """A multiplication with its addition counts once."""
    gained = k * n / rate - size * (k + n) / bandwidth
    return math.ceil(size * k * n / bandwidth / gained) if gained > 0 else None


def wrong_1_rounded_down(k, n, size, rate, bandwidth):
    gained = 2 * k * n / rate - size * (k + n) / bandwidth
    return int(size * k * n / bandwidth / gained) if gained > 0 else None


def wrong_1_never_none(k, n, size, rate, bandwidth):
    """A negative number of rows becomes one."""
    gained = 2 * k * n / rate - size * (k + n) / bandwidth
    return max(1, math.ceil(size * k * n / bandwidth / gained)) if gained else None


def wrong_1_zero_gain_divides(k, n, size, rate, bandwidth):
    gained = 2 * k * n / rate - size * (k + n) / bandwidth
    return math.ceil(size * k * n / bandwidth / gained) if gained >= 0 else None


def wrong_1_no_output(k, n, size, rate, bandwidth):
    """The results are not written."""
    gained = 2 * k * n / rate - size * k / bandwidth
    return math.ceil(size * k * n / bandwidth / gained) if gained > 0 else None


def correct_1_bisection(k, n, size, rate, bandwidth):
    """Doubles, then bisects."""

    def enough(rows):
        return 2 * rows * k * n / rate >= size * (rows * k + k * n + rows * n) / bandwidth

    high = 1
    while not enough(high):
        high *= 2
        if high > 10**15:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def correct_1_in_bytes(k, n, size, rate, bandwidth):
    """All in bytes that could be moved meanwhile."""
    meanwhile = 2 * k * n * bandwidth / rate
    if meanwhile <= size * (k + n):
        return None
    return -int(-size * k * n // (meanwhile - size * (k + n)))


def rows_in_numbers(k, n, size, rate, bandwidth):
    """Numbers for bytes."""
    gained = 2 * k * n / rate - (k + n) / bandwidth
    return math.ceil(k * n / bandwidth / gained) if gained > 0 else None


def rows_one_more(k, n, size, rate, bandwidth):
    gained = 2 * k * n / rate - size * (k + n) / bandwidth
    return int(size * k * n / bandwidth / gained) + 1 if gained > 0 else None


def wrong_2_cut(x):
    """The lower bits are only cut off."""
    return (x.view(torch.int32) & ~0xFFFF).view(torch.float32)


def wrong_2_ties_away(x):
    """Half a step is always added."""
    rounded = ((x.view(torch.int32) + 0x8000) & ~0xFFFF).view(torch.float32)
    return torch.where(x.isnan(), x, rounded)


def wrong_2_nan_lost(x):
    """A NaN carries into the sign."""
    bits = x.view(torch.int32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & ~0xFFFF).view(torch.float32)


def wrong_2_library(x):
    return x.bfloat16().float()


def wrong_2_library_by_to(x):
    return x.to(torch.bfloat16).to(torch.float32)


def wrong_2_ties_down(x):
    """Ties towards zero."""
    rounded = ((x.view(torch.int32) + 0x7FFF) & ~0xFFFF).view(torch.float32)
    return torch.where(x.isnan(), x, rounded)


def correct_2_wide(x):
    """In 64 bits, with the remainder compared."""
    bits = x.view(torch.int32).long()
    low = bits & 0xFFFF
    kept = bits >> 16
    up = (low > 0x8000) | ((low == 0x8000) & (kept & 1 == 1))
    rounded = ((kept + up.long()) << 16).to(torch.int32).view(torch.float32)
    return torch.where(x != x, x, rounded)


def correct_2_numpy(x):
    """The same in numpy."""
    import numpy as np

    bits = x.flatten().numpy().view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    rounded = torch.from_numpy(bits.astype(np.uint32).view(np.float32)).view(x.shape)
    return torch.where(torch.isnan(x), torch.full_like(x, torch.nan), rounded)


def bits_as_numbers(x):
    """The integers are read as numbers, not as bits."""
    bits = x.view(torch.int32)
    return torch.where(x.isnan(), x, ((bits + 0x7FFF + (bits >> 16 & 1)) & ~0xFFFF).float())


def bits_infinity_lost(x):
    """An infinity is held at the largest number."""
    return wrong_2_half_step(x).clamp(-3.3895314e38, 3.3895314e38)


def wrong_2_half_step(x):
    bits = x.view(torch.int32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) & ~0xFFFF).view(torch.float32)
    return torch.where(x.isnan(), x, rounded)


def wrong_3_blocks_averaged(q, k, v, block):
    """A softmax of each block, then their mean."""
    parts = []
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        e = (q @ keys.T / q.shape[1] ** 0.5).double().exp()
        parts.append((e / e.sum(1, keepdim=True)).float() @ values)
    return torch.stack(parts).mean(0)


def wrong_3_no_largest(q, k, v, block):
    """Exponentials of the scores as they are."""
    total, out = 0, 0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        e = (q @ keys.T / q.shape[1] ** 0.5).exp()
        total, out = total + e.sum(1, keepdim=True), out + e @ values
    return out / total


def wrong_3_not_converted(q, k, v, block):
    """The old sums stay as they were."""
    top = torch.full((len(q), 1), -torch.inf)
    total, out = 0, 0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        s = q @ keys.T / q.shape[1] ** 0.5
        top = torch.maximum(top, s.max(1, keepdim=True).values)
        e = (s - top).exp()
        total, out = total + e.sum(1, keepdim=True), out + e @ values
    return out / total


def wrong_3_whole_matrix(q, k, v, block):
    """All scores at once."""
    s = q @ k.T / q.shape[1] ** 0.5
    e = (s - s.max(1, keepdim=True).values).exp()
    return e @ v / e.sum(1, keepdim=True)


def wrong_3_last_block_lost(q, k, v, block):
    """Only full blocks."""
    top, total, out = torch.full((len(q), 1), -torch.inf), 0, 0
    for i in range(len(k) // block):
        keys, values = k[i * block : (i + 1) * block], v[i * block : (i + 1) * block]
        s = q @ keys.T / q.shape[1] ** 0.5
        new = torch.maximum(top, s.max(1, keepdim=True).values)
        e, shrink = (s - new).exp(), (top - new).exp()
        total, out = shrink * total + e.sum(1, keepdim=True), shrink * out + e @ values
        top = new
    return out / total


def wrong_3_no_root(q, k, v, block):
    return correct_3_logarithm(q * q.shape[1] ** 0.5, k, v, block)


def wrong_3_library(q, k, v, block):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def correct_3_logarithm(q, k, v, block):
    """Merges pairs of (log-sum-exp, average)."""
    out, log = None, None
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        s = q @ keys.T / q.shape[1] ** 0.5
        top = s.max(1, keepdim=True).values
        e = (s - top).exp()
        part, its = e @ values / e.sum(1, keepdim=True), top + e.sum(1, keepdim=True).log()
        if out is None:
            out, log = part, its
        else:
            both = torch.logaddexp(log, its)
            out, log = (log - both).exp() * out + (its - both).exp() * part, both
    return out


def correct_3_two_passes(q, k, v, block):
    """The largest first, in a pass of its own."""
    q = q / q.shape[1] ** 0.5
    top = torch.stack([(q @ keys.T).amax(1) for keys in k.split(block)]).amax(0)[:, None]
    total, out = torch.zeros(len(q), 1), torch.zeros(len(q), v.shape[1])
    for start in range(0, len(k), block):
        e = torch.exp(q @ k[start : start + block].T - top)
        total += e.sum(1, keepdim=True)
        out += e @ v[start : start + block]
    return out / total


def blocks_one_largest(q, k, v, block):
    """One largest score for all queries."""
    top, total, out = torch.tensor(-torch.inf), 0, 0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        s = q @ keys.T / q.shape[1] ** 0.5
        new = torch.maximum(top, s.max())
        e, shrink = (s - new).exp(), (top - new).exp()
        total, out, top = shrink * total + e.sum(1, keepdim=True), shrink * out + e @ values, new
    return out / total


def blocks_not_divided(q, k, v, block):
    """The sum of exponentials is never used."""
    top, out = torch.full((len(q), 1), -torch.inf), 0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        s = q @ keys.T / q.shape[1] ** 0.5
        new = torch.maximum(top, s.max(1, keepdim=True).values)
        out, top = (top - new).exp() * out + (s - new).exp() @ values, new
    return out


def wrong_5_clipped_always(weights, gradients, lr, max_norm):
    """Small gradients are stretched to max_norm."""
    g = torch.stack(gradients)
    return list((torch.stack(weights) - lr * g * (max_norm / g.norm())).unbind())


def wrong_5_each_by_itself(weights, gradients, lr, max_norm):
    """A norm for each matrix."""
    g = torch.stack(gradients)
    factor = (max_norm / g.norm(dim=(1, 2), keepdim=True)).clamp(max=1)
    return list((torch.stack(weights) - lr * factor * g).unbind())


def wrong_5_in_place(weights, gradients, lr, max_norm):
    """Right values, written into the weights."""
    g = torch.stack(gradients)
    g = g * (max_norm / g.norm()).clamp(max=1)
    for w, one in zip(weights, g, strict=True):
        w -= lr * one
    return weights


def wrong_5_one_tensor(weights, gradients, lr, max_norm):
    """A tensor, not a list."""
    g = torch.stack(gradients)
    return torch.stack(weights) - lr * (max_norm / g.norm()).clamp(max=1) * g


def wrong_5_waits(weights, gradients, lr, max_norm):
    """Asks the device for the norm."""
    g = torch.stack(gradients)
    norm = g.norm().item()
    if norm > max_norm:
        g = g * (max_norm / norm)
    return list((torch.stack(weights) - lr * g).unbind())


def wrong_5_loop_over_matrices(weights, gradients, lr, max_norm):
    """One loop less, and still hundreds of starts."""
    norm = sum((g * g).sum() for g in gradients).sqrt()
    factor = (max_norm / norm).clamp(max=1)
    return [w - lr * factor * g for w, g in zip(weights, gradients, strict=True)]


def wrong_5_slow(weights, gradients, lr, max_norm):
    """The slow step itself."""
    total = 0.0
    for gradient in gradients:
        for row in gradient:
            total += (row * row).sum().item()
    norm = math.sqrt(total)
    new = []
    for weight, gradient in zip(weights, gradients, strict=True):
        rows = []
        for w, g in zip(weight, gradient, strict=True):
            if norm > max_norm:
                g = g * (max_norm / norm)
            rows.append(w - lr * g)
        new.append(torch.stack(rows))
    return new


def correct_5_foreach(weights, gradients, lr, max_norm):
    """torch's operations on lists."""
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    step = torch._foreach_mul(gradients, lr * (max_norm / norm).clamp(max=1))
    return list(torch._foreach_sub(weights, step))


def correct_5_flat(weights, gradients, lr, max_norm):
    """One long vector."""
    shape = weights[0].shape
    w, g = torch.cat([w.flatten() for w in weights]), torch.cat([g.flatten() for g in gradients])
    norm = (g @ g).sqrt()
    g = torch.where(norm > max_norm, g * (max_norm / norm), g)
    return [part.view(shape) for part in (w - lr * g).chunk(len(weights))]


def step_not_clipped(weights, gradients, lr, max_norm):
    return list((torch.stack(weights) - lr * torch.stack(gradients)).unbind())


def step_squared_norm(weights, gradients, lr, max_norm):
    g = torch.stack(gradients)
    return list((torch.stack(weights) - lr * (max_norm / (g * g).sum()).clamp(max=1) * g).unbind())


def step_after_clipping(weights, gradients, lr, max_norm):
    """lr and the clipped length in one: the step is clipped, not the gradient."""
    g = lr * torch.stack(gradients)
    return list((torch.stack(weights) - (max_norm / g.norm()).clamp(max=1) * g).unbind())


PLANTED = {
    "10.1": Planted(
        correct=[correct_1_bisection, correct_1_in_bytes],
        wrong=[
            Wrong(wrong_1_weights_only, "weights only", from_text=True),
            Wrong(wrong_1_one_flop, "one operation", from_text=True),
            Wrong(wrong_1_rounded_down, "rounded down", from_text=True),
            Wrong(wrong_1_never_none, "never None", from_text=True),
            Wrong(wrong_1_zero_gain_divides, "no gain at all", from_text=True),
            Wrong(wrong_1_no_output, "rows counted once", from_text=True),
            Wrong(rows_in_numbers, "numbers for bytes"),
            Wrong(rows_one_more, "one too many"),
        ],
    ),
    "10.2": Planted(
        correct=[correct_2_wide, correct_2_numpy],
        wrong=[
            Wrong(wrong_2_cut, "cut", from_text=True),
            Wrong(wrong_2_ties_away, "ties away", from_text=True),
            Wrong(wrong_2_nan_lost, "NaN lost", from_text=True),
            Wrong(wrong_2_library, "property:by hand", from_text=True),
            Wrong(wrong_2_library_by_to, "property:by hand", from_text=True),
            Wrong(wrong_2_ties_down, "ties down", from_text=True),
            Wrong(bits_as_numbers, "integers for bits"),
            Wrong(bits_infinity_lost, "infinity lost"),
        ],
    ),
    "10.3": Planted(
        correct=[correct_3_logarithm, correct_3_two_passes],
        wrong=[
            Wrong(wrong_3_blocks_averaged, "blocks averaged", from_text=True),
            Wrong(wrong_3_no_largest, "no largest", from_text=True),
            Wrong(wrong_3_not_converted, "not converted", from_text=True),
            Wrong(wrong_3_whole_matrix, "property:no large tensor", from_text=True),
            Wrong(wrong_3_last_block_lost, "last block lost", from_text=True),
            Wrong(wrong_3_no_root, "no root", from_text=True),
            Wrong(wrong_3_library, "property:no large tensor", from_text=True),
            Wrong(blocks_one_largest, "one largest for all"),
            Wrong(blocks_not_divided, "not divided"),
        ],
    ),
    "10.4": Planted(
        correct=["c", " (C) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("e", "e", from_text=True),
            Wrong(2.1, "type"),
        ],
    ),
    "10.5": Planted(
        correct=[correct_5_foreach, correct_5_flat],
        wrong=[
            Wrong(wrong_5_clipped_always, "always clipped", from_text=True),
            Wrong(wrong_5_each_by_itself, "each by itself", from_text=True),
            Wrong(wrong_5_in_place, "mutated", from_text=True),
            Wrong(wrong_5_one_tensor, "type", from_text=True),
            Wrong(wrong_5_waits, "property:no waiting", from_text=True),
            Wrong(wrong_5_loop_over_matrices, "property:few operations", from_text=True),
            Wrong(wrong_5_slow, "property:few operations", from_text=True),
            Wrong(step_not_clipped, "not clipped"),
            Wrong(step_squared_norm, "squared norm"),
            Wrong(step_after_clipping, "the step clipped"),
        ],
        equivalent={
            "call dropped: (torch.stack(weights) - lr * factor * together).unbind() (line 5)": "list does it too"
        },
    ),
}
