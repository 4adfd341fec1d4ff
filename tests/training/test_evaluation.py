"""The evaluation covers a fixed count of tokens of many documents; its figures agree with their definitions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.model import Blueberry
from blueberry_lib.training import evaluation
from blueberry_lib.training.evaluation import spread, token_evaluator

TOKENS = np.random.default_rng(0).integers(0, 97, 2_000).astype(np.uint16)


def test_the_figures_equal_their_definitions(tiny, randomized):
    model = randomized(Blueberry(tiny))
    sizes = np.arange(97) % 5
    found = token_evaluator(TOKENS, 960, 32, sizes, "cpu", torch.float32)(model)
    chosen = spread(np.arange(2_000) // 32, 960, 32)
    windows = torch.from_numpy(np.stack([TOKENS[32 * i : 32 * i + 33] for i in chosen]).astype(np.int64))
    with torch.no_grad():
        logits = model(windows[:, :-1]).flatten(0, 1)
    targets = windows[:, 1:].flatten()
    log_probabilities = logits.log_softmax(-1)[torch.arange(960), targets]
    assert found["loss"] == pytest.approx(-log_probabilities.mean().item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == targets).float().mean().item())
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    bits = -log_probabilities.sum().item() / math.log(2)
    assert found["bits_per_byte"] == pytest.approx(bits / sizes[targets.numpy()].sum(), rel=1e-5)


def test_it_does_not_depend_on_the_batch(tiny, randomized, monkeypatch):
    model = randomized(Blueberry(replace(tiny, soft_cap=5.0)))
    losses = []
    for batch in (32, 100, 10_000):
        monkeypatch.setattr(evaluation, "rows_at_once", lambda *_, batch=batch: batch)
        losses.append(token_evaluator(TOKENS, 960, 32, None, "cpu", torch.float32)(model)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) == pytest.approx(losses[2], rel=1e-6)


def test_a_uniform_model_scores_log_v_and_bytes_may_be_unknown(tiny):
    model = Blueberry(tiny)
    torch.nn.init.zeros_(model.embedding.weight)
    found = token_evaluator(TOKENS, 960, 32, None, "cpu", torch.float32)(model)
    assert found["loss"] == pytest.approx(math.log(97)) and found["bits_per_byte"] is None


@pytest.mark.parametrize(("count", "word"), [(2_000, "validation tokens"), (100, "multiple")])
def test_counts_that_do_not_fit_are_refused(count, word):
    with pytest.raises(BlueberryError, match=word):
        token_evaluator(TOKENS, count, 32, None, "cpu", torch.float32)


def test_windows_come_from_every_document_and_evenly():
    lengths = [32 * n for n in (1, 1, 2, 3, 9, 40, 7, 1)]
    documents = np.repeat(np.arange(8), lengths)
    documents = np.append(documents, 8)
    chosen = spread(documents, 32 * 20, 32)
    assert len(set(chosen)) == 20 and (np.diff(chosen) > 0).all()
    assert np.bincount(documents[chosen * 32 + 16]).tolist() == [1, 1, 2, 3, 4, 4, 4, 1]
    assert np.array_equal(chosen, spread(documents, 32 * 20, 32)), "always the same"
    assert len(spread(documents, 32 * 64, 32)) == 64, "all there are"


def test_the_error_is_that_of_a_bootstrap_over_documents(tiny, randomized):
    """Documents of unlike difficulty: the error over them is far above that over tokens, and the bootstrap agrees."""
    rng = np.random.default_rng(0)
    pieces = [np.append(np.full(rng.integers(40, 90), rng.integers(1, 97)), 0) for _ in range(120)]
    stream = np.concatenate(pieces).astype(np.uint16)
    model = randomized(Blueberry(tiny))
    count = (len(stream) - 1) // 32 * 32
    found = token_evaluator(stream, count, 32, None, "cpu", torch.float32, end=0)(model)
    ids = torch.from_numpy(stream.astype(np.int64))
    with torch.no_grad():
        logits = model(ids[:count].view(-1, 32)).flatten(0, 1)
    nats = torch.nn.functional.cross_entropy(logits, ids[1 : count + 1], reduction="none").numpy()
    ends = np.cumsum(stream == 0) - (stream == 0)
    of = ends[1 : count + 1]
    sums, sizes = np.bincount(of, nats), np.bincount(of)
    draws = rng.integers(0, len(sizes), (4_000, len(sizes)))
    bootstrap = (sums[draws].sum(1) / sizes[draws].sum(1)).std()
    assert found["loss"] == pytest.approx(nats.mean(), rel=1e-5)
    assert found["loss_error"] == pytest.approx(bootstrap, rel=0.1)
    assert found["loss_error"] > 1.5 * nats.std() / count**0.5
    windows = token_evaluator(stream, count, 32, None, "cpu", torch.float32)(model)
    assert windows["loss"] == pytest.approx(found["loss"]) and windows["loss_error"] != found["loss_error"]
