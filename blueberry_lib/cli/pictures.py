"""What the commands of the picture models share."""

import argparse
from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Annotated

from tyro.conf import arg, subcommand

from blueberry_lib.images.training import preset


def command(
    argv: list[str], name: str, train: type, presets: dict[str, Callable], others: dict[str, type], about: str
) -> type:
    """``name`` with its subcommands, the defaults of its train those of the preset that ``argv`` names."""
    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--preset", default="digits")
    wanted = chosen.parse_known_args(argv if argv[:2] == [name, "train"] else [])[0].preset
    union = Annotated[train, subcommand("train", default=train(preset(presets, wanted), wanted))]
    for other, kind in others.items():
        union = union | Annotated[kind, subcommand(other)]
    made = make_dataclass(name.capitalize(), [("command", Annotated[union, arg(name="")])], frozen=True)
    made.__doc__, made.run = about, lambda self: self.command.run()
    return made


def labels_and_columns(sampling, data) -> tuple:
    """The labels (N,) that a sampling command asks for, all classes in turn if none, and the columns of its grid."""
    import torch

    from blueberry_lib.images.metrics import class_labels

    if sampling.class_grid:
        return class_labels(len(data.classes), sampling.samples_per_class), sampling.samples_per_class
    if sampling.class_label is not None:
        return torch.full((sampling.num_samples,), data.class_index(sampling.class_label)), 8
    return torch.arange(sampling.num_samples) % len(data.classes), 8
