"""What several commands ask for, each with its help."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

Device = Annotated[str, arg(help="auto, cpu, cuda or mps.")]
Track = Annotated[str, arg(help="pocket, 8M, 20M, 100M or 1B.")]
RunName = Annotated[str | None, arg(help="The run's folder under runs/; unset: one is chosen that is free.")]
Experiment = Annotated[str | None, arg(help="Folder under runs/; with the same one it goes on where it stopped.")]
Resume = Annotated[Path | None, arg(help="Folder of a run to continue, with its own settings.")]
Checkpoint = Annotated[Path, arg(help="Folder of a run, whose newest checkpoint is used, or of a checkpoint.")]
