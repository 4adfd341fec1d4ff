"""One run, from corpus to record: corpus → shards → batch → loss → update → record."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.shards import TokenData, prepare
from blueberry_lib.data.tokens import END_OF_TEXT, bytes_per_token, load_tokenizer
from blueberry_lib.generation import generate
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.plots import loss_figure
from blueberry_lib.speedrun.records import build_record
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.checkpoint import Checkpoints, load_model
from blueberry_lib.training.evaluation import token_evaluator
from blueberry_lib.training.folder import load_config, save_config, write_json
from blueberry_lib.training.log import Log
from blueberry_lib.training.run import begin

SAMPLE_PROMPTS = {"stdlib": ("", "\n\n\ndef", "\n\n\nclass", "\nimport"), "docs": ("", "Returns", "Parameters", "The")}
SAMPLE_TOKENS = 160


def load_run(folder: Path, device: str = "cpu") -> tuple[Blueberry, TrainConfig]:
    """The model of a run's newest checkpoint, in eval mode, and its config."""
    config = load_config(TrainConfig, folder)
    model = Blueberry(config.model)
    load_model(Checkpoints(folder / "checkpoints").latest(), model)
    return model.to(device).eval(), config


def run_tokenizer(folder: Path, path: Path | None, vocab_size: int) -> Tokenizer:
    """The tokenizer at ``path``, which must fit the model, else the run's own."""
    chosen = path or folder / "tokenizer.json"
    if not chosen.is_file():
        raise BlueberryError(f"There is no {chosen}; name the tokenizer with --tokenizer PATH.")
    tokenizer = load_tokenizer(chosen)
    if path and tokenizer.get_vocab_size() != vocab_size:
        raise BlueberryError(
            f"{chosen} has {tokenizer.get_vocab_size()} entries and the model {vocab_size}: it is another tokenizer."
        )
    return tokenizer


def check_vocabulary(config: TrainConfig, data: TokenData) -> None:
    if config.model.vocab_size != data.vocab_size:
        raise BlueberryError(
            f"The data has a vocabulary of {data.vocab_size} and the model one of {config.model.vocab_size}: "
            f"pass --model.vocab-size {data.vocab_size}, or the tokenizer the model was made for."
        )


def run(
    config: TrainConfig, folder: Path, resume: bool = False, say: Callable[[str], None] = print, quiet: bool = False
) -> dict:
    """Train as ``config`` says, into ``folder``; returns the record.

    Writes config.json, tokenizer.json, log.jsonl, checkpoints/, record.json, loss.png and samples.txt. With
    ``resume`` the run in ``folder`` goes on from its newest checkpoint.
    """
    hardware, clock = begin(config.device, config.precision)
    say(f"{hardware.name}, {str(hardware.compute_dtype).removeprefix('torch.')}; preparing {config.data} …")
    data = prepare(config.data, config.model.vocab_size, config.tokenizer, config.train_tokens)
    check_vocabulary(config, data)
    tokenizer = data.tokenizer()
    if not resume:
        save_config(folder, config)
        if tokenizer:
            (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")

    torch.manual_seed(config.seed)
    model = Blueberry(config.model).to(hardware.device)
    if config.weights == "bfloat16":
        for p in model.parameters():  # and not model.to: the tables of rotary positions keep their digits
            p.data = p.data.bfloat16()
    params = sum(p.numel() for p in model.parameters())
    if config.compile == "yes" or (config.compile == "auto" and hardware.device == "cuda"):
        model.hidden = torch.compile(model.hidden, dynamic=False)
    batches = TokenBatches(
        data.train,
        config.batch_size,
        config.model.context_length,
        config.seed,
        hardware.device,
        config.windows,
        config.contexts,
    )
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.latest_step() if resume else None
    log = Log(folder / "log.jsonl", step)
    say(
        f"{params:,} parameters, {config.train_tokens:,} of {len(data.train):,} tokens, {config.total_steps} steps"
        f" of {config.tokens_per_step:,}; writing to {folder}" + (f"; going on after step {step}" if resume else "")
    )
    result = fit(
        model,
        batches,
        lambda model, batch: model(*batch),
        build_optimizers(model, config.optimizer, hardware.compute_dtype),
        lambda step: learning_rate_factor(config.schedule, step, config.total_steps),
        LoopConfig(
            total_steps=config.total_steps,
            accumulation=config.accumulation,
            clip_norm=config.optimizer.clip_norm,
            target_loss=config.target_loss,
            eval_every=config.eval_every,
            checkpoint_every=config.checkpoint_every,
            flops_per_unit=flops_per_token(config.model, *config.contexts),
        ),
        hardware,
        evaluate=evaluator(config, data, hardware.device, hardware.compute_dtype),
        checkpoints=checkpoints,
        resume=resume,
        log=log,
        clock=clock,
        quiet=quiet,
    )
    log.close()
    record = build_record(config, result, clock, hardware, data, params)
    write_json(folder / "record.json", record)
    loss_figure([record], folder / "loss.png")
    if tokenizer:
        trained, _ = load_run(folder, hardware.device)
        prompts = SAMPLE_PROMPTS.get(config.data, ("", "The"))
        (folder / "samples.txt").write_text(draw_samples(trained, tokenizer, prompts), encoding="utf-8")
    return record


def evaluator(config: TrainConfig, data: TokenData, device: str, dtype: torch.dtype) -> Callable[..., dict]:
    """The evaluation of a run: its validation tokens, at the model's context."""
    tokenizer = data.tokenizer()
    return token_evaluator(
        data.val,
        config.validation_tokens,
        config.model.context_length,
        bytes_per_token(tokenizer) if tokenizer else None,
        device,
        dtype,
    )


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """A prompt's ids after an end-of-text token, as a document begins."""
    return [tokenizer.token_to_id(END_OF_TEXT), *tokenizer.encode(prompt, add_special_tokens=False).ids]


def draw_samples(model: Blueberry, tokenizer: Tokenizer, prompts: Sequence[str], seed: int = 0) -> str:
    """A continuation of each prompt, as text with a rule between."""
    ids = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    room = model.config.context_length - max(map(len, ids))
    new = generate(
        model, ids, min(SAMPLE_TOKENS, room), temperature=1.0, top_p=0.95, stop_tokens={ids[0][0]}, seed=seed
    )
    texts = [(prompt + tokenizer.decode(row)).strip() for prompt, row in zip(prompts, new, strict=True)]
    return ("\n" + "─" * 72 + "\n").join(texts) + "\n"
