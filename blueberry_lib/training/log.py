"""The run's log, a JSON object a line, and its progress bar."""

import json
import sys
from pathlib import Path

from tqdm import tqdm


class Log:
    """Appends to ``log.jsonl``; on resuming, lines from beyond the checkpoint are dropped first."""

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        kept = []
        if resume_step is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    break  # the line being written when the run was killed
                if entry["step"] <= resume_step:
                    kept.append(line + "\n")
        self.file = open(path, "w", encoding="utf-8")
        self.file.writelines(kept)
        self.file.flush()

    def write(self, **entry) -> None:
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class Progress:
    """tokens/s, loss, utilisation and dollars so far, beside tqdm's own bar and ETA."""

    def __init__(self, total_steps: int, step: int, unit: str, quiet: bool = False) -> None:
        self.unit = unit
        self.bar = tqdm(
            total=total_steps, initial=step, unit="step", disable=quiet, file=sys.stderr, dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
        )  # fmt: skip

    def update(self, steps: int, loss: float, rate: float, utilisation: float | None, dollars: float | None) -> None:
        parts = [f"loss {loss:.3f}", f"{rate:,.0f} {self.unit}/s"]
        if utilisation is not None:
            parts.append(f"{utilisation:.0%} of peak")
        if dollars is not None:
            parts.append(f"${dollars:.4f}")
        self.bar.set_postfix_str(", ".join(parts), refresh=False)
        self.bar.update(steps)

    def close(self) -> None:
        self.bar.close()
