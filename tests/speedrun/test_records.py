"""Records compare only with their like, and the statistics are scipy's and right."""

import json

import numpy as np
import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.speedrun.records import compare, read_record

pytest.importorskip("scipy")


def records(recipe, losses, seconds=10.0, **changes):
    base = {"track": "pocket", "data_sha256": "d", "hardware": {"name": "cpu"}, "recipe": recipe}
    return [{**base, "val_loss": loss, "active_seconds": seconds, **changes} for loss in losses]


def test_the_summary_holds_means_spreads_and_welchs_test():
    a, b = records("a", [3.72, 3.73, 3.74]), records("b", [3.51, 3.52, 3.50], seconds=8.0)
    found = compare(a, b)
    assert found["val_loss"] == pytest.approx([3.73, 3.51])
    assert found["val_loss_std"] == pytest.approx([0.01, 0.01])
    assert found["val_loss_difference"] == pytest.approx(-0.22)
    assert found["active_time_ratio"] == pytest.approx(0.8)
    t = -0.22 / (0.01**2 / 3 + 0.01**2 / 3) ** 0.5  # with equal spreads, 4 degrees of freedom
    from scipy.stats import t as student

    assert found["p_lower_loss"] == pytest.approx(student.cdf(t, 4))
    assert compare(b, a)["p_lower_loss"] == pytest.approx(1 - student.cdf(t, 4))


def test_without_an_effect_a_hundredth_of_the_claims_pass():
    rng = np.random.default_rng(0)
    passed = [
        compare(records("a", rng.normal(size=5)), records("b", rng.normal(size=5)))["p_lower_loss"] < 0.01
        for _ in range(3000)
    ]
    assert 0.003 < np.mean(passed) < 0.018


@pytest.mark.parametrize("change", [{"track": "8M"}, {"data_sha256": "other"}, {"hardware": {"name": "another"}}])
def test_records_of_another_track_data_or_machine_are_refused(change):
    with pytest.raises(BlueberryError, match=f"their {next(iter(change))} differ"):
        compare(records("a", [1.0, 2.0]), records("b", [1.0, 2.0], **change))


def test_one_run_is_no_evidence():
    with pytest.raises(BlueberryError, match="two seeds"):
        compare(records("a", [3.7]), records("b", [3.5]))


def test_only_a_record_is_read_as_one(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"val_loss": 1.0}))
    assert read_record(path) == {"val_loss": 1.0}
    path.write_text(json.dumps({"loss": 1}))
    with pytest.raises(BlueberryError, match="no record"):
        read_record(path)
