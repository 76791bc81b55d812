"""benchmarks: this package as one more peer of a side-by-side harness that hands over its own data and workloads.

The peer harness protocol is three functions: `supports(workload)` returns None or why not, `open(workload)` prepares,
`answer(workload, state)` returns rows of group keys followed by one number per aggregate. A workload has `name`,
`files` ((alias, path) pairs), `l0` and `linf` (bounds), `columns` (name -> clamp), `keys` (public groups), `eps` and
`delta`. Needs `layers/core/python` and this repository on the path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks import exact, workloads
from benchmarks.workloads import Asked, Question, Source
from cleanroom.adapters.duckdb_instances import SpareInstance
from cleanroom.adapters.system import SystemEntropy, SystemIds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cleanroom.templates.plan import Plan


class Workload(Protocol):
    """What the harness hands over."""

    name: str
    files: tuple[tuple[str, str], ...]
    l0: int
    linf: int
    keys: tuple[tuple[Any, ...], ...]
    eps: float
    delta: float

    @property
    def columns(self) -> Mapping[str, tuple[float, float]]:
        """Value columns with their clamps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A question over the harness's files, compiled, and the instance of the next answer."""

    question: Question
    plan: Plan
    spare: SpareInstance


TABLES = {"l": "lineitem", "o": "orders", "f": "flights", "p": "pages", "r": "ratings"}


def _entities_by(name: str, *, column: str, table: str, entity: str) -> Callable[[Path], Question]:
    """Return a question that counts entities by a private key."""

    def question(folder: Path) -> Question:
        source = Source(name=table, path=folder, owner="provider", entity_column=entity)
        return Question(
            name=name,
            about=f"distinct {entity} by {column}; private groups",
            template=f"SELECT {column}, COUNT(DISTINCT {entity}) AS n "
            f"FROM IDENTIFIER({{{{ source_table[0] }}}}) AS p GROUP BY {column}",
            sources=(source,),
            plain=f"SELECT {column}, count(DISTINCT {entity}) FROM {{{table}}} GROUP BY ALL",
            view=f"SELECT {entity} AS entity, {column} FROM {{{table}}}",
            keys=(column,),
            asked=(Asked(kind="entities"),),
            max_groups=1,
            max_rows=1,
        )

    return question


QUESTIONS: dict[str, Callable[[Path], Question]] = {
    "W1": lambda folder: workloads.pricing_summary(folder=folder),
    "W2": lambda folder: workloads.customers_by_month(folder=folder),
    "W3": lambda folder: workloads.sales_by_clerk(folder=folder),
    "W3F": lambda folder: workloads.miles_by_destination(folder=folder),
    "W3Z": _entities_by("W3Z", column="page", table="pages", entity="uid"),
    "W3R": _entities_by("W3R", column="movie", table="ratings", entity="uid"),
    "W4": lambda folder: workloads.delay_by_carrier(folder=folder),
}


def supports(workload: Workload) -> str | None:
    """Return None, or why this workload cannot be answered."""
    return None if workload.name in QUESTIONS else "no template for this workload"


def open(workload: Workload) -> State:  # noqa: A001 - the protocol's name
    """Compile the workload's question with the harness's files, bounds and budget."""
    paths = {TABLES[alias]: Path(path) for alias, path in workload.files}
    question = QUESTIONS[workload.name](next(iter(paths.values())).parent).over(paths)
    bounds = {name: list(clamp) for name, clamp in workload.columns.items()}
    question = replace(
        question,
        max_groups=workload.l0,
        max_rows=workload.linf,
        groups=tuple(tuple(key) for key in workload.keys),
        sources=tuple(_bounded(source, workload, bounds) for source in question.sources),
    )
    plan = exact.compiled(question, epsilon=Fraction(str(workload.eps)), delta=Fraction(str(workload.delta)))
    return State(question=question, plan=plan, spare=SpareInstance(exact.LIMITS))


def _bounded(source: Source, workload: Workload, bounds: Mapping[str, list[float]]) -> Source:
    policy = dict(source.policy)
    if source.owner == "provider":
        policy |= {"max_groups": workload.l0, "max_rows": workload.linf}
    if "bounds" in policy:
        policy["bounds"] = {name: bounds.get(name, clamp) for name, clamp in policy["bounds"].items()}
    return replace(source, policy=policy)


def answer(workload: Workload, state: State) -> list[tuple[object, ...]]:
    """Run and release once, with a fresh key and fresh noise."""
    exact_tables = exact.run_exact(state.question, state.plan, run_key=SystemIds().run_key(), spare=state.spare)
    rows = exact.release(state.plan, exact_tables, entropy=SystemEntropy())
    if not workload.keys:
        return rows
    asked = {tuple(key) for key in workload.keys}
    return [row for row in rows if row[: len(state.question.keys)] in asked]
