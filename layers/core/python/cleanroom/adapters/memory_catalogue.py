"""Catalogue in memory, for tests: the twin of `dynamodb_catalogue.py`; both pass `tests/contract/test_catalogue.py`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cleanroom.errors import CleanRoomNotFoundError, ConflictError
from cleanroom.rooms.rooms import AddedTemplate, CleanRoom, Consumer, Snapshot

if TYPE_CHECKING:
    from cleanroom.rooms.tables import LinkedTable


@dataclass(kw_only=True, slots=True)
class _Contents:
    room: CleanRoom
    consumers: dict[str, Consumer] = field(default_factory=dict)
    tables: dict[tuple[str, str], LinkedTable] = field(default_factory=dict)
    templates: dict[str, AddedTemplate] = field(default_factory=dict)


class MemoryCatalogue:
    """A `Catalogue` that lives as long as its process. Thread-safe: one lock around every call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rooms: dict[str, _Contents] = {}

    def create_room(self, room: CleanRoom) -> None:
        """Store a new room. Raises ConflictError where the name is taken."""
        with self._lock:
            if room.name in self._rooms:
                raise ConflictError(f"the name {room.name!r} is taken")
            self._rooms[room.name] = _Contents(room=room)

    def put_room(self, room: CleanRoom) -> None:
        """Overwrite the record of a room that exists. Its provider stays: ConflictError otherwise."""
        with self._lock:
            contents = self._contents(room.name)
            if contents.room.provider != room.provider:
                raise ConflictError("the provider of a room cannot be changed")
            contents.room = room

    def drop_room(self, name: str) -> None:
        """Remove the room and all that is in it; nothing happens where there is none."""
        with self._lock:
            self._rooms.pop(name, None)

    def rooms_of(self, party: str) -> tuple[CleanRoom, ...]:
        """Return the rooms that the party made or was added to, by name."""
        with self._lock:
            rooms = (c.room for c in self._rooms.values() if c.room.provider == party or party in c.consumers)
            return tuple(sorted(rooms, key=lambda room: room.name))

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the room with everything in it, each part by name; None where there is none."""
        with self._lock:
            contents = self._rooms.get(name)
            if contents is None:
                return None
            return Snapshot(
                room=contents.room,
                consumers=tuple(consumer for _, consumer in sorted(contents.consumers.items())),
                tables=tuple(table for _, table in sorted(contents.tables.items())),
                templates=tuple(template for _, template in sorted(contents.templates.items())),
            )

    def put_consumer(self, room: str, consumer: Consumer) -> None:
        """Add or overwrite a consumer. Raises CleanRoomNotFoundError where there is no room."""
        with self._lock:
            self._contents(room).consumers[consumer.party] = consumer

    def remove_consumer(self, room: str, party: str) -> None:
        """Remove a consumer; nothing happens where there is none."""
        with self._lock:
            if room in self._rooms:
                self._rooms[room].consumers.pop(party, None)

    def put_table(self, room: str, table: LinkedTable) -> None:
        """Add or overwrite a linked table. Raises CleanRoomNotFoundError where there is no room."""
        with self._lock:
            self._contents(room).tables[table.owner, table.name] = table

    def remove_table(self, room: str, *, owner: str, name: str) -> None:
        """Remove a linked table; nothing happens where there is none."""
        with self._lock:
            if room in self._rooms:
                self._rooms[room].tables.pop((owner, name), None)

    def put_template(self, room: str, template: AddedTemplate) -> None:
        """Add or overwrite a template. Raises CleanRoomNotFoundError where there is no room."""
        with self._lock:
            self._contents(room).templates[template.template.name] = template

    def remove_template(self, room: str, name: str) -> None:
        """Remove a template; nothing happens where there is none."""
        with self._lock:
            if room in self._rooms:
                self._rooms[room].templates.pop(name, None)

    def _contents(self, room: str) -> _Contents:
        contents = self._rooms.get(room)
        if contents is None:
            raise CleanRoomNotFoundError(room)
        return contents
