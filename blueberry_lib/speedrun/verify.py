"""Is a record what it says, and is a difference shown?

``faults`` recomputes what a record claims of itself. ``claims`` tests one set of records against another. Neither can
tell an honest run from a careful forgery: that is why a second machine repeats a record before it counts as confirmed.
"""

import json
import math
import re
import statistics
from itertools import pairwise

from blueberry_lib.config import BlueberryError, TrainConfig, from_dict
from blueberry_lib.model.size import flops_per_token, n_params
from blueberry_lib.speedrun.records import MARGIN, compare, content_sha256
from blueberry_lib.speedrun.tracks import TRACKS, deviations
from blueberry_lib.training.loop import reaches

SEEDS = 7  # pairs that a claim takes: the fewest whose sign flips can come below P
P = 0.01
FIELDS = {
    "track": str, "recipe": str, "seed": int, "official": bool, "deviations": list, "params": int, "tokens": int,
    "steps": int, "train_loss": float, "val_loss": float, "val_perplexity": float, "active_seconds": float,
    "tokens_per_second": float, "flops": (int, float), "hardware": dict, "versions": dict, "source_sha256": str,
    "data_sha256": str, "config": dict, "date": str, "curve": list, "sha256": str,
}  # fmt: skip


def claims(a: list[dict], b: list[dict]) -> dict:
    """What the records ``b`` show against those of the same seeds in ``a``; raises BlueberryError for what makes no
    pairs."""
    return verdicts(compare(a, b))


def verdicts(summary: dict) -> dict:
    """The claims ``lower_loss`` and ``faster`` of a comparison, each with ``p``, ``why`` and ``standing``: shown,
    provisional (fewer than SEEDS pairs) or not shown. Either takes seeds 0 to n − 1.

    Lower loss: Student's paired test, one-sided, p < 0.01. Faster: the sign test on the ratios of active time, which
    takes 7 pairs to come below 0.01, and Student's paired test that the loss is not worse by MARGIN. In a race, where
    all have reached the same loss, only the time counts.
    """
    seeds, race = summary["seeds"], TRACKS[summary["track"]].contest == "race"
    p_loss, p_time, p_worse = (summary[f"p_{name}"] for name in ("lower_loss", "less_time", "no_worse"))
    if race:
        p_loss, p_worse = 1.0, 0.0

    def verdict(p: float, fails: str) -> dict:
        few = f"{len(seeds)} pairs; a claim takes {SEEDS}" if len(seeds) < SEEDS else ""
        picked = "" if seeds == list(range(len(seeds))) else f"seeds {seeds} are picked; a claim takes 0 to n − 1"
        standing = "not shown" if picked or not p < P else "provisional" if few else "shown"
        return {"standing": standing, "p": p, "why": picked or ("" if p < P else fails) or few}

    slower = "" if p_time < P else f"p = {p_time:.2g} on active time"
    worse = "" if p_worse < P else f"a loss {MARGIN} nats worse is not ruled out (p = {p_worse:.2g})"
    return {
        "summary": summary,
        "lower_loss": verdict(p_loss, "a race asks for time" if race else f"p = {p_loss:.2g} on validation loss"),
        "faster": verdict(max(p_time, p_worse), "; ".join(filter(None, (slower, worse)))),
    }


def describe_claims(found: dict) -> str:
    """A comparison and its claims in words."""
    summary = found["summary"]
    (a, b), n, interval = summary["recipes"], len(summary["seeds"]), summary["active_time_interval"]
    lines = [
        f"{n} pairs on " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in summary["machine"].items()),
        f"{b} − {a}: {summary['val_loss_difference']:+.4f} nats, 95 % interval "
        + "{:+.4f} to {:+.4f}; ".format(*summary["val_loss_interval"])
        + f"paired t, one-sided, p = {summary['p_lower_loss']:.2g}; "
        f"sign flips p = {summary['p_sign_flips']:.2g}, at least {0.5**n:.2g} for {n} pairs",
        f"active time: {summary['active_time_ratio']:.2f}×, the median; "
        + ("95 % interval {:.2f} to {:.2f}".format(*interval) if interval else "an interval takes 6 pairs"),
    ]
    for name, words in (("lower_loss", "a lower validation loss"), ("faster", "no worse in less active time")):
        claim = found[name]
        lines.append(f"{b} against {a}, {words}: " + ": ".join(filter(None, (claim["standing"], claim["why"]))))
    if shortest := summary.get("shortest"):
        lines.append(
            f"{b} is no worse than {a} from {shortest['tokens']:,} tokens on (loss {shortest['val_loss']:.4f}): "
            f"{shortest['active_time_ratio']:.2f}× {a}'s active time"
        )
    return "\n".join(lines)


def faults(record: dict) -> list[str]:
    """Everything in a record that cannot be, in words; empty for one that agrees with itself and its track's rules."""
    wrong = [f"{name} is missing" for name in FIELDS if name not in record]
    wrong += [
        f"{name} is {record[name]!r}, of the wrong type"
        for name, kind in FIELDS.items()
        if name in record and not isinstance(record[name], kind)
    ]
    if wrong:
        return wrong
    try:
        config = from_dict(TrainConfig, record["config"])
    except (BlueberryError, KeyError, TypeError) as error:
        return [f"its config cannot be read: {error}"]
    return [*_identity(record, config), *_arithmetic(record, config), *_curve(record), *_clock(record)]


def _identity(record: dict, config: TrainConfig) -> list[str]:
    """Rules and hashes."""
    found = []
    broken = deviations(config)
    if broken != record["deviations"] or record["official"] != (not broken):
        found.append(f"by its config it breaks {broken or 'no rule'}, and it says {record['deviations'] or 'none'}")
    found += [f"it breaks a rule: {rule}" for rule in broken]
    for name in ("source_sha256", "data_sha256", "sha256"):
        if not re.fullmatch("[0-9a-f]{64}", record[name]):
            found.append(f"{name} is no sha256")
    if content_sha256(record) != record["sha256"]:
        found.append("its content is not what its own sha256 was taken of")
    if (config.track, config.recipe, config.seed) != (record["track"], record["recipe"], record["seed"]):
        found.append("track, recipe or seed differ between the record and its config")
    return found


def _arithmetic(record: dict, config: TrainConfig) -> list[str]:
    """Totals that follow from the config and from one another."""
    expected = {
        "tokens": config.tokens,
        "steps": config.total_steps,
        "flops": config.tokens * flops_per_token(config.model, *config.contexts),
        "val_perplexity": math.exp(min(record["val_loss"], 700)),
        "tokens_per_second": record["tokens"] / record["active_seconds"] if record["active_seconds"] > 0 else math.inf,
    }
    if config.target_loss is not None:  # such a run ends when it is there
        if not reaches(record["curve"], config.target_loss):
            return [f"its last two evaluations do not reach {config.target_loss} in the mean"]
        expected["flops"] *= record["tokens"] / config.tokens
        del expected["tokens"], expected["steps"]
    found = [
        f"{name} is {record[name]:,}, and {value:,.6g} follows from the rest"
        for name, value in expected.items()
        if not math.isclose(record[name], value, rel_tol=1e-3)
    ]
    if abs(record["params"] - n_params(config.model)) > config.model.n_layers:
        found.append(f"params is {record['params']:,}, and its config has {n_params(config.model):,}")
    peak = record["hardware"].get("peak_flops")
    if peak and record["flops"] > 1.2 * peak * record["active_seconds"]:
        rate = record["flops"] / record["active_seconds"]
        found.append(f"{rate / 1e12:.2f} TFLOP/s is more than the machine's peak of {peak / 1e12:.2f}")
    return found


def _curve(record: dict) -> list[str]:
    """The curve against itself and the totals."""
    curve = record["curve"]
    trained = [entry for entry in curve if "train_loss" in entry]
    measured = [entry for entry in curve if "val_loss" in entry]
    if len(trained) < 2 or not measured:
        return ["the curve lacks training losses or the final validation loss"]
    found = []
    for name in ("step", "tokens", "active_seconds"):
        if any(after[name] < before[name] for before, after in pairwise(curve)):
            found.append(f"the curve goes back in {name}")
    last = trained[-1]
    for name, total in (("tokens", record["tokens"]), ("step", record["steps"])):
        if last[name] != total:
            found.append(f"the curve ends at {name} {last[name]:,}, the total is {total:,}")
    if measured[-1]["val_loss"] != record["val_loss"] or measured[-1]["tokens"] != record["tokens"]:
        found.append(f"the curve's last validation loss is {measured[-1]['val_loss']}, the total {record['val_loss']}")
    late = statistics.fmean(entry["train_loss"] for entry in trained[-max(1, len(trained) // 10) :])
    if abs(late - record["train_loss"]) > 0.25:
        found.append(f"the curve ends at a training loss of {late:.3f}, the total is {record['train_loss']:.3f}")
    return found


def _clock(record: dict) -> list[str]:
    """Active time that runs with the tokens."""
    points = [(entry["tokens"], entry["active_seconds"]) for entry in record["curve"] if "train_loss" in entry]
    seconds = record["active_seconds"]
    found, most = [], TRACKS[record["track"]].most_seconds
    if most and seconds > most:
        found.append(f"it took {seconds:.0f} active seconds, and its track allows {most:.0f}")
    if points and abs(points[-1][1] - seconds) > max(1.0, 0.02 * seconds):
        found.append(f"the curve's clock ends at {points[-1][1]} s, the total is {seconds:.1f} s")
    rates = [(t1 - t0) / max(s1 - s0, 1e-9) for (t0, s0), (t1, s1) in pairwise(points) if t1 > t0]
    fastest = max(rates) / statistics.median(rates) if len(rates) > 4 else 1.0
    if fastest > 5:
        found.append(f"a stretch of the curve runs {fastest:.0f} times as fast as the rest")
    return found


def check_record(text: str) -> list[str]:
    """The faults of a submitted file's text."""
    try:
        record = json.loads(text)
    except ValueError as error:
        return [f"it is no JSON: {error}"]
    return faults(record) if isinstance(record, dict) else ["it is no JSON object"]
