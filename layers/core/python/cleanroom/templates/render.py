"""The first step of a template's way: Jinja text and arguments become one SQL text (B-31 to B-34). Pure.

`{{ x }}` is always a bound literal and `{{ x | sqlsafe }}` is SQL: there is no third way, and nothing to remember.
While Jinja runs, a literal is a mark; afterwards the text is cut into tokens, every mark must be a token of its own
(not inside a quote, a comment or a name), and only then do the literals take the marks' places. The tree of what comes
out is checked by the compiler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2.exceptions import TemplateError, UndefinedError
from sqlglot.dialects.dialect import Dialect
from sqlglot.tokenizer_core import TokenType

from cleanroom.errors import CleanRoomError, PolicyViolationError, TemplateRefusedError
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.templates.jinja_tree import parse, reserved_name
from cleanroom.templates.literals import (
    MAX_ITEMS,
    MAX_STRING,
    CheckedSql,
    SqlText,
    decimal_from_fraction,
    literal,
    plain_number,
    refused,
    tokenize,
)
from cleanroom.templates.policy_filters import PolicyChecks
from cleanroom.templates.sandbox import TemplateEnvironment
from cleanroom.templates.template import Argument, CompileContext, RenderedQuery, Template

if TYPE_CHECKING:
    from types import TracebackType

MAX_RENDERED = 262_144  # characters of the finished text
_MAX_ARGUMENT_DEPTH = 4
_MARK = "jinja_bound_"
_MARKS = re.compile(rf"{_MARK}([0-9]+)_")
_GLUE = re.compile(r"[A-Za-z0-9_$'\"`@\\]")
# What Python raises for a template's own mistakes; anything else is a bug of ours.
_EVALUATION = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    MemoryError,
)
_FILE = "<template>"  # what Jinja calls a template that has no name


def render(template: Template, arguments: Mapping[str, Argument], context: CompileContext) -> RenderedQuery:
    """Render a template for a caller.

    Args:
        template: its text and dialect.
        arguments: exactly the variables that `template_arguments` names and that the rendering meets.
        context: reader, effective settings and tables.

    Returns:
        The text, at most 256 KiB, and the tables it may name. That it is one SELECT is for the compiler to check.

    Raises:
        TemplateRefusedError: an argument is missing, unknown, reserved or not bindable; the template is not Jinja,
            uses a construct that is not allowed, takes too much, or puts a literal where none can stand. `line` is
            the template's.
        PolicyViolationError: a policy filter refuses a column.
    """
    dialect = known_dialect(template.dialect)
    parsed = parse(template.text)
    values = _checked_arguments(arguments, known=parsed.arguments)
    if any(_MARK in text.lower() for text in (template.text, *_texts(values))):
        raise refused(
            f"the text {_MARK} is kept for bound values", rule="reserved_text", cure="rename what is called so"
        )
    policies = PolicyChecks(context=context)
    bound: list[str] = []

    def finalize(value: Any) -> str:
        if isinstance(value, SqlText) and not isinstance(value, CheckedSql):
            return str(value)
        bound.append(str(value) if isinstance(value, CheckedSql) else literal(_defined(value), dialect=dialect))
        return f"{_MARK}{len(bound) - 1}_"

    environment = TemplateEnvironment(dialect=dialect, finalize=finalize, policy=policies.check)
    text = _run(environment.compile_tree(parsed), values | _reserved_values(context))
    sql = _with_literals(text, bound, dialect=dialect)
    policies.verify_aliases(sql, dialect=dialect)
    tables = {table.full_name.lower(): table for table in context.source_tables + context.my_tables}
    return RenderedQuery(sql=sql, dialect=dialect, tables=tables)


def template_arguments(text: str) -> tuple[str, ...]:
    """Return the variables that a caller gives, in order of appearance, without the reserved ones.

    Raises:
        TemplateRefusedError: the text is not Jinja as it is allowed here.
    """
    return parse(text).arguments


def known_dialect(name: str) -> str:
    """Return a dialect's name as the parser writes it: letter case says nothing.

    Raises:
        TemplateRefusedError: rule `unknown_dialect`.
    """
    try:
        Dialect.get_or_raise(name.lower())
    except ValueError:
        raise refused(
            "the template's dialect is unknown",
            rule="unknown_dialect",
            cure="use snowflake, duckdb, postgres or another dialect of the list at the top of docs/sql.md",
        ) from None
    return name.lower()


# --- what a template sees ---------------------------------------------------------------------------------------------


def _checked_arguments(arguments: Mapping[str, Argument], *, known: tuple[str, ...]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in arguments.items():
        if reserved_name(name):
            raise refused(
                f"an argument cannot be called {_shown(name)}: the name is reserved, or is no plain identifier",
                rule="reserved_argument",
                cure="rename the argument in the template and in the call",
            )
        if name not in known:
            raise refused(
                f"the template has no argument {name}",
                rule="unknown_argument",
                cure=f"it takes {', '.join(known) or 'no arguments'}",
            )
        values[name] = _plain_value(value, name=name)
    return values


def _plain_value(value: object, *, name: str, depth: int = 0) -> object:
    """Return an argument made of exact built-in types only, so that no method of a caller's class is ever met."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 10**38:
        return int(value)
    if isinstance(value, float):
        plain_number(value)  # refuses NaN, infinities and what no decimal holds
        return float(value)
    if isinstance(value, str) and len(value) <= MAX_STRING:
        return str(value)
    if isinstance(value, (tuple, list, Mapping)) and depth < _MAX_ARGUMENT_DEPTH and len(value) <= MAX_ITEMS:
        if isinstance(value, Mapping):
            entries = {key: _plain_value(item, name=name, depth=depth + 1) for key, item in value.items()}
            if all(isinstance(key, str) and key.isascii() and not key.startswith("_") for key in entries):
                return {str(key): item for key, item in entries.items()}
        else:
            return tuple(_plain_value(item, name=name, depth=depth + 1) for item in value)
    raise refused(
        f"the argument {name} is of a type or size that templates do not take",
        rule="argument_not_bindable",
        cure="pass text, numbers, true, false, null, or short lists and mappings of those",
    )


def _reserved_values(context: CompileContext) -> dict[str, object]:
    settings = context.settings
    return {
        "source_table": tuple(table.full_name for table in context.source_tables),
        "my_table": tuple(table.full_name for table in context.my_tables),
        "privacy": _privacy_namespace(settings),
    }


def _privacy_namespace(settings: PrivacySettings) -> dict[str, object]:
    """Return `privacy.*` (B-32): numbers are decimals, which print without an exponent."""
    return {
        "differential": int(settings.differential),
        "epsilon": decimal_from_fraction(settings.epsilon),
        "noise_mechanism": NoiseMechanism(settings.noise_mechanism).value,
        "privacy_budget": settings.privacy_budget,
        "threshold": int(settings.threshold),
        "threshold_value": settings.threshold_value,
        "delta": decimal_from_fraction(settings.delta),
    }


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for key, item in value.items() for text in (str(key), *_texts(item))]
        case tuple():
            return [text for item in value for text in _texts(item)]
    return []


def _shown(name: str) -> str:
    return name if name.isascii() and name.isidentifier() and len(name) <= 64 else "that"


def _defined(value: object) -> object:
    if hasattr(value, "_fail_with_undefined_error"):
        str(value)  # raises Jinja's error with the name
    return value


# --- running ----------------------------------------------------------------------------------------------------------


def _run(runnable: Any, values: Mapping[str, object]) -> str:
    """Return the text that Jinja makes; every failure becomes a refusal that quotes no value."""
    pieces: list[str] = []
    size = 0
    try:
        for piece in runnable.generate(values):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_RENDERED:
                raise refused(
                    f"the rendered text is longer than {MAX_RENDERED:,} characters",
                    rule="rendering_too_large",
                    cure="loop over fewer items",
                )
    except CleanRoomError as error:
        _refuse_at(error, _line(error.__traceback__))
    except UndefinedError as error:
        raise _undefined(error) from None
    except _EVALUATION as error:
        # A template's own mistake (text + number, division by zero, a missing index …) raises whatever Python raises
        # there, and such messages quote values.
        line = _line(error.__traceback__)
        raise TemplateRefusedError(
            f"{_at(line)}: the expression cannot be computed with these arguments",
            rule="jinja_evaluation",
            cure="check the types of the arguments and the lengths of lists",
            line=line,
        ) from None
    return "".join(pieces)


def _refuse_at(error: CleanRoomError, line: int | None) -> NoReturn:
    if not isinstance(error, TemplateRefusedError) or error.line is not None or line is None:
        raise error
    kind = PolicyViolationError if isinstance(error, PolicyViolationError) else TemplateRefusedError
    raise kind(f"{_at(line)}: {error}", rule=error.rule, cure=error.cure, line=line) from None


def _undefined(error: UndefinedError) -> TemplateRefusedError:
    line = _line(error.__traceback__)
    # Jinja's message names the variable, or the attribute and the type of what it was asked of: the name, no value.
    match = re.fullmatch(r"'([A-Za-z][A-Za-z0-9_]*)' is undefined", str(error.message or ""), re.ASCII)
    if match is not None:
        return TemplateRefusedError(
            f"{_at(line)}: the argument {match[1]} is missing",
            rule="missing_argument",
            cure=f"pass {match[1]}",
            line=line,
        )
    return TemplateRefusedError(
        f"{_at(line)}: an entry is asked for that is not there",
        rule="missing_entry",
        cure="pass provider_tables for source_table[…] and consumer_tables for my_table[…], as many as the template "
        "reads, and every key and item of its arguments",
        line=line,
    )


def _at(line: int | None) -> str:
    return f"line {line} of the template" if line else "the template"


def _line(traceback: TracebackType | None) -> int | None:
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == _FILE:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _with_literals(text: str, bound: list[str], *, dialect: str) -> str:
    """Return the text with every mark replaced by its literal, after checking where the marks stand."""
    tokens = tokenize(text, dialect=dialect)
    as_tokens = [token.text for token in tokens if token.token_type is TokenType.VAR and _MARKS.fullmatch(token.text)]
    marks = list(_MARKS.finditer(text))
    alone = all(
        not _GLUE.match(text[mark.end() : mark.end() + 1])
        and not _GLUE.match(text[max(mark.start() - 1, 0) : mark.start()])
        for mark in marks
    )
    if as_tokens != [mark[0] for mark in marks] or len(marks) != len(bound) or not alone:
        raise refused(
            "a {{ … }} stands inside a quote, a comment or a name, or against another one",
            rule="literal_not_alone",
            cure="{{ x }} makes its own quotes: WHERE city = {{ x }}; a name needs IDENTIFIER({{ x }}) or sqlsafe",
        )
    sql = _MARKS.sub(lambda mark: bound[int(mark[1])], text)
    if len(sql) > MAX_RENDERED:
        raise refused(
            f"the rendered text is longer than {MAX_RENDERED:,} characters",
            rule="rendering_too_large",
            cure="bind fewer or shorter values",
        )
    return sql
