"""The checks of chapter 16: training pairs, endpoints, the exact velocity of points, Heun, a bug to find, guidance."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake, Property


def _a_row(t, x):
    return t.reshape(-1, *[1] * (x.ndim - 1))


def _training_pair(x0, x1, t):
    s = _a_row(t, x0)
    return (1 - s) * x0 + s * x1, x1 - x0


def _endpoints(x, v, t):
    s = _a_row(t, x)
    return x - s * v, x + (1 - s) * v


def _points_velocity(x, t, points):
    left = 1 - t[:, None]
    noise = (x[:, None] - t[:, None, None] * points) / left[..., None]
    weights = (-0.5 * noise.square().sum(-1)).softmax(1)
    return (weights @ points - x) / left


def _guided_velocity(velocity, x, t, labels, null, w):
    plain = velocity(x, t, torch.full_like(labels, null))
    return plain + w * (velocity(x, t, labels) - plain)


# --- 16.1, 16.2


def _pairs(g):
    def two(*shape, dtype=torch.float32):
        return torch.randn(*shape, generator=g, dtype=dtype), torch.randn(*shape, generator=g, dtype=dtype)

    yield *two(2, 3), torch.tensor([0.0, 1.0])
    yield *two(3, 3, dtype=torch.float64), torch.tensor([0.3, 1.0, 0.0], dtype=torch.float64)
    yield *two(4, 2), torch.rand(4, generator=g)
    yield *two(2, 1, 2, 2), torch.tensor([0.9, 0.2])
    yield *two(3, 3, 3, 3, dtype=torch.float64), torch.rand(3, generator=g, dtype=torch.float64)
    yield *two(5, 3, 4, 2), torch.rand(5, generator=g)


def _path_with(at, target=lambda x0, x1, x_t, s: x1 - x0, row=_a_row):
    """A pair with another path, target or broadcast of the times."""

    def answer(x0, x1, t):
        s = row(t, x0)
        x_t = at(x0, x1, s)
        return x_t, target(x0, x1, x_t, s)

    return answer


def _straight(x0, x1, s):
    return (1 - s) * x0 + s * x1


def _ends_with(back, on, row=_a_row):
    def answer(x, v, t):
        s = row(t, x)
        return back(x, v, s), on(x, v, s)

    return answer


def _back(x, v, s):
    return x - s * v


def _on(x, v, s):
    return x + (1 - s) * v


def _column(t, x):
    return t.view(-1, 1)


def _as_it_is(t, x):
    return t


# --- 16.3


def _data_sets(g):
    double = torch.float64
    yield torch.tensor([[0.2]]), torch.tensor([0.0]), torch.tensor([[-1.0], [2.0]])
    yield torch.tensor([[0.4, -0.2]]), torch.tensor([0.3]), torch.tensor([[-1.0, 0.5], [1.0, 1.0]])
    yield torch.tensor([[0.2], [-0.5]]), torch.tensor([0.5, 0.25]), torch.tensor([[-1.0], [1.0]])
    yield torch.tensor([[0.3, -0.5], [1.0, 1.0]], dtype=double), torch.tensor([0.99, 0.5], dtype=double), CORNERS
    yield torch.randn(4, 3, generator=g), 0.8 * torch.rand(4, generator=g), torch.randn(4, 3, generator=g)
    yield (
        torch.randn(6, 2, generator=g, dtype=double),
        torch.rand(6, generator=g, dtype=double),
        torch.randn(9, 2, generator=g, dtype=double),
    )


CORNERS = torch.tensor([[-1.0, 1.0], [1.0, -1.0], [2.0, 2.0]], dtype=torch.float64)


def _weighed(
    exponent=lambda d, left: -d.square().sum(-1) / (2 * left**2),
    away=lambda x, s, points: x[:, None] - s * points,
    weigh=lambda e: e.softmax(1),
    velocity=lambda w, points, x, left: (w @ points - x * w.sum(1, keepdim=True)) / left,
    time=lambda t: t,
):
    """The velocity of points with one part replaced."""

    def answer(x, t, points):
        t = time(t)
        left = 1 - t[:, None]
        weights = weigh(exponent(away(x, t[:, None, None], points), left))
        return velocity(weights, points, x, left)

    return answer


def _plain_exp(e):
    return e.exp() / e.exp().sum(1, keepdim=True)


def _nothing_left(f):
    """Right elsewhere, and the weights gone where every one of them underflows."""
    x, t = torch.tensor([[0.3, -0.5]], dtype=torch.float64), torch.tensor([0.99], dtype=torch.float64)
    near = torch.tensor([0.3], dtype=torch.float64)
    right = torch.allclose(f(x, near, CORNERS), _points_velocity(x, near, CORNERS), rtol=1e-6)
    got = f(x, t, CORNERS)
    return right and any(torch.allclose(got, left, atol=1e-6) for left in (torch.zeros_like(x), -x / (1 - t)))


# --- 16.4


def squared_and_time(x, t):
    """The velocity x² + t."""
    return x * x + t.reshape(-1, *[1] * (x.ndim - 1))


def time_times_sine(x, t):
    """The velocity (1 + t) sin 2x."""
    return (1 + t.reshape(-1, *[1] * (x.ndim - 1))) * (2 * x).sin()


def _fields(g):
    yield squared_and_time, torch.tensor([[0.5], [-1.0]]), torch.tensor([0.0, 0.5]), 0.25
    yield time_times_sine, torch.randn(3, 2, generator=g), torch.rand(3, generator=g), 0.5
    yield (
        squared_and_time,
        torch.randn(2, 3, generator=g, dtype=torch.float64),
        torch.tensor([0.25, 0.75], dtype=torch.float64),
        0.125,
    )
    yield time_times_sine, torch.randn(4, 1, 2, 2, generator=g), torch.rand(4, generator=g), 0.1


# --- 16.6


def towards_labels(x, t, labels):
    """The velocity label − x."""
    return labels.reshape(-1, 1).to(x.dtype) - x


def bent_by_labels(x, t, labels):
    """The velocity sin(label + x) (1 + t)."""
    return (labels.reshape(-1, 1).to(x.dtype) + x).sin() * (1 + t[:, None])


def _labelled(g):
    double = torch.float64
    yield towards_labels, torch.tensor([[0.0]]), torch.tensor([0.5]), torch.tensor([3]), 5, 2.0
    two = torch.tensor([[0.5, 1.0], [1.0, -2.0]])
    yield bent_by_labels, two, torch.tensor([0.1, 0.8]), torch.tensor([1, 2]), 3, 1.0
    yield bent_by_labels, torch.randn(3, 2, generator=g), torch.rand(3, generator=g), torch.tensor([0, 4, 1]), 7, 0.0
    four = torch.randn(4, 3, generator=g, dtype=double)
    yield bent_by_labels, four, torch.rand(4, generator=g, dtype=double), torch.tensor([2, 0, 3, 1]), 4, 3.5
    five = torch.randn(5, 2, generator=g)
    yield bent_by_labels, five, torch.rand(5, generator=g), torch.tensor([1, 1, 0, 2, 9]), 10, 0.4


def _combined(combine):
    """Guidance with another formula for v_null and v_label."""

    def answer(velocity, x, t, labels, null, w):
        return combine(velocity(x, t, torch.full_like(labels, null)), velocity(x, t, labels), w)

    return answer


def _null_is_zero(velocity, x, t, labels, null, w):
    return _guided_velocity(velocity, x, t, labels, 0, w)


def _rows_mixed(velocity, x, t, labels, null, w):
    both = torch.cat([labels, torch.full_like(labels, null)])
    conditional, plain = velocity(x.repeat_interleave(2, 0), t.repeat_interleave(2), both).chunk(2)
    return plain + w * (conditional - plain)


def _labels_of_rows(f):
    faults = []

    def watched(x, t, labels):
        if labels.dtype != torch.int64:
            faults.append(f"It hands velocity labels of dtype {labels.dtype}; a table of classes takes int64 alone.")
        if tuple(labels.shape) != (len(x),) or tuple(t.shape) != (len(x),):
            faults.append(
                f"For {len(x)} rows it hands velocity labels of shape {tuple(labels.shape)} and times of shape "
                f"{tuple(t.shape)}; each row has its own."
            )
        return bent_by_labels(x, t, labels)

    f(watched, torch.ones(3, 2), torch.full((3,), 0.5), torch.tensor([1, 0, 2]), 3, 2.0)
    return faults[0] if faults else None


PATH, LINE, FOLLOW, GUIDE = "a-crowd-that-moves", "two-points-on-a-line", "following-the-field", "guidance"
PER_ROW = (
    "The times were laid along the last dimension: one for each column. Each row has its own, so t needs as many "
    "dimensions as the data, all but the first of size 1."
)
POINTS_ONLY = (
    "t was given one dimension more, which is enough for points (B, D), and not for images (B, C, H, W). Count the "
    "dimensions of the data."
)

EXERCISES = {
    "16.1": Code(
        reference=_training_pair,
        example=(
            torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
            torch.tensor([[3.0, 4.0], [1.0, 1.0]]),
            torch.tensor([0.5, 0.25]),
        ),
        cases=_pairs,
        mistakes=[
            Mistake(
                "target backwards",
                "The target points from the data to the noise. Which way does the walker go?",
                PATH,
                wrong=_path_with(_straight, lambda x0, x1, x_t, s: x0 - x1),
            ),
            Mistake(
                "time backwards",
                "At t = 0 it stands on the data. Here time 0 is the noise.",
                PATH,
                wrong=_path_with(lambda x0, x1, s: s * x0 + (1 - s) * x1),
            ),
            Mistake("time along the columns", PER_ROW, PATH, wrong=_path_with(_straight, row=_as_it_is)),
            Mistake("points only", POINTS_ONLY, PATH, wrong=_path_with(_straight, row=_column)),
            Mistake(
                "target from the rest",
                "The way still to go, over the time still left, is right until t = 1, where it is 0 / 0. The "
                "velocity of a straight line needs no division.",
                PATH,
                wrong=_path_with(_straight, lambda x0, x1, x_t, s: (x1 - x_t) / (1 - s)),
            ),
            Mistake(
                "target is the way left",
                "x₁ − x_t is the way still to go. The velocity is the whole way, whatever the time.",
                PATH,
                wrong=_path_with(_straight, lambda x0, x1, x_t, s: x1 - x_t),
            ),
            Mistake(
                "target is the data",
                "The target is where the line ends. Asked for is how fast, and whither, it goes.",
                PATH,
                wrong=_path_with(_straight, lambda x0, x1, x_t, s: x1),
            ),
            Mistake(
                "round path",
                "Roots as weights keep the variance, as some diffusion models do; the path is then no straight line.",
                PATH,
                wrong=_path_with(lambda x0, x1, s: (1 - s).sqrt() * x0 + s.sqrt() * x1),
            ),
            Mistake(
                "pair exchanged",
                "The right two, in the wrong order: first the place, then the velocity.",
                PATH,
                wrong=lambda x0, x1, t: _training_pair(x0, x1, t)[::-1],
            ),
        ],
    ),
    "16.2": Code(
        reference=_endpoints,
        example=(
            torch.tensor([[2.0, 2.0], [0.25, 1.75]]),
            torch.tensor([[2.0, 4.0], [1.0, -1.0]]),
            torch.tensor([0.5, 0.25]),
        ),
        cases=_pairs,
        mistakes=[
            Mistake(
                "wrong direction",
                "It walks on to get to time 0, and back to get to time 1.",
                LINE,
                wrong=_ends_with(lambda x, v, s: x + s * v, lambda x, v, s: x - (1 - s) * v),
            ),
            Mistake(
                "times exchanged",
                "At time t, the start is t away and the end 1 − t. They are exchanged.",
                LINE,
                wrong=_ends_with(lambda x, v, s: x - (1 - s) * v, lambda x, v, s: x + s * v),
            ),
            Mistake(
                "a whole unit on",
                "From x it goes on for a whole unit of time; only 1 − t is left.",
                LINE,
                wrong=_ends_with(_back, lambda x, v, s: x + v),
            ),
            Mistake(
                "a whole unit back",
                "From x it goes back a whole unit of time; only t has passed.",
                LINE,
                wrong=_ends_with(lambda x, v, s: x - v, _on),
            ),
            Mistake(
                "division by t",
                "Solving for x₁ by a division fails at t = 0. From x you can walk there.",
                LINE,
                wrong=_ends_with(_back, lambda x, v, s: (x - (1 - s) * (x - s * v)) / s),
            ),
            Mistake(
                "division by 1 − t",
                "Solving for x₀ by a division fails at t = 1. From x you can walk there.",
                LINE,
                wrong=_ends_with(lambda x, v, s: (x - s * (x + (1 - s) * v)) / (1 - s), _on),
            ),
            Mistake(
                "pair exchanged",
                "The right two, in the wrong order: first time 0, then time 1.",
                LINE,
                wrong=lambda x, v, t: _endpoints(x, v, t)[::-1],
            ),
            Mistake("time along the columns", PER_ROW, LINE, wrong=_ends_with(_back, _on, row=_as_it_is)),
            Mistake("points only", POINTS_ONLY, LINE, wrong=_ends_with(_back, _on, row=_column)),
        ],
    ),
    "16.3": Code(
        reference=_points_velocity,
        example=(torch.tensor([[0.2]]), torch.tensor([0.5]), torch.tensor([[-1.0], [1.0]])),
        cases=_data_sets,
        mistakes=[
            Mistake(
                "underflow",
                "Near t = 1 every exponential is 0, and 0 / 0 is not a number. Only differences of exponents matter: "
                "subtract the largest before you exponentiate, or let a function do it that does.",
                LINE,
                wrong=_weighed(weigh=_plain_exp),
            ),
            Mistake(
                "guarded underflow",
                "A small number in the divisor hides the 0 / 0, and the weights add up to nothing: it stands still "
                "where it should run. The weights of a row must add up to 1 at any time.",
                LINE,
                sign=_nothing_left,
            ),
            Mistake(
                "over the batch",
                "The weights add up to 1 over the rows of the batch. Each row weighs the points among themselves.",
                LINE,
                wrong=_weighed(weigh=lambda e: e.softmax(0)),
            ),
            Mistake(
                "points not scaled",
                "The exponent has the distance to the point itself. At time t its walkers are around t times "
                "the point.",
                LINE,
                wrong=_weighed(away=lambda x, s, points: x[:, None] - points),
            ),
            Mistake(
                "spread not squared",
                "The divisor of the exponent has 1 − t where its square belongs.",
                LINE,
                wrong=_weighed(exponent=lambda d, left: -d.square().sum(-1) / (2 * left)),
            ),
            Mistake(
                "distance not squared",
                "The exponent has the distance where its square belongs.",
                LINE,
                wrong=_weighed(exponent=lambda d, left: -d.square().sum(-1).sqrt() / (2 * left**2)),
            ),
            Mistake(
                "factor 2",
                "The 2 in the exponent's divisor is missing.",
                LINE,
                wrong=_weighed(exponent=lambda d, left: -d.square().sum(-1) / left**2),
            ),
            Mistake(
                "sign of the exponent",
                "The farther a line's noise is from 0, the more it weighs. It should be the less.",
                LINE,
                wrong=_weighed(exponent=lambda d, left: d.square().sum(-1) / (2 * left**2)),
            ),
            Mistake(
                "mean over the entries",
                "The squared length is the sum over the D entries, not their mean. With D = 1 nobody can tell.",
                LINE,
                wrong=_weighed(exponent=lambda d, left: -d.square().mean(-1) / (2 * left**2)),
            ),
            Mistake(
                "not divided",
                "That is the way still to go. The velocity is that over the time left.",
                LINE,
                wrong=_weighed(velocity=lambda w, points, x, left: w @ points - x),
            ),
            Mistake(
                "the mean point",
                "That is the point which it heads for, on average. Asked for is the velocity.",
                LINE,
                wrong=_weighed(velocity=lambda w, points, x, left: w @ points),
            ),
            Mistake(
                "nearest only",
                "It follows the likeliest line alone. Asked for is the mean over all, by weight.",
                LINE,
                wrong=_weighed(weigh=lambda e: torch.nn.functional.one_hot(e.argmax(1), e.shape[1]).to(e.dtype)),
            ),
            Mistake(
                "equal weights",
                "All points are equally likely before you look where x is. Afterwards they are not.",
                LINE,
                wrong=_weighed(weigh=lambda e: torch.full_like(e, 1 / e.shape[1])),
            ),
            Mistake(
                "one time for all",
                "It takes the first row's time for every row.",
                LINE,
                wrong=_weighed(time=lambda t: t[:1].expand(len(t))),
            ),
        ],
    ),
    "16.4": Code(
        example=(squared_and_time, torch.tensor([[1.0]]), torch.tensor([0.0]), 0.5),
        cases=_fields,
        section=FOLLOW,
        calls={"velocity": 2},
        edits="""
            midpoint:
            x + h * here, t + h) ~> x + h / 2 * here, t + h / 2) && (here + there) / 2 ~> there
            That is the midpoint method: as good, but another. Heun asks at the end of the step, and averages.

            not halved:
            (here + there) / 2 ~> (here + there)
            The two velocities are added up. Asked for is their mean.

            time of the first:
            t + h ~> t
            The second velocity is asked for at the right place, and at the time of the first.

            place of the first:
            x + h * here, ~> x,
            The second velocity is asked for at the right time, and at the place of the first.

            half the time:
            t + h ~> t + h / 2
            The second velocity is asked for at t + h/2. The Euler step went all the way, to t + h.

            half the way:
            h * here ~> h / 2 * here
            The second velocity is asked for half a step away. The Euler step goes all the way.

            step left out:
            x + h * here ~> x + here
            The trial step adds the velocity without the step's length h.

            from the Euler step:
            return x + h ~> return x + h * here + h
            The step with the mean starts where Euler arrived. It should start at x: the Euler step was a look ahead.

            Euler:
            (here + there) / 2 ~> here
            That is a step of Euler, with one evaluation.

            the second alone:
            (here + there) / 2 ~> there
            The step is taken with the second velocity alone. Asked for is the mean of both.

            no step back to h:
            x + h * (here + there) ~> x + (here + there)
            The mean velocity is added whole. A step has the length h.

            velocity alone:
            return x + h * (here + there) / 2 ~> return (here + there) / 2
            return x + h * (here + there) / 2 ~> return h * (here + there) / 2
            That is how fast, or how far, it goes. Asked for is where it arrives: counted from x.

            one time for all:
            (x, t) ~> (x, t[:1]) && t + h ~> t[:1] + h
            It hands the first row's time to every row. Each row has its own.
        """,
    ),
    "16.5": Choice(
        right="c",
        wrong={
            "a": "C pays twice for a step as well, and is ahead at 8 evaluations. And look at A's slope: its error "
            "halves when the evaluations double, as Euler's does. It will never overtake.",
            "b": "With twice the velocity it would arrive somewhere else, however small the steps. A's error goes to "
            "0.",
            "d": "Rounding in float32 is of the order of 0.0000001, and smaller steps do not reduce it. A's error "
            "halves each time.",
        },
        section="following-the-field",
    ),
    "16.6": Code(
        reference=_guided_velocity,
        example=(
            towards_labels,
            torch.tensor([[0.0], [1.0]]),
            torch.tensor([0.5, 0.5]),
            torch.tensor([4, 2]),
            10,
            2.0,
        ),
        cases=_labelled,
        mistakes=[
            Mistake(
                "from the label",
                "It goes w beyond v_label. Here w counts from v_null, and w = 0 gives v_null itself.",
                GUIDE,
                wrong=_combined(lambda null, label, w: label + w * (label - null)),
            ),
            Mistake(
                "exchanged",
                "v_null and v_label are exchanged (in a doubled batch: its halves): it is pushed away from the label.",
                GUIDE,
                wrong=_combined(lambda null, label, w: label + w * (null - label)),
            ),
            Mistake(
                "null is zero",
                "It takes the label 0 for none. Which number stands for none is given.",
                GUIDE,
                wrong=_null_is_zero,
            ),
            Mistake(
                "clamped",
                "A scale above 1 is cut off. Beyond 1 is where guidance begins.",
                GUIDE,
                wrong=_combined(lambda null, label, w: torch.lerp(null, label, min(max(w, 0.0), 1.0))),
            ),
            Mistake(
                "no null",
                "It multiplies v_label by w. The velocity without a class is not zero.",
                GUIDE,
                wrong=_combined(lambda null, label, w: w * label),
            ),
            Mistake(
                "the difference alone",
                "The difference is missing what it is added to.",
                GUIDE,
                wrong=_combined(lambda null, label, w: w * (label - null)),
            ),
            Mistake(
                "added up",
                "It adds w times v_label to v_null. Asked for is w times their difference.",
                GUIDE,
                wrong=_combined(lambda null, label, w: null + w * label),
            ),
            Mistake(
                "rows mixed up",
                "In the doubled batch rows and labels do not belong together: one of them is repeated row by row, the "
                "other as a whole.",
                GUIDE,
                wrong=_rows_mixed,
            ),
        ],
        properties=[Property("a label a row", _labels_of_rows, GUIDE)],
    ),
}
