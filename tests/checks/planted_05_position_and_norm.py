"""Wrong and right answers to the exercises of chapter 05.

Those marked from_text were written from the exercises' texts alone, before the checker existed, and are kept as they
were.
"""

import torch
import torch.nn.functional as F
from checks.planting import Planted, Wrong

# From the texts alone.


def wrong_1_neighbours(x, positions, base):
    """Pairs (0, 1), (2, 3), … ."""
    D = x.shape[-1]
    f = base ** (-torch.arange(0, D, 2) / D)
    angle = positions[:, None] * f
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1).flatten(-2)


def wrong_1_other_way(x, positions, base):
    """Turns by minus the angle."""
    a, b = x.chunk(2, -1)
    angle = positions[:, None] * base ** (-2 * torch.arange(a.shape[-1]) / x.shape[-1])
    return torch.cat((a * angle.cos() + b * angle.sin(), b * angle.cos() - a * angle.sin()), -1)


def wrong_1_counts_from_zero(x, positions, base):
    """Ignores positions and counts the tokens."""
    a, b = x.chunk(2, -1)
    t = torch.arange(x.shape[-2])
    angle = t[:, None] * base ** (-2 * torch.arange(a.shape[-1]) / x.shape[-1])
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def wrong_1_exponent_without_2(x, positions, base):
    """base^(-i/D)."""
    a, b = x.chunk(2, -1)
    angle = positions[:, None] * base ** (-torch.arange(a.shape[-1]) / x.shape[-1])
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def wrong_1_overwrites_a(x, positions, base):
    """Uses the turned a to turn b, in the caller's tensor."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * base ** (-2 * torch.arange(half) / x.shape[-1])
    x[..., :half] = x[..., :half] * angle.cos() - x[..., half:] * angle.sin()
    x[..., half:] = x[..., half:] * angle.cos() + x[..., :half] * angle.sin()
    return x


def wrong_1_rising(x, positions, base):
    """base^(+2i/D)."""
    a, b = x.chunk(2, -1)
    angle = positions[:, None] * base ** (2 * torch.arange(a.shape[-1]) / x.shape[-1])
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def wrong_1_all_angles_equal(x, positions, base):
    """One frequency for all pairs."""
    a, b = x.chunk(2, -1)
    angle = positions[:, None]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def correct_1_complex(x, positions, base):
    """Complex numbers."""
    a, b = x.chunk(2, -1)
    angle = torch.outer(positions, 1 / base ** (torch.arange(0, x.shape[-1], 2) / x.shape[-1]))
    z = torch.complex(a, b) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((z.real, z.imag), -1)


def correct_1_rotate_half(x, positions, base):
    """x cos + rotate_half(x) sin, as transformers does it."""
    half = x.shape[-1] // 2
    angle = positions.unsqueeze(-1) / base ** torch.linspace(0, 1 - 1 / half, half)
    angle = torch.cat((angle, angle), -1)
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * angle.cos() + turned * angle.sin()


def wrong_3_layer_norm(x, gain, eps):
    """Subtracts the mean."""
    w = x.float()
    w = w - w.mean(-1, keepdim=True)
    return (w / torch.sqrt(w.square().mean(-1, keepdim=True) + eps) * gain).to(x.dtype)


def wrong_3_eps_outside(x, gain, eps):
    """Adds eps to the root."""
    w = x.float()
    return (w / (w.square().mean(-1, keepdim=True).sqrt() + eps) * gain).to(x.dtype)


def wrong_3_sum(x, gain, eps):
    """Length, not root mean square."""
    w = x.float()
    return (w / torch.sqrt(w.square().sum(-1, keepdim=True) + eps) * gain).to(x.dtype)


def wrong_3_in_its_own_dtype(x, gain, eps):
    """Squares float16."""
    return (x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps) * gain).to(x.dtype)


def wrong_3_float32_returned(x, gain, eps):
    """Forgets to go back."""
    w = x.float()
    return w / torch.sqrt(w.square().mean(-1, keepdim=True) + eps) * gain


def wrong_3_no_keepdim(x, gain, eps):
    """Divides along the wrong dimension where shapes allow it."""
    w = x.float()
    return (w / torch.sqrt(w.square().mean(-1) + eps) * gain).to(x.dtype)


def wrong_3_gain_first(x, gain, eps):
    """Multiplies by the gain before the norm."""
    w = x.float() * gain
    return (w / torch.sqrt(w.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def correct_3_rsqrt(x, gain, eps):
    """By einsum and rsqrt."""
    w = x.to(torch.float32)
    mean_square = torch.einsum("...d,...d->...", w, w)[..., None] / x.shape[-1]
    return torch.mul(w * torch.rsqrt(mean_square + eps), gain).to(x.dtype)


def correct_3_length(x, gain, eps):
    """By the vector's length."""
    w = x.to(torch.float32)
    length = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
    return (w * gain / (length**2 / x.shape[-1] + eps) ** 0.5).type_as(x)


def wrong_4_root_as_constant(x, grad_y, eps):
    """Only the direct way."""
    return grad_y / torch.sqrt(x.square().mean(-1, keepdim=True) + eps)


def wrong_4_sum(x, grad_y, eps):
    """The sum where a mean belongs."""
    r = torch.sqrt(x.square().mean(-1, keepdim=True) + eps)
    return grad_y / r - x * (grad_y * x).sum(-1, keepdim=True) / r**3


def wrong_4_sign(x, grad_y, eps):
    """Adds the second way."""
    r = torch.sqrt(x.square().mean(-1, keepdim=True) + eps)
    return grad_y / r + x * (grad_y * x).mean(-1, keepdim=True) / r**3


def wrong_4_square(x, grad_y, eps):
    """Divides by r² only."""
    r = torch.sqrt(x.square().mean(-1, keepdim=True) + eps)
    return grad_y / r - x * (grad_y * x).mean(-1, keepdim=True) / r**2


def wrong_4_not_summed(x, grad_y, eps):
    """Only the own number's effect on the root: the diagonal of the Jacobian."""
    r = torch.sqrt(x.square().mean(-1, keepdim=True) + eps)
    return grad_y / r - grad_y * x * x / x.shape[-1] / r**3


def wrong_4_no_eps(x, grad_y, eps):
    """Forgets eps."""
    r = torch.sqrt(x.square().mean(-1, keepdim=True))
    return grad_y / r - x * (grad_y * x).mean(-1, keepdim=True) / r**3


def correct_4_by_y(x, grad_y, eps):
    """In terms of y."""
    s = torch.rsqrt((x * x).sum(-1, keepdim=True) / x.shape[-1] + eps)
    y = x * s
    return s * (grad_y - y * (grad_y * y).mean(-1, keepdim=True))


def correct_4_jacobian(x, grad_y, eps):
    """The D × D matrix of derivatives, and a product with it."""
    D = x.shape[-1]
    r = (x.square().mean(-1) + eps).sqrt()[..., None, None]
    J = torch.eye(D, dtype=x.dtype) / r - x[..., :, None] * x[..., None, :] / (D * r**3)
    return (J @ grad_y[..., None])[..., 0]


# Ours, written with the checker.


def wrong_1_library(x, positions, base):
    from blueberry_lib.model.position import apply_rope

    angle = positions[:, None] * base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    return apply_rope(x, angle.cos(), angle.sin())


def wrong_1_every_position_for_itself(x, positions, base):
    """Positions along the features."""
    half = x.shape[-1] // 2
    angle = positions * base ** (-torch.arange(half) / half)
    a, b = x.chunk(2, -1)
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def wrong_1_float64(x, positions, base):
    angle = positions.double()[:, None] * base ** (-torch.arange(0, x.shape[-1], 2).double() / x.shape[-1])
    a, b = x.chunk(2, -1)
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def wrong_3_torch_does_it(x, gain, eps):
    return F.rms_norm(x.float(), gain.shape, gain, eps).to(x.dtype)


def wrong_3_module(x, gain, eps):
    norm = torch.nn.RMSNorm(len(gain), eps=eps)
    norm.weight.data = gain
    return norm(x.float()).detach().to(x.dtype)


def wrong_3_float16_divided(x, gain, eps):
    """Squares in float32, but rounds the root to float16, where it is infinite or 0."""
    mean = x.float().square().mean(-1, keepdim=True) + eps
    return (x / mean.to(x.dtype).sqrt() * gain).to(x.dtype)


def wrong_4_autograd(x, grad_y, eps):
    x = x.detach().clone().requires_grad_()
    (x / (x.square().mean(-1, keepdim=True) + eps).sqrt()).backward(grad_y)
    return x.grad


def wrong_4_autograd_grad(x, grad_y, eps):
    x = x + torch.zeros((), dtype=x.dtype, requires_grad=True)
    y = F.rms_norm(x, x.shape[-1:], None, eps)
    return torch.autograd.grad(y, x, grad_y)[0]


def wrong_4_projection(x, grad_y, eps):
    """Projects on what is at a right angle to x, exactly: right only where eps is 0."""
    r = (x.square().mean(-1, keepdim=True) + eps).sqrt()
    unit = x / x.norm(dim=-1, keepdim=True)
    return (grad_y - unit * (grad_y * unit).sum(-1, keepdim=True)) / r


PLANTED = {
    "05.1": Planted(
        correct=[correct_1_complex, correct_1_rotate_half],
        wrong=[
            Wrong(wrong_1_neighbours, "neighbours", from_text=True),
            Wrong(wrong_1_other_way, "the other way", from_text=True),
            Wrong(wrong_1_counts_from_zero, "tokens counted", from_text=True),
            Wrong(wrong_1_exponent_without_2, "half the exponent", from_text=True),
            Wrong(wrong_1_overwrites_a, "mutated", from_text=True),
            Wrong(wrong_1_rising, "rising", from_text=True),
            Wrong(wrong_1_all_angles_equal, "one frequency", from_text=True),
            Wrong(wrong_1_library, "library"),
            Wrong(wrong_1_every_position_for_itself, "no column"),
            Wrong(wrong_1_float64, "dtype"),
        ],
    ),
    "05.2": Planted(
        correct=[11, 11.0, torch.tensor(11)],
        wrong=[
            Wrong(5, "Those turn by less than one radian. A full circle has 2π of them."),
            Wrong(21, "Those do complete a turn. The others are asked for."),
            Wrong(12, "One too many. Does your i run from 0 to 31, and not from 1?"),
            Wrong(11 / 32, "Asked for is the number of pairs, not their share."),
            Wrong(13, "value"),
            Wrong("11", "type"),
        ],
    ),
    "05.3": Planted(
        correct=[correct_3_rsqrt, correct_3_length],
        wrong=[
            Wrong(wrong_3_layer_norm, "layer norm", from_text=True),
            Wrong(wrong_3_eps_outside, "eps after the root", from_text=True),
            Wrong(wrong_3_sum, "a sum", from_text=True),
            Wrong(wrong_3_in_its_own_dtype, "float16", from_text=True),
            Wrong(wrong_3_float32_returned, "float32 returned", from_text=True),
            Wrong(wrong_3_no_keepdim, "no keepdim", from_text=True),
            Wrong(wrong_3_gain_first, "gain too early", from_text=True),
            Wrong(wrong_3_torch_does_it, "library"),
            Wrong(wrong_3_module, "library"),
            Wrong(wrong_3_float16_divided, "only float16"),
        ],
    ),
    "05.4": Planted(
        correct=[correct_4_by_y, correct_4_jacobian],
        wrong=[
            Wrong(wrong_4_root_as_constant, "root as a constant", from_text=True),
            Wrong(wrong_4_sum, "sum for mean", from_text=True),
            Wrong(wrong_4_sign, "sign", from_text=True),
            Wrong(wrong_4_square, "power of r", from_text=True),
            Wrong(wrong_4_not_summed, "own number alone", from_text=True),
            Wrong(wrong_4_no_eps, "no eps", from_text=True),
            Wrong(wrong_4_autograd, "library"),
            Wrong(wrong_4_autograd_grad, "library"),
            Wrong(wrong_4_projection, "projection"),
        ],
    ),
    "05.5": Planted(
        correct=[9.28, 9.297, torch.tensor(9.2816)],
        wrong=[
            Wrong(0.94, "That is the highest score at the trained distances. Look at 512 to 1,023."),
            Wrong(0.06, "That is with the distances divided. First leave them as they are."),
            Wrong(-1.25, "That is the lowest score beyond. The highest is asked for."),
            Wrong(8.0, "value"),
        ],
    ),
    "05.6": Planted(
        correct=["c", "C", "(c)"],
        wrong=[
            Wrong("a", "a"),
            Wrong("b", "b"),
            Wrong("d", "d"),
            Wrong("e", "e"),
            Wrong(3, "type"),
        ],
    ),
}
