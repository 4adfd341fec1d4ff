"""A page about one run: what it is and cost, what it writes, and what others did."""

from pathlib import Path

from blueberry_lib.config import BlueberryError
from blueberry_lib.plots import loss_figure
from blueberry_lib.speedrun.records import read_record
from blueberry_lib.speedrun.run import SAMPLE_PROMPTS, draw_samples, load_run, run_tokenizer

DRAWS = 3  # of each prompt
ORIGINAL = {  # 5-dollar-llm's report of 2025-12-17
    "parameters": "151 M", "layers, context": "32, 2,048", "training tokens": "1 B", "time": "156.8 minutes",
    "validation loss": "3.1940", "perplexity": "24.38", "accuracy of the next token": "40.19 %",
}  # fmt: skip
GPT_1 = {  # Radford et al. (2018), and OpenAI's page on it
    "parameters": "117 M", "layers, context": "12, 512", "training tokens": "about 5 GB of text",
    "time": "a month on 8 GPUs",
}  # fmt: skip
NEXT = (  # SmolLM2-135M under lm-eval 0.4.12, accuracies
    ("SciQ", 0.840), ("PIQA", 0.684), ("ARC-Easy", 0.646), ("WinoGrande", 0.530), ("HellaSwag", 0.430),
    ("LAMBADA", 0.429), ("OpenBookQA", 0.326), ("ARC-Challenge", 0.300),
)  # fmt: skip
PAGE = """# Milestone: {recipe} on {track}

One run, seed {seed}, on {machine}, {date}: {official}. Written by `python -m blueberry_lib milestone` from the
run's own record (sha256 `{sha256:.12}…`).

| | this run | the original's milestone | GPT-1 (2018) |
|---|---|---|---|
{table}

Only the sizes may be compared across a row. A loss depends on the text and on the vocabulary ({vocab:,} tokens
here): this run was trained and measured on {data}, the original on web text with a vocabulary of 49,152.

![Training loss against tokens, and the validation loss at the end]({figure})

## What it writes

Drawn with temperature 1 and top-p 0.95, seed 0, {draws} continuations of each beginning, none left out. Read them for
three things: does the form hold, does it run into a loop, and does it name things that do not exist? A language model
is trained to sound right, and nothing in its loss asks whether it is.

```text
{samples}
```

## The next goal

What SmolLM2-135M scores under lm-eval 0.4.12 is the bar that the original's successor has set itself:

| {names} |
|{rule}|
| {scores} |

`python -m blueberry_lib evaluate RUN --tasks sciq,piqa,arc_easy` measures ours. {measured}
"""


def milestone(folder: Path, page: Path) -> None:
    """Write the page of the finished run in ``folder`` to ``page``, and its figure beside it, as page.png."""
    if not (folder / "record.json").exists():
        raise BlueberryError(f"{folder} has no record.json: a milestone is written of a finished run.")
    record, figure = read_record(folder / "record.json"), page.with_suffix(".png")
    model, config = load_run(folder)
    tokenizer = run_tokenizer(folder, None, config.model.vocab_size)
    prompts = [prompt for prompt in SAMPLE_PROMPTS.get(config.data, ("", "The")) for _ in range(DRAWS)]
    cost, bits = record["dollars"], record["bits_per_byte"]
    ours = {
        "parameters": f"{record['params']:,}",
        "layers, context": f"{config.model.n_layers}, {config.model.context_length:,}",
        "training tokens": f"{record['tokens']:,}",
        "time": f"{record['active_seconds'] / 60:.1f} minutes of steps",
        "cost": "unknown" if cost is None else f"${cost:.4f}",
        "validation loss": f"{record['val_loss']:.4f}",
        "perplexity": f"{record['val_perplexity']:.2f}",
        "accuracy of the next token": f"{record['val_accuracy']:.2%}",
        "bits per byte": "unknown" if bits is None else f"{bits:.3f}",
    }
    evaluated = (folder / "evaluation.json").exists()
    loss_figure([record], figure)
    page.write_text(
        PAGE.format(
            table="\n".join(
                f"| {name} | {value} | {ORIGINAL.get(name, '–')} | {GPT_1.get(name, '–')} |"
                for name, value in ours.items()
            ),
            samples=draw_samples(model, tokenizer, prompts).rstrip().replace("```", "` ` `"),
            names=" | ".join(name for name, _ in NEXT),
            rule="---|" * (len(NEXT) - 1) + "---",
            scores=" | ".join(f"{score:.3f}" for _, score in NEXT),
            measured=f"It has been: see {folder.name}/evaluation.json."
            if evaluated
            else "It has not been done for this run.",
            official="an official record" if record["official"] else "not official, " + "; ".join(record["deviations"]),
            machine=record["hardware"]["name"],
            date=record["date"][:10],
            figure=figure.name,
            draws=DRAWS,
            data=record["data"]["source"],
            vocab=config.model.vocab_size,
            **{key: record[key] for key in ("recipe", "track", "seed", "sha256")},
        ),
        encoding="utf-8",
    )
