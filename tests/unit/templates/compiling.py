"""Tables, and short ways to compile and to run exact queries, for the tests of the compiler."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from cleanroom.privacy.quantiles import curves, nodes_of
from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, Domain, EntityColumn, LinkedTable, TablePolicy
from cleanroom.templates.compile import compile_query
from cleanroom.templates.plan import Measurement, Plan
from cleanroom.templates.template import CompileContext, RenderedQuery
from cleanroom.use_cases.noisy_tables import NoisyTable, shown

NATIVE = {
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DECIMAL: "DECIMAL(15,2)",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.TEXT: "VARCHAR",
    ColumnType.ARRAY: "VARCHAR[]",
    ColumnType.OTHER: "STRUCT(a INTEGER)",
}

ARROW = {ColumnType.INTEGER: pa.int64(), ColumnType.DOUBLE: pa.float64(), ColumnType.BOOLEAN: pa.bool_()}


def columns(**types: ColumnType) -> tuple[Column, ...]:
    return tuple(Column(name=n, type=t, native_type=NATIVE[t]) for n, t in types.items())


def bounds(lo: str | int, hi: str | int) -> ColumnBounds:
    return ColumnBounds(lo=Fraction(lo), hi=Fraction(hi))


T = ColumnType

CUSTOMERS = LinkedTable(
    owner="airline",
    name="customers",
    columns=columns(
        hashed_email=T.TEXT,
        status=T.TEXT,
        city=T.TEXT,
        age=T.INTEGER,
        spend=T.DOUBLE,
        price=T.DECIMAL,
        since=T.DATE,
        seen=T.TIMESTAMP,
        active=T.BOOLEAN,
        other=T.OTHER,
        tags=T.ARRAY,
    ),
    entity_columns=(EntityColumn(column="hashed_email", kind="email"),),
    policy=TablePolicy(
        max_rows=3,
        max_groups=2,
        bounds={"age": bounds(0, 120), "spend": bounds(-10, 30), "price": bounds(0, 1000)},
        domains={"status": Domain(values=("gold", "silver", "none"))},
    ),
)
FLIGHTS = LinkedTable(
    owner="airline",
    name="flights",
    columns=columns(email=T.TEXT, miles=T.INTEGER, dest=T.TEXT),
    entity_columns=(EntityColumn(column="email", kind="email"),),
    policy=TablePolicy(max_rows=7, max_groups=5, bounds={"miles": bounds(0, 5000)}),
)
PLANES = LinkedTable(
    owner="airline",
    name="planes",
    columns=columns(tailnum=T.TEXT, seats=T.INTEGER),
    entity_columns=(EntityColumn(column="tailnum", kind="device_id"),),
    policy=TablePolicy(max_rows=1, max_groups=1),
)
AIRPORTS = LinkedTable(owner="airline", name="airports", columns=columns(code=T.TEXT, country=T.TEXT))
PAIRS = LinkedTable(
    owner="airline",
    name="pairs",
    columns=columns(a=T.TEXT, b=T.TEXT),
    entity_columns=(EntityColumn(column="a", kind="email"), EntityColumn(column="b", kind="email")),
)
BARE = LinkedTable(
    owner="airline",
    name="bare",
    columns=columns(email=T.TEXT, x=T.DOUBLE, g=T.TEXT),
    entity_columns=(EntityColumn(column="email", kind="email"),),
)
SEGMENTS = LinkedTable(
    owner="shop",
    name="segments",
    columns=columns(email=T.TEXT, segment=T.TEXT, weight=T.DOUBLE),
    entity_columns=(EntityColumn(column="email", kind="email"),),
)
HOTELS = LinkedTable(
    owner="hotel",
    name="guests",
    columns=columns(email=T.TEXT, nights=T.INTEGER),
    entity_columns=(EntityColumn(column="email", kind="email"),),
    policy=TablePolicy(max_rows=2, max_groups=2),
)
TABLES = (CUSTOMERS, FLIGHTS, PLANES, AIRPORTS, PAIRS, BARE, SEGMENTS, HOTELS)
EPSILON_ONE = PrivacySettings(differential=True, epsilon=Fraction(1))


def settings(**changes: Any) -> PrivacySettings:
    return replace(EPSILON_ONE, **changes)


GAUSSIAN = settings(noise_mechanism=NoiseMechanism.GAUSSIAN)
OFF = PrivacySettings()


def compiled(
    sql: str,
    *,
    given: PrivacySettings = EPSILON_ONE,
    tables: tuple[LinkedTable, ...] = TABLES,
    sensitivity: Fraction = Fraction(1),
    dialect: str = "snowflake",
    reader: str = "shop",
    exempt: frozenset[str] = frozenset(),
    consistent: bool = False,
) -> Plan:
    rendered = RenderedQuery(sql=sql, dialect=dialect, tables={t.full_name: t for t in tables})
    template = Template(name="tried", text=sql, sensitivity=sensitivity)
    context = CompileContext(reader=reader, settings=given, exempt=exempt, consistent_totals=consistent)
    return compile_query(rendered, template=template, context=context)


class Engine:
    """DuckDB with the tables of a plan, by full name."""

    def __init__(self, **rows: list[tuple[object, ...]]) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.rows = rows
        self._made: set[str] = set()

    def load(self, plan: Plan) -> None:
        """Give the plan's tables the names that it uses, with the columns that it says it reads and no others."""
        for use in plan.tables:
            source = f'"source {use.table.name}"'
            if use.table.name not in self._made:
                self._made.add(use.table.name)
                self._make(source, use.table)
            listed = ", ".join('"' + name.replace('"', '""') + '"' for name in use.columns)
            self.connection.execute(f"CREATE OR REPLACE VIEW {use.relation} AS SELECT {listed} FROM {source}")

    def _make(self, source: str, table: LinkedTable) -> None:
        names = ['"' + c.name.replace('"', '""') + '"' for c in table.columns]
        width = len(table.columns)
        rows = [(*row, *[None] * (width - len(row))) for row in self.rows.get(table.name, [])]
        given = pa.table(
            {
                f"v{place}": pa.array([row[place] for row in rows], type=ARROW.get(c.type))
                if c.type in ARROW
                else pa.array([None if row[place] is None else str(row[place]) for row in rows], type=pa.string())
                for place, c in enumerate(table.columns)
            }
        )
        self.connection.register("given", given)
        listed = ", ".join(
            f"CAST(v{place} AS {c.native_type}) AS {name}"
            for place, (c, name) in enumerate(zip(table.columns, names, strict=True))
        )
        self.connection.execute(f"CREATE TABLE {source} AS SELECT {listed} FROM given")
        self.connection.unregister("given")

    def exact(self, measurement: Measurement, run_key: int = 7) -> list[dict[str, Any]]:
        parameters = {"run_key": run_key} if "$run_key" in measurement.exact_sql else None
        answer = self.connection.execute(measurement.exact_sql, parameters)
        names = [d[0] for d in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def release(self, plan: Plan, *, sql: str | None = None, replicates: int = 0) -> list[tuple[Any, ...]]:
        """Run the release query on tables without noise."""
        for m in plan.measurements:
            text = m.exact_sql.replace("$run_key", "7")
            if m.quantiles:
                self._with_quantiles(m, plan, text)
                continue
            listed = [f'"{n}"' for n in (*m.keys, *plan.exact_columns)]
            for c in m.columns:
                kind = "BIGINT" if c.is_count else "DOUBLE"
                listed.append(f'CAST("{c.name}"::DOUBLE * {float(c.unit)!r} AS {kind}) AS "{c.name}"')
            extra = f", replicates.r AS replicate FROM ({text}), range({replicates}) AS replicates(r)"
            self.connection.execute(
                f"CREATE OR REPLACE TABLE {m.name} AS SELECT {', '.join(listed)}"
                + (extra if replicates else f" FROM ({text})")
            )
        return self.connection.execute(sql or plan.release.sql).fetchall()

    def _with_quantiles(self, m: Measurement, plan: Plan, text: str) -> None:
        """Make the noisy table as the product does, with noise of next to nothing."""
        exact = self.connection.sql(text).to_arrow_table()
        found: dict[str, Any] = {}
        for q in m.quantiles:
            column = next(c for c in m.columns if c.name == q.column)
            assert column.bins is not None
            cells = np.zeros((exact.num_rows, column.bins.number), dtype=np.int64)
            for row, listed in enumerate(exact.column(q.column).to_pylist()):
                for entry in listed or []:
                    cells[row, entry["b"]] = entry["n"]
            nodes = nodes_of(cells, column.bins)
            found[q.name] = curves(nodes, bins=column.bins, deviation=1e-6, fraction=float(q.fraction), end=q.end)
        integers = {c.name: np.asarray(exact.column(c.name)) for c in m.columns if c.bins is None}
        table = shown(NoisyTable(unmeasured=exact.select(list(m.keys)), integers=integers, curves=found), m)
        self.connection.execute(f"DROP VIEW IF EXISTS {m.name}")
        self.connection.register(m.name, table)


def ran(sql: str, rows: dict[str, list[tuple[object, ...]]], **how: Any) -> list[tuple[Any, ...]]:
    """Compile, run and release without noise."""
    plan = compiled(sql, **how)
    engine = Engine(**rows)
    engine.load(plan)
    return engine.release(plan)
