"""doctor, progress."""

from dataclasses import dataclass
from importlib import import_module

from blueberry_lib.cli.options import Device


@dataclass(frozen=True)
class Doctor:
    """Say what this machine is, what dtype and profile it will use, and how long each track will take."""

    device: Device = "auto"

    def run(self) -> None:
        from blueberry_lib.doctor import report

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
