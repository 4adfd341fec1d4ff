"""The checks of chapter 08: a step of AdamW, a schedule mended, logs read, a rare gradient, a schedule found."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Number

STEP, MEMORY, HALFWAY, SCHEDULES = (
    "a-step-size-for-each-weight", "memories-and-how-they-start",
    "from-the-museum-the-schedule-that-stopped-halfway", "schedules",
)  # fmt: skip


def _steps(g):
    """Shapes of all kinds; first and later steps; a large epsilon, and one of the usual size; with and without decay."""
    for shape, t, eps, decay in (
        ((3,), 1, 1e-8, 0.1),
        ((2, 3), 2, 0.3, 0.0),
        ((4, 2, 2), 7, 0.1, 0.5),
        ((5,), 1000, 1e-8, 0.01),
    ):
        w, grad, m = (torch.randn(*shape, generator=g) for _ in range(3))
        v = torch.rand(*shape, generator=g)
        yield w, grad, m, v, t, 0.05, 0.9, 0.99, eps, decay
    w, grad, m = (torch.randn(3, 3, generator=g, dtype=torch.float64) for _ in range(3))
    yield w, grad, m, m**2, 3, 0.2, 0.8, 0.95, 1e-8, 0.2


def _batches(g):
    for accumulate, steps, warmup, floor in ((1, 6, 0, 0.0), (2, 8, 3, 0.1), (4, 5, 2, 0.05), (3, 40, 10, 0.5)):
        for step in sorted({0, warmup - 1, warmup, warmup + 1, steps - 2, steps - 1} - {-1}):
            for batch in {step * accumulate, (step + 1) * accumulate - 1}:
                yield batch, accumulate, steps * accumulate, warmup, floor


EXERCISES = {
    "08.1": Code(
        example=(
            torch.tensor([1.0]),
            torch.tensor([2.0]),
            torch.zeros(1),
            torch.zeros(1),
            1,
            0.1,
            0.5,
            0.75,
            0.0,
            0.5,
        ),
        cases=_steps,
        section=STEP,
        tolerance=1e-4,
        not_allowed=("AdamW", "Adam", "adamw", "adam"),
        edits="""
            no correction [memories-and-how-they-start]:
            m / (1 - beta1**t) ~> m && v / (1 - beta2**t) ~> v
            The bias correction is missing: both means start at 0, and are too small in the first steps.

            half corrected [memories-and-how-they-start]:
            m / (1 - beta1**t) ~> m
            v / (1 - beta2**t) ~> v
            Only one of the two means is corrected for its start at 0.

            corrected twice [memories-and-how-they-start]:
            return w, m, v ~> return w, m_hat, v_hat
            return w, m, v ~> return w, m_hat, v
            return w, m, v ~> return w, m, v_hat
            A corrected mean is returned. The next step needs it as it was kept, and would correct it once more.

            corrected by each other [memories-and-how-they-start]:
            m / (1 - beta1**t) ~> m / (1 - beta2**t) && v / (1 - beta2**t) ~> v / (1 - beta1**t)
            Each mean is corrected with the beta of the other.

            times the step [memories-and-how-they-start]:
            beta1**t ~> beta1 * t && beta2**t ~> beta2 * t
            beta1**t ~> beta1 && beta2**t ~> beta2
            The correction is 1 − beta to the power t: what is left of the start after t steps.

            epsilon inside [epsilon]:
            (v_hat.sqrt() + eps) ~> (v_hat + eps).sqrt()
            Epsilon is added inside the root. It belongs outside.

            no epsilon [epsilon]:
            (v_hat.sqrt() + eps) ~> v_hat.sqrt()
            Epsilon is missing.

            no root:
            v_hat.sqrt() ~> v_hat
            The first mean is divided by the second moment itself; its root is meant, which has the unit of a gradient.

            not squared:
            * g**2 ~> * g
            * g**2 ~> * g.abs()
            v is the mean of the squared gradients.

            undamped:
            (1 - beta1) * g ~> g
            (1 - beta2) * g**2 ~> g**2
            A new gradient enters a mean with weight 1. In a running mean it has the weight 1 − beta.

            reversed [memories-and-how-they-start]:
            beta1 * m + (1 - beta1) * g ~> (1 - beta1) * m + beta1 * g
            beta2 * v + (1 - beta2) * g**2 ~> (1 - beta2) * v + beta2 * g**2
            A beta and 1 − beta are exchanged. With a beta near 1 the mean should change slowly.

            L2 [decay-decoupled]:
            m = beta1 ~> g = g + decay * w; m = beta1 && - lr * decay * w ~>
            The decay is added to the gradient, so it goes through the means and the division. That is L2.

            decay without the rate [decay-decoupled]:
            lr * decay * w ~> decay * w
            The decay is not multiplied by the learning rate.

            no decay [decay-decoupled]:
            - lr * decay * w ~>
            The decay is missing.

            decay afterwards [decay-decoupled]:
            w = w - lr * decay * w - lr * m_hat / (v_hat.sqrt() + eps) ~> w = w - lr * m_hat / (v_hat.sqrt() + eps)\\nw = w - lr * decay * w
            The decay uses the weights from after the step. It should use those from before.

            uphill:
            - lr * m_hat ~> + lr * m_hat
            The step goes up the gradient: it is subtracted.

            growing [decay-decoupled]:
            - lr * decay ~> + lr * decay
            The decay makes the weights larger. It pulls them towards 0.
        """,
    ),
    "08.2": Code(
        example=(4, 2, 10, 1, 0.1),
        cases=_batches,
        section=HALFWAY,
        edits="""
            as given:
            step, last = batch // accumulate, batches // accumulate - 1 ~> step, last = batch, batches && (step + 1) / (warmup + 1) ~> step / warmup && floor + (1 - floor) * left ~> left
            That is the function as it was given, or one that equals it.

            counts batches:
            step, last = batch // accumulate, batches // accumulate - 1 ~> step, last = batch, batches - 1
            batch // accumulate, ~> batch,
            The small batches are counted where the steps should be.

            length in batches:
            batches // accumulate - 1 ~> batches - 1
            The length of the run is in small batches and the position in steps: the rate never comes down.

            short of the floor:
            left = (last - step) / (last - warmup) ~> left = (last + 1 - step) / (last + 1 - warmup)
            left = (last - step) / (last - warmup) ~> left = (last + 1 - step) / (last - warmup)
            left = (last - step) / (last - warmup) ~> left = (last - step) / (last + 1 - warmup)
            The line has the wrong length by one step: either step warmup is not at 1, or the last step not at the floor. It
            has as many gaps as there are steps from warmup to the last.

            wasted step [schedules]:
            (step + 1) / (warmup + 1) ~> step / warmup
            The first step has the factor 0, so it is wasted.

            early [schedules]:
            (step + 1) / (warmup + 1) ~> (step + 1) / warmup
            The warm-up reaches 1 a step too early: step number warmup is the first with the factor 1.

            late [schedules]:
            (step + 1) / (warmup + 1) ~> step / (warmup + 1)
            The warm-up begins at 0. Its first step should have 1 / (warmup + 1).

            no warm-up [schedules]:
            (step + 1) / (warmup + 1) ~> 1.0
            There is no warm-up.

            no floor [schedules]:
            floor + (1 - floor) * left ~> left
            The line goes to 0. It should end at floor.

            cut off [schedules]:
            floor + (1 - floor) * left ~> max(floor, left)
            The line falls to 0 and is cut off at the floor. It should be a straight line from 1 to the floor.

            above one [schedules]:
            floor + (1 - floor) * left ~> floor + left
            The floor is added, so the line begins above 1.

            from the start:
            (last - step) / (last - warmup) ~> (last - step) / last
            The line begins to fall at step 0, so it is not at 1 where the warm-up ends.

            reversed:
            (1 - floor) * left ~> (1 - floor) * (1 - left)
            The line rises. It should fall from 1 to the floor.
        """,
    ),
    "08.3": Choice(
        right="c",
        wrong={
            "a": "Its first step moved the weights by 1/11 of the peak rate, as the first of ten warm-up steps should.",
            "b": "Its first step is that of a run with ten steps of warm-up. What is different is how it ends.",
            "d": "Its first step moved nothing at all: the rate was 0. That is a warm-up one step long that begins at 0.",
        },
        section=SCHEDULES,
    ),
    "08.4": Number(
        value=31.766,
        within=0.32,
        wrong=[
            (0.95, 1.05, "That is a first step with bias correction. Here the corrections are 1, and it moves on."),
            (3.1, 3.2, "That is the first step alone. The momentum goes on moving the weight after it."),
            (5.7, 6.0, "That is with a second beta of 0.95. Asked for is 0.999."),
        ],
        section=MEMORY,
    ),
    "08.5": Number(
        value=3.855,
        within=0.075,
        wrong=[
            (
                3.93,
                3.99,
                "Better than any constant rate, and not below the bar yet. Is the peak high enough, and the end at 0?",
            ),
            (3.99, 7.0, "No better than a constant rate: the rate is too small at first, too large, or does not fall."),
            (0.0, 0.5, "That is a rate. Asked for is the held-out loss that the run reached."),
            (0.5, 3.78, "That is lower than this run can get. Is it 300 steps, and the held-out loss in nats?"),
        ],
        section=SCHEDULES,
    ),
}
