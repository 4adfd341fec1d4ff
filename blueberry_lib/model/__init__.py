"""The transformer: attention, positions, feed-forward layers, the block, the model and its loss."""

from blueberry_lib.model.blueberry import Blueberry

__all__ = ["Blueberry"]
