"""Allowed functions of texts: NULL for NULL, no failure, and nothing that they make grows past a limit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.function_patterns import (
    escaped,
    like,
    regexp_count,
    regexp_like,
    regexp_replace,
    regexp_substr,
)
from cleanroom.templates.function_rules import (
    LONGEST_TEXT,
    Allowed,
    constant,
    literal_integer,
    literal_text,
    refuse_form,
    text,
    whole,
    within_growth,
)
from cleanroom.templates.handlers import TEXT, Handler, Translate, child
from cleanroom.templates.refusals import only
from cleanroom.templates.scalars import Scalar, Span, build, cast, combine, require
from cleanroom.templates.trees import fragment

_LONGEST_COMPARED = 256


def _plain(sql: str, what: str, kind: ColumnType = ColumnType.TEXT, *, span: Span | None = None) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "binary", "empty_is_zero"})
        counted = Span(lo=Fraction(0)) if kind is ColumnType.INTEGER else Span()
        return combine(sql, kind=kind, span=span or counted, nullable=True, a=text(node, translate, what=what))

    return handler


def _test(sql: str, what: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"})
        a, b = text(node, translate, what=what), text(node, translate, what=what, name="expression")
        return combine(sql, kind=ColumnType.BOOLEAN, a=a, b=b)

    return handler


def trim(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TRIM, LTRIM or RTRIM of spaces, or of the characters of a literal."""
    only(node, {"this", "expression", "position"})
    word = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position") or ""), "TRIM")
    characters = " "
    if node.args.get("expression") is not None:
        characters = literal_text(node.args["expression"], translate, what=f"the characters of {word}")
    a = text(node, translate, what=word)
    return combine(f"{word}(:a, :c)", kind=ColumnType.TEXT, a=a, c=constant(characters))


def substring(node: exp.Expr, translate: Translate) -> Scalar:
    """Return SUBSTR(text, start [, length]) with both numbers written out; empty where it starts before the text."""
    only(node, {"this", "start", "length", "zero_start"})
    a = text(node, translate, what="SUBSTR")
    start = literal_integer(node.args.get("start"), translate, least=-10_000, most=10_000, what="the start of SUBSTR")
    length = 1_000_000
    if node.args.get("length") is not None:
        length = literal_integer(node.args["length"], translate, least=0, most=1_000_000, what="the length of SUBSTR")
    first = constant(start or 1)  # a start of 0 means 1 there
    sql = "SUBSTR(:a, :s, :n)"
    if start < 0:  # the engine would begin at the first character
        sql = f"CASE WHEN LENGTH(:a) < {-start} THEN '' ELSE {sql} END"
        return combine(sql, kind=ColumnType.TEXT, nullable=True, a=a, s=first, n=constant(length))
    return combine(sql, kind=ColumnType.TEXT, a=a, s=first, n=constant(length))


def _side(word: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression", "negative_length_returns_empty"})
        a = text(node, translate, what=word)
        n = literal_integer(
            node.args.get("expression"), translate, least=0, most=1_000_000, what=f"the length of {word}"
        )
        return combine(f"{word}(:a, :n)", kind=ColumnType.TEXT, a=a, n=constant(n))

    return handler


def pad(node: exp.Expr, translate: Translate) -> Scalar:
    """Return LPAD or RPAD to a length written out, with a pattern written out."""
    only(node, {"this", "expression", "fill_pattern", "is_left"})
    word = "LPAD" if node.args.get("is_left") else "RPAD"
    n = literal_integer(
        node.args.get("expression"), translate, least=0, most=LONGEST_TEXT, what=f"the length of {word}"
    )
    fill = " "
    if node.args.get("fill_pattern") is not None:
        fill = literal_text(node.args["fill_pattern"], translate, what=f"the pattern of {word}")
    if not fill:
        refuse_form(f"{word} with an empty pattern", cure="pad with a character", at=node)
    a = text(node, translate, what=word)
    return combine(f"{word}(:a, :n, :p)", kind=ColumnType.TEXT, a=a, n=constant(n), p=constant(fill))


def concatenation(node: exp.Expr, translate: Translate) -> Scalar:
    """Return a || b, its first 4,096 characters; NULL as soon as one is."""
    if isinstance(node, exp.DPipe):
        only(node, {"this", "expression", "safe"})
        operands = [child(node), child(node, "expression")]
    else:
        only(node, {"expressions", "safe"})
        operands = node.expressions
    return _joined([translate(operand) for operand in operands], at=node)


def concat_ws(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the texts with a separator between them; NULL as soon as one is, or the separator."""
    only(node, {"expressions", "safe"})
    separator, *texts = [translate(operand) for operand in node.expressions]
    between: list[Scalar] = []
    for one in texts:
        between += [separator, one] if between else [one]
    if not between:
        refuse_form("CONCAT_WS of nothing", cure="name the texts", at=node)
    return _joined([*between, combine("LEFT(:a, 0)", kind=ColumnType.TEXT, a=_as_text(separator, at=node))], at=node)


def _as_text(scalar: Scalar, *, at: exp.Expr) -> Scalar:
    return cast(require(scalar, TEXT, what="||", at=at), ColumnType.TEXT)


def _joined(operands: list[Scalar], *, at: exp.Expr) -> Scalar:
    names = {f"a{i}": _as_text(operand, at=at) for i, operand in enumerate(operands)}
    sql = f"LEFT({' || '.join(f':{n}' for n in names)}, {LONGEST_TEXT})"
    return build(lambda trees: fragment(sql, **trees), names, kind=ColumnType.TEXT)


def replaced(node: exp.Expr, translate: Translate) -> Scalar:
    """Return REPLACE(text, from [, to]) of literals, its first 4,096 characters."""
    only(node, {"this", "expression", "replacement"})
    a = text(node, translate, what="REPLACE")
    old = literal_text(node.args.get("expression"), translate, what="what REPLACE looks for")
    new = ""
    if node.args.get("replacement") is not None:
        new = literal_text(node.args["replacement"], translate, what="what REPLACE puts in")
    within_growth(new, len(old.encode()), "REPLACE", at=node)
    sql = f"LEFT(REPLACE(LEFT(:a, {LONGEST_TEXT}), :o, :n), {LONGEST_TEXT})"
    return combine(sql, kind=ColumnType.TEXT, a=a, o=constant(old), n=constant(new))


def translated(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TRANSLATE(text, from, to) of literals: each character by the one at its place, or by none."""
    only(node, {"this", "from_", "to"})
    a = text(node, translate, what="TRANSLATE")
    old = literal_text(node.args.get("from_"), translate, what="the second argument of TRANSLATE")
    new = literal_text(node.args.get("to"), translate, what="the third argument of TRANSLATE")
    if len(set(old)) < len(old) or len(new) > len(old):
        refuse_form(
            "TRANSLATE with a character twice, or with more characters to put in than to look for",
            cure="list each character once",
            at=node,
        )
    return combine("TRANSLATE(:a, :o, :n)", kind=ColumnType.TEXT, a=a, o=constant(old), n=constant(new))


def split_part(node: exp.Expr, translate: Translate) -> Scalar:
    """Return SPLIT_PART(text, delimiter, n); n may be negative, 0 means 1; empty where there is no such part."""
    only(node, {"this", "delimiter", "part_index", "part_index_zero_as_one", "empty_delimiter_returns_whole"})
    a = text(node, translate, what="SPLIT_PART")
    delimiter = literal_text(node.args.get("delimiter"), translate, what="the delimiter")
    n = literal_integer(
        node.args.get("part_index"), translate, least=-10_000, most=10_000, what="the part of SPLIT_PART"
    )
    if not delimiter:
        refuse_form("SPLIT_PART with an empty delimiter", cure="use SUBSTR", at=node)
    sql = "SPLIT_PART(:a, :d, :n)"
    return combine(sql, kind=ColumnType.TEXT, a=a, d=constant(delimiter), n=constant(n or 1))


def position(node: exp.Expr, translate: Translate) -> Scalar:
    """Return where a text is found in another, from 1; 0 where it is not."""
    only(node, {"this", "substr", "clamp_position"})
    a, b = text(node, translate, what="POSITION"), text(node, translate, what="POSITION", name="substr")
    return combine("STRPOS(:a, :b)", kind=ColumnType.INTEGER, span=Span(lo=Fraction(0)), a=a, b=b)


def character(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the character of a code point; NULL for what is none."""
    only(node, {"expressions"})
    if len(node.expressions) != 1:
        refuse_form("CHR of several numbers", cure="join single characters with ||", at=node)
    holder = exp.Paren(this=node.expressions[0])
    n = whole(holder, translate, what="CHR")
    sql = "TRY(CHR(CASE WHEN :n BETWEEN 1 AND 55295 OR :n BETWEEN 57344 AND 1114111 THEN CAST(:n AS INTEGER) END))"
    return combine(sql, kind=ColumnType.TEXT, nullable=True, n=n)


def edit_distance(node: exp.Expr, translate: Translate) -> Scalar:
    """Return EDITDISTANCE of two ASCII texts of at most 256 characters; NULL for others."""
    only(node, {"this", "expression"})
    a = text(node, translate, what="EDITDISTANCE")
    b = text(node, translate, what="EDITDISTANCE", name="expression")
    fits = " AND ".join(f"STRLEN(:{n}) <= {_LONGEST_COMPARED} AND STRLEN(:{n}) = LENGTH(:{n})" for n in "ab")
    span = Span(lo=Fraction(0), hi=Fraction(_LONGEST_COMPARED))
    sql = f"CASE WHEN {fits} THEN LEVENSHTEIN(:a, :b) END"
    return combine(sql, kind=ColumnType.INTEGER, span=span, nullable=True, a=a, b=b)


def sha2(node: exp.Expr, translate: Translate) -> Scalar:
    """Return SHA2(text [, 256]) in hexadecimal digits."""
    only(node, {"this", "length"})
    if node.args.get("length") is not None:
        literal_integer(node.args["length"], translate, least=256, most=256, what="the size of SHA2")
    return combine("SHA256(:a)", kind=ColumnType.TEXT, a=text(node, translate, what="SHA2"))


_STRING = "defined for every text"
_CUT = "defined for every text; what it makes is cut after 4,096 characters"
_LITERALS = "defined for every text; all other arguments are literals, checked when compiled"
_RE2 = "RE2, linear in the text; the pattern is a literal, read when compiled"
_TEXTS = "text → text"


def _allowed(handler: Handler, *examples: str, reason: str = _STRING, types: str = _TEXTS) -> Allowed:
    return Allowed(handler=handler, examples=examples, types=types, reason=reason)


TEXT_FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.Lower: _allowed(_plain("LOWER(:a)", "LOWER"), "LOWER(a)"),
    exp.Upper: _allowed(_plain("UPPER(:a)", "UPPER"), "UPPER(a)"),
    exp.Length: _allowed(_plain("LENGTH(:a)", "LENGTH", ColumnType.INTEGER), "LENGTH(a)", types="text → integer"),
    exp.ByteLength: _allowed(
        _plain("STRLEN(:a)", "OCTET_LENGTH", ColumnType.INTEGER), "OCTET_LENGTH(a)", types="text → integer"
    ),
    exp.Unicode: _allowed(
        _plain(
            "CASE WHEN :a = '' THEN 0 ELSE UNICODE(:a) END",
            "UNICODE",
            ColumnType.INTEGER,
            span=Span(lo=Fraction(0), hi=Fraction(0x10FFFF)),
        ),
        "UNICODE(a)",
        reason="the code point of the first character; 0 for an empty text",
        types="text → integer",
    ),
    exp.Ascii: _allowed(
        _plain(
            "CASE WHEN ASCII(:a) BETWEEN 0 AND 127 THEN ASCII(:a) END",
            "ASCII",
            ColumnType.INTEGER,
            span=Span(lo=Fraction(0), hi=Fraction(127)),
        ),
        "ASCII(a)",
        reason="as UNICODE; NULL for a first character that is not ASCII",
        types="text → integer",
    ),
    exp.Chr: _allowed(
        character, "CHR(x)", reason="NULL for numbers that are no code point, and for 0", types="integer → text"
    ),
    exp.Trim: _allowed(trim, "TRIM(a)", "LTRIM(a)", "RTRIM(a, '0')", reason=_LITERALS),
    exp.Substring: _allowed(substring, "SUBSTR(a, 1, 3)", "SUBSTRING(a, -2)", reason=_LITERALS),
    exp.Left: _allowed(_side("LEFT"), "LEFT(a, 3)", reason=_LITERALS),
    exp.Right: _allowed(_side("RIGHT"), "RIGHT(a, 3)", reason=_LITERALS),
    exp.Pad: _allowed(pad, "LPAD(a, 5, '0')", "RPAD(a, 5)", reason="the length is a literal up to 4,096"),
    exp.Concat: _allowed(concatenation, "CONCAT(a, b)", reason=_CUT),
    exp.DPipe: _allowed(concatenation, "a || b", reason=_CUT),
    exp.ConcatWs: _allowed(concat_ws, "CONCAT_WS('-', a, b)", reason=_CUT),
    exp.Replace: _allowed(
        replaced,
        "REPLACE(a, '-', '')",
        reason="of literals, on the first 4,096 characters; grows eightfold at most, and is cut after 4,096 characters",
    ),
    exp.Translate: _allowed(translated, "TRANSLATE(a, 'abc', 'xyz')", reason=_LITERALS),
    exp.SplitPart: _allowed(split_part, "SPLIT_PART(a, '-', 1)", reason=_LITERALS),
    exp.StrPosition: _allowed(position, "POSITION('x' IN a)", "CHARINDEX('x', a)", types="text, text → integer"),
    exp.StartsWith: _allowed(_test("STARTS_WITH(:a, :b)", "STARTSWITH"), "STARTSWITH(a, 'x')", types="texts → boolean"),
    exp.EndsWith: _allowed(_test("ENDS_WITH(:a, :b)", "ENDSWITH"), "ENDSWITH(a, 'x')", types="texts → boolean"),
    exp.Contains: _allowed(_test("CONTAINS(:a, :b)", "CONTAINS"), "CONTAINS(a, 'x')", types="texts → boolean"),
    exp.Like: _allowed(
        like("LIKE"),
        "a LIKE 'x%'",
        "a LIKE ANY ('x%', '%y')",
        "a LIKE ALL ('x%', '%y')",
        reason=_LITERALS,
        types="text → boolean",
    ),
    exp.ILike: _allowed(
        like("ILIKE"), "a ILIKE 'x%'", "a ILIKE ANY ('x%', '%y')", reason=_LITERALS, types="text → boolean"
    ),
    exp.Escape: _allowed(escaped, "a LIKE 'x!%' ESCAPE '!'", reason=_LITERALS, types="text → boolean"),
    exp.RegexpLike: _allowed(
        regexp_like, "REGEXP_LIKE(a, '[a-z]+')", "a RLIKE '[a-z]+'", reason=_RE2, types="text → boolean"
    ),
    exp.RegexpExtract: _allowed(
        regexp_substr, "REGEXP_SUBSTR(a, '[a-z]+')", "REGEXP_SUBSTR(a, '([a-z]+)-', 1, 1, 'e', 1)", reason=_RE2
    ),
    exp.RegexpReplace: _allowed(
        regexp_replace,
        "REGEXP_REPLACE(a, '[0-9]+', '#')",
        reason=f"{_RE2}; on the first 4,096 characters, grows eightfold at most, and is cut after 4,096 characters",
    ),
    exp.RegexpCount: _allowed(
        regexp_count,
        "REGEXP_COUNT(a, '[0-9]+')",
        reason=f"{_RE2}; in the first 4,096 characters",
        types="text → integer",
    ),
    exp.Levenshtein: _allowed(
        edit_distance,
        "EDITDISTANCE(a, b)",
        reason="NULL unless both are ASCII texts of at most 256 characters, so that no pair takes long",
        types="texts → integer",
    ),
    exp.MD5: _allowed(_plain("MD5(:a)", "MD5"), "MD5(a)", "MD5_HEX(a)"),
    exp.SHA: _allowed(_plain("SHA1(:a)", "SHA1"), "SHA1(a)"),
    exp.SHA2: _allowed(sha2, "SHA2(a)", "SHA2(a, 256)"),
}
"""Parser's class -> what is allowed."""
