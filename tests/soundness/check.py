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
import numpy as np
import pyarrow as pa

from cleanroom.errors import CleanRoomError
from cleanroom.privacy.quantiles import MIDDLE, curves, nodes_of
from cleanroom.rooms.settings import NoiseMechanism
from cleanroom.templates.compile import compile_query
from cleanroom.templates.template import CompileContext, RenderedQuery, Template
from tests.soundness import meaning as mean
from tests.soundness.databases import arrow, random_crowd, random_rows
from tests.soundness.features import RELATIONS
from tests.soundness.items import TooManyRowsError
from tests.soundness.joining import Labelling, StoredLabels, same_entities
from tests.soundness.owners import entities, labels, without, wrongly_unique
from tests.soundness.parts import SUMS, Aggregate, Part
from tests.soundness.queries import Query, random_query
from tests.soundness.reference import Group, Measured, bounds
from tests.soundness.reference_bins import Bins, Histogram, bins_of
from tests.soundness.reference_grids import grid_of
from tests.soundness.schemas import READER
from tests.unit.attacks.neighbours import LeakError, check_price, compare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan
    from tests.soundness.schemas import Rows, Schema

RUN_KEY = 7
DIGITS = 6
"""A receipt rounds its clamps to so many digits: a range that has as many, or nearly, may be another, and is not
compared."""
OF_BINS = "STRUCT(b INTEGER, n BIGINT)[]"
LABELLED = 3
"""Databases of a query whose joined entities the product labels, and their neighbours; those of others the reference:
the product takes a twentieth of a second for each."""
CROWDS = 0.2
"""Share of the queries without windows that are asked of a crowd, too."""
TINY = 1e-9
"""Deviation of no noise, where there must be some."""
ARROW_OF = {
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR": pa.string(),
}
"""The engine's standard types; a group key has one of them. INTEGER: where it is one of several literals."""


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
    rows: dict[Group, tuple[Any, ...]]

    def column(self, place: int) -> dict[Group, Any]:
        """Return group -> integer, or list of bins, of one measured column."""
        return {group: row[place] for group, row in self.rows.items()}

    def cells(self, place: int) -> dict[Group, dict[int, int]]:
        """Return group -> bin -> count of one column of bins; bins that hold nothing are left out."""
        found = {}
        for group, listed in self.column(place).items():
            places = [cell["b"] for cell in listed or []]
            if places != sorted(set(places)):
                raise UnsoundError(f"bins {places} are not each listed once, in order")
            found[group] = {cell["b"]: cell["n"] for cell in listed or [] if cell["n"]}
        return found


Tables = dict[str, Table]
"""Measurement -> its exact table."""


class Bench:
    """The engine. Planning takes longer than running, so many small databases are asked at once."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'")
        self.stored_labels = StoredLabels()

    def load(self, plan: Plan, schema: Schema, database: Rows, *, labelled: Labelling = labels) -> None:
        """Give the tables of one database the names, and the columns, that the plan says it reads."""
        for use in plan.tables:
            table = arrow(schema.named(use.table.name), database[use.table.name], labelled)
            self.connection.register(use.relation, table.select(use.columns))

    def exact(
        self, plan: Plan, schema: Schema, database: Rows, *, labelled: Labelling = labels
    ) -> tuple[Tables, dict[str, list[tuple[Any, ...]]]]:
        """Return the exact tables of a plan on one database, as the engine's own rows, too."""
        self.load(plan, schema, database, labelled=labelled)
        tables, given = {}, {}
        for m in plan.measurements:
            answer = self.connection.execute(m.exact_sql, {"run_key": RUN_KEY} if "$run_key" in m.exact_sql else None)
            names, types = (tuple(str(d[i]) for d in answer.description) for i in (0, 1))
            given[m.name] = answer.fetchall()
            tables[m.name] = _table(m, names, types, given[m.name])
        return tables, given

    def exact_of_many(
        self, plan: Plan, schema: Schema, databases: list[Rows], *, labelled: Mapping[int, Labelling]
    ) -> list[Tables]:
        """Return the exact tables on each database: the same query as a lateral subquery of their numbers.

        Args:
            plan: of the query.
            schema: of the room.
            databases: any number of them.
            labelled: what joins the rows of a database into entities, where that is not the reference.
        """
        self.connection.register("worlds_", pa.table({"w": range(len(databases))}))
        for use in plan.tables:
            linked = schema.named(use.table.name)
            parts = [
                arrow(linked, d[use.table.name], labelled.get(i, labels)).select(use.columns)
                for i, d in enumerate(databases)
            ]
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
                if c.bins is not None:
                    columns |= _quantiles(m, c, [row[i] for row in given[m.name]])
                    continue
                values = [float(row[i]) * float(c.unit) for row in given[m.name]]
                kind = pa.int64() if c.is_count else pa.float64()
                columns[c.name] = pa.array([round(v) if c.is_count else v for v in values], kind)
            if m.other_row is not None:  # all groups are shown, and the row that holds none of them is left out
                columns[m.other_row] = pa.array([False] * len(given[m.name]), pa.bool_())
            self.connection.register(m.name, pa.table(columns))
        rows = self.connection.execute(plan.release.sql).fetchall()
        return [row[: len(plan.release.columns)] for row in rows]


def _quantiles(m: Measurement, c: MeasuredColumn, lists: list[Any]) -> dict[str, pa.Array]:
    """Return the columns of the noisy table that are read off counts per bin, as if no noise had been drawn."""
    assert c.bins is not None
    cells = np.zeros((len(lists), c.bins.number), dtype=np.int64)
    for group, listed in enumerate(lists):
        for cell in listed or []:
            cells[group, cell["b"]] = cell["n"]
    wanted = [q for q in m.quantiles if q.column == c.name]
    if not lists:
        return {q.name: pa.array([], pa.float64()) for q in wanted}
    nodes = nodes_of(cells, c.bins)
    found = {
        q.name: curves(nodes, bins=c.bins, deviation=TINY, fraction=float(q.fraction), end=q.end)[:, MIDDLE]
        for q in wanted
    }
    return {name: pa.array(values, from_pandas=True) for name, values in found.items()}


def _table(m: Measurement, names: tuple[str, ...], types: tuple[str, ...], given: list[tuple[Any, ...]]) -> Table:
    width = len(m.keys)
    rows: dict[Group, tuple[Any, ...]] = {}
    for row in given:
        group = tuple(map(mean.standard, row[:width]))
        if group in rows:  # it would get noise twice
            raise UnsoundError("a group appears twice")
        if m.partition_selection is not None and any(isinstance(key, float) and repr(key) == "-0.0" for key in row):
            raise UnsoundError("a private group is -0: which of 0 and -0 stands for it would show the order of rows")
        rows[group] = row[width:]
    return Table(names=names, types=types, rows=rows)


# --- a plan and what the query means ----------------------------------------------------------------------------------


def check_meaning(
    query: Query, plan: Plan, database: Rows, tables: Tables, *, release: bool, noted: set[str]
) -> list[list[list[Any]]] | None:
    """Compare the exact tables of one database with the reference.

    Args:
        query: with its meaning.
        plan: of it.
        database: one.
        tables: exact, of that database.
        release: whether the release is wanted, too.
        noted: what was met in the data is added.

    Returns:
        If `release`, for each measurement what it releases without noise; None where that is not clear.

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
        noted |= compared.noted
        released.append(compared.released() if release else [])
    known = [r for r in released if r is not None]
    return known if len(known) == len(released) else None


class HardLimitError(Exception):
    """An entity is in more private groups than are kept: which are kept is a secret of the run."""


def _check_shape(m: Measurement, table: Table, measured: Measured) -> Measured:
    """Compare names, types, and which groups there are; return the reference with the groups of the table."""
    if table.names != (*m.keys, *(c.name for c in m.columns)):
        raise UnsoundError(f"columns {table.names}")
    kinds = table.types[len(m.keys) :]
    if any(kind != ("BIGINT" if c.bins is None else OF_BINS) for c, kind in zip(m.columns, kinds, strict=True)):
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
        # What a key can be may be known more narrowly than from all rows of a public relation, in the same way.
        if measured.public is not None and any(k.values is None and not k.column for k in measured.asked.keys):
            return Measured(measured.asked, measured.database, stated=m.bounds, public=found)
        raise UnsoundError(f"groups {sorted(found, key=repr)}, expected {sorted(expected, key=repr)}")
    if measured.public is not None:
        measured.public = found
    return measured


class _Compared:
    """One exact table beside its reference: which column is which part."""

    def __init__(self, m: Measurement, table: Table, measured: Measured, *, gaussian: bool) -> None:
        self.m, self.table, self.measured, self.gaussian = m, table, measured, gaussian
        self.found: dict[tuple[str, str], dict[bool, Part]] = {}
        self.histograms: dict[tuple[str, bool], dict[Group, Histogram]] = {}
        self.unclear = False
        self.noted: set[str] = set()
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
                own = [known for known in could_be if known.ranges == part.ranges]
                if could_be:
                    seen[centred] = (own or could_be)[0]
                    # One of two ranges, or of two grids: the number differs in the last digits.
                    grids = {known.finer for known in own if known.kind in SUMS}
                    which = grids if own else {known.ranges for known in could_be}
                    self.unclear = self.unclear or len(which) > 1
            if not seen and any(c.name in self.rounded and c.meaning.startswith("sum") for c in m.columns):
                self.unclear = True
                return
            if not seen:
                there = [(c.meaning, c.norm, c.sensitivity, table.column(i)) for i, c in enumerate(m.columns)]
                expected = self._expected(aggregate, part)
                raise UnsoundError(f"no column is {part.name}: {expected}; there are {there}, {dict(m.bounds)}")
        for c in m.columns:
            if c.name in used:
                continue
            if self.rounded and c.meaning.startswith("sum"):  # squares and products follow from a range that is rounded
                self.unclear = True
            else:
                raise UnsoundError(f"{c.name} ({c.meaning}) is nothing that was asked for")

    def _wanted(self) -> list[tuple[Aggregate, Part]]:
        wanted = [(a, p) for a in self.measured.asked.aggregates for p in a.parts]
        private = self.measured.public is None
        # Private groups are chosen by any noise, and the smallest group is asked of a count with that of the settings.
        counted = any(p.kind == "entities" and p.x is None and (private or not a.pool) for a, p in wanted)
        if (private or self.measured.asked.at_least > 0) and (self.measured.asked.other or not counted):
            entities = Part(kind="entities")
            wanted.append((Aggregate(sql="", parts=(entities,), of=lambda _: None), entities))
        return wanted

    def _known_as(
        self, c: MeasuredColumn, place: int, aggregate: Aggregate, part: Part, *, centred: bool
    ) -> Part | None:
        """Return the part as which the column was measured, or None where it is another."""
        sums, gaussian = part.kind in SUMS, self._gaussian(aggregate)
        if _class(c) != _kind(part) or (c.norm == "l2") != gaussian:
            return None
        if centred != (c.meaning.startswith("sum around")) or (part.kind not in ("sum", *UNSUMMED) and not centred):
            return None
        if part.kind == "bins":
            return self._known_as_bins(c, place, part, gaussian=gaussian)
        there = self.table.column(place)
        if part.kind == "distinct":
            stated = c.unit, c.sensitivity
            known = self.measured.different(part, gaussian=gaussian)
            same = stated == (self.measured.unit(part), self.measured.sensitivity(part, gaussian=gaussian))
            if not known.exact:
                self.unclear = True
                self.noted.add("different values above the bound")
            return part if same and known.holds(there) else None
        for ranged in self._seen(c, part, centred=centred) if sums else [part]:
            finer = None if c.vector is None else int(self.measured.unit(replace(ranged, finer=1)) / c.unit)
            seen = replace(ranged, finer=finer)
            if finer == 0 or c.unit != self.measured.unit(seen) or not _around_the_middle(c, ranged):
                continue
            expected = self.measured.integers(seen, gaussian=gaussian)
            if _fits(c, self.measured.sensitivity(seen, gaussian=gaussian)) and all(
                there.get(g, 0) == expected.get(g, 0) for g in there.keys() | expected.keys()
            ):
                return seen
        return None

    def _known_as_bins(self, c: MeasuredColumn, place: int, part: Part, *, gaussian: bool) -> Part | None:
        """Return the part if the column is its counts per bin: of its range, or of the one that is stated."""
        assert c.bins is not None
        assert part.x is not None
        on = bins_of(part.x)
        listed = [o.bins for o in self.m.columns if o.bins is not None]
        ranges = [Bins(lo=bins.lo, width=bins.width, number=bins.number, step=bins.step) for bins in listed]
        stated = ranges[listed.index(c.bins)]
        if on != stated:
            if part.x.column or on.step != stated.step or on in ranges:
                return None
            on = stated
        there = self.table.cells(place)
        expected = self.measured.cells(part, on, gaussian=gaussian)
        same = all(there.get(g, {}) == expected.get(g, {}) for g in there.keys() | expected.keys())
        if not same or c.unit != self.measured.unit(part) or c.bins.levels != on.levels:
            return None
        if c.sensitivity != self.measured.sensitivity(part, gaussian=gaussian, levels=on.levels):
            return None
        self.histograms[part.name, gaussian] = {g: Histogram(bins=on, cells=cells) for g, cells in expected.items()}
        return part

    def _seen(self, c: MeasuredColumn, part: Part, *, centred: bool) -> list[Part]:
        """Return the part as it may be measured: in the ranges that the grammar knows, or in those of the receipt.

        A range that follows from others may be found narrower, or wider; the promise is about the one that is stated.
        """
        assert part.x is not None
        if part.kind in ("sum", "centred sum"):
            ranges = [part.x.range, *self._stated(c)]
            return [Part(kind="centred sum" if centred else "sum", x=replace(part.x, range=r)) for r in ranges]
        others = [r for o in self.m.columns if o.meaning.startswith("sum around") for r in self._stated(o)]
        seen = [replace(part, x=replace(part.x, range=r)) for r in dict.fromkeys([part.x.range, *others])]
        if part.y is None:
            return seen
        y = part.y
        return [replace(p, y=replace(y, range=r)) for r in dict.fromkeys([y.range, *others]) for p in seen]

    def _stated(self, c: MeasuredColumn) -> list[tuple[Fraction, Fraction]]:
        """Return the range that the receipt states for a column."""
        stated = self.m.bounds.get(f"clamp of {c.name}", "").split(" to ")
        if len(stated) != 2:
            return []
        if any(map(_rounded, stated)):
            self.rounded.add(c.name)
        return [(Fraction(stated[0]), Fraction(stated[1]))]

    def _expected(self, aggregate: Aggregate, part: Part) -> Any:
        gaussian = self._gaussian(aggregate)
        ranges = part.ranges
        if part.kind == "distinct":
            return self.measured.different(part, gaussian=gaussian)
        if part.kind == "bins":
            assert part.x is not None
            return ranges, bins_of(part.x), self.measured.cells(part, bins_of(part.x), gaussian=gaussian)
        return (
            ranges,
            self.measured.sensitivity(part, gaussian=gaussian),
            self.measured.integers(part, gaussian=gaussian),
        )

    def _gaussian(self, aggregate: Aggregate) -> bool:
        return self.gaussian if aggregate.gaussian is None else aggregate.gaussian

    def released(self) -> list[list[Any]] | None:
        """Return the reference's rows without noise; None where a sum could be either of two columns."""
        entities = self.measured.integers(Part(kind="entities"), gaussian=self.gaussian)
        rows = [] if self.unclear else self.measured.released(self._numbers, entities=entities)
        return None if self.unclear else rows

    def _numbers(self, aggregate: Aggregate, part: Part) -> tuple[dict[Group, Any], Part]:
        """Return a part's integers, or histograms, and the part as it was measured."""
        gaussian = self._gaussian(aggregate)
        if part.kind == "bins":
            return {g: self.histograms[part.name, gaussian][g] for g in self.measured.groups}, part
        if part.kind == "distinct":
            return self.measured.different(part, gaussian=gaussian).least, part
        options = self.found.get((aggregate.pool, part.name), {False: part})
        names = {p.name for a in self.measured.asked.aggregates if a.pool == aggregate.pool for p in a.parts}
        centred = True in options
        if len(options) == 2:
            centred = part.x is not None and f"values {part.x.sql}" in names
            self.unclear = self.unclear or (not centred and "rows" in names)
        seen = options[centred]
        return self.measured.integers(seen, gaussian=gaussian), seen


UNSUMMED = ("rows", "values", "entities", "distinct", "bins")


def _kind(part: Part) -> str:
    """Return the class that the column of a part has."""
    if part.kind == "entities":
        return "entities" if part.x is None else "entities with such a row"
    return {"rows": "count", "values": "count", "distinct": "distinct", "bins": "bins"}.get(part.kind, "sum")


def _rounded(end: str) -> bool:
    """Return whether an end of a range may be rounded; zeros behind the last digits are not written."""
    digits, decimals = end.strip("-").replace(".", "").lstrip("0"), end.partition(".")[2]
    return len(digits) >= DIGITS or len(decimals) >= DIGITS - 2


def _fits(c: MeasuredColumn, sensitivity: int) -> bool:
    """Whether the sensitivity is as declared; what gets noise together weighs the same but for the grids' steps."""
    if c.vector is None:
        return c.sensitivity == sensitivity
    return c.norm == "l1_max" and sensitivity <= c.sensitivity < sensitivity * 1.01


def _around_the_middle(c: MeasuredColumn, part: Part) -> bool:
    """Whether a sum is taken around the middle that the part has: two sums may have the same steps by chance."""
    if part.kind not in SUMS or not c.meaning.startswith("sum around"):
        return True
    on = grid_of(part)
    return math.isclose(float(c.meaning.split()[-1]), on.middle * on.unit, rel_tol=1e-4, abs_tol=float(on.unit))


def _class(c: MeasuredColumn) -> str:
    if c.meaning.startswith("sum"):
        return "sum"
    if c.bins is not None:
        return "bins"
    known = {"different values": "distinct", "rows": "count", "values that are not NULL": "count"}
    return known.get(c.meaning, c.meaning)


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


FEATURES: dict[str, Callable[[Query, Plan], bool]] = RELATIONS | {
    "addnoise": lambda q, _: "addnoise(" in q.sql,
    "an average": lambda q, _: "AVG(" in q.sql,
    "two measurements": lambda _, p: len(p.measurements) > 1,
    "no groups": lambda _, p: any(not m.keys for m in p.measurements),
    "public groups": lambda _, p: any(m.keys and m.partition_selection is None for m in p.measurements),
    "private groups": lambda _, p: any(m.partition_selection is not None for m in p.measurements),
    "noise for several together": lambda _, p: any(c.vector for m in p.measurements for c in m.columns),
    "Gaussian noise": lambda _, p: any(c.norm == "l2" for m in p.measurements for c in m.columns),
    "a sum around the middle": lambda _, p: any("sum around" in c.meaning for m in p.measurements for c in m.columns),
}
"""What every longer run must have asked for; counted for the queries that are accepted."""


def _shown_by(c: MeasuredColumn) -> list[str]:
    """Return what a measured column shows of the compiler, for counting."""
    gaussian = {"different values": "Gaussian different values"} if c.norm == "l2" else {}
    found = [gaussian[c.meaning]] if c.meaning in gaussian else []
    if c.bins is not None:
        found += ["bins on one level" if c.bins.levels == 1 else "bins on two levels"]
        found += ["Gaussian bins"] if c.norm == "l2" else []
    return found


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
    neighbours: int = 1,
    mistake: Callable[[Plan], Plan] = lambda plan: plan,
    compiling: Callable[[Query], Plan] = compiled,
    labelling: Labelling | None = None,
    meanings: bool = True,
) -> Found | None:
    """Check one query on random databases and their neighbours; None where nothing is wrong.

    Args:
        query: to be checked.
        rng: for databases.
        bench: runs the plan.
        counted: what was tried; it grows.
        databases: how many.
        neighbours: of each, at most: so many entities are taken out, each by itself.
        mistake: planted in the plan.
        compiling: makes the plan; another one for mistakes that are planted in what is compiled.
        labelling: joins rows into entities, instead of the product; for mistakes that are planted there.
        meanings: whether plans are compared with the reference, and not neighbours alone.
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
    constructs = {c for asked in query.asked for a in asked.aggregates for c in a.constructs}
    constructs |= {what for m in plan.measurements for c in m.columns for what in _shown_by(c)}
    gaussian = query.settings.noise_mechanism is NoiseMechanism.GAUSSIAN
    spreads = [a for asked in query.asked for a in asked.aggregates if any(p.kind == "squares" for p in a.parts)]
    constructs |= {"Gaussian squares" for a in spreads if (gaussian if a.gaussian is None else a.gaussian)}
    many = [random_rows(rng, query.schema) for _ in range(databases)]
    fewer: list[tuple[int, Any]] = []
    for number, database in enumerate(many):
        people = entities(query.schema, database)
        fewer += [(number, e) for e in rng.sample(people, min(neighbours, len(people)))]
    joined = [query.schema.named(use.table.name) for use in plan.tables if use.needs_labels]
    place, entity = 0, None
    try:
        check_price(plan)
        looked = range((databases if labelling else min(LABELLED, databases)) if joined else 0)
        how = dict.fromkeys(looked, labelling or bench.stored_labels)
        how |= {databases + i: how[of] for i, (of, _) in enumerate(fewer) if of in how}
        for place in looked if meanings else ():
            if not all(same_entities(t, many[place][t.name], how[place]) for t in joined):
                raise UnsoundError("rows are joined into other entities")
            counted["joined"] += 1
        place = 0
        # The order of rows says nothing: alone they are asked in reverse, and without an entity in any order.
        turned = {name: rows[::-1] for name, rows in many[0].items()}
        alone, given = bench.exact(plan, query.schema, turned, labelled=how.get(0, labels))
        left = [without(query.schema, many[i], e, orphans=rng.random() < 0.3) for i, e in fewer]
        worlds = [*many, *(_shuffled(rng, less) for less in left)]
        tables = bench.exact_of_many(plan, query.schema, worlds, labelled=how)
        if alone != tables[0]:
            raise UnsoundError("alone and among others a database gives different tables")
        for place, database in enumerate(many if meanings else []):
            if any(wrongly_unique(query.schema, query.schema.named(t.table.name), database) for t in plan.tables):
                counted["a key wrongly called unique"] += 1
                continue
            noted = set(constructs)
            try:
                released = check_meaning(query, plan, database, tables[place], release=not place, noted=noted)
            except HardLimitError:
                counted["over the hard limit"] += 1
                continue
            except TooManyRowsError:
                counted["too many rows for the reference"] += 1
                continue
            counted["meanings"] += 1
            counted.update(f"pairs of {c}" for c in noted)
            if place == 0 and released is not None:
                counted["releases"] += 1
                _check_released(bench.release(plan, alone, given), query.above(released))
        for number, neighbour in enumerate(fewer, databases):
            place, entity = neighbour
            check_neighbours(plan, query, tables[place], tables[number])
            counted["neighbours"] += 1
        place, entity = 0, None
        if " OVER (" in query.sql or rng.random() < CROWDS:
            many = [random_crowd(rng, query.schema)]
            check_crowd(query, plan, many[0], rng, bench)
            counted["crowds"] += 1
    except (UnsoundError, LeakError, duckdb.Error) as failure:
        return Found(what=f"{type(failure).__name__}: {failure}", query=query, database=many[place], entity=entity)
    return None


def check_crowd(query: Query, plan: Plan, crowd: Rows, rng: random.Random, bench: Bench) -> None:
    """Compare a database of hundreds of rows that are alike with itself in another order, and with neighbours.

    Raises:
        UnsoundError: the engine's chance shows, or an entity moves more than is declared.
    """
    people = entities(query.schema, crowd)
    left = [without(query.schema, crowd, e) for e in rng.sample(people, min(2, len(people)))]
    worlds = [crowd, _shuffled(rng, crowd), *left]
    one, again, *fewer = bench.exact_of_many(plan, query.schema, worlds, labelled={})
    if one != again:
        raise UnsoundError("in another order of its rows a database gives different tables")
    for tables in fewer:
        check_neighbours(plan, query, one, tables)


def _shuffled(rng: random.Random, database: Rows) -> Rows:
    return {name: rng.sample(rows, len(rows)) for name, rows in database.items()}


def check_many(
    *, seed: int, pairs: int, databases: int = 16, neighbours: int = 1, depth: int = 2, most_findings: int = 5
) -> tuple[Counter[str], list[Found]]:
    """Check random queries until so many pairs of query and database, and so many neighbours, were compared."""
    rng, bench = random.Random(seed), Bench()
    counted: Counter[str] = Counter()
    found: list[Found] = []
    while min(counted["meanings"], counted["neighbours"]) < pairs and len(found) < most_findings:
        query = random_query(rng, depth=depth)
        violation = check_one(query, rng, bench, counted, databases=databases, neighbours=neighbours)
        found += [violation] if violation is not None else []
    return counted, found
