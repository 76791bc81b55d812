"""layers: one whole run inside a built function, with nothing but what its layers hold: finds modules slimmed away.

Called by sizes.py in a process of its own: `python -S -B layers/probe.py FUNCTION PATH…`. The function's own services
are replaced by small ones of this file, because the test twins need more than the layers hold.
"""

import json
import sys
from pathlib import Path

FUNCTION, PATHS = sys.argv[1], sys.argv[2:]
sys.path[:0] = PATHS

import duckdb

from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.duckdb_sandbox import EngineLimits
from cleanroom.adapters.entity_labels import EntityLabels
from cleanroom.adapters.memory_audit import MemorySignals
from cleanroom.adapters.memory_catalogue import MemoryCatalogue
from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.adapters.pace import SteppedPace
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.adapters.renewal import DeployedRenewal
from cleanroom.adapters.system import SystemClock, SystemEntropy, SystemIds
from cleanroom.adapters.telemetry import PowertoolsTelemetry
from cleanroom.ports import NoiseServices, RoomServices, RunServices
from cleanroom.rooms.anomalies import Thresholds
from cleanroom.rooms.tables import ObjectVersion
from cleanroom.use_cases import arguments as a
from cleanroom.use_cases import datasets, rooms, templates

TABLE = Path("table.parquet")
TEMPLATE = """SELECT p.carrier, COUNT(*) AS flights, ROUND(AVG(p.delay), 2) AS delay,
  COUNT(DISTINCT p.tailnum) AS planes
FROM IDENTIFIER({{ source_table[0] }}) p WHERE p.day > {{ first }} GROUP BY p.carrier ORDER BY flights DESC"""


class Objects:
    """The one table, as a versioned bucket."""

    def present(self, prefix):
        """Return the table's object."""
        return [ObjectVersion(key=f"{prefix}0.parquet", version_id="1", size_bytes=TABLE.stat().st_size)]

    def read(self, pinned, *, start, stop):
        """Return bytes of it."""
        assert pinned.version_id == "1"
        return start, TABLE.read_bytes()[start:stop]


class Kept(Objects):
    """Labels of joined entities."""

    def present(self, prefix):
        """Return nothing: they are made."""
        assert prefix.endswith(".parquet")
        return []

    def put(self, key, content):
        """Take what the engine wrote through our file system, a Parquet object."""
        assert content[:4] == content[-4:] == b"PAR1"
        return ObjectVersion(key=key, version_id="1", size_bytes=len(content))


class Stores(dict):
    """Exact store and release store in memory."""

    def put(self, run_id, payload):
        """Keep an exact payload."""
        self[run_id] = payload

    def delete(self, run_id):
        """Forget it."""
        self.pop(run_id, None)

    def put_if_absent(self, *, party, run_id, release):
        """Keep a release."""
        return self.setdefault((party, run_id), release)

    def put_derived(self, *, party, run_id, name, content):
        """Keep its other form."""
        self[party, run_id, name] = content

    def get_drawn(self, *, party, run_id):
        """Return the drawn noise."""
        return dict.get(self, (party, run_id, "drawn"))

    def put_drawn_if_absent(self, *, party, run_id, drawn):
        """Keep the drawn noise."""
        return self.setdefault((party, run_id, "drawn"), drawn)

    def location(self, *, party, run_id):
        """Return where it is."""
        return f"{party}/{run_id}"

    def keep_receipt_key(self, *, fingerprint, pem):
        """Keep a public key."""
        self.setdefault(fingerprint, pem)


class Releases(Stores):
    """The release store's `get` is by party and run."""

    def get(self, *, party, run_id):
        """Return a release."""
        return dict.get(self, (party, run_id))


def main() -> None:
    """Link a table, run a template, and, where the function has numpy, release it."""
    duckdb.execute(
        f"""COPY (SELECT 'N' || (100 + range % 400) || 'AA' AS tailnum, ['AA', 'UA', 'DL'][1 + range % 3] AS carrier,
                         (range % 90)::DECIMAL(6, 2) AS delay, DATE '2026-01-01' + (range % 28)::INT AS day
                  FROM range(8000)) TO '{TABLE}' (FORMAT parquet)"""
    )
    catalogue, ledger, clock = MemoryCatalogue(), MemoryLedger(), SystemClock()
    renewal, telemetry = (
        DeployedRenewal(expression="cron(0 0 * * ? *)", time_zone="Europe/Paris"),
        PowertoolsTelemetry(),
    )
    limits = EngineLimits(memory_bytes=256 << 20, seconds=30.0, spill_bytes=0)
    tables = ParquetTableStore(Objects(), labels=EntityLabels(Objects(), Kept(), limits=limits))
    exact, releases = Stores(), Releases()
    room_services = RoomServices(
        catalogue=catalogue,
        ledger=ledger,
        audit=None,
        statements=None,
        tables=tables,
        schedule=renewal,
        clock=clock,
        provider_parties={"airline"},
    )
    room = {"cleanroom_name": "room"}
    rooms.cleanroom_init(a.CleanRoomArguments(**room), "airline", room_services)
    policy = {"max_groups": 3, "max_rows": 20, "bounds": {"delay": [0, 90]}}
    linked = datasets.link_provider_datasets(
        a.LinkDatasets(**room, tables=("flights",), policies={"flights": policy}), "airline", room_services
    )
    assert linked["linked"][0]["entity_columns"][0]["column"] == "tailnum"
    two = a.PinnedEntities(pin={"tailnum": "plane", "carrier": "company"})
    again = a.LinkDatasets(**room, tables=("flights",), entity_columns={"flights": two})
    joined = datasets.link_provider_datasets(again, "airline", room_services)
    assert joined["linked"][0]["entities_joined"] == "now"
    one = a.PinnedEntities(pin={"tailnum": "aircraft_registration"}, unpin=("carrier",))
    again = a.LinkDatasets(**room, tables=("flights",), entity_columns={"flights": one})
    datasets.link_provider_datasets(again, "airline", room_services)
    added = a.AddCustomSqlTemplate(**room, template_name="by_carrier", template=TEMPLATE)
    templates.add_custom_sql_template(added, "airline", room_services)
    settings = {"differential": 1, "epsilon": 1.0}
    consumers = a.AddConsumers(**room, consumer_names=("agency",), privacy_settings=settings)
    rooms.add_consumers(consumers, "airline", room_services)
    rooms.install_cleanroom(a.CleanRoomArguments(**room), "agency", room_services)
    if FUNCTION == "RoomsFunction":
        return

    from cleanroom.use_cases.run_template import run_analysis

    class Noise:
        """The other function: here where it can be, and otherwise only told."""

        def release(self, run_id):
            """Release, if this function is the one that can."""
            if FUNCTION != "AddNoiseFunction":
                return b"{}"
            from cleanroom.adapters.duckdb_release import DuckDbReleaseEngine
            from cleanroom.adapters.memory_signer import MemoryReceiptSigner
            from cleanroom.use_cases.release import release_run
            from cleanroom.verify_receipt import verified_receipt

            signer = MemoryReceiptSigner()

            noise_services = NoiseServices(
                catalogue=catalogue,
                ledger=ledger,
                exact=exact,
                releases=releases,
                signer=signer,
                engine=DuckDbReleaseEngine(),
                entropy=SystemEntropy(),
                renewal=renewal,
                clock=clock,
                ids=SystemIds(),
                signals=MemorySignals(),
                thresholds=Thresholds(),
                telemetry=telemetry,
            )
            release = release_run(run_id, noise_services)
            assert verified_receipt(release, [signer.key().pem.encode()])["run_id"]
            return release

    run_services = RunServices(
        catalogue=catalogue,
        ledger=ledger,
        tables=tables,
        engine=DuckDbEngine(Objects()),
        exact=exact,
        noise=Noise(),
        queue=None,
        inbox=None,
        renewal=renewal,
        clock=clock,
        ids=SystemIds(),
        signals=MemorySignals(),
        thresholds=Thresholds(),
        telemetry=telemetry,
        pace=SteppedPace(step_seconds=0, clock=clock, sleep=None),
    )
    run = a.RunAnalysis(
        **room, template_name="by_carrier", provider_tables=("flights",), arguments={"first": "2026-01-03"}
    )
    release = json.loads(run_analysis(run, "agency", run_services))
    if FUNCTION == "AddNoiseFunction":
        assert len(release["rows"]) == 3, release
        assert set(release["intervals"]) == {"flights", "delay", "planes"}
        assert any(len(key) == 3 and key[2] == "release.csv" for key in releases)


main()
