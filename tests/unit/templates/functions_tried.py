"""The two tables on which every allowed function is tried, and its examples as compiled SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import duckdb
import pyarrow as pa
import sqlglot

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.moments import moment_number
from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, EntityColumn, LinkedTable, TablePolicy
from cleanroom.templates.expressions import translate
from cleanroom.templates.functions import FUNCTIONS, NAMED_FUNCTIONS
from cleanroom.templates.relations import RowScope, World, instantiate, table_relation
from cleanroom.templates.scalars import LARGEST_COPIED, Scalar
from cleanroom.templates.trees import to_sql

T = ColumnType
TYPES = {
    "who": T.TEXT,
    "a": T.TEXT,
    "b": T.TEXT,
    "x": T.INTEGER,
    "y": T.INTEGER,
    "f": T.DOUBLE,
    "g": T.DOUBLE,
    "m": T.DECIMAL,
    "d": T.DATE,
    "e": T.DATE,
    "t": T.TIMESTAMP,
    "u": T.TIMESTAMP,
    "p": T.BOOLEAN,
    "q": T.BOOLEAN,
    "l": T.ARRAY,
    "k": T.ARRAY,
}
NATIVE = {
    T.TEXT: "VARCHAR",
    T.INTEGER: "BIGINT",
    T.DOUBLE: "DOUBLE",
    T.DECIMAL: "DECIMAL(38,10)",
    T.DATE: "DATE",
    T.TIMESTAMP: "TIMESTAMP",
    T.BOOLEAN: "BOOLEAN",
}

ELEMENTS = {"l": "VARCHAR[]", "k": "BIGINT[]"}

_LONG = 4_100
WILD_VALUES: dict[ColumnType, list[str | None]] = {
    T.TEXT: [
        *(None, "", " ", "a", "x-x", "ABC-12", "éß-Ïİ", "e\u0301", "😀😀", "\t\n\\%_'\"", "2024-02-29", "20240229"),
        *("2024-02-29 23:59:60", "infinity", "-1.5e308", "9223372036854775808", "true", "\x00\x01", "(a+)+$", "%"),
        *("x" * _LONG, "😀" * _LONG, "-" * _LONG, "a0" * (_LONG // 2)),
    ],
    T.INTEGER: [
        *(None, "0", "1", "-1", "2", "-2", "12", "31", "366", "9999", "10000", "55296", "1114111"),
        *map(str, (-(2**31), 2**31, 2**53, 2**62, -(2**62), 2**63 - 1, -(2**63), -(2**63) + 1)),
    ],
    T.DOUBLE: [
        *(
            None,
            "nan",
            "inf",
            "-inf",
            "0",
            "-0.0",
            "1",
            "-1",
            "0.5",
            "-0.5",
            "2.5",
            "1.15",
            "-1.15",
            "1e-320",
            "5e-324",
        ),
        *("1e300", "-1e300", "1.7976931348623157e308", "-1.7976931348623157e308", "9223372036854775807", "1e15", "710"),
    ],
    T.DECIMAL: [None, "0", "1.15", "-1.15", "9999999999999999999999999999", "-9999999999999999999999999999.9999999999"],
    T.DATE: [
        *(None, "0001-01-01", "0001-01-02", "9999-12-31", "1969-12-31", "1970-01-01", "2024-02-29", "2023-01-01"),
        *(
            "infinity",
            "-infinity",
            "5881580-07-10",
            "5877642-06-25 (BC)",
            "0001-12-31 (BC)",
            "10000-01-01",
            "2020-12-31",
        ),
    ],
    T.TIMESTAMP: [
        *(None, "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999", "infinity"),
        *("-infinity", "294247-01-10 04:00:54.775806", "290309-12-22 (BC) 00:00:00", "2024-02-29 12:34:56.789"),
        *("10000-01-01 00:00:00", "0001-12-31 (BC) 23:59:59", "1970-01-01 00:00:00"),
    ],
    T.BOOLEAN: [None, "true", "false"],
}
_LONG_ARRAY = f"[{', '.join(['7'] * 1_500)}]"
ARRAYS: dict[str, list[str | None]] = {
    "l": [None, "[]", "[NULL]", "['', 'x', NULL, 'x']", _LONG_ARRAY, f"['{'y' * _LONG}']", "['a-b', '\U0001f600']"],
    "k": [None, "[]", "[NULL, 0]", "[1, 2, 40]", _LONG_ARRAY, "[-7]"],
}
"""Also the tame ones: no range is declared for texts, and the numbers are within theirs."""
TAME_VALUES: dict[ColumnType, list[str | None]] = {
    T.TEXT: WILD_VALUES[T.TEXT][:12],
    T.INTEGER: [None, "-7", "-1", "0", "1", "3", "12", "40"],
    T.DOUBLE: [None, "-7", "-1.25", "-0.3", "0", "0.1", "1", "2.5", "39.99", "40"],
    T.DECIMAL: [None, "-7", "0", "1.15", "40"],
    T.DATE: [None, "2019-12-30", "2020-02-29", "2020-12-31", "2021-01-01", "2021-06-15", "2022-01-02"],
    T.TIMESTAMP: [
        *(None, "2019-12-30 00:00:00", "2020-02-29 12:34:56.789", "2020-12-31 23:59:59.999999", "2021-01-01 00:00:00"),
        *("2022-01-02 10:00:00",),
    ],
    T.BOOLEAN: [None, "true", "false"],
}
_ENDS = {T.DATE: ("2019-12-30", "2022-01-02"), T.TIMESTAMP: ("2019-12-30 00:00:00", "2022-01-02 10:00:00")}


def _bounds() -> dict[str, ColumnBounds]:
    found = {}
    for name, kind in TYPES.items():
        if kind in (T.INTEGER, T.DOUBLE, T.DECIMAL) or name == "k":
            found[name] = ColumnBounds(lo=Fraction(-7), hi=Fraction(40))
        elif kind in _ENDS:
            lo, hi = (Fraction(moment_number(end, kind) or 0) for end in _ENDS[kind])
            found[name] = ColumnBounds(lo=lo, hi=hi, kind=kind)
    return found


def table(*, bounds: bool) -> LinkedTable:
    return LinkedTable(
        owner="airline",
        name="tried",
        columns=tuple(Column(name=n, type=t, native_type=ELEMENTS.get(n) or NATIVE[t]) for n, t in TYPES.items()),
        entity_columns=(EntityColumn(column="who", kind="person"),),
        policy=TablePolicy(max_rows=5, max_groups=5, bounds=_bounds() if bounds else {}),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One way to call a function, compiled over one row of `tried`."""

    text: str
    scalar: Scalar

    @property
    def sql(self) -> str:
        return to_sql(self.scalar.sql)


_OTHER_OPERANDS = ({}, {"x": "f", "y": "g"}, {"x": "m", "y": "x"}, {"d": "t", "e": "u"}, {"a": "CAST(x AS VARCHAR)"})

OTHERS = (
    *("d + 1", "1 + d", "d - 1", "d - e", "d + x", "d - x", "d + INTERVAL '1 month'", "t - INTERVAL '90 minute'"),
    *("x + y", "x - y", "x * y", "x / y", "x % y", "MOD(x, 7)", "-x", "f + g", "f * g", "f / g", "f % g", "DIV0(x, y)"),
    *("DIV0NULL(x, y)", "ZEROIFNULL(x)", "NULLIFZERO(x)", "IFF(p, x, y)", "CASE WHEN p THEN d ELSE e END", "x::FLOAT"),
    *(
        "f::INT",
        "f::NUMBER(10, 1)",
        "a::INT",
        "a::FLOAT",
        "a::DATE",
        "a::TIMESTAMP_NTZ",
        "a::BOOLEAN",
        "d::TIMESTAMP_NTZ",
    ),
    *(
        "t::DATE",
        "d::VARCHAR",
        "t::VARCHAR",
        "x::VARCHAR(3)",
        "p::INT",
        "x::BOOLEAN",
        "a LIKE '%a%'",
        "a IN ('a', 'b')",
    ),
    *("x BETWEEN y AND 3", "p AND q", "p OR q", "NOT p", "p IS TRUE", "x = f", "d < t", "LEAST(GREATEST(f, 0), 100)"),
    *("LEAST(GREATEST(d, '2020-01-01'), '2020-12-31'::DATE)", "DATEDIFF('week', d, t)", "DATEDIFF('second', t, u)"),
    *("DATEDIFF('microsecond', t, u)", "DATEDIFF('quarter', d, e)", "DATEADD('month', x, d)", "DATEADD('year', x, t)"),
    *("DATEADD('second', x, t)", "DATEADD('week', x, d)", "DATEADD('quarter', -1, t)", "DATE_FROM_PARTS(x, y, x)"),
    *(
        "TIMESTAMP_NTZ_FROM_PARTS(x, y, x, y, x, y)",
        "LAST_DAY(d, 'week')",
        "LAST_DAY(t, 'quarter')",
        "ADD_MONTHS(t, x)",
    ),
    *(f"DATE_TRUNC('{u}', t)" for u in ("year", "quarter", "week", "day", "hour", "minute", "second", "millisecond")),
    *(f"TIME_SLICE(t, 7, '{u}')" for u in ("year", "quarter", "month", "week", "day", "hour", "minute", "second")),
    *(f"TIME_SLICE(d, 5, '{u}', 'END')" for u in ("year", "quarter", "month", "week", "day")),
    *("TO_CHAR(t, 'YYYY/MM/DD HH24:MI:SS')", "TO_CHAR(d, 'DY DD MON YYYY')", "DATE_PART('epoch_millisecond', t)"),
    *("LOG(x, f)", "LOG(2, f)", "ROUND(f, -2)", "FLOOR(f, -2)", "TRUNC(f, 15)", "POWER(f, 2)", "NVL2(a, d, e)"),
    *("REGEXP_REPLACE(a, '\\\\w', 'xxxxxxxx')", "REPLACE(a, 'x', 'yyyyyyyy')", "REGEXP_LIKE(a, '(a*)*b', 'is')"),
    *("k[y]", "GET(k, 999)", "k[1000]", "ARRAY_CONTAINS(f, k)", "ARRAY_CONTAINS(NULL, l)", "ARRAY_POSITION(x, k)"),
    *("SPLIT(a, 'x')[0]", "ARRAY_SIZE(SPLIT(a, '-'))", "ARRAY_TO_STRING(SPLIT(a, '-'), '----------------')"),
    *("ARRAYS_OVERLAP(k, [x, y, NULL])", "[a, b][1]", "[x, f][x]", "ARRAY_MAX([d, e])", "ARRAY_TO_STRING(k, '')"),
    *("ARRAY_MIN(l)", "l IS NULL", "ARRAY_TO_STRING([p, q], ',')"),
    *("CONCAT_WS(a, b, a, b)", "RPAD(a, 4096, '😀')", "a || a || a", "SUBSTR(a, -5, 2)", "SPLIT_PART(a, '-', -2)"),
    *(
        "COALESCE(MONTH(d), 0)",
        "DECODE(p, TRUE, 'a', FALSE, 'b', NULL, 'c')",
        "YEAR(d) * 100 + MONTH(d)",
        "-d::VARCHAR::INT",
    ),
)
"""Operators, casts, and forms of functions that the list's examples leave out."""


def scope(of: LinkedTable) -> RowScope:
    relation = table_relation(of, name="tried", world=World.OWNED)
    return RowScope((instantiate(relation, name="tried", alias="r"),))


def compiled(text: str, rows: RowScope) -> Scalar:
    (parsed,) = sqlglot.parse_one(f"SELECT {text}", read="snowflake").expressions
    return translate(parsed, rows, arrays=True)


def examples() -> Iterator[str]:
    """Give every example of the list, and then with operands of every other type that it takes."""
    rows = scope(table(bounds=False))
    seen: set[str] = set()
    for allowed in (*FUNCTIONS.values(), *NAMED_FUNCTIONS.values()):
        for example in allowed.examples:
            tree = sqlglot.parse_one(f"SELECT {example}", read="snowflake")
            for others in _OTHER_OPERANDS:
                changed = tree.transform(
                    lambda n, o=others: (
                        sqlglot.parse_one(o[n.name], read="snowflake")
                        if isinstance(n, sqlglot.exp.Column) and n.name in o
                        else n
                    )
                )
                text = changed.sql(dialect="snowflake").removeprefix("SELECT ") if others else example
                if text in seen:
                    continue
                seen.add(text)
                try:
                    compiled(text, rows)
                except TemplateRefusedError:
                    if not others:
                        raise
                    continue
                yield text


def tried(*, bounds: bool) -> list[Tried]:
    rows = scope(table(bounds=bounds))
    found = [Tried(text=text, scalar=compiled(text, rows)) for text in (*examples(), *OTHERS)]
    return [one for one in found if one.scalar.type is not T.ARRAY]  # these are asked for an element in OTHERS


def with_large_operands() -> Iterator[tuple[Tried, Tried]]:
    """Give every call, and the same with each column in a CASE of many arms that changes nothing."""
    rows = scope(table(bounds=False))
    for text in (*examples(), *OTHERS):
        tree = sqlglot.parse_one(f"SELECT {text}", read="snowflake")
        columns = {n.name.lower() for n in tree.find_all(sqlglot.exp.Column)}
        if not columns or columns & {
            "who",
            "m",
            "l",
            "k",
        }:  # an array cannot stand in a CASE, a decimal leaves it double
            continue
        large = tree.transform(
            lambda n: (
                sqlglot.parse_one(
                    f"(CASE {f'WHEN {n.name} IS NULL THEN {n.name} ' * (LARGEST_COPIED // 2)} ELSE {n.name} END)",
                    read="snowflake",
                )
                if isinstance(n, sqlglot.exp.Column)
                else n
            )
        )
        both = [
            Tried(text=text, scalar=translate(one.expressions[0], rows, arrays=True))
            for one in (sqlglot.parse_one(f"SELECT {text}", read="snowflake"), large)
        ]
        if both[0].scalar.type is not T.ARRAY:
            yield both[0], both[1]


def fill(connection: duckdb.DuckDBPyConnection, values: dict[ColumnType, list[str | None]]) -> None:
    """Make the table `tried`: every value beside every other of the same type, and beside many of other types."""
    width = max(map(len, values.values()))
    columns: dict[str, list[str | None]] = {}
    for name, kind in TYPES.items():
        listed = ARRAYS.get(name) or values[kind]
        second = name in ("b", "y", "g", "e", "u", "q")
        columns[name] = [listed[(j if second else i) % len(listed)] for i in range(width) for j in range(width)]

    connection.register("given", pa.table({n: pa.array(v, type=pa.string()) for n, v in columns.items()}))
    listed_sql = ", ".join(f"CAST({n} AS {ELEMENTS.get(n) or NATIVE[t]}) AS {n}" for n, t in TYPES.items())
    connection.execute(f"CREATE TABLE tried AS SELECT {listed_sql} FROM given")
    connection.unregister("given")
