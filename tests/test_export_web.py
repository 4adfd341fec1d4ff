"""In a JavaScript engine the book's script computes what PyTorch computes on the dequantized weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from book_tool import tool

import blueberry_lib
from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import END_OF_TEXT, train_tokenizer
from blueberry_lib.export_web import dequantized, export_web, quantize, vocabulary
from blueberry_lib.generation import generate
from blueberry_lib.images.diffusion_transformer import DiT2D, DiTConfig
from blueberry_lib.images.flow_matching import integrate
from blueberry_lib.model import Blueberry

BOOK = Path(blueberry_lib.__file__).parents[1] / "book"
TEXTS = [f"def add_{i}(a, b):\n    # naïve — 'quoted', it's {i * 7919}\n    return a + b  \n\n" for i in range(60)]

engine = tool("run_javascript") if (BOOK / "_static" / "model.js").exists() else None
in_javascript = pytest.mark.skipif(
    not (engine and (engine.NODE or engine.CHROMIUM)), reason="needs the book, and node or a Chromium on the PATH"
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


def test_the_largest_entry_of_a_row_is_127_and_no_entry_is_off_by_more_than_half_a_step():
    matrix = torch.randn(5, 40) * torch.tensor([1.0, 10, 0.1, 0, 3])[:, None]
    numbers, scales = quantize(matrix)
    assert numbers.dtype == torch.int8 and numbers.abs().amax(dim=1).tolist() == [127, 127, 127, 0, 127]
    assert ((numbers * scales[:, None] - matrix).abs() <= scales[:, None] / 2 + 1e-7).all()


BEST = {"embedding": "normed", "value_residual": True, "key_offset": True, "copy_head": True}
NAMES = ["plain", "swiglu", "untied", "normed", "soft_cap", "value_residual", "key_offset", "copy_head", "best"]


@in_javascript
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_greedy_text_are_those_of_pytorch(name, variants, tokenizer, randomized, tmp_path):
    config = replace(variants["plain"], **BEST) if name == "best" else variants[name]
    model = randomized(Blueberry(replace(config, vocab_size=300)))
    export_web(model, tmp_path / "model.js", "one", tokenizer)
    dequantized(model)
    ids = [0, *tokenizer.encode("def add_5(").ids]
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0]
    greedy = generate(model, [ids], 12, temperature=0)[0]
    found = engine.javascript(
        "(() => { const model = new TextModel(blueberryModels.one);"
        f"const logits = {ids}.map((id) => Array.from(model.step(id)));"
        "return {logits, greedy: [...model.write('def add_5(', {temperature: 0, count: 12})]}; })()",
        [tmp_path / "model.js"],
    )
    torch.testing.assert_close(torch.tensor(found["logits"]), expected, atol=1e-3, rtol=0)
    assert found["greedy"] == greedy[: greedy.index(0)] if 0 in greedy else found["greedy"] == greedy


@in_javascript
def test_text_becomes_the_same_ids_and_comes_back(tokenizer, tiny, tmp_path):
    export_web(Blueberry(replace(tiny, vocab_size=300)), tmp_path / "model.js", "one", tokenizer)
    odd = ["", " ", "\n\n\n  x\t", "日本 naïve 🫐", "we'll they've 1234  ---  end \n", END_OF_TEXT[2:-2], *TEXTS[:3]]
    found = engine.javascript(
        "(() => { const pairs = new BytePairs(blueberryModels.one.vocabulary);"
        f"return {json.dumps(odd)}.map((text) => {{ const ids = pairs.encode(text);"
        "const bytes = ids.flatMap((id) => [...pairs.bytes(id)]);"
        "return [ids, new TextDecoder().decode(Uint8Array.from(bytes))]; }); })()",
        [tmp_path / "model.js"],
    )
    assert found == [[tokenizer.encode(text).ids, text] for text in odd]


@in_javascript
def test_a_digit_is_drawn_as_pytorch_draws_it(randomized, tmp_path):
    model = DiT2D(DiTConfig(d_model=32, n_layers=2, n_heads=2)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.1)
    export_web(model, tmp_path / "model.js", "digits")
    dequantized(model)
    frames = engine.javascript(
        "[...new DigitModel(blueberryModels.digits).draw(7, {steps: 5, seed: 3})].map((frame) => [...frame])",
        [tmp_path / "model.js"],
    )
    assert len(frames) == 6
    noise = torch.tensor(frames[0]).view(1, 1, 8, 8)
    with torch.no_grad():
        end = integrate(lambda x, t: model(x, t, torch.tensor([7])), noise, 5, "midpoint")
    torch.testing.assert_close(torch.tensor(frames[-1]), end.flatten(), atol=1e-3, rtol=0)


@in_javascript
def test_drawing_follows_temperature_and_top_p():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0])
    draws = engine.javascript(
        "(() => { const random = randomNumbers(1); const counts = [0, 0, 0, 0, 0];"
        f"for (let i = 0; i < 20000; i++) counts[draw(Float32Array.from({logits.tolist()}), 0.5, 0.9, random)]++;"
        "const z = Array.from({length: 20000}, () => gaussian(random));"
        "return {counts, mean: z.reduce((a, b) => a + b) / 2e4, square: z.reduce((a, b) => a + b * b, 0) / 2e4}; })()"
    )
    kept = (logits / 0.5).softmax(0)[:2]  # 0.864 and 0.117: two entries hold 0.9
    assert draws["counts"][2:] == [0, 0, 0]
    assert draws["counts"][0] / 20000 == pytest.approx((kept[0] / kept.sum()).item(), abs=0.01)
    assert abs(draws["mean"]) < 0.03 and abs(draws["square"] - 1) < 0.04


def test_what_the_script_cannot_run_is_refused(variants, tiny, tmp_path):
    with pytest.raises(BlueberryError, match="n_experts is 0"):
        export_web(Blueberry(variants["moe"]), tmp_path / "model.js", "one")
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"naïve words": 0}, unk_token="naïve words"))
    with pytest.raises(BlueberryError, match="byte-level"):
        vocabulary(words)


RECORD = json.loads((BOOK / "records" / "web_models.json").read_text()) if engine else None


@pytest.mark.skipif(not engine, reason="the library is installed without the book")
def test_int8_costs_at_most_a_hundredth_of_a_nat():
    for moment in RECORD["text"].values():
        assert moment.get("int8_loss", 0) <= moment["loss"] + 0.01
    assert RECORD["digits"]["int8_loss"] <= RECORD["digits"]["loss"] + 0.01 and RECORD["same_tokens"] == 16_384
    sizes = [path.stat().st_size for path in (BOOK / "_static" / "web").iterdir()]
    assert sum(sizes) <= 6e6


@in_javascript
def test_what_stands_on_the_first_page_is_what_the_models_there_make():
    still = tool("make_web_models").still()
    assert still == json.loads((BOOK / "_static" / "web" / "still.json").read_text(encoding="utf-8"))
