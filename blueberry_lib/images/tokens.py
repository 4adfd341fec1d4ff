"""A data set's images as codes, stamped with the tokenizer that made them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from blueberry_lib.config import BlueberryError
from blueberry_lib.images.datasets import ImageData


@dataclass(frozen=True)
class ImageTokens:
    """A data set's images as codes, int64, and the hash of the tokenizer that made them."""

    train: Tensor
    """(N, copies, h, w)."""
    val: Tensor
    """(N, h, w)."""
    sha256: str

    def save(self, path: Path) -> None:
        save_file({"train": self.train, "val": self.val}, path, metadata={"sha256": self.sha256})

    @classmethod
    def load(cls, path: Path, sha256: str) -> "ImageTokens":
        """Raises BlueberryError unless the tokenizer of hash ``sha256`` made them."""
        try:
            with safe_open(path, "pt") as file:
                found, made_by = {name: file.get_tensor(name) for name in ("train", "val")}, file.metadata()["sha256"]
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise BlueberryError(f"{path} cannot be read: {error}. Start the run anew.") from None
        if made_by != sha256:
            raise BlueberryError(
                f"{path} was made by another image tokenizer (sha256 {made_by[:12]}…, this one has {sha256[:12]}…): "
                "restore that one, or start the run anew."
            )
        return cls(**found, sha256=made_by)


def unigram_nats(tokens: ImageTokens, data: ImageData, codes: int) -> float:
    """Mean nats of a validation token if all that is known is how often each code stands at its place in its class;
    counts are raised by the constant that is best for the validation set."""
    K, place = len(data.classes), torch.arange(tokens.val[0].numel())

    def cells(images: Tensor, labels: Tensor) -> Tensor:  # one number for each (class, place, code)
        return (labels.unsqueeze(1) * len(place) + place) * codes + images.flatten(1)

    counts = cells(tokens.train[:, 0], data.train_labels).flatten().bincount(minlength=K * len(place) * codes)
    seen, val = counts.view(K, -1, codes).double(), cells(tokens.val, data.val_labels)
    candidates = [(seen + a) / (seen + a).sum(-1, keepdim=True) for a in (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0)]
    return min(-shares.flatten()[val].log().mean().item() for shares in candidates)
