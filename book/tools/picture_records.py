"""What the records of picture models have in common."""

from record_head import measured

from blueberry_lib.hardware import detect


def rounded(value):
    """Figures to five places, so that a record is read and not only kept."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value


def head(what: str, run: dict) -> dict:
    """What a record begins with, ``run`` being the record.json of one of its runs: no path of this machine is in it."""
    hardware, config = detect("cpu"), run["config"]
    training = {**config["training"], "data": config["training"]["data"].split(":")[0]}
    return {
        **measured(what, hardware),
        "params": run["params"],
        "config": {**config, "training": training},
    }
