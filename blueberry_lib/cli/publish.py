"""export, evaluate, milestone: a run for others to use, what it can do, and a page about it."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from blueberry_lib.cli.runs import Device
from blueberry_lib.config import Count, Whole
from blueberry_lib.evaluate import evaluate
from blueberry_lib.export import export
from blueberry_lib.export_web import export_run_web
from blueberry_lib.milestone import milestone


@dataclass(frozen=True)
class Export:
    """Write a run as a folder that transformers loads: weights, config, tokenizer, generation config, model card.

    With --web, a run of `train` or `flow train` becomes one JavaScript file in it, for book/_static/model.js to run.
    """

    folder: Positional[Path]
    """Folder of a finished run."""
    target: Positional[Path]
    """The folder to write, which must not exist yet."""
    web: bool = False
    """Write a file for the browser instead, named as the run."""
    push: str | None = None
    """Also upload it to this repository of the Hugging Face Hub (OWNER/NAME; private if it is new)."""

    def run(self) -> None:
        if self.web:
            path = self.target / f"{self.folder.name}.js"
            export_run_web(self.folder, path)
            print(f"Wrote {path}, {path.stat().st_size / 1e6:.1f} MB: blueberryModels[{self.folder.name!r}].")
            return
        export(self.folder, self.target, self.push)
        print(f"Wrote {self.target}: AutoModelForCausalLM.from_pretrained({str(self.target)!r}) loads it.")


@dataclass(frozen=True)
class Evaluate:
    """Ask a run the questions of benchmarks, through lm-eval (pip install 'blueberry-lib[eval]')."""

    folder: Positional[Path]
    """Folder of a run."""
    tasks: tuple[str, ...] = ("arc_easy", "hellaswag")
    """Names of lm-eval's tasks, such as arc_easy, hellaswag or gsm8k, or of your own in --include."""
    limit: Count | None = None
    """Only the first so many questions of each task."""
    num_fewshot: Whole | None = None
    """Solved questions before each; unset: the task's own number."""
    include: Path | None = None
    """A folder with task files (YAML) of your own."""
    cache: Path | None = None
    """Keep answers in this file, so that a run that was broken off goes on."""
    device: Device = "auto"

    def run(self) -> None:
        names = [name for words in self.tasks for name in words.split(",") if name]
        found = evaluate(self.folder, names, self.limit, self.num_fewshot, self.device, self.include, self.cache)
        for task, values in found["results"].items():
            for name, value in values.items():
                metric = name.removesuffix(",none")
                error = values.get(f"{metric}_stderr,{name.partition(',')[2]}")
                if isinstance(value, float) and "_stderr" not in name:
                    show = f" ± {error:.4f}" if isinstance(error, float) else ""
                    print(f"  {task:<20} {metric:<28} {value:.4f}{show}")
        print(f"Errors are one standard error over the questions. Wrote {self.folder}/evaluation.json.")


@dataclass(frozen=True)
class Milestone:
    """Write a page about a finished run, in Markdown: what it is, its cost, its curve, and samples, none left out."""

    folder: Positional[Path]
    """Folder of a finished run."""
    page: Positional[Path] = Path("milestone.md")
    """The file to write; its figure is put beside it."""

    def run(self) -> None:
        milestone(self.folder, self.page)
        print(f"Wrote {self.page} and {self.page.with_suffix('.png')}.")
