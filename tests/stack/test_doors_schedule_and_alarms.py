"""Doors, schedule, alarms and layers of the template that is deployed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cleanroom.privacy.accounting import exact_fraction
from cleanroom.rooms.anomalies import Thresholds
from layers.sizes import CONTENTS, LIMIT_BYTES, problems
from local.adapt import CREATED, FILLED, WITHOUT_MEANING_HERE, UncoveredError, adapt
from local.emulator import ROOT, Emulator
from local.template import read_template
from tests.stack.translated import Deployed

ROUTES = {
    "POST /provider/{procedure}": "RoomsFunction",
    "POST /consumer/{procedure}": "RoomsFunction",
    "GET /openapi.json": "RoomsFunction",
    "POST /consumer/run_analysis": "RunTemplateFunction",
    "POST /consumer/quote_analysis": "RunTemplateFunction",
    "POST /consumer/get_sql_jinja": "RunTemplateFunction",
    "POST /consumer/explain_analysis": "RunTemplateFunction",
    "POST /provider/quote_analysis": "RunTemplateFunction",
    "POST /provider/explain_analysis": "RunTemplateFunction",
    "POST /provider/submit_analysis_request": "RunTemplateFunction",
    "POST /consumer/add_noise": "AddNoiseFunction",
    "POST /consumer/view_receipt_key": "AddNoiseFunction",
    "POST /provider/view_receipt_key": "AddNoiseFunction",
    "GET /runs/{run_id}": "AddNoiseFunction",
    "POST /provider/suspend_account_dp_task": "DpTaskFunction",
    "POST /provider/resume_account_dp_task": "DpTaskFunction",
}


def test_each_route_leads_to_its_function_and_asks_for_a_token(deployed: Deployed) -> None:
    body = deployed.of_type("AWS::ApiGatewayV2::Api")["Api"]["Body"]
    found = {}
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
            found[f"{method.upper()} {path}"] = uri.split("${")[-1].split(".Arn}")[0]
            assert operation["security"] == [{"Party": []}], path
    assert found == ROUTES


def test_tokens_come_from_the_user_pool_or_a_named_issuer(deployed: Deployed) -> None:
    body = deployed.of_type("AWS::ApiGatewayV2::Api")["Api"]["Body"]
    authorizer = body["components"]["securitySchemes"]["Party"]["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "jwt"
    condition, pool, other = authorizer["jwtConfiguration"]["issuer"]["Fn::If"]
    assert condition == "UseCognito"
    assert pool["Fn::Sub"].endswith(".amazonaws.com/${UserPool}")
    assert other == {"Ref": "JwtIssuer"}
    assert authorizer["jwtConfiguration"]["audience"]["Fn::If"] == [
        "UseCognito",
        [{"Ref": "UserPoolClient"}],
        {"Ref": "JwtAudience"},
    ]


def test_a_user_can_neither_sign_up_nor_change_their_party(deployed: Deployed) -> None:
    """B-73: the party is what authorises, so nobody may choose their own."""
    (pool,) = deployed.of_type("AWS::Cognito::UserPool").values()
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    (party,) = pool["Schema"]
    assert party["Name"] == "party"
    assert party["Mutable"] is False
    (client,) = deployed.of_type("AWS::Cognito::UserPoolClient").values()
    assert client["WriteAttributes"] == ["email"]


def test_the_schedule_renews_budgets_daily_at_an_hour_and_zone_of_choice(deployed: Deployed) -> None:
    """B-53."""
    (schedule,) = deployed.of_type("AWS::Scheduler::Schedule").values()
    assert schedule["ScheduleExpression"] == {"Fn::Sub": "cron(0 ${DpTaskHour} * * ? *)"}
    assert schedule["ScheduleExpressionTimezone"] == {"Ref": "DpTaskTimeZone"}
    assert json.loads(schedule["Target"]["Input"]) == {
        "task": "open_window",
        "scheduled_time": "<aws.scheduler.scheduled-time>",
    }
    assert schedule["Target"]["RoleArn"] == {"Fn::GetAtt": ["ScheduleRole", "Arn"]}
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
    parameters = deployed.template["Parameters"]
    assert (parameters["DpTaskHour"]["Default"], parameters["DpTaskTimeZone"]["Default"]) == (0, "UTC")
    functions = deployed.of_type("AWS::Lambda::Function")
    for name in ("RunTemplateFunction", "AddNoiseFunction"):
        told = functions[name]["Environment"]["Variables"]
        assert told["DP_TASK_EXPRESSION"] == schedule["ScheduleExpression"]
        assert told["DP_TASK_TIME_ZONE"] == schedule["ScheduleExpressionTimezone"]
    told = functions["DpTaskFunction"]["Environment"]["Variables"]
    assert told["DP_TASK_SCHEDULE"] == schedule["Name"]
    assert told["DP_TASK_SCHEDULE_GROUP"] == schedule["GroupName"]


SIGNALS = {
    "LedgerDifferences",
    "RefusalBursts",
    "SimilarQueries",
    "FastSpending",
    "EngineTimeouts",
    "EngineOutOfMemory",
    "EngineErrors",
    "SignalsLost",
}


def test_no_alarm_says_more_than_what_it_watches(deployed: Deployed) -> None:
    """Their texts are fixed: names of rooms and parties, and numbers, are in the log."""
    for name, alarm in deployed.of_type("AWS::CloudWatch::Alarm").items():
        assert isinstance(alarm["AlarmDescription"], str), name
        assert {dimension["Name"] for dimension in alarm["Dimensions"]} <= {
            "service",
            "FunctionName",
            "QueueName",
            "ScheduleGroup",
        }


def test_thresholds_of_signals_are_parameters_and_reach_what_counts(deployed: Deployed) -> None:
    functions, alarms = deployed.of_type("AWS::Lambda::Function"), deployed.of_type("AWS::CloudWatch::Alarm")
    for name in ("RunTemplateFunction", "AddNoiseFunction"):
        told = functions[name]["Environment"]["Variables"]
        assert told["SIGNAL_REFUSALS_PER_HOUR"] == {"Ref": "SignalRefusalsPerHour"}
        assert told["SIGNAL_SIMILAR_QUERIES"] == {"Ref": "SignalSimilarQueries"}
        assert told["SIGNAL_HOURLY_SHARE"] == {"Ref": "SignalHourlyShare"}
    for name in ("EngineTimeouts", "EngineOutOfMemory"):
        assert alarms[name]["Threshold"] == {"Ref": "SignalEngineFailures"}
    defaults = {name: said.get("Default") for name, said in deployed.template["Parameters"].items()}
    ours = Thresholds()
    assert defaults["SignalRefusalsPerHour"] == ours.refusals_per_hour
    assert defaults["SignalSimilarQueries"] == ours.alike_queries
    assert exact_fraction(defaults["SignalHourlyShare"]) == ours.hourly_share


def test_failures_dead_letters_missed_windows_and_unmetered_runs_raise_alarms(deployed: Deployed) -> None:
    alarms = deployed.of_type("AWS::CloudWatch::Alarm")
    watched = {(alarm["Namespace"], alarm["MetricName"]) for alarm in alarms.values()}
    assert watched == {
        ("AWS/Lambda", "Errors"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/Scheduler", "InvocationAttemptCount"),
        ("Cleanroom", "StuckRuns"),
        ("Cleanroom", "UnmeteredRuns"),
        *(("Cleanroom", metric) for metric in SIGNALS),
    }
    failing = {alarm["Dimensions"][0]["Value"]["Ref"] for alarm in alarms.values() if alarm["MetricName"] == "Errors"}
    assert failing == set(deployed.of_type("AWS::Lambda::Function"))
    missed = alarms["BudgetTaskMissed"]
    assert missed["Period"] * missed["EvaluationPeriods"] == 26 * 3600
    assert missed["TreatMissingData"] == "breaching"
    # Our metrics carry the service's name as dimension; under another name the alarm would never see them.
    service = {"Name": "service", "Value": {"Ref": "AWS::StackName"}}
    ours = [alarm for alarm in alarms.values() if alarm["Namespace"] == "Cleanroom"]
    assert all(alarm["Dimensions"] == [service] for alarm in ours)
    for properties in deployed.of_type("AWS::Lambda::Function").values():
        assert properties["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == service["Value"]


def test_run_requests_are_taken_one_by_one_and_a_failed_one_alone_returns(deployed: Deployed) -> None:
    (mapping,) = deployed.of_type("AWS::Lambda::EventSourceMapping").values()
    assert mapping["BatchSize"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["RunQueue", "Arn"]}


def test_functions_run_on_python_313_of_the_chosen_processor(deployed: Deployed) -> None:
    for name, properties in deployed.of_type("AWS::Lambda::Function").items():
        assert properties["Runtime"] == "python3.13", name
        assert properties["Architectures"] == [{"Ref": "Architecture"}], name
        assert properties["TracingConfig"] == {"Mode": "Active"}, name
        # Restored copies would repeat noise.
        assert "SnapStart" not in properties, name
    assert deployed.template["Parameters"]["Architecture"]["Default"] == "arm64"


def test_each_function_has_the_layers_that_the_size_check_weighs() -> None:
    resources = read_template()["Resources"]
    found = {
        name: tuple(layer["Ref"] for layer in resource["Properties"]["Layers"])
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert found == CONTENTS


def test_a_function_over_250_mib_or_without_the_package_fails_the_build(tmp_path: Path) -> None:
    """The size check itself: sparse files stand for what sam builds."""
    build = tmp_path / "build"
    for name in {*CONTENTS, *(layer for layers in CONTENTS.values() for layer in layers)}:
        (build / name).mkdir(parents=True)
        (build / name / "file").write_bytes(b"1")
    misplaced = list(problems(build, run=False))
    assert len(misplaced) == len(CONTENTS)
    assert all("python/cleanroom" in problem for problem in misplaced)
    package = build / "CoreLayer" / "python" / "cleanroom"
    package.mkdir(parents=True)
    (package / "errors.py").touch()
    assert list(problems(build, run=False)) == []
    with (build / "NoiseLayer" / "big").open("wb") as big:
        big.truncate(LIMIT_BYTES)
    assert [problem.split()[0] for problem in problems(build, run=False)] == ["AddNoiseFunction"]
    assert LIMIT_BYTES == 262_144_000


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="layers ship bytecode of Python 3.13")
def test_the_core_layer_holds_the_package_where_functions_look_for_it(tmp_path: Path) -> None:
    """`sam build` calls the same makefile; a layer with python/python/cleanroom would still say Build Succeeded."""
    subprocess.run(
        ["make", "--silent", "--makefile", str(ROOT / "layers" / "core" / "Makefile"), "build-CoreLayer"],
        env={**os.environ, "ARTIFACTS_DIR": str(tmp_path), "PYTHON": sys.executable, "ARCHITECTURE": "arm64"},
        cwd=tmp_path,
        check=True,
    )
    assert (tmp_path / "python" / "cleanroom" / "errors.py").is_file()
    compiled = next((tmp_path / "python" / "cleanroom" / "__pycache__").glob("errors.*.pyc")).read_bytes()
    # PEP 552: flags 1 is hash-based and not checked against the source, so imports read no source at all.
    assert int.from_bytes(compiled[4:8], "little") == 1


@pytest.mark.parametrize("layer", ["core", "engine", "noise", "runtime"])
def test_each_layer_is_built_by_its_own_makefile(layer: str) -> None:
    resource = read_template()["Resources"][f"{layer.title()}Layer"]
    assert resource["Metadata"]["BuildMethod"] == "makefile"
    assert resource["Properties"]["ContentUri"] == f"layers/{layer}/"
    assert f"build-{layer.title()}Layer:" in (ROOT / "layers" / layer / "Makefile").read_text()
    if layer != "core":
        assert "--hash=sha256:" in (ROOT / "layers" / layer / "requirements.txt").read_text()


def local_emulator() -> Emulator:
    return Emulator(endpoint_url="http://127.0.0.1:1", folder=Path(), access_key="a", secret_key="b")


def test_the_local_stack_leaves_nothing_of_the_template_out(deployed: Deployed) -> None:
    adapted = adapt(deployed.template, emulator=local_emulator(), code_bucket="code", layers=[])
    kinds = {name: resource["Type"] for name, resource in adapted["Resources"].items()}
    assert [name for name, kind in kinds.items() if kind == "AWS::ApiGatewayV2::Route"].__len__() == len(ROUTES)
    assert set(deployed.resources) - set(kinds) == {
        name for name, resource in deployed.resources.items() if resource["Type"] == "AWS::Lambda::LayerVersion"
    }


def test_the_local_stack_refuses_a_property_that_it_would_drop(deployed: Deployed) -> None:
    changed = json.loads(json.dumps(deployed.template))
    changed["Resources"]["LedgerTable"]["Properties"]["ImportSourceSpecification"] = {}
    with pytest.raises(UncoveredError, match="ImportSourceSpecification"):
        adapt(changed, emulator=local_emulator(), code_bucket="code", layers=[])


def test_the_local_stack_speaks_with_this_machine_only(deployed: Deployed) -> None:
    elsewhere = Emulator(endpoint_url="https://aws.example", folder=Path(), access_key="a", secret_key="b")
    with pytest.raises(UncoveredError, match=r"127\.0\.0\.1"):
        adapt(deployed.template, emulator=elsewhere, code_bucket="code", layers=[])


def test_no_property_is_on_two_lists_of_the_local_stack() -> None:
    for kind in CREATED:
        lists = [CREATED[kind], FILLED.get(kind, set()), set(WITHOUT_MEANING_HERE.get(kind, {}))]
        assert sum(len(names) for names in lists) == len(set().union(*lists)), kind
