"""The plan with DP off: exact columns, and values of addnoise with sensitivity taken as 1 (B-38, B-46). Pure.

The outermost SELECT is cut in two. What holds no addnoise is computed exactly and passes as it is; what holds one
becomes a release expression over the noised value. Everything below the outermost SELECT is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from sqlglot import exp

from cleanroom.privacy.accounting import price_of
from cleanroom.privacy.calibration import gaussian_noise, gaussian_rho, laplace_noise
from cleanroom.privacy.noise import Noise
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.addnoise import AddNoise, is_addnoise, read_addnoise
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.plan import MeasuredColumn, Measurement, PricePart, ReleaseColumn, ReleaseQuery
from cleanroom.templates.refusals import refuse
from cleanroom.templates.release_query import replicated
from cleanroom.templates.scalars import NUMERIC, Scalar, cast, require
from cleanroom.templates.selects import Wanted
from cleanroom.templates.trees import bracketed, column, double, fragment, integer, is_written_out, named, table, to_sql

UNIT = Fraction(1, 2**20)
"""What one step of a noised value is worth."""

SENSITIVITY = 2**20 + 1
"""Steps by which a value with sensitivity 1 can move: one more, for cutting off the fraction."""

NOTE = "differential privacy is off for this party: addnoise took the sensitivity of its value as 1"

_LIMIT = 2**62
_NAME = "m0"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainPlan:
    """What `compile.py` puts into the plan; `exact` is the tree of the exact query."""

    measurement: Measurement
    exact: exp.Expr
    exact_columns: tuple[str, ...]
    release: ReleaseQuery
    parts: tuple[PricePart, ...]
    notes: tuple[str, ...]


class _Cut:
    """The scope of the outermost SELECT: what has no addnoise in it is one exact column."""

    def __init__(self, exact: Scope) -> None:
        self._exact = exact
        self.exact: dict[str, tuple[str, Scalar]] = {}
        self.noised: dict[str, tuple[str, Scalar, AddNoise]] = {}

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return the column of the exact table that the node becomes; None if an addnoise is further down."""
        if is_addnoise(node):
            return self._noised(read_addnoise(node))
        if any(is_addnoise(n) for n in node.walk()):
            return None
        return self.pass_through(translate(node, self._exact))

    def pass_through(self, scalar: Scalar) -> Scalar:
        """Return an exact value as a column of the exact table."""
        if scalar.constant:
            return scalar
        key = to_sql(scalar.sql)
        name, known = self.exact.setdefault(key, (f"x{len(self.exact)}", scalar))
        return Scalar(sql=column(name, "r"), type=known.type, nullable=known.nullable)

    def _noised(self, call: AddNoise) -> Scalar:
        if any(is_addnoise(n) for n in call.value.walk()):
            refuse("addnoise inside addnoise", rule="addnoise_place", cure="leave the inner one out", at=call.call)
        value = require(translate(call.value, self._exact), NUMERIC, what="addnoise", at=call.call)
        key = f"{to_sql(value.sql)} {call.epsilon} {call.gaussian} {call.delta}"
        name, _, _ = self.noised.setdefault(key, (f"c{len(self.noised)}", value, call))
        return Scalar(sql=column(name, "r"), type=ColumnType.DOUBLE, noisy=True, measured=(_NAME, name))

    def column(self, node: exp.Column) -> Scalar:
        """Return a column."""
        return self.pass_through(self._exact.column(node))


def plain_plan(
    wanted: Wanted, *, select: exp.Select, exact: Scope, keys: list[Scalar] | None, having: exp.Expr | None
) -> PlainPlan:
    """Return exact query, noise and release query of a SELECT with DP off.

    Args:
        wanted: the outermost SELECT.
        select: its FROM, WHERE and GROUP BY, and what the owners' policies add.
        exact: names in its list.
        keys: of GROUP BY; None where it does not aggregate.
        having: its HAVING.
    """
    cut = _Cut(exact)
    outputs = [translate(e, cut) for e in wanted.expressions]
    order = [(o, s) for o in wanted.order if not is_written_out((s := translate(o.this, cut)).sql)]
    filtered = None
    if having is not None and any(is_addnoise(n) for n in having.walk()):
        filtered = require(translate(having, cut), frozenset({ColumnType.BOOLEAN}), what="HAVING", at=having)
    elif having is not None:
        condition = require(translate(having, exact), frozenset({ColumnType.BOOLEAN}), what="HAVING", at=having)
        select = select.where(bracketed(condition.sql))  # what aggregates is below
    identity = [cut.pass_through(k) for k in keys or []]
    early = filtered is None and not any(s.noisy for _, s in order)
    inner = select.select(*(named(s.sql, name) for name, s in cut.exact.values()))
    inner = inner.select(*(named(_steps(s), name) for name, s, _ in cut.noised.values()))
    if not cut.exact and not cut.noised:
        inner = inner.select(named(integer(1), "x0"))
    if early:
        inner = _limited(inner, wanted, [_by(o, translate(o.this, exact)) for o, _ in order])
    columns = tuple(_measured(name, call) for name, _, call in cut.noised.values())
    exact_columns = tuple(name for name, _ in cut.exact.values()) or (() if cut.noised else ("x0",))
    release = _release(
        wanted,
        outputs,
        order=[_by(o, s) for o, s in order],
        limited=not early,
        filtered=filtered,
        identity=identity,
        simulated=keys is not None,
        columns=(*exact_columns, *(c.name for c in columns)),
    )
    return PlainPlan(
        measurement=Measurement(name=_NAME, exact_sql=to_sql(inner), keys=(), columns=columns),
        exact=inner,
        exact_columns=exact_columns,
        release=release,
        parts=tuple(PricePart(what="addnoise", price=c.price) for c in columns),
        notes=(NOTE,) if columns else (),
    )


def _by(entry: exp.Ordered, by: Scalar) -> exp.Ordered:
    return exp.Ordered(this=by.sql.copy(), desc=entry.args["desc"], nulls_first=entry.args["nulls_first"])


def _limited(query: exp.Select, wanted: Wanted, order: list[exp.Ordered]) -> exp.Select:
    if order:
        query = query.order_by(*order)
    if wanted.limit is not None:
        query = query.limit(integer(wanted.limit))
    return query.offset(integer(wanted.offset)) if wanted.offset is not None else query


def _steps(value: Scalar) -> exp.Expr:
    """Return the value in steps, cut toward zero, within +-2^62; 0 for NULL and NaN.

    A NULL would fail the run, and so tell without noise that nothing was there to sum.
    """
    scaled = fragment(":x * :s", x=cast(value, ColumnType.DOUBLE).sql, s=double(1 / UNIT))
    return fragment(
        "CAST(CASE WHEN :z IS NULL OR ISNAN(:z) THEN 0 WHEN :z >= :hi THEN :top WHEN :z <= :lo THEN :bottom "
        "ELSE TRUNC(:z) END AS BIGINT)",
        z=scaled,
        hi=double(Fraction(_LIMIT)),
        lo=double(Fraction(-_LIMIT)),
        top=integer(_LIMIT),
        bottom=integer(-_LIMIT),
    )


def _measured(name: str, call: AddNoise) -> MeasuredColumn:
    noise: Noise
    if call.gaussian:
        sensitivity = SENSITIVITY**2
        noise = gaussian_noise(l2_squared=sensitivity, rho=gaussian_rho(epsilon=call.epsilon, delta=call.delta))
    else:
        sensitivity = SENSITIVITY
        noise = laplace_noise(l1_sensitivity=sensitivity, epsilon=call.epsilon)
    return MeasuredColumn(
        name=name,
        meaning="value of addnoise, sensitivity taken as 1",
        unit=UNIT,
        is_count=False,
        noise=noise,
        norm="l2" if call.gaussian else "l1",
        sensitivity=sensitivity,
        price=price_of(epsilon=call.epsilon, delta=call.delta if call.gaussian else Fraction(0)),
    )


def _release(
    wanted: Wanted,
    outputs: list[Scalar],
    *,
    order: list[exp.Ordered],
    limited: bool,
    filtered: Scalar | None,
    identity: list[Scalar],
    simulated: bool,
    columns: tuple[str, ...],
) -> ReleaseQuery:
    taken = {n.lower() for n in wanted.names}
    hidden = []
    for number in range(len(identity)):
        name = f"identity_{number}"
        while name in taken:
            name += "_"
        hidden.append(name)
    listed = [named(s.sql, n) for s, n in zip(outputs, wanted.names, strict=True)]
    listed += [named(s.sql, n) for s, n in zip(identity, hidden, strict=True)]
    bare = exp.Select().from_(table(_NAME, "r")).select(*listed)
    query = bare.where(bracketed(filtered.sql)) if filtered is not None else bare
    query = _limited(query, wanted, order) if limited else (query.order_by(*order) if order else query)
    shown = tuple(_release_column(n, s) for s, n in zip(outputs, wanted.names, strict=True))
    interval = None
    if simulated and any(c.role == "derived" for c in shown):
        interval = to_sql(replicated(bare, {_NAME: columns}))
    return ReleaseQuery(sql=to_sql(query), interval_sql=interval, columns=shown, identity=tuple(hidden))


def _release_column(name: str, scalar: Scalar) -> ReleaseColumn:
    if scalar.measured is not None:
        measurement, measured = scalar.measured
        return ReleaseColumn(name=name, role="measured", measurement=measurement, column=measured)
    role: Literal["key", "derived", "exact"] = "derived" if scalar.noisy else "exact"
    return ReleaseColumn(name=name, role="key" if scalar.constant else role)
