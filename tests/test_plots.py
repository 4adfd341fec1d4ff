"""The figure of a run is one panel in letters that a phone can show."""

import pytest

from blueberry_lib.plots import loss_figure

plt = pytest.importorskip("matplotlib.pyplot")
Figure = pytest.importorskip("matplotlib.figure").Figure


def record(recipe, loss):
    curve = [{"tokens": t, "active_seconds": t / 100, "train_loss": 8 - t / 1000} for t in (0, 1000, 2000)]
    curve.append({"tokens": 2000, "active_seconds": 20.0, "val_loss": loss})
    return {
        "recipe": recipe,
        "track": "pocket",
        "hardware": {"name": "a machine"},
        "val_loss": loss,
        "active_seconds": 20.0,
        "curve": curve,
    }


def test_one_large_panel_holds_every_run_and_the_mean_of_each_recipe(tmp_path, monkeypatch):
    drawn = []
    save, backend = Figure.savefig, plt.get_backend()
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    loss_figure([record("r4", 4.0), record("best", 3.0), record("best", 3.5)], tmp_path / "loss.png")
    (axis,) = drawn[0].axes
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["r4: validation 4.00 after 20 s", "best: validation 3.25 after 20 s", "training"]
    assert sum(len(line.get_xdata()) == 3 for line in axis.lines) == 3
    labels = [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.get_legend().get_texts(), *axis.get_xticklabels()]
    assert min(label.get_fontsize() for label in labels) >= 12
    assert plt.imread(tmp_path / "loss.png").shape[:2] == (570, 960)
    assert plt.get_backend() == backend and not plt.get_fignums()
