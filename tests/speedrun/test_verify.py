"""Claims err as often as they say, and a record that cannot be is refused with the reason."""

import copy
import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.model.size import flops_per_token, n_params
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.records import content_sha256
from blueberry_lib.speedrun.verify import check_record, claims, describe_claims, faults

pytest.importorskip("scipy")
RNG = np.random.default_rng(0)


def arm(recipe, losses, seconds=None, **changes):
    base = {
        "track": "pocket",
        "data_sha256": "d",
        "hardware": {"name": "cpu"},
        "recipe": recipe,
        "tokens": 9,
        **changes,
    }
    seconds = [10.0] * len(losses) if seconds is None else seconds
    return [{**base, "val_loss": loss, "active_seconds": s} for loss, s in zip(losses, seconds, strict=True)]


def share(effect, slower, claim, count=1000):
    """How often a claim is shown, with five seeds an arm, for a true effect on loss and a true ratio of times."""
    shown = 0
    for _ in range(count):
        a = arm("a", RNG.normal(3.9, 0.01, 5), RNG.normal(10, 0.2, 5))
        b = arm("b", RNG.normal(3.9 + effect, 0.01, 5), RNG.normal(10 * slower, 0.2, 5))
        shown += claims(a, b)[claim]["shown"]
    return shown / count


def test_without_an_effect_a_claim_is_shown_in_about_one_of_a_hundred():
    assert 0.003 < share(0.0, 1.0, "lower_loss", 3000) < 0.02
    assert share(-0.03, 1.0, "faster", 2000) < 0.02
    assert share(0.005, 0.5, "faster", 2000) < 0.02, "as much worse as the margin, however fast"


def test_a_large_effect_is_found():
    assert share(-0.05, 1.0, "lower_loss", 300) > 0.95
    assert share(-0.03, 0.8, "faster", 300) > 0.95


def test_what_is_not_shown_says_why():
    a, b = arm("a", [3.9, 3.91, 3.92, 3.93, 3.94]), arm("b", [3.5, 3.51, 3.52])
    assert "3 runs an arm; a claim takes 5" in describe_claims(claims(a, b))
    found = claims(a, arm("b", [3.9, 3.92, 3.91, 3.93, 3.95], [9.0, 9.1, 9.2, 9.0, 9.1]))
    assert not found["lower_loss"]["shown"] and "p = " in found["lower_loss"]["why"]
    assert not found["faster"]["shown"] and "not ruled out" in found["faster"]["why"]
    with pytest.raises(BlueberryError, match="data_sha256 differ"):
        claims(a, arm("b", [3.5] * 5, data_sha256="other"))
    with pytest.raises(BlueberryError, match="different budgets, 8 and 9 tokens"):
        claims(a, arm("b", [3.5] * 5) + arm("b", [3.6] * 5, tokens=8))


def honest():
    """A record as an official run of best on pocket would write it."""
    config = get_recipe("best", "pocket")
    tokens, steps, seconds = config.tokens, config.total_steps, 70.0
    curve = [
        {
            "step": step,
            "tokens": step * tokens // steps,
            "active_seconds": round(seconds * step / steps, 3),
            "train_loss": 3.4 + 4.8 * math.exp(-step / 40),
        }
        for step in [*range(10, steps, 10), steps]
    ]
    curve.append({"step": steps, "tokens": tokens, "active_seconds": seconds, "val_loss": 3.36})
    record = {
        "track": "pocket", "recipe": "best", "seed": 0, "official": True, "deviations": [],
        "params": n_params(config.model), "tokens": tokens, "steps": steps, "train_loss": 3.4, "val_loss": 3.36,
        "val_perplexity": math.exp(3.36), "active_seconds": seconds, "tokens_per_second": tokens / seconds,
        "flops": tokens * flops_per_token(config.model), "versions": {"torch": "2.13.0"},
        "hardware": {"name": "cpu", "peak_flops": 4e11},
        "source_sha256": "0" * 64, "data_sha256": "1" * 64, "config": json.loads(json.dumps(asdict(config))),
        "date": "2026-11-21T12:00:00Z", "curve": curve,
    }  # fmt: skip
    return seal(record)


def seal(record):
    return {**record, "sha256": content_sha256(record)}


def test_an_honest_record_has_no_fault():
    assert faults(honest()) == []
    assert check_record(json.dumps(honest())) == []


def changed(path, value):
    """The honest record with one value changed, and a hash that agrees again."""
    record = copy.deepcopy(honest())
    *parents, last = path
    inner = record
    for key in parents:
        inner = inner[key]
    inner[last] = value(inner[last]) if callable(value) else value
    return seal(record)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("config", "validation_tokens"), 65_536, "validation_tokens is 65536, the track fixes 131072"),
        (("config", "model", "d_ff"), 768, "the track allows"),
        (("params",), lambda n: n * 2, "params is"),
        (("config", "data"), "docs", "data is docs"),
        (("config", "train_tokens"), 2**21, "train_tokens is"),
        (("tokens",), lambda n: n // 2, "tokens is"),
        (("steps",), lambda n: n - 1, "steps is"),
        (("flops",), lambda n: n / 2, "flops is"),
        (("active_seconds",), 35.0, "tokens_per_second is"),
        (("val_loss",), 3.30, "the curve's last validation loss is 3.36"),
        (("val_perplexity",), 20.0, "val_perplexity is"),
        (("train_loss",), 2.9, "the curve ends at a training loss"),
        (("hardware", "peak_flops"), 1e10, "more than the machine's peak"),
        (("source_sha256",), "unknown", "source_sha256 is no sha256"),
        (("recipe",), "r4", "recipe or seed differ"),
        (("deviations",), ["none that matter"], "it says"),
        (("curve", 5, "tokens"), 2**20, "goes back in tokens"),
        (("curve",), [], "the curve lacks"),
        (("track",), 7, "of the wrong type"),
        (("config", "luck"), 1, "its config cannot be read"),
    ],
)
def test_a_planted_cheat_is_refused_with_the_reason(path, value, reason):
    assert any(reason in fault for fault in faults(changed(path, value))), faults(changed(path, value))


def test_a_clock_that_stopped_is_noticed():
    record = honest()
    for entry in record["curve"]:  # the last third of the run costs nothing
        entry["active_seconds"] = min(entry["active_seconds"], 45.0)
    record |= {"active_seconds": 45.0, "tokens_per_second": record["tokens"] / 45.0}
    assert any("times as fast as the rest" in fault for fault in faults(seal(record)))
    record = honest() | {"active_seconds": 50.0, "tokens_per_second": 2**20 / 50}
    assert any("the curve's clock ends at" in fault for fault in faults(seal(record)))


def test_an_edited_digit_shows_in_the_hash_and_a_missing_field_by_name():
    assert faults(honest() | {"date": "2026-11-22"}) == ["its content is not what its own sha256 was taken of"]
    record = honest()
    del record["curve"]
    assert faults(record) == ["curve is missing"]
    assert "no JSON" in check_record("{")[0]
    assert check_record("[]") == ["it is no JSON object"]
