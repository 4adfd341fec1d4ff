"""Wrong and right answers to the exercises of chapter 03.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import math

import torch
from checks.planting import Planted, Wrong

A_LOSS = "That is a loss, or a very small rate: asked for is the learning rate itself."
CRAWLS = "Too small: after 50 steps the run is still on its way down."
TOO_LARGE = "Too large: it learns fast at first, and the held-out loss ends higher."

# --- 03.1, from the text alone


def wrong_1_naive_exp(logits, targets):
    """exp without subtracting the maximum."""
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -p[torch.arange(len(targets)), targets].log().mean()


def wrong_1_one_maximum_for_all(logits, targets):
    """Subtracts the largest logit of the whole tensor; passes both worked examples."""
    shifted = logits - logits.max()
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    return -log_p.gather(1, targets[:, None]).mean()


def wrong_1_epsilon_in_the_log(logits, targets):
    """log(p + 1e-9) hides the underflow."""
    e = (logits - logits.max(dim=1, keepdim=True).values).exp()
    p = e / e.sum(dim=1, keepdim=True)
    return -(p.gather(1, targets[:, None]) + 1e-9).log().mean()


def wrong_1_sum_not_mean(logits, targets):
    """Adds the surprises; passes both worked examples, where N = 1."""
    m = logits.max(dim=1, keepdim=True).values
    log_z = (logits - m).exp().sum(dim=1).log() + m[:, 0]
    return (log_z - logits.gather(1, targets[:, None])[:, 0]).sum()


def wrong_1_all_targets_in_every_row(logits, targets):
    """Indexes [:, targets], an N by N table; right for N = 1."""
    m = logits.amax(dim=1, keepdim=True)
    log_p = logits - m - (logits - m).exp().sum(dim=1, keepdim=True).log()
    return -log_p[:, targets].mean()


def wrong_1_bits(logits, targets):
    """Uses log2."""
    m = logits.amax(dim=1, keepdim=True)
    z = (logits - m).exp().sum(dim=1).log2()
    own = (logits - m)[torch.arange(len(targets)), targets] / math.log(2)
    return (z - own).mean()


def correct_1_plain_python(logits, targets):
    """Unusual but right: no tensor arithmetic at all, Python floats and math.fsum, one tensor at the end."""
    losses = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=False):
        top = max(row)
        total = math.fsum(math.exp(x - top) for x in row)
        losses.append(math.log(total) + (top - row[target]))
    return torch.tensor(math.fsum(losses) / len(losses), dtype=torch.float32)


def correct_1_variable_called_logsumexp(logits, targets):
    """Right; only names its own variable like a forbidden function (a text search for 'logsumexp' would refuse it)."""
    top = logits.max(dim=-1).values
    logsumexp = top + torch.log(torch.exp(logits - top.unsqueeze(-1)).sum(-1))
    return torch.mean(logsumexp - torch.take_along_dim(logits, targets.unsqueeze(-1), -1).squeeze(-1))


# --- 03.2, from the text alone


def wrong_2_forgot_the_mean(logits, targets):
    """p - onehot without 1/N; right for N = 1."""
    g = torch.softmax(logits, dim=1)
    g[torch.arange(len(targets)), targets] -= 1
    return g


def wrong_2_every_target_in_every_row(logits, targets):
    """g[:, targets] -= 1 hits all rows; passes both worked examples."""
    g = torch.softmax(logits, dim=1)
    g[:, targets] -= 1
    return g / len(targets)


def wrong_2_changes_logits(logits, targets):
    """Subtracts the maximum in place; right values."""
    logits -= logits.max(dim=1, keepdim=True).values
    e = logits.exp()
    g = e / e.sum(dim=1, keepdim=True)
    g[torch.arange(len(targets)), targets] -= 1
    return g / len(targets)


def wrong_2_sign(logits, targets):
    """onehot - p: the direction of the step, not the gradient."""
    hot = torch.zeros_like(logits)
    hot[torch.arange(len(targets)), targets] = 1
    return (hot - torch.softmax(logits, dim=1)) / len(targets)


def wrong_2_divided_by_all_entries(logits, targets):
    """Takes 'mean' over all N * V entries."""
    hot = (targets[:, None] == torch.arange(logits.shape[1])).float()
    return (torch.softmax(logits, dim=1) - hot) / logits.numel()


def wrong_2_overflows(logits, targets):
    """exp without the maximum (only wrong if 03.1's large logits are meant here too)."""
    e = logits.exp()
    g = e / e.sum(dim=1, keepdim=True)
    g[torch.arange(len(targets)), targets] -= 1
    return g / len(targets)


def correct_2_differences_by_loops(logits, targets):
    """Unusual but right: entry by entry in Python floats."""
    n = len(targets)
    rows = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=False):
        top = max(row)
        e = [math.exp(x - top) for x in row]
        z = math.fsum(e)
        rows.append([(x / z - (j == target)) / n for j, x in enumerate(e)])
    return torch.tensor(rows, dtype=torch.float32)


def correct_2_variable_called_grad(logits, targets):
    """Right; calls its own variable grad, the most natural name of all (a text search for 'grad' would refuse it)."""
    grad = torch.softmax(logits, -1)
    grad.scatter_add_(1, targets[:, None], -torch.ones(len(targets), 1))
    return grad / logits.size(0)


# --- 03.3, from the text alone


def wrong_3_mean_of_means(W, batches):
    """Each batch's mean gradient, averaged over the batches: right where all are equally long."""
    gradient = torch.zeros_like(W)
    for inputs, targets in batches:
        p = W[inputs].softmax(dim=1)
        p[torch.arange(len(targets)), targets] -= 1
        gradient.index_add_(0, inputs, p / len(targets))
    return gradient / len(batches)


def wrong_3_sum_of_means(W, batches):
    """Forgets to divide by anything but each batch's own size."""
    gradient = torch.zeros_like(W)
    for inputs, targets in batches:
        p = W[inputs].softmax(dim=1)
        p[torch.arange(len(targets)), targets] -= 1
        gradient.index_add_(0, inputs, p / len(targets))
    return gradient


def wrong_3_last_batch_only(W, batches):
    """The gradient is set anew for each batch, as if zero_grad() stood inside the loop."""
    total = sum(len(targets) for _, targets in batches)
    for inputs, targets in batches:
        gradient = torch.zeros_like(W)
        p = W[inputs].softmax(dim=1)
        p[torch.arange(len(targets)), targets] -= 1
        gradient.index_add_(0, inputs, p / total)
    return gradient


def wrong_3_repeats_lost(W, batches):
    """+= with an index tensor adds once for a token that comes twice in a batch."""
    total = sum(len(targets) for _, targets in batches)
    gradient = torch.zeros_like(W)
    for inputs, targets in batches:
        p = W[inputs].softmax(dim=1)
        p[torch.arange(len(targets)), targets] -= 1
        gradient[inputs] += p / total
    return gradient


def wrong_3_steps_in_between(W, batches):
    """Changes W after each batch, which is training and not accumulating."""
    total = sum(len(targets) for _, targets in batches)
    gradient = torch.zeros_like(W)
    for inputs, targets in batches:
        p = W[inputs].softmax(dim=1)
        p[torch.arange(len(targets)), targets] -= 1
        part = torch.zeros_like(W).index_add_(0, inputs, p / total)
        gradient += part
        W -= part
    return gradient


def correct_3_one_large_batch(W, batches):
    """Unusual but right: joins the batches and takes the gradient once."""
    inputs = torch.cat([x for x, _ in batches])
    targets = torch.cat([y for _, y in batches])
    hot = torch.nn.functional.one_hot(targets, W.shape[1])
    rows = torch.nn.functional.one_hot(inputs, W.shape[0]).to(W.dtype)
    return rows.T @ (W[inputs].softmax(dim=1) - hot) / len(targets)


def correct_3_by_autograd(W, batches):
    """Right: the losses as sums, backward() adding up, one division."""
    table = W.clone().requires_grad_()
    for inputs, targets in batches:
        torch.nn.functional.cross_entropy(table[inputs], targets, reduction="sum").backward()
    return table.grad / sum(len(y) for _, y in batches)


# --- written with the checkers at hand


def surprise_by_softplus(logits, targets):
    own = logits.gather(1, targets[:, None])
    gaps = logits - own  # the target's own gap is 0, so each sum is at least 1
    top = gaps.amax(dim=1, keepdim=True)
    return (top[:, 0] + (gaps - top).exp().sum(dim=1).log()).mean()


def surprise_in_double(logits, targets):
    z = logits.double()
    z = z - z.max(dim=1, keepdim=True).values
    hot = torch.eye(z.shape[1], dtype=torch.float64)[targets]
    return ((z.exp().sum(1).log() - (z * hot).sum(1)).sum() / len(z)).float()


def surprise_clamped(logits, targets):
    p = torch.softmax(logits, dim=1).clamp(min=1e-12)
    return -p[torch.arange(len(p)), targets].log().mean()


def surprise_borrowed(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets)


def gradient_with_one_hot(logits, targets):
    hot = torch.nn.functional.one_hot(targets, logits.shape[1])
    return (torch.softmax(logits, dim=1) - hot) / len(logits)


def gradient_masked(logits, targets):
    e = (logits - logits.amax(1, keepdim=True)).exp()
    p = e / e.sum(1, keepdim=True)
    right = torch.arange(logits.shape[1]) == targets[:, None]
    return torch.where(right, p - 1, p) / targets.numel()


def gradient_by_autograd(logits, targets):
    z = logits.clone().requires_grad_()
    loss = (z.logsumexp(dim=1) - z[torch.arange(len(z)), targets]).mean()
    loss.backward()
    return z.grad


def surprise_shifted_by_the_target(logits, targets):
    return (logits - logits.gather(1, targets[:, None])).exp().sum(1).log().mean()


def accumulated_from_counts(W, batches):
    counts = torch.zeros_like(W)
    for inputs, targets in batches:
        counts.index_put_((inputs, targets), torch.ones(len(inputs)), accumulate=True)
    n = counts.sum(dim=1, keepdim=True)
    return (n * W.softmax(dim=1) - counts) / counts.sum()


def accumulated_sum(W, batches):
    gradient = torch.zeros_like(W)
    for inputs, targets in batches:
        p = W[inputs].softmax(dim=1)
        p[torch.arange(len(targets)), targets] -= 1
        gradient.index_add_(0, inputs, p)
    return gradient


PLANTED = {
    "03.1": Planted(
        correct=[correct_1_plain_python, correct_1_variable_called_logsumexp, surprise_by_softplus, surprise_in_double],
        wrong=[
            Wrong(wrong_1_naive_exp, "overflow", from_text=True),
            Wrong(wrong_1_one_maximum_for_all, "one maximum", from_text=True),
            Wrong(wrong_1_epsilon_in_the_log, "capped", from_text=True),
            Wrong(wrong_1_sum_not_mean, "sum", from_text=True),
            Wrong(wrong_1_all_targets_in_every_row, "every target", from_text=True),
            Wrong(wrong_1_bits, "bits", from_text=True),
            Wrong(surprise_clamped, "capped"),
            Wrong(surprise_shifted_by_the_target, "underflow"),
            Wrong(surprise_borrowed, "library"),
        ],
        equivalent={
            "one less: 0 (line 5)": "the only column is also the last",
        },
    ),
    "03.2": Planted(
        correct=[
            correct_2_differences_by_loops,
            correct_2_variable_called_grad,
            gradient_with_one_hot,
            gradient_masked,
        ],
        wrong=[
            Wrong(wrong_2_forgot_the_mean, "no mean", from_text=True),
            Wrong(wrong_2_every_target_in_every_row, "every target", from_text=True),
            Wrong(wrong_2_changes_logits, "mutated", from_text=True),
            Wrong(wrong_2_sign, "sign", from_text=True),
            Wrong(wrong_2_divided_by_all_entries, "all entries", from_text=True),
            Wrong(wrong_2_overflows, "overflow", from_text=True),
            Wrong(gradient_by_autograd, "library"),
        ],
    ),
    "03.3": Planted(
        correct=[correct_3_one_large_batch, correct_3_by_autograd, accumulated_from_counts],
        wrong=[
            Wrong(wrong_3_mean_of_means, "mean of means", from_text=True),
            Wrong(wrong_3_sum_of_means, "sum of means", from_text=True),
            Wrong(wrong_3_last_batch_only, "last batch", from_text=True),
            Wrong(wrong_3_repeats_lost, "repeats", from_text=True),
            Wrong(wrong_3_steps_in_between, "mutated", from_text=True),
            Wrong(accumulated_sum, "no division"),
        ],
    ),
    "03.4": Planted(
        correct=["C", " c) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("the rate", "type", from_text=True),
        ],
    ),
    "03.5": Planted(
        correct=[16, 20.0, 24, torch.tensor(28.0)],
        wrong=[
            Wrong(1, CRAWLS, from_text=True),
            Wrong(10.0, CRAWLS, from_text=True),
            Wrong(100, TOO_LARGE, from_text=True),
            Wrong("16", "type", from_text=True),
            Wrong(
                2.879, "That is a loss, or a very small rate: asked for is the learning rate itself.", from_text=True
            ),
            Wrong(-20, "value"),
        ],
    ),
}
