"""Settings records in DynamoDB, with the index of those that have DP on. Part of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_expressions import ABSENT, AT_VERSION
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import History, dp_on_key, settings_key, settings_partition
from cleanroom.adapters.dynamodb_kinds import (
    DP_ON,
    SETTINGS,
    SETTINGS_1,
    SETTINGS_2,
    SETTINGS_FAMILY,
    StoredSettings,
    settings_in,
)
from cleanroom.errors import LedgerUnreadableError
from cleanroom.rooms.ledger import BudgetKey, SettingsRecord
from cleanroom.rooms.ledger_chain import next_line
from cleanroom.rooms.ledger_rules import settings_body
from cleanroom.rooms.settings import PrivacySettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cleanroom.adapters.dynamodb import Attributes, Table
    from cleanroom.adapters.dynamodb_history import Histories

NO_RECORD = SettingsRecord(settings=PrivacySettings(), version=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingsItems:
    """The settings records of all rooms."""

    table: Table
    histories: Histories

    def get(self, key: BudgetKey) -> SettingsRecord:
        """Return the stored settings, or the defaults at version 0."""
        return record_in(self.table.get(settings_key(key)), key)

    def put(self, key: BudgetKey, settings: PrivacySettings, *, by: str, at: datetime) -> SettingsRecord:
        """Overwrite the record, raise its version, and add an entry to the room's history."""
        backoff = self.table.backoff()
        history = History(room=key.room)
        while True:
            present = self.get(key)
            head = self.histories.head(history)
            record = SettingsRecord(settings=settings, version=present.version + 1)
            body = encode(StoredSettings(key=key, settings=settings))
            new = item(settings_key(key), kind=SETTINGS, version=record.version, body=body)
            line = next_line(
                head, room=history.label, at=at, kind="settings", party=by, body=settings_body(key, record)
            )
            write = (
                self.table.put(new, condition=ABSENT)
                if present.version == 0
                else self.table.put(
                    new,
                    condition=AT_VERSION,
                    values=placeholders(family=SETTINGS_FAMILY, version=present.version),
                )
            )
            # Never deleted, so that no function needs the right to delete from the ledger.
            index = item(dp_on_key(key), kind=DP_ON, on=settings.differential, body=encode(key))
            actions = [write, self.table.put(index), *self.histories.append(history, head=head, line=line)]
            try:
                self.table.transact(actions, backoff)
            except CancelledError:
                backoff.pause()
            else:
                return record

    def of_room(self, room: str) -> Mapping[BudgetKey, SettingsRecord]:
        """Return all stored settings of a room."""
        return dict(_settings_of(stored) for stored in self.table.query(settings_partition(room), prefix="SETTINGS#"))

    def with_dp_on(self) -> tuple[BudgetKey, ...]:
        """Return every budget key of the account whose settings have DP on (B-64), from an index: no scan."""
        index = [Fields.of(stored, kind=DP_ON) for stored in self.table.query("DP_ON")]
        on = (fields.body(BudgetKey) for fields in index if fields.flag("on"))
        return tuple(sorted(on, key=lambda key: (key.room, key.party, key.template)))


def record_in(stored: Attributes | None, key: BudgetKey) -> SettingsRecord:
    """Return the settings of a budget, or the defaults at version 0. Raises LedgerUnreadableError."""
    return NO_RECORD if stored is None else _settings_of(stored, key)[1]


def _settings_of(stored: Attributes, key: BudgetKey | None = None) -> tuple[BudgetKey, SettingsRecord]:
    body = settings_in(stored)
    if key not in (None, body.key):
        raise LedgerUnreadableError("a stored settings record lies under another's key")
    version = Fields.of(stored, kind=SETTINGS, older=(SETTINGS_2, SETTINGS_1)).number("version")
    return body.key, SettingsRecord(settings=body.settings, version=version)
