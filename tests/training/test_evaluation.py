"""The evaluation covers a fixed count of tokens and its figures agree with their definitions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.model import Blueberry
from blueberry_lib.training import evaluation
from blueberry_lib.training.evaluation import token_evaluator

TOKENS = np.random.default_rng(0).integers(0, 97, 2_000).astype(np.uint16)


def test_the_figures_equal_their_definitions(tiny, randomized):
    model = randomized(Blueberry(tiny))
    sizes = np.arange(97) % 5
    found = token_evaluator(TOKENS, 960, 32, sizes, "cpu", torch.float32)(model)
    inputs = torch.from_numpy(TOKENS[:961].astype(np.int64))
    with torch.no_grad():
        logits = model(inputs[:-1].view(30, 32)).flatten(0, 1)
    targets = inputs[1:]
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
        monkeypatch.setattr(evaluation, "EVAL_BATCH_TOKENS", batch)
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
