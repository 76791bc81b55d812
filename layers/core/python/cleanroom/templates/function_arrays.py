"""Allowed functions of arrays: of columns that hold them, of those written out, and of texts that are split. Pure.

An array is its first 1,000 elements, as FLATTEN in FROM takes them (`flattening.py`). It has no value of its own: it is
no key, is not compared and does not leave; what these functions give is a simple value, but for SPLIT and arrays
written out. There is nothing here that makes an array of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.function_rules import LONGEST_TEXT, Allowed, constant, literal_text, refuse_form, text, whole
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.public_values import with_null
from cleanroom.templates.refusals import only, refuse, spelled
from cleanroom.templates.scalars import (
    MOST_ELEMENTS,
    NUMERIC,
    Scalar,
    Span,
    build,
    cast,
    combine,
    native_name,
    unified,
)
from cleanroom.templates.trees import fragment

_LONGEST_SEPARATOR = 16
_WRITTEN_AS_TEXT = frozenset({ColumnType.TEXT, ColumnType.INTEGER, ColumnType.BOOLEAN})
_RANKED = frozenset({ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DOUBLE, ColumnType.DATE, ColumnType.TIMESTAMP})


def array(node: exp.Expr, translate: Translate, *, name: str = "this") -> Scalar:
    """Return an operand that must be an array.

    Raises:
        TemplateRefusedError: rule `type_mismatch`.
    """
    found = translate(child(node, name))
    if found.type is not ColumnType.ARRAY or found.element is None:
        kind = "NULL" if found.type is None else found.type.value
        refuse(
            f"{spelled(node)} needs an array, not {kind}",
            rule="type_mismatch",
            cure="name a column that holds arrays, write [a, b], or SPLIT(text, ',')",
            at=node,
        )
    return found


def written(node: exp.Expr, translate: Translate) -> Scalar:
    """Return [a, b, …], also ARRAY_CONSTRUCT(a, b, …); all elements in one type."""
    only(node, {"expressions", "value_constructor", "bracket_notation"})
    parts = [translate(part) for part in node.expressions]
    kind, elements = unified(parts, at=node)
    if kind is None or len(parts) > MOST_ELEMENTS:
        refuse_form(
            f"an array of nothing, of NULL alone, or of more than {MOST_ELEMENTS} elements",
            cure="write its elements, or link a table",
            at=node,
        )
    names = {f"a{i}": e for i, e in enumerate(elements)}
    listed = ", ".join(f"CAST(:{n} AS {native_name(kind)})" for n in names)
    made = build(lambda trees: fragment(f"LIST_VALUE({listed})", **trees), names, kind=ColumnType.ARRAY, nullable=False)
    span = spans.either([e.span for e in elements if e.type is not None])
    return replace(made, element=kind, span=span)


def split(node: exp.Expr, translate: Translate) -> Scalar:
    """Return SPLIT(text, separator): the parts of the first 4,096 characters."""
    only(node, {"this", "expression", "null_returns_null", "empty_delimiter_returns_whole"})
    separator = literal_text(node.args.get("expression"), translate, what="the separator of SPLIT")
    if not separator:
        refuse_form("SPLIT with an empty separator", cure="use SUBSTR", at=node)
    sql = f"LIST_SLICE(STRING_SPLIT(LEFT(:a, {LONGEST_TEXT}), :s), 1, {MOST_ELEMENTS})"
    made = combine(sql, kind=ColumnType.ARRAY, a=text(node, translate, what="SPLIT"), s=constant(separator))
    return replace(made, element=ColumnType.TEXT)


def size(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ARRAY_SIZE(array)."""
    only(node, {"this"})
    span = Span(lo=Fraction(0), hi=Fraction(MOST_ELEMENTS))
    return combine("LEN(:a)", kind=ColumnType.INTEGER, span=span, a=array(node, translate))


def _alike(of: Scalar, value: Scalar, *, at: exp.Expr) -> tuple[Scalar, Scalar]:
    """Return an array and a value in one type, in which they can be compared."""
    if value.type is None:
        return of, value
    if value.type is of.element:
        return of, cast(value, value.type)
    if value.type in NUMERIC and of.element in NUMERIC:
        doubles = combine("CAST(:a AS DOUBLE[])", kind=ColumnType.ARRAY, span=of.span, a=of)
        return replace(doubles, element=ColumnType.DOUBLE), cast(value, ColumnType.DOUBLE)
    wanted = "nothing" if of.element is None else of.element.value
    refuse(
        f"{value.type.value} is compared with elements that are {wanted}",
        rule="type_mismatch",
        cure="cast the value to the elements' type",
        at=at,
    )


def _sought(node: exp.Expr, translate: Translate) -> tuple[Scalar, Scalar]:
    """Return the array and the value that is looked for in it; that it is cast to VARIANT says nothing."""
    only(node, {"this", "expression", "ensure_variant", "check_null", "zero_based"})
    value = child(node, "expression")
    if isinstance(value, exp.Cast) and value.to.this is exp.DType.VARIANT:
        value = value.this
    found = translate(value)
    if found.type is ColumnType.ARRAY:
        refuse(
            "an array is looked for in an array",
            rule="array_value",
            cure="write the value first: ARRAY_CONTAINS(value, array); for two arrays use ARRAYS_OVERLAP",
            at=node,
        )
    return _alike(array(node, translate), found, at=node)


def contains(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ARRAY_CONTAINS(value, array): NULL where either is."""
    of, value = _sought(node, translate)
    return combine("LIST_CONTAINS(:a, :v)", kind=ColumnType.BOOLEAN, nullable=True, a=of, v=value)


def position(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ARRAY_POSITION(value, array): from 0; NULL where it is not in it."""
    of, value = _sought(node, translate)
    span = Span(lo=Fraction(0), hi=Fraction(MOST_ELEMENTS - 1))
    sql = "CAST(NULLIF(LIST_POSITION(:a, :v), 0) AS BIGINT) - 1"
    return combine(sql, kind=ColumnType.INTEGER, span=span, nullable=True, a=of, v=value)


def overlap(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ARRAYS_OVERLAP(a, b): whether they have an element in common; NULL is one."""
    only(node, {"this", "expression", "null_safe"})
    a, b = array(node, translate), array(node, translate, name="expression")
    if a.element is not b.element:
        refuse(
            "ARRAYS_OVERLAP needs elements of one type",
            rule="type_mismatch",
            cure="cast the elements that are written out",
            at=node,
        )
    nulls = " AND ".join(f"LEN(:{n}) > LIST_COUNT(:{n})" for n in "ab")
    return combine(f"LIST_HAS_ANY(:a, :b) OR ({nulls})", kind=ColumnType.BOOLEAN, nullable=True, a=a, b=b)


def element(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x[i], also GET(x, i): the element at a place from 0 on; NULL where there is none."""
    at: exp.Expr | None = None
    if isinstance(node, exp.Bracket):
        only(node, {"this", "expressions", "offset", "safe", "returns_list_for_maps"})
        at = node.expressions[0] if len(node.expressions) == 1 else None
    else:
        only(node, {"this", "expression"})
        at = child(node, "expression")
    of = array(node, translate)
    if at is None or isinstance(at, exp.Slice):
        refuse_form("several places of an array", cure="write one place: x[0]", at=node)
    place = whole(exp.Paren(this=at.copy()), translate, what="the place in an array")
    sql = f"CASE WHEN :i BETWEEN 0 AND {MOST_ELEMENTS - 1} THEN LIST_EXTRACT(:a, :i + 1) END"
    found = combine(sql, kind=of.element, span=of.span, nullable=True, a=of, i=place)
    return replace(found, values=with_null(of.values), declared=of.values is not None)


def joined(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ARRAY_TO_STRING(array, separator), its first 4,096 characters; a NULL in it is an empty text."""
    only(node, {"this", "expression", "null_is_empty", "null_delim_is_null"})
    of = array(node, translate)
    separator = literal_text(node.args.get("expression"), translate, what="the separator of ARRAY_TO_STRING")
    if len(separator) > _LONGEST_SEPARATOR or of.element not in _WRITTEN_AS_TEXT:
        refuse_form(
            "ARRAY_TO_STRING of elements that are no texts, whole numbers or booleans, or with a separator of more "
            f"than {_LONGEST_SEPARATOR} characters",
            cure="take single elements, and TO_CHAR of them",
            at=node,
        )
    each = f"LIST_TRANSFORM(:a, LAMBDA one: LEFT(COALESCE(CAST(one AS VARCHAR), ''), {LONGEST_TEXT}))"
    return combine(
        f"LEFT(ARRAY_TO_STRING({each}, :s), {LONGEST_TEXT})", kind=ColumnType.TEXT, a=of, s=constant(separator)
    )


def _extreme(word: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this"})
        of = array(node, translate)
        if of.element not in _RANKED:
            refuse_form(f"ARRAY_{word} of booleans", cure="use ARRAY_CONTAINS", at=node)
        return combine(f"LIST_{word}(:a)", kind=of.element, span=of.span, nullable=True, a=of)

    return handler


_FIRST = f"of the first {MOST_ELEMENTS:,} elements"
_ANY = f"defined for every array; {_FIRST}"


def _allowed(handler: Handler, *examples: str, types: str, reason: str = _ANY) -> Allowed:
    return Allowed(handler=handler, examples=examples, types=types, reason=reason, arrays=True)


ARRAY_FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.ArraySize: _allowed(size, "ARRAY_SIZE(l)", types="array → integer"),
    exp.ArrayContains: _allowed(
        contains, "ARRAY_CONTAINS('x', l)", "ARRAY_CONTAINS(x, k)", types="any, array → boolean"
    ),
    exp.ArrayPosition: _allowed(position, "ARRAY_POSITION('x', l)", types="any, array → integer"),
    exp.ArrayOverlaps: _allowed(overlap, "ARRAYS_OVERLAP(l, ['x', 'y'])", types="arrays → boolean"),
    exp.Bracket: _allowed(
        element, "l[0]", "k[x]", types="array, integer → element", reason="NULL where there is no element at the place"
    ),
    exp.GetExtract: _allowed(
        element, "GET(l, 0)", types="array, integer → element", reason="NULL where there is no element at the place"
    ),
    exp.ArrayMin: _allowed(_extreme("MIN"), "ARRAY_MIN(k)", types="array → element"),
    exp.ArrayMax: _allowed(_extreme("MAX"), "ARRAY_MAX(k)", types="array → element"),
    exp.ArrayToString: _allowed(
        joined, "ARRAY_TO_STRING(l, '-')", types="array → text", reason=f"{_FIRST}; cut after 4,096 characters"
    ),
    exp.Split: _allowed(
        split,
        "SPLIT(a, '-')",
        types="text → array",
        reason="of the first 4,096 characters; the separator is a literal",
    ),
    exp.Array: _allowed(written, "[x, y]", "ARRAY_CONSTRUCT(a, b)", types="one type → array", reason="a constant size"),
}
"""Parser's class -> what is allowed. Texts are l, whole numbers k."""
