"""The checks of chapter 18: a receptive field, straight-through codes, codes that follow, a block, bits per pixel."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Number, Property

SEES, THROUGH, CODES, BITS = "what-one-token-sees", "rounding-has-no-slope", "a-book-of-codes", "what-it-costs-in-bits"


def _stacks(g):
    yield ([],)
    yield ([(1, 1)],)
    yield ([(3, 1), (3, 1)],)
    yield ([(2, 2), (3, 1)],)
    yield ([(4, 2), (3, 2), (5, 1)],)
    yield ([(3, 1), (4, 2), (3, 1), (1, 1)],)
    yield ([(7, 4), (1, 3), (2, 1), (3, 2)],)


def _codes(g):
    yield torch.tensor([[0.1, 0.1], [2.0, 2.5]]), torch.tensor([[0.0, 0.0], [3.0, 3.0], [0.5, 2.0]])
    yield torch.randn(4, 3, generator=g), 3 * torch.randn(5, 3, generator=g)
    yield (
        2 + torch.randn(9, 2, generator=g),
        torch.randn(4, 2, generator=g) * torch.tensor([[0.1], [1.0], [3.0], [9.0]]),
    )
    yield torch.zeros(1, 2), torch.tensor([[3.0, 0.0], [2.0, 2.0]])
    yield torch.zeros(1, 2), torch.tensor([[5.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # two are equally near


def _averages(g):
    yield torch.tensor([1.0, 2.0]), torch.tensor([[2.0], [6.0]]), torch.tensor([[1.0]]), torch.tensor([1]), 0.9
    for K, D, N, decay in ((3, 2, 5, 0.75), (4, 3, 40, 0.97), (6, 2, 4, 0.3)):
        counts, sums = 0.5 + torch.rand(K, generator=g), torch.randn(K, D, generator=g)
        yield counts, sums, torch.randn(N, D, generator=g), torch.randint(K - 1, (N,), generator=g), decay


def _passes_on(answer):
    """The gradient at the vectors, and none at the codebook."""
    g = torch.Generator().manual_seed(1)
    vectors, codebook = torch.randn(5, 3, generator=g), torch.randn(4, 3, generator=g)
    weights = torch.randn(5, 3, generator=g)
    v, c = vectors.clone().requires_grad_(), codebook.clone().requires_grad_()
    chosen, _ = answer(v, c)
    if not chosen.requires_grad:
        return (
            "No gradient comes back at all: the result does not depend on the vectors in a way that autograd can see."
        )
    (chosen * weights).sum().backward()
    if c.grad is not None and c.grad.abs().max() > 1e-6:
        where = "The vectors get none." if v.grad is None or not v.grad.any() else "It should go to the vectors alone."
        return f"The codebook receives a gradient from the result. {where}"
    if v.grad is None or not torch.allclose(v.grad, weights, atol=1e-5):
        return "The gradient that arrives at the vectors is not the one that the result received."
    return None


def _means(counts, sums, vectors, indices, decay):
    """The old code and the mean of the batch, mixed whatever the counts."""
    K, hot = len(counts), torch.eye(len(counts))[indices]
    old, number = sums / counts[:, None], indices.bincount(minlength=K)
    mean = torch.where(number[:, None] > 0, hot.T @ vectors / number[:, None].clamp(min=1), old)
    averaged = decay * counts + (1 - decay) * number, decay * sums + (1 - decay) * hot.T @ vectors
    return *averaged, decay * old + (1 - decay) * mean


def _unused_stay(counts, sums, vectors, indices, decay):
    """The averages of the codes that were chosen, and of those alone."""
    hot = torch.eye(len(counts))[indices]
    used = hot.sum(0) > 0
    counts = torch.where(used, decay * counts + (1 - decay) * hot.sum(0), counts)
    sums = torch.where(used[:, None], decay * sums + (1 - decay) * hot.T @ vectors, sums)
    return counts, sums, sums / counts[:, None]


def _whole(answer):
    """The result counts pixels, so it is an int."""
    found = answer([(3, 1), (4, 2)])
    return None if isinstance(found, int) else f"It returns {found!r}; a number of pixels is an int."


EXERCISES = {
    "18.1": Code(
        example=([(3, 1)],),
        cases=_stacks,
        section=SEES,
        properties=[Property("whole", _whole, SEES)],
        edits="""
            first to last:
            reversed(layers) ~> layers
            This walks from the first layer to the last. A stride spreads out what comes *after* it, so start at the output.

            no strides:
            (size - 1) * stride ~> (size - 1)
            The strides have no effect here. After a stride of 2, neighbouring numbers are two pixels apart.

            kernels added:
            size = 1 ~> size = 0 && (size - 1) * stride + kernel ~> size + kernel
            These are the kernels added up. Two layers of 3 see 5 pixels: neighbours read nearly the same ones.

            too early:
            (size - 1) * stride + kernel ~> (size + kernel - 2) * stride + 1
            A layer's own stride does not spread out its own kernel, only what comes after it.

            once too often:
            (size - 1) * stride + kernel ~> size * stride + kernel - 1
            (size - 1) * stride + kernel ~> size * stride + kernel
            n neighbouring outputs start at n places, so there are n - 1 strides between the first and the last.

            the other way:
            (size - 1) * stride + kernel ~> (size - 1) // stride + kernel
            A stride makes the square that one output sees larger, not smaller.
        """,
    ),
    "18.2": Code(
        example=(torch.tensor([[0.9, 0.2]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])),
        cases=_codes,
        section=THROUGH,
        properties=[Property("gradient", _passes_on, THROUGH)],
        edits="""
            dot product [a-book-of-codes]:
            gaps.square().sum(dim=-1).argmin(dim=1) ~> (vectors @ codebook.T).argmax(dim=-1)
            The largest dot product is the nearest code only if all codes are equally long. Compare distances.

            farthest [a-book-of-codes]:
            argmin ~> argmax
            Your codes are the farthest ones.

            one entry [a-book-of-codes]:
            .square().sum(dim=-1) ~> .square()[..., 0]
            Only the first entry is compared. A distance takes all D of them.

            signed [a-book-of-codes]:
            gaps.square().sum ~> gaps.sum
            The differences are added with their signs, so they cancel. Square them first.

            L1 [a-book-of-codes]:
            gaps.square().sum ~> gaps.abs().sum
            These are sums of absolute differences. Euclidean distance squares them.

            best vector [a-book-of-codes]:
            argmin(dim=1) ~> argmin(dim=0)
            This finds the nearest vector for each code. Asked for is the nearest code of each vector.

            vectors themselves:
            return vectors + (chosen - vectors).detach(), indices ~> return vectors, indices
            The vectors come back as they were. Going forward, the result has the values of the codes.

            order:
            return vectors + (chosen - vectors).detach(), indices ~> \\
            return indices, vectors + (chosen - vectors).detach()
            The two results are in the wrong order: first the vectors, then the indices.
        """,
    ),
    "18.3": Code(
        example=(
            torch.tensor([1.0]),
            torch.tensor([[2.0]]),
            torch.tensor([[4.0], [4.0], [7.0]]),
            torch.tensor([0, 0, 0]),
            0.5,
        ),
        cases=_averages,
        section=CODES,
        mistakes=[
            Mistake(
                "means",
                "Your code mixes the old code with the batch's mean, however many vectors chose it. Divide the averaged "
                "sum by the averaged count.",
                wrong=_means,
            ),
            Mistake(
                "unused codes",
                "A code that nobody chose keeps its count here. It has to fade like the others: its number in this batch "
                "is 0.",
                wrong=_unused_stay,
            ),
        ],
        edits="""
            repeats:
            torch.zeros_like(sums).index_add_(0, indices, vectors) ~> torch.zeros_like(sums).index_put((indices,), vectors)
            Of the vectors that share an index only one is counted: += with an index tensor writes each row once.

            swapped:
            decay * counts + (1 - decay) * number ~> (1 - decay) * counts + decay * number && \\
            decay * sums + (1 - decay) * total ~> (1 - decay) * sums + decay * total
            The two weights are exchanged: decay belongs to the old average.

            sums as codes:
            sums / counts[:, None] ~> sums
            The third result is the sums. A code is its sum divided by its count.

            no old:
            decay * counts + (1 - decay) * number ~> number && decay * sums + (1 - decay) * total ~> total
            Nothing of the old averages is left.

            no new weight:
            (1 - decay) * number ~> number && (1 - decay) * total ~> total
            The new number and the new sum have weight 1; it is 1 - decay.
        """,
    ),
    "18.4": Choice(
        right="c",
        wrong={
            "a": "A bias of the last convolution would raise the smallest value too, and leave x as it was. Look at the "
            "third row.",
            "b": "That would give the second row. But a ReLU after the sum works on a new tensor, and x would be as before.",
            "d": "Without padding the result of f would be smaller than x, and the sum would fail. The values, too, would "
            "still be those of x.",
        },
        section="a-filter-that-slides",
    ),
    "18.5": Number(
        value=1.22,
        within=0.015,
        wrong=[
            (1.49, 1.51, "That is 6 bits over four pixels: right only if all 64 codes are equally frequent."),
            (4.8, 4.95, "Those are the bits per token. A token stands for four pixels."),
            (5.95, 6.05, "That is log2 of the number of codes, per token. Take the entropy, per pixel."),
            (3.3, 3.45, "Those are nats per token: use the logarithm to base 2, and divide by the pixels."),
            (0.83, 0.86, "Those are nats per pixel; a logarithm to base 2 gives bits."),
            (0.29, 0.32, "Divided by 16 pixels. A patch has 2 × 2."),
            (0.018, 0.026, "That is the squared error. The bits that the tokens cost are asked for."),
            (28.0, 30.5, "That is the perplexity, 2 to the power of the entropy."),
        ],
        section=BITS,
    ),
}
