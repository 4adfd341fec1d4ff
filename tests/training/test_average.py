"""The moving average of the weights: what it is, when it is used, and that it travels with the model."""

import pytest
import torch
from torch import nn

from blueberry_lib.training.average import Averaged


def step(averaged, value):
    with torch.no_grad():
        averaged.model.weight.fill_(value)
    averaged.update()


def test_each_update_moves_by_the_decay_of_its_number():
    averaged = Averaged(nn.Linear(1, 1, bias=False), decay=0.5)
    expected = averaged.model.weight.item()
    for i, value in enumerate([3.0, -2.0, 5.0, 7.0, 1.0, 4.0, 4.0, 0.0, 9.0, 2.0]):
        step(averaged, value)
        decay = min(0.5, (1 + i) / (10 + i))
        expected = decay * expected + (1 - decay) * value
        assert averaged.average.weight.item() == pytest.approx(expected, rel=1e-5)
    assert int(averaged.updates) == 10


def test_a_long_decay_forgets_the_start_at_once():
    averaged = Averaged(nn.Linear(1, 1, bias=False), decay=0.9999)
    with torch.no_grad():
        averaged.average.weight.fill_(1e6)
    for _ in range(30):
        step(averaged, 1.0)
    assert averaged.average.weight.item() == pytest.approx(1.0, abs=0.1)


def test_training_uses_the_model_and_evaluation_the_average():
    averaged = Averaged(nn.Linear(2, 2))
    step(averaged, 5.0)
    x = torch.randn(3, 2)
    assert torch.equal(averaged(x), averaged.model(x))
    averaged.eval()
    assert torch.equal(averaged(x), averaged.average(x)) and not torch.equal(averaged(x), averaged.model(x))


def test_only_the_model_is_trained_and_both_are_saved():
    averaged = Averaged(nn.Linear(2, 2))
    assert {n for n, p in averaged.named_parameters() if p.requires_grad} == {"model.weight", "model.bias"}
    step(averaged, 5.0)
    fresh = Averaged(nn.Linear(2, 2))
    fresh.load_state_dict(averaged.state_dict())
    assert torch.equal(fresh.average.weight, averaged.average.weight) and int(fresh.updates) == 1


def test_buffers_are_taken_over_as_they_are():
    averaged = Averaged(nn.BatchNorm1d(2))
    averaged(torch.randn(50, 2) + 3)
    averaged.update()
    assert torch.equal(averaged.average.running_mean, averaged.model.running_mean)
    assert averaged.average.num_batches_tracked == 1
