"""The tokenizer: its quantizers against closed forms and a package, its skip path, its upkeep of the codebook."""

import shutil
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from blueberry_lib.config import BlueberryError
from blueberry_lib.images.quantizers import SMOOTHING, Codebook, FiniteScalar, kmeans, nearest
from blueberry_lib.images.training import run
from blueberry_lib.images.vqvae import VQVAE, Residual, VQVAEConfig
from blueberry_lib.images.vqvae_training import PRESETS, VQVAERun, load_vqvae, usage

SMALL = VQVAEConfig(width=16, residual_blocks=1, code_dim=4, codes=16)


def test_the_nearest_code_is_the_nearest():
    vectors, codes = torch.randn(5, 7, 4), torch.randn(9, 4)
    distances = (vectors.double().unsqueeze(-2) - codes.double()).square().sum(-1)
    assert torch.equal(nearest(vectors, codes), distances.argmin(-1))


def test_the_gradient_goes_straight_through_and_the_two_losses_pull_one_side_each():
    book = Codebook(8, 4, ema=False, commitment=0.25)
    vectors = torch.randn(10, 4, requires_grad=True)
    codes, indices, loss = book(vectors)
    torch.testing.assert_close(codes, book.vectors[indices])
    weight = torch.randn(10, 4)
    (through,) = torch.autograd.grad((codes * weight).sum(), vectors, retain_graph=True)
    assert torch.equal(through, weight)
    pull, draw = torch.autograd.grad(loss, (vectors, book.vectors))
    difference = (vectors - book.vectors[indices]).detach()
    torch.testing.assert_close(loss, 1.25 * difference.square().mean())
    torch.testing.assert_close(pull, 0.25 * 2 * difference / 40)
    expected = torch.zeros(8, 4).index_add_(0, indices, -2 * difference / 40)
    torch.testing.assert_close(draw, expected)


def test_a_code_is_the_decayed_mean_of_its_vectors():
    book = Codebook(3, 2, decay=0.9, revive_below=0)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [10.0, 10.0], [-10.0, 10.0]]))
    book.sums.copy_(book.vectors)
    batches = torch.randn(4, 6, 2) + book.vectors[torch.tensor([0, 0, 0, 1, 1, 0])]
    counts, sums = torch.ones(3).double(), book.sums.double()
    for batch in batches:
        book(batch)
        taken = torch.tensor([0, 0, 0, 1, 1, 0])
        counts = 0.9 * counts + 0.1 * torch.tensor([4.0, 2.0, 0.0])
        sums = 0.9 * sums + 0.1 * torch.zeros(3, 2).double().index_add_(0, taken, batch.double())
    smoothed = (counts + SMOOTHING) * counts.sum() / (counts.sum() + 3 * SMOOTHING)
    torch.testing.assert_close(book.vectors.double(), sums / smoothed.unsqueeze(1), atol=1e-5, rtol=1e-5)
    before = book.vectors.clone()
    book.eval()(batches[0])
    assert torch.equal(book.vectors, before)


def package():
    """vector-quantize-pytorch, where it is installed without bringing in torchvision."""
    found = pytest.importorskip("vector_quantize_pytorch")
    assert "torchvision" not in sys.modules
    return found


def test_the_codebook_equals_vector_quantize_pytorch():
    theirs = package().VectorQuantize(
        dim=8, codebook_size=32, decay=0.9, commitment_weight=0.25, threshold_ema_dead_code=0, rotation_trick=False
    )
    ours = Codebook(32, 8, decay=0.9, revive_below=0)
    state = theirs._codebook
    ours.vectors.copy_(state.embed[0])
    ours.sums.copy_(state.embed_avg[0])
    ours.counts.copy_(state.cluster_size[0])
    for _ in range(5):
        a = torch.randn(2, 40, 8, requires_grad=True)
        b = a.detach().clone().requires_grad_()
        (codes, indices, loss), (expected, their_indices, their_loss) = ours(a), theirs(b)
        assert torch.equal(indices, their_indices)
        torch.testing.assert_close(codes, expected)
        torch.testing.assert_close(loss, their_loss.squeeze())
        (codes.sum() + loss).backward()
        (expected.sum() + their_loss).backward()
        torch.testing.assert_close(a.grad, b.grad)
        torch.testing.assert_close(ours.vectors, state.embed[0], atol=2e-6, rtol=2e-6)


def test_fsq_equals_vector_quantize_pytorch():
    levels = (8, 5, 4)
    theirs, ours = package().FSQ(levels), FiniteScalar(levels)
    vectors = 2 * torch.randn(3, 50, 3)
    expected, their_indices = theirs(vectors)
    codes, indices, _ = ours(vectors)
    assert torch.equal(indices, their_indices.long())
    torch.testing.assert_close(codes, expected)
    torch.testing.assert_close(ours.lookup(indices), theirs.indices_to_codes(their_indices))


@pytest.mark.parametrize("levels", [(8, 5, 4), (3,), (4, 4, 4)])
def test_every_fsq_code_is_reached_and_found_again(levels):
    quantizer = FiniteScalar(levels)
    count = int(torch.tensor(levels).prod())
    codes = quantizer.lookup(torch.arange(count))
    assert len(codes.unique(dim=0)) == count and codes.abs().max() <= 1
    found, indices, loss = quantizer(2 * torch.randn(20_000, len(levels)))
    assert len(indices.unique()) == count and loss == 0
    torch.testing.assert_close(found, quantizer.lookup(indices))
    vectors = torch.randn(6, len(levels), requires_grad=True)
    (gradient,) = torch.autograd.grad(quantizer(vectors)[0].sum(), vectors)
    assert (gradient > 0).all()


def test_with_normalized_codes_length_does_not_matter():
    book = Codebook(16, 4, normalized=True, revive_below=0).eval()
    vectors = torch.randn(50, 4)
    codes, indices, _ = book(vectors)
    assert torch.equal(book(7 * vectors)[1], indices)
    torch.testing.assert_close(codes.norm(dim=-1), torch.ones(50))
    assert torch.equal(indices, (vectors @ book.codebook().T).argmax(-1))
    book.train()(vectors)
    torch.testing.assert_close(book.vectors.norm(dim=-1), torch.ones(16))


def test_kmeans_finds_separate_heaps():
    centres = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    heaps = centres.repeat_interleave(200, 0) + torch.randn(600, 2) * 0.1
    torch.manual_seed(3)
    found = min((kmeans(heaps, 3) for _ in range(5)), key=lambda c: torch.cdist(heaps, c).min(1).values.sum())
    assert torch.cdist(centres, found).min(1).values.max() < 0.1
    assert kmeans(heaps[:2], 5).shape == (5, 2)


def moving_data(book: Codebook) -> float:
    """The share of codes in use after training on vectors far from where the codes start."""
    torch.manual_seed(1)
    for _ in range(100):
        book(torch.randn(256, 4) * 0.3 + 5)
    return usage(book(torch.randn(4_096, 4) * 0.3 + 5)[1].bincount(minlength=64))["usage"]


def test_revival_brings_dead_codes_back_and_without_it_they_stay_dead():
    with_it, without = (moving_data(Codebook(64, 4, revive_below=share)) for share in (0.03, 0.0))
    assert with_it > 0.95 and without < 0.3


def test_a_used_code_is_not_revived():
    book = Codebook(2, 1, revive_below=0.03)
    book.vectors.copy_(torch.tensor([[0.0], [10.0]]))
    book.sums.copy_(book.vectors)
    vectors = torch.tensor([[0.0], [10.0]]).repeat(50, 1)
    for _ in range(5):
        book(vectors)
    torch.testing.assert_close(book.vectors, torch.tensor([[0.0], [10.0]]), atol=1e-3, rtol=1e-4)


def test_usage_and_perplexity_are_their_formulas():
    assert usage(torch.tensor([5, 5, 0, 0])) == {"usage": 0.5, "perplexity": pytest.approx(2)}
    counts = torch.tensor([1, 2, 5])
    p = counts / 8
    assert usage(counts)["perplexity"] == pytest.approx((-(p * p.log()).sum()).exp().item(), rel=1e-5)


def test_the_residual_blocks_skip_path_is_intact():
    """The original's ReLU worked in place on its input: what was added at the end was relu(x), not x."""
    block, x = Residual(8), torch.randn(2, 8, 4, 4)
    before = x.clone()
    inner = block.second(F.relu(block.first(F.relu(before))))
    out = block(x)
    assert torch.equal(x, before)
    torch.testing.assert_close(out, before + inner)
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    assert torch.equal(block(x), before) and (before < 0).any()
    assert not any(getattr(module, "inplace", False) for module in VQVAE(SMALL).modules())


@pytest.mark.parametrize("quantizer", ["ema", "gradient", "fsq"])
def test_tokens_and_decode_are_the_two_halves_of_the_model(quantizer):
    fsq = {"levels": (4, 4), "code_dim": 2} if quantizer == "fsq" else {}
    model = VQVAE(replace(SMALL, quantizer=quantizer, **fsq)).eval()
    images = torch.randn(3, 1, 8, 8)
    reconstruction, tokens, _ = model(images)
    assert tokens.shape == (3, 4, 4) and torch.equal(model.tokens(images), tokens)
    torch.testing.assert_close(model.decode(tokens), reconstruction, atol=1e-5, rtol=1e-5)


def test_the_codes_are_chosen_in_float32_whatever_the_rest_is_computed_in():
    model = VQVAE(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = model.encoder(torch.randn(2, 1, 8, 8)).movedim(1, -1)
        expected = nearest(vectors.double(), model.quantizer.codebook().double())
        codes, indices, loss = model.quantizer(vectors)
    assert vectors.dtype == torch.bfloat16 and codes.dtype == loss.dtype == torch.float32
    assert torch.equal(indices, expected)


def test_the_presets_have_the_grids_they_promise():
    configs = {name: preset().model for name, preset in PRESETS.items()}
    assert {name: (c.image_size, c.grid_size, c.codes) for name, c in configs.items()} == {
        "digits": (8, 4, 64),
        "cifar-small": (32, 8, 512),
        "cifar-8x8": (32, 8, 1_024),
        "cifar-16x16": (32, 16, 1_024),
        "original": (128, 32, 1_024),
    }
    for config in configs.values():
        config = replace(config, width=4)
        images = torch.randn(1, config.channels, config.image_size, config.image_size)
        assert VQVAE(config)(images)[1].shape == (1, config.grid_size, config.grid_size)


@pytest.mark.parametrize(
    ("name", "value"),
    [("codes", 0), ("decay", 1.5), ("decay", 1.0), ("commitment", -0.1), ("revive_below", 2.0), ("halvings", -1),
     ("width", 0), ("channels", 0), ("code_dim", 0), ("residual_blocks", -1), ("levels", (4, 1)), ("image_size", 0)],
)  # fmt: skip
def test_every_number_has_its_range(name, value):
    with pytest.raises(BlueberryError, match=f"{name} is .*; it must be"):
        replace(SMALL, **{name: value})


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(BlueberryError, match="halved 2 times"):
        VQVAEConfig(image_size=10, halvings=2)
    with pytest.raises(BlueberryError, match="make 60 codes of width 3"):
        VQVAEConfig(quantizer="fsq", levels=(3, 4, 5))


def test_the_hash_follows_weights_and_settings():
    torch.manual_seed(0)
    model = VQVAE(SMALL)
    torch.manual_seed(0)
    same, other = VQVAE(SMALL), VQVAE(SMALL)
    assert model.sha256() == same.sha256() != other.sha256()
    assert VQVAE(replace(SMALL, commitment=0.3)).sha256() != model.sha256()


def small_run(steps: int = 12) -> VQVAERun:
    config = VQVAERun(model=SMALL)
    return replace(
        config, training=replace(config.training, steps=steps, batch_size=64, checkpoint_every=4, device="cpu")
    )


def test_a_run_on_digits_learns_and_leaves_pictures(tmp_path):
    pytest.importorskip("sklearn")
    (tmp_path / "run").mkdir()
    record = run(small_run(60), tmp_path / "run", say=lambda _: None, quiet=True)
    found = record["evaluation"]
    assert found["loss"] < 0.35 and found["usage"] > 0.5 and 1 < found["perplexity"] <= 16
    assert found["psnr"] == pytest.approx(10 * torch.log10(torch.tensor(4 / found["loss"])).item())
    assert (tmp_path / "run/reconstructions.png").stat().st_size > 500
    model, config, folder = load_vqvae(tmp_path / "run")
    assert config.model == SMALL and folder == tmp_path / "run" and not model.training
    images = torch.randn(2, 1, 8, 8)
    assert model.tokens(images).shape == (2, 4, 4)


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    pytest.importorskip("sklearn")
    silent = {"say": lambda _: None, "quiet": True}
    (tmp_path / "whole").mkdir()
    whole = run(small_run(), tmp_path / "whole", **silent)
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for late in ("checkpoints/step-00000012", "record.json"):
        target = tmp_path / "part" / late
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    torch.rand(3)
    resumed = run(small_run(), tmp_path / "part", resume=True, **silent)
    assert resumed["evaluation"] == whole["evaluation"]
    hashes = {load_vqvae(tmp_path / name)[0].sha256() for name in ("whole", "part")}
    assert len(hashes) == 1


def test_a_run_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(BlueberryError, match="is no run"):
        load_vqvae(tmp_path / "nowhere")
