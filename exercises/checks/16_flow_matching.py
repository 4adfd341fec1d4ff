"""The checks of chapter 16: training pairs, endpoints, the exact velocity of points, Heun, a bug to find, guidance."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Mistake

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


PATH, LINE, FOLLOW, GUIDE = "particles-that-move", "two-points-on-a-line", "following-the-field", "guidance"
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
        example=(
            torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
            torch.tensor([[3.0, 4.0], [1.0, 1.0]]),
            torch.tensor([0.5, 0.25]),
        ),
        cases=_pairs,
        section=PATH,
        edits=f"""
            target backwards:
            x1 - x0 ~> x0 - x1
            The target points from the data to the noise. Which way does the walker go?

            time backwards:
            (1 - s) * x0 + s * x1 ~> s * x0 + (1 - s) * x1
            At t = 0 it stands on the data. Here time 0 is the noise.

            time along the columns:
            t.view(-1, *[1] * (x0.ndim - 1)) ~> t
            {PER_ROW}

            points only:
            t.view(-1, *[1] * (x0.ndim - 1)) ~> t.view(-1, 1)
            {POINTS_ONLY}

            one time for all:
            t.view(-1, *[1] * (x0.ndim - 1)) ~> t[0]
            t.view(-1, *[1] * (x0.ndim - 1)) ~> t.mean()
            All rows are given one and the same time. Each has its own.

            target from the rest:
            s * x1, x1 - x0 ~> s * x1, (x1 - (1 - s) * x0 - s * x1) / (1 - s)
            The way still to go, over the time still left, is right until t = 1, where it is 0 / 0. The velocity of a
            straight line needs no division.

            target is the way left:
            s * x1, x1 - x0 ~> s * x1, (1 - s) * (x1 - x0)
            x₁ − x_t is the way still to go. The velocity is the whole way, whatever the time.

            target is an end:
            s * x1, x1 - x0 ~> s * x1, x1
            s * x1, x1 - x0 ~> s * x1, x0
            The target is where the line begins or ends. Asked for is how fast, and whither, it goes.

            round path:
            (1 - s) * x0 + s * x1 ~> (1 - s).sqrt() * x0 + s.sqrt() * x1
            (1 - s) * x0 + s * x1 ~> (1 - s**2).sqrt() * x0 + s * x1
            (1 - s) * x0 + s * x1 ~> (s * math.pi / 2).cos() * x0 + (s * math.pi / 2).sin() * x1
            Weights whose squares add up to 1, as some diffusion models have them, make a path that is no straight line.
        """,
    ),
    "16.2": Code(
        example=(
            torch.tensor([[2.0, 2.0], [0.25, 1.75]]),
            torch.tensor([[2.0, 4.0], [1.0, -1.0]]),
            torch.tensor([0.5, 0.25]),
        ),
        cases=_pairs,
        section=LINE,
        edits=f"""
            wrong direction:
            x - s * v, x + (1 - s) * v ~> x + s * v, x - (1 - s) * v
            It walks on to get to time 0, and back to get to time 1.

            times exchanged:
            x - s * v, x + (1 - s) * v ~> x - (1 - s) * v, x + s * v
            At time t, the start is t away and the end 1 − t. They are exchanged.

            a whole unit on:
            x + (1 - s) * v ~> x + v
            From x it goes on for a whole unit of time; only 1 − t is left.

            only one turned round:
            x - s * v ~> x + s * v
            x + (1 - s) * v ~> x - (1 - s) * v
            One of the two is right, the other walks the wrong way: back to time 0, on to time 1.

            way alone:
            x - s * v, x + (1 - s) * v ~> s * v, (1 - s) * v
            x - s * v, x + (1 - s) * v ~> -s * v, (1 - s) * v
            That is how far it walks, either way. Asked for is where it arrives: counted from x.

            divided by the time:
            x - s * v, x + (1 - s) * v ~> x - v / s, x + v / (1 - s)
            v is divided by a time. To walk for a time s is to move by s times v.

            from the start:
            x + (1 - s) * v ~> x - s * v + (1 - s) * v
            x + (1 - s) * v ~> x - s * v + s * v
            The end is counted from the start of the line, and not for the whole time. From x, 1 - t is left.

            x scaled too:
            x - s * v, x + (1 - s) * v ~> s * x - v, (1 - s) * x + v
            x + (1 - s) * v ~> (1 - s) * (x + v)
            x - s * v ~> s * (x - v)
            The time multiplies x. Only the velocity is multiplied by a time.

            solved for the ends:
            x - s * v, x + (1 - s) * v ~> (x - s * v) / (1 - s), (x - (1 - s) * v) / s
            No division is needed: v already is the velocity of the whole line.

            division by t:
            x + (1 - s) * v ~> (x - (1 - s) * (x - s * v)) / s
            Solving for x₁ by a division fails at t = 0. From x you can walk there.

            time along the columns:
            t.view(-1, *[1] * (x.ndim - 1)) ~> t
            {PER_ROW}

            points only:
            t.view(-1, *[1] * (x.ndim - 1)) ~> t.view(-1, 1)
            {POINTS_ONLY}
        """,
    ),
    "16.3": Code(
        example=(torch.tensor([[0.2]]), torch.tensor([0.5]), torch.tensor([[-1.0], [1.0]])),
        cases=_data_sets,
        section=LINE,
        edits=r"""
            underflow:
            .softmax(1) ~> .exp() && return ~> weights = weights / weights.sum(1, keepdim=True)\nreturn
            Near t = 1 every exponential is 0, and 0 / 0 is not a number. Only differences of exponents matter: subtract
            the largest before you exponentiate, or let a function do it that does.

            guarded underflow:
            .softmax(1) ~> .exp() && return ~> weights = weights / (weights.sum(1, keepdim=True) + 1e-12)\nreturn
            .softmax(1) ~> .exp() && return ~> weights = weights / (weights.sum(1, keepdim=True) + 1e-12)\nreturn \
            && points - x) ~> points - x * weights.sum(1, keepdim=True))
            A small number in the divisor hides the 0 / 0, and the weights add up to nothing: it stands still where it
            should run. The weights of a row must add up to 1 at any time.

            over the batch:
            softmax(1) ~> softmax(0)
            softmax(1) ~> softmax(0) && points - x) ~> points - x * weights.sum(1, keepdim=True))
            The weights add up to 1 over the rows of the batch. Each row weighs the points among themselves.

            points not scaled:
            t[..., None] * points ~> points
            The exponent has the distance to the point itself. At time t its walkers are around t times the point.

            spread not squared:
            / (1 - t[..., None]) ~> / (1 - t[..., None]).sqrt()
            The divisor of the exponent has 1 − t where its square belongs.

            spread left out:
            / (1 - t[..., None]) ~>
            The exponent lacks its divisor (1 − t)²: the nearer to the data, the narrower the crowd.

            factor 2:
            sum(-1) / 2 ~> sum(-1)
            The 2 in the exponent's divisor is missing.

            mean over the entries:
            .sum(-1) ~> .mean(-1)
            The squared length is the sum over the D entries, not their mean. With D = 1 nobody can tell.

            not divided:
            (weights @ points - x) / (1 - t) ~> weights @ points - x
            That is the way still to go. The velocity is that over the time left.

            the mean point:
            (weights @ points - x) / (1 - t) ~> weights @ points
            That is the point which it heads for, on average. Asked for is the velocity.

            nearest only:
            (-noise.square().sum(-1) / 2).softmax(1) ~> F.one_hot(noise.square().sum(-1).argmin(1), len(points)).to(x)
            It follows the likeliest line alone. Asked for is the mean over all, by weight.

            equal weights:
            (-noise.square().sum(-1) / 2).softmax(1) ~> x.new_full((len(x), len(points)), 1 / len(points))
            All points are equally likely before you look where x is. Afterwards they are not.

            one time for all:
            t = t[:, None] ~> t = t[:1, None]
            It takes the first row's time for every row.
        """,
        mistakes=[
            Mistake(
                "guarded underflow",
                "A small number in the divisor hides the 0 / 0, and the weights add up to nothing: it stands still "
                "where it should run. The weights of a row must add up to 1 at any time.",
                only=lambda x, t, points: t.max() > 0.98,
            )
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

            step left out:
            x + h * here ~> x + here
            x + h * (here + there) ~> x + (here + there)
            A step has the length h: it multiplies the velocity in the trial step and in the last one.

            from the Euler step:
            return x + h ~> return x + h * here + h
            The step with the mean starts where Euler arrived. It should start at x: the Euler step was a look ahead.

            Euler:
            (here + there) / 2 ~> here
            That is a step of Euler, with one evaluation.

            the second alone:
            (here + there) / 2 ~> there
            The step is taken with the second velocity alone. Asked for is the mean of both.

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
        example=(towards_labels, torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.5]), torch.tensor([4, 2]), 10, 2.0),
        cases=_labelled,
        section=GUIDE,
        calls={"velocity": 2},
        edits=r"""
            from the label:
            return plain ~> return velocity(x, t, labels)
            It goes w beyond v_label. Here w counts from v_null, and w = 0 gives v_null itself.

            exchanged:
            return plain + w * (velocity(x, t, labels) - plain) ~> return w * plain + (1 - w) * velocity(x, t, labels)
            v_null and v_label are exchanged (in a doubled batch: its halves): it is pushed away from the label.

            difference turned round:
            plain + w ~> plain - w
            It starts from v_null and goes away from the label: the difference is v_label − v_null.

            null is zero:
            full_like(labels, null) ~> zeros_like(labels)
            It takes the label 0 for none. Which number stands for none is given.

            clamped:
            plain + w ~> plain + min(max(w, 0.0), 1.0)
            A scale above 1 is cut off. Beyond 1 is where guidance begins.

            no null:
            return plain + w * (velocity(x, t, labels) - plain) ~> return w * velocity(x, t, labels)
            It multiplies v_label by w. The velocity without a class is not zero.

            added up:
            (velocity(x, t, labels) - plain) ~> velocity(x, t, labels)
            It adds w times v_label to v_null. Asked for is w times their difference.

            rows mixed up:
            plain = velocity(x, t, torch.full_like(labels, null)) ~> \
            x, t = x.repeat_interleave(2, 0), t.repeat_interleave(2) \
            \nboth = torch.cat((labels, torch.full_like(labels, null))) \
            \nown, plain = velocity(x, t, both).chunk(2) \
            && velocity(x, t, labels) - ~> own -
            In the doubled batch rows and labels do not belong together: one of them is repeated row by row, the other
            as a whole.
        """,
    ),
}
