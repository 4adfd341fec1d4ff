"""Text and image tokens in one stream: the layout, the two losses, the mask, the cache, guidance, the stamp."""

import shutil
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from blueberry_lib.config import BlueberryError, ModelConfig, OptimizerConfig
from blueberry_lib.images import multimodal_training, vqvae_training
from blueberry_lib.images.captions import HELD_OUT, Prompts, caption_tokenizer
from blueberry_lib.images.datasets import load
from blueberry_lib.images.multimodal import Multimodal, multimodal_40m
from blueberry_lib.images.multimodal_training import MultimodalRun
from blueberry_lib.images.tokens import ImageTokens, unigram_nats
from blueberry_lib.images.vqvae import VQVAEConfig
from blueberry_lib.model.size import n_params
from blueberry_lib.optim.hybrid import build_optimizers

CODES, SIDE, TEXT = 16, 4, 20
CONFIG = ModelConfig(
    vocab_size=TEXT + CODES + 2, context_length=40, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_ff=64
)
STAMP = "ab" * 32
SEG_START, SEG_END = TEXT + CODES, TEXT + CODES + 1


@pytest.fixture
def model(randomized):
    return randomized(Multimodal(CONFIG, CODES, SIDE, STAMP))


def batch():
    """Prompts of 3, 6 and 2 tokens, padded on the right, and images."""
    prompts = torch.tensor([[0, 5, SEG_START, 0, 0, 0], [0, 7, 8, 9, 4, SEG_START], [0, SEG_START, 0, 0, 0, 0]])
    return prompts, torch.tensor([3, 6, 2]), torch.randint(CODES, (3, SIDE, SIDE))


def row_of(prompts, lengths, images, i):
    """The i-th sequence as it is meant: begin, text, seg_start, image, seg_end, end."""
    return [*prompts[i, : lengths[i]].tolist(), *(images[i].flatten() + TEXT).tolist(), SEG_END, 0]


def test_the_two_losses_are_those_of_each_row_alone(model):
    prompts, lengths, images = batch()
    text, image = model(prompts, lengths, images)
    of_text, of_image = [], []
    for i in range(3):
        row = torch.tensor([row_of(prompts, lengths, images, i)])
        positions = model.positions(lengths[i : i + 1], row.shape[1])
        logits = model.transformer(row[:, :-1], positions=positions[:, :-1])[0]
        nats = F.cross_entropy(logits, row[0, 1:], reduction="none")
        start = int(lengths[i]) - 1
        of_image.append(nats[start : start + 16])
        of_text += [nats[:start], nats[start + 16 :]]
    torch.testing.assert_close(image, torch.cat(of_image).mean())
    torch.testing.assert_close(text, torch.cat(of_text).mean())


def test_what_is_right_of_a_prompt_does_not_matter(model):
    prompts, lengths, images = batch()
    losses = model(prompts, lengths, images)
    padded = F.pad(prompts, (0, 3), value=11)
    padded[0, 3:] = 13
    torch.testing.assert_close(model(padded, lengths, images), losses)


def test_positions_are_a_line_a_square_and_a_line(model):
    places = model.positions(torch.tensor([3]), 3 + 16 + 2)[0].tolist()
    square = [[3 + row, 3 + column] for row in range(4) for column in range(4)]
    assert places == [[0, 0], [1, 1], [2, 2], *square, [7, 7], [8, 8]]


def test_noise_changes_what_is_read_and_not_what_is_asked(model):
    prompts, lengths, images = batch()
    seen = []
    hook = model.transformer.embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    losses, noisy = model(prompts, lengths, images), model(prompts, lengths, images, 0.5)
    hook.remove()
    assert losses[1] != noisy[1]
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
    codes = model.codes(ids)
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
    model = Multimodal(CONFIG, CODES, SIDE, STAMP)
    optimizers = build_optimizers(model.transformer, OptimizerConfig(), torch.float32)
    prompts, lengths, images = batch()
    for _ in range(100):
        text, image = model(prompts, lengths, images)
        (text + image).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert image < 0.05
    found = model.sample([row[:n].tolist() for row, n in zip(prompts, lengths, strict=True)], temperature=0.0)
    assert torch.equal(model.codes(found), images)
    free = model.sample([[0, 5, SEG_START]], temperature=0.0, masked=False)
    assert model.well_formed(free, 0).all()  # the end tokens are learnt, too


def test_weights_stamped_with_another_tokenizer_are_refused(model):
    weights = model.state_dict()
    Multimodal(CONFIG, CODES, SIDE, STAMP).load_state_dict(weights)
    with pytest.raises(BlueberryError, match="other tokenizers"):
        Multimodal(CONFIG, CODES, SIDE, "cd" * 32).load_state_dict(weights)


def test_a_model_too_small_for_the_image_is_refused():
    with pytest.raises(BlueberryError, match="cannot hold 16 image codes"):
        Multimodal(replace(CONFIG, context_length=16), CODES, SIDE, STAMP)


def test_the_40m_preset_has_the_originals_size_and_takes_a_step():
    config = multimodal_40m()
    assert n_params(config) == 40_380_928 and config.vocab_size * config.d_model == 25_691_136
    torch.manual_seed(0)
    model = Multimodal(config, 1_024, 8, STAMP)
    assert sum(p.numel() for p in model.parameters()) == n_params(config) and model.first_image == 49_152
    optimizers = build_optimizers(model.transformer, OptimizerConfig(), torch.float32)
    prompts = torch.tensor([[0, 100, 200, model.seg_start]] * 2)
    inputs = prompts, torch.tensor([4, 4]), torch.randint(1_024, (2, 8, 8))
    before = [loss.item() for loss in model(*inputs)]
    text, image = model(*inputs)
    (text + image).backward()
    for optimizer in optimizers:
        optimizer.step()
    after = [loss.item() for loss in model(*inputs)]
    assert after[0] < before[0] and after[1] < before[1]


def test_the_unigram_is_the_counts_of_class_and_place():
    data = replace(load_digits(), classes=("a", "b"))
    train = torch.tensor([[[0, 1]], [[0, 1]], [[0, 0]], [[1, 1]]])
    data = replace(data, train_labels=torch.tensor([0, 0, 0, 1]), val_labels=torch.tensor([0, 1]))
    tokens = ImageTokens(train.unsqueeze(1), torch.tensor([[[0, 1]], [[1, 1]]]), "00")

    def nats(a):
        likely = ((3 + a) / (3 + 2 * a), (2 + a) / (3 + 2 * a), (1 + a) / (1 + 2 * a), (1 + a) / (1 + 2 * a))
        return -torch.tensor(likely).double().log().mean().item()

    assert unigram_nats(tokens, data, 2) == pytest.approx(min(map(nats, (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0))))


def load_digits():
    pytest.importorskip("sklearn")
    return load("digits")


def test_image_tokens_of_another_tokenizer_are_refused(tmp_path):
    tokens = ImageTokens(torch.randint(9, (4, 2, 2)), torch.randint(9, (3, 2, 2)), "ab" * 32)
    tokens.save(tmp_path / "tokens.safetensors")
    found = ImageTokens.load(tmp_path / "tokens.safetensors", "ab" * 32)
    assert torch.equal(found.train, tokens.train) and torch.equal(found.val, tokens.val)
    with pytest.raises(BlueberryError, match="another image tokenizer"):
        ImageTokens.load(tmp_path / "tokens.safetensors", "cd" * 32)
    with pytest.raises(BlueberryError, match="cannot be read"):
        ImageTokens.load(tmp_path / "nowhere", "ab" * 32)


SILENT = {"say": lambda _: None, "quiet": True}


@pytest.fixture(scope="module")
def tokenizer_run(tmp_path_factory):
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("vqvae")
    run = vqvae_training.VQVAERun(model=VQVAEConfig(width=16, residual_blocks=1, codes=CODES, code_dim=4))
    run = replace(run, training=replace(run.training, steps=20, batch_size=64, device="cpu"))
    vqvae_training.run(run, folder, **SILENT)
    return folder


def small_run(tokenizer_run, **changes) -> MultimodalRun:
    model = replace(CONFIG, vocab_size=400 + CODES + 2, context_length=64)
    run = MultimodalRun(model=model, vqvae=str(tokenizer_run), **changes)
    return replace(run, training=replace(run.training, steps=8, batch_size=32, checkpoint_every=3, device="cpu"))


@pytest.fixture
def finished(tokenizer_run, tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    return folder, multimodal_training.run(small_run(tokenizer_run, token_noise=0.1), folder, **SILENT)


def test_a_run_leaves_all_that_sampling_needs_and_resumes_bit_for_bit(finished, tokenizer_run, tmp_path):
    folder, record = finished
    found = record["evaluation"]
    assert 0 < found["unigram"] < 2.8 and 0 < found["loss"] < 7 and 0 < found["text_loss"] < 9
    assert (folder / "samples.png").stat().st_size > 500
    trained = multimodal_training.load_run(folder)
    data = load("digits")
    images = trained.draw(trained.class_prompts(torch.arange(10), data.classes, HELD_OUT), seed=0)
    assert images.shape == (10, 1, 8, 8)
    assert trained.draw([trained.prompt("an unheard-of caption, 8!")], guidance=2.0).shape == (1, 1, 8, 8)
    held_out = Prompts(trained.tokenizer, data.classes, HELD_OUT, trained.model.seg_start)
    tokens = ImageTokens.load(folder / "tokens.safetensors", trained.image_tokenizer.sha256())
    evaluate = multimodal_training.evaluator(data, tokens, held_out, trained.image_tokenizer, None, "cpu")
    assert evaluate(trained.model) == pytest.approx(found)  # what is loaded is what was evaluated

    part = tmp_path / "part"
    shutil.copytree(folder, part)
    shutil.rmtree(part / "checkpoints/step-00000008")
    (part / "record.json").unlink()
    torch.rand(3)
    resumed = multimodal_training.run(small_run(tokenizer_run, token_noise=0.1), part, resume=True, **SILENT)
    assert resumed["evaluation"] == found
    weights = [multimodal_training.load_run(f).model.state_dict() for f in (folder, part)]
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def test_a_run_whose_tokenizers_have_changed_is_refused(finished, tokenizer_run, tmp_path):
    folder, _ = finished
    other = tmp_path / "other"
    config = replace(vqvae_training.load_run(tokenizer_run)[1], training=replace(small_run(".").training, steps=1))
    other.mkdir()
    vqvae_training.run(config, other, **SILENT)
    path = folder / "config.json"
    path.write_text(path.read_text().replace(str(tokenizer_run), str(other)))
    with pytest.raises(BlueberryError, match="other tokenizers"):
        multimodal_training.load_run(folder)
    with pytest.raises(BlueberryError, match="another image tokenizer"):
        multimodal_training.run(small_run(other, token_noise=0.1), folder, resume=True, **SILENT)


def test_another_text_tokenizer_is_refused(finished):
    folder, _ = finished
    (folder / "tokenizer.json").write_text(caption_tokenizer(("cat", "dog"), 400).to_str())
    with pytest.raises(BlueberryError, match="other tokenizers"):
        multimodal_training.load_run(folder)


def test_what_is_missing_or_too_large_is_said(tokenizer_run, tmp_path):
    with pytest.raises(BlueberryError, match="is no run"):
        multimodal_training.run(small_run(tmp_path / "nowhere"), tmp_path, **SILENT)
    with pytest.raises(BlueberryError, match="is no run"):
        multimodal_training.load_run(tmp_path / "nowhere")
    run = small_run(tokenizer_run)
    path = tmp_path / "tokenizer.json"
    path.write_text(caption_tokenizer(("cat", "dog"), 400).to_str())
    with pytest.raises(BlueberryError, match="leaves 262 beside 16 image codes"):
        small = replace(run, model=replace(run.model, vocab_size=280), tokenizer=str(path))
        multimodal_training.run(small, tmp_path, **SILENT)
    with pytest.raises(BlueberryError, match="must lie in"):
        MultimodalRun(caption_dropout=1.0)


def test_captions_are_dropped_in_training(tokenizer_run, tmp_path, monkeypatch):
    asked = []
    draw = Prompts.draw
    monkeypatch.setattr(
        Prompts, "draw", lambda self, labels, dropout: asked.append(dropout) or draw(self, labels, dropout)
    )
    multimodal_training.run(small_run(tokenizer_run), tmp_path, **SILENT)
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
