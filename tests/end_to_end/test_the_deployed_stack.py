"""The stack that runs is the one that template.yaml describes, and its doors open for the right token only."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from local.stack import PARTIES, Stack

Caller = Callable[[str], httpx.Client]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/provider/cleanroom_init"),
        ("POST", "/consumer/install_cleanroom"),
        ("POST", "/consumer/run_analysis"),
        ("POST", "/consumer/add_noise"),
        ("POST", "/provider/suspend_account_dp_task"),
        ("GET", "/runs/some-run"),
        ("GET", "/openapi.json"),
    ],
)
def test_no_route_answers_without_a_token(stack: Stack, method: str, path: str) -> None:
    assert httpx.request(method, stack.api_url + path, timeout=30).status_code == 401


def test_a_token_of_another_issuer_is_refused(stack: Stack) -> None:
    claims = jwt.decode(stack.token("airline"), options={"verify_signature": False})
    forged = jwt.encode(claims, "not-the-key-of-the-pool-but-long-enough", algorithm="HS256")
    answer = httpx.get(f"{stack.api_url}/openapi.json", headers={"Authorization": f"Bearer {forged}"}, timeout=30)
    assert answer.status_code == 401


@pytest.mark.parametrize("party", PARTIES)
def test_a_token_names_its_party(stack: Stack, party: str) -> None:
    claims = jwt.decode(stack.token(party), options={"verify_signature": False})
    assert claims["custom:party"] == party
    assert claims["aud"] == stack.outputs["UserPoolClientId"]


def test_tables_are_encrypted_recoverable_protected_and_expire(stack: Stack) -> None:
    dynamodb = stack.client("dynamodb")
    for name in (stack.outputs["LedgerTableName"], stack.outputs["CatalogueTableName"]):
        table = dynamodb.describe_table(TableName=name)["Table"]
        assert table["SSEDescription"]["SSEType"] == "KMS"
        assert ":key/" in table["SSEDescription"]["KMSMasterKeyArn"]
        assert table["DeletionProtectionEnabled"]
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
        expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "expires_at")


def test_each_bucket_has_a_key_of_its_own_and_expires_what_it_should(stack: Stack) -> None:
    s3 = stack.client("s3")
    keys, expiries = set(), {}
    for name in ("Tables", "Inbox", "Exact", "Results"):
        bucket = stack.outputs[f"{name}BucketName"]
        (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["BucketKeyEnabled"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        keys.add(rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"])
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        expiries[name] = {rule["Expiration"]["Days"] for rule in rules if "Days" in rule.get("Expiration", {})}
    assert len(keys) == 4
    assert expiries == {"Tables": set(), "Inbox": {30}, "Exact": {1}, "Results": {7}}


def test_the_schedule_calls_the_task_at_midnight_utc_and_keeps_what_failed(stack: Stack) -> None:
    """B-53: by default the window is renewed at 00:00 UTC."""
    schedule = stack.client("scheduler").get_schedule(
        Name=stack.outputs["DpTaskScheduleName"], GroupName=stack.outputs["DpTaskScheduleGroupName"]
    )
    assert schedule["ScheduleExpression"] == "cron(0 0 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    assert schedule["State"] == "ENABLED"
    assert schedule["Target"]["Arn"].endswith(":function:cleanroom-dp-task")
    assert json.loads(schedule["Target"]["Input"]) == {
        "task": "open_window",
        "scheduled_time": "<aws.scheduler.scheduled-time>",
    }
    assert "DeadLetterQueue" in schedule["Target"]["DeadLetterConfig"]["Arn"]


def test_runs_that_keep_failing_end_in_the_dead_letter_queue(stack: Stack) -> None:
    sqs = stack.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=stack.outputs["RunQueueUrl"], AttributeNames=["All"])["Attributes"]
    dead = sqs.get_queue_attributes(QueueUrl=stack.outputs["DeadLetterQueueUrl"], AttributeNames=["QueueArn"])
    redrive = json.loads(attributes["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["Attributes"]["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == 5
    assert ":key/" in attributes["KmsMasterKeyId"]


def test_not_even_the_administrator_reads_exact_integers_or_plants_a_release(stack: Stack) -> None:
    """The emulator lets its root through every policy, so the policies themselves are read back."""
    s3 = stack.client("s3")

    def denied(name: str) -> dict[str, Any]:
        policy = json.loads(s3.get_bucket_policy(Bucket=stack.outputs[f"{name}BucketName"])["Policy"])
        return {said["Sid"]: said for said in policy["Statement"] if said["Effect"] == "Deny"}

    assert "AddNoiseRole" in json.dumps(denied("Exact")["OnlyAddNoiseReads"]["Condition"])
    assert "RunTemplateRole" in json.dumps(denied("Exact")["OnlyRunTemplateWrites"]["Condition"])
    assert "AddNoiseRole" in json.dumps(denied("Results")["OnlyAddNoiseReleases"]["Condition"])
    assert "DpTaskRole" in json.dumps(denied("Results")["OnlyTheTaskStates"]["Condition"])


def test_functions_see_nothing_of_the_machine(stack: Stack) -> None:
    configuration = stack.client("lambda").get_function_configuration(FunctionName="cleanroom-run-template")
    variables = configuration["Environment"]["Variables"]
    assert variables["AWS_ENDPOINT_URL"] == stack.emulator.endpoint_url
    assert variables["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert not {"RESULTS_BUCKET"} & set(variables)


@pytest.mark.parametrize("function", ["rooms", "run-template", "add-noise", "dp-task"])
def test_each_function_starts(stack: Stack, function: str) -> None:
    """A handler that cannot be imported, or lacks a setting, shows here first, with its log."""
    started = time.monotonic()
    answer = stack.client("lambda").invoke(FunctionName=f"cleanroom-{function}", Payload=b'{"Records": []}')
    body = answer["Payload"].read().decode()
    assert "Runtime." not in body, stack.logs()[-3000:]
    assert "ImportModuleError" not in body, body
    assert time.monotonic() - started < 30
