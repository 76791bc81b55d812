"""What the aggregates of one SELECT ask for, call of addnoise by call, and what is paid for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import isqrt

from sqlglot import exp

from cleanroom.privacy.accounting import price_of
from cleanroom.templates.addnoise import AddNoise, is_addnoise, read_addnoise
from cleanroom.templates.aggregate_calls import read_aggregate, without_bounds
from cleanroom.templates.aggregates import Aggregate, AggregateFunction, is_aggregate
from cleanroom.templates.bounding import HARD_LIMIT
from cleanroom.templates.draft import ContributionBounds
from cleanroom.templates.expressions import translate
from cleanroom.templates.fingerprints import fingerprint
from cleanroom.templates.measurements import DraftColumn, Request, beside_selection, draft_columns
from cleanroom.templates.noisy_values import released
from cleanroom.templates.parts import PartKind, parts_of, work_of
from cleanroom.templates.plan import PricePart
from cleanroom.templates.post_processing import ADDITIVE
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import RowScope
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.subqueries import is_subquery
from cleanroom.templates.trees import column, fragment, integer
from cleanroom.templates.windows import inside_window

MOST_WORK = 10_000
"""Of the aggregates of one SELECT together, as `work_of` counts it: about a second of one processor."""

_SETTINGS_POOL = "settings"


@dataclass(frozen=True, kw_only=True, slots=True)
class Charges:
    """What the settings say a released aggregate gets, and the lines of the price so far.

    Attributes:
        epsilon: per aggregate, template sensitivity included.
        gaussian: the settings' mechanism.
        delta: per Gaussian aggregate, and per selection of private groups.
        at_least: entities that every group must have by the settings' threshold; 0 for none.
        parts: filled while compiling.
    """

    epsilon: Fraction
    gaussian: bool
    delta: Fraction
    at_least: int
    parts: list[PricePart] = field(default_factory=list)

    def pay(self, what: str, *, epsilon: Fraction, delta: Fraction) -> None:
        """Add a line to the price."""
        self.parts.append(PricePart(what=what, price=price_of(epsilon=epsilon, delta=delta)))


class Book:
    """The aggregates of one SELECT: what is asked, who pays, and which columns answer it."""

    def __init__(self, rows: RowScope, charges: Charges, *, other: bool, whole: bool) -> None:
        self._rows = rows
        self._whole = whole
        self._charges = charges
        self._other = other
        self._requests: dict[str, dict[str, Request]] = {}
        self._work = 0
        self._by_pool: dict[str, list[DraftColumn]] = {}
        self._calls: dict[str, AddNoise] = {}
        self.columns: list[DraftColumn] = []
        self.counts_distinct = False

    def collect(self, node: exp.Expr) -> None:
        """Note every aggregate in an expression."""
        if is_addnoise(node):
            call = read_addnoise(node)
            self._calls.setdefault(self._pool(node), call)
            self._collect_call(self._pool(node), call)
            return
        if isinstance(node, exp.Window):
            for part in inside_window(node):
                self.collect(part)
            return
        if is_aggregate(node):
            aggregate = read_aggregate(node, self._rows)
            charges = self._charges
            self._ask(
                _SETTINGS_POOL,
                Request(
                    aggregate=aggregate,
                    epsilon=charges.epsilon,
                    gaussian=charges.gaussian,
                    delta=charges.delta if charges.gaussian else Fraction(0),
                    pool=_SETTINGS_POOL,
                    at=node,
                    lacking=without_bounds(node, self._rows),
                ),
            )
            return
        if is_subquery(node):
            return  # has aggregates of its own
        for child in node.iter_expressions():
            self.collect(child)

    def _collect_call(self, pool: str, call: AddNoise) -> None:
        """Share the epsilon of an addnoise equally among the aggregates inside it."""
        inside_call: dict[str, tuple[Aggregate, exp.Expr]] = {}
        stack = [call.value]
        while stack:
            node = stack.pop(0)
            if is_addnoise(node):
                refuse("addnoise inside addnoise", rule="addnoise_place", cure="leave the inner one out", at=node)
            if is_aggregate(node):
                aggregate = read_aggregate(node, self._rows)
                inside_call.setdefault(aggregate.key, (aggregate, node))
            elif not is_subquery(node):
                stack.extend(node.iter_expressions())
        if not inside_call:
            refuse(
                "addnoise of a value without an aggregate has no sensitivity that could be derived",
                rule="addnoise_without_aggregate",
                cure="give it an aggregate, e.g. COUNT(*) or SUM(x)",
                at=call.call,
            )
        for aggregate, node in inside_call.values():
            request = Request(
                aggregate=aggregate,
                epsilon=call.epsilon / len(inside_call),
                gaussian=call.gaussian,
                delta=call.delta / len(inside_call) if call.gaussian else Fraction(0),
                pool=pool,
                at=node,
                lacking=without_bounds(node, self._rows),
            )
            self._ask(pool, request)

    def _ask(self, pool: str, request: Request) -> None:
        asked = self._requests.setdefault(pool, {})
        if request.aggregate.key in asked:
            return
        asked[request.aggregate.key] = request
        self._work += work_of(request.aggregate)
        if self._work > MOST_WORK:
            refuse(
                "what is asked for together is too long to be worked out",
                rule="too_large",
                cure="ask for fewer or shorter aggregates in one query, or give a long expression a name in a CTE",
                at=request.at,
            )

    def _pool(self, node: exp.Expr) -> str:
        return fingerprint(node, self._rows)

    def close(self, *, private: bool, at_least: int) -> str | None:
        """Work out the columns and the price; return the column that counts entities, if groups are chosen by it."""
        if not self._requests and not private:
            self._ask_entities()  # only keys are asked for: the group sizes are measured, so that there is something
        kinds = {part for pool in self._requests for part in self._parts(pool)}
        self.counts_distinct = any(kind in (PartKind.ENTITIES, PartKind.DISTINCT) for kind, _ in kinds)
        if self._other and at_least and (PartKind.ENTITIES, "") not in self._parts(_SETTINGS_POOL):
            self._ask_entities("smallest group: entities of the other row")
        for pool, requests in self._requests.items():
            asked = draft_columns(list(requests.values()), first=len(self.columns))
            if not self._whole:
                asked = [replace(c, whole=False) if c.part.kind in ADDITIVE else c for c in asked]
            self._by_pool[pool] = asked
            self.columns += self._by_pool[pool]
            call = self._calls.get(pool)
            if call is not None:
                delta = call.delta if call.gaussian else Fraction(0)
                self._charges.pay("addnoise", epsilon=call.epsilon, delta=delta)
                continue
            for request in requests.values():
                self._charges.pay(request.aggregate.label, epsilon=request.epsilon, delta=request.delta)
        if not private and not at_least:
            return None
        # Released beside an other row, the number that chooses groups would tell of hidden ones twice.
        entities = None if self._other else self._counted_entities() if private else self._settled_entities()
        selection_delta = self._charges.delta if private else Fraction(0)
        what = "choosing the groups: entities per group" if private else "smallest group: entities per group"
        if entities is not None:
            if private:
                self._charges.pay(what, epsilon=Fraction(0), delta=selection_delta)
            return entities.name
        request = self._entities_request()
        (selection,) = draft_columns([request], first=len(self.columns))
        self._charges.pay(what, epsilon=request.epsilon, delta=request.delta + selection_delta)
        settled = self._by_pool.get(_SETTINGS_POOL, [])
        if settled:
            *shared, selection = beside_selection(settled, selection)
            by_name = {c.name: c for c in shared}
            self._by_pool[_SETTINGS_POOL] = shared
            self.columns = [by_name.get(c.name, c) for c in self.columns]
        self.columns.append(selection)
        return selection.name

    def _counted_entities(self) -> DraftColumn | None:
        """Return the column that counts all entities of a group, or None."""
        return next((c for c in self.columns if c.part.key == (PartKind.ENTITIES, "")), None)

    def _settled_entities(self) -> DraftColumn | None:
        """Return the same with the noise of the settings, or None: that of an addnoise is the template's to choose.

        A smallest group is asked of this one: of a count with next to no epsilon, half of all groups would pass. Where
        groups are chosen any noise will do, for tau grows with it.
        """
        settled = self._by_pool.get(_SETTINGS_POOL, [])
        return next((c for c in settled if c.part.key == (PartKind.ENTITIES, "")), None)

    def _parts(self, pool: str) -> set[tuple[PartKind, str]]:
        requests = self._requests.get(pool, {})
        return {part.key for request in requests.values() for part in parts_of(request.aggregate)}

    def large_enough(self, is_other: exp.Expr, at_least: int, *, bounds: ContributionBounds, alias: str) -> exp.Expr:
        """Return the condition that the other row, too, has as many entities as a group must have.

        Its entities are added up over its groups, in which one entity weighs max_groups in all with Laplace noise and
        at most the root of max_groups * HARD_LIMIT * max_groups with Gaussian noise: so many times `at_least` are asked
        of the sum. Other rows are what tau lets through.
        """
        counted = self._settled_entities()
        if counted is None:
            raise AssertionError("the entities of an other row are counted where there is a smallest group")
        k = bounds.max_groups
        most = isqrt(k * HARD_LIMIT * k - 1) + 1 if counted.gaussian else k
        return fragment(
            "NOT :o OR :n >= :least", o=is_other, n=column(counted.name, alias), least=integer(at_least * most)
        )

    def _entities_request(self, label: str = "entities") -> Request:
        charges = self._charges
        return Request(
            aggregate=Aggregate(function=AggregateFunction.ENTITIES, label=label),
            epsilon=charges.epsilon,
            gaussian=charges.gaussian,
            delta=charges.delta if charges.gaussian else Fraction(0),
            pool=_SETTINGS_POOL,
            at=exp.Null(),
        )

    def _ask_entities(self, label: str = "entities") -> None:
        self._ask(_SETTINGS_POOL, self._entities_request(label))

    def value(self, node: exp.Expr, *, measurement: str, alias: str) -> Scalar | None:
        """Return an aggregate, or an addnoise, over the noisy table."""
        if is_addnoise(node):
            pool = self._pool(node)
            inner = _CallScope(self, pool=pool, measurement=measurement, alias=alias)
            result = translate(self._calls[pool].value, inner)
            return replace(result, noisy=True)
        return self.aggregate(node, pool=_SETTINGS_POOL, measurement=measurement, alias=alias)

    def aggregate(self, node: exp.Expr, *, pool: str, measurement: str, alias: str) -> Scalar:
        """Return an aggregate of one pool over the noisy table."""
        aggregate = read_aggregate(node, self._rows)
        value = released(aggregate, self._by_pool[pool], measurement=measurement, alias=alias)
        gaussian = any(c.gaussian for c in self._by_pool[pool])
        # In an other row Gaussian noise is wider: the interval is not one for all rows, and is simulated.
        return replace(value, measured=None) if self._other and gaussian else value

    @property
    def rows(self) -> RowScope:
        """Names inside aggregates."""
        return self._rows


class _CallScope:
    """Names inside the value of addnoise: aggregates, and no columns."""

    def __init__(self, book: Book, *, pool: str, measurement: str, alias: str) -> None:
        self._book, self._pool, self._measurement, self._alias = book, pool, measurement, alias

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return an aggregate."""
        if is_aggregate(node):
            return self._book.aggregate(node, pool=self._pool, measurement=self._measurement, alias=self._alias)
        return None

    def column(self, node: exp.Column) -> Scalar:
        """Refuse a column outside an aggregate."""
        self._book.rows.column(node)
        refuse(
            "inside addnoise, columns stand in aggregates only",
            rule="not_grouped",
            cure="aggregate the column",
            at=node,
        )
