"""The command line: ``python -m blueberry_lib COMMAND``; every flag comes from a dataclass."""

import argparse
import contextlib
import io
import itertools
import os
import re
import signal
import sys
from typing import Annotated

import tyro
from tyro.conf import subcommand

from blueberry_lib import scaling
from blueberry_lib.cli.images import FlowTrain, image_command
from blueberry_lib.cli.publish import Evaluate, Export, Milestone
from blueberry_lib.cli.runs import Doctor, Eval, Prepare, Progress, Sample, Train
from blueberry_lib.cli.speedrun import Speedrun, SpeedrunRun
from blueberry_lib.config import BlueberryError, check_ranges
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.training import Interrupted


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
        | Annotated[image_command(argv, "flow"), subcommand("flow")]
        | Annotated[image_command(argv, "vqvae"), subcommand("vqvae")]
        | Annotated[image_command(argv, "multimodal"), subcommand("multimodal")]
        | Annotated[Export, subcommand("export")]
        | Annotated[Evaluate, subcommand("evaluate")]
        | Annotated[Milestone, subcommand("milestone")]
        | Annotated[Doctor, subcommand("doctor")]
        | Annotated[Progress, subcommand("progress")]
    )
    complaint = io.StringIO()
    about = "Blueberry: train a small language model. See each command's --help."
    try:
        with contextlib.redirect_stderr(complaint):
            command = tyro.cli(commands, prog="python -m blueberry_lib", args=argv, description=about)
    except SystemExit as stop:
        if not stop.code:
            raise
        _, *said = [line.strip("│ ") for line in complaint.getvalue().splitlines()]
        rule = re.compile("[─-]*").fullmatch  # between the parts of the message, of which the first says it all
        first = itertools.takewhile(lambda line: not rule(line), itertools.dropwhile(rule, said))
        raise BlueberryError(" ".join(first) + " See --help.") from None
    check_ranges(getattr(command, "command", command))
    flags = [word.partition("=")[0] for word in argv if word.startswith("--")]
    others = ", ".join(flag for flag in flags if flag != "--resume")
    if others and "--resume" in flags:
        raise BlueberryError(f"--resume goes on with the run's own settings: leave out {others}.")
    return command


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for a mistake the user can mend, 128 + n for signal n."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has it not
            stream.reconfigure(errors="replace")
    try:
        with scaling.processes():
            command = parse(sys.argv[1:] if argv is None else argv)
            if scaling.ranks() > 1 and not isinstance(
                getattr(command, "command", command), Train | SpeedrunRun | FlowTrain
            ):
                raise BlueberryError("torchrun is for train, speedrun run and flow train; start others with python.")
            command.run()
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
