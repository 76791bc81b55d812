"""Casts, as a template writes them: NULL where a value cannot be cast. Pure."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.handlers import Translate, child
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import Scalar, Span, cast, combine
from cleanroom.templates.trees import integer

_TYPES = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT", "MEDIUMINT"), ColumnType.INTEGER),
    **dict.fromkeys(("FLOAT", "DOUBLE"), ColumnType.DOUBLE),
    **dict.fromkeys(("VARCHAR", "TEXT", "CHAR", "NVARCHAR", "NCHAR"), ColumnType.TEXT),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPNTZ", "DATETIME"), ColumnType.TIMESTAMP),
    "BOOLEAN": ColumnType.BOOLEAN,
    "DATE": ColumnType.DATE,
}


def cast_written(operand: Scalar, to: ColumnType) -> Scalar:
    """Return a cast that a template asks for; texts become booleans by the words that Snowflake knows."""
    if to is ColumnType.BOOLEAN and operand.type is ColumnType.TEXT:
        words = {"TRUE": "'true', 't', 'yes', 'y', 'on', '1'", "FALSE": "'false', 'f', 'no', 'n', 'off', '0'"}
        cases = " ".join(f"WHEN LOWER(:a) IN ({listed}) THEN {value}" for value, listed in words.items())
        return combine(f"CASE {cases} END", kind=to, nullable=True, a=cast(operand, ColumnType.TEXT))
    return cast(operand, to)


def cast_to_decimal(operand: Scalar, scale: object) -> Scalar:
    """Return NUMBER(p, s): INTEGER where the scale is 0, else a DOUBLE of that many digits.

    Args:
        operand: of any type.
        scale: the literal written, or None for 0; above 15 it is 15.
    """
    places = int(scale.this) if isinstance(scale, exp.Literal) and str(scale.this).isdigit() else 0
    if places == 0:
        return cast(operand, ColumnType.INTEGER)
    step = Fraction(10) ** -places
    rounded = cast(operand, ColumnType.DOUBLE)
    span = Span(
        lo=None if rounded.span.lo is None else floor(rounded.span.lo / step) * step,
        hi=None if rounded.span.hi is None else ceil(rounded.span.hi / step) * step,
    )
    digits = Scalar(sql=integer(min(places, 15)), type=ColumnType.INTEGER, nullable=False, constant=True)
    return combine("ROUND(:a, :n)", kind=ColumnType.DOUBLE, span=span, a=rounded, n=digits)


def cast_to(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x::type; a value that cannot be cast becomes NULL, whichever cast was written."""
    only(node, {"this", "to", "safe", "requires_string", "_type"})
    operand = translate(child(node))
    to = node.args["to"]
    name = to.this.name if isinstance(to, exp.DataType) and isinstance(to.this, exp.DataType.Type) else ""
    sizes = [p.this for p in to.expressions] if isinstance(to, exp.DataType) else []
    if name == "DECIMAL":
        return cast_to_decimal(operand, sizes[1] if len(sizes) > 1 else None)
    if name not in _TYPES or (sizes and _TYPES[name] is not ColumnType.TEXT):
        refuse(
            "a cast to this type is not supported",
            rule="unsupported_type",
            cure="cast to INTEGER, NUMBER(p, s), FLOAT, VARCHAR, BOOLEAN, DATE or TIMESTAMP_NTZ",
            at=node,
        )
    result = cast_written(operand, _TYPES[name])
    if not sizes:
        return result
    length = Scalar(sql=sizes[0].copy(), type=ColumnType.INTEGER, nullable=False, constant=True)
    if not (isinstance(sizes[0], exp.Literal) and str(sizes[0].this).isdigit() and int(sizes[0].this) < 2**31):
        refuse("a length must be a number", rule="bad_literal", cure="write VARCHAR without a length", at=node)
    return combine("LEFT(:a, :n)", kind=ColumnType.TEXT, a=result, n=length)
