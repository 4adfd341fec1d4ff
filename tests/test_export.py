"""An exported run is what transformers loads offline, with the logits and the greedy texts of ours."""

import json
from dataclasses import replace

import huggingface_hub
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.export import EXPORTABLE, WITHOUT_COUNTERPART, export, qwen3_config, qwen3_weights
from blueberry_lib.generation import generate
from blueberry_lib.model import Blueberry
from blueberry_lib.speedrun.recipes import get_recipe
from blueberry_lib.speedrun.run import encode_prompt, load_run, run_tokenizer

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("embedding", ["plain", "scaled", "normed"])
@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_exportable_shape_has_the_logits_of_qwen3(tiny, randomized, embedding, feed_forward, tied):
    model = randomized(Blueberry(replace(tiny, embedding=embedding, feed_forward=feed_forward, tied=tied)))
    theirs = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**qwen3_config(model.config, 0))).eval()
    theirs.load_state_dict(qwen3_weights(model))
    tokens = torch.randint(97, (3, 32))
    with torch.no_grad():  # random gains and weights make logits of some ten: compared relative to their spread
        ours, found = model(tokens), theirs(tokens).logits
    assert (found - ours).abs().max() < 1e-5 * ours.std()


def test_an_exported_run_is_loaded_by_its_path_alone(finished, tmp_path):
    export(finished, tmp_path / "out")
    model, _ = load_run(finished)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True)
    assert type(theirs).__module__.startswith("transformers.models.qwen3") and theirs.dtype == torch.float32
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    own = run_tokenizer(finished, None, 300)
    text = "7 eight and  two\n make 56 \N{SNOWMAN}"
    assert tokenizer(text)["input_ids"] == own.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>" and tokenizer.model_max_length == 64
    tokens = torch.randint(300, (4, 64))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, model(tokens), atol=1e-5, rtol=0)
    prompt = encode_prompt(own, "3 four and")
    (ours,) = generate(model, [prompt], 30, temperature=0, stop_tokens={0})
    greedy = theirs.generate(torch.tensor([prompt]), do_sample=False, top_p=None, max_new_tokens=30, pad_token_id=0)
    assert greedy[0, len(prompt) :].tolist() == ours
    assert theirs.generation_config.eos_token_id == 0 and theirs.generation_config.top_p == 0.95


def test_the_card_has_the_record_and_no_code_travels(finished, tmp_path):
    export(finished, tmp_path / "out")
    record = json.loads((finished / "record.json").read_text())
    card = (tmp_path / "out/README.md").read_text()
    assert f"{record['val_loss']:.4f}" in card and f"{record['params']:,} parameters" in card
    assert "whose two matrices are equal" in card and record["recipe"] in card
    names = {path.name for path in (tmp_path / "out").iterdir()}
    configs = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "record.json"}
    assert names == {"model.safetensors", "README.md"} | configs
    with pytest.raises(FileExistsError):
        export(finished, tmp_path / "out")


@pytest.mark.parametrize("name", WITHOUT_COUNTERPART)
def test_what_has_no_counterpart_is_one_line_that_says_what_can_be(variants, name):
    model = Blueberry(variants["moe" if name == "n_experts" else name])
    with pytest.raises(BlueberryError, match=rf"^The model has {name}, .*{EXPORTABLE[:8]}.*$"):
        qwen3_weights(model)


def test_the_recipes_that_are_named_can_be_exported():
    for recipe in ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "best-without-value-residual+key-offset+copy-head"):
        model = get_recipe(recipe, "pocket").model
        assert not any(getattr(model, name) for name in WITHOUT_COUNTERPART)


def test_nothing_is_sent_unless_asked(finished, tmp_path, monkeypatch):
    sent = []

    class Api:
        def create_repo(self, name, **settings):
            sent.append((name, settings["private"]))

        def upload_folder(self, **settings):
            sent.append(settings["repo_id"])
            raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    export(finished, tmp_path / "a")
    assert not sent
    with pytest.raises(BlueberryError, match="b is written, but was not sent to me/b: no network"):
        export(finished, tmp_path / "b", push="me/b")
    assert sent == [("me/b", True), "me/b"]


def test_the_command_writes_a_folder_and_refuses_an_unfinished_run(finished, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tyro")
    from blueberry_lib.cli import main

    assert main(["export", str(finished), str(tmp_path / "out")]) == 0
    assert "AutoModelForCausalLM" in capsys.readouterr().out
    assert main(["export", str(finished), str(tmp_path / "out")]) == 2
    assert main(["export", str(tmp_path), str(tmp_path / "other")]) == 2
    assert "no config.json" in capsys.readouterr().err and not (tmp_path / "other").exists()
