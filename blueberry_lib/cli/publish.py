"""export: a run for others to use."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from blueberry_lib.export import export


@dataclass(frozen=True)
class Export:
    """Write a run as a folder that transformers loads: weights, config, tokenizer, generation config, model card."""

    folder: Positional[Path]
    """Folder of a finished run."""
    target: Positional[Path]
    """The folder to write, which must not exist yet."""
    push: str | None = None
    """Also upload it to this repository of the Hugging Face Hub (OWNER/NAME; private if it is new)."""

    def run(self) -> None:
        export(self.folder, self.target, self.push)
        print(f"Wrote {self.target}: AutoModelForCausalLM.from_pretrained({str(self.target)!r}) loads it.")
