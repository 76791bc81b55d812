"""Making, listing, describing and dropping clean rooms; adding consumers; installing.

A change is written into the room's history before it is made: whatever crashes in between, none is made unseen.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.errors import ConflictError, InvalidRequestError
from cleanroom.rooms.ledger import BudgetKey, TaskStatus
from cleanroom.rooms.names import check_cleanroom_name, check_party
from cleanroom.rooms.rooms import CleanRoom, Consumer
from cleanroom.rooms.settings import settings_from_record
from cleanroom.use_cases.access import require_provider_party, room_of_consumer, room_of_provider
from cleanroom.use_cases.settings import provider_run_key, settings_view, store_settings
from cleanroom.use_cases.views import table_view

if TYPE_CHECKING:
    from cleanroom.ports import RoomServices
    from cleanroom.use_cases.arguments import (
        AddConsumers,
        CleanRoomArguments,
        EnableTemplatesForProviderRun,
        NoArguments,
        RemoveConsumers,
    )


def cleanroom_init(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Make a clean room; the caller becomes its provider. Nothing is configured: DP is off, without a record."""
    require_provider_party(party, services.provider_parties)
    check_cleanroom_name(arguments.cleanroom_name)
    now = services.clock.now()
    services.catalogue.create_room(CleanRoom(name=arguments.cleanroom_name, provider=party, created_at=now))
    services.ledger.note(arguments.cleanroom_name, kind="cleanroom_init", party=party, body="{}", at=now)
    return {"cleanroom_name": arguments.cleanroom_name, "provider": party}


def drop_cleanroom(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Drop a room with its links and templates. What was spent stays spent, also for a new room of that name."""
    room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    services.ledger.note(
        arguments.cleanroom_name, kind="drop_cleanroom", party=party, body="{}", at=services.clock.now()
    )
    services.catalogue.drop_room(arguments.cleanroom_name)
    return {"cleanroom_name": arguments.cleanroom_name, "dropped": True}


def create_or_update_cleanroom_listing(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Make the room visible to its consumers; rooms are listed from the start, so this only repeats it."""
    room = room_of_provider(services.catalogue, arguments.cleanroom_name, party).room
    services.ledger.note(
        room.name, kind="create_or_update_cleanroom_listing", party=party, body="{}", at=services.clock.now()
    )
    services.catalogue.put_room(replace(room, listed=True))
    return {"cleanroom_name": room.name, "listed": True}


def view_cleanrooms(_arguments: NoArguments, party: str, services: RoomServices) -> object:
    """List the rooms that the caller made or was added to, and no other."""
    rooms = []
    for room in services.catalogue.rooms_of(party):
        entry: dict[str, object] = {"cleanroom_name": room.name, "provider": room.provider}
        if room.provider != party:
            snapshot = services.catalogue.snapshot(room.name)
            consumer = snapshot.consumer(party) if snapshot else None
            entry["installed"] = consumer is not None and consumer.installed
        rooms.append(entry)
    return {"cleanrooms": rooms}


def describe_cleanroom(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Describe a room to its provider: tables with entity columns and policies, templates, consumers with settings."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    return {
        "cleanroom_name": snapshot.room.name,
        "provider": snapshot.room.provider,
        "created_at": snapshot.room.created_at.isoformat(),
        "tables": [table_view(table) for table in snapshot.tables],
        "templates": [t.template.name for t in snapshot.templates],
        "consumers": [
            {
                "consumer_name": c.party,
                "installed": c.installed,
                "privacy_settings": settings_view(
                    services.ledger.settings(BudgetKey(room=snapshot.room.name, party=c.party))
                ),
            }
            for c in snapshot.consumers
        ],
    }


def add_consumers(arguments: AddConsumers, party: str, services: RoomServices) -> object:
    """Add consumers, with their privacy settings; adding one again with other settings updates them (B-20)."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    settings = None if arguments.privacy_settings is None else settings_from_record(arguments.privacy_settings)
    for name in arguments.consumer_names:
        check_party(name)
        if name == party:
            raise InvalidRequestError("the provider of a clean room cannot be its consumer")
    answer = []
    for name in arguments.consumer_names:
        if snapshot.consumer(name) is None:
            services.ledger.note(
                snapshot.room.name,
                kind="add_consumer",
                party=party,
                body=f'{{"consumer":"{name}"}}',
                at=services.clock.now(),
            )
            services.catalogue.put_consumer(snapshot.room.name, Consumer(party=name))
        key = BudgetKey(room=snapshot.room.name, party=name)
        if settings is not None:
            store_settings(key, settings, by=party, services=services)
        answer.append({"consumer_name": name, "privacy_settings": settings_view(services.ledger.settings(key))})
    return {"cleanroom_name": snapshot.room.name, "consumers": answer}


def remove_consumers(arguments: RemoveConsumers, party: str, services: RoomServices) -> object:
    """Remove consumers; adding one again later finds its spending as it was."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    unknown = [name for name in arguments.consumer_names if snapshot.consumer(name) is None]
    if unknown:
        raise InvalidRequestError(f"not a consumer of this clean room: {', '.join(unknown)}")
    for name in arguments.consumer_names:
        services.ledger.note(
            snapshot.room.name,
            kind="remove_consumer",
            party=party,
            body=f'{{"consumer":"{name}"}}',
            at=services.clock.now(),
        )
        services.catalogue.remove_consumer(snapshot.room.name, name)
    return {"cleanroom_name": snapshot.room.name, "removed": list(arguments.consumer_names)}


def view_consumers(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """List the consumers of a room."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    return {"consumers": [{"consumer_name": c.party, "installed": c.installed} for c in snapshot.consumers]}


def install_cleanroom(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Install a room before running in it (B-71); refused while DP is on for it and the DP task is suspended (B-63)."""
    snapshot, consumer = room_of_consumer(services.catalogue, arguments.cleanroom_name, party, installed=False)
    settings = services.ledger.settings(BudgetKey(room=snapshot.room.name, party=party)).settings
    if settings.differential and services.ledger.task().status is TaskStatus.SUSPENDED:
        raise ConflictError(
            "differential privacy is on for this clean room, and the DP task of the account is suspended: "
            "the provider can call resume_account_dp_task, or turn differential off with set_privacy_settings"
        )
    services.ledger.note(snapshot.room.name, kind="install_cleanroom", party=party, body="{}", at=services.clock.now())
    services.catalogue.put_consumer(snapshot.room.name, replace(consumer, installed=True))
    return {"cleanroom_name": snapshot.room.name, "installed": True}


def uninstall_cleanroom(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Uninstall a room; what was spent stays spent."""
    snapshot, consumer = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    services.ledger.note(
        snapshot.room.name, kind="uninstall_cleanroom", party=party, body="{}", at=services.clock.now()
    )
    services.catalogue.put_consumer(snapshot.room.name, replace(consumer, installed=False, provider_run_templates=()))
    return {"cleanroom_name": snapshot.room.name, "installed": False}


def enable_templates_for_provider_run(
    arguments: EnableTemplatesForProviderRun, party: str, services: RoomServices
) -> object:
    """Let the provider run these templates on the consumer's tables, with DP on or off at default values (B-72)."""
    snapshot, consumer = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    unknown = [name for name in arguments.template_names if snapshot.template(name) is None]
    if unknown:
        raise InvalidRequestError(f"the clean room has no template {', '.join(unknown)}")
    key = provider_run_key(snapshot.room.name, provider=snapshot.room.provider, consumer=party)
    services.ledger.note(
        snapshot.room.name,
        kind="enable_templates_for_provider_run",
        party=party,
        body=json.dumps({"templates": list(arguments.template_names), "differential": bool(arguments.differential)}),
        at=services.clock.now(),
    )
    store_settings(key, settings_from_record({"differential": arguments.differential}), by=party, services=services)
    services.catalogue.put_consumer(
        snapshot.room.name, replace(consumer, provider_run_templates=arguments.template_names)
    )
    return {
        "cleanroom_name": snapshot.room.name,
        "template_names": list(arguments.template_names),
        "privacy_settings": settings_view(services.ledger.settings(key)),
    }
