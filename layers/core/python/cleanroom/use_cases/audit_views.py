"""What parties may read of the ledger: statements of windows, and histories line by line, page by page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.ledger_audit import CHARGE_KIND, concerns, tallies_of
from cleanroom.rooms.ledger_chain import ROOM_CHAIN
from cleanroom.use_cases.access import require_provider_party, room_of_consumer, room_of_provider
from cleanroom.use_cases.run_ids import public_run_id
from cleanroom.use_cases.settings import provider_run_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.ports import RoomServices
    from cleanroom.rooms.ledger import LedgerEntry
    from cleanroom.use_cases.arguments import ViewAuditLog, ViewOwnAuditLog, ViewStatements

_PAGE_LINES = 500
"""Lines that are read at once; a room's own changes are few, and a page of a consumer's may need several reads."""


def view_statements(arguments: ViewStatements, party: str, services: RoomServices) -> object:
    """Show the statements of ended budget windows: spent, runs, refusals and the lifetime total of each party.

    A window in which nothing was charged or refused has none. `next` is the `after_window` of the next page.
    """
    room = room_of_provider(services.catalogue, arguments.cleanroom_name, party).room.name
    windows = services.statements.windows(room, after=arguments.after_window, limit=arguments.limit + 1)
    shown = windows[: arguments.limit]
    stored = [services.statements.get(room=room, window=window) for window in shown]
    return {
        "cleanroom_name": room,
        "statements": [msgspec.json.decode(statement) for statement in stored if statement is not None],
        "next": shown[-1] if len(windows) > len(shown) else None,
    }


def view_audit_log(arguments: ViewAuditLog, party: str, services: RoomServices) -> object:
    """Show a history as it was written, oldest first: who changed or ran what, and when. `next` leads to the next page.

    Without `cleanroom_name`: the account's, of the DP task. With it: all changes of the room; with `party_name` too,
    the runs that were charged to that party's budget (`provider@consumer`: the provider's over that consumer's data).
    """
    if arguments.cleanroom_name is None:
        require_provider_party(party, services.provider_parties)
        if arguments.party_name is not None:
            raise InvalidRequestError("party_name needs a cleanroom_name")
        return _pages(None, ROOM_CHAIN, arguments.after, arguments.limit, _is_change, services)
    room = room_of_provider(services.catalogue, arguments.cleanroom_name, party).room.name
    if arguments.party_name is None:
        return _pages(room, ROOM_CHAIN, arguments.after, arguments.limit, _is_change, services)
    return _charges(BudgetKey(room=room, party=arguments.party_name), arguments.after, arguments.limit, services)


def view_own_audit_log(arguments: ViewOwnAuditLog, party: str, services: RoomServices) -> object:
    """Show what the caller did in the room and what was done to its record, oldest first; nothing of other parties.

    With `of` set to `runs`: the runs that were charged to its own budget; `provider_runs`: those that the provider ran
    over its data. `next` leads to the next page.
    """
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party, installed=False)
    room = snapshot.room.name
    if arguments.of == "changes":
        return _pages(
            room,
            ROOM_CHAIN,
            arguments.after,
            arguments.limit,
            lambda line: _is_change(line) and concerns(line, party),
            services,
        )
    key = (
        BudgetKey(room=room, party=party)
        if arguments.of == "runs"
        else provider_run_key(room, provider=snapshot.room.provider, consumer=party)
    )
    return _charges(key, arguments.after, arguments.limit, services)


def _charges(key: BudgetKey, after: str, limit: int, services: RoomServices) -> object:
    chain = services.audit.chains(key.room, [key])[-1]
    return _pages(key.room, chain, after, limit, lambda line: any(t.budget == key for t in tallies_of(line)), services)


def _is_change(line: LedgerEntry) -> bool:
    return line.kind != CHARGE_KIND


def _pages(
    room: str | None,
    chain: str,
    after: str,
    limit: int,
    is_shown: Callable[[LedgerEntry], bool],
    services: RoomServices,
) -> object:
    """Return up to `limit` lines that are shown, and the place of the last one where another follows.

    A place is only ever that of a line that is shown: when others' lines were written is not the caller's to know.
    """
    found: list[tuple[str, LedgerEntry]] = []
    place, more = after, True
    while more and len(found) <= limit:
        page, more = services.audit.page(room, chain, after=place, limit=_PAGE_LINES)
        found += [(at, line) for at, line in page if is_shown(line)]
        place = page[-1][0] if page else place
    shown = found[:limit]
    return {
        "cleanroom_name": room,
        "entries": [_view(line) for _, line in shown],
        "next": shown[-1][0] if len(found) > len(shown) else None,
    }


def _view(line: LedgerEntry) -> dict[str, object]:
    return {
        "at": line.at.isoformat(),
        "kind": line.kind,
        "by": line.party or "the schedule",
        "run_id": None if line.run_id is None else public_run_id(line.run_id),
        "what": json.loads(line.body),
        "previous_hash": line.previous_hash,
        "hash": line.hash,
    }
