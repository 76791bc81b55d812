"""The port to clean rooms: what parties agreed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cleanroom.rooms.rooms import AddedTemplate, CleanRoom, Consumer, Snapshot
    from cleanroom.rooms.tables import LinkedTable


class Catalogue(Protocol):
    """Rooms and what is in them. Every write is conditional where two writers could meet."""

    def create_room(self, room: CleanRoom) -> None:
        """Store a new room. Raises ConflictError where the name is taken."""

    def put_room(self, room: CleanRoom) -> None:
        """Overwrite the record of a room that exists."""

    def drop_room(self, name: str) -> None:
        """Remove the room and all that is in it; the ledger keeps what was spent."""

    def rooms_of(self, party: str) -> tuple[CleanRoom, ...]:
        """Return the rooms that the party made or was added to, by name."""

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the room with everything in it, consistently read; None where there is none."""

    def put_consumer(self, room: str, consumer: Consumer) -> None:
        """Add or overwrite a consumer."""

    def remove_consumer(self, room: str, party: str) -> None:
        """Remove a consumer; nothing happens where there is none."""

    def put_table(self, room: str, table: LinkedTable) -> None:
        """Add or overwrite a linked table."""

    def remove_table(self, room: str, *, owner: str, name: str) -> None:
        """Remove a linked table; nothing happens where there is none."""

    def put_template(self, room: str, template: AddedTemplate) -> None:
        """Add or overwrite a template."""

    def remove_template(self, room: str, name: str) -> None:
        """Remove a template; nothing happens where there is none."""
