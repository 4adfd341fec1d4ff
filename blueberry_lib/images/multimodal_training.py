"""A run of the transformer over text and image tokens, from a trained VQ-VAE and captions to its record."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim import Optimizer

from blueberry_lib.config import Amount, Count, Decay, ModelConfig, OptimizerConfig, ScheduleConfig, require
from blueberry_lib.data.tokens import load_tokenizer, tokenizer_hash
from blueberry_lib.hardware import Hardware, detect
from blueberry_lib.images.captions import HELD_OUT, TEMPLATES, Prompts, caption_tokenizer
from blueberry_lib.images.datasets import ImageData
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.metrics import Panel, class_labels
from blueberry_lib.images.multimodal import Multimodal
from blueberry_lib.images.training import ImageTraining, PictureRun, open_run, own_images
from blueberry_lib.images.vqvae import VQVAE
from blueberry_lib.images.vqvae_training import EVAL_IMAGES, VQVAERun, all_tokens, load_vqvae
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training.checkpoint import load_model

GRID_ROWS = 8
DIGITS = ModelConfig(vocab_size=512 + 64 + 2, context_length=64, n_layers=2, d_model=48, n_heads=4, d_ff=192)
TRAINING = ImageTraining(
    steps=1_200,
    optimizer=OptimizerConfig(muon_lr=0.02, adamw_lr=3e-3),
    schedule=ScheduleConfig(kind="wsd", warmup=0.02, decay=0.65),
)


@dataclass(frozen=True)
class Captioned:
    """Images as tokens, each of a class that has many captions, and what turns both into ids and back."""

    images: ImageData
    tokenizer: Tokenizer
    image_tokenizer: VQVAE
    prompts: Prompts
    held_out: Prompts
    strengths: tuple[float, ...]
    """Of the noise in each copy of a training image."""

    @cached_property
    def train(self) -> Tensor:
        """(N, copies, h, w)."""
        copies = [all_tokens(self.image_tokenizer, self.images, self.images.train, s) for s in self.strengths]
        return torch.stack(copies, dim=1)

    @cached_property
    def val(self) -> Tensor:
        """(N, h, w)."""
        return all_tokens(self.image_tokenizer, self.images, self.images.val)

    @property
    def train_labels(self) -> Tensor:
        return self.images.train_labels

    @torch.no_grad()
    def draw(self, model: Multimodal, prompts: Sequence[Sequence[int]], **settings) -> Tensor:
        """Images (B, C, H, W), on the CPU; ``settings`` as for ``Multimodal.sample``."""
        return self.image_tokenizer.decode(model.tokens(model.sample(prompts, **settings))).cpu()

    @cached_property
    def unigram(self) -> float:
        """Mean nats of a validation token if all that is known is how often each code stands at its place in its
        class; counts are raised by the constant that is best for the validation set."""
        train, val, codes = self.train[:, 0].flatten(1), self.val.flatten(1), self.image_tokenizer.config.codes
        seen = torch.zeros(len(self.images.classes), val.shape[1], codes).double()  # class, place, code
        place, one = torch.arange(val.shape[1]), seen.new_ones(())
        seen.index_put_((self.train_labels.unsqueeze(1), place, train), one, accumulate=True)
        candidates = [(seen + a) / (seen + a).sum(-1, keepdim=True) for a in (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0)]
        where = self.images.val_labels.unsqueeze(1), place, val
        return min(-shares[where].log().mean().item() for shares in candidates)


@dataclass(frozen=True)
class MultimodalRun(PictureRun):
    """A run of the transformer over text and images."""

    model: ModelConfig = DIGITS
    training: ImageTraining = TRAINING
    vqvae: str = "runs/vqvae-digits"
    """Folder of the image tokenizer's run."""
    tokenizer: str | None = None
    """Path of a tokenizer.json for the text; unset: a byte-level BPE is trained on the captions."""
    tokenizers_sha256: str = ""
    """Hash of both tokenizers; others are refused. A run notes its own here when it begins."""
    caption_dropout: Decay = 0.1
    """Share of the images whose caption is left out, for guidance."""
    text_weight: Amount = 0.1
    """Weight of a text token's loss beside an image token's."""
    copies: Count = 24
    """Times each training image is turned into tokens, each time with other noise in its pixels, so that it is seldom
    read twice in the same tokens; 1: once, without noise."""
    pixel_noise: Amount = 0.2
    """Standard deviation of the strongest of that noise."""
    token_noise: Decay = 0.1
    """Share of the tokens, of text and image, that are replaced by random ones before they are read."""

    @property
    def image_size(self) -> int:
        return open_run(VQVAERun, Path(self.vqvae))[0].image_size

    def captioned(self, images: ImageData, folder: Path, device: str) -> tuple[Captioned, str]:
        """What is trained on, and the hash of its tokenizers. The text's is the one in the run's folder, else the one
        that the config names, else one trained on the captions."""
        image_tokenizer, _, _ = load_vqvae(Path(self.vqvae), device)
        shape, own = image_tokenizer.config, folder / "tokenizer.json"
        room, named = self.model.vocab_size - shape.codes - 2, str(own) if own.exists() else self.tokenizer
        tokenizer = load_tokenizer(named) if named else caption_tokenizer(images.classes, room)
        require(
            tokenizer.get_vocab_size() <= room,
            f"The tokenizer has {tokenizer.get_vocab_size()} entries, and a vocabulary of {self.model.vocab_size} "
            f"leaves {room} beside {shape.codes} image codes and 2 marks: set --model.vocab-size to their sum.",
        )
        same = images.shape[0] == shape.channels
        require(same, f"{images.name} has {images.shape[0]} channels, {self.vqvae} takes {shape.channels}.")
        found = hashlib.sha256((image_tokenizer.sha256() + tokenizer_hash(tokenizer)).encode()).hexdigest()
        require(
            self.tokenizers_sha256 in ("", found),
            f"The run was trained on tokens of other tokenizers (hash {self.tokenizers_sha256[:12]}…, those of "
            f"{self.vqvae} and {own} have {found[:12]}…): restore them, or train anew.",
        )
        strengths, seg_start = (0.0, *[self.pixel_noise] * (self.copies - 1)), self.model.vocab_size - 2
        prompts = (Prompts(tokenizer, images.classes, templates, seg_start) for templates in (TEMPLATES, HELD_OUT))
        return Captioned(images, tokenizer, image_tokenizer, *prompts, strengths), found

    def prepare(self, images: ImageData, folder: Path, device: str, say: Callable) -> tuple["MultimodalRun", Captioned]:
        """Turns all images into tokens, the same ones for the same seed, and writes tokenizer.json."""
        learnt = open_run(VQVAERun, Path(self.vqvae))[0].training.data
        if learnt != self.training.data:
            say(f"The image tokenizer was trained on {learnt}, not on {self.training.data}.")
        data, found = self.captioned(images, folder, device)
        with torch.device("meta"):
            self.build(data).check_room(max(data.prompts.longest, data.held_out.longest))
        (folder / "tokenizer.json").write_text(data.tokenizer.to_str(), encoding="utf-8")
        return replace(self, vqvae=str(Path(self.vqvae).resolve()), tokenizers_sha256=found), data

    def build(self, data: Captioned) -> Multimodal:
        shape = data.image_tokenizer.config
        return Multimodal(self.model, shape.codes, shape.grid_size)

    def optimizers(self, model: Multimodal, dtype: torch.dtype) -> list[Optimizer]:
        return build_optimizers(model.transformer, self.training.optimizer, dtype)

    def loss(self, model: Multimodal, data: Captioned, batch: tuple[Tensor, Tensor]) -> Tensor:
        copies, labels = batch
        tokens = copies[torch.arange(len(labels)), torch.randint(copies.shape[1], (len(labels),))]
        ids = model.collate(data.prompts.draw(labels, self.caption_dropout), tokens, data.prompts.longest)
        ids = ids.to(model.transformer.cos.device)
        return model.loss(model(ids, self.token_noise), ids, self.text_weight)

    @torch.no_grad()
    def evaluate(
        self, model: Multimodal, data: Captioned, hardware: Hardware, folder: Path | None, batches: int | None = None
    ) -> dict:
        """Over the validation images, each with a held-out caption: ``loss``, nats an image token, ``text_loss``, nats
        a text token, ``unigram`` to compare with. Draws samples.png, a column a class."""
        rows, text, image = data.held_out.fixed(data.images.val_labels), 0.0, 0.0
        for part in torch.arange(len(rows)).split(EVAL_IMAGES)[:batches]:
            prompts, share = [rows[i] for i in part], len(part) / len(rows)
            ids = model.collate(prompts, data.val[part], data.held_out.longest).to(hardware.device)
            hidden = model(ids)
            text += share * model.loss(hidden, ids, 1.0, 0.0).item()
            image += share * model.loss(hidden, ids, 0.0).item()
        if folder and batches is None:
            labels = torch.arange(len(data.images.classes)).repeat(GRID_ROWS)
            pictures = data.draw(model, data.held_out.fixed(labels), seed=0)
            write_png(folder / "samples.png", grid(data.images.round(pictures), len(data.images.classes)))
        return {"loss": image, "text_loss": text, "unigram": data.unigram}


def cifar_small() -> MultimodalRun:
    """For 64 tokens of 512 codes on two CPU cores, in minutes."""
    model = ModelConfig(vocab_size=512 + 512 + 2, context_length=128, n_layers=4, d_model=128, n_heads=4, d_ff=512)
    training = replace(TRAINING, data="cifar10", batch_size=32, eval_every=200)
    return MultimodalRun(model, training, vqvae="runs/vqvae-cifar-small", copies=4)


def original() -> MultimodalRun:
    """The original's 40,380,928 parameters, of which the embedding is 25.7 M, for a GPU. Give it the text tokenizer of
    49,152 entries with --tokenizer."""
    model = ModelConfig(vocab_size=49_152 + 1_024 + 2, context_length=1_152, n_layers=8, d_ff=1_024)
    training = replace(TRAINING, data="cifar10", steps=20_000, batch_size=64, eval_every=2_000)
    return MultimodalRun(model, training, vqvae="runs/vqvae-original", copies=4)


PRESETS: dict[str, Callable[[], MultimodalRun]] = {"digits": MultimodalRun, "cifar-small": cifar_small, "40m": original}


def load_multimodal(path: Path, device: str = "cpu") -> tuple[Multimodal, MultimodalRun, Captioned, Path]:
    """The model of a run or checkpoint, its config, data and tokenizers, which must be unchanged, and its folder."""
    config, folder, checkpoint = open_run(MultimodalRun, path)
    data, _ = config.captioned(own_images(config, folder), folder, device)
    model = config.build(data)
    load_model(checkpoint, model)
    return model.to(device).eval(), config, data, folder


def measure(model: Multimodal, config: MultimodalRun, data: Captioned, samples: int = 1_000, seed: int = 0) -> dict:
    """``nats`` a validation token, with held-out captions; the share of ``samples`` that is ``well_formed``, with the
    mask and without; and the ``panel`` of 60 samples a class, generated from held-out captions, real, and Gaussian."""
    prompts, labels = data.held_out.fixed(torch.arange(samples) % len(data.images.classes)), len(data.images.classes)
    well_formed = {}
    for name, masked in {"masked": True, "unmasked": False}.items():
        ids = model.sample(prompts, seed=seed, masked=masked)
        well_formed[name] = model.well_formed(ids, prompts[0][0]).double().mean().item()
    labels = class_labels(len(data.images.classes))
    images = data.draw(model, data.held_out.fixed(labels), seed=seed)
    nats = config.evaluate(model, data, detect(model.transformer.cos.device.type), None)
    return {"nats": nats, "well_formed": well_formed, "panel": Panel(data.images).beside(images, labels)}
