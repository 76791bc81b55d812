"""local: the translated template, made to run on the emulator without losing anything.

The emulator skips properties that it does not know, silently. So every property of every resource must be on
one of three lists here: it is created from CloudFormation, `fill.py` sets it afterwards from the same template,
or it has no meaning on one machine, for a stated reason. A property on none of them stops the deployment.
"""

import copy
from pathlib import Path
from typing import Any

from local.emulator import HOST, Emulator
from local.template import Template

CREATED: dict[str, set[str]] = {
    "AWS::ApiGatewayV2::Api": {"Name", "ProtocolType"},
    "AWS::ApiGatewayV2::Authorizer": {"ApiId", "AuthorizerType", "IdentitySource", "JwtConfiguration", "Name"},
    "AWS::ApiGatewayV2::Integration": {"ApiId", "IntegrationType", "IntegrationUri", "PayloadFormatVersion"},
    "AWS::ApiGatewayV2::Route": {"ApiId", "AuthorizationType", "AuthorizerId", "RouteKey", "Target"},
    "AWS::ApiGatewayV2::Stage": {
        "AccessLogSettings",
        "ApiId",
        "AutoDeploy",
        "DefaultRouteSettings",
        "StageName",
        "Tags",
    },
    "AWS::CloudWatch::Alarm": {
        "AlarmActions",
        "AlarmDescription",
        "ComparisonOperator",
        "DatapointsToAlarm",
        "Dimensions",
        "EvaluationPeriods",
        "MetricName",
        "Namespace",
        "Period",
        "Statistic",
        "Threshold",
        "TreatMissingData",
    },
    "AWS::Cognito::UserPool": {"AdminCreateUserConfig", "DeletionProtection", "Policies", "Schema", "UserPoolName"},
    "AWS::Cognito::UserPoolClient": {
        "AccessTokenValidity",
        "ClientName",
        "EnableTokenRevocation",
        "ExplicitAuthFlows",
        "IdTokenValidity",
        "PreventUserExistenceErrors",
        "ReadAttributes",
        "RefreshTokenValidity",
        "TokenValidityUnits",
        "UserPoolId",
        "WriteAttributes",
    },
    "AWS::DynamoDB::Table": {
        "AttributeDefinitions",
        "BillingMode",
        "DeletionProtectionEnabled",
        "GlobalSecondaryIndexes",
        "KeySchema",
    },
    "AWS::IAM::Policy": {"PolicyDocument", "PolicyName", "Roles"},
    "AWS::IAM::Role": {"AssumeRolePolicyDocument"},
    "AWS::KMS::Key": {"Description", "EnableKeyRotation", "KeyPolicy", "KeySpec", "KeyUsage"},
    "AWS::Lambda::EventSourceMapping": {
        "BatchSize",
        "EventSourceArn",
        "FunctionName",
        "FunctionResponseTypes",
        "ScalingConfig",
    },
    "AWS::Lambda::Function": {
        "Code",
        "Description",
        "Environment",
        "EphemeralStorage",
        "FunctionName",
        "Handler",
        "LoggingConfig",
        "MemorySize",
        "Role",
        "Runtime",
        "Tags",
        "Timeout",
        "TracingConfig",
    },
    "AWS::Lambda::Permission": {"Action", "FunctionName", "Principal", "SourceArn"},
    "AWS::Logs::LogGroup": {"KmsKeyId", "LogGroupName", "RetentionInDays"},
    "AWS::S3::Bucket": {
        "BucketName",
        "NotificationConfiguration",
        "PublicAccessBlockConfiguration",
        "VersioningConfiguration",
    },
    "AWS::S3::BucketPolicy": {"Bucket", "PolicyDocument"},
    "AWS::SQS::Queue": {
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "MessageRetentionPeriod",
        "RedrivePolicy",
        "VisibilityTimeout",
    },
    "AWS::SQS::QueuePolicy": {"PolicyDocument", "Queues"},
    "AWS::Scheduler::Schedule": {
        "Description",
        "FlexibleTimeWindow",
        "GroupName",
        "Name",
        "ScheduleExpression",
        "State",
        "Target",
    },
    "AWS::Scheduler::ScheduleGroup": {"Name"},
}

FILLED: dict[str, set[str]] = {
    "AWS::DynamoDB::Table": {"PointInTimeRecoverySpecification", "SSESpecification", "TimeToLiveSpecification"},
    "AWS::S3::Bucket": {"BucketEncryption", "LifecycleConfiguration", "ObjectLockConfiguration", "OwnershipControls"},
    "AWS::Scheduler::Schedule": {"ScheduleExpressionTimezone"},
}

WITHOUT_MEANING_HERE: dict[str, dict[str, str]] = {
    "AWS::S3::Bucket": {"ObjectLockEnabled": "the call that sets ObjectLockConfiguration says it again"},
    "AWS::KMS::Key": {"PendingWindowInDays": "only matters when a key is deleted"},
    "AWS::Lambda::Function": {
        "Architectures": "the functions run on this machine's processor",
        "Layers": "the functions run in this project's virtual environment",
    },
}


class UncoveredError(Exception):
    """The template says something that the local stack would silently not do."""


def adapt(template: Template, *, emulator: Emulator, code_bucket: str, layers: list[Path]) -> Template:
    """Return the template that the emulator can create, as near to the given one as it gets.

    Functions run under the emulator's `provided` runtime, with this project's interpreter and `layers` on its
    path; layer resources fall away; the API's OpenAPI body becomes integrations, routes and an authorizer.

    Raises:
        UncoveredError: a property would be neither created nor filled.
    """
    adapted = copy.deepcopy(template)
    resources = adapted["Resources"]
    for name in [name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::LayerVersion"]:
        del resources[name]
    for name, resource in list(resources.items()):
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Function":
            _run_here(name, properties, emulator=emulator, code_bucket=code_bucket, layers=layers)
        elif resource["Type"] == "AWS::ApiGatewayV2::Api" and "Body" in properties:
            resource["Properties"] = {"Name": properties["Body"]["info"]["title"], "ProtocolType": "HTTP"}
            resources.update(_api_parts(name, properties["Body"]))
        elif resource["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
            _allow_without_tls(properties["PolicyDocument"])
            _name_sessions(properties["PolicyDocument"])
        elif resource["Type"] == "AWS::IAM::Policy":
            _without_keys_of_requests(properties["PolicyDocument"])
            _name_schedule(properties["PolicyDocument"])
        elif resource["Type"] == "AWS::KMS::Key":
            _without_keys_of_requests(properties["KeyPolicy"])
    _refuse_uncovered(resources)
    for resource in resources.values():
        for unknown in WITHOUT_MEANING_HERE.get(resource["Type"], {}):
            resource["Properties"].pop(unknown, None)
    return adapted


def _refuse_uncovered(resources: dict[str, Any]) -> None:
    uncovered = []
    for name, resource in resources.items():
        kind = resource["Type"]
        covered = CREATED.get(kind, set()) | FILLED.get(kind, set()) | set(WITHOUT_MEANING_HERE.get(kind, {}))
        uncovered += [f"{name} ({kind}): {missing}" for missing in set(resource.get("Properties", {})) - covered]
    if uncovered:
        message = "the local stack would silently leave out: " + "; ".join(sorted(uncovered))
        raise UncoveredError(message)


def _run_here(
    name: str, properties: dict[str, Any], *, emulator: Emulator, code_bucket: str, layers: list[Path]
) -> None:
    if not emulator.endpoint_url.startswith(f"http://{HOST}:"):
        message = f"functions may only speak with {HOST}, not with {emulator.endpoint_url}"
        raise UncoveredError(message)
    properties["Runtime"] = "provided.al2023"
    properties["Code"] = {"S3Bucket": code_bucket, "S3Key": f"{name}.zip"}
    # JSON logging of the platform's own lines is the platform's; ours are JSON anyway.
    properties["Environment"]["Variables"] |= {
        "AWS_ENDPOINT_URL": emulator.endpoint_url,
        "PYTHONPATH": ":".join(str(layer) for layer in layers),
        "POWERTOOLS_TRACE_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
    }


def _allow_without_tls(policy: dict[str, Any]) -> None:
    # The emulator speaks plain HTTP on the loopback interface: TLS-only would refuse every request.
    tls_only = {"Bool": {"aws:SecureTransport": "false"}}
    policy["Statement"] = [said for said in policy["Statement"] if said.get("Condition") != tls_only]


def _name_sessions(policy: dict[str, Any]) -> None:
    # aws:PrincipalArn is a role's ARN in AWS, and its session's ARN in the emulator.
    for said in policy["Statement"]:
        named = said.get("Condition", {}).get("ArnNotEquals", {}).get("aws:PrincipalArn")
        if named:
            roles = [role["Fn::GetAtt"][0] for role in (named if isinstance(named, list) else [named])]
            sessions = [{"Fn::Sub": f"arn:aws:sts::${{AWS::AccountId}}:assumed-role/${{{role}}}/*"} for role in roles]
            said["Condition"] = {"ArnNotLike": {"aws:PrincipalArn": sessions}}


def _name_schedule(policy: dict[str, Any]) -> None:
    # The emulator looks for every schedule's permission in the default group.
    for said in policy["Statement"]:
        if "scheduler:GetSchedule" in said["Action"]:
            said["Resource"]["Fn::Sub"] = said["Resource"]["Fn::Sub"].replace("/${DpTaskScheduleGroup}/", "/default/")


_KEYS_OF_REQUESTS = (
    {"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "run_id"}},
    {"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256", "kms:MessageType": "DIGEST"}},
)


def _without_keys_of_requests(policy: dict[str, Any]) -> None:
    # The emulator has none of these keys of a request to KMS, and would refuse all. tests/stack holds they are there.
    for said in policy["Statement"]:
        if said.get("Condition", {}) in _KEYS_OF_REQUESTS:
            del said["Condition"]


def _api_parts(api: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the authorizers, integrations and routes that an OpenAPI body of SAM stands for."""
    parts: dict[str, Any] = {}
    for name, scheme in body["components"]["securitySchemes"].items():
        extension = scheme["x-amazon-apigateway-authorizer"]
        parts[f"{api}{name}Authorizer"] = _resource(
            "Authorizer",
            ApiId={"Ref": api},
            Name=name,
            AuthorizerType="JWT",
            IdentitySource=[extension["identitySource"]],
            JwtConfiguration={
                "Issuer": extension["jwtConfiguration"]["issuer"],
                "Audience": extension["jwtConfiguration"]["audience"],
            },
        )
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            integration = operation["x-amazon-apigateway-integration"]
            stem = api + method.title() + "".join(letter for letter in path.title() if letter.isalnum())
            parts[f"{stem}Integration"] = _resource(
                "Integration",
                ApiId={"Ref": api},
                IntegrationType="AWS_PROXY",
                IntegrationUri=integration["uri"],
                PayloadFormatVersion=integration["payloadFormatVersion"],
            )
            ((authorizer, _),) = operation["security"][0].items()
            parts[f"{stem}Route"] = _resource(
                "Route",
                ApiId={"Ref": api},
                RouteKey=f"{method.upper()} {path}",
                Target={"Fn::Sub": f"integrations/${{{stem}Integration}}"},
                AuthorizationType="JWT",
                AuthorizerId={"Ref": f"{api}{authorizer}Authorizer"},
            )
    return parts


def _resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::ApiGatewayV2::{kind}", "Properties": properties}
