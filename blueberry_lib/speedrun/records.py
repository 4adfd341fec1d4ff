"""Records: a run as one JSON object, and what two sets of them show."""

import hashlib
import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from blueberry_lib.config import BlueberryError, TrainConfig
from blueberry_lib.data.shards import TokenData
from blueberry_lib.hardware import Hardware
from blueberry_lib.model.size import flops_per_token
from blueberry_lib.speedrun.tracks import deviations
from blueberry_lib.training import Result
from blueberry_lib.training.clock import Clock
from blueberry_lib.training.run import facts


def build_record(
    config: TrainConfig, result: Result, clock: Clock, hardware: Hardware, data: TokenData, params: int
) -> dict:
    """The record of a finished run. Losses are in nats a token, times in seconds, cost in dollars."""
    seconds = dict(clock.seconds)
    active = seconds["active"]
    flops = flops_per_token(config.model, *config.contexts) * result.units
    evaluation = result.evaluation
    broken = deviations(config)
    record = {
        "track": config.track,
        "recipe": config.recipe,
        "seed": config.seed,
        "official": not broken,
        "deviations": broken,
        "params": params,
        "val_loss": evaluation["loss"],
        "val_accuracy": evaluation["accuracy"],
        "val_perplexity": evaluation["perplexity"],
        "bits_per_byte": evaluation["bits_per_byte"],
        "active_seconds": active,
        "setup_seconds": seconds["setup"],
        "eval_seconds": seconds["eval"],
        "save_seconds": seconds["save"],
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
        "validation loss": f"{record['val_loss']:.4f} nats a token (perplexity {record['val_perplexity']:.2f})",
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
    """Welch's one-sided test that the mean behind ``values`` is lower; without any spread, 0 or 1."""
    from scipy.stats import ttest_ind

    if len({*values}) == 1 and len({*than}) == 1:
        return 0.0 if values[0] < than[0] else 1.0
    return float(ttest_ind(values, than, equal_var=False, alternative="less").pvalue)


def compare(a: list[dict], b: list[dict]) -> dict:
    """How the records ``b`` differ from ``a``: means, spreads, and Welch's one-sided test that ``b``'s
    validation loss is lower. Refuses sets whose track, data or machine differ, or with fewer than two records each.
    """
    for key in ("track", "data_sha256", "hardware"):
        found = {
            json.dumps(record[key], sort_keys=True) if key != "hardware" else record[key]["name"] for record in a + b
        }
        if len(found) > 1:
            raise BlueberryError(f"These records cannot be compared: their {key} differ: {', '.join(sorted(found))}.")
    if min(len(a), len(b)) < 2:
        raise BlueberryError("A comparison needs at least two seeds a recipe; one run says nothing of its spread.")
    losses = [[record["val_loss"] for record in records] for records in (a, b)]
    seconds = [statistics.fmean(record["active_seconds"] for record in records) for records in (a, b)]
    means = [statistics.fmean(values) for values in losses]
    return {
        "recipes": [a[0]["recipe"], b[0]["recipe"]],
        "seeds": [len(a), len(b)],
        "val_loss": means,
        "val_loss_std": [statistics.stdev(values) for values in losses],
        "val_loss_difference": means[1] - means[0],
        "p_lower_loss": p_lower(losses[1], losses[0]),
        "active_seconds": seconds,
        "active_time_ratio": seconds[1] / seconds[0],
    }
