"""From a request to a priced plan: authorise, find template and tables, render, compile. Charges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from cleanroom.errors import ConflictError, ForbiddenError, InvalidRequestError, TableNotLinkedError
from cleanroom.privacy.accounting import exact_fraction
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.settings import strictest
from cleanroom.templates.compile import compile_query
from cleanroom.templates.render import render
from cleanroom.templates.template import CompileContext
from cleanroom.use_cases.access import room_of_consumer, room_of_provider
from cleanroom.use_cases.arguments import ProviderRunArguments, SubmitAnalysisRequest
from cleanroom.use_cases.charge import Payer
from cleanroom.use_cases.settings import provider_run_key
from cleanroom.use_cases.templates import added_template, template_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cleanroom.ports import RunServices
    from cleanroom.rooms.ledger import RoomBudgetRecord, TaskState
    from cleanroom.rooms.rooms import Consumer, Snapshot
    from cleanroom.rooms.tables import LinkedTable
    from cleanroom.templates.plan import Plan
    from cleanroom.templates.template import Argument, RenderedQuery
    from cleanroom.use_cases.arguments import RunArguments


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A run that could be charged now.

    Attributes:
        payers: whose budgets pay, each in full; the first is that of the party whose tables the run is about.
        task, room_budget: the DP task and the room's budget, as they were read before pricing.
        template_digest: SHA-256 of the template.
    """

    room: str
    party: str
    template: str
    template_digest: str
    rendered: RenderedQuery
    plan: Plan
    payers: tuple[Payer, ...]
    task: TaskState
    room_budget: RoomBudgetRecord


def prepare(arguments: RunArguments, party: str, services: RunServices) -> PreparedRun:
    """Authorise and compile a request.

    Raises:
        CleanRoomError: any refusal; nothing was charged, and no table was read.
    """
    snapshot, consumer_name, budget = _who_runs(arguments, party, services)
    added = added_template(snapshot, arguments.template_name)
    my_tables = tuple(_consumer_tables(arguments, snapshot, consumer_name))
    budgets = _budgets(arguments, snapshot, budget, consumer_name, my_tables)
    terms = services.ledger.terms(budget.room, list(budgets.values()))
    given = {owner: terms.records[key].settings for owner, key in budgets.items()}
    settings = strictest(given)
    context = CompileContext(
        reader=party,
        settings=settings,
        source_tables=tuple(_named(arguments.provider_tables, snapshot, snapshot.room.provider)),
        my_tables=my_tables,
        room_tables=snapshot.tables,
        clipping_share=None if arguments.clipping_estimate is None else exact_fraction(arguments.clipping_estimate),
        nonnegative_counts="nonnegative_counts" in arguments.post_processing,
        consistent_totals="consistent_totals" in arguments.post_processing,
        exempt=frozenset(owner for owner, s in given.items() if settings.differential and not s.differential),
    )
    values = {name: _argument(value) for name, value in arguments.arguments.items()}
    rendered = render(added.template, values, context)
    plan = compile_query(rendered, template=added.template, context=context)
    return PreparedRun(
        room=snapshot.room.name,
        party=party,
        template=added.template.name,
        template_digest=template_digest(added.template),
        rendered=rendered,
        plan=plan,
        payers=tuple(
            Payer(
                budget=budgets[owner],
                record=terms.records[budgets[owner]],
                price=plan.price,
                rho_price=plan.rho_price,
            )
            for owner in _paying(plan, budgets)
        ),
        task=terms.task,
        room_budget=terms.room,
    )


def _consumer_tables(arguments: RunArguments, snapshot: Snapshot, consumer_name: str) -> Iterable[LinkedTable]:
    """Give the consumer's tables, in the order asked for; in a provider-run also `party.table` of other consumers.

    Raises:
        ForbiddenError: another consumer has not enabled the template for the provider.
    """
    for name in arguments.consumer_tables:
        owner = name.lower().rpartition(".")[0]
        if owner in ("", consumer_name) or not isinstance(arguments, SubmitAnalysisRequest | ProviderRunArguments):
            yield from _named([name], snapshot, consumer_name)
            continue
        _check_enabled(snapshot, owner, arguments.template_name)
        yield from _named([name], snapshot, owner)


def _budgets(
    arguments: RunArguments,
    snapshot: Snapshot,
    budget: BudgetKey,
    consumer_name: str,
    my_tables: tuple[LinkedTable, ...],
) -> dict[str, BudgetKey]:
    """Return the owners of the tables that can be protected in this run, with the budget that each one gave (B-21)."""
    if not isinstance(arguments, SubmitAnalysisRequest | ProviderRunArguments):
        return {snapshot.room.provider: budget}
    room, provider = snapshot.room.name, snapshot.room.provider
    owners = dict.fromkeys([t.owner for t in my_tables] or [consumer_name])
    return {owner: provider_run_key(room, provider=provider, consumer=owner) for owner in owners}


def _paying(plan: Plan, budgets: Mapping[str, BudgetKey]) -> list[str]:
    """Return the owners whose budgets pay: those protected in the plan; with DP off those whose tables are read."""
    reads = plan.protected_owners or tuple(dict.fromkeys(use.table.owner for use in plan.tables))
    return [owner for owner in budgets if owner in reads] or [next(iter(budgets))]


def _who_runs(arguments: RunArguments, party: str, services: RunServices) -> tuple[Snapshot, str, BudgetKey]:
    """Return the room, the consumer whose tables are `my_table`, and whose budget pays."""
    if isinstance(arguments, SubmitAnalysisRequest | ProviderRunArguments):
        snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
        consumer = _check_enabled(snapshot, arguments.consumer_name, arguments.template_name)
        key = provider_run_key(snapshot.room.name, provider=party, consumer=consumer.party)
        return snapshot, consumer.party, key
    snapshot, consumer = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    return snapshot, consumer.party, BudgetKey(room=snapshot.room.name, party=party)


def _check_enabled(snapshot: Snapshot, name: str, template_name: str) -> Consumer:
    """Return the consumer on whose tables the provider may run the template.

    Raises:
        InvalidRequestError, ConflictError, ForbiddenError: who is no consumer, or has not agreed.
    """
    consumer = snapshot.consumer(name)
    if consumer is None:
        raise InvalidRequestError(f"{name} is not a consumer of this clean room")
    if not consumer.installed:
        raise ConflictError(f"{consumer.party} has not installed the clean room")
    if template_name not in consumer.provider_run_templates:
        raise ForbiddenError(
            f"{consumer.party} has not enabled this template for the provider: "
            "it would call enable_templates_for_provider_run"
        )
    return consumer


def _named(names: Iterable[str], snapshot: Snapshot, owner: str) -> Iterable[LinkedTable]:
    """Give each named table of one owner, in the order asked for."""
    linked = {t.name: t for t in snapshot.tables_of(owner)}
    for name in names:
        table = linked.get(name.lower().removeprefix(f"{owner}."))
        if table is None:
            raise TableNotLinkedError(f"{owner} has linked no table {name!r} to the clean room")
        yield table


def _argument(value: Any) -> Argument:
    """Return a JSON value as a template argument: lists become tuples."""
    if isinstance(value, list):
        return tuple(_argument(item) for item in value)
    if isinstance(value, dict):
        return {key: _argument(item) for key, item in value.items()}
    return cast("Argument", value)
