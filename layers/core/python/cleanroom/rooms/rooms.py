"""Clean rooms, their members and their templates, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cleanroom.rooms.approved import Template
from cleanroom.rooms.tables import LinkedTable


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanRoom:
    """A room that one provider made.

    Attributes:
        name: unique in the deployment.
        provider: the party that made it.
        created_at: UTC.
        listed: whether consumers can see and install it (`create_or_update_cleanroom_listing`).
    """

    name: str
    provider: str
    created_at: datetime
    listed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Consumer:
    """A consumer of a room.

    Attributes:
        party: who.
        installed: `install_cleanroom` was called (B-71).
        provider_run_templates: templates that the provider may run on this consumer's tables (B-72).
    """

    party: str
    installed: bool = False
    provider_run_templates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedTemplate:
    """A custom template of a room, and the party that added it."""

    template: Template
    added_by: str
    added_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A room with all that is in it, read at once: what one run sees."""

    room: CleanRoom
    consumers: tuple[Consumer, ...] = ()
    tables: tuple[LinkedTable, ...] = ()
    templates: tuple[AddedTemplate, ...] = ()

    def consumer(self, party: str) -> Consumer | None:
        """Return the consumer record of `party`, or None."""
        return next((c for c in self.consumers if c.party == party), None)

    def template(self, name: str) -> AddedTemplate | None:
        """Return the template of that name, or None."""
        return next((t for t in self.templates if t.template.name == name), None)

    def tables_of(self, party: str) -> tuple[LinkedTable, ...]:
        """Return the tables that `party` linked, by name."""
        return tuple(sorted((t for t in self.tables if t.owner == party), key=lambda t: t.name))
