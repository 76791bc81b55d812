"""How a plan looks to people: what is measured, with which noise, at which price; and the SQL that would run."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from cleanroom.privacy.accounting import DELTA_STEPS
from cleanroom.privacy.consistency import variances_left
from cleanroom.privacy.rho import MOST_RHO_STEPS, RHO_STEPS
from cleanroom.templates.trees import laid_out
from cleanroom.use_cases.clipping_notes import clipping_notes
from cleanroom.use_cases.half_widths import half_width_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.privacy.accounting import Price
    from cleanroom.privacy.rho import RhoPrice
    from cleanroom.rooms.ledger import RunRecord
    from cleanroom.templates.plan import ConsistentTotals, MeasuredColumn, Measurement, Plan


def price_view(price: Price) -> dict[str, float]:
    """Return a price as people read it."""
    return {"epsilon": price.micro_epsilon / 1e6, "delta": price.delta_steps / 1e12}


def run_price_view(run: RunRecord) -> dict[str, float | None]:
    """Return what a run cost the budget that paid most, in both units, whatever its budgets count."""
    return {**price_view(run.price), **rho_view(run.rho_prices[0] if run.rho_prices else None)}


def rho_view(price: RhoPrice | None) -> dict[str, float | None]:
    """Return a price where rho is counted as people read it; None where it is not known."""
    if price is None or price.rho_steps >= MOST_RHO_STEPS:
        return {"rho": None, "rho_delta": None}
    return {"rho": price.rho_steps / RHO_STEPS, "rho_delta": price.delta_steps / DELTA_STEPS}


def measurement_view(measurement: Measurement) -> dict[str, object]:
    """Return one measurement as a quote shows it; `threshold` is tau, in entities, and `bounds` name columns."""
    return {
        "name": measurement.name,
        "keys": list(measurement.keys),
        "group_keys": "private" if measurement.partition_selection is not None else "public",
        "threshold": _threshold(measurement),
        "bounds": dict(measurement.bounds),
        "columns": [
            {
                "name": c.name,
                "measures": c.meaning,
                "vector": c.vector,
                "noise": c.noise.as_json(),
                "plus_or_minus_95": half_width_of(c),
                **_of_other_row(c),
            }
            for c in measurement.columns
        ],
    }


def explained_plan(plan: Plan) -> dict[str, object]:
    """Return all of a plan: tables read, measurements with their exact SQL and noise, release SQL, price by part."""
    return {
        "differential": int(plan.differential),
        "entity": plan.entity,
        "tables": [
            {"relation": use.relation, "table": use.table.full_name, "columns": list(use.columns)}
            for use in plan.tables
        ],
        "measurements": [_explained_measurement(m) for m in plan.measurements],
        "release_sql": laid_out(plan.release.sql),
        "interval_sql": None if plan.release.interval_sql is None else laid_out(plan.release.interval_sql),
        "columns": [{"name": c.name, "role": c.role} for c in plan.release.columns],
        "price": {
            **price_view(plan.price),
            **rho_view(plan.rho_price),
            "parts": [{"what": p.what, **price_view(p.price)} for p in plan.parts],
        },
        "clipping": clipping_notes(plan),
        "post_processing": post_view(plan),
        "notes": list(plan.notes),
    }


def post_view(plan: Plan) -> dict[str, object]:
    """Return the post-processing that was asked for, which costs nothing.

    Of consistent totals: for each number the standard deviation of its noise in each measurement, as it is measured and
    after all agree; None where the number of groups is for public tables to say.
    """
    columns = {m.name: {c.name: c for c in m.columns} for m in plan.measurements}
    return {
        "nonnegative_counts": list(plan.post.nonnegative),
        "consistent_totals": [
            {
                "measurements": list(totals.measurements),
                "numbers": [_agreeing(totals, c, columns) for c in totals.columns],
            }
            for totals in plan.post.consistent
        ],
    }


def _agreeing(
    totals: ConsistentTotals, names: tuple[str, ...], columns: Mapping[str, Mapping[str, MeasuredColumn]]
) -> dict[str, object]:
    same = [columns[m][name] for m, name in zip(totals.measurements, names, strict=True)]
    alone = [c.noise.standard_deviation * float(c.unit) for c in same]
    sizes = [size for size in totals.sizes if size is not None]
    left: list[float] | None = None
    if len(sizes) == len(totals.sizes) and all(alone):
        sets = [frozenset(axes) for axes in totals.keys]
        left = [sqrt(v) for v in variances_left(sets=sets, variances=[d * d for d in alone], sizes=sizes)]
    return {"columns": list(names), "measures": same[0].meaning, "deviation_measured": alone, "deviation_shown": left}


def _explained_measurement(measurement: Measurement) -> dict[str, object]:
    view = measurement_view(measurement)
    view["columns"] = [_explained_column(c) for c in measurement.columns]
    return {**view, "exact_sql": laid_out(measurement.exact_sql)}


def _explained_column(column: MeasuredColumn) -> dict[str, object]:
    return {
        "name": column.name,
        "measures": column.meaning,
        "vector": column.vector,
        "step": float(column.unit),
        "sensitivity": {"norm": column.norm, "steps": str(column.sensitivity), "squared": column.norm == "l2"},
        "noise": column.noise.as_json(),
        "price": price_view(column.price),
        "plus_or_minus_95": half_width_of(column),
        **_of_other_row(column),
    }


def _of_other_row(column: MeasuredColumn) -> dict[str, object]:
    """Return the noise of the column's other row; nothing where there is no such row."""
    if column.other_noise is None:
        return {}
    return {
        "other_row": {
            "noise": column.other_noise.as_json(),
            "plus_or_minus_95": half_width_of(column, other_row=True),
        }
    }


def _threshold(measurement: Measurement) -> float | None:
    """Return tau in entities."""
    selection = measurement.partition_selection
    if selection is None:
        return None
    column = next(c for c in measurement.columns if c.name == selection.column)
    return float(selection.tau * column.unit)
