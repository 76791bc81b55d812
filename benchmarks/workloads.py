"""benchmarks: the questions that are measured, as data: the template, what its owners declare, and the plain query.

Every question is paid for with the same (epsilon, delta) altogether, and bounded in the same way for all forms: an
entity weighs at most `max_groups` groups of `max_rows` rows, and values are clamped to [lo, hi].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from benchmarks import data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EPSILON = Fraction(1)
DELTA = Fraction(1, 10**6)
PROVIDER = "provider"
CONSUMER = "consumer"

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One table of a question.

    Attributes:
        name: of the table, and of its file `<name>.parquet`.
        path: of the file.
        owner: provider (protected) or consumer (the reader's own, public to it).
        entity_column: what is protected; empty for the reader's own table.
        policy: as `link_datasets` takes it.
    """

    name: str
    path: Path
    owner: Literal["provider", "consumer"]
    entity_column: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One aggregate as the float baseline needs it; `column` is of `Question.view`."""

    kind: Literal["count", "sum", "avg", "entities"]
    column: str = ""
    lo: float = 0.0
    hi: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One grouped query in the forms that are compared.

    Attributes:
        name: short.
        about: for people.
        template: of ours; its columns are the group keys, then one per aggregate.
        sources: its tables.
        plain: the same without privacy, as an analyst writes it; `{name}` stands for a file. Its rows are the truth.
        view: the logical table for the baseline: `entity`, the group keys and the value columns.
        keys: names of the group keys in `view`.
        asked: the aggregates, in the order of the columns.
        max_groups, max_rows: contribution bounds.
        groups: the public groups; empty where the keys are private.
        mechanism: of ours, the one with less noise here.
        shares: aggregates that are paid for, with the selection of private groups: each gets epsilon / shares.
    """

    name: str
    about: str
    template: str
    sources: tuple[Source, ...]
    plain: str
    view: str
    keys: tuple[str, ...]
    asked: tuple[Asked, ...]
    max_groups: int
    max_rows: int
    groups: tuple[tuple[str | int, ...], ...] = ()
    mechanism: Literal["Laplace", "Gaussian"] = "Gaussian"
    shares: int = 1

    def files(self, text: str) -> str:
        """Return `text` with the files of the tables in place of their names in braces."""
        return text.format(**{source.name: f"read_parquet('{source.path}')" for source in self.sources})

    def over(self, paths: Mapping[str, Path]) -> Question:
        """Return the same question over other files, by table name."""
        return replace(self, sources=tuple(replace(s, path=paths.get(s.name, s.path)) for s in self.sources))


QUANTITY = Asked(kind="sum", column="l_quantity", hi=50.0)
PRICE = Asked(kind="sum", column="l_extendedprice", hi=105_000.0)
DISCOUNT = Asked(kind="sum", column="l_discount", hi=0.1)


def _policy(*, max_groups: int, max_rows: int, **declared: Any) -> dict[str, Any]:
    return {"max_groups": max_groups, "max_rows": max_rows, **declared}


def pricing_summary(*, folder: Path) -> Question:
    """W1, after TPC-H's query 1; lineitem is owned through its order."""
    joined = "{lineitem} JOIN {orders} ON l_orderkey = o_orderkey"
    lineitem_policy = {
        "owned_through": {"parent": "orders", "on": {"l_orderkey": "o_orderkey"}, "unique": True},
        "bounds": {a.column: [a.lo, a.hi] for a in (QUANTITY, PRICE, DISCOUNT)},
        "domains": {"l_returnflag": ["A", "N", "R"], "l_linestatus": ["F", "O"]},
    }
    return Question(
        name="W1",
        about="count, 2 sums, 3 averages over lineitem ⋈ orders by flag and status; entity o_custkey",
        template="""
            SELECT l_returnflag, l_linestatus, COUNT(*) AS n,
                SUM(l_quantity) AS quantity, SUM(l_extendedprice) AS price,
                AVG(l_quantity) AS mean_quantity, AVG(l_extendedprice) AS mean_price, AVG(l_discount) AS mean_discount
            FROM IDENTIFIER({{ source_table[1] }}) AS p1
            JOIN IDENTIFIER({{ source_table[0] }}) AS p ON p1.l_orderkey = p.o_orderkey
            GROUP BY l_returnflag, l_linestatus""",
        sources=(
            Source(
                name="orders",
                path=folder / "orders.parquet",
                owner="provider",
                entity_column="o_custkey",
                policy=_policy(max_groups=4, max_rows=64),
            ),
            Source(name="lineitem", path=folder / "lineitem.parquet", owner="provider", policy=lineitem_policy),
        ),
        plain="SELECT l_returnflag, l_linestatus, count(*), sum(l_quantity), sum(l_extendedprice), avg(l_quantity), "
        f"avg(l_extendedprice), avg(l_discount) FROM {joined} GROUP BY ALL",
        view=f"SELECT o_custkey AS entity, l_returnflag, l_linestatus, l_quantity::DOUBLE AS l_quantity, "
        f"l_extendedprice::DOUBLE AS l_extendedprice, l_discount::DOUBLE AS l_discount FROM {joined}",
        keys=("l_returnflag", "l_linestatus"),
        asked=(
            Asked(kind="count"),
            QUANTITY,
            PRICE,
            replace(QUANTITY, kind="avg"),
            replace(PRICE, kind="avg"),
            replace(DISCOUNT, kind="avg"),
        ),
        max_groups=4,
        max_rows=64,
        groups=(("A", "F"), ("N", "F"), ("N", "O"), ("R", "F")),
        mechanism="Laplace",
        shares=6,
    )


def customers_by_month(*, folder: Path) -> Question:
    """W2. The months are public because the reader brings a calendar."""
    month = "(year(o_orderdate) - 1992) * 12 + month(o_orderdate) - 1"
    return Question(
        name="W2",
        about="distinct customers by month of the order; 80 public groups out of the reader's calendar",
        template="""
            SELECT c.m, COUNT(DISTINCT p.o_custkey) AS customers
            FROM IDENTIFIER({{ source_table[0] }}) AS p
            JOIN IDENTIFIER({{ my_table[0] }}) AS c ON DATE_TRUNC('month', p.o_orderdate) = c.first_day
            GROUP BY c.m""",
        sources=(
            Source(
                name="orders",
                path=folder / "orders.parquet",
                owner="provider",
                entity_column="o_custkey",
                policy=_policy(max_groups=24, max_rows=1),
            ),
            Source(name="calendar", path=data.calendar() / "calendar.parquet", owner="consumer"),
        ),
        plain=f"SELECT ({month})::INTEGER, count(DISTINCT o_custkey) FROM {{orders}} GROUP BY ALL",
        view=f"SELECT o_custkey AS entity, ({month})::INTEGER AS m FROM {{orders}}",
        keys=("m",),
        asked=(Asked(kind="entities"),),
        max_groups=24,
        max_rows=1,
        groups=tuple((month_number,) for month_number in range(data.MONTHS)),
    )


def sales_by_clerk(*, folder: Path) -> Question:
    """W3."""
    price = Asked(kind="sum", column="o_totalprice", hi=400_000.0)
    return Question(
        name="W3",
        about="order prices by clerk; private groups",
        template="""
            SELECT o_clerk, SUM(o_totalprice) AS price FROM IDENTIFIER({{ source_table[0] }}) AS p GROUP BY o_clerk""",
        sources=(
            Source(
                name="orders",
                path=folder / "orders.parquet",
                owner="provider",
                entity_column="o_custkey",
                policy=_policy(max_groups=20, max_rows=1, bounds={"o_totalprice": [0, 400_000]}),
            ),
        ),
        plain="SELECT o_clerk, sum(o_totalprice) FROM {orders} GROUP BY ALL",
        view="SELECT o_custkey AS entity, o_clerk, o_totalprice::DOUBLE AS o_totalprice FROM {orders}",
        keys=("o_clerk",),
        asked=(price,),
        max_groups=20,
        max_rows=1,
        shares=2,
    )


def miles_by_destination(*, folder: Path) -> Question:
    """W3F."""
    miles = Asked(kind="sum", column="distance", hi=3000.0)
    return Question(
        name="W3F",
        about="flights and miles by destination; private groups, entity the plane",
        template="""
            SELECT dest, COUNT(*) AS n, SUM(distance) AS miles
            FROM IDENTIFIER({{ source_table[0] }}) AS p GROUP BY dest""",
        sources=(
            Source(
                name="flights",
                path=folder / "flights.parquet",
                owner="provider",
                entity_column="tailnum",
                policy=_policy(max_groups=20, max_rows=20, bounds={"distance": [0, 3000]}),
            ),
        ),
        plain="SELECT dest, count(*), sum(distance) FROM {flights} GROUP BY ALL",
        view="SELECT tailnum AS entity, dest, distance FROM {flights}",
        keys=("dest",),
        asked=(Asked(kind="count"), miles),
        max_groups=20,
        max_rows=20,
        shares=3,
    )


def delay_by_carrier(*, folder: Path) -> Question:
    """W4."""
    delay = Asked(kind="avg", column="dep_delay", lo=-30.0, hi=180.0)
    return Question(
        name="W4",
        about="mean delay by carrier; 16 public groups, entity the plane",
        template="""
            SELECT carrier, AVG(dep_delay) AS delay FROM IDENTIFIER({{ source_table[0] }}) AS p GROUP BY carrier""",
        sources=(
            Source(
                name="flights",
                path=folder / "flights.parquet",
                owner="provider",
                entity_column="tailnum",
                policy=_policy(
                    max_groups=3, max_rows=20, bounds={"dep_delay": [-30, 180]}, domains={"carrier": list(CARRIERS)}
                ),
            ),
        ),
        plain="SELECT carrier, avg(dep_delay) FROM {flights} GROUP BY ALL",
        view="SELECT tailnum AS entity, carrier, dep_delay FROM {flights}",
        keys=("carrier",),
        asked=(delay,),
        max_groups=3,
        max_rows=20,
        groups=tuple((carrier,) for carrier in CARRIERS),
        mechanism="Laplace",
    )


def questions(*, scale_factor: int = 1) -> tuple[Question, ...]:
    """Return all of them; makes their data where it is not there."""
    orders, flights = data.tpch(scale_factor), data.flights()
    return (
        pricing_summary(folder=orders),
        customers_by_month(folder=orders),
        sales_by_clerk(folder=orders),
        miles_by_destination(folder=flights),
        delay_by_carrier(folder=flights),
    )
