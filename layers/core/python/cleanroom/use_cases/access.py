"""Who may do what in which room (B-70 to B-73): the first thing that every procedure asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.errors import CleanRoomNotFoundError, ConflictError, ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from cleanroom.ports import Catalogue
    from cleanroom.rooms.rooms import Consumer, Snapshot


def require_provider_party(party: str, provider_parties: AbstractSet[str]) -> None:
    """Refuse a party that may not own rooms or steer the account's DP task."""
    if party not in provider_parties:
        raise ForbiddenError("only a provider of this deployment may do that")


def room_of_provider(catalogue: Catalogue, cleanroom_name: str, party: str) -> Snapshot:
    """Return the room if `party` made it.

    Raises:
        CleanRoomNotFoundError: there is none, or the party has no part in it: the two look the same (B-73).
        ForbiddenError: the party is a consumer of the room.
    """
    snapshot = room_of_member(catalogue, cleanroom_name, party)
    if snapshot.room.provider != party:
        raise ForbiddenError("only the provider of this clean room may do that")
    return snapshot


def room_of_consumer(
    catalogue: Catalogue, cleanroom_name: str, party: str, *, installed: bool = True
) -> tuple[Snapshot, Consumer]:
    """Return the room and the party's consumer record.

    Raises:
        CleanRoomNotFoundError: there is no such room for this party.
        ForbiddenError: the party is the room's provider.
        ConflictError: `installed` is asked for and the party has not installed the room (B-71).
    """
    snapshot = room_of_member(catalogue, cleanroom_name, party)
    consumer = snapshot.consumer(party)
    if consumer is None:
        raise ForbiddenError("that is for the consumers of this clean room, and this party is its provider")
    if installed and not consumer.installed:
        raise ConflictError("the clean room is not installed yet: call install_cleanroom first")
    return snapshot, consumer


def room_of_member(catalogue: Catalogue, cleanroom_name: str, party: str) -> Snapshot:
    """Return the room if `party` is its provider or one of its consumers; otherwise it does not exist for it."""
    snapshot = catalogue.snapshot(cleanroom_name)
    if snapshot is None:
        raise CleanRoomNotFoundError(cleanroom_name)
    is_consumer = snapshot.consumer(party) is not None and snapshot.room.listed
    if snapshot.room.provider != party and not is_consumer:
        raise CleanRoomNotFoundError(cleanroom_name)
    return snapshot
