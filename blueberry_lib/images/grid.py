"""Pictures side by side, as pixels and as a PNG."""

from pathlib import Path

import numpy as np
from torch import Tensor

GAP = 200  # grey level between the pictures
HEIGHT = 40


def grid(images: Tensor, columns: int, scale: int | None = None) -> np.ndarray:
    """Lay out ``images`` (N, C, H, W) in [−1, 1], C being 1 or 3, row by row: (height, width, 3) uint8.

    Each pixel becomes a square of ``scale`` pixels, and a line of ``scale`` / 2 parts the pictures. Unset: pictures of
    at least HEIGHT, and of twice their own.
    """
    scale = scale or max(2, HEIGHT // images.shape[-2])
    pixels = ((images.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    pixels = pixels.permute(0, 2, 3, 1).numpy().repeat(scale, axis=1).repeat(scale, axis=2)  # (N, sH, sW, C)
    N, H, W, _ = pixels.shape
    gap = max(1, scale // 2)
    rows = -(-N // columns)
    canvas = np.full((gap + rows * (H + gap), gap + columns * (W + gap), 3), GAP, dtype=np.uint8)
    for i, picture in enumerate(pixels):
        top, left = gap + i // columns * (H + gap), gap + i % columns * (W + gap)
        canvas[top : top + H, left : left + W] = picture
    return canvas


def write_png(path: Path, array: np.ndarray) -> None:
    """Write (height, width, 3) uint8 as a PNG."""
    import matplotlib.image

    path.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.image.imsave(path, array, format="png", metadata={"Software": None})
