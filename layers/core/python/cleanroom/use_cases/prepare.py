"""From a request to a priced plan: authorise, find template and tables, render, compile. Charges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from cleanroom.errors import ConflictError, ForbiddenError, InvalidRequestError, TableNotLinkedError
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.templates.compile import compile_query
from cleanroom.templates.render import render
from cleanroom.templates.template import CompileContext
from cleanroom.use_cases.access import room_of_consumer, room_of_provider
from cleanroom.use_cases.arguments import ProviderRunArguments, SubmitAnalysisRequest
from cleanroom.use_cases.settings import provider_run_key
from cleanroom.use_cases.templates import added_template, template_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cleanroom.ports import RunServices
    from cleanroom.rooms.ledger import RoomBudgetRecord, SettingsRecord, TaskState
    from cleanroom.rooms.rooms import Snapshot
    from cleanroom.rooms.tables import LinkedTable
    from cleanroom.templates.plan import Plan
    from cleanroom.templates.template import Argument, RenderedQuery
    from cleanroom.use_cases.arguments import RunArguments


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedRun:
    """A run that could be charged now.

    Attributes:
        budget: whose budget pays.
        record: the settings that it was priced under.
        task, room_budget: the DP task and the room's budget, as they were read before pricing.
        template_digest: SHA-256 of the template.
    """

    room: str
    party: str
    template: str
    template_digest: str
    rendered: RenderedQuery
    plan: Plan
    budget: BudgetKey
    record: SettingsRecord
    task: TaskState
    room_budget: RoomBudgetRecord


def prepare(arguments: RunArguments, party: str, services: RunServices) -> PreparedRun:
    """Authorise and compile a request.

    Raises:
        CleanRoomError: any refusal; nothing was charged, and no table was read.
    """
    snapshot, consumer_name, budget = _who_runs(arguments, party, services)
    added = added_template(snapshot, arguments.template_name)
    terms = services.ledger.terms(budget.room, [budget])
    record = terms.records[budget]
    context = CompileContext(
        reader=party,
        settings=record.settings,
        source_tables=tuple(_named(arguments.provider_tables, snapshot, snapshot.room.provider)),
        my_tables=tuple(_named(arguments.consumer_tables, snapshot, consumer_name)),
        room_tables=snapshot.tables,
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
        budget=budget,
        record=record,
        task=terms.task,
        room_budget=terms.room,
    )


def _who_runs(arguments: RunArguments, party: str, services: RunServices) -> tuple[Snapshot, str, BudgetKey]:
    """Return the room, the consumer whose tables are `my_table`, and whose budget pays."""
    if isinstance(arguments, SubmitAnalysisRequest | ProviderRunArguments):
        snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
        consumer = snapshot.consumer(arguments.consumer_name)
        if consumer is None:
            raise InvalidRequestError(f"{arguments.consumer_name} is not a consumer of this clean room")
        if not consumer.installed:
            raise ConflictError(f"{consumer.party} has not installed the clean room")
        if arguments.template_name not in consumer.provider_run_templates:
            raise ForbiddenError(
                f"{consumer.party} has not enabled this template for the provider: "
                "it would call enable_templates_for_provider_run"
            )
        key = provider_run_key(snapshot.room.name, provider=party, consumer=consumer.party)
        return snapshot, consumer.party, key
    snapshot, consumer = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    return snapshot, consumer.party, BudgetKey(room=snapshot.room.name, party=party)


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
