"""Figures. Everything that is drawn comes from records and logs."""

from collections.abc import Sequence
from pathlib import Path


def loss_figure(records: Sequence[dict], path: Path) -> None:
    """Training and validation loss of one or more records, against tokens and against active seconds."""
    import matplotlib

    if path.suffix == ".png":
        matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    recipes = list(dict.fromkeys(record["recipe"] for record in records))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, x in zip(axes, ("tokens", "active_seconds"), strict=True):
        for record in records:
            color = f"C{recipes.index(record['recipe'])}"
            training = [e for e in record["curve"] if "train_loss" in e]
            validation = [e for e in record["curve"] if "val_loss" in e]
            axis.plot([e[x] for e in training], [e["train_loss"] for e in training], color=color, alpha=0.5, lw=1)
            axis.plot([e[x] for e in validation], [e["val_loss"] for e in validation], "o", color=color, ms=5)
        axis.grid(alpha=0.3)
    for i, recipe in enumerate(recipes):
        losses = [record["val_loss"] for record in records if record["recipe"] == recipe]
        axes[0].plot([], [], "o-", color=f"C{i}", label=f"{recipe}: validation {sum(losses) / len(losses):.3f}")
    axes[0].set(xlabel="training tokens", ylabel="loss, nats a token (line: training, dot: validation)")
    axes[1].set(xlabel="active seconds")
    axes[0].legend()
    figure.suptitle(f"{records[0]['track']} on {records[0]['hardware']['name']}", fontsize="medium")
    figure.savefig(path, dpi=150)
    plt.close(figure)
