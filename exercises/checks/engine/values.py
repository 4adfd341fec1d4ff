"""Inputs and results of an answer: copied, compared, and shown in a line."""

import copy
import math
from dataclasses import dataclass

import torch

LONGEST = 160
TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 2e-2, torch.float32: 1e-4, torch.float64: 1e-7}


@dataclass(frozen=True)
class Raised:
    """An exception that an answer ended with."""

    error: Exception

    def __str__(self) -> str:
        return cut(f"{type(self.error).__name__}: {self.error}")


def cut(text: str) -> str:
    """A text that is not too long to be shown."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def fresh(value):
    """A deep copy that shares nothing, gradient flags and generator states included."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return torch.Generator().set_state(value.get_state())
    if isinstance(value, list | tuple):
        return type(value)(fresh(item) for item in value)
    return copy.deepcopy(value)


def noncontiguous(value):
    """The same values, spread over memory with gaps."""
    if isinstance(value, torch.Tensor) and value.dim():
        spread = torch.stack([value.detach(), torch.zeros_like(value)], dim=-1)[..., 0]
        return spread.requires_grad_(value.requires_grad)
    return value


def difference(expected, got, tolerance: float | None) -> str:
    """Which stage two results part at: "" (they agree), crashed, type, shape, dtype or value."""
    if isinstance(expected, Raised) or isinstance(got, Raised):
        both = isinstance(expected, Raised) and isinstance(got, Raised)
        return "" if both and type(expected.error) is type(got.error) else "crashed"
    if isinstance(expected, tuple | list):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            return "type"
        found = [difference(e, g, tolerance) for e, g in zip(expected, got, strict=True)]
        return next((stage for stage in ("type", "device", "shape", "dtype", "value") if stage in found), "")
    if isinstance(expected, torch.Tensor):
        if not isinstance(got, torch.Tensor) or got.layout != expected.layout:
            return "type"
        if got.device != expected.device:
            return "device"
        if got.shape != expected.shape:
            return "shape"
        if got.dtype != expected.dtype:
            return "dtype"
        if expected.dtype == torch.bool:  # torch has no abs of it
            return "" if torch.equal(expected, got) else "value"
        relative = TOLERANCE.get(expected.dtype, 0.0) if tolerance is None else tolerance
        scale = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0.0
        close = torch.allclose(got, expected, rtol=relative, atol=relative * min(scale, 1.0), equal_nan=True)
        return "" if close else "value"
    if isinstance(expected, bool | str | None) or not isinstance(expected, int | float):
        return "" if got == expected else "type" if type(got) is not type(expected) else "value"
    number = as_number(got)
    if number is None:
        return "type"
    relative = (0.0 if isinstance(expected, int) else 1e-5) if tolerance is None else tolerance
    within = math.isfinite(expected) and abs(number - expected) <= relative * max(abs(expected), 1e-6)
    return "" if number == expected or within else "value"


def as_number(value) -> float | None:
    """A number, or a tensor of one entry, as a float; None for anything else, strings too."""
    try:
        return None if isinstance(value, str | bytes | bytearray) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def show(value, limit: int = 24) -> str:
    """A value in one short line: small tensors in full, others by shape and dtype."""
    if isinstance(value, torch.Tensor):
        if value.numel() > limit or value.device.type != "cpu" or value.layout != torch.strided:
            return kind(value).split(" ", 1)[1]
        if value.is_floating_point():
            return str(_rounded(value.detach().tolist()))
        return str(value.tolist())
    if isinstance(value, tuple | list) and any(isinstance(item, torch.Tensor) for item in value):
        return "(" + ", ".join(show(item, limit) for item in value) + ")"
    if isinstance(value, float):
        return f"{value:.6g}"
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return str(value) if isinstance(value, Raised) else cut(repr(value))


def _rounded(values):
    return [_rounded(value) for value in values] if isinstance(values, list) else float(f"{values:.4g}")


def kind(value) -> str:
    """The type of a result as a message names it."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        layout = "" if value.layout == torch.strided else str(value.layout).removeprefix("torch.") + " "
        device = "" if value.device.type == "cpu" else f" on {value.device}"
        article = "an" if (layout + dtype)[0] == "i" else "a"
        return f"{article} {layout}{dtype} tensor of shape {tuple(value.shape)}{device}"
    if isinstance(value, tuple | list):
        return cut(f"{len(value)} values ({', '.join(map(kind, value))})")
    return "None (is a return missing?)" if value is None else cut(f"{type(value).__name__} {value!r}")


def size(arguments) -> int:
    return sum(size(a) if isinstance(a, list | tuple) else getattr(a, "numel", lambda: 1)() for a in arguments)
