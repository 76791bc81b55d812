"""Allowed functions that choose among their arguments or compare them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.function_rules import Allowed
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.operators import branches
from cleanroom.templates.public_values import distinct_values, with_null
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import Scalar, Span, build, combine, unified
from cleanroom.templates.trees import fragment


def _arguments(node: exp.Expr) -> list[exp.Expr]:
    return [child(node), *node.expressions]


def coalesce(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the first that is not NULL."""
    only(node, {"this", "expressions", "is_nvl"})
    given = [translate(a) for a in _arguments(node)]
    to, parts = unified(given, at=node)
    names = {f"a{i}": part for i, part in enumerate(parts)}
    text = f"COALESCE({', '.join(f':{n}' for n in names)})"
    span = spans.either([p.span for p in parts if p.type is not None]) if to is not None else Span()
    nullable = all(p.nullable for p in parts)
    result = build(lambda trees: fragment(text, **trees), names, kind=to, span=span, nullable=nullable)
    if result.constant or any(g.values is None or g.type not in (to, None) for g in given):
        return result
    values = distinct_values((v for g in given for v in g.values or () if not isinstance(v, exp.Null)), to)
    return replace(result, values=with_null(values) if nullable else values, declared=True)


def _extreme(word: str, span: Callable[[list[Span]], Span]) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expressions", "ignore_nulls"})
        to, parts = unified([translate(a) for a in _arguments(node)], at=node)
        names = {f"a{i}": part for i, part in enumerate(parts)}
        text = f"{word}({', '.join(f':{n}' for n in names)})"  # the engine skips NULLs
        typed = [p.span for p in parts if p.type is not None]
        if node.args.get("ignore_nulls"):
            known = spans.either(typed) if typed else Span()
            return build(
                lambda trees: fragment(text, **trees),
                names,
                kind=to,
                span=known,
                nullable=all(p.nullable for p in parts),
            )
        any_null = " OR ".join(f":{n} IS NULL" for n, part in names.items() if part.nullable)
        known = span(typed) if typed else Span()
        if not any_null:
            return build(lambda trees: fragment(text, **trees), names, kind=to, span=known)
        guarded = f"CASE WHEN {any_null} THEN NULL ELSE {text} END"
        return build(lambda trees: fragment(guarded, **trees), names, kind=to, span=known, copies=2)

    return handler


def nullif(node: exp.Expr, translate: Translate) -> Scalar:
    """Return NULL where both are equal, else the first."""
    only(node, {"this", "expression"})
    to, (a, b) = unified([translate(child(node)), translate(child(node, "expression"))], at=node)
    return combine("NULLIF(:a, :b)", kind=to, span=a.span, nullable=True, a=a, b=b)


def nvl2(node: exp.Expr, translate: Translate) -> Scalar:
    """Return NVL2(x, a, b): a where x is not NULL, else b."""
    only(node, {"this", "true", "false"})
    given = combine(":a IS NOT NULL", kind=ColumnType.BOOLEAN, nullable=False, a=translate(child(node)))
    return branches([given], [translate(child(node, "true"))], translate(child(node, "false")), at=node)


def decode(node: exp.Expr, translate: Translate) -> Scalar:
    """Return DECODE(x, value, result, … [, default]); a NULL equals a NULL."""
    only(node, {"expressions"})
    parts = [translate(e) for e in node.expressions]
    if len(parts) < 3:
        refuse(
            "DECODE takes an expression and pairs of value and result",
            rule="function_form",
            cure="DECODE(x, 1, 'one', 'other')",
            at=node,
        )
    x, *rest = parts
    default = rest.pop() if len(rest) % 2 else None
    conditions = [_same(x, value, at=node) for value in rest[::2]]
    return branches(conditions, rest[1::2], default, at=node)


def _same(a: Scalar, b: Scalar, *, at: exp.Expr) -> Scalar:
    _, (left, right) = unified([a, b], at=at)
    return combine(":a IS NOT DISTINCT FROM :b", kind=ColumnType.BOOLEAN, nullable=False, a=left, b=right)


def _distinct(text: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"})
        _, (a, b) = unified([translate(child(node)), translate(child(node, "expression"))], at=node)
        return combine(text, kind=ColumnType.BOOLEAN, nullable=False, a=a, b=b)

    return handler


_CHOICE = "chooses among its arguments, all brought to one type before"
_COMPARED = "compares values of one type"

CHOICE_FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.Coalesce: Allowed(
        handler=coalesce,
        examples=("COALESCE(x, y)", "NVL(x, y)", "IFNULL(x, y)"),
        types="one type → the same",
        reason=_CHOICE,
    ),
    exp.Nullif: Allowed(handler=nullif, examples=("NULLIF(x, y)",), types="one type → the same", reason=_COMPARED),
    exp.Nvl2: Allowed(handler=nvl2, examples=("NVL2(a, x, y)",), types="any, one type → that type", reason=_CHOICE),
    exp.DecodeCase: Allowed(
        handler=decode,
        examples=("DECODE(x, 1, a, 2, b, 'c')",),
        types="one type, one type → the latter",
        reason=_CHOICE,
    ),
    exp.Least: Allowed(
        handler=_extreme("LEAST", spans.least),
        examples=("LEAST(x, y)", "LEAST_IGNORE_NULLS(x, y)"),
        types="one type → the same",
        reason=_COMPARED,
    ),
    exp.Greatest: Allowed(
        handler=_extreme("GREATEST", spans.greatest),
        examples=("GREATEST(x, y)", "GREATEST_IGNORE_NULLS(x, y)"),
        types="one type → the same",
        reason=_COMPARED,
    ),
    exp.NullSafeEQ: Allowed(
        handler=_distinct(":a IS NOT DISTINCT FROM :b"),
        examples=("x IS NOT DISTINCT FROM y",),
        types="one type → boolean",
        reason=_COMPARED,
    ),
    exp.EqualNull: Allowed(
        handler=_distinct(":a IS NOT DISTINCT FROM :b"),
        examples=("EQUAL_NULL(x, y)",),
        types="one type → boolean",
        reason=_COMPARED,
    ),
    exp.NullSafeNEQ: Allowed(
        handler=_distinct(":a IS DISTINCT FROM :b"),
        examples=("x IS DISTINCT FROM y",),
        types="one type → boolean",
        reason=_COMPARED,
    ),
}
"""Parser's class -> what is allowed."""
