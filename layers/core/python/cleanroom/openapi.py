"""openapi.json: made from the procedures themselves, shipped as a file, served by the `rooms` function."""

from __future__ import annotations

import inspect
import re
from importlib import import_module, resources
from typing import Any

import msgspec

TABLES = {
    "rooms": ("cleanroom.procedures.rooms", "ROOMS"),
    "run_template": ("cleanroom.procedures.runs", "RUNS"),
    "add_noise": ("cleanroom.procedures.noise", "NOISE"),
    "dp_task": ("cleanroom.procedures.task", "TASK"),
}
"""Function -> where its procedures are."""


def openapi_json(_rest: str, _party: str, _services: object) -> bytes:
    """Return the API's description, as shipped."""
    return resources.files("cleanroom").joinpath("openapi.json").read_bytes()


def all_procedures() -> dict[tuple[str, str], Any]:
    """Return every procedure of every function. Loads what all functions need together."""
    found: dict[tuple[str, str], Any] = {}
    for module, name in TABLES.values():
        found |= getattr(import_module(module), name)
    return found


def build_openapi() -> dict[str, Any]:
    """Describe all procedures in OpenAPI 3.1; `make docs` writes openapi.json, and a test holds the two together."""
    procedures = all_procedures()
    kinds = list(dict.fromkeys(p.arguments for p in procedures.values()))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for (side, name), procedure in sorted(procedures.items()):
        summary, _, description = inspect.getdoc(procedure.call).partition("\n")  # type: ignore[union-attr]
        paths[f"/{side}/{name}"] = {
            "post": {
                "operationId": f"{side}_{name}",
                "tags": [side],
                "summary": summary,
                "description": re.sub(r"\s+", " ", description).strip(),
                "requestBody": {"required": True, "content": _json_content(schema_of[procedure.arguments])},
                "responses": {"200": {"description": "done", "content": _json_content({"type": "object"})}} | _REFUSALS,
            }
        }
    run_id = {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}}
    paths["/runs/{run_id}"] = {
        "get": {
            "operationId": "view_run",
            "tags": ["runs"],
            "summary": "Return a run of the calling party: its state and, once released, its release.",
            "parameters": [run_id],
            "responses": {"200": {"description": "the run", "content": _json_content({"type": "object"})}} | _REFUSALS,
        }
    }
    components["Refusal"] = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cleanroom", "version": "0.1.0"},
        "security": [{"jwt": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _json_content(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_REFUSALS = {
    status: {"description": meaning, "content": _json_content({"$ref": "#/components/schemas/Refusal"})}
    for status, meaning in {
        "400": "the request itself is wrong",
        "402": "the budget does not hold the price; nothing was charged",
        "403": "not for this party to do",
        "404": "unknown, or not for this party to know",
        "409": "not in the state that this needs",
        "422": "the template has no private meaning that can be proved",
        "429": "try again: the same run id is safe",
        "500": "unexpected; the reference is in the log",
    }.items()
}
