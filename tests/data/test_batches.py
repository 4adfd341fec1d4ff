"""The loader covers every token once an epoch, in an order of the seed's, and can be taken up anywhere."""

import numpy as np
import pytest
import torch

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.batches import RowBatches, TokenBatches

STREAM = np.arange(8 * 30 + 1, dtype=np.uint16)  # 30 windows of 8


def test_every_token_is_a_target_once_an_epoch():
    batches = TokenBatches(STREAM, batch_size=5, context=8, seed=0)
    for _ in range(3):
        drawn = [next(batches) for _ in range(6)]
        inputs = torch.cat([x.flatten() for x, _ in drawn])
        targets = torch.cat([y.flatten() for _, y in drawn])
        assert torch.equal(targets, inputs + 1)
        assert torch.equal(targets.sort().values, torch.arange(1, 241))


def test_epochs_and_seeds_differ_and_a_seed_repeats():
    def order(seed):
        batches = TokenBatches(STREAM, 6, 8, seed)
        return [next(batches)[0][:, 0].tolist() for _ in range(10)]

    first = order(0)
    assert first == order(0) and first != order(1)
    assert sorted(np.ravel(first[:5])) == sorted(np.ravel(first[5:])) and first[:5] != first[5:]


def test_a_batch_may_span_epochs():
    batches = TokenBatches(STREAM, 7, 8, 0)
    starts = torch.cat([next(batches)[0][:, 0] for _ in range(30)])  # 210 windows: 7 epochs
    assert starts.bincount()[::8].tolist() == [7] * 30


def test_it_resumes_where_it_was():
    batches = TokenBatches(STREAM, 7, 8, 3)
    for _ in range(11):
        next(batches)
    state, ahead = batches.state_dict(), [next(batches) for _ in range(5)]
    fresh = TokenBatches(STREAM, 7, 8, 3)
    fresh.load_state_dict(state)
    for x, y in ahead:
        again = next(fresh)
        assert torch.equal(again[0], x) and torch.equal(again[1], y)


def test_less_than_a_context_is_refused():
    with pytest.raises(BlueberryError, match="fewer than one context"):
        TokenBatches(STREAM[:8], 1, 8, 0)


def test_with_a_limit_the_last_batch_has_what_is_left():
    batches = TokenBatches(STREAM, 5, 8, 0, limit=12)
    rows = [x.shape[0] for x, _ in batches]
    assert rows == [5, 5, 2] and batches.units_done == 12 * 8
    batches.load_state_dict({"position": 10})
    starts = [x[0, 0].item() for x, _ in TokenBatches(STREAM, 1, 8, 0, limit=12)]
    assert next(batches)[0][:, 0].tolist() == starts[10:]
    assert {tuple(x.shape) for x, _ in batches.rehearsal()} == {(5, 8), (2, 8)}


def test_the_seed_decides_the_order_and_never_which_text_is_read():
    read = [[x[0, 0].item() for x, _ in TokenBatches(STREAM, 1, 8, seed, limit=12)] for seed in range(3)]
    assert all(sorted(starts) == [8 * i for i in range(12)] for starts in read) and read[0] != read[1] != read[2]
    twice = [x[0, 0].item() for x, _ in TokenBatches(STREAM, 1, 8, 0, limit=45)]
    assert sorted(twice[:30]) == [8 * i for i in range(30)], "more than there is: a pass over all, and on"


def test_a_curriculum_has_the_same_tokens_in_the_same_order_in_shorter_rows():
    plain = TokenBatches(STREAM, 4, 8, 0, limit=12)
    rising = TokenBatches(STREAM, 4, 8, 0, limit=12, contexts=(2, 4, 8))
    shapes = []
    for (x, y), (a, b) in zip(plain, rising, strict=True):
        shapes.append(tuple(a.shape))
        assert torch.equal(a.flatten(), x.flatten()) and torch.equal(b.flatten(), y.flatten())
    assert shapes == [(16, 2), (8, 4), (4, 8)]
    assert {tuple(x.shape) for x, _ in rising.rehearsal()} == set(shapes)


def rows(seed=0, batch_size=7, count=30):
    numbers = torch.arange(count)
    return RowBatches((numbers, torch.stack((numbers, -numbers), dim=1)), batch_size, seed)


def test_rows_are_drawn_together_and_each_once_an_epoch():
    batches = rows()
    drawn = [next(batches) for _ in range(30)]  # 210 rows: 7 epochs, and batches that span two
    for numbers, pairs in drawn:
        assert numbers.shape == (7,) and torch.equal(pairs, torch.stack((numbers, -numbers), dim=1))
    numbers = torch.cat([n for n, _ in drawn])
    epochs = numbers.view(7, 30)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(30).expand(7, 30))
    assert not torch.equal(epochs[0], epochs[1]) and batches.units == 7 and batches.units_done == 210
    assert torch.equal(next(rows())[0], drawn[0][0]) and not torch.equal(next(rows(seed=1))[0], drawn[0][0])


def test_rows_resume_where_they_were_and_a_rehearsal_draws_none():
    batches = rows()
    for _ in range(9):
        next(batches)
    state = batches.state_dict()
    (rehearsed,) = rows(batch_size=40).rehearsal()  # more than there are
    assert rehearsed[0].shape == (40,) and rehearsed[1].shape == (40, 2)
    assert [t.shape for t in batches.rehearsal()[0]] == [t.shape for t in next(batches)]
    fresh = rows()
    fresh.load_state_dict(state)
    ahead = [next(fresh)[0] for _ in range(4)]
    again = rows()
    again.load_state_dict(state)
    again.rehearsal()
    assert all(torch.equal(next(again)[0], numbers) for numbers in ahead)
