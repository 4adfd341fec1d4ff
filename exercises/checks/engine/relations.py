"""What wrong results have to do with the right ones, whatever the exercise: true of every input that was tried."""

from collections.abc import Callable

import torch

from blueberry_checks.engine.values import difference, fresh

ORDINAL = ("first", "second", "third", "fourth", "fifth", "sixth")
FORMS = {
    "zero": ("It is 0 everywhere.", torch.zeros_like),
    "sign": ("The sign is wrong, everywhere.", lambda e: -e),
    "logarithm": ("That is the logarithm of the right result.", torch.log),
    "base 2": ("That is the logarithm to the base 2 of the right result.", torch.log2),
    "exponential": ("The right result is the logarithm of yours.", torch.exp),
    "reciprocal": ("It is upside down: 1 over the right result.", torch.reciprocal),
    "complement": ("That is 1 minus the right result.", lambda e: 1 - e),
    "square": ("That is the square of the right result.", torch.square),
    "root": ("That is the square root of the right result.", torch.sqrt),
    "absolute": ("The right values, but their signs are lost.", torch.abs),
    "whole": ("The right values without what comes after the point.", lambda e: (e + 1e-9).floor()),
    "rounded": ("The right values, rounded to whole numbers.", torch.round),
    "hundredths": ("The right values, rounded to hundredths.", lambda e: e.round(decimals=2)),
    "exchanged": ("The right values, but the last two dimensions are exchanged.", lambda e: e.transpose(-1, -2)),
    "reversed": ("The right values, the last dimension in reverse order.", lambda e: e.flip(-1)),
    "upside down": ("The right values, the first dimension in reverse order.", lambda e: e.flip(0)),
    "rows late": ("The right rows, each one place too late.", lambda e: e.roll(1, 0)),
    "rows early": ("The right rows, each one place too early.", lambda e: e.roll(-1, 0)),
    "late": ("The right values, one place too late in the last dimension.", lambda e: e.roll(1, -1)),
    "early": ("The right values, one place too early in the last dimension.", lambda e: e.roll(-1, -1)),
}


INSTEAD = {
    "{0} were 1 - {0}": lambda a: 1 - a,
    "{0} had the other sign": lambda a: -a,
    "{0} were 0": lambda a: 0 * a,
    "{0} were 1": lambda a: 0 * a + 1,
    "{0} were squared": lambda a: a * a,
    "{0} were 1 / {0}": lambda a: 1 / a,
    "{0} were the square root of {0}": lambda a: a**0.5,
    "{0} were twice as large": lambda a: 2 * a,
    "{0} were half as large": lambda a: a / 2,
    "{0} were 3 times as large": lambda a: 3 * a,
    "{0} were a third as large": lambda a: a / 3,
    "{0} were two thirds as large": lambda a: a * 2 / 3,
    "{0} were 6 times as large": lambda a: 6 * a,
    "{0} were a sixth as large": lambda a: a / 6,
    "every row of {0} were its first": lambda a: a[:1].expand_as(a),
    "every entry of {0} were their mean": lambda a: a.mean().expand_as(a),
    "{0} were in reverse order": lambda a: a.flip(0),
    "the rows and columns of {0} were exchanged": lambda a: a.mT.reshape(a.shape),
}


def relation(
    names: list[str], trials: list, tolerance: float | None, reference: Callable = lambda *a: None
) -> tuple[str, str]:
    """(name, sentence) of what holds for trials (arguments, expected, got) that all end in other values; or two ""."""
    arguments, expected, got = zip(*trials, strict=True)
    if isinstance(expected[0], tuple | list):
        return _of_parts(names, trials, tolerance, reference)
    try:
        e, g = ([torch.as_tensor(v).detach().double() for v in values] for values in (expected, got))
    except (TypeError, ValueError, RuntimeError):
        return "", ""
    if any(a.shape != b.shape for a, b in zip(e, g, strict=True)):
        return _of_shapes(e, g, tolerance)

    def same(values) -> bool:
        return all(not difference(a, b, tolerance or 1e-4) for a, b in zip(values, g, strict=True))

    for what, test in (("NaN", torch.isnan), ("infinite", torch.isinf)):
        if all(test(b).any() and not test(a).any() for a, b in zip(e, g, strict=True)):
            return what, f"It gives values that are {'not a number (NaN)' if what == 'NaN' else what}."
    for i, name in enumerate(names):
        given = [a[i] if isinstance(a[i], torch.Tensor) else None for a in arguments]
        if all(a is not None and a.shape == b.shape for a, b in zip(given, g, strict=True)) and same(
            [a.double() for a in given]
        ):
            return "input", f"It returns its input {name} as it is."
    varied = len(torch.cat([a.flatten() for a in e]).unique()) > 1
    for what, (sentence, form) in FORMS.items():
        try:
            if (varied or what in ("zero", "sign")) and same([form(a) for a in e]):
                return what, sentence
        except (RuntimeError, IndexError):
            continue
    if varied and e[0].any():
        at = e[0].abs().argmax()
        factor, offset = ((g[0].flatten() / e[0].flatten())[at], (g[0] - e[0]).flatten()[0])
        if same([a * factor for a in e]):
            return "factor", f"Every value is {factor.item():.4g} times the right one."
        if same([a + offset for a in e]):
            return "offset", f"Every value is {abs(offset.item()):.4g} too {'large' if offset > 0 else 'small'}."
    for name, values in _numbers(names, arguments):
        if len({*values}) > 1 and all(values):
            for what, form in (("times", lambda a, v: a * v), ("over", lambda a, v: a / v)):
                if same([form(a, v) for a, v in zip(e, values, strict=True)]):
                    return f"{what} {name}", f"It is the right result {what} {name}."
    return _of_arguments(names, trials, tolerance, reference) or _of_places(e, g, tolerance or 1e-4)


def _of_arguments(names, trials, tolerance, reference) -> tuple[str, str] | None:
    """The one argument that, read otherwise, would make the result right."""

    def explains(change) -> bool:
        try:
            return all(not difference(reference(*change(list(fresh(a)))), g, tolerance) for a, _, g in trials)
        except Exception:
            return False

    def read(i, form):
        def change(own):
            if not isinstance(own[i], int | float) and not isinstance(own[i], torch.Tensor):
                raise TypeError
            return [*own[:i], form(own[i]), *own[i + 1 :]]

        return change

    def exchange(i, j):
        return lambda own: [own[j] if k == i else own[i] if k == j else a for k, a in enumerate(own)]

    for j, name in enumerate(names):
        for i, other in enumerate(names[:j]):
            if explains(exchange(i, j)):
                return "exchanged arguments", f"That would be right if {other} and {name} were exchanged."
        for text, form in INSTEAD.items():
            if explains(read(j, form)):
                return text.format(name), f"That would be right if {text.format(name)}."
    return None


def _numbers(names, arguments):
    """Numbers that an answer may use once too often: arguments, sizes of dimensions."""
    for i, name in enumerate(names):
        column = [a[i] for a in arguments]
        if all(isinstance(a, int | float) for a in column):
            yield name, column
        elif all(isinstance(a, torch.Tensor) for a in column):
            for d in range(min(a.dim() for a in column)):
                yield f"the size of {name}'s dimension {d}", [a.shape[d] for a in column]
            yield f"the number of {name}'s entries", [a.numel() for a in column]


def _of_parts(names, trials, tolerance, reference) -> tuple[str, str]:
    count = len(trials[0][1])
    if any(len(e) != count for _, e, _ in trials) or count > len(ORDINAL):
        return "", ""
    if count == 2 and all(not difference(e[::-1], g, tolerance) for _, e, g in trials):
        return "pair", "The two results are the right ones in the wrong order."
    wrong = [i for i in range(count) if any(difference(e[i], g[i], tolerance) for _, e, g in trials)]
    if len(wrong) == count:
        first = [(a, e[0], g[0]) for a, e, g in trials]
        name, sentence = relation(names, first, tolerance, lambda *a: reference(*a)[0])
        return name, f"None of the {count} results is right. Of the first: {sentence}" if name else ""
    parts = [(a, e[wrong[0]], g[wrong[0]]) for a, e, g in trials if difference(e[wrong[0]], g[wrong[0]], tolerance)]
    name, sentence = relation(names, parts, tolerance, lambda *a: reference(*a)[wrong[0]])
    which = " and ".join(ORDINAL[i] for i in wrong)
    return name or "parts", f"Of the {count} results the {which} is not right. {sentence}".strip()


def _of_shapes(e, g, tolerance) -> tuple[str, str]:
    """What may have led to another shape."""
    pairs = list(zip(e, g, strict=True))
    if all(b.dim() > 1 and b.mT.shape == a.shape and not difference(a, b.mT, tolerance or 1e-4) for a, b in pairs):
        return "exchanged", "The values are right, but two dimensions are exchanged."
    if all(b.numel() == a.numel() and not difference(a, b.reshape(a.shape), tolerance or 1e-4) for a, b in pairs):
        return "reshaped", "The values are right, the shape is not."
    return "", ""


def _of_places(e, g, tolerance) -> tuple[str, str]:
    """Where along a dimension the values are right."""
    for d in range(min(a.dim() for a in e)):
        pairs = [(a.movedim(d, 0), b.movedim(d, 0)) for a, b in zip(e, g, strict=True)]
        right = [[not difference(a[i], b[i], tolerance) for i in range(len(a))] for a, b in pairs]
        where = f"of dimension {d}" if d else "of the rows"
        for what, pattern in (
            ("only the first", lambda n: [True] + [False] * (n - 1)),
            ("all but the first", lambda n: [False] + [True] * (n - 1)),
            ("all but the last", lambda n: [True] * (n - 1) + [False]),
        ):
            if max(map(len, right)) > 1 and all(row == pattern(len(row)) for row in right):
                return what, f"Right is {what} {where}."
    return "", ""


CONDITIONS = {
    "{} is 0": lambda a: isinstance(a, int | float) and a == 0,
    "{} is 1": lambda a: isinstance(a, int | float) and a == 1,
    "{} is negative": lambda a: isinstance(a, int | float) and a < 0,
    "{} is above 1": lambda a: isinstance(a, int | float) and a > 1,
    "{} is empty": lambda a: hasattr(a, "__len__") and getattr(a, "numel", a.__len__)() == 0,
    "{} has one entry alone": lambda a: hasattr(a, "__len__") and getattr(a, "numel", a.__len__)() == 1,
    "{} has one row alone": lambda a: isinstance(a, torch.Tensor) and a.dim() > 1 and len(a) == 1,
    "{} has more than two dimensions": lambda a: isinstance(a, torch.Tensor) and a.dim() > 2,
    "{} is float64": lambda a: isinstance(a, torch.Tensor) and a.dtype == torch.float64,
    "{} is not float32": lambda a: isinstance(a, torch.Tensor) and a.dtype != torch.float32,
    "{} has a 0": lambda a: isinstance(a, torch.Tensor) and a.numel() > 0 and bool((a == 0).any()),
    "{} has a 1": lambda a: isinstance(a, torch.Tensor) and a.numel() > 0 and bool((a == 1).any()),
    "{} has negative entries": lambda a: isinstance(a, torch.Tensor) and not a.is_complex() and bool((a < 0).any()),
}


def condition(names: list[str], inputs: list[tuple[tuple, bool]]) -> str:
    """Which inputs (arguments, wrong) are the wrong ones, in a sentence; "" if all are."""
    wrong = [fault for _, fault in inputs]
    if all(wrong):
        return ""
    for i, name in enumerate(names):
        for text, holds in CONDITIONS.items():
            if [bool(holds(a[i])) if i < len(a) else False for a, _ in inputs] == wrong:
                return f"Of {len(wrong)} inputs it is wrong on exactly those where {text.format(name)}."
    return f"It is right on {wrong.count(False)} of {len(wrong)} inputs."
