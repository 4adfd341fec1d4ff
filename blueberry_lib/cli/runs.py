"""prepare, train, sample, eval, export, doctor, progress."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from blueberry_lib.config import Amount, BlueberryError, Count, Seed, Share, TrainConfig
from blueberry_lib.data.prepare import prepare
from blueberry_lib.data.tokens import END_OF_TEXT
from blueberry_lib.doctor import report
from blueberry_lib.export_web import export_web
from blueberry_lib.generation import stream, text_pieces
from blueberry_lib.hardware import detect, pick_device
from blueberry_lib.images.flow_training import load_flow
from blueberry_lib.speedrun.records import table
from blueberry_lib.speedrun.run import encode_prompt, evaluation_data, evaluator, load_run, run, run_tokenizer
from blueberry_lib.training import Interrupted
from blueberry_lib.training.checkpoint import Checkpoints
from blueberry_lib.training.folder import load_config, new_folder, occupied, read_json

RUNS = Path("runs")

# What several commands ask for, each with its help.
Device = Annotated[str, arg(help="auto, cpu, cuda or mps.")]
Track = Annotated[str, arg(help="pocket, 8M, 20M, 100M or 1B.")]
Recipe = Annotated[str, arg(help="r0 to r6, the original's history; best, ours; best-without-NAME leaves out a part.")]
Budget = Annotated[Count | None, arg(help="Another budget than the track's, in tokens.")]
RunSeed = Annotated[Seed, arg(help="Seed of the weights and of the order of the data.")]
RunName = Annotated[str | None, arg(help="The run's folder under runs/; unset: one is chosen that is free.")]
Experiment = Annotated[str | None, arg(help="Folder under runs/; with the same one it goes on where it stopped.")]
Resume = Annotated[Path | None, arg(help="Folder of a run to continue, with its own settings.")]
Checkpoint = Annotated[Path, arg(help="Folder of a run, whose newest checkpoint is used, or of a checkpoint.")]


def carry_out(command, words: str, default: str, run: Callable[..., dict]) -> tuple[dict, Path]:
    """Do the run that a train command asks for, or go on with it; returns its record and folder. ``words`` call the
    command, and ``default`` names the folder where the user does not. A finished run is left as it is."""
    if command.resume:
        folder, config = command.resume, load_config(type(command.config), command.resume)
        if (folder / "record.json").exists():
            print(f"{folder} is finished: nothing was trained or written.")
            return read_json(folder / "record.json"), folder
        Checkpoints(folder / "checkpoints").latest()
    else:
        folder, config = new_folder(RUNS, command.experiment_name, default), command.config
    try:
        with occupied(folder):
            return run(config, folder, resume=command.resume is not None), folder
    except (Interrupted, KeyboardInterrupt, OSError):
        if any(folder.glob("checkpoints/step-*")):
            print(f"\nTo go on: python -m blueberry_lib {words} --resume {folder}", file=sys.stderr)
        raise


@dataclass(frozen=True)
class Prepare:
    """Turn a corpus into token shards with a manifest; a corpus prepared before is only opened."""

    data: Positional[str] = "stdlib"
    """stdlib, docs, text:GLOB or tokens:DIR; from the Hub blueberry, smollm-mix or hub:NAME[:CONFIG:SPLIT:COLUMN]."""
    vocab_size: Count = 4_096
    """Entries of the tokenizer that is trained on the corpus."""
    tokenizer: str | None = None
    """A tokenizer.json to use instead."""
    train_tokens: Count = 20_000_000
    """Training tokens that a corpus of the Hub should hold (it comes in blocks of about 40 million)."""
    verify: bool = False
    """Hash every shard again, not only those whose size or time of change is another than when they were hashed."""

    def run(self) -> None:
        data = prepare(self.data, self.vocab_size, self.tokenizer, self.train_tokens, self.verify)
        print(f"{data.folder}\n{json.dumps(data.manifest, indent=2)}")


@dataclass(frozen=True)
class Train:
    """Train a model, and write it, its log, its record and its samples to runs/<experiment-name>/.

    The defaults are a recipe's on a track (--recipe best --track pocket): every flag changes one setting of it. Ctrl-C
    saves; --resume goes on.
    """

    config: Annotated[TrainConfig, arg(name="")]
    experiment_name: RunName = None
    resume: Resume = None

    def run(self) -> None:
        default = f"{self.config.track}-{self.config.recipe}-seed{self.config.seed}"
        record, folder = carry_out(self, "train", default, run)
        print(f"\n{table(record)}\n")
        samples, none = folder / "samples.txt", "No samples: the data came without a tokenizer (--tokenizer PATH)."
        print(samples.read_text(encoding="utf-8") if samples.exists() else none)
        print(f"See {folder}/record.json, loss.png, samples.txt, log.jsonl and checkpoints/.")


@dataclass(frozen=True)
class Sample:
    """Let a trained model continue a prompt."""

    folder: Positional[Path]
    """Folder of a run."""
    prompt: tuple[str, ...] = ("",)
    """One or more texts to continue; one alone is streamed."""
    max_new_tokens: Count = 200
    """Tokens to add, at most."""
    temperature: Amount = 1.0
    """Divides the logits; 0 always takes the most probable token."""
    top_k: Count | None = None
    """Draw from the k most probable tokens only."""
    top_p: Share | None = 0.95
    """Draw from the fewest tokens that hold this probability."""
    seed: Seed | None = None
    """Set it to draw the same again."""
    tokenizer: Path | None = None
    """A tokenizer.json; unset: the run's own."""
    device: Device = "cpu"

    def run(self) -> None:
        if not self.prompt:
            raise BlueberryError('--prompt needs a text; --prompt "" begins from nothing.')
        model, _ = load_run(self.folder, pick_device(self.device))
        tokenizer = run_tokenizer(self.folder, self.tokenizer, model.config.vocab_size)
        prompts = [encode_prompt(tokenizer, prompt) for prompt in self.prompt]
        longest, context = max(map(len, prompts)), model.config.context_length
        count = min(self.max_new_tokens, context - longest)
        if count < 1:
            raise BlueberryError(
                f"The prompt fills the model's context of {context} with {longest} tokens: shorten it."
            )
        if count < self.max_new_tokens:
            print(f"At most {count} new tokens find room in the model's context of {context}.", file=sys.stderr)
        drawn = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p, "seed": self.seed}
        steps = stream(model, prompts, count, stop_tokens={tokenizer.token_to_id(END_OF_TEXT)}, **drawn)
        if len(prompts) > 1:
            columns = zip(*steps, strict=True)
            texts = [tokenizer.decode([i for i in column if i is not None]) for column in columns]
            print(("\n" + "─" * 72 + "\n").join(map("".join, zip(self.prompt, texts, strict=True))))
            return
        print(self.prompt[0], end="", flush=True)
        for piece in text_pieces(tokenizer, (i for (i,) in steps)):
            print(piece, end="", flush=True)
        print()


@dataclass(frozen=True)
class Eval:
    """Measure a run's model on validation tokens: loss, accuracy, perplexity, bits per byte."""

    folder: Positional[Path]
    """Folder of a run."""
    data: str | None = None
    """Another corpus than the run's own."""
    tokenizer: str | None = None
    """A tokenizer.json; unset: the run's own."""
    validation_tokens: Count | None = None
    """Another count than the run's own."""
    device: Device = "auto"

    def run(self) -> None:
        hardware = detect(self.device)
        model, config = load_run(self.folder, hardware.device)
        data = evaluation_data(self.folder, config, self.data, self.tokenizer)
        config = replace(config, validation_tokens=self.validation_tokens or config.validation_tokens)
        print(json.dumps(evaluator(config, data, hardware.device, hardware.compute_dtype)(model), indent=1))


@dataclass(frozen=True)
class Export:
    """Write the model of a run of `train` or `flow train` as one JavaScript file, for book/_static/model.js to run."""

    folder: Positional[Path]
    """Folder of a run."""
    output: Path | None = None
    """The file to write; unset: web.js in the run's folder."""

    def run(self) -> None:
        path, name = self.output or self.folder / "web.js", self.folder.name
        if (self.folder / "config.json").is_file() and "label_dropout" in read_json(self.folder / "config.json"):
            export_web(load_flow(self.folder)[0], path, name)
        else:
            model, _ = load_run(self.folder)
            export_web(model, path, name, run_tokenizer(self.folder, None, model.config.vocab_size))
        print(f"Wrote {path}, {path.stat().st_size / 1e6:.1f} MB: blueberryModels[{json.dumps(name)}].")


@dataclass(frozen=True)
class Doctor:
    """Say what this machine is, what dtype and profile it will use, and how long each track will take."""

    device: Device = "auto"

    def run(self) -> None:
        print(*report(self.device), sep="\n")


@dataclass(frozen=True)
class Progress:
    """Say which exercises are done, with a code that restores it where the disk is not kept."""

    restore: str | None = None
    """A code printed before, such as 02:1.2.5-04:1: its exercises are marked as done."""

    def run(self) -> None:
        progress = import_module("blueberry_checks.progress")  # by name: the library knows nothing of the course
        if self.restore is not None:
            progress.restore(self.restore)
        print(progress.report())
