"""How every run begins, and what every record says."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from blueberry_lib.hardware import Hardware, detect, keep_freed_memory
from blueberry_lib.training.clock import Clock
from blueberry_lib.training.folder import source_sha256, versions
from blueberry_lib.training.loop import Result


def begin(device: str, precision: str) -> tuple[Hardware, Clock]:
    """Start the clock, then find the hardware."""
    clock = Clock()
    hardware = detect(device, precision)
    if hardware.device == "cpu":
        keep_freed_memory()
    clock.device = hardware.device
    return hardware, clock


def facts(config: Any, result: Result, clock: Clock, hardware: Hardware, unit: str) -> dict:
    """What a record says of any run, its units being called ``unit``; the cost is in dollars."""
    price = hardware.price_per_hour
    return {
        unit: result.units,
        "steps": result.step,
        "train_loss": result.train_loss,
        "dollars": price * sum(clock.seconds.values()) / 3600 if price is not None else None,
        "hardware": hardware.summary(),
        "versions": versions(),
        "source_sha256": source_sha256(),
        "config": asdict(config),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "curve": [{(unit if k == "units" else k): v for k, v in entry.items()} for entry in result.curve],
    }
