"""What a template compiles to: a value that says everything that will be read, computed, noised and released. Pure.

`compile` makes a `Plan`; `execute` runs its exact queries; `add_noise` gets only its `NoisePlan` and the exact tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from cleanroom.privacy.accounting import Price
from cleanroom.privacy.bins import Bins, End
from cleanroom.privacy.noise import DiscreteCube, Noise
from cleanroom.privacy.rho import ZERO_RHO, RhoPrice, rho_price
from cleanroom.rooms.tables import LinkedTable


@dataclass(frozen=True, kw_only=True, slots=True)
class TableUse:
    """A linked table under the name that the exact queries give it (`t0`, `t1`, …), with the columns they read."""

    relation: str
    table: LinkedTable
    columns: tuple[str, ...]

    @property
    def needs_labels(self) -> bool:
        """Whether the queries read the hidden label of a joined entity: it is then the last of the columns."""
        return self.table.entity_label is not None and self.table.entity_label in self.columns


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredColumn:
    """One integer column of an exact table, and the noise it gets.

    Attributes:
        name: column name in the exact table and in the noisy table that the release query reads.
        meaning: for people, e.g. `entities`, `rows`, `sum of dep_delay around 75`.
        unit: what one integer step is worth, > 0; the noisy table shows noisy integer * unit.
        is_count: shown as a whole number, rounded after the noise.
        noise: in integer steps; of a vector that of all its columns together.
        norm: the norm in which `sensitivity` bounds one entity's whole contribution: `l1`, `l2`, or for vectors
            `l1_max`: the sum over all groups of the most that any of its columns moves there.
        sensitivity: for l1 and l1_max the bound itself, for l2 its square, in integer steps, rounded up.
        price: this column's share; a vector costs the sum of its columns' shares, and each stands for the others, too.
        bins: None for one integer per group; else the exact column is a list of (bin, count), every node of the bins'
            tree gets noise, `sensitivity` is of all levels together, and the column itself is not in the noisy table:
            quantiles are computed from it.
        other_noise: of the other row, where the measurement has one; None for the column that chooses the groups, which
            is 0 there and which nothing reads.
        vector: columns of a measurement with the same name here get one draw of their noise for each group; None for a
            column that gets noise by itself.
    """

    name: str
    meaning: str
    unit: Fraction
    is_count: bool
    noise: Noise
    norm: Literal["l1", "l2", "l1_max"]
    sensitivity: int
    price: Price
    bins: Bins | None = None
    other_noise: Noise | None = None
    vector: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantile:
    """A column of the noisy table that is computed from noisy counts per bin.

    Attributes:
        name: in the noisy table.
        column: the measured bins.
        fraction: of the rows that lie below; 0 and 1 for the ends.
        end: `inside`, or `smallest` and `largest` for MIN and MAX.
    """

    name: str
    column: str
    fraction: Fraction
    end: End


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionSelection:
    """Private group keys: a group appears where the noisy entity count in `column` reaches `tau` (integer steps)."""

    column: str
    tau: int
    delta: Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredRange:
    """A range that values were clamped to.

    Attributes:
        asked: the aggregates that it is for, as the template writes them, literals left out.
        lo, hi: its ends, both in it; dates and timestamps as text.
    """

    asked: tuple[str, ...]
    lo: float | str
    hi: float | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Clipping:
    """What the bounds of a measurement may cut off, from declarations alone.

    Attributes:
        max_groups: groups that one entity may weigh; None without group keys.
        max_rows: rows of one entity in a group; without keys all that it may weigh; None where only entities count.
        ranges: of what is summed, averaged or ranked.
        words: the same in sentences.
    """

    max_groups: int | None
    max_rows: int | None
    ranges: tuple[DeclaredRange, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClippingProfile:
    """A column that counts each entity once, in one of five classes by how much a bound cuts off from it.

    Attributes:
        column: of the estimate's measurement.
        bound: which: `rows` and `groups` are the contribution bounds, `range` that of some values.
        asked: the aggregates that it is for, as the template writes them.
    """

    column: str
    bound: Literal["rows", "groups", "range"]
    asked: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClippingEstimate:
    """That a measurement is for the clipping note alone: its only key is the class, from 0 (nothing is cut off) to 4.

    Attributes:
        of: the measurement whose bounds it is about.
        at_least: entities that a number must count to be shown, as far as policies say; 0 for none.
        profiles: one for each of its columns.
    """

    of: str
    at_least: int
    profiles: tuple[ClippingProfile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One aggregate query that must get noise.

    Attributes:
        name: `m0`, `m1`, …: the noisy table's name in the release query.
        exact_sql: DuckDB SQL over the `TableUse` relations; columns are `keys`, then `columns` (integers, BIGINT,
            within +-2**62), ordered by the keys. With public keys every combination is a row, also empty ones.
            It may hold the placeholder `$run_key` (64-bit signed integer parameter): the run's fresh secret key.
        keys: group key columns, in order; empty: exactly one row.
        columns: measured integers, or bins.
        partition_selection: None where the keys are public.
        quantiles: further columns of the noisy table, DOUBLE.
        bounds: contribution bounds and clamps used, for the receipt: name -> text.
        clipping: the same for the clipping note; None for an estimate, and with DP off.
        estimate: set where it is measured for the clipping note only; no release query reads it.
        other_row: the BOOLEAN column of the noisy table that is TRUE in its last row, which holds the groups that are
            not shown together, and NULL for keys; None where there is no such row.

    Raises:
        ValueError: columns of a vector disagree, or are not as many as its noise is for. That is our bug.
    """

    name: str
    exact_sql: str
    keys: tuple[str, ...]
    columns: tuple[MeasuredColumn, ...]
    partition_selection: PartitionSelection | None = None
    quantiles: tuple[Quantile, ...] = ()
    bounds: Mapping[str, str] = field(default_factory=dict)
    clipping: Clipping | None = None
    estimate: ClippingEstimate | None = None
    other_row: str | None = None

    def __post_init__(self) -> None:
        selection = self.partition_selection
        if self.other_row is not None and (selection is None or not self.keys):
            raise ValueError("an other row is of private groups")
        for column in self.columns:
            chooses = selection is not None and column.name == selection.column
            if (column.other_noise is not None) != (self.other_row is not None and not chooses):
                raise ValueError("in an other row all columns have noise but the one that chooses the groups")
        for columns in self.drawn_together:
            first = columns[0]
            dimension = first.noise.dimension if isinstance(first.noise, DiscreteCube) else 1
            same = {(c.noise, c.norm, c.sensitivity) for c in columns}
            joint = (first.vector is not None, first.norm == "l1_max", isinstance(first.noise, DiscreteCube))
            if len(columns) != dimension or len(same) != 1 or len(set(joint)) != 1:
                raise ValueError("columns of a vector have the same noise, which is for as many")
            chooses = selection is not None and any(c.name == selection.column for c in columns)
            if joint[0] and (chooses or any(c.bins is not None or c.other_noise != first.other_noise for c in columns)):
                raise ValueError("what chooses the groups is in no vector, nor are bins")

    @property
    def drawn_together(self) -> tuple[tuple[MeasuredColumn, ...], ...]:
        """The columns by the draws of their noise: each by itself, or all of a vector, in the order of the first."""
        together: dict[str, list[MeasuredColumn]] = {}
        for c in self.columns:
            together.setdefault(f"column {c.name}" if c.vector is None else f"vector {c.vector}", []).append(c)
        return tuple(tuple(columns) for columns in together.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseColumn:
    """One column of the release.

    Attributes:
        name: as the template names it.
        role: `key` (a group key or a constant), `measured` (one measured column as it is), `derived` (computed from
            noisy numbers), `exact` (DP off only: released as computed).
        measurement, column: which measured column, for role `measured`.
    """

    name: str
    role: Literal["key", "measured", "derived", "exact"]
    measurement: str | None = None
    column: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseQuery:
    """What stands above the measurements: post-processing of noisy tables, free of charge.

    Attributes:
        sql: DuckDB SQL over `m0`, `m1`, … giving the visible `columns`, then the hidden `identity` columns; with
            HAVING, ORDER BY and LIMIT.
        interval_sql: the same without ORDER BY, LIMIT and top-level HAVING, over all replicates: it reads `m0`, `m1`, …
            that carry one more column `replicate` (BIGINT) and gives `replicate`, then the visible columns, then the
            identity columns. None where no column is `derived`.
        columns: the visible ones, in order.
        identity: hidden columns that name a row of the answer (group keys), so that replicates can be matched to it.
    """

    sql: str
    interval_sql: str | None
    columns: tuple[ReleaseColumn, ...]
    identity: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsistentTotals:
    """Measurements of one query's grouping sets whose numbers are made to agree: each total with the sum of its parts.

    Attributes:
        measurements: one for each set.
        keys: for each set the axes that its key columns are, in their order; equal keys of two sets are one axis.
        sizes: for each axis its number of values; None where public data say.
        columns: for each number that adds up over groups its column in each set's measurement.
    """

    measurements: tuple[str, ...]
    keys: tuple[tuple[int, ...], ...]
    sizes: tuple[int | None, ...]
    columns: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostProcessing:
    """What is done with noisy numbers because the caller asked for it; it costs nothing.

    Attributes:
        nonnegative: released columns that are counts, and shown as 0 where they are below.
        consistent: totals that agree with their parts; done before the release query.
    """

    nonnegative: tuple[str, ...] = ()
    consistent: tuple[ConsistentTotals, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PricePart:
    """One line of a quote: what is paid for, and how much."""

    what: str
    price: Price


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A compiled template, ready to be priced, charged, executed and released.

    Attributes:
        differential: True: every released number is a DP aggregate, a key or computed from those. False: the owner has
            DP off for this party; then there is one measurement `m0` whose `exact_columns` pass as they are, and whose
            `columns` are the values of `addnoise` with assumed sensitivity 1.
        sql: the checked query in canonical text, for the receipt and for people.
        tables: what the exact queries read.
        measurements: at least one.
        exact_columns: DP off only: columns of `m0` released without noise.
        release: post-processing.
        parts: the price, line by line; `price` is their sum.
        notes: public sentences for the release (e.g. that addnoise took sensitivity 1).
        entity: the protected entity for people, e.g. `tailnum of airline.flights`; empty with DP off.
        post: post-processing that was asked for.
        protected_owners: the parties whose tables are protected in this run: their settings price it.
    """

    differential: bool
    sql: str
    tables: tuple[TableUse, ...]
    measurements: tuple[Measurement, ...]
    release: ReleaseQuery
    parts: tuple[PricePart, ...]
    exact_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    entity: str = ""
    protected_owners: tuple[str, ...] = ()
    post: PostProcessing = PostProcessing()

    def __post_init__(self) -> None:
        if not self.measurements:
            raise ValueError("a plan measures something")
        if self.differential and (self.exact_columns or any(c.role == "exact" for c in self.release.columns)):
            raise ValueError("a differentially private plan releases nothing exact")
        if not self.differential and len(self.measurements) != 1:
            raise ValueError("a plan without DP has one measurement")

    @property
    def price(self) -> Price:
        """The whole price: micro-epsilon and delta steps, already rounded up part by part."""
        total = Price(micro_epsilon=0, delta_steps=0)
        for part in self.parts:
            total = total + part.price
        return total

    @property
    def released(self) -> tuple[Measurement, ...]:
        """The measurements that the release query reads: all but estimates for the clipping note."""
        return tuple(m for m in self.measurements if m.estimate is None)

    @property
    def rho_price(self) -> RhoPrice:
        """What the whole run costs where rho is counted: from the noise that it will get, whatever its epsilon says."""
        if not self.parts:
            return ZERO_RHO
        return rho_price(
            ((together[0].noise, together[0].sensitivity) for m in self.measurements for together in m.drawn_together),
            selection_deltas=(m.partition_selection.delta for m in self.measurements if m.partition_selection),
        )
