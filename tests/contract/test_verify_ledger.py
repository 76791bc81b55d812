"""The command that verifies a ledger, on the emulated DynamoDB and over exported copies."""

import json
from datetime import timedelta

import pytest

from cleanroom.adapters.dynamodb_items import attribute
from cleanroom.adapters.dynamodb_keys import History, history_partition, lifetime_key, window_key
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.rooms.ledger import TaskStatus
from cleanroom.rooms.ledger_chain import ChainHead, chain_of
from cleanroom.rooms.settings import PrivacySettings
from cleanroom.use_cases.close_windows import as_json_lines
from cleanroom.verify_ledger import main
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge, table_of


@pytest.fixture
def table(dynamodb, table_name):
    return table_of(dynamodb, table_name)


@pytest.fixture
def ledger(table):
    """Give a ledger with two rooms, two windows, metered and unmetered runs."""
    ledger = DynamoDbLedger(table)
    ledger.put_settings(KEY, PrivacySettings(differential=True), by="provider", at=NOON)
    for number in range(3):
        ledger.charge(charge(f"run-{number}", settings_versions=(1,)))
    ledger.charge(charge("other", budgets=(OTHER_KEY,)))
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    ledger.charge(charge("free", settings_versions=(1,), unmetered=True))
    ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    ledger.open_window(scheduled_for=NOON, at=NOON)
    ledger.charge(charge("late", settings_versions=(1,), window=1, at=NOON + timedelta(minutes=1)))
    ledger.note("elsewhere #2%", kind="noted", party="provider", body="{}", at=NOON)
    return ledger


def ran(capsys, table, *arguments):
    code = main(["--table", table.name, *arguments], table_of=lambda name: table)
    return code, capsys.readouterr().out


def change(table, key, **values):
    """Change attributes of an item, as whoever can write the table might."""
    table.client.update_item(
        TableName=table.name,
        Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
        ExpressionAttributeNames={f"#{name}": name for name in values},
        ExpressionAttributeValues={f":{name}": attribute(value) for name, value in values.items()},
    )


def test_what_was_written_agrees_in_all_rooms(ledger, table, capsys):
    code, said = ran(capsys, table)
    assert code == 0, said
    assert said.splitlines() == ["elsewhere #2%: agrees", "flights: agrees", "everything agrees"]


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (window_key(KEY, 0), "micro_epsilon"),
        (window_key(KEY, 1), "delta_steps"),
        (window_key(KEY, 1), "rho_steps"),
        (lifetime_key(KEY), "micro_epsilon"),
    ],
)
def test_a_counter_that_lines_do_not_add_up_to_is_named(ledger, table, capsys, key, field):
    change(table, key, **{field: 1})
    code, said = ran(capsys, table, "--room", "flights")
    assert code == 1
    assert "DIFFERENCE: flights, consumer" in said
    assert "1 differences" in said


def test_a_line_that_was_changed_or_taken_away_is_named(ledger, table, capsys):
    history = History(room="flights", chain=chain_of(KEY))
    lines = table.query(history_partition(history))
    line = next(line for line in lines if line["number"] == {"N": "1"})
    table.client.put_item(
        TableName=table.name, Item={**line, "body": {"S": line["body"]["S"].replace("100000", "1000")}}
    )
    code, said = ran(capsys, table, "--room", "flights")
    assert (code, "line 1 is not what was written" in said) == (1, True)
    table.client.delete_item(TableName=table.name, Key={"pk": line["pk"], "sk": line["sk"]})
    code, said = ran(capsys, table, "--room", "flights")
    assert (code, "line 1 is not what was written" in said) == (1, True)


def exported(folder, ledger, *cuts, room="flights"):
    """Write the budget's chain as the task exports it, in parts from one cut to the next."""
    lines = [line for line in ledger.entries(room) if line.chain == chain_of(KEY)]
    for first, count in cuts:
        head = ChainHead(count=count, hash=lines[count - 1].hash)
        content = as_json_lines(lines[first:count], room, chain_of(KEY), head)
        (folder / f"{first:020d}-{count:020d}.jsonl").write_bytes(content)
    return folder


@pytest.mark.parametrize("cuts", [((0, 5),), ((0, 2), (2, 5)), ((0, 2), (0, 3), (3, 5)), ((0, 3), (2, 5))])
def test_exported_parts_agree_with_each_other_and_with_the_ledger(ledger, table, tmp_path, capsys, cuts):
    folder = exported(tmp_path, ledger, *cuts)
    assert main(["--export", str(folder)]) == 0
    assert "1 exported chains, 5 lines" in capsys.readouterr().out
    assert ran(capsys, table, "--export", str(folder))[0] == 0


def test_a_part_that_is_missing_or_changed_is_named(ledger, tmp_path, capsys):
    folder = exported(tmp_path, ledger, (0, 2), (3, 5))
    assert main(["--export", str(folder)]) == 1
    assert "lines 2 to 2 are missing" in capsys.readouterr().out
    exported(tmp_path, ledger, (2, 3))
    first = next(path for path in folder.iterdir() if path.name.endswith("0-00000000000000000002.jsonl"))
    first.write_bytes(first.read_bytes().replace(b"run-1", b"run-9"))
    assert main(["--export", str(folder)]) == 1
    assert "line 1 is not what was written" in capsys.readouterr().out


def test_a_ledger_that_was_rewritten_consistently_does_not_fit_on_its_export(ledger, table, dynamodb, tmp_path, capsys):
    """Chains, ends and counters all agree again; only what lies under Object Lock tells."""
    folder = exported(tmp_path, ledger, (0, 5))
    from tests.contract.ledgers import create_table

    rewritten = table_of(dynamodb, create_table(dynamodb))
    cheaper = DynamoDbLedger(rewritten)
    cheaper.charge(charge("run-0"))
    assert ran(capsys, rewritten, "--room", "flights")[0] == 0
    code, said = ran(capsys, rewritten, "--room", "flights", "--export", str(folder))
    assert (code, "not those that were exported" in said) == (1, True)


def test_something_must_be_named():
    with pytest.raises(SystemExit):
        main([])


def test_a_file_that_is_no_export_is_named(tmp_path, capsys):
    (tmp_path / "0-1.jsonl").write_text(json.dumps({"head": 1}))
    assert main(["--export", str(tmp_path)]) == 1
    assert "not an exported history" in capsys.readouterr().out
