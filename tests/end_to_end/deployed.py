"""For end-to-end tests: a clean room on the deployed stack, with tables, templates and consumers of its own."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

from cleanroom.adapters.memory import parquet_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from local.stack import Stack

SECRETS = ("QUOKKA", "numbat-air", "wombat", "BILBY-LITERAL", "4711471147")
"""Parts of what no answer to a refusal and no log may hold: data values, group keys, literals, a huge number."""

CARRIERS = ["numbat-air", "wombat-air", "emu-air"]
VISITS = pa.table(
    {
        "person": [f"QUOKKA-{person:04}" for person in range(120) for _ in range(4)],
        "carrier": [CARRIERS[person % 3] for person in range(120) for _ in range(4)],
        "city": [("Perth", "Hobart")[visit % 2] for _ in range(120) for visit in range(4)],
        "amount": pa.array([person % 50 + visit for person in range(120) for visit in range(4)], pa.int64()),
    }
)
FLEET = pa.table(
    {
        "person": [f"QUOKKA-{person:04}" for person in range(0, 120, 2)],
        "segment": [("wombat gold", "wombat blue")[person % 4 // 2] for person in range(0, 120, 2)],
    }
)
POLICY = {
    "max_groups": 2,
    "max_rows": 4,
    "bounds": {"amount": [0, 100]},
    "domains": {"carrier": CARRIERS},
}
SOURCE, MINE = "IDENTIFIER({{ source_table[0] }}) p", "IDENTIFIER({{ my_table[0] }}) c"
TEMPLATES = {
    "by_carrier": f"SELECT p.carrier, COUNT(*) AS visits, AVG(p.amount) AS mean FROM {SOURCE} GROUP BY p.carrier",
    "total": f"SELECT COUNT(*) AS visits FROM {SOURCE} WHERE p.carrier <> 'BILBY-LITERAL' AND p.city <> {{{{ city }}}}",
    "by_segment": f"SELECT c.segment, COUNT(DISTINCT p.person) AS people FROM {SOURCE} "
    f"JOIN {MINE} ON p.person = c.person GROUP BY c.segment",
    "no_such_column": f"SELECT SUM(p.weight) AS total FROM {SOURCE} WHERE p.carrier <> 'BILBY-LITERAL'",
    "without_entity": f"SELECT COUNT(*) AS pairs FROM {SOURCE} "
    "JOIN IDENTIFIER({{ source_table[1] }}) q ON p.city = q.city WHERE p.carrier <> 'BILBY-LITERAL'",
    "rows": f"SELECT p.person, p.amount FROM {SOURCE} WHERE p.carrier <> 'BILBY-LITERAL'",
    "unbounded": f"SELECT SUM(LENGTH(p.city)) AS total FROM {SOURCE}",
}


@dataclass(frozen=True, kw_only=True)
class Room:
    """A clean room of `airline`, with the consumers agency (installed, a large budget) and broker (installed, tiny).

    Attributes:
        name: no other test uses it.
        table: the provider's table of that name, and `<table>_more`, a copy.
        fleet: the consumer agency's table.
    """

    stack: Stack
    caller: Callable[[str], httpx.Client]
    name: str
    table: str
    fleet: str

    def ask(
        self, party: str, side: str, procedure: str, content: str | None = None, **arguments: Any
    ) -> httpx.Response:
        """Call a procedure on this room; `content` replaces the body."""
        body = content if content is not None else json.dumps({"cleanroom_name": self.name} | arguments)
        return self.caller(party).post(f"/{side}/{procedure}", content=body)

    def __call__(self, party: str, side: str, procedure: str, **arguments: Any) -> dict[str, Any]:
        """Call a procedure that must succeed."""
        answer = self.ask(party, side, procedure, **arguments)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def request(self, template: str = "by_carrier", **changed: Any) -> dict[str, Any]:
        """Return the arguments of run_analysis."""
        return {"cleanroom_name": self.name, "template_name": template, "provider_tables": [self.table]} | changed

    def run(self, template: str = "by_carrier", party: str = "agency", **changed: Any) -> httpx.Response:
        """Ask for a run with noise of its own; `replay="allow"` also takes a stored release."""
        return self.ask(party, "consumer", "run_analysis", **{"replay": "never"} | self.request(template, **changed))

    def spent(self, party: str = "agency") -> tuple[float, float]:
        """Return the epsilon that was spent in this window, and ever."""
        (budget,) = self(party, "consumer", "view_remaining_privacy_budget")["budgets"]
        return budget["spent"], budget["lifetime_epsilon"]

    def spent_by_all(self) -> dict[str, tuple[float, float]]:
        """Return the same for every consumer, as the provider sees it."""
        budgets = self("airline", "provider", "view_remaining_privacy_budget")["budgets"]
        return {b["party_name"]: (b["spent"], b["lifetime_epsilon"]) for b in budgets}

    def results(self) -> set[str]:
        """Return every key of the results bucket."""
        return self.keys("ResultsBucketName")

    def keys(self, bucket: str) -> set[str]:
        """Return every key of the bucket that the template's output names."""
        pages = self.stack.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.stack.outputs[bucket])
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object of the bucket that the template's output names."""
        content: bytes = self.stack.client("s3").get_object(Bucket=self.stack.outputs[bucket], Key=key)["Body"].read()
        return content

    def put(self, owner: str, name: str, content: bytes) -> None:
        """Put an object of a table into the tables bucket."""
        self.stack.client("s3").put_object(
            Bucket=self.stack.outputs["TablesBucketName"], Key=f"{owner}/{name}/0.parquet", Body=content
        )

    def link(self, name: str, table: pa.Table = VISITS) -> str:
        """Put and link one more table of the provider; return its name."""
        self.put("airline", name, parquet_bytes(table))
        self("airline", "provider", "link_datasets", tables=[name], policies={name: POLICY},
             entity_columns={name: {"pin": {"person": "person"}}})  # fmt: skip
        return name


def furnished_room(stack: Stack, caller: Callable[[str], httpx.Client]) -> Room:
    """Make a clean room on the deployed stack."""
    suffix = uuid4().hex[:10]
    room = Room(stack=stack, caller=caller, name=f"room_{suffix}", table=f"visits_{suffix}", fleet=f"fleet_{suffix}")
    room("airline", "provider", "cleanroom_init")
    for name in (room.table, f"{room.table}_more"):
        room.link(name)
    for name, text in TEMPLATES.items():
        room("airline", "provider", "add_custom_sql_template", template_name=name, template=text)
    for party, budget in (("agency", 1000), ("broker", 1)):
        settings = {"differential": 1, "epsilon": 1.0, "privacy_budget": budget}
        room("airline", "provider", "add_consumers", consumer_names=[party], privacy_settings=settings)
        room(party, "consumer", "install_cleanroom")
    room.put("agency", room.fleet, parquet_bytes(FLEET))
    room("agency", "consumer", "link_datasets", tables=[room.fleet])
    return room


def eventually(look: Callable[[], Any], *, seconds: float = 40.0) -> Any:
    """Return what `look` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")
