"""Encryption, retention, recovery: of everything that holds data, in the template that is deployed."""

from typing import Any

import pytest

from tests.stack.translated import Deployed, as_list

BUCKETS = {
    "TablesBucket": "TablesKey",
    "EntitiesBucket": "TablesKey",
    "InboxBucket": "InboxKey",
    "ExactBucket": "ExactKey",
    "ResultsBucket": "ResultsKey",
    "AuditBucket": "AuditKey",
}
RETAINED = {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::Cognito::UserPool"}


def arn_of(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


def test_there_are_these_buckets_and_no_other(deployed: Deployed) -> None:
    assert set(deployed.of_type("AWS::S3::Bucket")) == set(BUCKETS)


@pytest.mark.parametrize(("bucket", "key"), BUCKETS.items())
def test_each_bucket_is_encrypted_with_its_own_key(deployed: Deployed, bucket: str, key: str) -> None:
    (rule,) = deployed.of_type("AWS::S3::Bucket")[bucket]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn_of(key)}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_each_bucket_is_private_versioned_and_tidied(deployed: Deployed, bucket: str) -> None:
    properties = deployed.of_type("AWS::S3::Bucket")[bucket]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    rules = properties["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    assert any("NoncurrentVersionExpiration" in rule for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)


def test_exact_integers_live_for_a_day_old_versions_included(deployed: Deployed) -> None:
    rules = deployed.of_type("AWS::S3::Bucket")["ExactBucket"]["LifecycleConfiguration"]["Rules"]
    (rule,) = [rule for rule in rules if "ExpirationInDays" in rule]
    assert rule["ExpirationInDays"] == 1
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_labels_of_entities_do_not_stay_longer_than_they_are_useful(deployed: Deployed) -> None:
    """B-04: they hold values of tables, and are made anew where they are missing."""
    rules = deployed.of_type("AWS::S3::Bucket")["EntitiesBucket"]["LifecycleConfiguration"]["Rules"]
    (rule,) = [rule for rule in rules if "ExpirationInDays" in rule]
    assert (rule["ExpirationInDays"], rule["NoncurrentVersionExpiration"]) == (30, {"NoncurrentDays": 1})
    assert "Prefix" not in rule


def test_drawn_noise_is_there_for_longer_than_the_exact_integers_it_is_for(deployed: Deployed) -> None:
    """B-52: a run's noise cannot be drawn twice while there is something to draw it for; releases are kept."""
    buckets = deployed.of_type("AWS::S3::Bucket")
    (exact,) = [r for r in buckets["ExactBucket"]["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in r]
    (drawn,) = [r for r in buckets["ResultsBucket"]["LifecycleConfiguration"]["Rules"] if "ExpirationInDays" in r]
    assert "Prefix" not in exact
    assert drawn["Prefix"] == "drawn/"
    assert drawn["ExpirationInDays"] == drawn["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7
    # An exact object is made at most current, then noncurrent: both days together end before the noise's first does.
    exact_days = exact["ExpirationInDays"] + exact["NoncurrentVersionExpiration"]["NoncurrentDays"]
    assert drawn["ExpirationInDays"] > exact_days


@pytest.mark.parametrize("bucket", BUCKETS)
def test_each_bucket_refuses_plain_http_and_other_keys(deployed: Deployed, bucket: str) -> None:
    policies = deployed.of_type("AWS::S3::BucketPolicy").values()
    (policy,) = [properties["PolicyDocument"] for properties in policies if properties["Bucket"] == {"Ref": bucket}]
    said = {statement["Sid"]: statement for statement in policy["Statement"]}
    tls = said["TlsOnly"]
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert tls["Resource"] == [arn_of(bucket), {"Fn::Sub": f"${{{bucket}.Arn}}/*"}]
    # Without the Null condition a request that leaves the choice to the bucket would be refused as well.
    header = "s3:x-amz-server-side-encryption"
    assert said["NoOtherEncryption"]["Condition"] == {
        "Null": {header: "false"},
        "StringNotEquals": {header: "aws:kms"},
    }
    assert said["NoOtherKey"]["Condition"] == {
        "Null": {f"{header}-aws-kms-key-id": "false"},
        "StringNotEquals": {f"{header}-aws-kms-key-id": arn_of(BUCKETS[bucket])},
    }


def test_the_doors_of_exact_and_results_are_shut_to_all_but_one_role(deployed: Deployed) -> None:
    policies = deployed.of_type("AWS::S3::BucketPolicy")

    def but(policy: str, sid: str, *within: str) -> tuple[list[str], Any]:
        (said,) = [said for said in policies[policy]["PolicyDocument"]["Statement"] if said["Sid"] == sid]
        assert (said["Effect"], said["Principal"]) == ("Deny", "*")
        bucket = policy.removesuffix("Policy")
        assert as_list(said["Resource"]) == [{"Fn::Sub": f"${{{bucket}.Arn}}/{part}*"} for part in within or ("",)]
        return as_list(said["Action"]), said["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]

    reads = ["s3:GetObject", "s3:GetObjectVersion"]
    assert but("ExactBucketPolicy", "OnlyAddNoiseReads") == (reads, arn_of("AddNoiseRole"))
    assert but("ExactBucketPolicy", "OnlyRunTemplateWrites") == (["s3:PutObject"], arn_of("RunTemplateRole"))
    readers = [arn_of("RoomsRole"), arn_of("RunTemplateRole")]
    assert but("EntitiesBucketPolicy", "OnlyWhatReadsTables") == ([*reads, "s3:PutObject"], readers)
    writes = ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]
    both = [arn_of("AddNoiseRole"), arn_of("DpTaskRole")]
    assert but("ResultsBucketPolicy", "OnlyAddNoiseAndTheTaskWrite") == (writes, both)
    released = but("ResultsBucketPolicy", "OnlyAddNoiseReleases", "drawn/", "releases/")
    assert released == (writes, arn_of("AddNoiseRole"))
    assert but("ResultsBucketPolicy", "OnlyTheTaskStates", "statements/") == (writes, arn_of("DpTaskRole"))


def test_exported_histories_are_locked_where_they_are_exported(deployed: Deployed) -> None:
    """Nobody, the account's administrators included, deletes or overwrites what the task alone may write."""
    bucket = deployed.of_type("AWS::S3::Bucket")["AuditBucket"]
    assert bucket["ObjectLockEnabled"] is True
    retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention == {"Mode": "COMPLIANCE", "Days": {"Ref": "AuditLockDays"}}
    statements = deployed.of_type("AWS::S3::BucketPolicy")["AuditBucketPolicy"]["PolicyDocument"]["Statement"]
    (only,) = [said for said in statements if said["Sid"] == "OnlyTheTaskWrites"]
    assert only["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": arn_of("DpTaskRole")}}
    optional = {name for name, resource in deployed.resources.items() if resource.get("Condition") == "HasAuditExport"}
    assert optional == {"AuditBucket", "AuditBucketPolicy", "AuditKey", "DpTaskExportPolicy"}
    assert deployed.template["Parameters"]["AuditLockDays"]["Default"] == 0


@pytest.mark.parametrize("table", ["LedgerTable", "CatalogueTable"])
def test_tables_are_encrypted_recoverable_protected_and_expire(deployed: Deployed, table: str) -> None:
    properties = deployed.of_type("AWS::DynamoDB::Table")[table]
    assert properties["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": arn_of("LedgerKey"),
    }
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in properties["KeySchema"]] == ["pk", "sk"]


def test_queues_are_encrypted_refuse_plain_http_and_keep_what_failed(deployed: Deployed) -> None:
    queues = deployed.of_type("AWS::SQS::Queue")
    for name, properties in queues.items():
        assert properties["KmsMasterKeyId"] == arn_of("InboxKey"), name
        (policy,) = [
            policy["PolicyDocument"]
            for policy in deployed.of_type("AWS::SQS::QueuePolicy").values()
            if policy["Queues"] == [{"Ref": name}]
        ]
        (tls,) = [said for said in policy["Statement"] if said["Effect"] == "Deny"]
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert queues["RunQueue"]["RedrivePolicy"]["deadLetterTargetArn"] == arn_of("DeadLetterQueue")
    assert queues["DeadLetterQueue"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    timeout = deployed.of_type("AWS::Lambda::Function")["RunTemplateFunction"]["Timeout"]
    assert queues["RunQueue"]["VisibilityTimeout"] > timeout


def test_only_the_inbox_may_put_into_the_run_queue(deployed: Deployed) -> None:
    (said,) = [
        said
        for said in deployed.of_type("AWS::SQS::QueuePolicy")["RunQueuePolicy"]["PolicyDocument"]["Statement"]
        if said["Effect"] == "Allow"
    ]
    assert said["Principal"] == {"Service": "s3.amazonaws.com"}
    assert said["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    bucket = deployed.of_type("AWS::S3::Bucket")["InboxBucket"]["BucketName"]["Fn::Sub"]
    assert said["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::Sub"].endswith(f":::{bucket}")


def test_every_key_rotates_and_its_administrators_cannot_use_it(deployed: Deployed) -> None:
    use = {
        "kms:Decrypt",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
        "kms:CreateGrant",
        "kms:Sign",
    }
    for name, properties in deployed.of_type("AWS::KMS::Key").items():
        # KMS rotates no asymmetric key: docs/receipts.md says how the receipt key is replaced.
        assert properties.get("EnableKeyRotation") is (None if name == "ReceiptKey" else True), name
        for said in properties["KeyPolicy"]["Statement"]:
            assert said["Effect"] == "Allow"
            if "Condition" not in said:
                assert not use & set(as_list(said["Action"])), (name, said["Sid"])


def test_every_log_group_is_encrypted_and_ends(deployed: Deployed) -> None:
    groups = deployed.of_type("AWS::Logs::LogGroup")
    for name, properties in groups.items():
        assert properties["KmsKeyId"] == arn_of("LogsKey"), name
        assert properties["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name
    used = {
        properties["LoggingConfig"]["LogGroup"]["Ref"]
        for properties in deployed.of_type("AWS::Lambda::Function").values()
    }
    assert used | {"ApiLogs"} == set(groups)


def test_what_holds_data_outlives_the_stack(deployed: Deployed) -> None:
    for name, resource in deployed.resources.items():
        if resource["Type"] in RETAINED:
            assert resource["DeletionPolicy"] == "Retain", name
            assert resource["UpdateReplacePolicy"] == "Retain", name
