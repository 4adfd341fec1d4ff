"""Records: a run as one JSON object, and what two sets of them show."""

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.data.shards import TokenData
from blueberry_lib.hardware import Hardware
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.speedrun.tracks import TRACKS, deviations
from blueberry_lib.training import Result
from blueberry_lib.training.clock import Clock
from blueberry_lib.training.run import facts

MARGIN = 0.005  # nats by which a faster recipe may be worse


def build_record(
    config: TrainConfig, result: Result, clock: Clock, hardware: Hardware, data: TokenData, params: int
) -> dict:
    """The record of a finished run. Losses are in nats a token, times in seconds, cost in dollars."""
    active, evaluation = clock.seconds["active"], result.evaluation
    flops = flops_per_token(config.model, *config.contexts) * result.units
    broken = deviations(config)
    record = {
        "track": config.track,
        "recipe": config.recipe,
        "seed": config.seed,
        "official": not broken,
        "deviations": broken,
        "params": params,
        "val_loss": evaluation["loss"],
        "val_loss_error": evaluation["loss_error"],
        "val_accuracy": evaluation["accuracy"],
        "val_perplexity": evaluation["perplexity"],
        "bits_per_byte": evaluation["bits_per_byte"],
        "active_seconds": active,
        "setup_seconds": clock.seconds["setup"],
        "eval_seconds": clock.seconds["eval"],
        "save_seconds": clock.seconds["save"],
        "tokens_per_second": result.units / active if active else None,
        "flops": flops,
        "utilisation": flops / active / hardware.peak_flops if active and hardware.peak_flops else None,
        "data_sha256": data.sha256,
        "data": {"source": data.manifest["source"], "license": data.manifest["license"]},
        **facts(config, result, clock, hardware, "tokens"),
    }
    return {**record, "sha256": content_sha256(record)}


def content_sha256(record: dict) -> str:
    """A hash over all of a record but this hash: a changed digit shows, a forger's patience does not."""
    content = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode()).hexdigest()


def read_record(path: Path) -> dict:
    record = json.loads(path.read_text(encoding="utf-8"))
    if "val_loss" not in record:
        raise BlueberryError(f"{path} is no record: it has no val_loss.")
    return record


def read_records(paths: Iterable[Path], recipe: str | None = None, tokens: int | None = None) -> list[dict]:
    """The records in files, each of which is one or holds several; of one recipe and one budget only, if named."""
    found: list[dict] = []
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BlueberryError(
                f"There is no file {path}; expected a record.json, or a file of several records."
            ) from None
        except ValueError as error:
            raise BlueberryError(f"{path} is no JSON: {error}") from None
        found += content.get("records", [content])
    found = [r for r in found if recipe in (None, r.get("recipe")) and tokens in (None, r.get("tokens"))]
    if not found:
        raise BlueberryError(f"There is no record{f' of {recipe}' if recipe else ''} in {', '.join(map(str, paths))}.")
    return found


def table(record: dict) -> str:
    """What a run reached, for a terminal."""

    def show(value, form: str) -> str:
        return "unknown" if value is None else format(value, form)

    rows = {
        "track, recipe, seed": f"{record['track']}, {record['recipe']}, {record['seed']}",
        "parameters": f"{record['params']:,}",
        "training tokens": f"{record['tokens']:,} in {record['steps']:,} steps",
        "training loss": f"{record['train_loss']:.4f} nats a token",
        "validation loss": f"{record['val_loss']:.4f} nats per token (perplexity {record['val_perplexity']:.2f})",
        "its standard error": show(record.get("val_loss_error"), ".4f") + " over the documents",
        "bits per byte": show(record["bits_per_byte"], ".4f"),
        "accuracy": f"{record['val_accuracy']:.2%} of next tokens",
        "active time": f"{record['active_seconds']:.1f} s of training steps",
        "setup, evaluation": f"{record['setup_seconds']:.1f} s, {record['eval_seconds']:.1f} s",
        "tokens per second": show(record["tokens_per_second"], ",.0f"),
        "utilisation": show(record["utilisation"], ".1%") + " of this machine's matrix-product rate",
        "cost": "$" + show(record["dollars"], ".4f") if record["dollars"] is not None else "unknown",
        "official": "yes" if record["official"] else "no: " + "; ".join(record["deviations"]),
    }
    return "\n".join(f"  {name:<20} {value}" for name, value in rows.items())


def p_lower(values: list[float], than: list[float]) -> float:
    """Welch's one-sided test, of values without pairs, that the mean behind ``values`` is lower."""
    from scipy.stats import ttest_ind

    return float(ttest_ind(values, than, equal_var=False, alternative="less").pvalue)


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of two values or more, the half width of its 95 % interval and the one-sided p that it is below 0, by
    Student's t (Student, The probable error of a mean, 1908): of differences within pairs, the paired test."""
    from scipy.special import stdtr, stdtrit

    n, mean = len(values), statistics.fmean(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    p = float(stdtr(n - 1, mean / error)) if error else float(mean >= 0)
    return mean, float(stdtrit(n - 1, 0.975)) * error, p


def sign_flips(differences: Sequence[float]) -> float:
    """The one-sided p of the exact permutation test: the share of all 2ⁿ choices of signs whose sum is as low (Fisher,
    The design of experiments, 1935, section 21). It is at least 1/2ⁿ: 1/32 for 5 pairs, 1/128 for 7."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(~(sums > sums[0] + 1e-12)))


def median_ratio(ratios: Sequence[float]) -> tuple[float, list[float] | None, float]:
    """The median of paired ratios, taken in logarithms; its exact interval of at least 95 %, whose ends are two of them
    (None for fewer than 6); and the sign test's one-sided p that it is below 1, at least 1/2ⁿ (Conover, Practical
    nonparametric statistics, 3rd edition, 1999, sections 3.2 and 3.4)."""
    n, ordered = len(ratios), sorted(ratios)
    tail = [sum(math.comb(n, i) for i in range(j + 1)) / 2**n for j in range(n + 1)]
    cut = sum(p <= 0.025 for p in tail)
    interval = [ordered[cut - 1], ordered[n - cut]] if cut else None
    return math.exp(statistics.median(map(math.log, ratios))), interval, tail[sum(not ratio < 1 for ratio in ratios)]


def machine(record: dict) -> dict:
    """What two machines must share for their records to be compared; "not recorded" where a record does not say."""
    known = {key: record["hardware"].get(key, "not recorded") for key in ("name", "compute_dtype", "cores", "flags")}
    return known | {"flags": known["flags"] if isinstance(known["flags"], str) else " ".join(known["flags"]) or "none"}


def pairs(a: list[dict], b: list[dict]) -> list[tuple[dict, dict]]:
    """The records of each seed side by side. Refuses sets that differ in track, data, seeds or machine (its measured
    peak by 25 %), several recipes or budgets in one set, a run that is there twice, and one seed alone."""
    if min(len(a), len(b)) < 2:
        raise BlueberryError("A comparison needs at least two seeds a recipe; one run says nothing of its spread.")
    shared = [{key: r[key] for key in ("track", "data_sha256")} | machine(r) for r in (*a, *b)]
    values = [(key, {str(row[key]) for row in shared} - {"not recorded"}) for key in shared[0]]
    values += [
        (f"{key} on one side (see --{key})", {str(r[key]) for r in arm})
        for arm in (a, b)
        for key in ("recipe", "tokens")[: 1 if TRACKS[a[0]["track"]].contest == "race" else 2]
    ]
    wrong = [f"their {key} differ: {', '.join(sorted(found))}" for key, found in values if len(found) > 1]
    peaks = [max(r["hardware"].get("peak_flops") or 0 for r in arm) / 1e9 for arm in (a, b)]  # noise only lowers one
    if max(peaks) > 1.25 * min(peaks) > 0:
        wrong.append("their measured peaks differ by over 25 %: {:.0f} and {:.0f} GFLOP/s".format(*peaks))
    a, b = (sorted(arm, key=lambda r: r["seed"]) for arm in (a, b))
    seeds = [[r["seed"] for r in arm] for arm in (a, b)]
    for arm, own in zip((a, b), seeds, strict=True):
        runs = {str([point.get("train_loss") for point in r.get("curve", ())] or r["val_loss"]) for r in arm}
        if min(len({*own}), len(runs)) < len(arm):
            wrong.append(f"a run of {arm[0]['recipe']} is there twice among seeds {own}")
    if seeds[0] != seeds[1]:
        wrong.append(f"their seeds differ: {seeds[0]} and {seeds[1]}")
    if wrong:
        raise BlueberryError(f"These records cannot be compared: {'; '.join(wrong)}.")
    return list(zip(a, b, strict=True))


def compare(a: list[dict], b: list[dict]) -> dict:
    """How the records ``b`` differ from those of the same seeds in ``a``: means and spreads, the mean difference of
    losses with interval, the p that it is below 0 and below MARGIN; the median ratio of active times likewise."""
    found = pairs(a, b)
    losses, seconds = ([[pair[arm][key] for pair in found] for arm in (0, 1)] for key in ("val_loss", "active_seconds"))
    differences = [after - before for before, after in zip(*losses, strict=True)]
    mean, half, p = student(differences)
    ratio, interval, p_time = median_ratio([after / before for before, after in zip(*seconds, strict=True)])
    return {
        "track": a[0]["track"],
        "recipes": [a[0]["recipe"], b[0]["recipe"]],
        "seeds": [pair[0]["seed"] for pair in found],
        "machine": min(map(machine, (*a, *b)), key=lambda one: one["flags"] != "not recorded"),
        "val_loss": [statistics.fmean(values) for values in losses],
        "val_loss_std": np.std(losses, axis=1, ddof=1).tolist(),
        "val_loss_difference": mean,
        "val_loss_interval": [mean - half, mean + half],
        "p_lower_loss": p,
        "p_sign_flips": sign_flips(differences),
        "p_no_worse": student([difference - MARGIN for difference in differences])[2],
        "active_seconds": [statistics.fmean(values) for values in seconds],
        "active_time_ratio": ratio,
        "active_time_interval": interval,
        "p_less_time": p_time,
    }
