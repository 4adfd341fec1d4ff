"""How every record of a measurement begins."""

from datetime import UTC, datetime

from blueberry_lib.hardware import Hardware
from blueberry_lib.training.folder import versions


def measured(what: str, hardware: Hardware) -> dict:
    """What was measured, when, on which machine and with which versions."""
    return {
        "what": what,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": hardware.name,
        "hardware": hardware.summary(),
        "versions": versions(),
    }
