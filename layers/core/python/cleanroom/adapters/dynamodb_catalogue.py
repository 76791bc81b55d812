"""Catalogue on DynamoDB: rooms and what is in them. The twin of `memory_catalogue.py`.

A room is one partition. Its own item counts in `revision` every change of anything in the room, in the same
transaction, so that a reader knows when it has read half of a change. Parties find their rooms through items of
their own, written in the same transactions. A room that is being dropped is closed first: whoever meets a closed
room, after a crash in between, drops the rest of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_expressions import (
    ABSENT,
    CLOSE_ROOM,
    IS_KIND,
    OVERWRITE_ROOM,
    ROOM_OF_PROVIDER,
    TOUCH_ROOM,
)
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import (
    Key,
    consumer_key,
    maker_key,
    member_key,
    party_partition,
    room_key,
    table_key,
    template_key,
)
from cleanroom.errors import CleanRoomNotFoundError, ConflictError, LedgerUnreadableError
from cleanroom.rooms.rooms import AddedTemplate, CleanRoom, Consumer, Snapshot
from cleanroom.rooms.tables import LinkedTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Attributes, Table

ROOM = "room/1"
DROPPING = "room_dropping/1"
CONSUMER = "consumer/1"
TABLE = "table/1"
TEMPLATE = "template/1"
MEMBERSHIP = "membership/1"

_CHILDREN_PER_TRANSACTION = 40
"""Each takes two of the 100 actions at most."""


class DynamoDbCatalogue:
    """A `Catalogue` in one DynamoDB table. Every read is consistent; every method may raise BusyError.

    Every method may also raise LedgerUnreadableError: a damaged record refuses.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def create_room(self, room: CleanRoom) -> None:
        """Store a new room. Raises ConflictError where the name is taken."""
        backoff = self._table.backoff()
        new = item(
            room_key(room.name), kind=ROOM, revision=0, room=room.name, provider=room.provider, body=encode(room)
        )
        while True:
            actions = [
                self._table.put(new, condition=ABSENT),
                self._table.put(_membership(maker_key(room.name, room.provider), room.name)),
            ]
            try:
                self._table.transact(actions, backoff)
            except CancelledError as error:
                stored = self._table.get(room_key(room.name))
                if stored is not None and not _is_dropping(stored):
                    raise ConflictError(f"the name {room.name!r} is taken") from error
                self._drop_the_rest(room.name)
                backoff.pause()
            else:
                return

    def put_room(self, room: CleanRoom) -> None:
        """Overwrite the record of a room that exists. Its provider stays: ConflictError otherwise."""
        written = self._table.update_if(
            room_key(room.name),
            update=OVERWRITE_ROOM,
            condition=ROOM_OF_PROVIDER,
            values=placeholders(kind=ROOM, provider=room.provider, body=encode(room), one=1),
        )
        if written is None:
            if self._room(room.name) is None:
                raise CleanRoomNotFoundError(room.name)
            raise ConflictError("the provider of a room cannot be changed")

    def drop_room(self, name: str) -> None:
        """Remove the room and all that is in it; nothing happens where there is none."""
        self._table.update_if(
            room_key(name),
            update=CLOSE_ROOM,
            condition=IS_KIND,
            values=placeholders(kind=ROOM, dropping=DROPPING, one=1),
        )
        self._drop_the_rest(name)

    def rooms_of(self, party: str) -> tuple[CleanRoom, ...]:
        """Return the rooms that the party made or was added to, by name."""
        memberships = self._table.query(party_partition(party))
        names = {Fields.of(stored, kind=MEMBERSHIP).text("room") for stored in memberships}
        stored_rooms = self._table.get_all([room_key(name) for name in sorted(names)])
        rooms = (_room_of(stored) for stored in stored_rooms if not _is_dropping(stored))
        return tuple(sorted(rooms, key=lambda room: room.name))

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the room with everything in it, each part by name; None where there is none."""
        backoff = self._table.backoff()
        key = room_key(name)
        while True:
            stored = self._table.query(key.pk)
            if not stored or _sort_key(stored[0]) != key.sk or _is_dropping(stored[0]):
                return None
            again = self._table.get(key)
            # A query is not one instant. The room's item comes first in it: unchanged at the end, nothing came between.
            if again is not None and again.get("revision") == stored[0].get("revision"):
                return _snapshot_of(stored)
            backoff.pause()

    def put_consumer(self, room: str, consumer: Consumer) -> None:
        """Add or overwrite a consumer. Raises CleanRoomNotFoundError where there is no room."""
        key = consumer_key(room, consumer.party)
        self._change(
            room,
            self._table.put(item(key, kind=CONSUMER, party=consumer.party, body=encode(consumer))),
            self._table.put(_membership(member_key(room, consumer.party), room)),
        )

    def remove_consumer(self, room: str, party: str) -> None:
        """Remove a consumer; nothing happens where there is none."""
        self._change_if_there(
            room, self._table.delete(consumer_key(room, party)), self._table.delete(member_key(room, party))
        )

    def put_table(self, room: str, table: LinkedTable) -> None:
        """Add or overwrite a linked table. Raises CleanRoomNotFoundError where there is no room."""
        key = table_key(room, owner=table.owner, name=table.name)
        self._change(room, self._table.put(item(key, kind=TABLE, body=encode(table))))

    def remove_table(self, room: str, *, owner: str, name: str) -> None:
        """Remove a linked table; nothing happens where there is none."""
        self._change_if_there(room, self._table.delete(table_key(room, owner=owner, name=name)))

    def put_template(self, room: str, template: AddedTemplate) -> None:
        """Add or overwrite a template. Raises CleanRoomNotFoundError where there is no room."""
        key = template_key(room, template.template.name)
        self._change(room, self._table.put(item(key, kind=TEMPLATE, body=encode(template))))

    def remove_template(self, room: str, name: str) -> None:
        """Remove a template; nothing happens where there is none."""
        self._change_if_there(room, self._table.delete(template_key(room, name)))

    def _room(self, name: str) -> CleanRoom | None:
        stored = self._table.get(room_key(name))
        return None if stored is None or _is_dropping(stored) else _room_of(stored)

    def _change(self, room: str, *actions: TransactWriteItemTypeDef) -> None:
        """Apply the actions, and count the change in the room, which must be there and not closed."""
        touch = self._table.update(
            room_key(room), update=TOUCH_ROOM, condition=IS_KIND, values=placeholders(kind=ROOM, one=1)
        )
        try:
            self._table.transact([touch, *actions], self._table.backoff())
        except CancelledError as error:
            raise CleanRoomNotFoundError(room) from error

    def _change_if_there(self, room: str, *actions: TransactWriteItemTypeDef) -> None:
        try:
            self._change(room, *actions)
        except CleanRoomNotFoundError:
            return

    def _drop_the_rest(self, name: str) -> None:
        """Remove a closed room, its children first: while its own item stands, nobody can make the room anew."""
        stored = self._table.query(room_key(name).pk)
        if not stored or not _is_dropping(stored[0]):
            return
        # Checked in every transaction: a room made anew in the meantime loses nothing.
        closed = placeholders(kind=DROPPING)
        provider = Fields(stored=stored[0]).text("provider")
        children = stored[1:]
        try:
            for start in range(0, len(children), _CHILDREN_PER_TRANSACTION):
                actions = [self._table.check(room_key(name), condition=IS_KIND, values=closed)]
                for child in children[start : start + _CHILDREN_PER_TRANSACTION]:
                    fields = Fields(stored=child)
                    actions.append(self._table.delete(Key(pk=fields.text("pk"), sk=fields.text("sk"))))
                    if fields.text("kind") == CONSUMER:
                        actions.append(self._table.delete(member_key(name, fields.text("party"))))
                self._table.transact(actions, self._table.backoff())
            last = [
                self._table.delete(room_key(name), condition=IS_KIND, values=closed),
                self._table.delete(maker_key(name, provider)),
            ]
            self._table.transact(last, self._table.backoff())
        except CancelledError:
            return  # another call has dropped it


def _membership(key: Key, room: str) -> Attributes:
    return item(key, kind=MEMBERSHIP, room=room)


def _sort_key(stored: Attributes) -> str:
    return Fields(stored=stored).text("sk")


def _is_dropping(stored: Attributes) -> bool:
    return Fields(stored=stored).text("kind") == DROPPING


def _room_of(stored: Attributes) -> CleanRoom:
    return Fields.of(stored, kind=ROOM).body(CleanRoom)


def _snapshot_of(stored: list[Attributes]) -> Snapshot:
    """Return the room from all items of its partition, its own first. An item of no known kind refuses."""
    consumers: list[Consumer] = []
    tables: list[LinkedTable] = []
    templates: list[AddedTemplate] = []
    for child in stored[1:]:
        fields = Fields(stored=child)
        kind = fields.text("kind")
        if kind == CONSUMER:
            consumers.append(fields.body(Consumer))
        elif kind == TABLE:
            tables.append(fields.body(LinkedTable))
        elif kind == TEMPLATE:
            templates.append(fields.body(AddedTemplate))
        else:
            raise LedgerUnreadableError("a stored part of the room is of no known kind")
    return Snapshot(
        room=_room_of(stored[0]),
        consumers=tuple(sorted(consumers, key=lambda consumer: consumer.party)),
        tables=tuple(sorted(tables, key=lambda table: (table.owner, table.name))),
        templates=tuple(sorted(templates, key=lambda added: added.template.name)),
    )
