"""local: what the emulator leaves out when it creates the stack, set afterwards from the same template.

Values may be intrinsics (`!GetAtt LedgerKey.Arn`). The emulator resolves them itself: `gaps_as_outputs` adds
one output for each before the stack is created, and `fill_gaps` reads them back.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any

from local.adapt import FILLED, UncoveredError
from local.emulator import Emulator
from local.template import Template

Properties = dict[str, Any]
Client = Callable[[str], Any]


def gaps_as_outputs(template: Template) -> tuple[Template, dict[str, dict[str, Any]]]:
    """Take the properties that are to be filled out of the template.

    Returns:
        The template without them and with an output `Gap<n>` for every intrinsic in them; and the properties
        by resource, each intrinsic replaced by `{"Output": "Gap<n>"}`.
    """
    rest = copy.deepcopy(template)
    outputs = rest.setdefault("Outputs", {})
    gaps: dict[str, dict[str, Any]] = {}

    def outside(value: Any) -> Any:
        if isinstance(value, dict):
            if len(value) == 1 and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::")):
                name = f"Gap{len(outputs)}"
                outputs[name] = {"Value": value}
                return {"Output": name}
            return {key: outside(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [outside(inner) for inner in value]
        return value

    for name, resource in rest["Resources"].items():
        for missing in sorted(FILLED.get(resource["Type"], set()) & set(resource["Properties"])):
            gaps.setdefault(name, {})[missing] = outside(resource["Properties"].pop(missing))
    return rest, gaps


def fill_gaps(
    gaps: dict[str, dict[str, Any]],
    *,
    resources: dict[str, dict[str, str]],
    outputs: dict[str, str],
    emulator: Emulator,
) -> None:
    """Set what was taken out, by the call that AWS offers for it.

    Args:
        gaps: of `gaps_as_outputs`.
        resources: of the created stack: `type` and physical `id` by logical name.
        outputs: of the created stack.
        emulator: that the stack was created in.
    """

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"Output"}:
                return outputs[value["Output"]]
            return {key: resolved(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [resolved(inner) for inner in value]
        return value

    client = functools.cache(emulator.client)  # making one takes longer than all calls together
    for name, properties in gaps.items():
        created = resources[name]
        for gap, value in properties.items():
            _FILLS[created["type"], gap](client, created["id"], resolved(value))


def _table_encryption(client: Client, table: str, value: Properties) -> None:
    specification = {
        "Enabled": value["SSEEnabled"],
        "SSEType": value["SSEType"],
        "KMSMasterKeyId": value["KMSMasterKeyId"],
    }
    client("dynamodb").update_table(TableName=table, SSESpecification=specification)


def _table_recovery(client: Client, table: str, value: Properties) -> None:
    client("dynamodb").update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=value)


def _table_expiry(client: Client, table: str, value: Properties) -> None:
    client("dynamodb").update_time_to_live(TableName=table, TimeToLiveSpecification=value)


def _bucket_encryption(client: Client, bucket: str, value: Properties) -> None:
    rules = [
        {
            "BucketKeyEnabled": rule["BucketKeyEnabled"],
            "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
        }
        for rule in value["ServerSideEncryptionConfiguration"]
    ]
    client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})


def _bucket_lifecycle(client: Client, bucket: str, value: Properties) -> None:
    rules = []
    for rule in value["Rules"]:
        known = {
            "Id",
            "Status",
            "AbortIncompleteMultipartUpload",
            "ExpirationInDays",
            "NoncurrentVersionExpiration",
            "Prefix",
        }
        if unknown := set(rule) - known:
            message = f"lifecycle rule {rule['Id']} of {bucket}: {', '.join(sorted(unknown))}"
            raise UncoveredError(message)
        said = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
        if "ExpirationInDays" in rule:
            said["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
        said |= {
            key: rule[key] for key in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration") if key in rule
        }
        rules.append(said)
    client("s3").put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def _bucket_ownership(client: Client, bucket: str, value: Properties) -> None:
    client("s3").put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=value)


def _bucket_lock(client: Client, bucket: str, value: Properties) -> None:
    retention = value["Rule"]["DefaultRetention"]
    said = {"Mode": retention["Mode"], "Days": int(retention["Days"])}
    client("s3").put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": value["ObjectLockEnabled"],
            "Rule": {"DefaultRetention": said},
        },
    )


def _schedule_time_zone(client: Client, schedule: str, value: str) -> None:
    scheduler = client("scheduler")
    (found,) = [found for found in scheduler.list_schedules()["Schedules"] if found["Name"] == schedule]
    whole = scheduler.get_schedule(Name=schedule, GroupName=found["GroupName"])
    kept = ("Name", "GroupName", "Description", "ScheduleExpression", "FlexibleTimeWindow", "State", "Target")
    scheduler.update_schedule(**{key: whole[key] for key in kept}, ScheduleExpressionTimezone=value)


_FILLS: dict[tuple[str, str], Callable[[Client, str, Any], None]] = {
    ("AWS::DynamoDB::Table", "SSESpecification"): _table_encryption,
    ("AWS::DynamoDB::Table", "PointInTimeRecoverySpecification"): _table_recovery,
    ("AWS::DynamoDB::Table", "TimeToLiveSpecification"): _table_expiry,
    ("AWS::S3::Bucket", "BucketEncryption"): _bucket_encryption,
    ("AWS::S3::Bucket", "LifecycleConfiguration"): _bucket_lifecycle,
    ("AWS::S3::Bucket", "ObjectLockConfiguration"): _bucket_lock,
    ("AWS::S3::Bucket", "OwnershipControls"): _bucket_ownership,
    ("AWS::Scheduler::Schedule", "ScheduleExpressionTimezone"): _schedule_time_zone,
}
