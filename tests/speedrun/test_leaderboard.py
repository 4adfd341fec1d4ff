"""The leaderboard ranks within a track, a machine and a corpus, and shows a claim only where it is shown."""

import json

import pytest

from blueberry_lib.speedrun.leaderboard import fill, load_records, machine_class, render

pytest.importorskip("scipy")


def record(recipe, seed, loss, device="cpu", name="a CPU", track="pocket", **changes):
    return {
        "track": track, "recipe": recipe, "seed": seed, "val_loss": loss, "active_seconds": 60.0 + seed,
        "tokens": 2**20 if track == "pocket" else 8_000_000, "data_sha256": "d" * 64, "official": True,
        "hardware": {"name": name, "device": device}, "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "date": "2026-11-21", "params": 1, **changes,
    }  # fmt: skip


FIVE = [record(r, s, loss + 0.01 * s) for r, loss in (("r4", 3.9), ("best", 3.4)) for s in range(5)]


def rows(text, recipe):
    ours = text.split("### The original's figures")[0]
    return [line for line in ours.splitlines() if line.startswith(f"| {recipe} ")]


def test_five_runs_an_arm_show_a_claim_and_fewer_do_not():
    (best,) = rows(render(FIVE), "best")
    assert "3.420 ± 0.016" in best and "**-0.500**, shown" in best and "submitted" in best
    (best,) = rows(render([r for r in FIVE if r["seed"] < 3]), "best")
    assert "not shown" in best and "provisional: 3 of 5 runs" in best


def test_machines_and_data_are_kept_apart_and_the_lowest_loss_comes_first():
    other = [record(r, s, 4.0 + s / 100, "cuda", "Tesla T4") for r in ("r4", "r2") for s in (0, 1)]
    text = render(FIVE + other + [record("best", 9, 3.0, data_sha256="e" * 64)])
    assert text.count("### pocket, CPU: a CPU") == 2 and "### pocket, T4: Tesla T4" in text
    first = text.split("### pocket, CPU: a CPU")[1]
    assert first.index("| best |") < first.index("| r4 |")


def test_an_improvement_is_confirmed_once_a_second_machine_shows_it():
    def second(add):
        return [{**r, "hardware": {"name": "another", "device": "cpu"}, "val_loss": r["val_loss"] + add} for r in FIVE]

    assert all("submitted" in row for row in rows(render(FIVE), "best"))
    assert all("confirmed" in row for row in rows(render(FIVE + second(0.1)), "best"))
    same = [{**r, "val_loss": 3.9 + 0.01 * r["seed"]} for r in second(0.0)]
    assert all("submitted" in row for row in rows(render(FIVE + same), "best"))


def test_a_shorter_budget_and_an_unofficial_run_do_not_rank():
    text = render([*FIVE, record("r3", 0, 1.0, tokens=2**19), record("r0", 0, 3.0, official=False)])
    assert rows(text, "r3") == []
    assert "history, unranked" in rows(text, "r0")[0]


def test_the_originals_figures_stand_in_a_table_of_their_own():
    text = render([])
    assert "4.7333, 4.8366, 1 min 28 s" in text and "never to be set beside ours" in text


def test_classes():
    found = [machine_class(record("r4", 0, 1, device, name)) for device, name in
             (("cpu", "x"), ("mps", "M3"), ("cuda", "Tesla T4"), ("cuda", "NVIDIA H200"))]  # fmt: skip
    assert found == ["CPU", "Apple GPU", "T4", "large GPU"]


def test_records_are_read_from_files_of_any_kind_once(tmp_path):
    (tmp_path / "ladder.json").write_text(json.dumps({"records": FIVE}))
    (tmp_path / "one.json").write_text(json.dumps(FIVE[0]))
    (tmp_path / "else.json").write_text(json.dumps({"tokens_per_second": 3}))
    assert len(load_records(tmp_path)) == len(FIVE)


def test_a_page_is_filled_between_its_markers():
    page = "# Leaderboard\n<!--leaderboard:begin-->\nold\n<!--leaderboard:end-->\nafter\n"
    filled = fill(page, FIVE)
    assert filled.startswith("# Leaderboard\n") and filled.endswith("after\n") and "old" not in filled
    assert fill(filled, FIVE) == filled
    with pytest.raises(ValueError, match="has no"):
        fill("nothing", FIVE)
