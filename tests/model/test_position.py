"""RoPE turns pairs by position, so that dot products see differences only; RMSNorm is its formula."""

import torch

from blueberry_lib.model.position import RMSNorm, apply_rope, interleaved_to_half, rope_2d, rope_tables


def test_dot_products_depend_on_the_distance_alone():
    cos, sin = rope_tables(16, 64)
    q, k = torch.randn(2, 16).unbind()
    turned_q, turned_k = (apply_rope(x.expand(64, 16), cos, sin) for x in (q, k))
    scores = turned_q @ turned_k.T  # (64, 64)
    for distance in (0, 1, 7, 40):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=2e-5, rtol=1e-5)
    assert (scores[:, 0] - scores[0, 0]).abs().max() > 0.1


def test_it_is_a_rotation_by_position_times_frequency():
    cos, sin = rope_tables(4, 8, base=100.0)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    turned = apply_rope(x.expand(8, 4), cos, sin)
    assert torch.equal(turned[0], x)
    for i, frequency in enumerate((1.0, 0.1)):
        pair = torch.complex(x[i], x[i + 2]) * torch.exp(torch.tensor(5j * frequency))
        torch.testing.assert_close(torch.complex(turned[5, i], turned[5, i + 2]), pair)


def test_the_documented_permutation_converts_the_interleaved_convention():
    D, T = 8, 10
    cos, sin = rope_tables(D, T)
    x = torch.randn(T, D)
    pairs = torch.view_as_complex(x.view(T, D // 2, 2).contiguous())
    interleaved = torch.view_as_real(pairs * torch.complex(cos, sin)).flatten(1)
    order = interleaved_to_half(D)
    torch.testing.assert_close(apply_rope(x[:, order], cos, sin), interleaved[:, order])


def test_rms_norm_is_its_formula_and_keeps_the_dtype():
    norm = RMSNorm(32)
    torch.nn.init.normal_(norm.gain)
    x = torch.randn(3, 5, 32)
    expected = x / torch.sqrt((x.double() ** 2).mean(-1, keepdim=True) + 1e-6) * norm.gain
    torch.testing.assert_close(norm(x), expected.float())
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(norm(torch.zeros(1, 32)), torch.zeros(1, 32))


def test_a_token_at_p_p_turns_exactly_as_one_at_position_p():
    cos, sin = rope_tables(16, 40)
    line = torch.arange(40)[None, :, None].expand(3, 40, 2)
    for found, table in zip(rope_2d(cos, sin, line), (cos, sin), strict=True):
        assert torch.equal(found, table.expand(3, 1, 40, 8))


def test_in_two_dimensions_even_pairs_see_the_row_and_odd_pairs_the_column():
    cos, sin = rope_tables(8, 32)
    place = torch.tensor([[[5, 9]]])
    turned_cos, turned_sin = rope_2d(cos, sin, place)
    for pair in range(4):
        coordinate = 9 if pair % 2 else 5
        assert turned_cos[0, 0, 0, pair] == cos[coordinate, pair] and turned_sin[0, 0, 0, pair] == sin[coordinate, pair]


def test_in_two_dimensions_dot_products_depend_on_both_differences_alone():
    cos, sin = rope_tables(16, 64)
    q, k = torch.randn(2, 16).unbind()

    def score(query_place, key_place):
        tables = rope_2d(cos, sin, torch.tensor([[query_place, key_place]]))
        turned = apply_rope(torch.stack((q, k))[None, None], *tables)[0, 0]
        return turned[0] @ turned[1]

    here = score((3, 4), (1, 9))
    torch.testing.assert_close(score((23, 14), (21, 19)), here, atol=2e-5, rtol=1e-5)
    assert (score((4, 4), (1, 9)) - here).abs() > 1e-3 and (score((3, 5), (1, 9)) - here).abs() > 1e-3
