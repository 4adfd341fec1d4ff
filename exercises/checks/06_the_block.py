"""Checks of chapter 06: the feed-forward layer, the block, parameters counted, a stream read, a scale found."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Number, Property

MEMORY, BLOCK, COUNT, DEPTH = (
    "a-layer-that-remembers", "the-block-in-two-lines", "counting-them-by-hand", "a-stream-that-grows",
)  # fmt: skip


def _layers(g):
    for shape, d, f in (((1,), 3, 5), ((4,), 4, 4), ((2, 3), 5, 9), ((2, 3, 2), 6, 3)):
        yield torch.randn(*shape, d, generator=g), torch.randn(f, d, generator=g), torch.randn(d, f, generator=g)
    yield tuple(torch.randn(4, 4, generator=g, dtype=torch.float64) for _ in range(3))


def _learns(f):
    g = torch.Generator().manual_seed(1)
    inputs = [torch.randn(4, 4, generator=g).requires_grad_() for _ in range(3)]
    out = f(*inputs)
    if not out.requires_grad or any(p is None for p in torch.autograd.grad(out.sum(), inputs, allow_unused=True)):
        return "No gradient comes back through it, so a layer with this in it could not learn."


def _same(x):
    return x


def _double(x):
    return 2 * x


def _ten(x):
    return 10 * x


def _unit(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def _tripled(x):
    return 3 * _unit(x)


def _past(x):
    return x.cumsum(dim=1)


def _squares(x):
    return x.relu().square()


def _blocks(g):
    yield torch.randn(1, 1, 2, generator=g), _unit, _double, _tripled, _squares
    yield torch.randn(2, 3, 4, generator=g), _unit, _past, _tripled, _squares
    yield torch.randn(3, 5, 2, generator=g), _tripled, _squares, _unit, _past
    yield torch.randn(2, 4, 3, generator=g, dtype=torch.float64), _unit, _past, _double, _ten


def _once(f):
    called = []

    def counting(name):
        return lambda x: (called.append(name), 2 * x)[1]

    f(torch.ones(1, 1, 1), *map(counting, "nanf"))
    if sorted(called) != ["a", "f", "n", "n"]:
        return f"Each function should run exactly once; together they ran {len(called)} times. Keep the result."


def _sizes(g):
    yield 49_152, 512, 22, 8, 4, 2_048, 2
    yield 49_152, 512, 32, 8, 4, 2_048, 3
    yield 4_096, 128, 4, 4, 2, 512, 2
    yield 100, 24, 3, 4, 4, 50, 3
    yield 7, 12, 5, 6, 1, 20, 2


def _an_int(f):
    got = f(10, 4, 1, 2, 1, 8, 2)
    return None if type(got) is int else f"A number of parameters is an int; it returned {type(got).__name__}."


EXERCISES = {
    "06.1": Code(
        example=(torch.tensor([[3.0, -1.0]]), torch.eye(2), torch.tensor([[1.0, 5.0], [2.0, 5.0]])),
        cases=_layers,
        section=MEMORY,
        properties=[Property("gradient", _learns)],
        edits="""
            squared first:
            match.relu().square() ~> match.square().relu()
            match.relu().square() ~> match.square()
            Negative matches count too: the square came before the ReLU, or there is no ReLU.

            not squared:
            .relu().square() ~> .relu()
            The ReLU is not squared.

            no activation:
            match.relu().square() ~> match
            Without an activation two matrices in a row are no more than one.

            wrong sign:
            match.relu() ~> (-match).relu()
            It keeps the negative matches and drops the positive ones.

            another activation:
            match.relu().square() ~> torch.nn.functional.silu(match)
            match.relu().square() ~> torch.nn.functional.gelu(match)
            match.relu().square() ~> torch.nn.functional.gelu(match).square()
            match.relu().square() ~> torch.nn.functional.silu(match).square()
            That is another activation; here it is the square of the ReLU.

            softmax:
            match.relu().square() ~> match.softmax(dim=-1)
            match.relu().square() ~> match.relu().square().softmax(dim=-1)
            That is attention over fixed keys. Here the weights do not have to add up to 1.

            keys as columns:
            up.mT ~> up
            Keys are the rows of up, its shape is (f, d): the product has to be with its transpose.

            values as rows:
            down.mT ~> down
            Values are the columns of down, (d, f): the product has to be with its transpose.

            activation at the end:
            match.relu().square() ~> match && weight @ down.mT ~> (weight @ down.mT).relu().square()
            The activation belongs between the two matrices, not at the end.

            residual inside:
            return ~> return x +
            The stream is added already. That is the block's business, not the layer's.
        """,
    ),
    "06.2": Code(
        example=(torch.ones(1, 1, 1), _same, _double, _same, _ten),
        cases=_blocks,
        section=BLOCK,
        calls={"norm1": 1, "attention": 1, "norm2": 1, "feed_forward": 1},
        properties=[Property("once", _once)],
        edits="""
            side by side:
            x = x + attention(norm1(x)) ~> y = x + attention(norm1(x)) && x + feed_forward(norm2(x)) ~> y + feed_forward(norm2(x))
            The feed-forward layer reads the old stream. It should read the one that attention has written to.

            no residual:
            x = x + attention ~> x = attention
            return x + feed_forward ~> return feed_forward
            x = x + attention ~> x = attention && return x + feed_forward ~> return feed_forward
            A layer's output replaces the stream; it should be added to it.

            the norm is added:
            x = x + attention ~> x = norm1(x) + attention
            return x + feed ~> return norm2(x) + feed
            x = x + attention ~> x = norm1(x) + attention && return x + feed ~> return norm2(x) + feed
            The output is added to the normed stream. It should be added to the stream itself.

            one norm twice:
            norm2(x) ~> norm1(x)
            (norm1(x)) ~> (norm2(x))
            One of the two norms is used twice, the other never; each layer has its own.

            no norm:
            attention(norm1(x)) ~> attention(x)
            feed_forward(norm2(x)) ~> feed_forward(x)
            attention(norm1(x)) ~> attention(x) && feed_forward(norm2(x)) ~> feed_forward(x)
            A layer reads the stream without its norm.

            norm after the addition:
            x = x + attention(norm1(x)) ~> x = norm1(x + attention(x)) && return x + feed_forward(norm2(x)) ~> return norm2(x + feed_forward(x))
            The norm stands after the addition, as in the first transformer. Here the layer reads the norm, and the stream is a plain sum.

            norm of the output:
            attention(norm1(x)) ~> norm1(attention(x)) && feed_forward(norm2(x)) ~> norm2(feed_forward(x))
            The layer's output is normed; it is the input that should be.

            norms swapped:
            norm1 ~> normx && norm2 ~> norm1 && normx ~> norm2 && x, norm2, attention, norm1, ~> x, norm1, attention, norm2,
            The first norm belongs to attention, the second to the feed-forward layer.

            feed-forward first:
            attention(norm1(x)) ~> feed_forward(norm2(x)) && return x + feed_forward(norm2(x)) ~> return x + attention(norm1(x))
            The feed-forward layer runs before attention.

            first stream:
            x = x + attention(norm1(x)) ~> y = x + attention(norm1(x)) && x + feed_forward(norm2(x)) ~> x + feed_forward(norm2(y))
            What attention wrote is lost: the last sum begins from the stream before it.
        """,
    ),
    "06.3": Number(
        value=1 / 6,
        within=0.01,
        wrong=[
            (0.19, 0.215, "That is near 1/√24, which holds if a block adds a mean square of 1. Measure what one adds."),
            (0.13, 0.152, "That is near 1/√48: there is one layer in a block here, not two."),
            (0.02, 0.05, "That is near 1/24. Mean squares add up, not sizes: the root is missing."),
        ],
        section=DEPTH,
    ),
    "06.4": Choice(
        right="b",
        wrong={
            "a": "A norm on the stream would keep the mean square at 1, too. But the gradient of up would not be 0.",
            "c": "With up at 0 as well, down would get an input of 0, so its gradient would be 0. It is not.",
            "d": "Overwriting would not make it exactly 1 each time, and the gradient of up would not be 0.",
        },
        section="zero-as-a-start",
    ),
    "06.5": Code(
        example=(10, 4, 1, 2, 1, 8, 2),
        cases=_sizes,
        section=COUNT,
        properties=[Property("an int", _an_int)],
        edits="""
            full keys:
            2 * d * kv_heads * D ~> 2 * d * heads * D
            Keys and values have kv_heads heads, not as many as the queries.

            head counted twice:
            return vocab * d + ~> return 2 * vocab * d +
            The head is the embedding, so that matrix counts once.

            no last norm:
            layers * layer + d ~> layers * layer
            The norm before the head is missing: it has d gains.

            no gains at all:
            + 2 * D ~> && * f + 2 * d ~> * f && layers * layer + d ~> layers * layer
            The gains of the norms are missing, in the layers and at the end.

            no norms:
            matrices * d * f + 2 * d ~> matrices * d * f
            Each layer has two RMSNorms with d gains each.

            one norm:
            * f + 2 * d ~> * f + d
            A layer has two RMSNorms, one in front of each part.

            no head norms:
            + 2 * D ~>
            The norms of queries and keys have gains too: D each.

            gains of every head:
            + 2 * D ~> + 2 * d
            + 2 * D ~> + heads * D + kv_heads * D
            The gains of the query norm are shared by all heads: D of them, and D for the keys.

            one head gain:
            + 2 * D ~> + D
            Queries and keys have a norm each, with D gains.

            always two:
            matrices * d * f ~> 2 * d * f
            The number of feed-forward matrices is an argument: SwiGLU has three.

            no output:
            2 * d * heads * D ~> d * heads * D
            One of the query and output matrices is missing.

            one of keys and values:
            2 * d * kv_heads ~> d * kv_heads
            Keys and values have a matrix each.

            no embedding:
            vocab * d + ~>
            The embedding is missing.

            everything in each layer:
            return vocab * d + layers * layer + d ~> return layers * (vocab * d + layer + d)
            Embedding and last norm stand once, outside the layers.

            last norm in each layer:
            layers * layer + d ~> layers * (layer + d)
            The last norm stands once, outside the layers.
        """,
    ),
}
