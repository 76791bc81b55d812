"""Runs over HTTP: once charged whatever is retried, polled, dropped or scheduled; and what lies where in between."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from cleanroom.adapters.memory import parquet_bytes
from cleanroom.verify_receipt import NotVerifiedError, verified_receipt
from tests.end_to_end.deployed import CARRIERS, POLICY, SECRETS, VISITS, Room, eventually, furnished_room

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from local.stack import Stack

PRICE = 2.0
"""Epsilon of one `by_carrier`: COUNT and AVG."""


@pytest.fixture(scope="module")
def room(stack: Stack, caller: Callable[[str], httpx.Client]) -> Room:
    return furnished_room(stack, caller)


def fresh_id() -> str:
    return f"run-{uuid4().hex[:16]}"


def run_of(room: Room, run_id: str, party: str = "agency") -> httpx.Response:
    return room.caller(party).get(f"/runs/{run_id}")


def test_a_retried_run_has_the_same_answer_and_one_charge(room: Room) -> None:
    """B-52; and GET gives it too, to its party alone."""
    before, run_id = room.spent()[0], fresh_id()
    first, again = (room.run(run_id=run_id) for _ in range(2))
    assert first.status_code == again.status_code == 200, first.text
    assert first.json()["rows"] == again.json()["rows"]
    assert again.json() == first.json()
    assert run_of(room, run_id).json()["rows"] == first.json()["rows"]
    assert room.spent()[0] == before + PRICE
    for party in ("broker", "stranger", "airline"):
        answer = run_of(room, run_id, party)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "run_not_found")
    other = room.run(run_id=run_id, template_name="total", arguments={"city": "Perth"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "run_id_reused")
    assert room.spent()[0] == before + PRICE


def test_the_stored_release_is_verified_offline_with_the_key_that_was_asked_for(room: Room) -> None:
    """From the deployed key to a reader's machine: what lies in the bucket, and what the run answered."""
    run_id = fresh_id()
    answer = room.run(run_id=run_id)
    key = room.ask("agency", "consumer", "view_receipt_key", content="{}").json()
    location = room.stack.outputs["ResultsBucketName"], f"releases/agency/{run_id}/release.json"
    s3 = room.stack.client("s3")
    stored = s3.get_object(Bucket=location[0], Key=location[1])["Body"].read()
    for release in (stored, answer.content):
        assert verified_receipt(release, [key["pem"].encode()])["run_id"] == run_id
    forged = json.loads(stored)
    forged["rows"][0][1] += 1
    with pytest.raises(NotVerifiedError, match="a value was changed"):
        verified_receipt(json.dumps(forged).encode(), [key["pem"].encode()])
    kept = s3.get_object(Bucket=location[0], Key=f"receipt_keys/{key['fingerprint']}.pem")["Body"].read()
    assert kept.decode() == key["pem"]


def test_the_same_question_over_the_same_data_is_answered_again_for_nothing(room: Room) -> None:
    """B-50, between the two functions: the quote is 0, the numbers are the same, and nothing is charged."""
    first, request = room.run(replay="allow").json(), room.request()
    before = room.spent()
    quote = room("agency", "consumer", "quote_analysis", **request)
    assert quote["epsilon"] == 0
    assert quote["replay"]["fresh_epsilon"] == PRICE
    again = room.run(replay="only").json()
    assert again["rows"] == first["rows"]
    assert again["price"]["epsilon"] == 0
    assert again["replayed_from"] == quote["replay"]["run_id"]
    assert room.spent() == before
    fresh = room.run(replay="never").json()
    assert fresh["rows"] != first["rows"]
    assert room.spent()[0] == before[0] + PRICE


def test_a_table_whose_rows_were_all_removed_is_answered_like_any_other(room: Room) -> None:
    """Whether rows are there is not for a refusal to tell."""
    name = f"{room.table}_more"
    room.put("airline", name, parquet_bytes(VISITS.slice(0, 0)))
    answer = room.run(provider_tables=[name])
    room.put("airline", name, parquet_bytes(VISITS))
    assert answer.status_code == 200, answer.text
    assert sorted(row[0] for row in answer.json()["rows"]) == sorted(CARRIERS)


def test_two_requests_with_one_run_id_at_once_are_one_charge_and_one_noise(room: Room) -> None:
    """Whoever comes second gets the same release, or is told to ask again, and then gets it."""
    before, run_id = room.spent()[0], fresh_id()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: room.run(run_id=run_id), range(4)))
    assert any(answer.status_code == 200 for answer in answers), [answer.text for answer in answers]
    assert {answer.status_code for answer in answers} <= {200, 409, 429}
    final = room.run(run_id=run_id)
    assert final.status_code == 200, final.text
    assert all(answer.json()["rows"] == final.json()["rows"] for answer in answers if answer.status_code == 200)
    assert room.spent()[0] == before + PRICE
    assert not [key for key in room.keys("ExactBucketName") if run_id in key]


def test_runs_at_once_never_spend_more_than_the_budget(room: Room) -> None:
    """Six runs of epsilon 1 and a budget of 3: three are released, and three refused."""
    settings = {"differential": 1, "epsilon": 1.0, "privacy_budget": 3}
    room("airline", "provider", "add_consumers", consumer_names=["broker"], privacy_settings=settings)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: room.run("total", "broker", arguments={"city": "Perth"}), range(6)))
    while busy := [answer for answer in answers if answer.status_code == 429]:
        answers = [answer for answer in answers if answer.status_code != 429]
        answers += [room.run("total", "broker", arguments={"city": "Perth"}) for _ in busy]
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [402] * 3, [a.text for a in answers]
    assert room.spent("broker")[0] == 3.0


def test_an_asynchronous_run_goes_through_the_queue_and_is_polled(room: Room) -> None:
    before, run_id = room.spent()[0], fresh_id()
    queued = room.run(run_id=run_id, mode="async")
    assert queued.status_code == 200, queued.text
    assert queued.json() == {"run_id": run_id, "state": "queued"}
    released = eventually(lambda: (a := run_of(room, run_id).json())["state"] == "released" and a)
    assert sorted(row[0] for row in released["rows"]) == sorted(CARRIERS)
    assert room.spent()[0] == before + PRICE
    assert {f"releases/agency/{run_id}/release.{kind}" for kind in ("json", "csv")} <= room.results()


def test_an_asynchronous_run_that_no_longer_fits_is_refused_where_it_is_polled(room: Room) -> None:
    """Accepted while the budget held it, refused when its turn came: nothing is charged."""
    run_id = fresh_id()
    zero = {"differential": 1, "privacy_budget": 0}
    room("airline", "provider", "add_consumers", consumer_names=["broker"], privacy_settings=zero)
    before = room.spent("broker")
    assert room.run("total", "broker", arguments={"city": "Perth"}, run_id=run_id, mode="async").status_code == 200
    refused = eventually(lambda: (a := run_of(room, run_id, "broker").json())["state"] == "refused" and a)
    assert refused["error"]["code"] == "budget_exhausted"
    assert room.spent("broker") == before


def dropped(room: Room, content: str) -> dict[str, Any]:
    """Drop a request into the inbox and return what came out, by file name; `tables` is what noise was added to."""
    s3, results = room.stack.client("s3"), room.stack.outputs["ResultsBucketName"]
    before = room.results()
    s3.put_object(
        Bucket=room.stack.outputs["InboxBucketName"], Key=f"agency/runs/{uuid4().hex}.json", Body=content.encode()
    )
    last = ("/release.csv", "/refusal.json")
    eventually(lambda: [key for key in room.results() - before if key.endswith(last)])
    new = {key for key in room.results() - before if not key.startswith("receipt_keys/")}
    assert {key.rsplit("/", 2)[0] for key in new} <= {"releases/agency", "drawn/agency"}, new
    return {
        key.rpartition("/")[2]: s3.get_object(Bucket=results, Key=key)["Body"].read().decode(errors="replace")
        for key in new
    }


def test_a_good_request_in_the_inbox_comes_out_in_the_results_bucket(room: Room) -> None:
    before = room.spent()[0]
    files = dropped(room, json.dumps(room.request(replay="never")))
    assert set(files) == {"release.json", "release.csv", "tables"}
    assert json.loads(files["release.json"])["state"] == "released"
    assert files["release.csv"].splitlines()[0].startswith('"carrier","visits","visits_low","visits_high"')
    assert len(files["release.csv"].splitlines()) == 1 + len(CARRIERS)
    assert room.spent()[0] == before + PRICE


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"cleanroom_name": "BILBY-LITERAL', "invalid_request"),
        ('{"cleanroom_name": "nowhere", "template_name": "by_carrier"}', "clean_room_not_found"),
        ("no_such_column", "template_refused"),
    ],
)
def test_a_bad_request_in_the_inbox_comes_out_as_a_refusal(room: Room, content: str, code: str) -> None:
    before = room.spent()
    files = dropped(room, content if content.startswith("{") else json.dumps(room.request(content)))
    assert set(files) == {"refusal.json"}
    assert json.loads(files["refusal.json"])["error"]["code"] == code
    assert not [secret for secret in SECRETS if secret in files["refusal.json"]]
    assert room.spent() == before


def test_direct_noise_is_charged_once_per_run_id(room: Room) -> None:
    before, run_id = room.spent()[0], fresh_id()
    asked = {"values": [120.0, 340.5], "sensitivity": 1.0, "epsilon": 0.5, "run_id": run_id}
    first, again = (room("agency", "consumer", "add_noise", **asked) for _ in range(2))
    assert first == again
    assert first["values"] != asked["values"]
    for value, (low, high) in zip(first["values"], first["intervals"], strict=True):
        assert low < value < high
    assert room.spent()[0] == before + 0.5


def schedule_of(room: Room) -> dict[str, Any]:
    outputs = room.stack.outputs
    found: dict[str, Any] = room.stack.client("scheduler").get_schedule(
        Name=outputs["DpTaskScheduleName"], GroupName=outputs["DpTaskScheduleGroupName"]
    )
    return found


def test_the_schedules_own_target_opens_one_window_however_often_it_is_delivered(room: Room) -> None:
    """B-53: what is spent in the window starts anew, the lifetime total stays."""
    room.run()
    spent, lifetime = room.spent()
    assert spent > 0
    target = schedule_of(room)["Target"]
    payload = target["Input"].replace(
        "<aws.scheduler.scheduled-time>", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    answers = [
        json.load(room.stack.client("lambda").invoke(FunctionName=target["Arn"], Payload=payload.encode())["Payload"])
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert room.spent() == (0, lifetime)
    ended = json.loads(answers[0]["ok"])["window"] - 1
    statement = json.loads(room.get("ResultsBucketName", f"statements/{room.name}/{ended:010d}.json"))
    (row,) = [row for row in statement["budgets"] if row["party_name"] == "agency"]
    assert (row["spent"]["epsilon"], row["lifetime"]["epsilon"], row["verified"]) == (spent, lifetime, True)
    assert any(key.startswith(f"rooms/{room.name}/") for key in room.keys("AuditBucketName"))


def test_suspending_shows_in_the_schedule_and_makes_runs_unmetered_until_it_is_resumed(room: Room) -> None:
    """B-60 and B-61, B-66: nothing of the schedule but its state changes."""
    before, spent = schedule_of(room), room.spent()
    try:
        suspended = room.caller("airline").post("/provider/suspend_account_dp_task", json={}).json()
        assert suspended["status"] == "suspended"
        assert room.name in suspended["rooms_with_dp_on"]
        assert schedule_of(room)["State"] == "DISABLED"
        release = room.run().json()
        assert release["unmetered"]
        assert release["price"]["epsilon"] == PRICE
    finally:
        resumed = room.caller("airline").post("/provider/resume_account_dp_task", json={}).json()
    assert resumed["status"] == "running"
    after = schedule_of(room)
    changing = ("LastModificationDate", "ResponseMetadata")
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    assert not room.run().json()["unmetered"]
    assert room.spent()[0] >= spent[0] + PRICE


def test_the_exact_bucket_is_empty_after_a_release_and_held_ciphertext_before(room: Room) -> None:
    """The bucket is versioned: what an object was before it was deleted can be looked at."""
    run_id = fresh_id()
    assert room.run(run_id=run_id).status_code == 200
    assert not [key for key in room.keys("ExactBucketName") if run_id in key]
    s3, bucket = room.stack.client("s3"), room.stack.outputs["ExactBucketName"]
    versions = s3.list_object_versions(Bucket=bucket, Prefix=f"exact/agency.{run_id}")["Versions"]
    assert versions
    for version in versions:
        content = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
        assert len(content) > 1000
        for plain in (b"exact_sql", b"carrier", b"SELECT", b"ARROW", b"visits", *(s.encode() for s in SECRETS)):
            assert plain not in content
        # The envelope names the run and the key; what follows looks random: 8 bits in every byte, nearly.
        body = content[-1000:]
        assert len(set(body)) > 230


def test_logs_name_steps_and_codes_but_no_value_and_no_literal(room: Room) -> None:
    """Of all that this file did, refusals and releases alike; and the log is not empty."""
    run_id = fresh_id()
    secret = "BILBY-LITERAL"
    assert room.run("total", arguments={"city": secret}, run_id=run_id).status_code == 200
    assert room.run("no_such_column").status_code == 422
    assert room.run("total", arguments={"city": secret}, sql=secret).status_code == 400
    logs = eventually(lambda: (text := logs_of(room)).count('"refused"') >= 2 and text)
    for plain in (*SECRETS, *CARRIERS, "wombat gold", "Traceback", "SELECT", "exact_sql"):
        assert plain not in logs, logs[max(0, logs.index(plain) - 500) : logs.index(plain) + 200]


def logs_of(room: Room) -> str:
    """Return what the functions wrote: the emulator's own log, and all log groups."""
    client, found = room.stack.client("logs"), [room.stack.logs()]
    for group in client.describe_log_groups()["logGroups"]:
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        found += [event["message"] for page in pages for event in page["events"]]
    return "\n".join(found)


def test_several_entity_columns_are_joined_in_a_bucket_that_no_party_sees(room: Room) -> None:
    """B-04: made when linked, and by the first run over a new version; each function under its role."""
    table = VISITS.append_column("household", VISITS.column("person"))
    name = f"joined_{uuid4().hex[:10]}"
    for rows in (table, table.slice(0, table.num_rows - 1)):
        room.put("airline", name, parquet_bytes(rows))
        if rows is table:
            pinned = {"pin": {"person": "person", "household": "household"}}
            linked = room("airline", "provider", "link_datasets", tables=[name], policies={name: POLICY},
                          entity_columns={name: pinned})["linked"][0]  # fmt: skip
            assert linked["entities_joined"] == "now"
        answer = room.run(provider_tables=[name])
        assert answer.status_code == 200, answer.text
        assert answer.json()["receipt"]["entity"] == f"person or household of airline.{name}"
    assert len([key for key in room.keys("EntitiesBucketName") if key.startswith(f"airline/{name}/")]) == 2
    measured = room("airline", "provider", "suggest_bounds", table=name)["measured"]
    assert measured["exact_entities"] > 0
