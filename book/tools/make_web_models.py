"""Train the two models of the first page and write them for the browser, into book/_static/web.

    python book/tools/make_web_models.py train     the pocket model, kept at STEPS, and the digits, under runs/web
    python book/tools/make_web_models.py write     export what was trained, measure it, write the record web_models.json

Before its first step the model is noise that the page draws itself, so that moment has no file.
"""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from record_head import measured
from run_javascript import javascript

from blueberry_lib.export_web import dequantized, export_web
from blueberry_lib.hardware import detect
from blueberry_lib.images import training
from blueberry_lib.images.diffusion_transformer import DiTConfig
from blueberry_lib.images.flow_matching import fixed_noise_loss
from blueberry_lib.images.flow_training import TRAINING, FlowRun, load_flow
from blueberry_lib.model import Blueberry
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.run import evaluation_data, evaluator, load_run, run, run_tokenizer
from blueberry_lib.training import checkpoint
from blueberry_lib.training.checkpoint import load_model
from blueberry_lib.training.folder import read_json, write_json

BOOK = Path(__file__).parents[1]
RUNS = Path("runs/web")
STEPS = (32, 128, 512)
DIGITS = FlowRun(
    DiTConfig(d_model=48, time_frequencies=32),
    replace(TRAINING, steps=400, batch_size=64, eval_every=0, checkpoint_every=100),
)  # smaller than the preset: it trains in a minute
SAME_TOKENS = 16_384  # on which int8 is compared with float32
PROMPT, TEMPERATURE, COUNT, LABEL = "import os\n\n\ndef ", 1.0, 160, 7


def train() -> None:
    """The runs that are not there yet; one that was interrupted goes on."""
    checkpoint.KEPT = 10**6
    text, digits = RUNS / "text", RUNS / "digits"
    if not (text / "record.json").exists():
        begun = text.exists()
        text.mkdir(parents=True, exist_ok=True)
        run(replace(get_recipe("best", "pocket"), checkpoint_every=32), text, resume=begun)
    if not (digits / "record.json").exists():
        digits.mkdir(parents=True)
        training.run(DIGITS, digits)


def text_moments() -> dict[str, dict]:
    """Export the checkpoints; the loss of each on SAME_TOKENS validation tokens, in float32 and with int8 weights."""
    folder, hardware = RUNS / "text", detect()
    model, config = load_run(folder)
    tokenizer, data = run_tokenizer(folder, None, config.model.vocab_size), evaluation_data(folder, config, None, None)
    few = replace(config, validation_tokens=SAME_TOKENS)
    evaluate = evaluator(few, data, hardware.device, hardware.compute_dtype)
    torch.manual_seed(config.seed)
    moments = {"0": {"loss": evaluate(Blueberry(config.model).eval())["loss"]}}
    for step in STEPS:
        load_model(folder / "checkpoints" / f"step-{step:08d}", model)
        path, loss = BOOK / f"_static/web/text-{step}.js", evaluate(model)["loss"]
        export_web(model, path, f"text-{step}", tokenizer, step=step)
        int8_loss = evaluate(dequantized(model))["loss"]
        moments[str(step)] = {"loss": loss, "int8_loss": int8_loss, "bytes": path.stat().st_size}
    return moments


def digits() -> dict:
    """Export the digits; their loss on fixed times and noise, and with int8 weights."""
    model, _, data, _ = load_flow(RUNS / "digits")
    path = BOOK / "_static/web/digits.js"
    export_web(model, path, "digits")
    x1, losses = data.scale(data.val), []
    for network in (model, dequantized(copy.deepcopy(model))):
        losses.append(fixed_noise_loss(network, x1, data.val_labels)[0])
    return {"loss": losses[0], "int8_loss": losses[1], "bytes": path.stat().st_size}


def still() -> dict:
    """What model.js writes and draws with the settings that the page starts with: readers without scripts see that."""
    name, settings = f"text-{STEPS[-1]}", {"temperature": TEMPERATURE, "count": COUNT, "seed": 0}
    web = BOOK / "_static/web"
    text, pixels = javascript(
        f"(() => {{ const model = new TextModel(blueberryModels['{name}']), decoder = new TextDecoder(); let text = '';"
        f"for (const id of model.write({json.dumps(PROMPT)}, {json.dumps(settings)}))"
        "text += decoder.decode(model.tokenizer.bytes(id), {stream: true});"
        f"const frames = [...new DigitModel(blueberryModels.digits).draw({LABEL})];"
        "return [text, [...frames.at(-1)]]; })()",
        [web / f"{name}.js", web / "digits.js"],
    )
    opacity = [round(min(1, max(0, (value + 1) / 2)), 3) for value in pixels]
    return {"prompt": PROMPT, "temperature": TEMPERATURE, "text": text, "label": LABEL, "pixels": opacity}


def write() -> None:
    own = read_json(RUNS / "text" / "record.json")
    record = {
        **measured("the models of the first page: int8 weights beside float32", detect()),
        "params": own["params"],
        "tokens": own["tokens"],
        "bits_per_byte": own["bits_per_byte"],
        "same_tokens": SAME_TOKENS,
        "text": text_moments(),
        "digits": digits(),
    }
    write_json(BOOK / "records" / "web_models.json", record)
    write_json(BOOK / "_static/web/still.json", still())
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    {"train": train, "write": write}[sys.argv[1]]()
