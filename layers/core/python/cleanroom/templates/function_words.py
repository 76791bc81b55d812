"""Allowed functions that take texts apart or put them together: words, characters, copies, places. Pure.

Lists of the parts of a text stay inside one expression; what takes a text apart by characters does so up to 1,024.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.function_patterns import options_of, pattern_of
from cleanroom.templates.function_rules import (
    LONGEST_TEXT,
    Allowed,
    constant,
    literal_integer,
    literal_text,
    refuse_form,
    text,
)
from cleanroom.templates.handlers import Translate, child
from cleanroom.templates.refusals import only
from cleanroom.templates.scalars import Scalar, Span, combine

LONGEST_TAKEN_APART = 1_024
_BETWEEN_WORDS = ' \t\n\r\f\v!?@"^#$&~_,.:;+-*%/|\\[](){}<>'
"""What Snowflake's INITCAP takes for ends of words by itself."""
_IN_CLASS = str.maketrans({c: f"\\{c}" for c in "\\[]^-&~"})


def _class(characters: str) -> str:
    """Return characters as they stand inside the brackets of a regular expression."""
    return characters.translate(_IN_CLASS)


def strtok(node: exp.Expr, translate: Translate) -> Scalar:
    """Return STRTOK(text [, delimiters [, n]]): the n-th part between any of the delimiters, or NULL."""
    only(node, {"this", "delimiter", "part_index"})
    delimiters = " "
    if node.args.get("delimiter") is not None:
        delimiters = literal_text(node.args["delimiter"], translate, what="the delimiters of STRTOK")
    n = 1
    if node.args.get("part_index") is not None:
        n = literal_integer(node.args["part_index"], translate, least=1, most=10_000, what="the part of STRTOK")
    if not delimiters:
        refuse_form("STRTOK without delimiters", cure="use SUBSTR", at=node)
    sql = f"LIST_EXTRACT(REGEXP_EXTRACT_ALL(LEFT(:a, {LONGEST_TEXT}), :p), :n)"
    a, p = text(node, translate, what="STRTOK"), constant(f"[^{_class(delimiters)}]+")
    return combine(sql, kind=ColumnType.TEXT, nullable=True, a=a, p=p, n=constant(n))


def initcap(node: exp.Expr, translate: Translate) -> Scalar:
    """Return INITCAP(text [, delimiters]): each word's first character in upper case, the others in lower case."""
    only(node, {"this", "expression"})
    given = node.args.get("expression")
    delimiters = _BETWEEN_WORDS
    if given is not None and "line" in given.meta:  # else it is the parser's own, as a regular expression
        delimiters = literal_text(given, translate, what="the delimiters of INITCAP")
    if any(c.isalnum() for c in delimiters):
        refuse_form("INITCAP with letters or digits between words", cure="use TRANSLATE before", at=node)
    words = f"[{_class(delimiters)}]+|[^{_class(delimiters)}]+" if delimiters else "(?s).+"
    parts = f"REGEXP_EXTRACT_ALL(LOWER(CASE WHEN LENGTH(:a) <= {LONGEST_TAKEN_APART} THEN :a END), :p)"
    sql = f"ARRAY_TO_STRING(LIST_TRANSFORM({parts}, LAMBDA one: UPPER(LEFT(one, 1)) || SUBSTR(one, 2)), '')"
    return combine(sql, kind=ColumnType.TEXT, nullable=True, a=text(node, translate, what="INITCAP"), p=constant(words))


def reverse(node: exp.Expr, translate: Translate) -> Scalar:
    """Return REVERSE(text), code point by code point."""
    only(node, {"this"})
    parts = f"REGEXP_EXTRACT_ALL(CASE WHEN LENGTH(:a) <= {LONGEST_TAKEN_APART} THEN :a END, '(?s).')"
    sql = f"ARRAY_TO_STRING(LIST_REVERSE({parts}), '')"
    return combine(sql, kind=ColumnType.TEXT, nullable=True, a=text(node, translate, what="REVERSE"))


def repeat(node: exp.Expr, translate: Translate) -> Scalar:
    """Return REPEAT(text, n), its first 4,096 characters; no more copies are made than these need."""
    only(node, {"this", "times"})
    n = literal_integer(node.args.get("times"), translate, least=0, most=LONGEST_TEXT, what="the number of REPEAT")
    first = f"LEFT(:a, {LONGEST_TEXT})"
    copies = f"LEAST(:n, {LONGEST_TEXT} // GREATEST(LENGTH({first}), 1) + 1)"
    sql = f"LEFT(REPEAT({first}, {copies}), {LONGEST_TEXT})"
    return combine(sql, kind=ColumnType.TEXT, a=text(node, translate, what="REPEAT"), n=constant(n))


def space(node: exp.Expr, translate: Translate) -> Scalar:
    """Return SPACE(n)."""
    only(node, {"this"})
    n = literal_integer(child(node), translate, least=0, most=LONGEST_TEXT, what="the number of SPACE")
    return constant(" " * n)


def insert(node: exp.Expr, translate: Translate) -> Scalar:
    """Return INSERT(text, position, length, text): what is put in is a literal; the first 4,096 characters."""
    only(node, {"this", "start", "length", "expression"})
    start = literal_integer(node.args.get("start"), translate, least=1, most=10_000, what="the position of INSERT")
    length = literal_integer(node.args.get("length"), translate, least=0, most=10_000, what="the length of INSERT")
    new = literal_text(node.args.get("expression"), translate, what="what INSERT puts in")
    sql = f"LEFT(LEFT(:a, :s) || :n || SUBSTR(:a, :e), {LONGEST_TEXT})"
    a = text(node, translate, what="INSERT")
    return combine(sql, kind=ColumnType.TEXT, a=a, s=constant(start - 1), n=constant(new), e=constant(start + length))


def regexp_instr(node: exp.Expr, translate: Translate) -> Scalar:
    """Return REGEXP_INSTR(text, pattern): where the first match begins, or with option 1 is over; 0 without one."""
    only(node, {"this", "expression", "position", "occurrence", "option", "parameters"})
    for name in ("position", "occurrence"):
        if node.args.get(name) is not None:
            literal_integer(node.args[name], translate, least=1, most=1, what=f"the {name}")
    after = 0
    if node.args.get("option") is not None:
        after = literal_integer(node.args["option"], translate, least=0, most=1, what="the option")
    a = text(node, translate, what="REGEXP_INSTR")
    pattern = pattern_of(node, translate, "REGEXP_INSTR").text
    options = options_of(node, "parameters", translate)
    # The shortest beginning after which the pattern matches ends where the leftmost match begins.
    p, o = constant(pattern), constant(options)
    before = constant(f"^((?s:.*?))(?:{pattern})")
    group = constant(0 if after else 1)
    sql = (
        "CASE WHEN REGEXP_MATCHES(:a, :p, :o) THEN LENGTH(REGEXP_EXTRACT(:a, :b, :g, :o)) + 1 "
        "WHEN :a IS NOT NULL THEN 0 END"
    )
    return combine(sql, kind=ColumnType.INTEGER, span=Span(lo=Fraction(0)), a=a, p=p, o=o, b=before, g=group)


def _encoded(sql: str, what: str) -> Allowed:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this"})
        return combine(sql, kind=ColumnType.TEXT, a=text(node, translate, what=what))

    return Allowed(handler=handler, examples=(f"{what}(a)",), types="text → text", reason=_CUT)


_CUT = "of the first 4,096 characters; what it makes is cut after 4,096 characters"
_APART = "NULL for texts of more than 1,024 characters"

WORD_FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.Strtok: Allowed(
        handler=strtok,
        examples=("STRTOK(a, '-', 1)", "STRTOK(a)"),
        types="text → text",
        reason="of the first 4,096 characters; all other arguments are literals",
    ),
    exp.Initcap: Allowed(
        handler=initcap, examples=("INITCAP(a)", "INITCAP(a, '-')"), types="text → text", reason=_APART
    ),
    exp.Reverse: Allowed(handler=reverse, examples=("REVERSE(a)",), types="text → text", reason=_APART),
    exp.Repeat: Allowed(
        handler=repeat, examples=("REPEAT(a, 3)",), types="text → text", reason=f"the number is a literal; {_CUT}"
    ),
    exp.Space: Allowed(
        handler=space, examples=("SPACE(3)",), types="→ text", reason="a literal number of up to 4,096 spaces"
    ),
    exp.Stuff: Allowed(
        handler=insert,
        examples=("INSERT(a, 1, 2, 'x')",),
        types="text → text",
        reason="all other arguments are literals; what it makes is cut after 4,096 characters",
    ),
    exp.RegexpInstr: Allowed(
        handler=regexp_instr,
        examples=("REGEXP_INSTR(a, '[0-9]+')", "REGEXP_INSTR(a, 'x', 1, 1, 1)"),
        types="text → integer",
        reason="RE2, linear in the text; the pattern is a literal, read when compiled",
    ),
    exp.Hex: _encoded(f"LEFT(HEX(LEFT(:a, {LONGEST_TEXT})), {LONGEST_TEXT})", "HEX_ENCODE"),
    exp.Base64Encode: _encoded(f"LEFT(TO_BASE64(ENCODE(LEFT(:a, {LONGEST_TEXT}))), {LONGEST_TEXT})", "BASE64_ENCODE"),
}
"""Parser's class -> what is allowed."""
