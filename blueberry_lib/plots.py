"""Figures. Everything that is drawn comes from records and logs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

MARKERS = "os^vD<>P*X"


@contextmanager
def panel(records: Sequence[dict], path: Path) -> Iterator:
    """Axes to draw records on, legible at the width of a phone, titled by track and machine and saved to ``path``."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot, whose backend belongs to the notebook or terminal it runs in

    with rc_context({"font.size": 12, "legend.fontsize": 12, "axes.titlesize": 12}):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axis = figure.subplots()
        axis.set_title(f"{records[0]['track']} on {records[0]['hardware']['name']}")
        axis.grid(alpha=0.3)
        yield axis
        figure.savefig(path, dpi=150)


def by_recipe(records: Sequence[dict]) -> dict[str, list[dict]]:
    """The records of each recipe, in the order in which recipes first occur."""
    groups: dict[str, list[dict]] = {}
    for record in records:
        groups.setdefault(record["recipe"], []).append(record)
    return groups


def loss_figure(records: Sequence[dict], path: Path) -> None:
    """Loss over training tokens, of one or more records, a color for each recipe."""
    from matplotlib.ticker import EngFormatter

    with panel(records, path) as axis:
        for i, (recipe, runs) in enumerate(by_recipe(records).items()):
            for run in runs:
                for key, style in (("train_loss", {"alpha": 0.6}), ("val_loss", {"marker": "o", "ls": "", "ms": 8})):
                    points = [(entry["tokens"], entry[key]) for entry in run["curve"] if key in entry]
                    axis.plot(*zip(*points, strict=True), color=f"C{i}", **style)
            loss, seconds = (fmean(run[key] for run in runs) for key in ("val_loss", "active_seconds"))
            axis.plot([], [], "o", color=f"C{i}", ms=8, label=f"{recipe}: validation {loss:.2f} after {seconds:,.0f} s")
        axis.plot([], [], color="gray", alpha=0.6, label="training")
        axis.set(xlabel="training tokens", ylabel="loss, nats a token")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.legend()


def ladder_figure(records: Sequence[dict], path: Path) -> None:
    """Final validation loss against active time, a point a run; the means of each recipe stand in the legend."""
    with panel(records, path) as axis:
        for i, (recipe, runs) in enumerate(by_recipe(records).items()):
            seconds, losses = ([run[key] for run in runs] for key in ("active_seconds", "val_loss"))
            label = f"{recipe}: {fmean(losses):.2f} in {fmean(seconds):,.0f} s"
            axis.plot(seconds, losses, MARKERS[i % len(MARKERS)], color=f"C{i}", alpha=0.7, ms=8, ls="", label=label)
        axis.set(xlabel="active time, s", ylabel="validation loss, nats a token")
        axis.margins(0.1)
        axis.legend(fontsize=10)
