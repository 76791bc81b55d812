"""Linking tables and declaring what may be done with them: entity columns, bounds, domains, column policies."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cleanroom.errors import InvalidRequestError, TableNotLinkedError
from cleanroom.rooms.entity_detection import detect_entity_columns
from cleanroom.rooms.names import check_table_name, shown_name
from cleanroom.rooms.owned_through import path_of
from cleanroom.rooms.policies import policy_as_json, policy_from_json
from cleanroom.rooms.tables import Column, EntityColumn, LinkedTable, TablePolicy
from cleanroom.use_cases.access import room_of_consumer, room_of_member, room_of_provider
from cleanroom.use_cases.views import table_view

if TYPE_CHECKING:
    from cleanroom.ports import RoomServices
    from cleanroom.rooms.rooms import Snapshot
    from cleanroom.rooms.tables import TableVersion
    from cleanroom.use_cases.arguments import (
        CleanRoomArguments,
        LinkDatasets,
        PinnedEntities,
        SetColumns,
        UnlinkDatasets,
    )


_JOINING = timedelta(seconds=10)
"""After that no further table is begun: the function has 29 seconds, and one table may take ten."""


def link_provider_datasets(arguments: LinkDatasets, party: str, services: RoomServices) -> object:
    """Link the provider's tables; the answer says which columns are entity columns, and with what evidence (B-03)."""
    return _link(arguments, room_of_provider(services.catalogue, arguments.cleanroom_name, party), party, services)


def link_consumer_datasets(arguments: LinkDatasets, party: str, services: RoomServices) -> object:
    """Link the consumer's own tables."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    return _link(arguments, snapshot, party, services)


def _link(arguments: LinkDatasets, snapshot: Snapshot, party: str, services: RoomServices) -> object:
    unused = (set(arguments.policies) | set(arguments.entity_columns)) - set(arguments.tables)
    if unused:
        raise InvalidRequestError(f"not among the tables to link: {', '.join(sorted(unused))}")
    linked, versions = [], {}
    for name in arguments.tables:
        check_table_name(name)
        earlier = next((t for t in snapshot.tables_of(party) if t.name == name), None)
        description = services.tables.describe(owner=party, name=name)
        versions[name] = description.version
        detected = _decided_before(earlier, description.columns)
        if detected is None:
            detected = detect_entity_columns(description.columns, description.samples)
        policy = earlier.policy if earlier is not None else TablePolicy()
        if name in arguments.policies:
            policy = _redeclared(policy, arguments.policies[name], description.columns)
        pinned = arguments.entity_columns.get(name)
        linked.append(
            LinkedTable(
                owner=party,
                name=name,
                columns=description.columns,
                entity_columns=_pinned(detected, pinned, description.columns, by=party),
                policy=policy,
            )
        )
    after = {t.full_name.lower(): t for t in (*snapshot.tables, *linked)}
    for table in linked:
        path_of(table, after)
    for table in linked:
        entities = [{"column": e.column, "kind": e.kind} for e in table.entity_columns]
        services.ledger.note(
            snapshot.room.name,
            kind="link_dataset",
            party=party,
            body=json.dumps(
                {"table": table.full_name, "entity_columns": entities, "policy": table_view(table)["policy"]}
            ),
            at=services.clock.now(),
        )
        services.catalogue.put_table(snapshot.room.name, table)
    return {"cleanroom_name": snapshot.room.name, "linked": _joined(linked, versions, services)}


def _joined(tables: list[LinkedTable], versions: dict[str, TableVersion], services: RoomServices) -> object:
    """Return the linked tables, after rows of those with several entity columns were joined to entities (B-04).

    As far as there is time: what is not joined now is joined by the first run, and every later version as well.
    """
    until = services.clock.now() + _JOINING
    views = []
    for table in tables:
        view = table_view(table)
        if table.entity_label is not None:
            joined = services.clock.now() < until and services.tables.join_entities(table, versions[table.name])
            view["entities_joined"] = "now" if joined else "by the first run"
        views.append(view)
    return views


def _redeclared(earlier: TablePolicy, declared: dict[str, Any], columns: tuple[Column, ...]) -> TablePolicy:
    """Return the earlier policy with what is declared now: key by key, bounds and domains column by column.

    What is not named stays as it was; null takes it away. `owned_through` is one value and is replaced as a whole.
    """
    merged = policy_as_json(earlier)
    for key, value in declared.items():
        before = merged.get(key)
        if key in ("bounds", "domains") and isinstance(value, dict) and isinstance(before, dict):
            merged[key] = {name: one for name, one in {**before, **value}.items() if one is not None}
        else:
            merged[key] = value
    return policy_from_json({key: value for key, value in merged.items() if value is not None}, columns)


def _decided_before(earlier: LinkedTable | None, columns: tuple[Column, ...]) -> tuple[EntityColumn, ...] | None:
    """Return what was protected when the table was linked before, so that linking again never unprotects.

    None where it was not linked, had no entity column, or where one of them is gone: then columns are detected anew.
    """
    names = {c.name.lower() for c in columns}
    if earlier is None or not earlier.entity_columns:
        return None
    return earlier.entity_columns if all(e.column.lower() in names for e in earlier.entity_columns) else None


def _pinned(
    detected: tuple[EntityColumn, ...], pinned: PinnedEntities | None, columns: tuple[Column, ...], *, by: str
) -> tuple[EntityColumn, ...]:
    """Apply what the owner decided over what was detected (B-05)."""
    if pinned is None:
        return detected
    by_name = {c.name.lower(): c.name for c in columns}
    for name in (*pinned.pin, *pinned.unpin):
        if name.lower() not in by_name:
            raise InvalidRequestError(f"the table has no column {shown_name(name)}")
    dropped = {name.lower() for name in (*pinned.pin, *pinned.unpin)}
    kept = [e for e in detected if e.column.lower() not in dropped]
    added = [
        EntityColumn(column=by_name[name.lower()], kind=kind, evidence=(f"pinned by its owner, {by}",))
        for name, kind in pinned.pin.items()
    ]
    return (*kept, *added)


def unlink_provider_datasets(arguments: UnlinkDatasets, party: str, services: RoomServices) -> object:
    """Unlink the provider's tables."""
    return _unlink(arguments, room_of_provider(services.catalogue, arguments.cleanroom_name, party), party, services)


def unlink_consumer_datasets(arguments: UnlinkDatasets, party: str, services: RoomServices) -> object:
    """Unlink the consumer's own tables."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    return _unlink(arguments, snapshot, party, services)


def _unlink(arguments: UnlinkDatasets, snapshot: Snapshot, party: str, services: RoomServices) -> object:
    for name in arguments.tables:
        _own_table(snapshot, party, name)
    for name in arguments.tables:
        services.ledger.note(
            snapshot.room.name,
            kind="unlink_dataset",
            party=party,
            body=json.dumps({"table": name}),
            at=services.clock.now(),
        )
        services.catalogue.remove_table(snapshot.room.name, owner=party, name=name)
    return {"cleanroom_name": snapshot.room.name, "unlinked": list(arguments.tables)}


def view_provider_datasets(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Show the provider's linked tables: schema, entity columns and policies are public to the room."""
    snapshot = room_of_member(services.catalogue, arguments.cleanroom_name, party)
    return {"tables": [table_view(t) for t in snapshot.tables_of(snapshot.room.provider)]}


def view_consumer_datasets(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Show the calling consumer's own linked tables."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    return {"tables": [table_view(t) for t in snapshot.tables_of(party)]}


def set_join_policy(arguments: SetColumns, party: str, services: RoomServices) -> object:
    """Say which columns of the caller's tables templates may join on."""
    return _set_columns(arguments, "join_columns", party, services)


def set_column_policy(arguments: SetColumns, party: str, services: RoomServices) -> object:
    """Say which columns of the caller's tables templates may use."""
    return _set_columns(arguments, "project_columns", party, services)


def set_activation_policy(arguments: SetColumns, party: str, services: RoomServices) -> object:
    """Say which columns of the caller's tables templates may activate."""
    return _set_columns(arguments, "activation_columns", party, services)


def _set_columns(arguments: SetColumns, attribute: str, party: str, services: RoomServices) -> object:
    snapshot = room_of_member(services.catalogue, arguments.cleanroom_name, party)
    by_table: dict[str, list[str]] = {}
    for item in arguments.table_and_col_names:
        table_name, separator, column_name = item.partition(":")
        if not separator or ":" in column_name:
            raise InvalidRequestError("columns are named as `table:column`")
        table = _own_table(snapshot, party, table_name)
        column = table.column(column_name)
        if column is None:
            raise InvalidRequestError(f"table {table.full_name} has no column {column_name!r}")
        by_table.setdefault(table.name, []).append(column.name)
    for table_name, columns in by_table.items():
        table = _own_table(snapshot, party, table_name)
        policy = replace(table.policy, **{attribute: tuple(dict.fromkeys(columns))})  # type: ignore[arg-type]
        services.ledger.note(
            snapshot.room.name,
            kind=f"set_{attribute}",
            party=party,
            body=json.dumps({"table": table.full_name, "columns": columns}),
            at=services.clock.now(),
        )
        services.catalogue.put_table(snapshot.room.name, replace(table, policy=policy))
    return {"cleanroom_name": snapshot.room.name, attribute: by_table}


def _own_table(snapshot: Snapshot, party: str, name: str) -> LinkedTable:
    short = name.removeprefix(f"{party}.")
    for table in snapshot.tables_of(party):
        if table.name == short:
            return table
    raise TableNotLinkedError(f"this party has linked no table {name!r} to the clean room")
