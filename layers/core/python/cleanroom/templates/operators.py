"""Operators, literals, CASE and casts: from the parser's tree to DuckDB trees that cannot fail on a row. Pure.

Every handler builds new trees; no node of the caller's tree gets into the output. A node class without a handler
(here or in `functions.py`) is refused by `expressions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.calendar_units import unit_named
from cleanroom.templates.casts import cast_to
from cleanroom.templates.handlers import BOOLEAN, Handler, Translate, child
from cleanroom.templates.moments import difference, shifted, whole_values
from cleanroom.templates.public_values import distinct_values
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import NUMERIC, TEMPORAL, Scalar, Span, build, cast, combine, require, unified
from cleanroom.templates.trees import bracketed, double, integer

_LARGEST = 2**63 - 1


def literal(node: exp.Expr, _: Translate) -> Scalar:
    """Return a text or a number as written; numbers with a point or an exponent are DOUBLE."""
    text = str(node.this)
    if node.args.get("is_string"):
        value = exp.Literal.string(text)
        return Scalar(sql=value, type=ColumnType.TEXT, nullable=False, values=(value,), constant=True, literal=text)
    if text.isdigit() and int(text) <= _LARGEST:
        tree = integer(int(text))
        span = Span(lo=Fraction(int(text)), hi=Fraction(int(text)))
        return Scalar(
            sql=tree,
            type=ColumnType.INTEGER,
            nullable=False,
            span=span,
            values=(tree,),
            constant=True,
            literal=int(text),
        )
    try:
        number = float(text)
        exact = Fraction(text)
    except (ValueError, OverflowError):
        number, exact = float("inf"), Fraction(0)
    if not number < float("inf"):
        refuse("a number is out of range", rule="bad_literal", cure="use a number below 1e308", at=node)
    return Scalar(
        sql=double(number),
        type=ColumnType.DOUBLE,
        nullable=False,
        span=Span(lo=exact, hi=exact),
        constant=True,
        literal=exact,
    )


def null(_: exp.Expr, __: Translate) -> Scalar:
    """Return NULL, of no type yet."""
    return Scalar(sql=exp.null(), type=None, values=(exp.null(),), constant=True)


def boolean(node: exp.Expr, _: Translate) -> Scalar:
    """Return TRUE or FALSE."""
    tree = exp.true() if node.this else exp.false()
    return Scalar(
        sql=tree, type=ColumnType.BOOLEAN, nullable=False, values=(tree,), constant=True, literal=bool(node.this)
    )


def paren(node: exp.Expr, translate: Translate) -> Scalar:
    """Return what is in the brackets; output trees get their own."""
    return translate(child(node))


def _numbers(node: exp.Expr, translate: Translate, what: str) -> tuple[Scalar, Scalar]:
    left = require(translate(child(node)), NUMERIC, what=what, at=node)
    right = require(translate(child(node, "expression")), NUMERIC, what=what, at=node)
    return left, right


def negated(operand: Scalar) -> Scalar:
    """Return -x of an INTEGER; NULL for the one that has none."""
    return combine(
        "TRY(-CAST(:a AS BIGINT))",
        kind=ColumnType.INTEGER,
        span=spans.negative(operand.span),
        nullable=True,
        a=operand,
    )


def _interval(node: exp.Expr) -> tuple[Scalar, str]:
    """Return the number and the unit of INTERVAL '3 day'."""
    only(node, {"this", "unit"})
    count, unit = node.args.get("this"), node.args.get("unit")
    named = unit_named(unit.name) if isinstance(unit, exp.Var) else None
    text = str(count.this).strip() if isinstance(count, exp.Literal) else ""
    if named is None or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 10:
        refuse(
            "an interval must be one number of one unit",
            rule="function_form",
            cure="write INTERVAL '3 day', or DATEADD",
            at=node,
        )
    number = Fraction(int(text))
    return Scalar(
        sql=integer(int(text)),
        type=ColumnType.INTEGER,
        nullable=False,
        constant=True,
        span=Span(lo=number, hi=number),
        literal=int(text),
    ), named


def _with_moments(sign: str, node: exp.Expr, left: Scalar | None, right: Scalar | None) -> Scalar | None:
    """Return date + n, date - n, date - date, or a moment with an interval; None where no moment is in it.

    Args:
        sign: + or -.
        node: the operation.
        left, right: its operands; None for an interval.
    """
    moment, count = (right, left) if sign == "+" and (left is None or left.type not in TEMPORAL) else (left, right)
    if moment is None or moment.type not in TEMPORAL:
        if left is None or right is None:
            refuse(
                "an interval is added to a date or timestamp, or taken from one",
                rule="type_mismatch",
                cure="write d + INTERVAL '3 day'",
                at=node,
            )
        return None
    unit = "DAY"
    if count is None:
        part = child(node, "expression" if count is right else "this")
        count, unit = _interval(part.unnest())
    elif moment.type is ColumnType.DATE and count.type is ColumnType.DATE and sign == "-":
        return difference(count, moment, "DAY")
    elif moment.type is ColumnType.TIMESTAMP or count.type not in (ColumnType.INTEGER, None):
        refuse(
            f"the operator {sign} takes a date and a whole number of days, or two dates",
            rule="type_mismatch",
            cure="use DATEADD or DATEDIFF",
            at=node,
        )
    return shifted(moment, negated(count) if sign == "-" else count, unit)


def _arithmetic(sign: str, span: Callable[[Span, Span], Span]) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        operands = [child(node), child(node, "expression")]
        found = [None if isinstance(o.unnest(), exp.Interval) and sign != "*" else translate(o) for o in operands]
        moved = _with_moments(sign, node, *found) if sign != "*" else None
        if moved is not None:
            return moved
        left, right = (require(f, NUMERIC, what=f"the operator {sign}", at=node) for f in found if f is not None)
        if left.type is right.type is ColumnType.INTEGER:  # exact, and NULL past 64 bits
            text = f"TRY(CAST(:a AS BIGINT) {sign} CAST(:b AS BIGINT))"
            if left.whole or right.whole:  # 128 bits hold the sum and the product of any two
                wide = [f"CAST(CAST(:{name} AS BIGINT) AS HUGEINT)" for name in "ab"]
                text = f"TRY_CAST({wide[0]} {sign} {wide[1]} AS BIGINT)"
            return combine(
                text, kind=ColumnType.INTEGER, span=span(left.span, right.span), nullable=True, a=left, b=right
            )
        a, b = cast(left, ColumnType.DOUBLE), cast(right, ColumnType.DOUBLE)
        return combine(f":a {sign} :b", kind=ColumnType.DOUBLE, span=span(left.span, right.span), a=a, b=b)

    return handler


def divide(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x / y as DOUBLE; NULL where y is 0."""
    left, right = _numbers(node, translate, "division")
    a, b = cast(left, ColumnType.DOUBLE), cast(right, ColumnType.DOUBLE)
    return combine(
        ":a / NULLIF(:b, 0e0)", kind=ColumnType.DOUBLE, span=spans.over(left.span, right.span), nullable=True, a=a, b=b
    )


def modulo(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the remainder, with the dividend's sign; NULL where the divisor is 0."""
    left, right = _numbers(node, translate, "MOD")
    if left.type is right.type is ColumnType.INTEGER:
        text = "TRY(CAST(:a AS BIGINT) % NULLIF(CAST(:b AS BIGINT), 0))"
        span = Span()
        if isinstance(right.literal, int) and right.literal:
            width = Fraction(abs(right.literal) - 1)
            never_negative = left.span.lo is not None and left.span.lo >= 0
            span = Span(lo=Fraction(0) if never_negative else -width, hi=width)
        return whole_values(combine(text, kind=ColumnType.INTEGER, nullable=True, span=span, a=left, b=right))
    a, b = cast(left, ColumnType.DOUBLE), cast(right, ColumnType.DOUBLE)
    return combine("TRY(:a % NULLIF(:b, 0e0))", kind=ColumnType.DOUBLE, nullable=True, a=a, b=b)


def negate(node: exp.Expr, translate: Translate) -> Scalar:
    """Return -x; a literal stays a literal."""
    operand = require(translate(child(node)), NUMERIC, what="the operator -", at=node)
    span = spans.negative(operand.span)
    if operand.type is ColumnType.INTEGER:
        text, nullable = ("-:a", False) if operand.literal is not None else ("TRY(-CAST(:a AS BIGINT))", True)
        result = combine(text, kind=ColumnType.INTEGER, span=span, nullable=nullable, a=operand)
    else:
        result = combine("-:a", kind=ColumnType.DOUBLE, span=span, a=cast(operand, ColumnType.DOUBLE))
    if isinstance(operand.literal, int | Fraction) and not isinstance(operand.literal, bool):
        return replace(result, literal=-operand.literal, values=(result.sql,))
    return result


def _comparison(sign: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        _, (a, b) = unified([translate(child(node)), translate(child(node, "expression"))], at=node)
        return combine(f":a {sign} :b", kind=ColumnType.BOOLEAN, a=a, b=b)

    return handler


def _logic(word: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        a = require(translate(child(node)), BOOLEAN, what=word, at=node)
        b = require(translate(child(node, "expression")), BOOLEAN, what=word, at=node)
        return combine(f":a {word} :b", kind=ColumnType.BOOLEAN, a=a, b=b)

    return handler


def negation(node: exp.Expr, translate: Translate) -> Scalar:
    """Return NOT x."""
    a = require(translate(child(node)), BOOLEAN, what="NOT", at=node)
    return combine("NOT :a", kind=ColumnType.BOOLEAN, a=a)


def is_test(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x IS NULL, or x IS TRUE / FALSE."""
    right = child(node, "expression")
    operand = translate(child(node))
    if isinstance(right, exp.Null):
        return combine(":a IS NULL", kind=ColumnType.BOOLEAN, nullable=False, a=operand)
    if isinstance(right, exp.Boolean):
        a = require(operand, BOOLEAN, what="IS TRUE", at=node)
        return combine(f":a IS {'TRUE' if right.this else 'FALSE'}", kind=ColumnType.BOOLEAN, nullable=False, a=a)
    refuse("IS needs NULL, TRUE or FALSE", rule="unsupported_clause", cure="compare with =", at=node)


def between(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x BETWEEN low AND high, both ends in."""
    only(node, {"this", "low", "high"})
    operands = [translate(child(node)), translate(child(node, "low")), translate(child(node, "high"))]
    _, (a, lo, hi) = unified(operands, at=node)
    return combine(":a BETWEEN :lo AND :hi", kind=ColumnType.BOOLEAN, a=a, lo=lo, hi=hi)


def in_list(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x IN (literals)."""
    if node.args.get("query") is not None:
        refuse(
            "IN with a subquery cannot stand here",
            rule="subquery_expression",
            cure="write it in WHERE, HAVING or the SELECT list; in ON, join the subquery in FROM instead",
            at=node,
        )
    only(node, {"this", "expressions"})
    if len(node.expressions) == 1 and isinstance(node.expressions[0].unnest(), exp.Tuple):
        refuse(
            "IN has a list within a list; inclause brings its own parentheses",
            rule="unsupported_clause",
            cure="write IN {{ x | inclause }}, without parentheses around it",
            at=node,
        )
    items = [translate(e) for e in node.expressions]
    if not items or not all(i.constant for i in items):
        refuse("IN needs a list of literals", rule="unsupported_clause", cure="list the values", at=node)
    _, (a, *rest) = unified([translate(child(node)), *items], at=node)
    parts = {"a": a, **{f"v{i}": item for i, item in enumerate(rest)}}

    def make(trees: dict[str, exp.Expr]) -> exp.Expr:
        return exp.In(this=bracketed(trees["a"]), expressions=[trees[f"v{i}"].copy() for i in range(len(rest))])

    return build(make, parts, kind=ColumnType.BOOLEAN)


def branches(conditions: list[Scalar], results: list[Scalar], default: Scalar | None, *, at: exp.Expr) -> Scalar:
    """Return the CASE of conditions and results: with type, range and, if each result has one value, these."""
    everything = [*results, *([default] if default else [])]
    to, typed = unified(everything, at=at)
    parts: dict[str, Scalar] = {}
    for i, condition in enumerate(conditions):
        parts[f"c{i}"] = require(condition, BOOLEAN, what="WHEN", at=at)
        parts[f"r{i}"] = typed[i]
    if default:
        parts["d"] = typed[-1]

    def make(trees: dict[str, exp.Expr]) -> exp.Expr:
        case = exp.Case(
            ifs=[exp.If(this=bracketed(trees[f"c{i}"]), true=bracketed(trees[f"r{i}"])) for i in range(len(conditions))]
        )
        if default:
            case.set("default", bracketed(trees["d"]))
        return case

    nullable = default is None or any(t.nullable for t in typed)
    span = spans.either([t.span for t in typed if t.type is not None]) if any(t.type for t in typed) else Span()
    result = build(make, parts, kind=to, span=span, nullable=nullable)
    if result.constant or any(e.values is None or len(e.values) != 1 or e.type not in (to, None) for e in everything):
        return result
    literals = [tree for e in everything for tree in e.values or ()] + ([exp.null()] if default is None else [])
    held = any(e.declared or not e.constant for e in everything)  # a column of one declared value may hold others
    return replace(result, values=distinct_values(literals, to), declared=held)


def case(node: exp.Expr, translate: Translate) -> Scalar:
    """Return CASE, searched or simple."""
    only(node, {"this", "ifs", "default"})
    subject = translate(child(node)) if node.this else None
    conditions, results = [], []
    for branch in node.args["ifs"]:
        condition = translate(child(branch))
        if subject is not None:
            _, (a, b) = unified([subject, condition], at=node)
            condition = combine(":a = :b", kind=ColumnType.BOOLEAN, a=a, b=b)
        conditions.append(condition)
        results.append(translate(child(branch, "true")))
    default = translate(child(node, "default")) if node.args.get("default") else None
    return branches(conditions, results, default, at=node)


def if_else(node: exp.Expr, translate: Translate) -> Scalar:
    """Return IFF(condition, a, b)."""
    default = translate(child(node, "false")) if node.args.get("false") else None
    return branches([translate(child(node))], [translate(child(node, "true"))], default, at=node)


OPERATORS: Mapping[type[exp.Expr], Handler] = {
    exp.Literal: literal,
    exp.Null: null,
    exp.Boolean: boolean,
    exp.Paren: paren,
    exp.Add: _arithmetic("+", spans.plus),
    exp.Sub: _arithmetic("-", spans.minus),
    exp.Mul: _arithmetic("*", spans.times),
    exp.Div: divide,
    exp.Mod: modulo,
    exp.Neg: negate,
    exp.EQ: _comparison("="),
    exp.NEQ: _comparison("<>"),
    exp.LT: _comparison("<"),
    exp.LTE: _comparison("<="),
    exp.GT: _comparison(">"),
    exp.GTE: _comparison(">="),
    exp.And: _logic("AND"),
    exp.Or: _logic("OR"),
    exp.Not: negation,
    exp.Is: is_test,
    exp.Between: between,
    exp.In: in_list,
    exp.Case: case,
    exp.If: if_else,
    exp.Cast: cast_to,
    exp.TryCast: cast_to,
}
"""What each operator becomes. All are total: NULL instead of an error."""
