"""One run, from corpus to record: corpus → shards → batch → loss → update → record."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from blueberry_lib import scaling
from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.data.batches import TokenBatches
from blueberry_lib.data.prepare import prepare
from blueberry_lib.data.shards import TokenData, load
from blueberry_lib.data.tokens import END_OF_TEXT, bytes_per_token, load_tokenizer
from blueberry_lib.generation import generate
from blueberry_lib.hardware import detect
from blueberry_lib.model import Blueberry
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.plots import loss_figure
from blueberry_lib.speedrun.records import build_record
from blueberry_lib.training import LoopConfig, fit
from blueberry_lib.training.checkpoint import Checkpoints, load_model
from blueberry_lib.training.evaluation import token_evaluator
from blueberry_lib.training.folder import load_config, read_json, save_config, write_json
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
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise BlueberryError(f"{chosen} has no {END_OF_TEXT} token, with which a text begins: it is another tokenizer.")
    check_vocabulary(str(chosen), tokenizer.get_vocab_size(), vocab_size, "it is another tokenizer")
    return tokenizer


def check_vocabulary(what: str, found: int, model: int, advice: str) -> None:
    """Raises BlueberryError for a vocabulary larger than the model's; a smaller one leaves entries unused."""
    if found > model:
        raise BlueberryError(f"{what} has a vocabulary of {found} and the model one of {model}: {advice}.")


def note_data(folder: Path, config: TrainConfig, data: TokenData, resume: bool) -> None:
    """Write data.json, what a run reads; with ``resume``, raise BlueberryError unless it says the same."""
    shards = str(data.folder.resolve()) if "revisions" in data.manifest else None  # of the Hub: not fetched twice
    note = {"name": config.data, "sha256": data.sha256, "tokenizer_sha256": data.manifest["tokenizer_sha256"]}
    noted = read_json(folder / "data.json") if resume else note
    for name, what in {"sha256": "tokens", "tokenizer_sha256": "tokenizer"}.items():
        if noted[name] != note[name]:
            raise BlueberryError(
                f"{config.data} no longer gives the {what} that {folder} began with: restore the files, or train anew."
            )
    write_json(folder / "data.json", {**note, "shards": shards})


def evaluation_data(folder: Path, config: TrainConfig, corpus: str | None, tokenizer: str | None) -> TokenData:
    """What a run's model is measured on: its own data or another ``corpus``, in its own tokenizer unless one is named.

    Says on stderr if the run's corpus is no longer what it was trained on.
    """
    own, note = folder / "tokenizer.json", folder / "data.json"
    noted = read_json(note) if not (corpus or tokenizer) and note.exists() else {}
    if noted.get("shards") and Path(noted["shards"]).is_dir():
        return load(Path(noted["shards"]))
    corpus, tokenizer = corpus or config.data, tokenizer or (str(own) if own.exists() else None)
    if not tokenizer and not corpus.startswith("tokens:"):
        raise BlueberryError(f"{folder} has no tokenizer to read {corpus} with: name one with --tokenizer PATH.")
    data = prepare(corpus, config.model.vocab_size, tokenizer, config.train_tokens)
    check_vocabulary(corpus, data.vocab_size, config.model.vocab_size, "its tokens are another tokenizer's")
    if noted and noted["sha256"] != data.sha256:
        print(f"{corpus} is no longer what {folder} was trained on: it is read as it is now.", file=sys.stderr)
    return data


def run(
    config: TrainConfig, folder: Path, resume: bool = False, say: Callable[[str], None] = print, quiet: bool = False
) -> dict:
    """Train as ``config`` says, into ``folder``; returns the record.

    Writes config.json, data.json, tokenizer.json, log.jsonl, checkpoints/, loss.png, samples.txt and, when all else is
    done, record.json. With ``resume`` the run in ``folder`` goes on from its newest checkpoint, on the same data. Of
    several processes (see ``scaling``) the first writes.
    """
    hardware, clock = begin(config.device, config.precision)
    hardware, several, writes = scaling.together(hardware), scaling.ranks() > 1, scaling.rank() == 0
    say(f"{hardware.name}, {str(hardware.compute_dtype).removeprefix('torch.')}; preparing {config.data} …")
    asked = config.data, config.model.vocab_size, config.tokenizer, config.train_tokens
    data = load(Path(scaling.first("data", lambda: str(prepare(*asked).folder))))
    advice = f"pass --model.vocab-size {data.vocab_size}, or the tokenizer the model was made for"
    check_vocabulary("The data", data.vocab_size, config.model.vocab_size, advice)
    tokenizer = data.tokenizer()
    if writes:
        note_data(folder, config, data, resume)
    if writes and not resume:
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
    context, limit = config.model.context_length, config.windows
    batches = TokenBatches(
        data.train, config.batch_size, context, config.seed, hardware.device, limit, config.contexts, config.passes
    )
    checkpoints = scaling.checkpoints(folder / "checkpoints")
    step = checkpoints.latest_step() if resume else None
    log = Log(folder / "log.jsonl", step) if writes else None
    flops = flops_per_token(config.model, *config.contexts)
    takes = hardware.about(flops * (config.tokens - (step or 0) * config.tokens_per_step))
    say(
        f"{params:,} parameters, {config.train_tokens:,} of {len(data.train):,} tokens"
        f"{f' in {config.passes} passes' * (config.passes > 1)}, {config.total_steps} steps"
        f" of {config.tokens_per_step:,}{takes and f', {takes} here'}; writing to {folder}"
        + (f"; going on after step {step}" if resume else "")
    )
    loop = LoopConfig(
        config.total_steps, config.accumulation, config.optimizer.clip_norm, config.target_loss, config.eval_every,
        config.checkpoint_every, flops_per_unit=flops,
    )  # fmt: skip
    result = fit(
        *scaling.shared_out(
            model, batches, lambda model, batch: model(*batch),
            build_optimizers(model, config.optimizer, hardware.compute_dtype),
        ),
        lambda step: learning_rate_factor(config.schedule, step, config.total_steps), loop, hardware,
        evaluate=evaluator(config, data, hardware.device, hardware.compute_dtype),
        agree=scaling.agree if several else None, checkpoints=checkpoints, resume=resume, log=log, clock=clock,
        quiet=quiet,
    )  # fmt: skip
    record = build_record(config, result, clock, hardware, data, params)
    if not writes:
        return record
    log.close()
    loss_figure([record], folder / "loss.png")
    if tokenizer:
        trained, _ = load_run(folder, hardware.device)
        prompts = SAMPLE_PROMPTS.get(config.data, ("", "The"))
        (folder / "samples.txt").write_text(draw_samples(trained, tokenizer, prompts), encoding="utf-8")
    write_json(folder / "record.json", record)
    return record


def evaluator(
    config: TrainConfig, data: TokenData, device: str, dtype: torch.dtype, final: bool = False
) -> Callable[..., dict]:
    """The evaluation of a run: its validation tokens, or as many of the test split, at the model's context."""
    tokenizer, context = data.tokenizer(), config.model.context_length
    token_bytes = bytes_per_token(tokenizer) if tokenizer else None
    end = tokenizer.token_to_id(END_OF_TEXT) if tokenizer else None
    tokens = data.test if final else data.val
    part = slice(scaling.rank(), None, scaling.ranks())
    return token_evaluator(
        tokens, config.validation_tokens, context, token_bytes, device, dtype, end, part, scaling.add_up
    )


def final_loss(folder: Path) -> dict:
    """The evaluation of a finished run's model on the test split of its corpus, which nothing else reads. Raises
    BlueberryError where the corpus has none."""
    hardware = detect()
    model, config = load_run(folder, hardware.device)
    data = evaluation_data(folder, config, None, None)
    if data.test is None:
        raise BlueberryError(f"{config.data} has no test split: it belongs to the corpora of the tracks.")
    return evaluator(config, data, hardware.device, hardware.compute_dtype, final=True)(model)


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """A prompt's ids after an end-of-text token, as a document begins."""
    return [tokenizer.token_to_id(END_OF_TEXT), *tokenizer.encode(prompt, add_special_tokens=False).ids]


def draw_samples(model: Blueberry, tokenizer: Tokenizer, prompts: Sequence[str], seed: int = 0) -> str:
    """A continuation of each prompt that leaves room for one, as text with a rule between."""
    encoded = [(prompt, encode_prompt(tokenizer, prompt)) for prompt in prompts]
    prompts, ids = zip(*((p, i) for p, i in encoded if len(i) < model.config.context_length), strict=True)
    new = min(SAMPLE_TOKENS, model.config.context_length - max(map(len, ids)))
    rows = generate(model, ids, new, temperature=1.0, top_p=0.95, stop_tokens={ids[0][0]}, seed=seed)
    texts = [(prompt + tokenizer.decode(row)).strip() for prompt, row in zip(prompts, rows, strict=True)]
    return ("\n" + "─" * 72 + "\n").join(texts) + "\n"
