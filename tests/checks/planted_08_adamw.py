"""Wrong and right answers to the exercises of chapter 08.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import torch
from checks.planting import Planted, Wrong

CORRECTED = "That is a first step with bias correction. Here the corrections are 1, and it moves on."
FIRST_STEP = "That is the first step alone. The momentum goes on moving the weight after it."
SHORT_MEMORY = "That is with a second beta of 0.95. Asked for is 0.999."
FLAT = "No better than a constant rate: the rate is too small at first, too large, or does not fall."
NEARLY = "Better than any constant rate, and not below the bar yet. Is the peak high enough, and the end at 0?"
A_RATE = "That is a rate. Asked for is the held-out loss that the run reached."
TOO_LOW = "That is lower than this run can get. Is it 300 steps, and the held-out loss in nats?"

# --- 08.1, from the text alone


def wrong_1_no_correction(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return w - lr * (decay * w + m / (v.sqrt() + eps)), m, v


def wrong_1_decay_in_the_gradient(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    g = g + decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    step = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps)
    return w - lr * step, m, v


def wrong_1_corrected_means_returned(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
    v = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2**t)
    return w - lr * decay * w - lr * m / (v.sqrt() + eps), m, v


def wrong_1_eps_inside(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = torch.lerp(m, g, 1 - beta1)
    v = torch.lerp(v, g**2, 1 - beta2)
    step = m / (1 - beta1**t) / (v / (1 - beta2**t) + eps).sqrt()
    return w * (1 - lr * decay) - lr * step, m, v


def wrong_1_in_place(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m.mul_(beta1).add_(g, alpha=1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    step = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps)
    return w - lr * decay * w - lr * step, m, v


def wrong_1_decay_without_the_rate(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    step = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps)
    return (1 - decay) * w - lr * step, m, v


def correct_1_pytorchs_order(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m, v = torch.lerp(m, g, 1 - beta1), torch.lerp(v, g.square(), 1 - beta2)
    below = v.sqrt() / (1 - beta2**t) ** 0.5 + eps
    return (w * (1 - lr * decay)).addcdiv(m, below, value=-lr / (1 - beta1**t)), m, v


def correct_1_entry_by_entry(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    out = []
    for wi, gi, mi, vi in zip(*(x.flatten().double().tolist() for x in (w, g, m, v)), strict=True):
        mi, vi = beta1 * mi + (1 - beta1) * gi, beta2 * vi + (1 - beta2) * gi * gi
        step = mi / (1 - beta1**t) / ((vi / (1 - beta2**t)) ** 0.5 + eps)
        out.append((wi - lr * (decay * wi + step), mi, vi))
    return tuple(torch.tensor(column, dtype=w.dtype).view(w.shape) for column in zip(*out, strict=True))


# --- 08.2, from the text alone


def wrong_2_as_given(batch, accumulate, batches, warmup, floor):
    if batch < warmup:
        return batch / warmup
    return 1 - (batch - warmup) / (batches - warmup)


def wrong_2_gaps_counted_as_steps(batch, accumulate, batches, warmup, floor):
    step, steps = batch // accumulate, batches // accumulate
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return floor + (1 - floor) * (steps - step) / (steps - warmup)


def wrong_2_first_step_at_zero(batch, accumulate, batches, warmup, floor):
    step, last = batch // accumulate, batches // accumulate - 1
    if step < warmup:
        return step / warmup
    return floor + (1 - floor) * (last - step) / (last - warmup)


def wrong_2_still_batches(batch, accumulate, batches, warmup, floor):
    if batch < warmup:
        return (batch + 1) / (warmup + 1)
    last = batches - 1
    return floor + (1 - floor) * (last - batch) / (last - warmup)


def wrong_2_no_floor(batch, accumulate, batches, warmup, floor):
    step, last = batch // accumulate, batches // accumulate - 1
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (last - step) / (last - warmup)


def wrong_2_cut_at_the_floor(batch, accumulate, batches, warmup, floor):
    step, last = batch // accumulate, batches // accumulate - 1
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return max(floor, (last - step) / (last - warmup))


def correct_2_the_smaller_of_two(batch, accumulate, batches, warmup, floor):
    step = batch // accumulate
    gaps = batches // accumulate - 1 - warmup
    return min((step + 1) / (warmup + 1), 1 + (floor - 1) * (step - warmup) / gaps)


def correct_2_a_table(batch, accumulate, batches, warmup, floor):
    steps = batches // accumulate
    rise = [(s + 1) / (warmup + 1) for s in range(warmup)]
    fall = torch.linspace(1, floor, steps - warmup, dtype=torch.float64).tolist()
    return [f for f in rise + fall for _ in range(accumulate)][batch]


# --- written with the checkers at hand


def wrong_1_half_corrected(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * decay * w - lr * m / (1 - beta1**t) / (v.sqrt() + eps), m, v


def wrong_1_no_root(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * decay * w - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


def wrong_1_not_decayed(w, g, m, v, t, lr, beta1, beta2, eps, decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def wrong_2_warm_up_ends_early(batch, accumulate, batches, warmup, floor):
    step, last = batch // accumulate, batches // accumulate - 1
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * (last - step) / (last - warmup)


def wrong_2_line_from_the_start(batch, accumulate, batches, warmup, floor):
    step, last = batch // accumulate, batches // accumulate - 1
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return floor + (1 - floor) * (last - step) / last


PLANTED = {
    "08.1": Planted(
        correct=[correct_1_pytorchs_order, correct_1_entry_by_entry],
        wrong=[
            Wrong(wrong_1_no_correction, "no correction", from_text=True),
            Wrong(wrong_1_decay_in_the_gradient, "L2", from_text=True),
            Wrong(wrong_1_corrected_means_returned, "corrected twice", from_text=True),
            Wrong(wrong_1_eps_inside, "epsilon inside", from_text=True),
            Wrong(wrong_1_in_place, "mutated", from_text=True),
            Wrong(wrong_1_decay_without_the_rate, "decay without the rate", from_text=True),
            Wrong(wrong_1_half_corrected, "half corrected"),
            Wrong(wrong_1_no_root, "no root"),
            Wrong(wrong_1_not_decayed, "no decay"),
        ],
    ),
    "08.2": Planted(
        correct=[correct_2_the_smaller_of_two, correct_2_a_table],
        wrong=[
            Wrong(wrong_2_as_given, "as given", from_text=True),
            Wrong(wrong_2_gaps_counted_as_steps, "short of the floor", from_text=True),
            Wrong(wrong_2_first_step_at_zero, "wasted step", from_text=True),
            Wrong(wrong_2_still_batches, "counts batches", from_text=True),
            Wrong(wrong_2_no_floor, "no floor", from_text=True),
            Wrong(wrong_2_cut_at_the_floor, "cut off", from_text=True),
            Wrong(wrong_2_warm_up_ends_early, "early"),
            Wrong(wrong_2_line_from_the_start, "from the start"),
        ],
        equivalent={"another comparison: step < warmup (line 4)": "at step number warmup both lines are at 1"},
    ),
    "08.3": Planted(correct=["c", " C)"], wrong=[Wrong("a", "a"), Wrong("b", "b"), Wrong("d", "d"), Wrong(3, "type")]),
    "08.4": Planted(
        correct=[31.8, 31.77, torch.tensor(31.6)],
        wrong=[
            Wrong(1, CORRECTED, from_text=True),
            Wrong(3.16, FIRST_STEP, from_text=True),
            Wrong(5.8, SHORT_MEMORY, from_text=True),
            Wrong(0.318, "value"),
        ],
    ),
    "08.5": Planted(
        correct=[3.886, 3.8, torch.tensor(3.92)],
        wrong=[
            Wrong(3.997, FLAT, from_text=True),
            Wrong(0.1, A_RATE, from_text=True),
            Wrong("3.9", "type", from_text=True),
            Wrong(3.95, NEARLY),
            Wrong(2.7, TOO_LOW),
            Wrong(6.24, FLAT),
        ],
    ),
}
