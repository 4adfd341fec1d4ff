"""The training loop and what it needs: clock, evaluation, checkpoints, log."""

from blueberry_lib.training.loop import Interrupted, LoopConfig, Result, fit

__all__ = ["Interrupted", "LoopConfig", "Result", "fit"]
