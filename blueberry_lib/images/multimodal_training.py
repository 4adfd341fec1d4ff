"""A run of the transformer over text and image tokens, from a trained VQ-VAE and captions to its record."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from blueberry_lib.config import BlueberryError, ModelConfig, OptimizerConfig, ScheduleConfig
from blueberry_lib.data.batches import RowBatches
from blueberry_lib.data.tokens import load_tokenizer, tokenizer_hash
from blueberry_lib.images import vqvae_training
from blueberry_lib.images.captions import HELD_OUT, TEMPLATES, Prompts, caption_tokenizer, prompt
from blueberry_lib.images.datasets import ImageData, load
from blueberry_lib.images.grid import grid, write_png
from blueberry_lib.images.metrics import Panel, class_labels
from blueberry_lib.images.multimodal import Multimodal, digits, multimodal_40m
from blueberry_lib.images.tokens import ImageTokens, unigram_nats
from blueberry_lib.images.training import ImageTraining, check_data, load_trained, start, train
from blueberry_lib.images.vqvae import VQVAE
from blueberry_lib.images.vqvae_training import all_tokens
from blueberry_lib.optim.hybrid import build_optimizers

EVAL_IMAGES = 256
GRID_ROWS = 8


def _training() -> ImageTraining:
    return ImageTraining(
        steps=1_200,
        optimizer=OptimizerConfig(muon_lr=0.02, adamw_lr=3e-3),
        schedule=ScheduleConfig(kind="wsd", warmup=0.02, decay=0.65),
    )


@dataclass(frozen=True)
class MultimodalRun:
    """A run of the transformer over text and images."""

    model: ModelConfig = field(default_factory=digits)
    training: ImageTraining = field(default_factory=_training)
    vqvae: str = "runs/vqvae-digits"
    """Folder of the image tokenizer's run."""
    tokenizer: str | None = None
    """Path of a tokenizer.json for the text; unset: a byte-level BPE is trained on the captions."""
    caption_dropout: float = 0.1
    """Share of the images whose caption is left out, for guidance."""
    text_weight: float = 0.1
    """Weight of a text token's loss beside an image token's."""
    copies: int = 24
    """Times each training image is turned into tokens, each time with other noise in its pixels, so that it is seldom
    read twice in the same tokens; 1: once, without noise."""
    pixel_noise: float = 0.2
    """Standard deviation of the strongest of that noise."""
    token_noise: float = 0.1
    """Share of the tokens, of text and image, that are replaced by random ones before they are read."""

    def __post_init__(self) -> None:
        if not (0 <= self.caption_dropout < 1 and 0 <= self.token_noise < 1):
            raise BlueberryError("caption_dropout and token_noise must lie in [0, 1).")
        if self.copies < 1:
            raise BlueberryError(f"copies is {self.copies}; it must be at least 1.")


def cifar_small() -> MultimodalRun:
    """For 64 tokens of 512 codes on two CPU cores, in minutes."""
    model = ModelConfig(vocab_size=512 + 512 + 2, context_length=128, n_layers=4, d_model=128, n_heads=4, d_ff=512)
    training = replace(_training(), data="cifar10", steps=1_200, batch_size=32, eval_every=200)
    return MultimodalRun(model, training, vqvae="runs/vqvae-cifar-small", copies=4)


def original() -> MultimodalRun:
    """The original's 40 M model, for a GPU. Give it the text tokenizer of 49,152 entries with --tokenizer."""
    training = replace(_training(), data="cifar10", steps=20_000, batch_size=64, eval_every=2_000)
    return MultimodalRun(multimodal_40m(), training, vqvae="runs/vqvae-original", copies=4)


PRESETS: dict[str, Callable[[], MultimodalRun]] = {
    "digits": MultimodalRun,
    "cifar-small": cifar_small,
    "40m": original,
}


def stamp(image_tokenizer: VQVAE, tokenizer: Tokenizer) -> str:
    """One hash over both tokenizers."""
    return hashlib.sha256((image_tokenizer.sha256() + tokenizer_hash(tokenizer)).encode()).hexdigest()


def text_tokenizer(config: MultimodalRun, classes: tuple[str, ...], codes: int) -> Tokenizer:
    """The tokenizer a run names, else one trained on its captions; it must leave room for image tokens."""
    room = config.model.vocab_size - codes - 2
    tokenizer = load_tokenizer(config.tokenizer) if config.tokenizer else caption_tokenizer(classes, room)
    if tokenizer.get_vocab_size() > room:
        raise BlueberryError(
            f"The tokenizer has {tokenizer.get_vocab_size()} entries, and a vocabulary of {config.model.vocab_size} "
            f"leaves {room} beside {codes} image codes and 2 marks: set --model.vocab-size to their sum."
        )
    return tokenizer


def evaluator(
    data: ImageData, tokens: ImageTokens, prompts: Prompts, image_tokenizer: VQVAE, folder: Path | None, device: str
) -> Callable[..., dict]:
    """An ``evaluate(model)`` over the validation images, each with a held-out caption: ``loss``, nats an image token,
    ``text_loss``, nats a text token, ``unigram`` to compare with. Writes samples.png, a column a class."""
    unigram = unigram_nats(tokens, data, image_tokenizer.config.codes)
    rows, lengths = prompts.padded(prompts.fixed(data.val_labels))

    @torch.no_grad()
    def evaluate(model: nn.Module, batches: int | None = None) -> dict:
        text, image = 0.0, 0.0
        for part in torch.arange(len(rows)).split(EVAL_IMAGES)[:batches]:
            losses = model(rows[part].to(device), lengths[part].to(device), tokens.val[part].to(device))
            text, image = (a + len(part) / len(rows) * b.item() for a, b in zip((text, image), losses, strict=True))
        if folder and batches is None:
            labels = torch.arange(len(data.classes)).repeat(GRID_ROWS)
            ids = model.sample(prompts.fixed(labels), seed=0)
            images = data.round(image_tokenizer.decode(model.codes(ids)))
            write_png(folder / "samples.png", grid(images, len(data.classes)))
        return {"loss": image, "text_loss": text, "unigram": unigram}

    return evaluate


def run(
    config: MultimodalRun, folder: Path, resume: bool = False, say: Callable[[str], None] = print, quiet: bool = False
) -> dict:
    """Train as ``config`` says, into ``folder``; returns the record. Writes tokenizer.json and tokens.safetensors
    beside what every run of a picture model has."""
    data, hardware, clock = start(config.training)
    device = hardware.device
    image_tokenizer, tokenized, _ = vqvae_training.load_run(Path(config.vqvae), device)
    if tokenized.training.data != config.training.data:
        say(f"The image tokenizer was trained on {tokenized.training.data}, not on {config.training.data}.")
    codes, path = image_tokenizer.config.codes, folder / "tokens.safetensors"
    tokenizer = text_tokenizer(config, data.classes, codes)
    if resume:
        tokens = ImageTokens.load(path, image_tokenizer.sha256())
    else:
        strengths = [0.0] + [config.pixel_noise] * (config.copies - 1)
        copies = [all_tokens(image_tokenizer, data, data.train, device, strength) for strength in strengths]
        val = all_tokens(image_tokenizer, data, data.val, device)
        tokens = ImageTokens(torch.stack(copies, dim=1), val, image_tokenizer.sha256())
        tokens.save(path)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    torch.manual_seed(config.training.seed)
    made_of = stamp(image_tokenizer, tokenizer)
    model = Multimodal(config.model, codes, image_tokenizer.config.grid_size, made_of).to(device)
    prompts = Prompts(tokenizer, data.classes, TEMPLATES, model.seg_start)
    held_out = Prompts(tokenizer, data.classes, HELD_OUT, model.seg_start)
    batches = RowBatches([tokens.train, data.train_labels], config.training.batch_size, config.training.seed)

    def loss_fn(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        images = images[torch.arange(len(labels)), torch.randint(images.shape[1], (len(labels),))]
        rows, lengths = prompts.padded(prompts.draw(labels, config.caption_dropout))
        text, image = model(rows.to(device), lengths.to(device), images.to(device), config.token_noise)
        return image + config.text_weight * text

    return train(
        config, folder, data, model, batches, loss_fn,
        build_optimizers(model.transformer, config.training.optimizer, hardware.compute_dtype), hardware, clock,
        evaluate=evaluator(data, tokens, held_out, image_tokenizer, folder, device),
        resume=resume, say=say, quiet=quiet,
    )  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """All that a finished run needs to draw pictures."""

    model: Multimodal
    tokenizer: Tokenizer
    image_tokenizer: VQVAE
    config: MultimodalRun
    folder: Path

    def prompt(self, text: str) -> list[int]:
        return prompt(self.tokenizer, text, self.model.seg_start)

    def class_prompts(self, labels: Tensor, classes: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list:
        """A caption of each label (B,), as ids."""
        return Prompts(self.tokenizer, classes, templates, self.model.seg_start).fixed(labels)

    @torch.no_grad()
    def draw(self, prompts: Sequence[Sequence[int]], quiet: bool = True, **settings) -> Tensor:
        """Images (B, C, H, W), on the CPU; ``settings`` as for ``Multimodal.sample``."""
        ids = self.model.sample(prompts, quiet=quiet, **settings)
        return self.image_tokenizer.decode(self.model.codes(ids)).cpu()


def load_run(path: Path, device: str = "cpu") -> Trained:
    """What a run, or one of its checkpoints, at ``path`` has learnt. Raises BlueberryError where the tokenizers are no
    longer those it was trained with."""
    parts = {}

    def build(config: MultimodalRun, folder: Path) -> nn.Module:
        parts["tokenizer"] = load_tokenizer(folder / "tokenizer.json")
        parts["image_tokenizer"], _, _ = vqvae_training.load_run(Path(config.vqvae), device)
        shape = parts["image_tokenizer"].config
        made_of = stamp(parts["image_tokenizer"], parts["tokenizer"])
        return Multimodal(config.model, shape.codes, shape.grid_size, made_of)

    model, config, folder = load_trained(MultimodalRun, path, build, device)
    return Trained(model, **parts, config=config, folder=folder)


def measure(trained: Trained, samples: int = 1_000, seed: int = 0) -> dict:
    """``nats`` a validation token, with held-out captions; the share of ``samples`` that is ``well_formed``, with the
    mask and without; and the ``panel`` of 60 samples a class, generated from held-out captions, real, and Gaussian."""
    data, model, device = load(trained.config.training.data), trained.model, trained.model.transformer.cos.device
    check_data(trained.folder, data)
    tokens = ImageTokens.load(trained.folder / "tokens.safetensors", trained.image_tokenizer.sha256())
    held_out = Prompts(trained.tokenizer, data.classes, HELD_OUT, model.seg_start)
    nats = evaluator(data, tokens, held_out, trained.image_tokenizer, None, str(device))(model)
    prompts = held_out.fixed(torch.arange(samples) % len(data.classes))
    ids = {masked: model.sample(prompts, seed=seed, masked=masked) for masked in (True, False)}
    well_formed = {m: model.well_formed(i, prompts[0][0]).double().mean().item() for m, i in ids.items()}
    labels, panel = class_labels(len(data.classes)), Panel(data)
    images = trained.draw(held_out.fixed(labels), seed=seed)
    return {
        "nats": nats,
        "well_formed": {"masked": well_formed[True], "unmasked": well_formed[False]},
        "panel": {"generated": panel(images, labels), "real": panel.real(), "gaussian": panel.gaussian()},
    }
