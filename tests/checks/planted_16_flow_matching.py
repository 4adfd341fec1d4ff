"""What is tried on the checkers of chapter 16."""

import torch
from checks.planting import Planted, Wrong

# --- 16.1, from the text alone


def wrong_1_target_backwards(x0, x1, t):
    """Velocity from data to noise."""
    s = t.view(-1, *[1] * (x0.dim() - 1))
    return (1 - s) * x0 + s * x1, x0 - x1


def wrong_1_time_backwards(x0, x1, t):
    """t for noise, 1 - t for data; row 0 of the example is right (t = 0.5)."""
    s = t.view(-1, *[1] * (x0.dim() - 1))
    return s * x0 + (1 - s) * x1, x1 - x0


def wrong_1_time_along_the_last_dimension(x0, x1, t):
    """No view of t."""
    return (1 - t) * x0 + t * x1, x1 - x0


def wrong_1_points_only(x0, x1, t):
    """t.view(-1, 1); passes the example."""
    s = t.view(-1, 1)
    return (1 - s) * x0 + s * x1, x1 - x0


def wrong_1_target_from_the_rest(x0, x1, t):
    """(x1 - x_t) / (1 - t); passes the example."""
    s = t.view(-1, *[1] * (x0.dim() - 1))
    x_t = (1 - s) * x0 + s * x1
    return x_t, (x1 - x_t) / (1 - s)


def wrong_1_target_is_the_data(x0, x1, t):
    """Predicts the data."""
    s = t.view(-1, *[1] * (x0.dim() - 1))
    return (1 - s) * x0 + s * x1, x1


def wrong_1_round_path(x0, x1, t):
    """Diffusion's path, squares adding up to 1."""
    s = t.view(-1, *[1] * (x0.dim() - 1))
    return (1 - s).sqrt() * x0 + s.sqrt() * x1, x1 - x0


def wrong_1_in_place(x0, x1, t):
    """lerp_ on the noise; and then the target is no longer x1 - x0."""
    s = t.view(-1, *[1] * (x0.dim() - 1))
    x_t = x0.lerp_(x1, s)
    return x_t, x1 - x0


def correct_1_flattened(x0, x1, t):
    """Unusual but right: each row flattened, then shaped back."""
    b = t.shape[0]
    line = x1.reshape(b, -1) - x0.reshape(b, -1)
    x_t = x0.reshape(b, -1) + line * t.reshape(b, 1)
    return x_t.reshape(x0.shape), line.reshape(x0.shape)


def correct_1_lerp_from_the_data(x0, x1, t):
    """Unusual but right: lerp from the data back to the noise; the target as minus (x0 - x1)."""
    s = t.reshape(t.shape + (1,) * (x0.ndim - 1))
    return torch.lerp(x1, x0, 1 - s), -(x0 - x1)


# --- 16.2, from the text alone


def wrong_2_wrong_direction(x, v, t):
    """Walks the wrong way for both."""
    s = t.view(-1, *[1] * (x.dim() - 1))
    return x + s * v, x - (1 - s) * v


def wrong_2_times_exchanged(x, v, t):
    """1 - t back, t forward; row 0 of the example is right (t = 0.5)."""
    s = t.view(-1, *[1] * (x.dim() - 1))
    return x - (1 - s) * v, x + s * v


def wrong_2_whole_step(x, v, t):
    """x + v for the end, forgets the way already gone."""
    s = t.view(-1, *[1] * (x.dim() - 1))
    return x - s * v, x + v


def wrong_2_x1_from_division(x, v, t):
    """Solves x = (1 - t) x0 + t x1 for x1; passes the example."""
    s = t.view(-1, *[1] * (x.dim() - 1))
    x0 = x - s * v
    return x0, (x - (1 - s) * x0) / s


def wrong_2_pair_exchanged(x, v, t):
    """Right values, wrong order."""
    s = t.view(-1, *[1] * (x.dim() - 1))
    return x + (1 - s) * v, x - s * v


def wrong_2_points_only(x, v, t):
    """t[:, None]; passes the example."""
    return x - t[:, None] * v, x + (1 - t[:, None]) * v


def wrong_2_in_place(x, v, t):
    """-= on x."""
    s = t.view(-1, *[1] * (x.dim() - 1))
    x -= s * v
    return x, x + v


def correct_2_end_from_the_beginning(x, v, t):
    """Unusual but right: x1 = x0 + v, a whole unit of time on from x0."""
    x0 = x - (t * v.reshape(len(t), -1).transpose(0, 1)).transpose(0, 1).reshape(x.shape)
    return x0, x0 + v


def correct_2_lerp(x, v, t):
    """Unusual but right: lerp from x to x - v by t, from x + v to x by t."""
    s = t.reshape(-1, *(1 for _ in x.shape[1:]))
    return torch.lerp(x, x - v, s), torch.lerp(x + v, x, s)


# --- 16.3, from the text alone


def wrong_3_naive_exp(x, t, points):
    """exp and division; passes the example."""
    s = t[:, None, None]
    e = torch.exp(-((x[:, None] - s * points) ** 2).sum(-1) / (2 * (1 - t[:, None]) ** 2))
    w = e / e.sum(1, keepdim=True)
    return (w[..., None] * (points - x[:, None]) / (1 - s)).sum(1)


def wrong_3_tiny_number_below(x, t, points):
    """Naive exp, with 1e-12 below the line against NaN; passes the example."""
    s = t[:, None, None]
    e = torch.exp(-((x[:, None] - s * points) ** 2).sum(-1) / (2 * (1 - t[:, None]) ** 2))
    w = e / (e.sum(1, keepdim=True) + 1e-12)
    return (w[..., None] * (points - x[:, None]) / (1 - s)).sum(1)


def wrong_3_softmax_over_the_batch(x, t, points):
    """softmax over dimension 0."""
    s = t[:, None, None]
    w = torch.softmax(-((x[:, None] - s * points) ** 2).sum(-1) / (2 * (1 - t[:, None]) ** 2), dim=0)
    return (w[..., None] * (points - x[:, None]) / (1 - s)).sum(1)


def wrong_3_distance_to_the_points(x, t, points):
    """|x - point| for |x - t point|."""
    s = t[:, None, None]
    w = torch.softmax(-((x[:, None] - points) ** 2).sum(-1) / (2 * (1 - t[:, None]) ** 2), dim=1)
    return (w[..., None] * (points - x[:, None]) / (1 - s)).sum(1)


def wrong_3_spread_not_squared(x, t, points):
    """2 (1 - t) below."""
    s = t[:, None, None]
    w = torch.softmax(-((x[:, None] - s * points) ** 2).sum(-1) / (2 * (1 - t[:, None])), dim=1)
    return (w[..., None] * (points - x[:, None]) / (1 - s)).sum(1)


def wrong_3_mean_over_the_entries(x, t, points):
    """mean(-1) for sum(-1), as in an MSE; passes the example (D = 1)."""
    s = t[:, None, None]
    w = torch.softmax(-((x[:, None] - s * points) ** 2).mean(-1) / (2 * (1 - t[:, None]) ** 2), dim=1)
    return (w[..., None] * (points - x[:, None]) / (1 - s)).sum(1)


def wrong_3_no_division(x, t, points):
    """Forgets 1 / (1 - t)."""
    s = t[:, None, None]
    w = torch.softmax(-((x[:, None] - s * points) ** 2).sum(-1) / (2 * (1 - t[:, None]) ** 2), dim=1)
    return (w[..., None] * (points - x[:, None])).sum(1)


def wrong_3_nearest_only(x, t, points):
    """The likeliest point alone."""
    s = t[:, None, None]
    i = ((x[:, None] - s * points) ** 2).sum(-1).argmin(1)
    return (points[i] - x) / (1 - t[:, None])


def wrong_3_equal_weights(x, t, points):
    """'each as likely as the others' taken for equal weights."""
    return ((points[None] - x[:, None]) / (1 - t[:, None, None])).mean(1)


def wrong_3_first_time_for_all(x, t, points):
    """t[0] for the whole batch; passes the example."""
    s = t[0]
    w = torch.softmax(-((x[:, None] - s * points) ** 2).sum(-1) / (2 * (1 - s) ** 2), dim=1)
    return (w @ points - x) / (1 - s)


def correct_3_mean_point_first(x, t, points):
    """Unusual but right: the mean point first; exponents expanded, and |x|² left out."""
    left = 1 - t.unsqueeze(1)
    s = t.unsqueeze(1)
    exponent = (s * (x @ points.T) - s**2 * (points * points).sum(1) / 2) / left**2
    return (exponent.softmax(1) @ points - x) / left


def correct_3_row_by_row(x, t, points):
    """Unusual but right: row by row, logsumexp in float64, cast back at the end."""
    rows = []
    for row, time in zip(x.double(), t.double(), strict=True):
        p = points.double()
        log_w = torch.stack([-(row - time * q).square().sum() / (2 * (1 - time) ** 2) for q in p])
        w = (log_w - torch.logsumexp(log_w, 0)).exp()
        rows.append(sum(w[i] * (p[i] - row) / (1 - time) for i in range(len(p))))
    return torch.stack(rows).to(x.dtype)


# --- 16.4, from the text alone


def wrong_4_midpoint(velocity, x, t, h):
    """The midpoint method, also two calls and second order; passes the example, since the field is linear."""
    v = velocity(x, t)
    return x + h * velocity(x + h / 2 * v, t + h / 2)


def wrong_4_not_halved(velocity, x, t, h):
    """Forgets to halve."""
    v = velocity(x, t)
    return x + h * (v + velocity(x + h * v, t + h))


def wrong_4_second_at_the_first_time(velocity, x, t, h):
    """t for t + h."""
    v = velocity(x, t)
    return x + h * (v + velocity(x + h * v, t)) / 2


def wrong_4_second_at_the_first_place(velocity, x, t, h):
    """x for the Euler step's end."""
    v = velocity(x, t)
    return x + h * (v + velocity(x, t + h)) / 2


def wrong_4_from_the_euler_step(velocity, x, t, h):
    """Goes the mean step from where Euler arrived."""
    v = velocity(x, t)
    there = x + h * v
    return there + h * (v + velocity(there, t + h)) / 2


def wrong_4_time_in_place(velocity, x, t, h):
    """t += h; right value."""
    v = velocity(x, t)
    there = x + h * v
    t += h
    return x + h * (v + velocity(there, t)) / 2


def wrong_4_time_as_a_number(velocity, x, t, h):
    """One time for the batch, (1,) or a number: t[:1]; passes the example (B = 1)."""
    v = velocity(x, t[:1])
    return x + h * (v + velocity(x + h * v, t[:1] + h)) / 2


def wrong_4_three_calls(velocity, x, t, h):
    """Calls velocity again instead of keeping it; right value."""
    return x + h * (velocity(x, t) + velocity(x + h * velocity(x, t), t + h)) / 2


def wrong_4_euler(velocity, x, t, h):
    """Euler."""
    return x + h * velocity(x, t)


def correct_4_corrects_euler(velocity, x, t, h):
    """Unusual but right: the Euler step, corrected by half the change of velocity."""
    here = velocity(x, t)
    euler = x + here * h
    return euler + (velocity(euler, t + h) - here) * (h / 2)


def correct_4_mean_of_two_arrivals(velocity, x, t, h):
    """Unusual but right: the mean of two arrivals, x and the Euler step's end pushed on once more."""
    y = x + h * velocity(x, t)
    z = y + h * velocity(y, t + h)
    return 0.5 * x + 0.5 * z


# --- 16.6, from the text alone


def wrong_6_from_the_label(velocity, x, t, labels, null, w):
    """The other convention: w beyond v_label."""
    a, b = velocity(x, t, labels), velocity(x, t, torch.full_like(labels, null))
    return a + w * (a - b)


def wrong_6_exchanged(velocity, x, t, labels, null, w):
    """v_label and v_null exchanged."""
    a, b = velocity(x, t, labels), velocity(x, t, torch.full_like(labels, null))
    return a + w * (b - a)


def wrong_6_labels_overwritten(velocity, x, t, labels, null, w):
    """fill_ on the labels; right value."""
    a = velocity(x, t, labels)
    b = velocity(x, t, labels.fill_(null))
    return b + w * (a - b)


def wrong_6_null_is_zero(velocity, x, t, labels, null, w):
    """zeros_like: null taken for 0."""
    a, b = velocity(x, t, labels), velocity(x, t, torch.zeros_like(labels))
    return b + w * (a - b)


def wrong_6_one_null_for_the_batch(velocity, x, t, labels, null, w):
    """A null label of shape (1,); passes the example, by broadcasting."""
    a, b = velocity(x, t, labels), velocity(x, t, torch.tensor([null]))
    return b + w * (a - b)


def wrong_6_float_labels(velocity, x, t, labels, null, w):
    """torch.ones times null: float labels; passes the example (the field calls float())."""
    a, b = velocity(x, t, labels), velocity(x, t, torch.ones(len(labels)) * null)
    return b + w * (a - b)


def wrong_6_clamped_scale(velocity, x, t, labels, null, w):
    """Holds w for a share in [0, 1] and clamps."""
    a, b = velocity(x, t, labels), velocity(x, t, torch.full_like(labels, null))
    return torch.lerp(b, a, min(max(w, 0.0), 1.0))


def wrong_6_zero_for_null(velocity, x, t, labels, null, w):
    """'No class' taken for no velocity: w * v_label."""
    return w * velocity(x, t, labels)


def wrong_6_halves_exchanged(velocity, x, t, labels, null, w):
    """Double batch, but repeat_interleave for x and t against cat for the labels."""
    xx, tt = x.repeat_interleave(2, 0), t.repeat_interleave(2, 0)
    v = velocity(xx, tt, torch.cat([labels, torch.full_like(labels, null)]))
    a, b = v.chunk(2)
    return b + w * (a - b)


def correct_6_double_batch(velocity, x, t, labels, null, w):
    """Unusual but right: one call, null rows first, rows interleaved."""
    both = torch.stack([labels * 0 + null, labels], dim=1).reshape(-1)
    v = velocity(x.repeat_interleave(2, dim=0), t.repeat_interleave(2), both)
    return (1 - w) * v[0::2] + w * v[1::2]


def correct_6_lerp(velocity, x, t, labels, null, w):
    """Unusual but right: lerp with a weight beyond 1, null asked first."""
    nothing = velocity(x, t, torch.where(labels == labels, null, labels))
    return nothing.lerp(velocity(x, t, labels), float(w))


# --- 16.1, written beside the checker


def pair_with_unsqueeze(x0, x1, t):
    while t.ndim < x0.ndim:
        t = t.unsqueeze(-1)
    return x0 + t * (x1 - x0), x1 - x0


def pair_in_loop(x0, x1, t):
    rows = [a + s * (b - a) for a, b, s in zip(x0, x1, t, strict=True)]
    return torch.stack(rows), torch.stack([b - a for a, b in zip(x0, x1, strict=True)])


def pair_exchanged(x0, x1, t):
    s = t.reshape(-1, *[1] * (x0.ndim - 1))
    return x1 - x0, x0 + s * (x1 - x0)


def pair_place_alone(x0, x1, t):
    s = t.reshape(-1, *[1] * (x0.ndim - 1))
    return x0 + s * (x1 - x0)


def pair_in_single_precision(x0, x1, t):
    s = t.reshape(-1, *[1] * (x0.ndim - 1)).float()
    return (1 - s) * x0.float() + s * x1.float(), x1.float() - x0.float()


def pair_by_the_library(x0, x1, t):
    from blueberry_lib.images.flow_matching import interpolate

    return interpolate(x0, x1, t), x1 - x0


# --- 16.2


def ends_in_loop(x, v, t):
    return (
        torch.stack([a - s * b for a, b, s in zip(x, v, t, strict=True)]),
        torch.stack([a + (1 - s) * b for a, b, s in zip(x, v, t, strict=True)]),
    )


def ends_the_end_alone(x, v, t):
    s = t.reshape(-1, *[1] * (x.ndim - 1))
    return x + (1 - s) * v


# --- 16.3


def velocity_largest_subtracted(x, t, points):
    left = (1 - t)[:, None]
    far = torch.stack([(x - t[:, None] * p).pow(2).sum(1) for p in points], dim=1)
    e = -far / (2 * left * left)
    w = (e - e.max(1, keepdim=True).values).exp()
    w = w / w.sum(1, keepdim=True)
    return torch.einsum("bn,bnd->bd", w, points[None] - x[:, None]) / left


# --- 16.4


def heun_by_lerp(velocity, x, t, h):
    first = velocity(x, t)
    return x + h * torch.lerp(first, velocity(x + h * first, t + h), 0.5)


# --- 16.6


def guided_doubled(velocity, x, t, labels, null, w):
    both = torch.cat([labels, torch.full_like(labels, null)])
    conditional, plain = velocity(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
    return w * conditional + (1 - w) * plain


def guided_in_words(velocity, x, t, labels, null, w):
    return "guided"


PLANTED = {
    "16.1": Planted(
        correct=[correct_1_flattened, correct_1_lerp_from_the_data, pair_with_unsqueeze, pair_in_loop],
        wrong=[
            Wrong(wrong_1_target_backwards, "target backwards", from_text=True),
            Wrong(wrong_1_time_backwards, "time backwards", from_text=True),
            Wrong(wrong_1_time_along_the_last_dimension, "time along the columns", from_text=True),
            Wrong(wrong_1_points_only, "points only", from_text=True),
            Wrong(wrong_1_target_from_the_rest, "target from the rest", from_text=True),
            Wrong(wrong_1_target_is_the_data, "target is an end", from_text=True),
            Wrong(wrong_1_round_path, "round path", from_text=True),
            Wrong(wrong_1_in_place, "mutated", from_text=True),
            Wrong(pair_exchanged, "relation:pair"),
            Wrong(pair_place_alone, "type"),
            Wrong(pair_in_single_precision, "dtype"),
            Wrong(pair_by_the_library, "library"),
        ],
    ),
    "16.2": Planted(
        correct=[correct_2_end_from_the_beginning, correct_2_lerp, ends_in_loop],
        wrong=[
            Wrong(wrong_2_wrong_direction, "wrong direction", from_text=True),
            Wrong(wrong_2_times_exchanged, "times exchanged", from_text=True),
            Wrong(wrong_2_whole_step, "a whole unit on", from_text=True),
            Wrong(wrong_2_x1_from_division, "division by t", from_text=True),
            Wrong(wrong_2_pair_exchanged, "relation:pair", from_text=True),
            Wrong(wrong_2_points_only, "points only", from_text=True),
            Wrong(wrong_2_in_place, "mutated", from_text=True),
            Wrong(ends_the_end_alone, "type"),
        ],
    ),
    "16.3": Planted(
        correct=[correct_3_mean_point_first, correct_3_row_by_row, velocity_largest_subtracted],
        wrong=[
            Wrong(wrong_3_naive_exp, "underflow", from_text=True),
            Wrong(wrong_3_tiny_number_below, "guarded underflow", from_text=True),
            Wrong(wrong_3_softmax_over_the_batch, "over the batch", from_text=True),
            Wrong(wrong_3_distance_to_the_points, "points not scaled", from_text=True),
            Wrong(wrong_3_spread_not_squared, "spread not squared", from_text=True),
            Wrong(wrong_3_mean_over_the_entries, "mean over the entries", from_text=True),
            Wrong(wrong_3_no_division, "not divided", from_text=True),
            Wrong(wrong_3_nearest_only, "nearest only", from_text=True),
            Wrong(wrong_3_equal_weights, "equal weights", from_text=True),
            Wrong(wrong_3_first_time_for_all, "one time for all", from_text=True),
        ],
    ),
    "16.4": Planted(
        correct=[correct_4_corrects_euler, correct_4_mean_of_two_arrivals, heun_by_lerp],
        wrong=[
            Wrong(wrong_4_midpoint, "midpoint", from_text=True),
            Wrong(wrong_4_not_halved, "not halved", from_text=True),
            Wrong(wrong_4_second_at_the_first_time, "time of the first", from_text=True),
            Wrong(wrong_4_second_at_the_first_place, "place of the first", from_text=True),
            Wrong(wrong_4_from_the_euler_step, "from the Euler step", from_text=True),
            Wrong(wrong_4_time_in_place, "mutated", from_text=True),
            Wrong(wrong_4_time_as_a_number, "one time for all", from_text=True),
            Wrong(wrong_4_three_calls, "calls", from_text=True),
            Wrong(wrong_4_euler, "Euler", from_text=True),
        ],
    ),
    "16.5": Planted(
        correct=["c", "C", "(c)"],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("A and C", "type"),
        ],
    ),
    "16.6": Planted(
        correct=[correct_6_double_batch, correct_6_lerp, guided_doubled],
        wrong=[
            Wrong(wrong_6_from_the_label, "from the label", from_text=True),
            Wrong(wrong_6_exchanged, "exchanged", from_text=True),
            Wrong(wrong_6_labels_overwritten, "mutated", from_text=True),
            Wrong(wrong_6_null_is_zero, "null is zero", from_text=True),
            Wrong(wrong_6_one_null_for_the_batch, "handed", from_text=True),
            Wrong(wrong_6_float_labels, "handed", from_text=True),
            Wrong(wrong_6_clamped_scale, "clamped", from_text=True),
            Wrong(wrong_6_zero_for_null, "no null", from_text=True),
            Wrong(wrong_6_halves_exchanged, "rows mixed up", from_text=True),
            Wrong(guided_in_words, "type"),
        ],
    ),
}
