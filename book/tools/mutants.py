"""Mechanical mutants of a solution: one small change each, as a slip of the hand would make it."""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator

import torch

from blueberry_checks.engine.rules import Code

SWAPPED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
OTHER_DTYPE = {torch.float32: torch.float64, torch.float64: torch.float32, torch.int64: torch.int32}
HARMLESS = {"contiguous", "detach"}


def become(node: ast.AST, other: ast.AST) -> None:
    """Turn a node of a tree into another, in place."""
    node.__class__, node.__dict__ = other.__class__, other.__dict__


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """The small changes that a node allows."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in SWAPPED:
            yield "another operator", lambda n: setattr(n, "op", SWAPPED[type(n.op)]())
        if isinstance(node.op, ast.Mult | ast.Div | ast.Pow):
            yield "factor dropped", lambda n: become(n, n.left)
        if isinstance(node.op, ast.MatMult):
            yield "factors swapped", lambda n: n.__dict__.update(left=n.right, right=n.left)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        yield "another comparison", lambda n: n.ops.__setitem__(0, SWAPPED[type(n.ops[0])]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield "sign dropped", lambda n: become(n, n.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "flag flipped", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield "one more", lambda n: setattr(n, "value", n.value + 1)
        yield "one less", lambda n: setattr(n, "value", n.value - 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float) and abs(node.value) > 1e-3:
        yield "half as much again", lambda n: setattr(n, "value", n.value * 1.5)
    elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield "not transposed", lambda n: become(n, n.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr not in HARMLESS:
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "math", "F")):
            yield "call dropped", lambda n: become(n, n.func.value)
    elif isinstance(node, ast.AugAssign):
        yield "statement dropped", lambda n: become(n, ast.copy_location(ast.Pass(), n))


def wrapped(function: Callable, rules: Code) -> Iterator[tuple[str, Callable]]:
    """The solution in another dtype, and changing each of its tensors in place."""
    result = rules.reference(*rules.example)
    if isinstance(result, torch.Tensor) and result.dtype in OTHER_DTYPE:
        yield "another dtype", lambda *a: function(*a).to(OTHER_DTYPE[result.dtype])
    for i, (name, value) in enumerate(zip(inspect.signature(function).parameters, rules.example, strict=False)):
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not value.requires_grad:

            def in_place(*arguments, i=i):
                outcome = copy.deepcopy(function(*arguments))
                arguments[i].add_(1)
                return outcome

            yield f"{name} changed in place", in_place


def mutants(source: str, rules: Code) -> Iterator[tuple[str, Callable]]:
    """Each mutant of a solution: what was changed, and the function."""
    tree = ast.parse(source)
    (definition,) = tree.body
    del definition.body[0]  # the docstring

    def function(changed: ast.Module) -> Callable:
        import math

        space = {"torch": torch, "math": math, "F": torch.nn.functional, "__name__": "mutant"}
        exec(compile(ast.fix_missing_locations(changed), "<mutant>", "exec"), space)
        return space[definition.name]

    body = [node for statement in definition.body for node in ast.walk(statement)]
    places = [i for i, node in enumerate(ast.walk(tree)) if node in body]
    for i in places:
        original = list(ast.walk(tree))[i]
        for what, change in changes(original):
            changed = copy.deepcopy(tree)
            before = ast.unparse(original)
            change(list(ast.walk(changed))[i])
            yield f"{what}: {before} (line {original.lineno})", function(changed)
    yield from wrapped(function(tree), rules)
