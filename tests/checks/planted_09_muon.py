"""Wrong and right answers to the exercises of chapter 09.

Those with a line that says what the learner thought were written from the exercises' text alone, before their
checkers existed.
"""

import math

import torch
from checks.planting import Planted, Wrong

# --- 09.1, from the text alone


def wrong_1_full_matrices(g):
    """Left full_matrices=True; passes the example, which is square."""
    U, _S, Vh = torch.linalg.svd(g)
    return U @ Vh


def wrong_1_v_transposed_again(g):
    """Takes the third result for V, torch gives V^T already; passes the example (its V is symmetric)."""
    U, _S, V = torch.linalg.svd(g, full_matrices=False)
    return U @ V.T


def wrong_1_largest_value_only(g):
    """Divides by the largest singular value."""
    S = torch.linalg.svd(g, full_matrices=False).S
    return g / S[0]


def wrong_1_orthonormal_columns_of_qr(g):
    """Believes that any orthogonal basis will do (Gram-Schmidt)."""
    if g.shape[0] < g.shape[1]:
        return torch.linalg.qr(g.T).Q.T
    return torch.linalg.qr(g).Q


def wrong_1_float32_inside(g):
    """Casts to float32; passes the example."""
    U, _S, Vh = torch.linalg.svd(g.float(), full_matrices=False)
    return U @ Vh


def wrong_1_u_alone(g):
    """Takes U for 'the orthogonal part'."""
    return torch.linalg.svd(g, full_matrices=False).U


def correct_1_sum_of_outer_products(g):
    """Unusual but right: adds up the outer products u_i v_i^T, one singular direction after the other."""
    U, S, Vh = torch.linalg.svd(g, full_matrices=True)
    out = torch.zeros_like(g)
    for i in range(len(S)):
        out = out + torch.outer(U[:, i], Vh[i])
    return out


# --- 09.2, from the text alone


def wrong_2_squared_entry_by_entry(x, a, b, c):
    """A**2 squares the entries; passes all three examples (A is 1 by 1 there)."""
    A = x @ x.T
    return a * x + b * A @ x + c * A**2 @ x


def wrong_2_star_for_product(x, a, b, c):
    """Multiplies entry by entry with X; passes all three examples."""
    A = x @ x.T
    return a * x + b * A * x + c * (A @ A) * x


def wrong_2_changes_x(x, a, b, c):
    """x *= a at the end; right values."""
    A = x @ x.T
    rest = (b * A + c * A @ A) @ x
    x *= a
    x += rest
    return x


def wrong_2_gram_of_the_columns(x, a, b, c):
    """X^T X on the left of X; runs only for square x, right for the 1 by 1 examples."""
    A = x.T @ x
    return a * x + (b * A + c * A @ A) @ x


def wrong_2_normalises_first(x, a, b, c):
    """Puts the division by the norm into the step."""
    x = x / x.norm()
    A = x @ x.T
    return a * x + b * A @ x + c * A @ A @ x


def wrong_2_singular_values_by_entry(x, a, b, c):
    """Applies a s + b s^3 + c s^5 to every entry; right for 1 by 1."""
    return a * x + b * x**3 + c * x**5


def wrong_2_cubes_twice(x, a, b, c):
    """Applies the second power to A @ X once too often: c gets A^3; right where c = 0."""
    A = x @ x.T
    B = A @ A
    return a * x + b * A @ x + c * A @ B @ x


def correct_2_horner_from_the_right(x, a, b, c):
    """Unusual but right: Horner's scheme with X^T X on the right of X, which is the same polynomial."""
    gram = torch.mm(x.t(), x)
    one = torch.eye(x.shape[1], dtype=x.dtype)
    return torch.mm(x, a * one + torch.mm(gram, b * one + c * gram))


def correct_2_one_product_at_a_time(x, a, b, c):
    """Unusual but right: never builds X X^T times X X^T, only cubes: y = X X^T X, then X X^T y by einsum."""
    y = torch.einsum("ij,kj,kl->il", x, x, x)
    z = torch.einsum("ij,kj,kl->il", x, x, y)
    return x * a + y * b + z * c


# --- 09.3, from the text alone


def wrong_3_normalised_in_every_step(g, steps=5):
    """Puts the division into the loop; passes the example (one step)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    for _ in range(steps):
        x = x / x.norm().clamp(min=1e-7)
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def wrong_3_zeros_give_nan(g, steps=5):
    """No guard; passes the example."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / g.norm()
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def small_number_added(g, steps=5):
    """norm + 1e-7 for max(norm, 1e-7), as in the code on the internet; passes the example."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def wrong_3_transposed_the_wrong_way(g, steps=5):
    """Transposes if there are fewer rows; right values."""
    a, b, c = 3.4445, -4.7750, 2.0315
    flip = g.shape[0] < g.shape[1]
    x = g / g.norm().clamp(min=1e-7)
    x = x.T if flip else x
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    return x.T if flip else x


def wrong_3_not_transposed_back(g, steps=5):
    """Asks for rows > columns a second time, of the transposed matrix, so it never turns back."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / g.norm().clamp(min=1e-7)
    if x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    if x.shape[0] > x.shape[1]:
        x = x.T
    return x


def wrong_3_bfloat16_copied(g, steps=5):
    """The code of the internet, with bfloat16 inside; shape and dtype right."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    x = x.T if g.shape[0] > g.shape[1] else x
    return x.to(g.dtype)


def wrong_3_changes_g(g, steps=5):
    """g /= norm; right values."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[0] > g.shape[1]
    g /= g.norm().clamp(min=1e-7)
    x = g.T if tall else g
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    return x.T if tall else x


def wrong_3_spectral_norm(g, steps=5):
    """Divides by the largest singular value; passes the example (rank 1)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / torch.linalg.matrix_norm(g, 2).clamp(min=1e-7)
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(steps):
        A = x @ x.T
        x = a * x + (b * A + c * A @ A) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def correct_3_products_on_the_short_side(g, steps=5):
    """Unusual but right: transposes nothing; tall matrices get X^T X on the right, wide ones X X^T on the left."""
    x = g / max(math.sqrt(float((g.double() ** 2).sum())), 1e-7)
    rows, columns = g.shape
    for _ in range(steps):
        if rows > columns:
            s = x.T @ x
            x = 3.4445 * x + x @ (2.0315 * (s @ s) - 4.7750 * s)
        else:
            s = x @ x.T
            x = 3.4445 * x + (2.0315 * (s @ s) - 4.7750 * s) @ x
    return x


def correct_3_calls_itself(g, steps=5):
    """Unusual but right: tall input by calling an inner function on the transpose, torch.addmm for the sums."""

    def wide(x):
        for _ in range(steps):
            gram = torch.mm(x, x.mT)
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
        return x

    x = g.div(torch.linalg.vector_norm(g).clamp_min(1e-7))
    return wide(x.mT).mT.contiguous() if g.size(0) > g.size(1) else wide(x)


# --- 09.4, from the text alone


def wrong_4_changes_m(g, m, mu):
    """m.mul_().add_() as optimizers do; right values."""
    m.mul_(mu).add_(g, alpha=1 - mu)
    return mu * m + (1 - mu) * g, m


def wrong_4_changes_g(g, m, mu):
    """g.lerp_ as in the code of the internet; right values."""
    new_m = torch.lerp(m, g, 1 - mu)
    return g.lerp_(new_m, mu), new_m


def wrong_4_no_step_ahead(g, m, mu):
    """Uses the old momentum in the second line too."""
    new_m = mu * m + (1 - mu) * g
    direction = mu * m + (1 - mu) * g
    return direction, new_m


def wrong_4_gradient_undamped(g, m, mu):
    """torch.optim.SGD's convention: m = mu m + g, direction = g + mu m."""
    new_m = mu * m + g
    return g + mu * new_m, new_m


def wrong_4_lerp_weight_swapped(g, m, mu):
    """lerp(m, g, mu) moves by mu, not by 1 - mu; right for mu = 0.5."""
    new_m = torch.lerp(m, g, mu)
    return torch.lerp(new_m, g, mu), new_m


def wrong_4_pair_swapped(g, m, mu):
    """Returns in the order of computation."""
    new_m = mu * m + (1 - mu) * g
    return new_m, mu * new_m + (1 - mu) * g


def correct_4_expanded(g, m, mu):
    """Unusual but right: both as closed formulas of g and m (direction = mu^2 m + (1 - mu^2) g), returned from lerp."""
    return torch.lerp(g, m, mu * mu), g + mu * (m - g)


# --- 09.5, from the text alone


def wrong_5_momentum_orthogonalized(w, g, m, lr, mu, orthogonalize):
    """Orthogonalizes the new momentum, not the direction; passes the example (m = 0 makes them parallel)."""
    new_m = mu * m + (1 - mu) * g
    factor = math.sqrt(max(1, w.shape[0] / w.shape[1]))
    return w - lr * factor * orthogonalize(new_m), new_m


def wrong_5_factor_below_one(w, g, m, lr, mu, orthogonalize):
    """Forgot max(1, .); passes the example (tall)."""
    new_m = mu * m + (1 - mu) * g
    direction = mu * new_m + (1 - mu) * g
    return w - lr * math.sqrt(w.shape[0] / w.shape[1]) * orthogonalize(direction), new_m


def wrong_5_whole_number_ratio(w, g, m, lr, mu, orthogonalize):
    """rows // columns; passes the example (4 / 1)."""
    new_m = mu * m + (1 - mu) * g
    direction = mu * new_m + (1 - mu) * g
    return w - lr * math.sqrt(max(1, w.shape[0] // w.shape[1])) * orthogonalize(direction), new_m


def wrong_5_changes_w(w, g, m, lr, mu, orthogonalize):
    """w -= ... as optimizers do; right values."""
    new_m = mu * m + (1 - mu) * g
    direction = mu * new_m + (1 - mu) * g
    w -= lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * orthogonalize(direction)
    return w, new_m


def wrong_5_own_svd(w, g, m, lr, mu, orthogonalize):
    """Ignores the function handed in; passes the example (exact there)."""
    new_m = mu * m + (1 - mu) * g
    U, _S, Vh = torch.linalg.svd(mu * new_m + (1 - mu) * g, full_matrices=False)
    return w - lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * (U @ Vh), new_m


def wrong_5_momentum_of_orthogonalized(w, g, m, lr, mu, orthogonalize):
    """Orthogonalizes the gradient first and collects that in the momentum."""
    o = orthogonalize(g)
    new_m = mu * m + (1 - mu) * o
    direction = mu * new_m + (1 - mu) * o
    return w - lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * direction, new_m


def wrong_5_factor_inside(w, g, m, lr, mu, orthogonalize):
    """Scales the direction before it is orthogonalized, where an exact one undoes it."""
    new_m = mu * m + (1 - mu) * g
    direction = (mu * new_m + (1 - mu) * g) * math.sqrt(max(1, w.shape[0] / w.shape[1]))
    return w - lr * orthogonalize(direction), new_m


def wrong_5_columns_by_rows(w, g, m, lr, mu, orthogonalize):
    """Turns the ratio round."""
    new_m = mu * m + (1 - mu) * g
    direction = mu * new_m + (1 - mu) * g
    return w - lr * math.sqrt(max(1, w.shape[1] / w.shape[0])) * orthogonalize(direction), new_m


def correct_5_lerp_and_longer_side(w, g, m, lr, mu, orthogonalize):
    """Unusual but right: lerp twice; the factor as the root of max(rows, columns) / columns; torch.sub with alpha."""
    momentum = torch.lerp(g, m, mu)
    update = orthogonalize(torch.lerp(g, momentum, mu))
    rows, columns = w.shape
    return torch.sub(w, update, alpha=lr * (max(rows, columns) / columns) ** 0.5), momentum


# --- 09.6, from the text alone


def wrong_6_excluded_by_name(name, shape):
    """Lists the exceptions of the examples."""
    return len(shape) == 2 and "embedding" not in name and "head" not in name


def wrong_6_two_or_more(name, shape):
    """>= 2 for == 2; passes the examples."""
    return name.startswith("blocks.") and len(shape) >= 2


def wrong_6_anywhere_in_the_name(name, shape):
    """'in' for startswith; passes the examples."""
    return "blocks." in name and len(shape) == 2


def wrong_6_square_only(name, shape):
    """Takes 'matrix' for square; passes the examples."""
    return name.startswith("blocks.") and len(shape) == 2 and shape[0] == shape[1]


def wrong_6_number_for_bool(name, shape):
    """count() gives 0 where False is asked; right as a condition."""
    return name[:7].count("blocks.") and len(shape) == 2


def wrong_6_by_the_ending(name, shape):
    """Asks for '.weight' at the end as well; passes the examples."""
    return name.startswith("blocks.") and name.endswith(".weight") and len(shape) == 2


def wrong_6_without_the_dot(name, shape):
    """startswith('blocks'), no dot; passes the examples."""
    return name.startswith("blocks") and len(shape) == 2


def wrong_6_swapped(name, shape):
    """Answers the question 'does it go to AdamW?'."""
    return not (name.startswith("blocks.") and len(shape) == 2)


def correct_6_partition(name, shape):
    """Unusual but right: first part of the name up to the dot, shape unpacked."""
    try:
        _rows, _columns = shape
    except ValueError:
        return False
    return name.partition(".")[:2] == ("blocks", ".")


# --- 09.1, written beside the checker


def polar_by_eigenvectors(g):
    if g.shape[0] < g.shape[1]:
        return polar_by_eigenvectors(g.T).T
    values, vectors = torch.linalg.eigh((g.T @ g).double())
    return (g.double() @ vectors @ torch.diag(values.rsqrt()) @ vectors.T).to(g.dtype)


def polar_with_explicit_ones(g):
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    return u @ torch.diag(torch.ones_like(s)) @ vh


def polar_by_the_library(g):
    from blueberry_lib.optim.orthogonalize import polar_express

    return polar_express(g.double(), 15).to(g.dtype)


# --- 09.2


def step_in_double(x, a, b, c):
    x = x.double()
    gram = x @ x.T
    return a * x + (b * gram + c * gram @ gram) @ x


def step_with_svd(x, a, b, c):
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return u @ torch.diag(a * s + b * s**3 + c * s**5) @ vt


# --- 09.3


def _walk(x, steps, a=3.4445, b=-4.7750, c=2.0315):
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def orthogonalize_never_transposed(g, steps=5):
    return _walk(g / g.norm().clamp(min=1e-7), steps)


def orthogonalize_ten_by_default(g, steps=10):
    x = g / g.norm().clamp(min=1e-7)
    return _walk(x.T, steps).T if g.shape[0] > g.shape[1] else _walk(x, steps)


# --- 09.4


def nesterov_by_pieces(g, m, mu):
    toward = g - m
    new_m = m + toward * (1 - mu)
    return new_m + (g - new_m) * (1 - mu), new_m


def nesterov_returns_the_direction_alone(g, m, mu):
    new_m = mu * m + (1 - mu) * g
    return mu * new_m + (1 - mu) * g


# --- 09.5


def muon_by_hand(w, g, m, lr, mu, orthogonalize):
    kept = m + (g - m) * (1 - mu)
    ahead = orthogonalize(kept + (g - kept) * (1 - mu))
    if w.shape[0] > w.shape[1]:
        ahead = ahead * math.sqrt(w.shape[0] / w.shape[1])
    return w - ahead * lr, kept


def muon_orthogonalizes_twice(w, g, m, lr, mu, orthogonalize):
    new_m = mu * m + (1 - mu) * g
    direction = mu * new_m + (1 - mu) * g
    orthogonalize(g)
    return w - lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * orthogonalize(direction), new_m


# --- 09.6


def goes_by_pattern(name, shape):
    import re

    return bool(re.match(r"blocks\.", name)) and sum(1 for _ in shape) == 2


def goes_in_words(name, shape):
    return "muon" if name.startswith("blocks.") and len(shape) == 2 else "adamw"


PLANTED = {
    "09.1": Planted(
        correct=[correct_1_sum_of_outer_products, polar_by_eigenvectors, polar_with_explicit_ones],
        wrong=[
            Wrong(wrong_1_full_matrices, "full matrices", from_text=True),
            Wrong(wrong_1_v_transposed_again, "V transposed twice", from_text=True),
            Wrong(wrong_1_largest_value_only, "only the largest", from_text=True),
            Wrong(wrong_1_orthonormal_columns_of_qr, "Gram-Schmidt", from_text=True),
            Wrong(wrong_1_float32_inside, "dtype", from_text=True),
            Wrong(wrong_1_u_alone, "half of it", from_text=True),
            Wrong(polar_by_the_library, "library"),
        ],
    ),
    "09.2": Planted(
        correct=[correct_2_horner_from_the_right, correct_2_one_product_at_a_time],
        wrong=[
            Wrong(wrong_2_squared_entry_by_entry, "squared by entry", from_text=True),
            Wrong(wrong_2_star_for_product, "product by entry", from_text=True),
            Wrong(wrong_2_changes_x, "mutated", from_text=True),
            Wrong(wrong_2_gram_of_the_columns, "XᵀX on the left", from_text=True),
            Wrong(wrong_2_normalises_first, "normalised", from_text=True),
            Wrong(wrong_2_singular_values_by_entry, "polynomial by entry", from_text=True),
            Wrong(wrong_2_cubes_twice, "seventh power", from_text=True),
            Wrong(step_in_double, "dtype"),
            Wrong(step_with_svd, "library"),
        ],
        equivalent={"factors swapped: c * gram @ gram (line 4)": "a matrix commutes with itself"},
    ),
    "09.3": Planted(
        correct=[
            correct_3_products_on_the_short_side,
            correct_3_calls_itself,
            small_number_added,  # the text then asked for max(norm, 1e-7) to the letter; both are accepted now
        ],
        wrong=[
            Wrong(wrong_3_normalised_in_every_step, "normalised inside", from_text=True),
            Wrong(wrong_3_zeros_give_nan, "zeros", from_text=True),
            Wrong(wrong_3_transposed_the_wrong_way, "property:shorter side", from_text=True),
            Wrong(wrong_3_not_transposed_back, "not turned back", from_text=True),
            Wrong(wrong_3_bfloat16_copied, "bfloat16", from_text=True),
            Wrong(wrong_3_changes_g, "mutated", from_text=True),
            Wrong(wrong_3_spectral_norm, "spectral norm", from_text=True),
            Wrong(orthogonalize_never_transposed, "property:shorter side"),
            Wrong(orthogonalize_ten_by_default, "property:five steps"),
        ],
        equivalent={
            "another comparison: x.shape[0] > x.shape[1] (line 4)": "a square matrix may be transposed or not",
            "factors swapped: 2.0315 * gram @ gram (line 8)": "a matrix commutes with itself",
        },
    ),
    "09.4": Planted(
        correct=[correct_4_expanded, nesterov_by_pieces],
        wrong=[
            Wrong(wrong_4_changes_m, "mutated", from_text=True),
            Wrong(wrong_4_changes_g, "mutated", from_text=True),
            Wrong(wrong_4_no_step_ahead, "old momentum twice", from_text=True),
            Wrong(wrong_4_gradient_undamped, "undamped", from_text=True),
            Wrong(wrong_4_lerp_weight_swapped, "mu reversed", from_text=True),
            Wrong(wrong_4_pair_swapped, "relation:pair", from_text=True),
            Wrong(nesterov_returns_the_direction_alone, "type"),
        ],
    ),
    "09.5": Planted(
        correct=[correct_5_lerp_and_longer_side, muon_by_hand],
        wrong=[
            Wrong(wrong_5_momentum_orthogonalized, "momentum followed", from_text=True),
            Wrong(wrong_5_factor_below_one, "factor below 1", from_text=True),
            Wrong(wrong_5_whole_number_ratio, "whole ratio", from_text=True),
            Wrong(wrong_5_changes_w, "mutated", from_text=True),
            Wrong(wrong_5_own_svd, "own orthogonalization", from_text=True),
            Wrong(wrong_5_momentum_of_orthogonalized, "gradient orthogonalized", from_text=True),
            Wrong(wrong_5_factor_inside, "factor inside", from_text=True),
            Wrong(wrong_5_columns_by_rows, "ratio reversed", from_text=True),
            Wrong(muon_orthogonalizes_twice, "calls"),
        ],
    ),
    "09.6": Planted(
        correct=[correct_6_partition, goes_by_pattern],
        wrong=[
            Wrong(wrong_6_excluded_by_name, "exceptions", from_text=True),
            Wrong(wrong_6_two_or_more, "two or more", from_text=True),
            Wrong(wrong_6_anywhere_in_the_name, "anywhere", from_text=True),
            Wrong(wrong_6_square_only, "square only", from_text=True),
            Wrong(wrong_6_number_for_bool, "property:a bool", from_text=True),
            Wrong(wrong_6_by_the_ending, "by its ending", from_text=True),
            Wrong(wrong_6_without_the_dot, "without the dot", from_text=True),
            Wrong(wrong_6_swapped, "reversed", from_text=True),
            Wrong(goes_in_words, "type"),
        ],
    ),
    "09.7": Planted(
        correct=["C", " c) "],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("c and d", "type"),
        ],
    ),
}
