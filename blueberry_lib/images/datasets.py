"""Labelled images: real handwritten digits offline, CIFAR-10 from the Hub, a file of arrays or a folder of pictures."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blueberry_lib.config import BlueberryError, require
from blueberry_lib.data.shards import cache_folder

DIGITS_TRAIN = 1_200
CIFAR10 = "uoft-cs/cifar10"
PICTURES = {".jpg", ".jpeg", ".png"}
HELD_OUT_OF = 6  # of so many pictures of a class in a folder one is held out


@dataclass(frozen=True)
class ImageData:
    """Images (N, C, H, W) uint8, whole levels from 0 to ``levels`` − 1, and labels (N,) int64, split once into training
    and validation."""

    name: str
    train: Tensor
    train_labels: Tensor
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
        parts = (self.train, self.train_labels, self.val, self.val_labels)
        return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in parts)).hexdigest()

    def class_index(self, name: str) -> int:
        """The label of a class, given by its name or its number. Raises BlueberryError for another."""
        if name in self.classes:
            return self.classes.index(name)
        known = name.isdecimal() and int(name) < len(self.classes)
        require(known, f"There is no class {name!r}; there are {', '.join(self.classes)}.")
        return int(name)

    def scale(self, pixels: Tensor, size: int | None = None) -> Tensor:
        """Levels 0 … levels − 1 → float32 in [−1, 1], and with a ``size`` resized to size × size."""
        images = pixels.float() / ((self.levels - 1) / 2) - 1
        return images if size is None else resize(images, size, size)

    def round(self, images: Tensor) -> Tensor:
        """Images in [−1, 1], which may stray beyond → the nearest of the data's levels, as float32 in [−1, 1]."""
        steps = (self.levels - 1) / 2
        return ((images.float().clamp(-1, 1) + 1) * steps).round() / steps - 1


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) → (N, C, height, width), bilinearly; those of that size stay as they are."""
    same = images.shape[-2:] == (height, width)
    return images if same else F.interpolate(images, (height, width), mode="bilinear", antialias=True)


def load(spec: str, size: int = 32) -> ImageData:
    """``digits``; ``cifar10``; ``npz:PATH``, a file of x_train (N, H, W[, C]) uint8, y_train (N,), x_test, y_test and,
    if you like, label_names; or ``folder:PATH``, in which each class has a folder of JPEG and PNG files, the middle
    square of each picture scaled to ``size`` × ``size``. Raises BlueberryError for what it cannot read, and for
    images that cannot be learnt."""
    kind, _, path = spec.partition(":")
    if spec == "digits":
        return _digits()
    if spec == "cifar10":
        return _from_arrays(spec, _cifar10())
    known = kind in ("npz", "folder") and path
    require(known, f"There are no images {spec!r}; there are digits, cifar10, npz:PATH and folder:PATH.")
    file = Path(path).expanduser()
    return _from_arrays(spec, _read_npz(file) if kind == "npz" else _read_folder(file, size))


def _need(module: str, what: str, install: str) -> None:
    require(find_spec(module) is not None, f"{what}, which is not installed: pip install {install}.")


def _digits() -> ImageData:
    """scikit-learn's 1,797 digits of 8 × 8 pixels and 17 levels; the split is stratified and fixed."""
    _need("sklearn", "digits need scikit-learn", "'blueberry-lib[images]'")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images, names = pixels.astype(np.uint8).reshape(-1, 1, 8, 8), "zero one two three four five six seven eight nine"
    parts = train_test_split(images, labels.astype(np.int64), train_size=DIGITS_TRAIN, stratify=labels, random_state=0)
    train, val, train_labels, val_labels = map(torch.from_numpy, parts)
    return ImageData("digits", train, train_labels, val, val_labels, tuple(names.split()), 17)


def _cifar10() -> dict[str, np.ndarray]:
    """The Hub's 50,000 and 10,000 images, kept as one file in the cache."""
    path = cache_folder() / "cifar10.npz"
    if not path.exists():
        _need("datasets", "cifar10 needs datasets", "'blueberry-lib[hub]', or use digits")
        import datasets

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
    require(path.is_file(), f"There is no file {path}; expected arrays x_train, y_train, x_test and y_test in it.")
    try:
        if not zipfile.is_zipfile(path):  # numpy would take it for something else
            raise zipfile.BadZipFile("it is no archive of arrays")
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except (ValueError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise BlueberryError(f"{path} is no readable .npz: {error}. Write it anew with numpy.savez.") from None


def _read_folder(path: Path, size: int) -> dict[str, np.ndarray]:
    """Which pictures of a class are held out is decided by the hashes of their files; one alone is not."""
    _need("PIL", "folder: needs Pillow", "pillow")
    from PIL import Image, ImageOps

    def read(file: Path) -> np.ndarray:
        try:
            with Image.open(file) as image:
                whole = ImageOps.exif_transpose(image).convert("RGBA")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BlueberryError(f"{file} cannot be read as a picture ({error}): mend it, or take it away.") from None
        square = ImageOps.fit(whole, (size, size))
        return np.asarray(Image.alpha_composite(Image.new("RGBA", square.size, "white"), square).convert("RGB"))

    folders = sorted(f for f in path.glob("*/") if not f.name.startswith("."))
    require(folders, f"{path} holds no folders; expected one for each class, with its JPEG and PNG files.")
    train, test = [], []
    for label, folder in enumerate(folders):
        files = [f for f in folder.iterdir() if f.suffix.lower() in PICTURES and not f.name.startswith(".")]
        require(files, f"{folder} holds no JPEG or PNG file: put some there, or take the folder away.")
        found = sorted((hashlib.sha256(f.read_bytes()).hexdigest(), label, f) for f in files)
        few = min(len(found) - 1, -(-len(found) // HELD_OUT_OF))
        test += found[:few]
        train += found[few:]
    require(test, f"{path} has one picture for each class: give more, so that some can be held out.")
    arrays = {"label_names": np.array([folder.name for folder in folders])}
    for split, rows in (("train", sorted(train)), ("test", sorted(test))):
        arrays[f"x_{split}"] = np.stack([read(file) for *_, file in rows])
        arrays[f"y_{split}"] = np.array([label for _, label, _ in rows])
    if all((arrays[x][..., :1] == arrays[x]).all() for x in ("x_train", "x_test")):
        arrays |= {x: arrays[x][..., :1] for x in ("x_train", "x_test")}
    return arrays


def _from_arrays(spec: str, arrays: dict[str, np.ndarray]) -> ImageData:
    missing = {"x_train", "y_train", "x_test", "y_test"} - arrays.keys()
    require(not missing, f"{spec} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(arrays))}.")
    tensors = []
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        require(
            x.dtype == np.uint8 and x.ndim in (3, 4) and x.size and x.shape[3:] in ((), (1,), (3,)),
            f"{spec}: x_{split} is {x.dtype} of shape {x.shape}; expected uint8 (N, H, W) or (N, H, W, C), C being "
            "1 or 3, without transparency.",
        )
        whole = y.shape == x.shape[:1] and y.dtype.kind in "iu"
        require(whole, f"{spec}: y_{split} is {y.dtype} of shape {y.shape}; expected {len(x)} whole labels.")
        x = torch.from_numpy(x[..., None] if x.ndim == 3 else x)
        tensors += [x.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y.astype(np.int64))]
    train, train_labels, val, val_labels = tensors
    require(
        train.shape[1:] == val.shape[1:],
        f"{spec}: the images of x_train are {tuple(train.shape[1:])} and those of x_test {tuple(val.shape[1:])} "
        "(channels first); expected one shape.",
    )
    low, high = (int(bound) for bound in torch.cat((train_labels, val_labels)).aminmax())
    numbers = np.arange(min(high, len(train_labels)) + 1)
    names = tuple(str(name).strip() for name in np.ravel(arrays.get("label_names", numbers)))
    within, listed = low >= 0 and high < len(names), ", ".join(map(repr, names))
    require(within, f"{spec}: labels go from {low} to {high}, and there are {len(names)} names.")
    distinct = "" not in names and len({*names}) == len(names)
    require(distinct, f"{spec}: label_names are {listed}; expected another for each class.")
    unseen = [repr(names[c]) for c in range(len(names)) if not (train_labels == c).any()]
    require(
        not unseen,
        f"{spec}: no training image is labelled {', '.join(unseen[:5])}: count labels from 0, without a gap, and "
        "name only classes that have images.",
    )
    return ImageData(spec, *tensors, names, 256)
