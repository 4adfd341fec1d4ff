"""Wrong and right answers to the exercises of chapter 17.

The first of each kind were written from the exercises' text alone, before their checkers were tried.
"""

import torch
import torch.nn.functional as F
from checks.planting import Planted, Wrong


def wrong_1_plain_reshape(images, size):
    B, C, H, W = images.shape
    return images.reshape(B, H // size * (W // size), C * size * size)


def wrong_1_channels_last(images, size):
    rows = []
    for top in range(0, images.shape[2], size):
        for left in range(0, images.shape[3], size):
            square = images[:, :, top : top + size, left : left + size]
            rows.append(square.permute(0, 2, 3, 1).flatten(1))
    return torch.stack(rows, dim=1)


def wrong_1_down_the_columns(images, size):
    rows = []
    for left in range(0, images.shape[3], size):
        for top in range(0, images.shape[2], size):
            rows.append(images[:, :, top : top + size, left : left + size].flatten(1))
    return torch.stack(rows, dim=1)


def wrong_1_every_other_pixel(images, size):
    h, w = images.shape[2] // size, images.shape[3] // size
    rows = [images[:, :, i::h, j::w].flatten(1) for i in range(h) for j in range(w)]
    return torch.stack(rows, dim=1)


def wrong_1_a_grid_of_patches(images, size):
    B, C, H, W = images.shape
    cut = images.reshape(B, C, H // size, size, W // size, size)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)


def wrong_1_in_lists(images, size):
    return correct_1_squares(images, size).tolist()


def wrong_1_pixel_unshuffle(images, size):
    return F.pixel_unshuffle(images, size).flatten(2).transpose(1, 2)


def correct_1_squares(images, size):
    rows = []
    for top in range(0, images.shape[2], size):
        for left in range(0, images.shape[3], size):
            rows.append(images[:, :, top : top + size, left : left + size].flatten(1))
    return torch.stack(rows, dim=1)


def correct_1_chunks(images, size):
    strips = torch.stack(images.split(size, dim=2), dim=1)
    squares = torch.stack(strips.split(size, dim=4), dim=2)
    return squares.flatten(3).flatten(1, 2)


def wrong_2_scale_without_one(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return x + gate[:, None] * layer(u * scale[:, None] + shift[:, None])


def wrong_2_gate_inside(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    return x + layer(gate[:, None] * u)


def wrong_2_no_stream(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    return gate[:, None] * layer(u)


def wrong_2_rms(x, layer, shift, scale, gate):
    u = F.rms_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    return x + gate[:, None] * layer(u)


def wrong_2_torchs_own_eps(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:]) * (1 + scale[:, None]) + shift[:, None]
    return x + gate[:, None] * layer(u)


def wrong_2_in_place(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    x += gate[:, None] * layer(u)
    return x


def wrong_2_standard_deviation_of_torch(x, layer, shift, scale, gate):
    u = (x - x.mean(dim=2, keepdim=True)) / (x.std(dim=2, keepdim=True) + 1e-6)
    return x + gate.unsqueeze(1) * layer(u * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1))


def wrong_2_layer_twice(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    layer(u)
    return x + gate[:, None] * layer(u)


def wrong_2_detached_gate(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    return x + gate.detach()[:, None] * layer(u)


def correct_2_by_hand(x, layer, shift, scale, gate):
    middle = x - x.mean(dim=-1, keepdim=True)
    u = middle * (middle.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()
    return torch.addcmul(x, gate[:, None], layer(torch.addcmul(shift[:, None], u, 1 + scale[:, None])))


def correct_2_einsum(x, layer, shift, scale, gate):
    u = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    u = u + torch.einsum("btd,bd->btd", u, scale) + shift.unsqueeze(1).expand_as(x)
    return torch.einsum("btd,bd->btd", layer(u), gate) + x


def wrong_5_all_for_each_patch(side, patch, channels, d, layers, waves):
    T, values = (side // patch) ** 2, channels * patch**2
    weights = 2 * values * d + 12 * layers * d * d + waves * d + d * d + 6 * layers * d * d + 2 * d * d
    return 6 * T * weights + 12 * d * T * T * layers


def wrong_5_patches_along_one_side(side, patch, channels, d, layers, waves):
    T, values = side // patch, channels * patch**2
    each = 2 * values * d + 12 * layers * d * d
    once = waves * d + d * d + 6 * layers * d * d + 2 * d * d
    return 6 * (once + T * each) + 12 * d * T * T * layers


def wrong_5_without_pairs(side, patch, channels, d, layers, waves):
    T, values = (side // patch) ** 2, channels * patch**2
    each = 2 * values * d + 12 * layers * d * d
    return 6 * (waves * d + 3 * d * d + 6 * layers * d * d + T * each)


def wrong_5_forward_only(side, patch, channels, d, layers, waves):
    T, values = (side // patch) ** 2, channels * patch**2
    each = 2 * values * d + 12 * layers * d * d
    return 2 * (waves * d + 3 * d * d + 6 * layers * d * d + T * each) + 12 * d * T * T * layers


def wrong_5_a_float(side, patch, channels, d, layers, waves):
    return float(correct_5_one_line(side, patch, channels, d, layers, waves))


def correct_5_one_line(side, patch, channels, d, layers, waves):
    T = (side // patch) ** 2
    return 6 * d * (waves + (6 * layers + 3) * d + T * (2 * channels * patch**2 + 12 * layers * d + 2 * T * layers))


def correct_5_matrices(side, patch, channels, d, layers, waves):
    T, v = side // patch * (side // patch), channels * patch * patch
    patches = [(v, d), (d, v)] + [(d, d)] * 12 * layers
    picture = [(waves, d), (d, d), (d, 2 * d)] + [(d, 6 * d)] * layers
    weights = T * sum(a * b for a, b in patches) + sum(a * b for a, b in picture)
    return 6 * weights + layers * 12 * d * T**2


PLANTED = {
    "17.1": Planted(
        correct=[correct_1_squares, correct_1_chunks],
        wrong=[
            Wrong(wrong_1_plain_reshape, "strips", from_text=True),
            Wrong(wrong_1_channels_last, "channels last", from_text=True),
            Wrong(wrong_1_down_the_columns, "columns first", from_text=True),
            Wrong(wrong_1_every_other_pixel, "spread out", from_text=True),
            Wrong(wrong_1_a_grid_of_patches, "shape"),
            Wrong(wrong_1_in_lists, "type"),
            Wrong(wrong_1_pixel_unshuffle, "library"),
        ],
    ),
    "17.2": Planted(
        correct=[correct_2_by_hand, correct_2_einsum],
        wrong=[
            Wrong(wrong_2_scale_without_one, "no one", from_text=True),
            Wrong(wrong_2_gate_inside, "gate before", from_text=True),
            Wrong(wrong_2_no_stream, "no residual", from_text=True),
            Wrong(wrong_2_rms, "root mean square", from_text=True),
            Wrong(wrong_2_torchs_own_eps, "other eps", from_text=True),
            Wrong(wrong_2_in_place, "mutated"),
            Wrong(wrong_2_standard_deviation_of_torch, "other variance"),
            Wrong(wrong_2_layer_twice, "calls"),
            Wrong(wrong_2_detached_gate, "property:gradient"),
        ],
    ),
    "17.3": Planted(
        correct=[1.75, 1.7477],
        wrong=[
            Wrong(1.43, "That is where a straight line from 1.5 through 0.8 would reach 0.5. Measure it."),
            Wrong(1.24, "That is where the variance would be 0.25 if it fell in a straight line. Measure it."),
            Wrong(0.75, "That is the other convention, v_class + w (v_class − v_all). Here w = 1 is the class."),
            Wrong(-0.75, "Class and whole have changed places: at w = 1 it should be the class's 0.8."),
            Wrong(3.0, "value"),
        ],
    ),
    "17.4": Planted(correct=["c", "C"], wrong=[Wrong("a", "a"), Wrong("b", "b"), Wrong("d", "d"), Wrong(3, "type")]),
    "17.5": Planted(
        correct=[correct_5_one_line, correct_5_matrices],
        wrong=[
            Wrong(wrong_5_all_for_each_patch, "everything per patch", from_text=True),
            Wrong(wrong_5_patches_along_one_side, "patches in a row", from_text=True),
            Wrong(wrong_5_without_pairs, "no pairs", from_text=True),
            Wrong(wrong_5_forward_only, "forward only", from_text=True),
            Wrong(wrong_5_a_float, "property:an int"),
        ],
    ),
}
