"""The audit trail: the same assertions on the twin in memory and on the emulated DynamoDB and S3."""

import json
from datetime import timedelta

import pytest

from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail
from cleanroom.adapters.dynamodb_signals import MOST_COUNTED, DynamoDbSignals
from cleanroom.adapters.memory_audit import MemoryAuditTrail, MemorySignals, MemoryStatementStore
from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.adapters.statement_store import S3AuditExport, S3StatementStore
from cleanroom.rooms.anomalies import ChargeCounts
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.ledger_audit import Checkpoint, verified, without_closed
from cleanroom.templates.kinship import Kinship
from tests.contract.ledgers import KEY, NOON, charge
from tests.contract.test_stores import bucket_of

OTHER = BudgetKey(room="flights", party="other")


@pytest.fixture
def signals(ledger):
    return MemorySignals() if isinstance(ledger, MemoryLedger) else DynamoDbSignals(ledger._table)


@pytest.fixture
def audit(ledger, signals):
    if isinstance(ledger, MemoryLedger):
        return MemoryAuditTrail(ledger, signals)
    return DynamoDbAuditTrail(ledger._table)


@pytest.fixture(params=["memory", "aws"])
def statements(request):
    if request.param == "memory":
        return MemoryStatementStore()
    s3, bucket = bucket_of(request.getfixturevalue("emulated_aws"))
    return S3StatementStore(s3, bucket=bucket)


def test_what_was_charged_or_refused_in_a_window_is_found_by_the_window(ledger, audit, signals):
    assert audit.active(0) == ()
    for run_id in ("run-1", "run-2"):
        ledger.charge(charge(run_id))
    signals.refused(OTHER, window=0, at=NOON)
    ledger.open_window(scheduled_for=NOON, at=NOON)
    ledger.charge(charge("run-3", window=1))
    assert [(one.budget, one.refusals) for one in audit.active(0)] == [(KEY, 0), (OTHER, 1)]
    assert [one.budget for one in audit.active(1)] == [KEY]


def test_refusals_are_counted_by_window_and_by_hour(ledger, audit, signals):
    hour = timedelta(hours=1)
    counted = [signals.refused(KEY, window=0, at=NOON + hour * late) for late in (0, 0, 0, 1, 1)]
    assert [(one.refusals, one.refusals_in_hour) for one in counted] == [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2)]
    ledger.charge(charge("run-1"))
    assert [one.refusals for one in audit.active(0)] == [5]
    assert signals.refused(KEY, window=1, at=NOON).refusals == 1


def test_spending_is_counted_by_hour_and_likenesses_by_different_queries(signals):
    def charged(query, kin, *, at=NOON, window=0):
        kinship = Kinship(query=query, kin=kin)
        return signals.charged(KEY, window=window, at=at, micro_epsilon=5, kinship=kinship)

    assert charged("q1", ("blank", "q1")) == ChargeCounts(spent_in_hour=5, alike=1)
    assert charged("q1", ("blank", "q1")) == ChargeCounts(spent_in_hour=10, alike=1), "the same query is no other"
    assert charged("q2", ("blank", "q2")) == ChargeCounts(spent_in_hour=15, alike=2)
    assert charged("q3", ("else", "q3")) == ChargeCounts(spent_in_hour=20, alike=1)
    assert charged("q4", ("blank",), at=NOON + timedelta(hours=1)) == ChargeCounts(spent_in_hour=5, alike=3)
    assert charged("q5", ("blank",), window=1) == ChargeCounts(spent_in_hour=5, alike=1)
    without = signals.charged(KEY, window=1, at=NOON, micro_epsilon=0, kinship=None)
    assert without == ChargeCounts(spent_in_hour=5, alike=0)


def test_counting_ends_before_an_item_could_be_full(ledger, signals):
    if isinstance(ledger, MemoryLedger):
        for _ in range(MOST_COUNTED):
            assert signals.charged(KEY, window=0, at=NOON, micro_epsilon=1, kinship=None) is not None
    else:
        signals.charged(KEY, window=0, at=NOON, micro_epsilon=1, kinship=None)
        (stored,) = ledger._table.query("SIGNALS#flights#consumer#*")
        ledger._table.client.put_item(
            TableName=ledger._table.name, Item={**stored, "charges": {"N": str(MOST_COUNTED)}}
        )
    assert signals.charged(KEY, window=0, at=NOON, micro_epsilon=1, kinship=None) is None


def test_lines_are_read_from_where_a_checkpoint_ends(ledger, audit):
    """The second check reads what is new, also where a line's clock was behind the one before."""
    for number in range(3):
        ledger.charge(charge(f"run-{number}", at=NOON - timedelta(minutes=number)))
    own, chain = audit.chains("flights", [KEY])
    assert own == ""
    first = verified(
        audit.checkpoint("flights", chain),
        audit.lines("flights", chain, checkpoint=Checkpoint(), head=audit.head("flights", chain)),
        head=audit.head("flights", chain),
    )
    audit.put_checkpoint("flights", chain, first, replaces=Checkpoint())
    assert audit.checkpoint("flights", chain) == first
    ledger.charge(charge("run-3", at=NOON - timedelta(minutes=5)))
    head = audit.head("flights", chain)
    lines = audit.lines("flights", chain, checkpoint=first, head=head)
    assert [line.run_id for line in lines] == ["run-3"]
    second = without_closed(verified(first, lines, head=head), closed_through=-1)
    audit.put_checkpoint("flights", chain, second, replaces=first)
    assert audit.checkpoint("flights", chain).windows[0].tally.runs == 4
    audit.put_checkpoint("flights", chain, Checkpoint(), replaces=first)
    assert audit.checkpoint("flights", chain) == second, "who was overtaken changes nothing"
    closed = without_closed(second, closed_through=0)
    audit.put_checkpoint("flights", chain, closed, replaces=second)
    assert audit.checkpoint("flights", chain) == closed
    assert closed.windows == ()


def test_pages_follow_each_other_without_a_gap(ledger, audit):
    for number in range(5):
        ledger.note("flights", kind="noted", party="provider", body=f'{{"n":{number}}}', at=NOON)
    (chain,) = audit.chains("flights", [])
    shown, after, more = [], "", True
    while more:
        page, more = audit.page("flights", chain, after=after, limit=2)
        shown += [json.loads(line.body)["n"] for _, line in page]
        after = page[-1][0]
    assert shown == [0, 1, 2, 3, 4]
    nothing, more = audit.page("elsewhere", chain, after="", limit=2)
    assert (list(nothing), more) == ([], False)


def test_the_accounts_history_is_read_like_a_rooms(ledger, audit):
    ledger.open_window(scheduled_for=NOON, at=NOON)
    (chain,) = audit.chains(None, [])
    head = audit.head(None, chain)
    (line,) = audit.lines(None, chain, checkpoint=Checkpoint(), head=head)
    assert (line.kind, head.count) == ("window", 1)


def test_closed_windows_never_open_again(audit):
    assert audit.closed_through() == -1
    for window in (0, 3, 2):
        audit.set_closed_through(window)
    assert audit.closed_through() == 3


def test_a_statement_is_written_once_and_listed_by_number(statements):
    assert statements.get(room="a room", window=2) is None
    assert statements.put_if_absent(room="a room", window=2, statement=b"first") is True
    assert statements.put_if_absent(room="a room", window=2, statement=b"second") is False
    assert statements.get(room="a room", window=2) == b"first"
    for window in (10, 9, 100):
        statements.put_if_absent(room="a room", window=window, statement=b"{}")
    statements.put_if_absent(room="a room 2", window=7, statement=b"{}")
    assert list(statements.windows("a room", after=-1, limit=3)) == [2, 9, 10]
    assert list(statements.windows("a room", after=10, limit=3)) == [100]


def test_an_export_is_written_once_under_the_lines_that_it_holds(emulated_aws):
    s3, bucket = bucket_of(emulated_aws)
    export = S3AuditExport(s3, bucket=bucket)
    for content in (b"first", b"second"):
        export.put_if_absent(room="a room", chain="", first=0, count=12, content=content)
    export.put_if_absent(room=None, chain="", first=3, count=4, content=b"{}")
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [
        "account/00000000000000000003-00000000000000000004.jsonl",
        "rooms/a room/room/00000000000000000000-00000000000000000012.jsonl",
    ]
    assert s3.get_object(Bucket=bucket, Key=keys[1])["Body"].read() == b"first"
