"""`cleanroom.addnoise(val, epsilon, noiserand [, gaussian [, delta]])`: finds the call and checks its arguments. Pure.

`noiserand` is accepted and checked, and never used (B-45): noise comes from the operating system's randomness.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from sqlglot import exp

from cleanroom.templates.refusals import refuse

_NAMES = ("val", "epsilon", "noiserand", "gaussian", "delta")
_MOST_EPSILON = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class AddNoise:
    """One call.

    Attributes:
        value: what gets noise.
        epsilon: > 0, what it costs.
        gaussian: Gaussian instead of Laplace noise.
        delta: in (0, 1e-3]; for Gaussian noise only.
        call: the whole call.
    """

    value: exp.Expr
    epsilon: Fraction
    gaussian: bool
    delta: Fraction
    call: exp.Expr


def is_addnoise(node: exp.Expr) -> bool:
    """Return whether the node is a call of addnoise, in any case of letters (B-40)."""
    if isinstance(node, exp.Dot):
        schema, call = node.this, node.expression
        return isinstance(schema, exp.Identifier) and schema.name.lower() == "cleanroom" and _named_addnoise(call)
    return _named_addnoise(node)


def _named_addnoise(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and str(node.this).lower() == "addnoise"


def read_addnoise(node: exp.Expr) -> AddNoise:
    """Return the checked call (B-41).

    Raises:
        TemplateRefusedError: rule `addnoise_arguments`.
    """
    call = node.expression if isinstance(node, exp.Dot) else node
    given: dict[str, exp.Expr] = {}
    for position, argument in enumerate(call.expressions):
        name, value = (_NAMES[position] if position < len(_NAMES) else "more than five"), argument
        if isinstance(argument, exp.Kwarg | exp.PropertyEQ):
            name, value = argument.this.name.lower(), argument.expression
        elif any(isinstance(a, exp.Kwarg) for a in call.expressions[:position]):
            _refuse("positional arguments come before named ones", node)
        if name not in _NAMES or name in given:
            _refuse(f"addnoise has no second {name}" if name in given else f"addnoise has no argument {name}", node)
        given[name] = value
    if not {"val", "epsilon", "noiserand"} <= given.keys():
        _refuse("addnoise needs val, epsilon and noiserand", node)
    epsilon = _number(given["epsilon"])
    if epsilon is None or not 0 < epsilon <= _MOST_EPSILON:
        _refuse("the epsilon of addnoise must be a number written out, above 0", node)
    _check_noiserand(given["noiserand"], node)
    gaussian = given.get("gaussian", exp.false()).unnest()
    if not isinstance(gaussian, exp.Boolean):
        _refuse("gaussian must be TRUE or FALSE", node)
    delta = _number(given["delta"]) if "delta" in given else Fraction(1, 1_000_000)
    if delta is None or not 0 < delta <= Fraction(1, 1000):
        _refuse("the delta of addnoise must be a number written out, above 0 and at most 0.001", node)
    return AddNoise(value=given["val"], epsilon=epsilon, gaussian=bool(gaussian.this), delta=delta, call=node)


def _refuse(sentence: str, at: exp.Expr) -> NoReturn:
    refuse(
        sentence,
        rule="addnoise_arguments",
        cure="cleanroom.addnoise(val, epsilon, noiserand [, gaussian [, delta]])",
        at=at,
    )


def _number(node: exp.Expr) -> Fraction | None:
    """Return the number that is written out, possibly with a cast or in brackets."""
    node = node.unnest()
    if isinstance(node, exp.Cast | exp.TryCast):
        return _number(node.this)
    if isinstance(node, exp.Neg):
        inner = _number(node.this)
        return None if inner is None else -inner
    if not isinstance(node, exp.Literal) or len(str(node.this)) > 40:
        return None
    try:
        number = float(str(node.this))
        return Fraction(str(node.this)) if 1e-30 < abs(number) < 1e30 or number == 0 else None
    except ValueError:
        return None


def _check_noiserand(node: exp.Expr, call: exp.Expr) -> None:
    """Accept a number in [0, 1], or UNIFORM over it with RANDOM as generator; only the form is looked at."""
    inner = node.unnest()
    number = _number(inner)
    if number is not None:
        if not 0 <= number <= 1:
            _refuse("noiserand must lie in [0, 1]", call)
        return
    if isinstance(inner, exp.Uniform):
        low, high = _number(inner.this), _number(inner.expression)
        generator = inner.args.get("gen")
        if low == 0 and high == 1 and (generator is None or isinstance(generator.unnest(), exp.Rand)):
            return
        _refuse("noiserand must be UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())", call)
    if isinstance(inner, exp.Rand):
        return
    _refuse("noiserand must be a number in [0, 1], or UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())", call)
