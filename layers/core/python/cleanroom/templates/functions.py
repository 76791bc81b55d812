"""The allow-list of row-wise functions, each with the reason why it is total and deterministic. Pure.

What is not here is refused: the engine offers functions that read files, run SQL, sleep, or fail with a row's value in
the message. Aggregates are in `aggregates.py`; `addnoise` is in `addnoise.py`; operators, CASE and casts in
`operators.py`. The families: `function_choices.py`, `function_numbers.py`, `function_texts.py`, `function_dates.py`,
`function_words.py`, `function_arrays.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.casts import cast_to_decimal, cast_written
from cleanroom.templates.function_arrays import ARRAY_FUNCTIONS
from cleanroom.templates.function_choices import CHOICE_FUNCTIONS
from cleanroom.templates.function_dates import DATE_FUNCTIONS, NAMED_DATE_FUNCTIONS
from cleanroom.templates.function_numbers import NAMED_NUMBER_FUNCTIONS, NUMBER_FUNCTIONS
from cleanroom.templates.function_rules import Allowed
from cleanroom.templates.function_texts import TEXT_FUNCTIONS
from cleanroom.templates.function_words import WORD_FUNCTIONS
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.refusals import only
from cleanroom.templates.scalars import Scalar


def to_number(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_NUMBER(x [, precision [, scale]]): INTEGER where the scale is 0, else a DOUBLE of that many digits."""
    only(node, {"this", "precision", "scale", "safe"})
    return cast_to_decimal(translate(child(node)), node.args.get("scale"))


def _cast_to(kind: ColumnType) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "safe"})
        return cast_written(translate(child(node)), kind)

    return handler


_CAST = "TRY_CAST: NULL where the value cannot be cast"

FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    **CHOICE_FUNCTIONS,
    **NUMBER_FUNCTIONS,
    **TEXT_FUNCTIONS,
    **WORD_FUNCTIONS,
    **DATE_FUNCTIONS,
    **ARRAY_FUNCTIONS,
    exp.ToNumber: Allowed(
        handler=to_number,
        examples=("TO_NUMBER(a)", "TO_NUMBER(a, 10, 2)", "TRY_TO_NUMBER(a)", "TO_DECIMAL(a, 10, 2)"),
        types="any → integer, or double where there is a scale",
        reason=_CAST,
    ),
    exp.ToDouble: Allowed(
        handler=_cast_to(ColumnType.DOUBLE),
        examples=("TO_DOUBLE(a)", "TRY_TO_DOUBLE(a)"),
        types="any → double",
        reason=_CAST,
    ),
    exp.ToBoolean: Allowed(
        handler=_cast_to(ColumnType.BOOLEAN),
        examples=("TO_BOOLEAN(a)", "TRY_TO_BOOLEAN(a)"),
        types="any → boolean",
        reason="NULL for a text that is none of true, t, yes, y, on, 1, false, f, no, n, off, 0",
    ),
}
"""Parser's class -> what is allowed. One list, closed."""

NAMED_FUNCTIONS: Mapping[str, Allowed] = {**NAMED_NUMBER_FUNCTIONS, **NAMED_DATE_FUNCTIONS}
"""Upper-case name -> what is allowed, of functions that the parser has no class for. Closed, too."""


def allowed_function(node: exp.Expr) -> Allowed | None:
    """Return the entry of the list for a call, or None."""
    if isinstance(node, exp.Anonymous):
        name = node.args.get("this")
        return NAMED_FUNCTIONS.get(name.upper()) if isinstance(name, str) else None
    return FUNCTIONS.get(type(node))


REFUSED: tuple[tuple[str, str], ...] = (
    ("`RANDOM`, `UNIFORM`, `UUID_STRING`, `SEQ4`, `NEXTVAL`", "the value differs from call to call"),
    ("`CURRENT_DATE`, `CURRENT_TIMESTAMP`, `GETDATE`, `SYSDATE`", "the value depends on when a run is; pass a date"),
    ("`CURRENT_USER`, `CURRENT_SESSION`, `SYSTEM$…`", "they tell of the session, which is the engine's own"),
    ("`PARSE_JSON`, `OBJECT_…`, `a:b`, `TO_VARIANT`", "there are no nested types but arrays of simple values"),
    ("`ARRAY_CAT`, `ARRAY_APPEND`, `ARRAY_AGG`", "an array could grow without limit in a chain of CTEs"),
    ("`ARRAY_DISTINCT`, `ARRAY_SORT`, `FILTER`, `TRANSFORM`", "FLATTEN in FROM, and SQL over its rows, say it"),
    ("`query`, `query_table`, `read_csv`, `read_parquet`, `glob`, table functions", "they run SQL or read files"),
    ("`error`, `getvariable`, `setseed`, `pg_sleep`, `write_log` and other engine functions", "they have side effects"),
    (
        "`TIME`, `TO_TIME`, `CONVERT_TIMEZONE`, timestamps with a zone",
        "values have no zone, and no time without a date",
    ),
    ("`HASH`, `SHA2(a, 512)`, `SOUNDEX`, `JAROWINKLER_SIMILARITY`", "the engine has none with equal results"),
    ("`TO_CHAR` of numbers with a format", "its formats have many rules of their own; ROUND, and TO_CHAR without one"),
    (
        "`x IN (SELECT …)` and other subqueries that tell a row of other entities",
        "they stand where [ownership.md](ownership.md#subqueries-in-expressions) allows them",
    ),
)
"""What stays refused, and why; everything that is not on the list is."""
