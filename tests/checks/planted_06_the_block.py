"""Wrong and right answers to the exercises of chapter 06.

The first of each kind were written from the exercises' text alone, before their checkers were tried.
"""

import torch
import torch.nn.functional as F
from checks.planting import Planted, Wrong


def wrong_1_squares_first(x, up, down):
    return F.linear(F.linear(x, up).square().relu(), down)


def wrong_1_plain_relu(x, up, down):
    return F.linear(F.linear(x, up).relu(), down)


def wrong_1_gelu(x, up, down):
    return F.linear(F.gelu(F.linear(x, up)), down)


def wrong_1_adds_the_stream(x, up, down):
    return x + F.linear(F.linear(x, up).relu() ** 2, down)


def wrong_1_keys_not_transposed(x, up, down):
    return ((x @ up).relu() ** 2) @ down.mT


def wrong_1_attention_over_keys(x, up, down):
    return (x @ up.mT).softmax(-1) @ down.mT


def wrong_1_always_float32(x, up, down):
    return F.linear(F.linear(x, up).relu() ** 2, down).float()


def wrong_1_detached(x, up, down):
    return F.linear(F.linear(x, up).relu() ** 2, down).detach()


def correct_1_linear(x, up, down):
    return F.linear(F.relu(F.linear(x, up)) ** 2, down)


def correct_1_memory_by_memory(x, up, down):
    out = torch.zeros_like(x)
    for key, value in zip(up, down.unbind(1), strict=True):
        match = (x * key).sum(-1, keepdim=True)
        out = out + torch.where(match > 0, match * match, torch.zeros_like(match)) * value
    return out


def wrong_2_parallel(x, norm1, attention, norm2, feed_forward):
    return x + attention(norm1(x)) + feed_forward(norm2(x))


def wrong_2_no_second_residual(x, norm1, attention, norm2, feed_forward):
    x = x + attention(norm1(x))
    return feed_forward(norm2(x))


def wrong_2_post_norm(x, norm1, attention, norm2, feed_forward):
    x = norm1(x + attention(x))
    return norm2(x + feed_forward(x))


def wrong_2_stream_replaced_by_its_norm(x, norm1, attention, norm2, feed_forward):
    x = norm1(x)
    x = x + attention(x)
    x = norm2(x)
    return x + feed_forward(x)


def wrong_2_in_place(x, norm1, attention, norm2, feed_forward):
    x += attention(norm1(x))
    x += feed_forward(norm2(x))
    return x


def wrong_2_without_norms(x, norm1, attention, norm2, feed_forward):
    x = x + attention(x)
    return x + feed_forward(x)


def wrong_2_first_norm_twice(x, norm1, attention, norm2, feed_forward):
    x = x + attention(norm1(x))
    return x + feed_forward(norm1(x))


def wrong_2_attention_twice(x, norm1, attention, norm2, feed_forward):
    y = x + attention(norm1(x))
    return x + attention(norm1(x)) + feed_forward(norm2(y))


def correct_2_named(x, norm1, attention, norm2, feed_forward):
    middle = torch.add(attention(norm1(x)), x)
    return torch.add(feed_forward(norm2(middle)), middle)


def correct_2_loop(x, norm1, attention, norm2, feed_forward):
    for norm, layer in ((norm1, attention), (norm2, feed_forward)):
        x = x + layer(norm(x))
    return x


def _count(vocab, d, layers, attention, rest, outside):
    return vocab * d + layers * (attention + rest) + outside


def wrong_5_full_keys(vocab, d, layers, heads, kv_heads, f, matrices):
    return _count(vocab, d, layers, 4 * d * d, matrices * d * f + 2 * d + 2 * (d // heads), d)


def wrong_5_head_twice(vocab, d, layers, heads, kv_heads, f, matrices):
    D = d // heads
    return _count(2 * vocab, d, layers, 2 * d * d + 2 * d * kv_heads * D, matrices * d * f + 2 * d + 2 * D, d)


def wrong_5_no_norms_at_all(vocab, d, layers, heads, kv_heads, f, matrices):
    return _count(vocab, d, layers, 2 * d * d + 2 * d * kv_heads * (d // heads), matrices * d * f, 0)


def wrong_5_always_two_matrices(vocab, d, layers, heads, kv_heads, f, matrices):
    D = d // heads
    return _count(vocab, d, layers, 2 * d * d + 2 * d * kv_heads * D, 2 * d * f + 2 * d + 2 * D, d)


def wrong_5_no_last_norm(vocab, d, layers, heads, kv_heads, f, matrices):
    D = d // heads
    return _count(vocab, d, layers, 2 * d * d + 2 * d * kv_heads * D, matrices * d * f + 2 * d + 2 * D, 0)


def wrong_5_a_float(vocab, d, layers, heads, kv_heads, f, matrices):
    D = d / heads
    return _count(vocab, d, layers, 2 * d * d + 2 * d * kv_heads * D, matrices * d * f + 2 * d + 2 * D, d)


def correct_5_grouped(vocab, d, layers, heads, kv_heads, f, matrices):
    D = d // heads
    return (vocab + 1) * d + layers * (2 * D * (d * (heads + kv_heads) + 1) + d * (matrices * f + 2))


def correct_5_shapes(vocab, d, layers, heads, kv_heads, f, matrices):
    D = d // heads
    shapes = [(d, heads * D)] * 2 + [(d, kv_heads * D)] * 2 + [(d, f)] * matrices + [(1, D)] * 2 + [(1, d)] * 2
    return (vocab + 1) * d + layers * sum(a * b for a, b in shapes)


PLANTED = {
    "06.1": Planted(
        correct=[correct_1_linear, correct_1_memory_by_memory],
        wrong=[
            Wrong(wrong_1_squares_first, "squared first", from_text=True),
            Wrong(wrong_1_plain_relu, "not squared", from_text=True),
            Wrong(wrong_1_gelu, "another activation", from_text=True),
            Wrong(wrong_1_adds_the_stream, "residual inside", from_text=True),
            Wrong(wrong_1_keys_not_transposed, "keys as columns", from_text=True),
            Wrong(wrong_1_attention_over_keys, "softmax"),
            Wrong(wrong_1_always_float32, "dtype"),
            Wrong(wrong_1_detached, "property:gradient"),
        ],
    ),
    "06.2": Planted(
        correct=[correct_2_named, correct_2_loop],
        wrong=[
            Wrong(wrong_2_parallel, "side by side", from_text=True),
            Wrong(wrong_2_no_second_residual, "no residual", from_text=True),
            Wrong(wrong_2_post_norm, "norm after the addition", from_text=True),
            Wrong(wrong_2_stream_replaced_by_its_norm, "the norm is added", from_text=True),
            Wrong(wrong_2_in_place, "mutated", from_text=True),
            Wrong(wrong_2_without_norms, "no norm"),
            Wrong(wrong_2_first_norm_twice, "one norm twice"),
            Wrong(wrong_2_attention_twice, "property:once"),
        ],
    ),
    "06.3": Planted(
        correct=[0.167, 1 / 6],
        wrong=[
            Wrong(0.204, "That is near 1/√24, which holds if a block adds a mean square of 1. Measure what one adds."),
            Wrong(0.144, "That is near 1/√48: there is one layer in a block here, not two."),
            Wrong(0.0417, "That is near 1/24. Mean squares add up, not sizes: the root is missing."),
            Wrong(1.0, "value"),
        ],
    ),
    "06.4": Planted(correct=["b", "B"], wrong=[Wrong("a", "a"), Wrong("c", "c"), Wrong("d", "d"), Wrong(4, "type")]),
    "06.5": Planted(
        correct=[correct_5_grouped, correct_5_shapes],
        wrong=[
            Wrong(wrong_5_full_keys, "full keys", from_text=True),
            Wrong(wrong_5_head_twice, "head counted twice", from_text=True),
            Wrong(wrong_5_no_norms_at_all, "no gains at all", from_text=True),
            Wrong(wrong_5_always_two_matrices, "always two", from_text=True),
            Wrong(wrong_5_no_last_norm, "no last norm"),
            Wrong(wrong_5_a_float, "property:an int"),
        ],
    ),
}
