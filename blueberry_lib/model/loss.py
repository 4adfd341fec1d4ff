"""Cross-entropy whose logits never exist all at once."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blueberry_lib.hardware import compute_dtype


def rows_at_once(vocab_size: int, device: torch.device) -> int:
    """Rows of logits in one chunk: 8 MiB of float32 stay in a CPU's cache; a GPU wants more to do at once."""
    entries = 2**21 if device.type == "cpu" else 2**27
    return max(1, entries // vocab_size)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Loss and gradient of one chunk of rows at a time.

    The gradient of the logits is softmax − one-hot, known in the forward pass: so it is taken there, chunk
    by chunk, and the backward pass only scales. It is left unscaled until then, since a float16
    product of 1/N and a probability would round to zero.
    """

    @staticmethod
    def forward(
        ctx, hidden: Tensor, weight: Tensor, targets: Tensor, soft_cap: float, shares: Tensor | None, *mixture: Tensor
    ) -> Tensor:
        dtype = compute_dtype(hidden)
        rows = rows_at_once(len(weight), hidden.device)
        head = weight.to(dtype)
        differentiate = ctx.needs_input_grad[0]
        grad_hidden = torch.empty_like(hidden, dtype=dtype) if differentiate else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if differentiate else None
        grad_mixture = [torch.empty_like(part, dtype=torch.float32) for part in mixture]
        total = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), rows):
            x = hidden[start : start + rows].to(dtype)  # (rows, d)
            y = targets[start : start + rows, None]
            logits = (x @ head.T).float()  # (rows, V)
            if soft_cap:
                logits = soft_cap * torch.tanh(logits / soft_cap)
            log_probabilities = F.log_softmax(logits, dim=-1)
            share = 1.0 if shares is None else shares[start : start + rows, None]
            likelihoods = log_probabilities.gather(1, y)
            if mixture:
                kept, found = (part[start : start + rows, None].float() for part in mixture)
                of_head = likelihoods.exp()
                mixed = (kept * of_head + found).clamp_min(torch.finfo(torch.float32).tiny)
                likelihoods = mixed.log()
                for grad, part in zip(grad_mixture, (of_head, 1.0), strict=True):
                    grad[start : start + rows] = (-share * part / mixed).squeeze(1)
            total -= (share * likelihoods).sum()
            if differentiate:
                grad = log_probabilities.exp_()
                grad.scatter_add_(1, y, grad.new_full(y.shape, -1.0))
                if soft_cap:
                    grad *= 1 - (logits / soft_cap).square()
                if mixture:
                    grad *= kept * of_head / mixed
                grad = grad.to(dtype) if shares is None else (share * grad).to(dtype)
                grad_hidden[start : start + rows] = grad @ head
                grad_weight += grad.T @ x
        ctx.save_for_backward(grad_hidden, grad_weight, *grad_mixture)
        ctx.count, ctx.dtypes = len(hidden), (hidden.dtype, weight.dtype, *(part.dtype for part in mixture))
        return total / len(hidden)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        scale = grad_output / ctx.count
        grads = [g.mul_(scale).to(dtype) for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)]
        return *grads[:2], None, None, None, *grads[2:]


def chunked_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    soft_cap: float = 0.0,
    shares: Tensor | None = None,
    mixture: tuple[Tensor, ...] = (),
) -> Tensor:
    """Mean cross-entropy in nats of ``hidden @ weight.T`` against ``targets``.

    ``hidden`` (N, d), ``weight`` (V, d), ``targets`` (N,) integers. With ``soft_cap`` c the logits are
    c·tanh(logits / c); with ``shares`` (N,) each row's nats are multiplied by its own before the mean;
    with ``mixture``, kept and found, (N,) each, a target's probability p becomes kept · p + found. Equals
    ``F.cross_entropy`` on the full logits, which take N × V entries; here only ``rows_at_once`` rows exist at a time.
    The backward pass can run once.
    """
    return _ChunkedCrossEntropy.apply(hidden, weight, targets, soft_cap, shares, *mixture)
