"""Adding, viewing and clearing the templates of a room."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from cleanroom.errors import TemplateNotFoundError
from cleanroom.privacy.accounting import exact_fraction
from cleanroom.rooms.approved import Template
from cleanroom.rooms.names import check_template_name
from cleanroom.rooms.rooms import AddedTemplate
from cleanroom.templates.lint import lint
from cleanroom.templates.render import known_dialect, template_arguments
from cleanroom.use_cases.access import room_of_consumer, room_of_member, room_of_provider

if TYPE_CHECKING:
    from cleanroom.ports import RoomServices
    from cleanroom.rooms.rooms import Snapshot
    from cleanroom.use_cases.arguments import AddCustomSqlTemplate, CleanRoomArguments, TemplateArguments


def add_custom_sql_template(arguments: AddCustomSqlTemplate, party: str, services: RoomServices) -> object:
    """Add or overwrite a template; the answer lists what a linter found (B-39). Overwriting never resets spending."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    check_template_name(arguments.template_name)
    template = Template(
        name=arguments.template_name,
        text=arguments.template,
        sensitivity=exact_fraction(arguments.sensitivity),
        dialect=known_dialect(arguments.dialect),
    )
    findings = lint(template.text, dialect=template.dialect)
    now = services.clock.now()
    services.ledger.note(
        snapshot.room.name,
        kind="add_custom_sql_template",
        party=party,
        body=json.dumps({"template": template.name, "digest": template_digest(template)}),
        at=now,
    )
    services.catalogue.put_template(snapshot.room.name, AddedTemplate(template=template, added_by=party, added_at=now))
    return {
        "cleanroom_name": snapshot.room.name,
        "template_name": template.name,
        "digest": template_digest(template),
        "findings": [{"line": f.line, "rule": f.rule, "sentence": f.sentence, "cure": f.cure} for f in findings],
    }


def template_digest(template: Template) -> str:
    """Return the SHA-256 of all that a template is."""
    parts = [template.name, template.dialect, str(template.sensitivity), template.text]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def view_added_templates(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Show the room's templates with their text: a party may read what is run over its data."""
    snapshot = room_of_member(services.catalogue, arguments.cleanroom_name, party)
    return {"templates": [_view(t) for t in snapshot.templates]}


def get_arguments_from_template(arguments: TemplateArguments, party: str, services: RoomServices) -> object:
    """List the arguments that a template takes."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    added = added_template(snapshot, arguments.template_name)
    return {"template_name": added.template.name, "arguments": list(template_arguments(added.template.text))}


def clear_template(arguments: TemplateArguments, party: str, services: RoomServices) -> object:
    """Remove a template."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    added_template(snapshot, arguments.template_name)
    services.ledger.note(
        snapshot.room.name,
        kind="clear_template",
        party=party,
        body=json.dumps({"template": arguments.template_name}),
        at=services.clock.now(),
    )
    services.catalogue.remove_template(snapshot.room.name, arguments.template_name)
    return {"cleanroom_name": snapshot.room.name, "cleared": arguments.template_name}


def added_template(snapshot: Snapshot, name: str) -> AddedTemplate:
    """Return the room's template of that name, or refuse."""
    added = snapshot.template(name)
    if added is None:
        raise TemplateNotFoundError(f"the clean room has no template {name!r}")
    return added


def _view(added: AddedTemplate) -> dict[str, object]:
    return {
        "template_name": added.template.name,
        "template": added.template.text,
        "sensitivity": float(added.template.sensitivity),
        "dialect": added.template.dialect,
        "digest": template_digest(added.template),
        "added_by": added.added_by,
        "added_at": added.added_at.isoformat(),
    }
