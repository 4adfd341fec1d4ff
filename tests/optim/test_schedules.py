"""The first step of a schedule is not zero, but for the history's; its last is its floor."""

import math

import pytest

from blueberry_lib.config import ScheduleConfig
from blueberry_lib.optim.schedules import learning_rate_factor
from blueberry_lib.speedrun.recipes import HISTORY, get_recipe


def factors(config, total):
    return [learning_rate_factor(config, step, total) for step in range(total)]


@pytest.mark.parametrize("kind", ["linear", "cosine", "wsd"])
@pytest.mark.parametrize("warmup", [0.0, 0.1])
@pytest.mark.parametrize("total", [2, 10, 489])
def test_first_step_moves_and_last_is_the_floor(kind, warmup, total):
    values = factors(ScheduleConfig(kind=kind, warmup=warmup, floor=0.05), total)
    assert values[0] > 0 and values[-1] == pytest.approx(0.05)
    assert max(values) <= 1
    peak = values.index(max(values))
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_after_the_warm_up_linear_and_cosine_begin_at_1(kind):
    assert factors(ScheduleConfig(kind=kind), 10)[0] == 1.0
    warm = factors(ScheduleConfig(kind=kind, warmup=0.2), 10)
    assert warm[2] == 1.0 > warm[3] and warm[:2] == pytest.approx([1 / 3, 2 / 3])


def test_constant_is_constant_and_the_history_wastes_its_first_step():
    assert set(factors(ScheduleConfig(), 50)) == {1.0}
    for name in ("r0", *HISTORY, "best"):
        config = get_recipe(name, "pocket")
        values = factors(config.schedule, config.total_steps)
        assert (values[0] == 0) == (name != "best"), name


def test_closed_forms():
    cosine = factors(ScheduleConfig(kind="cosine", floor=0.1), 101)
    assert cosine[25] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert factors(ScheduleConfig(kind="linear"), 5) == [1.0, 0.75, 0.5, 0.25, 0.0]
    wsd = factors(ScheduleConfig(kind="wsd", decay=0.5), 100)
    assert wsd[:50] == [1.0] * 50 and wsd[74] == pytest.approx(25 / 50)
    warm = factors(ScheduleConfig(warmup=0.1), 100)
    assert warm[0] == pytest.approx(1 / 11) and warm[10] == 1.0
