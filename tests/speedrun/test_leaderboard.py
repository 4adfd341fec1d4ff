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
        "date": "2026-11-21", "params": 1, "flops": 2**20 * 8.3e6, **changes,
    }  # fmt: skip


def seven(recipe, loss, **changes):
    """Runs of seeds 0 to 6, 0.01 apart, with noise of 0.002 within pairs."""
    return [
        record(recipe, seed, loss + 0.01 * seed + 0.002 * ((seed * len(recipe)) % 3), **changes) for seed in range(7)
    ]


SEVEN = seven("r4", 3.9) + seven("best", 3.4)


def rows(text, recipe):
    ours = text.split("### The original's figures")[0]
    return [line for line in ours.splitlines() if line.startswith(f"| {recipe} ")]


def test_seven_pairs_show_a_claim_and_fewer_are_provisional():
    (best,) = rows(render(SEVEN), "best")
    assert "3.432 ± 0.020" in best and "| -0.500 (-0.502 to -0.498) | r4: shown (7 pairs, p = " in best
    assert "sign flips 0.0078" in best and "| 8.3 M | **record**; submitted |" in best
    (best,) = rows(render([r for r in SEVEN if r["seed"] < 5]), "best")
    assert "r4: provisional (5 pairs" in best and "**record**; provisional: 5 of 7 runs" in best


def test_a_recipe_a_thousandth_below_the_record_does_not_outrank_it_by_beating_r4():
    near = [{**run, "val_loss": run["val_loss"] - 0.001 + 0.0057 * (-1) ** run["seed"]} for run in seven("best", 3.4)]
    text = render(SEVEN + [{**run, "recipe": "nearly", "date": "2026-12-01"} for run in near])
    assert text.index("| best |") < text.index("| nearly |"), "the record stands first"
    (best,), (nearly,) = rows(text, "best"), rows(text, "nearly")
    assert "best: -0.0" in nearly and "not shown (7 pairs" in nearly and "record" not in nearly and "**record**" in best
    assert nearly.split("|")[5].strip().startswith("-0.5"), "its difference to r4 stands beside"


def test_the_record_passes_to_whoever_beats_it_and_the_tuned_baseline_stands_beside():
    better = [
        {**run, "recipe": "better", "val_loss": run["val_loss"] - 0.02, "date": "2026-12-01"} for run in SEVEN[7:]
    ]
    text = render(SEVEN + better + seven("r4-tuned", 3.8))
    assert "against r4 | against r4-tuned | against the incumbent" in text
    (better,), (best,) = rows(text, "better"), rows(text, "best")
    assert "best: -0.020 (-0.020 to -0.020), shown" in better and "**record**" in better and "record" not in best
    assert best.count("-0.4") == 3, "difference and interval against r4-tuned"


def test_an_unofficial_run_is_no_incumbent():
    text = render(SEVEN + seven("r1", 3.0, official=False))
    assert "history, unranked" in rows(text, "r1")[0] and "**record**" in rows(text, "best")[0]


def test_dtypes_threads_and_flags_are_machines_of_their_own():
    plain = {"name": "a CPU", "device": "cpu", "compute_dtype": "float32", "cores": 2}
    fast = plain | {"compute_dtype": "bfloat16", "flags": ["avx2", "avx512_bf16"]}
    text = render([{**run, "hardware": machine} for run in SEVEN for machine in (plain, fast)])
    assert "float32, 2 threads, processor flags not recorded" in text
    assert "bfloat16, 2 threads, processor flags avx2 avx512_bf16" in text and len(rows(text, "best")) == 2
    assert all("submitted" in row for row in rows(text, "best")), "one name is no second machine"


def test_machines_and_data_are_kept_apart_and_the_lowest_loss_comes_first():
    other = [record(r, s, 4.0 + s / 100, "cuda", "Tesla T4") for r in ("r4", "r2") for s in (0, 1)]
    text = render(SEVEN + other + [record("best", 9, 3.0, data_sha256="e" * 64)])
    assert text.count("### pocket, CPU: a CPU") == 2 and "### pocket, T4: Tesla T4" in text
    first = text.split("### pocket, CPU: a CPU")[1]
    assert first.index("| best |") < first.index("| r4 |")


def test_an_improvement_is_confirmed_once_a_second_machine_shows_it():
    def second(add):
        return [{**r, "hardware": {"name": "another", "device": "cpu"}, "val_loss": r["val_loss"] + add} for r in SEVEN]

    assert all("submitted" in row for row in rows(render(SEVEN), "best"))
    assert all("confirmed" in row for row in rows(render(SEVEN + second(0.1)), "best"))
    same = [{**r, "val_loss": 3.9 + 0.01 * r["seed"]} for r in second(0.0)]
    assert all("submitted" in row for row in rows(render(SEVEN + same), "best"))


def test_a_shorter_budget_and_an_unofficial_run_do_not_rank():
    text = render([*SEVEN, record("r3", 0, 1.0, tokens=2**19), record("r0", 0, 3.0, official=False)])
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
    (tmp_path / "ladder.json").write_text(json.dumps({"records": SEVEN}))
    (tmp_path / "one.json").write_text(json.dumps(SEVEN[0]))
    (tmp_path / "else.json").write_text(json.dumps({"tokens_per_second": 3}))
    assert len(load_records(tmp_path)) == len(SEVEN)


def test_a_page_is_filled_between_its_markers():
    page = "# Leaderboard\n<!--leaderboard:begin-->\nold\n<!--leaderboard:end-->\nafter\n"
    filled = fill(page, SEVEN)
    assert filled.startswith("# Leaderboard\n") and filled.endswith("after\n") and "old" not in filled
    assert fill(filled, SEVEN) == filled
    with pytest.raises(ValueError, match="has no"):
        fill("nothing", SEVEN)
