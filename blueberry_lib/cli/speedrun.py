"""speedrun run, compare, ladder, sweep, reproduce, verify, submit, leaderboard, table."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from blueberry_lib.cli.runs import RUNS, Budget, Device, Experiment, Recipe, RunName, RunSeed, Track, Train
from blueberry_lib.config import BlueberryError, Count, Range, TrainConfig
from blueberry_lib.plots import ladder_figure, loss_figure
from blueberry_lib.speedrun.compare import compare_recipes, ladder, reproduce, summarize, sweep, with_field
from blueberry_lib.speedrun.leaderboard import fill, load_records
from blueberry_lib.speedrun.recipes import RECIPES, get_recipe
from blueberry_lib.speedrun.records import read_record, read_records
from blueberry_lib.speedrun.run import final_loss
from blueberry_lib.speedrun.verify import claims, describe_claims, faults, verdicts
from blueberry_lib.training.folder import write_json


def chosen(recipe: str, track: str, device: str, train_tokens: int | None = None) -> TrainConfig:
    """A recipe's run of a track on a device, with another budget if one is given."""
    config = replace(get_recipe(recipe, track), device=device)
    return replace(config, train_tokens=train_tokens or config.train_tokens)


@dataclass(frozen=True)
class SpeedrunRun:
    """One official run of a recipe on a track."""

    recipe: Recipe = "best"
    track: Track = "pocket"
    seed: RunSeed = 0
    device: Device = "auto"
    experiment_name: RunName = None

    def run(self) -> None:
        config = replace(chosen(self.recipe, self.track, self.device), seed=self.seed)
        Train(config, self.experiment_name).run()


@dataclass(frozen=True)
class SpeedrunCompare:
    """Run two recipes, interleaved over seeds, and say what the difference is and whether it is shown.

    Also finds the shortest budget at which the second is no worse than the first. Repeated with the same
    --experiment-name it goes on where it stopped.
    """

    a: Positional[str]
    """The recipe to beat."""
    b: Positional[str]
    """The recipe that should beat it."""
    track: Track = "pocket"
    seeds: Annotated[int, Range(2, 10**12, "at least 2")] = 7
    """Runs of each, at least 2; a claim takes 7."""
    device: Device = "auto"
    experiment_name: Experiment = None
    output: Path | None = None
    """Also write summary and records to this JSON file."""

    def run(self) -> None:
        for recipe in (self.a, self.b):
            chosen(recipe, self.track, self.device)  # a typo shows before the first of them has run
        folder = RUNS / (self.experiment_name or f"compare-{self.track}-{self.a}-{self.b}")
        summary, records = compare_recipes(self.a, self.b, self.track, self.seeds, folder, self.device)
        for path in filter(None, (folder / "compare.json", self.output)):
            write_json(path, {"summary": summary, "records": records})
        loss_figure(records, folder / "loss.png")
        print(f"\n{describe_claims(verdicts(summary))}\nWrote {folder}/compare.json and loss.png.")


@dataclass(frozen=True)
class SpeedrunLadder:
    """Run every recipe, interleaved over seeds, and draw validation loss against active time."""

    track: Track = "pocket"
    seeds: Count = 1
    """Runs of each recipe."""
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Which; best-without-NAME leaves out one of best's differences."""
    device: Device = "auto"
    experiment_name: Experiment = None
    output: Path | None = None
    """Also write the records to this JSON file."""
    records: Path | None = None
    """Draw the records in this file, such as book/records/ladder_pocket.json, and run nothing."""

    def run(self) -> None:
        folder = RUNS / (self.experiment_name or f"ladder-{self.track}")
        if self.records:
            records = read_records([self.records])
            folder.mkdir(parents=True, exist_ok=True)
        else:
            for recipe in self.recipes:
                chosen(recipe, self.track, self.device)  # a typo shows before the first of them has run
            records = ladder(self.recipes, self.track, self.seeds, folder, self.device)
            for path in filter(None, (folder / "ladder.json", self.output)):
                write_json(path, {"records": records})
        ladder_figure(records, folder / "ladder.png")
        print(f"\n{summarize(records)}\nWrote {folder}/ladder.png" + (" and ladder.json." if not self.records else "."))


@dataclass(frozen=True)
class SpeedrunSweep:
    """Run a recipe with several values of one setting."""

    field: Positional[str]
    """The setting as `train --help` names it, such as optimizer.muon-lr."""
    values: Positional[tuple[str, ...]]
    """The values to try."""
    recipe: Recipe = "best"
    track: Track = "pocket"
    seeds: Count = 1
    """Runs of each value."""
    train_tokens: Budget = None
    device: Device = "auto"
    experiment_name: Experiment = None

    def run(self) -> None:
        config = chosen(self.recipe, self.track, self.device, self.train_tokens)
        for value in self.values:
            with_field(config, self.field, value)  # a typo shows before the first of them has run
        folder = RUNS / (self.experiment_name or f"sweep-{self.track}-{self.recipe}-{self.field}")
        found = sweep(config, self.field, self.values, self.seeds, folder)
        named = [{**record, "recipe": f"{self.field} {value}"} for value, runs in found for record in runs]
        print(f"\n{summarize(named)}")


@dataclass(frozen=True)
class SpeedrunReproduce:
    """Run one seed twice and say how far the two part: not at all on a CPU, perhaps on a GPU."""

    recipe: Recipe = "best"
    track: Track = "pocket"
    seed: RunSeed = 0
    device: Device = "auto"
    train_tokens: Budget = None
    experiment_name: Experiment = None

    def run(self) -> None:
        config = replace(chosen(self.recipe, self.track, self.device, self.train_tokens), seed=self.seed)
        folder = RUNS / (self.experiment_name or f"reproduce-{self.track}-{self.recipe}-seed{self.seed}")
        apart = reproduce(config, folder)
        print("The two runs are identical." if apart == 0 else f"The two curves differ by up to {apart:.2g} nats.")


@dataclass(frozen=True)
class SpeedrunVerify:
    """Test whether records show a lower loss or less time than others; with one side only, check each record itself.

    A file is a record or holds several (record.json, compare.json, ladder.json). Ends with code 2 where a record
    contradicts itself.
    """

    records: Positional[tuple[Path, ...]]
    """Files to check, or those of the challenger."""
    against: tuple[Path, ...] = ()
    """Files of what it should beat."""
    recipe: str | None = None
    """Only this recipe's records of the challenger's files."""
    tokens: int | None = None
    """Only the challenger's records with this budget."""
    against_recipe: str | None = None
    """Only this recipe's records of the others."""
    final: bool = False
    """Evaluate the models of finished runs, given by their record.json, on the test split, once all else is settled."""

    def run(self) -> None:
        challenger = read_records(self.records, self.recipe, self.tokens)
        others = read_records(self.against, self.against_recipe) if self.against else []
        if self.final:
            challenger = self.tested(self.records, challenger)
            others = self.tested(self.against, others)
        if others:
            print(describe_claims(claims(others, challenger)))
        if others or self.final:
            return
        wrong = 0
        for record in challenger:
            found = faults(record)
            wrong += bool(found)
            name = f"{record['track']}, {record['recipe']}, seed {record['seed']}"
            print(f"{name}: " + ("; ".join(found) if found else "agrees with itself and the rules"))
        if wrong:
            raise BlueberryError(f"{wrong} of {len(challenger)} records cannot stand as they are.")

    @staticmethod
    def tested(paths: tuple[Path, ...], records: list[dict]) -> list[dict]:
        """The records of runs, with the test split's loss for that of validation."""
        if len(records) != len(paths) or not all((path.parent / "checkpoints").is_dir() for path in paths):
            raise BlueberryError("--final needs the models: give the record.json of each run, in its folder.")
        found = []
        for path, record in zip(paths, records, strict=True):
            test = final_loss(path.parent)
            print(
                f"{record['recipe']}, seed {record['seed']}: test loss {test['loss']:.4f} ± {test['loss_error']:.4f} "
                f"nats a token (standard error over documents), validation {record['val_loss']:.4f}"
            )
            found.append({**record, "val_loss": test["loss"]})
        return found


@dataclass(frozen=True)
class SpeedrunSubmit:
    """Write what a pull request takes: one file with the records of both recipes, and its text.

    Ends with code 2 where a record contradicts itself; a claim that is not shown is submitted as one. The shorter runs
    of a comparison, by which it finds the shortest budget, are left out.
    """

    records: Positional[tuple[Path, ...]]
    """Files with the challenger's records, such as the compare.json of both."""
    idea: str
    """The change, and what you expected before you measured it."""
    against: tuple[Path, ...] = ()
    """Files of what it was measured against; unset: the same files."""
    recipe: str | None = None
    """Only this recipe's records of the challenger's files."""
    against_recipe: str | None = None
    """Only this recipe's records of the others."""
    folder: Path = RUNS
    """Where to write the file, which belongs into book/records of your branch."""

    def run(self) -> None:
        challenger = self.whole(self.records, self.recipe)
        others = self.whole(self.against or self.records, self.against_recipe)
        for record in (*others, *challenger):
            if found := faults(record):
                name = f"{record.get('recipe')}, seed {record.get('seed')}"
                raise BlueberryError(f"The record of {name} cannot be submitted: {'; '.join(found)}.")
        words = describe_claims(claims(others, challenger))
        names = (challenger[0]["track"], challenger[0]["recipe"], challenger[0]["hardware"]["name"])
        target = self.folder / ("_".join(["speedrun", *re.findall("[a-z0-9]+", " ".join(names).lower())]) + ".json")
        write_json(target, {"records": [*others, *challenger]})
        print(f"# {names[0]}: {names[1]} against {others[0]['recipe']}\n\n{self.idea}\n\n```text\n{words}\n```\n")
        print(f"Records: `book/records/{target.name}`\n\nWrote {target}; the lines above are the pull request's text.")

    @staticmethod
    def whole(paths: tuple[Path, ...], recipe: str | None) -> list[dict]:
        """The records that keep the track's rules; all of them, to be refused with the reason, where none does."""
        found = read_records(paths, recipe)
        return [record for record in found if record.get("official")] or found


@dataclass(frozen=True)
class SpeedrunLeaderboard:
    """Write the tables of the book's leaderboard page from the records."""

    records: Path = Path("book/records")
    """Folder of record files."""
    page: Path = Path("book/leaderboard.md")
    """The page, whose part between the markers is replaced."""

    def run(self) -> None:
        text = self.page.read_text(encoding="utf-8")
        self.page.write_text(fill(text, load_records(self.records)), encoding="utf-8")
        print(f"Wrote {self.page}.")


@dataclass(frozen=True)
class SpeedrunTable:
    """A table and a plot of any finished runs."""

    folders: Positional[tuple[Path, ...]]
    """Folders of runs."""
    plot: Path = Path("runs/table.png")
    """Where to draw their losses."""

    def run(self) -> None:
        records = [{**read_record(f / "record.json"), "recipe": f.name} for f in self.folders]
        loss_figure(records, self.plot)
        print(f"{summarize(records)}\nWrote {self.plot}.")


@dataclass(frozen=True)
class Speedrun:
    """Races on a fixed number of tokens, and their records."""

    command: Annotated[
        Annotated[SpeedrunRun, subcommand("run")]
        | Annotated[SpeedrunCompare, subcommand("compare")]
        | Annotated[SpeedrunLadder, subcommand("ladder")]
        | Annotated[SpeedrunSweep, subcommand("sweep")]
        | Annotated[SpeedrunReproduce, subcommand("reproduce")]
        | Annotated[SpeedrunVerify, subcommand("verify")]
        | Annotated[SpeedrunSubmit, subcommand("submit")]
        | Annotated[SpeedrunLeaderboard, subcommand("leaderboard")]
        | Annotated[SpeedrunTable, subcommand("table")],
        arg(name=""),
    ]

    def run(self) -> None:
        self.command.run()
