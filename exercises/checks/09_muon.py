"""The checks of chapter 09: the polar factor, Newton–Schulz, momentum, a Muon step, who gets it."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from blueberry_checks import rules
from blueberry_checks.engine.examine import Choice, Code, Mistake, Property

JORDAN = (3.4445, -4.7750, 2.0315)
DECOMPOSITIONS = ("linalg_svd", "svd", "linalg_svdvals", "linalg_eigh", "linalg_eig", "linalg_qr", "linalg_matrix_norm")
BY_HAND, MATRICES, SPEED = (
    "what-adamw-cannot-see",
    "without-a-decomposition-start-with-a-number",
    "coefficients-speed-against-accuracy",
)
MOMENTUM, SHAPE, WHO = "momentum-and-a-step-ahead", "the-shape-factor", "who-must-not-get-it"

# --- matrices whose singular values lie between 0.3 and 1, so that nothing depends on rounding


def _matrix(g, rows, columns, dtype=torch.float32, size=1.0):
    short = min(rows, columns)
    u, _ = torch.linalg.qr(torch.randn(rows, short, generator=g, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(columns, short, generator=g, dtype=torch.float64))
    values = torch.linspace(1.0, 0.3, short, dtype=torch.float64)
    return (size * (u * values) @ v.mT).to(dtype)


# --- 09.1


def _full_rank(g):
    yield (torch.tensor([[3.0, 0.0], [4.0, 5.0]]),)
    yield (_matrix(g, 3, 3, torch.float64),)
    yield (_matrix(g, 6, 3, size=50.0),)
    yield (_matrix(g, 4, 9, torch.float64, size=0.01),)
    yield (_matrix(g, 24, 10),)


# --- 09.2


def _steps(g):
    yield torch.tensor([[0.5]]), 1.875, -1.25, 0.375
    yield torch.tensor([[0.6, 0.0], [0.8, 0.0]]), 1.875, -1.25, 0.375
    yield torch.tensor([[0.3, 0.4]]), 1.5, -0.5, 0.0
    yield _matrix(g, 3, 3, torch.float64), *JORDAN
    yield _matrix(g, 3, 7), *JORDAN
    yield _matrix(g, 8, 4, size=2.0), 0.5, 2.0, -1.0


# --- 09.3


def _any_shape(g):
    yield torch.tensor([[2.0], [0.0]]), 5
    yield torch.tensor([[3.0]], dtype=torch.float64), 2
    yield torch.zeros(2, 3), 5
    yield _matrix(g, 4, 4), 1
    yield _matrix(g, 3, 8, size=100.0), 5
    yield _matrix(g, 8, 3, torch.float64, size=0.01), 5
    yield _matrix(g, 12, 12), 3
    yield _matrix(g, 30, 6), 5


class _Largest(TorchDispatchMode):
    """Notes how many entries the largest tensor has that is made."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.entries = max(self.entries, made.numel())
        return made


def _shorter_side(f):
    for rows, columns in ((40, 6), (6, 40)):
        with _Largest() as largest:
            f(torch.ones(rows, columns), 2)
        if largest.entries > rows * columns:
            made = f"For a {rows} x {columns} matrix it makes one of {largest.entries} entries"
            return f"{made}; with the square of the shorter side, of 36, the values are the same and cost a fraction."
    return None


def _default_steps(f):
    g = _matrix(torch.Generator().manual_seed(2), 5, 7)
    if (f(g) - f(g, 5)).abs().max() > 1e-3:
        return "Without its second argument it should take five steps."


def _two_digits_right(f):
    """Whether an answer errs by about as much as rounding to bfloat16 makes it err."""
    g = _matrix(torch.Generator().manual_seed(3), 8, 8)
    right = rules("09.3").reference
    rounded = right(g.bfloat16(), 5).float()
    error, typical = ((answer - right(g, 5)).norm() for answer in (f(g, 5), rounded))
    return bool(0.2 * typical < error < 5 * typical)


# --- 09.4


def _gradients(g):
    yield torch.tensor(1.0), torch.tensor(0.0), 0.9
    yield torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]), 0.0
    yield torch.randn(3, 2, generator=g), torch.randn(3, 2, generator=g), 0.75
    yield torch.randn(2, 5, generator=g).double(), torch.randn(2, 5, generator=g).double(), 0.95


def exact(d):
    """An exact orthogonalization, handed to the answer."""
    u, _, vt = torch.linalg.svd(d, full_matrices=False)
    return u @ vt


def unchanged(d):
    """A stand-in that gives its argument back."""
    return d.clone()


def halved_and_turned(d):
    """A stand-in of which one can tell how often it was applied."""
    return 1.0 - 0.5 * d


COLUMN = torch.tensor([[3.0], [0.0], [4.0], [0.0]])


def _matrices(g):
    def three(rows, columns, dtype=torch.float32):
        return [torch.randn(rows, columns, generator=g, dtype=dtype) for _ in range(3)]

    yield *three(2, 2), 0.1, 0.9, unchanged
    yield *three(1, 4), 0.1, 0.5, unchanged
    yield *three(3, 2), 0.5, 0.9, unchanged
    yield *three(4, 2), 0.5, 0.8, halved_and_turned
    yield *three(6, 3, torch.float64), 0.02, 0.95, exact
    yield *three(3, 6, torch.float64), 0.02, 0.95, exact
    yield *three(5, 5), 0.3, 0.0, exact


PARAMETERS = [
    ("blocks.3.attention_norm.gain", (128,)), ("embedding.weight", (4096, 128)), ("head.weight", (4096, 128)),
    ("blocks.2.attention.value_share", ()), ("blocks.11.feed_forward.up.weight", (2048, 512)),
    ("blocks.1.attention.key.weight", (64, 128)), ("blocks.0.attention.mix", (8, 8)),
    ("blocks.0.attention.mix.weight", (8, 8)), ("blocks.0.convolution.weight", (64, 64, 3)),
    ("blocks.0.feed_forward.experts", (8, 512, 128)), ("position.weight", (256, 128)), ("first.weight", (64, 64)),
    ("blocks_embedding.weight", (16, 128)), ("draft.blocks.0.output.weight", (128, 128)),
    ("encoder.blocks.1.attention.key.weight", (64, 64)), ("superblocks.0.weight", (32, 32)),
    ("layers.0.query.weight", (64, 64)), ("norm.gain", (128,)),
]  # fmt: skip


def _a_bool(f):
    for name, shape in (("blocks.0.attention.query.weight", (8, 8)), ("norm.gain", (8,)), ("blocks.0.gain", (8,))):
        got = f(name, shape)
        if not isinstance(got, bool):
            return f"For {name!r} it returns {got!r}, which is no bool. bool(...) or a comparison makes one."
    return None


EXERCISES = {
    "09.1": Code(
        example=(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]),),
        cases=_full_rank,
        section=BY_HAND,
        tolerance=1e-4,
        edits="""
            full matrices:
            , full_matrices=False ~>
            For a matrix that is not square, the full U and V are both square and do not fit together.
            torch.linalg.svd has a reduced form.

            V transposed twice:
            u @ vt ~> u @ vt.mT
            The third result of torch.linalg.svd is V transposed already.

            only the largest:
            return u @ vt ~> return g / _[0]
            return u @ vt ~> return g / g.norm()
            The matrix is divided by one number, so its singular values keep their ratios. All of them should be 1.

            Gram-Schmidt:
            return u @ vt ~> return torch.linalg.qr(g.mT).Q.mT if g.shape[0] < g.shape[1] else torch.linalg.qr(g).Q
            Your result has singular values 1, but other singular vectors: it depends on the order of the columns.
            Use those of g.

            rows alone:
            return u @ vt ~> return g / g.norm(dim=1, keepdim=True)
            Each row has length 1, but the rows are not at right angles to each other, so the singular values are not 1.

            columns alone:
            return u @ vt ~> return g / g.norm(dim=0, keepdim=True)
            Each column has length 1, but the columns are not at right angles to each other.

            signs alone:
            return u @ vt ~> return g.sign()
            return u @ vt ~> return (u @ vt).sign()
            Every entry is -1, 0 or 1. The singular values should be 1, not the entries.

            values inverted:
            u @ vt ~> (u / _) @ vt
            Each singular value s has become 1 / s. It should become 1.

            half of it:
            return u @ vt ~> return u
            That is U, the turned output directions, alone: the input's turn, V transposed, is missing.
        """,
    ),
    "09.2": Code(
        example=(torch.tensor([[0.5]]), 1.5, -0.5, 0.0),
        cases=_steps,
        section=MATRICES,
        not_allowed=DECOMPOSITIONS,
        edits="""
            squared by entry:
            gram @ gram ~> gram**2
            (X Xᵀ)² is the matrix product of X Xᵀ with itself; ** squares each entry.

            product by entry:
            (b * gram + c * gram @ gram) @ x ~> (b * gram + c * gram @ gram) * x
            (b * gram + c * gram @ gram) @ x ~> (b * gram + c * gram * gram) * x
            Entries are multiplied with entries somewhere: * where @ is meant.

            polynomial by entry:
            (b * gram + c * gram @ gram) @ x ~> b * x**3 + c * x**5
            The polynomial is applied to each entry of x. It should act on the singular values, through matrix products.

            third term of the wrong sign:
            b * gram + c ~> b * gram - c
            b * gram + c ~> -b * gram + c
            (b * gram + c * gram @ gram) ~> -(b * gram - c * gram @ gram)
            a * x + ~> a * x -
            A term is subtracted. All three are added: the numbers a, b and c bring their signs along.

            last X missing:
            + (b * gram + c * gram @ gram) @ x ~> + b * gram + c * gram @ gram
            The second and third terms end in X: without it they are powers of X Xᵀ alone.

            XᵀX on the left:
            x @ x.mT ~> x.mT @ x
            XᵀX belongs on the right of X; on the left it takes X Xᵀ.

            normalised:
            gram = ~> x = x / x.norm(); gram =
            x is divided by its norm first. That is done once, before the first step, and not here.

            seventh power:
            gram @ gram ~> gram @ gram @ gram
            c is multiplied with s⁷: there is one X Xᵀ too many in the last term.

            third power twice:
            gram @ gram ~> gram
            c is multiplied with s³, as b is: the last term needs X Xᵀ twice.

            first term missing:
            return a * x + ~> return
            The first term, a times X, is missing.
        """,
    ),
    "09.3": Code(
        example=(torch.tensor([[2.0], [0.0]]), 1),
        cases=_any_shape,
        section=SPEED,
        tolerance=1e-3,
        not_allowed=DECOMPOSITIONS,
        edits="""
            zeros:
            .clamp(min=1e-7) ~>
            A matrix of zeros gives nan, 0 divided by 0. Guard the norm.

            not normalised:
            g / g.norm().clamp(min=1e-7) ~> g
            g is not divided by its norm, so singular values above 1.264 leave the basin, and small ones never arrive.

            normalised inside:
            g / g.norm().clamp(min=1e-7) ~> g && gram = ~> x = x / x.norm().clamp(min=1e-7); gram =
            gram = ~> x = x / x.norm().clamp(min=1e-7); gram =
            The norm is divided out in every step. Once, before the first step, is meant: else each step undoes the
            last one's growth.

            spectral norm:
            g.norm() ~> torch.linalg.matrix_norm(g, 2)
            g is divided by its largest singular value. The Frobenius norm was asked for, which needs no decomposition.

            not turned back:
            return x.mT if tall else x ~> return x
            Tall matrices come back transposed. Once transposed, the shape no longer tells that it was.

            number of steps:
            range(steps) ~> range(steps + 1)
            range(steps) ~> range(steps - 1)
            range(steps) ~> range(5)
            The number of steps is not that of the argument.
        """,
        mistakes=[
            Mistake(
                "bfloat16",
                "Only two digits are right: it computes in bfloat16. Here it should be the dtype of g.",
                sign=_two_digits_right,
            )
        ],
        properties=[Property("shorter side", _shorter_side, "what-it-costs"), Property("five steps", _default_steps)],
    ),
    "09.4": Code(
        example=(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), 0.9),
        cases=_gradients,
        section=MOMENTUM,
        edits="""
            old momentum twice:
            return mu * new_m + (1 - mu) * g ~> return new_m
            The direction equals the new momentum. Its own line should take new_m where the first took m.

            undamped:
            (1 - mu) * g ~> g
            The gradient enters with weight 1. In a running mean it has the weight 1 − mu.

            direction undamped:
            mu * new_m + (1 - mu) * g ~> mu * new_m + g
            In the direction, the gradient enters with weight 1 instead of 1 − mu.

            mu reversed:
            mu * m + (1 - mu) * g ~> (1 - mu) * m + mu * g && mu * new_m + (1 - mu) * g ~> (1 - mu) * new_m + mu * g
            mu * m + (1 - mu) * g ~> (1 - mu) * m + mu * g
            mu and 1 − mu are exchanged: with mu near 1 the momentum should change slowly. (torch.lerp(m, g, t) moves
            m by t.)

            direction kept:
            g, new_m ~> g, mu * new_m + (1 - mu) * g
            The direction is returned as the new momentum too. What is kept for the next step is new_m.
        """,
    ),
    "09.5": Code(
        example=(torch.zeros(4, 1), COLUMN, torch.zeros(4, 1), 0.1, 0.5, exact),
        cases=_matrices,
        section=SHAPE,
        calls={"orthogonalize": 1},
        edits="""
            momentum followed [momentum-and-a-step-ahead]:
            orthogonalize(direction) ~> orthogonalize(new_m)
            The momentum is orthogonalized, not the direction: Nesterov's step ahead is missing. (With m = 0 they are
            parallel.)

            gradient followed [momentum-and-a-step-ahead]:
            orthogonalize(direction) ~> orthogonalize(g)
            The gradient is orthogonalized, and the momentum never used.

            gradient orthogonalized [momentum-and-a-step-ahead]:
            new_m = mu ~> g = orthogonalize(g); new_m = mu && orthogonalize(direction) ~> direction
            The gradient is orthogonalized and then averaged. Average first: this is another optimizer.

            no factor:
            lr * factor ~> lr
            The shape factor is missing: a tall matrix moves too little.

            factor below 1:
            max(1, rows / columns) ~> rows / columns
            For a wide matrix your factor is below 1. The larger of 1 and the ratio is meant.

            ratio reversed:
            rows / columns ~> columns / rows
            Your factor exceeds 1 for wide matrices. It should for tall ones: rows over columns.

            no root:
            math.sqrt(max(1, rows / columns)) ~> max(1, rows / columns)
            The shape factor is the ratio itself; its square root is meant.

            whole ratio:
            rows / columns ~> rows // columns
            rows // columns loses the fraction: 3 over 2 becomes 1.

            factor inside:
            factor * orthogonalize(direction) ~> orthogonalize(factor * direction)
            The factor multiplies what goes into orthogonalize, which forgets any scale. It belongs after.

            own orthogonalization:
            return ~> u, _, vt = torch.linalg.svd(direction, full_matrices=False); return && orthogonalize(direction) ~> (u @ vt)
            It does not use the function orthogonalize that it was given.

            not orthogonalized:
            orthogonalize(direction) ~> direction
            The direction is followed as it is: orthogonalize is never applied.

            uphill:
            w - lr ~> w + lr
            The step goes up the gradient: the update is subtracted.
        """,
    ),
    "09.6": Code(
        example=("blocks.0.attention.query.weight", (128, 128)),
        cases=lambda g: PARAMETERS,
        section=WHO,
        edits="""
            two or more:
            == 2 ~> >= 2
            A stack of matrices has three dimensions. Exactly two are meant.

            without the dot:
            "blocks." ~> "blocks"
            blocks_embedding.weight lies outside the blocks: the name should start with blocks and a dot.

            square only:
            == 2 ~> == 2 and shape[0] == shape[1]
            A matrix need not be square.

            by its ending:
            == 2 ~> == 2 and name.endswith("weight")
            What the name ends with plays no role; a matrix may be called otherwise than weight.

            reversed:
            name.startswith("blocks.") and len(shape) == 2 ~> not (name.startswith("blocks.") and len(shape) == 2)
            True and False are exchanged.

            any matrix:
            name.startswith("blocks.") and ~>
            Every matrix goes to Muon, wherever it lives, the embedding among them.

            any in the blocks:
            and len(shape) == 2 ~>
            Gains live in the blocks too, and are no matrices.
        """,
        mistakes=[
            Mistake(
                "anywhere",
                "'blocks.' must be the start, with its dot, and not merely somewhere in the name: draft.blocks.0 "
                "belongs to something else.",
                only=lambda name, shape: "blocks" in name and not name.startswith("blocks."),
            ),
            Mistake(
                "exceptions",
                "A list of exceptions: position.weight is not in a block, and yet it goes to Muon. Ask where it lives.",
                only=lambda name, shape: not name.startswith("blocks.") and "embedding" not in name,
            ),
        ],
        properties=[Property("a bool", _a_bool)],
    ),
    "09.7": Choice(
        right="c",
        wrong={
            "a": "It acts on all rows together: the result's rows are at right angles to each other if the "
            "matrix is wide, and its "
            "columns if it is tall. Which other rows there are matters.",
            "b": "That happens where the three gradients read different input directions, as with low rank. Of "
            "full rank, each reads "
            "all 128, and there are only 128 to share.",
            "d": "All 128 singular values of the whole are equal. But each belongs to a vector of 384 entries, "
            "and how that divides "
            "among the three parts is another matter.",
        },
        section="one-matrix-out-of-four-a-real-bug",
    ),
}
