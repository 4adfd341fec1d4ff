"""Blueberry: build and train a small language model, then an image model, from nothing."""

__version__ = "0.1.0"
