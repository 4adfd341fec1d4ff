"""The command line: ``python -m blueberry_lib COMMAND``; every flag comes from a dataclass."""

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg, subcommand

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.training import Interrupted

RUNS = Path("runs")


@dataclass(frozen=True)
class Prepare:
    """Turn a corpus into token shards with a manifest; a corpus prepared before is only verified."""

    data: Positional[str] = "stdlib"
    """stdlib, docs, text:GLOB or tokens:DIR; from the Hub blueberry, smollm-mix or hub:NAME[:CONFIG:SPLIT:COLUMN]."""
    vocab_size: int = 4_096
    """Entries of the tokenizer that is trained on the corpus."""
    tokenizer: str | None = None
    """A tokenizer.json to use instead."""
    train_tokens: int = 20_000_000
    """Training tokens that a corpus of the Hub should hold (it comes in blocks of about 40 million)."""

    def run(self) -> None:
        from blueberry_lib.data.shards import prepare

        data = prepare(self.data, self.vocab_size, self.tokenizer, self.train_tokens)
        print(f"{data.folder}\n{json.dumps(data.manifest, indent=2)}")


@dataclass(frozen=True)
class Train:
    """Train a model, and write it, its log, its record and its samples to runs/<experiment-name>/.

    The defaults are a recipe's on a track (--recipe best --track pocket): every flag changes one
    setting of it. Ctrl-C saves; --resume goes on.
    """

    config: Annotated[TrainConfig, arg(name="")]
    experiment_name: str | None = None
    """The run's folder under runs/; unset: one is chosen that is free."""
    resume: Path | None = None
    """Folder of a run to continue, with its own settings."""

    def run(self) -> None:
        from blueberry_lib.speedrun.records import table
        from blueberry_lib.speedrun.run import load_config, new_folder, run

        if self.resume:
            folder, config = self.resume, load_config(self.resume)
        else:
            config = self.config
            default = f"{config.track}-{config.recipe}-seed{config.seed}"
            folder = new_folder(RUNS, self.experiment_name, default)
        try:
            record = run(config, folder, resume=self.resume is not None)
        except (Interrupted, KeyboardInterrupt, OSError):
            if any(folder.glob("checkpoints/step-*")):
                print(f"\nTo go on: python -m blueberry_lib train --resume {folder}", file=sys.stderr)
            raise
        print(f"\n{table(record)}\n")
        samples = folder / "samples.txt"
        if samples.exists():
            print(samples.read_text(encoding="utf-8"))
        else:
            print("No samples: the data came without a tokenizer (--tokenizer PATH).")
        print(f"Wrote {folder}/record.json, loss.png, samples.txt, log.jsonl and checkpoints/.")


@dataclass(frozen=True)
class SpeedrunRun:
    """One official run of a recipe on a track."""

    recipe: str = "best"
    """r4, the original's, or best, ours."""
    track: str = "pocket"
    """pocket, 8M, 20M, 100M or 1B."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    experiment_name: str | None = None
    """The run's folder under runs/; unset: one is chosen that is free."""

    def run(self) -> None:
        config = replace(get_recipe(self.recipe, self.track), seed=self.seed, device=self.device)
        Train(config, self.experiment_name).run()


@dataclass(frozen=True)
class SpeedrunCompare:
    """Run two recipes, interleaved over seeds, and say what the difference is and whether it is shown.

    Also finds the shortest budget at which the second is no worse than the first. Repeated with the
    same --experiment-name it goes on where it stopped.
    """

    a: Positional[str]
    """The recipe to beat."""
    b: Positional[str]
    """The recipe that should beat it."""
    track: str = "pocket"
    """pocket, 8M, 20M, 100M or 1B."""
    seeds: int = 3
    """Runs of each, at least 2."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    experiment_name: str | None = None
    """Folder under runs/."""
    output: Path | None = None
    """Also write summary and records to this JSON file."""

    def run(self) -> None:
        from blueberry_lib.plots import loss_figure
        from blueberry_lib.speedrun.compare import compare_recipes, describe
        from blueberry_lib.speedrun.records import write_json

        folder = RUNS / (self.experiment_name or f"compare-{self.track}-{self.a}-{self.b}")
        summary, records = compare_recipes(self.a, self.b, self.track, self.seeds, folder, self.device)
        for path in filter(None, (folder / "compare.json", self.output)):
            write_json(path, {"summary": summary, "records": records})
        loss_figure(records, folder / "loss.png")
        print(f"\n{describe(summary)}\nWrote {folder}/compare.json and loss.png.")


@dataclass(frozen=True)
class Speedrun:
    """Races on a fixed number of tokens, and their records."""

    command: Annotated[
        Annotated[SpeedrunRun, subcommand("run")] | Annotated[SpeedrunCompare, subcommand("compare")], arg(name="")
    ]

    def run(self) -> None:
        self.command.run()


@dataclass(frozen=True)
class Sample:
    """Let a trained model continue a prompt."""

    folder: Positional[Path]
    """Folder of a run."""
    prompt: tuple[str, ...] = ("",)
    """One or more texts to continue; one alone is streamed."""
    max_new_tokens: int = 200
    """Tokens to add, at most."""
    temperature: float = 1.0
    """Divides the logits; 0 always takes the most probable token."""
    top_k: int | None = None
    """Draw from the k most probable tokens only."""
    top_p: float | None = 0.95
    """Draw from the fewest tokens that hold this probability."""
    seed: int | None = None
    """Set it to draw the same again."""
    tokenizer: Path | None = None
    """A tokenizer.json; unset: the run's own."""
    device: str = "cpu"
    """auto, cpu, cuda or mps."""

    def run(self) -> None:
        from blueberry_lib.data.tokens import END_OF_TEXT
        from blueberry_lib.generation import stream, text_pieces
        from blueberry_lib.hardware import pick_device
        from blueberry_lib.speedrun.run import encode_prompt, load_run, run_tokenizer

        model, _ = load_run(self.folder, pick_device(self.device))
        tokenizer = run_tokenizer(self.folder, self.tokenizer, model.config.vocab_size)
        prompts = [encode_prompt(tokenizer, prompt) for prompt in self.prompt]
        room = model.config.context_length - max(map(len, prompts))
        steps = stream(
            model,
            prompts,
            min(self.max_new_tokens, max(room, 1)),
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            stop_tokens={tokenizer.token_to_id(END_OF_TEXT)},
            seed=self.seed,
        )
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
    validation_tokens: int | None = None
    """Another count than the run's own."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> None:
        from blueberry_lib.data.shards import prepare
        from blueberry_lib.hardware import detect
        from blueberry_lib.speedrun.run import check_vocabulary, evaluator, load_run

        hardware, own = detect(self.device), self.folder / "tokenizer.json"
        model, config = load_run(self.folder, hardware.device)
        tokenizer = self.tokenizer or (str(own) if self.data and own.exists() else None)
        changes = {"data": self.data, "tokenizer": tokenizer, "validation_tokens": self.validation_tokens}
        config = replace(config, **{name: value for name, value in changes.items() if value is not None})
        data = prepare(config.data, config.model.vocab_size, config.tokenizer, config.train_tokens)
        check_vocabulary(config, data)
        print(json.dumps(evaluator(config, data, hardware.device, hardware.compute_dtype)(model), indent=1))


@dataclass(frozen=True)
class Doctor:
    """Say what this machine is, what dtype and profile it will use, and how long each track will take."""

    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> None:
        from blueberry_lib.doctor import report

        print(*report(self.device), sep="\n")


def parse(argv: list[str]):
    """The command as one of the dataclasses above. Raises BlueberryError, one line, for what it cannot take."""
    chosen = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chosen.add_argument("--recipe", default="best")
    chosen.add_argument("--track", default="pocket")
    base = chosen.parse_known_args(argv if argv[:1] == ["train"] else [])[0]
    commands = (
        Annotated[Prepare, subcommand("prepare")]
        | Annotated[Train, subcommand("train", default=Train(get_recipe(base.recipe, base.track)))]
        | Annotated[Speedrun, subcommand("speedrun")]
        | Annotated[Sample, subcommand("sample")]
        | Annotated[Eval, subcommand("eval")]
        | Annotated[Doctor, subcommand("doctor")]
    )
    complaint = io.StringIO()
    about = "Blueberry: train a small language model. See each command's --help."
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(commands, prog="python -m blueberry_lib", args=argv, description=about)
    except SystemExit as stop:
        if not stop.code:
            raise
        _, *said = [line.strip("│ ") for line in complaint.getvalue().splitlines()]
        rule = re.compile("[─-]*").fullmatch  # between the parts of the message, of which the first says it all
        first = itertools.takewhile(lambda line: not rule(line), itertools.dropwhile(rule, said))
        raise BlueberryError(" ".join(first) + " See --help.") from None


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for a mistake the user can mend, 128 + n for signal n."""
    try:
        parse(sys.argv[1:] if argv is None else argv).run()
        sys.stdout.flush()
        return 0
    except BlueberryError as error:
        return _complain(str(error))
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        return _complain(f"{error.filename}: {error.strerror}. Rename what is there, or choose another place.")
    except OSError as error:
        with contextlib.suppress(OSError):  # what is still buffered for a full or closed stdout can go nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if isinstance(error, BrokenPipeError) else _complain(str(error))
    except Interrupted as stopped:
        return _complain(f"{stopped}; saved.", 128 + stopped.signal_number)
    except KeyboardInterrupt:
        return _complain("stopped.", 128 + signal.SIGINT)


def _complain(text: str, code: int = 2) -> int:
    print(("error: " if code == 2 else "") + " ".join(text.split()), file=sys.stderr)
    return code
