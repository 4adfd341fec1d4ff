"""The checks of chapter 09: the polar factor, Newton–Schulz, momentum, a Muon step, who gets it."""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from blueberry_checks.engine.examine import Choice, Code, Mistake, Property

JORDAN = (3.4445, -4.7750, 2.0315)
DECOMPOSITIONS = ("linalg_svd", "svd", "linalg_svdvals", "linalg_eigh", "linalg_eig", "linalg_qr", "linalg_matrix_norm")


def _polar_factor(g):
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    return u @ vt


def _newton_schulz_step(x, a, b, c):
    cubed = x @ (x.mT @ x)
    return a * x + b * cubed + c * (x @ (x.mT @ cubed))


def _orthogonalize(g, steps=5):
    x = g / max(g.square().sum().sqrt().item(), 1e-7)
    for _ in range(steps):
        x = _newton_schulz_step(x, *JORDAN)
    return x


def _nesterov(g, m, mu):
    return mu * mu * m + (1 - mu * mu) * g, mu * m + (1 - mu) * g


def _muon_step(w, g, m, lr, mu, orthogonalize):
    direction, new_m = _nesterov(g, m, mu)
    return w - lr * _factor(w) * orthogonalize(direction), new_m


def _factor(w):
    return max(1.0, w.shape[0] / w.shape[1]) ** 0.5


def _goes_to_muon(name, shape):
    return name.split(".")[0] == "blocks" and "." in name and len(shape) == 2


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


def _all_of_u_and_v(g):
    u, _, vt = torch.linalg.svd(g)
    return u @ vt


def _v_transposed_twice(g):
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    return u @ vt.mT


def _gram_schmidt(g):
    return torch.linalg.qr(g.mT).Q.mT if g.shape[0] < g.shape[1] else torch.linalg.qr(g).Q


def _orthonormal(f):
    g = _matrix(torch.Generator().manual_seed(1), 12, 5, torch.float64)
    if (torch.linalg.svdvals(f(g)) - 1).abs().max() > 1e-6:
        return "Of a 12 x 5 matrix the result should have five singular values, all 1."
    return None


# --- 09.2


def _steps(g):
    yield torch.tensor([[0.5]]), 1.875, -1.25, 0.375
    yield torch.tensor([[0.6, 0.0], [0.8, 0.0]]), 1.875, -1.25, 0.375
    yield torch.tensor([[0.3, 0.4]]), 1.5, -0.5, 0.0
    yield _matrix(g, 3, 3, torch.float64), *JORDAN
    yield _matrix(g, 3, 7), *JORDAN
    yield _matrix(g, 8, 4, size=2.0), 0.5, 2.0, -1.0


def _with_gram(power):
    """The step with ``power(gram)`` for the Gram matrix's square."""

    def step(x, a, b, c):
        gram = x @ x.mT
        return a * x + (b * gram + c * power(gram)) @ x

    return step


def _entry_products(x, a, b, c):
    gram = x @ x.mT
    return a * x + b * gram * x + c * (gram @ gram) * x


def _gram_of_columns(x, a, b, c):
    gram = x.mT @ x
    return a * x + (b * gram + c * gram @ gram) @ x


def _normalised_first(x, a, b, c):
    return _newton_schulz_step(x / x.norm(), a, b, c)


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


def _divided(by, inside=False, coefficients=JORDAN, more=0):
    """Orthogonalization with another normalisation, coefficients or number of steps."""

    def answer(g, steps=5):
        x = g if inside else g / by(g)
        for _ in range(steps + more):
            x = _newton_schulz_step(x / by(x) if inside else x, *coefficients)
        return x

    return answer


def _guarded_norm(x):
    return x.norm().clamp(min=1e-7)


def _not_turned_back(g, steps=5):
    x = _orthogonalize(g, steps)
    return x.mT if g.shape[0] > g.shape[1] else x


def _five_whatever(g, steps=5):
    return _orthogonalize(g, 5)


def _in_bfloat16(g, steps=5):
    tall = g.shape[0] > g.shape[1]
    x = g.bfloat16() / _guarded_norm(g.bfloat16())
    x = x.mT if tall else x
    for _ in range(steps):
        x = _with_gram(lambda gram: gram @ gram)(x, *JORDAN)
    return (x.mT if tall else x).to(g.dtype)


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
            return (
                f"For a {rows} x {columns} matrix it makes one of {largest.entries} entries, the square of the "
                "longer side. "
                "Values are the same with the square of the shorter side, 36 entries, and cost a fraction."
            )
    return None


def _default_steps(f):
    g = _matrix(torch.Generator().manual_seed(2), 5, 7)
    if (f(g) - _orthogonalize(g, 5)).abs().max() > 1e-3:
        return "Without its second argument it should take five steps."
    return None


# --- 09.4


def _gradients(g):
    yield torch.tensor(1.0), torch.tensor(0.0), 0.9
    yield torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]), 0.0
    yield torch.randn(3, 2, generator=g), torch.randn(3, 2, generator=g), 0.75
    yield torch.randn(2, 5, generator=g).double(), torch.randn(2, 5, generator=g).double(), 0.95


def _old_momentum_twice(g, m, mu):
    new_m = mu * m + (1 - mu) * g
    return new_m, new_m


def _undamped(g, m, mu):
    new_m = mu * m + g
    return g + mu * new_m, new_m


def _half_damped(g, m, mu):
    new_m = mu * m + (1 - mu) * g
    return g + mu * new_m, new_m


def _blend_reversed(g, m, mu):
    new_m = (1 - mu) * m + mu * g
    return (1 - mu) * new_m + mu * g, new_m


def _pair_reversed(g, m, mu):
    return _nesterov(g, m, mu)[::-1]


def _direction_kept(g, m, mu):
    direction, _ = _nesterov(g, m, mu)
    return direction, direction


# --- 09.5


def exact(d):
    """An exact orthogonalization, handed to the answer."""
    return _polar_factor(d)


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


def _step_with(factor=_factor, chosen=_nesterov, sign=-1, kept=None):
    """A Muon step with one part replaced."""

    def answer(w, g, m, lr, mu, orthogonalize):
        direction, new_m = chosen(g, m, mu)
        new_w = w + sign * lr * factor(w) * orthogonalize(direction)
        return new_w, (kept(g, m, mu) if kept else new_m)

    return answer


def _gradients_orthogonalized(w, g, m, lr, mu, orthogonalize):
    direction, new_m = _nesterov(orthogonalize(g), m, mu)
    return w - lr * _factor(w) * direction, new_m


def _factor_inside(w, g, m, lr, mu, orthogonalize):
    direction, new_m = _nesterov(g, m, mu)
    return w - lr * orthogonalize(direction * _factor(w)), new_m


def _own_orthogonalization(w, g, m, lr, mu, orthogonalize):
    return _muon_step(w, g, m, lr, mu, _polar_factor)


def _not_orthogonalized(w, g, m, lr, mu, orthogonalize):
    return _muon_step(w, g, m, lr, mu, unchanged)


def _called_once(f):
    calls = []

    def counted(d):
        calls.append(d)
        return d.clone()

    f(torch.ones(4, 2), torch.ones(4, 2), torch.ones(4, 2), 0.1, 0.9, counted)
    if len(calls) != 1:
        return f"It calls orthogonalize {len(calls)} times in a step; once is what a step can afford."
    return None


# --- 09.6

PARAMETERS = [
    ("blocks.3.attention_norm.gain", (128,)),
    ("embedding.weight", (4096, 128)),
    ("head.weight", (4096, 128)),
    ("blocks.2.attention.value_share", ()),
    ("blocks.11.feed_forward.up.weight", (2048, 512)),
    ("blocks.1.attention.key.weight", (64, 128)),
    ("blocks.0.attention.mix", (8, 8)),
    ("blocks.0.attention.mix.weight", (8, 8)),
    ("blocks.0.convolution.weight", (64, 64, 3)),
    ("blocks.0.feed_forward.experts", (8, 512, 128)),
    ("position.weight", (256, 128)),
    ("first.weight", (64, 64)),
    ("blocks_embedding.weight", (16, 128)),
    ("draft.blocks.0.output.weight", (128, 128)),
    ("norm.gain", (128,)),
]


def _to_muon(f):
    """Those of the parameters that an answer gives to Muon; none where it keeps a plain matrix of a block from it."""
    if not f("blocks.0.attention.query.weight", (8, 8)):
        return set()
    return {name for name, shape in PARAMETERS if f(name, shape)}


def _lists_exceptions(f):
    """The embedding is kept out, or the head; tables of other names are not."""
    given = _to_muon(f)
    return {"position.weight", "first.weight"} <= given and not {"embedding.weight", "head.weight"} <= given


def _finds_blocks_in_the_name(f):
    """What has no blocks in its name is kept out; something with blocks elsewhere in it is not."""
    given = _to_muon(f)
    return "draft.blocks.0.output.weight" in given and not {"position.weight", "first.weight"} & given


def _a_bool(f):
    for name, shape in (("blocks.0.attention.query.weight", (8, 8)), ("norm.gain", (8,)), ("blocks.0.gain", (8,))):
        got = f(name, shape)
        if not isinstance(got, bool):
            return f"For {name!r} it returns {got!r}, which is no bool. bool(...) or a comparison makes one."
    return None


BY_HAND, MATRICES, SPEED = (
    "what-adamw-cannot-see",
    "without-a-decomposition-start-with-a-number",
    "coefficients-speed-against-accuracy",
)
MOMENTUM, SHAPE, WHO = "momentum-and-a-step-ahead", "the-shape-factor", "who-must-not-get-it"

EXERCISES = {
    "09.1": Code(
        reference=_polar_factor,
        example=(torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]),),
        cases=_full_rank,
        mistakes=[
            Mistake(
                "full matrices",
                "For a matrix that is not square, the full U and V are both square and do not fit together. "
                "torch.linalg.svd has a reduced form.",
                wrong=_all_of_u_and_v,
            ),
            Mistake(
                "V transposed twice",
                "The third result of torch.linalg.svd is V transposed already.",
                wrong=_v_transposed_twice,
            ),
            Mistake(
                "only the largest",
                "Only the largest singular value is 1 now; the others have kept their ratio to it. All of them "
                "should be 1.",
                BY_HAND,
                wrong=lambda g: g / torch.linalg.svdvals(g)[0],
            ),
            Mistake(
                "one number for all",
                "The matrix is divided by one number, so its singular values keep their ratios. All of them "
                "should be 1.",
                BY_HAND,
                wrong=lambda g: g / g.norm(),
            ),
            Mistake(
                "Gram-Schmidt",
                "Your result has singular values 1, but other singular vectors: it depends on the order of the "
                "columns. Use those of g.",
                BY_HAND,
                wrong=_gram_schmidt,
            ),
            Mistake(
                "rows alone",
                "Each row has length 1, but the rows are not at right angles to each other, so the singular "
                "values are not 1.",
                BY_HAND,
                wrong=lambda g: g / g.norm(dim=1, keepdim=True),
            ),
            Mistake(
                "half of it",
                "That is U, the turned output directions, alone: the input's turn, V transposed, is missing.",
                BY_HAND,
                wrong=lambda g: torch.linalg.svd(g, full_matrices=False).U,
            ),
        ],
        properties=[Property("singular values", _orthonormal, BY_HAND)],
        tolerance=1e-4,
    ),
    "09.2": Code(
        reference=_newton_schulz_step,
        example=(torch.tensor([[0.5]]), 1.5, -0.5, 0.0),
        cases=_steps,
        mistakes=[
            Mistake(
                "squared by entry",
                "(X Xᵀ)² is the matrix product of X Xᵀ with itself; ** squares each entry.",
                MATRICES,
                wrong=_with_gram(torch.square),
            ),
            Mistake(
                "product by entry",
                "Entries are multiplied with entries somewhere: * where @ is meant.",
                MATRICES,
                wrong=_entry_products,
            ),
            Mistake(
                "polynomial by entry",
                "The polynomial is applied to each entry of x. It should act on the singular values, through "
                "matrix products.",
                MATRICES,
                wrong=lambda x, a, b, c: a * x + b * x**3 + c * x**5,
            ),
            Mistake(
                "XᵀX on the left",
                "XᵀX belongs on the right of X; on the left it takes X Xᵀ.",
                MATRICES,
                wrong=_gram_of_columns,
            ),
            Mistake(
                "normalised",
                "x is divided by its norm first. That is done once, before the first step, and not here.",
                MATRICES,
                wrong=_normalised_first,
            ),
            Mistake(
                "seventh power",
                "c is multiplied with s⁷: there is one X Xᵀ too many in the last term.",
                MATRICES,
                wrong=_with_gram(lambda gram: gram @ gram @ gram),
            ),
            Mistake(
                "third power twice",
                "c is multiplied with s³, as b is: the last term needs X Xᵀ twice.",
                MATRICES,
                wrong=_with_gram(lambda gram: gram),
            ),
            Mistake(
                "first term missing",
                "The first term, a times X, is missing.",
                MATRICES,
                wrong=lambda x, a, b, c: _newton_schulz_step(x, 0.0, b, c),
            ),
        ],
        not_allowed=DECOMPOSITIONS,
    ),
    "09.3": Code(
        reference=_orthogonalize,
        example=(torch.tensor([[2.0], [0.0]]), 1),
        cases=_any_shape,
        mistakes=[
            Mistake(
                "zeros",
                "A matrix of zeros gives nan, 0 divided by 0. Guard the norm.",
                SPEED,
                sign=lambda f: bool(f(torch.zeros(2, 3), 5).isnan().any()),
            ),
            Mistake(
                "not normalised",
                "g is not divided by its norm, so singular values above 1.264 leave the basin, and small ones "
                "never arrive.",
                SPEED,
                wrong=_divided(lambda g: 1.0),
            ),
            Mistake(
                "normalised inside",
                "The norm is divided out in every step. Once, before the first step, is meant: else each step "
                "undoes the last one's growth.",
                SPEED,
                wrong=_divided(_guarded_norm, inside=True),
            ),
            Mistake(
                "spectral norm",
                "g is divided by its largest singular value. The Frobenius norm was asked for, which needs no "
                "decomposition.",
                SPEED,
                wrong=_divided(lambda g: torch.linalg.matrix_norm(g, 2).clamp(min=1e-7)),
            ),
            Mistake(
                "largest entry",
                "g is divided by its largest entry. A matrix of small entries can still have a large singular "
                "value; take the norm.",
                SPEED,
                wrong=_divided(lambda g: g.abs().max().clamp(min=1e-7)),
            ),
            Mistake(
                "rows normalised",
                "Each row is divided by its own norm, which changes the singular vectors. One number divides the "
                "whole matrix.",
                SPEED,
                wrong=_divided(lambda g: g.norm(dim=1, keepdim=True).clamp(min=1e-7)),
            ),
            Mistake(
                "not turned back",
                "Tall matrices come back transposed. Once transposed, the shape no longer tells that it was.",
                SPEED,
                wrong=_not_turned_back,
            ),
            Mistake(
                "other coefficients",
                "These are the steps of the cubic, 1.5 and −0.5, not of 3.4445, −4.7750, 2.0315.",
                SPEED,
                wrong=_divided(_guarded_norm, coefficients=(1.5, -0.5, 0.0)),
            ),
            Mistake(
                "one step more",
                "It takes one step too many.",
                SPEED,
                wrong=_divided(_guarded_norm, more=1),
            ),
            Mistake(
                "one step less",
                "It takes one step too few.",
                SPEED,
                wrong=_divided(_guarded_norm, more=-1),
            ),
            Mistake("steps ignored", "It takes five steps, whatever steps says.", SPEED, wrong=_five_whatever),
            Mistake(
                "bfloat16",
                "Only two digits are right: it computes in bfloat16. Here it should be the dtype of g.",
                SPEED,
                sign=lambda f: _near(f, _in_bfloat16, _orthogonalize),
            ),
            Mistake(
                "exact",
                "The singular values are all 1, better than asked: an exact polar factor. Take the Newton–Schulz "
                "steps.",
                SPEED,
                wrong=lambda g, steps=5: _polar_factor(g) if g.any() else g,
            ),
        ],
        properties=[
            Property("shorter side", _shorter_side, "what-it-costs"),
            Property("five steps", _default_steps, SPEED),
        ],
        not_allowed=DECOMPOSITIONS,
        tolerance=1e-3,
    ),
    "09.4": Code(
        reference=_nesterov,
        example=(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), 0.9),
        cases=_gradients,
        mistakes=[
            Mistake(
                "old momentum twice",
                "The direction equals the new momentum. Its own line should take new_m where the first took m.",
                MOMENTUM,
                wrong=_old_momentum_twice,
            ),
            Mistake(
                "undamped",
                "The gradient enters with weight 1. In a running mean it has the weight 1 − mu.",
                MOMENTUM,
                wrong=_undamped,
            ),
            Mistake(
                "direction undamped",
                "In the direction, the gradient enters with weight 1 instead of 1 − mu.",
                MOMENTUM,
                wrong=_half_damped,
            ),
            Mistake(
                "mu reversed",
                "mu and 1 − mu are exchanged: with mu near 1 the momentum should change slowly. (torch.lerp(m, "
                "g, t) moves m by t.)",
                MOMENTUM,
                wrong=_blend_reversed,
            ),
            Mistake(
                "pair reversed",
                "The pair is the wrong way round: direction first, then the new momentum.",
                MOMENTUM,
                wrong=_pair_reversed,
            ),
            Mistake(
                "direction kept",
                "The direction is returned as the new momentum too. What is kept for the next step is new_m.",
                MOMENTUM,
                wrong=_direction_kept,
            ),
            Mistake(
                "old momentum returned",
                "The momentum that comes back is the old one.",
                MOMENTUM,
                wrong=lambda g, m, mu: (_nesterov(g, m, mu)[0], m),
            ),
        ],
    ),
    "09.5": Code(
        reference=_muon_step,
        example=(torch.zeros(4, 1), COLUMN, torch.zeros(4, 1), 0.1, 0.5, exact),
        cases=_matrices,
        mistakes=[
            Mistake(
                "momentum followed",
                "The momentum is orthogonalized, not the direction: Nesterov's step ahead is missing. (With m = "
                "0 they are parallel.)",
                MOMENTUM,
                wrong=_step_with(chosen=_old_momentum_twice),
            ),
            Mistake(
                "gradient followed",
                "The gradient is orthogonalized, and the momentum never used.",
                MOMENTUM,
                wrong=_step_with(chosen=lambda g, m, mu: (g, _nesterov(g, m, mu)[1])),
            ),
            Mistake(
                "gradient orthogonalized",
                "The gradient is orthogonalized and then averaged. Average first: this is another optimizer.",
                MOMENTUM,
                wrong=_gradients_orthogonalized,
            ),
            Mistake(
                "no factor",
                "The shape factor is missing: a tall matrix moves too little.",
                SHAPE,
                wrong=_step_with(factor=lambda w: 1.0),
            ),
            Mistake(
                "factor below 1",
                "For a wide matrix your factor is below 1. The larger of 1 and the ratio is meant.",
                SHAPE,
                wrong=_step_with(factor=lambda w: (w.shape[0] / w.shape[1]) ** 0.5),
            ),
            Mistake(
                "ratio reversed",
                "Your factor exceeds 1 for wide matrices. It should for tall ones: rows over columns.",
                SHAPE,
                wrong=_step_with(factor=lambda w: max(1.0, w.shape[1] / w.shape[0]) ** 0.5),
            ),
            Mistake(
                "longer over shorter",
                "For a wide matrix the factor is 1: rows over columns, not longer over shorter.",
                SHAPE,
                wrong=_step_with(factor=lambda w: (max(w.shape) / min(w.shape)) ** 0.5),
            ),
            Mistake(
                "no root",
                "The shape factor is the ratio itself; its square root is meant.",
                SHAPE,
                wrong=_step_with(factor=lambda w: max(1.0, w.shape[0] / w.shape[1])),
            ),
            Mistake(
                "whole ratio",
                "rows // columns loses the fraction: 3 over 2 becomes 1.",
                SHAPE,
                wrong=_step_with(factor=lambda w: math.sqrt(max(1, w.shape[0] // w.shape[1]))),
            ),
            Mistake(
                "factor inside",
                "The factor multiplies what goes into orthogonalize, which forgets any scale. It belongs after.",
                SHAPE,
                wrong=_factor_inside,
            ),
            Mistake(
                "own orthogonalization",
                "It does not use the function orthogonalize that it was given.",
                SHAPE,
                wrong=_own_orthogonalization,
            ),
            Mistake(
                "not orthogonalized",
                "The direction is followed as it is: orthogonalize is never applied.",
                SHAPE,
                wrong=_not_orthogonalized,
            ),
            Mistake(
                "uphill", "The step goes up the gradient: the update is subtracted.", SHAPE, wrong=_step_with(sign=1)
            ),
            Mistake(
                "direction kept",
                "The second value should be the new momentum, not the direction.",
                MOMENTUM,
                wrong=_step_with(kept=lambda g, m, mu: _nesterov(g, m, mu)[0]),
            ),
            Mistake(
                "pair reversed",
                "The pair is the wrong way round: the new weights first, then the new momentum.",
                SHAPE,
                wrong=lambda *arguments: _muon_step(*arguments)[::-1],
            ),
        ],
        properties=[Property("called once", _called_once, SHAPE)],
    ),
    "09.6": Code(
        reference=_goes_to_muon,
        example=("blocks.0.attention.query.weight", (128, 128)),
        cases=lambda g: PARAMETERS,
        mistakes=[
            Mistake(
                "exceptions",
                "A list of exceptions: position.weight is not in a block, and yet it goes to Muon. Ask where it lives.",
                WHO,
                sign=_lists_exceptions,
            ),
            Mistake(
                "two or more",
                "A stack of matrices has three dimensions. Exactly two are meant.",
                WHO,
                wrong=lambda name, shape: name.startswith("blocks.") and len(shape) >= 2,
            ),
            Mistake(
                "anywhere",
                "'blocks.' must be the start, with its dot, and not merely somewhere in the name: draft.blocks.0 "
                "belongs to something else.",
                WHO,
                sign=_finds_blocks_in_the_name,
            ),
            Mistake(
                "without the dot",
                "blocks_embedding.weight lies outside the blocks: the name should start with blocks and a dot.",
                WHO,
                wrong=lambda name, shape: name.startswith("blocks") and len(shape) == 2,
            ),
            Mistake(
                "square only",
                "A matrix need not be square.",
                WHO,
                wrong=lambda name, shape: _goes_to_muon(name, shape) and shape[0] == shape[1],
            ),
            Mistake(
                "by its ending",
                "What the name ends with plays no role; a matrix may be called otherwise than weight.",
                WHO,
                wrong=lambda name, shape: _goes_to_muon(name, shape) and name.endswith("weight"),
            ),
            Mistake(
                "only the ending",
                "What the name ends with says nothing: embedding.weight does so too. Ask how it starts.",
                WHO,
                wrong=lambda name, shape: name.endswith("weight") and len(shape) == 2,
            ),
            Mistake(
                "reversed",
                "True and False are exchanged.",
                WHO,
                wrong=lambda name, shape: not _goes_to_muon(name, shape),
            ),
            Mistake(
                "any matrix",
                "Every matrix goes to Muon, wherever it lives, the embedding among them.",
                WHO,
                wrong=lambda name, shape: len(shape) == 2,
            ),
            Mistake(
                "any in the blocks",
                "Gains live in the blocks too, and are no matrices.",
                WHO,
                wrong=lambda name, shape: name.startswith("blocks."),
            ),
        ],
        properties=[Property("a bool", _a_bool, WHO)],
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


def _near(f, wrong, right):
    """Whether an answer errs by about as much as a wrong one."""
    g = _matrix(torch.Generator().manual_seed(3), 8, 8)
    error, typical = ((answer(g, 5) - right(g, 5)).norm() for answer in (f, wrong))
    return bool(0.2 * typical < error < 5 * typical)
