"""Claims err as often as they say, and a record that cannot be is refused with the reason."""

import copy
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.model.size import flops_per_token, n_params
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.records import content_sha256, p_lower, read_records
from blueberry_lib.speedrun.tracks import deviations
from blueberry_lib.speedrun.verify import check_record, claims, describe_claims, faults

pytest.importorskip("scipy")
RNG = np.random.default_rng(0)


def arm(recipe, losses, seconds=None, seeds=None, **changes):
    base = {
        "track": "pocket",
        "data_sha256": "d",
        "hardware": {"name": "cpu"},
        "recipe": recipe,
        "tokens": 9,
        **changes,
    }
    seconds = [10.0] * len(losses) if seconds is None else seconds
    rows = zip(seeds or range(len(losses)), map(float, losses), map(float, seconds), strict=True)
    return [{**base, "seed": seed, "val_loss": loss, "active_seconds": s} for seed, loss, s in rows]


def drawn(effect, sd, slower=1.0, n=7):
    """Two arms whose seeds they share: 0.05 nats from seed to seed, ``sd`` within a pair, as r2 to r6 have."""
    seed = RNG.normal(3.9, 0.05, n)
    before, after = seed, seed + effect + RNG.normal(0, sd, n)
    return arm("a", before, RNG.normal(10, 0.2, n)), arm("b", after, RNG.normal(10 * slower, 0.2, n))


def share(claim, count, *args, **kwargs):
    """How often a claim is shown."""
    return np.mean([claims(*drawn(*args, **kwargs))[claim]["standing"] == "shown" for _ in range(count)])


def test_without_an_effect_a_claim_is_shown_in_one_of_a_hundred():
    assert share("lower_loss", 2500, 0.0, 0.008) == pytest.approx(0.01, abs=0.006)
    assert share("faster", 1500, -0.03, 0.008) == pytest.approx(1 / 128, abs=0.007)
    assert share("faster", 1500, 0.005, 0.008, 0.5) == pytest.approx(0.01, abs=0.008), "worse by the margin, and fast"


@pytest.mark.parametrize("sd", [0.004, 0.008, 0.012])
def test_the_power_is_that_of_the_paired_t_and_far_above_welchs(sd):
    stats = pytest.importorskip("scipy.stats")
    effect, n = -0.02, 7
    expected = stats.nct.cdf(stats.t.ppf(0.01, n - 1), n - 1, effect / sd * n**0.5)
    assert share("lower_loss", 600, effect, sd) == pytest.approx(expected, abs=0.05) and expected > 0.8
    unpaired = [
        p_lower(*([r["val_loss"] for r in runs] for runs in drawn(effect, sd)[::-1])) < 0.01 for _ in range(400)
    ]
    assert np.mean(unpaired) < 0.1


def test_a_faster_recipe_that_is_no_worse_is_found():
    assert share("faster", 300, -0.03, 0.008, 0.8) > 0.95


def test_what_is_not_shown_says_why():
    five, lower = [3.9, 3.91, 3.92, 3.93, 3.94], [3.5, 3.511, 3.52, 3.531, 3.54]
    found = claims(arm("a", five), arm("b", lower))
    assert found["lower_loss"]["standing"] == "provisional" and found["lower_loss"]["p"] < 1e-6
    words = describe_claims(found)
    assert "a lower validation loss: provisional: 5 pairs; a claim takes 7" in words
    assert "sign flips p = 0.031, at least 0.031 for 5 pairs" in words and "an interval takes 6 pairs" in words
    found = claims(arm("a", five), arm("b", [3.9, 3.92, 3.911, 3.93, 3.95], [9.0, 9.1, 9.2, 9.0, 9.1]))
    assert found["lower_loss"]["standing"] == "not shown" and "p = " in found["lower_loss"]["why"]
    assert found["faster"]["standing"] == "not shown" and "not ruled out" in found["faster"]["why"]
    assert "p = 0.031 on active time" in found["faster"]["why"], "the least that five pairs can give"
    with pytest.raises(BlueberryError, match="data_sha256 differ"):
        claims(arm("a", five), arm("b", lower, data_sha256="other"))
    with pytest.raises(BlueberryError, match="tokens on one side .see --tokens. differ: 8, 9"):
        claims(arm("a", five * 2), arm("b", lower) + arm("b", lower, tokens=8))


def test_seven_pairs_show_a_claim_but_not_with_picked_seeds_nor_with_a_run_that_diverged():
    a, b = [3.9 + 0.01 * seed for seed in range(7)], [3.5 + 0.011 * seed for seed in range(7)]
    found = claims(arm("a", a), arm("b", b, [8.0 + 0.1 * seed for seed in range(7)]))
    assert found["lower_loss"]["standing"] == found["faster"]["standing"] == "shown"
    assert "0.83×, the median; 95 % interval 0.80 to 0.86" in describe_claims(found)
    picked = [0, 1, 2, 3, 5, 8, 13]
    found = claims(arm("a", a, seeds=picked), arm("b", b, seeds=picked))
    assert found["lower_loss"]["standing"] == "not shown" and "are picked" in found["lower_loss"]["why"]
    found = claims(arm("a", a), arm("b", [math.nan, *b[1:]]))
    assert {found[claim]["standing"] for claim in ("lower_loss", "faster")} == {"not shown"}


def honest(recipe="best", seed=0, val_loss=3.36, budget=2**20):
    """A record as a run of a recipe on pocket would write it, an official one at the whole budget."""
    config = replace(get_recipe(recipe, "pocket"), seed=seed, train_tokens=budget)
    tokens, steps, seconds, broken = config.tokens, config.total_steps, 70.0, deviations(config)
    curve = [
        {
            "step": step,
            "tokens": step * tokens // steps,
            "active_seconds": round(seconds * step / steps, 3),
            "train_loss": 3.4 + seed / 1000 + 4.8 * math.exp(-step / 40),
        }
        for step in [*range(10, steps, 10), steps]
    ]
    curve.append({"step": steps, "tokens": tokens, "active_seconds": seconds, "val_loss": val_loss})
    record = {
        "track": "pocket", "recipe": recipe, "seed": seed, "official": not broken, "deviations": broken,
        "params": n_params(config.model), "tokens": tokens, "steps": steps, "train_loss": 3.4, "val_loss": val_loss,
        "val_perplexity": math.exp(val_loss), "active_seconds": seconds, "tokens_per_second": tokens / seconds,
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


def raced(last_two):
    """A record of best on pocket-race that ended after 14 of 32 parts, where the last two evaluations were these."""
    config = get_recipe("best", "pocket-race")
    tokens, seconds = 14 * 2**15, 30.0
    per_token = flops_per_token(config.model)
    steps = tokens // config.tokens_per_step
    curve = []
    for part in range(1, 15):
        place = {"step": steps * part // 14, "tokens": 2**15 * part, "active_seconds": seconds * part / 14}
        loss = last_two[part - 13] if part > 12 else 5.5 - 0.1 * part
        curve += [{**place, "train_loss": 4.1}, {**place, "val_loss": loss}]
    record = honest() | {
        "track": "pocket-race", "config": json.loads(json.dumps(asdict(config))), "tokens": tokens, "steps": steps,
        "train_loss": 4.1, "val_loss": last_two[1], "val_perplexity": math.exp(last_two[1]), "curve": curve,
        "active_seconds": seconds, "tokens_per_second": tokens / seconds, "flops": tokens * per_token,
    }  # fmt: skip
    return seal(record)


def test_a_race_ends_where_the_last_two_evaluations_have_the_target_in_the_mean():
    target = get_recipe("best", "pocket-race").target_loss
    assert faults(raced([target + 0.02, target - 0.03])) == []
    (fault,) = faults(raced([target + 0.04, target - 0.03]))
    assert "do not reach" in fault


def test_in_a_race_only_the_time_counts():
    slow, fast = ([seconds + seed for seed in range(7)] for seconds in (60.0, 25.0))
    a = arm("a", [4.0 + 0.001 * s for s in range(7)], slow, track="pocket-race")
    b = [
        {**run, "tokens": 9 + run["seed"]}
        for run in arm("b", [4.01 + 0.001 * s for s in range(7)], fast, track="pocket-race")
    ]
    found = claims(a, b)
    assert found["faster"]["standing"] == "shown" and found["lower_loss"]["why"] == "a race asks for time"
    assert claims(b, a)["faster"]["standing"] == "not shown"
    with pytest.raises(BlueberryError, match="tokens on one side"):
        claims(
            arm("a", [4.0 + s for s in range(7)]),
            [{**run, "tokens": 9 + run["seed"]} for run in arm("b", [3.0 + s for s in range(7)])],
        )


def test_a_track_with_a_limit_of_time_is_held_to_it():
    config = get_recipe("best", "pocket-slow")
    record = honest() | {"track": "pocket-slow", "config": json.loads(json.dumps(asdict(config)))}
    assert faults(seal(record)) == []
    late = [{**entry, "active_seconds": 10 * entry["active_seconds"]} for entry in record["curve"]]
    record |= {"curve": late, "active_seconds": 700.0, "tokens_per_second": record["tokens"] / 700}
    assert faults(seal(record)) == ["it took 700 active seconds, and its track allows 600"]


def test_a_comparison_is_submitted_whole_without_its_shorter_budgets(tmp_path, capsys):
    pytest.importorskip("tyro")
    from blueberry_lib.cli.speedrun import SpeedrunSubmit

    bar, mine = "best-without-copy-head", "best"
    whole = [honest(bar, seed, 3.6 + seed / 90) for seed in range(7)]
    whole += [honest(mine, seed, 3.3 + seed / 100) for seed in range(7)]
    shorter = [honest(mine, seed, 3.55 + seed / 100, budget=2**19) for seed in range(7)]
    file = tmp_path / "compare.json"
    file.write_text(json.dumps({"records": whole + shorter}))
    SpeedrunSubmit((file,), "an idea", recipe=mine, against_recipe=bar, folder=tmp_path).run()
    assert f"{mine} against {bar}, a lower validation loss: shown" in capsys.readouterr().out
    written = read_records([tmp_path / "speedrun_pocket_best_cpu.json"])
    assert written == whole and not any(map(faults, written)), "what the pull request's job verifies"
    file.write_text(json.dumps({"records": [*whole[:7], *shorter]}))
    with pytest.raises(BlueberryError, match="it breaks a rule: train_tokens is 524288"):
        SpeedrunSubmit((file,), "an idea", recipe=mine, against_recipe=bar, folder=tmp_path).run()
    file.write_text(json.dumps({"records": whole[:-1] + shorter}))
    with pytest.raises(BlueberryError, match="their seeds differ"):
        SpeedrunSubmit((file,), "an idea", recipe=mine, against_recipe=bar, folder=tmp_path).run()
