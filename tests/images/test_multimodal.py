"""Text and image tokens in one stream: the layout, the two losses, the mask, the cache, guidance, the stamp."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from blueberry_lib.config import BlueberryError, ModelConfig, OptimizerConfig
from blueberry_lib.hardware import detect
from blueberry_lib.images.captions import Prompts, caption_tokenizer
from blueberry_lib.images.captions import prompt as encode
from blueberry_lib.images.datasets import load
from blueberry_lib.images.multimodal import Multimodal
from blueberry_lib.images.multimodal_training import PRESETS, Captioned, MultimodalRun, load_multimodal
from blueberry_lib.images.training import run
from blueberry_lib.images.vqvae import VQVAE, VQVAEConfig
from blueberry_lib.images.vqvae_training import VQVAERun, load_vqvae
from blueberry_lib.model.size import n_params
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training.folder import load_config

CODES, SIDE, TEXT = 16, 4, 20
CONFIG = ModelConfig(
    vocab_size=TEXT + CODES + 2, context_length=40, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_ff=64
)
SEG_START, SEG_END = TEXT + CODES, TEXT + CODES + 1


@pytest.fixture
def model(randomized):
    return randomized(Multimodal(CONFIG, CODES, SIDE))


def batch():
    """Prompts of 3, 6 and 2 tokens, and images."""
    return [[0, 5, SEG_START], [0, 7, 8, 9, 4, SEG_START], [0, SEG_START]], torch.randint(CODES, (3, SIDE, SIDE))


def losses(model, ids, noise=0.0):
    """Nats of a text and of an image token."""
    hidden = model(ids, noise)
    return model.loss(hidden, ids, 1.0, 0.0), model.loss(hidden, ids, 0.0)


def test_rows_are_put_together_once_and_padded_on_the_right(model):
    prompts, images = batch()
    ids = model.collate(prompts, images, 6)
    assert ids.shape == (3, 6 + 16 + 2)
    for row, prompt, image in zip(ids.tolist(), prompts, images, strict=True):
        whole = [*prompt, *(image.flatten() + TEXT).tolist(), SEG_END, 0]
        assert row == whole + [0] * (len(row) - len(whole))


def test_the_one_loss_is_the_weighted_sum_of_those_of_each_row_alone_and_so_is_its_gradient(model):
    """Image tokens by the mean of their nats, text tokens by a tenth of the mean of theirs, padding not at all."""
    prompts, images = batch()
    ids = model.collate(prompts, images, 9)
    of_text, of_image = [], []
    for prompt, row in zip(prompts, ids, strict=True):
        row, start = row[None, : len(prompt) + 18], len(prompt) - 1
        positions = model.positions(torch.tensor([len(prompt)]), row.shape[1])
        logits = model.transformer(row[:, :-1], positions=positions[:, :-1])[0]
        nats = F.cross_entropy(logits, row[0, 1:], reduction="none")
        of_image.append(nats[start : start + 16])
        of_text += [nats[:start], nats[start + 16 :]]
    text, image = torch.cat(of_text).mean(), torch.cat(of_image).mean()
    torch.testing.assert_close(losses(model, ids), (text, image))
    (image + 0.1 * text).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    loss = model.loss(model(ids), ids, 0.1)
    torch.testing.assert_close(loss, image + 0.1 * text)
    loss.backward()
    torch.testing.assert_close([p.grad for p in model.parameters()], expected, atol=1e-6, rtol=1e-4)


def test_what_is_right_of_a_row_does_not_matter(model):
    prompts, images = batch()
    ids, wider = (model.collate(prompts, images, longest) for longest in (6, 9))
    wider[0, 3 + 18 :] = 13
    torch.testing.assert_close(losses(model, wider), losses(model, ids))


def test_positions_are_a_line_a_square_and_a_line(model):
    places = model.positions(torch.tensor([3]), 3 + 16 + 2)[0].tolist()
    square = [[3 + row, 3 + column] for row in range(4) for column in range(4)]
    assert places == [[0, 0], [1, 1], [2, 2], *square, [7, 7], [8, 8]]


def test_noise_changes_what_is_read_and_not_what_is_asked(model):
    ids, seen = model.collate(*batch(), 6), []
    hook = model.transformer.embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    assert losses(model, ids)[1] != losses(model, ids, 0.5)[1]
    hook.remove()
    plain, noisy = seen
    (image, still_image), (text, still_text) = (
        [(ids >= low) & (ids < high) for ids in seen] for low, high in ((TEXT, SEG_START), (1, TEXT))
    )
    assert torch.equal(image, still_image) and torch.equal(text, still_text)
    changed = plain != noisy
    assert 0.3 < changed[image].double().mean() < 0.65 and changed[text].any() and not changed[~image & ~text].any()


PROMPTS = [[0, 5, SEG_START], [0, 7, 8, 9, 4, SEG_START], [0, SEG_START]] * 4


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"temperature": 0.0}])
def test_with_the_mask_every_sample_is_well_formed(model, guidance, settings):
    ids = model.sample(PROMPTS, guidance=guidance, seed=0, **settings)
    assert ids.shape == (12, 18) and model.well_formed(ids, 0).all()
    assert (ids[:, -2:] == torch.tensor([SEG_END, 0])).all()
    codes = model.tokens(ids)
    assert codes.shape == (12, 4, 4) and codes.min() >= 0 and codes.max() < CODES


def test_without_the_mask_text_is_drawn_into_images(model):
    ids = model.sample(PROMPTS, seed=0, masked=False)
    assert ids.shape == (12, 18) and not model.well_formed(ids, 0).any()


def test_the_mask_comes_before_top_k(model):
    """Text ids are made the most probable; with top-k first, nothing would be left to draw."""
    with torch.no_grad():
        model.transformer.embedding.weight[:TEXT] += 3 * model.transformer.norm.gain.sign()
    assert model.well_formed(model.sample(PROMPTS, top_k=2, seed=0), 0).all()


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_the_cache_changes_nothing(model, guidance):
    cached = model.sample(PROMPTS, temperature=0.0, guidance=guidance)
    assert torch.equal(cached, model.sample(PROMPTS, temperature=0.0, guidance=guidance, cached=False))


def test_a_seed_repeats_and_a_sample_is_likely_under_its_own_prompt(model):
    assert torch.equal(model.sample(PROMPTS, seed=4), model.sample(PROMPTS, seed=4))
    assert not torch.equal(model.sample(PROMPTS, seed=4), model.sample(PROMPTS, seed=5))
    greedy = model.sample(PROMPTS[:3], temperature=0.0)
    for prompt, ids in zip(PROMPTS, greedy, strict=False):  # as training lays the row out, without padding on the left
        row = torch.tensor([[*prompt, *ids.tolist()]])
        places = model.positions(torch.tensor([len(prompt)]), row.shape[1])
        logits = model.transformer(row, positions=places)[0, len(prompt) - 1 : -3, TEXT:SEG_START]
        assert torch.equal(logits.argmax(-1) + TEXT, ids[:16])


def test_guidance_0_forgets_the_caption_and_1_changes_nothing(model):
    empty = model.sample([[0, SEG_START]] * 12, temperature=0.0)
    assert torch.equal(model.sample(PROMPTS, temperature=0.0, guidance=0.0), empty)
    nearly = model.sample(PROMPTS, temperature=0.0, guidance=1.0 + 1e-6)
    assert torch.equal(nearly, model.sample(PROMPTS, temperature=0.0))


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    model = Multimodal(CONFIG, CODES, SIDE)
    optimizers = build_optimizers(model.transformer, OptimizerConfig(), torch.float32)
    prompts, images = batch()
    ids = model.collate(prompts, images, 6)
    for _ in range(100):
        model.loss(model(ids), ids, 1.0).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses(model, ids)[1] < 0.05
    found = model.sample(prompts, temperature=0.0)
    assert torch.equal(model.tokens(found), images)
    free = model.sample([[0, 5, SEG_START]], temperature=0.0, masked=False)
    assert model.well_formed(free, 0).all()  # the end tokens are learnt, too


def test_a_model_too_small_for_the_image_is_refused():
    with pytest.raises(BlueberryError, match="no room for text beside 36 image codes"):
        Multimodal(CONFIG, 36, SIDE)
    small = Multimodal(replace(CONFIG, context_length=20), CODES, SIDE)
    small.check_room(2)
    with pytest.raises(BlueberryError, match=r"A caption of 3 tokens with its image of 16 \+ 2 needs a context of 21"):
        small.sample([[0, 5, SEG_START]])


def test_the_40m_preset_has_the_originals_size_and_takes_a_step():
    config = PRESETS["40m"]().model
    assert n_params(config) == 40_380_928 and config.vocab_size * config.d_model == 25_691_136
    torch.manual_seed(0)
    model = Multimodal(config, 1_024, 8)
    assert sum(p.numel() for p in model.parameters()) == n_params(config) and model.first_image == 49_152
    optimizers = build_optimizers(model.transformer, OptimizerConfig(), torch.float32)
    ids = model.collate([[0, 100, 200, model.seg_start]] * 2, torch.randint(1_024, (2, 8, 8)), 4)
    before = losses(model, ids)
    model.loss(model(ids), ids, 1.0).backward()
    for optimizer in optimizers:
        optimizer.step()
    after = losses(model, ids)
    assert after[0] < before[0] and after[1] < before[1]


def test_the_unigram_is_the_counts_of_class_and_place():
    labels = {"train_labels": torch.tensor([0, 0, 0, 1]), "val_labels": torch.tensor([0, 1])}
    images = replace(load_digits(), classes=("a", "b"), **labels)
    data = Captioned(images, None, VQVAE(VQVAEConfig(codes=2)), None, None, (0.0,))
    train = torch.tensor([[[0, 1]], [[0, 1]], [[0, 0]], [[1, 1]]])
    data.__dict__.update(train=train.unsqueeze(1), val=torch.tensor([[[0, 1]], [[1, 1]]]))

    def nats(a):
        likely = ((3 + a) / (3 + 2 * a), (2 + a) / (3 + 2 * a), (1 + a) / (1 + 2 * a), (1 + a) / (1 + 2 * a))
        return -torch.tensor(likely).double().log().mean().item()

    assert data.unigram == pytest.approx(min(map(nats, (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0))))


def load_digits():
    pytest.importorskip("sklearn")
    return load("digits")


SILENT = {"say": lambda _: None, "quiet": True}


@pytest.fixture(scope="module")
def tokenizer_run(tmp_path_factory):
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("vqvae")
    config = VQVAERun(model=VQVAEConfig(width=16, residual_blocks=1, codes=CODES, code_dim=4))
    run(replace(config, training=replace(config.training, steps=20, batch_size=64, device="cpu")), folder, **SILENT)
    return folder


def small_run(tokenizer_run, **changes) -> MultimodalRun:
    model = replace(CONFIG, vocab_size=400 + CODES + 2, context_length=64)
    config = MultimodalRun(model=model, vqvae=str(tokenizer_run), **changes)
    return replace(config, training=replace(config.training, steps=8, batch_size=32, checkpoint_every=3, device="cpu"))


@pytest.fixture
def finished(tokenizer_run, tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    return folder, run(small_run(tokenizer_run, token_noise=0.1), folder, **SILENT)


def test_a_run_leaves_all_that_sampling_needs_and_resumes_bit_for_bit(finished, tokenizer_run, tmp_path):
    folder, record = finished
    found = record["evaluation"]
    assert 0 < found["unigram"] < 2.8 and 0 < found["loss"] < 7 and 0 < found["text_loss"] < 9
    assert (folder / "samples.png").stat().st_size > 500
    model, config, data, found_folder = load_multimodal(folder)
    assert found_folder == folder and config.vqvae == str(tokenizer_run.resolve()) and data.images.name == "digits"
    images = data.draw(model, data.held_out.fixed(torch.arange(10)), seed=0)
    assert images.shape == (10, 1, 8, 8)
    unheard_of = encode(data.tokenizer, "an unheard-of caption, 8!", model.seg_start)
    assert data.draw(model, [unheard_of], guidance=2.0).shape == (1, 1, 8, 8)
    assert config.evaluate(model, data, detect("cpu"), None) == pytest.approx(found)  # as it was evaluated

    part = tmp_path / "part"
    shutil.copytree(folder, part)
    shutil.rmtree(part / "checkpoints/step-00000008")
    (part / "record.json").unlink()
    torch.rand(3)
    resumed = run(small_run(tokenizer_run, token_noise=0.1), part, resume=True, **SILENT)
    assert resumed["evaluation"] == found
    weights = [load_multimodal(f)[0].state_dict() for f in (folder, part)]
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def test_a_run_whose_tokenizers_have_changed_is_refused(finished, tokenizer_run, tmp_path):
    folder, _ = finished
    other = tmp_path / "other"
    config = replace(load_vqvae(tokenizer_run)[1], training=replace(small_run(".").training, steps=1))
    other.mkdir()
    run(config, other, **SILENT)
    path = folder / "config.json"
    path.write_text(path.read_text().replace(str(tokenizer_run), str(other)))
    with pytest.raises(BlueberryError, match="other tokenizers"):
        load_multimodal(folder)
    with pytest.raises(BlueberryError, match="other tokenizers"):
        run(load_config(MultimodalRun, folder), folder, resume=True, **SILENT)


def test_another_text_tokenizer_is_refused(finished):
    folder, _ = finished
    (folder / "tokenizer.json").write_text(caption_tokenizer(("cat", "dog"), 400).to_str())
    with pytest.raises(BlueberryError, match="other tokenizers"):
        load_multimodal(folder)


@pytest.mark.parametrize("name", ["text_weight", "copies", "pixel_noise", "token_noise", "caption_dropout"])
def test_every_number_of_a_run_has_its_range(name):
    with pytest.raises(BlueberryError, match=f"{name} is -1"):
        MultimodalRun(**{name: -1})


def test_the_image_tokenizer_is_found_from_any_folder(tokenizer_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tokenizer_run.parent)
    (tmp_path / "here").mkdir()
    run(small_run(tokenizer_run.name), tmp_path / "here", **SILENT)
    monkeypatch.chdir(tmp_path)
    assert load_multimodal(tmp_path / "here")[1].vqvae == str(tokenizer_run.resolve())


def test_captions_that_leave_no_room_for_the_image_and_wrong_channels_are_refused_before_training(
    tokenizer_run, tmp_path
):
    config = small_run(tokenizer_run)
    with pytest.raises(BlueberryError, match=r"needs a context of \d+; the model's is 24"):
        run(replace(config, model=replace(config.model, context_length=24)), tmp_path, **SILENT)
    pixels = {f"x_{split}": np.zeros((4, 8, 8, 3), np.uint8) for split in ("train", "test")}
    np.savez(tmp_path / "colour.npz", **pixels, y_train=np.arange(4), y_test=np.arange(4))
    with pytest.raises(BlueberryError, match="has 3 channels, .* takes 1"):
        run(replace(config, training=replace(config.training, data=f"npz:{tmp_path}/colour.npz")), tmp_path, **SILENT)
    assert not (tmp_path / "checkpoints").exists()


def test_what_is_missing_or_too_large_is_said(tokenizer_run, tmp_path):
    with pytest.raises(BlueberryError, match="is no run"):
        run(small_run(tmp_path / "nowhere"), tmp_path, **SILENT)
    with pytest.raises(BlueberryError, match="is no run"):
        load_multimodal(tmp_path / "nowhere")
    config = small_run(tokenizer_run)
    path = tmp_path / "tokenizer.json"
    path.write_text(caption_tokenizer(("cat", "dog"), 400).to_str())
    with pytest.raises(BlueberryError, match="leaves 262 beside 16 image codes"):
        small = replace(config, model=replace(config.model, vocab_size=280), tokenizer=str(path))
        run(small, tmp_path, **SILENT)
    with pytest.raises(BlueberryError, match="caption_dropout is 1.0"):
        MultimodalRun(caption_dropout=1.0)


def test_captions_are_dropped_in_training(tokenizer_run, tmp_path, monkeypatch):
    asked = []
    draw = Prompts.draw
    monkeypatch.setattr(
        Prompts, "draw", lambda self, labels, dropout: asked.append(dropout) or draw(self, labels, dropout)
    )
    run(small_run(tokenizer_run), tmp_path, **SILENT)
    assert len(asked) >= 8 and set(asked) == {0.1}


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("tyro")
    from blueberry_lib.cli import main

    monkeypatch.chdir(tmp_path)
    small = "--training.steps 4 --training.batch-size 16 --training.device cpu".split()
    assert main(["vqvae", "train", *small, "--model.width", "8", "--model.codes", "16"]) == 0
    said = capsys.readouterr().out
    assert "mean squared error" in said and "runs/vqvae-digits/reconstructions.png" in said
    assert main(["vqvae", "reconstruct", "--checkpoint", "runs/vqvae-digits"]) == 0
    assert '"usage"' in capsys.readouterr().out and (tmp_path / "reconstructions.png").stat().st_size > 500
    monkeypatch.setattr(
        "blueberry_lib.images.training.load", lambda spec, size: replace(load(spec), val=load(spec).val[1:])
    )
    assert main(["vqvae", "reconstruct", "--checkpoint", "runs/vqvae-digits"]) == 2
    assert "the images have changed" in capsys.readouterr().err
    monkeypatch.setattr("blueberry_lib.images.training.load", load)
    model = "--model.vocab-size 418 --model.d-model 32 --model.d-ff 32 --model.n-layers 1".split()
    assert main(["multimodal", "train", *small, *model, "--experiment-name", "mm"]) == 0
    assert "nats an image token" in capsys.readouterr().out
    sample = ["multimodal", "sample", "--checkpoint", "runs/mm", "--device", "cpu"]
    caption = "--top-k 5 --temperature 0.9 --cfg-scale 2 --prompt".split()
    for more in (
        [*caption, "a photo of a seven"],
        ["--class-grid", "--samples-per-class", "2"],
        ["--class-label", "seven", "--seed", "3"],
        [],
    ):
        assert main([*sample, "--num-samples", "4", "--output", "drawn.png", *more]) == 0
        assert ("Wrote 20" if "--class-grid" in more else "Wrote 4") in capsys.readouterr().out
        (tmp_path / "drawn.png").unlink()
    assert main([*sample, "--class-label", "ten"]) == 2 and "no class 'ten'" in capsys.readouterr().err
    assert main(["multimodal", "sample", "--checkpoint", "runs/none"]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main([*sample, "--num-samples", "0"]) == 2 and "at least 1" in capsys.readouterr().err
    assert main(["multimodal", "eval", "--checkpoint", "runs/mm", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert '"masked": 1.0' in said and "judge" in said and "gaussian" in said
    assert main(["vqvae", "train", "--preset", "nothing"]) == 2 and "no preset" in capsys.readouterr().err
