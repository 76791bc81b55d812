"""Who may do what: the split between reading tables and releasing results is in the roles, not in good will."""

import json

import pytest

from tests.stack.translated import Deployed, as_list

ROLES = {"RoomsRole", "RunTemplateRole", "AddNoiseRole", "DpTaskRole"}
UNTRACEABLE = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
"""AWS has no resource-level permission for these two: the only statements of a role with resource `*`."""


def actions_on(deployed: Deployed, role: str, resource: str) -> set[str]:
    return {
        action for action, named, _ in deployed.allowed(role) if f'"{resource}' in named or f"{{{resource}" in named
    }


def test_every_function_has_a_role_of_its_own(deployed: Deployed) -> None:
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in deployed.of_type("AWS::Lambda::Function").values()]
    assert sorted(roles) == sorted(ROLES)


def test_no_policy_allows_a_wildcard_action(deployed: Deployed) -> None:
    for name, document in deployed.policy_documents():
        for said in document["Statement"]:
            assert "NotAction" not in said, name
            assert "NotResource" not in said, name
            if said["Effect"] == "Allow":
                assert not [action for action in as_list(said["Action"]) if "*" in action], (name, said)


def test_no_role_may_do_a_thing_to_every_resource_but_trace(deployed: Deployed) -> None:
    for role in (*ROLES, "ScheduleRole"):
        unbounded = {action for action, resource, _ in deployed.allowed(role) if json.loads(resource) == "*"}
        assert unbounded <= UNTRACEABLE, (role, unbounded)


def test_roles_have_nothing_beside_the_policies_that_are_tested_here(deployed: Deployed) -> None:
    for name, properties in deployed.of_type("AWS::IAM::Role").items():
        assert set(properties) == {"AssumeRolePolicyDocument"}, name


@pytest.mark.parametrize("role", sorted(ROLES))
def test_nobody_deletes_from_the_ledger(deployed: Deployed, role: str) -> None:
    """Ledger, rule 4 and append-only history: a role that could delete could forget what was spent."""
    on_ledger = actions_on(deployed, role, "LedgerTable")
    assert on_ledger == {
        "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    }


@pytest.mark.parametrize("role", sorted(ROLES))
def test_only_who_reports_stuck_runs_may_query_their_index(deployed: Deployed, role: str) -> None:
    on_index = actions_on(deployed, role, "${LedgerTable.Arn}/index/open-runs")
    assert on_index == ({"dynamodb:Query"} if role in {"RoomsRole", "DpTaskRole"} else set())


def test_run_template_reads_tables_and_cannot_touch_a_result(deployed: Deployed) -> None:
    assert {"s3:GetObject", "s3:GetObjectVersion"} <= actions_on(deployed, "RunTemplateRole", "${TablesBucket")
    everything = json.dumps([said for *_, said in deployed.allowed("RunTemplateRole")])
    assert "ResultsBucket" not in everything
    assert "ResultsKey" not in everything
    assert actions_on(deployed, "RunTemplateRole", "${ExactBucket") == {"s3:PutObject"}


def test_add_noise_reads_exact_integers_and_cannot_touch_a_table(deployed: Deployed) -> None:
    on_exact = {"s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion"}
    assert actions_on(deployed, "AddNoiseRole", "${ExactBucket") == on_exact
    everything = json.dumps([said for *_, said in deployed.allowed("AddNoiseRole")])
    for denied in ("TablesBucket", "TablesKey", "EntitiesBucket", "InboxBucket", "InboxKey", "RunQueue"):
        assert denied not in everything
    assert actions_on(deployed, "AddNoiseRole", "${ResultsBucket") == {"s3:GetObject", "s3:PutObject"}


@pytest.mark.parametrize("role", ["RoomsRole", "DpTaskRole"])
def test_rooms_and_the_task_see_neither_exact_integers_nor_releases(deployed: Deployed, role: str) -> None:
    """In the results bucket they know statements alone: the task writes them, and rooms shows them to providers."""
    everything = json.dumps([said for *_, said in deployed.allowed(role)])
    for denied in ("ExactBucket", "ExactKey", "lambda:InvokeFunction"):
        assert denied not in everything
    in_results = {(action, named) for action, named, _ in deployed.allowed(role) if "ResultsBucket" in named}
    statements = '{"Fn::Sub": "${ResultsBucket.Arn}/statements/*"}'
    if role == "DpTaskRole":
        assert in_results == {("s3:PutObject", statements)}
    else:
        listing = ("s3:ListBucket", '{"Fn::GetAtt": ["ResultsBucket", "Arn"]}')
        assert in_results == {("s3:GetObject", statements), listing}
        (said,) = [said for action, named, said in deployed.allowed(role) if (action, named) == listing]
        assert said["Condition"] == {"StringLike": {"s3:prefix": "statements/*"}}
    on_key = {action for action, named, _ in deployed.allowed(role) if "ResultsKey" in named}
    assert on_key == {"kms:GenerateDataKey" if role == "DpTaskRole" else "kms:Decrypt"}


def test_the_task_alone_writes_exports_and_nobody_reads_them(deployed: Deployed) -> None:
    for role in ROLES:
        granted = {(action, named) for action, named, _ in deployed.allowed(role) if "Audit" in named}
        expected = {("s3:PutObject", '{"Fn::Sub": "${AuditBucket.Arn}/*"}')}
        expected |= {("kms:GenerateDataKey", '{"Fn::GetAtt": ["AuditKey", "Arn"]}')}
        assert granted == (expected if role == "DpTaskRole" else set())


def test_nobody_writes_tables_of_parties(deployed: Deployed) -> None:
    for role in ROLES:
        writes = {action for action in actions_on(deployed, role, "${TablesBucket") if not action.startswith("s3:Get")}
        assert writes == set(), role


def test_only_what_reads_tables_keeps_which_values_are_one_entity(deployed: Deployed) -> None:
    """B-04: the labels of joined entities are as secret as the tables, and decide how much one entity weighs."""
    kept = {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"}
    for role in ROLES:
        allowed = actions_on(deployed, role, "${EntitiesBucket")
        assert allowed == (kept if role in {"RoomsRole", "RunTemplateRole"} else set()), role


def test_exact_integers_are_sealed_and_opened_under_their_runs_id_only(deployed: Deployed) -> None:
    """The encryption context of the exact key is the run id; run_template cannot open what it sealed."""
    by_run = {"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "run_id"}}
    through_s3 = "kms:ViaService"
    for role, action in (("RunTemplateRole", "kms:GenerateDataKey"), ("AddNoiseRole", "kms:Decrypt")):
        granted = [(named, said) for named, resource, said in deployed.allowed(role) if "ExactKey" in resource]
        assert {named for named, _ in granted} == {action}, role
        for _, said in granted:
            assert said["Condition"] == by_run or through_s3 in json.dumps(said["Condition"])
        assert any(said["Condition"] == by_run for _, said in granted)


def test_only_add_noise_is_named_where_the_exact_key_decrypts(deployed: Deployed) -> None:
    statements = deployed.of_type("AWS::KMS::Key")["ExactKey"]["KeyPolicy"]["Statement"]
    openers = [said for said in statements if "kms:Decrypt" in as_list(said["Action"])]
    assert openers
    for said in openers:
        assert said["Principal"] == {"AWS": [{"Fn::GetAtt": ["AddNoiseRole", "Arn"]}]}
    for said in statements:
        if {"kms:GenerateDataKey", "kms:Encrypt"} & set(as_list(said["Action"])):
            assert said["Principal"] == {"AWS": [{"Fn::GetAtt": ["RunTemplateRole", "Arn"]}]}


def test_only_add_noise_signs_receipts_and_only_digests_with_one_algorithm(deployed: Deployed) -> None:
    """Whoever else could sign could forge a receipt; the key policy and the role's own both say so."""
    key = deployed.of_type("AWS::KMS::Key")["ReceiptKey"]
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    digests_only = {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}}
    (said,) = [said for said in key["KeyPolicy"]["Statement"] if "kms:Sign" in as_list(said["Action"])]
    assert said["Principal"] == {"AWS": [{"Fn::GetAtt": ["AddNoiseRole", "Arn"]}]}
    assert said["Condition"] == digests_only
    signers = {
        role: [
            (action, said.get("Condition"))
            for action, resource, said in deployed.allowed(role)
            if "ReceiptKey" in resource
        ]
        for role in (*ROLES, "ScheduleRole")
    }
    assert sorted(signers.pop("AddNoiseRole"), key=str) == [("kms:GetPublicKey", None), ("kms:Sign", digests_only)]
    assert not any(signers.values())
    for name, document in deployed.policy_documents():
        for said in document["Statement"]:
            if said["Effect"] == "Allow" and "kms:Sign" in as_list(said["Action"]):
                assert name in {"AddNoisePolicy", "ReceiptKey"}, name


def test_add_noise_is_invoked_by_run_template_and_nobody_else(deployed: Deployed) -> None:
    invokers = {
        role: [resource for action, resource, _ in deployed.allowed(role) if action == "lambda:InvokeFunction"]
        for role in (*ROLES, "ScheduleRole")
    }
    assert [role for role, targets in invokers.items() if any("add-noise" in target for target in targets)] == [
        "RunTemplateRole"
    ]
    assert len(invokers["RunTemplateRole"]) == 1
    assert invokers["ScheduleRole"] == ['{"Fn::GetAtt": ["DpTaskFunction", "Arn"]}']


def test_only_rooms_and_the_task_touch_the_schedule_and_only_that_one(deployed: Deployed) -> None:
    """B-62 (turning DP on resumes the task) and B-66 (suspend disables the schedule itself)."""
    for role in ROLES:
        granted = {
            action: resource for action, resource, _ in deployed.allowed(role) if action.startswith("scheduler:")
        }
        if role in {"RoomsRole", "DpTaskRole"}:
            assert set(granted) == {"scheduler:GetSchedule", "scheduler:UpdateSchedule"}
            assert all("schedule/${DpTaskScheduleGroup}/${AWS::StackName}-dp-task" in text for text in granted.values())
        else:
            assert granted == {}
    passes = [
        (role, resource, said) for role in ROLES for a, resource, said in deployed.allowed(role) if a == "iam:PassRole"
    ]
    assert {role for role, *_ in passes} == {"RoomsRole", "DpTaskRole"}
    for _, resource, said in passes:
        assert resource == '{"Fn::GetAtt": ["ScheduleRole", "Arn"]}'
        assert said["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}


def test_each_function_writes_to_its_own_log_group_only(deployed: Deployed) -> None:
    for role in ROLES:
        logs = {resource for action, resource, _ in deployed.allowed(role) if action.startswith("logs:")}
        assert logs == {json.dumps({"Fn::GetAtt": [role.replace("Role", "Logs"), "Arn"]})}


def test_roles_are_trusted_to_their_service_only(deployed: Deployed) -> None:
    for name, properties in deployed.of_type("AWS::IAM::Role").items():
        (said,) = properties["AssumeRolePolicyDocument"]["Statement"]
        service = "scheduler" if name == "ScheduleRole" else "lambda"
        assert said["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert said["Action"] == "sts:AssumeRole"


def test_a_function_is_told_only_what_it_may_use(deployed: Deployed) -> None:
    for name, properties in deployed.of_type("AWS::Lambda::Function").items():
        variables = properties["Environment"]["Variables"]
        everything = json.dumps([said for *_, said in deployed.allowed(name.replace("Function", "Role"))])
        for variable in variables:
            if variable.endswith("_BUCKET"):
                assert f"{variable.removesuffix('_BUCKET').title()}Bucket" in everything, (name, variable)
    told = {
        name: set(properties["Environment"]["Variables"])
        for name, properties in deployed.of_type("AWS::Lambda::Function").items()
    }
    assert "RESULTS_BUCKET" not in told["RunTemplateFunction"]
    assert "TABLES_BUCKET" not in told["AddNoiseFunction"]
