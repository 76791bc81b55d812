"""LIKE and regular expressions, by literals that are read when compiled: handlers of `function_texts.py`. Pure."""

from __future__ import annotations

from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.function_rules import (
    LONGEST_TEXT,
    constant,
    literal_integer,
    literal_text,
    refuse_form,
    text,
    within_growth,
)
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.patterns import Pattern, read_pattern
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import Scalar, Span, build, combine
from cleanroom.templates.trees import fragment

_LONGEST_COUNTED = Span(lo=Fraction(0), hi=Fraction(LONGEST_TEXT))
_ESCAPES = ("!", "#", "^", "~", "|", "@", "\\")


def like(word: str) -> Handler:
    """Return the handler of LIKE or ILIKE, also with ANY and ALL."""

    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"})
        return _matched(word, node, "", translate)

    return handler


def _matched(word: str, node: exp.Expr, escape: str, translate: Translate) -> Scalar:
    a = text(node, translate, what=word)
    pattern = node.args.get("expression")
    if isinstance(pattern, exp.Any | exp.All):
        return _matched_list(word, a, pattern, escape, translate)
    return _matched_one(word, a, pattern, escape, translate, at=node)


def _matched_list(word: str, a: Scalar, patterns: exp.Any | exp.All, escape: str, translate: Translate) -> Scalar:
    """Return x LIKE ANY (…) or LIKE ALL (…) of literals."""
    listed = patterns.this.unnest()
    items = listed.expressions if isinstance(listed, exp.Tuple) else [listed]
    matches = [_matched_one(word, a, item, escape, translate, at=patterns) for item in items]
    names = {f"a{i}": match for i, match in enumerate(matches)}
    joined = (" OR " if isinstance(patterns, exp.Any) else " AND ").join(f":{n}" for n in names)
    return build(lambda trees: fragment(joined, **trees), names, kind=ColumnType.BOOLEAN)


def _matched_one(
    word: str, a: Scalar, node: exp.Expr | None, escape: str, translate: Translate, *, at: exp.Expr
) -> Scalar:
    pattern = literal_text(node, translate, what=f"the pattern of {word}")
    if escape and pattern.replace(escape * 2, "").endswith(escape):  # the engine fails on that, if a row reaches it
        refuse("the pattern ends with its escape", rule="literal_needed", cure="end it with a character", at=at)
    make_escape = f" ESCAPE '{escape}'" if escape in _ESCAPES else ""
    return combine(f":a {word} :p{make_escape}", kind=ColumnType.BOOLEAN, a=a, p=constant(pattern))


def escaped(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x LIKE pattern ESCAPE character."""
    only(node, {"this", "expression"})
    inner = child(node)
    escape = literal_text(node.args.get("expression"), translate, what="the escape")
    if not isinstance(inner, exp.Like | exp.ILike) or escape not in _ESCAPES:
        refuse("ESCAPE needs one of ! # ^ ~ | @ \\", rule="literal_needed", cure="use one of those characters", at=node)
    only(inner, {"this", "expression"})
    return _matched("LIKE" if isinstance(inner, exp.Like) else "ILIKE", inner, escape, translate)


def pattern_of(node: exp.Expr, translate: Translate, what: str) -> Pattern:
    """Return the pattern that a call writes out."""
    return read_pattern(literal_text(node.args.get("expression"), translate, what=f"the pattern of {what}"), at=node)


def options_of(node: exp.Expr, name: str, translate: Translate, *, also: str = "") -> str:
    """Return the engine's options for Snowflake's parameters: c, i and s mean the same in both."""
    if node.args.get(name) is None:
        return "c"
    given = literal_text(node.args[name], translate, what="the parameters of a regular expression")
    if set(given) - set("cis" + also) or {"c", "i"} <= set(given):
        refuse_form("a regular expression with these parameters", cure="use c, i or s", at=node)
    return "".join(sorted(set(given) - set(also))) or "c"


def _first_only(node: exp.Expr, translate: Translate, *, occurrence: int) -> None:
    for name, value in (("position", 1), ("occurrence", occurrence)):
        if node.args.get(name) is not None:
            literal_integer(node.args[name], translate, least=value, most=value, what=f"the {name}")


def regexp_like(node: exp.Expr, translate: Translate) -> Scalar:
    """Return whether the whole text matches a pattern."""
    only(node, {"this", "expression", "flag", "full_match"})
    a = text(node, translate, what="REGEXP_LIKE")
    pattern, options = pattern_of(node, translate, "REGEXP_LIKE"), options_of(node, "flag", translate)
    word = "REGEXP_FULL_MATCH" if node.args.get("full_match") else "REGEXP_MATCHES"
    sql = f"{word}(:a, :p, :o)"
    return combine(sql, kind=ColumnType.BOOLEAN, a=a, p=constant(pattern.text), o=constant(options))


_EXTRACT_FLAGS = {"null_if_pos_overflow", "null_if_no_match", "empty_if_group_missing"}


def regexp_substr(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the first match of a pattern, or of a group in it; NULL where there is none."""
    only(node, {"this", "expression", "position", "occurrence", "parameters", "group", *_EXTRACT_FLAGS})
    if not node.args.get("null_if_no_match"):
        refuse_form("this function of another dialect", cure="write REGEXP_SUBSTR", at=node)
    a = text(node, translate, what="REGEXP_SUBSTR")
    pattern = pattern_of(node, translate, "REGEXP_SUBSTR")
    _first_only(node, translate, occurrence=1)
    options = options_of(node, "parameters", translate, also="e")
    group = literal_integer(
        node.args.get("group") or exp.Literal.number(0), translate, least=0, most=pattern.groups, what="the group"
    )
    if not group and node.args.get("parameters") is not None and "e" in str(node.args["parameters"].name):
        refuse_form("REGEXP_SUBSTR with e and without a group", cure="number the group, as the last argument", at=node)
    sql = "CASE WHEN REGEXP_MATCHES(:a, :p, :o) THEN REGEXP_EXTRACT(:a, :p, :g, :o) END"
    p, o, g = constant(pattern.text), constant(options), constant(group)
    return combine(sql, kind=ColumnType.TEXT, nullable=True, a=a, p=p, o=o, g=g)


def regexp_replace(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the text with all matches of a pattern replaced by a literal, its first 4,096 characters."""
    only(node, {"this", "expression", "replacement", "position", "occurrence", "modifiers"})
    a = text(node, translate, what="REGEXP_REPLACE")
    pattern = _never_empty(pattern_of(node, translate, "REGEXP_REPLACE"), at=node)
    _first_only(node, translate, occurrence=0)
    new = ""
    if node.args.get("replacement") is not None:
        new = literal_text(node.args["replacement"], translate, what="what REGEXP_REPLACE puts in")
    if "\\" in new:
        refuse_form("REGEXP_REPLACE with a reference to a group", cure="put in a plain text", at=node)
    within_growth(new, pattern.shortest, "REGEXP_REPLACE", at=node)
    options = options_of(node, "modifiers", translate) + "g"
    sql = f"LEFT(REGEXP_REPLACE(LEFT(:a, {LONGEST_TEXT}), :p, :n, :o), {LONGEST_TEXT})"
    p, n, o = constant(pattern.text), constant(new), constant(options)
    return combine(sql, kind=ColumnType.TEXT, a=a, p=p, n=n, o=o)


def regexp_count(node: exp.Expr, translate: Translate) -> Scalar:
    """Return how often a pattern matches in the first 4,096 characters."""
    only(node, {"this", "expression", "position", "parameters"})
    a = text(node, translate, what="REGEXP_COUNT")
    pattern = _never_empty(pattern_of(node, translate, "REGEXP_COUNT"), at=node)
    _first_only(node, translate, occurrence=1)
    options = options_of(node, "parameters", translate)
    sql = f"LEN(REGEXP_EXTRACT_ALL(LEFT(:a, {LONGEST_TEXT}), :p, 0, :o))"
    p, o = constant(pattern.text), constant(options)
    return combine(sql, kind=ColumnType.INTEGER, span=_LONGEST_COUNTED, a=a, p=p, o=o)


def _never_empty(pattern: Pattern, *, at: exp.Expr) -> Pattern:
    if not pattern.shortest:
        refuse_form("a pattern that matches nothing at all", cure="use + in place of *", at=at)
    return pattern
