"""A grid shows each picture where it belongs, and the PNG holds the very pixels."""

import numpy as np
import pytest
import torch

from blueberry_lib.images.grid import GAP, grid, write_png


def test_pictures_go_row_by_row_with_gaps_between():
    images = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 2, 3)
    canvas = grid(images, columns=3, scale=4)
    assert canvas.dtype == np.uint8 and canvas.shape == (2 + 2 * (8 + 2), 2 + 3 * (12 + 2), 3)
    for i, level in enumerate((0, 64, 128, 191, 255)):
        top, left = 2 + i // 3 * 10, 2 + i % 3 * 14
        assert (canvas[top : top + 8, left : left + 12] == level).all()
    assert (canvas[:2] == GAP).all() and (canvas[12:, 2 + 2 * 14 :] == GAP).all()  # and where a sixth would be


def test_colours_and_pixels_keep_their_places_and_values_beyond_the_range_are_cut():
    image = torch.full((1, 3, 2, 2), -1.0)
    image[0, 0, 0, 1], image[0, 2, 1, 0] = 3.0, 1.0
    canvas = grid(image, columns=1, scale=1)[1:-1, 1:-1]
    assert canvas[0, 1].tolist() == [255, 0, 0] and canvas[1, 0].tolist() == [0, 0, 255]
    assert canvas.sum() == 2 * 255


def test_the_png_holds_the_same_pixels_and_its_folder_is_made(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    canvas = grid(torch.rand(4, 3, 5, 5) * 2 - 1, columns=2, scale=3)
    write_png(tmp_path / "deep" / "grid.png", canvas)
    read = image.imread(tmp_path / "deep" / "grid.png")
    assert np.array_equal((read[..., :3] * 255).round().astype(np.uint8), canvas)
    write_png(tmp_path / "again.png", canvas)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "deep" / "grid.png").read_bytes()
