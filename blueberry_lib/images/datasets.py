"""Labelled images: real handwritten digits offline, CIFAR-10 from the Hub, or a file of arrays."""

import hashlib
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.shards import cache_folder

DIGITS_TRAIN = 1_200
CIFAR10 = "uoft-cs/cifar10"


@dataclass(frozen=True)
class ImageData:
    """Images and labels, split once into training and validation."""

    name: str
    train: Tensor
    """(N, C, H, W) uint8, whole levels from 0 to ``levels`` − 1."""
    train_labels: Tensor
    """(N,) int64."""
    val: Tensor
    val_labels: Tensor
    classes: tuple[str, ...]
    levels: int
    """Values a pixel can take: 17 for digits, 256 elsewhere."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return tuple(self.train.shape[1:])

    @cached_property
    def sha256(self) -> str:
        """One hash over all pixels and labels."""
        digest = hashlib.sha256()
        for tensor in (self.train, self.train_labels, self.val, self.val_labels):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def class_index(self, name: str) -> int:
        """The label of a class, given by its name or its number. Raises BlueberryError for another."""
        if name in self.classes:
            return self.classes.index(name)
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        raise BlueberryError(f"There is no class {name!r}; there are {', '.join(self.classes)}.")

    def scale(self, pixels: Tensor) -> Tensor:
        """Levels 0 … levels − 1 → float32 in [−1, 1]."""
        return pixels.float() / ((self.levels - 1) / 2) - 1

    def round(self, images: Tensor) -> Tensor:
        """Images in [−1, 1], which may stray beyond → the nearest of the data's levels, as float32 in [−1, 1]."""
        steps = (self.levels - 1) / 2
        return ((images.float().clamp(-1, 1) + 1) * steps).round() / steps - 1


def load(spec: str) -> ImageData:
    """``digits``, ``cifar10`` or ``npz:PATH``, a file of x_train (N, H, W[, C]) uint8, y_train (N,), x_test, y_test
    and, if you like, label_names. Raises BlueberryError for what it cannot read."""
    if find_spec("sklearn") is None:
        raise BlueberryError("Pictures need scikit-learn, which is not installed: pip install 'blueberry-lib[images]'.")
    kind, _, path = spec.partition(":")
    if kind == "digits":
        return _digits()
    if kind == "cifar10":
        return _from_arrays(spec, _cifar10())
    if kind == "npz" and path:
        return _from_arrays(spec, _read_npz(Path(path)))
    raise BlueberryError(f"There are no images {spec!r}; there are digits, cifar10 and npz:PATH.")


def _digits() -> ImageData:
    """scikit-learn's 1,797 digits of 8 × 8 pixels and 17 levels; the split is stratified and fixed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels, labels, train_size=DIGITS_TRAIN, stratify=labels, random_state=0)
    train, val, train_labels, val_labels = (torch.from_numpy(part) for part in parts)
    return ImageData(
        "digits",
        train.to(torch.uint8).view(-1, 1, 8, 8),
        train_labels.long(),
        val.to(torch.uint8).view(-1, 1, 8, 8),
        val_labels.long(),
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        17,
    )


def _cifar10() -> dict[str, np.ndarray]:
    """The Hub's 50,000 and 10,000 images, kept as one file in the cache."""
    path = cache_folder() / "cifar10.npz"
    if not path.exists():
        try:
            import datasets
        except ImportError:
            raise BlueberryError(
                "cifar10 needs `datasets`, which is not installed: pip install 'blueberry-lib[hub]', or use digits."
            ) from None
        try:
            splits = datasets.load_dataset(CIFAR10)
        except (OSError, ValueError, RuntimeError) as error:
            raise BlueberryError(
                f"{CIFAR10} could not be read from the Hub ({' '.join(str(error).split())[:120]}). Use digits, "
                "which need no network, or npz:PATH for a local copy."
            ) from None
        arrays = {"label_names": np.array(splits["train"].features["label"].names)}
        for name, rows in splits.items():
            arrays[f"x_{name}"] = np.stack([np.asarray(image) for image in rows["img"]])
            arrays[f"y_{name}"] = np.array(rows["label"])
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_name(".building.npz")
        np.savez_compressed(building, **arrays)
        building.replace(path)
    return _read_npz(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise BlueberryError(f"There is no file {path}; expected arrays x_train, y_train, x_test and y_test in it.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise BlueberryError(f"{path} is no readable .npz: {error}. Write it anew with numpy.savez.") from None


def _from_arrays(spec: str, arrays: dict[str, np.ndarray]) -> ImageData:
    missing = {"x_train", "y_train", "x_test", "y_test"} - arrays.keys()
    if missing:
        raise BlueberryError(f"{spec} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(arrays))}.")
    tensors = []
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.ndim not in (3, 4) or not len(x):
            raise BlueberryError(
                f"{spec}: x_{split} is {x.dtype} of shape {x.shape}; expected uint8 (N, H, W) or (N, H, W, C)."
            )
        if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
            raise BlueberryError(f"{spec}: y_{split} is {y.dtype} of shape {y.shape}; expected {len(x)} whole labels.")
        x = torch.from_numpy(x[..., None] if x.ndim == 3 else x)
        tensors += [x.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y.astype(np.int64))]
    train, train_labels, val, val_labels = tensors
    if train.shape[1:] != val.shape[1:]:
        raise BlueberryError(
            f"{spec}: the images of x_train are {tuple(train.shape[1:])} and those of x_test {tuple(val.shape[1:])} "
            "(channels first); expected one shape."
        )
    low, high = (int(bound) for bound in torch.cat((train_labels, val_labels)).aminmax())
    names = tuple(str(name) for name in arrays.get("label_names", range(high + 1)))
    if low < 0 or high >= len(names):
        raise BlueberryError(f"{spec}: labels go from {low} to {high}, and there are {len(names)} names.")
    return ImageData(spec, *tensors, names, 256)
