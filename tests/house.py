"""A whole deployment in memory: every use case over twins, called as the doors call them. For tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.duckdb_release import DuckDbReleaseEngine
from cleanroom.adapters.duckdb_sandbox import EngineLimits
from cleanroom.adapters.entity_labels import EntityLabels
from cleanroom.adapters.memory import (
    CountingIds,
    DirectNoiseFunction,
    FixedClock,
    ListTelemetry,
    MemoryExactStore,
    MemoryInbox,
    MemoryObjects,
    MemoryReleaseStore,
    MemoryRunQueue,
    MemorySchedule,
)
from cleanroom.adapters.memory_audit import MemoryAuditExport, MemoryAuditTrail, MemorySignals, MemoryStatementStore
from cleanroom.adapters.memory_catalogue import MemoryCatalogue
from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.adapters.memory_signer import MemoryReceiptSigner
from cleanroom.adapters.pace import SteppedPace
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.edge import answer_http, answer_invocation
from cleanroom.openapi import openapi_json
from cleanroom.ports import Entropy, NoiseServices, RoomServices, RunServices, TaskServices
from cleanroom.procedures.noise import NOISE
from cleanroom.procedures.rooms import ROOMS
from cleanroom.procedures.runs import RUNS
from cleanroom.procedures.task import TASK
from cleanroom.rooms.anomalies import Thresholds
from cleanroom.use_cases.noise_requests import handle_invocation
from cleanroom.use_cases.view_run import view_run
from tests.seeded_entropy import SeededEntropy

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = Path(__file__).parent.parent / "events"
START = datetime(2026, 1, 1, 8, tzinfo=UTC)


class House:
    """One deployment: provider `airline`, consumers as the test adds them."""

    def __init__(self, *, entropy: Entropy | None = None) -> None:
        self.catalogue, self.ledger = MemoryCatalogue(), MemoryLedger()
        self.objects, self.exact, self.releases = MemoryObjects(), MemoryExactStore(), MemoryReleaseStore()
        self.queue, self.inbox, self.schedule = MemoryRunQueue(), MemoryInbox(), MemorySchedule()
        self.clock, self.ids = FixedClock(START), CountingIds()
        self.telemetry, self.signer = ListTelemetry(), MemoryReceiptSigner()
        self.signals, self.thresholds = MemorySignals(), Thresholds()
        self.audit, self.statements = MemoryAuditTrail(self.ledger, self.signals), MemoryStatementStore()
        self.audit_export = MemoryAuditExport()
        self.entropy = entropy or SeededEntropy(1)
        self.noise = DirectNoiseFunction(self.invoke_noise)
        provider_parties = frozenset({"airline"})
        self.entities = MemoryObjects()
        labels = EntityLabels(self.objects, self.entities, limits=EngineLimits(memory_bytes=256 << 20, seconds=30))
        tables = ParquetTableStore(self.objects, labels=labels)
        self.rooms = RoomServices(
            catalogue=self.catalogue,
            ledger=self.ledger,
            audit=self.audit,
            statements=self.statements,
            tables=tables,
            schedule=self.schedule,
            clock=self.clock,
            provider_parties=provider_parties,
        )
        self.runs = RunServices(
            catalogue=self.catalogue,
            ledger=self.ledger,
            tables=tables,
            engine=DuckDbEngine(self.objects, labels=labels),
            exact=self.exact,
            noise=self.noise,
            queue=self.queue,
            inbox=self.inbox,
            renewal=self.schedule,
            clock=self.clock,
            ids=self.ids,
            signals=self.signals,
            thresholds=self.thresholds,
            telemetry=self.telemetry,
            pace=SteppedPace(
                step_seconds=0, clock=self.clock, sleep=lambda seconds: self.clock.advance(seconds=seconds)
            ),
        )
        self.noises = NoiseServices(
            catalogue=self.catalogue,
            ledger=self.ledger,
            exact=self.exact,
            releases=self.releases,
            signer=self.signer,
            engine=DuckDbReleaseEngine(),
            entropy=self.entropy,
            renewal=self.schedule,
            clock=self.clock,
            ids=self.ids,
            signals=self.signals,
            thresholds=self.thresholds,
            telemetry=self.telemetry,
        )
        self.tasks = TaskServices(
            ledger=self.ledger,
            audit=self.audit,
            statements=self.statements,
            export=self.audit_export,
            schedule=self.schedule,
            clock=self.clock,
            telemetry=self.telemetry,
            provider_parties=provider_parties,
        )

    def invoke_noise(self, event: dict[str, object]) -> dict[str, object]:
        """Invoke add_noise as run_template does."""
        return answer_invocation(lambda: handle_invocation(event, self.noises))

    def answer(self, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send an HTTP event through the door that serves its path; return status and body."""
        side_and_name = tuple(event["rawPath"].strip("/").split("/", 1))
        doors: list[tuple[Any, Callable[[], Any], Any]] = [
            (RUNS, lambda: self.runs, None),
            (NOISE, lambda: self.noises, {"runs": view_run}),
            (TASK, lambda: self.tasks, None),
        ]
        for routes, services, get in doors:
            if side_and_name in routes or (get and side_and_name[0] in get):
                return _read(answer_http(event, routes, services, get=get))
        return _read(answer_http(event, ROOMS, lambda: self.rooms, get={"openapi.json": openapi_json}))

    def ask(self, party: str, side: str, procedure: str, body: object = None, **arguments: Any) -> tuple[int, Any]:
        """Call a procedure over HTTP as `party`; `body` replaces the arguments.

        Runs have noise of their own here, unless they say `replay` themselves: most tests ask one question often.
        """
        if procedure in {"run_analysis", "submit_analysis_request"}:
            arguments = {"replay": "never"} | arguments
        event = json.loads((EVENTS / "http_run_analysis.json").read_text(encoding="utf-8"))
        event["rawPath"] = event["requestContext"]["http"]["path"] = f"/{side}/{procedure}"
        event["requestContext"]["authorizer"]["jwt"]["claims"]["custom:party"] = party
        event["body"] = body if isinstance(body, str) else json.dumps(arguments)
        return self.answer(event)

    def __call__(self, party: str, side: str, procedure: str, **arguments: Any) -> dict[str, Any]:
        """Call a procedure that must succeed."""
        status, answer = self.ask(party, side, procedure, **arguments)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def get_run(self, party: str, run_id: str) -> tuple[int, dict[str, Any]]:
        """GET /runs/{run_id} as `party`."""
        event = json.loads((EVENTS / "http_get_run.json").read_text(encoding="utf-8"))
        event["rawPath"] = event["requestContext"]["http"]["path"] = f"/runs/{run_id}"
        event["requestContext"]["authorizer"]["jwt"]["claims"]["custom:party"] = party
        return self.answer(event)


def _read(answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return answer["statusCode"], json.loads(answer["body"])


FLIGHTS = pa.table(
    {
        "tailnum": [f"N{100 + plane}AA" for plane in range(200) for _ in range(6)],
        "carrier": [("AA", "UA", "DL")[plane % 3] for plane in range(200) for _ in range(6)],
        "dest": [("BOS", "SFO", "ORD", "LAX")[(plane + leg) % 4] for plane in range(200) for leg in range(6)],
        "dep_delay": pa.array(
            [(plane * 7 + leg * 13) % 60 - 10 for plane in range(200) for leg in range(6)], pa.int32()
        ),
    }
)
FLEET = pa.table(
    {
        "tailnum": [f"N{100 + plane}AA" for plane in range(0, 200, 2)],
        "segment": ["wide" if plane % 4 == 0 else "narrow" for plane in range(0, 200, 2)],
    }
)
POLICIES = {
    "flights": {
        "max_groups": 4,
        "max_rows": 6,
        "bounds": {"dep_delay": [-30, 180]},
        "domains": {"carrier": ["AA", "DL", "UA"]},
    }
}
TEMPLATES = {
    "by_carrier": "SELECT p.carrier, COUNT(*) AS flights, AVG(p.dep_delay) AS delay "
    "FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.carrier ORDER BY p.carrier",
    "by_dest": "SELECT p.dest, COUNT(*) AS flights FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.dest",
    "by_segment": "SELECT c.segment, COUNT(DISTINCT p.tailnum) AS planes FROM IDENTIFIER({{ source_table[0] }}) p "
    "JOIN IDENTIFIER({{ my_table[0] }}) c ON p.tailnum = c.tailnum GROUP BY c.segment",
    "total": "SELECT COUNT(*) AS flights FROM IDENTIFIER({{ source_table[0] }}) p WHERE p.carrier = {{ carrier }}",
}
BY_CARRIER = {"cleanroom_name": "room", "template_name": "by_carrier", "provider_tables": ["flights"]}


def furnished(*, settings: dict[str, Any] | None = None, entropy: Entropy | None = None) -> House:
    """Return a house with room `room`, tables, templates, and consumers agency (installed) and broker (not)."""
    house = House(entropy=entropy)
    house.objects.put_table(owner="airline", name="flights", table=FLIGHTS)
    house.objects.put_table(owner="agency", name="fleet", table=FLEET)
    return furnish(house, settings=settings)


def furnish(house: House, *, settings: dict[str, Any] | None = None) -> House:
    """Make the room in a house that has the tables' objects."""
    house("airline", "provider", "cleanroom_init", cleanroom_name="room")
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=POLICIES)
    for name, text in TEMPLATES.items():
        house(
            "airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name=name, template=text
        )
    chosen = {"differential": 1, "epsilon": 1.0, "privacy_budget": 10} if settings is None else settings
    house("airline", "provider", "add_consumers", cleanroom_name="room", consumer_names=["agency", "broker"],
          privacy_settings=chosen)  # fmt: skip
    house("agency", "consumer", "install_cleanroom", cleanroom_name="room")
    house("agency", "consumer", "link_datasets", cleanroom_name="room", tables=["fleet"])
    return house
