"""The comparison interleaves its runs, repeats none, and finds the shortest budget that still wins."""

import pytest

from blueberry_lib.speedrun import compare as module
from blueberry_lib.speedrun.compare import BUDGET_STEPS, compare_recipes, describe

pytest.importorskip("scipy")


def test_seeds_are_interleaved_and_the_budget_is_the_shortest(monkeypatch, tmp_path):
    calls = []

    def fake(folder, recipe, track, seed, parts, device, say):
        calls.append((recipe, seed, parts))
        loss = 3.73 if recipe == "r4" else 4.1 - 0.6 * parts / BUDGET_STEPS
        noise = 0.001 * seed + (0.02 if recipe == "best" and seed == 2 else 0)
        return {
            "recipe": recipe, "track": track, "data_sha256": "d", "hardware": {"name": "cpu"},
            "val_loss": loss + noise, "active_seconds": 60.0 * parts / BUDGET_STEPS, "tokens": parts,
        }  # fmt: skip

    monkeypatch.setattr(module, "run_once", fake)
    summary, records = compare_recipes("r4", "best", "pocket", 3, tmp_path)
    full = [("r4", 0), ("best", 0), ("r4", 1), ("best", 1), ("r4", 2), ("best", 2)]
    assert [(recipe, seed) for recipe, seed, _ in calls[:6]] == full
    # 4.1 − 0.6 p/32 + 0.023/3 ≤ 3.731 first at p = 21 in the mean, though seed 0 alone passes at 20
    assert summary["shortest"]["tokens"] == 21 and summary["shortest"]["val_loss"] <= summary["val_loss"][0]
    assert summary["shortest"]["active_time_ratio"] == pytest.approx(21 / 32)
    assert len(records) == 9
    assert "lower loss shown" in describe(summary) and "0.66×" in describe(summary)


def test_a_recipe_that_is_no_better_has_no_budget(monkeypatch, tmp_path):
    def fake(folder, recipe, track, seed, *_):
        return {
            "recipe": recipe, "track": track, "data_sha256": "d", "hardware": {"name": "cpu"},
            "val_loss": 3.7 + 0.01 * seed + 0.001 * (recipe == "best"), "active_seconds": 1.0, "tokens": 1,
        }  # fmt: skip

    monkeypatch.setattr(module, "run_once", fake)
    summary, records = compare_recipes("r4", "best", "pocket", 2, tmp_path)
    assert summary["shortest"] is None and len(records) == 4
    assert "not shown" in describe(summary)
