"""What the notebooks share: how large to run, what a training cell cost, results of longer runs, live figures."""

import json
from dataclasses import dataclass
from pathlib import Path

from blueberry_lib.config import BlueberryError
from blueberry_lib.hardware import PROFILES, Hardware, detect, keep_freed_memory, profile
from blueberry_lib.interactive import interactive
from blueberry_lib.training.folder import versions

__all__ = ["LiveLoss", "Setup", "interactive", "ledger", "recorded", "setup"]
RECORDED = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Setup:
    """The machine and the size at which a notebook runs on it."""

    profile: str
    """smoke, cpu, t4 or gpu."""
    hardware: Hardware

    def pick(self, **by_profile):
        """The value for this profile; sizes not named take the next smaller one's."""
        upto = PROFILES[: PROFILES.index(self.profile) + 1]
        return by_profile[[name for name in upto if name in by_profile][-1]]


def setup() -> Setup:
    """Find the machine, choose the profile (BLUEBERRY_PROFILE overrides), and say both."""
    hardware = detect()
    if hardware.device == "cpu":
        keep_freed_memory()
    chosen = Setup(profile(hardware), hardware)
    print(f"profile {chosen.profile} on {hardware.name} ({hardware.device}), torch {versions()['torch']}")
    return chosen


def ledger(units: int, flops: float, seconds: float, hardware: Hardware, unit: str = "tokens") -> str:
    """What a training cell cost, in one line."""
    price = hardware.price_per_hour
    cost = f"${seconds / 3600 * price:.4f} at ${price:.3f} an hour" if price else "cost unknown"
    return f"run here: {units:,} {unit}, {flops / 1e12:,.1f} TFLOP, {seconds:.0f} s, {cost}, {hardware.name}"


def recorded(name: str) -> dict:
    """The results of a run that takes longer than a notebook should; prints where and when it was made.

    Raises BlueberryError, with the list, for a name that is not stored.
    """
    file = RECORDED / f"{name}.json"
    if not file.exists():
        there = ", ".join(sorted(path.stem for path in RECORDED.glob("*.json")))
        raise BlueberryError(f"there is no recorded result {name!r}; there are {there}")
    result = json.loads(file.read_text(encoding="utf-8"))
    print(f"recorded: {result['machine']}, {result['date']}, torch {result['versions']['torch']}")
    return result


class LiveLoss:
    """A log for ``fit`` that redraws the loss curve in the notebook as training goes."""

    def __init__(self, total: int) -> None:
        from IPython.display import display
        from matplotlib import pyplot as plt

        self.figure, self.axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
        self.axis.set(xlabel="training tokens", ylabel="loss, nats a token", xlim=(0, total))
        self.axis.grid(alpha=0.3)
        self.training, self.validation = [], []
        (self.line,) = self.axis.plot([], [], lw=1, label="training")
        (self.dots,) = self.axis.plot([], [], "o", label="validation")
        self.axis.legend()
        self.display = display(self.figure, display_id=True)
        plt.close(self.figure)

    def write(self, **entry) -> None:
        """Add one entry of the curve."""
        if "train_loss" in entry:
            self.training.append((entry["units"], entry["train_loss"]))
        if "val_loss" in entry:
            self.validation.append((entry["units"], entry["val_loss"]))
        for artist, points in ((self.line, self.training), (self.dots, self.validation)):
            artist.set_data(*zip(*points, strict=True) if points else ([], []))
        values = [y for _, y in self.training + self.validation]
        self.axis.set_ylim(min(values) - 0.3, max(values) + 0.3)
        self.display.update(self.figure)
