"""Records compare only with their like, and the statistics of pairs are scipy's and right."""

import json
from pathlib import Path

import numpy as np
import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.speedrun.records import compare, median_ratio, read_record, read_records, sign_flips, student

stats = pytest.importorskip("scipy.stats")
STORED = Path(__file__).parents[2] / "book" / "records" / "compare_pocket_r4_best.json"


def records(recipe, losses, seconds=10.0, **changes):
    base = {"track": "pocket", "data_sha256": "d", "hardware": {"name": "cpu"}, "recipe": recipe, "tokens": 9}
    return [
        {**base, "seed": seed, "val_loss": loss, "active_seconds": seconds, **changes}
        for seed, loss in enumerate(losses)
    ]


def test_the_summary_holds_means_spreads_and_the_paired_tests():
    a, b = records("a", [3.72, 3.73, 3.74]), records("b", [3.51, 3.53, 3.50], seconds=8.0)
    found = compare(a, b)
    assert found["val_loss"] == pytest.approx([3.73, 3.51333], abs=1e-5)
    assert found["val_loss_std"] == pytest.approx([0.01, 0.0152753], abs=1e-6)
    assert found["active_time_ratio"] == pytest.approx(0.8) and found["active_time_interval"] is None
    reference = stats.ttest_rel([3.51, 3.53, 3.50], [3.72, 3.73, 3.74], alternative="less")
    assert found["p_lower_loss"] == pytest.approx(reference.pvalue)
    assert found["val_loss_difference"] == pytest.approx(-0.65 / 3)
    both_sides = stats.ttest_rel([3.51, 3.53, 3.50], [3.72, 3.73, 3.74]).confidence_interval(0.95)
    assert found["val_loss_interval"] == pytest.approx(list(both_sides))
    assert found["p_sign_flips"] == 1 / 8
    assert compare(b, a)["p_lower_loss"] == pytest.approx(1 - reference.pvalue)


def test_pairs_are_made_by_seed_and_not_by_place():
    a, b = records("a", [3.9, 4.0, 4.2]), records("b", [3.8, 3.91, 4.1])
    assert compare(a, b[::-1]) == compare(a, b)


@pytest.mark.parametrize("n", [2, 5, 7, 10])
def test_the_sign_flips_are_scipys_permutation_test_and_no_less_than_one_choice(n):
    differences = np.random.default_rng(n).normal(-0.3, 1, n)
    reference = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=2**n, alternative="less"
    )
    assert sign_flips(differences) == pytest.approx(reference.pvalue)
    assert sign_flips(-np.abs(differences)) == 0.5**n


@pytest.mark.parametrize("n", [5, 6, 7, 12, 20])
def test_the_median_ratio_has_scipys_interval_and_sign_test(n):
    ratios = np.exp(np.random.default_rng(n).normal(-0.1, 0.2, n))
    median, interval, p = median_ratio(ratios)
    assert median == pytest.approx(np.exp(np.median(np.log(ratios))))
    assert p == pytest.approx(stats.quantile_test(ratios, q=1, alternative="less").pvalue)
    reference = stats.quantile_test(ratios, q=1).confidence_interval(0.95)
    assert interval is None if n < 6 else interval == pytest.approx(list(reference))


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(3000, 7))
    held = [abs(mean) < half for mean, half, _ in map(student, draws.tolist())]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)
    intervals = [median_ratio(ratios)[1] for ratios in np.exp(draws).tolist()]
    assert np.mean([low < 1 < high for low, high in intervals]) == pytest.approx(1 - 2 / 2**7, abs=0.007)


def test_differences_without_spread_are_decided_by_their_sign():
    assert student([-0.5] * 3) == (-0.5, 0.0, 0.0) and student([0.0] * 3)[2] == 1.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"track": "8M"}, "their track differ"),
        ({"data_sha256": "other"}, "their data_sha256 differ"),
        ({"hardware": {"name": "another"}}, "their name differ: another, cpu"),
        ({"hardware": {"name": "cpu", "compute_dtype": "bfloat16"}}, "their compute_dtype differ: bfloat16, float32"),
        ({"hardware": {"name": "cpu", "cores": 4}}, "their cores differ: 2, 4"),
        ({"hardware": {"name": "cpu", "flags": ["avx2", "avx512"]}}, "their flags differ: avx2, avx2 avx512"),
        ({"hardware": {"name": "cpu", "peak_flops": 90e9}}, "peaks differ by over 25 %: 68 and 90 GFLOP/s"),
    ],
)
def test_records_of_another_track_data_or_machine_are_refused(change, reason):
    machine = {"name": "cpu", "compute_dtype": "float32", "cores": 2, "flags": ["avx2"], "peak_flops": 68e9}
    a = records("a", [1.0, 2.0], hardware=machine)
    with pytest.raises(BlueberryError, match=reason):
        compare(a, records("b", [1.0, 2.0], **change))
    compare(a, records("b", [1.0, 2.0], hardware=machine | {"peak_flops": 84e9}))


def test_float32_records_of_one_machine_do_not_meet_bfloat16_records_of_another_of_its_name():
    a, b = (
        records(recipe, losses, hardware={"name": "AMD EPYC", "device": "cpu", "cores": 2, **hardware})
        for recipe, losses, hardware in (
            ("r4", [4.02, 4.06, 3.99, 4.04, 4.01], {"compute_dtype": "float32", "peak_flops": 68e9}),
            ("best", [3.33, 3.35, 3.32, 3.34, 3.31], {"compute_dtype": "bfloat16", "peak_flops": 442e9}),
        )
    )
    with pytest.raises(
        BlueberryError, match="compute_dtype differ: bfloat16, float32; their measured peaks"
    ) as refusal:
        compare(a, b)
    assert "\n" not in str(refusal.value)


def test_what_an_old_record_lacks_is_said_and_one_slow_measurement_of_the_peak_forgiven():
    old, new = {"name": "cpu", "peak_flops": 442e9}, {"name": "cpu", "flags": ["avx2", "avx512_bf16"]}
    a = records("a", [1.0, 2.0], hardware=old)
    a[0] = {**a[0], "hardware": old | {"peak_flops": 159e9}}
    assert compare(a, records("b", [1.0, 2.0], hardware=old))["machine"]["flags"] == "not recorded"
    assert compare(a, records("b", [1.0, 2.0], hardware=new))["machine"]["flags"] == "not recorded"
    assert compare(*[records(r, [1.0, 2.0], hardware=new) for r in "ab"])["machine"]["flags"] == "avx2 avx512_bf16"


def test_five_copies_of_a_lucky_run_are_refused_against_five_of_an_unlucky_one():
    for label in (lambda seed: 0, lambda seed: seed):  # as they are, and with seeds written over
        a, b = (
            [
                {**run, "seed": label(run["seed"]), "curve": [{"train_loss": loss + 0.2}]}
                for run in records(name, [loss] * 5)
            ]
            for name, loss in (("r4", 4.06), ("best", 3.99))
        )
        with pytest.raises(BlueberryError, match="a run of r4 is there twice") as refusal:
            compare(a, b)
        assert "\n" not in str(refusal.value)
    relabelled = [{**run, "val_loss": 3.99 + 1e-6 * run["seed"]} for run in b]
    with pytest.raises(BlueberryError, match="a run of best is there twice"):
        compare(records("r4", [4.0, 4.1, 4.2, 4.3, 4.4]), relabelled)


def test_seeds_that_only_one_side_has_make_no_pairs():
    with pytest.raises(BlueberryError, match=r"their seeds differ: \[0, 1, 2\] and \[0, 1\]"):
        compare(records("a", [3.7, 3.8, 3.9]), records("b", [3.5, 3.6]))
    with pytest.raises(BlueberryError, match=r"recipe .*differ: b, c"):
        compare(records("a", [3.7, 3.8]), [records("b", [3.5])[0], records("c", [0, 3.6])[1]])


def test_one_run_is_no_evidence():
    with pytest.raises(BlueberryError, match="two seeds"):
        compare(records("a", [3.7]), records("b", [3.5]))


def test_the_stored_comparison_is_what_its_records_give():
    stored, full = json.loads(STORED.read_text(encoding="utf-8"))["summary"], 2**20
    r4, best, short = (
        read_records([STORED], *which)
        for which in (("r4", full), ("best", full), ("best", stored["shortest"]["tokens"]))
    )
    found = compare(r4, best)
    assert found == {
        key: pytest.approx(stored[key]) if key.startswith(("val", "p_", "act")) else stored[key] for key in found
    }
    assert found["val_loss_interval"][1] < -0.75 and found["machine"]["flags"] == "avx2"
    assert stored["shortest"]["val_loss"] == pytest.approx(sum(run["val_loss"] for run in short) / len(short))
    assert stored["shortest"]["val_loss"] <= stored["val_loss"][0]


def test_only_a_record_is_read_as_one(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"val_loss": 1.0}))
    assert read_record(path) == {"val_loss": 1.0}
    path.write_text(json.dumps({"loss": 1}))
    with pytest.raises(BlueberryError, match="no record"):
        read_record(path)
