"""Wrong and right answers to the exercises of chapter 18.

The first of each kind were written from the exercises' text alone, before their checkers existed.
"""

import torch
from checks.planting import Planted, Wrong

# --- 18.1, from the text alone


def wrong_1_first_to_last(layers):
    """The right line, from the first layer to the last; passes where all strides are 1."""
    size = 1
    for kernel, stride in layers:
        size = (size - 1) * stride + kernel
    return size


def wrong_1_no_strides(layers):
    """Adds kernel − 1 for each layer, as if no layer had a stride."""
    return 1 + sum(kernel - 1 for kernel, _ in layers)


def wrong_1_kernels_added(layers):
    """Adds the kernels: 6 for two layers of 3."""
    return sum(kernel for kernel, _ in layers)


def wrong_1_own_stride_too_early(layers):
    """Forwards, with the distance multiplied before the layer's own kernel is counted."""
    size, distance = 1, 1
    for kernel, stride in layers:
        distance *= stride
        size += (kernel - 1) * distance
    return size


def wrong_1_all_strides(layers):
    """Multiplies by the stride once for each output instead of for all but one."""
    size = 1
    for kernel, stride in reversed(layers):
        size = size * stride + kernel - 1
    return size


def wrong_1_float(layers):
    """Right, as a float."""
    size = 1.0
    for kernel, stride in reversed(layers):
        size = (size - 1) * stride + kernel
    return size


def correct_1_forwards(layers):
    """Unusual but right: from the first layer on, with the distance of neighbours."""
    size, distance = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * distance
        distance *= stride
    return size


def correct_1_recursive(layers):
    """Right: the last layer's outputs asked of the layers before it."""

    def seen(outputs, rest):
        if not rest:
            return outputs
        kernel, stride = rest[-1]
        return seen(kernel + stride * (outputs - 1), rest[:-1])

    return seen(1, list(layers))


# --- 18.2, from the text alone


def wrong_2_no_straight_through(vectors, codebook):
    """The rows of the codebook themselves: right values, no gradient for the vectors."""
    indices = torch.cdist(vectors, codebook).argmin(dim=1)
    return codebook[indices], indices


def wrong_2_detached(vectors, codebook):
    """Everything is a constant."""
    indices = torch.cdist(vectors, codebook).argmin(dim=1)
    return codebook[indices].detach(), indices


def wrong_2_both_get_it(vectors, codebook):
    """The gradient reaches the vectors and the codebook."""
    indices = torch.cdist(vectors, codebook).argmin(dim=1)
    return codebook[indices] + vectors - vectors.detach(), indices


def wrong_2_dot_product(vectors, codebook):
    """The largest dot product, right where all codes are equally long."""
    indices = (vectors @ codebook.T).argmax(dim=1)
    chosen = codebook[indices]
    return vectors + (chosen - vectors).detach(), indices


def wrong_2_farthest(vectors, codebook):
    """argmax of the distances."""
    indices = torch.cdist(vectors, codebook).argmax(dim=1)
    chosen = codebook[indices]
    return vectors + (chosen - vectors).detach(), indices


def wrong_2_order_of_results(vectors, codebook):
    """Indices first."""
    indices = torch.cdist(vectors, codebook).argmin(dim=1)
    return indices, vectors + (codebook[indices] - vectors).detach()


def correct_2_autograd_function(vectors, codebook):
    """Unusual but right: a function with a backward of its own."""

    class Choose(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v, c, i):
            return c[i].clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient, None, None

    indices = torch.cdist(vectors, codebook).argmin(dim=1)
    return Choose.apply(vectors, codebook, indices), indices


def correct_2_row_by_row(vectors, codebook):
    """Right: a loop over the vectors."""
    indices = torch.stack([(codebook - v).norm(dim=1).argmin() for v in vectors.detach()])
    return vectors - vectors.detach() + codebook[indices].detach(), indices


# --- 18.3, from the text alone


def wrong_3_repeats_lost(counts, sums, vectors, indices, decay):
    """+= with an index tensor keeps one of the vectors that share an index."""
    number = indices.bincount(minlength=len(counts))
    total = torch.zeros_like(sums)
    total[indices] += vectors
    counts = decay * counts + (1 - decay) * number
    sums = decay * sums + (1 - decay) * total
    return counts, sums, sums / counts[:, None]


def wrong_3_decay_swapped(counts, sums, vectors, indices, decay):
    """decay is the weight of the new."""
    number = indices.bincount(minlength=len(counts))
    total = torch.zeros_like(sums).index_add_(0, indices, vectors)
    counts = (1 - decay) * counts + decay * number
    sums = (1 - decay) * sums + decay * total
    return counts, sums, sums / counts[:, None]


def wrong_3_average_of_means(counts, sums, vectors, indices, decay):
    """The old code and the batch's mean are mixed, whatever the counts."""
    number = indices.bincount(minlength=len(counts))
    total = torch.zeros_like(sums).index_add_(0, indices, vectors)
    mean = torch.where(number[:, None] > 0, total / number[:, None].clamp(min=1), sums / counts[:, None])
    codebook = decay * sums / counts[:, None] + (1 - decay) * mean
    return decay * counts + (1 - decay) * number, decay * sums + (1 - decay) * total, codebook


def wrong_3_unused_do_not_fade(counts, sums, vectors, indices, decay):
    """Only the codes that were chosen are updated; the codebook comes out right."""
    number = indices.bincount(minlength=len(counts))
    total = torch.zeros_like(sums).index_add_(0, indices, vectors)
    used = number > 0
    counts = torch.where(used, decay * counts + (1 - decay) * number, counts)
    sums = torch.where(used[:, None], decay * sums + (1 - decay) * total, sums)
    return counts, sums, sums / counts[:, None]


def wrong_3_in_place(counts, sums, vectors, indices, decay):
    """Changes the averages of whoever called it."""
    counts.mul_(decay).add_(indices.bincount(minlength=len(counts)), alpha=1 - decay)
    sums.mul_(decay).index_add_(0, indices, (1 - decay) * vectors)
    return counts, sums, sums / counts[:, None]


def wrong_3_sums_returned_as_codes(counts, sums, vectors, indices, decay):
    """Forgets the division."""
    number = indices.bincount(minlength=len(counts))
    total = torch.zeros_like(sums).index_add_(0, indices, vectors)
    counts = decay * counts + (1 - decay) * number
    sums = decay * sums + (1 - decay) * total
    return counts, sums, sums


def correct_3_one_hot(counts, sums, vectors, indices, decay):
    """Right: totals by a matrix of ones and zeros."""
    hot = torch.nn.functional.one_hot(indices, len(counts)).to(sums.dtype)  # (N, K)
    counts = torch.lerp(hot.sum(dim=0), counts, decay)
    sums = torch.lerp(hot.T @ vectors, sums, decay)
    return counts, sums, sums / counts.unsqueeze(1)


def correct_3_code_by_code(counts, sums, vectors, indices, decay):
    """Unusual but right: a loop over the codes."""
    new_counts, new_sums = torch.empty_like(counts), torch.empty_like(sums)
    for k in range(len(counts)):
        own = vectors[indices == k]
        new_counts[k] = decay * counts[k] + (1 - decay) * len(own)
        new_sums[k] = decay * sums[k] + (1 - decay) * own.sum(dim=0)
    return new_counts, new_sums, new_sums / new_counts.view(-1, 1)


# --- written with the checkers at hand


def sees_in_closed_form(layers):
    size = 1
    for i, (kernel, _) in enumerate(layers):
        apart = 1
        for _, stride in layers[:i]:
            apart *= stride
        size += apart * (kernel - 1)
    return size


def sees_once_more(layers):
    size = 1
    for kernel, stride in reversed(layers):
        size = size * stride + kernel
    return size


def chosen_with_cdist(vectors, codebook):
    indices = torch.cdist(vectors.detach(), codebook.detach()).argmin(1)
    return vectors + (codebook[indices] - vectors).detach(), indices


def chosen_by_first_entry(vectors, codebook):
    indices = (vectors[:, None] - codebook)[..., 0].abs().argmin(dim=1)
    return vectors + (codebook[indices] - vectors).detach(), indices


def chosen_by_absolute_differences(vectors, codebook):
    indices = torch.cdist(vectors, codebook, p=1).argmin(dim=1)
    return vectors + (codebook[indices] - vectors).detach(), indices


def chosen_twice_the_gradient(vectors, codebook):
    indices = torch.cdist(vectors, codebook).argmin(dim=1)
    return 2 * vectors + (codebook[indices] - 2 * vectors).detach(), indices


def followed_without_decay(counts, sums, vectors, indices, decay):
    number = indices.bincount(minlength=len(counts))
    total = torch.zeros_like(sums).index_add_(0, indices, vectors)
    counts, sums = decay * counts + number, decay * sums + total
    return counts, sums, sums / counts[:, None]


def followed_with_a_matrix(counts, sums, vectors, indices, decay):
    hot = (indices == torch.arange(len(counts))[:, None]).float()  # (K, N)
    counts = decay * counts + (1 - decay) * hot.sum(1)
    sums = decay * sums + (1 - decay) * hot @ vectors
    return counts, sums, sums / counts[:, None]


PLANTED = {
    "18.1": Planted(
        correct=[correct_1_forwards, correct_1_recursive, sees_in_closed_form],
        wrong=[
            Wrong(wrong_1_first_to_last, "first to last", from_text=True),
            Wrong(wrong_1_no_strides, "no strides", from_text=True),
            Wrong(wrong_1_kernels_added, "kernels added", from_text=True),
            Wrong(wrong_1_own_stride_too_early, "too early", from_text=True),
            Wrong(wrong_1_all_strides, "once too often", from_text=True),
            Wrong(wrong_1_float, "property:whole", from_text=True),
            Wrong(sees_once_more, "once too often"),
        ],
    ),
    "18.2": Planted(
        correct=[correct_2_autograd_function, correct_2_row_by_row, chosen_with_cdist],
        wrong=[
            Wrong(wrong_2_no_straight_through, "property:gradient", from_text=True),
            Wrong(wrong_2_detached, "property:gradient", from_text=True),
            Wrong(wrong_2_both_get_it, "property:gradient", from_text=True),
            Wrong(wrong_2_dot_product, "dot product", from_text=True),
            Wrong(wrong_2_farthest, "farthest", from_text=True),
            Wrong(wrong_2_order_of_results, "order", from_text=True),
            Wrong(chosen_by_first_entry, "one entry"),
            Wrong(chosen_by_absolute_differences, "L1"),
            Wrong(chosen_twice_the_gradient, "property:gradient"),
        ],
    ),
    "18.3": Planted(
        correct=[correct_3_one_hot, correct_3_code_by_code, followed_with_a_matrix],
        wrong=[
            Wrong(wrong_3_repeats_lost, "repeats", from_text=True),
            Wrong(wrong_3_decay_swapped, "swapped", from_text=True),
            Wrong(wrong_3_average_of_means, "means", from_text=True),
            Wrong(wrong_3_unused_do_not_fade, "unused codes", from_text=True),
            Wrong(wrong_3_in_place, "mutated", from_text=True),
            Wrong(wrong_3_sums_returned_as_codes, "sums as codes", from_text=True),
            Wrong(followed_without_decay, "no new weight"),
        ],
    ),
    "18.4": Planted(
        correct=["C", " c) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("inplace", "type", from_text=True),
        ],
    ),
    "18.5": Planted(
        correct=[1.22, 1.218, torch.tensor(1.2184)],
        wrong=[
            Wrong(
                1.5, "That is 6 bits over four pixels: right only if all 64 codes are equally frequent.", from_text=True
            ),
            Wrong(4.87, "Those are the bits per token. A token stands for four pixels.", from_text=True),
            Wrong(
                3.38, "Those are nats per token: use the logarithm to base 2, and divide by the pixels.", from_text=True
            ),
            Wrong("1.22 bits", "type", from_text=True),
            Wrong(0.5, "value"),
        ],
    ),
}
