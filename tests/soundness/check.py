"""One query against what it means, and one database against its neighbours; a difference is an `UnsoundError`.

The only file here that runs the compiler and the engine.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from cleanroom.errors import CleanRoomError
from cleanroom.rooms.settings import NoiseMechanism
from cleanroom.templates.compile import compile_query
from cleanroom.templates.template import CompileContext, RenderedQuery, Template
from tests.soundness import meaning as mean
from tests.soundness.aggregates import Aggregate, Part
from tests.soundness.owners import entities, without, wrongly_unique
from tests.soundness.queries import Query, random_query
from tests.soundness.reference import Group, Measured, bounds
from tests.soundness.schemas import READER, arrow, random_rows
from tests.unit.attacks.neighbours import LeakError, check_price, compare

if TYPE_CHECKING:
    from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan
    from tests.soundness.schemas import Rows, Schema

RUN_KEY = 7
DIGITS = 6
"""A receipt rounds its clamps to so many digits: a range that has as many may be another, and is not compared."""
SUMS = ("sum", "centred sum")
ARROW_OF = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR": pa.string(),
}
"""The engine's standard types; a group key has one of them."""


class UnsoundError(Exception):
    """The plan does not mean what the query means, or one entity shows more than is declared."""


def compiled(query: Query) -> Plan:
    """Compile a query for the reader.

    Raises:
        CleanRoomError: it is refused.
    """
    rendered = RenderedQuery(sql=query.sql, dialect="snowflake", tables={t.full_name: t for t in query.schema.tables})
    context = CompileContext(reader=READER, settings=query.settings, exempt=query.schema.exempt)
    return compile_query(rendered, template=Template(name="tried", text=query.sql), context=context)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One exact table: the names and types of its columns, and group -> measured integers."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: dict[Group, tuple[int, ...]]

    def column(self, place: int) -> dict[Group, int]:
        """Return group -> integer of one measured column."""
        return {group: row[place] for group, row in self.rows.items()}


Tables = dict[str, Table]
"""Measurement -> its exact table."""


class Bench:
    """The engine. Planning takes longer than running, so many small databases are asked at once."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'")

    def load(self, plan: Plan, schema: Schema, database: Rows) -> None:
        """Give the tables of one database the names, and the columns, that the plan says it reads."""
        for use in plan.tables:
            table = arrow(schema.named(use.table.name), database[use.table.name])
            self.connection.register(use.relation, table.select(use.columns))

    def exact(self, plan: Plan, schema: Schema, database: Rows) -> tuple[Tables, dict[str, list[tuple[Any, ...]]]]:
        """Return the exact tables of a plan on one database, as the engine's own rows, too."""
        self.load(plan, schema, database)
        tables, given = {}, {}
        for m in plan.measurements:
            answer = self.connection.execute(m.exact_sql, {"run_key": RUN_KEY} if "$run_key" in m.exact_sql else None)
            names, types = (tuple(str(d[i]) for d in answer.description) for i in (0, 1))
            given[m.name] = answer.fetchall()
            tables[m.name] = _table(m, names, types, given[m.name])
        return tables, given

    def exact_of_many(self, plan: Plan, schema: Schema, databases: list[Rows]) -> list[Tables]:
        """Return the exact tables on each database: the same query as a lateral subquery of their numbers."""
        self.connection.register("worlds_", pa.table({"w": range(len(databases))}))
        for use in plan.tables:
            linked = schema.named(use.table.name)
            parts = [arrow(linked, d[use.table.name]).select(use.columns) for d in databases]
            numbered = [t.append_column("world_", pa.array([i] * len(t), pa.int64())) for i, t in enumerate(parts)]
            self.connection.register(use.relation, pa.concat_tables(numbered))
        found: list[Tables] = [{} for _ in databases]
        for m in plan.measurements:
            sql = m.exact_sql
            for use in plan.tables:
                listed = ", ".join('"' + name.replace('"', '""') + '"' for name in use.columns)
                narrowed = f'(SELECT {listed} FROM "{use.relation}" WHERE world_ = worlds_.w) AS'
                sql = sql.replace(f'"{use.relation}" AS', narrowed)
            answer = self.connection.execute(
                f"SELECT worlds_.w, q_.* FROM worlds_, LATERAL ({sql.replace('$run_key', str(RUN_KEY))}) AS q_"
            )
            names, types = (tuple(str(d[i]) for d in answer.description[1:]) for i in (0, 1))
            rows: list[list[tuple[Any, ...]]] = [[] for _ in databases]
            for row in answer.fetchall():
                rows[row[0]].append(row[1:])
            for number, listed_rows in enumerate(rows):
                found[number][m.name] = _table(m, names, types, listed_rows)
        return found

    def release(self, plan: Plan, tables: Tables, given: dict[str, list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        """Return what the release query makes of the engine's exact rows, as if no noise had been drawn."""
        for m in plan.measurements:
            columns = {}
            for i, name in enumerate(m.keys):
                columns[name] = pa.array([row[i] for row in given[m.name]], ARROW_OF[tables[m.name].types[i]])
            for i, c in enumerate(m.columns, len(m.keys)):
                values = [float(row[i]) * float(c.unit) for row in given[m.name]]
                kind = pa.int64() if c.is_count else pa.float64()
                columns[c.name] = pa.array([round(v) if c.is_count else v for v in values], kind)
            self.connection.register(m.name, pa.table(columns))
        rows = self.connection.execute(plan.release.sql).fetchall()
        return [row[: len(plan.release.columns)] for row in rows]


def _table(m: Measurement, names: tuple[str, ...], types: tuple[str, ...], given: list[tuple[Any, ...]]) -> Table:
    width = len(m.keys)
    rows: dict[Group, tuple[int, ...]] = {}
    for row in given:
        group = tuple(map(mean.standard, row[:width]))
        if group in rows:
            raise UnsoundError("a group appears twice")
        rows[group] = row[width:]
    return Table(names=names, types=types, rows=rows)


# --- a plan and what the query means ----------------------------------------------------------------------------------


def check_meaning(
    query: Query, plan: Plan, database: Rows, tables: Tables, *, release: bool
) -> list[list[list[Any]]] | None:
    """Compare the exact tables of one database with the reference.

    Returns:
        If `release`, for each measurement what it releases without noise; None where a sum could be one of two columns.

    Raises:
        UnsoundError: with what differs.
        HardLimitError: nothing can be compared.
    """
    if len(plan.measurements) != len(query.asked):
        raise UnsoundError(f"{len(plan.measurements)} measurements, asked for {len(query.asked)}")
    gaussian = query.settings.noise_mechanism is NoiseMechanism.GAUSSIAN
    released = []
    for m, asked in zip(plan.measurements, query.asked, strict=True):
        measured = Measured(asked, database, stated=m.bounds)
        if m.partition_selection is not None and measured.over_the_hard_limit:
            raise HardLimitError
        measured = _check_shape(m, tables[m.name], measured)
        compared = _Compared(m, tables[m.name], measured, gaussian=gaussian)
        released.append(compared.released() if release else [])
    known = [r for r in released if r is not None]
    return known if len(known) == len(released) else None


class HardLimitError(Exception):
    """An entity is in more private groups than are kept: which are kept is a secret of the run."""


def _check_shape(m: Measurement, table: Table, measured: Measured) -> Measured:
    """Compare names, types, and which groups there are; return the reference with the groups of the table."""
    if table.names != (*m.keys, *(c.name for c in m.columns)):
        raise UnsoundError(f"columns {table.names}")
    if any(kind != "BIGINT" for kind in table.types[len(m.keys) :]):
        raise UnsoundError(f"types {table.types}")
    if measured.public is not None and m.partition_selection is not None:
        raise UnsoundError("groups are public, and are treated as private")
    if measured.public is None and m.partition_selection is None:
        # What a key can be may follow from ranges that the grammar does not know of; never for a plain column.
        if any(k.values is None and k.public is None and k.column and not k.constant for k in measured.asked.keys):
            raise UnsoundError("groups of a private column are treated as public")
        measured = Measured(measured.asked, measured.database, stated=m.bounds, public=set(table.rows))
    found, expected = set(table.rows), measured.groups
    # A public group of NULL may be listed or not, where no value is NULL; then it has no rows.
    met = {g for groups in measured.by_entity.values() for g in groups}
    if any(None not in g or any(table.rows[g]) for g in found - expected) or any(
        None not in g or g in met for g in expected - found
    ):
        raise UnsoundError(f"groups {sorted(found, key=repr)}, expected {sorted(expected, key=repr)}")
    if measured.public is not None:
        measured.public = found
    return measured


class _Compared:
    """One exact table beside its reference: which column is which part."""

    def __init__(self, m: Measurement, table: Table, measured: Measured, *, gaussian: bool) -> None:
        self.m, self.table, self.measured, self.gaussian = m, table, measured, gaussian
        self.found: dict[tuple[str, str], dict[bool, Part]] = {}
        self.unclear = False
        self.rounded: set[str] = set()
        used: set[str] = set()
        for aggregate, part in self._wanted():
            seen = self.found[aggregate.pool, part.name] = {}
            for centred in (True, False):
                could_be: list[Part] = []
                for place, c in enumerate(m.columns):
                    known = self._known_as(c, place, aggregate, part, centred=centred)
                    if known is not None:
                        used.add(c.name)
                        could_be.append(known)
                own = [known for known in could_be if _range(known) == _range(part)]
                if could_be:
                    seen[centred] = (own or could_be)[0]
                    self.unclear = self.unclear or (not own and len(set(map(_range, could_be))) > 1)
            if not seen and any(c.name in self.rounded and c.meaning.startswith("sum") for c in m.columns):
                self.unclear = True
                return
            if not seen:
                there = [(c.meaning, c.norm, c.sensitivity, table.column(i)) for i, c in enumerate(m.columns)]
                expected = self._expected(aggregate, part)
                raise UnsoundError(f"no column is {part.name}: {expected}; there are {there}, {dict(m.bounds)}")
        for c in m.columns:
            if c.name in self.rounded and c.name not in used:
                self.unclear = True
            elif c.name not in used:
                raise UnsoundError(f"{c.name} ({c.meaning}) is nothing that was asked for")

    def _wanted(self) -> list[tuple[Aggregate, Part]]:
        wanted = [(a, p) for a in self.measured.asked.aggregates for p in a.parts]
        selects = self.measured.public is None or self.measured.asked.at_least > 0
        if selects and not any(p.kind == "entities" for _, p in wanted):
            entities = Part(kind="entities")
            wanted.append((Aggregate(sql="", parts=(entities,), of=lambda _: None), entities))
        return wanted

    def _known_as(
        self, c: MeasuredColumn, place: int, aggregate: Aggregate, part: Part, *, centred: bool
    ) -> Part | None:
        """Return the part as which the column was measured, or None where it is another."""
        sums = part.kind in SUMS
        kind = {"rows": "count", "values": "count", "entities": "entities"}.get(part.kind, "sum")
        if _class(c) != kind or (not sums and centred) or (part.kind == "centred sum" and not centred):
            return None
        if sums and c.meaning.startswith("sum around") != centred:
            return None
        gaussian = self._gaussian(aggregate)
        there = self.table.column(place)
        for seen in self._seen(c, part, centred=centred):
            expected = self.measured.integers(seen, gaussian=gaussian)
            if (
                (c.norm == "l2") == gaussian
                and c.unit == self.measured.unit(seen)
                and c.sensitivity == self.measured.sensitivity(seen, gaussian=gaussian)
                and all(there.get(g, 0) == expected.get(g, 0) for g in there.keys() | expected.keys())
            ):
                return seen
        return None

    def _seen(self, c: MeasuredColumn, part: Part, *, centred: bool) -> list[Part]:
        """Return the part as it may be measured: in the range that the grammar knows, or in that of the receipt.

        A range that follows from others may be found narrower, or wider; the promise is about the one that is stated.
        """
        if part.kind not in SUMS or part.x is None:
            return [part]
        kind = "centred sum" if centred else "sum"
        stated = self.m.bounds.get(f"clamp of {c.name}", "").split(" to ")
        ranges = [part.x.range]
        if len(stated) == 2:
            ranges.append((Fraction(stated[0]), Fraction(stated[1])))
            if any(len(text.strip("-").replace(".", "").lstrip("0")) >= DIGITS for text in stated):
                self.rounded.add(c.name)
        return [Part(kind=kind, x=replace(part.x, range=r)) for r in ranges]

    def _expected(self, aggregate: Aggregate, part: Part) -> Any:
        gaussian = self._gaussian(aggregate)
        sensitivity = self.measured.sensitivity(part, gaussian=gaussian)
        return part.x and part.x.range, sensitivity, self.measured.integers(part, gaussian=gaussian)

    def _gaussian(self, aggregate: Aggregate) -> bool:
        return self.gaussian if aggregate.gaussian is None else aggregate.gaussian

    def released(self) -> list[list[Any]] | None:
        """Return the reference's rows without noise; None where a sum could be either of two columns."""
        counting = [a for a, p in self._wanted() if p.kind == "entities"]
        gaussian = self._gaussian(counting[0]) if counting else self.gaussian
        entities = self.measured.integers(Part(kind="entities"), gaussian=gaussian)
        rows = [] if self.unclear else self.measured.released(self._numbers, entities=entities)
        return None if self.unclear else rows

    def _numbers(self, aggregate: Aggregate, part: Part) -> tuple[dict[Group, int], Part]:
        """Return a part's integers, and the part as it was measured."""
        options = self.found.get((aggregate.pool, part.name), {False: part})
        names = {p.name for a in self.measured.asked.aggregates if a.pool == aggregate.pool for p in a.parts}
        centred = True in options
        if len(options) == 2:
            centred = part.x is not None and f"values {part.x.sql}" in names
            self.unclear = self.unclear or (not centred and "rows" in names)
        seen = options[centred]
        return self.measured.integers(seen, gaussian=self._gaussian(aggregate)), seen


def _range(part: Part) -> Any:
    return None if part.x is None else part.x.range


def _class(c: MeasuredColumn) -> str:
    if c.meaning.startswith("sum"):
        return "sum"
    return "entities" if c.meaning == "entities" else "count"


def _check_released(found: list[tuple[Any, ...]], expected: list[list[Any]]) -> None:
    """Compare the release without noise, whatever the order of rows; doubles within 1e-9."""
    one = sorted((tuple(map(mean.standard, row)) for row in found), key=_by)
    other = sorted((tuple(map(mean.standard, row)) for row in expected), key=_by)
    if len(one) != len(other) or not all(
        _close(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    ):
        raise UnsoundError(f"released {one}, expected {other}")


def _by(row: tuple[Any, ...]) -> str:
    return repr(tuple(float(f"{v:.6g}") + 0.0 if isinstance(v, int | float) else v for v in row))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return bool(a == b)


# --- neighbours -------------------------------------------------------------------------------------------------------


def check_neighbours(plan: Plan, query: Query, tables: Tables, fewer: Tables) -> None:
    """Compare exact tables with those without one entity, each column in its declared norm.

    Raises:
        UnsoundError: with what moved.
    """
    for m, asked in zip(plan.measurements, query.asked, strict=True):
        k = bounds(asked, m.bounds).groups
        one, other = ((t[m.name].names, t[m.name].types, t[m.name].rows) for t in (tables, fewer))
        try:
            compare(m, one, other, max_groups=k)
        except LeakError as leak:
            raise UnsoundError(str(leak)) from leak


# --- many -------------------------------------------------------------------------------------------------------------


FEATURES: dict[str, Callable[[Query, Plan], bool]] = {
    "a left join": lambda q, _: " LEFT JOIN " in q.sql,
    "a right join": lambda q, _: " RIGHT JOIN " in q.sql,
    "a CTE": lambda q, _: "WITH " in q.sql,
    "a subquery": lambda q, _: "(SELECT " in q.sql,
    "WHERE": lambda q, _: " WHERE " in q.sql,
    "addnoise": lambda q, _: "addnoise(" in q.sql,
    "an average": lambda q, _: "AVG(" in q.sql,
    "several protected tables": lambda q, _: any(len(a.read.protected) > 1 for a in q.asked),
    "two measurements": lambda _, p: len(p.measurements) > 1,
    "no groups": lambda _, p: any(not m.keys for m in p.measurements),
    "public groups": lambda _, p: any(m.keys and m.partition_selection is None for m in p.measurements),
    "private groups": lambda _, p: any(m.partition_selection is not None for m in p.measurements),
    "Gaussian noise": lambda _, p: any(c.norm == "l2" for m in p.measurements for c in m.columns),
    "a sum around the middle": lambda _, p: any("sum around" in c.meaning for m in p.measurements for c in m.columns),
}
"""What every longer run must have asked for; counted for the queries that are accepted."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A violation, and all that is needed to see it again."""

    what: str
    query: Query
    database: Rows
    entity: Any = None


def check_one(
    query: Query,
    rng: random.Random,
    bench: Bench,
    counted: Counter[str],
    *,
    databases: int,
    mistake: Callable[[Plan], Plan] = lambda plan: plan,
    compiling: Callable[[Query], Plan] = compiled,
) -> Found | None:
    """Check one query on random databases and their neighbours; None where nothing is wrong.

    Args:
        query: to be checked.
        rng: for databases.
        bench: runs the plan.
        counted: what was tried; it grows.
        databases: how many.
        mistake: planted in the plan.
        compiling: makes the plan; another one for mistakes that are planted in what is compiled.
    """
    try:
        plan = mistake(compiling(query))
    except CleanRoomError as refusal:
        counted.update(f"refused as it must be: {why}" for why in query.unsound[:1])
        if query.unsound:
            return None
        counted["refused"] += 1
        counted[f"refused: {getattr(refusal, 'rule', refusal.code)}"] += 1
        return None
    if query.unsound:
        return Found(what=f"accepted: {', '.join(query.unsound)}", query=query, database={})
    counted["accepted"] += 1
    counted.update(f"with {what}" for what, has in FEATURES.items() if has(query, plan))
    many = [random_rows(rng, query.schema) for _ in range(databases)]
    fewer: list[tuple[int, Any]] = []
    for number, database in enumerate(many):
        people = entities(query.schema, database)
        fewer += [(number, e) for e in rng.sample(people, min(1, len(people)))]
    place, entity = 0, None
    try:
        check_price(plan)
        # The order of rows says nothing: alone they are asked in reverse, and without an entity in any order.
        alone, given = bench.exact(plan, query.schema, {name: rows[::-1] for name, rows in many[0].items()})
        left = [without(query.schema, many[i], e, orphans=rng.random() < 0.3) for i, e in fewer]
        shuffled = [{name: rng.sample(rows, len(rows)) for name, rows in less.items()} for less in left]
        worlds = [*many, *shuffled]
        tables = bench.exact_of_many(plan, query.schema, worlds)
        if alone != tables[0]:
            raise UnsoundError("alone and among others a database gives different tables")
        for place, database in enumerate(many):
            if any(wrongly_unique(query.schema, query.schema.named(t.table.name), database) for t in plan.tables):
                counted["a key wrongly called unique"] += 1
                continue
            try:
                released = check_meaning(query, plan, database, tables[place], release=not place)
            except HardLimitError:
                counted["over the hard limit"] += 1
                continue
            counted["meanings"] += 1
            if place == 0 and released is not None:
                counted["releases"] += 1
                _check_released(bench.release(plan, alone, given), query.above(released))
        for number, neighbour in enumerate(fewer, databases):
            place, entity = neighbour
            check_neighbours(plan, query, tables[place], tables[number])
            counted["neighbours"] += 1
    except (UnsoundError, LeakError, duckdb.Error) as failure:
        return Found(what=f"{type(failure).__name__}: {failure}", query=query, database=many[place], entity=entity)
    return None


def check_many(
    *, seed: int, pairs: int, databases: int = 16, most_findings: int = 5
) -> tuple[Counter[str], list[Found]]:
    """Check random queries until so many pairs of query and database, and so many neighbours, were compared."""
    rng, bench = random.Random(seed), Bench()
    counted: Counter[str] = Counter()
    found: list[Found] = []
    while min(counted["meanings"], counted["neighbours"]) < pairs and len(found) < most_findings:
        violation = check_one(random_query(rng), rng, bench, counted, databases=databases)
        found += [violation] if violation is not None else []
    return counted, found
