"""Measures a table for its owner: how many rows and groups entities have, and how values are spread. Adapter.

Exact figures, without noise. They are for `suggest_bounds` alone, which answers the owner of the table and nobody else.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from cleanroom.adapters.duckdb_sandbox import quoted
from cleanroom.rooms.suggestions import (
    MOMENTS,
    QUANTILES,
    ExactContribution,
    ExactRange,
    ExactSuggestions,
    candidate_contributions,
    candidate_ranges,
    range_as_declared,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleanroom.adapters.duckdb_sandbox import Sandbox
    from cleanroom.rooms.tables import Column

_SHARES = ", ".join(str(float(share)) for share in QUANTILES)


def measure(
    sandbox: Sandbox,
    rows: str,
    *,
    version: str,
    entity: str | None,
    groups: Sequence[Column],
    columns: Sequence[Column],
) -> ExactSuggestions:
    """Measure the rows.

    Args:
        sandbox: a fresh one; its limits are the limits of this.
        rows: SQL that can stand in FROM, with the entity and all columns.
        version: digest of the table version.
        entity: the entity's column, as SQL; None where the table has none.
        groups: columns by which templates are meant to group; empty for none.
        columns: whose ranges are asked for; of types in `RANGED`.

    Raises:
        EngineError: a limit was reached, or a row cannot be read.
    """
    ranges = {column.name: found for column in columns if (found := _ranges(sandbox, rows, column))}
    if entity is None:
        return ExactSuggestions(version=version, ranges=ranges)
    keys = "".join(f", {quoted(column.name)}" for column in groups)
    sandbox.trusted(
        f"CREATE TEMP TABLE pairs AS SELECT {entity} AS e, count(*) AS c FROM {rows} GROUP BY {entity}{keys}"
    )
    sandbox.trusted(
        "CREATE TEMP TABLE entities AS SELECT count(*) AS n, sum(c) AS total, sqrt(sum(c::DOUBLE * c)) AS norm "
        "FROM pairs WHERE e IS NOT NULL GROUP BY e"
    )
    (counts,) = sandbox.trusted(
        "SELECT count(*), coalesce(sum(total), 0)::BIGINT, "
        "(SELECT coalesce(sum(c), 0)::BIGINT FROM pairs WHERE e IS NULL) FROM entities"
    )
    return ExactSuggestions(
        version=version,
        exact_entities=counts[0],
        exact_rows=counts[1] + counts[2],
        exact_rows_without_entity=counts[2],
        contributions=_contributions(sandbox) if counts[0] else (),
        ranges=ranges,
    )


def _contributions(sandbox: Sandbox) -> tuple[ExactContribution, ...]:
    (rows_at,) = sandbox.trusted(f"SELECT quantile_disc(c, [{_SHARES}, 1.0]) FROM pairs WHERE e IS NOT NULL")[0]
    (groups_at,) = sandbox.trusted(f"SELECT quantile_disc(n, [{_SHARES}, 1.0]) FROM entities")[0]
    found = []
    for k, m in candidate_contributions(rows_at, groups_at):
        (shares,) = sandbox.trusted(
            f"""
SELECT avg((total > {k * m})::INT),
       1 - sum(least(total, {k * m})) / sum(total),
       1 - sum(total * least(1, sqrt({k}) * {m} / norm)) / sum(total),
       1 - sum(least(n, {k})) / sum(n)
FROM entities"""
        )
        found.append(
            ExactContribution(
                max_groups=k,
                max_rows=m,
                exact_entities_scaled=float(shares[0]),
                exact_rows_lost=float(shares[1]),
                exact_rows_lost_gaussian=max(float(shares[2]), 0.0),
                exact_groups_lost=float(shares[3]),
            )
        )
    return tuple(found)


def _ranges(sandbox: Sandbox, rows: str, column: Column) -> tuple[ExactRange, ...]:
    value = _as_number(column)
    values = f"(SELECT {value} AS x FROM {rows}) WHERE isfinite(x)"
    tails = [(1 - float(share)) / 2 for share in QUANTILES]
    asked = ", ".join(str(place) for tail in tails for place in (tail, 1 - tail))
    (places,) = sandbox.trusted(f"SELECT quantile_disc(x, [{asked}, 0.0, 1.0]) FROM {values}")[0]
    if not places:
        return ()
    found = []
    for lo, hi in candidate_ranges(column, list(zip(places[::2], places[1::2], strict=True))):
        inside = f"greatest({float(lo)!r}::DOUBLE, least({float(hi)!r}::DOUBLE, x))"
        ((clamped, moved, mass),) = sandbox.trusted(
            f"SELECT avg((x <> {inside})::INT), sum(abs(x - {inside})), sum(abs(x)) FROM {values}"
        )
        share = moved / mass if 0 < mass < inf else float(moved > 0)
        found.append(
            ExactRange(
                bounds=range_as_declared(column, (lo, hi)),
                exact_values_clamped=clamped,
                exact_mass_clamped=None if column.type in MOMENTS else share,
            )
        )
    return tuple(found)


def _as_number(column: Column) -> str:
    """Return the column as a DOUBLE; moments as days since 1970-01-01. What is not finite is dropped later."""
    name = quoted(column.name)
    if column.type in MOMENTS:
        moment = f"TRY_CAST({name} AS TIMESTAMP)"
        return f"CASE WHEN isfinite({moment}) THEN epoch({moment}) / 86400.0 END"
    return f"TRY_CAST({name} AS DOUBLE)"
